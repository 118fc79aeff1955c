//! The stopwatch: one kernel, replayed until its time is known.

use crate::ceilings::{Ceilings, Floor, bytes};
use crate::options::Network;
use crate::replay::replay;
use crate::report::{Report, milliseconds};
use jem::compute::half;
use jem::compute::storage::Storage;
use jem::compute::{Access, Binding, Kernel};
use jem::device::{Device, ProgramBuilder};
use rayon::prelude::*;
use serde_json::json;
use std::time::Duration;

/// The settings of a measurement, and the report that its results go to.
pub struct Bench<'a> {
    /// The device.
    pub device: &'a Device,
    /// The ceilings of the device.
    pub ceilings: &'a Ceilings,
    /// Networks whose shapes are measured.
    pub networks: &'a [Network],
    /// Images of a batch.
    pub batch: usize,
    /// Time for each shape.
    pub budget: Duration,
    /// The kernel that is measured.
    pub kernel: &'static str,
    /// The results.
    pub report: &'a mut Report,
}

/// Times of one dispatch, or of several together.
pub struct Times {
    best: Duration,
    median: Duration,
    /// Floating-point operations.
    flops: u64,
    /// Bytes read and written.
    bytes: u64,
    /// The least time that the ceilings allow, if there are any for it.
    floor: Option<Floor>,
}

impl Times {
    /// The times of no dispatch.
    pub fn none() -> Self {
        let zero = Duration::ZERO;
        Self { best: zero, median: zero, flops: 0, bytes: 0, floor: Some(Floor::default()) }
    }

    /// The sum of these times and `count` times `other`.
    pub fn plus(self, count: u32, other: &Self) -> Self {
        Self {
            best: self.best + count * other.best,
            median: self.median + count * other.median,
            flops: self.flops + u64::from(count) * other.flops,
            bytes: self.bytes + u64::from(count) * other.bytes,
            floor: self.floor.zip(other.floor).map(|(all, one)| all.plus(count, &one)),
        }
    }
}

impl Bench<'_> {
    /// The networks with the words of their flat parameter buffers.
    pub fn parameters(&self) -> Vec<(String, usize)> {
        let words = |network: &Network| (format!("parameters of {network}"), network.parameters());
        self.networks.iter().map(words).collect()
    }

    /// Replays `kernel` and reports its times under `label`; without a result, reports why. Bindings named for
    /// what they hold get indices, labels or positive numbers, all others floats in [-1, 1].
    pub fn time<K: Kernel + 'static>(&mut self, label: &str, kernel: K) -> Option<Times> {
        match self.measure(label, kernel) {
            Ok(times) => {
                self.print(label, &times);
                Some(times)
            }
            Err(error) => {
                self.report.failed(&format!("{} {label}", self.kernel), &error);
                None
            }
        }
    }

    fn measure<K: Kernel + 'static>(&self, label: &str, kernel: K) -> jem::Result<Times> {
        let (flops, bytes, floor) = (kernel.flops(), bytes(&kernel), self.ceilings.floor(&kernel));
        let mut builder = ProgramBuilder::new(label);
        let mut buffers = Vec::new();
        let mut views = Vec::new();
        for binding in kernel.bindings() {
            buffers.push((binding.name, self.device.buffer_from(binding.name, &contents(&binding))?));
            views.push(builder.external_named(binding.name, binding.words));
        }
        builder.dispatch(label, kernel, &views);
        let externals: Vec<_> = buffers.iter().map(|(name, buffer)| (*name, buffer)).collect();
        let executable = self.device.load(builder.finish(), &externals)?;
        let times = replay(self.budget, || Ok(self.device.profile(&executable)?[0].time))?;
        Ok(Times { best: times[0], median: times[times.len() / 2], flops, bytes, floor })
    }

    /// Reports `times` under `label`, with the rates at the median.
    pub fn print(&mut self, label: &str, times: &Times) {
        let rate = |count: u64| count as f64 / 1e9 / times.median.as_secs_f64();
        let row = vec![
            json!(format!("{} {label}", self.kernel)),
            json!(times.flops as f64 / 1e9),
            json!(milliseconds(times.best)),
            json!(milliseconds(times.median)),
            json!(rate(times.flops)),
            json!(rate(times.bytes)),
            json!(times.floor.map(|floor| floor.bound())),
            json!(times.floor.map(|floor| floor.least.as_secs_f64() / times.median.as_secs_f64())),
        ];
        self.report.row(row);
    }
}

/// The words that `binding` holds before a run, made on all cores, so that a GPU rented by the minute waits less.
fn contents(binding: &Binding) -> Vec<u32> {
    let uniform = |i: usize| (i.wrapping_mul(2_654_435_761) % 2001) as f32 / 1000.0 - 1.0;
    let indices = || (0..binding.words).into_par_iter();
    match (binding.access, binding.storage, binding.name) {
        (Access::Write, ..) => vec![0; binding.words],
        (_, _, "labels") => indices().map(|i| (i % 10) as u32).collect(),
        (_, _, "indices" | "counters") => indices().map(|i| i as u32).collect(),
        // Adam's second moment and a squared norm.
        (_, Storage::F32, "second" | "norm") => indices().map(|i| uniform(i).abs().to_bits()).collect(),
        (_, Storage::F32, _) => indices().map(|i| uniform(i).to_bits()).collect(),
        (_, Storage::F16, _) => {
            let values: Vec<f32> = (0..2 * binding.words).into_par_iter().map(uniform).collect();
            half::narrow(&values)
        }
    }
}
