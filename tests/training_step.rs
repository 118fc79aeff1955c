//! User-defined losses and densities: functions that share weights, optimizer steps, Langevin chains.

#[path = "common/devices.rs"]
mod devices;
#[path = "common/fails.rs"]
mod fails;

use approx::assert_relative_eq;
use devices::devices;
use fails::fails;
use jem::device::{Buffers, Device, Key, ProgramBuilder};
use jem::ebm::{DensitySampler, Langevin};
use jem::graph::{Function, Graph, Tensor};
use jem::kernels::unary::{Unary, UnaryOp};
use jem::nn::batch_norm::NormMode;
use jem::nn::init::Init;
use jem::nn::layers::{Layered, Layers};
use jem::nn::network::{Network, Pass};
use jem::nn::optimizer::Optimizer;
use jem::nn::parameters::{ParameterKind, ParameterLayout};
use jem::nn::training::{StepOptions, TrainingStep, Weights};

#[test]
fn an_input_that_was_never_set_is_an_error_and_not_zeros() {
    let graph = Graph::new();
    let (x, y, unread) = (graph.input("x", [4]), graph.input("y", [4]), graph.input("unread", [4]));
    let product = x.mul(&y);
    let function = Function::new(&Device::cpu(), &[&product]).expect("a function");
    function.set(&x, &[1.0, 2.0, 3.0, 4.0]).expect("x");
    let message = function.run().expect_err("y is not set").to_string();
    assert!(message.contains('y') && message.contains("was never set"), "{message}");
    function.set(&y, &[2.0; 4]).expect("y");
    function.run().expect("all that is read is set");
    assert_eq!(function.get(&product).expect("the product"), [2.0, 4.0, 6.0, 8.0]);
    function.set(&unread, &[0.0; 4]).expect("an input that nothing reads");

    let fails = |result: jem::Result<()>, part: &str| {
        let message = result.expect_err(part).to_string();
        assert!(message.contains(part), "{message}");
    };
    fails(function.set(&x, &[1.0; 3]), "expected 4 values [4], got 3");
    fails(function.set(&product, &[1.0; 4]), "is computed");
    fails(function.set(&Graph::new().input("x", [4]), &[1.0; 4]), "another graph");
    fails(function.set(&graph.input("late", [4]), &[1.0; 4]), "was made after the function");
    fails(function.get(&x).map(drop), "is none of the function's outputs");
}

#[test]
fn one_output_may_be_asked_for_twice_and_be_an_input() {
    let graph = Graph::new();
    let x = graph.input("x", [3]);
    let double = x.scale(2.0);
    let function = Function::new(&Device::cpu(), &[&double, &x, &double]).expect("a function");
    function.set(&x, &[1.0, 2.0, 3.0]).expect("x");
    function.run().expect("a run");
    assert_eq!(function.get(&double).expect("twice"), [2.0, 4.0, 6.0]);
    assert_eq!(function.get(&x).expect("itself"), [1.0, 2.0, 3.0]);
}

#[test]
fn a_buffer_that_nobody_gave_is_an_error_when_the_program_is_loaded() {
    const X: Key<f32> = Key::new("x");
    const Y: Key<f32> = Key::new("y");
    let program = || {
        let mut builder = ProgramBuilder::new("double");
        let (x, y) = (builder.external(X, 64), builder.external(Y, 64));
        builder.dispatch("twice", Unary { op: UnaryOp::Affine(2.0, 0.0), n: 64 }, &[x, y]);
        builder.finish()
    };
    for (_, device) in devices() {
        let mut buffers = Buffers::new(&device);
        let message = buffers.load(program()).expect_err("x is read").to_string();
        for part in ["double", "buffer x", "was not given", "twice (unary)"] {
            assert!(message.contains(part), "{message}");
        }
        buffers.add(X, &[1.5; 64]).expect("x");
        let program = buffers.load(program()).expect("y is written first");
        device.run(&program).expect("a run");
        assert_eq!(buffers.read(Y).expect("y"), [3.0; 64]);
    }
}

/// One step of gradient descent on mean (x w + b - y)², compared with the formula.
#[test]
fn a_step_of_gradient_descent_is_its_formula() {
    let mut layout = ParameterLayout::default();
    layout.push("w".into(), vec![3, 1], ParameterKind::Constant(0.5));
    layout.push("b".into(), vec![1], ParameterKind::Constant(-0.25));
    let x = [0.5f32, -1.0, 2.0, 1.0, 0.25, -0.75, -1.5, 0.5, 0.125, 1.0, 1.0, 1.0];
    let y = [1.0, -1.0, 0.5, 2.0];
    for (name, device) in devices() {
        let weights = Weights::new(&device, layout.clone(), &layout.initialise(Init::HeNormal, 0.0, 1));
        let weights = weights.expect("weights");
        let graph = Graph::new();
        let (inputs, targets) = (graph.input("x", [4, 3]), graph.input("y", [4, 1]));
        let [w, b] = ["w", "b"].map(|name| weights.layout().leaf(&graph, name));
        let prediction = inputs.linear(&w, &b);
        let loss = prediction.mse(&targets);
        let options = StepOptions { outputs: &[&prediction], ..StepOptions::default() };
        let mut step = TrainingStep::with(&weights, Optimizer::sgd(0.0), &loss, &options).expect("a step");
        let message = step.run(0.1).expect_err("without inputs").to_string();
        assert!(message.contains("was never set"), "{message}");
        step.set(&inputs, &x).expect("x");
        step.set(&targets, &y).expect("y");
        step.run(0.1).expect("a step");
        assert_eq!(step.steps(), 1, "a step that failed does not count");
        let rows: Vec<f64> =
            x.chunks(3).map(|row| row.iter().map(|&x| 0.5 * f64::from(x)).sum::<f64>() - 0.25).collect();
        let errors: Vec<f64> = rows.iter().zip(y).map(|(p, y)| p - f64::from(y)).collect();
        let mean = errors.iter().map(|e| e * e).sum::<f64>() / 4.0;
        assert_relative_eq!(f64::from(step.get(&loss).expect("the loss")[0]), mean, max_relative = 1e-6);
        assert_relative_eq!(f64::from(step.get(&prediction).expect("p")[1]), rows[1], max_relative = 1e-6);
        let values = weights.values().expect("values");
        for i in 0..3 {
            let slope: f64 =
                errors.iter().zip(x.chunks(3)).map(|(e, row)| 2.0 * e * f64::from(row[i]) / 4.0).sum();
            assert_relative_eq!(f64::from(values[i]), 0.5 - 0.1 * slope, max_relative = 1e-6, epsilon = 1e-7);
        }
        let slope: f64 = errors.iter().map(|e| 2.0 * e / 4.0).sum();
        let b = weights.layout().parameters()[1].offset;
        assert_relative_eq!(f64::from(values[b]), -0.25 - 0.1 * slope, max_relative = 1e-6);
        // A function made from the same weights sees them as they are now.
        let now = weights.function(&[&prediction]).expect("a function");
        now.set(&inputs, &x).expect("x");
        now.run().unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected: f64 =
            (0..3).map(|i| f64::from(values[i]) * f64::from(x[i])).sum::<f64>() + f64::from(values[b]);
        assert_relative_eq!(f64::from(now.get(&prediction).expect("p")[0]), expected, max_relative = 1e-6);
    }
}

#[test]
fn a_step_clips_and_moves_running_statistics() {
    let network = Layered::new("norm", [4, 4, 2], 3, |layers, images| {
        let x = layers.conv2d("conv", images, 8, 3, 1, 1);
        layers.batch_norm("bn", &x).relu().global_average_pool()
    });
    let images: Vec<f32> = (0..8 * 32).map(|i| ((i * 37) % 64) as f32 / 32.0 - 1.0).collect();
    for (name, device) in devices() {
        let moved = |clip_norm| {
            let weights = Weights::of(&device, &network, Init::HeNormal, 3).expect("weights");
            let before = weights.values().expect("values");
            let graph = Graph::new();
            let x = graph.input("x", [8, 4, 4, 2]);
            let mut pass = Pass::new(weights.layout(), NormMode::Training);
            let loss = network.logits(&x, &mut pass).square().sum_all();
            let options = StepOptions { clip_norm, passes: &[(&pass, 0.1)], ..StepOptions::default() };
            let mut step =
                TrainingStep::with(&weights, Optimizer::sgd(0.0), &loss, &options).expect("a step");
            step.set(&x, &images).expect("images");
            step.run(1.0).expect("a step");
            let after = weights.values().expect("values");
            let trained = weights.layout().trained_words();
            let change = |range: std::ops::Range<usize>| {
                range.map(|i| f64::from(after[i] - before[i]).powi(2)).sum::<f64>().sqrt()
            };
            (change(0..trained), change(trained..before.len()))
        };
        let (free, statistics) = moved(None);
        let (clipped, same) = moved(Some(0.01));
        assert!(free > 0.02, "{name}: {free}");
        assert_relative_eq!(clipped, 0.01, max_relative = 1e-3);
        assert!(statistics > 1e-3 && statistics == same, "{name}: {statistics} {same}");
    }
}

/// x += ε/2 (μ - x)/σ² + √ε N(0, 1) has a normal stationary distribution with the variance σ² / (1 - ε/4σ²).
#[test]
fn chains_of_a_normal_density_are_normal() {
    const CHAINS: usize = 4096;
    let mut layout = ParameterLayout::default();
    layout.push("mean".into(), vec![1], ParameterKind::Constant(0.75));
    let (epsilon, variance) = (0.05f32, 0.25);
    for (name, device) in devices() {
        let flat = layout.initialise(Init::HeNormal, 0.0, 1);
        let weights = Weights::new(&device, layout.clone(), &flat).expect("weights");
        let graph = Graph::new();
        let x = graph.input("x", [CHAINS, 1]);
        let distance = x.sub(&weights.layout().leaf(&graph, "mean"));
        let log_density = distance.square().scale(-0.5 / variance);
        let langevin = Langevin { step_size: epsilon / 2.0, noise: epsilon.sqrt(), ..Langevin::default() };
        let sampler = DensitySampler::new(&weights, langevin, &log_density, &x).expect("a sampler");
        sampler.start(&[0.0; CHAINS], 7).expect("a start");
        sampler.run(100).expect("steps");
        let chains = sampler.chains().expect("chains");
        let mean = chains.iter().map(|&x| f64::from(x)).sum::<f64>() / CHAINS as f64;
        let found = chains.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / CHAINS as f64;
        let expected = f64::from(variance) / (1.0 - f64::from(epsilon) / (4.0 * f64::from(variance)));
        // Four standard errors.
        assert!((mean - 0.75).abs() < 4.0 * (expected / CHAINS as f64).sqrt(), "{name}: mean {mean}");
        assert!(
            (found / expected - 1.0).abs() < 4.0 * (2.0 / CHAINS as f64).sqrt(),
            "{name}: {found}, {expected}"
        );
        assert!(sampler.start(&[0.0; 3], 1).is_err());
        let other =
            DensitySampler::new(&weights, langevin, &log_density, &log_density).expect_err("no input");
        assert!(other.to_string().contains("must be an input"), "{other}");
    }
}

#[test]
fn every_step_drops_other_elements() {
    for (name, device) in devices() {
        let mut layout = ParameterLayout::default();
        layout.push("w".into(), vec![512], ParameterKind::Constant(1.0));
        let weights = Weights::new(&device, layout.clone(), &layout.initialise(Init::HeNormal, 0.0, 1))
            .expect("weights");
        let graph = Graph::new();
        let counters = graph.counters("counters");
        let dropped = weights.layout().leaf(&graph, "w").dropout(0.25, &counters);
        let loss = dropped.sum_all();
        let options =
            StepOptions { counters: Some(&counters), outputs: &[&dropped], ..StepOptions::default() };
        let mut step = TrainingStep::with(&weights, Optimizer::sgd(0.0), &loss, &options).expect("a step");
        assert!(step.run(0.0).is_err(), "{name}: without a seed");
        step.set(&counters, &[7, 0, 0, 0]).expect("a seed");
        let mut draws = Vec::new();
        for _ in 0..3 {
            step.run(0.0).expect("a step");
            let kept: Vec<bool> = step.get(&dropped).expect("values").iter().map(|&x| x > 0.0).collect();
            let count = kept.iter().filter(|&&kept| kept).count();
            assert!((340..430).contains(&count), "{name}: {count} of 512 stayed");
            draws.push(kept);
        }
        assert!(draws[0] != draws[1] && draws[1] != draws[2] && draws[0] != draws[2], "{name}");
    }
}

#[test]
fn an_input_cannot_have_the_name_of_a_buffer_of_the_program() {
    let device = Device::cpu();
    let graph = Graph::new();
    let x = graph.input("output 0", [4]);
    fails(Function::new(&device, &[&x.scale(2.0)]), &["output 0", "choose another"]);
    let mut layout = ParameterLayout::default();
    layout.push("w".into(), vec![4], ParameterKind::Constant(1.0));
    let weights = Weights::new(&device, layout.clone(), &[1.0; 64]).expect("weights");
    for name in ["control", "momentum.velocity", "gradients", "parameters"] {
        let graph = Graph::new();
        let loss = graph.input(name, [4]).mul(&weights.layout().leaf(&graph, "w")).sum_all();
        fails(TrainingStep::new(&weights, Optimizer::sgd(0.5), &loss), &[name, "choose another"]);
    }
    let mut other = ParameterLayout::default();
    other.push("v".into(), vec![100], ParameterKind::Constant(1.0));
    let graph = Graph::new();
    let both = weights.layout().leaf(&graph, "w").sum_all().add(&other.leaf(&graph, "v").sum_all());
    let texts = ["\"parameters\"", "1 parameter (w [4])", "1 parameter (v [100])"];
    fails(weights.function(&[&both]), &texts);
    let graph = Graph::new();
    fails(weights.function(&[&other.leaf(&graph, "v")]), &["a layout of 128 words", "the weights have 64"]);
}

#[test]
fn inputs_of_one_name_share_a_buffer_and_are_all_asked_for() {
    for long_first in [true, false] {
        let graph = Graph::new();
        let [a, b] = [4, 8].map(|n| graph.input("x", [if long_first { 12 - n } else { n }]));
        let (short, long) = if long_first { (b, a) } else { (a, b) };
        let sums = [short.sum_all(), long.sum_all()];
        let function = Function::new(&Device::cpu(), &[&sums[0], &sums[1]]).expect("a function");
        function.set(&short, &[1.0; 4]).expect("the short one");
        fails(function.run(), &["x", "was never set"]);
        function.set(&long, &[2.0; 8]).expect("the long one");
        function.run().expect("both are set");
        assert_eq!(function.get(&sums[0]).expect("a sum"), [8.0]);
        assert_eq!(function.get(&sums[1]).expect("a sum"), [16.0]);
    }
}

#[test]
fn outputs_of_two_graphs_are_refused() {
    let of = |graph: &Graph| graph.input("x", [3]).exp();
    let (a, b) = (of(&Graph::new()), of(&Graph::new()));
    fails(Function::new(&Device::cpu(), &[&a, &b]), &["is of another graph than the first"]);
}

#[test]
fn a_step_needs_parameters_to_train_and_a_bound_above_zero() {
    let device = Device::cpu();
    let step = |layout: ParameterLayout, clip_norm| {
        let values = layout.initialise(Init::HeNormal, 0.0, 1);
        let weights = Weights::new(&device, layout, &values)?;
        let loss = Graph::new().input("x", [4]).sum_all();
        let options = StepOptions { clip_norm, ..StepOptions::default() };
        TrainingStep::with(&weights, Optimizer::adam(), &loss, &options)
    };
    fails(step(ParameterLayout::default(), None), &["nothing to train"]);
    let mut late = ParameterLayout::default();
    late.push("mean".into(), vec![4], ParameterKind::Statistic(0.0));
    late.push("w".into(), vec![4], ParameterKind::Constant(1.0));
    fails(step(late, None), &["w is trained and must come before"]);
    let mut layout = ParameterLayout::default();
    layout.push("w".into(), vec![4], ParameterKind::Constant(1.0));
    for bound in [0.0, -1.0, f32::NAN] {
        fails(step(layout.clone(), Some(bound)), &["clip_norm", "above 0"]);
    }
    step(layout, None).expect("a step");
}

#[test]
fn a_density_may_have_other_inputs_and_says_what_is_missing() {
    let mut layout = ParameterLayout::default();
    layout.push("w".into(), vec![4, 1], ParameterKind::Constant(1.0));
    for (name, device) in devices() {
        let values = layout.initialise(Init::HeNormal, 0.0, 1);
        let weights = Weights::new(&device, layout.clone(), &values).expect("weights");
        let graph = Graph::new();
        let (x, center, other) =
            (graph.input("x", [4, 1]), graph.input("center", [4, 1]), graph.input("other", [1]));
        let log_density = x.sub(&center).square().mul(&weights.layout().leaf(&graph, "w")).scale(-0.5);
        let langevin = Langevin { step_size: 1.0, noise: 0.0, ..Langevin::default() };
        let sampler = DensitySampler::new(&weights, langevin, &log_density, &x).expect("a sampler");
        fails(sampler.run(1), &["was never set"]);
        sampler.start(&[0.0; 4], 1).expect("a start");
        fails(sampler.run(1), &["center", "was never set"]);
        fails(sampler.set(&center, &[1.0; 3]), &["center", "expected 4 values, got 3"]);
        fails(sampler.set(&other, &[1.0]), &["other is no input"]);
        sampler.set(&center, &[1.0, 2.0, -1.0, 0.5]).expect("centers");
        sampler.run(1).expect("a step");
        assert_eq!(sampler.chains().expect("chains"), [1.0, 2.0, -1.0, 0.5], "{name}: one step of length 1");
        let w = weights.layout().leaf(&graph, "w");
        fails(DensitySampler::new(&weights, langevin, &log_density, &w), &["not its parameters"]);
        let still = Langevin { inner_steps: 0, noise: 0.1, ..langevin };
        fails(DensitySampler::new(&weights, still, &log_density, &x), &["inner_steps", "at least 1"]);
    }
}

/// A perceptron, with dropout or without.
fn perceptron(dropout: bool) -> Layered<impl Fn(&mut Layers<'_, '_>, &Tensor) -> Tensor + Send + Sync> {
    Layered::new("perceptron", [2, 2, 1], 2, move |layers, images| {
        let x = layers.linear("fc", &images.flatten(), 64).relu();
        if dropout { layers.dropout(&x, 0.5) } else { x }
    })
}

#[test]
fn a_network_with_dropout_trains_resumes_and_drops_nothing_in_inference() {
    let images: Vec<f32> = (0..32).map(|i| ((i * 13) % 32) as f32 / 16.0 - 1.0).collect();
    let labels = [0, 1, 1, 0, 1, 0, 0, 1];
    let network = perceptron(true);
    for (name, device) in devices() {
        // Trains from `values` for steps `from..to`; returns the losses and the values.
        let train = |values: &[f32], from: u32, to: u32| {
            let weights = Weights::new(&device, network.layout(), values).expect("weights");
            let graph = Graph::new();
            let (x, y) = (graph.input("x", [8, 2, 2, 1]), graph.indices("y", [8]));
            let counters = graph.counters("counters");
            let mut pass = Pass::new(weights.layout(), NormMode::Training).with_dropout(&counters);
            let loss = network.logits(&x, &mut pass).cross_entropy(&y);
            let options = StepOptions { counters: Some(&counters), ..StepOptions::default() };
            let mut step =
                TrainingStep::with(&weights, Optimizer::sgd(0.0), &loss, &options).expect("a step");
            step.set(&x, &images).expect("images");
            step.set(&y, &labels).expect("labels");
            step.set(&counters, &[7, from, 0, 0]).expect("counters");
            let mut losses = Vec::new();
            for _ in from..to {
                step.run(0.25).expect("a step");
                losses.push(step.get(&loss).expect("the loss")[0]);
            }
            (losses, weights.values().expect("values"))
        };
        let first = network.layout().initialise(Init::HeNormal, 0.0, 3);
        let (losses, straight) = train(&first, 0, 200);
        let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
        assert!(mean(&losses[180..]) < 0.7 * mean(&losses[..20]), "{name}: {losses:?}");
        assert_ne!(train(&first, 0, 1).1, train(&first, 1, 2).1, "{name}: every step drops others");
        let (_, half) = train(&first, 0, 120);
        let (_, resumed) = train(&half, 120, 200);
        assert_eq!(resumed, straight, "{name}: resumed, bit for bit");

        let logits = |network: &dyn Network, mode| {
            let weights = Weights::new(&device, network.layout(), &straight).expect("weights");
            let x = Graph::new().input("x", [8, 2, 2, 1]);
            let pass = Pass::new(weights.layout(), mode);
            let mut pass = if mode == NormMode::Training { pass.without_dropout() } else { pass };
            let logits = network.logits(&x, &mut pass);
            let function = weights.function(&[&logits]).expect("a function");
            function.set(&x, &images).expect("images");
            function.run().expect("a run");
            function.get(&logits).expect("logits")
        };
        let plain = logits(&perceptron(false), NormMode::Inference);
        assert_eq!(logits(&network, NormMode::Inference), plain, "{name}: in inference");
        assert_eq!(logits(&network, NormMode::Training), plain, "{name}: without dropout");
    }
    let layout = network.layout();
    let x = Graph::new().input("x", [8, 2, 2, 1]);
    let logits = network.logits(&x, &mut Pass::new(&layout, NormMode::Training));
    fails(Function::new(&Device::cpu(), &[&logits]), &["dropout:", "random numbers"]);
    let certain = Layered::new("certain", [2, 2, 1], 2, |layers, x| layers.dropout(&x.flatten(), 1.0));
    fails(certain.check(), &["network certain", "probability 1"]);
}
