//! The state of a run: its settings, and the findings of its steps that decide about later steps.

use super::figures::{is_in, rows, text};
use super::plan::Task;
use jem::device::DeviceSpec;
use jem::ebm::Precision;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The steps whose times decide which mode of PyTorch is the best, in the order of preference.
const STEPS: [&str; 2] = ["iteration", "sgld"];

/// The state of a run.
#[derive(Debug)]
pub struct State {
    /// The folder of results.
    pub out: PathBuf,
    /// The folder for everything else, which is removed at the end.
    pub scratch: PathBuf,
    /// The executable of the bench.
    pub bench: PathBuf,
    /// The executable of `jem`.
    pub jem: PathBuf,
    /// Variables of the user's whose paths are made absolute.
    pub variables: Vec<(&'static str, OsString)>,
    /// Images to train on: a folder, or the name of a set.
    pub data: String,
    /// Small shapes, little time.
    pub quick: bool,
    /// The device that was asked for; once it is known, its full name.
    pub device: DeviceSpec,
    /// Why nothing can run on the device.
    pub no_device: Option<String>,
    /// A Python, perhaps with torch.
    pub python: PathBuf,
    /// The folder in which that Python looks for the user's packages.
    pub user_base: Option<PathBuf>,
    /// Why PyTorch cannot be timed.
    pub no_torch: Option<String>,
    /// Whether the step that looks for PyTorch has run.
    pub torch_known: bool,
    /// Whether PyTorch has a CUDA device.
    pub cuda: bool,
    /// Variants of the gate that ran, and whether they passed.
    pub gate: BTreeMap<&'static str, bool>,
    /// The median times of PyTorch's modes, in milliseconds, by mode and step.
    pub torch: BTreeMap<(String, String), f64>,
    /// Whether any shape is tuned.
    pub tuned: bool,
    /// Whether tuning is over: f32 comes last.
    pub tuning_over: bool,
}

impl State {
    /// A state in which nothing is known but the folders.
    pub fn new(out: &Path, scratch: &Path) -> Self {
        Self {
            out: out.to_owned(),
            scratch: scratch.to_owned(),
            bench: PathBuf::new(),
            jem: PathBuf::new(),
            variables: Vec::new(),
            data: String::new(),
            quick: false,
            device: DeviceSpec::Auto,
            no_device: None,
            python: PathBuf::new(),
            user_base: None,
            no_torch: None,
            torch_known: false,
            cuda: false,
            gate: BTreeMap::new(),
            torch: BTreeMap::new(),
            tuned: false,
            tuning_over: false,
        }
    }

    /// The first variant of matrices that passed the gate.
    pub fn variant(&self) -> Option<&'static str> {
        super::plan::VARIANTS.into_iter().find(|name| self.gate.get(name) == Some(&true))
    }

    /// Whether all variants were tried and none passed.
    pub fn no_matrices(&self) -> bool {
        self.gate.len() == super::plan::VARIANTS.len() && self.variant().is_none()
    }

    /// PyTorch's fastest mode in `precision`, by its iterations, or by its SGLD steps if no iteration was timed.
    pub fn best_mode(&self, precision: &str) -> Option<&str> {
        STEPS.iter().find_map(|step| {
            let times = self.torch.iter().filter(|((mode, of), _)| is_in(mode, precision) && of == step);
            times.min_by(|a, b| a.1.total_cmp(b.1)).map(|((mode, _), _)| mode.as_str())
        })
    }

    /// Records what is learned from the end of `task`: whether it was `ok`, and its `result`.
    pub fn learn(&mut self, task: Task, ok: bool, result: &Value) {
        match task {
            Task::Devices if ok => self.adapters(result),
            Task::Torch => self.pytorch(ok, result),
            Task::Gate(variant) => {
                self.gate.insert(variant, ok && passed(result));
            }
            Task::Peer(_) => {
                for row in result["rows"].as_array().into_iter().flatten() {
                    let (mode, step) = (row["mode"].as_str(), row["step"].as_str());
                    if let (Some(mode), Some(step), Some(time)) = (mode, step, row["median_ms"].as_f64()) {
                        self.torch.insert((mode.into(), step.into()), time);
                    }
                }
            }
            Task::Tune(precision) => {
                self.tuned |= self.out.join("tuned.toml").exists();
                self.tuning_over |= precision == Precision::F32;
            }
            _ => {}
        }
    }

    /// Finds the adapter to measure: the one that was asked for by name, else the first hardware GPU.
    fn adapters(&mut self, result: &Value) {
        let adapters: Vec<&Value> = result["adapters"].as_array().into_iter().flatten().collect();
        let names: Vec<&str> = adapters.iter().filter_map(|adapter| adapter["name"].as_str()).collect();
        let hardware = |adapter: &&&Value| adapter["type"].as_str() != Some("software");
        let found = match &self.device {
            DeviceSpec::GpuNamed(asked) => {
                let asked = asked.to_lowercase();
                names.iter().copied().find(|name| name.to_lowercase().contains(&asked))
            }
            _ => adapters.iter().find(hardware).and_then(|adapter| adapter["name"].as_str()),
        };
        match found {
            Some(name) => self.device = DeviceSpec::GpuNamed(name.into()),
            None if names.is_empty() => {
                self.no_device = Some("no Vulkan driver offers an adapter: install the GPU's driver".into());
            }
            None => {
                let what = match &self.device {
                    DeviceSpec::GpuNamed(asked) => format!("no adapter's name contains {asked:?}"),
                    _ => "no adapter is a hardware GPU".into(),
                };
                let found = names.join(", ");
                self.no_device = Some(format!("{what}; found {found}: name one by --device NAME"));
            }
        }
    }

    fn pytorch(&mut self, ok: bool, result: &Value) {
        self.torch_known = true;
        self.cuda = result["cuda"].as_str().is_some();
        // A path of the user's may be a script that sets variables before it calls the executable.
        let is_path = self.python.components().count() > 1;
        if let Some(path) = result["executable"].as_str().filter(|_| !is_path) {
            self.python = path.into();
        }
        self.user_base = result["user_base"].as_str().map(PathBuf::from);
        self.no_torch = match result["torch"].as_str() {
            None if ok => Some("PyTorch is not installed".into()),
            None => Some("no Python with PyTorch was found".into()),
            Some(version) if !self.cuda && !self.quick => {
                Some(format!("PyTorch {version} finds no CUDA device"))
            }
            Some(_) => None,
        };
    }
}

/// Whether the gate's table says that the variant may be used: that it passed with matrices of one size at least.
fn passed(result: &Value) -> bool {
    rows(result, "Gate").iter().any(|row| text(row, "outcome") == "passed")
}
