//! Times burn's wgpu backend (Vulkan, SPIR-V) on JEM's SGLD step: forward, gradient of log p(x) by the images, and
//! x + gradient + 0.01 * N(0, 1). The weights are frozen, so that burn computes no gradient of theirs.
//!
//! With `--serve` it says in a line of JSON what it is, runs one step for each line `float32 sgld` that it reads and
//! answers with its milliseconds: `benches/steps/peer.rs` takes turns with it.

mod network;

use burn::backend::wgpu::graphics::Vulkan;
use burn::backend::wgpu::{RuntimeOptions, WgpuDevice, init_setup};
use burn::backend::{Autodiff, Wgpu};
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
use clap::{Parser, ValueEnum};
use network::{CHANNELS, SIZE, WideResNet};
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Instant;

type Inner = Wgpu;
type Differentiated = Autodiff<Inner>;

/// The only mode in which burn is timed.
const MODE: &str = "float32";
const STEP: &str = "sgld";
/// The version that Cargo.toml pins.
const BURN: &str = "burn 0.21.0";
/// Steps before those that count: burn compiles its kernels in the first.
const WARM: usize = 2;

/// Time burn on one SGLD step of a joint energy-based model
#[derive(Debug, Parser)]
struct Options {
    /// Layers of the WideResNet, 6n + 4
    #[arg(long, default_value_t = 10)]
    depth: usize,
    /// The factor of its channels
    #[arg(long, default_value_t = 1)]
    width: usize,
    /// Images of a batch
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Timed steps, after two to warm up
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Kind of adapter
    #[arg(long, value_enum, default_value_t = Adapter::Best)]
    device: Adapter,
    /// Print a line of JSON
    #[arg(long)]
    json: bool,
    /// Run a step for each line that is read
    #[arg(long, conflicts_with = "json")]
    serve: bool,
}

/// burn's names of devices, the first of a kind.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Adapter {
    /// The adapter that burn chooses by itself
    Best,
    Discrete,
    Integrated,
    Virtual,
    /// A software adapter
    Cpu,
}

impl Adapter {
    fn device(self) -> WgpuDevice {
        match self {
            Self::Best => WgpuDevice::DefaultDevice,
            Self::Discrete => WgpuDevice::DiscreteGpu(0),
            Self::Integrated => WgpuDevice::IntegratedGpu(0),
            Self::Virtual => WgpuDevice::VirtualGpu(0),
            Self::Cpu => WgpuDevice::Cpu,
        }
    }
}

/// The network and the chains.
struct Sampler {
    device: WgpuDevice,
    network: WideResNet<Differentiated>,
    chains: Tensor<Inner, 4>,
}

impl Sampler {
    /// One step, until the device is done; its milliseconds.
    fn step(&mut self) -> Result<f64, String> {
        self.wait()?;
        let start = Instant::now();
        let images = Tensor::<Differentiated, 4>::from_inner(self.chains.clone()).require_grad();
        let gradients = self.network.log_density(images.clone()).backward();
        let gradient = images.grad(&gradients).ok_or("burn gave no gradient of the images")?;
        let noise = Tensor::random(self.chains.shape(), Distribution::Normal(0.0, 0.01), &self.device);
        self.chains = self.chains.clone() + gradient + noise;
        self.wait()?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    fn wait(&self) -> Result<(), String> {
        Inner::sync(&self.device).map_err(|error| format!("{BURN}: {error}"))
    }

    /// Whether the chains are finite and have left where they began: what is timed did happen.
    fn check(&self, first: &[f32]) -> Result<(), String> {
        let chains = values(&self.chains)?;
        if chains == first || !chains.iter().all(|x| x.is_finite()) {
            return Err(format!("{BURN}: the steps left the chains where they were, or not finite"));
        }
        Ok(())
    }
}

fn values(tensor: &Tensor<Inner, 4>) -> Result<Vec<f32>, String> {
    tensor.to_data().to_vec().map_err(|error| format!("{BURN}: reading the chains: {error:?}"))
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let device = options.device.device();
    let setup = init_setup::<Vulkan>(&device, RuntimeOptions::default());
    let adapter = setup.adapter.get_info();
    let batch = options.batch as usize;
    let (network, products) = WideResNet::new(options.depth, options.width, &device)?;
    let network = network.no_grad();
    Inner::seed(&device, 1);
    let shape = [batch, CHANNELS, SIZE, SIZE];
    let chains = Tensor::<Inner, 4>::random(shape, Distribution::Uniform(-1.0, 1.0), &device);
    let first = values(&chains)?;
    let parameters = network.num_params();
    // A multiply-add counts 2; the input gradient takes as many as the forward pass.
    let flops = 2 * 2 * products * u64::from(options.batch);
    let mut sampler = Sampler { device, network, chains };
    if options.serve {
        let tuned = if cfg!(feature = "autotune") { "autotuned" } else { "not autotuned" };
        let fused = if cfg!(feature = "fusion") { "fused" } else { "not fused" };
        let title = format!("{BURN} ({}, {:?}; {tuned}, {fused})", adapter.name, adapter.backend);
        let hello = json!({
            "title": title, "parameters": parameters, "convolution_flops": flops, "modes": [MODE], "steps": [STEP],
            "skipped": [],
        });
        return serve(&hello, || sampler.step()).and_then(|()| sampler.check(&first));
    }
    let mut times = Vec::new();
    for run in 0..WARM + options.steps as usize {
        let time = sampler.step()?;
        if run >= WARM {
            times.push(time);
        }
    }
    sampler.check(&first)?;
    times.sort_by(f64::total_cmp);
    let (median, best) = (times[times.len() / 2], times[0]);
    let network = format!("WRN-{}-{}", options.depth, options.width);
    let rate = 1e3 * f64::from(options.batch) / median;
    if options.json {
        let row = json!({
            "peer": BURN, "device": adapter.name, "mode": MODE, "network": network, "batch": batch,
            "parameters": parameters, "convolution_flops": flops, "step": STEP, "runs": times.len(),
            "median_ms": median, "best_ms": best, "images_per_s": rate,
        });
        println!("{row}");
    } else {
        println!("{BURN} ({}), {network}, batch {batch}, {parameters} parameters", adapter.name);
        println!("  {MODE} {STEP}: median {median:.2} ms, best {best:.2} ms, {rate:.1} images/s");
    }
    Ok(())
}

/// Answers each line with the milliseconds of a step, until there are no more.
fn serve(hello: &Value, mut step: impl FnMut() -> Result<f64, String>) -> Result<(), String> {
    let say = |line: Value| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}")
            .and_then(|()| out.flush())
            .map_err(|error| format!("standard output: {error}"))
    };
    say(hello.clone())?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| format!("standard input: {error}"))?;
        if line != format!("{MODE} {STEP}") {
            return Err(format!("asked for {line:?}, this peer has {:?} alone", format!("{MODE} {STEP}")));
        }
        say(json!({"milliseconds": step()?}))?;
    }
    Ok(())
}
