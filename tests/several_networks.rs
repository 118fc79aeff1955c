//! Several networks in one graph, each with its own weights, trained together or in turns.

#[path = "common/devices.rs"]
mod devices;
#[path = "common/fails.rs"]
mod fails;

use approx::assert_relative_eq;
use devices::devices;
use fails::fails;
use jem::device::Device;
use jem::graph::{Function, Graph, Tensor};
use jem::nn::batch_norm::NormMode;
use jem::nn::init::Init;
use jem::nn::layers::Layered;
use jem::nn::network::{Network, Pass};
use jem::nn::optimizer::Optimizer;
use jem::nn::parameters::{ParameterKind, ParameterLayout};
use jem::nn::training::{StepOptions, TrainingStep, Weights};

/// A layout of one scalar, in a buffer of this name.
fn scalar(device: &Device, slot: &str, value: f32) -> Weights {
    let mut layout = ParameterLayout::default();
    layout.push("value".into(), vec![1], ParameterKind::Constant(value));
    let values = layout.initialise(Init::HeNormal, 0.0, 1);
    Weights::new(device, layout, &values).expect("weights").in_slot(slot)
}

/// The loss is e² for e = x - 2 y - 1; its gradient is 2 e for x and -4 e for y.
#[test]
fn two_networks_in_one_graph_are_trained_together_or_one_beside_the_other() {
    for (name, device) in devices() {
        let step = |frozen: bool, clip_norm, optimizer| {
            let (x, y) = (scalar(&device, "x", 4.0), scalar(&device, "y", 1.0));
            let graph = Graph::new();
            let [a, b] = [&x, &y].map(|weights| weights.layout().leaf(&graph, "value"));
            let error = a.sub(&b.affine(2.0, 1.0));
            let y_alone = [&y];
            let (frozen, trained) = if frozen { (&y_alone[..], &[][..]) } else { (&[][..], &y_alone[..]) };
            let options = StepOptions { clip_norm, frozen, trained, ..StepOptions::default() };
            let mut step = TrainingStep::with(&x, optimizer, &error.square(), &options).expect("a step");
            step.run(0.125).expect("a step");
            let before = x.function_beside(&[&y], &[&error]).expect("a function");
            before.run().expect("a run");
            let error = before.get(&error).expect("the error")[0];
            let [x, y] = [&x, &y].map(|weights| weights.values().expect("values")[0]);
            assert_eq!(error, x - 2.0 * y - 1.0, "{name}: a function of both");
            (x, y)
        };
        // e = 1.
        assert_eq!(step(false, None, Optimizer::sgd(0.9)), (4.0 - 0.25, 1.0 + 0.5), "{name}: both");
        assert_eq!(step(true, None, Optimizer::sgd(0.9)), (4.0 - 0.25, 1.0), "{name}: one");
        // The norm of both gradients is √20.
        let (x, y) = step(false, Some(1.0), Optimizer::sgd(0.0));
        let shorter = 1.0 / 20f32.sqrt();
        assert_relative_eq!(x, 4.0 - 0.25 * shorter, max_relative = 1e-6);
        assert_relative_eq!(y, 1.0 + 0.5 * shorter, max_relative = 1e-6);
        // Adam's first step is the learning rate, whatever the gradient, because each network has its own state.
        let (x, y) = step(false, None, Optimizer::adam());
        assert_relative_eq!(x, 4.0 - 0.125, max_relative = 1e-6);
        assert_relative_eq!(y, 1.0 + 0.125, max_relative = 1e-6);
    }
}

/// A generator that learns to make images of low energy beside an energy that learns to tell them from data, as in VERA
/// (Grathwohl et al., ICLR 2021), in one graph.
#[test]
fn a_generator_and_an_energy_in_one_graph_take_turns() {
    let energy = Layered::new("energy", [4, 4, 1], 1, |layers, images| {
        layers.linear("fc", &images.flatten(), 16).leaky_relu(0.2)
    });
    let generator = Layered::new("generator", [2, 2, 1], 16, |layers, noise| {
        let x = layers.linear("fc", &noise.flatten(), 16);
        layers.batch_norm("bn", &x).relu()
    });
    for (name, device) in devices() {
        let weights = |network: &dyn Network, seed, slot| {
            Weights::of(&device, network, Init::HeNormal, seed).expect("weights").in_slot(slot)
        };
        let (e, g) = (weights(&energy, 1, "energy"), weights(&generator, 2, "generator"));
        let graph = Graph::new();
        let (noise, data) = (graph.input("noise", [8, 2, 2, 1]), graph.input("data", [8, 4, 4, 1]));
        let mut pass = Pass::new(g.layout(), NormMode::Training);
        let images = generator.logits(&noise, &mut pass).tanh().reshape([8, 4, 4, 1]);
        let density =
            |x: &Tensor| energy.logits(x, &mut Pass::new(e.layout(), NormMode::Inference)).mean(&[0, 1]);
        let difference = density(&data).sub(&density(&images));
        let options = StepOptions { frozen: &[&g], ..StepOptions::default() };
        let tells = TrainingStep::with(&e, Optimizer::adam(), &difference.scale(-1.0), &options);
        let options = StepOptions { frozen: &[&e], passes: &[(&pass, 0.1)], ..StepOptions::default() };
        let makes = TrainingStep::with(&g, Optimizer::adam(), &difference, &options);
        let mut steps = [tells.expect("a step"), makes.expect("a step")];
        for step in &steps {
            step.set(&noise, &(0..32).map(|i| ((i * 37) % 32) as f32 / 16.0 - 1.0).collect::<Vec<_>>())
                .expect("noise");
            step.set(&data, &(0..128).map(|i| ((i * 11) % 64) as f32 / 64.0).collect::<Vec<_>>())
                .expect("data");
        }
        let all = || [&e, &g].map(|weights| weights.values().expect("values"));
        let mut ends = Vec::new();
        for (turn, step) in steps.iter_mut().enumerate() {
            let before = all();
            step.run(1e-2).expect("a step");
            let first = step
                .get(&if turn == 0 { difference.scale(-1.0) } else { difference.clone() })
                .expect("a loss")[0];
            (0..20).for_each(|_| step.run(1e-2).expect("a step"));
            let last = step
                .get(&if turn == 0 { difference.scale(-1.0) } else { difference.clone() })
                .expect("a loss")[0];
            assert!(last < first - 0.1, "{name}: from {first} to {last}");
            let after = all();
            assert_ne!(before[turn], after[turn], "{name}: the network of turn {turn}");
            assert_eq!(before[1 - turn], after[1 - turn], "{name}: the other network of turn {turn}");
            ends.push(after);
        }
        let statistics = g.layout().trained_words()..g.layout().words();
        assert_ne!(ends[0][1][statistics.clone()], ends[1][1][statistics], "{name}: running statistics");
    }
}

#[test]
fn networks_that_share_a_name_by_mistake_are_told() {
    let device = Device::cpu();
    let (x, y) = (scalar(&device, "x", 1.0), scalar(&device, "x", 1.0));
    let loss = x.layout().leaf(&Graph::new(), "value");
    for options in [
        StepOptions { frozen: &[&y], ..StepOptions::default() },
        StepOptions { trained: &[&y], ..StepOptions::default() },
    ] {
        let step = TrainingStep::with(&x, Optimizer::sgd(0.0), &loss, &options);
        fails(step, &["two networks have their parameters in \"x\"", "in_slot"]);
    }
    for name in ["gradients", "control", "momentum.velocity"] {
        let x = scalar(&device, name, 1.0);
        let loss = x.layout().leaf(&Graph::new(), "value");
        fails(TrainingStep::new(&x, Optimizer::sgd(0.0), &loss), &[name, "choose another"]);
    }
    // Two layouts of equally many words under one name.
    let networks = [("one", 16), ("two", 8)].map(|(name, width)| {
        Layered::new(name, [2, 2, 1], 2, move |layers, images| {
            layers.linear("fc", &images.flatten(), width).relu()
        })
    });
    let layouts = [networks[0].layout(), networks[1].layout()];
    assert_eq!(layouts[0].words(), layouts[1].words(), "the sizes do not tell them apart");
    let graph = Graph::new();
    let images = graph.input("images", [3, 2, 2, 1]);
    let logits =
        [0, 1].map(|i| networks[i].logits(&images, &mut Pass::new(&layouts[i], NormMode::Inference)));
    fails(
        Function::new(&device, &[&logits[0].add(&logits[1])]),
        &["\"parameters\"", "fc.weight [4, 16]", "fc.weight [4, 8]"],
    );
}

#[test]
fn a_pass_through_another_network_names_both() {
    let device = Device::cpu();
    let [one, two] = ["fc", "other"].map(|layer| {
        Layered::new(&format!("network {layer}"), [2, 2, 1], 2, move |layers, images| {
            let x = layers.linear(layer, &images.flatten(), 8);
            layers.batch_norm("bn", &x).relu()
        })
    });
    let (layout, weights) = (two.layout(), Weights::of(&device, &one, Init::HeNormal, 1).expect("weights"));
    for mode in [NormMode::Training, NormMode::Inference] {
        let graph = Graph::new();
        let images = graph.input("images", [3, 2, 2, 1]);
        let logits = one.logits(&images, &mut Pass::new(&layout, mode));
        fails(
            Function::new(&device, &[&logits]),
            &["network fc has", "fc.weight", "other.weight", "another network"],
        );
        let graph = Graph::new();
        let images = graph.input("images", [3, 2, 2, 1]);
        let features = one.features(&images, &mut Pass::new(&layout, mode));
        fails(Function::new(&device, &[&features]), &["fc.weight is not among", "other.weight"]);
    }
    let graph = Graph::new();
    let images = graph.input("images", [3, 2, 2, 1]);
    let mut pass = Pass::new(&layout, NormMode::Training);
    two.logits(&images, &mut pass);
    let loss = one.logits(&images, &mut Pass::new(weights.layout(), NormMode::Training)).sum_all();
    let step = |passes| {
        let options = StepOptions { passes, ..StepOptions::default() };
        TrainingStep::with(&weights, Optimizer::sgd(0.0), &loss, &options)
    };
    fails(step(&[(&pass, 0.1)]), &["the pass is made with", "other.weight", "fc.weight"]);
}

/// A target network is a copy; a clone of the weights would be trained with them.
#[test]
fn a_clone_of_weights_is_no_second_network() {
    for (_, device) in devices() {
        let a = scalar(&device, "a", 1.0);
        let target = a.clone().in_slot("target");
        let graph = Graph::new();
        let [x, t] = [&a, &target].map(|weights| weights.layout().leaf(&graph, "value"));
        let loss = x.sub(&t).square();
        for options in [
            StepOptions { frozen: &[&target], ..StepOptions::default() },
            StepOptions { trained: &[&target], ..StepOptions::default() },
        ] {
            let step = TrainingStep::with(&a, Optimizer::sgd(0.0), &loss, &options);
            fails(step, &["\"a\" and \"target\" are one buffer", "Weights::new"]);
        }
    }
}

/// As in PyTorch, where a module that is called twice moves its statistics twice.
#[test]
fn a_pass_of_two_batches_moves_running_statistics_by_one_after_the_other() {
    let network =
        Layered::new("norm", [1, 1, 1], 1, |layers, images| layers.batch_norm("bn", &images.flatten()));
    let batches = [[1.0f32, 2.0, 3.0, 6.0], [-4.0, -2.0, 0.0, 2.0]];
    for (name, device) in devices() {
        let weights = Weights::of(&device, &network, Init::HeNormal, 1).expect("weights");
        let graph = Graph::new();
        let inputs = [0, 1].map(|i| graph.input(&format!("batch {i}"), [4, 1, 1, 1]));
        let mut pass = Pass::new(weights.layout(), NormMode::Training);
        let [a, b] = inputs.each_ref().map(|x| network.logits(x, &mut pass).sum_all());
        let loss = a.add(&b);
        let options = StepOptions { passes: &[(&pass, 0.25)], ..StepOptions::default() };
        let mut step = TrainingStep::with(&weights, Optimizer::sgd(0.0), &loss, &options).expect("a step");
        inputs.iter().zip(&batches).for_each(|(x, batch)| step.set(x, batch).expect("a batch"));
        step.run(0.0).expect("a step");
        let values = weights.values().expect("values");
        let (mut mean, mut variance) = (0.0, 1.0);
        for batch in batches {
            let of_batch = batch.iter().sum::<f32>() / 4.0;
            let unbiased = batch.iter().map(|x| (x - of_batch).powi(2)).sum::<f32>() / 3.0;
            (mean, variance) = (0.75 * mean + 0.25 * of_batch, 0.75 * variance + 0.25 * unbiased);
        }
        for (part, expected) in [("running_mean", mean), ("running_var", variance)] {
            let all = weights.layout().parameters();
            let parameter = all.iter().find(|p| p.name == format!("bn.{part}")).expect("a statistic");
            assert_relative_eq!(values[parameter.offset], expected, max_relative = 1e-6);
        }
        let twice = StepOptions { passes: &[(&pass, 0.25), (&pass, 0.25)], ..StepOptions::default() };
        fails(TrainingStep::with(&weights, Optimizer::sgd(0.0), &loss, &twice), &["two passes"]);
        println!("{name}: ok");
    }
}
