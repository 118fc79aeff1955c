//! `moments`: of batch norm's channels, in parts of the rows.

use super::shapes::norms;
use super::timing::Bench;
use jem::compute::storage::Storage;
use jem::kernels::moments::Moments;

/// Times it.
pub fn run(bench: &mut Bench) {
    for (label, geometry) in norms(bench) {
        bench.time(&label, Moments { geometry, storage: Storage::F32 });
    }
}
