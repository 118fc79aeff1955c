//! Which kernels compute a convolution: a rule of its shapes and the device.

use super::Kernel;
use super::conv2d::ConvGeometry;
use super::cooperative::Method;
use super::half::Storage;
use super::winograd::{Tiling, Winograd};
use super::winograd_product::WinogradProduct;

/// How a convolution or an input gradient is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// By `conv2d` or `conv2d_input_gradient`: an implicit matrix product.
    Implicit,
    /// By Winograd's four kernels.
    Winograd(Winograd),
}

/// What decides the [`Algorithm`] of each convolution of a program.
///
/// The default is [`Algorithm::Implicit`] everywhere: it needs no memory and runs on every device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Choices {
    rule: Rule,
    /// The largest tensor that the device binds, in bytes.
    largest: u64,
    /// Floating-point operations of the device in the time that it moves a byte.
    balance: u64,
    separate: bool,
    storage: Storage,
    method: Method,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Rule {
    #[default]
    Implicit,
    Always(Winograd),
    Fastest,
}

impl Choices {
    /// The [`Choices::fastest`] balance of a hardware GPU: data-centre cards have 60 to 70 TFLOP/s and 3 to 5
    /// TB/s, of which matrix products reach half and transforms nearly all; others are alike.
    pub const HARDWARE: u64 = 10;
    /// That of a driver that computes on the CPU: as measured on Mesa's llvmpipe, 6 GFLOP/s and 3 GB/s.
    pub const SOFTWARE: u64 = 2;

    /// The rule for a GPU that binds tensors of up to `largest` bytes and does `balance` floating-point
    /// operations in the time that it moves a byte, both at the rates that kernels reach: Winograd's kernels
    /// where, by counted arithmetic and memory traffic, they take less than 0.8 of the implicit product's time.
    pub fn fastest(largest: u64, balance: u64) -> Self {
        Self { rule: Rule::Fastest, largest, balance, ..Self::default() }
    }

    /// Winograd's kernels of this size wherever they fit.
    pub fn always(size: Winograd) -> Self {
        Self { rule: Rule::Always(size), largest: u64::MAX, ..Self::default() }
    }

    /// These, but with the tensors between convolutions in f16, and the convolutions on them by `method`: mixed
    /// precision (Micikevicius et al. 2018). Parameters, their gradients and images stay in f32, and all sums are
    /// f32's.
    pub fn in_f16(self, method: Method) -> Self {
        Self { storage: Storage::F16, method, ..self }
    }

    /// How tensors between convolutions lie in memory.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// How convolutions multiply that are no Winograd's.
    pub fn method(&self) -> Method {
        self.method
    }

    /// These, but a kernel for each operation of the graph, none fused: what fusion is measured against.
    pub fn separately(self) -> Self {
        Self { separate: true, ..self }
    }

    /// Whether each operation has a kernel of its own.
    pub fn separate(&self) -> bool {
        self.separate
    }

    /// The algorithm for the convolution of `g`, or its input gradient: the sizes of the two are alike.
    pub fn algorithm(&self, g: &ConvGeometry) -> Algorithm {
        let fits = |size| {
            let elements = Tiling::new(g, size).transformed_len(g.c_in.max(g.c_out));
            Winograd::takes(g) && 4 * elements as u64 <= self.largest
        };
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
    use super::*;

    fn geometry(size: usize, c_in: usize, c_out: usize) -> ConvGeometry {
        ConvGeometry { n: 64, h: size, w: size, c_in, c_out, kh: 3, kw: 3, stride: 1, padding: 1 }
    }

    #[test]
    fn wide_layers_take_large_tiles_and_narrow_ones_none() {
        let choices = Choices::fastest(u64::MAX, Choices::HARDWARE);
        for (size, channels) in [(32, 160), (16, 320), (8, 640), (32, 64)] {
            let algorithm = choices.algorithm(&geometry(size, channels, channels));
            assert_eq!(algorithm, Algorithm::Winograd(Winograd::F4), "{channels}");
        }
        for (c_in, c_out) in [(3, 16), (16, 16), (16, 160)] {
            assert_eq!(choices.algorithm(&geometry(32, c_in, c_out)), Algorithm::Implicit, "{c_in}, {c_out}");
        }
    }

    #[test]
    fn strides_and_odd_rows_are_left_to_the_implicit_product() {
        let choices = Choices::always(Winograd::F2);
        let g = geometry(32, 64, 64);
        assert_eq!(choices.algorithm(&g), Algorithm::Winograd(Winograd::F2));
        for other in [
            ConvGeometry { stride: 2, ..g },
            ConvGeometry { kh: 1, kw: 1, padding: 0, ..g },
            ConvGeometry { w: 12, ..g },
            ConvGeometry { c_in: 18, ..g },
            ConvGeometry { c_out: 12, ..g },
        ] {
            assert_eq!(choices.algorithm(&other), Algorithm::Implicit, "{other:?}");
        }
    }

    #[test]
    fn a_device_that_cannot_bind_the_tiles_does_without() {
        // 64 images of 64 tiles, 36 points, 160 channels: 90 MiB.
        let bytes = 64 * 64 * 36 * 160 * 4;
        let g = geometry(32, 160, 160);
        assert_eq!(
            Choices::fastest(bytes, Choices::HARDWARE).algorithm(&g),
            Algorithm::Winograd(Winograd::F4)
        );
        assert_eq!(Choices::fastest(bytes - 1, Choices::HARDWARE).algorithm(&g), Algorithm::Implicit);
    }
}
