//! The arithmetic of a convolution: f32, or cooperative matrices (tensor cores) of f16.

use crate::compute::argument::Argument;
use crate::compute::conv_geometry::ConvGeometry;
use crate::compute::half::round_to_f16;
use crate::compute::shader::Shader;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The matrices that a device's subgroups multiply: f16 operands, f32 sums.
/// [`crate::device::Device::cooperative`] lists a device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooperative {
    /// Rows, columns and summed terms of one matrix: 8 or 16.
    pub size: usize,
    /// Invocations of the device's largest subgroup, at most [`Cooperative::LARGEST_SUBGROUP`].
    pub subgroup: usize,
    /// Stores f16 in workgroup memory four to an element, for devices that can load matrices from such an array. Metal
    /// cannot.
    pub quads: bool,
    /// The form in which the driver gets the shaders.
    pub variant: Variant,
    /// Bytes of workgroup memory that the device allows a workgroup.
    pub memory: u32,
    /// Invocations that the device allows a workgroup.
    pub invocations: u32,
}

impl Cooperative {
    /// The largest subgroup, in invocations, of which four fit into a workgroup within WebGPU's limits.
    pub const LARGEST_SUBGROUP: usize = 64;
    /// Bytes of workgroup memory that the rule's tiles need: twice WebGPU's default limit.
    pub const WORKGROUP_MEMORY: u32 = 32 << 10;

    /// Matrices of `size` on subgroups of `subgroup`, as naga writes them, with limits of
    /// [`Cooperative::WORKGROUP_MEMORY`] and WebGPU's default of 256 invocations.
    pub const fn new(size: usize, subgroup: usize) -> Self {
        Self {
            size,
            subgroup,
            quads: true,
            variant: Variant::Naga,
            memory: Self::WORKGROUP_MEMORY,
            invocations: 256,
        }
    }

    /// Sets the constants and switches that every shader with these matrices shares.
    pub fn specialize(self, shader: Shader) -> Shader {
        shader
            .with_extension("f16")
            .with_extension("wgpu_cooperative_matrix")
            .with_u32("MATRIX", self.size as u32)
            .with_switch("MATRIX_16", self.size == 16)
            .with_switch("FLAT", self.variant.is_flat())
            .with_patched_memory(self.variant.is_patched())
    }
}

/// The form in which a driver gets shaders with cooperative matrices. Drivers differ in which variants they compile,
/// and which they compile correctly; [`crate::self_test::gate`] finds the first that works on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// The SPIR-V (or MSL, HLSL) that naga writes.
    #[default]
    Naga,
    /// naga's SPIR-V with `NonPrivatePointer` on every access to workgroup memory, and barriers that make writes
    /// available and visible, as Vulkan's memory model requires. Vulkan only.
    Patched,
    /// Without `subgroup_id`: an invocation's subgroup is its index divided by the size of the device's subgroups, so
    /// that the module does not declare `GroupNonUniform`.
    Flat,
    /// [`Variant::Flat`] and [`Variant::Patched`] at once. Vulkan only.
    FlatPatched,
}

impl Variant {
    /// Every variant, in the order in which the gate tries them.
    pub const ALL: [Self; 4] = [Self::Naga, Self::Patched, Self::Flat, Self::FlatPatched];

    /// Whether the shader does without `subgroup_id`.
    pub fn is_flat(self) -> bool {
        matches!(self, Self::Flat | Self::FlatPatched)
    }

    /// Whether the SPIR-V is patched, which needs a Vulkan device that accepts SPIR-V.
    pub fn is_patched(self) -> bool {
        matches!(self, Self::Patched | Self::FlatPatched)
    }
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Naga => "naga",
            Self::Patched => "patched",
            Self::Flat => "flat",
            Self::FlatPatched => "flat-patched",
        })
    }
}

impl std::fmt::Display for Cooperative {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { size, variant, .. } = self;
        write!(f, "{size}x{size}x{size} f16 -> f32")?;
        if *variant == Variant::Naga { Ok(()) } else { write!(f, " ({variant})") }
    }
}

/// The arithmetic of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// In f32, invocation by invocation.
    #[default]
    Scalar,
    /// Cooperative matrices: both operands are rounded to the nearest f16, products are summed in f32, and the epilogue
    /// computes in f32. An operand of 65,520 or more becomes infinite, and one under 6.1e-5 loses digits.
    Cooperative(Cooperative),
}

/// Whether matrices suit a convolution of `geometry`. They can compute any, but with fewer than 16 channels most of the
/// work is padding, and channels that are not multiples of 4 are read one by one.
pub(crate) fn suits_matrices(geometry: &ConvGeometry) -> bool {
    let fits = |channels: usize| channels >= 16 && channels.is_multiple_of(4);
    fits(geometry.c_in) && fits(geometry.c_out)
}

impl Method {
    /// This method where it suits a convolution of `geometry`, else [`Method::Scalar`].
    pub fn suiting(self, geometry: &ConvGeometry) -> Self {
        if suits_matrices(geometry) { self } else { Self::Scalar }
    }

    /// Calls a twin with the two operands, the first two arguments, as this method sees them.
    pub(crate) fn with_operands(self, arguments: &mut [Argument<'_>], run: impl FnOnce(&mut [Argument<'_>])) {
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

#[cfg(test)]
mod tests {
    use crate::compute::cooperative::*;

    #[test]
    fn few_channels_and_odd_ones_stay_scalar() {
        let method = Method::Cooperative(Cooperative::new(16, 32));
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
