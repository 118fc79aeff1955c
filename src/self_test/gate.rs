//! The gate: a test that a device's cooperative matrices must pass before any program may use them.
//!
//! They are an experimental feature of wgpu. Drivers have crashed on them, and naga 30.0.1's SPIR-V lacks what
//! Vulkan's memory model requires of accesses to workgroup memory, so a driver that follows the model to the letter
//! may let a subgroup read before another's write has arrived. Such a fault shows as results that differ from run to
//! run, or from those of the scalar kernel. Therefore every tile that programs may choose runs in all three
//! directions, on a hardware device at the shapes of a WRN-28-10 with a batch of 64, [`REPEATS`] times, and every bit
//! of every run is compared on the device.
//!
//! A crash of the driver ends the process, so [`super::serve`] runs [`attempt`] in a child.

use super::{Contents, contents, random, sum_bound};
use crate::device::{AdapterKind, Buffer, Device, ProgramBuilder};
use crate::error::Result;
use crate::kernels::candidate::fingerprint;
use crate::kernels::conv_geometry::{ConvGeometry, Direction};
use crate::kernels::conv2d::Conv2d;
use crate::kernels::conv2d_input_gradient::{Conv2dInputGradient, Residual};
use crate::kernels::conv2d_weight_gradient::Conv2dWeightGradient;
use crate::kernels::cooperative::{Cooperative, Method};
use crate::kernels::fill::Fill;
use crate::kernels::half::{self, Storage, Storages, round_to_f16};
use crate::kernels::mismatches::Mismatches;
use crate::kernels::{Access, ConvTile, Kernel, MatrixTile};
use md5::{Digest, Md5};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;

/// Runs of each kernel, which must agree in every bit: on hardware, and on a driver that computes on the CPU.
pub const REPEATS: usize = 200;
const REPEATS_OF_SOFTWARE: usize = 3;

/// Output pixels of a part of a weight gradient: the most that the rule for GPUs takes.
const PIXELS: usize = 8192;

/// The version of the gate's test. Increase it with every change of the test, so that older answers do not count.
const VERSION: u32 = 1;

/// Before each run every word of the results is set to this: a NaN in f32 and in f16.
const POISON: u32 = u32::MAX;

/// The gate's answer about matrices on a device.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Kernels that passed.
    pub kernels: usize,
    /// Runs of each.
    pub repeats: usize,
    /// The largest Σ(a-b)²/Σb² beside the scalar kernel on operands rounded to f16.
    pub error: f64,
    /// Why these matrices may not be used; `None` if they may.
    pub refused: Option<String>,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Answer {
    /// A refusal for a reason outside the kernels.
    pub fn refusal(reason: String) -> Self {
        Self { refused: Some(reason), ..Self::default() }
    }
}

/// Runs every kernel of `matrices` on `device`, in this process. Calls `trying` with what it is about to compile or
/// run.
pub fn attempt(device: &Device, matrices: Cooperative, mut trying: impl FnMut(&str)) -> Answer {
    let started = Instant::now();
    let hardware = device.adapter().is_some_and(|adapter| adapter.kind != AdapterKind::Software);
    let (cases, repeats) =
        if hardware { (hardware_cases(), REPEATS) } else { (small_cases(), REPEATS_OF_SOFTWARE) };
    let mut answer = Answer { repeats, ..Answer::default() };
    'cases: for case in cases {
        let expected = match case.expected(device) {
            Ok(expected) => expected,
            Err(error) => {
                answer.refused = Some(format!("{}: {error}", case.name("in f32")));
                break;
            }
        };
        trying(&case.name("compiling every tile"));
        if let Err(error) = case.compile(device, matrices) {
            answer.refused = Some(format!("{}: {error}", case.name("compiling every tile")));
            break;
        }
        for tile in case.tiles(matrices) {
            let name = case.name(&tile.to_string());
            trying(&name);
            match case.compare(device, matrices, tile, &expected, repeats) {
                Ok(error) => {
                    answer.kernels += 1;
                    answer.error = answer.error.max(error);
                }
                Err(reason) => {
                    answer.refused = Some(format!("{name}: {reason}"));
                    break 'cases;
                }
            }
        }
    }
    answer.seconds = started.elapsed().as_secs_f64();
    answer
}

/// A digest of everything besides the driver on which an answer about `matrices` depends: the shaders' texts, the
/// SPIR-V that naga makes of them, and the version of the test.
pub fn digest(matrices: Cooperative, spirv: Option<(u8, u8)>) -> String {
    let mut digest = Md5::new();
    digest.update(format!("{VERSION} {matrices:?} {}", fingerprint()));
    let method = Method::Cooperative(matrices);
    for case in small_cases().iter().take(3) {
        let tile = case.tiles(matrices).first().map(|&tile| tile.into());
        let kernel = case.kernel(method, tile);
        let shader = kernel.shader();
        digest.update(shader.wgsl());
        if let Some(version) = spirv {
            let bindings: Vec<u32> =
                [0].into_iter().chain(kernel.bindings().iter().map(|b| b.index)).collect();
            digest.update(format!("{:?}", crate::device::spirv(&shader, &bindings, version)));
        }
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A convolution in one direction.
#[derive(Debug, Clone, Copy)]
struct Case {
    direction: Direction,
    geometry: ConvGeometry,
    storage: Storages,
    /// Whether to try all tiles that fit, or only the rule's.
    all_tiles: bool,
}

const DIRECTIONS: [Direction; 3] = [Direction::Forward, Direction::InputGradient, Direction::WeightGradient];

/// The three groups of a WRN-28-10 at a batch of 64 and a layer with a stride between two of them, in f16 as in
/// programs; and a layer in f32 whose channels do not fill a matrix.
fn hardware_cases() -> Vec<Case> {
    let shape = |size, c_in, c_out, stride| square(64, size, c_in, c_out, stride);
    let groups =
        [shape(32, 160, 160, 1), shape(16, 320, 320, 1), shape(8, 640, 640, 1), shape(32, 160, 320, 2)];
    let in_f16 = groups.map(|geometry| (geometry, Storages::F16, true));
    let in_f32 = [(shape(32, 36, 20, 2), Storages::default(), false)];
    cases(in_f16.into_iter().chain(in_f32))
}

/// The same with shapes that a CPU computes in a moment.
fn small_cases() -> Vec<Case> {
    let in_f16 = (square(4, 16, 48, 80, 1), Storages::F16, true);
    let in_f32 = (square(4, 16, 36, 20, 2), Storages::default(), false);
    cases([in_f16, in_f32].into_iter())
}

fn square(n: usize, size: usize, c_in: usize, c_out: usize, stride: usize) -> ConvGeometry {
    ConvGeometry { n, h: size, w: size, c_in, c_out, kh: 3, kw: 3, stride, padding: 1 }
}

fn cases(shapes: impl Iterator<Item = (ConvGeometry, Storages, bool)>) -> Vec<Case> {
    shapes
        .flat_map(|(geometry, storage, all_tiles)| {
            DIRECTIONS.map(|direction| {
                // A weight gradient's sums are always f32.
                let c = if direction == Direction::WeightGradient { Storage::F32 } else { storage.c };
                Case { direction, geometry, storage: Storages { c, ..storage }, all_tiles }
            })
        })
        .collect()
}

impl Case {
    fn name(&self, tile: &str) -> String {
        let g = &self.geometry;
        let stride = if g.stride == 1 { String::new() } else { format!(" stride {}", g.stride) };
        format!("{} {}x{}x{}x{} -> {}{stride}, {tile}", self.direction, g.n, g.h, g.w, g.c_in, g.c_out)
    }

    /// The tiles that are tried.
    fn tiles(&self, matrices: Cooperative) -> Vec<MatrixTile> {
        if !self.all_tiles {
            return vec![MatrixTile::rule(matrices, self.columns())];
        }
        MatrixTile::ALL.into_iter().filter(|tile| tile.fits(matrices)).collect()
    }

    /// Columns of the matrix product.
    fn columns(&self) -> usize {
        match self.direction {
            Direction::InputGradient => self.geometry.c_in,
            Direction::Forward | Direction::WeightGradient => self.geometry.c_out,
        }
    }

    fn splits(&self) -> usize {
        self.geometry.out_pixels().div_ceil(PIXELS).max(4)
    }

    /// Terms of each sum.
    fn terms(&self) -> usize {
        let g = &self.geometry;
        match self.direction {
            Direction::Forward => g.kh * g.kw * g.c_in,
            Direction::InputGradient => g.kh * g.kw * g.c_out,
            Direction::WeightGradient => g.out_pixels().div_ceil(self.splits()),
        }
    }

    /// The kernel with an epilogue as in networks, but no sign mask, which may rightly differ where a sum is near 0.
    fn kernel(&self, method: Method, tile: Option<ConvTile>) -> Arc<dyn Kernel> {
        let &Self { geometry, storage, .. } = self;
        let activated = Some(0.2);
        match self.direction {
            Direction::Forward => {
                let plain = Conv2d { method, tile, storage, ..Conv2d::new(geometry) };
                Arc::new(Conv2d { bias: true, residual: true, activated, ..plain })
            }
            Direction::InputGradient => {
                let plain =
                    Conv2dInputGradient { method, tile, storage, ..Conv2dInputGradient::new(geometry) };
                Arc::new(Conv2dInputGradient { mask: activated, residual: Residual::AfterMask, ..plain })
            }
            Direction::WeightGradient => {
                let plain = Conv2dWeightGradient::new(geometry);
                Arc::new(Conv2dWeightGradient { splits: self.splits(), method, tile, storage, ..plain })
            }
        }
    }

    /// Compiles the kernels of all tiles, on all cores.
    fn compile(&self, device: &Device, matrices: Cooperative) -> Result<()> {
        let mut builder = ProgramBuilder::new("gate");
        for tile in self.tiles(matrices) {
            let kernel = self.kernel(Method::Cooperative(matrices), Some(tile.into()));
            let views: Vec<_> = kernel.bindings().iter().map(|b| builder.external(b.name, b.words)).collect();
            builder.dispatch_shared(kernel.name(), kernel, &views);
        }
        device.compile([&builder.finish()])
    }

    /// The results of the scalar kernel on operands rounded to f16.
    fn expected(&self, device: &Device) -> Result<Vec<Contents>> {
        let kernel = self.kernel(Method::Scalar, None);
        let bed = Bed::new(device, kernel, true)?;
        bed.run_first()
    }

    /// The largest Σ(a-b)²/Σb² of the results of `tile`.
    ///
    /// # Errors
    /// If the device refuses the kernel, results are wrong, or runs differ.
    fn compare(
        &self,
        device: &Device,
        matrices: Cooperative,
        tile: MatrixTile,
        expected: &[Contents],
        repeats: usize,
    ) -> std::result::Result<f64, String> {
        let kernel = self.kernel(Method::Cooperative(matrices), Some(tile.into()));
        let bed = Bed::new(device, kernel, false).map_err(|error| error.to_string())?;
        let found = bed.run_first().map_err(|error| error.to_string())?;
        let bound = sum_bound(self.terms());
        let mut worst = 0.0f64;
        for ((storage, found), (_, expected)) in found.iter().zip(expected) {
            worst = worst.max(judge(*storage, found, expected, bound)?);
        }
        match bed.repeat(&found, repeats - 1).map_err(|error| error.to_string())? {
            0 => Ok(worst),
            words => Err(format!("{words} words in {repeats} runs differ from the first run's")),
        }
    }
}

/// A kernel with its tensors.
struct Bed<'a> {
    device: &'a Device,
    kernel: Arc<dyn Kernel>,
    /// A buffer for each binding.
    buffers: Vec<Buffer>,
}

impl<'a> Bed<'a> {
    /// Fills the tensors that the kernel reads with random numbers, the two operands `rounded` to f16 if asked.
    fn new(device: &'a Device, kernel: Arc<dyn Kernel>, rounded: bool) -> Result<Self> {
        let bindings = kernel.bindings();
        let make = |(i, binding): (usize, &crate::kernels::Binding)| {
            if binding.access != Access::Read {
                return device.buffer(binding.name, 4 * binding.words as u64);
            }
            let round = |x: f32| if rounded && i < 2 { round_to_f16(x) } else { x };
            let words = contents(binding, |i| round(random(binding.name, i)).to_bits());
            device.buffer_from(binding.name, &words)
        };
        let buffers = bindings.iter().enumerate().map(make).collect::<Result<_>>()?;
        Ok(Self { device, kernel, buffers })
    }

    /// The bindings that the kernel writes, with their buffers.
    fn written(&self) -> impl Iterator<Item = (crate::kernels::Binding, &Buffer)> {
        let all = self.kernel.bindings().into_iter().zip(&self.buffers);
        all.filter(|(binding, _)| binding.access != Access::Read)
    }

    /// A program that poisons the results and runs the kernel, then `more`.
    fn program(&self, more: impl FnOnce(&mut ProgramBuilder, &[crate::device::View])) -> ProgramBuilder {
        let mut builder = ProgramBuilder::new("gate");
        let bindings = self.kernel.bindings();
        let views: Vec<_> = bindings.iter().map(|b| builder.external(b.name, b.words)).collect();
        for (binding, view) in bindings.iter().zip(&views).filter(|(b, _)| b.access != Access::Read) {
            let fill = Fill { n: binding.words, value: f32::from_bits(POISON) };
            builder.dispatch("poison", fill, &[*view]);
        }
        builder.dispatch_shared(self.kernel.name(), Arc::clone(&self.kernel), &views);
        more(&mut builder, &views);
        builder
    }

    fn externals(&self) -> Vec<(&'static str, &Buffer)> {
        self.kernel.bindings().iter().map(|binding| binding.name).zip(&self.buffers).collect()
    }

    /// The results of a run.
    fn run_first(&self) -> Result<Vec<Contents>> {
        let program = self.program(|_, _| {}).finish();
        self.device.run(&self.device.load(program, &self.externals())?)?;
        self.written().map(|(binding, buffer)| Ok((binding.storage, self.device.read_as(buffer)?))).collect()
    }

    /// The number of words in `repeats` more runs that differ from those of `first`.
    fn repeat(&self, first: &[Contents], repeats: usize) -> Result<u64> {
        let count = |(binding, _): &(crate::kernels::Binding, &Buffer)| Mismatches::new(binding.words);
        let kernels: Vec<Mismatches> = self.written().map(|written| count(&written)).collect();
        let names: Vec<[String; 2]> =
            (0..first.len()).map(|i| [format!("first {i}"), format!("counts {i}")]).collect();
        let mut extra = Vec::new();
        for ((names, (_, words)), kernel) in names.iter().zip(first).zip(&kernels) {
            extra.push((&*names[0], self.device.buffer_from(&names[0], words)?));
            extra.push((&*names[1], self.device.buffer(&names[1], 4 * kernel.counters as u64)?));
        }
        let program = self.program(|builder, views| {
            let written = self.kernel.bindings().into_iter().zip(views);
            let written = written.filter(|(binding, _)| binding.access != Access::Read);
            for (((_, view), kernel), names) in written.zip(&kernels).zip(&names) {
                let first = builder.external(&names[0], kernel.n);
                let counts = builder.external(&names[1], kernel.counters);
                builder.dispatch("compare", *kernel, &[*view, first, counts]);
            }
        });
        let mut externals = self.externals();
        externals.extend(extra.iter().map(|(name, buffer)| (*name, buffer)));
        let executable = self.device.load(program.finish(), &externals)?;
        for _ in 0..repeats {
            self.device.run(&executable)?;
        }
        let mut differing = 0;
        for (_, counts) in extra.iter().skip(1).step_by(2) {
            let counts: Vec<u32> = self.device.read_as(counts)?;
            differing += counts.iter().map(|&count| u64::from(count)).sum::<u64>();
        }
        Ok(differing)
    }
}

/// An element is wrong if its error exceeds this many times the root of the bound, in units of the root mean square of
/// all results: rounding spreads its errors, a fault does not.
const OUTLIER: f64 = 8.0;

/// Σ(a-b)²/Σb² of results.
///
/// # Errors
/// If it is above `bound`, or a single element is too far off.
fn judge(storage: Storage, found: &[u32], expected: &[u32], bound: f64) -> std::result::Result<f64, String> {
    let [found, expected] = [found, expected].map(|words| match storage {
        Storage::F32 => bytemuck::cast_slice(words).to_vec(),
        Storage::F16 => half::widen(words),
    });
    let squares = |values: &[f32]| values.par_iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let norm = squares(&expected);
    let limit = OUTLIER * bound.sqrt() * (norm / expected.len() as f64).sqrt();
    // The distance by which another order of the same sum may move a result: to the next f16.
    let neighbour = |b: f32| match storage {
        Storage::F32 => 0.0,
        Storage::F16 => f64::from(b.abs() * 2f32.powi(-10)).max(2f64.powi(-24)),
    };
    let pairs = || found.par_iter().zip(&expected).enumerate();
    let off = |a: f32, b: f32| (f64::from(a) - f64::from(b)).abs();
    let wrong = pairs().find_first(|(_, (a, b))| {
        let excess = off(**a, **b) - neighbour(**b);
        excess.is_nan() || excess > limit
    });
    if let Some((i, (a, b))) = wrong {
        return Err(format!("element {i} of {} is {a} instead of {b}", expected.len()));
    }
    // Neighbours in f16 count as one number.
    let error = pairs().map(|(_, (&a, &b))| (off(a, b) - neighbour(b)).max(0.0).powi(2)).sum::<f64>() / norm;
    if error <= bound { Ok(error) } else { Err(format!("error {error:.1e} over {bound:.0e}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATRICES: Cooperative = Cooperative::new(16, 32);

    /// The twins round to f16 as the kernels do, so the comparison runs on the host too, with any matrices.
    #[test]
    fn the_twins_pass() {
        let mut tried = Vec::new();
        let answer = attempt(&Device::cpu(), MATRICES, |what| tried.push(what.to_owned()));
        assert_eq!(answer.refused, None);
        let tiles = MatrixTile::ALL.into_iter().filter(|tile| tile.fits(MATRICES)).count();
        assert_eq!((answer.kernels, answer.repeats), (3 * tiles + 3, REPEATS_OF_SOFTWARE));
        assert_eq!(answer.error, 0.0);
        assert_eq!(tried.len(), answer.kernels + small_cases().len());
        assert_eq!(
            tried[..2],
            ["compiling every tile", "matrices 2x2"].map(|what| small_cases()[0].name(what))
        );
        assert_eq!(tried[1], "forward 4x16x16x48 -> 80, matrices 2x2");
    }

    #[test]
    fn hardware_runs_every_tile_at_full_size() {
        let large = Cooperative { memory: 48 << 10, invocations: 1024, ..MATRICES };
        let cases = hardware_cases();
        for direction in DIRECTIONS {
            for channels in [160, 320, 640] {
                let case = cases.iter().find(|case| {
                    case.direction == direction
                        && case.geometry.stride == 1
                        && case.geometry.c_in == channels
                        && case.geometry.n == 64
                });
                let tiles = case.expect("a case").tiles(large);
                assert_eq!(tiles, MatrixTile::ALL, "{direction} {channels}");
            }
        }
        const { assert!(REPEATS >= 200) };
        // Sums are no longer than those of programs.
        assert!(cases.iter().all(|case| case.terms() <= PIXELS), "{cases:?}");
    }

    #[test]
    fn sums_of_unrounded_operands_do_not_pass() {
        let in_f32 = small_cases().into_iter().filter(|case| case.storage.a == Storage::F32);
        for case in in_f32 {
            let device = Device::cpu();
            let expected = case.expected(&device).unwrap();
            let kernel = case.kernel(Method::Scalar, None);
            let found = Bed::new(&device, kernel, false).unwrap().run_first().unwrap();
            let judged = judge(found[0].0, &found[0].1, &expected[0].1, sum_bound(case.terms()));
            assert!(judged.is_err(), "{case:?}: {judged:?}");
        }
    }

    /// A repeat whose result is another word is counted.
    #[test]
    fn runs_that_differ_are_seen() {
        let case = small_cases()[0];
        let device = Device::cpu();
        let bed = Bed::new(&device, case.kernel(Method::Cooperative(MATRICES), None), false).unwrap();
        let mut first = bed.run_first().unwrap();
        assert_eq!(bed.repeat(&first, 2).unwrap(), 0);
        first[0].1[1000] ^= 1;
        assert_eq!(bed.repeat(&first, 2).unwrap(), 2);
    }

    #[test]
    fn one_wrong_element_among_a_million_is_seen() {
        let values: Vec<f32> = (0..1_000_000).map(|i| random("values", i)).collect();
        let bound = sum_bound(5760);
        let words = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
        let expected = words(&values);
        assert_eq!(judge(Storage::F32, &expected, &expected, bound), Ok(0.0));
        // Twice the right value, as was reported of sums that live across a loop.
        let mut doubled = values.clone();
        doubled[77_777] *= 2.0;
        let error = judge(Storage::F32, &words(&doubled), &expected, bound).unwrap_err();
        assert!(error.contains("element 77777 of 1000000"), "{error}");
        let mut unwritten = expected.clone();
        unwritten[5] = POISON;
        assert!(judge(Storage::F32, &unwritten, &expected, bound).is_err());
        let halves = [&values, &doubled].map(|values| half::narrow(values));
        assert!(judge(Storage::F16, &halves[1], &halves[0], bound).is_err());
        // A sum whose every addition is cut towards zero passes.
        let cut: Vec<f32> = values.iter().map(|x| x * (1.0 - bound.sqrt() as f32 / 2.0)).collect();
        assert!(judge(Storage::F32, &words(&cut), &expected, bound).is_ok());
    }

    #[test]
    fn digests_tell_variants_and_limits_apart() {
        use crate::kernels::cooperative::Variant;
        let of = |matrices| digest(matrices, Some((1, 6)));
        assert_eq!(of(MATRICES), of(MATRICES));
        let digests: std::collections::HashSet<String> =
            Variant::ALL.map(|variant| of(Cooperative { variant, ..MATRICES })).into();
        assert_eq!(digests.len(), 4);
        assert_ne!(of(MATRICES), of(Cooperative { memory: 48 << 10, ..MATRICES }));
        assert_ne!(of(MATRICES), digest(MATRICES, Some((1, 5))));
    }
}
