//! `normalise` against float64.

use super::harness::{Expect, Inputs, cases, check, close_to, stored, words};
use super::reference::leaky_relu;
use super::reference::normalise::{any_norm, awkward_norms, moments, standardised, weighted};
use jem::compute::mask::{mask_bit, mask_words};
use jem::kernels::normalise::Normalise;
use proptest::prelude::*;

tests![every_permutation, awkward_shapes, a_nan_and_its_sign, any_shape];

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn compare(kernel: Normalise, x: Vec<f32>, seed: u64) {
    let Normalise { geometry: g, epsilon, storage, .. } = kernel;
    let mut inputs = Inputs::new(seed);
    let (weight, bias) = (inputs.floats(g.channels), inputs.floats(g.channels));
    let (x_words, x) = stored(storage, x);
    // Statistics as the kernel has them, in f32.
    let statistics = moments(&g, &wide(&x)).map(|of| of.into_iter().map(|v| v as f32).collect::<Vec<_>>());
    let wide_statistics = statistics.each_ref().map(|of| wide(of));
    let standard = standardised(&g, &wide(&x), wide_statistics.each_ref().map(Vec::as_slice), epsilon);
    let mut raw = weighted(&g, &standard, &wide(&weight));
    raw.iter_mut().enumerate().for_each(|(i, v)| *v += f64::from(bias[i % g.channels]));
    let mut initial = vec![Some(x_words)];
    initial.extend(statistics.iter().chain([&weight, &bias]).map(|values| Some(words(values))));
    let mut expected = Vec::new();
    if kernel.raw {
        expected.push(close_to(storage, raw.clone(), 1e-12));
    }
    if let Some(slope) = kernel.activated {
        let activated = raw.iter().map(|&v| leaky_relu(v, slope)).collect();
        expected.push(close_to(storage, activated, 1e-12));
    }
    if kernel.mask {
        // Where rounding decides the sign, either is right.
        let count = mask_words(g.outer * g.rows, g.channels);
        let (mut value, mut uncertain) = (vec![0; count], vec![0; count]);
        for (i, v) in raw.iter().enumerate() {
            let (word, bit) = mask_bit(i / g.channels, i % g.channels, g.channels);
            value[word] |= u32::from(*v > 0.0) << bit;
            uncertain[word] |= u32::from(v.abs() < 1e-5) << bit;
        }
        expected.push(Expect::Bits { value, uncertain });
    }
    initial.extend(expected.iter().map(|_| None));
    check(kernel, &initial, &expected);
}

fn random(kernel: &Normalise, seed: u64) -> Vec<f32> {
    let mut inputs = Inputs::new(seed);
    (0..kernel.geometry.elements()).map(|_| inputs.uniform(-0.5, 1.5)).collect()
}

fn every_permutation() {
    for kernel in Normalise::permutations() {
        compare(kernel, random(&kernel, 3), 4);
    }
}

fn awkward_shapes() {
    for geometry in awkward_norms() {
        let kernel = Normalise { geometry, ..Normalise::permutations()[1] };
        compare(kernel, random(&kernel, geometry.rows as u64), 5);
    }
}

/// A NaN is not greater than 0, and reaches its group alone.
fn a_nan_and_its_sign() {
    for kernel in Normalise::permutations() {
        let mut x = random(&kernel, 9);
        x[kernel.geometry.channels + 1] = f32::NAN;
        compare(kernel, x, 6);
    }
}

proptest! {
    #![proptest_config(cases(24))]
    fn any_shape(geometry in any_norm(), permutation in 0..8_usize, seed in any::<u64>()) {
        let kernel = Normalise { geometry, ..Normalise::permutations()[permutation] };
        compare(kernel, random(&kernel, seed), seed ^ 1);
    }
}
