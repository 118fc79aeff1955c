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
}

impl Bench {
    /// Replays `kernel` on arbitrary finite floats and prints its times under `label`.
    ///
    /// # Errors
    /// As [`Device::load`] and [`Device::profile`].
    pub fn time<K: Kernel + 'static>(&self, label: &str, kernel: K) -> jem::Result<Times> {
        let flops = kernel.flops();
        let mut builder = ProgramBuilder::new(label);
        let mut buffers = Vec::new();
        let mut views = Vec::new();
        for binding in kernel.bindings() {
            let of = |i: usize| (i.wrapping_mul(2_654_435_761) % 2001) as f32 / 1000.0 - 1.0;
            let contents: Vec<f32> = match binding.access {
                Access::Write => vec![0.0; binding.words],
                Access::Read | Access::Update => (0..binding.words).map(of).collect(),
            };
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
        let times = Times { best: times[0], median: times[times.len() / 2] };
        print_times(label, flops, &times);
        Ok(times)
    }
}

/// One line: label, work, times, and GFLOP/s at the best time.
pub fn print_times(label: &str, flops: u64, times: &Times) {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "  {label:<34} {:>8.3} GFLOP  best {:>8.3} ms  median {:>8.3} ms  {:>8.1} GFLOP/s",
        flops as f64 / 1e9,
        milliseconds(times.best),
        milliseconds(times.median),
        flops as f64 / 1e9 / times.best.as_secs_f64()
    );
}
