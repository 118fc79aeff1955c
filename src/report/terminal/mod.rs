//! The progress of a run on standard error: a bar or a live view of curves and samples on a terminal, a plain line
//! every ten seconds elsewhere, only warnings when quiet.

mod live;
mod plain;
mod screen;
mod view;

use super::metrics::MetricsTable;
use super::progress::{Progress, validation_line};
use super::status::Status;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressState, ProgressStyle};
use ratatui::crossterm::terminal;
use ratatui::layout::Size;

use plain::{Plain, UNKNOWN, duration};
use view::Live;

/// The shortest time between two reads of the samples, and the reciprocal of the largest fraction of the time that
/// reads may take.
const LOOK: Duration = Duration::from_secs(3);
const LOOK_SHARE: u32 = 100;
/// The time between two movements of a spinner.
const TICK: Duration = Duration::from_millis(120);
/// The smallest terminal, in columns and rows, for a live view; a smaller one gets a bar.
const SMALLEST: Size = Size::new(60, 15);

/// Shows the progress of a run on the terminal.
pub struct Terminal {
    style: Style,
    mode: Mode,
    /// A spinner until training begins.
    waiting: Option<ProgressBar>,
}

/// The style of the progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Warnings only.
    Quiet,
    /// A bar on a terminal, plain lines elsewhere.
    Bar,
    /// Curves and samples on a terminal that is large enough, otherwise like [`Style::Bar`].
    Live,
}

enum Mode {
    Quiet,
    /// The bar of training, and the bar of scoring after training.
    Bar(ProgressBar, Option<ProgressBar>),
    Plain(Plain),
    Live(Box<Live>),
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").field("style", &self.style).finish_non_exhaustive()
    }
}

impl Terminal {
    /// A display that shows nothing until training begins.
    pub fn new(style: Style) -> Self {
        Self { style, mode: Mode::Quiet, waiting: None }
    }

    /// Shows `what` with a spinner until training begins, if standard error is a terminal.
    pub fn waiting(mut self, what: &str) -> Self {
        if self.style != Style::Quiet {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let bar = bar.with_style(bar_style("{spinner} {elapsed:>4}  {wide_msg}", 0));
            bar.set_message(what.to_owned());
            bar.enable_steady_tick(TICK);
            self.waiting = Some(bar.with_finish(ProgressFinish::AndClear));
        }
        self
    }

    fn live(&mut self, start: u64, total: u64, history: Option<&MetricsTable>) {
        let why = if !io::stdout().is_terminal() || !io::stderr().is_terminal() {
            "standard output and error must be a terminal"
        } else if !size().is_ok_and(|size| size.width >= SMALLEST.width && size.height >= SMALLEST.height) {
            "the terminal has less than 60 columns or 15 rows"
        } else if std::env::var("TERM").is_ok_and(|term| term == "dumb") {
            "the terminal is a dumb one"
        } else if let Ok(mut live) = Live::new(start, total) {
            if let Some(table) = history {
                live.model.history(table);
            }
            self.mode = Mode::Live(Box::new(live));
            return;
        } else {
            "the terminal cannot be written to"
        };
        self.mode = Mode::bar(start, total);
        self.note(&format!("no live view: {why}"));
    }
}

impl Mode {
    fn bar(start: u64, total: u64) -> Self {
        if !io::stderr().is_terminal() {
            return Self::Plain(Plain::new(start, total, Instant::now(), Box::new(io::stderr())));
        }
        let style = bar_style("{pos}/{len} [{bar:24}] {wide_msg}  {left} left", start);
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        Self::Bar(begin_at(bar.with_style(style), start), None)
    }
}

impl Progress for Terminal {
    fn begin(&mut self, done: u64, total: u64, history: Option<&MetricsTable>) {
        self.waiting = None;
        match self.style {
            Style::Quiet => self.mode = Mode::Quiet,
            Style::Bar => self.mode = Mode::bar(done, total),
            Style::Live => self.live(done, total, history),
        }
    }

    fn validation(&mut self, iteration: u64, accuracy: f64) {
        let line = validation_line(iteration, accuracy);
        match &mut self.mode {
            Mode::Live(live) => {
                live.model.validation(iteration, accuracy, &line);
                live.refresh();
            }
            _ => self.note(&line),
        }
    }

    fn wants_samples(&self) -> bool {
        matches!(&self.mode, Mode::Live(live) if live.look <= Instant::now())
    }

    fn samples(
        &mut self,
        iteration: u64,
        images: &[f32],
        shape: [usize; 3],
        columns: Option<usize>,
        cost: Duration,
    ) {
        if let Mode::Live(live) = &mut self.mode {
            live.model.samples(iteration, images, shape, columns);
            live.look = Instant::now() + LOOK.max(cost * LOOK_SHARE);
        }
    }

    fn update(&mut self, iteration: u64, status: &Status) {
        match &mut self.mode {
            Mode::Quiet => {}
            Mode::Bar(bar, _) => {
                bar.set_position(iteration);
                bar.set_message(status.line());
            }
            Mode::Plain(plain) => plain.update(iteration, status, Instant::now()),
            Mode::Live(live) => live.update(iteration, status),
        }
    }

    fn phase(&mut self, iteration: u64, status: &Status) {
        match &mut self.mode {
            Mode::Quiet => {}
            Mode::Bar(bar, _) => bar.set_message(status.line()),
            Mode::Plain(plain) => plain.phase(iteration, status, Instant::now()),
            Mode::Live(live) => live.phase(status),
        }
    }

    fn scoring(&mut self, part: &str, done: usize, total: usize) {
        let line = format!("{part} {done}/{total}");
        match &mut self.mode {
            Mode::Quiet => {}
            Mode::Bar(training, _) if !training.is_finished() => training.set_message(line),
            Mode::Bar(_, bar) if done < total => {
                let bar = bar.get_or_insert_with(|| {
                    let style = bar_style("{msg} {pos}/{len} [{bar:24}]  {left} left", 0);
                    let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
                    bar.with_style(style).with_message(part.to_owned())
                });
                bar.set_position(done as u64);
                bar.tick();
            }
            Mode::Bar(_, bar) => bar.take().iter().for_each(ProgressBar::finish_and_clear),
            Mode::Plain(plain) => plain.scoring(&line, Instant::now()),
            Mode::Live(live) => live.scoring(line),
        }
    }

    fn note(&mut self, line: &str) {
        match &mut self.mode {
            Mode::Quiet => {}
            Mode::Bar(bar, _) => bar.println(line),
            Mode::Plain(plain) => plain.print(line),
            Mode::Live(live) => live.note(line),
        }
    }

    fn warn(&mut self, line: &str) {
        match &mut self.mode {
            // Ignore a failure, as [`Plain::print`] does.
            Mode::Quiet => drop(writeln!(io::stderr(), "{line}")),
            // The warning must still be visible when the run has ended.
            Mode::Live(live) => live.warn(line),
            _ => self.note(line),
        }
    }

    /// Leaves the bar as it is; replaces the view by its warnings and last figures.
    fn finish(&mut self) {
        match &mut self.mode {
            Mode::Bar(bar, _) => bar.abandon(),
            Mode::Live(live) => {
                let clock = live.clock;
                // Dropping the view leaves the alternate screen.
                self.mode = Mode::Plain(Plain::of(clock, Box::new(io::stderr())));
            }
            Mode::Quiet | Mode::Plain(_) => {}
        }
    }
}

/// Prints `line` from any thread, such as a signal handler's, without damaging a live view.
pub fn announce(line: &str) {
    // The terminal may be gone, which must not stop the handling of a signal.
    let _ = match (screen::is_shown(), size()) {
        // Use the empty row under the view, where the cursor is.
        (true, Ok(size)) => {
            let line: String = line.chars().take(usize::from(size.width.saturating_sub(1))).collect();
            write!(io::stderr(), "\r{line}")
        }
        // The bar's line has no line break.
        _ => write!(io::stderr(), "\n{line}\n"),
    };
}

/// Removes a live view from the terminal, for a program that exits in the middle of a run.
pub fn restore() {
    screen::leave();
}

/// The size of the terminal in columns and rows.
fn size() -> io::Result<Size> {
    terminal::size().map(|(width, height)| Size::new(width, height))
}

/// The style of a bar that starts at `start`. In `template`, `{left}` is the estimated time to the end of the bar, or a
/// dash before the bar moves.
///
/// # Panics
/// If the template is invalid.
pub fn bar_style(template: &str, start: u64) -> ProgressStyle {
    let left = move |state: &ProgressState, text: &mut dyn fmt::Write| {
        // Ignore a failure to write: the time is left out.
        let _ = match state.pos() > start {
            true => text.write_str(&duration(state.eta().as_secs_f64())),
            false => text.write_str(UNKNOWN),
        };
    };
    let style = ProgressStyle::with_template(template).expect("the template is valid");
    style.with_key("left", left).progress_chars("=> ")
}

/// Starts `bar` at `start`. A tick and a reset exclude the iterations before a resume from the time left.
fn begin_at(bar: ProgressBar, start: u64) -> ProgressBar {
    bar.set_position(start);
    bar.tick();
    bar.reset_eta();
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A terminal with one line, whose text can be read.
    #[derive(Debug, Clone, Default)]
    struct Line(Arc<Mutex<String>>);

    impl Line {
        fn text(&self) -> String {
            self.0.lock().unwrap().trim_end().to_owned()
        }
    }

    impl indicatif::TermLike for Line {
        fn width(&self) -> u16 {
            60
        }

        fn move_cursor_up(&self, _n: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _n: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _n: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _n: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            self.0.lock().unwrap().clear();
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_shows_no_time_left_before_it_moves() {
        let line = Line::default();
        let target = ProgressDrawTarget::term_like(Box::new(line.clone()));
        let bar = ProgressBar::with_draw_target(Some(20), target);
        let bar = begin_at(bar.with_style(bar_style("{pos}/{len} {msg}  {left} left", 7)), 7);
        assert_eq!(line.text(), "7/20   – left");
        std::thread::sleep(Duration::from_millis(100));
        bar.set_message("SGLD 1/3");
        bar.tick();
        assert_eq!(line.text(), "7/20 SGLD 1/3  – left");
        std::thread::sleep(Duration::from_millis(400));
        bar.set_position(8);
        bar.tick();
        let text = line.text();
        assert!(text.starts_with("8/20 SGLD 1/3  ") && text.ends_with("s left"), "{text}");
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
}
