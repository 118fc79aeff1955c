//! The quality of samples: how near their distribution is to that of the data, and whether they are copies.
//!
//! Distances are between the features of two sets of images, [`features::Features`], in float64. Those of the public
//! Inception network are FID and KID; those of any other classifier bear its name, such as `fd[resnet20]`.

pub mod diversity;
pub mod features;
pub mod frechet;
pub mod inception_score;
mod influence;
pub mod kernel;
pub mod manifold;
pub mod modes;
pub mod nearest;
