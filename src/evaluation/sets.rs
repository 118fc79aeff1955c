//! Images that are drawn or mixed, to be told from those of a distribution.

use crate::compute::splitmix::SplitMix;
use crate::data::images::{Images, Pixels};
use std::str::FromStr;

/// The streams of random numbers of each kind of set.
const STREAM: u64 = 0x5e75;

/// A set that is made rather than read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeSet {
    /// Every pixel value uniform in [0, 1], independently (Hendrycks & Gimpel 2017).
    Noise,
    /// Means of pairs of different test images: "CIFAR-10 interpolated" of Grathwohl et al. (2019), after Du & Mordatch
    /// (2019), "CIFAR-10 mix".
    Interpolated,
    /// Each image one colour, uniform in [0, 1] for each channel (Du & Mordatch 2019, "constant uniform").
    Constant,
}

impl MadeSet {
    /// All made sets.
    pub const ALL: [Self; 3] = [Self::Noise, Self::Interpolated, Self::Constant];

    /// The name in commands and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Interpolated => "interpolated",
            Self::Constant => "constant",
        }
    }

    /// Makes `count` images of the shape of those of `test`, by `seed` alone. A larger set of noise or constants begins
    /// with the images of a smaller one.
    ///
    /// # Panics
    /// If `test` has fewer than two images.
    pub fn make(self, test: &Images, count: usize, seed: u64) -> Images {
        let size = test.height * test.width * test.channels;
        let mut values = Vec::with_capacity(count * size);
        for index in 0..count {
            let mut random = SplitMix::new(seed ^ STREAM, (self as u64) << 48 | index as u64);
            match self {
                Self::Noise => values.extend((0..size).map(|_| random.uniform(-1.0, 1.0))),
                Self::Constant => {
                    let color: Vec<f32> = (0..test.channels).map(|_| random.uniform(-1.0, 1.0)).collect();
                    values.extend(color.iter().cycle().take(size));
                }
                Self::Interpolated => {
                    assert!(test.count > 1, "pairs need two images");
                    let first = random.below(test.count as u64) as usize;
                    let step = 1 + random.below(test.count as u64 - 1) as usize;
                    let second = (first + step) % test.count;
                    let [a, b] = [first, second].map(|image| test.batch(image..image + 1));
                    values.extend(a.iter().zip(&b).map(|(a, b)| (a + b) / 2.0));
                }
            }
        }
        let name = match self {
            Self::Interpolated => format!("{} of {}", self.name(), test.name),
            _ => self.name().to_owned(),
        };
        Images {
            pixels: Pixels::Floats(values),
            count,
            height: test.height,
            width: test.width,
            channels: test.channels,
            labels: None,
            class_names: Vec::new(),
            name,
            files: None,
            notes: Vec::new(),
        }
    }
}

impl FromStr for MadeSet {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|set| set.name() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_images() -> Images {
        let bytes: Vec<u8> = (0..4 * 12).map(|i| (i * 5) as u8).collect();
        Images {
            pixels: Pixels::Bytes(bytes),
            count: 4,
            height: 2,
            width: 2,
            channels: 3,
            labels: Some(vec![0; 4]),
            class_names: vec!["a".into()],
            name: "four".into(),
            files: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn sets_are_as_their_papers_define_them() {
        let test = test_images();
        for set in MadeSet::ALL {
            let images = set.make(&test, 300, 7);
            assert_eq!(set.name().parse(), Ok(set));
            assert_eq!((images.count, images.height, images.channels, &images.labels), (300, 2, 3, &None));
            let values = images.batch(0..300);
            assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)));
            assert_eq!(set.make(&test, 300, 7), images);
            assert_ne!(set.make(&test, 300, 8), images);
        }
        let noise = MadeSet::Noise.make(&test, 300, 7).batch(0..300);
        let mean = noise.iter().sum::<f32>() / noise.len() as f32;
        let variance = noise.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / noise.len() as f32;
        assert!(mean.abs() < 0.04 && (variance - 1.0 / 3.0).abs() < 0.02, "{mean} {variance}");
        for image in MadeSet::Constant.make(&test, 20, 7).batch(0..20).chunks(12) {
            assert!(image.chunks(3).all(|pixel| pixel == &image[..3]) && image[0] != image[1]);
        }
        let all = test.batch(0..4);
        for image in MadeSet::Interpolated.make(&test, 50, 7).batch(0..50).chunks(12) {
            let pairs = (0..4).flat_map(|a| (a + 1..4).map(move |b| (a, b)));
            let is_mean = |(a, b): (usize, usize)| {
                (0..12).all(|i| image[i] == (all[12 * a + i] + all[12 * b + i]) / 2.0)
            };
            assert!(pairs.into_iter().any(is_mean), "{image:?}");
        }
    }
}
