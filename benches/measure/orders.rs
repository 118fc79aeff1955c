//! The command of each step.

use super::plan::{HEAVY, Task};
use super::state::State;
use jem::device::DeviceSpec;
use jem::ebm::Precision;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The script that times PyTorch.
pub const PEER: &str = include_str!("../peers/time_pytorch.py");

/// Prints the version of torch and its device as a line of JSON.
const TORCH: &str = r#"
import json, site, sys
facts = {"python": sys.version.split()[0], "executable": sys.executable, "user_base": site.USER_BASE}
try:
    import torch
    facts["torch"] = torch.__version__
    facts["cuda"] = torch.version.cuda if torch.cuda.is_available() else None
    facts["card"] = torch.cuda.get_device_name() if facts["cuda"] else None
    facts["cudnn"] = torch.backends.cudnn.version()
except ImportError as error:
    facts["torch"] = None
    facts["why"] = str(error)
print(json.dumps(facts), flush=True)
"#;

/// The format in which a step prints its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The last line that is a JSON object.
    Line,
    /// All lines that are JSON objects.
    Lines,
    /// The text itself.
    Text,
    /// `bench.json` in the step's folder.
    Bench,
    /// The lines of the kernel tests.
    Tests,
    /// `metrics.csv` in the step's folder.
    Metrics,
}

/// A command and how to read its output.
#[derive(Debug)]
pub struct Order {
    /// The command.
    pub command: Command,
    /// The form of its output.
    pub reader: Reader,
    /// The seconds after which it is asked to end, before its limit.
    pub interrupt: Option<f64>,
}

impl Order {
    fn new(program: impl Into<OsString>, reader: Reader) -> Self {
        Self { command: Command::new(program.into()), reader, interrupt: None }
    }

    fn with<I: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = I>) -> Self {
        self.command.args(arguments.into_iter().map(Into::into));
        self
    }
}

/// Why `task` cannot or need not run, as far as the state tells; `None` if it can.
pub fn blocked(task: Task, state: &State) -> Option<String> {
    let device = || state.no_device.clone();
    let half =
        || state.no_matrices().then(|| "no variant of cooperative matrices passed the gate".to_owned());
    match task {
        Task::Host | Task::Devices => None,
        Task::Torch => {
            let python = &state.python;
            let is_there = python.components().count() > 1 || on_path(python).is_some();
            (!is_there).then(|| format!("{} is not installed", python.display()))
        }
        Task::Card | Task::Clocks => {
            on_path("nvidia-smi").is_none().then(|| "nvidia-smi is not installed".into())
        }
        Task::Warm => device().or_else(|| state.no_torch.clone()),
        Task::Peer(precision) => device().or_else(|| state.no_torch.clone()).or_else(|| {
            let none = precision == "tf32" && state.torch_known && !state.cuda;
            none.then(|| "TF32 is a format of NVIDIA GPUs".into())
        }),
        Task::Gate(_) => {
            device().or_else(|| Some(format!("steps use `{}`, which has passed", state.variant()?)))
        }
        Task::Test("cooperative") => device().or_else(half),
        Task::Profile(Precision::F16)
        | Task::Steps(Precision::F16)
        | Task::Tune(Precision::F16)
        | Task::Train(Precision::F16) => device().or_else(half),
        Task::Tuned(precision) => device()
            .or_else(|| (precision == Precision::F16).then(half).flatten())
            .or_else(|| (state.tuning_over && !state.tuned).then(|| "nothing was tuned".into())),
        _ => device(),
    }
}

/// The command of `task`, whose step is called `name` and has `limit` seconds. If it is `roomy`, the limit is well
/// above what is reserved for the step.
pub fn order(task: Task, name: &str, limit: f64, roomy: bool, state: &State) -> Order {
    let device = state.device.to_string();
    let bench = |section: &str| bench(state, name, section);
    let jem = |reader| Order::new(&state.jem, reader);
    match task {
        Task::Host => Order::new(&state.bench, Reader::Line).with(["measure", "--host"]),
        Task::Card => Order::new("nvidia-smi", Reader::Text).with(["-q"]),
        Task::Clocks => {
            let about = ["-q", "-d", "CLOCK,PERFORMANCE,TEMPERATURE,POWER,UTILIZATION"];
            Order::new("nvidia-smi", Reader::Text).with(about)
        }
        Task::Devices => jem(Reader::Line).with(["devices", "--json"]),
        Task::Torch => {
            let mut order = Order::new(&state.python, Reader::Line).with(["-c", TORCH]);
            // Only here: the user's folder may hold Python's packages, and this step reports where.
            if let Some(home) = std::env::var_os("HOME") {
                order.command.env("HOME", home);
            }
            order
        }
        Task::SelfTest => {
            let mut order = jem(Reader::Line).with(["devices", "--json", "--test", &device]);
            order.command.env("JEM_COOPERATIVE", "none");
            order
        }
        Task::Gate(variant) => {
            let mut order = bench("gate").with(["--cooperative", variant]);
            order.command.env_remove("JEM_COOPERATIVE");
            // Below the step's limit, so that the gate itself reports the kernel that hangs.
            if !state.quick {
                order.command.env("JEM_GATE_PATIENCE", "25");
            }
            order
        }
        Task::Test(kind) => tests(state).with([match kind {
            // A whole kind would take minutes on the CPU.
            "conv2d" if state.quick => "conv2d::any_shape",
            "winograd" if state.quick => "winograd_input",
            "head" if state.quick => "head::any_shape",
            _ => HEAVY.into_iter().find(|(name, _)| *name == kind).map_or(kind, |(_, part)| part),
        }]),
        Task::Rest => tests(state).with(HEAVY.into_iter().flat_map(|(_, part)| ["--skip", part])),
        Task::Registers => {
            let half = !state.no_matrices();
            bench("registers")
                .with(["--preset", if state.quick { "tiny" } else { "paper" }, "--precision"])
                .with([if half { "f16,f32" } else { "f32" }])
        }
        Task::Launch => bench("launch"),
        Task::Ceilings => bench("ceilings"),
        Task::Warm => unreachable!("it runs in the background"),
        Task::Peer(precision) => {
            // First the likely fastest without a compiler, then the likely fastest of all.
            let ways = ["graph", "graph-compile", "eager", "compile"];
            let modes = ways.map(|way| format!("{way}-{precision}")).join(",");
            let order = peer(state).with(["--modes", &modes, "--json", "--repeats", "5"]);
            order.with(["--seconds", &format!("{:.0}", (0.7 * limit).floor().max(1.0))])
        }
        Task::Profile(precision) => {
            let order = bench("profile").with(network(state, precision));
            // Its tables are written when all repeats are done.
            let repeats = if roomy { "9" } else { "3" };
            if state.quick { order } else { order.with(["--repeats", repeats]) }
        }
        Task::Steps(precision) => {
            let repeats = if state.quick {
                "2"
            } else if roomy {
                "9"
            } else {
                "5"
            };
            let order = bench("steps").with(network(state, precision)).with(["--repeats", repeats]);
            let modes = in_turns(precision, state);
            if state.no_torch.is_some() || modes.is_empty() {
                return order;
            }
            let kind = if state.cuda { "cuda" } else { "cpu" };
            let order = order.with(["--peer".into(), state.python.clone().into_os_string()]);
            order.with(["--peer-device", kind, "--peer-mode", &modes.join(",")])
        }
        Task::Tuned(precision) => {
            let repeats = if state.quick { "2" } else { "5" };
            let mut order = bench("steps").with(network(state, precision)).with(["--repeats", repeats]);
            order.command.env("JEM_TUNED", state.out.join("tuned.toml"));
            order
        }
        Task::Tune(precision) => {
            let order = jem(Reader::Line).with(["tune", "--json", "--only", "sgld", "--precision"]);
            let order =
                order.with([precision.to_string(), "--out".into()]).with([state.out.join("tuned.toml")]);
            let small = ["--preset", "tiny", "--batch", "4", "--top", "2", "--seconds", "0.05"];
            let full = ["--preset", "paper", "--top", "6", "--seconds", "0.1"];
            let order = if state.quick { order.with(small) } else { order.with(full) };
            order.with(["--max-seconds", &format!("{:.1}", (0.75 * limit).min(60.0))])
        }
        Task::Train(precision) => {
            let small = ["--preset", "tiny", "--batch", "16", "--steps", "1", "--iterations", "3"];
            let full = ["--preset", "paper", "--iterations", "40"];
            let order = train(state, name, precision);
            let order =
                if state.quick { order.with(small).with(["--buffer", "160"]) } else { order.with(full) };
            // A slow device does fewer iterations, which are still worth comparing.
            Order { interrupt: Some(0.7 * limit), ..order }
        }
        Task::TrainSmall => {
            let half = state.variant().is_some();
            let order = train(state, name, if half { Precision::F16 } else { Precision::F32 });
            let order = order.with(["--preset", "small", "--iterations", "100000"]);
            let order = if state.quick {
                order.with(["--batch", "2", "--steps", "1", "--buffer", "40"])
            } else {
                order
            };
            Order { interrupt: Some(0.7 * limit), ..order }
        }
    }
}

/// The command that compiles PyTorch's modes while other steps run, in the script's order: those that are likely the
/// fastest first.
pub fn warm(state: &State) -> Command {
    peer(state).with(["--modes", "graph-compile,compile", "--warm"]).command
}

/// The path at which the shell would find `program`.
pub fn on_path(program: impl AsRef<Path>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program.as_ref())).find(|path| path.is_file())
}

/// A section of the bench that leaves `bench.json` in the step's folder. Only the section `ceilings` probes the
/// ceilings at length.
fn bench(state: &State, name: &str, section: &str) -> Order {
    let order = Order::new(&state.bench, Reader::Bench).with([section, "--out"]);
    let order = order.with([state.scratch.join(name)]);
    let probe = if state.quick { "5" } else { "40" };
    let order = if section == "ceilings" { order } else { order.with(["--probe", probe]) };
    if state.quick { order.with(["--quick"]) } else { order }
}

/// The flags for the network and the precision of whole iterations.
fn network(state: &State, precision: Precision) -> Vec<String> {
    let small: &[&str] = &["--preset", "tiny", "--batch", "2"];
    let network = if state.quick { small } else { &["--preset", "paper"] };
    let words = network.iter().chain(&["--precision"]).map(|word| (*word).to_owned());
    words.chain([precision.to_string()]).collect()
}

/// The kernel tests, which this executable contains.
fn tests(state: &State) -> Order {
    let mut order = Order::new(&state.bench, Reader::Tests).with(["test-here"]);
    let device = match &state.device {
        DeviceSpec::Auto => DeviceSpec::Gpu,
        other => other.clone(),
    };
    order.command.env("JEM_TEST_DEVICE", device.to_string());
    order.command.env("PROPTEST_CASES", if state.quick { "1" } else { "2" });
    order
}

/// PyTorch's steps on the network that is measured.
fn peer(state: &State) -> Order {
    let order = Order::new(&state.python, Reader::Lines).with([state.scratch.join("time_pytorch.py")]);
    let order = order.with(["--device", if state.cuda { "cuda" } else { "cpu" }]);
    let small = ["--depth", "10", "--width", "1", "--batch", "2", "--k", "8"];
    let full = ["--depth", "28", "--width", "10", "--batch", "64", "--k", "20"];
    order.with(if state.quick { small } else { full })
}

/// The modes of PyTorch that take turns with the steps in `precision`.
fn in_turns(precision: Precision, state: &State) -> Vec<&str> {
    let theirs: &[&str] = if precision == Precision::F16 { &["bf16"] } else { &["tf32", "float32"] };
    theirs.iter().filter_map(|precision| state.best_mode(precision)).collect()
}

/// Training on the run's images, without evaluations, samples or checkpoints.
fn train(state: &State, name: &str, precision: Precision) -> Order {
    let order = Order::new(&state.jem, Reader::Metrics).with(["train", "--recipe", "jem", "--seed", "1"]);
    let order = order.with(["--data", &state.data, "--validation", "100"]);
    let order = order.with(["--precision", &precision.to_string()]);
    let rare = ["--evaluate-every", "--sample-every", "--checkpoint-every"];
    let order = order.with(rare.into_iter().flat_map(|flag| [flag, "1000000"]));
    let mut order = order.with(["--out".into(), state.scratch.join(name).into_os_string()]);
    if state.tuned {
        order.command.env("JEM_TUNED", state.out.join("tuned.toml"));
    }
    order
}

/// The limit of a process.
pub fn limit(order: &Order, seconds: f64) -> super::child::Limit {
    super::child::Limit {
        kill: Duration::from_secs_f64(seconds),
        interrupt: order.interrupt.map(Duration::from_secs_f64),
    }
}
