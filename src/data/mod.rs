//! Data sets: labelled byte images on the host, their sources and their splits.

pub mod archive;
pub mod array;
pub mod cifar;
pub mod cifar_pickle;
mod declared;
pub mod decode;
pub mod download;
pub mod folder;
pub mod idx;
pub mod images;
pub mod labels;
mod listing;
pub mod locate;
pub mod matlab;
pub mod mnist;
pub mod named;
pub mod natural;
mod parts;
pub mod picture_cache;
mod pictures;
mod range;
pub mod reading;
pub mod scale;
mod source;
pub mod svhn;
pub mod synthetic;
pub mod training;
#[cfg(feature = "download")]
mod unpack;

use crate::words::counted;
use std::ops::Range;

use crate::compute::splitmix::SplitMix;
use crate::error::{Error, Result};

/// Labelled images, all of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// The name in reports, such as `CIFAR-10 train` or `SYNTHETIC shapes train`.
    pub name: String,
    /// Whether the images are drawn by [`synthetic::synthetic`] rather than real.
    pub synthetic: bool,
    /// The pixels as bytes, NHWC: `len() * height * width * channels` of them.
    pub images: Vec<u8>,
    /// The class of each image, below `class_names.len()`.
    pub labels: Vec<u32>,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Channels of a pixel: 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// The classes' names, in the order of the labels.
    pub class_names: Vec<String>,
}

impl Dataset {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// Whether the classes are written characters, most of whose mirror images are another character or none.
    pub fn is_of_characters(&self) -> bool {
        mnist::are_characters(&self.class_names)
    }

    /// The bytes of one image: `height * width * channels`.
    pub fn image_bytes(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The bytes of image `index`, HWC.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.images[self.byte_range(index)]
    }

    /// The images `indices`, in that order; everything else is unchanged.
    pub fn subset(&self, indices: &[usize]) -> Self {
        let mut images = Vec::with_capacity(indices.len() * self.image_bytes());
        for &index in indices {
            images.extend_from_slice(self.image(index));
        }
        Self {
            name: self.name.clone(),
            synthetic: self.synthetic,
            images,
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            height: self.height,
            width: self.width,
            channels: self.channels,
            class_names: self.class_names.clone(),
        }
    }

    /// Checks that `validation` images can be held out.
    ///
    /// # Errors
    /// [`Error::Setting`] when `validation` is not below the number of images.
    pub fn check_split(&self, validation: usize) -> Result<()> {
        if validation == 0 || validation < self.len() {
            return Ok(());
        }
        let message = format!(
            "{} cannot be held out of {}, which has {}; give a smaller number",
            counted(validation, "image"),
            self.name,
            self.len()
        );
        Err(Error::setting("validation", message))
    }

    /// Holds out `validation` images: returns (the remaining images, the validation set).
    ///
    /// The split is stratified: each class contributes in proportion to its size (largest remainders, ties to the lower
    /// class), chosen by `seed` alone. Both parts keep the order of the images.
    ///
    /// # Errors
    /// The errors of [`Self::check_split`].
    pub fn split(&self, validation: usize, seed: u64) -> Result<(Self, Self)> {
        self.check_split(validation)?;
        let held = held_out(&self.labels, validation, seed);
        let part = |wanted: bool| (0..self.len()).filter(|&i| held[i] == wanted).collect::<Vec<_>>();
        let (rest, mut validation) = (self.subset(&part(false)), self.subset(&part(true)));
        validation.name = format!("{} (validation)", self.name);
        Ok((rest, validation))
    }

    fn byte_range(&self, index: usize) -> Range<usize> {
        let bytes = self.image_bytes();
        index * bytes..(index + 1) * bytes
    }
}

/// Marks the `count` images that [`Dataset::split`] holds out, among images with these `labels`.
///
/// # Panics
/// For more than there are.
pub fn held_out(labels: &[u32], count: usize, seed: u64) -> Vec<bool> {
    let classes = labels.iter().map(|&label| label as usize + 1).max().unwrap_or(0);
    let mut members = vec![Vec::new(); classes];
    for (index, &label) in labels.iter().enumerate() {
        members[label as usize].push(index);
    }
    let quotas = proportional(&members.iter().map(Vec::len).collect::<Vec<_>>(), count);
    let mut held = vec![false; labels.len()];
    let mut random = SplitMix::new(seed, 0);
    for (indices, &quota) in members.iter_mut().zip(&quotas) {
        for taken in 0..quota {
            let other = taken + random.below((indices.len() - taken) as u64) as usize;
            indices.swap(taken, other);
            held[indices[taken]] = true;
        }
    }
    held
}

/// Splits `total` in proportion to `sizes`, by largest remainders; the parts sum to `total`.
fn proportional(sizes: &[usize], total: usize) -> Vec<usize> {
    let all = sizes.iter().sum::<usize>().max(1);
    let mut shares: Vec<usize> = sizes.iter().map(|size| size * total / all).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&class| (usize::MAX - sizes[class] * total % all, class));
    let missing = total - shares.iter().sum::<usize>();
    for &class in order.iter().take(missing) {
        shares[class] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sizes[c]` images of class `c`, interleaved; the first byte of an image is its index.
    fn numbered(sizes: &[usize]) -> Dataset {
        let mut labels = Vec::new();
        for round in 0..*sizes.iter().max().unwrap() {
            labels.extend((0..sizes.len() as u32).filter(|&class| round < sizes[class as usize]));
        }
        Dataset {
            name: "numbered".into(),
            synthetic: true,
            images: (0..labels.len()).flat_map(|i| [i as u8, 1, 2, 3]).collect(),
            labels,
            height: 2,
            width: 2,
            channels: 1,
            class_names: (0..sizes.len()).map(|c| c.to_string()).collect(),
        }
    }

    fn count(data: &Dataset, class: u32) -> usize {
        data.labels.iter().filter(|&&label| label == class).count()
    }

    #[test]
    fn split_is_stratified_disjoint_and_by_seed() {
        let data = numbered(&[40, 20, 13]);
        let (rest, held) = data.split(15, 7).unwrap();
        assert_eq!((rest.len(), held.len()), (58, 15));
        // 15 * [40, 20, 13] / 73 = [8.22, 4.11, 2.67]
        assert_eq!([count(&held, 0), count(&held, 1), count(&held, 2)], [8, 4, 3]);
        let mut seen: Vec<u8> = (0..rest.len()).map(|i| rest.image(i)[0]).collect();
        seen.extend((0..held.len()).map(|i| held.image(i)[0]));
        seen.sort_unstable();
        assert_eq!(seen, (0..73).collect::<Vec<u8>>());
        for i in 0..held.len() {
            assert_eq!(held.labels[i], data.labels[held.image(i)[0] as usize]);
        }
        assert_eq!(data.split(15, 7).unwrap().1, held);
        assert_ne!(data.split(15, 8).unwrap().1, held);
    }

    #[test]
    fn split_refuses_to_leave_nothing() {
        let error = numbered(&[3, 3]).split(6, 0).unwrap_err().to_string();
        assert!(error.contains('6') && error.contains("validation"), "{error}");
        let (rest, held) = numbered(&[3, 3]).split(0, 0).unwrap();
        assert_eq!((rest.len(), held.len()), (6, 0));
    }

    #[test]
    fn subset_keeps_the_given_order() {
        let part = numbered(&[5]).subset(&[4, 0, 4]);
        assert_eq!(part.images, [4, 1, 2, 3, 0, 1, 2, 3, 4, 1, 2, 3]);
    }
}
