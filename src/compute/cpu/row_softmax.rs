//! The maximum of a row and the sum of its exponentials, for logsumexp and softmax.

/// `(max, Σ exp(x - max))`. The maximum is kept finite, so that a row of -inf gives a sum of 0, a row with +inf a sum
/// of +inf, and a row with NaN a sum of NaN.
pub(crate) fn max_and_sum(row: &[f32]) -> (f32, f64) {
    // f32::max drops a NaN; the sum keeps it.
    let max = row.iter().fold(f32::MIN, |max, &x| max.max(x)).min(f32::MAX);
    (max, row.iter().map(|&x| f64::from((x - max).exp())).sum())
}
