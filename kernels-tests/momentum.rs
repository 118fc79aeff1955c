//! `momentum` against float64 and against PyTorch.

use super::harness::{Expect, Inputs, assert_close, check, devices, run_on, words};
use jem::compute::Kernel;
use jem::kernels::momentum::Momentum;
use proptest::prelude::*;
use std::sync::Arc;

tests![one_step, five_steps_are_pytorchs, any_setting];

const BOUND: f64 = 1e-12;
const CONTROL: [f32; 4] = [0.5, f32::NAN, f32::NAN, f32::NAN];

fn compare(kernel: Momentum, norm: f32) {
    let mut inputs = Inputs::new(kernel.n as u64);
    let n = kernel.n;
    let (p, gradient, velocity) = (inputs.floats(n), inputs.floats(n), inputs.floats(n));
    let (mut new_p, mut new_velocity) = (Vec::new(), Vec::new());
    for i in 0..n {
        let [p, g, v, momentum] = [p[i], gradient[i], velocity[i], kernel.momentum].map(f64::from);
        let clip = kernel.clip.map_or(1.0, |limit| (f64::from(limit) / (f64::from(norm) + 1e-6)).min(1.0));
        let g = clip * g + f64::from(kernel.weight_decay) * p;
        let v = momentum * v + g;
        new_p.push(p - 0.5 * if kernel.nesterov { g + momentum * v } else { v });
        new_velocity.push(v);
    }
    let mut initial: Vec<_> = [&p, &gradient, &velocity].into_iter().map(|v| Some(words(v))).collect();
    initial.push(Some(words(&CONTROL)));
    initial.extend(kernel.clip.map(|_| Some(words(&[norm * norm]))));
    check(kernel, &initial, &[new_p, new_velocity].map(|v| Expect::Close(v, BOUND)));
}

fn momentum(n: usize) -> Momentum {
    Momentum { n, momentum: 0.9, nesterov: false, weight_decay: 0.01, clip: None }
}

fn one_step() {
    for n in [1, 3, 255, 256, 257, 70_001] {
        for nesterov in [false, true] {
            compare(Momentum { nesterov, ..momentum(n) }, 0.0);
            compare(Momentum { nesterov, clip: Some(0.5), ..momentum(n) }, 4.0);
            compare(Momentum { nesterov, clip: Some(0.5), weight_decay: 0.0, ..momentum(n) }, 0.25);
        }
    }
}

/// Five steps of PyTorch 2.15 on `[0.5, -0.25, 1.5, -2]` with gradients
/// `[0.1 (t + 1), -0.3, 0.02 t², 1 - 0.4 t]`, `lr` 0.1, and `clip_grad_norm_` where there is a clip.
fn five_steps_are_pytorchs() {
    for (kernel, expected) in [
        (momentum(4), [0.176_918_43, 0.146_671_88, 1.385_638_8, -2.543_510_7]),
        (
            Momentum { nesterov: true, clip: Some(0.5), ..momentum(4) },
            [0.160_041_26, 0.114_168_68, 1.364_774_6, -2.320_064_3],
        ),
    ] {
        let shared: Arc<dyn Kernel> = Arc::new(kernel);
        for (name, device) in devices() {
            let mut state = [words(&[0.5, -0.25, 1.5, -2.0]), vec![0; 4]];
            for t in 0..5u8 {
                let step = f32::from(t);
                let gradient = [0.1 * (step + 1.0), -0.3, 0.02 * step * step, 1.0 - 0.4 * step];
                let [p, v] = state.map(Some);
                let mut initial = vec![p, Some(words(&gradient)), v, Some(words(&[0.1, 0.0, 0.0, 0.0]))];
                let squared_norm = gradient.iter().map(|g| g * g).sum();
                initial.extend(kernel.clip.map(|_| Some(words(&[squared_norm]))));
                let mut results = run_on(device, &shared, &initial, name);
                state = [results.swap_remove(0), results.swap_remove(2)];
            }
            assert_close(&state[0], &expected, BOUND, name);
        }
    }
}

proptest! {
    #![proptest_config(super::harness::cases(10))]
    fn any_setting(n in 1usize..2000, decay in 0.0f32..0.99, nesterov: bool, clip in 0.01f32..3.0) {
        compare(Momentum { momentum: decay, nesterov, clip: Some(clip), ..momentum(n) }, 1.0);
    }
}
