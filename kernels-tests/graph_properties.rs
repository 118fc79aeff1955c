//! Random small expressions on the CPU against float64, values and gradients.

use super::graph_function::slot_words;
use super::graph_reference::{Evaluator, random_slots};
use jem::device::Device;
use jem::graph::{Function, Graph, Tensor};
use proptest::prelude::*;

tests![any_expression];

/// A step of a random expression: what to do, to which tensors (counted from the latest).
#[derive(Debug, Clone)]
struct Step {
    operation: usize,
    a: usize,
    b: usize,
    axes: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0usize..17, 0usize..8, 0usize..8, 1usize..8);
    proptest::collection::vec(step.prop_map(|(operation, a, b, axes)| Step { operation, a, b, axes }), 1..14)
}

/// The tensors of a random expression, leaves first; a step whose shapes do not fit is left out.
fn build(graph: &Graph, steps: &[Step]) -> Vec<Tensor> {
    let shapes: [&[usize]; 6] = [&[3, 4], &[4, 3], &[3, 1], &[4], &[2, 1, 4], &[]];
    let mut made: Vec<Tensor> =
        shapes.iter().enumerate().map(|(i, shape)| graph.input(&format!("leaf{i}"), *shape)).collect();
    for step in steps {
        let pick = |i: usize| made[made.len() - 1 - i % made.len()].clone();
        let (a, b) = (pick(step.a), pick(step.b));
        let axes: Vec<usize> = (0..a.shape().len()).filter(|axis| step.axes >> axis & 1 == 1).collect();
        let both = a.shape().len() == 2 && b.shape().len() == 2;
        // Kept small, so that products of products stay within f32.
        let bounded = |x: Tensor| x.clamp(-3.0, 3.5);
        made.push(match step.operation {
            0 => a.scale(0.25).exp(),
            1 => a.mul(&a).affine(1.0, 1.0).reciprocal(),
            2 => a.mul(&a).affine(0.5, 0.5).log(),
            3 => a.leaky_relu(0.3),
            4 if broadcasts(&a, &b) => bounded(a.add(&b)),
            5 if broadcasts(&a, &b) => bounded(a.sub(&b)),
            6 if broadcasts(&a, &b) => bounded(a.mul(&b)),
            7 if broadcasts(&a, &b) => bounded(a.div(&b.mul(&b).affine(1.0, 1.0))),
            8 => bounded(a.sum(&axes)),
            9 => a.mean(&axes),
            10 if both && a.shape()[1] == b.shape()[0] => bounded(a.matmul(&b)),
            11 if both && a.shape() == b.shape() => bounded(a.matmul_with(&b, None, true, false)),
            12 => a.permute(&(0..a.shape().len()).rev().collect::<Vec<_>>()),
            13 => a.reshape([a.elements()]),
            14 if a.shape().first().is_some_and(|&length| length > 1) => {
                a.slice_step(0, 1..a.shape()[0], step.axes)
            }
            15 if !a.shape().is_empty() => {
                a.pad(step.b % a.shape().len(), step.axes / 4, step.axes % 3, 0.75)
            }
            16 if concatenates(&a, &b) => graph.concat(&[&b, &a], 0),
            _ => continue,
        });
    }
    made
}

fn concatenates(a: &Tensor, b: &Tensor) -> bool {
    let small = a.elements() + b.elements() < 200;
    small && a.shape().split_first().zip(b.shape().split_first()).is_some_and(|((_, a), (_, b))| a == b)
}

fn broadcasts(a: &Tensor, b: &Tensor) -> bool {
    let lengths = a.shape().iter().rev().zip(b.shape().iter().rev());
    lengths.into_iter().all(|(&a, &b)| a == b || a == 1 || b == 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    fn any_expression(steps in steps(), seed in 0u64..1000) {
        let graph = Graph::new();
        let made = build(&graph, &steps);
        let last = &made[made.len() - 1];
        let middle = &made[made.len() / 2];
        let loss = last.mul(last).sum_all().add(&middle.sum_all());
        let mut outputs = vec![("last", last.clone()), ("middle", middle.clone()), ("loss", loss.clone())];
        let gradients = graph.grad(&loss, [&made[0], &made[3]]);
        outputs.extend(["d/d0", "d/d3"].into_iter().zip(gradients));
        let outputs: Vec<(&str, &Tensor)> = outputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let tensors: Vec<&Tensor> = outputs.iter().map(|(_, tensor)| *tensor).collect();
        let slots = random_slots(&tensors, 1, seed);
        let evaluator = Evaluator::new(&tensors);
        // On the other side of a kink the gradient is another; exact ties are the same in both.
        prop_assume!(evaluator.kink_distance(&slots) > 1e-5);
        let function = match Function::new(&Device::cpu(), &tensors) {
            Ok(function) => function,
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        for (name, values) in &slots {
            function.set_slot(name, &slot_words(name, values)).expect("an input");
        }
        function.run().expect("a run");
        for ((name, tensor), expected) in outputs.iter().zip(evaluator.run(&slots)) {
            let result = function.get(tensor).expect("an output");
            let error: f64 = result.iter().zip(&expected).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
            // Beside the norm, one unit for each element: differences may cancel to zero.
            let norm = expected.iter().map(|b| b * b).sum::<f64>() + expected.len() as f64;
            prop_assert!(error <= 1e-9 * norm, "{name}: {result:?}, expected {expected:?}\n{}", function.program());
        }
    }
}
