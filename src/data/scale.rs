//! Scales pictures to a square: the shorter side is scaled with antialiasing, and the centre is cropped.
//!
//! The geometry is that of torchvision's `Resize(N)` and `CenterCrop(N)`: the longer side becomes `N * longer / shorter`
//! rounded down, and half pixels of the crop's margin round to even. The filter is Pillow's `BILINEAR`: a triangle whose
//! width grows with the scale. Results agree with Pillow's to ±1 of 255.

use std::cell::RefCell;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::io::png::Picture;

thread_local! {
    /// Keeps its buffers from picture to picture.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Scales `picture` to `side`x`side`.
///
/// # Errors
/// When the picture has no pixels, or the scaled one is too large.
pub fn to_square(picture: Picture, side: usize) -> Result<Picture, String> {
    let Picture { width, height, channels, pixels } = picture;
    let [columns, rows] = scaled(width, height, side).ok_or("has no pixels, or more than can be scaled")?;
    if [columns, rows] == [width, height] {
        return Ok(crop(&pixels, [width, height], channels, side));
    }
    let kind = if channels == 3 { PixelType::U8x3 } else { PixelType::U8 };
    let source = ImageRef::new(width as u32, height as u32, &pixels, kind).map_err(|e| e.to_string())?;
    let mut target = Image::new(columns as u32, rows as u32, kind);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    RESIZER
        .with_borrow_mut(|resizer| resizer.resize(&source, &mut target, &options))
        .map_err(|error| error.to_string())?;
    Ok(crop(target.buffer(), [columns, rows], channels, side))
}

/// The columns and rows of which the shorter is `side`.
fn scaled(width: usize, height: usize, side: usize) -> Option<[usize; 2]> {
    let longer =
        |short: usize, long: usize| (short > 0).then(|| side * long / short).filter(|&n| n <= 1 << 20);
    match width <= height {
        true => Some([side, longer(width, height)?]),
        false => Some([longer(height, width)?, side]),
    }
}

/// The centre of `side`x`side` of `pixels`.
fn crop(pixels: &[u8], [width, height]: [usize; 2], channels: usize, side: usize) -> Picture {
    // As Python's `round((length - side) / 2)`: half to even.
    let margin = |length: usize| {
        let half = (length - side) / 2;
        if (length - side) % 2 == 1 && half % 2 == 1 { half + 1 } else { half }
    };
    let (left, top) = (margin(width), margin(height));
    let mut cropped = Vec::with_capacity(side * side * channels);
    for row in pixels.chunks_exact(width * channels).skip(top).take(side) {
        cropped.extend_from_slice(&row[left * channels..][..side * channels]);
    }
    Picture { width: side, height: side, channels, pixels: cropped }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::decode::decode;
    use std::fs;

    #[test]
    fn squares_are_those_of_pillow() {
        let read = |name: &str| {
            decode(&fs::read(format!("tests/fixtures/images/scale/{name}.png")).unwrap()).unwrap()
        };
        for name in ["wide", "tall", "square", "grey", "small"] {
            for side in [8, 13, 31] {
                let found = to_square(read(name), side).unwrap();
                let expected = read(&format!("{name}-{side}"));
                assert_eq!([found.width, found.height, found.channels], [side, side, expected.channels]);
                let furthest = found.pixels.iter().zip(&expected.pixels).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(furthest <= Some(1), "{name} at {side}: differs by {furthest:?}");
            }
        }
    }

    #[test]
    fn a_picture_of_the_size_is_unchanged() {
        let picture = Picture { width: 3, height: 3, channels: 1, pixels: (0..9).collect() };
        assert_eq!(to_square(picture.clone(), 3), Ok(picture));
        // A crop without scaling: half a pixel of margin rounds to even.
        let wide = Picture { width: 6, height: 3, channels: 1, pixels: (0..18).collect() };
        assert_eq!(to_square(wide, 3).unwrap().pixels, [2, 3, 4, 8, 9, 10, 14, 15, 16]);
        let none = Picture { width: 0, height: 3, channels: 1, pixels: Vec::new() };
        assert!(to_square(none, 3).is_err());
    }
}
