//! The convolutions of WideResNets on 32x32 images.

use super::timing::{Bench, Times};
use crate::options::Network;
use jem::compute::Kernel;
use jem::compute::conv_geometry::ConvGeometry;
use jem::compute::cooperative::Method;
use jem::compute::norm_geometry::NormGeometry;
use jem::compute::storage::Storages;
use jem::self_test::usable_cooperative;

/// A convolution of a network.
pub struct Layer {
    /// Its place.
    pub name: &'static str,
    /// The number of times that the network has it.
    pub count: u32,
    /// Its shapes.
    pub geometry: ConvGeometry,
}

/// The convolutions of `network` for a batch of `n`; the stride is on a block's second one.
pub fn wide_resnet(network: Network, n: usize) -> Vec<Layer> {
    let Network { depth, width } = network;
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

/// The storage types of the tensors in a program that multiplies by `method`.
pub fn of_products(method: Method) -> Storages {
    match method {
        Method::Scalar => Storages::default(),
        Method::Cooperative(_) => Storages::F16,
    }
}

/// Times the kernel that `make` builds for every layer of the networks, and sums up each network of which all layers
/// could be measured; then does so again with the cooperative matrices that the device may use, in f32 where they do
/// not suit a layer.
pub fn time_networks<K: Kernel + 'static>(bench: &mut Bench, make: impl Fn(ConvGeometry, Method) -> K) {
    let cooperative = usable_cooperative(bench.device).ok().map(Method::Cooperative);
    for method in [Method::Scalar].into_iter().chain(cooperative) {
        let by = |method| match method {
            Method::Scalar => String::new(),
            Method::Cooperative(matrices) => format!(", {matrices}"),
        };
        for &network in bench.networks {
            let mut total = Some(Times::none());
            for Layer { name, count, geometry } in wide_resnet(network, bench.batch) {
                let method = method.suiting(&geometry);
                let times = bench.time(&format!("{network} {name}{}", by(method)), make(geometry, method));
                total = total.zip(times).map(|(total, times)| total.plus(count, &times));
            }
            if let Some(total) = total {
                bench.print(&format!("{network}, all{}", by(method)), &total);
            }
        }
    }
}

/// The normalised tensors of the networks: batch norm's in the inner layers, group norm's in the first ones.
pub fn norms(bench: &Bench) -> Vec<(String, NormGeometry)> {
    let mut all = Vec::new();
    for &network in bench.networks {
        for (group, side) in [32, 16, 8].into_iter().enumerate() {
            let channels = (16 << group) * network.width;
            let geometry = NormGeometry { outer: 1, rows: bench.batch * side * side, channels, size: 1 };
            all.push((format!("{network} group {}", group + 1), geometry));
        }
        let channels = 16 * network.width;
        let geometry = NormGeometry { outer: bench.batch, rows: 32 * 32, channels, size: channels / 8 };
        all.push((format!("{network} group 1, 8 groups"), geometry));
    }
    all
}
