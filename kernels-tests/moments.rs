//! `moments` against float64.

use super::harness::{Inputs, assert_close, cases, devices, run_on, stored};
use super::reference::normalise::{any_norm, awkward_norms, moments_in_parts};
use jem::compute::Kernel;
use jem::compute::norm_geometry::NormGeometry;
use jem::compute::storage::Storage;
use jem::kernels::moments::Moments;
use proptest::prelude::*;
use std::sync::Arc;

tests![every_permutation, awkward_shapes, far_from_zero, equal_values, a_nan_stays_visible, any_shape];

/// Compares means and sums of squares separately, so that neither hides behind the other's size.
fn compare(kernel: Moments, x: Vec<f32>) {
    let channels = kernel.geometry.channels;
    let (words, x) = stored(kernel.storage, x);
    let x: Vec<f64> = x.into_iter().map(f64::from).collect();
    let expected = moments_in_parts(&kernel.geometry, &x);
    let shared: Arc<dyn Kernel> = Arc::new(kernel);
    for (name, device) in devices() {
        let context = format!("{kernel:?} on {name}");
        let result = run_on(device, &shared, &[Some(words.clone()), None], &context).swap_remove(1);
        for (row, what) in ["means", "squares"].into_iter().enumerate() {
            let of = |index: usize| index / channels % 2 == row;
            let result: Vec<u32> = (0..result.len()).filter(|&i| of(i)).map(|i| result[i]).collect();
            let expected: Vec<f64> = (0..expected.len()).filter(|&i| of(i)).map(|i| expected[i]).collect();
            // Of a single row the squares are exactly zero.
            if expected.iter().all(|&value| value == 0.0) {
                assert!(result.iter().all(|&word| word == 0), "{context}: {what}");
            } else {
                assert_close(&result, &expected, 1e-12, &format!("{context}: {what}"));
            }
        }
    }
}

fn random(kernel: &Moments, seed: u64) -> Vec<f32> {
    let mut inputs = Inputs::new(seed);
    (0..kernel.geometry.elements()).map(|_| inputs.uniform(-0.5, 1.5)).collect()
}

fn every_permutation() {
    for kernel in Moments::permutations() {
        compare(kernel, random(&kernel, 3));
    }
}

fn awkward_shapes() {
    for geometry in awkward_norms() {
        let kernel = Moments { geometry, storage: Storage::F32 };
        compare(kernel, random(&kernel, geometry.rows as u64));
    }
}

/// A mean of a thousand times the spread costs no digits of the spread.
fn far_from_zero() {
    let geometry = NormGeometry { outer: 1, rows: 3000, channels: 8, size: 1 };
    let kernel = Moments { geometry, storage: Storage::F32 };
    let x = random(&kernel, 7);
    compare(kernel, x.iter().map(|x| x + 1000.0).collect());
    compare(kernel, x.iter().map(|x| x * 1e-3 - 2.0).collect());
}

fn equal_values() {
    let geometry = NormGeometry { outer: 2, rows: 500, channels: 4, size: 1 };
    let kernel = Moments { geometry, storage: Storage::F32 };
    compare(kernel, vec![0.1; geometry.elements()]);
}

fn a_nan_stays_visible() {
    let geometry = NormGeometry { outer: 1, rows: 2000, channels: 8, size: 1 };
    let kernel = Moments { geometry, storage: Storage::F32 };
    for row in [0, 1234, 1999] {
        let mut x = random(&kernel, 8);
        x[row * 8 + 5] = f32::NAN;
        compare(kernel, x);
    }
}

proptest! {
    #![proptest_config(cases(24))]
    fn any_shape(geometry in any_norm(), half in any::<bool>(), seed in any::<u64>()) {
        let kernel = Moments { geometry, storage: if half { Storage::F16 } else { Storage::F32 } };
        compare(kernel, random(&kernel, seed));
    }
}
