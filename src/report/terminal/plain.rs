//! The progress of a run as plain lines, and its time left.

use crate::report::status::Status;
use std::io::Write;
use std::time::{Duration, Instant};

/// The time between plain lines.
const PERIOD: Duration = Duration::from_secs(10);
/// The time between the plain lines of one iteration; the first line of a run comes after [`PERIOD`].
const PHASE_PERIOD: Duration = Duration::from_secs(30);

/// The text for a time left that is not known yet.
pub const UNKNOWN: &str = "–";

/// Estimates the time left from the iterations since the start or the resume.
#[derive(Clone, Copy)]
pub struct Clock {
    start: u64,
    total: u64,
    began: Instant,
    /// The number of iterations that are done, and the end of the last one.
    done: (u64, Instant),
}

impl Clock {
    /// The clock of a run that begins at `began` after `start` of `total` iterations.
    pub fn new(start: u64, total: u64, began: Instant) -> Self {
        Self { start, total, began, done: (start, began) }
    }

    /// The time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Notes that `iteration` iterations are done at `now`.
    pub fn reach(&mut self, iteration: u64, now: Instant) {
        self.done = (iteration, now);
    }

    /// The estimated time from `now` to the end as text: [`UNKNOWN`] until the first iteration ends, `None` after the
    /// last.
    pub fn left(&self, now: Instant) -> Option<String> {
        let (iteration, at) = self.done;
        let done = iteration.saturating_sub(self.start);
        let each = at.duration_since(self.began).as_secs_f64() / done as f64;
        let rest = each * self.total.saturating_sub(iteration) as f64;
        // Subtract at most the estimate of the iteration in progress: those after it are still to come.
        let rest = (rest - now.duration_since(at).as_secs_f64()).max(rest - each);
        let text = if done > 0 { duration(rest) } else { UNKNOWN.to_owned() };
        (iteration < self.total).then(|| format!("{text} left"))
    }
}

/// Lines without control characters, for files and logs.
pub struct Plain {
    clock: Clock,
    printed: Option<Instant>,
    out: Box<dyn Write + Send>,
}

impl Plain {
    pub fn new(start: u64, total: u64, began: Instant, out: Box<dyn Write + Send>) -> Self {
        Self::of(Clock::new(start, total, began), out)
    }

    /// Lines that continue a clock.
    pub fn of(clock: Clock, out: Box<dyn Write + Send>) -> Self {
        Self { clock, printed: None, out }
    }

    pub fn update(&mut self, iteration: u64, status: &Status, now: Instant) {
        self.clock.reach(iteration, now);
        let due = self.printed.is_none_or(|printed| now.duration_since(printed) >= PERIOD);
        if due || iteration >= self.clock.total {
            self.line(iteration, status, now);
        }
    }

    /// Prints the phase of the iteration in progress if `PHASE_PERIOD` has passed since the last line, or `PERIOD` since
    /// the beginning.
    pub fn phase(&mut self, iteration: u64, status: &Status, now: Instant) {
        let (last, period) = match self.printed {
            Some(printed) => (printed, PHASE_PERIOD),
            None => (self.clock.began, PERIOD),
        };
        if now.duration_since(last) >= period {
            self.line(iteration, status, now);
        }
    }

    fn line(&mut self, iteration: u64, status: &Status, now: Instant) {
        self.printed = Some(now);
        let left = self.clock.left(now).map(|left| format!("  {left}")).unwrap_or_default();
        self.print(&format!("{iteration}/{}  {}{left}", self.clock.total, status.line()));
    }

    /// Prints `line` if `PERIOD` has passed since the last line.
    pub fn scoring(&mut self, line: &str, now: Instant) {
        let printed = *self.printed.get_or_insert(now);
        if now.duration_since(printed) >= PERIOD {
            self.printed = Some(now);
            self.print(line);
        }
    }

    pub fn print(&mut self, line: &str) {
        // A closed log must not end training.
        let _ = writeln!(self.out, "{line}");
    }
}

/// `1h02m`, `3m20s` or `12s`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::status::Phase;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn plain_lines_come_every_few_seconds_and_at_the_end() {
        let (out, began) = (Shared::default(), Instant::now());
        let mut plain = Plain::new(100, 1100, began, Box::new(out.clone()));
        let status = Status {
            phase: None,
            loss: Some(1.23456),
            energy_gap: Some(0.5),
            accuracy: Some(0.4321),
            images_per_second: Some(12.34),
        };
        for second in 1..=25u64 {
            plain.update(100 + 10 * second, &status, began + Duration::from_secs(second));
        }
        plain.scoring("scoring test images 0/500", began + Duration::from_secs(30));
        plain.scoring("scoring test images 200/500", began + Duration::from_secs(33));
        plain.update(1100, &Status { images_per_second: Some(310.4), ..Status::default() }, began);
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "110/1100  loss 1.235  gap +0.500  accuracy 43.2%  12.3 images/s  1m39s left",
                "210/1100  loss 1.235  gap +0.500  accuracy 43.2%  12.3 images/s  1m29s left",
                "310/1100  loss 1.235  gap +0.500  accuracy 43.2%  12.3 images/s  1m19s left",
                "scoring test images 200/500",
                "1100/1100  310 images/s",
            ]
        );
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    }

    #[test]
    fn a_slow_iteration_shows_its_phase_and_no_time_left_before_it_is_known() {
        let (out, began) = (Shared::default(), Instant::now());
        let mut plain = Plain::new(0, 3, began, Box::new(out.clone()));
        let at = |second: u64| began + Duration::from_secs(second);
        let status = |done| Status { phase: Some(Phase::Sgld { done, steps: 20 }), ..Status::default() };
        for second in 1..80 {
            plain.phase(0, &status(second as usize / 4), at(second));
        }
        plain.update(1, &Status { loss: Some(1.5), ..Status::default() }, at(80));
        for second in 81..=115 {
            let phase = Some(Phase::Update { percent: second as u8 - 80 });
            plain.phase(1, &Status { phase, loss: Some(1.5), ..Status::default() }, at(second));
        }
        // The second iteration takes longer than the first: the third alone is still to come.
        plain.phase(1, &status(19), at(200));
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "0/3  SGLD 2/20  – left",
                "0/3  SGLD 10/20  – left",
                "0/3  SGLD 17/20  – left",
                "1/3  loss 1.500  2m40s left",
                "1/3  update 30%  loss 1.500  2m10s left",
                "1/3  SGLD 19/20  1m20s left",
            ]
        );
    }

    #[test]
    fn durations_are_short() {
        let cases = [(0.4, "0s"), (59.0, "59s"), (200.0, "3m20s"), (3725.0, "1h02m"), (360_000.0, "100h00m")];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected);
        }
    }
}
