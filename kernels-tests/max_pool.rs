//! `max_pool` against its definition.

use super::harness::{Expect, Inputs, cases, check, words};
use super::reference::pool::{any_windows, awkward, chosen};
use jem::compute::pool_geometry::PoolGeometry;
use jem::kernels::max_pool::MaxPool;
use proptest::prelude::*;

tests![
    every_permutation,
    awkward_shapes,
    the_first_of_equals,
    non_finite_values_in_their_own_windows,
    any_small_windows
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
    for geometry in awkward() {
        compare_random(geometry, (geometry.h + geometry.c) as u64);
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
    fn any_small_windows(geometry in any_windows(), values in 1..9_u32, seed in any::<u64>()) {
        let mut inputs = Inputs::new(seed);
        let x: Vec<f32> = inputs.below(geometry.input_len(), values).into_iter().map(|v| v as f32).collect();
        compare(geometry, &x, &inputs.floats(x.len()));
    }
}
