//! The highest rates that a device reaches: multiply-adds in registers, by threads and by cooperative matrices, and
//! transfers of large tensors. The results of all probes are exact, so that a compiler that drops their work is
//! noticed.

mod chains;
mod chains_cpu;
mod matrices;
mod stream;

use crate::options::{Arguments, Setting};
use crate::replay::replay;
use crate::report::{Report, mebibytes, milliseconds};
use chains::FmaChains;
use jem::compute::Kernel;
use jem::compute::cooperative::Cooperative;
use jem::device::{Buffer, Device, ProgramBuilder};
use jem::self_test::{child, usable_cooperative};
use matrices::Matrices;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::process::Command;
use std::time::Duration;
use stream::{Stream, Traffic};

/// KiB of a tensor that is moved: from what stays in a core's cache to past the caches of the largest GPUs.
const SIZES: [usize; 8] = [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 512 << 10];
/// The largest with --quick.
const QUICK_SIZE: usize = 64 << 10;

/// A child whose probe prints nothing for this long is taken to hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// A probe of arithmetic: a kernel whose results are known to the last bit, on any number of threads.
trait Probe: Kernel + Copy + std::fmt::Debug + 'static {
    /// Threads, each of which writes a word of the one binding, `y`.
    fn n(&self) -> usize;

    /// The same probe on another number of threads.
    fn with_n(self, n: usize) -> Self;

    /// The values that `y` must hold.
    fn expected(&self) -> Vec<f32>;
}

/// The rates that bound a kernel's time.
#[derive(Debug)]
pub struct Ceilings {
    /// f32 operations a second, and the probe that reached them.
    f32: (f64, FmaChains),
    /// The same for each of the device's cooperative matrices that computed correctly.
    matrices: Vec<(f64, Matrices)>,
    /// Bytes that a probe touches and the bytes a second at which it does, by ascending size.
    streams: Vec<(u64, f64)>,
}

impl Ceilings {
    /// Measures them.
    ///
    /// # Errors
    /// Errors of the device, and wrong results.
    pub fn measure(setting: &Setting, report: &mut Report) -> Result<Self, String> {
        let f32 = arithmetic(setting, report)?;
        let matrices = cooperative(setting, report);
        let streams = memory(setting, report)?;
        Ok(Self { f32, matrices, streams })
    }

    /// Measures the ceilings of arithmetic again and reports the change, after the results that were compared with
    /// them: clocks change, and machines are shared.
    ///
    /// # Errors
    /// The errors of [`Ceilings::measure`].
    pub fn again(&self, setting: &Setting, report: &mut Report) -> Result<(), String> {
        let change = |(kernel, time): (u64, Duration), rate| {
            format!("{:+.0}%", 100.0 * (kernel as f64 / time.as_secs_f64() / rate - 1.0))
        };
        let (rate, probe) = self.f32;
        let mut changes = change(
            sized(&setting.device, setting.probe, probe).map(|(probe, time)| (probe.flops(), time))?,
            rate,
        );
        for &(rate, probe) in &self.matrices {
            let measured =
                sized(&setting.device, setting.probe, probe).map(|(probe, time)| (probe.flops(), time))?;
            changes += &format!(", of {} {}", probe.matrices, change(measured, rate));
        }
        report.note(&format!(
            "the ceiling of arithmetic afterwards: {changes}; far from 0, fractions mean little"
        ));
        Ok(())
    }

    /// Bytes a second at which tensors of `bytes` in all can be moved: the best rate of any probe of that size (or the
    /// next smaller one that was measured) or a larger one, because small ones are measured with the cost of starting
    /// and may stay in caches.
    fn bandwidth(&self, bytes: u64) -> f64 {
        let from = self.streams.iter().map(|(size, _)| *size).filter(|&size| size <= bytes).max();
        let above = self.streams.iter().filter(|(size, _)| *size >= from.unwrap_or(0));
        above.map(|(_, rate)| *rate).fold(0.0, f64::max)
    }

    /// The least time of `kernel`, by the roofline of its own precision; `None` if it multiplies by matrices that have
    /// no ceiling here.
    pub fn floor(&self, kernel: &dyn Kernel) -> Option<Floor> {
        let rate = match Precision::of(kernel) {
            Precision::F32 => Some(self.f32.0),
            Precision::Matrices(size) => {
                self.matrices.iter().find(|(_, probe)| probe.matrices.size == size).map(|(rate, _)| *rate)
            }
        };
        let bytes = bytes(kernel);
        let arithmetic = Duration::from_secs_f64(kernel.flops() as f64 / rate?);
        let memory = Duration::from_secs_f64(bytes as f64 / self.bandwidth(bytes));
        Some(Floor { arithmetic, memory, least: arithmetic.max(memory) })
    }
}

/// The least time that the ceilings allow a kernel, or several kernels, one after the other.
#[derive(Debug, Clone, Copy, Default)]
pub struct Floor {
    arithmetic: Duration,
    memory: Duration,
    /// For each kernel the larger of the two.
    pub least: Duration,
}

impl Floor {
    /// This and `count` times `other`.
    pub fn plus(self, count: u32, other: &Self) -> Self {
        Self {
            arithmetic: self.arithmetic + count * other.arithmetic,
            memory: self.memory + count * other.memory,
            least: self.least + count * other.least,
        }
    }

    /// The bound, arithmetic or memory, that is larger.
    pub fn bound(&self) -> &'static str {
        if self.arithmetic > self.memory { "arithmetic" } else { "memory" }
    }
}

/// The precision in which a kernel multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precision {
    /// f32, thread by thread.
    F32,
    /// Cooperative matrices of this size: f16 with sums in f32.
    Matrices(usize),
}

impl Precision {
    /// Reads it from the kernel's shader: the type that WGSL gives the matrices of the first operand.
    fn of(kernel: &dyn Kernel) -> Self {
        let text = kernel.shader().wgsl();
        let multiplies = |size: &usize| text.contains(&format!("coop_mat{size}x{size}<f16, A>"));
        [8, 16].into_iter().find(multiplies).map_or(Self::F32, Self::Matrices)
    }
}

/// Bytes that `kernel` reads and writes, by its own count.
pub fn bytes(kernel: &dyn Kernel) -> u64 {
    kernel.bindings().iter().map(|binding| 4 * binding.moved as u64).sum()
}

/// The best rate of f32, in operations a second, and its probe; reports those of f16 too.
fn arithmetic(setting: &Setting, report: &mut Report) -> Result<(f64, FmaChains), String> {
    let title = "Ceiling of arithmetic: chains of multiply-adds in registers";
    report.table(title, "", &["probe", "ms", "GFLOP/s"]);
    let mut best: [Option<(f64, FmaChains)>; 2] = [None, None];
    let f16 = setting.device.adapter().is_some_and(|adapter| adapter.f16);
    // The host has one instruction to multiply and add.
    let ways: &[bool] = if setting.device.is_cpu() { &[true] } else { &[true, false] };
    for half in [false, true].into_iter().filter(|half| !half || f16) {
        for (vectors, &fused) in FmaChains::VECTORS.iter().flat_map(|v| ways.iter().map(move |way| (*v, way)))
        {
            let (kernel, time) =
                sized(&setting.device, setting.probe, FmaChains { n: 4096, vectors, fused, f16: half })?;
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
    best[0].ok_or_else(|| "no f32 probe".into())
}

/// The best rate of each of the device's cooperative matrices that computes correctly, and its probe.
fn cooperative(setting: &Setting, report: &mut Report) -> Vec<(f64, Matrices)> {
    let title = "Ceiling of cooperative matrices (tensor cores): products in registers, f16 with sums in f32";
    report.table(title, "", &["probe", "ms", "GFLOP/s"]);
    match usable_cooperative(&setting.device) {
        Ok(matrices) => match by_matrices(setting, matrices, report) {
            Ok(ceiling) => return vec![ceiling],
            Err(error) => report.error(&format!("the probe of matrices {matrices}: {error}")),
        },
        Err(reason) => report.left_out(&format!("arithmetic of cooperative matrices: {reason}")),
    }
    Vec::new()
}

/// The best rate of `matrices`, and its probe. The probes run in a child, because a driver may crash on them.
fn by_matrices(
    setting: &Setting,
    matrices: Cooperative,
    report: &mut Report,
) -> Result<(f64, Matrices), String> {
    let own = std::env::current_exe().map_err(|error| format!("the path of this executable: {error}"))?;
    let adapter = setting.device.adapter().ok_or("the device has no adapter")?;
    let mut command = Command::new(own);
    command.args(["probe-here", &matrices.size.to_string()]);
    command.args(["--device", &format!("gpu:{}", adapter.name)]);
    command.args(["--cooperative", &matrices.variant.to_string()]);
    command.args(["--probe", &setting.probe.as_millis().to_string()]);
    let mut probes: Vec<Probed> = Vec::new();
    let ended = child::run(
        command,
        PATIENCE,
        || false,
        |line| probes.extend(serde_json::from_str::<Probed>(line).ok()),
    );
    let ended = ended.map_err(|error| error.to_string())?;
    let mut best: Option<(f64, Matrices)> = None;
    for &Probed { n, block, rate, milliseconds } in &probes {
        let probe = Matrices { n, matrices, block };
        let label = format!("{matrices}, {} sums a subgroup", probe.sums());
        report.row(vec![json!(label), json!(milliseconds), json!(rate / 1e9)]);
        if best.is_none_or(|(other, _)| rate > other) {
            best = Some((rate, probe));
        }
    }
    match best.filter(|_| probes.len() == Matrices::BLOCKS.len()) {
        None => Err(ended.to_string()),
        Some(best) => {
            report.row(vec![json!(format!("{matrices}, the best")), json!(null), json!(best.0 / 1e9)]);
            Ok(best)
        }
    }
}

/// A child's line about a probe of cooperative matrices.
#[derive(Debug, Serialize, Deserialize)]
struct Probed {
    n: usize,
    block: (usize, usize),
    /// Operations a second.
    rate: f64,
    milliseconds: f64,
}

/// Measures the probes of matrices of `size` in this process, and prints a line of JSON for each. The process ends with
/// its standard input.
///
/// # Errors
/// In words, if the device refuses a probe or computes it wrong.
pub fn probe_here(arguments: &Arguments, size: usize) -> Result<(), String> {
    child::end_with_parent();
    let device = arguments.open().map_err(|error| error.to_string())?;
    let matrices = device.cooperative().iter().find(|matrices| matrices.size == size);
    let &matrices = matrices.ok_or_else(|| format!("{} offers no {size}x{size} matrices", device.name()))?;
    for block in Matrices::BLOCKS {
        let probe = Matrices { n: Matrices::threads(matrices), matrices, block };
        let (probe, time) = sized(&device, arguments.probe_time(), probe)?;
        let rate = probe.flops() as f64 / time.as_secs_f64();
        let probed = Probed { n: probe.n(), block, rate, milliseconds: milliseconds(time) };
        crate::report::print(&serde_json::to_string(&probed).expect("plain data"));
    }
    Ok(())
}

/// The probe on so many threads that it takes 5 ms or more, and its best time.
fn sized<P: Probe>(device: &Device, budget: Duration, mut kernel: P) -> Result<(P, Duration), String> {
    /// Long enough that the clock's resolution and the cost of a dispatch do not count.
    const ENOUGH: Duration = Duration::from_millis(5);
    const MOST_THREADS: usize = 1 << 23;
    loop {
        let y = device.buffer("y", 4 * kernel.n() as u64).map_err(|error| error.to_string())?;
        let timed = |time| timed(device, time, kernel, &[("y", &y)]);
        if timed(Duration::ZERO)?[0] < ENOUGH && kernel.n() < MOST_THREADS {
            kernel = kernel.with_n(4 * kernel.n());
            continue;
        }
        let times = timed(budget)?;
        let results: Vec<f32> = device.read_as(&y).map_err(|error| error.to_string())?;
        let wrong =
            kernel.expected().into_iter().zip(&results).find(|(expected, result)| *expected != **result);
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
            let time = timed(&setting.device, setting.probe, kernel, &[("x", &x), ("y", &y)])?[0];
            check(&setting.device, &kernel, &y)?;
            let bytes = bytes(&kernel);
            let rate = bytes as f64 / time.as_secs_f64();
            row.push(json!(rate / 1e9));
            streams.push((bytes, rate));
        }
        report.row(row);
    }
    streams.sort_by_key(|(bytes, _)| *bytes);
    if streams.is_empty() { Err("no tensor could be moved".into()) } else { Ok(streams) }
}

/// Compares the first and last MiB of `y` with the values that they must have.
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

/// The times of `kernel` alone, sorted.
fn timed<K: Kernel + 'static>(
    device: &Device,
    budget: Duration,
    kernel: K,
    buffers: &[(&str, &Buffer)],
) -> Result<Vec<Duration>, String> {
    let measure = || {
        let mut builder = ProgramBuilder::new("probe");
        let views: Vec<_> =
            kernel.bindings().iter().map(|b| builder.external_named(b.name, b.words)).collect();
        builder.dispatch("probe", kernel, &views);
        let executable = device.load(builder.finish(), buffers)?;
        replay(budget, || Ok(device.profile(&executable)?[0].time))
    };
    let times = measure().map_err(|error: jem::Error| error.to_string())?;
    if times[0].is_zero() { Err("the device's clock stands still".into()) } else { Ok(times) }
}
