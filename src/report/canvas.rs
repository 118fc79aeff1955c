//! A bitmap for plotters, with a font that is part of the crate: no system font is needed.

use std::path::Path;
use std::sync::Once;

use plotters::prelude::*;
use plotters::style::register_font;

use crate::error::{Error, Result};
use crate::io::png::Picture;

/// The family name of the font.
pub(super) const FONT: &str = "sans-serif";

/// Makes the font known to plotters.
fn register() {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        for (style, bytes) in
            [(FontStyle::Normal, dejavu::sans::regular()), (FontStyle::Bold, dejavu::sans::bold())]
        {
            let registered = register_font(FONT, style, bytes);
            assert!(registered.is_ok(), "the embedded font can be parsed");
        }
    });
}

/// The font of this size, which must be known to plotters when it is made.
pub(super) fn font(size: u32, style: FontStyle) -> FontDesc<'static> {
    register();
    (FONT, size, style).into_font()
}

/// The width of `text` in `font`, in pixels.
pub(super) fn width(text: &str, font: &FontDesc<'_>) -> u32 {
    register();
    font.box_size(text).map_or(0, |(width, _)| width)
}

/// Breaks `text` between words into lines of at most `room` pixels; a longer word has a line of its own.
pub(super) fn lines(text: &str, font: FontDesc<'_>, room: u32) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one");
        let longer = if last.is_empty() { word.to_owned() } else { format!("{last} {word}") };
        if last.is_empty() || width(&longer, &font) <= room {
            *last = longer;
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// `font`, at a smaller size if `text` is wider than `room` pixels.
pub(super) fn fitted<'a>(text: &str, font: FontDesc<'a>, room: u32) -> FontDesc<'a> {
    let wide = width(text, &font);
    if wide <= room {
        return font;
    }
    // Letters of a fractional size are spaced unevenly, and plotters draws the full stops of an odd size too high.
    let size = font.get_size() * f64::from(room) / f64::from(wide);
    font.resize(2.0 * (size / 2.0).floor())
}

/// Draws a picture of `width` x `height` pixels with `draw`, on white, and writes it to a PNG file, atomically.
pub(super) fn write_png(
    path: &Path,
    (width, height): (u32, u32),
    draw: impl FnOnce(&Root) -> Result<(), PlotError>,
) -> Result<()> {
    register();
    let mut pixels = vec![255; (width * height * 3) as usize];
    {
        let root = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        draw(&root)
            .and_then(|()| Ok(root.present()?))
            .map_err(|error| Error::file(path, format!("cannot be drawn: {error}")))?;
    }
    Picture { width: width as usize, height: height as usize, channels: 3, pixels }.write_png(path)
}

/// The drawing area of plotters.
pub(super) type Root<'a> = DrawingArea<BitMapBackend<'a>, plotters::coord::Shift>;

/// An error of plotters; on a bitmap in memory it is a bug or an empty range.
pub(super) type PlotError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_fits_its_room() {
        // Register first: otherwise the font is not found.
        register();
        let font = || (FONT, 20).into_font();
        let text = "Validation accuracy on SYNTHETIC shapes, mean of the seeds";
        let broken = lines(text, font(), 278);
        assert!(broken.len() > 1 && broken.iter().all(|line| width(line, &font()) <= 278), "{broken:?}");
        assert_eq!(broken.join(" "), text);
        assert_eq!(lines("short", font(), 278), ["short"]);
        assert_eq!(lines("one-long-word-only and", font(), 20), ["one-long-word-only", "and"]);
        let small = fitted(text, font(), 278);
        assert!(small.get_size() < 20.0 && width(text, &small) <= 278, "{}", width(text, &small));
        approx::assert_abs_diff_eq!(fitted("short", font(), 278).get_size(), 20.0);
    }
}
