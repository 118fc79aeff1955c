//! A short test of a device in the field: does it compute what the host computes?
//!
//! The kernel tests hold both to float64; this asks in seconds whether a driver that nobody has tested can be
//! trusted. A GPU runs every kernel beside its twin. The host runs every twin on all cores beside one core, where
//! all bits must agree.

mod answers;
pub mod child;
pub mod cooperative;
pub mod gate;
mod service;

pub use cooperative::{CooperativeResult, cooperative, is_gate_pending, usable_cooperative};
pub use service::serve;

use crate::compute::half;
use crate::compute::splitmix::SplitMix;
use crate::compute::storage::Storage;
use crate::compute::{Access, Binding, Kernel};
use crate::device::{Device, ProgramBuilder};
use crate::error::{Error, Result};
use crate::kernels::catalogue;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Σ(a-b)²/Σb² that rounding may make: float32 sums in another order.
pub(crate) const BOUND: f64 = 1e-9;

/// The result of the test of one kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelResult {
    /// The kernel's stem.
    pub kernel: &'static str,
    /// Permutations that were run.
    pub variants: usize,
    /// The largest Σ(a-b)²/Σb² of an output; infinite where non-finite values or bits differ.
    pub error: f64,
    /// Why it could not be run.
    pub refused: Option<String>,
}

impl KernelResult {
    /// Whether every output agreed.
    pub fn passed(&self) -> bool {
        self.refused.is_none() && self.error <= BOUND
    }

    /// The result in words.
    pub fn outcome(&self) -> String {
        match &self.refused {
            Some(message) => format!("FAILED: {message}"),
            None if self.passed() => format!("error {:.1e}", self.error),
            None => format!("FAILED: error {:.1e} over {BOUND:.0e}", self.error),
        }
    }
}

/// The result of the test of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct SelfTestReport {
    /// One result for each kernel.
    pub results: Vec<KernelResult>,
    /// Seconds it took.
    pub seconds: f64,
    against_twins: bool,
}

impl SelfTestReport {
    /// The kernels that failed.
    pub fn failures(&self) -> impl Iterator<Item = &KernelResult> {
        self.results.iter().filter(|result| !result.passed())
    }

    /// Whether every kernel passed.
    ///
    /// # Errors
    /// [`Error::SelfTest`] with the first kernel that failed on `device`.
    pub fn check(&self, device: &str) -> Result<()> {
        let Some(failure) = self.failures().next() else { return Ok(()) };
        let message = format!("kernel {}: {}", failure.kernel, failure.outcome());
        Err(Error::SelfTest { device: device.to_owned(), message })
    }

    /// The comparison, in words.
    pub fn what(&self) -> &'static str {
        match self.against_twins {
            true => "every kernel beside its twin on the host",
            false => "every kernel on all cores beside one core",
        }
    }
}

/// Runs every kernel at least once, and as many permutations as `budget` has time for.
///
/// # Errors
/// Errors of the device outside a kernel, such as too little memory.
pub fn self_test(device: &Device, budget: Duration) -> Result<SelfTestReport> {
    let started = Instant::now();
    let mut by_stem: BTreeMap<&'static str, Vec<Arc<dyn Kernel>>> = BTreeMap::new();
    for kernel in catalogue() {
        by_stem.entry(kernel.name()).or_default().push(Arc::from(kernel));
    }
    let mut results: Vec<KernelResult> = by_stem
        .keys()
        .map(|&kernel| KernelResult { kernel, variants: 0, error: 0.0, refused: None })
        .collect();
    let rounds = by_stem.values().map(Vec::len).max().unwrap_or(0);
    for round in 0..rounds {
        for (result, kernels) in results.iter_mut().zip(by_stem.values()) {
            let Some(kernel) = kernels.get(round) else { continue };
            if round > 0 && started.elapsed() >= budget {
                continue;
            }
            result.variants += 1;
            match compare(device, kernel) {
                Ok(error) => result.error = result.error.max(error),
                Err(error) => result.refused = Some(error.to_string()),
            }
        }
    }
    Ok(SelfTestReport { results, seconds: started.elapsed().as_secs_f64(), against_twins: !device.is_cpu() })
}

/// The largest difference of an output from the host's.
fn compare(device: &Device, kernel: &Arc<dyn Kernel>) -> Result<f64> {
    let found = outputs(device, kernel, input)?;
    let one_core = || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be made");
        pool.install(|| outputs(&Device::cpu(), kernel, input))
    };
    let expected = if device.is_cpu() { one_core()? } else { outputs(&Device::cpu(), kernel, input)? };
    Ok(largest_difference(&found, &expected))
}

/// The storage and the words of a binding.
type Contents = (Storage, Vec<u32>);

fn largest_difference(found: &[Contents], expected: &[Contents]) -> f64 {
    let of = |((storage, a), (_, b)): (&Contents, &Contents)| stored_difference(*storage, a, b);
    found.iter().zip(expected).map(of).fold(0.0, f64::max)
}

/// Words that one core compares at a time. Chunks are summed and added in order, so the result is the same on every
/// machine.
const COMPARED: usize = 1 << 16;

/// Σ(a-b)²/Σb² of tensors in this storage; 0 if all bits agree, infinite if somewhere only one number is finite.
pub(crate) fn stored_difference(storage: Storage, found: &[u32], expected: &[u32]) -> f64 {
    if found == expected {
        return 0.0;
    }
    let chunks = found.par_chunks(COMPARED).zip(expected.par_chunks(COMPARED));
    let sums: Vec<Sums> = chunks
        .map(|(found, expected)| {
            let mut sums = Sums::default();
            for (&a, &b) in found.iter().zip(expected) {
                match storage {
                    Storage::F32 => sums.add(f32::from_bits(a), f32::from_bits(b)),
                    Storage::F16 => neighbours_as_one(a, b).into_iter().for_each(|(a, b)| sums.add(a, b)),
                }
            }
            sums
        })
        .collect();
    if sums.iter().any(|sums| sums.unlike) {
        return f64::INFINITY;
    }
    let [error, norm] =
        [|sums: &Sums| sums.error, |sums: &Sums| sums.norm].map(|of| sums.iter().map(of).sum::<f64>());
    if norm > 0.0 { error / norm } else { f64::INFINITY }
}

/// The sums of a comparison.
#[derive(Default)]
struct Sums {
    error: f64,
    norm: f64,
    /// Whether somewhere only one of two numbers is finite.
    unlike: bool,
}

impl Sums {
    fn add(&mut self, a: f32, b: f32) {
        self.unlike |= a.is_finite() != b.is_finite();
        if a.is_finite() && b.is_finite() {
            let [a, b] = [a, b].map(f64::from);
            self.error += (a - b) * (a - b);
            self.norm += b * b;
        }
    }
}

/// The f16 in two words. A sum in another order may be rounded to the f16 on its other side, so neighbours count as
/// equal.
fn neighbours_as_one(found: u32, expected: u32) -> [(f32, f32); 2] {
    [(found as u16, expected as u16), ((found >> 16) as u16, (expected >> 16) as u16)].map(|(a, b)| {
        let a = if a.abs_diff(b) == 1 { b } else { a };
        (half::from_bits(a), half::from_bits(b))
    })
}

/// The contents after one dispatch of each binding that `kernel` writes. Before it, element `i` of every binding is
/// `input(name, i)`.
fn outputs(
    device: &Device,
    kernel: &Arc<dyn Kernel>,
    input: impl Fn(&str, usize) -> u32 + Sync,
) -> Result<Vec<Contents>> {
    let mut builder = ProgramBuilder::new("self-test");
    let mut buffers = Vec::new();
    let mut views = Vec::new();
    for binding in kernel.bindings() {
        let contents = contents(&binding, |i| input(binding.name, i));
        buffers.push((binding, device.buffer_from(binding.name, &contents)?));
        views.push(builder.external_named(binding.name, binding.words));
    }
    builder.dispatch_shared(kernel.name(), Arc::clone(kernel), &views);
    let externals: Vec<_> = buffers.iter().map(|(binding, buffer)| (binding.name, buffer)).collect();
    let executable = device.load(builder.finish(), &externals)?;
    device.run(&executable)?;
    let written = buffers.iter().filter(|(binding, _)| binding.access != Access::Read);
    written.map(|(binding, buffer)| Ok((binding.storage, device.read_as(buffer)?))).collect()
}

/// The words of a binding whose elements are `element(i)`, as bits of f32.
fn contents(binding: &Binding, element: impl Fn(usize) -> u32 + Sync) -> Vec<u32> {
    (0..binding.words)
        .into_par_iter()
        .map(|i| match binding.storage {
            Storage::F32 => element(i),
            Storage::F16 => {
                let bits = |i| u32::from(half::to_bits(f32::from_bits(element(i))));
                bits(2 * i) | bits(2 * i + 1) << 16
            }
        })
        .collect()
}

/// Element `i` of the random tensor `name`, uniform in [-1, 1) and the same in every process.
pub(crate) fn random(name: &str, i: usize) -> f32 {
    let stream = name.bytes().fold(0u64, |hash, byte| hash.wrapping_mul(257) ^ u64::from(byte));
    SplitMix::new(i as u64, stream).uniform(-1.0, 1.0)
}

/// The largest Σ(a-b)²/Σb² by which sums in f32 of `terms` products of f16 may differ from sums in another order.
///
/// With rounding to nearest, the error of such sums is about 1e-13. Tensor cores are reported to truncate towards zero
/// instead when they add four or more products to a sum (Fasi, Higham, Mikaitis and Pranesh, 2021, "Numerical behavior
/// of NVIDIA tensor cores"), and such errors do not cancel: each of n = terms / 4 additions loses up to 2⁻²³ of the sum
/// so far, less than 2⁻²⁴ on average. Sums of one sign, which grow evenly, lose at most Σ 2⁻²³ k/n = n · 2⁻²⁴ of the
/// result. Sums of random signs lose 2⁻²⁴ of the total of all partial sums, whose variance is n²/3 times that of the
/// result: the root mean square is n/√3 · 2⁻²⁴. Both keep within (n · 2⁻²⁴)², which is 1.5e-8 for 8,192 terms. Real
/// faults exceed that: one product missing from each of those sums makes 1.2e-4, operands truncated to f16 instead of
/// rounded make 5e-7, and sums in f16 at least as much.
pub(crate) fn sum_bound(terms: usize) -> f64 {
    let cut = terms as f64 / 4.0 * 2f64.powi(-24);
    (cut * cut).max(1e-10)
}

/// Element `i` of binding `name` before a run: indices and labels in range, floats elsewhere.
fn input(name: &str, i: usize) -> u32 {
    let uniform = (i.wrapping_mul(2_654_435_761) % 2001) as f32 / 1000.0 - 1.0;
    match name {
        "labels" => (i % 2) as u32,
        "indices" | "counters" => i as u32,
        // Adam's second moment, a squared norm and what a square root is taken of.
        "second" | "norm" | "variance" => uniform.abs().to_bits(),
        _ => uniform.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_agrees_with_itself_on_every_kernel() {
        let report = self_test(&Device::cpu(), Duration::from_millis(200)).unwrap();
        assert!(report.results.len() >= 29, "{}", report.results.len());
        for result in &report.results {
            assert!(result.passed() && result.variants > 0, "{}: {}", result.kernel, result.outcome());
        }
    }

    #[test]
    fn differences_are_seen() {
        let words = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let b = words(&[1.0, -2.0, 2.0]);
        let difference = |a: &[u32], b: &[u32]| stored_difference(Storage::F32, a, b);
        assert_eq!(difference(&b, &b), 0.0);
        assert!((difference(&words(&[1.0, -2.0, 2.003]), &b) - 1e-6).abs() < 1e-8);
        assert_eq!(difference(&words(&[1.0, f32::NAN, 2.0]), &b), f64::INFINITY);
        assert_eq!(difference(&[1], &[0]), f64::INFINITY);

        let halves = |values: &[f32]| [(Storage::F16, half::narrow(values))];
        let b = halves(&[1.0, -2.0, 0.5, 100.0]);
        let neighbours = halves(&[1.0 + f32::powi(2.0, -10), -2.0, 0.5, 100.0]);
        assert_eq!(largest_difference(&neighbours, &b), 0.0);
        let apart = halves(&[1.0 + f32::powi(2.0, -9), -2.0, 0.5, 100.0]);
        assert!(largest_difference(&apart, &b) > 1e-10);
    }
}
