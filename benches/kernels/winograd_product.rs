//! `winograd_product` of the layers that Winograd's kernels take.

use super::timing::Bench;
use super::winograd_input::time_tiles;
use jem::compute::winograd::Tiling;
use jem::kernels::winograd_product::WinogradProduct;

/// Times it.
pub fn run(bench: &mut Bench) {
    time_tiles(bench, |g, size| {
        let tiles = Tiling::new(g, size).tiles();
        WinogradProduct { points: size.points(), m: tiles, n: g.c_out, k: g.c_in }
    });
}
