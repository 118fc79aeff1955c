//! How a convolution multiplies: in f32, or by cooperative matrices (tensor cores) of f16.

use super::conv_geometry::ConvGeometry;
use super::conv_tile::MatrixTile;
use super::half::{Storage, Storages, round_to_f16};
use super::{Argument, Kernel};
use rayon::prelude::*;

/// The matrices that a device's subgroups multiply: f16 operands, f32 sums.
/// [`crate::device::Device::cooperative`] lists a device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cooperative {
    /// Rows, columns and summed terms of one matrix: 8 or 16.
    pub size: usize,
    /// Invocations of the device's largest subgroup, at most [`Cooperative::LARGEST_SUBGROUP`].
    pub subgroup: usize,
    /// Keeps f16 in workgroup memory by fours, where the device loads matrices from such an array; Metal does not.
    pub quads: bool,
}

impl Cooperative {
    /// Invocations of a subgroup of which four are a workgroup within WebGPU's limits.
    pub const LARGEST_SUBGROUP: usize = 64;
    /// Bytes of workgroup memory that the kernels may take, twice WebGPU's default.
    pub const WORKGROUP_MEMORY: u32 = 32 << 10;
}

impl std::fmt::Display for Cooperative {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { size, .. } = self;
        write!(f, "{size}x{size}x{size} f16 -> f32")
    }
}

/// How a convolution multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// In f32, invocation by invocation.
    #[default]
    Scalar,
    /// By cooperative matrices: both operands are rounded to the nearest f16, products are summed in f32, and what
    /// follows is f32. An operand of 65,520 or more becomes infinite, and one under 6.1e-5 loses digits.
    Cooperative(Cooperative),
}

/// Whether matrices suit a convolution of `geometry`: they compute any, but padding would waste most of them below 16
/// channels, and other channels than multiples of 4 are read one by one.
pub(super) fn suits_matrices(geometry: &ConvGeometry) -> bool {
    let fits = |channels: usize| channels >= 16 && channels.is_multiple_of(4);
    fits(geometry.c_in) && fits(geometry.c_out)
}

impl Method {
    /// This method where it suits a convolution of `geometry`, else [`Method::Scalar`].
    pub fn suiting(self, geometry: &ConvGeometry) -> Self {
        if suits_matrices(geometry) { self } else { Self::Scalar }
    }

    /// Calls a twin with the two operands, the first two arguments, as this method sees them.
    pub(super) fn with_operands(self, arguments: &mut [Argument<'_>], run: impl FnOnce(&mut [Argument<'_>])) {
        if self == Self::Scalar {
            return run(arguments);
        }
        let [a, b, rest @ ..] = arguments else { unreachable!("a convolution has two operands") };
        let rounded = |operand: &Argument<'_>| -> Vec<u32> {
            operand.f32().par_iter().map(|&x| round_to_f16(x).to_bits()).collect()
        };
        let (a, b) = (rounded(a), rounded(b));
        let rest = rest.iter_mut().map(Argument::reborrow);
        let mut arguments: Vec<_> =
            [Argument::Read(&a), Argument::Read(&b)].into_iter().chain(rest).collect();
        run(&mut arguments);
    }
}

/// The convolution kernels' permutations by these matrices, and by every tile that fits their device;
/// [`super::catalogue`], whose kernels run on every device, lacks them.
pub fn catalogue(matrices: Cooperative) -> Vec<Box<dyn Kernel>> {
    use super::conv2d::Conv2d;
    use super::conv2d_input_gradient::Conv2dInputGradient;
    use super::conv2d_weight_gradient::Conv2dWeightGradient;
    let method = Method::Cooperative(matrices);
    let mut all: Vec<Box<dyn Kernel>> = Vec::new();
    for kernel in Conv2d::permutations().into_iter().filter(|kernel| kernel.tile.is_none()) {
        all.push(Box::new(Conv2d { method, ..kernel }));
    }
    for kernel in Conv2dInputGradient::permutations().into_iter().filter(|kernel| kernel.tile.is_none()) {
        all.push(Box::new(Conv2dInputGradient { method, ..kernel }));
    }
    for kernel in Conv2dWeightGradient::permutations().into_iter().filter(|kernel| kernel.tile.is_none()) {
        all.push(Box::new(Conv2dWeightGradient { method, ..kernel }));
    }
    let geometry = ConvGeometry::tiled();
    for tile in MatrixTile::ALL.into_iter().filter(|tile| tile.fits(matrices)) {
        let (storage, tile) = (Storages::F16, Some(tile.into()));
        let sums = Storages { c: Storage::F32, ..storage };
        all.push(Box::new(Conv2d { method, storage, tile, ..Conv2d::new(geometry) }));
        all.push(Box::new(Conv2dInputGradient {
            method,
            storage,
            tile,
            ..Conv2dInputGradient::new(geometry)
        }));
        let parts = Conv2dWeightGradient { splits: 2, ..Conv2dWeightGradient::new(geometry) };
        all.push(Box::new(Conv2dWeightGradient { method, storage: sums, tile, ..parts }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_channels_and_odd_ones_stay_scalar() {
        let method = Method::Cooperative(Cooperative { size: 16, subgroup: 32, quads: true });
        let of =
            |c_in, c_out| ConvGeometry { n: 1, h: 8, w: 8, c_in, c_out, kh: 3, kw: 3, stride: 1, padding: 1 };
        for (c_in, c_out) in [(16, 16), (16, 160), (640, 640), (20, 36)] {
            assert_eq!(method.suiting(&of(c_in, c_out)), method);
            assert_eq!(Method::Scalar.suiting(&of(c_in, c_out)), Method::Scalar);
        }
        for (c_in, c_out) in [(3, 16), (16, 10), (16, 12), (33, 64), (64, 33)] {
            assert_eq!(method.suiting(&of(c_in, c_out)), Method::Scalar);
        }
    }
}
