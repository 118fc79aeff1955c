//! The steps, the most important first.

use super::share::Share;
use jem::ebm::Precision;
use serde_json::Value;

/// The variants of the kernels that use cooperative matrices (`JEM_COOPERATIVE`), the best first.
pub const VARIANTS: [&str; 4] = ["naga", "patched", "flat", "flat-patched"];

/// The task of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Facts about the machine.
    Host,
    /// The full output of `nvidia-smi -q`.
    Card,
    /// The adapters that the Vulkan drivers offer.
    Devices,
    /// Whether PyTorch is installed.
    Torch,
    /// Each kernel beside its twin, without matrices.
    SelfTest,
    /// The gate for one variant of cooperative matrices.
    Gate(&'static str),
    /// The kernel tests of one kind.
    Test(&'static str),
    /// Registers and spills of the heavy kernels.
    Registers,
    /// The cost of a dispatch, a barrier, a submission.
    Launch,
    /// The rates that bound every kernel.
    Ceilings,
    /// The end of PyTorch's warm-up, which runs in the background.
    Warm,
    /// PyTorch alone, in the modes of one precision.
    Peer(&'static str),
    /// An iteration, dispatch by dispatch.
    Profile(Precision),
    /// Whole steps, in turns with PyTorch's best mode.
    Steps(Precision),
    /// The shapes that take the most time, tuned.
    Tune(Precision),
    /// Whole steps with the tuned kernels.
    Tuned(Precision),
    /// Training of the published network.
    Train(Precision),
    /// Training of a smaller network for a while.
    TrainSmall,
    /// Clocks, temperature and throttling, when the card is warm.
    Clocks,
    /// The remaining kernel tests.
    Rest,
}

impl Task {
    /// Whether it tests or times anything, rather than reports facts.
    fn measures(self) -> bool {
        !matches!(self, Self::Host | Self::Card | Self::Devices | Self::Torch | Self::Clocks)
    }
}

/// Whether the step `name` reports facts, rather than tests or times anything.
pub fn is_fact(name: &str) -> bool {
    let step = steps(false, USUAL.0).into_iter().find(|step| step.name == name);
    step.is_none_or(|step| !step.task.measures())
}

/// Whether any of `steps` that tests or times something ended without an error, according to `lines`.
pub fn has_measured(steps: &[Step], lines: &[Value]) -> bool {
    let ok = |step: &Step| lines.iter().any(|line| line["step"] == step.name && line["status"] == "ok");
    steps.iter().any(|step| step.task.measures() && ok(step))
}

/// A step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Its name in `results.jsonl`.
    pub name: &'static str,
    /// A description for people.
    pub about: &'static str,
    /// Its task.
    pub task: Task,
    /// Its time.
    pub share: Share,
    /// The seconds that are reserved for it in a run of the usual length.
    pub usual: f64,
}

impl Step {
    /// Whether `limit` seconds are well above what the step needs, however short the run is.
    pub fn is_roomy(&self, limit: f64) -> bool {
        limit >= 1.8 * self.usual
    }
}

/// Kinds of kernel tests that run before the others, and the part of their names that no other test has. A test is
/// called `FILE::TEST`.
pub const HEAVY: [(&str, &str); 4] =
    [("conv2d", "conv2d"), ("winograd", "winograd"), ("head", "head::"), ("cooperative", "cooperative::")];

/// Seconds of the run for which the plan's times are written: in full, and quick.
const USUAL: (f64, f64) = (540.0, 60.0);

/// Seconds reserved at the end for the summary and the archive of logs.
pub fn ending(quick: bool) -> f64 {
    if quick { 3.0 } else { 8.0 }
}

/// The steps of a run of `seconds`.
pub fn steps(quick: bool, seconds: f64) -> Vec<Step> {
    use Precision::{F16, F32};
    let (usual, ending) = (if quick { USUAL.1 } else { USUAL.0 }, ending(quick));
    let scale = ((seconds - ending) / (usual - ending)).clamp(0.0, 1.0);
    // Seconds reserved for the step, and its limit: in full, then quick on a driver that computes on the CPU.
    let step = |name, about, task, full: (f64, f64), small: (f64, f64)| {
        let (kept, limit) = if quick { small } else { full };
        Step { name, about, task, share: Share { kept, limit }.scaled(scale), usual: kept }
    };
    let conv2d = "kernel tests of convolutions, beside float64";
    let winograd = "kernel tests of Winograd's kernels, beside float64";
    let head = "kernel tests of the head, beside float64";
    let matrices = "kernel tests of cooperative matrices, beside float64";
    vec![
        step("host", "the machine", Task::Host, (2.0, 15.0), (0.5, 10.0)),
        step("card", "nvidia-smi -q", Task::Card, (2.0, 20.0), (0.5, 5.0)),
        step("devices", "adapters and what they offer", Task::Devices, (4.0, 30.0), (1.0, 10.0)),
        step("torch", "version of PyTorch", Task::Torch, (8.0, 60.0), (1.0, 20.0)),
        step("selftest-f32", "every kernel in f32", Task::SelfTest, (10.0, 60.0), (5.0, 20.0)),
        step("gate-naga", "matrices, naga's SPIR-V", Task::Gate("naga"), (8.0, 60.0), (1.0, 90.0)),
        step("gate-patched", "matrices, patched SPIR-V", Task::Gate("patched"), (8.0, 60.0), (1.0, 90.0)),
        step("gate-flat", "matrices, without subgroup_id", Task::Gate("flat"), (8.0, 60.0), (1.0, 90.0)),
        step(
            "gate-flat-patched",
            "matrices, without subgroup_id, patched",
            Task::Gate("flat-patched"),
            (8.0, 60.0),
            (1.0, 90.0),
        ),
        step("test-conv2d", conv2d, Task::Test("conv2d"), (15.0, 45.0), (2.0, 8.0)),
        step("test-winograd", winograd, Task::Test("winograd"), (10.0, 30.0), (1.0, 6.0)),
        step("test-head", head, Task::Test("head"), (5.0, 30.0), (1.0, 6.0)),
        step("test-cooperative", matrices, Task::Test("cooperative"), (6.0, 30.0), (1.0, 60.0)),
        step("registers", "registers and spills of pipelines", Task::Registers, (12.0, 60.0), (1.0, 10.0)),
        step("launch", "cost of dispatches and submissions", Task::Launch, (4.0, 20.0), (1.0, 4.0)),
        step("ceilings", "rates of arithmetic and memory", Task::Ceilings, (14.0, 45.0), (5.0, 20.0)),
        step("torch-warm", "PyTorch's compilation in the background", Task::Warm, (20.0, 40.0), (1.0, 10.0)),
        step("torch-bf16", "PyTorch alone in bf16", Task::Peer("bf16"), (24.0, 60.0), (1.0, 15.0)),
        step("torch-tf32", "PyTorch alone in TF32", Task::Peer("tf32"), (20.0, 45.0), (1.0, 15.0)),
        step("torch-float32", "PyTorch alone in float32", Task::Peer("float32"), (18.0, 45.0), (1.0, 15.0)),
        step("profile-f32", "an iteration in f32, by kernel", Task::Profile(F32), (18.0, 45.0), (2.0, 60.0)),
        step("profile-f16", "an iteration in f16, by kernel", Task::Profile(F16), (18.0, 45.0), (1.5, 60.0)),
        step("steps-f32", "whole steps in f32", Task::Steps(F32), (50.0, 100.0), (5.0, 60.0)),
        step("steps-f16", "whole steps in f16", Task::Steps(F16), (38.0, 75.0), (2.0, 60.0)),
        step("tune-f16", "best kernels in f16", Task::Tune(F16), (28.0, 80.0), (2.0, 12.0)),
        step("tune-f32", "best kernels in f32", Task::Tune(F32), (25.0, 80.0), (2.0, 12.0)),
        step("tuned-f16", "whole steps in f16, tuned", Task::Tuned(F16), (14.0, 40.0), (2.0, 20.0)),
        step("tuned-f32", "whole steps in f32, tuned", Task::Tuned(F32), (14.0, 40.0), (3.0, 20.0)),
        step("train-f32", "training in f32", Task::Train(F32), (18.0, 60.0), (2.0, 30.0)),
        step("train-f16", "training in f16 from the same seed", Task::Train(F16), (14.0, 60.0), (1.5, 30.0)),
        step("train-small", "training of a WRN-16-4", Task::TrainSmall, (16.0, 30.0), (2.0, 20.0)),
        step("clocks", "clocks, temperature, throttling", Task::Clocks, (3.0, 10.0), (0.5, 5.0)),
        // Last, because it takes all the time that is left.
        step("test-rest", "the remaining kernel tests", Task::Rest, (15.0, 600.0), (1.5, 600.0)),
    ]
}
