//! `head` as the SGLD step uses it (gradient down to the last activation) and as an evaluation does.

use super::timing::Bench;
use jem::compute::loss_term::LossTerm;
use jem::compute::storage::Storage;
use jem::kernels::head::Head;

/// Times it.
pub fn run(bench: &mut Bench) {
    for features in [64, 128, 640] {
        let part = LossTerm { count: bench.batch, log_p_x: 1.0, ..LossTerm::default() };
        let kernel = Head {
            n: bench.batch,
            pixels: 64,
            features,
            classes: 10,
            parts: vec![part],
            slope: Some(0.2),
            logits: false,
            gradient: true,
            saved: false,
            storage: Storage::F32,
            factor: 1.0,
        };
        bench.time(&format!("{features} features, gradient"), kernel.clone());
        bench.time(&format!("{features} features, logits"), Head { logits: true, gradient: false, ..kernel });
    }
}
