//! What the convolutions by cooperative matrices share: which devices multiply by which matrices, and f16.
//!
//! The twins run everywhere. A GPU without cooperative matrices cannot run the kernels: that is said on standard
//! error, and fails where `$JEM_TEST_COOPERATIVE` is set, as by scripts/cooperative-matrices, which has such a GPU.

use crate::harness::{devices, gpu};
use jem::device::Device;
use jem::kernels::cooperative::{Cooperative, Method};
use jem::kernels::half::round_to_f16;
use std::io::Write as _;

/// Σ(a-b)²/Σb² for sums of up to 2048 products of f16 in f32: exact products, sums in an order that is the driver's.
pub const BOUND: f64 = 1e-11;

/// `x` as a method's multiplications see it.
pub fn operand(method: Method, x: f32) -> f32 {
    match method {
        Method::Scalar => x,
        Method::Cooperative(_) => to_f16(f64::from(x)) as f32,
    }
}

/// The f16 nearest to `x`, by its definition: 11 digits from the leading one on, but none under 2^-24.
fn to_f16(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let unit = 2f64.powi((x.abs().log2().floor() as i32).max(-14) - 10);
    let rounded = (x / unit).round_ties_even() * unit;
    if rounded.abs() > 65_504.0 { rounded * f64::INFINITY } else { rounded }
}

/// Calls `check` for each of `kernels`, with a seed, for every way to multiply by matrices and the devices that
/// have it.
pub fn each<K>(
    test: &str,
    kernels: &[K],
    check: impl Fn(&[(&'static str, &'static Device)], Method, &K, u64),
) {
    // Not by eprintln, which the harness keeps to itself when a test passes.
    let say = |message: String| writeln!(std::io::stderr(), "{test}: {message}").expect("standard error");
    let all = devices();
    let offered = gpu(false).cooperative();
    let Some(&first) = offered.first() else {
        let host = all.iter().position(|(_, device)| device.is_cpu()).expect("the host");
        let any = Method::Cooperative(Cooperative { size: 16, subgroup: 32, quads: true });
        for (seed, kernel) in kernels.iter().enumerate() {
            check(&all[host..=host], any, kernel, seed as u64);
        }
        let message = format!(
            "{} kernels ran on the host, NOT on {}, which has no cooperative matrices \
             (scripts/cooperative-matrices runs them)",
            kernels.len(),
            gpu(false).name()
        );
        assert!(std::env::var_os("JEM_TEST_COOPERATIVE").is_none(), "{test}: {message}");
        return say(message);
    };
    // What Metal needs works on the others too; there one kernel in five will do.
    let scalars = first.quads.then_some((Cooperative { quads: false, ..first }, 5));
    for (matrices, every) in offered.iter().map(|&matrices| (matrices, 1)).chain(scalars) {
        let mut count = 0;
        for (seed, kernel) in kernels.iter().enumerate().step_by(every) {
            check(&all, Method::Cooperative(matrices), kernel, seed as u64);
            count += 1;
        }
        say(format!("{count} kernels ran by {matrices:?}"));
    }
}

#[test]
fn f16_is_rounded_as_it_is_defined() {
    let mut inputs = crate::harness::Inputs::new(16);
    for _ in 0..100_000 {
        let x = f32::from_bits(inputs.bits() as u32);
        // Random bits are mostly far outside of f16.
        for x in [x, x.abs().powf(0.1).copysign(x)] {
            let expected = to_f16(f64::from(x)) as f32;
            let found = round_to_f16(x);
            assert!(found == expected || found.is_nan() && x.is_nan(), "{x:e}: {found:e}, not {expected:e}");
        }
    }
}

/// On a device with matrices the gate opens, unless it says why not.
#[test]
fn the_gate_answers() {
    let found = jem::self_test::cooperative(gpu(false));
    assert_eq!(found.len(), gpu(false).cooperative().len());
    for result in found {
        assert!(result.passed(), "{}: {}", result.matrices, result.outcome());
    }
    assert!(jem::self_test::cooperative(&Device::cpu()).is_empty());
}
