//! The alternate screen of the terminal, for ratatui to draw on.
//!
//! Raw mode is not needed and not entered: Ctrl-C remains a signal, and typed text remains for the shell.

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
};
use ratatui::crossterm::{execute, queue};
use ratatui::{Frame, Terminal};
use std::io::{self, BufWriter, Stderr};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the alternate screen is shown.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// The alternate screen, until it is dropped. Its last row stays empty: the cursor rests there between drawings.
pub(super) struct Screen(Terminal<CrosstermBackend<BufWriter<Stderr>>>);

impl Screen {
    /// Enters the alternate screen. A panic leaves it before its message is printed.
    pub(super) fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                leave();
                before(panic);
            }));
        });
        // A picture is written at once.
        let out = BufWriter::with_capacity(1 << 18, io::stderr());
        let mut terminal = Terminal::new(CrosstermBackend::new(out))?;
        execute!(terminal.backend_mut(), EnterAlternateScreen)?;
        SHOWN.store(true, Ordering::Relaxed);
        Ok(Self(terminal))
    }

    /// Draws the whole screen with `view`.
    pub(super) fn draw(&mut self, view: impl FnOnce(&mut Frame)) -> io::Result<()> {
        queue!(self.0.backend_mut(), BeginSynchronizedUpdate)?;
        self.0.draw(|frame| {
            view(frame);
            frame.set_cursor_position((0, frame.area().height.saturating_sub(1)));
        })?;
        execute!(self.0.backend_mut(), EndSynchronizedUpdate)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Whether the alternate screen is shown.
pub(super) fn is_shown() -> bool {
    SHOWN.load(Ordering::Relaxed)
}

/// Restores the screen before [`Screen::enter`], if it was entered; from any thread.
pub(super) fn leave() {
    if SHOWN.swap(false, Ordering::Relaxed) {
        // The terminal may be gone.
        let _ = execute!(io::stderr(), LeaveAlternateScreen, Show);
    }
}
