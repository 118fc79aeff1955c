//! The comparison with the numbers of another implementation, such as PyTorch.

/// Asserts that ||found - expected|| / ||expected|| is below `bound`.
#[track_caller]
pub fn assert_close<A, B>(found: &[A], expected: &[B], bound: f64, what: &str)
where
    A: Copy + Into<f64>,
    B: Copy + Into<f64>,
{
    assert_eq!(found.len(), expected.len(), "{what}: elements");
    let difference: f64 = found.iter().zip(expected).map(|(&a, &b)| (a.into() - b.into()).powi(2)).sum();
    let norm: f64 = expected.iter().map(|&b| b.into().powi(2)).sum();
    let error = (difference / norm).sqrt();
    assert!(norm > 0.0 && error < bound, "{what}: relative error {error:.2e} over {bound:.0e}");
}
