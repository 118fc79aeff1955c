//! Sets of feature vectors, and the inner products and distances between two sets.

use crate::error::{Error, Result};
use crate::evaluation::bootstrap::Resamples;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, Par};
use rayon::prelude::*;

/// The number of inner products that a thread holds at a time (32 MiB of them).
const TILE: usize = 4 << 20;
/// A squared distance below this share of the squared norms is computed again from differences: the cancellation in
/// |a|² + |b|² - 2 a·b has taken most of its digits.
const CANCELLED: f64 = 1e-9;

/// The feature vectors of a set of images, `[n, d]`: float32, all finite.
#[derive(Debug, Clone, Copy)]
pub struct Features<'a> {
    name: &'a str,
    values: &'a [f32],
    dimensions: usize,
}

impl<'a> Features<'a> {
    /// The rows of `values`, `[n, dimensions]`. `name` names the set in errors.
    ///
    /// # Errors
    /// [`Error::Setting`] for no rows, an incomplete row, or the first row with a number that is not finite.
    pub fn new(name: &'a str, values: &'a [f32], dimensions: usize) -> Result<Self> {
        if dimensions == 0 || values.is_empty() || !values.len().is_multiple_of(dimensions) {
            let message =
                format!("expected rows of {dimensions} features, at least one, got {} numbers", values.len());
            return Err(Error::setting(name, message));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let (row, feature) = (at / dimensions, at % dimensions);
            let message =
                format!("feature {feature} of row {row} is {}, expected finite numbers", values[at]);
            return Err(Error::setting(name, message));
        }
        Ok(Self { name, values, dimensions })
    }

    /// n, the number of images.
    pub fn len(&self) -> usize {
        self.values.len() / self.dimensions
    }

    /// False: there is at least one row.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// d, the length of a row.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The rows.
    pub fn rows(&self) -> impl Iterator<Item = &'a [f32]> {
        self.values.chunks_exact(self.dimensions)
    }

    /// Fails if the set has fewer than `least` rows, which `what` needs.
    pub(super) fn at_least(&self, least: usize, what: &str) -> Result<()> {
        if self.len() >= least {
            return Ok(());
        }
        Err(Error::setting(self.name, format!("{what} needs at least {least} images, got {}", self.len())))
    }

    /// Fails if the rows of `other` have another length.
    pub(super) fn same_dimensions(&self, other: &Self) -> Result<()> {
        if self.dimensions == other.dimensions {
            return Ok(());
        }
        let message =
            format!("expected {} features as in {}, got {}", other.dimensions, other.name, self.dimensions);
        Err(Error::setting(self.name, message))
    }

    /// Fails if `resamples` are not of as many images.
    pub(super) fn fits(&self, resamples: &Resamples) -> Result<()> {
        if self.len() == resamples.len() {
            return Ok(());
        }
        let message = format!("expected resamples of {} images, got {}", self.len(), resamples.len());
        Err(Error::setting(self.name, message))
    }

    /// The rows of these numbers, one after the other.
    pub(super) fn select(&self, rows: &[usize]) -> Vec<f32> {
        rows.iter()
            .flat_map(|&row| &self.values[row * self.dimensions..][..self.dimensions])
            .copied()
            .collect()
    }

    /// The rows of a range of numbers.
    pub(super) fn range(&self, rows: std::ops::Range<usize>) -> Self {
        let values = &self.values[rows.start * self.dimensions..rows.end * self.dimensions];
        Self { values, ..*self }
    }

    /// The mean of the rows.
    pub(super) fn mean(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.dimensions];
        for row in self.rows() {
            sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        sums.into_iter().map(|sum| sum / self.len() as f64).collect()
    }
}

/// Vectors in float64, `[d, n]` in columns, less an origin.
pub(super) struct Vectors {
    pub(super) columns: Mat<f64>,
    /// The squared norm of each.
    squares: Vec<f64>,
}

impl Vectors {
    /// The rows of `features` less `origin`.
    pub(super) fn new(features: &Features, origin: &[f64]) -> Self {
        let (d, n) = (features.dimensions, features.len());
        let columns = Mat::from_fn(d, n, |i, j| f64::from(features.values[j * d + i]) - origin[i]);
        Self::of_columns(columns)
    }

    /// The columns of a matrix.
    pub(super) fn of_columns(columns: Mat<f64>) -> Self {
        let square = |column: &[f64]| column.iter().map(|value| value * value).sum();
        let squares = (0..columns.ncols()).map(|j| square(column(&columns, j))).collect();
        Self { columns, squares }
    }

    /// The number of vectors.
    pub(super) fn len(&self) -> usize {
        self.squares.len()
    }

    /// The squared norms.
    pub(super) fn squares(&self) -> &[f64] {
        &self.squares
    }

    /// Calls `map` with blocks of vectors in parallel: the number of the first, and the inner products of each with all
    /// `others`, in rows. Returns the results in their order.
    pub(super) fn map_blocks<T: Send>(
        &self,
        others: &Self,
        map: impl Fn(usize, &mut [f64]) -> T + Sync,
    ) -> Vec<T> {
        let (n, d) = (self.len(), self.columns.nrows());
        let share = n.div_ceil(rayon::current_num_threads());
        let block = (TILE / others.len()).clamp(16, 256).min(share);
        let starts: Vec<usize> = (0..n).step_by(block).collect();
        let blocks = starts.into_par_iter().map(|start| {
            let count = block.min(n - start);
            let mut tile = vec![0.0; others.len() * count];
            let products = MatMut::from_column_major_slice_mut(&mut tile, others.len(), count);
            let of = self.columns.submatrix(0, start, d, count);
            matmul(products, Accum::Replace, others.columns.transpose(), of, 1.0, Par::Seq);
            map(start, &mut tile)
        });
        blocks.collect()
    }

    /// Calls `map` as [`Vectors::map_blocks`] does, with squared distances. Those of equal vectors are exactly 0.
    pub(super) fn map_distance_blocks<T: Send>(
        &self,
        others: &Self,
        map: impl Fn(usize, &mut [f64]) -> T + Sync,
    ) -> Vec<T> {
        self.map_blocks(others, |start, tile| {
            for (i, row) in (start..).zip(tile.chunks_exact_mut(others.len())) {
                for (j, value) in row.iter_mut().enumerate() {
                    let norms = self.squares[i] + others.squares[j];
                    let squared = norms - 2.0 * *value;
                    *value = if squared < CANCELLED * norms {
                        self.squared_distance(i, others, j)
                    } else {
                        squared
                    };
                }
            }
            map(start, tile)
        })
    }

    /// Calls `map` with the number of each vector and its squared distances to all `others`, in parallel. Returns the
    /// results in their order.
    pub(super) fn map_squared_distances<T: Send>(
        &self,
        others: &Self,
        map: impl Fn(usize, &mut [f64]) -> T + Sync,
    ) -> Vec<T> {
        let blocks = self.map_distance_blocks(others, |start, tile| {
            let rows = (start..).zip(tile.chunks_exact_mut(others.len()));
            rows.map(|(i, row)| map(i, row)).collect::<Vec<_>>()
        });
        blocks.into_iter().flatten().collect()
    }

    /// The squared distance of vector `i` to vector `j` of `others`, from differences.
    pub(super) fn squared_distance(&self, i: usize, others: &Self, j: usize) -> f64 {
        let pairs = column(&self.columns, i).iter().zip(column(&others.columns, j));
        pairs.map(|(a, b)| (a - b) * (a - b)).sum()
    }
}

/// Column `j`.
fn column(of: &Mat<f64>, j: usize) -> &[f64] {
    of.col_as_slice(j)
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn products_and_distances_are_those_of_the_definition() {
        let mut random = crate::compute::splitmix::SplitMix::new(4, 0);
        let mut set = |n: usize| (0..n * 5).map(|_| 100.0 + random.uniform(-1.0, 1.0)).collect::<Vec<f32>>();
        let (mut a, b) = (set(300), set(40));
        a[35..40].copy_from_slice(&b[10..15]);
        let (a, b) = (Features::new("a", &a, 5).unwrap(), Features::new("b", &b, 5).unwrap());
        let origin = b.mean();
        let [x, y] = [a, b].map(|set| Vectors::new(&set, &origin));
        let products: Vec<f64> = x.map_blocks(&y, |_, rows| rows.to_vec()).concat();
        let distances = x.map_squared_distances(&y, |i, row| (i, row.to_vec()));
        for (i, row) in a.rows().enumerate() {
            assert_eq!(distances[i].0, i);
            for (j, other) in b.rows().enumerate() {
                let pairs = || row.iter().zip(other).map(|(&x, &y)| (f64::from(x), f64::from(y)));
                let product: f64 = pairs().zip(&origin).map(|((x, y), o)| (x - o) * (y - o)).sum();
                let squared: f64 = pairs().map(|(x, y)| (x - y).powi(2)).sum();
                assert_relative_eq!(products[i * 40 + j], product, epsilon = 1e-10);
                assert_relative_eq!(distances[i].1[j], squared, epsilon = 1e-10);
            }
        }
        assert_eq!(distances[7].1[2], 0.0, "copies");
    }

    #[test]
    fn what_is_not_a_set_of_features_is_refused() {
        let message = |values: &[f32], d| Features::new("samples", values, d).unwrap_err().to_string();
        assert!(message(&[], 3).contains("rows of 3 features, at least one, got 0 numbers"));
        assert!(message(&[0.0; 7], 3).contains("got 7 numbers"));
        assert!(message(&[0.0; 7], 0).contains("rows of 0 features"));
        assert_eq!(
            message(&[0.0, 1.0, 2.0, f32::NAN], 2),
            "samples: feature 1 of row 1 is NaN, expected finite numbers"
        );
        let (a, b) = ([0.0; 4], [0.0; 6]);
        let [a, b] = [Features::new("a", &a, 2), Features::new("b", &b, 3)].map(Result::unwrap);
        assert_eq!(a.same_dimensions(&b).unwrap_err().to_string(), "a: expected 3 features as in b, got 2");
        assert_eq!(
            a.at_least(3, "a covariance").unwrap_err().to_string(),
            "a: a covariance needs at least 3 images, got 2"
        );
    }
}
