//! `winograd_weights`, once for each change of the parameters.

use super::timing::Bench;
use super::winograd_input::time_tiles;
use jem::kernels::winograd_weights::WinogradWeights;

/// Times it.
pub fn run(bench: &mut Bench) {
    time_tiles(bench, |g, size| WinogradWeights { rows: g.c_in, columns: g.c_out, size, flipped: false });
}
