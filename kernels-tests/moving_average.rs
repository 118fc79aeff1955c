//! `moving_average` against float64 and against PyTorch.

use super::harness::{Expect, Inputs, assert_close, check, devices, run_on, words};
use jem::compute::Kernel;
use jem::kernels::moving_average::MovingAverage;
use proptest::prelude::*;
use std::sync::Arc;

tests![one_step, five_steps_are_pytorchs, the_first_steps_forget_the_beginning, any_rate];

const BOUND: f64 = 1e-13;

fn compare(n: usize, rate: f32) {
    let mut inputs = Inputs::new(n as u64);
    let (p, average) = (inputs.floats(n), inputs.floats(n));
    let step = |(&p, &a): (&f32, &f32)| {
        let rate = f64::from(rate);
        (1.0 - rate) * f64::from(a) + rate * f64::from(p)
    };
    let expected = p.iter().zip(&average).map(step).collect();
    let control = words(&[f32::NAN, f32::NAN, f32::NAN, rate]);
    let initial = [Some(words(&p)), Some(words(&average)), Some(control)];
    check(MovingAverage { n }, &initial, &[Expect::Close(expected, BOUND)]);
}

fn one_step() {
    for n in [1, 3, 255, 256, 257, 70_001] {
        for rate in [0.0, 1e-3, 0.1, 1.0] {
            compare(n, rate);
        }
    }
}

/// Five steps of PyTorch 2.15's `torch.optim.swa_utils.get_ema_avg_fn(0.9)` from `[0.5, -0.25, 1.5]`, over weights
/// `[0.1 (t + 1), -0.3, 0.02 t²]`.
fn five_steps_are_pytorchs() {
    let kernel: Arc<dyn Kernel> = Arc::new(MovingAverage { n: 3 });
    for (name, device) in devices() {
        let mut average = words(&[0.5, -0.25, 1.5]);
        for t in 0..5u8 {
            let t = f32::from(t);
            let weights = words(&[0.1 * (t + 1.0), -0.3, 0.02 * t * t]);
            let initial = [Some(weights), Some(average), Some(words(&[0.0, 0.0, 0.0, 0.1]))];
            average = run_on(device, &kernel, &initial, name).swap_remove(1);
        }
        assert_close(&average, &[0.426_685_959, -0.270_475_477, 0.941_872_895], BOUND, name);
    }
}

fn the_first_steps_forget_the_beginning() {
    assert_eq!(MovingAverage::rate(0.999, 1), (1.0 - 2.0 / 11.0f64) as f32);
    assert_eq!(MovingAverage::rate(0.999, 1_000_000), (1.0 - 0.999f64) as f32);
    let left: f64 = (1..=1000).map(|t| 1.0 - f64::from(MovingAverage::rate(0.999, t))).product();
    assert!(left < 1e-15, "{left}");
}

proptest! {
    #![proptest_config(super::harness::cases(10))]
    fn any_rate(n in 1usize..2000, rate in 0.0f32..1.0) {
        compare(n, rate);
    }
}
