//! `gather_rows` against its definition.

use super::harness::{Expect, Inputs, cases, check, words};
use jem::kernels::gather_rows::GatherRows;
use proptest::prelude::*;

tests![awkward_shapes, an_index_that_is_no_row_gives_nan, non_finite_values_stay, any_shape];

fn compare(kernel: GatherRows, x: &[f32], indices: Vec<u32>) {
    let GatherRows { rows, width, .. } = kernel;
    let row = |&index: &u32| -> Vec<f64> {
        match (index as usize) < rows {
            true => x[index as usize * width..][..width].iter().copied().map(f64::from).collect(),
            false => vec![f64::NAN; width],
        }
    };
    let y = indices.iter().flat_map(row).collect();
    check(kernel, &[Some(words(x)), Some(indices), None], &[Expect::Close(y, 0.0)]);
}

fn compare_random(count: usize, rows: usize, width: usize, seed: u64) {
    let mut inputs = Inputs::new(seed);
    let (x, indices) = (inputs.floats(rows * width), inputs.below(count, rows as u32));
    compare(GatherRows { count, rows, width }, &x, indices);
}

fn awkward_shapes() {
    for (count, rows, width) in [(1, 1, 1), (64, 10, 3), (257, 3, 128), (1000, 5000, 33), (3, 2, 20_000)] {
        compare_random(count, rows, width, rows as u64);
    }
}

fn an_index_that_is_no_row_gives_nan() {
    let x = Inputs::new(1).floats(10 * 4);
    compare(GatherRows { count: 5, rows: 10, width: 4 }, &x, vec![0, 10, 9, u32::MAX, 1 << 30]);
}

fn non_finite_values_stay() {
    let x = [f32::NAN, 1.0, f32::NEG_INFINITY, 2.0, 1e4, -1e4];
    compare(GatherRows { count: 4, rows: 3, width: 2 }, &x, vec![2, 0, 1, 0]);
}

proptest! {
    #![proptest_config(cases(16))]
    fn any_shape(count in 1..300_usize, rows in 1..60_usize, width in 1..40_usize, seed in any::<u64>()) {
        compare_random(count, rows, width, seed);
    }
}
