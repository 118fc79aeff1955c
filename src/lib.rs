//! Joint energy-based models on any GPU: an autodiff tensor engine with hand-written WGSL kernels.

pub mod data;
pub mod device;
pub mod error;
pub mod graph;
pub mod io;
pub mod jem;
pub mod kernels;
pub mod nn;
pub mod report;

pub use error::{Error, Result};
