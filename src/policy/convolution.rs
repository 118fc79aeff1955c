//! The choice of the kernels that compute a convolution: winners that `jem tune` measured, else a rule of the shapes
//! and the device.

use crate::compute::Kernel as _;
use crate::compute::conv_geometry::{ConvGeometry, ConvProblem, Direction};
use crate::compute::conv_tile::ConvTile;
use crate::compute::cooperative::Method;
use crate::compute::parts::Parts;
use crate::compute::storage::Storage;
use crate::compute::winograd::{Tiling, Winograd};
use crate::kernels::conv2d::Conv2d;
use crate::kernels::conv2d_input_gradient::Conv2dInputGradient;
use crate::kernels::conv2d_weight_gradient::Conv2dWeightGradient;
use crate::kernels::winograd_product::WinogradProduct;
use crate::policy::implementation::ConvImplementation;
use md5::{Digest, Md5};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The algorithm of a convolution or an input gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `conv2d` or `conv2d_input_gradient`: an implicit matrix product.
    Implicit,
    /// Winograd's four kernels.
    Winograd(Winograd),
}

/// Decides which kernels compute each convolution of a program.
///
/// The default is the CPU device's: [`Algorithm::Implicit`] everywhere, which needs no memory and runs on every device,
/// and weight gradients in few parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvolutionPolicy {
    rule: Rule,
    /// The largest tensor that the device binds, in bytes.
    largest: u64,
    /// Floating-point operations of the device in the time that it moves a byte.
    balance: u64,
    is_unfused: bool,
    storage: Storage,
    method: Method,
    /// The measured winners, which take precedence over the rule.
    tuned: Arc<Tuned>,
}

/// The fastest implementation of some convolutions, as measured on a device.
pub type Tuned = BTreeMap<ConvProblem, ConvImplementation>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Implicit,
    Always(Winograd),
    Fastest,
}

impl Default for ConvolutionPolicy {
    fn default() -> Self {
        Self {
            rule: Rule::Implicit,
            largest: u64::MAX,
            balance: 0,
            is_unfused: false,
            storage: Storage::default(),
            method: Method::default(),
            tuned: Arc::default(),
        }
    }
}

impl ConvolutionPolicy {
    /// The [`ConvolutionPolicy::fastest`] balance of a hardware GPU: data-centre cards have 60 to 70 TFLOP/s and 3 to 5
    /// TB/s, of which matrix products reach half and transforms nearly all; others are alike.
    pub const HARDWARE: u64 = 10;
    /// The balance of a driver that computes on the CPU: Mesa's llvmpipe was measured at 6 GFLOP/s and 3 GB/s.
    pub const SOFTWARE: u64 = 2;

    /// The rule for a GPU that binds tensors of up to `largest` bytes and does `balance` floating-point operations in
    /// the time that it moves a byte, both at the rates that kernels reach: Winograd's kernels where, by counted
    /// arithmetic and memory traffic, they take less than 0.8 of the implicit product's time; and weight gradients in
    /// as many parts as fill a large GPU, a number that depends on the shape, the tile and `largest`.
    pub fn fastest(largest: u64, balance: u64) -> Self {
        Self { rule: Rule::Fastest, largest, balance, ..Self::default() }
    }

    /// Winograd's kernels of this size wherever they fit.
    pub fn always(size: Winograd) -> Self {
        Self { rule: Rule::Always(size), largest: u64::MAX, ..Self::default() }
    }

    /// The same policy, with the tensors between convolutions in f16, and the convolutions on them by `method`: mixed
    /// precision (Micikevicius et al. 2018). Parameters, their gradients and images stay in f32, and all sums are in
    /// f32.
    pub fn in_f16(self, method: Method) -> Self {
        Self { storage: Storage::F16, method, ..self }
    }

    /// The storage type of the tensors between convolutions.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// The arithmetic of the convolutions that are not Winograd's.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The same policy, with a kernel for each operation of the graph and none fused: the baseline for measuring
    /// fusion.
    pub fn unfused(self) -> Self {
        Self { is_unfused: true, ..self }
    }

    /// Whether each operation has a kernel of its own.
    pub fn is_unfused(&self) -> bool {
        self.is_unfused
    }

    /// The same policy, with the winners of `tuned` before the rule.
    pub fn with_tuned(self, tuned: Tuned) -> Self {
        Self { tuned: Arc::new(tuned), ..self }
    }

    /// The same policy without measured winners.
    pub fn by_rule(&self) -> Self {
        self.clone().with_tuned(Tuned::new())
    }

    /// The measured winners.
    pub fn tuned(&self) -> &Tuned {
        &self.tuned
    }

    /// The policy as text, for the record of a run: whether kernels were measured, for how many shapes, and a digest
    /// that identifies equal policies.
    pub fn summary(&self) -> String {
        if self.tuned.is_empty() {
            return "by rule".into();
        }
        let mut digest = Md5::new();
        for (shape, candidate) in self.tuned.iter() {
            digest.update(format!("{shape:?} {candidate}\n"));
        }
        let digest: String = digest.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("{} shapes as measured ({digest}), others by rule", self.tuned.len())
    }

    /// The implementation of the convolution of `shape`.
    pub fn candidate(&self, shape: &ConvProblem) -> ConvImplementation {
        if let Some(&candidate) = self.measured(shape) {
            return candidate;
        }
        let (gathers, parts) = (shape.direction != Direction::WeightGradient, self.parts());
        match (self.method.suiting(&shape.geometry), self.rule(&shape.geometry)) {
            (Method::Cooperative(matrices), _) if shape.is_half() => shape.by_matrices(matrices, parts),
            (_, Algorithm::Winograd(size)) if gathers && !shape.is_half() => {
                ConvImplementation::Winograd(size)
            }
            _ => shape.implicit(parts),
        }
    }

    /// Every candidate that the device can run for `shape`: the rule's choice first, then, if that is by matrices, the
    /// others by matrices, then the rest.
    pub fn candidates(&self, shape: &ConvProblem) -> Vec<ConvImplementation> {
        let first = self.by_rule().candidate(shape);
        let mut all = shape.candidates(self.method.suiting(&shape.geometry), self.parts());
        all.retain(|other| *other != first && self.takes(shape, other));
        all.insert(0, first);
        all.sort_by_key(|other| first.is_by_matrices() && !other.is_by_matrices());
        all
    }

    /// The rule for the parts of weight gradients.
    fn parts(&self) -> Parts {
        match self.rule {
            Rule::Fastest => Parts::Gpu { largest: self.largest },
            Rule::Implicit | Rule::Always(_) => Parts::Cpu,
        }
    }

    /// The algorithm for the convolution of `shape`, or its input gradient.
    pub fn algorithm(&self, shape: &ConvProblem) -> Algorithm {
        match self.candidate(shape) {
            ConvImplementation::Winograd(size) => Algorithm::Winograd(size),
            ConvImplementation::Implicit(_) | ConvImplementation::Parts(..) => Algorithm::Implicit,
        }
    }

    /// The kernel with the method and the tile that the policy chooses for its shape.
    pub fn forward(&self, kernel: Conv2d) -> Conv2d {
        let shape =
            ConvProblem { direction: Direction::Forward, geometry: kernel.geometry, storage: kernel.storage };
        let (method, tile) = self.method_and_tile(&shape);
        Conv2d { method, tile, ..kernel }
    }

    /// The kernel with the method and the tile that the policy chooses for its shape.
    pub fn input_gradient(&self, kernel: Conv2dInputGradient) -> Conv2dInputGradient {
        let Conv2dInputGradient { geometry, storage, .. } = kernel;
        let (method, tile) =
            self.method_and_tile(&ConvProblem { direction: Direction::InputGradient, geometry, storage });
        Conv2dInputGradient { method, tile, ..kernel }
    }

    /// The kernel with the method and the tile that the policy chooses for its shape, and the measured number of parts,
    /// else the rule's for the tile.
    pub fn weight_gradient(&self, kernel: Conv2dWeightGradient) -> Conv2dWeightGradient {
        let Conv2dWeightGradient { geometry, storage, .. } = kernel;
        let shape = ConvProblem { direction: Direction::WeightGradient, geometry, storage };
        let (method, tile) = self.method_and_tile(&shape);
        let kernel = Conv2dWeightGradient { method, tile, ..kernel };
        let parts = match self.measured(&shape) {
            Some(&ConvImplementation::Parts(_, parts)) => parts,
            _ => self.parts().count(&geometry, kernel.tile()),
        };
        Conv2dWeightGradient { parts, ..kernel }
    }

    /// The arithmetic of a kernel other than Winograd's, and the tile if it was measured.
    fn method_and_tile(&self, shape: &ConvProblem) -> (Method, Option<ConvTile>) {
        let by_rule = self.method.suiting(&shape.geometry);
        match self.measured(shape) {
            Some(&(ConvImplementation::Implicit(tile) | ConvImplementation::Parts(tile, _))) => match tile {
                // Measurements in f32 say nothing about matrices.
                ConvTile::Scalar(_) if !shape.is_half() => (by_rule, Some(tile)),
                ConvTile::Scalar(_) => (Method::Scalar, Some(tile)),
                ConvTile::Matrices(_) => (by_rule, Some(tile)),
            },
            Some(ConvImplementation::Winograd(_)) | None => (by_rule, None),
        }
    }

    fn measured(&self, shape: &ConvProblem) -> Option<&ConvImplementation> {
        self.tuned.get(shape).filter(|candidate| self.takes(shape, candidate))
    }

    /// Whether the device has what `candidate` needs beside the tensors of `shape`: room, and matrices.
    pub fn takes(&self, shape: &ConvProblem, candidate: &ConvImplementation) -> bool {
        let g = &shape.geometry;
        let has = |tile: &ConvTile| match (tile, self.method.suiting(g)) {
            (ConvTile::Scalar(_), _) => true,
            (ConvTile::Matrices(tile), Method::Cooperative(matrices)) => tile.fits(matrices),
            (ConvTile::Matrices(_), Method::Scalar) => false,
        };
        match candidate {
            ConvImplementation::Implicit(tile) => has(tile),
            &ConvImplementation::Winograd(size) => self.fits(g, size),
            ConvImplementation::Parts(tile, parts) => {
                has(tile) && 4 * (parts * g.weights_len()) as u64 <= self.largest
            }
        }
    }

    fn fits(&self, g: &ConvGeometry, size: Winograd) -> bool {
        let elements = Tiling::new(g, size).transformed_len(g.c_in.max(g.c_out));
        Winograd::takes(g) && 4 * elements as u64 <= self.largest
    }

    /// The rule for the convolution of `g` and for its input gradient, which have similar sizes.
    fn rule(&self, g: &ConvGeometry) -> Algorithm {
        let fits = |size| self.fits(g, size);
        let faster = |&size: &Winograd| 5 * self.winograd_cost(g, size) < 4 * g.flops();
        let size = match self.rule {
            Rule::Implicit => None,
            Rule::Always(size) => fits(size).then_some(size),
            Rule::Fastest => {
                let sizes = Winograd::ALL.into_iter().filter(|&size| fits(size)).filter(faster);
                sizes.min_by_key(|&size| self.winograd_cost(g, size))
            }
        };
        size.map_or(Algorithm::Implicit, Algorithm::Winograd)
    }

    /// The time of Winograd's kernels, counted in floating-point operations: the products, and the transformed
    /// tensors written and read once each.
    fn winograd_cost(&self, g: &ConvGeometry, size: Winograd) -> u64 {
        let tiling = Tiling::new(g, size);
        let product = WinogradProduct { points: size.points(), m: tiling.tiles(), n: g.c_out, k: g.c_in };
        let bytes = 8 * tiling.transformed_len(g.c_in + g.c_out) as u64;
        product.flops() + self.balance * bytes
    }
}

#[cfg(test)]
mod tests {
    use crate::compute::cooperative::Cooperative;
    use crate::compute::storage::Storages;
    use crate::policy::convolution::*;

    fn forward(geometry: ConvGeometry) -> ConvProblem {
        ConvProblem::new(Direction::Forward, geometry)
    }

    fn geometry(size: usize, c_in: usize, c_out: usize) -> ConvGeometry {
        ConvGeometry { n: 64, h: size, w: size, c_in, c_out, kh: 3, kw: 3, stride: 1, padding: 1 }
    }

    #[test]
    fn wide_layers_take_large_tiles_and_narrow_ones_none() {
        let policy = ConvolutionPolicy::fastest(u64::MAX, ConvolutionPolicy::HARDWARE);
        for (size, channels) in [(32, 160), (16, 320), (8, 640), (32, 64)] {
            let algorithm = policy.algorithm(&forward(geometry(size, channels, channels)));
            assert_eq!(algorithm, Algorithm::Winograd(Winograd::F4), "{channels}");
        }
        for (c_in, c_out) in [(3, 16), (16, 16), (16, 160)] {
            assert_eq!(
                policy.algorithm(&forward(geometry(32, c_in, c_out))),
                Algorithm::Implicit,
                "{c_in}, {c_out}"
            );
        }
    }

    #[test]
    fn strides_and_odd_rows_are_left_to_the_implicit_product() {
        let policy = ConvolutionPolicy::always(Winograd::F2);
        let g = geometry(32, 64, 64);
        assert_eq!(policy.algorithm(&forward(g)), Algorithm::Winograd(Winograd::F2));
        for other in [
            ConvGeometry { stride: 2, ..g },
            ConvGeometry { kh: 1, kw: 1, padding: 0, ..g },
            ConvGeometry { w: 12, ..g },
            ConvGeometry { c_in: 18, ..g },
            ConvGeometry { c_out: 12, ..g },
        ] {
            assert_eq!(policy.algorithm(&forward(other)), Algorithm::Implicit, "{other:?}");
        }
    }

    #[test]
    fn a_device_that_cannot_bind_the_tiles_does_without() {
        // 64 images of 64 tiles, 36 points, 160 channels: 90 MiB.
        let bytes = 64 * 64 * 36 * 160 * 4;
        let g = geometry(32, 160, 160);
        assert_eq!(
            ConvolutionPolicy::fastest(bytes, ConvolutionPolicy::HARDWARE).algorithm(&forward(g)),
            Algorithm::Winograd(Winograd::F4)
        );
        assert_eq!(
            ConvolutionPolicy::fastest(bytes - 1, ConvolutionPolicy::HARDWARE).algorithm(&forward(g)),
            Algorithm::Implicit
        );
    }

    #[test]
    fn what_was_measured_goes_before_the_rule() {
        let rule = ConvolutionPolicy::fastest(u64::MAX, ConvolutionPolicy::HARDWARE);
        let g = geometry(32, 160, 160);
        let shape = |direction| ConvProblem::new(direction, g);
        let last = |direction| *rule.candidates(&shape(direction)).iter().rfind(|c| is_implicit(c)).unwrap();
        let (forward_last, weights) = (last(Direction::Forward), last(Direction::WeightGradient));
        let tuned = rule.clone().with_tuned(Tuned::from([
            (shape(Direction::Forward), forward_last),
            (shape(Direction::WeightGradient), weights),
        ]));
        assert_eq!(rule.algorithm(&forward(g)), Algorithm::Winograd(Winograd::F4));
        assert_eq!(tuned.algorithm(&forward(g)), Algorithm::Implicit);
        assert_eq!(tuned.forward(Conv2d::new(g)).tile.map(ConvImplementation::Implicit), Some(forward_last));
        let kernel = tuned.weight_gradient(Conv2dWeightGradient::new(g));
        assert_eq!(kernel.tile.map(|tile| ConvImplementation::Parts(tile, kernel.parts)), Some(weights));
        assert_ne!(kernel, rule.weight_gradient(Conv2dWeightGradient::new(g)));
        // The other direction and another batch are left to the rule.
        let gradient = shape(Direction::InputGradient);
        assert_eq!(tuned.algorithm(&gradient), Algorithm::Winograd(Winograd::F4));
        assert_eq!(tuned.input_gradient(Conv2dInputGradient::new(g)).tile, None);
        let other = ConvGeometry { n: 32, ..g };
        assert_eq!(tuned.algorithm(&forward(other)), Algorithm::Winograd(Winograd::F4));
        let kernel = Conv2dWeightGradient::new(other);
        assert_eq!(tuned.weight_gradient(kernel), rule.weight_gradient(kernel));
        assert_eq!(tuned.by_rule(), rule);
        assert_eq!(rule.summary(), "by rule");
        assert!(tuned.summary().starts_with("2 shapes as measured ("), "{}", tuned.summary());
        let less = rule.clone().with_tuned(Tuned::from([(forward(g), forward_last)]));
        assert_ne!(tuned.summary()[2..], less.summary()[2..], "other policy have another digest");
    }

    fn is_implicit(candidate: &ConvImplementation) -> bool {
        !matches!(candidate, ConvImplementation::Winograd(_))
    }

    #[test]
    fn what_was_measured_and_cannot_be_bound_is_left_to_the_rule() {
        let g = geometry(32, 160, 160);
        let tuned = Tuned::from([(forward(g), ConvImplementation::Winograd(Winograd::F2))]);
        let wide =
            ConvolutionPolicy::fastest(u64::MAX, ConvolutionPolicy::HARDWARE).with_tuned(tuned.clone());
        assert_eq!(wide.algorithm(&forward(g)), Algorithm::Winograd(Winograd::F2));
        let narrow = ConvolutionPolicy::fastest(1 << 20, ConvolutionPolicy::HARDWARE).with_tuned(tuned);
        assert_eq!(narrow.algorithm(&forward(g)), Algorithm::Implicit);
    }

    #[test]
    fn in_f16_matrices_and_threads_are_chosen_between() {
        let matrices = Cooperative::new(16, 32);
        let method = Method::Cooperative(matrices);
        let rule = ConvolutionPolicy::fastest(u64::MAX, ConvolutionPolicy::HARDWARE).in_f16(method);
        let g = geometry(32, 160, 160);
        let half = ConvProblem { storage: Storages::F16, ..forward(g) };
        let kernel = Conv2d { storage: Storages::F16, ..Conv2d::new(g) };
        assert_eq!(rule.candidate(&half), half.by_matrices(matrices, rule.parts()));
        assert_eq!((rule.forward(kernel).method, rule.forward(kernel).tile), (method, None));
        assert!(rule.candidates(&half).iter().all(|candidate| rule.takes(&half, candidate)));
        for candidate in half.candidates(method, rule.parts()) {
            let tuned = rule.clone().with_tuned(Tuned::from([(half, candidate)]));
            let ConvImplementation::Implicit(tile) = candidate else { panic!("{candidate}") };
            let chosen = tuned.forward(kernel);
            match tile {
                ConvTile::Scalar(_) => assert_eq!((chosen.method, chosen.tile), (Method::Scalar, Some(tile))),
                ConvTile::Matrices(fits) if fits.fits(matrices) => {
                    assert_eq!((chosen.method, chosen.tile), (method, Some(tile)));
                }
                ConvTile::Matrices(_) => assert_eq!((chosen.method, chosen.tile), (method, None)),
            }
            // Measurements in f16 are not for f32, and matrices are not for a device whose matrices fail the gate.
            assert_eq!(tuned.forward(Conv2d::new(g)).tile, None);
            let without = tuned.in_f16(Method::Scalar).forward(kernel);
            assert_eq!(without.method, Method::Scalar);
            assert_eq!(without.tile.is_some(), matches!(tile, ConvTile::Scalar(_)));
        }
    }
}
