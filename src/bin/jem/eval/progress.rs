//! The progress of an evaluation: one bar for all work, or a line for each measurement where there is no terminal.

use crate::common::Output;
use crate::session::complain;
use indicatif::{ProgressBar, ProgressDrawTarget};
use jem::evaluation::Watch;
use jem::interrupt::is_requested;
use jem::report::terminal::bar_style;
use std::io::IsTerminal as _;
use std::time::Instant;

/// The progress on standard error. It disappears when it is dropped.
pub struct Bar {
    bar: ProgressBar,
    /// Whether to print a line for each measurement.
    lines: bool,
    started: Instant,
}

impl Bar {
    /// Shows nothing before [`Watch::begin`].
    pub fn new(output: &Output) -> Self {
        let target = if output.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let lines = !output.quiet && !std::io::stderr().is_terminal();
        let style = bar_style("[{bar:32}] {percent:>3}%  {wide_msg}  {left} left", 0);
        let bar = ProgressBar::with_draw_target(Some(0), target).with_style(style);
        Self { bar, lines, started: Instant::now() }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Bar {
    fn begin(&mut self, total: f64) {
        self.bar.set_length(total as u64);
        self.bar.reset();
        self.started = Instant::now();
    }

    fn measures(&mut self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.tick();
        if self.lines {
            complain(&format!("{:>5.0} s  {what}", self.started.elapsed().as_secs_f64()));
        }
    }

    fn at(&mut self, done: f64) -> bool {
        self.bar.set_position(done as u64);
        !is_requested()
    }
}
