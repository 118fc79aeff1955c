//! The diversity of a set of images: how far they are from each other.

use super::features::{Features, Vectors};
use super::influence;
use crate::error::Result;
use crate::evaluation::bootstrap::{Estimate, Resamples};

/// The mean Euclidean distance of two different images of a set, `[n, d]`, in the units of the features or pixels. Near
/// 0 for samples that have collapsed; compare it with that of the data.
///
/// The interval is that of the first-order expansion: an image adds twice its mean distance to the others.
///
/// # Errors
/// [`crate::Error::Setting`] for a set of one image, or resamples of another number of images.
pub fn diversity(images: &Features, resamples: &Resamples) -> Result<Estimate> {
    images.at_least(2, "a diversity")?;
    images.fits(resamples)?;
    let vectors = Vectors::new(images, &images.mean());
    let others = images.len() as f64 - 1.0;
    let means = vectors.map_squared_distances(&vectors, |_, row| {
        row.iter().map(|squared| squared.sqrt()).sum::<f64>() / others
    });
    let value = means.iter().sum::<f64>() / means.len() as f64;
    let of_image: Vec<f64> = means.iter().map(|mean| 2.0 * mean).collect();
    Ok(influence::estimate(value, &[(&of_image, resamples)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::splitmix::SplitMix;
    use approx::assert_relative_eq;

    #[test]
    fn the_mean_distance_and_its_interval_are_those_of_the_definition() {
        let (n, d) = (120, 3);
        let mut random = SplitMix::new(9, 0);
        let values: Vec<f32> = (0..n * d).map(|_| random.uniform(-1.0, 1.0)).collect();
        let images = Features::new("images", &values, d).unwrap();
        let resamples = Resamples::new(n, 1);
        let by_definition = |counts: &[u8]| {
            let (mut sum, mut pairs) = (0.0, 0.0);
            for (i, (a, &of_a)) in images.rows().zip(counts).enumerate() {
                for (j, (b, &of_b)) in images.rows().zip(counts).enumerate() {
                    if i != j {
                        let squares = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
                        let weight = f64::from(of_a) * f64::from(of_b);
                        sum += weight * squares.sum::<f64>().sqrt();
                        pairs += weight;
                    }
                }
            }
            sum / pairs
        };
        let found = diversity(&images, &resamples).unwrap();
        let expected = resamples.estimate(by_definition);
        assert_relative_eq!(found.value, expected.value, max_relative = 1e-12);
        let [[low, high], [expected_low, expected_high]] = [found, expected].map(|of| of.interval().unwrap());
        assert_relative_eq!(high - low, expected_high - expected_low, max_relative = 0.1);
    }

    #[test]
    fn equal_images_have_none() {
        let equal = [0.1f32, 0.7].repeat(20);
        let images = Features::new("images", &equal, 2).unwrap();
        assert_eq!(diversity(&images, &Resamples::new(20, 0)).unwrap().interval(), Some([0.0, 0.0]));
        let one = Features::new("images", &equal[..2], 2).unwrap();
        let message = diversity(&one, &Resamples::new(1, 0)).unwrap_err().to_string();
        assert_eq!(message, "images: a diversity needs at least 2 images, got 1");
    }
}
