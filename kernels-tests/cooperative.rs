//! Shared code of the tests of convolutions by cooperative matrices: the devices, their matrices, and f16.
//!
//! The twins run everywhere. A GPU without cooperative matrices cannot run the kernels, which the tests report on
//! standard error. `$JEM_TEST_COOPERATIVE` lists the sizes of matrices that must run, such as `8,16`, even if the
//! driver does not offer them: scripts/cooperative-matrices has such a driver.

use super::harness::{assert_same_words, devices, gpu};
use super::reference;
use jem::compute::Kernel;
use jem::compute::conv_geometry::ConvGeometry;
use jem::compute::conv_tile::MatrixTile;
use jem::compute::cooperative::{Cooperative, Method};
use jem::compute::half::round_to_f16;
use jem::device::{AdapterKind, Device};
use jem::kernels::cooperative_catalogue;
use std::io::Write as _;
use std::sync::Arc;

tests![f16_is_rounded_as_it_is_defined, loading_ahead_changes_no_bit, the_gate_answers];

/// Σ(a-b)²/Σb² for sums of up to 2048 products of f16 in f32: exact products, sums in an order that is the driver's.
/// Hardware may truncate such sums instead of rounding them, which makes up to 2e-11; operands truncated to f16 make
/// 5e-7.
pub fn bound() -> f64 {
    let hardware = gpu(false).adapter().is_some_and(|adapter| adapter.kind != AdapterKind::Software);
    if hardware { 1e-10 } else { 1e-11 }
}

/// `x` as a method's multiplications see it.
pub fn operand(method: Method, x: f32) -> f32 {
    match method {
        Method::Scalar => x,
        Method::Cooperative(_) => to_f16(f64::from(x)) as f32,
    }
}

/// The f16 nearest to `x`, by its definition: 11 digits from the leading one on, but none under 2^-24.
pub fn to_f16(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let unit = 2f64.powi((x.abs().log2().floor() as i32).max(-14) - 10);
    let rounded = (x / unit).round_ties_even() * unit;
    if rounded.abs() > 65_504.0 { rounded * f64::INFINITY } else { rounded }
}

/// The matrices to multiply by on the GPU, each with the fraction of the kernels that runs with them: one in how many.
fn ways() -> Vec<(Cooperative, usize)> {
    // The variants differ in how a driver gets the shaders, not in what these compute.
    let every =
        |matrices: Cooperative| if matrices.variant == gpu(false).cooperative()[0].variant { 1 } else { 4 };
    let offered = gpu(false).cooperative().iter();
    let mut ways: Vec<_> = offered.map(|&matrices| (matrices, every(matrices))).collect();
    let asked = std::env::var("JEM_TEST_COOPERATIVE").unwrap_or_default();
    let asked = asked.split(',').filter(|size| !size.is_empty());
    let asked: Vec<usize> = asked.map(|size| size.parse().expect("JEM_TEST_COOPERATIVE")).collect();
    let Some(&(first, _)) = ways.first() else {
        assert!(asked.is_empty(), "{} has no cooperative matrices", gpu(false).name());
        return ways;
    };
    // What Metal needs works on the others too, and so do subgroups smaller than the largest, whose more threads
    // load ahead.
    let subgroup = Cooperative::LARGEST_SUBGROUP;
    ways.extend(first.quads.then_some((Cooperative { quads: false, subgroup, ..first }, 5)));
    ways.extend((subgroup > first.subgroup).then_some((Cooperative { subgroup, ..first }, 3)));
    for size in asked {
        if ways.iter().all(|(matrices, _)| matrices.size != size) {
            ways.push((Cooperative { size, ..first }, 2));
            ways.push((Cooperative { size, subgroup, ..first }, 3));
        }
    }
    ways
}

/// Named devices.
type Devices = Vec<(&'static str, &'static Device)>;

/// The devices to multiply matrices on, with the matrices, the fraction of the kernels to run (one in how many), and a
/// description. If the GPU has matrices these are all devices, else the host alone.
fn places() -> Vec<(Devices, Cooperative, usize, String)> {
    let all = devices();
    let ways = ways();
    if ways.is_empty() {
        let host: Devices = all.into_iter().filter(|(_, device)| device.is_cpu()).collect();
        let place = format!(
            "on the host, NOT on {}, which has no cooperative matrices (scripts/cooperative-matrices has)",
            gpu(false).name()
        );
        return vec![(host, Cooperative::new(16, 32), 1, place)];
    }
    let by = |(matrices, every)| (all.to_vec(), matrices, every, format!("by {matrices:?}"));
    ways.into_iter().map(by).collect()
}

/// Writes to standard error without eprintln, whose output the harness hides when a test passes.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("standard error");
}

/// Calls `check`, which returns the error that it found, for `kernels`, with a seed, with all matrices and on the
/// devices that have them.
pub fn each<K>(
    test: &str,
    kernels: &[K],
    check: impl Fn(&[(&'static str, &'static Device)], Method, &K, u64) -> f64,
) {
    for (devices, matrices, every, place) in places() {
        let (mut count, mut worst) = (0, 0.0f64);
        for (seed, kernel) in kernels.iter().enumerate().step_by(every) {
            worst = worst.max(check(&devices, Method::Cooperative(matrices), kernel, seed as u64));
            count += 1;
        }
        say(&format!("{test}: {count} kernels ran {place}, error at most {worst:.1e}"));
    }
}

/// Calls `check`, which returns the error that it found, for every tile of matrices on shapes that span several of it,
/// as [`each`] does for kernels.
pub fn each_tile(
    test: &str,
    check: impl Fn(&[(&'static str, &'static Device)], Method, MatrixTile, &ConvGeometry) -> f64,
) {
    for (devices, matrices, every, place) in places() {
        let (mut count, mut worst) = (0, 0.0f64);
        for tile in MatrixTile::ALL.into_iter().filter(|tile| tile.fits(matrices)) {
            // Matrices of another variant than the first run half of the shapes: channels in quads, in one step a tap
            // and in several.
            let some = if every == 1 { 1 } else { 2 };
            for geometry in reference::geometries_for(tile.size(matrices), true).into_iter().step_by(some) {
                worst = worst.max(check(&devices, Method::Cooperative(matrices), tile, &geometry));
            }
            count += 1;
        }
        assert!(count > 2, "{place}: tiles that fit");
        say(&format!("{test}: {count} tiles ran {place}, error at most {worst:.1e}"));
    }
}

fn f16_is_rounded_as_it_is_defined() {
    let mut inputs = super::harness::Inputs::new(16);
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

/// The same tiles by more threads, of which each has few enough loads to hold a step of them.
fn loading_ahead_changes_no_bit() {
    let mut sizes: Vec<Cooperative> = Vec::new();
    for (matrices, _) in ways() {
        if sizes.iter().all(|other| other.size != matrices.size) {
            sizes.push(matrices);
        }
    }
    let asked = std::env::var("JEM_TEST_COOPERATIVE").is_ok_and(|sizes| !sizes.is_empty());
    for matrices in sizes {
        let wide = Cooperative { subgroup: Cooperative::LARGEST_SUBGROUP, ..matrices };
        let is_ahead = |kernel: &Arc<dyn Kernel>| kernel.shader().wgsl().contains("struct Ahead");
        let [plain, ahead] =
            [matrices, wide].map(|matrices| cooperative_catalogue(matrices).into_iter().map(Arc::from));
        let mut compared = 0;
        for (seed, (plain, ahead)) in plain.zip(ahead).enumerate() {
            if is_ahead(&ahead) && !is_ahead(&plain) {
                assert_same_words(&ahead, &plain, seed as u64);
                compared += 1;
            }
        }
        say(&format!("{compared} kernels loading ahead by {matrices}, and not"));
        assert!(compared > 0 || !asked, "no kernel loads ahead by {wide:?} and not by {matrices:?}");
    }
}

/// On a device with matrices the gate opens, unless it says why not.
fn the_gate_answers() {
    let found = jem::self_test::cooperative(gpu(false), false);
    assert_eq!(found.is_empty(), gpu(false).cooperative().is_empty());
    for result in found {
        assert!(result.passed(), "{}: {}", result.matrices, result.outcome());
    }
    assert!(jem::self_test::cooperative(&Device::cpu(), true).is_empty());
}
