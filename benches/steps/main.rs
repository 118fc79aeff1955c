//! The time of one SGLD step and of one update of whole networks, alone or in turns with PyTorch.
//!
//! `cargo bench --bench steps -- [--device cpu|gpu|gpu:NAME|auto] [--peer PYTHON] [--network 10-1,16-2]`
//!
//! The SGLD step is what an iteration repeats K times; the update is the transposed weights, one pass over the
//! concatenated batch [data | samples | labelled], every gradient, and Adam. With `--peer` both sides are alive
//! at once and take turns, step by step, so that whatever else the machine does meets both alike.

mod ours;
mod peer;

use clap::Parser;
use jem::device::{Device, DeviceOptions, DeviceSpec};
use jem::jem::{Preset, Recipe};
use ours::Ours;
use peer::Peer;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Parser)]
struct Arguments {
    /// Device: auto, gpu, gpu:NAME or cpu; by default $JEM_DEVICE, else cpu.
    #[arg(long)]
    device: Option<DeviceSpec>,
    /// A Python with torch, to time PyTorch in turns with this.
    #[arg(long)]
    peer: Option<PathBuf>,
    /// PyTorch's device.
    #[arg(long, default_value = "cpu")]
    peer_device: String,
    /// Networks, as DEPTH-WIDTH.
    #[arg(long = "network", value_delimiter = ',', default_values = ["10-1", "16-2"])]
    networks: Vec<String>,
    /// Images of each part of the batch.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Timed runs of each step, after two to warm up.
    #[arg(long, default_value_t = 9)]
    repeats: usize,
    /// `cargo bench` passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A step that both sides know.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// Forward, input gradient, SGLD update.
    Sgld,
    /// Forward, all gradients, optimizer.
    Update,
}

impl Step {
    /// Its name, here and to the peer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgld => "sgld",
            Self::Update => "update",
        }
    }
}

fn recipe(network: &str, batch: usize) -> Result<Recipe, String> {
    let wrong = || format!("--network {network}: expected DEPTH-WIDTH, such as 10-1");
    let (depth, width) = network.split_once('-').ok_or_else(wrong)?;
    let depth = depth.parse().map_err(|_| wrong())?;
    let width = width.parse().map_err(|_| wrong())?;
    Ok(Recipe { depth, width, batch, ..Preset::Paper.recipe() })
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// One line: who, median and best, images/s, and GFLOP/s where the work is known.
fn print_times(who: &str, times: &[Duration], images: usize, flops: Option<u64>) {
    let median = median(times);
    let best = times.iter().min().expect("at least one run");
    let rate = flops.map(|flops| format!("  {:7.1} GFLOP/s", flops as f64 / 1e9 / median.as_secs_f64()));
    println!(
        "    {who:<8} median {:9.2} ms  best {:9.2} ms  {:9.1} images/s{}",
        milliseconds(median),
        milliseconds(*best),
        images as f64 / median.as_secs_f64(),
        rate.unwrap_or_default()
    );
}

/// Times one step of both sides in turns and prints what came out.
fn compare(
    step: Step,
    ours: &Ours,
    peer: Option<&mut Peer>,
    arguments: &Arguments,
) -> Result<(), Box<dyn std::error::Error>> {
    let (mut times, mut peer_times) = (Vec::new(), Vec::new());
    let mut peer = peer;
    for run in 0..arguments.repeats + 2 {
        let time = ours.time(step)?;
        let peer_time = peer.as_deref_mut().map(|peer| peer.time(step)).transpose()?;
        if run >= 2 {
            times.push(time);
            peer_times.extend(peer_time);
        }
    }
    println!("  {}, {:.2} GFLOP", step.name(), ours.flops(step) as f64 / 1e9);
    print_times("jem", &times, arguments.batch, Some(ours.flops(step)));
    if !peer_times.is_empty() {
        print_times("PyTorch", &peer_times, arguments.batch, None);
        let mut ratios: Vec<f64> =
            times.iter().zip(&peer_times).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
        let each: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        ratios.sort_by(f64::total_cmp);
        let middle = ratios[ratios.len() / 2];
        println!("    jem / PyTorch, pair by pair: {} (median {middle:.2})", each.join(" "));
    }
    Ok(())
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let spec = match (&arguments.device, std::env::var("JEM_DEVICE")) {
        (Some(spec), _) => spec.clone(),
        (None, Ok(name)) => name.parse()?,
        (None, Err(_)) => DeviceSpec::Cpu,
    };
    if arguments.repeats == 0 {
        return Err("--repeats must be at least 1".into());
    }
    let device = Device::open(&spec, DeviceOptions::default())?;
    println!("{}, batch {}", device.name(), arguments.batch);
    for network in &arguments.networks {
        let recipe = recipe(network, arguments.batch)?;
        let ours = Ours::new(&device, &recipe)?;
        let mut peer = arguments
            .peer
            .as_ref()
            .map(|python| Peer::start(python, &arguments.peer_device, &recipe))
            .transpose()?;
        let against = peer.as_ref().map(|peer| format!(", in turns with {}", peer.title));
        println!("\nWRN-{network}{}", against.unwrap_or_default());
        for step in [Step::Sgld, Step::Update] {
            compare(step, &ours, peer.as_mut(), arguments)?;
        }
    }
    Ok(())
}

fn main() {
    if let Err(error) = run(&Arguments::parse()) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
