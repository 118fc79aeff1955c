//! The live view on the terminal: when it is drawn, and what is left of it at its end.

use super::live::{self, Colors, LiveState};
use super::plain::{Clock, duration};
use super::screen::Screen;
use crate::report::status::Status;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// The shortest time between two drawings of the live view.
const REDRAW: Duration = Duration::from_millis(200);

/// The live view on the terminal, until it is dropped.
pub struct Live {
    pub model: LiveState,
    /// `None` after a failed write: training must not end because the terminal is gone.
    screen: Option<Screen>,
    /// Warnings to print when the view ends.
    warnings: Vec<String>,
    pub clock: Clock,
    /// The time of the next drawing.
    due: Instant,
    /// The time of the next read of the samples.
    pub look: Instant,
}

impl Live {
    pub fn new(start: u64, total: u64) -> io::Result<Self> {
        let now = Instant::now();
        let mut live = Self {
            model: LiveState::new(start, total, Colors::of(|name| std::env::var(name).ok())),
            screen: Some(Screen::enter()?),
            warnings: Vec::new(),
            clock: Clock::new(start, total, now),
            due: now,
            look: now,
        };
        live.tell_time(now);
        live.draw();
        Ok(live)
    }

    pub fn update(&mut self, iteration: u64, status: &Status) {
        self.model.update(iteration, status);
        let now = Instant::now();
        self.clock.reach(iteration, now);
        if now >= self.due {
            self.tell_time(now);
            self.draw();
        }
    }

    /// Shows the phase of the iteration in progress.
    pub fn phase(&mut self, status: &Status) {
        self.model.phase(status.phase);
        let now = Instant::now();
        if now >= self.due {
            self.tell_time(now);
            self.draw();
        }
    }

    fn tell_time(&mut self, now: Instant) {
        self.model.time(self.clock.left(now).unwrap_or_default());
    }

    /// Shows `line` in place of the time left.
    pub fn scoring(&mut self, line: String) {
        if Instant::now() >= self.due {
            self.model.time(line);
            self.draw();
        }
    }

    pub fn note(&mut self, line: &str) {
        self.model.note(line);
        self.refresh();
    }

    /// Shows `line` in the view, and prints it when the view ends.
    pub fn warn(&mut self, line: &str) {
        self.warnings.push(line.to_owned());
        self.note(line);
    }

    /// Draws the view if it is due.
    pub fn refresh(&mut self) {
        if Instant::now() >= self.due {
            self.draw();
        }
    }

    fn draw(&mut self) {
        let began = Instant::now();
        let Some(screen) = &mut self.screen else { return };
        if screen.draw(|frame| live::draw(frame, &self.model)).is_err() {
            self.screen = None;
        }
        // A slow terminal is drawn less often.
        self.due = began + REDRAW.max(20 * began.elapsed());
    }
}

impl Drop for Live {
    /// Restores the terminal, and prints the warnings and the last figures.
    fn drop(&mut self) {
        let shown = self.screen.take().is_some();
        let took = duration(self.clock.elapsed().as_secs_f64());
        self.model.phase(None);
        let figures = format!("{}  took {took}", self.model.line());
        for line in self.warnings.iter().chain(shown.then_some(&figures)) {
            // Ignore a failure, as [`Plain::print`] does.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}
