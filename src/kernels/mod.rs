//! The kernels: one file each, with parameters, bindings, dispatch and CPU twin. The shader of the same stem is in
//! `shaders/`.
//!
//! The contract of a kernel, and everything that kernels share, is in [`crate::compute`]. Tensors are NHWC and
//! contiguous; convolution weights are `[kh, kw, c_in, c_out]`.

mod catalogue;

pub use catalogue::{catalogue, cooperative_catalogue};

macro_rules! modules {
    ($($module:ident: $kernel:ident,)+) => { $(pub mod $module;)+ };
}

crate::for_each_kernel!(modules);
