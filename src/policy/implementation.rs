//! The implementations of a convolution that are worth measuring: `jem tune` measures them, and
//! [`crate::policy::convolution`] chooses among them.

use crate::compute::Kernel;
use crate::compute::conv_geometry::{ConvGeometry, ConvProblem, Direction};
use crate::compute::conv_tile::{ConvTile, MatrixTile, STEP_K, ScalarTile, WorkgroupTile, can_load_ahead};
use crate::compute::cooperative::{Cooperative, Method, suits_matrices};
use crate::compute::epilogue::Residual;
use crate::compute::parts::Parts;
use crate::compute::storage::{Storage, Storages};
use crate::compute::winograd::Winograd;
use crate::kernels::conv2d::Conv2d;
use crate::kernels::conv2d_input_gradient::Conv2dInputGradient;
use crate::kernels::conv2d_weight_gradient::Conv2dWeightGradient;
use md5::{Digest, Md5};
use std::fmt;

/// An implementation of the convolution of a [`ConvProblem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConvImplementation {
    /// `conv2d` or `conv2d_input_gradient`, by this tile.
    Implicit(ConvTile),
    /// Winograd's four kernels, in f32: forward and input gradient.
    Winograd(Winograd),
    /// `conv2d_weight_gradient` by this tile in this many parts, and the sum of the parts.
    Parts(ConvTile, usize),
}

impl ConvImplementation {
    /// Whether cooperative matrices compute it.
    pub fn is_by_matrices(&self) -> bool {
        matches!(self, Self::Implicit(ConvTile::Matrices(_)) | Self::Parts(ConvTile::Matrices(_), _))
    }
}

/// Threads below which a workgroup leaves most of a GPU's subgroup idle.
const LEAST_THREADS: usize = 32;

/// The most tiles side by side, each of which gathers the same pixels again.
const MOST_TILES: usize = 10;

/// Pixels of a part of a weight gradient below which measuring it is a waste of time.
const LEAST_PIXELS: usize = 64;

impl ConvProblem {
    /// The implicit product by the rule's tile; a weight gradient has the number of parts that `parts` gives.
    pub(crate) fn implicit(&self, parts: Parts) -> ConvImplementation {
        self.by_tile(self.rule_tile().into(), Method::Scalar, parts)
    }

    /// The same as [`ConvProblem::implicit`], by these matrices.
    pub(crate) fn by_matrices(&self, matrices: Cooperative, parts: Parts) -> ConvImplementation {
        let (_, columns) = self.product();
        self.by_tile(MatrixTile::rule(matrices, columns).into(), Method::Cooperative(matrices), parts)
    }

    /// The implicit product by `tile`, one of `method`'s; a weight gradient has the number of parts that `parts` gives.
    fn by_tile(&self, tile: ConvTile, method: Method, parts: Parts) -> ConvImplementation {
        match self.direction {
            Direction::Forward | Direction::InputGradient => ConvImplementation::Implicit(tile),
            Direction::WeightGradient => {
                let (rows, columns) = self.product();
                let count =
                    parts.count(&self.geometry, WorkgroupTile::staged(method, rows, columns, Some(tile)));
                ConvImplementation::Parts(tile, count)
            }
        }
    }

    /// The tile that the rule takes in f32.
    fn rule_tile(&self) -> ScalarTile {
        let (rows, columns) = self.product();
        let tile = match self.direction {
            Direction::Forward | Direction::InputGradient => ScalarTile::gather(rows, columns),
            Direction::WeightGradient => ScalarTile::through_memory(rows, columns),
        };
        if self.can_load_ahead() { tile } else { tile.plain() }
    }

    /// Every candidate on a device that multiplies f16 by `method` and cuts weight gradients by `parts`: each of
    /// [`ConvProblem::tiles`], the rule's first, for a weight gradient with the rule's number of parts, half and twice
    /// as many; then Winograd's sizes where they fit, if all tensors are f32.
    pub(crate) fn candidates(&self, method: Method, parts: Parts) -> Vec<ConvImplementation> {
        let mut all = Vec::new();
        for tile in self.tiles() {
            let method = match (tile, method) {
                (ConvTile::Scalar(_), _) => Method::Scalar,
                (ConvTile::Matrices(_), Method::Cooperative(_)) => method,
                (ConvTile::Matrices(_), Method::Scalar) => continue,
            };
            match self.by_tile(tile, method, parts) {
                ConvImplementation::Parts(tile, count) => {
                    let counts = [count, count / 2, 2 * count];
                    let counts = counts.into_iter().filter(|&n| n == count || self.can_have_parts(n));
                    all.extend(counts.map(|count| ConvImplementation::Parts(tile, count)));
                }
                other => all.push(other),
            }
        }
        all.extend(self.winograd());
        all
    }

    /// The implementation of this name, if any device could have it.
    pub fn named(&self, name: &str) -> Option<ConvImplementation> {
        let tile = |name: &str| self.tiles().into_iter().find(|tile| tile.to_string() == name);
        if self.direction != Direction::WeightGradient {
            let winograd = || self.winograd().find(|candidate| candidate.to_string() == name);
            return tile(name).map(ConvImplementation::Implicit).or_else(winograd);
        }
        let (tile_name, count) = name.rsplit_once(", ")?;
        let candidate = ConvImplementation::Parts(tile(tile_name)?, count.split_once(' ')?.0.parse().ok()?);
        let ConvImplementation::Parts(_, count) = candidate else { return None };
        (candidate.to_string() == name && self.can_have_parts(count)).then_some(candidate)
    }

    /// Whether a weight gradient in `count` parts is worth measuring: the parts are not too small.
    fn can_have_parts(&self, count: usize) -> bool {
        (1..=(self.geometry.out_pixels() / LEAST_PIXELS).max(1)).contains(&count)
    }

    /// Winograd's kernels where they fit.
    fn winograd(&self) -> impl Iterator<Item = ConvImplementation> {
        let gathers = self.direction != Direction::WeightGradient;
        let fits = gathers && !self.is_half() && Winograd::takes(&self.geometry);
        Winograd::ALL.into_iter().filter(move |_| fits).map(ConvImplementation::Winograd)
    }

    /// The tiles that are worth measuring, the rule's first: those in f32 that pad the channels to at most a tenth more
    /// than the best does, fill a subgroup and are few side by side, with and without loading ahead; and all tiles of
    /// matrices, if both operands are f16.
    fn tiles(&self) -> Vec<ConvTile> {
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
        let rule = self.rule_tile();
        let others = scalar().filter(fits).filter(|&tile| tile != rule);
        let matrices = MatrixTile::ALL.into_iter().filter(|_| self.can_take_matrices());
        let scalar = [rule].into_iter().chain(others).map(ConvTile::from);
        scalar.chain(matrices.map(ConvTile::from)).collect()
    }

    /// Whether matrices may multiply it. (They would round f32 operands.)
    fn can_take_matrices(&self) -> bool {
        let Storages { a, b, .. } = self.storage;
        [a, b] == [Storage::F16; 2] && suits_matrices(&self.geometry)
    }

    /// Whether tiles may load ahead: both operands must be read by fours, and the channels of a gather must be whole
    /// steps.
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

/// A digest of everything that the candidates' kernels consist of: their texts with every tile and size, their uniform
/// blocks and workgroups, and the rule's parts of weight gradients on a GPU, which a winner had to beat. It is the same
/// on every machine, and tells measurements of other versions apart.
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
                let kernel = Conv2dWeightGradient { method, tile, storage, ..plain };
                let batch = ConvGeometry { n: 64, h: 32, w: 32, ..geometry };
                let parts = Parts::Gpu { largest: u64::MAX }.count(&batch, kernel.tile());
                add(&Conv2dWeightGradient { parts, ..kernel });
            }
        }
    }
    for kernel in crate::kernels::catalogue() {
        if kernel.name().starts_with("winograd_") || kernel.name() == "reduce" {
            add(kernel.as_ref());
        }
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for ConvImplementation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Implicit(tile) => write!(f, "{tile}"),
            Self::Winograd(size) => write!(f, "winograd {size:?}"),
            Self::Parts(tile, 1) => write!(f, "{tile}, 1 part"),
            Self::Parts(tile, parts) => write!(f, "{tile}, {parts} parts"),
        }
    }
}

#[cfg(test)]
mod tests;
