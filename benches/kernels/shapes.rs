//! The convolutions of WideResNets on 32x32 images.

use super::timing::{Bench, Times, print_times};
use jem::kernels::Kernel;
use jem::kernels::conv2d::ConvGeometry;
use jem::kernels::cooperative::Method;
use std::time::Duration;

/// Words of the flat parameter buffers of networks, about.
pub const PARAMETERS: [(&str, usize); 2] =
    [("78,000, as WRN-10-1", 78_000), ("2,700,000, as WRN-16-4", 2_700_000)];

/// A convolution of a network.
pub struct Layer {
    /// Its place.
    pub name: &'static str,
    /// How often the network has it.
    pub count: u32,
    /// Its shapes.
    pub geometry: ConvGeometry,
}

/// The convolutions of WRN-`depth`-`width` for a batch of `n`; the stride is on a block's second one.
pub fn wide_resnet(depth: usize, width: usize, n: usize) -> Vec<Layer> {
    let blocks = (depth - 4) / 6;
    let mut layers = Vec::new();
    let mut add = |name, count: usize, size, (c_in, c_out), kernel: usize, stride| {
        let padding = kernel / 2;
        let geometry =
            ConvGeometry { n, h: size, w: size, c_in, c_out, kh: kernel, kw: kernel, stride, padding };
        if count > 0 {
            layers.push(Layer { name, count: count as u32, geometry });
        }
    };
    let (a, b, c) = (16 * width, 32 * width, 64 * width);
    add("stem", 1, 32, (3, 16), 3, 1);
    add("group 1 first", 1, 32, (16, a), 3, 1);
    add("group 1 inner", 2 * blocks - 1, 32, (a, a), 3, 1);
    add("group 1 shortcut", usize::from(a != 16), 32, (16, a), 1, 1);
    add("group 2 first", 1, 32, (a, b), 3, 1);
    add("group 2 stride", 1, 32, (b, b), 3, 2);
    add("group 2 shortcut", 1, 32, (a, b), 1, 2);
    add("group 2 inner", 2 * (blocks - 1), 16, (b, b), 3, 1);
    add("group 3 first", 1, 16, (b, c), 3, 1);
    add("group 3 stride", 1, 16, (c, c), 3, 2);
    add("group 3 shortcut", 1, 16, (b, c), 1, 2);
    add("group 3 inner", 2 * (blocks - 1), 8, (c, c), 3, 1);
    layers
}

/// Times the kernel that `make` builds for every layer of the networks, and sums up each network; then again by each
/// of the device's cooperative matrices, in f32 where those do not suit a layer.
///
/// # Errors
/// As [`Bench::time`].
pub fn time_networks<K: Kernel + 'static>(
    bench: &Bench,
    make: impl Fn(ConvGeometry, Method) -> K,
) -> jem::Result<()> {
    let cooperative = bench.device.cooperative().iter().map(|&matrices| Method::Cooperative(matrices));
    for method in [Method::Scalar].into_iter().chain(cooperative) {
        let by = |method| match method {
            Method::Scalar => String::new(),
            Method::Cooperative(matrices) => format!(", {matrices}"),
        };
        for (depth, width) in [(10, 1), (16, 2)] {
            let mut total = Times { best: Duration::ZERO, median: Duration::ZERO, flops: 0, bytes: 0 };
            for Layer { name, count, geometry } in wide_resnet(depth, width, bench.batch) {
                let method = method.suiting(&geometry);
                let label = format!("WRN-{depth}-{width} {name}{}", by(method));
                let times = bench.time(&label, make(geometry, method))?;
                total.best += count * times.best;
                total.median += count * times.median;
                total.flops += u64::from(count) * times.flops;
                total.bytes += u64::from(count) * times.bytes;
            }
            print_times(&format!("WRN-{depth}-{width}, all{}", by(method)), &total);
        }
    }
    Ok(())
}
