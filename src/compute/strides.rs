//! Four-axis strides, by which [`crate::kernels::binary`] and [`crate::kernels::copy`] broadcast and permute.

/// The strides of a contiguous tensor.
pub fn contiguous(shape: [usize; 4]) -> [usize; 4] {
    let [_, s1, s2, s3] = shape;
    [s1 * s2 * s3, s2 * s3, s3, 1]
}

/// The words that a tensor of `shape` reaches through `strides`: its last index plus 1; 0 if it is empty.
pub fn words(shape: [usize; 4], strides: [usize; 4]) -> usize {
    if shape.contains(&0) {
        return 0;
    }
    shape.iter().zip(strides).map(|(&size, stride)| (size - 1) * stride).sum::<usize>() + 1
}

/// A walk over `N` operands with as few axes as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walk<const N: usize> {
    /// Axes in use: the last `rank` of `shape`.
    pub rank: usize,
    /// Sizes; 1 in front.
    pub shape: [usize; 4],
    /// Each operand's strides; 0 in front.
    pub strides: [[usize; 4]; N],
}

impl<const N: usize> Walk<N> {
    /// Drops axes of size 1 and joins neighbours that every operand walks in one stride.
    pub fn new(shape: [usize; 4], strides: [[usize; 4]; N]) -> Self {
        let mut walk = Self { rank: 1, shape: [1; 4], strides: [[0; 4]; N] };
        let mut to = 4;
        for from in (0..4).rev().filter(|&axis| shape[axis] != 1) {
            let joined = to < 4 && (0..N).all(|o| strides[o][from] == walk.strides[o][to] * walk.shape[to]);
            if joined {
                walk.shape[to] *= shape[from];
                continue;
            }
            to -= 1;
            walk.shape[to] = shape[from];
            (0..N).for_each(|o| walk.strides[o][to] = strides[o][from]);
        }
        walk.rank = (4 - to).max(1);
        walk
    }

    /// Calls `run(first, count, indices)` for the stretches of the last axis that make up the output's
    /// elements `start .. start + len`: `first` counts from `start`, `indices` are the operands' own.
    pub fn runs(&self, start: usize, len: usize, mut run: impl FnMut(usize, usize, [usize; N])) {
        let mut position = [0; 4];
        let mut rest = start;
        for axis in (0..4).rev() {
            position[axis] = rest % self.shape[axis];
            rest /= self.shape[axis];
        }
        let mut done = 0;
        while done < len {
            let count = (self.shape[3] - position[3]).min(len - done);
            let index = |strides: [usize; 4]| (0..4).map(|axis| position[axis] * strides[axis]).sum();
            run(done, count, self.strides.map(index));
            done += count;
            position[3] = 0;
            for axis in (0..3).rev() {
                position[axis] += 1;
                if position[axis] < self.shape[axis] {
                    break;
                }
                position[axis] = 0;
            }
        }
    }

    /// Shape and strides as words for a uniform block of vec4s.
    pub fn uniforms(&self) -> Vec<u32> {
        std::iter::once(self.shape).chain(self.strides).flatten().map(|v| v as u32).collect()
    }
}
