//! The windows of a max pool.

use jem::compute::pool_geometry::PoolGeometry;
use proptest::prelude::*;

/// Windows that kernels get wrong: of one pixel, larger than the image, apart, overlapping, over the edge.
pub fn awkward() -> impl Iterator<Item = PoolGeometry> {
    let shapes = [
        (1, 1, 1, 1, 1, 1, 0),
        (1, 1, 1, 2, 3, 1, 1),
        (3, 5, 5, 1, 5, 3, 4),
        (2, 32, 32, 3, 2, 2, 0),
        (1, 9, 4, 7, 3, 2, 1),
        (2, 7, 7, 5, 2, 3, 0),
        (1, 40, 40, 50, 3, 1, 1),
    ];
    let geometry = |(n, h, w, c, size, stride, padding)| PoolGeometry { n, h, w, c, size, stride, padding };
    shapes.into_iter().map(geometry)
}

/// Any small windows.
pub fn any_windows() -> impl Strategy<Value = PoolGeometry> {
    let sizes = (1..4_usize, 1..9_usize, 1..9_usize, 1..6_usize, 1..6_usize, 1..5_usize, 0..5_usize);
    let geometry = |(n, h, w, c, size, stride, padding)| PoolGeometry { n, h, w, c, size, stride, padding };
    sizes.prop_map(geometry).prop_filter("windows with pixels", PoolGeometry::is_valid)
}

/// The elements of the images that each element of the pooled images is chosen from, in their order.
pub fn windows(g: &PoolGeometry) -> Vec<Vec<usize>> {
    let mut windows = Vec::new();
    for n in 0..g.n {
        for row in 0..g.out_h() {
            for column in 0..g.out_w() {
                for channel in 0..g.c {
                    let mut window = Vec::new();
                    for i in 0..g.size {
                        for j in 0..g.size {
                            let (y, x) = (row * g.stride + i, column * g.stride + j);
                            let inside =
                                |at: usize, length: usize| at >= g.padding && at < length + g.padding;
                            if inside(y, g.h) && inside(x, g.w) {
                                let pixel = (n * g.h + y - g.padding) * g.w + x - g.padding;
                                window.push(pixel * g.c + channel);
                            }
                        }
                    }
                    windows.push(window);
                }
            }
        }
    }
    windows
}

/// For each element of the pooled images, the first of the largest of `x` in its window, or its first NaN.
pub fn chosen(g: &PoolGeometry, x: &[f64]) -> Vec<usize> {
    let choose = |window: Vec<usize>| {
        let nan = window.iter().position(|&i| x[i].is_nan());
        let values: Vec<f64> = window.iter().map(|&i| x[i]).collect();
        window[nan.unwrap_or_else(|| super::axes::argmax(&values))]
    };
    windows(g).into_iter().map(choose).collect()
}
