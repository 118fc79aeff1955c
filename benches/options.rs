//! The command line, and the settings that follow from it and the device.

use crate::build::{commit, date};
use crate::measure;
use clap::{Args, Parser, Subcommand};
use jem::device::{AdapterKind, CooperativeChoice, Device, DeviceOptions, DeviceSpec};
use jem::ebm::{Family, Precision, Preset, Recipe};
use jem::nn::network::Network as _;
use jem::self_test::usable_cooperative;
use jem::tuning;
use std::path::PathBuf;
use std::time::Duration;

const HELP: &str = "Without a command everything is measured. The defaults depend on the device: a GPU gets the \
large networks, the CPU and software adapters (llvmpipe, SwiftShader) get small ones, and --quick the smallest, in \
about a minute. The kernel tests run on the first adapter if the device is the CPU.

Examples:
  jem-bench --device gpu --out results
  jem-bench --device gpu:llvmpipe --quick
  jem-bench kernels conv2d --network 28-10
  jem-bench profile --preset paper --precision f32,f16
  jem-bench steps --peer python3 --peer-device cuda --network 28-10
  jem-bench steps --burn benches/peers/burn/target/release/burn-peer --network 10-1 --batch 16";

/// Measure a device: kernel tests, ceilings, launches, kernels, whole steps, a profile, scaling
#[derive(Debug, Parser)]
#[command(name = "jem-bench", after_help = HELP, version = crate::build::COMMIT.unwrap_or(env!("CARGO_PKG_VERSION")))]
pub struct Options {
    /// The section to run; without it, all sections
    #[command(subcommand)]
    pub section: Option<Section>,
    /// Everything else
    #[command(flatten)]
    pub arguments: Arguments,
}

/// A part of the bench.
#[derive(Debug, Clone, Subcommand)]
pub enum Section {
    /// Run the kernel tests: every kernel beside float64 references
    Test {
        /// Only tests whose name contains this
        filter: Option<String>,
    },
    /// Test cooperative matrices (tensor cores) as training does before it uses them, in every variant of the shaders
    Gate,
    /// Measure the device's rates of arithmetic and memory with probes
    Ceilings,
    /// Time single kernels on the shapes of networks, beside the ceilings
    Kernels {
        /// Only kernels whose name contains this
        #[arg(default_value = "")]
        filter: String,
    },
    /// Time one SGLD step, one update, one whole iteration
    Steps,
    /// Time every dispatch of one iteration, by kernel
    Profile,
    /// Measure the cost of a dispatch, a barrier and a submission
    Launch,
    /// Measure time and memory over batch, width and SGLD steps
    Scaling,
    /// List registers and spills of the pipelines of `steps`, as the Vulkan driver reports them; runs only if named
    Registers,
    /// Test and measure a GPU within a fixed time, each step in a process of its own
    Measure(Box<measure::Arguments>),
    /// Run the probes of cooperative matrices in this process, and print a line of JSON for each
    #[command(hide = true)]
    ProbeHere {
        /// Rows of the matrices
        size: usize,
    },
    /// Run the kernel tests in this process, on the test device that the environment names
    #[command(hide = true)]
    TestHere {
        /// Only tests whose name contains this
        filter: Option<String>,
        /// Leave out tests whose name contains this
        #[arg(long)]
        skip: Vec<String>,
    },
}

/// The flags of all sections.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Device: auto, gpu, gpu:NAME or cpu
    #[arg(long, global = true, env = "JEM_DEVICE", default_value = "auto")]
    pub device: DeviceSpec,
    /// Variant of the shaders that use tensor cores: any, none, naga, patched, flat or flat-patched [default:
    /// `JEM_COOPERATIVE`, else any]
    #[arg(long, global = true, value_name = "VARIANT")]
    pub cooperative: Option<CooperativeChoice>,
    /// Small shapes and little time
    #[arg(long, global = true)]
    pub quick: bool,
    /// Write bench.json and bench.md into this folder; `measure` writes its results there
    #[arg(long, global = true, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Networks of `kernels`, and of `steps` and `profile` instead of presets, as DEPTH-WIDTH [default: 16-4,28-10;
    /// quick or software: 10-1]
    #[arg(long = "network", global = true, value_delimiter = ',')]
    networks: Vec<Network>,
    /// Presets of `steps` and `profile` [default: small,paper; quick or software: tiny]
    #[arg(long = "preset", global = true, value_delimiter = ',')]
    presets: Vec<Preset>,
    /// Recipe of `steps` and `profile`, one that samples: jem, jem++, sada-jem …
    #[arg(long, global = true, default_value_t = Family::Jem)]
    recipe: Family,
    /// Images of a batch [default: 64, and the preset's; quick: 8]
    #[arg(long, global = true, value_parser = clap::value_parser!(u64).range(1..))]
    batch: Option<u64>,
    /// Time for each shape of a kernel [default: 300; quick: 20]
    #[arg(long, global = true)]
    milliseconds: Option<u64>,
    /// Time for each probe of the ceilings [default: 200; quick: 40]
    #[arg(long, global = true, value_name = "MILLISECONDS")]
    probe: Option<u64>,
    /// Timed runs of each step and profile after the warm-up; fewer if they take a minute [default: 9; quick: 3]
    #[arg(long, global = true, value_parser = clap::value_parser!(u64).range(1..))]
    repeats: Option<u64>,
    /// Time for `scaling`, which leaves out rows that would not fit [default: 300; quick: 20], or for all of `measure`
    /// [default: 540; quick: 60]
    #[arg(long, global = true)]
    seconds: Option<u64>,
    /// Precisions of `steps` and `profile`: f32, f16, auto [default: f32, and f16 where cooperative matrices multiply
    /// it]
    #[arg(long = "precision", global = true, value_delimiter = ',', value_name = "PRECISION")]
    pub precisions: Vec<Precision>,
    /// A Python with torch, to time PyTorch in turns with `steps`
    #[arg(long, global = true, value_name = "PYTHON")]
    pub peer: Option<PathBuf>,
    /// PyTorch's device: cpu, cuda, or auto, which takes CUDA if there is a CUDA device
    #[arg(long, global = true, default_value = "auto")]
    pub peer_device: String,
    /// PyTorch's modes, by their names or the beginnings of them, such as graph-compile-bf16-nhwc,eager [default: all
    /// that its device has]
    #[arg(long = "peer-mode", global = true, value_delimiter = ',', value_name = "MODE")]
    pub peer_modes: Vec<String>,
    /// The executable that benches/peers/burn makes, to time burn's SGLD step in turns with `steps`
    #[arg(long, global = true, value_name = "EXECUTABLE")]
    pub burn: Option<PathBuf>,
    /// Passed by `cargo bench`
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

impl Arguments {
    /// The settings that `measure` takes from these flags.
    pub fn measure(&self) -> measure::Common {
        let usual = if self.quick { 60 } else { 540 };
        measure::Common {
            out: self.out.clone(),
            seconds: self.seconds.unwrap_or(usual) as f64,
            quick: self.quick,
            device: self.device.clone(),
            commit: commit(),
            date: date(),
        }
    }

    /// Time for one probe of the ceilings: enough that one run is undisturbed.
    pub fn probe_time(&self) -> Duration {
        Duration::from_millis(self.probe.unwrap_or(if self.quick { 40 } else { 200 }))
    }

    /// Opens the device.
    ///
    /// # Errors
    /// If there is no such device.
    pub fn open(&self) -> jem::Result<Device> {
        tuning::open(
            &self.device,
            DeviceOptions { cooperative: self.cooperative, ..DeviceOptions::default() },
        )
    }

    /// Whether `steps` times a peer.
    fn has_peers(&self) -> bool {
        self.peer.is_some() || self.burn.is_some()
    }
}

/// A WideResNet by its depth and width.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// Layers.
    pub depth: usize,
    /// The factor of the channels.
    pub width: usize,
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (depth, width) = text.split_once('-')?;
            Some(Self { depth: depth.parse().ok()?, width: width.parse().ok()? })
        };
        let network = read().ok_or("expected DEPTH-WIDTH, such as 10-1")?;
        network.recipe(Family::Jem).network(10, 3).check().map_err(|error| error.to_string())?;
        Ok(network)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WRN-{}-{}", self.depth, self.width)
    }
}

impl Network {
    /// The published settings of a recipe for this network.
    pub fn recipe(self, family: Family) -> Recipe {
        Recipe { depth: self.depth, width: self.width, ..family.recipe(Preset::Paper) }
    }

    /// Words of its flat parameter buffer, for ten classes.
    pub fn parameters(self) -> usize {
        self.recipe(Family::Jem).network(10, 3).layout().words()
    }
}

/// The measurements to make, and the device.
pub struct Setting {
    /// The device.
    pub device: Device,
    /// Whether small sizes and little time were asked for.
    pub quick: bool,
    /// Networks for single kernels.
    pub networks: Vec<Network>,
    /// Recipes for whole steps in f32, with their names.
    recipes: Vec<(String, Recipe)>,
    /// The precisions that were asked for.
    precisions: Vec<Precision>,
    /// Images of a batch.
    pub batch: usize,
    /// Time for one shape.
    pub budget: Duration,
    /// Time for one probe of the ceilings.
    pub probe: Duration,
    /// Timed runs of a step.
    pub repeats: usize,
    /// Time for the tables of scaling.
    pub scaling: Duration,
}

impl Setting {
    /// Whether the device times single dispatches.
    pub fn has_timestamps(&self) -> bool {
        self.device.adapter().is_none_or(|adapter| adapter.timestamps)
    }

    /// Recipes for whole steps in each precision, with their names.
    pub fn recipes(&self) -> Vec<(String, Recipe)> {
        let precisions = match &self.precisions[..] {
            // Without tensor cores f16 is no faster than f32, and is measured only if asked for.
            [] if usable_cooperative(&self.device).is_err() => &[Precision::F32][..],
            [] => &[Precision::F32, Precision::F16],
            given => given,
        };
        let in_each = |(name, recipe): &(String, Recipe)| {
            let at = |&precision: &Precision| match precision {
                Precision::F32 => (name.clone(), recipe.clone()),
                _ => (format!("{name} {precision}"), Recipe { precision, ..recipe.clone() }),
            };
            precisions.iter().map(at).collect::<Vec<_>>()
        };
        self.recipes.iter().flat_map(in_each).collect()
    }

    /// Opens the device and fills in the settings that were not given.
    ///
    /// # Errors
    /// If there is no such device.
    pub fn new(arguments: &Arguments) -> jem::Result<Self> {
        let device = arguments.open()?;
        let quick = arguments.quick;
        let software = device.adapter().is_none_or(|adapter| adapter.kind == AdapterKind::Software);
        let small = software || quick;
        let pick = |given: &[Network], small_one: &[&str], all: &[&str]| -> Vec<Network> {
            let names = if small { small_one } else { all };
            let parse = |name: &&str| name.parse().expect("a network");
            if given.is_empty() { names.iter().map(parse).collect() } else { given.to_vec() }
        };
        let mut recipes: Vec<(String, Recipe)> = Vec::new();
        if arguments.presets.is_empty() && (arguments.has_peers() || !arguments.networks.is_empty()) {
            let networks = pick(&arguments.networks, &["10-1", "16-2"], &["10-1", "16-2"]);
            let named = |network: &Network| (network.to_string(), network.recipe(arguments.recipe));
            recipes.extend(networks.iter().map(named));
        } else {
            let default = if small { vec![Preset::Tiny] } else { vec![Preset::Small, Preset::Paper] };
            let presets = if arguments.presets.is_empty() { &default } else { &arguments.presets };
            let named = |preset: &Preset| {
                let recipe = arguments.recipe.recipe(*preset);
                let network = Network { depth: recipe.depth, width: recipe.width };
                (format!("{preset} {network}"), recipe)
            };
            recipes.extend(presets.iter().map(named));
        }
        let batch = arguments.batch.and_then(|batch| usize::try_from(batch).ok());
        for (name, recipe) in &mut recipes {
            if !recipe.samples() {
                let message = format!("expected a recipe that samples, got {}", recipe.family);
                return Err(jem::Error::setting("--recipe", message));
            }
            if recipe.family != Family::Jem {
                *name = format!("{name} {}", recipe.family);
            }
            let labelled = recipe.labelled_batch / recipe.batch;
            recipe.batch = batch.unwrap_or(if quick { 8 } else { recipe.batch });
            recipe.labelled_batch = labelled * recipe.batch;
        }
        let or =
            |given: Option<u64>, quick_one, usual| given.unwrap_or(if quick { quick_one } else { usual });
        Ok(Self {
            device,
            quick,
            networks: pick(&arguments.networks, &["10-1"], &["16-4", "28-10"]),
            recipes,
            precisions: arguments.precisions.clone(),
            batch: batch.unwrap_or(if quick { 8 } else { 64 }),
            budget: Duration::from_millis(or(arguments.milliseconds, 20, 300)),
            probe: arguments.probe_time(),
            repeats: or(arguments.repeats, 3, 9) as usize,
            scaling: Duration::from_secs(or(arguments.seconds, 20, 300)),
        })
    }
}
