//! `winograd_input` of the layers that Winograd's kernels take.

use super::shapes::{Layer, wide_resnet};
use super::timing::Bench;
use jem::kernels::Kernel;
use jem::kernels::conv2d::ConvGeometry;
use jem::kernels::winograd::{Tiling, Winograd};
use jem::kernels::winograd_input::WinogradInput;

/// Times the kernel that `make` builds for each of those layers of WRN-16-2 and both sizes of tiles.
///
/// # Errors
/// As [`Bench::time`].
pub fn time_tiles<K: Kernel + 'static>(
    bench: &Bench,
    make: impl Fn(&ConvGeometry, Winograd) -> K,
) -> jem::Result<()> {
    for Layer { name, geometry, .. } in wide_resnet(16, 2, bench.batch) {
        for size in Winograd::ALL.into_iter().filter(|_| Winograd::takes(&geometry)) {
            bench.time(&format!("WRN-16-2 {name} {size:?}"), make(&geometry, size))?;
        }
    }
    Ok(())
}

/// Times it.
///
/// # Errors
/// As [`Bench::time`].
pub fn run(bench: &Bench) -> jem::Result<()> {
    time_tiles(bench, |g, size| WinogradInput { tiling: Tiling::new(g, size), channels: g.c_in })
}
