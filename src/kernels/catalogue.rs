//! Small instances of every kernel, for tests that cover all of them.

use super::conv2d::Conv2d;
use super::conv2d_input_gradient::Conv2dInputGradient;
use super::conv2d_weight_gradient::Conv2dWeightGradient;
use crate::compute::Kernel;
use crate::compute::conv_geometry::ConvGeometry;
use crate::compute::conv_tile::MatrixTile;
use crate::compute::cooperative::{Cooperative, Method};
use crate::compute::storage::{Storage, Storages};

/// One or more small instances of every kernel and permutation, for the tests that cover all of them (naga's validation
/// and back ends, twin/test/bench completeness).
pub fn catalogue() -> Vec<Box<dyn Kernel>> {
    fn boxed<K: Kernel + 'static>(kernel: K) -> Box<dyn Kernel> {
        Box::new(kernel)
    }
    macro_rules! all {
        ($($module:ident: $kernel:ident,)+) => {
            [$(super::$module::$kernel::permutations().into_iter().map(boxed).collect::<Vec<_>>()),+]
        };
    }
    crate::for_each_kernel!(all).into_iter().flatten().collect()
}

/// The convolution kernels' permutations with these matrices, and with every tile that fits their device. [`catalogue`]
/// lacks them, because its kernels run on every device.
pub fn cooperative_catalogue(matrices: Cooperative) -> Vec<Box<dyn Kernel>> {
    let method = Method::Cooperative(matrices);
    let mut all: Vec<Box<dyn Kernel>> = Vec::new();
    for kernel in Conv2d::permutations().into_iter().filter(|kernel| kernel.tile.is_none()) {
        all.push(Box::new(Conv2d { method, ..kernel }));
    }
    for kernel in Conv2dInputGradient::permutations().into_iter().filter(|kernel| kernel.tile.is_none()) {
        all.push(Box::new(Conv2dInputGradient { method, ..kernel }));
    }
    for kernel in Conv2dWeightGradient::permutations().into_iter().filter(|kernel| kernel.tile.is_none()) {
        all.push(Box::new(Conv2dWeightGradient { method, ..kernel }));
    }
    let geometry = ConvGeometry::tiled();
    for tile in MatrixTile::ALL.into_iter().filter(|tile| tile.fits(matrices)) {
        let (storage, tile) = (Storages::F16, Some(tile.into()));
        let sums = Storages { c: Storage::F32, ..storage };
        all.push(Box::new(Conv2d { method, storage, tile, ..Conv2d::new(geometry) }));
        all.push(Box::new(Conv2dInputGradient {
            method,
            storage,
            tile,
            ..Conv2dInputGradient::new(geometry)
        }));
        let parts = Conv2dWeightGradient { parts: 2, ..Conv2dWeightGradient::new(geometry) };
        all.push(Box::new(Conv2dWeightGradient { method, storage: sums, tile, ..parts }));
    }
    all
}
