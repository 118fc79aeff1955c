//! The gradient table against central differences in float64, first and second derivatives, with every
//! operation in mid-graph: a dropped upstream gradient is invisible at the end of a graph.

use super::graph_cases::{CLASSES, Case, OPERATIONS, cases, operation};
use super::graph_reference::{Evaluator, Slots, operations, smooth_slots};
use jem::graph::{Graph, Tensor};
use std::collections::BTreeSet;

tests![
    first_and_second_derivatives_of_every_operation,
    every_operation_has_a_case,
    the_gradient_of_a_value_inside_the_graph,
    what_the_loss_does_not_depend_on_has_a_gradient_of_zeros,
    nothing_is_built_that_was_not_asked_for
];

/// The step of the differences: five points, so that their error is of fourth order.
const STEP: f64 = 3e-4;
/// The bound of the largest difference, relative to the largest element.
const BOUND: f64 = 1e-8;

/// The derivative of the scalar `loss` with respect to every word of slot `name`.
fn differences(loss: &Evaluator, slots: &Slots, name: &str) -> Vec<f64> {
    let at = |i: usize, steps: f64| {
        let mut moved = slots.clone();
        moved.get_mut(name).expect("a slot")[i] += steps * STEP;
        loss.run(&moved)[0][0]
    };
    (0..slots[name].len())
        .map(|i| (8.0 * (at(i, 1.0) - at(i, -1.0)) - (at(i, 2.0) - at(i, -2.0))) / (12.0 * STEP))
        .collect()
}

/// Holds `Graph::grad` of a scalar with respect to whole-slot leaves to differences; returns how large the
/// largest element of all of them is.
fn compare(
    context: &str,
    loss: &Tensor,
    leaves: &[(&str, &Tensor)],
    gradients: &[Tensor],
    slots: &Slots,
) -> f64 {
    let function = Evaluator::new(&[loss]);
    let values = Evaluator::new(&gradients.iter().collect::<Vec<_>>()).run(slots);
    let expected: Vec<Vec<f64>> = leaves
        .iter()
        // A leaf that the loss does not depend on has no slot.
        .map(|(name, leaf)| {
            if slots.contains_key(*name) {
                differences(&function, slots, name)
            } else {
                vec![0.0; leaf.elements()]
            }
        })
        .collect();
    let scale = expected.iter().flatten().fold(0.0f64, |scale, v| scale.max(v.abs()));
    for (((name, leaf), values), expected) in leaves.iter().zip(&values).zip(&expected) {
        assert_eq!(values.len(), leaf.elements(), "{context}: {name}");
        for (i, (a, b)) in values.iter().zip(expected).enumerate() {
            let error = (a - b).abs();
            assert!(
                error <= BOUND * scale.max(1e-2),
                "{context}: d/d{name}[{i}] is {a}, differences give {b}"
            );
        }
    }
    scale
}

fn check(case: &Case) {
    let graph = Graph::new();
    let (leaves, _, loss) = case.mid_graph(&graph);
    let names: Vec<&str> = case.leaves.iter().map(|(name, _)| *name).collect();
    let wrt: Vec<&Tensor> = leaves.iter().collect();
    let named: Vec<(&str, &Tensor)> = names.iter().copied().zip(wrt.iter().copied()).collect();
    let first = graph.grad_of_all(&[&loss], &wrt);
    // A random linear functional of the gradient, so that its own gradient is a row of second derivatives.
    let direction = |(name, gradient): (&&str, &Tensor)| {
        gradient.mul(&graph.input(&format!("direction.{name}"), gradient.shape())).sum_all()
    };
    let functional =
        names.iter().zip(&first).map(direction).reduce(|sum, term| sum.add(&term)).expect("a leaf");
    let second = graph.grad_of_all(&[&functional], &wrt);
    let slots = smooth_slots(&[&loss, &functional], CLASSES as u32, 3e-3);
    let scale = compare(&format!("{}, first derivative", case.name), &loss, &named, &first, &slots);
    assert!(scale > 1e-2, "{}: a gradient of zeros shows nothing", case.name);
    let scale = compare(&format!("{}, second derivative", case.name), &functional, &named, &second, &slots);
    assert!(scale > 1e-2, "{}: second derivatives of zeros show nothing", case.name);
}

fn first_and_second_derivatives_of_every_operation() {
    for case in cases() {
        check(&case);
    }
}

fn every_operation_has_a_case() {
    let mut seen = BTreeSet::new();
    for case in cases() {
        let graph = Graph::new();
        let (_, y, loss) = case.mid_graph(&graph);
        seen.extend(operations(&graph, &[&y, &loss]).iter().map(operation));
    }
    // Constants are folded into their users wherever there is one; programs hold them.
    seen.insert("constant");
    let all: BTreeSet<_> = OPERATIONS.iter().copied().collect();
    assert_eq!(seen, all);
}

fn the_gradient_of_a_value_inside_the_graph() {
    let graph = Graph::new();
    let x = graph.input("x", [4]);
    let y = x.exp();
    let loss = y.mul(&y).sum_all();
    let [gradient] = &graph.grad(&loss, [&y]);
    let slots = smooth_slots(&[&loss], 1, 0.0);
    let values = Evaluator::new(&[&y, gradient]).run(&slots);
    for (y, gradient) in values[0].iter().zip(&values[1]) {
        assert!((gradient - 2.0 * y).abs() < 1e-14, "{gradient} at {y}");
    }
}

fn what_the_loss_does_not_depend_on_has_a_gradient_of_zeros() {
    let graph = Graph::new();
    let [x, other] = ["x", "other"].map(|name| graph.input(name, [2, 3]));
    let loss = x.mul(&x).sum_all();
    let later = x.exp();
    let gradients = graph.grad(&loss, [&other, &later, &x]);
    let slots = smooth_slots(&[&loss], 1, 0.0);
    let values = Evaluator::new(&gradients.iter().collect::<Vec<_>>()).run(&slots);
    assert_eq!(values[0], [0.0; 6]);
    assert_eq!(values[1], [0.0; 6]);
    assert!(values[2].iter().zip(&slots["x"]).all(|(gradient, x)| *gradient == 2.0 * x));
}

fn nothing_is_built_that_was_not_asked_for() {
    let graph = Graph::new();
    let x = graph.input("x", [1, 4, 4, 3]);
    let w = graph.input("w", [3, 3, 3, 2]);
    let loss = x.conv2d(&w, None, 1, 1).leaky_relu(0.2).sum_all();
    let gradient = graph.grad(&loss, [&x]);
    let built = operations(&graph, &[&gradient[0]]);
    let all: Vec<_> = (0..graph.len()).map(|id| operation(&graph.node(id).op)).collect();
    assert!(!all.contains(&"conv2d_weight_gradient"), "{all:?}");
    assert!(built.iter().any(|op| operation(op) == "conv2d_input_gradient"));
}
