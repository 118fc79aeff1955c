//! `adam` against float64 and against PyTorch.

use super::harness::{Expect, Inputs, assert_close, check, devices, run_on, words};
use jem::compute::Kernel;
use jem::kernels::adam::Adam;
use proptest::prelude::*;
use std::sync::Arc;

tests![one_step, five_steps_are_pytorchs, a_nan_norm_is_not_hidden, any_setting];

const BOUND: f64 = 1e-11;
const CONTROL: [f32; 4] = [0.25, 3.5, 40.0, 0.0];

fn compare(kernel: Adam, norm: f32) {
    let mut inputs = Inputs::new(kernel.n as u64);
    let n = kernel.n;
    // Small parameters, so that the step is what is compared.
    let p: Vec<f32> = (0..n).map(|_| inputs.uniform(-0.1, 0.1)).collect();
    let (gradient, first) = (inputs.floats(n), inputs.floats(n));
    let second: Vec<f32> = (0..n).map(|_| inputs.uniform(0.0, 1.0)).collect();
    let (mut new_p, mut new_first, mut new_second) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..n {
        let [p, g, m, v] = [p[i], gradient[i], first[i], second[i]].map(f64::from);
        let clip = kernel.clip.map_or(1.0, |limit| (f64::from(limit) / (f64::from(norm) + 1e-6)).min(1.0));
        let decay = f64::from(kernel.weight_decay);
        let (g, p) = match kernel.decoupled {
            true => (clip * g, p - f64::from(CONTROL[0]) * decay * p),
            false => (clip * g + decay * p, p),
        };
        let m = kernel.beta1 * m + (1.0 - kernel.beta1) * g;
        let v = kernel.beta2 * v + (1.0 - kernel.beta2) * g * g;
        let [rate, c1, c2, _] = CONTROL.map(f64::from);
        new_p.push(p - rate * c1 * m / ((c2 * v).sqrt() + f64::from(kernel.epsilon)));
        new_first.push(m);
        new_second.push(v);
    }
    let mut initial: Vec<_> = [&p, &gradient, &first, &second].into_iter().map(|v| Some(words(v))).collect();
    initial.push(Some(words(&CONTROL)));
    initial.extend(kernel.clip.map(|_| Some(words(&[norm * norm]))));
    let expected = [new_p, new_first, new_second].map(|v| Expect::Close(v, BOUND));
    check(kernel, &initial, &expected);
}

fn adam(n: usize) -> Adam {
    Adam { n, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, decoupled: false, clip: None }
}

fn one_step() {
    for n in [1, 3, 255, 256, 257, 70_001] {
        compare(adam(n), 0.0);
        compare(Adam { weight_decay: 0.1, epsilon: 1e-3, ..adam(n) }, 0.0);
        compare(Adam { clip: Some(0.5), weight_decay: 0.1, ..adam(n) }, 4.0);
        compare(Adam { clip: Some(0.5), weight_decay: 0.1, decoupled: true, ..adam(n) }, 4.0);
        compare(Adam { clip: Some(0.5), ..adam(n) }, 0.25);
    }
}

/// Five steps of PyTorch 2.15 on `[0.5, -0.25, 1.5, -2]` with gradients
/// `[0.1 (t + 1), -0.3, 0.02 t², 1 - 0.4 t]`, `lr` 0.1, and `clip_grad_norm_` where there is a clip; the last of its
/// `AdamW`.
fn five_steps_are_pytorchs() {
    let decayed =
        Adam { beta1: 0.8, beta2: 0.99, epsilon: 1e-3, weight_decay: 0.1, clip: Some(0.5), ..adam(4) };
    for (kernel, expected) in [
        (adam(4), [0.014_916_949, 0.250_000_03, 1.189_546_1, -2.356_810_8]),
        (decayed, [0.004_686_474_8, 0.246_690_33, 0.994_931_2, -2.189_735_2]),
        (Adam { decoupled: true, ..decayed }, [0.003_230_281_17, 0.249_834_731, 1.100_824_36, -2.236_114_98]),
    ] {
        for (name, device) in devices() {
            let mut state = [words(&[0.5, -0.25, 1.5, -2.0]), vec![0; 4], vec![0; 4]];
            for t in 0..5 {
                let step = t as f32;
                let gradient = [0.1 * (step + 1.0), -0.3, 0.02 * step * step, 1.0 - 0.4 * step];
                let correction = |beta: f64| (1.0 / (1.0 - beta.powi(t + 1))) as f32;
                let control = [0.1, correction(kernel.beta1), correction(kernel.beta2), 0.0];
                let [p, m, v] = state.map(Some);
                let mut initial = vec![p, Some(words(&gradient)), m, v, Some(words(&control))];
                let squared_norm = gradient.iter().map(|g| g * g).sum();
                initial.extend(kernel.clip.map(|_| Some(words(&[squared_norm]))));
                let shared: Arc<dyn Kernel> = Arc::new(kernel);
                let mut results = run_on(device, &shared, &initial, name).into_iter();
                let mut next = || results.next().expect("a binding");
                let p = next();
                next();
                state = [p, next(), next()];
            }
            assert_close(&state[0], &expected, BOUND, name);
        }
    }
}

fn a_nan_norm_is_not_hidden() {
    let kernel: Arc<dyn Kernel> = Arc::new(Adam { clip: Some(1.0), ..adam(2) });
    let initial = [
        Some(words(&[1.0, 2.0])),
        Some(words(&[0.5, 0.5])),
        Some(vec![0; 2]),
        Some(vec![0; 2]),
        Some(words(&CONTROL)),
        Some(words(&[f32::NAN])),
    ];
    for (name, device) in devices() {
        let p = run_on(device, &kernel, &initial, name).swap_remove(0);
        assert!(p.iter().all(|&word| f32::from_bits(word).is_nan()), "{name}");
    }
}

proptest! {
    #![proptest_config(super::harness::cases(10))]
    fn any_setting(n in 1usize..2000, beta1 in 0.0f64..0.99, beta2 in 0.5f64..0.9999, clip in 0.01f32..3.0) {
        compare(Adam { beta1, beta2, clip: Some(clip), weight_decay: 5e-4, ..adam(n) }, 1.0);
    }
}
