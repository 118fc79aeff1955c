//! `sign_mask` of the largest activation of WRN-10-1 and WRN-16-2.

use super::timing::Bench;
use jem::kernels::sign_mask::SignMask;

/// Times it.
pub fn run(bench: &mut Bench) {
    for channels in [16, 32] {
        bench.time(&format!("{channels} channels"), SignMask { pixels: bench.batch * 32 * 32, channels });
    }
}
