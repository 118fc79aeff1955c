//! The convolutions that the gate runs, and how their results are judged.

use super::Failure;
use super::runner::CaseRunner;
use crate::compute::Kernel;
use crate::compute::conv_geometry::{ConvGeometry, Direction};
use crate::compute::conv_tile::{ConvTile, MatrixTile};
use crate::compute::cooperative::{Cooperative, Method};
use crate::compute::epilogue::Residual;
use crate::compute::half;
use crate::compute::storage::{Storage, Storages};
use crate::device::{Device, ProgramBuilder};
use crate::error::Result;
use crate::kernels::conv2d::Conv2d;
use crate::kernels::conv2d_input_gradient::Conv2dInputGradient;
use crate::kernels::conv2d_weight_gradient::Conv2dWeightGradient;
use crate::self_test::{Contents, sum_bound};
use rayon::prelude::*;
use std::sync::Arc;

/// Output pixels of a part of a weight gradient: the most that the rule for GPUs takes.
const PIXELS: usize = 8192;

/// A convolution in one direction.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    direction: Direction,
    geometry: ConvGeometry,
    storage: Storages,
    /// Whether to try all tiles that fit, or only the rule's.
    all_tiles: bool,
}

const DIRECTIONS: [Direction; 3] = [Direction::Forward, Direction::InputGradient, Direction::WeightGradient];

/// The three groups of a WRN-28-10 at a batch of 64 and a layer with a stride between two of them, in f16 as in
/// programs; and a layer in f32 whose channels do not fill a matrix.
pub fn hardware_cases() -> Vec<Case> {
    let shape = |size, c_in, c_out, stride| square(64, size, c_in, c_out, stride);
    let groups =
        [shape(32, 160, 160, 1), shape(16, 320, 320, 1), shape(8, 640, 640, 1), shape(32, 160, 320, 2)];
    let in_f16 = groups.map(|geometry| (geometry, Storages::F16, true));
    let in_f32 = [(shape(32, 36, 20, 2), Storages::default(), false)];
    cases(in_f16.into_iter().chain(in_f32))
}

/// The same with shapes that a CPU computes in a moment.
pub fn small_cases() -> Vec<Case> {
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
    pub fn name(&self, tile: &str) -> String {
        let g = &self.geometry;
        let stride = if g.stride == 1 { String::new() } else { format!(" stride {}", g.stride) };
        format!("{} {}x{}x{}x{} -> {}{stride}, {tile}", self.direction, g.n, g.h, g.w, g.c_in, g.c_out)
    }

    /// The tiles that are tried.
    pub fn tiles(&self, matrices: Cooperative) -> Vec<MatrixTile> {
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

    fn parts(&self) -> usize {
        self.geometry.out_pixels().div_ceil(PIXELS).max(4)
    }

    /// Terms of each sum.
    fn terms(&self) -> usize {
        let g = &self.geometry;
        match self.direction {
            Direction::Forward => g.kh * g.kw * g.c_in,
            Direction::InputGradient => g.kh * g.kw * g.c_out,
            Direction::WeightGradient => g.out_pixels().div_ceil(self.parts()),
        }
    }

    /// The kernel with an epilogue as in networks, but no sign mask, which may rightly differ where a sum is near 0.
    pub fn kernel(&self, method: Method, tile: Option<ConvTile>) -> Arc<dyn Kernel> {
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
                Arc::new(Conv2dWeightGradient { parts: self.parts(), method, tile, storage, ..plain })
            }
        }
    }

    /// Compiles the kernels of all tiles, on all cores.
    pub fn compile(&self, device: &Device, matrices: Cooperative) -> Result<()> {
        let mut builder = ProgramBuilder::new("gate");
        for tile in self.tiles(matrices) {
            let kernel = self.kernel(Method::Cooperative(matrices), Some(tile.into()));
            let views: Vec<_> =
                kernel.bindings().iter().map(|b| builder.external_named(b.name, b.words)).collect();
            builder.dispatch_shared(kernel.name(), kernel, &views);
        }
        device.compile([&builder.finish()])
    }

    /// The results of the scalar kernel on operands rounded to f16.
    pub fn expected(&self, device: &Device) -> Result<Vec<Contents>> {
        let kernel = self.kernel(Method::Scalar, None);
        let runner = CaseRunner::new(device, kernel, true)?;
        runner.run_first()
    }

    /// The largest Σ(a-b)²/Σb² of the results of `tile`.
    ///
    /// # Errors
    /// If the device refuses the kernel, results are wrong, runs differ, or there is too little memory.
    pub fn compare(
        &self,
        device: &Device,
        matrices: Cooperative,
        tile: MatrixTile,
        expected: &[Contents],
        repeats: usize,
    ) -> std::result::Result<f64, Failure> {
        let kernel = self.kernel(Method::Cooperative(matrices), Some(tile.into()));
        let runner = CaseRunner::new(device, kernel, false)?;
        let found = runner.run_first()?;
        let bound = sum_bound(self.terms());
        let mut worst = 0.0f64;
        for ((storage, found), (_, expected)) in found.iter().zip(expected) {
            worst = worst.max(judge(*storage, found, expected, bound).map_err(Failure::Refused)?);
        }
        match runner.repeat(&found, repeats - 1)? {
            0 => Ok(worst),
            words => {
                let reason = format!("{words} words in {repeats} runs differ from the first run's");
                Err(Failure::Refused(reason))
            }
        }
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
    use super::super::REPEATS;
    use super::super::runner::POISON;
    use super::*;
    use crate::self_test::random;

    const MATRICES: Cooperative = Cooperative::new(16, 32);

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
            let found = CaseRunner::new(&device, kernel, false).unwrap().run_first().unwrap();
            let judged = judge(found[0].0, &found[0].1, &expected[0].1, sum_bound(case.terms()));
            assert!(judged.is_err(), "{case:?}: {judged:?}");
        }
    }

    /// A repeat whose result is another word is counted.
    #[test]
    fn runs_that_differ_are_seen() {
        let case = small_cases()[0];
        let device = Device::cpu();
        let runner =
            CaseRunner::new(&device, case.kernel(Method::Cooperative(MATRICES), None), false).unwrap();
        let mut first = runner.run_first().unwrap();
        assert_eq!(runner.repeat(&first, 2).unwrap(), 0);
        first[0].1[1000] ^= 1;
        assert_eq!(runner.repeat(&first, 2).unwrap(), 2);
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
}
