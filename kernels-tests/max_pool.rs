//! `max_pool` against its definition.

use super::harness::{Expect, Inputs, cases, check, words};
use super::reference::pool::chosen;
use jem::compute::pool_geometry::PoolGeometry;
use jem::kernels::max_pool::MaxPool;
use proptest::prelude::*;

tests![
    every_permutation,
    awkward_shapes,
    the_first_of_equals,
    non_finite_values_in_their_own_windows,
    any_windows
];

fn compare(geometry: PoolGeometry, x: &[f32], v: &[f32]) {
    let x64: Vec<f64> = x.iter().copied().map(f64::from).collect();
    let y: Vec<u32> = chosen(&geometry, &x64).into_iter().map(|i| v[i].to_bits()).collect();
    check(MaxPool { geometry }, &[Some(words(x)), Some(words(v)), None], &[Expect::Exactly(y)]);
}

/// Another tensor in the places of the maxima, and the maxima themselves.
fn compare_random(geometry: PoolGeometry, seed: u64) {
    let mut inputs = Inputs::new(seed);
    let (x, v) = (inputs.floats(geometry.input_len()), inputs.floats(geometry.input_len()));
    compare(geometry, &x, &v);
    compare(geometry, &x, &x);
}

fn every_permutation() {
    for kernel in MaxPool::permutations() {
        compare_random(kernel.geometry, 3);
    }
}

fn awkward_shapes() {
    for (n, h, w, c, size, stride, padding) in [
        (1, 1, 1, 1, 1, 1, 0),
        (1, 1, 1, 2, 3, 1, 1),
        (3, 5, 5, 1, 5, 3, 4),
        (2, 32, 32, 3, 2, 2, 0),
        (1, 9, 4, 7, 3, 2, 1),
        (2, 7, 7, 5, 2, 3, 0),
        (1, 40, 40, 50, 3, 1, 1),
    ] {
        compare_random(PoolGeometry { n, h, w, c, size, stride, padding }, (h + c) as u64);
    }
}

fn the_first_of_equals() {
    let geometry = PoolGeometry { n: 1, h: 6, w: 6, c: 2, size: 3, stride: 1, padding: 1 };
    let v = Inputs::new(5).floats(geometry.input_len());
    compare(geometry, &vec![0.5; v.len()], &v);
    compare(geometry, &vec![f32::NEG_INFINITY; v.len()], &v);
    compare(geometry, &vec![f32::NAN; v.len()], &v);
    let signs: Vec<f32> = (0..v.len()).map(|i| if i % 3 == 0 { 0.0 } else { -0.0 }).collect();
    compare(geometry, &signs, &v);
}

fn non_finite_values_in_their_own_windows() {
    let geometry = PoolGeometry { n: 2, h: 6, w: 6, c: 3, size: 2, stride: 2, padding: 0 };
    let mut inputs = Inputs::new(2);
    let mut x = inputs.floats(geometry.input_len());
    let v = inputs.floats(geometry.input_len());
    x[0] = f32::NAN;
    x[4] = f32::INFINITY;
    x[5 * 3 + 1] = f32::NEG_INFINITY;
    x[40] = -f32::NAN;
    compare(geometry, &x, &v);
}

proptest! {
    #![proptest_config(cases(24))]
    fn any_windows(
        n in 1..4_usize,
        h in 1..9_usize,
        w in 1..9_usize,
        c in 1..6_usize,
        size in 1..6_usize,
        stride in 1..5_usize,
        padding in 0..5_usize,
        values in 1..9_u32,
        seed in any::<u64>(),
    ) {
        let geometry = PoolGeometry { n, h, w, c, size, stride, padding };
        prop_assume!(geometry.is_valid());
        let mut inputs = Inputs::new(seed);
        let x: Vec<f32> = inputs.below(geometry.input_len(), values).into_iter().map(|v| v as f32).collect();
        compare(geometry, &x, &inputs.floats(x.len()));
    }
}
