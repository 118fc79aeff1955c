//! A picture of a function over the plane, such as a density or an energy, with points on it.

use std::path::Path;

use plotters::prelude::*;

use super::canvas;
use crate::error::{Error, Result};

/// The approximate length of the picture's longer side, in pixels.
const SIDE: usize = 640;
/// The radius of a point in pixels.
const POINT: i32 = 2;

/// Writes a PNG of `values` ([height, width], row 0 at the top) in the viridis colour map, with the lowest finite value
/// darkest and values that are not finite in grey. `points` are drawn on top, with x from 0 (left) to 1 and y from 0
/// (top) to 1; other points are left out.
///
/// # Errors
/// [`Error::Shape`] when `values` has another length or is empty; [`Error::Io`] when the file cannot
/// be written.
pub fn heatmap(path: &Path, values: &[f32], width: usize, height: usize, points: &[[f32; 2]]) -> Result<()> {
    if values.len() != width * height || values.is_empty() {
        return Err(Error::Shape {
            operation: "heatmap",
            message: format!("expected values [{height}, {width}] with an element, got {}", values.len()),
        });
    }
    let scale = (SIDE / width.max(height)).max(1);
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    let color = |value: f32| {
        if !value.is_finite() {
            return RGBColor(128, 128, 128);
        }
        let [red, green, blue] = viridis(if high > low { (value - low) / (high - low) } else { 0.5 });
        RGBColor(red, green, blue)
    };
    let (columns, rows) = (width * scale, height * scale);
    canvas::write_png(path, (columns as u32, rows as u32), |root| {
        for (index, &value) in values.iter().enumerate() {
            let (x, y) = ((index % width * scale) as i32, (index / width * scale) as i32);
            let end = (x + scale as i32, y + scale as i32);
            root.draw(&Rectangle::new([(x, y), end], color(value).filled()))?;
        }
        for &[x, y] in points {
            if (0.0..=1.0).contains(&x) && (0.0..=1.0).contains(&y) {
                let at = ((x * columns as f32) as i32, (y * rows as f32) as i32);
                root.draw(&Circle::new(at, POINT + 1, BLACK.mix(0.6).filled()))?;
                root.draw(&Circle::new(at, POINT, WHITE.filled()))?;
            }
        }
        Ok(())
    })
}

/// The viridis colour map (Smith and van der Walt, 2015; CC0) at `t` from 0 (dark) to 1 (bright), interpolated linearly
/// between 17 of its 256 entries.
pub fn viridis(t: f32) -> [u8; 3] {
    const ENTRIES: [[u8; 3]; 17] = [
        [68, 1, 84],
        [72, 24, 106],
        [71, 45, 123],
        [66, 64, 134],
        [59, 82, 139],
        [51, 99, 141],
        [44, 114, 142],
        [38, 130, 142],
        [33, 145, 140],
        [31, 159, 136],
        [39, 173, 129],
        [61, 188, 116],
        [92, 200, 99],
        [129, 211, 77],
        [170, 220, 50],
        [213, 226, 26],
        [253, 231, 37],
    ];
    let position = t.clamp(0.0, 1.0) * (ENTRIES.len() - 1) as f32;
    let index = (position as usize).min(ENTRIES.len() - 2);
    let share = position - index as f32;
    let mix = |c: usize| {
        let (from, to) = (f32::from(ENTRIES[index][c]), f32::from(ENTRIES[index + 1][c]));
        (from + share * (to - from)).round() as u8
    };
    [mix(0), mix(1), mix(2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_follow_the_values() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("density.png");
        // Three columns, two rows; the point in the middle of the lower right cell.
        let values = [0.0, 5.0, 10.0, f32::NAN, 2.5, 10.0];
        heatmap(&path, &values, 3, 2, &[[5.0 / 6.0, 0.75], [1.5, 0.5]]).unwrap();
        let picture = image::open(&path).unwrap().into_rgb8();
        let scale = 640 / 3;
        assert_eq!(picture.dimensions(), (3 * scale, 2 * scale));
        let cell = |column: u32, row: u32| picture.get_pixel(column * scale + 9, row * scale + 9).0;
        assert_eq!(cell(0, 0), viridis(0.0));
        assert_eq!(cell(1, 0), viridis(0.5));
        assert_eq!([cell(2, 0), cell(2, 1)], [viridis(1.0); 2]);
        assert_eq!(cell(0, 1), [128; 3]);
        assert_eq!(cell(1, 1), viridis(0.25));
        assert_eq!(picture.get_pixel(5 * scale / 2, 3 * scale / 2).0, [255; 3]);
        assert!(heatmap(&path, &values, 2, 2, &[]).unwrap_err().to_string().contains("[2, 2]"));
    }

    #[test]
    fn the_colour_map_brightens_evenly() {
        let luma = |t: f32| {
            let [r, g, b] = viridis(t).map(f32::from);
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        for step in 0..100 {
            assert!(luma((step + 1) as f32 / 100.0) > luma(step as f32 / 100.0) - 0.4, "{step}");
        }
        assert_eq!([viridis(-1.0), viridis(2.0)], [[68, 1, 84], [253, 231, 37]]);
    }
}
