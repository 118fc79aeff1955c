//! An expression as a function on a device: set inputs, run, get outputs.

use super::{Op, Output, Tensor, lower};
use crate::device::{Buffer, Device, Executable, Program, ProgramBuilder};
use crate::error::{Error, Result};
use crate::policy::convolution::ConvolutionPolicy;
use std::collections::BTreeMap;

/// Tensors lowered to one program, loaded on a device with buffers of its own.
#[derive(Debug)]
pub struct Function {
    device: Device,
    executable: Executable,
    buffers: BTreeMap<String, Buffer>,
}

impl Function {
    /// Lowers `outputs` and loads them. Every leaf's slot is an input of its name.
    ///
    /// # Errors
    /// [`Error::Shape`] for the graph's first mistake; what [`Device::load`] returns.
    pub fn new(device: &Device, outputs: &[(&str, &Tensor)]) -> Result<Self> {
        Self::with_policy(device, device.policy(), outputs)
    }

    /// [`Function::new`] with other kernels for its convolutions than the device's own policy chooses.
    ///
    /// # Errors
    /// As [`Function::new`].
    pub fn with_policy(
        device: &Device,
        policy: &ConvolutionPolicy,
        outputs: &[(&str, &Tensor)],
    ) -> Result<Self> {
        let mut builder = ProgramBuilder::new("function");
        let targets: Vec<Output<'_>> = outputs
            .iter()
            .map(|(name, tensor)| Output { tensor, view: builder.external(name, tensor.elements()) })
            .collect();
        lower(policy, &mut builder, None, &targets)?;
        if let Some((_, tensor)) = outputs.first() {
            // An input that no kernel reads can still be set.
            let graph = tensor.graph();
            for id in 0..graph.len() {
                if let Op::Leaf(leaf) = graph.node(id).op {
                    builder.external(&leaf.slot, leaf.words);
                }
            }
        }
        let program = builder.finish();
        let buffers: BTreeMap<String, Buffer> = program
            .externals()
            .map(|slot| Ok((slot.name.clone(), device.buffer(&slot.name, slot.bytes)?)))
            .collect::<Result<_>>()?;
        let externals: Vec<(&str, &Buffer)> = buffers.iter().map(|(name, b)| (name.as_str(), b)).collect();
        let executable = device.load(program, &externals)?;
        Ok(Self { device: device.clone(), executable, buffers })
    }

    fn buffer(&self, name: &str) -> Result<&Buffer> {
        self.buffers.get(name).ok_or_else(|| Error::Binding {
            program: self.program().name.clone(),
            buffer: name.to_owned(),
            message: format!("is none of {:?}", self.buffers.keys().collect::<Vec<_>>()),
        })
    }

    /// Writes the words (f32, or u32 for labels) of an input.
    ///
    /// # Errors
    /// [`Error::Binding`] for an unknown name or another length.
    pub fn set<T: bytemuck::Pod>(&self, name: &str, words: &[T]) -> Result<()> {
        let buffer = self.buffer(name)?;
        let bytes: &[u8] = bytemuck::cast_slice(words);
        if bytes.len() as u64 != buffer.bytes() {
            return Err(Error::Binding {
                program: self.program().name.clone(),
                buffer: name.to_owned(),
                message: format!("expected {} words, got {}", buffer.bytes() / 4, bytes.len() / 4),
            });
        }
        self.device.write(buffer, 0, bytes)
    }

    /// Computes all outputs.
    ///
    /// # Errors
    /// What [`Device::run`] returns.
    pub fn run(&self) -> Result<()> {
        self.device.run(&self.executable)
    }

    /// The value of an output (or an input).
    ///
    /// # Errors
    /// [`Error::Binding`] for an unknown name; what [`Device::read`] returns.
    pub fn get(&self, name: &str) -> Result<Vec<f32>> {
        self.device.read_as(self.buffer(name)?)
    }

    /// What was lowered.
    pub fn program(&self) -> &Program {
        self.executable.program()
    }
}
