//! The cooperative matrices (tensor cores) that programs may use on a device.

use super::gate::Answer;
use super::{answers, service};
use crate::compute::cooperative::Cooperative;
use crate::device::{AdapterInfo, Device};

/// The reason for a device without matrices.
const NONE: &str = "the device offers no matrices of f16 with sums in f32, or was opened without them";

/// The result of the gate for one variant of matrices on a device.
#[derive(Debug, Clone, PartialEq)]
pub struct CooperativeResult {
    /// The matrices.
    pub matrices: Cooperative,
    /// The gate's answer.
    pub answer: Answer,
}

impl CooperativeResult {
    /// Whether programs may multiply by these matrices.
    pub fn passed(&self) -> bool {
        self.answer.refused.is_none()
    }

    /// The result as text.
    pub fn outcome(&self) -> String {
        match &self.answer.refused {
            Some(message) => format!("refused: {message}"),
            None => format!("error {:.1e}, {} identical runs each", self.answer.error, self.answer.repeats),
        }
    }
}

/// Tries the matrices of `device` again, each variant in a child process: of each size the variants until one passes,
/// or with `all` every variant. The results are stored for [`usable_cooperative`] in later processes.
pub fn cooperative(device: &Device, all: bool) -> Vec<CooperativeResult> {
    let Some(adapter) = device.adapter() else { return Vec::new() };
    let mut results: Vec<CooperativeResult> = Vec::new();
    for &matrices in device.cooperative() {
        let known = results.iter().any(|other| other.matrices.size == matrices.size && other.passed());
        if all || !known {
            results.push(CooperativeResult { matrices, answer: ask(adapter, matrices) });
        }
    }
    results
}

/// The first matrices that pass the gate, by which programs may multiply on `device`. Stored answers about this driver
/// and these shaders are used.
///
/// # Errors
/// Why none may be used.
pub fn usable_cooperative(device: &Device) -> Result<Cooperative, String> {
    let known = device.usable_cooperative().zip(device.adapter());
    let Some((known, adapter)) = known else { return Err(NONE.into()) };
    known.get_or_init(|| first_usable(device, adapter)).clone()
}

/// Whether [`usable_cooperative`] would have to run the gate, which may take a minute. Never true in a program that
/// does not call [`serve`](super::serve), where the gate cannot run.
pub fn is_gate_pending(device: &Device) -> bool {
    let (Some(known), Some(adapter)) = (device.usable_cooperative(), device.adapter()) else { return false };
    if known.get().is_some() || !service::serves() {
        return false;
    }
    for &matrices in device.cooperative() {
        match recall(adapter, matrices) {
            None => return true,
            Some(answer) if answer.refused.is_none() => return false,
            Some(_) => {}
        }
    }
    false
}

fn first_usable(device: &Device, adapter: &AdapterInfo) -> Result<Cooperative, String> {
    let mut reasons = Vec::new();
    for &matrices in device.cooperative() {
        let known = recall(adapter, matrices);
        let again = if known.is_some() { "; `jem devices --test` tries again" } else { "" };
        match known.unwrap_or_else(|| ask(adapter, matrices)).refused {
            None => return Ok(matrices),
            Some(message) => reasons.push(format!("{matrices}: {message}{again}")),
        }
    }
    match reasons.is_empty() {
        true => Err(NONE.into()),
        false => Err(reasons.join("; ")),
    }
}

fn recall(adapter: &AdapterInfo, matrices: Cooperative) -> Option<Answer> {
    answers::load(&answers::path()?, adapter, matrices)
}

fn ask(adapter: &AdapterInfo, matrices: Cooperative) -> Answer {
    let asked = service::ask(adapter, matrices);
    if let (true, Some(path)) = (asked.lasting, answers::path()) {
        answers::store(&path, adapter, matrices, &asked.answer);
    }
    asked.answer
}
