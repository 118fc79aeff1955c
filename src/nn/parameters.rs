//! The parameters of a network: named tensors in one flat buffer.

use super::init::{Fans, Init};
use crate::error::{Error, Result};
use crate::graph::{Graph, Leaf, Tensor};
use crate::io::pack;
use crate::kernels::random::{Threefry, stream::WEIGHTS};

/// The external slot that holds all parameters.
pub const PARAMETERS: &str = "parameters";

/// Parameters start at multiples of this many words, so that each can be bound on its own.
const ALIGNMENT: usize = 64;

/// A tensor of parameters: its place in the flat buffer and its names and shapes here and in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The name in checkpoints, as the released JEM has it: `f.layer1.0.conv1.weight`.
    pub name: String,
    /// The shape on the device: `[kh, kw, c_in, c_out]`, `[in, out]` or `[out]`.
    pub shape: Vec<usize>,
    /// The first word in the flat buffer.
    pub offset: usize,
    fans: Fans,
}

impl Parameter {
    /// Elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The shape in files, as PyTorch has it: `[c_out, c_in, kh, kw]`, `[out, in]` or `[out]`.
    pub fn file_shape(&self) -> Vec<usize> {
        match self.shape[..] {
            [kh, kw, i, o] => vec![o, i, kh, kw],
            [i, o] => vec![o, i],
            _ => self.shape.clone(),
        }
    }

    /// Values in the device's order from values in a file's.
    pub fn from_file(&self, values: &[f32]) -> Vec<f32> {
        match self.shape[..] {
            [kh, kw, i, o] => pack::oihw_to_hwio(values, o, i, kh, kw),
            [i, o] => pack::transpose(values, o, i),
            _ => values.to_vec(),
        }
    }

    /// Values in a file's order from values in the device's.
    pub fn to_file(&self, values: &[f32]) -> Vec<f32> {
        match self.shape[..] {
            [kh, kw, i, o] => pack::hwio_to_oihw(values, kh, kw, i, o),
            [i, o] => pack::transpose(values, i, o),
            _ => values.to_vec(),
        }
    }
}

/// The parameters of a network in the order in which its layers declare them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    parameters: Vec<Parameter>,
    words: usize,
}

impl Layout {
    /// Declares a tensor of parameters of `shape` (device order).
    pub fn push(&mut self, name: String, shape: Vec<usize>, fans: Fans) {
        let elements: usize = shape.iter().product();
        self.parameters.push(Parameter { name, shape, offset: self.words, fans });
        self.words += elements.next_multiple_of(ALIGNMENT);
    }

    /// All parameters.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Words of the flat buffer, with the gaps (zeros) that alignment leaves.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Elements of all parameters, without the gaps.
    pub fn elements(&self) -> usize {
        self.parameters.iter().map(Parameter::elements).sum()
    }

    /// The parameter `name` as a leaf of `graph`.
    ///
    /// # Panics
    /// If there is none: a bug in the network.
    pub fn leaf(&self, graph: &Graph, name: &str) -> Tensor {
        let parameter = self.parameters.iter().find(|parameter| parameter.name == name);
        let parameter = parameter.unwrap_or_else(|| panic!("no parameter {name}"));
        self.leaf_of(graph, parameter)
    }

    /// The leaves of all parameters, in order.
    pub fn leaves(&self, graph: &Graph) -> Vec<Tensor> {
        self.parameters.iter().map(|parameter| self.leaf_of(graph, parameter)).collect()
    }

    fn leaf_of(&self, graph: &Graph, parameter: &Parameter) -> Tensor {
        let leaf =
            Leaf { slot: PARAMETERS.into(), words: self.words, offset: parameter.offset, parameter: true };
        graph.leaf(leaf, parameter.shape.clone())
    }

    /// Initial values of the flat buffer; `slope` is that of the network's leaky ReLUs.
    pub fn initialise(&self, init: Init, slope: f32, seed: u32) -> Vec<f32> {
        let mut values = vec![0.0; self.words];
        for (number, parameter) in self.parameters.iter().enumerate() {
            let mut random = Threefry::new(seed, WEIGHTS, number as u32);
            let values = &mut values[parameter.offset..][..parameter.elements()];
            init.fill(values, parameter.fans, slope, &mut random);
        }
        values
    }

    /// The flat buffer's values from `find`, which gives each parameter's values in a file's order.
    ///
    /// # Errors
    /// What `find` returns; [`Error::Shape`] if it gives another number of values.
    pub fn gather<'a>(&self, mut find: impl FnMut(&Parameter) -> Result<&'a [f32]>) -> Result<Vec<f32>> {
        let mut flat = vec![0.0; self.words];
        for parameter in &self.parameters {
            let values = find(parameter)?;
            if values.len() != parameter.elements() {
                let message =
                    format!("{} has {} values, expected {:?}", parameter.name, values.len(), parameter.shape);
                return Err(Error::Shape { operation: "parameters", message });
            }
            flat[parameter.offset..][..values.len()].copy_from_slice(&parameter.from_file(values));
        }
        Ok(flat)
    }

    /// Each parameter with its values of the flat buffer, in a file's order.
    pub fn scatter<'a>(&'a self, flat: &'a [f32]) -> impl Iterator<Item = (&'a Parameter, Vec<f32>)> {
        self.parameters.iter().map(|parameter| {
            let values = &flat[parameter.offset..][..parameter.elements()];
            (parameter, parameter.to_file(values))
        })
    }
}
