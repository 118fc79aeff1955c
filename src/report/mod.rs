//! Reports of a run: the metrics file, curves, densities and the progress line; the plots of an evaluation.

mod axes;
mod canvas;
mod captions;
pub mod confusion;
pub mod curves;
pub mod document;
pub mod heatmap;
pub mod histograms;
pub mod lines;
pub mod metrics;
pub mod multiples;
pub(crate) mod page;
pub mod profile;
pub mod progress;
pub mod reliability;
pub mod status;
pub mod steps;
#[cfg(feature = "terminal")]
pub mod terminal;
