//! The interface through which a run reports its progress to the program that started it.

use super::metrics::MetricsTable;
use super::status::Status;
use std::time::Duration;

/// Receives the progress of a run. Nothing that an implementation does can end the run or change its numbers.
pub trait Progress {
    /// Training starts after `done` of `total` iterations; `history` has the metrics of those that are done.
    fn begin(&mut self, done: u64, total: u64, history: Option<&MetricsTable>);

    /// `iteration` iterations are done.
    fn update(&mut self, iteration: u64, status: &Status);

    /// The accuracy on held-out images, 0 to 1, after `iteration` iterations.
    fn validation(&mut self, iteration: u64, accuracy: f64) {
        self.note(&validation_line(iteration, accuracy));
    }

    /// Whether [`Progress::samples`] should be called now. Reading samples costs time.
    fn wants_samples(&self) -> bool {
        false
    }

    /// The samples after `iteration` iterations, which took `cost` to read: images of `shape` (height, width, channels)
    /// in [-1, 1], of which `columns` make a row, if that matters.
    fn samples(
        &mut self,
        _iteration: u64,
        _images: &[f32],
        _shape: [usize; 3],
        _columns: Option<usize>,
        _cost: Duration,
    ) {
    }

    /// An event in one line: a validation, a fault that was healed.
    fn note(&mut self, line: &str);

    /// A fault in one line that did not end the run, such as a full disk.
    fn warn(&mut self, line: &str);

    /// Training has ended, or failed. Notes and warnings may follow.
    fn finish(&mut self) {}
}

/// The line that reports an accuracy on held-out images.
pub(super) fn validation_line(iteration: u64, accuracy: f64) -> String {
    format!("iteration {iteration}: validation accuracy {:.1}%", 100.0 * accuracy)
}

/// Shows nothing. Warnings become events of `tracing`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&mut self, _done: u64, _total: u64, _history: Option<&MetricsTable>) {}

    fn update(&mut self, _iteration: u64, _status: &Status) {}

    fn note(&mut self, _line: &str) {}

    fn warn(&mut self, line: &str) {
        tracing::warn!("{line}");
    }
}
