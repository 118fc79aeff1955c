//! A whole small wide residual network, as joint energy-based models train it: its numbers on every device against
//! float64, and the exact dispatches that it is lowered to.

use super::graph_function::{assert_agree, slot_words};
use super::graph_reference::{Evaluator, Slots, random_slots};
use super::harness::devices;
use jem::compute::Access;
use jem::compute::functional::Functional;
use jem::compute::loss_term::{LabelledLoss, LossTerm};
use jem::compute::norm_geometry::NormGeometry;
use jem::device::{Buffer, Device, Program, ProgramBuilder, SlotId};
use jem::graph::{Graph, Leaf, Normalisation, Output, Tensor, lower};
use jem::policy::convolution::ConvolutionPolicy;
use std::cell::RefCell;
use std::collections::BTreeMap;

tests![
    numbers_of_an_sgld_step_an_update_and_everything,
    fused_and_unfused_agree,
    normalised_networks_fused_and_unfused,
    functionals_of_energies_fused_and_unfused,
    an_sgld_step_is_convolutions_and_one_head,
    no_float_activation_lives_into_the_backward_pass_of_a_step,
    an_update_computes_each_gradient_once
];

const SLOPE: f32 = 0.2;
const CLASSES: usize = 10;
const IMAGES: usize = 5;
/// Words of the slot of all parameters, and of that of their gradients.
const PARAMETERS: usize = 16 * 1024;
/// The convolutions: the first one, two in each block, and the second block's shortcut.
const CONVOLUTIONS: usize = 6;

/// Makes the parameters one after the other in one slot.
struct Parameters<'a> {
    graph: &'a Graph,
    made: RefCell<Vec<(usize, Tensor)>>,
}

impl Parameters<'_> {
    fn next(&self, shape: &[usize]) -> Tensor {
        let mut made = self.made.borrow_mut();
        let offset = made.last().map_or(0, |(offset, last)| offset + last.elements().next_multiple_of(64));
        let leaf = Leaf { slot: "parameters".into(), words: PARAMETERS, offset, parameter: true };
        let tensor = self.graph.leaf(leaf, shape);
        made.push((offset, tensor.clone()));
        tensor
    }
}

/// The normalisation in front of the network's activations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum InFront {
    Nothing,
    /// Batch norm by the batch's statistics.
    Batch,
    /// Group norm.
    Groups(usize),
}

impl InFront {
    fn normalise(self, x: &Tensor, parameters: &Parameters<'_>) -> Tensor {
        let geometry = match self {
            Self::Nothing => return x.clone(),
            Self::Batch => NormGeometry::of_batch(x),
            Self::Groups(groups) => NormGeometry::of_groups(x, groups),
        };
        let [weight, bias] = [(); 2].map(|()| parameters.next(&[geometry.channels]));
        x.normalise(Normalisation { geometry, epsilon: 1e-5 }, &weight, &bias)
    }
}

pub struct Net {
    x: Tensor,
    /// Each parameter with its place in the slot.
    parameters: Vec<(usize, Tensor)>,
    stats: Tensor,
    loss: Tensor,
}

impl Net {
    /// The network. With `apart`, every value is multiplied by a leaf of ones, so that no fused pattern matches.
    pub fn new(graph: &Graph, apart: bool) -> Self {
        Self::with_weight(graph, apart, 1.0)
    }

    /// [`Net::new`] with the losses times `weight`.
    pub fn with_weight(graph: &Graph, apart: bool, weight: f32) -> Self {
        let parts = [
            LossTerm { count: 2, log_p_x: -weight, l2: 0.01 * weight, ..LossTerm::default() },
            LossTerm { count: 2, log_p_x: weight, l2: 0.01 * weight, ..LossTerm::default() },
            LossTerm { count: 1, cross_entropy: weight, ..LossTerm::default() },
        ];
        Self::with_parts(graph, apart, InFront::Nothing, SLOPE, &parts)
    }

    /// [`Net::new`] with a normalisation and another slope of the leaky ReLUs, for a classifier and a density.
    pub fn normalised(graph: &Graph, apart: bool, in_front: InFront, slope: f32) -> Self {
        let parts = [
            LossTerm { count: 2, log_p_x: 1.0, ..LossTerm::default() },
            LossTerm { count: 3, cross_entropy: 1.0, ..LossTerm::default() },
        ];
        Self::with_parts(graph, apart, in_front, slope, &parts)
    }

    /// [`Net::normalised`] with other losses.
    fn with_parts(graph: &Graph, apart: bool, in_front: InFront, slope: f32, parts: &[LossTerm]) -> Self {
        let ones = graph.input("ones", [1]);
        let through = |x: Tensor| if apart { x.mul(&ones) } else { x };
        let parameters = Parameters { graph, made: RefCell::default() };
        let conv = |x: &Tensor, c_out: usize, kernel: usize, stride: usize| {
            let w = parameters.next(&[kernel, kernel, x.shape()[3], c_out]);
            // Batch norm cancels a bias, whose gradient would be rounding alone.
            let b = (in_front != InFront::Batch).then(|| parameters.next(&[c_out]));
            through(x.conv2d(&w, b.as_ref(), stride, kernel / 2))
        };
        let activate = |x: &Tensor| through(through(in_front.normalise(x, &parameters)).leaky_relu(slope));
        let x = graph.input("x", [IMAGES, 8, 8, 3]);
        let mut y = graph.scope("conv1", || conv(&x, 8, 3, 1));
        for (name, c_out, stride) in [("block1", 8, 1), ("block2", 16, 2)] {
            y = graph.scope(name, || {
                let inner = conv(&activate(&y), c_out, 3, 1);
                let residual = conv(&activate(&inner), c_out, 3, stride);
                let shortcut = if stride == 1 { y.clone() } else { conv(&y, c_out, 1, stride) };
                through(residual.add(&shortcut))
            });
        }
        let pooled = through(activate(&y).global_average_pool());
        let [w, b] = [&[16, CLASSES][..], &[CLASSES]].map(|shape| parameters.next(shape));
        let logits = through(pooled.linear(&w, &b));
        let labels = graph.indices("labels", [IMAGES]);
        let loss = logits.logit_loss(&labels, parts);
        let stats = logits.logit_stats(&labels, parts);
        Self { x, parameters: parameters.made.into_inner(), stats, loss }
    }

    /// SGLD's outputs: the images' gradient alone.
    pub fn step(&self) -> Vec<(Tensor, usize, &'static str)> {
        let [gradient] = self.loss.graph().grad(&self.loss, [&self.x]);
        vec![(gradient, 0, "gradient")]
    }

    /// An update's outputs: the statistics and every parameter's gradient, which share a slot.
    pub fn update(&self) -> Vec<(Tensor, usize, &'static str)> {
        let wrt: Vec<&Tensor> = self.parameters.iter().map(|(_, tensor)| tensor).collect();
        let gradients = self.loss.graph().grad_of_all(&[&self.loss], &wrt);
        let offsets = self.parameters.iter().map(|(offset, _)| *offset);
        let mut outputs: Vec<_> =
            gradients.into_iter().zip(offsets).map(|(g, offset)| (g, offset, "gradients")).collect();
        outputs.push((self.stats.clone(), 0, "stats"));
        outputs
    }

    /// Everything at once, and the losses.
    fn all(&self) -> Vec<(Tensor, usize, &'static str)> {
        let mut outputs = [self.step(), self.update()].concat();
        outputs.push((self.loss.clone(), 0, "loss"));
        outputs
    }
}

/// Inputs and parameters that keep activations around 1 and at a distance from the kinks.
pub fn slots(net: &Net) -> Slots {
    let graph = net.loss.graph();
    let [gradient] = graph.grad(&net.loss, [&net.x]);
    let evaluator = Evaluator::new(&[&net.loss, &gradient]);
    let of_seed = |seed: u64| {
        let mut slots = random_slots(&[&net.loss], CLASSES as u32, seed);
        slots.insert("ones".into(), vec![1.0]);
        let parameters = slots.get_mut("parameters").expect("a slot");
        parameters.iter_mut().for_each(|p| *p = f64::from((*p * 0.25) as f32));
        slots
    };
    let away = |slots: &Slots| evaluator.kink_distance(slots) > 2e-6;
    (0..20).map(of_seed).find(away).expect("activations that keep away from their kinks")
}

/// The program of some outputs and the one that prepares the parameters.
fn programs(outputs: &[(Tensor, usize, &str)]) -> [Program; 2] {
    programs_by(&ConvolutionPolicy::default(), outputs)
}

/// [`programs`] with these kernels.
pub fn programs_by(policy: &ConvolutionPolicy, outputs: &[(Tensor, usize, &str)]) -> [Program; 2] {
    let (mut main, mut prepare) = (ProgramBuilder::new("main"), ProgramBuilder::new("prepare"));
    let targets: Vec<Output<'_>> = outputs
        .iter()
        .map(|(tensor, offset, slot)| {
            let words = if *slot == "gradients" { PARAMETERS } else { tensor.elements() };
            Output { tensor, view: main.external_named(slot, words).part(*offset, tensor.elements()) }
        })
        .collect();
    lower(policy, &mut main, Some(&mut prepare), &targets).expect("a program");
    [prepare.finish(), main.finish()]
}

/// Runs both programs; the contents of all external buffers.
pub fn run(device: &Device, programs: [Program; 2], slots: &Slots) -> BTreeMap<String, Vec<f32>> {
    let mut buffers: BTreeMap<String, Buffer> = BTreeMap::new();
    for slot in programs.iter().flat_map(Program::externals) {
        let buffer = || match slots.get(&slot.name) {
            Some(values) => device.buffer_from(&slot.name, &slot_words(&slot.name, values)),
            None => device.buffer(&slot.name, slot.bytes),
        };
        buffers.entry(slot.name.clone()).or_insert_with(|| buffer().expect("a buffer"));
    }
    let externals: Vec<(&str, &Buffer)> =
        buffers.iter().map(|(name, buffer)| (name.as_str(), buffer)).collect();
    for program in programs {
        let executable = device.load(program, &externals).unwrap_or_else(|error| panic!("{error}"));
        device.run(&executable).expect("a run");
    }
    let read = |(name, buffer)| (name, device.read_as(buffer).expect("contents"));
    buffers.iter().map(|(name, buffer)| read((name.clone(), buffer))).collect()
}

/// Compares every output with float64, one by one.
fn compare(context: &str, outputs: &[(Tensor, usize, &str)], slots: &Slots) {
    let tensors: Vec<&Tensor> = outputs.iter().map(|(tensor, ..)| tensor).collect();
    let expected = Evaluator::new(&tensors).run(slots);
    for (name, device) in devices() {
        let results = run(device, programs(outputs), slots);
        for ((tensor, offset, slot), expected) in outputs.iter().zip(&expected) {
            let result = &results[*slot][*offset..][..tensor.elements()];
            let context = format!("{context} on {name}: {slot} at {offset}");
            assert!(assert_agree(result, expected, 1e-10, &context), "{context}: zeros show nothing");
        }
    }
}

fn numbers_of_an_sgld_step_an_update_and_everything() {
    let net = Net::new(&Graph::new(), false);
    let slots = slots(&net);
    compare("step", &net.step(), &slots);
    compare("update", &net.update(), &slots);
    compare("everything", &net.all(), &slots);
}

fn fused_and_unfused_agree() {
    let graph = Graph::new();
    let [fused, apart] = [false, true].map(|apart| Net::new(&graph, apart));
    let slots = slots(&fused);
    compare("apart", &apart.all(), &slots);
    let counts = count(&programs(&apart.all())[1]);
    assert_eq!(counts.get("head"), None, "the patterns were meant to be hidden");
    assert!(counts["leaky_relu_gradient"] > 0 && counts["binary"] > 0, "{counts:?}");
    let [values, others] =
        [fused.all(), apart.all()].map(|outputs| run(&Device::cpu(), programs(&outputs), &slots));
    for slot in ["gradient", "gradients", "stats", "loss"] {
        let others: Vec<f64> = others[slot].iter().map(|&v| f64::from(v)).collect();
        assert!(assert_agree(&values[slot], &others, 1e-10, slot));
    }
}

fn normalised_networks_fused_and_unfused() {
    for in_front in [InFront::Batch, InFront::Groups(4)] {
        let graph = Graph::new();
        let [fused, apart] = [false, true].map(|apart| Net::normalised(&graph, apart, in_front, SLOPE));
        let slots = slots(&fused);
        compare(&format!("{in_front:?}, step"), &fused.step(), &slots);
        compare(&format!("{in_front:?}, update"), &fused.update(), &slots);
        compare(&format!("{in_front:?}, apart"), &apart.all(), &slots);
        let [fused, apart] = [fused.step(), apart.step()].map(|outputs| count(&programs(&outputs)[1]));
        assert_eq!(
            (fused["normalise"], fused["moments"], fused["normalise_gradient"]),
            (5, 5, 5),
            "{fused:?}"
        );
        assert_eq!((fused.get("leaky_relu_gradient"), fused.get("binary")), (None, None), "{fused:?}");
        assert!(apart["leaky_relu_gradient"] > 0 && apart["unary"] > 0, "{apart:?}");
    }
}

/// Every functional as the loss of the whole network, three at a time.
fn functionals_of_energies_fused_and_unfused() {
    for functionals in super::reference_logits::functionals().chunks(3) {
        let part = |(functional, count): (&Functional, usize)| {
            let labelled = Some(LabelledLoss { weight: 0.8, functional: *functional });
            LossTerm { count, cross_entropy: 0.1, labelled, ..LossTerm::default() }
        };
        let counts = [2, 2, 1];
        let mut parts: Vec<LossTerm> = functionals.iter().zip(counts).map(part).collect();
        let rest = IMAGES - parts.iter().map(|part| part.count).sum::<usize>();
        parts.push(LossTerm { count: rest, log_p_x: 1.0, ..LossTerm::default() });
        let graph = Graph::new();
        let [fused, apart] =
            [false, true].map(|apart| Net::with_parts(&graph, apart, InFront::Nothing, SLOPE, &parts));
        let slots = slots(&fused);
        assert_eq!(count(&programs(&fused.update())[1])["head"], 1);
        compare(&format!("{functionals:?}, update"), &fused.update(), &slots);
        compare(&format!("{functionals:?}, apart"), &apart.all(), &slots);
    }
}

/// Dispatches of each kernel.
pub fn count(program: &Program) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for dispatch in &program.dispatches {
        *counts.entry(dispatch.kernel.name()).or_default() += 1;
    }
    counts
}

fn an_sgld_step_is_convolutions_and_one_head() {
    let net = Net::new(&Graph::new(), false);
    let [prepare, step] = programs(&net.step());
    let expected = [("conv2d", CONVOLUTIONS), ("conv2d_input_gradient", CONVOLUTIONS), ("head", 1)];
    assert_eq!(count(&step), BTreeMap::from(expected), "{step}");
    assert_eq!(count(&prepare), BTreeMap::from([("copy", CONVOLUTIONS)]), "{prepare}");
}

fn no_float_activation_lives_into_the_backward_pass_of_a_step() {
    let net = Net::new(&Graph::new(), false);
    let [_, step] = programs(&net.step());
    let head = step.dispatches.iter().position(|d| d.kernel.name() == "head").expect("a head");
    // The binding by which each slot was written before the head.
    let mut written: BTreeMap<SlotId, &str> = BTreeMap::new();
    let mut masks = 0;
    for (step_number, dispatch) in step.dispatches.iter().enumerate() {
        for (binding, view) in dispatch.kernel.bindings().iter().zip(&dispatch.views) {
            if step_number < head && binding.access != Access::Read {
                written.insert(view.slot, binding.name);
            }
            if step_number > head && binding.access == Access::Read && written.contains_key(&view.slot) {
                assert_eq!(
                    written[&view.slot], "mask",
                    "{} is read by {}\n{step}",
                    binding.name, dispatch.label
                );
                masks += 1;
            }
        }
    }
    // One for each leaky ReLU but the last, whose mask the head reads.
    assert_eq!(masks, 4, "{step}");
}

fn an_update_computes_each_gradient_once() {
    let net = Net::new(&Graph::new(), false);
    let [prepare, update] = programs(&net.update());
    let counts = count(&update);
    let of = |name: &str| counts.get(name).copied().unwrap_or(0);
    assert_eq!(
        (of("conv2d"), of("head"), of("conv2d_weight_gradient")),
        (CONVOLUTIONS, 1, CONVOLUTIONS),
        "{update}"
    );
    // Nobody asks for the images' gradient, and the first convolution's weights are not transposed.
    assert_eq!(of("conv2d_input_gradient"), CONVOLUTIONS - 1, "{update}");
    assert_eq!(count(&prepare)["copy"], CONVOLUTIONS - 1, "{prepare}");
    // The linear layer's weight gradient; biases' gradients are sums over pixels and rows.
    assert_eq!(of("matmul"), 1, "{update}");
    // The shortcut's bias gradient is that of the convolution beside it: copied, by way of a slot of its own,
    // since no kernel reads and writes one slot.
    assert_eq!(of("copy"), 2, "{update}");
    let known =
        ["conv2d", "head", "conv2d_weight_gradient", "conv2d_input_gradient", "matmul", "reduce", "copy"];
    assert!(counts.keys().all(|name| known.contains(name)), "{update}");
}
