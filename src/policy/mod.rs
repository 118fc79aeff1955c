//! Which kernel computes a convolution: rules, and winners that were measured.

pub mod candidate;
pub mod choice;
