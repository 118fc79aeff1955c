//! Pictures: grids of images, and PNG files.

use std::io::{Cursor, Write};
use std::path::Path;

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};

use super::atomic;
use crate::error::{Error, Result};

/// The gap between the images of a grid, in pixels.
const GAP: usize = 2;
/// The grey of the gaps, distinct from both black and white images.
const GAP_BYTE: u8 = 96;

/// A picture of bytes, with rows from top to bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// `height * width * channels` bytes.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Encodes the picture as a PNG file.
    ///
    /// # Errors
    /// [`Error::Shape`] when the picture has no pixels.
    pub fn encode_png(&self) -> Result<Vec<u8>> {
        let color = if self.channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        let mut bytes = Cursor::new(Vec::new());
        PngEncoder::new(&mut bytes)
            .write_image(&self.pixels, self.width as u32, self.height as u32, color)
            .map_err(|error| Error::Shape { operation: "encode_png", message: error.to_string() })?;
        Ok(bytes.into_inner())
    }

    /// Writes the picture to a PNG file, atomically.
    ///
    /// # Errors
    /// [`Error::Shape`] when the picture has no pixels; [`Error::Io`] when writing fails.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        let bytes = self.encode_png()?;
        atomic::write(path, |file| file.write_all(&bytes))
    }
}

/// Arranges `n` images in rows of `columns`, with each pixel enlarged to `scale` x `scale` (nearest neighbour) and gaps
/// of two pixels between and around them. `images` is [n, h, w, c] in [-1, 1] (other values are clamped, NaN is black),
/// with `c` 1 (grey) or 3 (RGB).
///
/// # Errors
/// [`Error::Shape`] when the sizes do not match.
pub fn grid(
    images: &[f32],
    n: usize,
    h: usize,
    w: usize,
    c: usize,
    columns: usize,
    scale: usize,
) -> Result<Picture> {
    let wrong = |message: String| Err(Error::Shape { operation: "image grid", message });
    if images.len() != n * h * w * c {
        return wrong(format!(
            "expected {} values for images [{n}, {h}, {w}, {c}], got {}",
            n * h * w * c,
            images.len()
        ));
    }
    if c != 1 && c != 3 {
        return wrong(format!("expected 1 or 3 channels, got {c}"));
    }
    if n * h * w * columns * scale == 0 {
        return wrong(format!(
            "expected at least one pixel, column and a scale of 1, got images [{n}, {h}, {w}, {c}], {columns} \
             columns, scale {scale}"
        ));
    }
    let columns = columns.min(n);
    let (cell_height, cell_width) = (h * scale + GAP, w * scale + GAP);
    let (height, width) = (n.div_ceil(columns) * cell_height + GAP, columns * cell_width + GAP);
    let mut pixels = vec![GAP_BYTE; height * width * c];
    for (index, image) in images.chunks_exact(h * w * c).enumerate() {
        let (top, left) = (GAP + index / columns * cell_height, GAP + index % columns * cell_width);
        for y in 0..h * scale {
            for x in 0..w * scale {
                let from = (y / scale * w + x / scale) * c;
                let to = ((top + y) * width + left + x) * c;
                for channel in 0..c {
                    pixels[to + channel] = to_byte(image[from + channel]);
                }
            }
        }
    }
    Ok(Picture { width, height, channels: c, pixels })
}

/// Writes [`grid`] to a PNG file, atomically.
///
/// # Errors
/// [`Error::Shape`] when the sizes do not match; [`Error::Io`] when writing fails.
pub fn write_grid(
    path: &Path,
    images: &[f32],
    n: usize,
    h: usize,
    w: usize,
    c: usize,
    columns: usize,
    scale: usize,
) -> Result<()> {
    grid(images, n, h, w, c, columns, scale)?.write_png(path)
}

/// The byte of a value in [-1, 1]; the inverse of `byte / 127.5 - 1`.
pub fn to_byte(value: f32) -> u8 {
    // A cast from float to integer saturates and turns NaN into 0.
    ((value + 1.0) * 127.5).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_way_through_floats() {
        for byte in 0..=255u8 {
            assert_eq!(to_byte(f32::from(byte) / 127.5 - 1.0), byte);
        }
        assert_eq!([to_byte(f32::NAN), to_byte(-9.0), to_byte(9.0)], [0, 0, 255]);
    }

    #[test]
    fn three_grey_images_in_two_columns() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("grid.png");
        // [3, 1, 2, 1]: black and white, white and black, middle grey.
        write_grid(&path, &[-1.0, 1.0, 1.0, -1.0, 0.0, 0.0], 3, 1, 2, 1, 2, 2).unwrap();
        let read = image::open(&path).unwrap().into_luma8();
        assert_eq!(read.dimensions(), (2 + 2 * (4 + 2), 2 + 2 * (2 + 2)));
        let row = |y: u32| (0..read.width()).map(|x| read.get_pixel(x, y).0[0]).collect::<Vec<_>>();
        let gap = vec![GAP_BYTE; 14];
        let first = [96, 96, 0, 0, 255, 255, 96, 96, 255, 255, 0, 0, 96, 96];
        let second = [96, 96, 128, 128, 128, 128, 96, 96, 96, 96, 96, 96, 96, 96];
        for (y, expected) in
            [&gap[..], &gap, &first, &first, &gap, &gap, &second, &second, &gap, &gap].into_iter().enumerate()
        {
            assert_eq!(row(y as u32), expected, "row {y}");
        }
    }

    #[test]
    fn colours_keep_their_order() {
        let picture = grid(&[-1.0, 0.0, 1.0], 1, 1, 1, 3, 8, 1).unwrap();
        assert_eq!((picture.width, picture.height), (5, 5));
        assert_eq!(picture.pixels[(2 * 5 + 2) * 3..][..3], [0, 128, 255]);
        let read = image::load_from_memory(&picture.encode_png().unwrap()).unwrap();
        assert_eq!(read.into_rgb8().into_raw(), picture.pixels);
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors() {
        for (values, n, c, columns, part) in [
            (5, 2, 1, 1, "[2, 2, 2, 1]"),
            (8, 1, 2, 1, "channels"),
            (8, 2, 1, 0, "0 columns"),
            (0, 0, 1, 1, "pixel"),
        ] {
            let message = grid(&vec![0.0; values], n, 2, 2, c, columns, 1).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
