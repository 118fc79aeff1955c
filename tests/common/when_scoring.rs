//! A progress that calls a function with the part of a run that is being scored and the number of images that are done.

use jem::report::metrics::MetricsTable;
use jem::report::progress::Progress;
use jem::report::status::Status;

/// Calls a function at every [`Progress::scoring`]; a warning is a failure of the test.
pub struct WhenScoring<F>(pub F);

impl<F: FnMut(&str, usize)> Progress for WhenScoring<F> {
    fn begin(&mut self, _done: u64, _total: u64, _history: Option<&MetricsTable>) {}

    fn update(&mut self, _iteration: u64, _status: &Status) {}

    fn scoring(&mut self, part: &str, done: usize, _total: usize) {
        (self.0)(part, done);
    }

    fn note(&mut self, _line: &str) {}

    fn warn(&mut self, line: &str) {
        panic!("{line}");
    }
}
