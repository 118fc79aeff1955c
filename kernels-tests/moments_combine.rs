//! `moments_combine` against float64.

use super::harness::{Expect, Inputs, cases, check, words};
use super::reference::normalise::{any_norm, awkward_norms, moments, moments_in_parts};
use jem::kernels::moments_combine::MomentsCombine;
use proptest::prelude::*;

tests![every_permutation, awkward_shapes, a_nan_stays_in_its_group, any_shape];

/// The parts of a tensor, as they are stored, and the moments that the whole tensor has.
fn compare(kernel: MomentsCombine, x: &[f64]) {
    let partial: Vec<f32> = moments_in_parts(&kernel.geometry, x).into_iter().map(|v| v as f32).collect();
    let [mean, variance] = moments(&kernel.geometry, x);
    // A population of one has no variance, and zeros are compared exactly.
    let variance = match variance.iter().all(|&v| v == 0.0) {
        true => Expect::Exactly(vec![0; variance.len()]),
        false => Expect::Close(variance, 1e-12),
    };
    check(kernel, &[Some(words(&partial)), None, None], &[Expect::Close(mean, 1e-12), variance]);
}

/// Values of which each channel has its own mean and spread.
fn random(kernel: &MomentsCombine, seed: u64) -> Vec<f64> {
    let channels = kernel.geometry.channels;
    let mut inputs = Inputs::new(seed);
    let (shift, scale) = (inputs.floats(channels), inputs.floats(channels));
    let value = |i: usize| f64::from(inputs.uniform(-0.5, 1.5) * scale[i % channels] + shift[i % channels]);
    (0..kernel.geometry.elements()).map(value).collect()
}

fn every_permutation() {
    for kernel in MomentsCombine::permutations() {
        compare(kernel, &random(&kernel, 5));
    }
}

fn awkward_shapes() {
    for geometry in awkward_norms() {
        let kernel = MomentsCombine { geometry };
        compare(kernel, &random(&kernel, geometry.rows as u64));
    }
}

fn a_nan_stays_in_its_group() {
    for kernel in MomentsCombine::permutations() {
        let mut x = random(&kernel, 6);
        x[kernel.geometry.channels - 2] = f64::NAN;
        compare(kernel, &x);
    }
}

proptest! {
    #![proptest_config(cases(24))]
    fn any_shape(geometry in any_norm(), seed in any::<u64>()) {
        let kernel = MomentsCombine { geometry };
        compare(kernel, &random(&kernel, seed));
    }
}
