//! Joint energy-based models on any GPU: an autodiff tensor engine with hand-written WGSL kernels.
//!
//! From the bottom up: [`compute`] (the contract of a kernel), [`kernels`] (one file each, with a CPU twin), [`policy`]
//! (which kernel computes a convolution), [`device`] (programs as data, replayed on a GPU or the host), [`graph`] (tensor expressions, gradients, lowering), [`nn`] (networks and optimizers), [`ebm`]
//! (the programs and the loop of training), beside [`data`], [`io`] and [`report`].

// A library prints nothing; `report::terminal` writes to the stream that it is for.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

#[macro_use]
mod kernel_list;

pub mod compute;
#[cfg(feature = "train")]
pub mod data;
pub mod device;
#[cfg(feature = "train")]
pub mod ebm;
pub mod error;
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

pub use error::{Error, Result};

/// The README's example, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
