//! The number of parts that a weight gradient's sum over output pixels is cut into.

use crate::compute::conv_geometry::ConvGeometry;
use crate::compute::conv_tile::WorkgroupTile;

/// Pixels of a part below which its workspace costs more than its sum.
pub const LEAST_PIXELS: usize = 256;
/// Pixels of a part above which its sum loses digits: tensor cores are reported to truncate each partial sum towards
/// zero, and the error grows with the number of terms.
pub const MOST_PIXELS: usize = 8192;
/// Workgroups that fill a large GPU: 132 multiprocessors with 7 or 8 each.
pub const WORKGROUPS: usize = 1024;

/// A rule for the number of parts. The number depends on the shape, and on a GPU also on the tile and the largest
/// tensor that the device binds, but not on the machine's speed or load: the same kernels add in the same order on
/// every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// The rule of the CPU device, for every tile: published results depend on its order of additions.
    Cpu,
    /// The rule of a GPU that binds tensors of up to `largest` bytes: at least [`WORKGROUPS`] workgroups and at most
    /// [`MOST_PIXELS`] pixels a part, as far as parts of [`LEAST_PIXELS`] pixels and a workspace of `largest` bytes
    /// allow. No part is empty.
    Gpu { largest: u64 },
}

impl Parts {
    /// The parts of the weight gradient of `g` by `tile`; at least 1.
    pub(crate) fn count(self, g: &ConvGeometry, tile: WorkgroupTile) -> usize {
        let pixels = g.out_pixels();
        match self {
            Self::Cpu => {
                let tiles = g.weight_rows().div_ceil(32) * g.c_out.div_ceil(32);
                256usize.div_ceil(tiles).min(pixels / LEAST_PIXELS).clamp(1, 64)
            }
            Self::Gpu { largest } => {
                let bound = usize::try_from(largest / (4 * g.weights_len() as u64)).unwrap_or(usize::MAX);
                let most = bound.min(pixels / LEAST_PIXELS).max(1);
                let tiles = tile.count(g.weight_rows(), g.c_out);
                let wanted = WORKGROUPS.div_ceil(tiles).max(pixels.div_ceil(MOST_PIXELS)).min(most);
                let none_is_empty = |n: &usize| (n - 1) * pixels.div_ceil(*n) < pixels;
                (wanted..=most).chain((1..wanted).rev()).find(none_is_empty).unwrap_or(1)
            }
        }
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use crate::compute::conv_tile::ScalarTile;
    use crate::compute::cooperative::{Cooperative, Method};
    use crate::compute::parts::*;

    const UNBOUND: Parts = Parts::Gpu { largest: u64::MAX };

    fn geometry(n: usize, size: usize, c_in: usize, c_out: usize) -> ConvGeometry {
        ConvGeometry { n, h: size, w: size, c_in, c_out, kh: 3, kw: 3, stride: 1, padding: 1 }
    }

    fn by_rule(parts: Parts, g: &ConvGeometry) -> usize {
        parts.count(g, WorkgroupTile::staged(Method::Scalar, g.weight_rows(), g.c_out, None))
    }

    /// The tiles that the rule or `jem tune` may take.
    fn tiles(g: &ConvGeometry) -> impl Iterator<Item = WorkgroupTile> {
        let scalar = ScalarTile::ALL.into_iter().filter(|tile| !tile.is_direct()).map(WorkgroupTile::from);
        let of = |size| Method::Cooperative(Cooperative::new(size, 32));
        let matrices = [8, 16].map(|size| WorkgroupTile::staged(of(size), g.weight_rows(), g.c_out, None));
        scalar.chain(matrices)
    }

    #[test]
    fn gpus_fill_up_within_the_limits_of_a_part() {
        for n in [1, 3, 16, 48, 64, 192, 250, 300, 1000] {
            for (size, c_in, c_out) in
                [(32, 3, 16), (32, 16, 160), (32, 160, 160), (16, 320, 320), (9, 64, 33), (8, 640, 640)]
            {
                let g = geometry(n, size, c_in, c_out);
                for tile in tiles(&g) {
                    let parts = UNBOUND.count(&g, tile);
                    let pixels = g.out_pixels().div_ceil(parts);
                    let workgroups = parts * tile.count(g.weight_rows(), c_out);
                    let case = format!("{g:?} by {tile:?}: {parts} parts");
                    assert!(pixels <= MOST_PIXELS, "{case}");
                    assert!((parts - 1) * pixels < g.out_pixels(), "{case}: the last is empty");
                    assert!(parts == 1 || pixels >= LEAST_PIXELS, "{case}");
                    // Either the GPU is full, or one part more would leave too few pixels for each.
                    let reached = workgroups >= WORKGROUPS || (g.out_pixels() / (parts + 1)) < LEAST_PIXELS;
                    assert!(reached, "{case}: {workgroups} workgroups");
                }
            }
        }
    }

    #[test]
    fn no_more_parts_than_are_needed() {
        for (n, size, channels) in [(192, 32, 160), (192, 16, 320), (192, 8, 640), (64, 32, 64)] {
            let g = geometry(n, size, channels, channels);
            for tile in tiles(&g) {
                let parts = UNBOUND.count(&g, tile);
                let less = parts - 1;
                let too_few = less * tile.count(g.weight_rows(), channels) < WORKGROUPS;
                assert!(less == 0 || too_few || g.out_pixels().div_ceil(less) > MOST_PIXELS, "{g:?}");
            }
        }
    }

    #[test]
    fn the_workspace_is_one_that_the_device_binds() {
        let g = geometry(192, 32, 160, 160);
        let (free, bytes) = (by_rule(UNBOUND, &g), 4 * g.weights_len() as u64);
        assert!(free > 7);
        for (largest, parts) in [(7 * bytes, 7), (7 * bytes - 1, 6), (bytes, 1), (1, 1)] {
            assert_eq!(by_rule(Parts::Gpu { largest }, &g), parts, "{largest}");
        }
    }

    /// The CPU device's numbers of parts at the time that its results were published, for every tile.
    #[test]
    fn the_cpus_counts_stay() {
        for (n, size, c_in, c_out, parts) in [
            (96, 32, 3, 16, 64),
            (96, 32, 16, 16, 52),
            (96, 32, 16, 32, 52),
            (96, 16, 32, 32, 29),
            (96, 16, 32, 64, 15),
            (96, 8, 64, 64, 8),
            (192, 32, 160, 160, 2),
            (192, 16, 320, 320, 1),
            (1, 8, 16, 16, 1),
            (2, 16, 16, 16, 2),
        ] {
            let g = geometry(n, size, c_in, c_out);
            for tile in tiles(&g) {
                assert_eq!(Parts::Cpu.count(&g, tile), parts, "{g:?}");
            }
        }
    }
}
