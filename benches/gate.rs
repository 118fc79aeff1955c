//! The gate: whether this device's cooperative matrices multiply correctly in each variant, tried in a child process.

use crate::options::{Arguments, Setting};
use crate::report::Report;
use jem::self_test::cooperative;
use serde_json::json;

/// Tries the requested variant, else all of them.
///
/// # Errors
/// If no variant passes on a device that offers cooperative matrices.
pub fn run(setting: &Setting, arguments: &Arguments, report: &mut Report) -> Result<(), String> {
    let title = "Gate of cooperative matrices (tensor cores)";
    let about = "error: the largest Σ(a-b)²/Σb² beside the kernel in f32; all runs of a kernel must give the same bits";
    report.table(title, about, &["variant", "matrices", "outcome", "error", "kernels", "seconds"]);
    if setting.device.cooperative().is_empty() {
        report.left_out(
            "cooperative matrices: the device offers none of f16 with sums in f32, or they were turned off",
        );
        return Ok(());
    }
    let results = cooperative(&setting.device, arguments.cooperative.is_none());
    for result in &results {
        let answer = &result.answer;
        report.row(vec![
            json!(result.matrices.variant),
            json!(format!("{0}x{0}x{0}", result.matrices.size)),
            json!(answer.refused.as_deref().unwrap_or("passed")),
            json!(answer.refused.is_none().then_some(answer.error)),
            json!(answer.kernels),
            json!(answer.seconds),
        ]);
    }
    match results.iter().any(|result| result.passed()) {
        true => Ok(()),
        false => Err("cooperative matrices: no variant passed the gate".into()),
    }
}
