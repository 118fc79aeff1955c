//! Precision, recall, density and coverage: how samples and data lie among each other's nearest neighbours.
//!
//! Around each image lies a ball, out to its k-th nearest neighbour within its own set.
//!
//! - Improved precision (Kynkäänniemi et al. 2019): the share of samples in at least one ball of the data.
//! - Improved recall: the share of the data in at least one ball of the samples.
//! - Density (Naeem et al. 2020): the mean number of balls of the data that a sample is in, over k.
//! - Coverage: the share of balls of the data with at least one sample in them.
//!
//! A ball is open, as in the package prdc: an image at the radius is outside.

use super::features::{Features, Vectors};
use crate::error::Result;
use crate::evaluation::bootstrap::{Estimate, Resamples};

/// The number of neighbours of the balls of precision and recall, as published.
pub const PRECISION_NEIGHBOURS: usize = 3;
/// The number of neighbours of the balls of density and coverage, as published.
pub const DENSITY_NEIGHBOURS: usize = 5;

/// Shares in [0, 1], and the density, which is about 1 for samples like the data and has no bound.
///
/// The intervals resample the images that are counted (samples for precision and density, data for recall and
/// coverage), with all balls held as they are: they leave out how the balls vary with the set.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifold {
    /// Improved precision, with [`PRECISION_NEIGHBOURS`].
    pub precision: Estimate,
    /// Improved recall, with [`PRECISION_NEIGHBOURS`].
    pub recall: Estimate,
    /// Density, with [`DENSITY_NEIGHBOURS`].
    pub density: Estimate,
    /// Coverage, with [`DENSITY_NEIGHBOURS`].
    pub coverage: Estimate,
}

impl Manifold {
    /// Compares `samples` with `data`, `[n, d]` each, by Euclidean distances in float64.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for sets of different dimensions, a set with too few images for the neighbours, or
    /// resamples of another number of images.
    pub fn new(samples: &Features, data: &Features, of: [&Resamples; 2]) -> Result<Self> {
        let neighbours = [PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS];
        Self::with_neighbours(samples, data, of, neighbours)
    }

    /// Compares as [`Manifold::new`] does, with other numbers of neighbours: for precision and recall, and for density
    /// and coverage.
    ///
    /// # Errors
    /// The errors of [`Manifold::new`].
    pub fn with_neighbours(
        samples: &Features,
        data: &Features,
        [of_samples, of_data]: [&Resamples; 2],
        neighbours: [usize; 2],
    ) -> Result<Self> {
        samples.same_dimensions(data)?;
        for (set, resamples) in [(samples, of_samples), (data, of_data)] {
            set.at_least(neighbours[0].max(neighbours[1]) + 1, "this number of neighbours")?;
            set.fits(resamples)?;
        }
        // About the mean of the data distances keep the most digits.
        let origin = data.mean();
        let [x, y] = [samples, data].map(|set| Vectors::new(set, &origin));
        let [of_x, of_y] = [&x, &y].map(|set| squared_radii(set, neighbours));
        let n = x.len();
        let blocks = y.map_distance_blocks(&x, |start, tile| {
            let mut block = Block { precise: vec![false; n], balls: vec![0; n], ..Block::default() };
            for (ball, row) in of_y[start..].iter().zip(tile.chunks_exact(n)) {
                let [near, wide] = *ball;
                for (j, &squared) in row.iter().enumerate() {
                    block.precise[j] |= squared < near;
                    block.balls[j] += usize::from(squared < wide);
                }
                block.recalled.push(row.iter().zip(&of_x).any(|(squared, [near, _])| squared < near));
                block.covered.push(row.iter().any(|&squared| squared < wide));
            }
            block
        });
        let any = |j: usize| blocks.iter().any(|block| block.precise[j]);
        let balls = |j: usize| blocks.iter().map(|block| block.balls[j]).sum::<usize>() as f64;
        let precise: Vec<bool> = (0..n).map(any).collect();
        let densities: Vec<f64> = (0..n).map(|j| balls(j) / neighbours[1] as f64).collect();
        let recalled: Vec<bool> = blocks.iter().flat_map(|block| block.recalled.iter().copied()).collect();
        let covered: Vec<bool> = blocks.iter().flat_map(|block| block.covered.iter().copied()).collect();
        Ok(Self {
            precision: of_samples.share(&precise),
            recall: of_data.share(&recalled),
            density: of_samples.mean(&densities),
            coverage: of_data.share(&covered),
        })
    }
}

/// The balls of a block of the data, and all samples.
#[derive(Default)]
struct Block {
    /// Whether each sample is in a ball of the block, by the neighbours of precision.
    precise: Vec<bool>,
    /// The number of balls of the block that each sample is in, by the neighbours of density.
    balls: Vec<usize>,
    /// Whether each image of the block is in a ball of the samples.
    recalled: Vec<bool>,
    /// Whether a sample is in the ball of each image of the block.
    covered: Vec<bool>,
}

/// The squared distances of each vector to its k-th nearest of the others, for both `neighbours`.
fn squared_radii(set: &Vectors, neighbours: [usize; 2]) -> Vec<[f64; 2]> {
    set.map_squared_distances(set, |i, row| {
        // The vector itself comes first, so that the k-th of the others is at index k.
        row[i] = -1.0;
        neighbours.map(|k| *row.select_nth_unstable_by(k, f64::total_cmp).1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::splitmix::SplitMix;
    use approx::assert_relative_eq;

    fn compare(samples: &[f32], data: &[f32], d: usize, neighbours: [usize; 2]) -> Manifold {
        let [x, y] = [samples, data].map(|values| Features::new("features", values, d).unwrap());
        let resamples = [Resamples::new(x.len(), 1), Resamples::new(y.len(), 2)];
        Manifold::with_neighbours(&x, &y, [&resamples[0], &resamples[1]], neighbours).unwrap()
    }

    fn values(of: &Manifold) -> [f64; 4] {
        [&of.precision, &of.recall, &of.density, &of.coverage].map(|estimate| estimate.value)
    }

    #[test]
    fn points_of_a_line() {
        // Radii of the data with one neighbour: 1, 1, 2, 4. Of the samples: 0.5, 0.5, 17.5.
        let data = [0.0, 1.0, 3.0, 7.0];
        let samples = [1.5, 2.0, 19.5];
        let found = compare(&samples, &data, 1, [1, 1]);
        // 1.5 is in the balls of 1 and 3, 2 in that of 3 (it is at the radius of 1), 19.5 in none. Of the data 3 and 7
        // are in the ball of 19.5.
        assert_eq!(values(&found), [2.0 / 3.0, 0.5, 1.0, 0.5]);
        // Two neighbours for density and coverage: radii 3, 2, 3, 6.
        let found = compare(&samples, &data, 1, [1, 2]);
        assert_eq!(values(&found), [2.0 / 3.0, 0.5, (4.0 + 4.0) / 2.0 / 3.0, 1.0]);
    }

    #[test]
    fn samples_like_the_data_have_a_density_of_about_one() {
        let set = |seed| {
            let mut random = SplitMix::new(seed, 0);
            (0..8 * 600).map(|_| random.uniform(-1.0, 1.0)).collect::<Vec<f32>>()
        };
        let found = compare(&set(1), &set(2), 8, [PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS]);
        assert_relative_eq!(found.density.value, 1.0, epsilon = 0.05);
        // 1 - (1/2)^k (Naeem et al. 2020, section 3.2).
        assert_relative_eq!(found.coverage.value, 1.0 - 0.5f64.powi(5), epsilon = 0.03);
        for estimate in [&found.precision, &found.recall, &found.density, &found.coverage] {
            let [low, high] = estimate.interval().unwrap();
            assert!(low < estimate.value && estimate.value < high && high - low < 0.15, "[{low}, {high}]");
        }
    }

    #[test]
    fn collapsed_samples_are_told() {
        let mut random = SplitMix::new(3, 0);
        let data: Vec<f32> = (0..8 * 300).map(|_| random.uniform(0.0, 1.0)).collect();
        // All samples are one image of the data: they are in balls of it, and have no balls.
        let samples = data[80..88].repeat(200);
        let found = compare(&samples, &data, 8, [3, 5]);
        let [precision, recall, density, coverage] = values(&found);
        assert_eq!((precision, recall), (1.0, 0.0));
        assert!(density > 0.0 && coverage < 0.1, "{density} {coverage}");
        // Far from everything.
        let samples: Vec<f32> = samples.iter().map(|value| value + 100.0).collect();
        let found = compare(&samples, &data, 8, [3, 5]);
        assert_eq!(values(&found), [0.0; 4]);
        assert_eq!(found.precision.interval().unwrap()[0], 0.0);
        // Equal images have no balls.
        assert_eq!(values(&compare(&data[..8].repeat(10), &data[..8].repeat(20), 8, [3, 5])), [0.0; 4]);
    }

    #[test]
    fn too_few_images_are_refused() {
        let values = [0.0f32; 12];
        let few = Features::new("samples", &values[..10], 2).unwrap();
        let many = Features::new("data", &values, 2).unwrap();
        let resamples = [&Resamples::new(5, 0), &Resamples::new(6, 0)];
        let message = Manifold::new(&few, &many, resamples).unwrap_err().to_string();
        assert_eq!(message, "samples: this number of neighbours needs at least 6 images, got 5");
        let message = Manifold::new(&many, &many, resamples).unwrap_err().to_string();
        assert_eq!(message, "data: expected resamples of 6 images, got 5");
    }
}
