//! An SGLD step with its update: the numbers against float64, which operations are fused, and when.

use super::graph_function::{assert_agree, slot_words};
use super::graph_reference::{Evaluator, Slots, smooth_slots};
use super::harness::devices;
use super::sgld::{COUNTERS, reference};
use jem::compute::cooperative::Method;
use jem::compute::loss_term::LossTerm;
use jem::device::{Buffer, Device, Program, ProgramBuilder};
use jem::graph::{Graph, Output, Tensor, Update, lower_with_update};
use jem::kernels::sgld::Sgld;
use jem::nn::batch_norm::NormMode;
use jem::nn::ingredients::Norm;
use jem::nn::network::{Network as _, Pass};
use jem::nn::parameters::ParameterLayout;
use jem::nn::resnet::ResNet;
use jem::nn::wide_resnet::WideResNet;
use jem::policy::convolution::ConvolutionPolicy;
use std::collections::{BTreeMap, BTreeSet};

tests![
    the_update_follows_all_that_reads_the_images,
    a_gradient_that_others_read_is_followed_by_a_kernel_of_its_own,
    a_step_of_every_network_is_convolutions_and_one_head,
    a_step_of_a_normalised_network_has_six_kernels_a_norm,
    fusion_spares_the_dispatches_and_bytes_that_it_should
];

const IMAGES: usize = 3;

/// A residual network that activates after its additions, as ResNets do, and its log density.
fn network(graph: &Graph) -> (Tensor, Tensor, Tensor) {
    let x = graph.input("x", [IMAGES, 8, 8, 3]);
    let conv = |x: &Tensor, name: &str, c_out: usize| {
        let w = graph.input(&format!("{name} weights"), [3, 3, x.shape()[3], c_out]);
        x.conv2d(&w, None, 1, 1)
    };
    let stem = conv(&x, "stem", 8).leaky_relu(0.1);
    let mut y = stem;
    for name in ["first", "second"] {
        let inner = conv(&y, &format!("{name}.1"), 8).leaky_relu(0.1);
        y = conv(&inner, &format!("{name}.2"), 8).add(&y).leaky_relu(0.1);
    }
    let (w, b) = (graph.input("w", [8, 5]), graph.input("b", [5]));
    let logits = y.global_average_pool().linear(&w, &b);
    let labels = graph.indices("labels", [IMAGES]);
    let parts = [LossTerm { count: IMAGES, log_p_x: 1.0, ..LossTerm::default() }];
    (x, logits.logit_loss(&labels, &parts), logits.logit_stats(&labels, &parts))
}

fn update_of(x: &Tensor) -> Sgld {
    Sgld {
        n: x.elements(),
        step: 3.0,
        noise: 0.1,
        clamp_gradient: Some(0.2),
        clamp_x: Some((-0.9, 0.9)),
        masked: true,
    }
}

/// One step on `x` with these other outputs, by name.
fn programs(
    policy: &ConvolutionPolicy,
    x: &Tensor,
    gradient: &Tensor,
    others: &[(&str, &Tensor)],
) -> [Program; 2] {
    let mut prepare = ProgramBuilder::new("prepare");
    let mut step = ProgramBuilder::new("step");
    let kernel = update_of(x);
    let images = step.external_named("x", kernel.n);
    let others: Vec<Output<'_>> = others
        .iter()
        .map(|(name, tensor)| Output { tensor, view: step.external_named(name, tensor.elements()) })
        .collect();
    let gradient = Output { tensor: gradient, view: step.external_named("gradient", kernel.n) };
    let counters = step.external_named("counters", COUNTERS.len());
    let moving = Some(step.external_named("moving", kernel.n));
    let update = Update { kernel, x: images, counters, moving };
    lower_with_update(policy, &mut step, &mut prepare, gradient, &others, &update).expect("a program");
    [prepare.finish(), step.finish()]
}

/// Runs both programs; the contents of all buffers.
fn run(device: &Device, programs: [Program; 2], slots: &Slots, moving: &[f32]) -> BTreeMap<String, Vec<f32>> {
    let mut buffers: BTreeMap<String, Buffer> = BTreeMap::new();
    for slot in programs.iter().flat_map(Program::externals) {
        let buffer = match (slot.name.as_str(), slots.get(&slot.name)) {
            ("counters", _) => device.buffer_from("counters", &COUNTERS),
            ("moving", _) => device.buffer_from("moving", moving),
            (name, Some(values)) => device.buffer_from(name, &slot_words(name, values)),
            (name, None) => device.buffer(name, slot.bytes),
        };
        buffers.insert(slot.name.clone(), buffer.expect("a buffer"));
    }
    let externals: Vec<_> = buffers.iter().map(|(name, buffer)| (name.as_str(), buffer)).collect();
    for program in programs {
        let executable = device.load(program, &externals).unwrap_or_else(|error| panic!("{error}"));
        device.run(&executable).expect("a run");
    }
    let read = |(name, buffer): (&String, _)| (name.clone(), device.read_as(buffer).expect("contents"));
    buffers.iter().map(read).collect()
}

fn kernels(program: &Program) -> BTreeSet<&'static str> {
    program.dispatches.iter().map(|dispatch| dispatch.kernel.name()).collect()
}

/// Compares a step with float64; `others` may name the images, or the gradient.
fn compare(policy: &ConvolutionPolicy, others: &[&str], fused: bool) {
    let graph = Graph::new();
    let (x, log_density, stats) = network(&graph);
    let [gradient] = graph.grad(&log_density, [&x]);
    let slots = smooth_slots(&[&log_density, &gradient], 5, 2e-6);
    let tensors = BTreeMap::from([("stats", &stats), ("as they were", &x), ("again", &gradient)]);
    let others: Vec<_> = others.iter().map(|&name| (name, tensors[name])).collect();
    let programs = || programs(policy, &x, &gradient, &others);
    let [_, step] = programs();
    assert_eq!(!kernels(&step).contains("sgld"), fused, "{step}");

    let moving: Vec<f32> = (0..x.elements()).map(|i| [1.0, 0.0, 0.5, 1.0][i % 4]).collect();
    let mut asked = vec![&gradient];
    asked.extend(others.iter().map(|(_, tensor)| *tensor));
    let expected = Evaluator::new(&asked).run(&slots);
    let before: Vec<f32> = slots["x"].iter().map(|&v| v as f32).collect();
    let after = reference(&update_of(&x), COUNTERS, &before, &expected[0], Some(&moving));
    let held = after.iter().zip(&before).filter(|&(&a, &b)| a == f64::from(b)).count();
    let clamped = after.iter().filter(|v| v.abs() == f64::from(0.9f32)).count();
    assert!(held > 100 && clamped > 5 && clamped < 200, "{held} held, {clamped} clamped");
    for (name, device) in devices() {
        let found = run(device, programs(), &slots, &moving);
        let context = |what: &str| format!("{what} of {others:?} on {name}");
        assert!(assert_agree(&found["gradient"], &expected[0], 1e-10, &context("gradient")));
        assert!(assert_agree(&found["x"], &after, 1e-10, &context("the images")));
        for ((other, _), expected) in others.iter().zip(&expected[1..]) {
            assert!(assert_agree(&found[*other], expected, 1e-10, &context(other)));
        }
    }
}

fn the_update_follows_all_that_reads_the_images() {
    for others in [&[][..], &["stats"], &["as they were", "stats"]] {
        compare(&ConvolutionPolicy::default(), others, true);
    }
}

fn a_gradient_that_others_read_is_followed_by_a_kernel_of_its_own() {
    compare(&ConvolutionPolicy::default(), &["again"], false);
    compare(&ConvolutionPolicy::default().unfused(), &["stats"], false);
}

/// The step on a network with these logits.
fn step_of(
    policy: &ConvolutionPolicy,
    layout: &ParameterLayout,
    channels: usize,
    logits: impl Fn(&ParameterLayout, &Tensor) -> Tensor,
) -> Program {
    let graph = Graph::new();
    let x = graph.input("x", [16, 32, 32, channels]);
    let labels = graph.indices("labels", [16]);
    let log_density = logits(layout, &x)
        .logit_loss(&labels, &[LossTerm { count: 16, log_p_x: 1.0, ..LossTerm::default() }]);
    let [gradient] = graph.grad(&log_density, [&x]);
    let [_, step] = programs(policy, &x, &gradient, &[]);
    step
}

fn wide_resnet(policy: &ConvolutionPolicy, network: WideResNet) -> Program {
    let layout = network.layout();
    step_of(policy, &layout, network.channels, |layout, x| {
        network.logits(x, &mut Pass::new(layout, NormMode::Inference))
    })
}

fn a_step_of_every_network_is_convolutions_and_one_head() {
    let known = BTreeSet::from(["conv2d", "conv2d_input_gradient", "head"]);
    for channels in [1, 3, 4] {
        let network = WideResNet::new(10, 2, 10, channels);
        let step = wide_resnet(&ConvolutionPolicy::default(), network);
        assert_eq!(kernels(&step), known, "{channels} channels: {step}");
    }
    let network = ResNet::cifar(20, 10, 3);
    let step = step_of(&ConvolutionPolicy::default(), &network.layout(), 3, |layout, x| {
        network.logits(x, &mut Pass::new(layout, NormMode::Inference))
    });
    assert_eq!(kernels(&step), known, "{step}");
    // The stem, two convolutions in each of nine blocks and two shortcuts, there and back.
    assert_eq!(step.dispatches.len(), 2 * (1 + 18 + 2) + 1, "{step}");
}

/// Batch norm takes the batch's own statistics while it samples, and group norm always does: two stages of sums and one
/// pass over the tensor, forward and backward each, with the leaky ReLU and the shortcut's gradient in it.
fn a_step_of_a_normalised_network_has_six_kernels_a_norm() {
    let norms = ["moments", "moments_combine", "normalise"];
    let gradients = ["normalise_sums", "normalise_sums_combine", "normalise_gradient"];
    let known: BTreeSet<_> =
        ["conv2d", "conv2d_input_gradient", "head"].into_iter().chain(norms).chain(gradients).collect();
    for norm in [Norm::Batch, Norm::GROUP] {
        let network = WideResNet { norm, ..WideResNet::new(16, 4, 10, 3) };
        let layout = network.layout();
        let logits = |layout: &ParameterLayout, x: &Tensor| {
            network.logits(x, &mut Pass::new(layout, NormMode::Training))
        };
        let step_by = |policy| step_of(policy, &layout, 3, logits);
        let [step, half] =
            [ConvolutionPolicy::default(), ConvolutionPolicy::default().in_f16(Method::Scalar)]
                .each_ref()
                .map(step_by);
        // 13 convolutions and 3 shortcuts there and back, and the head; two norms in each of six blocks and the last.
        assert_eq!((kernels(&step), step.dispatches.len()), (known.clone(), 33 + 6 * 13), "{step}");
        // In f16 nothing else, and half the bytes.
        assert_eq!((kernels(&half), half.dispatches.len()), (known.clone(), 33 + 6 * 13), "{half}");
        let [whole, half] = [step, half].map(|step| step.summary());
        println!("WRN-16-4 with {norm:?}, batch 16, one SGLD step\n  {whole}\n  in f16: {half}");
        assert!((half.bytes_moved as f64) < 0.55 * whole.bytes_moved as f64, "{half}, not half of {whole}");
    }
}

/// A kernel for each operation against the fused program: docs/performance.md counts the same.
fn fusion_spares_the_dispatches_and_bytes_that_it_should() {
    let network = WideResNet::new(16, 4, 10, 3);
    let [fused, separate] = [ConvolutionPolicy::default(), ConvolutionPolicy::default().unfused()]
        .each_ref()
        .map(|policy| wide_resnet(policy, network));
    let [a, b] = [fused.summary(), separate.summary()];
    println!("WRN-16-4, batch 16, one SGLD step\n  fused: {a}\n  a kernel an operation: {b}");
    // 13 convolutions and 3 shortcuts there and back, and the head.
    assert_eq!(a.dispatches, 33, "{fused}");
    // 13 activations and their gradients, 6 sums and as many of gradients, the update, and 6 for 1 of the head.
    assert_eq!(b.dispatches, 33 + 2 * 13 + 2 * 6 + 1 + 5, "{separate}");

    // Operations that are fused to a convolution are not part of its product.
    assert!(a.flops != b.flops && fused.convolution_flops() == separate.convolution_flops());

    // Tensors read or written, in units of 32 elements, of which a mask has one word.
    let images = |side: u64, channels: u64| 16 * side * side * channels / 32;
    // A tensor's words and its mask's: what `floats` tensors more and `masks` masks less move.
    let spared = |units: u64, floats: u64, masks: u64| units * (32 * floats - masks);
    let mut words = 0;
    for (side_in, c_in, side_out, c_out) in [
        (32, 16, 32, 64),
        (32, 64, 32, 64),
        (32, 64, 16, 128),
        (16, 128, 16, 128),
        (16, 128, 8, 256),
        (8, 256, 8, 256),
    ] {
        // The block's stride is its second convolution's: the inner activation is as large as the input.
        let (input, inner) = (images(side_in, c_in), images(side_in, c_out));
        // conv1 writes 1 and a mask instead of 1, and 2 of the activation; back, 1 and a mask for 1 and 3.
        words += spared(inner, 2, 1) + spared(inner, 3, 1);
        // Back at the block's input: 2 and a mask for 1, 3 of the activation's gradient and 3 of the sum.
        words += spared(input, 5, 1);
        // The block's output is 3 (residual, sum, activation) and a mask for 1, 3 of the sum and 2 of the activation.
        words += spared(images(side_out, c_out), 3, 1);
    }
    // The first convolution's output is 2 and a mask for 1 and 2.
    words += spared(images(32, 16), 1, 1);
    // The last sum itself is not needed; the head reads the mask instead of 3 more.
    words += 32 * images(8, 256) + spared(images(8, 256), 3, 1);
    let ratio = (b.bytes_moved - a.bytes_moved) as f64 / (4 * words) as f64;
    println!(
        "  {:.2} times the bytes; the difference is {ratio:.4} of the prediction",
        b.bytes_moved as f64 / a.bytes_moved as f64
    );
    // The rest is the head's logits and the gradient that the update reads again.
    assert!((1.0..1.005).contains(&ratio), "{fused}{separate}");
}
