//! The newest samples as a mosaic of half blocks, beside the curves.

use crate::io::png::to_byte;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};

/// Samples are scaled down until this many fit, but not below the following number of pixels per side, where they would
/// be unrecognisable.
const ENOUGH: usize = 4;
const SIDE: usize = 10;
/// The columns reserved for curves beside the samples: the length of the longest heading.
const CURVES: u16 = 47;

/// Images in [-1, 1], NHWC.
pub struct Samples {
    pub iteration: u64,
    pub images: Vec<f32>,
    pub shape: [usize; 3],
}

/// The samples that fit, in rows.
pub struct Mosaic<'a> {
    samples: &'a Samples,
    columns: usize,
    rows: usize,
    /// The number of rows and columns of an image that are averaged to one pixel.
    factor: usize,
}

impl<'a> Mosaic<'a> {
    /// The layout with the largest images of which enough fit beside the curves; `None` if not even one fits.
    pub fn fit(samples: &'a Samples, area: Rect) -> Option<Self> {
        let [height, width, channels] = samples.shape;
        let count = samples.images.len() / (height * width * channels);
        let room = usize::from(area.width.saturating_sub(CURVES));
        // One line is for the heading.
        let lines = usize::from(area.height.saturating_sub(1));
        let at = |factor| {
            let mosaic = Self { samples, columns: 0, rows: 0, factor };
            let (columns, rows) = mosaic.cell();
            let columns = ((room + 1) / columns).min(count);
            let rows = ((lines + 1) / rows).min(count.div_ceil(columns.max(1)));
            Self { columns, rows, ..mosaic }
        };
        let smallest = (height.min(width) / SIDE).max(1);
        let enough = |mosaic: &Self| mosaic.columns * mosaic.rows >= ENOUGH.min(count);
        let mosaic = (1..smallest).map(at).find(enough).unwrap_or_else(|| at(smallest));
        (mosaic.columns * mosaic.rows > 0).then_some(mosaic)
    }

    /// The distance from an image to the next, in columns and lines.
    fn cell(&self) -> (usize, usize) {
        let [height, width, _] = self.samples.shape;
        (width.div_ceil(self.factor) + 1, height.div_ceil(self.factor).div_ceil(2) + 1)
    }

    pub fn width(&self) -> u16 {
        (self.columns * self.cell().0 - 1) as u16
    }

    pub fn draw(&self, buffer: &mut Buffer, area: Rect) {
        let heading = format!("samples, iteration {}", self.samples.iteration);
        buffer.set_stringn(area.x, area.y, heading, usize::from(area.width), Modifier::BOLD);
        let [height, width, channels] = self.samples.shape;
        let (across, down) = self.cell();
        let images = self.samples.images.chunks_exact(height * width * channels);
        for (index, image) in images.take(self.columns * self.rows).enumerate() {
            let (left, top) = (index % self.columns * across, 1 + index / self.columns * down);
            for line in 0..down - 1 {
                for column in 0..across - 1 {
                    let (x, y) = (area.x + (left + column) as u16, area.y + (top + line) as u16);
                    let Some(cell) = buffer.cell_mut((x, y)) else { continue };
                    let upper = self.pixel(image, 2 * line, column).unwrap_or_default();
                    let lower = self.pixel(image, 2 * line + 1, column).unwrap_or_default();
                    cell.set_char('▀').set_fg(upper).set_bg(lower);
                }
            }
        }
    }

    /// The mean of the square of an image that a pixel shows; `None` below the image.
    fn pixel(&self, image: &[f32], y: usize, x: usize) -> Option<Color> {
        let [height, width, channels] = self.samples.shape;
        let of = |at: usize, end: usize| at * self.factor..((at + 1) * self.factor).min(end);
        let (ys, xs) = (of(y, height), of(x, width));
        let count = (ys.len() * xs.len()) as f32;
        let mean = |channel: usize| {
            let at = |y: usize, x: usize| image[(y * width + x) * channels + channel].clamp(-1.0, 1.0);
            ys.clone().flat_map(|y| xs.clone().map(move |x| (y, x))).map(|(y, x)| at(y, x)).sum::<f32>()
                / count
        };
        (count > 0.0).then(|| {
            let [red, green, blue] = [0, 1, 2].map(|channel| to_byte(mean(channel.min(channels - 1))));
            Color::Rgb(red, green, blue)
        })
    }
}
