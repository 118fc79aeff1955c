//! `scatter_add` against float64.

use super::harness::{Expect, Inputs, cases, check, words};
use jem::compute::Kernel;
use jem::kernels::scatter_add::ScatterAdd;
use proptest::prelude::*;

tests![
    awkward_shapes,
    an_index_that_is_no_row_adds_nothing,
    non_finite_values_stay_in_their_row,
    the_order_of_additions_is_that_of_the_indices,
    any_shape,
    every_row_compares_all_indices
];

fn compare(kernel: ScatterAdd, x: &[f32], indices: Vec<u32>) {
    let ScatterAdd { rows, width, .. } = kernel;
    let mut y = vec![0.0; rows * width];
    for (x, &index) in x.chunks(width).zip(&indices).filter(|&(_, &index)| (index as usize) < rows) {
        let row = &mut y[index as usize * width..][..width];
        row.iter_mut().zip(x).for_each(|(y, &x)| *y += f64::from(x));
    }
    check(kernel, &[Some(words(x)), Some(indices), None], &[Expect::Close(y, 1e-12)]);
}

fn compare_random(count: usize, rows: usize, width: usize, seed: u64) {
    let mut inputs = Inputs::new(seed);
    // With a mean, so that no sum nearly cancels.
    let x: Vec<f32> = (0..count * width).map(|_| inputs.uniform(-0.5, 1.5)).collect();
    let indices = inputs.below(count, rows as u32);
    compare(ScatterAdd { count, rows, width }, &x, indices);
}

fn awkward_shapes() {
    for (count, rows, width) in [
        (1, 1, 1),
        (64, 10, 3),
        (257, 3, 128),
        (1000, 5000, 33),
        (3, 2, 20_000),
        (1000, 1, 2),
        (700, 70_001, 1),
    ] {
        compare_random(count, rows, width, rows as u64);
    }
}

fn an_index_that_is_no_row_adds_nothing() {
    let x = Inputs::new(1).floats(5 * 4);
    compare(ScatterAdd { count: 5, rows: 10, width: 4 }, &x, vec![0, 10, 9, u32::MAX, 1 << 30]);
}

fn non_finite_values_stay_in_their_row() {
    let x = [f32::NAN, 1.0, f32::INFINITY, 2.0, f32::NEG_INFINITY, -1.0, 3.0, 0.5];
    compare(ScatterAdd { count: 4, rows: 3, width: 2 }, &x, vec![0, 1, 1, 2]);
}

/// 1e8 + 1 - 1e8 is 0 in f32, and 1e8 - 1e8 + 1 is 1.
fn the_order_of_additions_is_that_of_the_indices() {
    let initial = [Some(words(&[1e8, 5.0, 1.0, -1e8, 2.0])), Some(vec![0, 1, 0, 0, 0]), None];
    check(ScatterAdd { count: 5, rows: 2, width: 1 }, &initial, &[Expect::Exactly(words(&[2.0, 5.0]))]);
}

fn every_row_compares_all_indices() {
    for (count, rows, width) in [(70, 40, 33), (5, 1000, 257)] {
        let kernel = ScatterAdd { count, rows, width };
        let blocks: usize = kernel.workgroups().iter().map(|&n| n as usize).product();
        let (additions, comparisons) = (count * width, blocks * count);
        assert_eq!(kernel.flops(), additions as u64);
        assert_eq!(kernel.shader_operations(), (additions + comparisons) as u64);
    }
}

proptest! {
    #![proptest_config(cases(16))]
    fn any_shape(count in 1..300_usize, rows in 1..60_usize, width in 1..40_usize, seed in any::<u64>()) {
        compare_random(count, rows, width, seed);
    }
}
