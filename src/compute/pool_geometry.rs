//! The windows of a max pool.

use crate::compute::cpu::elementwise::exceeds;

/// Windows of `size` x `size` pixels over images `[n, h, w, c]`, `stride` apart, with `padding` pixels around the
/// images that are never chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolGeometry {
    /// Images.
    pub n: usize,
    /// Rows of the images.
    pub h: usize,
    /// Columns of the images.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// Edge of the square window.
    pub size: usize,
    /// Rows, and columns, between the windows' first pixels.
    pub stride: usize,
    /// Pixels around the images; less than `size`, so that every window has one of the image's.
    pub padding: usize,
}

impl PoolGeometry {
    /// Two examples: adjacent windows, and overlapping windows that reach over the edge.
    pub(crate) fn examples() -> [Self; 2] {
        [
            Self { n: 2, h: 6, w: 4, c: 5, size: 2, stride: 2, padding: 0 },
            Self { n: 2, h: 7, w: 5, c: 3, size: 3, stride: 2, padding: 1 },
        ]
    }

    /// Whether it has windows, and each of them has a pixel.
    pub fn is_valid(&self) -> bool {
        let fits = |length: usize| length > 0 && length + 2 * self.padding >= self.size;
        self.stride > 0 && self.padding < self.size && fits(self.h) && fits(self.w)
    }

    /// Windows in a column of them.
    pub fn out_h(&self) -> usize {
        self.windows(self.h)
    }

    /// Windows in a row.
    pub fn out_w(&self) -> usize {
        self.windows(self.w)
    }

    fn windows(&self, length: usize) -> usize {
        (length + 2 * self.padding - self.size) / self.stride + 1
    }

    /// The shape of the pooled images.
    pub fn output_shape(&self) -> [usize; 4] {
        [self.n, self.out_h(), self.out_w(), self.c]
    }

    /// Elements of the images.
    pub fn input_len(&self) -> usize {
        self.n * self.h * self.w * self.c
    }

    /// Elements of the pooled images.
    pub fn output_len(&self) -> usize {
        self.output_shape().iter().product()
    }

    /// The parameter block of the shaders; `threads` elements are written.
    pub(crate) fn words(&self, threads: usize) -> Vec<u32> {
        let Self { h, w, c, size, stride, padding, .. } = *self;
        let words =
            [threads, h, w, c, self.out_h(), self.out_w(), size, stride, padding, 0, 0, 0].map(|v| v as u32);
        words.to_vec()
    }

    /// The index in the image `x [h, w, c]` of the largest element of a window's channel, the first of equals. Twin:
    /// `shaders/common/max_window.wgsl`.
    pub(crate) fn largest(&self, x: &[f32], row: usize, column: usize, channel: usize) -> usize {
        let inside = |window: usize, length: usize| {
            let first = window * self.stride;
            first.saturating_sub(self.padding)..(first + self.size - self.padding).min(length)
        };
        let (rows, columns) = (inside(row, self.h), inside(column, self.w));
        let mut best = (rows.start * self.w + columns.start) * self.c + channel;
        let mut value = x[best];
        for row in rows {
            for column in columns.clone() {
                let at = (row * self.w + column) * self.c + channel;
                if exceeds(x[at], value) {
                    (best, value) = (at, x[at]);
                }
            }
        }
        best
    }
}
