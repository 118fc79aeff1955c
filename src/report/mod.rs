//! Reports of a run: the metrics file, curves, densities and the progress line.

mod axes;
mod canvas;
pub mod curves;
pub mod document;
pub mod heatmap;
pub mod metrics;
pub mod multiples;
pub(crate) mod page;
pub mod profile;
pub mod progress;
pub mod status;
pub mod steps;
#[cfg(feature = "terminal")]
pub mod terminal;
