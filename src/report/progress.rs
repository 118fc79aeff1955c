//! How far training is, on standard error: a bar on a terminal, a plain line every few seconds
//! elsewhere, nothing when quiet.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Seconds between plain lines.
const PERIOD: Duration = Duration::from_secs(10);

/// The figures beside the iteration; what was not measured is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Status {
    /// The objective.
    pub loss: Option<f64>,
    /// Mean energy of samples minus mean energy of data.
    pub energy_gap: Option<f64>,
    /// Accuracy on training batches, 0 to 1.
    pub accuracy: Option<f64>,
    /// Labelled images trained on a second.
    pub images_per_second: Option<f64>,
}

impl Status {
    /// The figures in one line, those that there are.
    fn line(&self) -> String {
        let parts = [
            self.loss.map(|value| format!("loss {value:.3}")),
            self.energy_gap.map(|value| format!("gap {value:+.3}")),
            self.accuracy.map(|value| format!("accuracy {:.1}%", 100.0 * value)),
            self.images_per_second.map(|value| format!("{value:.*} images/s", usize::from(value < 100.0))),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
    }
}

/// Shows progress from one iteration to a last one.
pub struct Progress(Mode);

enum Mode {
    Quiet,
    Bar(ProgressBar),
    Plain(Plain),
}

impl Progress {
    /// Progress from iteration `start` (0, or where a run resumes) to `total`, on standard error.
    pub fn new(start: u64, total: u64, quiet: bool) -> Self {
        Self(if quiet {
            Mode::Quiet
        } else if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{pos}/{len} [{bar:24}] {msg}  {eta} left")
                .expect("the template is valid")
                .progress_chars("=> ");
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            Mode::Bar(begin_at(bar.with_style(style), start))
        } else {
            Mode::Plain(Plain::new(start, total, Instant::now(), Box::new(std::io::stderr())))
        })
    }

    /// Shows that `iteration` iterations are done.
    pub fn update(&mut self, iteration: u64, status: &Status) {
        match &mut self.0 {
            Mode::Quiet => {}
            Mode::Bar(bar) => {
                bar.set_position(iteration);
                bar.set_message(status.line());
            }
            Mode::Plain(plain) => plain.update(iteration, status, Instant::now()),
        }
    }

    /// Prints a line of its own: an epoch's validation, a checkpoint.
    pub fn note(&mut self, line: &str) {
        match &mut self.0 {
            Mode::Quiet => {}
            Mode::Bar(bar) => bar.println(line),
            Mode::Plain(plain) => plain.print(line),
        }
    }

    /// Prints what went wrong and did not end the run, also when quiet.
    pub fn warn(&mut self, line: &str) {
        match &mut self.0 {
            // As [`Plain::print`].
            Mode::Quiet => drop(writeln!(std::io::stderr(), "{line}")),
            _ => self.note(line),
        }
    }

    /// Ends the display; the bar stays as it was last.
    pub fn finish(&mut self) {
        if let Mode::Bar(bar) = &self.0 {
            bar.abandon();
        }
    }
}

/// Starts `bar` at `start`. The time left is that of the iterations made now: those made before a
/// resume are seen by a tick, then forgotten.
fn begin_at(bar: ProgressBar, start: u64) -> ProgressBar {
    bar.set_position(start);
    bar.tick();
    bar.reset_eta();
    bar
}

/// Lines without control characters, for files and logs.
struct Plain {
    start: u64,
    total: u64,
    began: Instant,
    printed: Option<Instant>,
    out: Box<dyn Write + Send>,
}

impl Plain {
    fn new(start: u64, total: u64, began: Instant, out: Box<dyn Write + Send>) -> Self {
        Self { start, total, began, printed: None, out }
    }

    fn update(&mut self, iteration: u64, status: &Status, now: Instant) {
        let due = self.printed.is_none_or(|printed| now.duration_since(printed) >= PERIOD);
        if !due && iteration < self.total {
            return;
        }
        self.printed = Some(now);
        let mut line = format!("{iteration}/{}  {}", self.total, status.line());
        let done = iteration.saturating_sub(self.start);
        if done > 0 && iteration < self.total {
            let each = now.duration_since(self.began).as_secs_f64() / done as f64;
            line += &format!("  {} left", duration(each * (self.total - iteration) as f64));
        }
        self.print(&line);
    }

    fn print(&mut self, line: &str) {
        // Training must not end because nobody reads the log any more.
        let _ = writeln!(self.out, "{line}");
    }
}

/// `1h02m`, `3m20s` or `12s`.
fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
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
        plain.update(1100, &Status { images_per_second: Some(310.4), ..Status::default() }, began);
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "110/1100  loss 1.235  gap +0.500  accuracy 43.2%  12.3 images/s  1m39s left",
                "210/1100  loss 1.235  gap +0.500  accuracy 43.2%  12.3 images/s  1m29s left",
                "310/1100  loss 1.235  gap +0.500  accuracy 43.2%  12.3 images/s  1m19s left",
                "1100/1100  310 images/s",
            ]
        );
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    }

    #[test]
    fn a_resumed_bar_counts_its_own_iterations_only() {
        let bar = begin_at(ProgressBar::hidden(), 1_000_000);
        for iteration in 1..=5 {
            std::thread::sleep(Duration::from_millis(4));
            bar.set_position(1_000_000 + iteration);
            bar.tick();
        }
        assert!(bar.per_sec() > 0.0 && bar.per_sec() < 300.0, "{} iterations/s", bar.per_sec());
    }

    #[test]
    fn durations_are_short() {
        let cases = [(0.4, "0s"), (59.0, "59s"), (200.0, "3m20s"), (3725.0, "1h02m"), (360_000.0, "100h00m")];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected);
        }
    }
}
