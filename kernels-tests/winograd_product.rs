//! `winograd_product` against float64.

use super::harness::{Expect, Inputs, cases, check, words};
use jem::kernels::winograd_product::WinogradProduct;
use proptest::prelude::*;

tests![awkward_shapes, any_shape];

const BOUND: f64 = 1e-12;

fn compare(kernel: WinogradProduct, seed: u64) {
    let WinogradProduct { points, m, n, k } = kernel;
    let mut inputs = Inputs::new(seed);
    let (a, b) = (inputs.floats(points * m * k), inputs.floats(points * k * n));
    let mut expected = vec![0.0; points * m * n];
    for (at, sum) in expected.iter_mut().enumerate() {
        let (point, row, column) = (at / n / m, at / n % m, at % n);
        for term in 0..k {
            let (a, b) = (a[(point * m + row) * k + term], b[(point * k + term) * n + column]);
            *sum += f64::from(a) * f64::from(b);
        }
    }
    check(kernel, &[Some(words(&a)), Some(words(&b)), None], &[Expect::Close(expected, BOUND)]);
}

fn awkward_shapes() {
    let shapes = [(1, 4, 4), (8, 16, 16), (64, 64, 48), (129, 80, 20), (300, 160, 16), (40, 36, 100)];
    for (seed, (m, n, k)) in shapes.into_iter().enumerate() {
        compare(WinogradProduct { points: 3, m, n, k }, seed as u64);
    }
}

proptest! {
    #![proptest_config(cases(8))]
    fn any_shape(points in 1..5_usize, m in 1..90_usize, n in 1..24_usize, k in 1..24_usize, seed: u64) {
        compare(WinogradProduct { points, m, n: 4 * n, k: 4 * k }, seed);
    }
}
