//! A device with the tensors of a shape, and the programs that compute it.

use super::bound::bound;
use crate::compute::Kernel;
use crate::compute::conv_geometry::{ConvGeometry, ConvProblem, Direction};
use crate::compute::half::narrow;
use crate::compute::storage::{Storage, Storages};
use crate::device::{Buffer, Device, Executable, Program, ProgramBuilder, View};
use crate::error::Result;
use crate::graph::{Graph, Leaf, Output, Tensor, lower};
use crate::kernels::conv2d::Conv2d;
use crate::kernels::conv2d_input_gradient::Conv2dInputGradient;
use crate::kernels::conv2d_weight_gradient::Conv2dWeightGradient;
use crate::kernels::reduce::{Reduce, ReduceOp};
use crate::policy::convolution::ConvolutionPolicy;
use crate::policy::implementation::ConvImplementation;
use crate::self_test::{random, stored_difference};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs for each reading of the host's clock, where the device has no timestamps.
const RUNS: u32 = 8;

/// The external slot of a candidate's result.
const RESULT: &str = "result";

/// A device with the tensors of a shape.
pub(super) struct TrialRunner {
    device: Device,
    shape: ConvProblem,
    buffers: BTreeMap<String, Buffer>,
}

impl TrialRunner {
    pub(super) fn new(device: &Device, shape: &ConvProblem) -> Self {
        Self { device: device.clone(), shape: *shape, buffers: BTreeMap::new() }
    }

    /// The program that `policy` makes of the shape, loaded, with its weights prepared.
    pub(super) fn load(&mut self, policy: ConvolutionPolicy) -> Result<Executable> {
        let [prepare, program] = programs(&self.shape, &policy)?;
        for slot in prepare.externals().chain(program.externals()) {
            if !self.buffers.contains_key(&slot.name) {
                // Inputs are random numbers, the same on every device, made on all cores.
                let random = |words: usize| -> Vec<f32> {
                    (0..words).into_par_iter().map(|i| random(&slot.name, i)).collect()
                };
                let words = slot.bytes as usize / 4;
                let buffer = match storage_of(&self.shape, &slot.name) {
                    Storage::F32 => self.device.buffer_from(&slot.name, &random(words)),
                    Storage::F16 => self.device.buffer_from(&slot.name, &narrow(&random(2 * words))),
                };
                self.buffers.insert(slot.name.clone(), buffer?);
            }
        }
        let externals: Vec<_> = self.buffers.iter().map(|(name, buffer)| (name.as_str(), buffer)).collect();
        if !prepare.dispatches.is_empty() {
            self.device.run(&self.device.load(prepare, &externals)?)?;
        }
        self.device.load(program, &externals)
    }

    /// The result of a run; words that the run did not write are NaN.
    pub(super) fn result(&self, program: &Executable) -> Result<Vec<u32>> {
        let result = &self.buffers[RESULT];
        // A NaN in f16 too.
        let unwritten = vec![u32::MAX; result.bytes() as usize / 4];
        self.device.write(result, 0, bytemuck::cast_slice(&unwritten))?;
        self.device.run(program)?;
        self.device.read_as(result)
    }

    /// The program of `candidate`, which `policy` chooses, if its result is near `expected`, else a message.
    pub(super) fn right(
        &mut self,
        policy: ConvolutionPolicy,
        candidate: &ConvImplementation,
        expected: &[u32],
    ) -> Result<Result<Executable, String>> {
        let program = self.load(policy)?;
        let error = stored_difference(storage_of(&self.shape, RESULT), &self.result(&program)?, expected);
        let bound = bound(&self.shape, candidate);
        Ok(match error <= bound {
            true => Ok(program),
            false => Err(format!("error {error:.1e} over {bound:.0e}")),
        })
    }

    /// Seconds of one run: by timestamps where the device has them, else by the host's clock.
    pub(super) fn time(&self, program: &Executable) -> Result<f64> {
        // No run takes less than the clock's tick.
        let seconds = |time: Duration| time.max(Duration::from_nanos(1)).as_secs_f64();
        if self.device.adapter().is_none_or(|adapter| adapter.timestamps) {
            return Ok(seconds(self.device.profile(program)?.iter().map(|dispatch| dispatch.time).sum()));
        }
        self.device.wait()?;
        let started = Instant::now();
        for _ in 0..RUNS {
            self.device.run(program)?;
        }
        self.device.wait()?;
        Ok(seconds(started.elapsed() / RUNS))
    }
}

/// The program that prepares the weights, and the convolution of `shape` as `policy` makes it.
pub(super) fn programs(shape: &ConvProblem, policy: &ConvolutionPolicy) -> Result<[Program; 2]> {
    if shape.is_half() { Ok(half_programs(shape, policy)) } else { lowered(shape, policy) }
}

/// [`programs`] in f32, by lowering.
fn lowered(shape: &ConvProblem, policy: &ConvolutionPolicy) -> Result<[Program; 2]> {
    let g = shape.geometry;
    let ConvGeometry { n, h, w, c_in, c_out, kh, kw, stride, padding } = g;
    let graph = Graph::new();
    let leaf = |name: &str, shape: [usize; 4], parameter| -> Tensor {
        let words = shape.iter().product();
        graph.leaf(Leaf { slot: name.into(), words, offset: 0, parameter }, shape)
    };
    let input = || leaf("input", [n, h, w, c_in], false);
    let gradient = || leaf("gradient", [n, g.out_h(), g.out_w(), c_out], false);
    let weights = || leaf("weights", [kh, kw, c_in, c_out], true);
    let tensor = match shape.direction {
        Direction::Forward => input().conv2d(&weights(), None, stride, padding).leaky_relu(0.2),
        Direction::InputGradient => gradient().conv2d_input_gradient(&weights(), g),
        Direction::WeightGradient => input().conv2d_weight_gradient(&gradient(), g),
    };
    let mut prepare = ProgramBuilder::new("prepare");
    let mut program = ProgramBuilder::new(shape.to_string());
    let view = program.external_named(RESULT, tensor.elements());
    lower(policy, &mut program, Some(&mut prepare), &[Output { tensor: &tensor, view }])?;
    Ok([prepare.finish(), program.finish()])
}

/// [`programs`] in f16, kernel by kernel, without a preparation: the copies of the weights are random numbers too.
fn half_programs(shape: &ConvProblem, policy: &ConvolutionPolicy) -> [Program; 2] {
    let &ConvProblem { direction, geometry, storage } = shape;
    let (kernel, sums): (Arc<dyn Kernel>, Vec<Reduce>) = match direction {
        Direction::Forward => {
            let kernel = Conv2d { raw: false, activated: Some(0.2), storage, ..Conv2d::new(geometry) };
            (Arc::new(policy.forward(kernel)), Vec::new())
        }
        Direction::InputGradient => {
            let kernel = Conv2dInputGradient { storage, ..Conv2dInputGradient::new(geometry) };
            (Arc::new(policy.input_gradient(kernel)), Vec::new())
        }
        Direction::WeightGradient => {
            let kernel = Conv2dWeightGradient { storage, ..Conv2dWeightGradient::new(geometry) };
            let kernel = policy.weight_gradient(kernel);
            let sums = match kernel.parts {
                1 => Vec::new(),
                parts => Reduce::stages(1, parts, geometry.weights_len(), ReduceOp::Sum),
            };
            (Arc::new(kernel), sums)
        }
    };
    let mut program = ProgramBuilder::new(shape.to_string());
    // The convolution writes its last binding, which the first sum reads.
    let bindings = kernel.bindings();
    let (written, read) = bindings.split_last().expect("a convolution writes");
    let lens: Vec<usize> =
        std::iter::once(written.words).chain(sums.iter().map(Reduce::output_len)).collect();
    let mut views: Vec<View> =
        read.iter().map(|binding| program.external_named(binding.name, binding.words)).collect();
    let place = |(i, &len): (usize, &usize)| match i == sums.len() {
        true => program.external_named(RESULT, len),
        false => program.transient("partial sums", len),
    };
    let places: Vec<View> = lens.iter().enumerate().map(place).collect();
    views.push(places[0]);
    program.dispatch_shared("convolution", kernel, &views);
    for (&stage, views) in sums.iter().zip(places.windows(2)) {
        program.dispatch("sum of parts", stage, views);
    }
    [ProgramBuilder::new("prepare").finish(), program.finish()]
}

/// The storage of slot `name` of [`programs`].
fn storage_of(shape: &ConvProblem, name: &str) -> Storage {
    let Storages { a, b, c } = shape.storage;
    match (name, shape.direction) {
        (RESULT, _) => c,
        ("weights" | "transposed", _) | ("gradient", Direction::WeightGradient) => b,
        _ => a,
    }
}
