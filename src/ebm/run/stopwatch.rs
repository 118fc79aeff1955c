//! The time that a run takes, and its speed.

use crate::ebm::run_directory::Clock;
use std::time::{Duration, Instant};

/// Measures the time of a run over all its sessions, and the speed of training in this one.
pub struct Stopwatch {
    started: Instant,
    /// Seconds that earlier sessions took.
    earlier: f64,
    /// Iterations that this session has run, including those that were rolled back.
    iterations: u64,
    /// The time of this session that does not count towards the speed.
    aside: Duration,
}

impl Stopwatch {
    /// Starts after earlier sessions of `earlier` seconds.
    pub fn start(earlier: f64) -> Self {
        Self { started: Instant::now(), earlier, iterations: 0, aside: Duration::ZERO }
    }

    /// Counts an iteration of this session.
    pub fn count(&mut self) {
        self.iterations += 1;
    }

    /// Whether this session has run an iteration.
    pub fn has_run(&self) -> bool {
        self.iterations > 0
    }

    /// Takes the time since `began`, of an evaluation, a picture or a checkpoint, out of the speed.
    pub fn set_aside(&mut self, began: Instant) {
        self.aside += began.elapsed();
    }

    /// The time now, and the speed at `batch` images an iteration.
    pub fn clock(&self, batch: usize) -> Clock {
        let elapsed = self.started.elapsed();
        let training = elapsed.saturating_sub(self.aside).as_secs_f64();
        let images = self.iterations as f64 * batch as f64;
        Clock {
            seconds: self.earlier + elapsed.as_secs_f64(),
            images_per_second: images / training.max(1e-9),
        }
    }
}
