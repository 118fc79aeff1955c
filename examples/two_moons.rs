//! A joint energy-based model in two dimensions: the two moons, their classes and their density.
//!
//! A perceptron f(x) with two logits is trained as JEM trains a WideResNet: cross-entropy on labelled points, and
//! log p(x) by samples from persistent Langevin chains. Writes `two_moons.png`: the learnt log-density with the
//! data points on it.

use clap::Parser;
use jem::Result;
use jem::compute::logit_part::{Part, STATS};
use jem::compute::random::Threefry;
use jem::device::{Device, DeviceOptions, DeviceSpec, ProgramBuilder};
use jem::graph::{Graph, Output, Tensor, lower};
use jem::kernels::sgld::Sgld;
use jem::kernels::tick::{COUNTERS, SGLD_STEP, Tick};
use jem::nn::init::{Fans, Init};
use jem::nn::optimizer::{CONTROL_WORDS, GRADIENTS, Optimizer, gradient_norm};
use jem::nn::parameters::{Layout, PARAMETERS};
use jem::report::heatmap::heatmap;
use std::path::PathBuf;

/// Points of each part of a batch: data, samples, labelled.
const BATCH: usize = 256;
/// Chains restart once in this many visits, as JEM's do in 20.
const RESTART: f32 = 0.05;
const HIDDEN: usize = 128;
const SLOPE: f32 = 0.1;
/// Langevin steps per iteration; ε of x += ε/2 ∂log p/∂x + √ε N(0, 1).
const STEPS: usize = 40;
const EPSILON: f32 = 0.01;
/// The picture shows [-RANGE, RANGE]² at PIXELS x PIXELS.
const RANGE: f32 = 2.5;
const PIXELS: usize = 200;

/// Fit a two-dimensional energy to two moons and draw its density.
#[derive(Debug, Parser)]
#[command(after_help = "Example: cargo run --release --example two_moons -- --device cpu --out moons.png")]
struct Arguments {
    /// auto, gpu, gpu:NAME or cpu
    #[arg(long, env = "JEM_DEVICE", default_value = "auto")]
    device: DeviceSpec,
    /// Optimizer steps
    #[arg(long, default_value_t = 1500)]
    iterations: u64,
    /// The picture
    #[arg(long, default_value = "two_moons.png")]
    out: PathBuf,
}

fn layout() -> Layout {
    let mut layout = Layout::default();
    for (name, fan_in, fan_out) in [("l1", 2, HIDDEN), ("l2", HIDDEN, HIDDEN), ("l3", HIDDEN, 2)] {
        let fans = Fans { fan_in, fan_out, bias: false };
        layout.push(format!("{name}.weight"), vec![fan_in, fan_out], fans);
        layout.push(format!("{name}.bias"), vec![fan_out], Fans { bias: true, ..fans });
    }
    layout
}

fn logits(layout: &Layout, x: &Tensor) -> Tensor {
    let linear = |x: &Tensor, name: &str| {
        let leaf = |part: &str| layout.leaf(x.graph(), &format!("{name}.{part}"));
        x.linear(&leaf("weight"), &leaf("bias"))
    };
    let hidden = linear(x, "l1").leaky_relu(SLOPE);
    linear(&linear(&hidden, "l2").leaky_relu(SLOPE), "l3")
}

/// A point of a moon and its class.
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
    let device = Device::open(&arguments.device, DeviceOptions::default())?;
    println!("two moons on {}", device.name());
    let layout = layout();
    let optimizer =
        Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, decoupled: false };

    // One Langevin step on the chains.
    let graph = Graph::new();
    let x = graph.input("chains", [BATCH, 2]);
    let labels = graph.indices("no labels", [BATCH]);
    let log_p =
        logits(&layout, &x).logit_loss(&labels, &[Part { count: BATCH, log_p_x: 1.0, ..Part::default() }]);
    let [gradient] = graph.grad(&log_p, [&x]);
    let mut builder = ProgramBuilder::new("langevin");
    let view = builder.transient("gradient", 2 * BATCH);
    lower(&mut builder, None, &[Output { tensor: &gradient, view }])?;
    let chains = builder.external("chains", 2 * BATCH);
    let counters = builder.external("counters", COUNTERS);
    let kernel = Sgld {
        n: 2 * BATCH,
        step: EPSILON / 2.0,
        noise: EPSILON.sqrt(),
        clamp_gradient: None,
        clamp_x: None,
        masked: false,
    };
    builder.dispatch("langevin", kernel, &[chains, view, counters]);
    builder.dispatch("step", Tick { word: SGLD_STEP }, &[counters]);
    let langevin = builder.finish();

    // One update on [data | samples | labelled].
    let graph = Graph::new();
    let x = graph.input("batch", [3 * BATCH, 2]);
    let labels = graph.indices("labels", [3 * BATCH]);
    let mean = 1.0 / BATCH as f32;
    let part = Part { count: BATCH, l2: 0.005 * mean, ..Part::default() };
    let parts = [
        Part { log_p_x: -mean, ..part },
        Part { log_p_x: mean, ..part },
        Part { cross_entropy: mean, l2: 0.0, ..part },
    ];
    let batch_logits = logits(&layout, &x);
    let stats = batch_logits.logit_stats(&labels, &parts);
    let leaves = layout.leaves(&graph);
    let gradients =
        graph.grad_of_all(&[&batch_logits.logit_loss(&labels, &parts)], &leaves.iter().collect::<Vec<_>>());
    let mut builder = ProgramBuilder::new("update");
    let view = builder.external("stats", 3 * BATCH * STATS);
    let flat = builder.external(GRADIENTS, layout.words());
    let mut outputs = vec![Output { tensor: &stats, view }];
    for (parameter, tensor) in layout.trained().zip(&gradients) {
        outputs.push(Output { tensor, view: flat.part(parameter.offset, parameter.elements()) });
    }
    lower(&mut builder, None, &outputs)?;
    let norm = builder.external("norm", 1);
    gradient_norm(&mut builder, layout.words(), norm);
    optimizer.step(&mut builder, &layout, Some(10.0), norm);
    let update = builder.finish();

    let grid = (0..PIXELS * PIXELS).flat_map(|i| {
        let at = |i: usize| RANGE * (2.0 * (i as f32 + 0.5) / PIXELS as f32 - 1.0);
        [at(i % PIXELS), -at(i / PIXELS)]
    });
    let grid: Vec<f32> = grid.collect();
    let graph = Graph::new();
    let x = graph.input("grid", [PIXELS * PIXELS, 2]);
    let log_density = logits(&layout, &x).logsumexp();
    let mut builder = ProgramBuilder::new("density");
    let view = builder.external("density", PIXELS * PIXELS);
    lower(&mut builder, None, &[Output { tensor: &log_density, view }])?;
    let density = builder.finish();

    let buffer = |name: &str, words: usize| device.buffer(name, words as u64 * 4);
    let parameters = device.buffer_from(PARAMETERS, &layout.initialise(Init::HeNormal, SLOPE, 1))?;
    let (chains, batch) = (buffer("chains", 2 * BATCH)?, buffer("batch", 6 * BATCH)?);
    let (labels, no_labels) = (buffer("labels", 3 * BATCH)?, buffer("no labels", BATCH)?);
    let (stats, norm) = (buffer("stats", 3 * BATCH * STATS)?, buffer("norm", 1)?);
    let (gradients, control) = (buffer(GRADIENTS, layout.words())?, buffer(CONTROL_WORDS, 4)?);
    let counters = device.buffer_from("counters", &[1u32, 0, 0, 0])?;
    let (first, second) = (buffer("first", layout.words())?, buffer("second", layout.words())?);
    let pixels = device.buffer_from("grid", &grid)?;
    let values = buffer("density", PIXELS * PIXELS)?;
    let mut externals = vec![(PARAMETERS, &parameters), ("chains", &chains), ("batch", &batch)];
    externals.extend([("labels", &labels), ("no labels", &no_labels), ("stats", &stats), ("norm", &norm)]);
    externals.extend([(GRADIENTS, &gradients), (CONTROL_WORDS, &control), ("counters", &counters)]);
    externals.extend([(optimizer.state()[0], &first), (optimizer.state()[1], &second)]);
    externals.extend([("grid", &pixels), ("density", &values)]);
    let langevin = device.load(langevin, &externals)?;
    let update = device.load(update, &externals)?;
    let density = device.load(density, &externals)?;

    let mut random = Threefry::new(1, 1000, 0);
    let mut samples: Vec<f32> = (0..2 * BATCH).map(|_| RANGE * (2.0 * random.uniform() - 1.0)).collect();
    for iteration in 0..arguments.iterations {
        for chain in samples.chunks_mut(2) {
            if random.uniform() < RESTART {
                chain.fill_with(|| RANGE * (2.0 * random.uniform() - 1.0));
            }
        }
        device.write(&chains, 0, bytemuck::cast_slice(&samples))?;
        for _ in 0..STEPS {
            device.run(&langevin)?;
        }
        samples = device.read_as(&chains)?;
        let data: Vec<_> = (0..2 * BATCH).map(|_| moon(&mut random)).collect();
        let (points, classes): (Vec<[f32; 2]>, Vec<u32>) = data.into_iter().unzip();
        let points = points.concat();
        let whole = [&points[..2 * BATCH], &samples, &points[2 * BATCH..]].concat();
        let all_labels = [&classes[..BATCH], &vec![0; BATCH], &classes[BATCH..]].concat();
        device.write(&batch, 0, bytemuck::cast_slice(&whole))?;
        device.write(&labels, 0, bytemuck::cast_slice(&all_labels))?;
        let rate = 1e-3 * (1.0 - iteration as f64 / arguments.iterations as f64);
        device.write(&control, 0, bytemuck::cast_slice(&optimizer.control(iteration + 1, rate, 0.0)))?;
        device.run(&update)?;
        if (iteration + 1) % 250 == 0 {
            let stats: Vec<f32> = device.read_as(&stats)?;
            let mean = |part: usize, stat: usize| {
                let rows = stats.chunks(STATS).skip(part * BATCH).take(BATCH);
                rows.map(|row| row[stat]).sum::<f32>() / BATCH as f32
            };
            let gap = mean(0, 0) - mean(1, 0);
            println!(
                "iteration {:4}: energy gap {gap:+.3}, accuracy {:.1}%",
                iteration + 1,
                100.0 * mean(2, 2)
            );
        }
    }

    device.run(&density)?;
    let values: Vec<f32> = device.read_as(&values)?;
    let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // Twelve nats below the mode is dark: the tails would take all the colours.
    let shown: Vec<f32> = values.iter().map(|value| (value - highest).max(-12.0)).collect();
    let on_picture = |[x, y]: [f32; 2]| [0.5 + 0.5 * x / RANGE, 0.5 - 0.5 * y / RANGE];
    let points: Vec<[f32; 2]> = (0..300).map(|_| on_picture(moon(&mut random).0)).collect();
    heatmap(&arguments.out, &shown, PIXELS, PIXELS, &points)?;
    println!("the learnt log-density with 300 points of the data: {}", arguments.out.display());
    Ok(())
}
