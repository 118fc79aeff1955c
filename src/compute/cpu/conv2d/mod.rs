//! The CPU twins of the three convolution kernels, as indirect GEMMs: the rows of the left matrix are
//! pointers to pixels, so that neither a padded nor an unrolled input is ever written to memory.
//!
//! Every output element is summed by one task in a fixed order: results do not depend on the number of
//! threads.

mod forward;
mod input_gradient;
mod narrow;
mod panels;
pub mod parameters;
mod tile;
mod weight_gradient;

#[cfg(test)]
mod tests;

pub use forward::forward;
pub use input_gradient::input_gradient;
pub use weight_gradient::weight_gradient;
