//! `winograd_input` against its matrices in float64.

use super::harness::{Expect, Inputs, cases, check, words};
use super::reference::winograd::{Matrices, transform};
use jem::compute::winograd::{Tiling, Winograd};
use jem::kernels::winograd_input::WinogradInput;
use proptest::prelude::*;

tests![every_permutation, any_shape];

const BOUND: f64 = 1e-12;

fn compare(kernel: WinogradInput, seed: u64) {
    let WinogradInput { tiling, channels } = kernel;
    let Tiling { h, w, size, .. } = tiling;
    let input = Inputs::new(seed).floats(tiling.pixels() * channels);
    let (rows, columns, t) = (tiling.rows(), tiling.columns(), size.inputs());
    let mut expected = vec![0.0; tiling.transformed_len(channels)];
    for tile in 0..tiling.tiles() {
        let image = tile / (rows * columns);
        let (y, x) = (tile / columns % rows * size.outputs(), tile % columns * size.outputs());
        for channel in 0..channels {
            let pixel = |at: usize| {
                let (y, x) = ((y + at / t).wrapping_sub(1), (x + at % t).wrapping_sub(1));
                let inside = y < h && x < w;
                if inside { f64::from(input[((image * h + y) * w + x) * channels + channel]) } else { 0.0 }
            };
            let pixels: Vec<f64> = (0..t * t).map(pixel).collect();
            for (point, value) in transform(&Matrices::of(size).input, &pixels).into_iter().enumerate() {
                expected[(point * tiling.tiles() + tile) * channels + channel] = value;
            }
        }
    }
    check(kernel, &[Some(words(&input)), None], &[Expect::Close(expected, BOUND)]);
}

fn every_permutation() {
    for (seed, kernel) in WinogradInput::permutations().into_iter().enumerate() {
        compare(kernel, seed as u64);
    }
}

proptest! {
    #![proptest_config(cases(8))]
    fn any_shape(n in 1..3_usize, h in 1..11_usize, eights in 1..3_usize, quads in 1..9_usize, f4: bool, seed: u64) {
        let size = if f4 { Winograd::F4 } else { Winograd::F2 };
        compare(WinogradInput { tiling: Tiling { n, h, w: 8 * eights, size }, channels: 4 * quads }, seed);
    }
}
