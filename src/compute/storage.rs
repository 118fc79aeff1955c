//! The storage types of tensors: f32, or f16 two to a word.

use crate::compute::shader::Shader;

/// The storage type of a tensor's elements.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// A word each.
    #[default]
    F32,
    /// Two to a word, rounded to the nearest f16. Their number is even.
    F16,
}

impl Storage {
    /// The words of `elements`.
    pub fn words(self, elements: usize) -> usize {
        match self {
            Self::F32 => elements,
            Self::F16 => elements.div_ceil(2),
        }
    }
}

/// The storage types of the tensors of a convolution's kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Storages {
    /// The gathered tensor, of which the kernel reads windows.
    pub a: Storage,
    /// The other operand: weights, or the weight gradient's `gradient`.
    pub b: Storage,
    /// The results and the residual.
    pub c: Storage,
}

impl Storages {
    /// All three in f16.
    pub const F16: Self = Self { a: Storage::F16, b: Storage::F16, c: Storage::F16 };

    /// All in f16, as inside a network; the results alone, as in its first layer; both operands, as at its end.
    pub(crate) fn examples() -> [Self; 3] {
        let f32 = Storage::F32;
        [Self::F16, Self { a: f32, b: f32, ..Self::F16 }, Self { c: f32, ..Self::F16 }]
    }

    /// Sets the switches for both operands.
    pub(crate) fn specialize(self, shader: Shader) -> Shader {
        shader
            .with_switch("HALF_A", self.a == Storage::F16)
            .with_switch("HALF_B", self.b == Storage::F16)
            .with_switch("HALF", self != Self::default())
    }

    /// Whether a kernel that gathers `source` channels and computes `target` channels supports these storage types: f16
    /// is read and written four elements at a time.
    pub fn fit(self, source: usize, target: usize) -> bool {
        let fits = |storage: Storage, channels: usize| storage == Storage::F32 || channels.is_multiple_of(4);
        fits(self.a, source) && fits(self.b, target) && fits(self.c, target)
    }
}
