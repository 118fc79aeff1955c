//! `max_pool` by 2, and by 3 with overlap, on the largest activation of WRN-10-1.

use super::timing::Bench;
use jem::compute::pool_geometry::PoolGeometry;
use jem::kernels::max_pool::MaxPool;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (size, padding) in [(2, 0), (3, 1)] {
        let geometry = PoolGeometry { n: bench.batch, h: 32, w: 32, c: 16, size, stride: 2, padding };
        bench.time(&format!("32x32x16 by {size}, stride 2"), MaxPool { geometry });
    }
}
