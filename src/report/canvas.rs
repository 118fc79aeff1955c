//! A bitmap for plotters, with a font that is part of the crate: no system font is needed.

use std::path::Path;
use std::sync::Once;

use plotters::prelude::*;
use plotters::style::register_font;

use crate::error::{Error, Result};
use crate::io::png::Picture;

/// The family name of the font.
pub(super) const FONT: &str = "sans-serif";

/// Draws a picture of `width` x `height` pixels with `draw`, on white, and writes it to a PNG file, atomically.
pub(super) fn write_png(
    path: &Path,
    (width, height): (u32, u32),
    draw: impl FnOnce(&Root) -> Result<(), PlotError>,
) -> Result<()> {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        for (style, bytes) in
            [(FontStyle::Normal, dejavu::sans::regular()), (FontStyle::Bold, dejavu::sans::bold())]
        {
            let registered = register_font(FONT, style, bytes);
            assert!(registered.is_ok(), "the embedded font can be parsed");
        }
    });
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
