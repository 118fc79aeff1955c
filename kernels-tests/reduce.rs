//! `reduce` against float64.

use super::harness::{Expect, Inputs, cases, check, devices, run_on, stored};
use jem::compute::Kernel;
use jem::compute::storage::Storage;
use jem::kernels::reduce::{Reduce, ReduceOp};
use proptest::prelude::*;
use std::sync::Arc;

tests![
    every_permutation,
    the_engines_shapes_in_stages,
    non_finite_terms_reach_their_own_sum_alone,
    nan_and_infinities_of_extrema,
    seventy_thousand_parts,
    the_order_of_additions_is_fixed,
    any_shape_and_part
];

fn reference(kernel: &Reduce, x: &[f32]) -> Vec<f64> {
    let start = match kernel.op {
        ReduceOp::Sum | ReduceOp::SumOfSquares => 0.0,
        ReduceOp::Max => f64::NEG_INFINITY,
        ReduceOp::Min => f64::INFINITY,
    };
    let mut y = vec![start; kernel.output_len()];
    for outer in 0..kernel.outer {
        for a in 0..kernel.axis {
            for i in 0..kernel.inner {
                let x = f64::from(x[(outer * kernel.axis + a) * kernel.inner + i]);
                let factor = f64::from(kernel.factor);
                let y = &mut y[(outer * kernel.parts() + a / kernel.part) * kernel.inner + i];
                match kernel.op {
                    ReduceOp::Sum => *y += factor * x,
                    ReduceOp::SumOfSquares => *y += factor * x * x,
                    // `f64::max` passes over a NaN.
                    _ if x.is_nan() || y.is_nan() => *y = f64::NAN,
                    ReduceOp::Max => *y = y.max(factor * x),
                    ReduceOp::Min => *y = y.min(factor * x),
                }
            }
        }
    }
    y
}

const OPERATIONS: [ReduceOp; 4] = [ReduceOp::Sum, ReduceOp::SumOfSquares, ReduceOp::Max, ReduceOp::Min];

/// Terms with a mean, so that no sum nearly cancels.
fn terms(n: usize, seed: u64) -> Vec<f32> {
    let mut inputs = Inputs::new(seed);
    (0..n).map(|_| inputs.uniform(-0.5, 1.5)).collect()
}

/// Checks one dispatch and returns the right sums.
fn compare(kernel: Reduce, x: &[f32]) -> Vec<f32> {
    let (words, x) = stored(kernel.storage, x.to_vec());
    let y = reference(&kernel, &x);
    let sums = y.iter().map(|&y| y as f32).collect();
    check(kernel, &[Some(words), None], &[Expect::Close(y, 1e-12)]);
    sums
}

fn compare_stages(outer: usize, axis: usize, inner: usize, op: ReduceOp) {
    let x = terms(outer * axis * inner, (axis + inner) as u64);
    let whole = reference(&Reduce::new(outer, axis, inner, op), &x);
    let mut sums = x;
    for stage in Reduce::stages(outer, axis, inner, op) {
        assert_eq!(stage.input_len(), sums.len(), "{stage:?} does not follow the stage before it");
        sums = compare(stage, &sums);
    }
    assert_eq!(sums.len(), outer * inner);
    for (sum, whole) in sums.iter().zip(whole) {
        assert!((f64::from(*sum) - whole).abs() <= 1e-6 * whole.abs(), "stages give {sum}, expected {whole}");
    }
}

fn every_permutation() {
    for kernel in Reduce::permutations() {
        compare(kernel, &terms(kernel.input_len(), 3));
    }
}

fn the_engines_shapes_in_stages() {
    for op in OPERATIONS {
        compare_stages(1, 16_384, 16, op); // the bias gradient of an early layer
        compare_stages(1, 4096, 160, op);
        compare_stages(1, 16, 9 * 33 * 64, op); // split-K partial sums
        compare_stages(1, 768, 9 * 3 * 16, op); // those of the first layer on a GPU
        compare_stages(1, 43, 9 * 16 * 160, op);
        compare_stages(64, 10, 1, op); // along the rows of logits
        compare_stages(3, 3072, 1, op);
        compare_stages(1, 1_000_003, 1, op); // everything
        compare_stages(1, 1, 1, op);
    }
}

fn non_finite_terms_reach_their_own_sum_alone() {
    let kernel = Reduce::new(2, 100, 3, ReduceOp::Sum);
    let mut x = terms(kernel.input_len(), 5);
    x[3 * 70] = f32::NAN;
    x[3 * 99 + 2] = f32::INFINITY;
    x[3 * 100 + 1] = 1e4;
    x[3 * 101 + 2] = -1e4;
    compare(kernel, &x);
}

fn nan_and_infinities_of_extrema() {
    for op in [ReduceOp::Max, ReduceOp::Min] {
        for kernel in [Reduce::new(3, 100, 3, op), Reduce::new(9, 100, 1, op)] {
            let mut x = terms(kernel.input_len(), 5);
            x[71] = f32::NAN;
            x[140] = -f32::NAN;
            x[290] = f32::INFINITY;
            x[391] = f32::NEG_INFINITY;
            x[600..].fill(f32::NEG_INFINITY);
            x[800..].fill(f32::INFINITY);
            compare(kernel, &x);
        }
    }
}

/// More workgroups than one dimension of a dispatch may have.
fn seventy_thousand_parts() {
    let kernel = Reduce { part: 2, ..Reduce::new(1, 139_999, 1, ReduceOp::Sum) };
    compare(kernel, &terms(kernel.input_len(), 6));
}

/// The same bits in every run, and on the host with any number of threads.
fn the_order_of_additions_is_fixed() {
    for kernel in Reduce::permutations() {
        let initial = [Some(stored(kernel.storage, Inputs::new(9).floats(kernel.input_len())).0), None];
        let kernel: Arc<dyn Kernel> = Arc::new(kernel);
        for (name, device) in devices() {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                pool.install(|| run_on(device, &kernel, &initial, name)).swap_remove(1)
            };
            assert_eq!(run(1), run(3), "{kernel:?} on {name}");
        }
    }
}

proptest! {
    #![proptest_config(cases(32))]
    fn any_shape_and_part(
        outer in 1..5_usize,
        axis in 1..700_usize,
        inner in 1..50_usize,
        part in 1..900_usize,
        op in prop::sample::select(OPERATIONS.to_vec()),
        seed in any::<u64>(),
    ) {
        let kernel = Reduce { part, ..Reduce::new(outer, axis, inner, op) };
        let x = terms(kernel.input_len(), seed);
        compare(kernel, &x);
        if x.len().is_multiple_of(2) {
            compare(Reduce { storage: Storage::F16, factor: 4.0, ..kernel }, &x);
        }
    }
}
