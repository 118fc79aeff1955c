//! A joint energy-based model in two dimensions: the two moons, their classes and their density.
//!
//! A perceptron f(x) with two logits is trained as JEM trains a WideResNet: with the cross-entropy of labelled points,
//! and log p(x) with samples from persistent Langevin chains. Writes `two_moons.png`: the learnt log density and the
//! data points.

use clap::Parser;
use jem::Result;
use jem::compute::random::Threefry;
use jem::device::DeviceSpec;
use jem::ebm::{DensitySampler, Langevin};
use jem::graph::Graph;
use jem::nn::batch_norm::NormMode;
use jem::nn::init::Init;
use jem::nn::layers::Layered;
use jem::nn::network::{Network, Pass};
use jem::nn::optimizer::Optimizer;
use jem::nn::training::{StepOptions, TrainingStep, Weights};
use jem::report::heatmap::heatmap;
use std::path::PathBuf;

/// The number of points in each part of a batch: data, samples, labelled.
const BATCH: usize = 256;
/// The probability that a chain restarts before an iteration, the same as in JEM.
const RESTART: f32 = 0.05;
/// Langevin steps per iteration; ε of x += ε/2 ∂log p/∂x + √ε N(0, 1).
const STEPS: usize = 40;
const EPSILON: f32 = 0.01;
/// The picture shows [-RANGE, RANGE]² with PIXELS x PIXELS pixels.
const RANGE: f32 = 2.5;
const PIXELS: usize = 200;

/// Fit a two-dimensional energy to two moons and draw its density.
#[derive(Debug, Parser)]
#[command(after_help = "Example: cargo run --release --example two_moons -- --device cpu --out moons.png")]
struct Arguments {
    /// Device: auto, gpu, gpu:NAME or cpu
    #[arg(long, env = "JEM_DEVICE", default_value = "auto")]
    device: DeviceSpec,
    /// Number of optimizer steps
    #[arg(long, default_value_t = 1500)]
    iterations: u64,
    /// File to write the picture to
    #[arg(long, default_value = "two_moons.png")]
    out: PathBuf,
}

/// Draws a point of a moon, with its class.
fn moon(random: &mut Threefry) -> ([f32; 2], u32) {
    let angle = std::f32::consts::PI * random.uniform();
    let [a, b] = random.normal_pair();
    let (x, y, class) = match random.uniform() < 0.5 {
        true => (angle.cos() - 0.5, angle.sin() - 0.25, 0),
        false => (0.5 - angle.cos(), 0.25 - angle.sin(), 1),
    };
    ([1.2 * x + 0.1 * a, 1.2 * y + 0.1 * b], class)
}

fn main() -> Result<()> {
    jem::self_test::serve();
    let arguments = Arguments::parse();
    let device = jem::tuning::open(&arguments.device, Default::default())?;
    println!("two moons on {}", device.name());
    // A point is an image of one pixel with two channels.
    let network = Layered::new("moons", [1, 1, 2], 2, |layers, x| {
        let x = layers.linear("l1", &x.flatten(), 128).leaky_relu(0.1);
        layers.linear("l2", &x, 128).leaky_relu(0.1)
    });
    let weights = Weights::of(&device, &network, Init::HeNormal, 1)?;

    let (graph, mut pass) = (Graph::new(), Pass::new(weights.layout(), NormMode::Training));
    let points = |name: &str| graph.input(name, [BATCH, 1, 1, 2]);
    let [data, samples, labelled] = ["data", "samples", "labelled"].map(points);
    let labels = graph.indices("labels", [BATCH]);
    let [f_data, f_samples, f] = [&data, &samples, &labelled].map(|x| network.logits(x, &mut pass));
    let [log_p_data, log_p_samples] = [&f_data, &f_samples].map(|f| f.logsumexp());
    let cross_entropy = f.cross_entropy(&labels);
    // Without a bound the energies grow indefinitely, because log p(x) does not depend on a constant.
    let size = (&f_data.square() + &f_samples.square()).sum(&[1]).scale(0.005);
    let loss = (&log_p_samples - &log_p_data + cross_entropy + size).mean(&[0]);
    let outputs = [&log_p_data, &log_p_samples, &f];
    let options = StepOptions { clip_norm: Some(10.0), outputs: &outputs, ..StepOptions::default() };
    let mut step = TrainingStep::with(&weights, Optimizer::adam(), &loss, &options)?;
    let langevin = Langevin { step_size: EPSILON / 2.0, noise: EPSILON.sqrt(), ..Langevin::default() };
    let sampler = DensitySampler::new(&weights, langevin, &log_p_samples, &samples)?;

    let mut random = Threefry::new(1, 1000, 0);
    let mut chains: Vec<f32> = (0..2 * BATCH).map(|_| RANGE * (2.0 * random.uniform() - 1.0)).collect();
    sampler.start(&chains, 1)?;
    for iteration in 0..arguments.iterations {
        for chain in chains.chunks_mut(2) {
            if random.uniform() < RESTART {
                chain.fill_with(|| RANGE * (2.0 * random.uniform() - 1.0));
            }
        }
        sampler.place(&chains)?;
        sampler.run(STEPS)?;
        chains = sampler.chains()?;
        let (points, classes): (Vec<[f32; 2]>, Vec<u32>) = (0..2 * BATCH).map(|_| moon(&mut random)).unzip();
        let points = points.as_flattened();
        step.set(&data, &points[..2 * BATCH])?;
        step.set(&samples, &chains)?;
        step.set(&labelled, &points[2 * BATCH..])?;
        step.set(&labels, &classes[BATCH..])?;
        step.run(1e-3 * (1.0 - iteration as f64 / arguments.iterations as f64))?;
        if (iteration + 1) % 250 == 0 {
            let mean = |values: Vec<f32>| values.iter().sum::<f32>() / BATCH as f32;
            let gap = mean(step.get(&log_p_data)?) - mean(step.get(&log_p_samples)?);
            let logits = step.get(&f)?;
            let right = logits
                .chunks(2)
                .zip(&classes[BATCH..])
                .filter(|(f, class)| u32::from(f[1] > f[0]) == **class);
            let accuracy = 100.0 * right.count() as f32 / BATCH as f32;
            println!("iteration {:4}: energy gap {gap:+.3}, accuracy {accuracy:.1}%", iteration + 1);
        }
    }

    let at = |i: usize| RANGE * (2.0 * (i as f32 + 0.5) / PIXELS as f32 - 1.0);
    let pixels: Vec<f32> = (0..PIXELS * PIXELS).flat_map(|i| [at(i % PIXELS), -at(i / PIXELS)]).collect();
    let graph = Graph::new();
    let grid = graph.input("grid", [PIXELS * PIXELS, 1, 1, 2]);
    let log_density =
        network.logits(&grid, &mut Pass::new(weights.layout(), NormMode::Inference)).logsumexp();
    let density = weights.function(&[&log_density])?;
    density.set(&grid, &pixels)?;
    density.run()?;
    let values = density.get(&log_density)?;
    let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // Clip at twelve nats below the mode, so that the tails do not take all the colours.
    let shown: Vec<f32> = values.iter().map(|value| (value - highest).max(-12.0)).collect();
    let on_picture = |[x, y]: [f32; 2]| [0.5 + 0.5 * x / RANGE, 0.5 - 0.5 * y / RANGE];
    let points: Vec<[f32; 2]> = (0..300).map(|_| on_picture(moon(&mut random).0)).collect();
    heatmap(&arguments.out, &shown, PIXELS, PIXELS, &points)?;
    println!("the learnt log-density with 300 points of the data: {}", arguments.out.display());
    Ok(())
}
