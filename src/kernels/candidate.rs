//! The ways to compute a convolution that are worth measuring: what `jem tune` tries and [`super::choice`] takes.

use super::Kernel;
use super::conv_geometry::{ConvGeometry, Direction, Shape};
use super::conv_tile::{ConvTile, MatrixTile, STEP_K, ScalarTile, can_load_ahead};
use super::conv2d::Conv2d;
use super::conv2d_input_gradient::{Conv2dInputGradient, Residual};
use super::conv2d_weight_gradient::Conv2dWeightGradient;
use super::cooperative::{Cooperative, Method, suits_matrices};
use super::half::{Storage, Storages};
use super::winograd::Winograd;
use md5::{Digest, Md5};
use std::fmt;

/// A way to compute the convolution of a [`Shape`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Candidate {
    /// `conv2d` or `conv2d_input_gradient`, by this tile.
    Implicit(ConvTile),
    /// Winograd's four kernels, in f32: forward and input gradient.
    Winograd(Winograd),
    /// `conv2d_weight_gradient` by this tile in so many parts, and the sum of the parts.
    Parts(ConvTile, usize),
}

/// Threads below which a workgroup leaves most of a GPU's subgroup idle.
const LEAST_THREADS: usize = 32;

/// Tiles side by side of which each would gather the same again.
const MOST_TILES: usize = 10;

/// Pixels of a part of a weight gradient below which its workspace costs more than its sum.
const LEAST_PIXELS: usize = 64;

impl Shape {
    /// What the rule of the shapes takes among implicit products.
    pub fn implicit(&self) -> Candidate {
        let g = &self.geometry;
        let (rows, columns) = self.product();
        let form = |tile: ScalarTile| {
            let tile = if self.can_load_ahead() { tile } else { tile.plain() };
            ConvTile::from(tile)
        };
        match self.direction {
            Direction::Forward | Direction::InputGradient => {
                Candidate::Implicit(form(ScalarTile::gather(rows, columns)))
            }
            Direction::WeightGradient => {
                let splits = Conv2dWeightGradient::new(*g).splits;
                Candidate::Parts(form(ScalarTile::through_memory(rows, columns)), splits)
            }
        }
    }

    /// What [`Shape::implicit`] is by these matrices.
    pub fn by_matrices(&self, matrices: Cooperative) -> Candidate {
        let (_, columns) = self.product();
        let tile = MatrixTile::rule(matrices, columns).into();
        match self.implicit() {
            Candidate::Parts(_, splits) => Candidate::Parts(tile, splits),
            _ => Candidate::Implicit(tile),
        }
    }

    /// Every candidate, [`Shape::implicit`] first: the tiles that pad the channels by at most a tenth more than
    /// the best does, fill a subgroup and are few side by side, loading ahead and not; Winograd's sizes where they
    /// fit, if all tensors are f32; all tiles of matrices, if both operands are f16; for weight gradients each tile
    /// with the rule's parts, half and twice as many.
    pub fn candidates(&self) -> Vec<Candidate> {
        let first = self.implicit();
        let (_, columns) = self.product();
        let gathers = self.direction != Direction::WeightGradient;
        let takes =
            |tile: &ScalarTile| (gathers || !tile.is_direct()) && (self.can_load_ahead() || !tile.is_ahead());
        let scalar = || ScalarTile::ALL.into_iter().filter(takes);
        let least = scalar().map(|tile| tile.padded(columns)).min().unwrap_or(columns);
        let fits = |tile: &ScalarTile| {
            let padded = tile.padded(columns);
            let [_, n] = tile.size();
            10 * padded <= 11 * least && padded <= MOST_TILES * n && tile.threads() >= LEAST_THREADS
        };
        let matrices = MatrixTile::ALL.into_iter().filter(|_| self.can_take_matrices());
        let tiles = scalar().filter(fits).map(ConvTile::from).chain(matrices.map(ConvTile::from));
        let mut all = vec![first];
        match first {
            Candidate::Parts(tile, splits) => {
                let most = (self.geometry.out_pixels() / LEAST_PIXELS).max(1);
                for tile in [tile].into_iter().chain(tiles) {
                    let counts = [splits, splits / 2, 2 * splits];
                    let counts = counts.into_iter().filter(|&n| n == splits || (1..=most).contains(&n));
                    all.extend(counts.map(|splits| Candidate::Parts(tile, splits)));
                }
            }
            Candidate::Implicit(_) | Candidate::Winograd(_) => {
                all.extend(tiles.map(Candidate::Implicit));
                let fits = !self.is_half() && Winograd::takes(&self.geometry);
                all.extend(Winograd::ALL.into_iter().filter(|_| fits).map(Candidate::Winograd));
            }
        }
        let mut distinct = Vec::with_capacity(all.len());
        for candidate in all {
            if !distinct.contains(&candidate) {
                distinct.push(candidate);
            }
        }
        distinct
    }

    /// Whether matrices may multiply it: f32 operands they would round.
    fn can_take_matrices(&self) -> bool {
        let Storages { a, b, .. } = self.storage;
        [a, b] == [Storage::F16; 2] && suits_matrices(&self.geometry)
    }

    /// Whether tiles may load ahead: where both operands are read by fours, and a gather where the channels that it
    /// gathers are whole steps.
    fn can_load_ahead(&self) -> bool {
        let g = &self.geometry;
        can_load_ahead(g.c_in, g.c_out)
            && match self.direction {
                Direction::Forward => g.c_in.is_multiple_of(STEP_K),
                Direction::InputGradient => g.c_out.is_multiple_of(STEP_K),
                Direction::WeightGradient => true,
            }
    }

    /// Rows and columns of the matrix product.
    fn product(&self) -> (usize, usize) {
        let g = &self.geometry;
        match self.direction {
            Direction::Forward => (g.out_pixels(), g.c_out),
            Direction::InputGradient => (g.class_pixels(), g.c_in),
            Direction::WeightGradient => (g.weight_rows(), g.c_out),
        }
    }
}

/// A digest of all that candidates' kernels are made of: their texts with every tile and size, the words of their
/// uniform blocks and their workgroups. Equal on every machine; another version's measurements do not count.
pub fn fingerprint() -> String {
    let mut digest = Md5::new();
    let mut add = |kernel: &dyn Kernel| {
        digest.update(kernel.shader().wgsl());
        digest.update(format!("{:?}{:?}", kernel.uniforms(), kernel.workgroups()));
    };
    let scalar = ScalarTile::ALL.map(|tile| (Method::Scalar, ConvTile::from(tile)));
    let matrices = [8, 16].map(|size| Cooperative::new(size, 32));
    let by_matrices = matrices
        .into_iter()
        .flat_map(|m| MatrixTile::ALL.map(|tile| (Method::Cooperative(m), ConvTile::from(tile))));
    for (method, tile) in scalar.into_iter().chain(by_matrices) {
        for (geometry, storage) in ConvGeometry::examples()
            .into_iter()
            .flat_map(|geometry| [Storages::default(), Storages::F16].map(|storage| (geometry, storage)))
            .filter(|(geometry, storage)| storage.fit(geometry.c_in, geometry.c_out))
        {
            let (activated, tile) = (Some(0.2), Some(tile));
            let plain = Conv2d { method, tile, storage, ..Conv2d::new(geometry) };
            add(&Conv2d { bias: true, residual: true, activated, mask: true, ..plain });
            let plain = Conv2dInputGradient { method, tile, storage, ..Conv2dInputGradient::new(geometry) };
            add(&Conv2dInputGradient { mask: activated, residual: Residual::AfterMask, ..plain });
            if !matches!(tile, Some(ConvTile::Scalar(tile)) if tile.is_direct()) {
                let storage = Storages { c: Storage::F32, ..storage };
                let plain = Conv2dWeightGradient::new(geometry);
                add(&Conv2dWeightGradient { method, tile, storage, ..plain });
            }
        }
    }
    for kernel in super::catalogue() {
        if kernel.name().starts_with("winograd_") || kernel.name() == "reduce" {
            add(kernel.as_ref());
        }
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Implicit(tile) => write!(f, "{tile}"),
            Self::Winograd(size) => write!(f, "winograd {size:?}"),
            Self::Parts(tile, 1) => write!(f, "{tile}, 1 part"),
            Self::Parts(tile, splits) => write!(f, "{tile}, {splits} parts"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const DIRECTIONS: [Direction; 3] =
        [Direction::Forward, Direction::InputGradient, Direction::WeightGradient];

    fn shape(direction: Direction, size: usize, c_in: usize, c_out: usize, stride: usize) -> Shape {
        let geometry =
            ConvGeometry { n: 64, h: size, w: size, c_in, c_out, kh: 3, kw: 3, stride, padding: 1 };
        Shape::new(direction, geometry)
    }

    #[test]
    fn candidates_are_distinct_and_begin_with_the_rules() {
        for direction in DIRECTIONS {
            for geometry in ConvGeometry::examples() {
                let shape = Shape::new(direction, geometry);
                let candidates = shape.candidates();
                assert_eq!(candidates[0], shape.implicit(), "{shape}");
                let names: HashSet<String> = candidates.iter().map(ToString::to_string).collect();
                assert_eq!(names.len(), candidates.len(), "{shape}: {names:?}");
            }
        }
    }

    #[test]
    fn some_tile_wastes_nothing_of_the_channels_of_a_wide_resnet() {
        for channels in [16, 32, 64, 160, 320, 640] {
            for direction in DIRECTIONS {
                let shape = shape(direction, 32, channels, channels, 1);
                for candidate in shape.candidates() {
                    let Some(ConvTile::Scalar(tile)) = tile_of(&candidate) else { continue };
                    assert_eq!(tile.padded(channels), channels, "{shape}: {candidate}");
                }
                assert!(shape.candidates().len() > 1, "{shape}");
            }
        }
    }

    #[test]
    fn winograd_is_a_candidate_where_it_fits() {
        let winograd = |shape: Shape| {
            let of = |candidate: &Candidate| matches!(candidate, Candidate::Winograd(_));
            shape.candidates().iter().filter(|candidate| of(candidate)).count()
        };
        assert_eq!(winograd(shape(Direction::Forward, 32, 160, 160, 1)), 2);
        assert_eq!(winograd(shape(Direction::InputGradient, 32, 160, 160, 1)), 2);
        assert_eq!(winograd(shape(Direction::InputGradient, 32, 160, 160, 2)), 0);
        assert_eq!(winograd(shape(Direction::WeightGradient, 32, 160, 160, 1)), 0);
    }

    #[test]
    fn both_forms_are_candidates_where_their_kernels_differ() {
        let is_ahead = |candidate: &Candidate| match tile_of(candidate) {
            Some(ConvTile::Scalar(tile)) => tile.is_ahead(),
            _ => false,
        };
        let ahead = |shape: Shape| shape.candidates().iter().filter(|candidate| is_ahead(candidate)).count();
        for direction in DIRECTIONS {
            let shape = shape(direction, 32, 64, 64, 1);
            assert!(ahead(shape) > 0 && is_ahead(&shape.implicit()), "{direction}");
        }
        for (direction, c_in, c_out) in [
            (Direction::Forward, 20, 64),
            (Direction::InputGradient, 64, 20),
            (Direction::Forward, 64, 62),
            (Direction::WeightGradient, 64, 62),
        ] {
            let shape = shape(direction, 32, c_in, c_out, 1);
            assert_eq!(ahead(shape), 0, "{direction}: no whole steps, or not by fours");
        }
        assert!(ahead(shape(Direction::WeightGradient, 32, 20, 64, 1)) > 0);
    }

    #[test]
    fn parts_keep_enough_pixels() {
        for (size, batch) in [(1, 1), (8, 1), (32, 64)] {
            let mut shape = shape(Direction::WeightGradient, size, 16, 16, 1);
            shape.geometry.n = batch;
            for candidate in shape.candidates() {
                let Candidate::Parts(ConvTile::Scalar(tile), splits) = candidate else {
                    panic!("{candidate}")
                };
                assert!(!tile.is_direct(), "{candidate}");
                assert!(splits == 1 || shape.geometry.out_pixels() / splits >= LEAST_PIXELS, "{candidate}");
            }
        }
    }

    #[test]
    fn tiles_keep_within_webgpus_limits() {
        let distinct: HashSet<_> = ScalarTile::ALL.into_iter().collect();
        assert_eq!(distinct.len(), ScalarTile::ALL.len());
        for tile in ScalarTile::ALL {
            let [m, n] = tile.size();
            assert!(m % 8 == 0 && n % 8 == 0 && (1..=256).contains(&tile.threads()), "{tile}");
            assert!(
                distinct.contains(&tile.ahead()) && distinct.contains(&tile.plain()),
                "{tile}: both forms"
            );
            let loads = [m, n].map(|side| (side * STEP_K / 4).div_ceil(tile.threads()));
            assert!(!tile.is_ahead() || loads.into_iter().all(|loads| loads <= 4), "{tile}: {loads:?}");
        }
    }

    fn tile_of(candidate: &Candidate) -> Option<ConvTile> {
        match candidate {
            Candidate::Implicit(tile) | Candidate::Parts(tile, _) => Some(*tile),
            Candidate::Winograd(_) => None,
        }
    }

    #[test]
    fn matrices_are_candidates_between_tensors_in_f16_alone() {
        let matrices = |shape: Shape| {
            let of = |candidate: &Candidate| matches!(tile_of(candidate), Some(ConvTile::Matrices(_)));
            shape.candidates().iter().filter(|candidate| of(candidate)).count()
        };
        let sums = Storages { c: Storage::F32, ..Storages::F16 };
        let image = Storages { a: Storage::F32, ..Storages::F16 };
        for direction in [Direction::Forward, Direction::InputGradient] {
            let f32 = shape(direction, 32, 160, 160, 1);
            assert_eq!(matrices(f32), 0, "{direction}");
            assert_eq!(matrices(Shape { storage: Storages::F16, ..f32 }), MatrixTile::ALL.len());
            assert_eq!(matrices(Shape { storage: sums, ..f32 }), MatrixTile::ALL.len());
            assert_eq!(matrices(Shape { storage: image, ..f32 }), 0);
            let narrow = shape(direction, 32, 3, 16, 1);
            assert_eq!(matrices(Shape { storage: Storages::F16, ..narrow }), 0);
            let half = Shape { storage: Storages::F16, ..f32 };
            assert!(half.candidates().iter().all(|candidate| tile_of(candidate).is_some()), "no Winograd");
        }
        let weights = Shape { storage: sums, ..shape(Direction::WeightGradient, 32, 160, 160, 1) };
        assert!(matrices(weights) > MatrixTile::ALL.len(), "with several numbers of parts");
    }

    #[test]
    fn tiles_of_matrices_keep_within_the_devices_limits() {
        let distinct: HashSet<_> = MatrixTile::ALL.into_iter().collect();
        assert_eq!(distinct.len(), MatrixTile::ALL.len());
        for (size, subgroup) in [(8, 8), (8, 32), (8, 64), (16, 8), (16, 32), (16, 64)] {
            let matrices = Cooperative::new(size, subgroup);
            let fitting = MatrixTile::ALL.into_iter().filter(|tile| tile.fits(matrices));
            assert!(fitting.clone().all(|tile| tile.threads(matrices) <= 256));
            for columns in [16, 32, 64, 160, 640] {
                let rule = MatrixTile::rule(matrices, columns);
                assert!(fitting.clone().any(|tile| tile == rule), "{matrices:?}: {columns}");
            }
        }
        // 256 x 64 of 16x16 matrices takes 36 KiB.
        let matrices = Cooperative::new(16, 32);
        assert_eq!(MatrixTile::ALL.into_iter().filter(|tile| !tile.fits(matrices)).count(), 1);
    }

    #[test]
    fn the_fingerprint_repeats() {
        assert_eq!(fingerprint(), fingerprint());
        assert_eq!(fingerprint().len(), 32);
    }
}
