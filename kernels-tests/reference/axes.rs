//! Reductions over axes of a tensor.

/// All indices of a tensor, the last axis fastest.
pub fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let n: usize = shape.iter().product();
    (0..n).map(move |mut at| {
        let mut index = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            index[axis] = at % shape[axis];
            at /= shape[axis];
        }
        index
    })
}

/// The position of an index in a contiguous tensor.
pub fn flat(shape: &[usize], index: impl IntoIterator<Item = usize>) -> usize {
    shape.iter().zip(index).fold(0, |at, (&length, i)| at * length + i)
}

/// The elements of `x` that each element of a reduction over `axes` combines, in their order.
pub fn groups(shape: &[usize], x: &[f64], axes: &[usize]) -> Vec<Vec<f64>> {
    let kept: Vec<usize> = shape
        .iter()
        .enumerate()
        .map(|(axis, &length)| if axes.contains(&axis) { 1 } else { length })
        .collect();
    let mut groups = vec![Vec::new(); kept.iter().product()];
    for (index, &value) in indices(shape).zip(x) {
        let to = index.iter().enumerate().map(|(axis, &i)| if axes.contains(&axis) { 0 } else { i });
        groups[flat(&kept, to)].push(value);
    }
    groups
}

/// The position of the first of the largest elements.
pub fn argmax(x: &[f64]) -> usize {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    x.iter().position(|&v| v == largest).expect("an element")
}

/// The gap between the largest element and the next one that differs; infinite if none does.
pub fn gap(x: &[f64]) -> f64 {
    let largest = x[argmax(x)];
    let others = x.iter().filter(|&&v| v != largest);
    others.map(|v| largest - v).fold(f64::INFINITY, f64::min)
}
