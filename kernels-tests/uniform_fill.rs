//! `uniform_fill` against the host's words and the uniform distribution.

use super::harness::{Expect, check, devices, run_on};
use super::reference_random::uniform;
use jem::compute::Kernel;
use jem::kernels::uniform_fill::UniformFill;
use std::sync::Arc;

tests![the_hosts_words, uniform_over_the_range];

const COUNTERS: [u32; 4] = [5, 6, 7, 8];

fn the_hosts_words() {
    for n in [1, 3, 511, 512, 513, 70_001] {
        for (low, high) in [(-1.0, 1.0), (0.25, 3.5)] {
            let (a, b) = (f64::from(low), f64::from(high));
            let expected = (0..n).map(|i| a + (b - a) * uniform([5, 9], 6, i)).collect();
            let initial = [Some(COUNTERS.to_vec()), None];
            check(UniformFill { n, low, high, stream: 9 }, &initial, &[Expect::Close(expected, 1e-13)]);
        }
    }
}

fn uniform_over_the_range() {
    let n = 1_000_000;
    let kernel: Arc<dyn Kernel> = Arc::new(UniformFill { n, low: -1.0, high: 1.0, stream: 10 });
    for (name, device) in devices() {
        let out = run_on(device, &kernel, &[Some(COUNTERS.to_vec()), None], name).swap_remove(1);
        let mut counts = [0.0f64; 64];
        let mut mean = 0.0;
        for word in out {
            let v = f32::from_bits(word);
            assert!((-1.0..1.0).contains(&v), "{name}: {v}");
            counts[((v + 1.0) * 32.0) as usize] += 1.0;
            mean += f64::from(v) / n as f64;
        }
        assert!(mean.abs() < 5.0 * (1.0 / 3.0 / n as f64).sqrt(), "{name}: mean {mean}");
        // χ² of 63 degrees of freedom: mean 63, standard deviation √126.
        let expected = n as f64 / 64.0;
        let chi: f64 = counts.iter().map(|c| (c - expected).powi(2) / expected).sum();
        assert!((chi - 63.0).abs() < 5.0 * 126f64.sqrt(), "{name}: χ² {chi}");
    }
}
