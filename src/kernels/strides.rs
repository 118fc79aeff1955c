//! Four-axis strides: how [`super::binary`] and [`super::copy`] broadcast and permute.

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
