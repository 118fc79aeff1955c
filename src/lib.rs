//! Joint energy-based models on any GPU: an autodiff tensor engine with hand-written WGSL kernels.
//!
//! The modules, from the bottom up:
//! - [`error`]: the one error type;
//! - [`words`]: numbers with their nouns, for messages;
//! - [`process`], [`interrupt`]: child processes and signals;
//! - [`io`]: file formats;
//! - [`compute`]: the contract of a kernel, and everything that kernels share;
//! - [`kernels`]: the kernels, one file each, with a CPU twin;
//! - [`policy`]: the choice of the kernels that compute a convolution;
//! - [`device`]: programs as data, replayed on a GPU or the host;
//! - [`graph`]: tensor expressions, their gradients, and their lowering to programs;
//! - [`nn`]: networks, parameters and optimizers;
//! - [`data`]: image data sets;
//! - [`self_test`]: the test of a device, and of its cooperative matrices;
//! - [`tuning`]: the measurements behind `jem tune`;
//! - [`report`]: pages, plots and progress of runs;
//! - [`ebm`]: joint energy-based models: recipes, samplers, the trainer and its runs;
//! - [`evaluation`]: what a trained model is worth: calibration, detection, robustness, generation.

// A library prints nothing; `report::terminal` writes to the stream that it is for.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

#[macro_use]
mod kernel_list;
mod named;
#[cfg(test)]
mod says;

pub mod compute;
#[cfg(feature = "train")]
pub mod data;
pub mod device;
#[cfg(feature = "train")]
pub mod ebm;
pub mod error;
#[cfg(feature = "train")]
pub mod evaluation;
pub mod graph;
pub mod interrupt;
pub mod io;
pub mod kernels;
pub mod nn;
pub mod policy;
pub mod process;
#[cfg(feature = "train")]
pub mod report;
pub mod self_test;
pub mod tuning;
mod user;
pub mod words;

pub use error::{Error, Result};

/// The README's example, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
