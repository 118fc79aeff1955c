//! The words and colours that plots share: titles, headings of panels, legends.

use plotters::prelude::*;

use super::canvas::{self, PlotError, Root};
use super::curves::panels::{BLUE, GREEN, ORANGE};

/// The colours of sets and lines, in their order: those of Okabe and Ito (2008) without their yellow, which is too light
/// for a line on white, and a grey.
pub(super) const COLORS: [RGBColor; 8] = [
    BLUE,
    ORANGE,
    GREEN,
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(150, 150, 150),
];
/// The smallest size of text, in pixels.
const SMALLEST: u32 = 10;
/// The space to the left of titles and legends, and that of the name of a vertical axis, in pixels.
pub(super) const BESIDE: u32 = 16;
pub(super) const AXIS_NAME: u32 = 14;

/// Text broken into lines.
pub(super) struct Wrapped {
    pub lines: Vec<String>,
    pub font: FontDesc<'static>,
}

impl Wrapped {
    /// Breaks `text` into at most `most` lines of at most `room` pixels, at the greatest size from `size` down to 10
    /// pixels that allows it. Lines end between words, and inside a word only where it alone is too long. Text that is
    /// too long even at 10 pixels loses its middle.
    pub fn new(text: &str, (size, style): (u32, FontStyle), room: u32, most: usize) -> Self {
        let font = |size: u32| canvas::font(size, style);
        let smallest = size.min(SMALLEST);
        // Even sizes, as in `canvas::fitted`.
        for size in (smallest..=size).rev().step_by(2) {
            let lines = broken(text, &font(size), room);
            if lines.len() <= most {
                return Self { lines, font: font(size) };
            }
        }
        let letters: Vec<char> = text.chars().collect();
        // Even letters of two pixels fill the lines.
        let longest = letters.len().min(most * room as usize / 2);
        let mut shortened = (0..longest).rev().map(|kept| {
            let head: String = letters[..kept.div_ceil(2)].iter().collect();
            let tail: String = letters[letters.len() - kept / 2..].iter().collect();
            broken(&format!("{head}…{tail}"), &font(smallest), room)
        });
        let lines = shortened.find(|lines| lines.len() <= most);
        Self { lines: lines.unwrap_or_default(), font: font(smallest) }
    }

    /// Draws the lines below each other, `height` pixels each, from `at` on.
    pub fn draw(
        &self,
        area: &Root,
        at: (i32, i32),
        height: u32,
        color: &impl Color,
    ) -> Result<(), PlotError> {
        for (index, line) in (0..).zip(&self.lines) {
            let place = (at.0, at.1 + index * height as i32);
            area.draw(&Text::new(line.as_str(), place, self.font.color(color)))?;
        }
        Ok(())
    }
}

/// Breaks `text` into lines of at most `room` pixels, words that are longer than that too. No line for no text.
fn broken(text: &str, font: &FontDesc<'_>, room: u32) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    for line in canvas::lines(text, font.clone(), room) {
        let mut rest = line.as_str();
        while canvas::width(rest, font) > room {
            let ends = rest.char_indices().map(|(index, letter)| (index + letter.len_utf8(), letter));
            let fitting: Vec<_> =
                ends.take_while(|&(end, _)| canvas::width(&rest[..end], font) <= room).collect();
            // Behind a hyphen or the like, if one is in the second half of the line.
            let mark =
                fitting.iter().rev().take(fitting.len() / 2).find(|(_, letter)| "-_/.,".contains(*letter));
            let first = rest.chars().next().map_or(0, char::len_utf8);
            let end = mark.or(fitting.last()).map_or(first, |&(end, _)| end);
            lines.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
        if !rest.is_empty() {
            lines.push(rest.to_owned());
        }
    }
    lines
}

/// The title of a picture, in up to three lines.
pub(super) struct Title(Wrapped);

impl Title {
    /// The title `text` of a picture that is `width` pixels wide.
    pub fn new(text: &str, width: u32) -> Self {
        Self(Wrapped::new(text, (20, FontStyle::Normal), width - 2 * BESIDE, 3))
    }

    /// The height of the title with the space around it, in pixels.
    pub fn height(&self) -> u32 {
        match self.0.lines.len() as u32 {
            0 => 10,
            lines => 18 + 26 * lines,
        }
    }

    /// Draws the title at the top of `area`.
    pub fn draw(&self, area: &Root) -> Result<(), PlotError> {
        self.0.draw(area, (BESIDE as i32, 14), 26, &BLACK)
    }
}

/// The name of a panel, and a note under it.
pub(super) struct Heading {
    name: Wrapped,
    note: Wrapped,
}

impl Heading {
    /// A heading whose lines are at most `room` pixels wide.
    pub fn new(name: &str, note: &str, room: u32) -> Self {
        Self {
            name: Wrapped::new(name, (16, FontStyle::Bold), room, 3),
            note: Wrapped::new(note, (14, FontStyle::Normal), room, 4),
        }
    }

    /// The height of the heading with the space around it, in pixels.
    pub fn height(&self) -> u32 {
        12 + 20 * self.name.lines.len() as u32 + 17 * self.note.lines.len() as u32
    }

    /// Draws the heading at the top of `area`, `left` pixels from its left edge.
    pub fn draw(&self, area: &Root, left: u32) -> Result<(), PlotError> {
        self.name.draw(area, (left as i32, 6), 20, &BLACK)?;
        let below = 6 + 20 * self.name.lines.len() as i32;
        self.note.draw(area, (left as i32, below), 17, &BLACK.mix(0.75))
    }
}

/// The mark of a legend's entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mark {
    /// A line.
    Line(RGBColor),
    /// An area with its outline.
    Area(RGBAColor, RGBColor),
}

/// A legend in rows.
pub(super) struct Legend {
    rows: Vec<Vec<(u32, Mark, Wrapped)>>,
}

impl Legend {
    const ROW: u32 = 22;
    const MARK: u32 = 30;
    const GAP: u32 = 24;

    /// The legend of `entries`, whose rows are at most `room` pixels wide.
    pub fn new<'a>(entries: impl IntoIterator<Item = (Mark, &'a str)>, room: u32) -> Self {
        let mut rows: Vec<Vec<_>> = Vec::new();
        let mut at = room;
        for (mark, name) in entries {
            let name = Wrapped::new(name, (14, FontStyle::Normal), room - Self::MARK, 1);
            let wide = Self::MARK + name.lines.first().map_or(0, |line| canvas::width(line, &name.font));
            if at + wide > room {
                rows.push(Vec::new());
                at = 0;
            }
            rows.last_mut().expect("the first entry begins a row").push((at, mark, name));
            at += wide + Self::GAP;
        }
        Self { rows }
    }

    /// The height of the legend with the space around it, in pixels.
    pub fn height(&self) -> u32 {
        if self.rows.is_empty() { 0 } else { 8 + Self::ROW * self.rows.len() as u32 }
    }

    /// Draws the legend at the top of `area`, `left` pixels from its left edge.
    pub fn draw(&self, area: &Root, left: u32) -> Result<(), PlotError> {
        for (row, entries) in (0..).zip(&self.rows) {
            let middle = 10 + row * Self::ROW as i32;
            for (at, mark, name) in entries {
                let x = (left + at) as i32;
                match mark {
                    Mark::Line(color) => {
                        area.draw(&PathElement::new([(x, middle), (x + 22, middle)], color.stroke_width(4)))?;
                    }
                    Mark::Area(fill, outline) => {
                        let corners = [(x, middle - 6), (x + 22, middle + 6)];
                        area.draw(&Rectangle::new(corners, fill.filled()))?;
                        area.draw(&Rectangle::new(corners, outline.stroke_width(1)))?;
                    }
                }
                name.draw(area, (x + Self::MARK as i32, middle - 4), Self::ROW, &BLACK)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_fits(wrapped: &Wrapped, room: u32, most: usize) {
        assert!(wrapped.lines.len() <= most, "{:?}", wrapped.lines);
        for line in &wrapped.lines {
            assert!(canvas::width(line, &wrapped.font) <= room, "{line}");
        }
    }

    #[test]
    fn long_names_wrap_then_shrink_then_lose_their_middle() {
        let name = "cifar10-jem-wideresnet-28-10-epoch-0150-exponential-moving-average.safetensors";
        let style = (16, FontStyle::Bold);
        let wrapped = Wrapped::new(name, style, 400, 2);
        assert_fits(&wrapped, 400, 2);
        assert_eq!(wrapped.lines.concat(), name);
        assert!(wrapped.lines[0].ends_with('-') && wrapped.font.get_size() > 15.0, "{:?}", wrapped.lines);
        let small = Wrapped::new(name, style, 280, 2);
        assert_fits(&small, 280, 2);
        assert_eq!(small.lines.concat(), name);
        assert!(small.font.get_size() < 16.0);
        let cut = Wrapped::new(&name.repeat(50), style, 280, 2);
        assert_fits(&cut, 280, 2);
        let text = cut.lines.concat();
        assert!(
            text.starts_with("cifar10-jem") && text.ends_with(".safetensors") && text.contains('…'),
            "{text}"
        );
        assert!(Wrapped::new("", style, 280, 2).lines.is_empty());
        assert_fits(&Wrapped::new("name", style, 14, 1), 14, 1);
    }

    #[test]
    fn a_legend_takes_the_rows_that_it_needs() {
        let entries = |count: usize| (0..count).map(|_| (Mark::Line(BLUE), "a set of images"));
        let rows = |count: usize, room: u32| Legend::new(entries(count), room).rows.len();
        assert_eq!([rows(0, 600), rows(1, 600), rows(8, 1200), rows(8, 300)], [0, 1, 1, 4]);
    }
}
