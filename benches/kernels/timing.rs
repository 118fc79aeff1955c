//! The stopwatch: one kernel, replayed until its time is known.

use jem::device::{Device, ProgramBuilder};
use jem::kernels::{Access, Kernel};
use std::time::{Duration, Instant};

/// Where and how long to measure.
pub struct Bench {
    /// The device.
    pub device: Device,
    /// Time for each kernel.
    pub budget: Duration,
    /// Images of a batch.
    pub batch: usize,
}

/// Times of one dispatch.
pub struct Times {
    /// The shortest: what the kernel takes when nothing else runs.
    pub best: Duration,
    /// The median.
    pub median: Duration,
    /// Its floating-point operations.
    pub flops: u64,
    /// The bytes that it reads and writes.
    pub bytes: u64,
}

impl Bench {
    /// Replays `kernel` and prints its times under `label`. Bindings named for what they hold get indices,
    /// labels or positive numbers, all others floats in [-1, 1].
    ///
    /// # Errors
    /// As [`Device::load`] and [`Device::profile`].
    pub fn time<K: Kernel + 'static>(&self, label: &str, kernel: K) -> jem::Result<Times> {
        let flops = kernel.flops();
        let mut bytes = 0;
        let mut builder = ProgramBuilder::new(label);
        let mut buffers = Vec::new();
        let mut views = Vec::new();
        for binding in kernel.bindings() {
            let contents: Vec<u32> = match binding.access {
                Access::Write => vec![0; binding.words],
                Access::Read | Access::Update => (0..binding.words).map(|i| word(binding.name, i)).collect(),
            };
            bytes += 4 * binding.moved as u64;
            buffers.push((binding.name, self.device.buffer_from(binding.name, &contents)?));
            views.push(builder.external(binding.name, binding.words));
        }
        builder.dispatch(label, kernel, &views);
        let externals: Vec<_> = buffers.iter().map(|(name, buffer)| (*name, buffer)).collect();
        let executable = self.device.load(builder.finish(), &externals)?;
        for _ in 0..2 {
            self.device.profile(&executable)?;
        }
        let mut times = Vec::new();
        let start = Instant::now();
        while times.len() < 3 || start.elapsed() < self.budget {
            times.push(self.device.profile(&executable)?[0].time);
        }
        times.sort();
        let times = Times { best: times[0], median: times[times.len() / 2], flops, bytes };
        print_times(label, &times);
        Ok(times)
    }
}

/// Word `i` of the binding `name`.
fn word(name: &str, i: usize) -> u32 {
    let uniform = (i.wrapping_mul(2_654_435_761) % 2001) as f32 / 1000.0 - 1.0;
    match name {
        "labels" => (i % 10) as u32,
        "indices" | "counters" => i as u32,
        // Adam's second moment and a squared norm.
        "second" | "norm" => uniform.abs().to_bits(),
        _ => uniform.to_bits(),
    }
}

/// One line: label, work, times, and the rates at the best time.
pub fn print_times(label: &str, times: &Times) {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let rate = |count: u64| count as f64 / 1e9 / times.best.as_secs_f64();
    println!(
        "  {label:<34} {:>8.3} GFLOP  best {:>8.3} ms  median {:>8.3} ms  {:>8.1} GFLOP/s {:>8.1} GB/s",
        times.flops as f64 / 1e9,
        milliseconds(times.best),
        milliseconds(times.median),
        rate(times.flops),
        rate(times.bytes)
    );
}
