//! A part of the terminal below what was printed before, for ratatui to draw on.
//!
//! ratatui's own inline viewport asks the terminal where the cursor is: reading the answer takes raw mode,
//! swallows what is typed, and stops a job in the background; and it clears the whole screen when the window
//! gets narrower. This one only ever moves relative to the line that it leaves the cursor on, and asks nothing.

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
/// The rows that are left to what was printed before, in a terminal of more rows than [`FULL`].
const ABOVE: u16 = 6;
const FULL: u16 = 24;

/// A picture that is redrawn in place. Its last line stays empty: the cursor, which is never hidden, rests
/// there between two drawings, so that whatever ends the program leaves a terminal to type on.
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
        let rows =
            size.height.saturating_sub(ABOVE).max(size.height.min(FULL).saturating_sub(1)).clamp(1, ROWS);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As much of a terminal as the picture needs: text, the cursor, moves, erasure, scrolling.
    #[derive(Default)]
    struct Screen {
        size: (usize, usize),
        /// All lines, those that were scrolled away included.
        lines: Vec<Vec<char>>,
        cursor: (usize, usize),
        text: Vec<u8>,
    }

    impl Screen {
        fn new(width: usize, height: usize) -> Self {
            Self { size: (width, height), lines: vec![vec![]], ..Self::default() }
        }

        fn text(&self) -> Vec<String> {
            let line = |line: &Vec<char>| line.iter().collect::<String>().trim_end().to_owned();
            self.lines.iter().map(line).collect()
        }

        /// Breaks lines that are longer than a row, as most terminals do when they get narrower.
        fn reflow(&mut self, width: usize, height: usize) {
            let before = std::mem::take(&mut self.lines);
            for (row, line) in before.iter().enumerate() {
                if row == self.cursor.1 {
                    self.cursor.1 = self.lines.len();
                    self.lines.extend(before[row..].iter().cloned());
                    break;
                }
                let end = line.iter().rposition(|c| *c != ' ').map_or(0, |last| last + 1);
                match end {
                    0 => self.lines.push(vec![]),
                    _ => self.lines.extend(line[..end].chunks(width).map(<[char]>::to_vec)),
                }
            }
            self.size = (width, height);
        }

        fn sequence(&mut self, parameters: &str, end: char) {
            let count = || parameters.parse::<usize>().unwrap_or(1).max(1);
            let top = self.lines.len().saturating_sub(self.size.1);
            match end {
                'A' => self.cursor.1 = self.cursor.1.saturating_sub(count()).max(top),
                'B' => self.cursor.1 = (self.cursor.1 + count()).min(self.lines.len() - 1),
                'G' => self.cursor.0 = count() - 1,
                'J' => {
                    let (column, row) = self.cursor;
                    self.lines[row].truncate(column);
                    self.lines[row + 1..].iter_mut().for_each(Vec::clear);
                }
                'm' | 'h' | 'l' => {}
                other => panic!("{parameters}{other}"),
            }
        }
    }

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.text.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            let text = String::from_utf8(std::mem::take(&mut self.text)).unwrap();
            let mut characters = text.chars();
            while let Some(character) = characters.next() {
                match character {
                    '\x1b' => {
                        assert_eq!(characters.next(), Some('['));
                        let parameters: Vec<char> =
                            characters.by_ref().take_while_inclusive(|c| !c.is_ascii_alphabetic());
                        let (end, parameters) = parameters.split_last().unwrap();
                        self.sequence(&parameters.iter().collect::<String>(), *end);
                    }
                    '\r' => self.cursor.0 = 0,
                    '\n' => {
                        self.cursor.1 += 1;
                        if self.cursor.1 == self.lines.len() {
                            self.lines.push(vec![]);
                        }
                    }
                    character => {
                        let (column, row) = self.cursor;
                        let line = &mut self.lines[row];
                        line.resize(line.len().max(column + 1), ' ');
                        line[column] = character;
                        self.cursor.0 += 1;
                    }
                }
            }
            Ok(())
        }
    }

    trait TakeInclusive: Iterator<Item = char> {
        fn take_while_inclusive(self, keep: impl Fn(&char) -> bool) -> Vec<char>;
    }

    impl<I: Iterator<Item = char>> TakeInclusive for I {
        fn take_while_inclusive(self, keep: impl Fn(&char) -> bool) -> Vec<char> {
            let mut taken = vec![];
            for character in self {
                taken.push(character);
                if !keep(&character) {
                    break;
                }
            }
            taken
        }
    }

    fn screen(inline: &mut Inline<Screen>) -> &mut Screen {
        &mut inline.terminal.backend_mut().out
    }

    /// Fills all lines but the last with `character`.
    fn fill(character: &'static str) -> impl Fn(&mut Frame) {
        move |frame| {
            let area = frame.area();
            for row in 0..area.height - 1 {
                frame.buffer_mut().set_string(0, row, character.repeat(area.width.into()), Style::new());
            }
        }
    }

    #[test]
    fn what_was_printed_before_stays_above() {
        let mut out = Screen::new(8, 5);
        write!(out, "before\r\n").unwrap();
        out.flush().unwrap();
        let mut inline = Inline::new(out, true).unwrap();
        let size = Size::new(8, 5);
        inline.draw(size, fill("a")).unwrap();
        inline.draw(size, fill("b")).unwrap();
        let row = "b".repeat(8);
        assert_eq!(screen(&mut inline).text(), ["before", &row, &row, &row, ""]);
        inline.print("a warning", size).unwrap();
        inline.draw(size, fill("c")).unwrap();
        inline.finish().unwrap();
        write!(screen(&mut inline), "after").unwrap();
        screen(&mut inline).flush().unwrap();
        let row = "c".repeat(8);
        assert_eq!(screen(&mut inline).text(), ["before", "a warning", &row, &row, &row, "after"]);
    }

    #[test]
    fn a_window_of_another_size_gets_another_picture() {
        for reflows in [true, false] {
            let mut out = Screen::new(10, 5);
            write!(out, "before\r\n").unwrap();
            out.flush().unwrap();
            let mut inline = Inline::new(out, reflows).unwrap();
            inline.draw(Size::new(10, 5), fill("a")).unwrap();
            for (width, height) in [(6, 7), (20, 4), (3, 9), (3, 3)] {
                match reflows {
                    true => screen(&mut inline).reflow(width, height),
                    false => screen(&mut inline).size = (width, height),
                }
                inline.draw(Size::new(width as u16, height as u16), fill("b")).unwrap();
                let text = screen(&mut inline).text();
                let shown: Vec<_> = text.iter().filter(|line| line.starts_with('b')).collect();
                assert_eq!(text.last().unwrap(), "");
                assert!(shown.iter().rev().take(height - 2).all(|line| line.len() == width), "{text:?}");
                if height > 4 {
                    assert!(!text.iter().any(|line| line.starts_with('a')), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn the_cursor_is_never_hidden_and_nothing_is_asked() {
        let mut inline = Inline::new(Vec::new(), true).unwrap();
        for size in [Size::new(80, 24), Size::new(1, 1), Size::new(0, 0)] {
            inline.draw(size, fill("a")).unwrap();
        }
        let text = String::from_utf8_lossy(&inline.terminal.backend().out).into_owned();
        assert!(!text.contains("\x1b[?25l") && !text.contains("\x1b[6n"));
    }
}
