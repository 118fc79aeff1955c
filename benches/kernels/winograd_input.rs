//! `winograd_input` of the layers that Winograd's kernels take.

use super::shapes::{Layer, wide_resnet};
use super::timing::Bench;
use jem::compute::Kernel;
use jem::compute::conv_geometry::ConvGeometry;
use jem::compute::winograd::{Tiling, Winograd};
use jem::kernels::winograd_input::WinogradInput;

/// Times the kernel that `make` builds for each of those layers of the networks and both sizes of tiles.
pub fn time_tiles<K: Kernel + 'static>(bench: &mut Bench, make: impl Fn(&ConvGeometry, Winograd) -> K) {
    for &network in bench.networks {
        for Layer { name, geometry, .. } in wide_resnet(network, bench.batch) {
            for size in Winograd::ALL.into_iter().filter(|_| Winograd::takes(&geometry)) {
                bench.time(&format!("{network} {name} {size:?}"), make(&geometry, size));
            }
        }
    }
}

/// Times it.
pub fn run(bench: &mut Bench) {
    time_tiles(bench, |g, size| WinogradInput { tiling: Tiling::new(g, size), channels: g.c_in });
}
