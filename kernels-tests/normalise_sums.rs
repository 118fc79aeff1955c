//! `normalise_sums` against float64.

use super::harness::{Expect, Inputs, cases, check, stored, words};
use super::reference::normalise::{any_norm, awkward_norms, moments, product, standardised, sums_in_parts};
use jem::compute::storage::Storage;
use jem::kernels::normalise_sums::NormaliseSums;
use proptest::prelude::*;

tests![every_permutation, awkward_shapes, far_from_zero, any_shape];

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// Gradients with a mean and with a part along `x`, so that no sum nearly cancels.
fn compare(kernel: NormaliseSums, x: Vec<f32>, seed: u64) {
    let NormaliseSums { geometry: g, epsilon, storage } = kernel;
    let (x_words, x) = stored(storage, x);
    let statistics = moments(&g, &wide(&x)).map(|of| of.into_iter().map(|v| v as f32).collect::<Vec<_>>());
    let wide_statistics = statistics.each_ref().map(|of| wide(of));
    let standard = standardised(&g, &wide(&x), wide_statistics.each_ref().map(Vec::as_slice), epsilon);
    let mut inputs = Inputs::new(seed);
    let gradient = standard.iter().map(|v| inputs.uniform(0.0, 2.0) + 0.5 * *v as f32).collect();
    let (gradient_words, gradient) = stored(storage, gradient);
    let gradient = wide(&gradient);
    let y = sums_in_parts(&g, &gradient, &product(&gradient, &standard));
    let initial = [gradient_words, x_words].into_iter().chain(statistics.iter().map(|of| words(of)));
    let initial: Vec<_> = initial.map(Some).chain([None]).collect();
    check(kernel, &initial, &[Expect::Close(y, 1e-12)]);
}

fn random(kernel: &NormaliseSums, seed: u64) -> Vec<f32> {
    let mut inputs = Inputs::new(seed);
    (0..kernel.geometry.elements()).map(|_| inputs.uniform(-0.5, 1.5)).collect()
}

fn every_permutation() {
    for kernel in NormaliseSums::permutations() {
        compare(kernel, random(&kernel, 3), 4);
    }
}

fn awkward_shapes() {
    for geometry in awkward_norms() {
        let kernel = NormaliseSums { geometry, epsilon: 1e-5, storage: Storage::F32 };
        compare(kernel, random(&kernel, geometry.rows as u64), 5);
    }
}

/// `Σ g x - mean Σ g` would lose three digits here.
fn far_from_zero() {
    let kernel = NormaliseSums::permutations()[0];
    compare(kernel, random(&kernel, 7).iter().map(|x| x + 1000.0).collect(), 8);
}

proptest! {
    #![proptest_config(cases(24))]
    fn any_shape(geometry in any_norm(), half in any::<bool>(), seed in any::<u64>()) {
        let storage = if half { Storage::F16 } else { Storage::F32 };
        let kernel = NormaliseSums { geometry, epsilon: 1e-5, storage };
        compare(kernel, random(&kernel, seed), seed ^ 1);
    }
}
