//! `normalise_gradient` against float64.

use super::harness::{Inputs, cases, check, close_to, stored, words};
use super::reference::normalise::{
    any_norm, awkward_norms, gradient, means, moments, product, standardised, weighted,
};
use jem::compute::storage::Storage;
use jem::kernels::normalise_gradient::NormaliseGradient;
use proptest::prelude::*;

tests![every_permutation, awkward_shapes, the_statement_is_blind_to_means_and_spreads, any_shape];

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn compare(kernel: NormaliseGradient, seed: u64) {
    let NormaliseGradient { geometry: g, epsilon, storage, residual } = kernel;
    let mut inputs = Inputs::new(seed);
    let x: Vec<f32> = (0..g.elements()).map(|_| inputs.uniform(-0.5, 1.5)).collect();
    let weight = inputs.floats(g.channels);
    let (x_words, x) = stored(storage, x);
    let (upstream_words, upstream) = stored(storage, inputs.floats(g.elements()));
    let (other_words, other) = stored(storage, inputs.floats(g.elements()));
    // The kernel's inputs, in f32.
    let narrow = |values: Vec<f64>| -> Vec<f32> { values.into_iter().map(|v| v as f32).collect() };
    let statistics = moments(&g, &wide(&x)).map(narrow);
    let wide_statistics = statistics.each_ref().map(|of| wide(of));
    let given = wide_statistics.each_ref().map(Vec::as_slice);
    let scaled = weighted(&g, &wide(&upstream), &wide(&weight));
    let standard = standardised(&g, &wide(&x), given, epsilon);
    let (m0, m1) = (means(&g, &scaled), means(&g, &product(&scaled, &standard)));
    let pairs = narrow(m0.into_iter().zip(m1).flat_map(|(m0, m1)| [m0, m1]).collect());
    let mut y = gradient(&g, &wide(&upstream), &wide(&x), given, &wide(&weight), epsilon);
    if residual {
        y.iter_mut().zip(&other).for_each(|(y, &other)| *y += f64::from(other));
    }
    let mut initial = vec![Some(upstream_words), Some(x_words)];
    initial.extend(statistics.iter().chain([&weight, &pairs]).map(|values| Some(words(values))));
    initial.extend(residual.then_some(Some(other_words)));
    initial.push(None);
    check(kernel, &initial, &[close_to(storage, y, 1e-11)]);
}

fn every_permutation() {
    NormaliseGradient::permutations().into_iter().for_each(|kernel| compare(kernel, 3));
}

fn awkward_shapes() {
    for geometry in awkward_norms() {
        // The gradient of a single element is 0, and its error all rounding: add another gradient.
        let residual = geometry.population() < 8;
        let kernel = NormaliseGradient { geometry, epsilon: 1e-5, residual, storage: Storage::F32 };
        compare(kernel, geometry.rows as u64);
    }
}

/// Checks the reference: a change that moves all of a group alike, or only its spread, changes nothing after a
/// normalisation.
fn the_statement_is_blind_to_means_and_spreads() {
    for kernel in NormaliseGradient::permutations() {
        let g = kernel.geometry;
        let mut inputs = Inputs::new(11);
        let x: Vec<f64> = (0..g.elements()).map(|_| f64::from(inputs.uniform(-0.5, 1.5))).collect();
        let [mean, variance] = moments(&g, &x);
        let statistics = [&mean[..], &variance[..]];
        let upstream: Vec<f64> = (0..g.elements()).map(|_| f64::from(inputs.uniform(-1.0, 1.0))).collect();
        let weight = vec![0.7; g.channels];
        let y = gradient(&g, &upstream, &x, statistics, &weight, 0.0);
        let along = means(&g, &product(&y, &x));
        for (i, sum) in means(&g, &y).into_iter().chain(along).enumerate() {
            assert!(sum.abs() < 1e-14, "{kernel:?}: {sum:e} at {i}");
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]
    fn any_shape(geometry in any_norm(), half in any::<bool>(), seed in any::<u64>()) {
        let storage = if half { Storage::F16 } else { Storage::F32 };
        compare(NormaliseGradient { geometry, epsilon: 1e-5, residual: true, storage }, seed);
    }
}
