//! The quality of samples: how near their distribution is to that of the data, and whether they are copies.
//!
//! Distances are between the features of two sets of images, [`features::Features`], in float64. Those of the public
//! Inception network are FID and KID; those of any other classifier bear its name, such as `fd[resnet20]`.

pub mod chains;
pub mod diversity;
pub mod features;
pub mod frechet;
pub mod inception;
pub mod inception_score;
mod influence;
pub mod kernel;
pub mod manifold;
pub mod modes;
pub mod nearest;

use crate::io::png;

/// Images in [-1, 1] as a file of 8 bits would keep them: clamped, and rounded to a multiple of 1/127.5. Public figures
/// are from such files, also of samples that no clamp has bounded.
pub fn round_to_8_bits(images: &mut [f32]) {
    images.iter_mut().for_each(|value| *value = f32::from(png::to_byte(*value)) / 127.5 - 1.0);
}
