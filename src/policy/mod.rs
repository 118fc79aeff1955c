//! The choice of the kernels that compute a convolution: rules, and measured winners.

pub mod convolution;
pub mod implementation;
