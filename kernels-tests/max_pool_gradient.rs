//! `max_pool_gradient` against float64.

use super::harness::{Expect, Inputs, cases, check, words};
use super::reference::pool::{any_windows, awkward, chosen, windows};
use jem::compute::Kernel;
use jem::compute::pool_geometry::PoolGeometry;
use jem::kernels::max_pool_gradient::MaxPoolGradient;
use proptest::prelude::*;

tests![
    every_permutation,
    awkward_shapes,
    the_first_of_equals,
    non_finite_values_stay_with_their_pixel,
    any_small_windows,
    operations_are_those_of_the_shader
];

fn compare(geometry: PoolGeometry, x: &[f32], gradient: &[f32]) {
    let x64: Vec<f64> = x.iter().copied().map(f64::from).collect();
    let mut y = vec![0.0; x.len()];
    for (i, gradient) in chosen(&geometry, &x64).into_iter().zip(gradient) {
        y[i] += f64::from(*gradient);
    }
    let initial = [Some(words(x)), Some(words(gradient)), None];
    check(MaxPoolGradient { geometry }, &initial, &[Expect::Close(y, 1e-12)]);
}

/// With a mean, so that no sum nearly cancels.
fn gradients(geometry: &PoolGeometry, inputs: &mut Inputs) -> Vec<f32> {
    (0..geometry.output_len()).map(|_| inputs.uniform(-0.5, 1.5)).collect()
}

fn compare_random(geometry: PoolGeometry, seed: u64) {
    let mut inputs = Inputs::new(seed);
    let x = inputs.floats(geometry.input_len());
    let gradient = gradients(&geometry, &mut inputs);
    compare(geometry, &x, &gradient);
}

fn every_permutation() {
    for kernel in MaxPoolGradient::permutations() {
        compare_random(kernel.geometry, 3);
    }
}

fn awkward_shapes() {
    for geometry in awkward() {
        compare_random(geometry, (geometry.h + geometry.c) as u64);
    }
}

fn the_first_of_equals() {
    let geometry = PoolGeometry { n: 2, h: 6, w: 6, c: 2, size: 3, stride: 1, padding: 1 };
    let gradient = gradients(&geometry, &mut Inputs::new(5));
    for value in [0.5, f32::NEG_INFINITY, f32::NAN] {
        compare(geometry, &vec![value; geometry.input_len()], &gradient);
    }
}

fn non_finite_values_stay_with_their_pixel() {
    let geometry = PoolGeometry { n: 1, h: 6, w: 6, c: 2, size: 3, stride: 2, padding: 1 };
    let mut inputs = Inputs::new(7);
    let x = inputs.floats(geometry.input_len());
    let mut gradient = gradients(&geometry, &mut inputs);
    gradient[0] = f32::NAN;
    gradient[5] = f32::INFINITY;
    compare(geometry, &x, &gradient);
}

/// Every pixel searches every window that contains it, pixel by pixel.
fn operations_are_those_of_the_shader() {
    for geometry in awkward().filter(|geometry| geometry.padding == 0) {
        let kernel = MaxPoolGradient { geometry };
        let (mut needed, mut executed) = (0, 0);
        for window in windows(&geometry) {
            needed += window.len() as u64;
            executed += (window.len() * window.len()) as u64;
        }
        assert_eq!((kernel.flops(), kernel.shader_operations()), (needed, executed), "{geometry:?}");
    }
}

proptest! {
    #![proptest_config(cases(24))]
    fn any_small_windows(geometry in any_windows(), values in 1..9_u32, seed in any::<u64>()) {
        let mut inputs = Inputs::new(seed);
        let x: Vec<f32> = inputs.below(geometry.input_len(), values).into_iter().map(|v| v as f32).collect();
        let gradient = gradients(&geometry, &mut inputs);
        compare(geometry, &x, &gradient);
    }
}
