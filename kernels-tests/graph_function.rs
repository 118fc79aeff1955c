//! Lowered expressions on every device against the float64 evaluator.

use super::graph_cases::{CLASSES, cases, parts};
use super::graph_reference::{Evaluator, Slots, is_whole, smooth_slots};
use super::harness::devices;
use jem::device::{Buffer, Device, Program, ProgramBuilder, SlotKind};
use jem::graph::{Function, Graph, Leaf, Output, Tensor, lower};
use jem::policy::convolution::ConvolutionPolicy;

tests![
    every_operation_alone,
    every_operation_in_mid_graph_with_both_derivatives,
    a_value_that_is_an_output_and_used,
    leaky_relus_that_no_convolution_feeds_and_that_follow_each_other,
    the_same_tensor_twice_a_leaf_and_an_alias_as_outputs,
    parts_of_one_slot,
    outputs_of_one_kernel_in_one_slot,
    outputs_into_the_slots_of_leaves,
    every_choice_of_the_heads_outputs,
    two_losses_on_the_same_logits,
    weights_are_transposed_once_in_prepare,
    what_depends_on_parameters_alone_is_computed_in_prepare
];

/// Σ(a-b)²/Σb² of each output.
const BOUND: f64 = 1e-10;

/// The words of a slot as a device holds them: labels are u32.
pub fn slot_words(name: &str, values: &[f64]) -> Vec<u32> {
    let word = |&v: &f64| if is_whole(name) { v as u32 } else { (v as f32).to_bits() };
    values.iter().map(word).collect()
}

/// Asserts that f32 results agree with float64 ones; returns whether any was not zero.
pub fn assert_agree(result: &[f32], expected: &[f64], bound: f64, context: &str) -> bool {
    assert_eq!(result.len(), expected.len(), "{context}: length");
    let error: f64 = result.iter().zip(expected).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
    let norm: f64 = expected.iter().map(|b| b * b).sum();
    assert!(
        error <= bound * norm,
        "{context}: relative error {:.3e}\n{result:?}\n{expected:?}",
        error / norm
    );
    norm > 0.0
}

/// Compares a [`Function`] of `outputs` with the evaluator on every device.
fn check(context: &str, outputs: &[(&str, &Tensor)], slots: &Slots, bound: f64) {
    let tensors: Vec<&Tensor> = outputs.iter().map(|(_, tensor)| *tensor).collect();
    let expected = Evaluator::new(&tensors).run(slots);
    for (device_name, device) in devices() {
        let context = format!("{context} on {device_name}");
        let function = Function::new(device, &tensors).unwrap_or_else(|error| panic!("{context}: {error}"));
        let mut shown = false;
        // Twice: a replay starts from what the first run left.
        for _ in 0..2 {
            for (name, values) in slots {
                function
                    .set_slot(name, &slot_words(name, values))
                    .unwrap_or_else(|e| panic!("{context}: {e}"));
            }
            function.run().unwrap_or_else(|error| panic!("{context}: {error}"));
            for ((name, tensor), expected) in outputs.iter().zip(&expected) {
                let result = function.get(tensor).unwrap_or_else(|error| panic!("{context}: {error}"));
                let context = format!("{context}: {name}\n{}", function.program());
                shown |= assert_agree(&result, expected, bound, &context);
            }
        }
        assert!(shown, "{context}: a comparison with zeros shows nothing");
    }
}

fn every_operation_alone() {
    for case in cases() {
        let graph = Graph::new();
        let leaves: Vec<Tensor> = case.leaves.iter().map(|(name, shape)| graph.input(name, *shape)).collect();
        let y = (case.build)(&graph, &leaves);
        let slots = smooth_slots(&[&y], CLASSES as u32, 1e-3);
        check(case.name, &[("y", &y)], &slots, BOUND);
    }
}

fn every_operation_in_mid_graph_with_both_derivatives() {
    for case in cases() {
        let graph = Graph::new();
        let (leaves, y, loss) = case.mid_graph(&graph);
        let wrt: Vec<&Tensor> = leaves.iter().collect();
        let first = graph.grad_of_all(&[&loss], &wrt);
        let squares = first.iter().map(|gradient| gradient.mul(gradient).sum_all());
        let functional = squares.reduce(|sum, term| sum.add(&term)).expect("a leaf");
        let second = graph.grad_of_all(&[&functional], &wrt);
        let names = |prefix: &str| -> Vec<String> {
            case.leaves.iter().map(|(name, _)| format!("{prefix}.{name}")).collect()
        };
        let (first_names, second_names) = (names("first"), names("second"));
        let mut outputs = vec![("y", &y), ("loss", &loss)];
        outputs.extend(first_names.iter().map(String::as_str).zip(&first));
        outputs.extend(second_names.iter().map(String::as_str).zip(&second));
        let tensors: Vec<&Tensor> = outputs.iter().map(|(_, tensor)| *tensor).collect();
        check(case.name, &outputs, &smooth_slots(&tensors, CLASSES as u32, 1e-3), BOUND);
    }
}

fn a_value_that_is_an_output_and_used() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 6, 6, 3]);
    let w = graph.input("w", [3, 3, 3, 5]);
    let value = x.conv2d(&w, None, 1, 1);
    let activated = value.leaky_relu(0.2);
    let sum = activated.add(&value);
    let outputs = [("value", &value), ("activated", &activated), ("sum", &sum)];
    let slots = smooth_slots(&[&sum], 1, 1e-4);
    check("all three", &outputs, &slots, BOUND);
    check("the first two", &outputs[..2], &slots, BOUND);
    check("the last two", &outputs[1..], &slots, BOUND);
}

fn leaky_relus_that_no_convolution_feeds_and_that_follow_each_other() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 4, 4, 3]);
    let [w, v] = ["w", "v"].map(|name| graph.input(name, [3, 3, 3, 3]));
    let conv = x.leaky_relu(0.1).conv2d(&w, None, 1, 1);
    // The second of these is at a tensor whose convolution's mask is another's.
    let twice = conv.leaky_relu(0.2).leaky_relu(0.5);
    let loss = twice.conv2d(&v, None, 1, 1).exp().add(&conv.leaky_relu(0.3)).sum_all();
    let gradients = graph.grad(&loss, [&x, &w, &v]);
    let outputs = [("loss", &loss), ("dx", &gradients[0]), ("dw", &gradients[1]), ("dv", &gradients[2])];
    let slots = smooth_slots(&[&loss], 1, 1e-4);
    check("activations in a row", &outputs, &slots, BOUND);
    check("the input's gradient", &outputs[1..2], &slots, BOUND);
}

fn the_same_tensor_twice_a_leaf_and_an_alias_as_outputs() {
    let graph = Graph::new();
    let x = graph.input("x", [3, 4]);
    let y = x.exp();
    let outputs = [
        ("y", &y),
        ("again", &y),
        ("leaf", &x),
        ("alias", &y.reshape([12])),
        ("leaf's alias", &x.reshape([2, 6])),
    ];
    check("aliases", &outputs, &smooth_slots(&[&y], 1, 0.0), BOUND);
    let constant = graph.constant(1.5, [3]);
    let broadcast = graph.input("b", [3, 1]).broadcast_to([3, 4]);
    let outputs = [("constant", &constant), ("broadcast", &broadcast)];
    check("constant and broadcast", &outputs, &smooth_slots(&[&broadcast], 1, 0.0), BOUND);
}

/// Lowers `outputs` into views of external slots, given as (slot, first word, slot's words), runs them on
/// every device, and compares all slots with `expected` from their contents before.
fn check_views(context: &str, outputs: &[(&Tensor, (&str, usize, usize))], before: &Slots, expected: &Slots) {
    for (device_name, device) in devices() {
        let context = format!("{context} on {device_name}");
        let mut builder = ProgramBuilder::new("views");
        let targets: Vec<Output<'_>> = outputs
            .iter()
            .map(|(tensor, (slot, first, words))| Output {
                tensor,
                view: builder.external_named(slot, *words).part(*first, tensor.elements()),
            })
            .collect();
        lower(&ConvolutionPolicy::default(), &mut builder, None, &targets)
            .unwrap_or_else(|error| panic!("{context}: {error}"));
        let program = builder.finish();
        let names: Vec<String> = program.externals().map(|slot| slot.name.clone()).collect();
        let buffers: Vec<Buffer> = names
            .iter()
            .map(|name| device.buffer_from(name, &slot_words(name, &before[name])).expect("a buffer"))
            .collect();
        let externals: Vec<(&str, &Buffer)> = names.iter().map(String::as_str).zip(&buffers).collect();
        let text = program.to_string();
        let executable =
            device.load(program, &externals).unwrap_or_else(|error| panic!("{context}: {error}"));
        device.run(&executable).unwrap_or_else(|error| panic!("{context}: {error}"));
        for (name, buffer) in &externals {
            if is_whole(name) {
                let result: Vec<u32> = device.read_as(buffer).expect("contents");
                assert_eq!(result, slot_words(name, &expected[*name]), "{context}: {name}");
                continue;
            }
            let result: Vec<f32> = device.read_as(buffer).expect("contents");
            let context = format!("{context}: {name}\n{text}");
            assert!(
                assert_agree(&result, &expected[*name], BOUND, &context),
                "{context}: zeros show nothing"
            );
        }
    }
}

/// `slots` with `outputs` written to their places, all at once.
fn assigned(outputs: &[(&Tensor, (&str, usize, usize))], before: &Slots) -> Slots {
    let tensors: Vec<&Tensor> = outputs.iter().map(|(tensor, _)| *tensor).collect();
    let mut after = before.clone();
    for ((_, (slot, first, _)), value) in outputs.iter().zip(Evaluator::new(&tensors).run(before)) {
        after.get_mut(*slot).expect("a slot")[*first..][..value.len()].copy_from_slice(&value);
    }
    after
}

fn with_slots(mut slots: Slots, more: &[(&str, usize)]) -> Slots {
    for (name, words) in more {
        slots.entry((*name).to_owned()).or_insert_with(|| (0..*words).map(|i| i as f64).collect());
    }
    slots
}

fn parts_of_one_slot() {
    let graph = Graph::new();
    let x = graph.input("x", [4, 10]);
    let exp = x.exp();
    let used = exp.sum(&[1]);
    let twice = exp.log().softmax();
    let outputs = [
        (&exp, ("out", 64, 400)),
        (&used, ("out", 128, 400)),
        (&twice, ("out", 192, 400)),
        (&twice, ("out", 256, 400)),
        (&used, ("other", 0, 4)),
    ];
    let before = with_slots(smooth_slots(&[&used], 1, 0.0), &[("out", 400), ("other", 4)]);
    check_views("parts", &outputs, &before, &assigned(&outputs, &before));
}

fn outputs_of_one_kernel_in_one_slot() {
    let net = head(&Graph::new());
    let outputs = [
        (&net.stats, ("out", 0, 1024)),
        (&net.gradient, ("out", 64, 1024)),
        (&net.logits, ("out", 960, 1024)),
    ];
    let tensors: Vec<&Tensor> = outputs.iter().map(|(tensor, _)| *tensor).collect();
    let before = with_slots(smooth_slots(&tensors, CLASSES as u32, 1e-4), &[("out", 1024)]);
    check_views("one kernel", &outputs, &before, &assigned(&outputs, &before));
}

fn outputs_into_the_slots_of_leaves() {
    let graph = Graph::new();
    let part = |offset| Leaf { slot: "x".into(), words: 256, offset, parameter: false };
    let [a, b] = [0, 128].map(|offset| graph.leaf(part(offset), [50]));
    let sum = a.add(&b);
    // The two leaves change places while their sum goes beside them, and a copy of one elsewhere.
    let outputs = [
        (&a, ("x", 128, 256)),
        (&b, ("x", 0, 256)),
        (&sum, ("x", 64, 256)),
        (&a, ("y", 0, 50)),
        (&b, ("z", 0, 50)),
    ];
    let before = with_slots(smooth_slots(&[&sum], 1, 0.0), &[("y", 50), ("z", 50)]);
    check_views("exchange", &outputs, &before, &assigned(&outputs, &before));
    // A leaf that is written to its own place needs no dispatch.
    let outputs = [(&a, ("x", 0, 256)), (&sum, ("x", 64, 256))];
    check_views("in place", &outputs, &before, &assigned(&outputs, &before));
}

/// A head on activations, with every output that it can have.
struct HeadTensors {
    x: Tensor,
    pooled: Tensor,
    logits: Tensor,
    stats: Tensor,
    loss: Tensor,
    gradient: Tensor,
    pooled_gradient: Tensor,
    weight_gradients: Vec<Tensor>,
}

fn head(graph: &Graph) -> HeadTensors {
    let x = graph.input("x", [5, 3, 3, 6]);
    let [w, b] = [graph.input("w", [6, CLASSES]), graph.input("b", [CLASSES])];
    let labels = graph.indices("labels", [5]);
    let pooled = x.leaky_relu(0.2).global_average_pool();
    let logits = pooled.linear(&w, &b);
    let loss = logits.logit_loss(&labels, &parts());
    let stats = logits.logit_stats(&labels, &parts());
    let mut gradients = graph.grad(&loss, [&x, &pooled, &w, &b]).into_iter();
    let mut next = || gradients.next().expect("a gradient");
    let (gradient, pooled_gradient) = (next(), next());
    HeadTensors {
        x,
        pooled,
        logits,
        stats,
        loss,
        gradient,
        pooled_gradient,
        weight_gradients: gradients.collect(),
    }
}

fn every_choice_of_the_heads_outputs() {
    let net = head(&Graph::new());
    let all = [
        ("pooled", &net.pooled),
        ("logits", &net.logits),
        ("stats", &net.stats),
        ("loss", &net.loss),
        ("pooled gradient", &net.pooled_gradient),
        ("dw", &net.weight_gradients[0]),
        ("db", &net.weight_gradients[1]),
    ];
    let tensors: Vec<&Tensor> =
        all.iter().map(|(_, tensor)| *tensor).chain([&net.gradient, &net.x]).collect();
    let slots = smooth_slots(&tensors, CLASSES as u32, 1e-4);
    for chosen in 0..1 << all.len() {
        let mut outputs = vec![("gradient", &net.gradient)];
        outputs.extend((0..all.len()).filter(|i| chosen >> i & 1 == 1).map(|i| all[i]));
        check_cpu("head", &outputs, &slots);
    }
    check("head, all", &[&[("gradient", &net.gradient)], &all[..]].concat(), &slots, BOUND);
}

/// One device is enough where only the lowering differs.
fn check_cpu(context: &str, outputs: &[(&str, &Tensor)], slots: &Slots) {
    let tensors: Vec<&Tensor> = outputs.iter().map(|(_, tensor)| *tensor).collect();
    let function =
        Function::new(&Device::cpu(), &tensors).unwrap_or_else(|error| panic!("{context}: {error}"));
    for (name, values) in
        slots.iter().filter(|(name, _)| function.program().externals().any(|s| s.name == **name))
    {
        function.set_slot(name, &slot_words(name, values)).expect("an input");
    }
    function.run().expect("a run");
    for ((name, tensor), expected) in outputs.iter().zip(Evaluator::new(&tensors).run(slots)) {
        let context = format!("{context}: {name}\n{}", function.program());
        assert_agree(&function.get(tensor).expect("an output"), &expected, BOUND, &context);
    }
}

fn two_losses_on_the_same_logits() {
    let graph = Graph::new();
    let net = head(&graph);
    let [labels, others] = ["labels", "labels.other"].map(|name| graph.indices(name, [5]));
    let other_stats = net.logits.logit_stats(&others, &parts());
    let other_loss = net.logits.logit_loss(&others, &parts());
    let [other_gradient] = &graph.grad(&other_loss, [&net.x]);
    let stats = net.logits.logit_stats(&labels, &parts());
    let outputs = [
        ("other stats", &other_stats),
        ("stats", &stats),
        ("gradient", &net.gradient),
        ("other gradient", other_gradient),
    ];
    let tensors: Vec<&Tensor> = outputs.iter().map(|(_, tensor)| *tensor).collect();
    let slots = smooth_slots(&tensors, CLASSES as u32, 1e-4);
    check("two losses", &outputs, &slots, BOUND);
    check("the other's stats", &[outputs[0], outputs[2]], &slots, BOUND);
}

fn weights_are_transposed_once_in_prepare() {
    let graph = Graph::new();
    let x = graph.input("x", [1, 5, 5, 3]);
    let leaf = Leaf { slot: "parameters".into(), words: 512, offset: 64, parameter: true };
    let w = graph.leaf(leaf, [3, 3, 3, 4]);
    let y = x.conv2d(&w, None, 1, 1);
    let loss = y.mul(&y).sum_all();
    let [gradient] = &graph.grad(&loss, [&x]);
    let slots = smooth_slots(&[gradient], 1, 0.0);
    let [prepare, main] = check_prepared(&[("gradient", gradient)], &slots);
    assert_eq!(prepare.dispatches.len(), 1, "{prepare}");
    assert!(main.dispatches.iter().all(|d| d.kernel.name() != "copy"), "{main}");
}

fn what_depends_on_parameters_alone_is_computed_in_prepare() {
    let graph = Graph::new();
    let x = graph.input("x", [1, 5, 5, 3]);
    let part = |offset| Leaf { slot: "parameters".into(), words: 512, offset, parameter: true };
    let (w, scale) = (graph.leaf(part(64), [3, 3, 3, 4]), graph.leaf(part(192), [4]));
    let root = scale.mul(&scale).affine(1.0, 0.5).sqrt();
    let folded = w.mul(&root);
    // `root` is read inside `folded`, as a bias, and as an output; a parameter's other shape is no work.
    let y = x.conv2d(&folded, Some(&root), 1, 1).mul(&scale.reshape([1, 1, 1, 4]));
    let loss = y.mul(&y).sum_all();
    let gradients = graph.grad(&loss, [&x, &w, &scale]);
    let outputs = [("dx", &gradients[0]), ("dw", &gradients[1]), ("ds", &gradients[2]), ("root", &root)];
    let tensors: Vec<&Tensor> = outputs.iter().map(|(_, tensor)| *tensor).collect();
    let slots = smooth_slots(&tensors, 1, 0.0);
    let [prepare, main] = check_prepared(&outputs[..1], &slots);
    // scale², + 0.5, √, w √, and its transposed copy.
    assert_eq!(prepare.dispatches.len(), 5, "{prepare}");
    let alone = |program: &Program| !program.dispatches.iter().any(|d| d.kernel.name() == "unary");
    assert!(alone(&main), "{main}");
    check_prepared(&outputs, &slots);
    // Two expressions in one pair of programs keep separate what their nodes share by number.
    let (mut main, mut prepare) = (ProgramBuilder::new("main"), ProgramBuilder::new("prepare"));
    for name in ["dx", "again"] {
        let view = main.external_named(name, x.elements());
        let output = Output { tensor: &gradients[0], view };
        lower(&ConvolutionPolicy::default(), &mut main, Some(&mut prepare), &[output]).expect("a program");
    }
    assert_eq!(prepare.finish().dispatches.len(), 10);
}

/// Runs `outputs` with a `prepare` program on both devices; returns both programs.
fn check_prepared(outputs: &[(&str, &Tensor)], slots: &Slots) -> [Program; 2] {
    let tensors: Vec<&Tensor> = outputs.iter().map(|(_, tensor)| *tensor).collect();
    let (mut main, mut prepare) = (ProgramBuilder::new("main"), ProgramBuilder::new("prepare"));
    let views: Vec<Output<'_>> = outputs
        .iter()
        .map(|(name, tensor)| Output { tensor, view: main.external_named(name, tensor.elements()) })
        .collect();
    lower(&ConvolutionPolicy::default(), &mut main, Some(&mut prepare), &views).expect("a program");
    let programs = [prepare.finish(), main.finish()];
    for (device_name, device) in devices() {
        let mut buffers: Vec<Buffer> = Vec::new();
        for slot in programs.iter().flat_map(|program| program.externals()) {
            assert_eq!(slot.kind, SlotKind::External);
            if buffers.iter().all(|buffer| buffer.name() != slot.name) {
                buffers.push(
                    match slots.get(&slot.name) {
                        Some(values) => device.buffer_from(&slot.name, &slot_words(&slot.name, values)),
                        None => device.buffer(&slot.name, slot.bytes),
                    }
                    .expect("a buffer"),
                );
            }
        }
        let externals: Vec<(&str, &Buffer)> = buffers.iter().map(|buffer| (buffer.name(), buffer)).collect();
        for program in &programs {
            let executable = device.load(program.clone(), &externals).expect("loaded");
            device.run(&executable).expect("a run");
        }
        for ((name, _), expected) in outputs.iter().zip(Evaluator::new(&tensors).run(slots)) {
            let result = externals.iter().find(|(external, _)| external == name).expect("a buffer").1;
            let result: Vec<f32> = device.read_as(result).expect("contents");
            assert!(assert_agree(&result, &expected, BOUND, &format!("{name} on {device_name}")));
        }
    }
    programs
}
