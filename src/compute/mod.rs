//! The contract of a kernel, and everything that kernels share: shader text, bindings, storage types, geometries,
//! tiles, random numbers, SIMD lanes of the host.
//!
//! A kernel is a value: shapes and switches that are fixed when a program is built. It names the buffers that it
//! binds, its shader's text and its number of workgroups, and it runs itself on the host. All memory consists of
//! 32-bit words (f32, u32, two f16, packed bytes or bits).

mod argument;
mod contract;
pub mod conv_geometry;
pub mod conv_tile;
pub mod cooperative;
pub(crate) mod cpu;
pub mod epilogue;
pub mod functional;
pub mod half;
pub mod loss_term;
pub mod mask;
pub mod norm_geometry;
pub mod parts;
pub mod pool_geometry;
pub mod random;
pub mod shader;
pub(crate) mod splitmix;
pub mod storage;
pub mod strides;
pub mod winograd;

pub use argument::Argument;
pub use contract::{Access, Binding, Kernel, VIEW_ALIGNMENT, binding, elementwise_grid, grid};
pub use shader::Shader;
