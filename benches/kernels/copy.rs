//! `copy` as the transposition of convolution weights for the input gradient: both channel axes swapped.

use super::timing::Bench;
use jem::kernels::copy::StridedCopy;

/// Times it.
pub fn run(bench: &mut Bench) {
    for channels in [64, 256, 640] {
        let kernel = StridedCopy {
            shape: [3, 3, channels, channels],
            strides: [3 * channels * channels, channels * channels, 1, channels],
            offset: 0,
        };
        bench.time(&format!("3x3x{channels}x{channels}, channels swapped"), kernel);
    }
}
