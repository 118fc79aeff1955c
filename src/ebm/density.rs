//! Langevin dynamics on any density that can be written as an expression.

use super::langevin::{COUNTER_WORDS, Langevin};
use crate::device::{Buffers, Device, Executable, Program, ProgramBuilder};
use crate::error::{Error, Result};
use crate::graph::{Graph, Leaf, Op, Tensor, Token, Value};
use crate::kernels::tick::COUNTERS;
use crate::nn::training::Weights;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Chains of Langevin dynamics that sample a user-defined log density, with fixed weights.
///
/// The density need not be normalised: any differentiable expression in the chains and in [`Weights`] works.
#[derive(Debug)]
pub struct DensitySampler {
    device: Device,
    prepare: Executable,
    step: Executable,
    buffers: Buffers,
    x: Leaf,
    elements: usize,
    graph: Graph,
    /// The slots of the inputs that nobody has set.
    unset: RefCell<BTreeSet<String>>,
}

impl DensitySampler {
    /// Loads the programs for chains at the input `x` that sample `log_density`, the sum of its elements: chains are
    /// independent if no element depends on two of them.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` is no input, or for the graph's first invalid operation; an error of the device.
    pub fn new(weights: &Weights, langevin: Langevin, log_density: &Tensor, x: &Tensor) -> Result<Self> {
        let leaf = leaf(x)?;
        let device = weights.device();
        let mut prepare = ProgramBuilder::new("prepare");
        let mut step = ProgramBuilder::new("langevin");
        let points = step.external_named(&leaf.slot, leaf.words).part(leaf.offset, x.elements());
        langevin.append(device.policy(), &mut step, &mut prepare, log_density, x, points, &[], None)?;
        let mut buffers = weights.buffers();
        buffers.zeros(COUNTER_WORDS, COUNTERS)?;
        buffers.zeros_named(&leaf.slot, leaf.words)?;
        let (prepare, step) = (prepare.finish(), step.finish());
        let mut unset = BTreeSet::new();
        for leaf in inputs(x.graph()) {
            let is_read = step.externals().chain(prepare.externals()).any(|slot| slot.name == leaf.slot);
            if is_read && leaf.slot != COUNTER_WORDS.name() {
                buffers.zeros_named(&leaf.slot, leaf.words)?;
                unset.insert(leaf.slot);
            }
        }
        let prepare = buffers.load(prepare)?;
        let step = buffers.load(step)?;
        let (device, graph, unset) = (device.clone(), x.graph().clone(), RefCell::new(unset));
        Ok(Self { device, prepare, step, buffers, x: leaf, elements: x.elements(), graph, unset })
    }

    /// Sets another input of the log density, such as the labels of its chains.
    ///
    /// # Errors
    /// [`Error::Shape`] for a tensor that is no input of the density, or for another number of values; the errors of
    /// [`Device::write`].
    pub fn set<V: Value>(&self, input: &V, values: &[V::Element]) -> Result<()> {
        let input = input.node(Token(()));
        let leaf = leaf(input)?;
        let buffer = self.buffers.named(&leaf.slot).filter(|_| self.graph.is_same(input.graph()));
        let Some(buffer) = buffer else {
            let message = format!("{} is no input of the log density", leaf.slot);
            return Err(Error::Shape { operation: "sampler", message });
        };
        if values.len() != input.elements() {
            let message =
                format!("{}: expected {} values, got {}", leaf.slot, input.elements(), values.len());
            return Err(Error::Shape { operation: "sampler", message });
        }
        self.device.write(buffer, 4 * leaf.offset as u64, bytemuck::cast_slice(values))?;
        self.unset.borrow_mut().remove(&leaf.slot);
        Ok(())
    }

    /// Starts the chains at `x`. The noise is a function of `seed` and the number of the step.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of elements; the errors of [`Device::write`].
    pub fn start(&self, x: &[f32], seed: u32) -> Result<()> {
        self.place(x)?;
        self.buffers.write(COUNTER_WORDS, &[seed, 0, 0, 0])
    }

    /// Moves the chains to `x`, for example to restart some of them; the sequence of the noise continues.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of elements; the errors of [`Device::write`].
    pub fn place(&self, x: &[f32]) -> Result<()> {
        if x.len() != self.elements {
            let message = format!("expected {} elements for the chains, got {}", self.elements, x.len());
            return Err(Error::Shape { operation: "sampler", message });
        }
        let buffer = self.buffers.named(&self.x.slot).expect("it was made");
        self.device.write(buffer, 4 * self.x.offset as u64, bytemuck::cast_slice(x))?;
        self.unset.borrow_mut().remove(&self.x.slot);
        Ok(())
    }

    /// Queues `count` steps.
    ///
    /// # Errors
    /// [`Error::Binding`] before the chains and all other inputs are set; the errors of [`Device::run`].
    pub fn run(&self, count: usize) -> Result<()> {
        if let Some(slot) = self.unset.borrow().first() {
            let (program, message) = (self.program().name.clone(), "was never set".into());
            return Err(Error::Binding { program, buffer: slot.clone(), message });
        }
        self.device.run(&self.prepare)?;
        (0..count).try_for_each(|_| self.device.run(&self.step))
    }

    /// The current chains; waits for the device.
    ///
    /// # Errors
    /// The errors of [`Device::read`].
    pub fn chains(&self) -> Result<Vec<f32>> {
        let buffer = self.buffers.named(&self.x.slot).expect("it was made");
        let (first, bytes) = (4 * self.x.offset as u64, 4 * self.elements as u64);
        Ok(bytemuck::pod_collect_to_vec(&self.device.read_later(buffer, first, bytes)?.wait()?))
    }

    /// The program of a step.
    pub fn program(&self) -> &Program {
        self.step.program()
    }
}

/// The inputs of `graph`.
fn inputs(graph: &Graph) -> Vec<Leaf> {
    let leaf = |id| match graph.node(id).op {
        Op::Leaf(leaf) if !leaf.parameter => Some(leaf),
        _ => None,
    };
    (0..graph.len()).filter_map(leaf).collect()
}

fn leaf(x: &Tensor) -> Result<Leaf> {
    match x.graph().node(x.id()).op {
        Op::Leaf(leaf) if leaf.parameter => {
            let message = "the chains must be an input of the graph, not its parameters".into();
            Err(Error::Shape { operation: "sampler", message })
        }
        Op::Leaf(leaf) => Ok(leaf),
        op => {
            let message =
                format!("the chains must be an input of the graph, not the result of {}", op.name());
            Err(Error::Shape { operation: "sampler", message })
        }
    }
}
