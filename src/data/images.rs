//! Images to show, score or start chains from: from any source, with or without labels.

use std::ops::Range;
use std::path::PathBuf;

use super::Dataset;
use crate::error::{Error, Result};

/// The bound on values that are meant to be in [-1, 1]. Unclamped chains and noise exceed [-1, 1] slightly; images in
/// [0, 255] or normalised to unit variance exceed it by far.
const FURTHEST: f32 = 2.0;

/// The pixels of images, NHWC.
#[derive(Debug, Clone, PartialEq)]
pub enum Pixels {
    /// Bytes, which [`from_byte`] maps to values.
    Bytes(Vec<u8>),
    /// Values, in [-1, 1] for a model's images; some samples exceed it.
    Floats(Vec<f32>),
}

/// The sizes of training images are multiples of this, as the network's strides and the kernels' vectors need.
pub(super) const SIDE: usize = 8;

/// Images of one size.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// `count * height * width * channels` values.
    pub pixels: Pixels,
    /// The number of images.
    pub count: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Channels of a pixel: 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// The class of each image, if the source has classes: below `class_names.len()` unless these have no names.
    pub labels: Option<Vec<u32>>,
    /// The classes' names, in the order of the labels; empty without labels and for labels that are numbers only.
    pub class_names: Vec<String>,
    /// The name in reports: the data set, file or folder.
    pub name: String,
    /// The file of each image, if each has its own.
    pub files: Option<Vec<PathBuf>>,
    /// Assumptions and omissions of the reader that the user may not expect, a line each.
    pub notes: Vec<String>,
}

impl Images {
    /// Converts the images to the shape that a model takes. Grey images are centred on a black background of a larger
    /// size (an odd row or column is added below or right) and repeated over the channels; colour images are padded to
    /// the next size for training ([`training_side`]).
    ///
    /// # Errors
    /// [`Error::Setting`] with both sizes for any other difference.
    pub fn fit(self, height: usize, width: usize, channels: usize) -> Result<Self> {
        if [self.height, self.width, self.channels] == [height, width, channels] {
            return Ok(self);
        }
        let grey = self.channels == 1 && self.height <= height && self.width <= width;
        let trained = [self.height, self.width].map(training_side) == [height, width];
        let color = self.channels == channels && trained;
        if !grey && !color {
            let found = [self.height, self.width, self.channels];
            let message = format!(
                "expected images of {:?} (rows, columns, channels) for this model, found {found:?}",
                [height, width, channels]
            );
            return Err(Error::setting(self.name, message));
        }
        let (from, to) = ([self.height, self.width, self.channels], [height, width, channels]);
        let pixels = match &self.pixels {
            Pixels::Bytes(bytes) => Pixels::Bytes(pad(bytes, from, to, 0)),
            Pixels::Floats(values) => Pixels::Floats(pad(values, from, to, -1.0)),
        };
        Ok(Self { pixels, height, width, channels, ..self })
    }

    /// Refuses values far outside [-1, 1]: such images are scaled for another program.
    ///
    /// # Errors
    /// [`Error::Setting`] with the least and the greatest value.
    pub fn check_range(&self) -> Result<()> {
        let Pixels::Floats(values) = &self.pixels else { return Ok(()) };
        let low = values.iter().copied().fold(f32::INFINITY, f32::min);
        let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if low >= -FURTHEST && high <= FURTHEST {
            return Ok(());
        }
        let message = format!(
            "images are expected in [-1, 1], found values from {low} to {high}; scale them, or save bytes \
             [N, H, W, C]"
        );
        Err(Error::setting(self.name.as_str(), message))
    }

    /// The images that `kept` marks, in their order.
    pub(super) fn subset(self, kept: &[bool]) -> Self {
        let indices: Vec<usize> = (0..self.count).filter(|&image| kept[image]).collect();
        self.select(&indices)
    }

    /// The images `indices`, in that order; everything else is unchanged.
    ///
    /// # Panics
    /// For an index that is not below [`Images::count`].
    pub fn select(&self, indices: &[usize]) -> Self {
        fn each<T: Clone>(all: &[T], size: usize, indices: &[usize]) -> Vec<T> {
            indices.iter().flat_map(|&index| all[index * size..][..size].iter().cloned()).collect()
        }
        let image = self.height * self.width * self.channels;
        Self {
            pixels: match &self.pixels {
                Pixels::Bytes(bytes) => Pixels::Bytes(each(bytes, image, indices)),
                Pixels::Floats(values) => Pixels::Floats(each(values, image, indices)),
            },
            count: indices.len(),
            height: self.height,
            width: self.width,
            channels: self.channels,
            labels: self.labels.as_ref().map(|labels| each(labels, 1, indices)),
            class_names: self.class_names.clone(),
            name: self.name.clone(),
            files: self.files.as_ref().map(|files| each(files, 1, indices)),
            notes: self.notes.clone(),
        }
    }

    /// The values of the images `range`, NHWC.
    ///
    /// # Panics
    /// When `range` exceeds the images.
    pub fn batch(&self, range: Range<usize>) -> Vec<f32> {
        let image = self.height * self.width * self.channels;
        let range = range.start * image..range.end * image;
        match &self.pixels {
            Pixels::Bytes(bytes) => bytes[range].iter().map(|&byte| from_byte(byte)).collect(),
            Pixels::Floats(values) => values[range].to_vec(),
        }
    }
}

impl From<Dataset> for Images {
    fn from(set: Dataset) -> Self {
        Self {
            count: set.len(),
            pixels: Pixels::Bytes(set.images),
            height: set.height,
            width: set.width,
            channels: set.channels,
            labels: Some(set.labels),
            class_names: set.class_names,
            name: set.name,
            files: None,
            notes: Vec::new(),
        }
    }
}

/// The smallest size for training of at least `side` rows or columns: the next multiple of 8.
pub fn training_side(side: usize) -> usize {
    side.next_multiple_of(SIDE)
}

/// The value in [-1, 1] of a byte, bit for bit the same as in the kernel `batch_gather`.
pub fn from_byte(byte: u8) -> f32 {
    f32::from(byte) * (1.0 / 127.5) - 1.0
}

/// Centres images of size `from` (rows, columns, channels) on `black` ones of size `to`, which have the same number of
/// channels, or repeat the value of a grey image over theirs.
pub(super) fn pad<T: Copy>(pixels: &[T], from: [usize; 3], to: [usize; 3], black: T) -> Vec<T> {
    let ([rows, columns, depth], [height, width, channels]) = (from, to);
    let (top, left) = ((height - rows) / 2, (width - columns) / 2);
    let (image, larger) = (rows * columns * depth, height * width * channels);
    let mut padded = vec![black; pixels.len() / image * larger];
    for (image, padded) in pixels.chunks_exact(image).zip(padded.chunks_exact_mut(larger)) {
        for (y, row) in image.chunks_exact(columns * depth).enumerate() {
            let start = ((top + y) * width + left) * channels;
            let pixels = padded[start..].chunks_exact_mut(channels);
            for (value, pixel) in row.chunks_exact(depth).zip(pixels) {
                if depth == channels { pixel.copy_from_slice(value) } else { pixel.fill(value[0]) }
            }
        }
    }
    padded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Argument;
    use crate::compute::Kernel;
    use crate::io::png;
    use crate::kernels::batch_gather::BatchGather;
    use crate::kernels::tick::COUNTERS;
    use crate::says::assert_says;

    fn grey(pixels: Pixels, count: usize, height: usize, width: usize) -> Images {
        Images {
            pixels,
            count,
            height,
            width,
            channels: 1,
            labels: None,
            class_names: Vec::new(),
            name: "some images".into(),
            files: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn bytes_become_what_the_kernel_makes_of_them() {
        let bytes: Vec<u8> = (0..=255).collect();
        let kernel =
            BatchGather { batch: 1, h: 16, w: 16, c: 1, images: 1, ..BatchGather::permutations()[0] };
        let words: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word)).collect();
        let (counters, mut out) = ([0; COUNTERS], [0; 256]);
        let read = [&words[..], &[0], &counters].map(Argument::Read);
        kernel.run(&mut read.into_iter().chain([Argument::Write(&mut out)]).collect::<Vec<_>>());
        let values = grey(Pixels::Bytes(bytes.clone()), 1, 16, 16).batch(0..1);
        assert_eq!(values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), out);
        assert_eq!(values.iter().map(|&value| png::to_byte(value)).collect::<Vec<_>>(), bytes);
    }

    #[test]
    fn grey_images_are_centred_and_repeated() {
        let images = grey(Pixels::Bytes(vec![1, 2, 3, 4]), 2, 1, 2).fit(3, 5, 3).unwrap();
        let row = |a: u8, b: u8| [0, a, b, 0, 0].map(|value| [value; 3]).concat();
        let expected = [row(0, 0), row(1, 2), row(0, 0), row(0, 0), row(3, 4), row(0, 0)].concat();
        assert_eq!(images.pixels, Pixels::Bytes(expected));
        assert_eq!((images.count, images.height, images.width, images.channels), (2, 3, 5, 3));
        let second = images.batch(1..2);
        assert_eq!((second[0], second[18], second.len()), (-1.0, from_byte(3), 45));

        let images = grey(Pixels::Floats(vec![0.5, 0.25]), 2, 1, 1).fit(2, 2, 1).unwrap();
        assert_eq!(images.batch(0..2), [0.5, -1.0, -1.0, -1.0, 0.25, -1.0, -1.0, -1.0]);
        assert_eq!(images.clone().fit(2, 2, 1).unwrap(), images);
    }

    #[test]
    fn other_sizes_do_not_fit() {
        let color = Images { channels: 3, ..grey(Pixels::Bytes(vec![0; 12]), 1, 2, 2) };
        for (images, size, parts) in [
            (color.clone(), [4, 4, 3], ["[4, 4, 3]", "[2, 2, 3]"]),
            (color, [2, 2, 1], ["[2, 2, 1]", "[2, 2, 3]"]),
            (grey(Pixels::Bytes(vec![0; 6]), 1, 3, 2), [2, 4, 3], ["[2, 4, 3]", "[3, 2, 1]"]),
        ] {
            let message = images.fit(size[0], size[1], size[2]).unwrap_err().to_string();
            assert_says(&message, &[&parts[..], &["some images: "]].concat());
        }
    }

    #[test]
    fn colour_images_fit_the_size_that_they_are_trained_on() {
        let color = Images { channels: 3, ..grey(Pixels::Bytes(vec![1, 2, 3]), 1, 1, 1) };
        let Pixels::Bytes(bytes) = color.fit(8, 8, 3).unwrap().pixels else { panic!("bytes stay bytes") };
        let middle = (3 * 8 + 3) * 3;
        assert_eq!((bytes.len(), &bytes[middle..middle + 3]), (192, &[1, 2, 3][..]));
        assert_eq!(bytes.iter().filter(|&&byte| byte != 0).count(), 3);
    }

    #[test]
    fn values_beyond_the_range_are_noticed() {
        for (values, part) in [
            ([0.0, 1.0, 255.0, 0.5], "expected in [-1, 1], found values from 0 to 255"),
            ([0.0, 1.0, -2.1, 0.5], "from -2.1 to 1"),
        ] {
            let message =
                grey(Pixels::Floats(values.to_vec()), 1, 2, 2).check_range().unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("some images: "), "{message}");
            assert_eq!(message.lines().count(), 1);
        }
        grey(Pixels::Floats(vec![1.1, -1.5, 0.0, 0.0]), 1, 2, 2).check_range().unwrap();
        grey(Pixels::Bytes(vec![0, 255]), 2, 1, 1).check_range().unwrap();
    }
}
