//! The progress of a run as plain lines, and its time left.

use crate::report::status::Status;
use std::io::Write;
use std::time::{Duration, Instant};

/// The time between plain lines.
const PERIOD: Duration = Duration::from_secs(10);

/// Estimates the time left from the iterations since the start or the resume.
#[derive(Clone, Copy)]
pub struct Clock {
    pub start: u64,
    pub total: u64,
    pub began: Instant,
}

impl Clock {
    /// The estimated seconds from `now`, after `iteration` iterations, to the end; `None` before the first iteration
    /// and after the last.
    pub fn left(&self, iteration: u64, now: Instant) -> Option<f64> {
        let done = iteration.saturating_sub(self.start);
        let each = now.duration_since(self.began).as_secs_f64() / done as f64;
        (done > 0 && iteration < self.total).then(|| each * (self.total - iteration) as f64)
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
        Self { clock: Clock { start, total, began }, printed: None, out }
    }

    pub fn update(&mut self, iteration: u64, status: &Status, now: Instant) {
        let due = self.printed.is_none_or(|printed| now.duration_since(printed) >= PERIOD);
        let total = self.clock.total;
        if !due && iteration < total {
            return;
        }
        self.printed = Some(now);
        let mut line = format!("{iteration}/{total}  {}", status.line());
        if let Some(seconds) = self.clock.left(iteration, now) {
            line += &format!("  {} left", duration(seconds));
        }
        self.print(&line);
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
    fn durations_are_short() {
        let cases = [(0.4, "0s"), (59.0, "59s"), (200.0, "3m20s"), (3725.0, "1h02m"), (360_000.0, "100h00m")];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected);
        }
    }
}
