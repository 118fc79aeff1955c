//! Training with a custom loss: weights on a device, and a step of an optimizer from a loss expression.
//!
//! ```
//! use jem::device::Device;
//! use jem::graph::Graph;
//! use jem::nn::batch_norm::NormMode;
//! use jem::nn::init::Init;
//! use jem::nn::layers::Layered;
//! use jem::nn::network::{Network, Pass};
//! use jem::nn::optimizer::Optimizer;
//! use jem::nn::training::{TrainingStep, Weights};
//!
//! # fn main() -> jem::Result<()> {
//! let network = Layered::new("xor", [1, 1, 2], 2, |layers, x| layers.linear("fc", &x.flatten(), 16).tanh());
//! let weights = Weights::of(&Device::cpu(), &network, Init::HeNormal, 1)?;
//! let graph = Graph::new();
//! let (x, labels) = (graph.input("x", [4, 1, 1, 2]), graph.indices("labels", [4]));
//! let logits = network.logits(&x, &mut Pass::new(weights.layout(), NormMode::Training));
//! let loss = logits.cross_entropy(&labels);
//! let mut step = TrainingStep::new(&weights, Optimizer::adam(), &loss)?;
//! step.set(&x, &[-1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0, 1.0])?;
//! step.set(&labels, &[0, 1, 1, 0])?;
//! for _ in 0..300 {
//!     step.run(1e-2)?;
//! }
//! assert!(step.get(&loss)?[0] < 0.05);
//! # Ok(())
//! # }
//! ```

use super::init::Init;
use super::network::{Network, Pass};
use super::optimizer::{CONTROL_WORDS, GRADIENTS, Optimizer, gradient_norm};
use super::parameters::ParameterLayout;
use crate::device::{Buffer, Buffers, Device, Program, ProgramBuilder};
use crate::error::{Error, Result};
use crate::graph::{Counters, Function, Output, Tensor, Value};
use crate::kernels::adam::CONTROL;
use crate::kernels::tick::{COUNTERS, ITERATION, Tick};

/// The parameters of a network on a device. Clones share them, and so do all functions and steps made from them.
#[derive(Debug, Clone)]
pub struct Weights {
    device: Device,
    layout: ParameterLayout,
    buffer: Buffer,
}

impl Weights {
    /// Puts `values` on the device, the flat buffer of `layout`.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of values; the errors of [`Device::buffer`].
    pub fn new(device: &Device, layout: ParameterLayout, values: &[f32]) -> Result<Self> {
        check_len(&layout, values)?;
        let buffer = device.buffer_from(layout.slot(), values)?;
        Ok(Self { device: device.clone(), layout, buffer })
    }

    /// Initial parameters of `network`.
    ///
    /// # Errors
    /// The errors of [`Network::check`] and [`Device::buffer`].
    pub fn of(device: &Device, network: &dyn Network, init: Init, seed: u32) -> Result<Self> {
        network.check()?;
        let layout = network.layout();
        let values = layout.initialise(init, network.slope(), seed);
        Self::new(device, layout, &values)
    }

    /// The device that they are on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The names, shapes and places of the parameters.
    pub fn layout(&self) -> &ParameterLayout {
        &self.layout
    }

    /// The same parameters in a buffer called `slot` ([`ParameterLayout::in_slot`]), so that a loss can read several
    /// networks:
    ///
    /// ```
    /// use jem::device::Device;
    /// use jem::graph::Graph;
    /// use jem::nn::init::Init;
    /// use jem::nn::optimizer::Optimizer;
    /// use jem::nn::parameters::{ParameterKind, ParameterLayout};
    /// use jem::nn::training::{StepOptions, TrainingStep, Weights};
    ///
    /// # fn main() -> jem::Result<()> {
    /// let (device, mut layout) = (Device::cpu(), ParameterLayout::default());
    /// layout.push("x".into(), vec![1], ParameterKind::Constant(3.0));
    /// let values = layout.initialise(Init::HeNormal, 0.0, 1);
    /// let a = Weights::new(&device, layout.clone(), &values)?.in_slot("a");
    /// let b = Weights::new(&device, layout, &values)?.in_slot("b");
    /// let graph = Graph::new();
    /// let [x, y] = [&a, &b].map(|weights| weights.layout().leaf(&graph, "x"));
    /// let loss = x.sub(&y.affine(2.0, 1.0)).square();
    /// // The step moves `a` and reads `b`.
    /// let options = StepOptions { frozen: &[&b], ..StepOptions::default() };
    /// let mut step = TrainingStep::with(&a, Optimizer::sgd(0.0), &loss, &options)?;
    /// step.run(0.5)?;
    /// assert_eq!((a.values()?[0], b.values()?[0]), (7.0, 3.0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn in_slot(self, slot: &str) -> Self {
        Self { layout: self.layout.in_slot(slot), ..self }
    }

    /// The current values, as the flat buffer; waits for the device.
    ///
    /// # Errors
    /// The errors of [`Device::read`].
    pub fn values(&self) -> Result<Vec<f32>> {
        self.device.read_as(&self.buffer)
    }

    /// Replaces all values.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of values; the errors of [`Device::write`].
    pub fn set(&self, values: &[f32]) -> Result<()> {
        check_len(&self.layout, values)?;
        self.device.write(&self.buffer, 0, bytemuck::cast_slice(values))
    }

    /// A function of `outputs` that reads these parameters, as they are whenever it runs.
    ///
    /// # Errors
    /// The errors of [`Function::new`].
    pub fn function(&self, outputs: &[&Tensor]) -> Result<Function> {
        self.function_beside(&[], outputs)
    }

    /// [`Weights::function`] of outputs that read the parameters of `others` too.
    ///
    /// # Errors
    /// The errors of [`Function::new`]; [`Error::Shape`] for two networks in one slot.
    pub fn function_beside(&self, others: &[&Weights], outputs: &[&Tensor]) -> Result<Function> {
        let builder = ProgramBuilder::new("function");
        let buffers = shared(&[&[self], others].concat(), &[])?;
        Function::assemble(self.device.policy(), builder, buffers, outputs, &[], |_| {})
    }

    /// The buffers of a program that reads them.
    pub(crate) fn buffers(&self) -> Buffers {
        let mut buffers = Buffers::new(&self.device);
        buffers.share_named(self.layout.slot(), self.buffer.clone());
        buffers
    }
}

/// The buffers of a program that reads the parameters of all `weights` and has `own` buffers beside them.
fn shared(weights: &[&Weights], own: &[&str]) -> Result<Buffers> {
    let mut buffers = weights[0].buffers();
    for (number, other) in weights.iter().enumerate() {
        let slot = other.layout.slot();
        let twice = weights[..number].iter().find(|earlier| earlier.buffer.is_same(&other.buffer));
        if let Some(earlier) = twice.filter(|earlier| earlier.layout.slot() != slot) {
            let (a, b) = (earlier.layout.slot(), slot);
            let message = format!(
                "{a:?} and {b:?} are one buffer, because clones of Weights share it; make the second with Weights::new \
                 from the values of the first"
            );
            return Err(Error::Shape { operation: "parameters", message });
        }
        let message = match weights[..number].iter().find(|earlier| earlier.layout.slot() == slot) {
            Some(earlier) => {
                let (a, b) = (&earlier.layout, &other.layout);
                format!(
                    "two networks have their parameters in {slot:?} ({a}; {b}); name one of them with Weights::in_slot"
                )
            }
            None if own.contains(&slot) => {
                format!("{slot:?} is the name of a buffer of the program; choose another for the parameters")
            }
            None => {
                buffers.share_named(slot, other.buffer.clone());
                continue;
            }
        };
        return Err(Error::Shape { operation: "parameters", message });
    }
    Ok(buffers)
}

fn check_len(layout: &ParameterLayout, values: &[f32]) -> Result<()> {
    if values.len() == layout.words() {
        return Ok(());
    }
    let message = format!("expected a flat buffer of {} values, got {}", layout.words(), values.len());
    Err(Error::Shape { operation: "parameters", message })
}

/// A step of an optimizer down the gradient of a loss, as one program.
#[derive(Debug)]
pub struct TrainingStep {
    function: Function,
    optimizer: Optimizer,
    steps: u64,
}

impl TrainingStep {
    /// The step that lowers `loss`, or the sum of its elements if it is not a scalar.
    ///
    /// # Errors
    /// The errors of [`Function::new`].
    pub fn new(weights: &Weights, optimizer: Optimizer, loss: &Tensor) -> Result<Self> {
        Self::with(weights, optimizer, loss, &StepOptions::default())
    }

    /// [`TrainingStep::new`] with options.
    ///
    /// # Errors
    /// The errors of [`Function::new`]; [`Error::Shape`] for a network without trained parameters, or whose trained
    /// parameters do not come first, for two networks in one slot, for two passes through one network, or for a pass
    /// through a network that is not trained; [`Error::Setting`] for a bound on the norm that is not positive.
    pub fn with(
        weights: &Weights,
        optimizer: Optimizer,
        loss: &Tensor,
        options: &StepOptions<'_>,
    ) -> Result<Self> {
        let trained: Vec<&Weights> =
            std::iter::once(weights).chain(options.trained.iter().copied()).collect();
        trained.iter().try_for_each(|weights| weights.layout.check_trained())?;
        if let Some(bound) = options.clip_norm.filter(|&bound| bound.is_nan() || bound <= 0.0) {
            return Err(Error::setting("clip_norm", format!("must be above 0, got {bound}")));
        }
        let mut builder = ProgramBuilder::new("training step");
        // The networks' gradients lie one after the other, so that their norm is one.
        let words: usize = trained.iter().map(|weights| weights.layout.words()).sum();
        let flat = builder.external(GRADIENTS, words);
        let places = trained.iter().scan(0, |end, weights| {
            let first = *end;
            *end += weights.layout.words();
            Some((first, &weights.layout))
        });
        let places: Vec<(usize, &ParameterLayout)> = places.collect();
        let leaves: Vec<Tensor> = places.iter().flat_map(|(_, layout)| layout.leaves(loss.graph())).collect();
        let gradients = loss.graph().grad_of_all(&[loss], &leaves.iter().collect::<Vec<_>>());
        let parameters = places
            .iter()
            .flat_map(|&(first, layout)| layout.trained().map(move |of| (first + of.offset, of)));
        let mut assigned = Vec::new();
        for ((first, parameter), tensor) in parameters.zip(&gradients) {
            assigned.push(Output { tensor, view: flat.part(first, parameter.elements()) });
        }
        let next: Vec<_> = options.passes.iter().map(|(pass, rate)| pass.running_statistics(*rate)).collect();
        for (number, ((pass, _), next)) in options.passes.iter().zip(&next).enumerate() {
            if options.passes[..number].iter().any(|(other, _)| other.layout().slot() == pass.layout().slot())
            {
                let message = format!("two passes through the network in {:?}", pass.layout().slot());
                return Err(Error::Shape { operation: "running statistics", message });
            }
            let is_its = |(_, layout): &&(usize, &ParameterLayout)| {
                layout.slot() == pass.layout().slot() && layout.is_alike(pass.layout())
            };
            let Some((_, layout)) = places.iter().find(is_its) else {
                let own = places.iter().map(|(_, layout)| format!("{layout} in {:?}", layout.slot()));
                let (pass, own) = (pass.layout(), own.collect::<Vec<_>>().join("; "));
                let message =
                    format!("the pass is made with {pass} in {:?}, the step trains {own}", pass.slot());
                return Err(Error::Shape { operation: "running statistics", message });
            };
            assigned.extend(layout.outputs(&mut builder, next));
        }
        let mut own = vec![GRADIENTS.name(), CONTROL_WORDS.name()];
        own.extend(optimizer.state().iter().map(|slot| slot.name()));
        let mut buffers = shared(&[&trained, options.frozen].concat(), &own)?;
        buffers.zeros(CONTROL_WORDS, CONTROL)?;
        for &slot in optimizer.state() {
            buffers.zeros(slot, words)?;
        }
        let outputs: Vec<&Tensor> = std::iter::once(loss).chain(options.outputs.iter().copied()).collect();
        let finish = |builder: &mut ProgramBuilder| {
            let norm = builder.transient("gradient norm", 1);
            gradient_norm(builder, words, norm);
            for &(first, layout) in &places {
                optimizer.step_at(builder, layout, [first, words], options.clip_norm, norm);
            }
            if let Some(counters) = options.counters {
                let view = builder.external_named(&counters.slot(), COUNTERS);
                builder.dispatch("step", Tick { word: ITERATION }, &[view]);
            }
        };
        let policy = weights.device.policy();
        let function = Function::assemble(policy, builder, buffers, &outputs, &assigned, finish)?;
        Ok(Self { function, optimizer, steps: 0 })
    }

    /// Sets an input of the loss: [`Function::set`].
    ///
    /// # Errors
    /// The errors of [`Function::set`].
    pub fn set<V: Value>(&self, input: &V, values: &[V::Element]) -> Result<()> {
        self.function.set(input, values)
    }

    /// Queues a step at this learning rate.
    ///
    /// # Errors
    /// The errors of [`Function::run`].
    pub fn run(&mut self, learning_rate: f64) -> Result<()> {
        let control = self.optimizer.control(self.steps + 1, learning_rate, 0.0);
        self.function.set_slot(CONTROL_WORDS.name(), &control)?;
        self.function.run()?;
        self.steps += 1;
        Ok(())
    }

    /// The value of the loss, or of another output, before the last step; waits for the device.
    ///
    /// # Errors
    /// The errors of [`Function::get`].
    pub fn get(&self, output: &Tensor) -> Result<Vec<f32>> {
        self.function.get(output)
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The program of a step.
    pub fn program(&self) -> &Program {
        self.function.program()
    }
}

/// Options of a [`TrainingStep`].
#[derive(Debug, Clone, Copy, Default)]
pub struct StepOptions<'a> {
    /// The largest norm of the gradient of all parameters; a longer one is scaled down to it.
    pub clip_norm: Option<f32>,
    /// The passes that update running statistics, each with the weight of the batch in the next statistics (PyTorch's
    /// momentum). A network has at most one pass, which may take several batches.
    pub passes: &'a [(&'a Pass<'a>, f32)],
    /// The weights of other networks that the loss reads and the step trains too, by the same optimizer.
    /// [`StepOptions::clip_norm`] bounds the norm of all gradients together.
    pub trained: &'a [&'a Weights],
    /// The weights of other networks that the loss reads and the step does not change.
    pub frozen: &'a [&'a Weights],
    /// The counters of the loss's random numbers, such as those of dropout: each step draws new numbers, because it
    /// adds one to their second word. [`TrainingStep::set`] sets their seed once; with the number of steps taken as the
    /// second word, a resumed run draws the numbers of an uninterrupted one.
    pub counters: Option<&'a Counters>,
    /// Tensors to [`TrainingStep::get`] besides the loss.
    pub outputs: &'a [&'a Tensor],
}
