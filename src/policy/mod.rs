//! Which kernel computes a convolution: rules, and winners that were measured.

pub mod convolution;
pub mod implementation;
