//! Pools of images: means and maxima of windows.

use super::{Op, Tensor};
use crate::compute::pool_geometry::PoolGeometry;

impl Tensor {
    /// Means over `size` x `size` squares of images `[n, h, w, c]`; `size` divides `h` and `w`.
    pub fn average_pool(&self, size: usize) -> Tensor {
        let Some([n, h, w, c]) = self.images("average_pool") else { return self.zeros::<4>() };
        if size == 0 || h % size != 0 || w % size != 0 {
            let message = format!("size {size} does not divide images {:?}", self.shape);
            return self.fail("average_pool", message, vec![n, 1, 1, c]);
        }
        self.push(Op::AveragePool { size }, &[], vec![n, h / size, w / size, c])
    }

    /// Each element of `self` spread evenly over its square: the gradient of [`Tensor::average_pool`].
    pub fn average_pool_gradient(&self, size: usize) -> Tensor {
        let Some([n, h, w, c]) = self.images("average_pool_gradient") else { return self.zeros::<4>() };
        self.push(Op::AveragePoolGradient { size }, &[], vec![n, h * size, w * size, c])
    }

    /// The mean over all pixels of images `[n, h, w, c]`, as `[n, c]`.
    pub fn global_average_pool(&self) -> Tensor {
        let Some([n, h, w, c]) = self.images("global_average_pool") else { return self.zeros::<2>() };
        let pooled = if h == w { self.average_pool(h) } else { self.mean(&[1, 2]) };
        pooled.reshape([n, c])
    }

    /// The largest element of every window of `size` x `size` pixels of images `[n, h, w, c]`, as `[n, h', w', c]` with
    /// `h' = (h + 2 padding - size) / stride + 1`, rounded down. `padding` pixels around the images, fewer than `size`,
    /// are never chosen. The first of the largest elements of a window, row by row, has its whole gradient; NaN counts
    /// as larger than any number.
    pub fn max_pool(&self, size: usize, stride: usize, padding: usize) -> Tensor {
        let Some([n, h, w, c]) = self.images("max_pool") else { return self.zeros::<4>() };
        let geometry = PoolGeometry { n, h, w, c, size, stride, padding };
        if !geometry.is_valid() {
            let message = format!(
                "images {:?}, size {size}, stride {stride}, padding {padding}, less than size",
                self.shape
            );
            return self.fail("max_pool", message, vec![n, 1, 1, c]);
        }
        self.max_pool_of(self, geometry)
    }

    /// The element of `v` at the position of each window's largest element of `self`.
    pub(super) fn max_pool_of(&self, v: &Tensor, geometry: PoolGeometry) -> Tensor {
        self.push(Op::MaxPool(geometry), &[v], geometry.output_shape().to_vec())
    }

    /// The gradient of a max pool at its images `self`, for `gradient` at its result.
    pub fn max_pool_gradient(&self, gradient: &Tensor, geometry: PoolGeometry) -> Tensor {
        let PoolGeometry { n, h, w, c, .. } = geometry;
        let fits = geometry.is_valid() && self.shape == [n, h, w, c];
        if !fits || gradient.shape != geometry.output_shape() {
            let message = format!("images {:?}, gradient {:?} for {geometry:?}", self.shape, gradient.shape);
            return self.fail("max_pool_gradient", message, self.shape.clone());
        }
        self.push(Op::MaxPoolGradient(geometry), &[gradient], self.shape.clone())
    }
}
