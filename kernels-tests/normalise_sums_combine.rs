//! `normalise_sums_combine` against float64.

use super::harness::{Expect, Inputs, cases, check, words};
use super::reference::normalise::{any_norm, awkward_norms, channel_sums, means, sums_in_parts, weighted};
use jem::kernels::normalise_sums_combine::NormaliseSumsCombine;
use proptest::prelude::*;

tests![every_permutation, awkward_shapes, any_shape];

/// The parts of two tensors, as they are stored, and the sums and means that the whole tensors have.
fn compare(kernel: NormaliseSumsCombine, seed: u64) {
    let g = kernel.geometry;
    let mut inputs = Inputs::new(seed);
    let [a, b] = [(); 2]
        .map(|()| -> Vec<f64> { (0..g.elements()).map(|_| f64::from(inputs.uniform(-0.5, 1.5))).collect() });
    let weight: Vec<f32> = (0..g.channels).map(|_| inputs.uniform(0.5, 1.5)).collect();
    let partial: Vec<f32> = sums_in_parts(&g, &a, &b).into_iter().map(|v| v as f32).collect();
    let wide: Vec<f64> = weight.iter().map(|&w| f64::from(w)).collect();
    let sums = |values: &[f64]| -> Vec<f64> {
        channel_sums(&g, values).into_iter().map(|sum| f64::from(kernel.factor) * sum).collect()
    };
    let [m0, m1] = [&a, &b].map(|values| means(&g, &weighted(&g, values, &wide)));
    let pairs = m0.into_iter().zip(m1).flat_map(|(m0, m1)| [m0, m1]).collect();
    let expected = [sums(&a), sums(&b), pairs].map(|values| Expect::Close(values, 1e-12));
    check(kernel, &[Some(words(&partial)), Some(words(&weight)), None, None, None], &expected);
}

fn every_permutation() {
    NormaliseSumsCombine::permutations().into_iter().for_each(|kernel| compare(kernel, 3));
}

fn awkward_shapes() {
    for geometry in awkward_norms() {
        compare(NormaliseSumsCombine { geometry, factor: 1.0 }, geometry.rows as u64);
    }
}

proptest! {
    #![proptest_config(cases(24))]
    fn any_shape(geometry in any_norm(), power in -4..4_i32, seed in any::<u64>()) {
        compare(NormaliseSumsCombine { geometry, factor: 2f32.powi(power) }, seed);
    }
}
