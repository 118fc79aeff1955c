//! A part of the terminal below what was printed before, for ratatui to draw on.
//!
//! ratatui's own inline viewport asks the terminal where the cursor is: reading the answer takes raw mode, swallows
//! what is typed, and stops a job in the background; and it clears the whole screen when the window gets narrower.
//! This one only ever moves relative to the line that it leaves the cursor on, and asks nothing.

use std::io::{self, Write};

use ratatui::backend::{Backend, ClearType, IntoCrossterm, WindowSize};
use ratatui::buffer::{Buffer, Cell};
use ratatui::crossterm::cursor::{Hide, MoveDown, MoveToColumn, MoveUp, Show};
use ratatui::crossterm::style::{Attribute, Print, SetAttribute, SetStyle};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType as Erase, EndSynchronizedUpdate,
};
use ratatui::crossterm::{QueueableCommand, queue};
use ratatui::layout::{Position, Rect, Size};
use ratatui::style::{Color, Style};
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};

/// The rows that a picture takes at most: a larger one shows no more.
const ROWS: u16 = 46;

/// A picture that is redrawn in place. Its last line stays empty: the cursor, which is never hidden, rests there
/// between two drawings, so that whatever ends the program leaves a terminal to type on.
pub(super) struct Inline<W: Write> {
    terminal: Terminal<Below<W>>,
    /// The terminal's columns and rows when the picture was drawn; `None` when there is none.
    drawn: Option<Size>,
    /// How wide each line of the picture is, without the blanks at its end.
    widths: Vec<u16>,
    /// Whether the terminal, when it gets narrower, breaks lines that have become too wide.
    reflows: bool,
}

impl<W: Write> Inline<W> {
    /// Nothing is written before the first drawing.
    pub(super) fn new(out: W, reflows: bool) -> io::Result<Self> {
        let below = Below { out, size: Size::default(), row: 0 };
        let options = TerminalOptions { viewport: Viewport::Fixed(Rect::default()) };
        let terminal = Terminal::with_options(below, options)?;
        Ok(Self { terminal, drawn: None, widths: Vec::new(), reflows })
    }

    /// Draws by `view` on a terminal that now has `size`.
    pub(super) fn draw(&mut self, size: Size, view: impl FnOnce(&mut Frame)) -> io::Result<()> {
        self.terminal.backend_mut().out.queue(BeginSynchronizedUpdate)?;
        if self.drawn != Some(size) {
            self.erase(size)?;
            self.reserve(size)?;
        }
        let rest = Position::new(0, self.terminal.backend().size.height - 1);
        let picture = self.terminal.draw(|frame| {
            view(frame);
            frame.set_cursor_position(rest);
        })?;
        self.widths = widths(picture.buffer);
        let out = &mut self.terminal.backend_mut().out;
        out.queue(EndSynchronizedUpdate)?.flush()
    }

    /// Prints `line` where the picture is; the next one is drawn under it.
    pub(super) fn print(&mut self, line: &str, size: Size) -> io::Result<()> {
        self.erase(size)?;
        let out = &mut self.terminal.backend_mut().out;
        write!(out, "{line}\r\n")?;
        out.flush()
    }

    /// Leaves the picture where it is, and the cursor at the beginning of the empty line under it.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let out = &mut self.terminal.backend_mut().out;
        queue!(out, MoveToColumn(0), Clear(Erase::FromCursorDown))?;
        out.flush()
    }

    /// Makes room for a picture in a terminal of `size`.
    fn reserve(&mut self, size: Size) -> io::Result<()> {
        let rows = size.height.saturating_sub(1).clamp(1, ROWS);
        let below = self.terminal.backend_mut();
        for _ in 1..rows {
            below.out.queue(Print("\r\n"))?;
        }
        (below.size, below.row) = (Size::new(size.width, rows), rows - 1);
        self.terminal.resize(Rect::new(0, 0, size.width, rows))?;
        self.drawn = Some(size);
        Ok(())
    }

    /// Takes the picture off a terminal that now has `size`; the cursor is where it began.
    fn erase(&mut self, size: Size) -> io::Result<()> {
        let Some(drawn) = self.drawn.take() else { return Ok(()) };
        let reflown = self.reflows && size.width < drawn.width;
        let lines = |width: &u16| if reflown { width.div_ceil(size.width.max(1)).max(1) } else { 1 };
        // The last line is the one that the cursor is on.
        let above = self.widths.split_last().map_or(0, |(_, widths)| widths.iter().map(lines).sum());
        let out = &mut self.terminal.backend_mut().out;
        out.queue(MoveToColumn(0))?;
        if above > 0 {
            out.queue(MoveUp(above))?;
        }
        out.queue(Clear(Erase::FromCursorDown))?;
        Ok(())
    }
}

/// How wide each row is up to its last cell that is not blank.
fn widths(buffer: &Buffer) -> Vec<u16> {
    let seen = |cell: &Cell| cell.symbol() != " " || cell.bg != Color::Reset;
    let row = |cells: &[Cell]| cells.iter().rposition(seen).map_or(0, |last| last as u16 + 1);
    buffer.content.chunks(usize::from(buffer.area.width).max(1)).map(row).collect()
}

/// The rows of the picture, the whole terminal to ratatui.
struct Below<W: Write> {
    out: W,
    size: Size,
    /// The row that the cursor is on.
    row: u16,
}

impl<W: Write> Below<W> {
    fn go_to(&mut self, column: u16, row: u16) -> io::Result<()> {
        // A terminal takes a move by 0 for one by 1.
        if row < self.row {
            self.out.queue(MoveUp(self.row - row))?;
        } else if row > self.row {
            self.out.queue(MoveDown(row - self.row))?;
        }
        self.row = row;
        self.out.queue(MoveToColumn(column))?;
        Ok(())
    }
}

impl<W: Write> Backend for Below<W> {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        let mut style = Style::reset();
        let mut next = None;
        for (column, row, cell) in content {
            if next != Some((column, row)) {
                self.go_to(column, row)?;
            }
            if cell.style() != style {
                style = cell.style();
                queue!(self.out, SetAttribute(Attribute::Reset), SetStyle(style.into_crossterm()))?;
            }
            self.out.queue(Print(cell.symbol()))?;
            next = Some((column + 1, row));
        }
        self.out.queue(SetAttribute(Attribute::Reset))?;
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.out.queue(Hide).map(drop)
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.out.queue(Show).map(drop)
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::new(0, self.row))
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let Position { x, y } = position.into();
        self.go_to(x, y)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        let erase = match region {
            // What is above the picture stays.
            ClearType::All | ClearType::BeforeCursor => {
                self.go_to(0, 0)?;
                Erase::FromCursorDown
            }
            ClearType::AfterCursor => Erase::FromCursorDown,
            ClearType::CurrentLine => Erase::CurrentLine,
            ClearType::UntilNewLine => Erase::UntilNewLine,
        };
        self.out.queue(Clear(erase)).map(drop)
    }

    fn size(&self) -> io::Result<Size> {
        Ok(self.size)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size, pixels: Size::default() })
    }

    /// Nothing: a picture is flushed when it is whole.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
