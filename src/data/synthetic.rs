//! A data set that needs no download: ten classes of 32x32 RGB pictures, drawn from a seed.
//!
//! Colours, positions, sizes and noise vary from picture to picture, so that classification and sampling are not
//! trivial. Only operations that IEEE 754 rounds exactly are used (no sine or cosine), so the same seed makes the same
//! bytes on every machine.

use rayon::prelude::*;

use super::Dataset;
use crate::compute::splitmix::SplitMix;

/// Rows and columns of a picture.
pub const SIDE: usize = 32;
/// The name in reports, which shows in every figure, title and table that the pictures are not real.
pub const NAME: &str = "SYNTHETIC shapes";
/// The classes, in the order of the labels.
pub const CLASS_NAMES: [&str; 10] = [
    "disc",
    "square",
    "triangle",
    "ring",
    "cross",
    "horizontal stripes",
    "vertical stripes",
    "checkerboard",
    "diagonal gradient",
    "dots",
];

const PIXELS: usize = SIDE * SIDE;

/// Draws a training set and a test set. Picture `i` has class `i % 10`, so the classes are balanced. It depends only on
/// `seed`, its set and `i`, so a larger set begins with the pictures of a smaller one.
pub fn synthetic(train: usize, test: usize, seed: u64) -> (Dataset, Dataset) {
    (draw_set("train", train, seed, 0), draw_set("test", test, seed, 1))
}

fn draw_set(part: &str, count: usize, seed: u64, set: u64) -> Dataset {
    let mut images = vec![0; count * PIXELS * 3];
    images.par_chunks_exact_mut(PIXELS * 3).enumerate().for_each(|(index, image)| {
        let mut random = SplitMix::new(seed, (set << 48) | index as u64);
        Picture::new(index % CLASS_NAMES.len(), &mut random).draw(image, &mut random);
    });
    Dataset {
        name: format!("{NAME} {part}"),
        synthetic: true,
        images,
        labels: (0..count).map(|index| (index % CLASS_NAMES.len()) as u32).collect(),
        height: SIDE,
        width: SIDE,
        channels: 3,
        class_names: CLASS_NAMES.map(String::from).to_vec(),
    }
}

/// The parameters of a picture, except its pixel noise. Lengths are in pixels.
struct Picture {
    class: usize,
    background: [f32; 3],
    foreground: [f32; 3],
    center: [f32; 2],
    /// The unit vector that the shape's x axis points along.
    axis: [f32; 2],
    /// Half the extent of a shape.
    radius: f32,
    /// Half the width of a line (ring, cross).
    line: f32,
    /// The period of a pattern.
    period: f32,
    /// The standard deviation of the noise, in grey levels.
    noise: f32,
}

impl Picture {
    fn new(class: usize, random: &mut SplitMix) -> Self {
        let (background, foreground) = contrasting_colors(random);
        let radius = random.uniform(7.0, 12.0);
        // The shape stays inside the picture, with a margin of one pixel.
        let room = SIDE as f32 / 2.0 - radius - 1.0;
        let middle = SIDE as f32 / 2.0;
        let center = [middle + random.uniform(-room, room), middle + random.uniform(-room, room)];
        let slope = random.uniform(-0.25, 0.25);
        let length = (1.0 + slope * slope).sqrt();
        Self {
            class,
            background,
            foreground,
            center,
            axis: [1.0 / length, slope / length],
            radius,
            line: random.uniform(1.5, 2.8),
            period: random.uniform(6.0, 10.0),
            noise: random.uniform(2.0, 12.0),
        }
    }

    fn draw(&self, image: &mut [u8], random: &mut SplitMix) {
        for (index, pixel) in image.chunks_exact_mut(3).enumerate() {
            let (column, row) = ((index % SIDE) as f32 + 0.5, (index / SIDE) as f32 + 0.5);
            let share = self.foreground_share(column, row);
            let bits = random.next().to_le_bytes();
            for (channel, byte) in pixel.iter_mut().enumerate() {
                let color =
                    self.background[channel] + share * (self.foreground[channel] - self.background[channel]);
                // The sum of two uniform bytes: a triangular distribution, standard deviation 104.5.
                let sum = f32::from(bits[channel]) + f32::from(bits[channel + 3]);
                let noisy = color + (sum - 255.0) * (self.noise / 104.5);
                *byte = (noisy + 0.5).clamp(0.0, 255.0) as u8;
            }
        }
    }

    /// The coverage of the pixel at (`column`, `row`) by the foreground, 0 to 1.
    fn foreground_share(&self, column: f32, row: f32) -> f32 {
        let (dx, dy) = (column - self.center[0], row - self.center[1]);
        if self.class == 8 {
            // Towards the lower right or the lower left, by the sign of the slope.
            let across = if self.axis[1] < 0.0 { dx } else { -dx };
            return (0.5 + (across + dy) / (2.0 * SIDE as f32)).clamp(0.0, 1.0);
        }
        // One pixel of blur at the edge: the coverage falls from 1 to 0 as the distance passes 0.
        (0.5 - self.signed_distance(dx, dy)).clamp(0.0, 1.0)
    }

    /// The distance of (`dx`, `dy`) from the edge of the foreground, negative inside. Offsets are
    /// from the picture's center.
    fn signed_distance(&self, dx: f32, dy: f32) -> f32 {
        let x = self.axis[0] * dx + self.axis[1] * dy;
        let y = self.axis[0] * dy - self.axis[1] * dx;
        let radius = self.radius;
        match self.class {
            0 => (x * x + y * y).sqrt() - radius,
            1 => x.abs().max(y.abs()) - radius * 0.85,
            // The point at the top: three half planes at the inner radius.
            2 => y.max(0.866_025_4 * x.abs() - 0.5 * y) - radius * 0.55,
            3 => ((x * x + y * y).sqrt() - radius + self.line).abs() - self.line,
            4 => {
                let bar = |along: f32, across: f32| (along.abs() - radius).max(across.abs() - self.line);
                bar(x, y).min(bar(y, x))
            }
            5 => self.stripes(dy),
            6 => self.stripes(dx),
            7 => {
                let (a, b) = (self.stripes(dx), self.stripes(dy));
                let edge = a.abs().min(b.abs());
                if (a < 0.0) == (b < 0.0) { -edge } else { edge }
            }
            _ => {
                let (x, y) = (self.offset_in_period(dx), self.offset_in_period(dy));
                (x * x + y * y).sqrt() - self.period * 0.28
            }
        }
    }

    /// The distance from the edge of stripes half a period wide.
    fn stripes(&self, offset: f32) -> f32 {
        self.offset_in_period(offset).abs() - self.period / 4.0
    }

    /// `offset` from the nearest multiple of the period.
    fn offset_in_period(&self, offset: f32) -> f32 {
        let turns = offset / self.period;
        (turns - (turns + 0.5).floor()) * self.period
    }
}

/// Two colours whose brightness differs enough to see the shape.
fn contrasting_colors(random: &mut SplitMix) -> ([f32; 3], [f32; 3]) {
    let mut color = || [(); 3].map(|()| random.uniform(15.0, 240.0));
    let luma = |c: &[f32; 3]| 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2];
    loop {
        let (background, foreground) = (color(), color());
        if (luma(&background) - luma(&foreground)).abs() > 60.0 {
            return (background, foreground);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_every_byte() {
        let (train, test) = synthetic(100, 50, 3);
        assert_eq!(synthetic(100, 50, 3), (train.clone(), test.clone()));
        assert_ne!(synthetic(100, 50, 4).0.images, train.images);
        assert_ne!(train.images[..50 * 3072], test.images);
        assert_eq!(synthetic(40, 0, 3).0.images, train.images[..40 * 3072]);
        for class in 0..10 {
            assert_eq!(train.labels.iter().filter(|&&label| label == class).count(), 10);
        }
        assert!(train.synthetic && train.name == "SYNTHETIC shapes train");
        assert_eq!((train.images.len(), train.classes()), (100 * 3072, 10));
    }

    #[test]
    fn pictures_show_their_class() {
        let (train, _) = synthetic(500, 0, 11);
        // Mean absolute difference of neighbours along rows and along columns.
        let change = |image: &[u8], step: usize| {
            let pairs = image.iter().zip(&image[step..]);
            pairs.map(|(&a, &b)| f64::from(a.abs_diff(b))).sum::<f64>() / (image.len() - step) as f64
        };
        for index in 0..train.len() {
            let image = train.image(index);
            let (along_rows, along_columns) = (change(image, 3), change(image, 3 * SIDE));
            match train.labels[index] {
                5 => assert!(along_columns > 1.2 * along_rows, "{index}: {along_columns} {along_rows}"),
                6 => assert!(along_rows > 1.2 * along_columns, "{index}: {along_columns} {along_rows}"),
                _ => {}
            }
            let (low, high) = (image.iter().min().unwrap(), image.iter().max().unwrap());
            assert!(high - low > 60, "{index}: from {low} to {high}");
        }
    }
}
