//! `ascent` against float64 and against the reference implementation of SAM in PyTorch.

use super::harness::{Expect, Inputs, assert_close, check, devices, run_on, words};
use jem::compute::Kernel;
use jem::kernels::ascent::Ascent;
use proptest::prelude::*;
use std::sync::Arc;

tests![one_climb, a_climb_is_pytorchs, a_nan_norm_is_not_hidden, any_setting];

const BOUND: f64 = 1e-12;

fn compare(kernel: Ascent, norm: f32) {
    let mut inputs = Inputs::new(kernel.n as u64);
    let (p, gradient) = (inputs.floats(kernel.n), inputs.floats(kernel.n));
    let scale = f64::from(kernel.radius) / (f64::from(norm).sqrt() + 1e-12);
    let climbed = |(&p, &g): (&f32, &f32)| {
        let (p, g) = (f64::from(p), f64::from(g));
        p + if kernel.adaptive { p * p } else { 1.0 } * g * scale
    };
    let expected = p.iter().zip(&gradient).map(climbed).collect();
    let initial = [Some(words(&p)), Some(words(&gradient)), Some(words(&[norm]))];
    check(kernel, &initial, &[Expect::Close(expected, BOUND)]);
}

fn one_climb() {
    for n in [1, 3, 255, 256, 257, 70_001] {
        for adaptive in [false, true] {
            compare(Ascent { n, radius: 2.0, adaptive }, 9.0);
            compare(Ascent { n, radius: 0.05, adaptive }, 1e-3);
            // A zero gradient must not divide by 0.
            compare(Ascent { n, radius: 1e-13, adaptive }, 0.0);
        }
    }
}

/// `e_w` of the released SAM (`sam.py`: `first_step`) in PyTorch 2.15, for weights `[0.5, -0.25, 1.5, -2]`, gradient
/// `[0.1, -0.3, 0.02, 1]`, radius 2.
fn a_climb_is_pytorchs() {
    let gradient = [0.1f32, -0.3, 0.02, 1.0];
    let weights = [0.5f32, -0.25, 1.5, -2.0];
    for (adaptive, expected) in [
        (false, [0.690_657_854, -0.821_973_562, 1.538_131_59, -0.093_421_459_2]),
        (true, [0.524_971_843, -0.268_728_882, 1.544_949_29, 1.995_495_08]),
    ] {
        let size = |p: f32| if adaptive { p.abs() } else { 1.0 };
        let norm: f32 = weights.iter().zip(gradient).map(|(&p, g)| (size(p) * g).powi(2)).sum();
        let kernel: Arc<dyn Kernel> = Arc::new(Ascent { n: 4, radius: 2.0, adaptive });
        for (name, device) in devices() {
            let initial = [Some(words(&weights)), Some(words(&gradient)), Some(words(&[norm]))];
            let results = run_on(device, &kernel, &initial, name);
            assert_close(&results[0], &expected, BOUND, name);
        }
    }
}

fn a_nan_norm_is_not_hidden() {
    let kernel: Arc<dyn Kernel> = Arc::new(Ascent { n: 2, radius: 2.0, adaptive: false });
    for (name, device) in devices() {
        let initial = [Some(words(&[1.0, 2.0])), Some(words(&[1.0, 1.0])), Some(words(&[f32::NAN]))];
        let results = run_on(device, &kernel, &initial, name);
        assert!(results[0].iter().all(|&word| f32::from_bits(word).is_nan()), "{name}");
    }
}

proptest! {
    #![proptest_config(super::harness::cases(10))]
    fn any_setting(n in 1usize..2000, radius in 0.0f32..3.0, adaptive: bool, norm in 1e-3f32..10.0) {
        compare(Ascent { n, radius, adaptive }, norm);
    }
}
