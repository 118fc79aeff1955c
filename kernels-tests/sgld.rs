//! `sgld` against float64, and the distribution of its noise.

use super::harness::{Expect, Inputs, check, devices, run_on, words};
use super::reference_random::normal;
use jem::compute::random::stream::SGLD_NOISE;
use jem::kernels::sgld::Sgld;
use proptest::prelude::*;
use std::sync::Arc;

tests![every_switch, non_finite_gradients, any_size, the_noise_is_normal_and_uncorrelated];

/// Seed and counters.
pub const COUNTERS: [u32; 4] = [11, 22, 33, 44];

/// The float64 statement.
pub fn reference(
    kernel: &Sgld,
    counters: [u32; 4],
    x: &[f32],
    gradient: &[f64],
    moving: Option<&[f32]>,
) -> Vec<f64> {
    let one = |(i, (&x, &(mut g))): (usize, (&f32, &f64))| {
        let x = f64::from(x);
        if let Some(limit) = kernel.clamp_gradient {
            g = g.clamp(-f64::from(limit), f64::from(limit)); // f64::clamp keeps NaN
        }
        let mut moved = x + f64::from(kernel.step) * g;
        if kernel.noise != 0.0 {
            moved += f64::from(kernel.noise) * normal([counters[0], SGLD_NOISE], counters[2], i);
        }
        let moved = kernel.clamp_x.map_or(moved, |(low, high)| moved.clamp(f64::from(low), f64::from(high)));
        if moving.is_some_and(|moving| moving[i] == 0.0) { x } else { moved }
    };
    x.iter().zip(gradient).enumerate().map(one).collect()
}

/// The binding `moving` of an update that has one: every third element is held, and elements whose number is neither 0
/// nor 1 move.
pub fn moving(kernel: &Sgld) -> Option<Vec<f32>> {
    kernel.masked.then(|| (0..kernel.n).map(|i| [0.0, 1.0, 0.25][i % 3]).collect())
}

fn compare(kernel: Sgld, x: &[f32], gradient: &[f32]) {
    let moving = moving(&kernel);
    let exact: Vec<f64> = gradient.iter().map(|&g| f64::from(g)).collect();
    let expected = reference(&kernel, COUNTERS, x, &exact, moving.as_deref());
    let mut initial = vec![Some(words(x)), Some(words(gradient)), Some(COUNTERS.to_vec())];
    initial.extend(moving.map(|moving| Some(words(&moving))));
    check(kernel, &initial, &[Expect::Close(expected, 1e-12)]);
}

fn every_switch() {
    for n in [1, 2, 3, 511, 512, 513, 70_001] {
        let mut inputs = Inputs::new(n as u64);
        let x = inputs.floats(n);
        let gradient: Vec<f32> = (0..n).map(|_| inputs.uniform(-3.0, 3.0)).collect();
        for noise in [0.0, 0.01, 1.0] {
            for clamp_gradient in [None, Some(0.5)] {
                for clamp_x in [None, Some((-1.0, 0.75))] {
                    for masked in [false, true] {
                        let kernel = Sgld { n, step: 0.7, noise, clamp_gradient, clamp_x, masked };
                        compare(kernel, &x, &gradient);
                    }
                }
            }
        }
    }
}

fn non_finite_gradients() {
    let gradient = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 0.5, 1e-30];
    let x = [0.1, 0.2, 0.3, 0.4, 0.5, -0.6, -0.7];
    let free = Sgld { n: x.len(), step: 1.0, noise: 0.0, clamp_gradient: None, clamp_x: None, masked: false };
    // Σ(a-b)²/Σb² of 1e30 overflows no float64.
    compare(free, &x, &gradient);
    for clamp_x in [None, Some((-1.0, 1.0))] {
        for noise in [0.0, 0.01] {
            compare(Sgld { noise, clamp_gradient: Some(1.0), clamp_x, ..free }, &x, &gradient);
        }
        compare(Sgld { clamp_x: clamp_x.or(Some((-1.0, 1.0))), ..free }, &x, &gradient);
    }
    // A NaN in x stays too.
    compare(Sgld { n: 2, clamp_x: Some((-1.0, 1.0)), ..free }, &[f32::NAN, 0.5], &[0.0, 0.1]);
}

proptest! {
    #![proptest_config(super::harness::cases(12))]
    fn any_size(n in 1usize..3000, step in 0.01f32..20.0, noise in 0.001f32..2.0, limit in 0.01f32..2.0, seed in 0u64..9) {
        let mut inputs = Inputs::new(seed);
        let (x, gradient) = (inputs.floats(n), inputs.floats(n));
        let kernel =
            Sgld { n, step, noise, clamp_gradient: Some(limit), clamp_x: None, masked: seed % 2 == 1 };
        compare(kernel, &x, &gradient);
    }
}

/// A million noises of one step, on every device: [(device, noises)].
fn noises(seed: u32, step: u32) -> Vec<(&'static str, Vec<f64>)> {
    let n = 1_000_000;
    let kernel: Arc<dyn jem::compute::Kernel> =
        Arc::new(Sgld { n, step: 0.0, noise: 1.0, clamp_gradient: None, clamp_x: None, masked: false });
    let initial = [Some(vec![0; n]), Some(vec![0; n]), Some(vec![seed, 0, step, 0])];
    devices()
        .into_iter()
        .map(|(name, device)| {
            let x = run_on(device, &kernel, &initial, name).swap_remove(0);
            (name, x.into_iter().map(|word| f64::from(f32::from_bits(word))).collect())
        })
        .collect()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), v| (sum + v, n + 1.0));
    sum / n
}

/// Moments and correlations within five standard deviations of their estimators.
fn the_noise_is_normal_and_uncorrelated() {
    let bound = |variance: f64| 5.0 * (variance / 1e6).sqrt();
    let (first, next, other) = (noises(1, 0), noises(1, 1), noises(2, 0));
    for (((name, z), (_, next)), (_, other)) in first.iter().zip(&next).zip(&other) {
        let near = |what: &str, value: f64, expected: f64, variance: f64| {
            assert!((value - expected).abs() < bound(variance), "{name}: {what} {value}, not {expected}");
        };
        // The variances of z, z², z³ and z⁴ are 1, 2, 15 and 96.
        near("mean", mean(z.iter().copied()), 0.0, 1.0);
        near("variance", mean(z.iter().map(|z| z * z)), 1.0, 2.0);
        near("third moment", mean(z.iter().map(|z| z.powi(3))), 0.0, 15.0);
        near("fourth moment", mean(z.iter().map(|z| z.powi(4))), 3.0, 96.0);
        // Beyond two standard deviations lie 4.55%.
        let share = 0.045_500_264;
        let tail = mean(z.iter().map(|z| f64::from(u8::from(z.abs() > 2.0))));
        near("tail", tail, share, share * (1.0 - share));
        for lag in [1, 2, 3, 32, 3072] {
            let pairs = z.iter().zip(&z[lag..]);
            near("correlation of elements", mean(pairs.clone().map(|(a, b)| a * b)), 0.0, 1.01);
            // The squares too: a shared radius would show here.
            let squares = pairs.map(|(a, b)| (a * a - 1.0) * (b * b - 1.0));
            near("correlation of squares", mean(squares), 0.0, 4.04);
        }
        near("correlation of steps", mean(z.iter().zip(next).map(|(a, b)| a * b)), 0.0, 1.0);
        near("correlation of seeds", mean(z.iter().zip(other).map(|(a, b)| a * b)), 0.0, 1.0);
        let shifted = z.iter().zip(&next[1..]).map(|(a, b)| a * b);
        near("correlation of step and element", mean(shifted), 0.0, 1.01);
    }
}
