//! Strided reads: fewer axes where neighbours are contiguous, so that four are enough.

/// The contiguous strides of `shape`.
pub fn contiguous(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// `shape` and the operands' strides with axes of length 1 dropped and neighbours merged where every operand
/// walks them as one, padded in front to four; `None` if more than four are left.
pub fn collapse<const N: usize>(
    shape: &[usize],
    operands: [&[usize]; N],
) -> Option<([usize; 4], [[usize; 4]; N])> {
    // Innermost first: (length, stride of each operand).
    let mut axes: Vec<(usize, [usize; N])> = Vec::new();
    for axis in (0..shape.len()).rev().filter(|&axis| shape[axis] != 1) {
        let strides = operands.map(|operand| operand[axis]);
        match axes.last_mut() {
            Some((length, inner)) if (0..N).all(|i| strides[i] == inner[i] * *length) => {
                *length *= shape[axis];
            }
            _ => axes.push((shape[axis], strides)),
        }
    }
    if axes.len() > 4 {
        return None;
    }
    let mut result = ([1; 4], [[0; 4]; N]);
    for (i, (length, strides)) in axes.into_iter().enumerate() {
        result.0[3 - i] = length;
        for (operand, stride) in result.1.iter_mut().zip(strides) {
            operand[3 - i] = stride;
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contiguous_tensors_become_one_axis() {
        let strides = contiguous(&[2, 3, 4, 5, 6]);
        assert_eq!(collapse(&[2, 3, 4, 5, 6], [&strides]), Some(([1, 1, 1, 720], [[0, 0, 0, 1]])));
    }

    #[test]
    fn a_broadcast_operand_keeps_its_axis() {
        let a = contiguous(&[8, 4, 4, 16]);
        let collapsed = collapse(&[8, 4, 4, 16], [&a, &[0, 0, 0, 1]]);
        assert_eq!(collapsed, Some(([1, 1, 128, 16], [[0, 0, 16, 1], [0, 0, 0, 1]])));
    }

    #[test]
    fn five_independent_axes_are_too_many() {
        assert_eq!(collapse(&[2, 2, 2, 2, 2], [&[1, 2, 4, 8, 16]]), None);
    }
}
