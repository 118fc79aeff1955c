//! `matmul`: the linear layer, its gradients, and a square product.

use super::timing::Bench;
use jem::kernels::matmul::Matmul;

/// Times it.
pub fn run(bench: &mut Bench) {
    let product = |m, n, k| Matmul { m, n, k, transpose_a: false, transpose_b: false, bias: false };
    bench.time("linear layer of WRN-28-10", Matmul { bias: true, ..product(bench.batch, 10, 640) });
    bench.time("its weight gradient", Matmul { transpose_a: true, ..product(640, 10, bench.batch) });
    bench.time("512 x 512 x 512", product(512, 512, 512));
    bench.time("512 x 512 x 512, b transposed", Matmul { transpose_b: true, ..product(512, 512, 512) });
}
