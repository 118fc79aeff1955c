//! What a device reaches when nothing is in its way: multiply-adds in registers, and big tensors moved. Both
//! probes are held to exact results, so that no compiler can have left their work out.

mod chains;
mod chains_cpu;
mod stream;

use crate::kernels::timing::replay;
use crate::options::Setting;
use crate::report::{Report, mebibytes, milliseconds};
use chains::Chains;
use jem::device::{Buffer, Device, ProgramBuilder};
use jem::kernels::Kernel;
use serde_json::json;
use std::time::Duration;
use stream::{Stream, Traffic};

/// KiB of a tensor that is moved: from what stays in a core's cache to past the caches of the largest GPUs.
const SIZES: [usize; 8] = [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 512 << 10];
/// The largest with --quick.
const QUICK_SIZE: usize = 64 << 10;

/// The rates that bound a kernel's time.
#[derive(Debug)]
pub struct Ceilings {
    /// f32 operations a second.
    flops: f64,
    /// The probe that reached them.
    fastest: Chains,
    /// Bytes that a probe touches and the bytes a second at which it does, by ascending size.
    streams: Vec<(u64, f64)>,
}

impl Ceilings {
    /// Measures them.
    ///
    /// # Errors
    /// What the device refuses, and wrong results.
    pub fn measure(setting: &Setting, report: &mut Report) -> Result<Self, String> {
        let (flops, fastest) = arithmetic(setting, report)?;
        let streams = memory(setting, report)?;
        Ok(Self { flops, fastest, streams })
    }

    /// Measures the ceiling of arithmetic again and says what became of it, below what was held to it: clocks
    /// change, and machines are shared.
    ///
    /// # Errors
    /// As [`Ceilings::measure`].
    pub fn again(&self, setting: &Setting, report: &mut Report) -> Result<(), String> {
        let (kernel, time) = sized(setting, self.fastest)?;
        let change = 100.0 * (kernel.flops() as f64 / time.as_secs_f64() / self.flops - 1.0);
        report.note(&format!(
            "the ceiling of arithmetic afterwards: {change:+.0}%; far from 0, fractions mean little"
        ));
        Ok(())
    }

    /// Bytes a second that tensors of `bytes` in all can be moved at: the best of any probe of that size (the
    /// next smaller one that was measured) or a larger one, because small ones are measured with the cost of
    /// beginning and may stay in caches.
    fn bandwidth(&self, bytes: u64) -> f64 {
        let from = self.streams.iter().map(|(size, _)| *size).filter(|&size| size <= bytes).max();
        let above = self.streams.iter().filter(|(size, _)| *size >= from.unwrap_or(0));
        above.map(|(_, rate)| *rate).fold(0.0, f64::max)
    }

    fn times(&self, flops: u64, bytes: u64) -> [f64; 2] {
        [flops as f64 / self.flops, bytes as f64 / self.bandwidth(bytes)]
    }

    /// The least time of so many operations and bytes: the roofline.
    pub fn least(&self, flops: u64, bytes: u64) -> Duration {
        let [arithmetic, memory] = self.times(flops, bytes);
        Duration::from_secs_f64(arithmetic.max(memory))
    }

    /// Which of the two bounds it.
    pub fn bound(&self, flops: u64, bytes: u64) -> &'static str {
        let [arithmetic, memory] = self.times(flops, bytes);
        if arithmetic > memory { "arithmetic" } else { "memory" }
    }
}

/// The best rate of f32, in operations a second, and its probe; reports those of f16 too.
fn arithmetic(setting: &Setting, report: &mut Report) -> Result<(f64, Chains), String> {
    let title = "Ceiling of arithmetic: chains of multiply-adds in registers";
    report.table(title, "", &["probe", "ms", "GFLOP/s"]);
    let mut best: [Option<(f64, Chains)>; 2] = [None, None];
    let f16 = setting.device.adapter().is_some_and(|adapter| adapter.f16);
    // The host has one way to multiply and add.
    let ways: &[bool] = if setting.device.is_cpu() { &[true] } else { &[true, false] };
    for half in [false, true].into_iter().filter(|half| !half || f16) {
        for (vectors, &fused) in Chains::VECTORS.iter().flat_map(|v| ways.iter().map(move |way| (*v, way))) {
            let (kernel, time) = sized(setting, Chains { n: 4096, vectors, fused, f16: half })?;
            let rate = kernel.flops() as f64 / time.as_secs_f64();
            let (number, way) = (if half { "f16" } else { "f32" }, if fused { "fma" } else { "x * a + b" });
            let label = format!("{number}, {way}, {} chains a thread", 4 * vectors);
            report.row(vec![json!(label), json!(milliseconds(time)), json!(rate / 1e9)]);
            let best = &mut best[usize::from(half)];
            if best.is_none_or(|(other, _)| rate > other) {
                *best = Some((rate, kernel));
            }
        }
    }
    for (number, best) in ["f32", "f16"].into_iter().zip(best) {
        match best {
            Some((rate, _)) => {
                report.row(vec![json!(format!("{number}, the best")), json!(null), json!(rate / 1e9)]);
            }
            None => report.left_out(&format!("arithmetic in {number}: the device has none")),
        }
    }
    report.left_out("arithmetic of cooperative matrices (tensor cores): there is no probe yet");
    best[0].ok_or_else(|| "no f32 probe".into())
}

/// The chains on as many threads as take a while, and their best time.
fn sized(setting: &Setting, mut kernel: Chains) -> Result<(Chains, Duration), String> {
    /// Long enough for the clocks, and for what a dispatch costs.
    const ENOUGH: Duration = Duration::from_millis(5);
    const MOST_THREADS: usize = 1 << 23;
    loop {
        let y = setting.device.buffer("y", 4 * kernel.n as u64).map_err(|error| error.to_string())?;
        let timed = |budget| timed(&setting.device, budget, kernel, &[("y", &y)]);
        if timed(Duration::ZERO)?[0] < ENOUGH && kernel.n < MOST_THREADS {
            kernel.n *= 4;
            continue;
        }
        let times = timed(probe_time(setting))?;
        let results: Vec<f32> = setting.device.read_as(&y).map_err(|error| error.to_string())?;
        let wrong = kernel.expected().zip(&results).find(|(expected, result)| expected != *result);
        return match wrong {
            None => Ok((kernel, times[0])),
            Some((expected, result)) => Err(format!("{kernel:?} gives {result} instead of {expected}")),
        };
    }
}

/// Bytes touched and bytes a second, for the best probe of each size.
fn memory(setting: &Setting, report: &mut Report) -> Result<Vec<(u64, f64)>, String> {
    report.table("Ceiling of memory: tensors moved", "", &["tensor", "copy GB/s", "fill GB/s", "sums GB/s"]);
    let limit = setting.device.adapter().map_or(u64::MAX, |a| a.max_storage_binding.min(a.max_buffer));
    let largest = if setting.quick { QUICK_SIZE } else { usize::MAX };
    let mut streams = Vec::new();
    for size in SIZES.into_iter().filter(|&size| size <= largest) {
        let words = size << 8;
        if 4 * words as u64 > limit {
            report.left_out(&format!("tensors of {size} KiB: the device binds {} MiB", mebibytes(limit)));
            continue;
        }
        let buffers = || -> jem::Result<(Buffer, Buffer)> {
            let contents: Vec<u32> = (0..words).map(Stream::word).collect();
            Ok((setting.device.buffer_from("x", &contents)?, setting.device.buffer("y", 4 * words as u64)?))
        };
        let (x, y) = match buffers() {
            Ok(buffers) => buffers,
            Err(error) => {
                report.left_out(&format!("tensors of {size} KiB: {error}"));
                continue;
            }
        };
        let mut row = vec![json!(format!("{size} KiB"))];
        for traffic in [Traffic::Copy, Traffic::Fill, Traffic::Sums] {
            let kernel = Stream { traffic, words };
            let time = timed(&setting.device, probe_time(setting), kernel, &[("x", &x), ("y", &y)])?[0];
            check(&setting.device, &kernel, &y)?;
            let bytes: u64 = kernel.bindings().iter().map(|binding| 4 * binding.moved as u64).sum();
            let rate = bytes as f64 / time.as_secs_f64();
            row.push(json!(rate / 1e9));
            streams.push((bytes, rate));
        }
        report.row(row);
    }
    streams.sort_by_key(|(bytes, _)| *bytes);
    if streams.is_empty() { Err("no tensor could be moved".into()) } else { Ok(streams) }
}

/// Holds the first and last MiB of `y` to what they must be.
fn check(device: &Device, kernel: &Stream, y: &Buffer) -> Result<(), String> {
    let written = kernel.bindings().last().map_or(0, |binding| binding.words);
    let part = written.min(1 << 18);
    for first in [0, written - part] {
        let read = || device.read_later(y, 4 * first as u64, 4 * part as u64)?.wait();
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&read().map_err(|error| error.to_string())?);
        if !kernel.is_right(first, &words) {
            return Err(format!("{kernel:?} gives wrong words"));
        }
    }
    Ok(())
}

/// Enough to meet the device undisturbed once.
fn probe_time(setting: &Setting) -> Duration {
    Duration::from_millis(if setting.quick { 40 } else { 200 })
}

/// The times of `kernel` alone, sorted.
fn timed<K: Kernel + 'static>(
    device: &Device,
    budget: Duration,
    kernel: K,
    buffers: &[(&str, &Buffer)],
) -> Result<Vec<Duration>, String> {
    let measure = || {
        let mut builder = ProgramBuilder::new("probe");
        let views: Vec<_> = kernel.bindings().iter().map(|b| builder.external(b.name, b.words)).collect();
        builder.dispatch("probe", kernel, &views);
        let executable = device.load(builder.finish(), buffers)?;
        replay(budget, || Ok(device.profile(&executable)?[0].time))
    };
    let times = measure().map_err(|error: jem::Error| error.to_string())?;
    if times[0].is_zero() { Err("the device's clock stands still".into()) } else { Ok(times) }
}
