//! Operations that choose elements, where a numeric difference shows nothing: ties, NaN, indices out of range, dropout.

use super::harness::devices;
use jem::device::Device;
use jem::graph::{Function, Graph, Tensor};

tests![
    equal_extrema_share_the_gradient,
    a_nan_is_an_extremum_and_its_gradient,
    the_first_maximum_of_a_window_has_its_gradient,
    a_concatenation_moves_each_part_once,
    an_index_that_is_no_row,
    dropout_keeps_the_mean_and_draws_anew,
    dropout_of_infinities_is_themselves_or_zero,
];

/// The outputs of an expression on every device, one after the other, which must agree in all bits but NaN's.
fn outputs(outputs: &[&Tensor], inputs: &[(&str, Vec<u32>)]) -> Vec<Vec<f32>> {
    let mut results = devices().map(|(device_name, device)| {
        let function =
            Function::new(device, outputs).unwrap_or_else(|error| panic!("{device_name}: {error}"));
        inputs.iter().for_each(|(name, words)| function.set_slot(name, words).expect("an input"));
        function.run().expect("a run");
        outputs.iter().map(|output| function.get(output).expect("an output")).collect::<Vec<_>>()
    });
    let bits = |results: &[Vec<f32>]| -> Vec<Option<u32>> {
        results.iter().flatten().map(|v| (!v.is_nan()).then_some(v.to_bits())).collect()
    };
    assert_eq!(bits(&results[0]), bits(&results[1]), "the CPU and a checked GPU");
    assert_eq!(bits(&results[0]), bits(&results[2]), "the CPU and an unchecked GPU");
    std::mem::take(&mut results[0])
}

fn words(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn equal_extrema_share_the_gradient() {
    let graph = Graph::new();
    let x = graph.input("x", [3, 4]);
    let [max, min] = [x.max(&[1]), x.min(&[1])];
    let upstream = graph.input("upstream", [3]);
    let [of_max] = graph.grad(&max.mul(&upstream), [&x]);
    let [of_min] = graph.grad(&min.mul(&upstream), [&x]);
    let values = [3.0, 1.0, 3.0, 1.0, 7.0, 7.0, 7.0, 7.0, -1.0, 0.0, 2.0, 2.5];
    let inputs = [("x", words(&values)), ("upstream", words(&[1.0, 8.0, -3.0]))];
    let results = outputs(&[&max, &min, &of_max, &of_min], &inputs);
    assert_eq!(results[0], [3.0, 7.0, 2.5]);
    assert_eq!(results[1], [1.0, 7.0, -1.0]);
    assert_eq!(results[2], [0.5, 0.0, 0.5, 0.0, 2.0, 2.0, 2.0, 2.0, 0.0, 0.0, 0.0, -3.0]);
    assert_eq!(results[3], [0.0, 0.5, 0.0, 0.5, 2.0, 2.0, 2.0, 2.0, -3.0, 0.0, 0.0, 0.0]);
}

fn a_nan_is_an_extremum_and_its_gradient() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let [max, min] = [x.max(&[1]), x.min(&[1])];
    let position = x.argmax(1).to_floats();
    let [gradient] = graph.grad(&max, [&x]);
    let inputs = [("x", words(&[1.0, f32::NAN, 2.0, 1.0, 5.0, 2.0]))];
    let results = outputs(&[&max, &min, &position, &gradient], &inputs);
    assert!(results[0][0].is_nan() && results[1][0].is_nan(), "{results:?}");
    assert_eq!((results[0][1], results[1][1]), (5.0, 1.0));
    assert_eq!(results[2], [1.0, 1.0]);
    assert!(results[3][..3].iter().all(|v| v.is_nan()), "{results:?}");
    assert_eq!(results[3][3..], [0.0, 1.0, 0.0]);
}

/// The expected values are those of PyTorch's `max_pool2d`.
fn the_first_maximum_of_a_window_has_its_gradient() {
    let graph = Graph::new();
    let x = graph.input("x", [1, 2, 4, 1]);
    let y = x.max_pool(2, 2, 0);
    let [gradient] = graph.grad(&y.mul(&graph.input("upstream", [1, 1, 2, 1])), [&x]);
    let inputs = [("x", words(&[1.0, 5.0, 2.0, 2.0, 5.0, 5.0, 2.0, 1.0])), ("upstream", words(&[3.0, -4.0]))];
    let results = outputs(&[&y, &gradient], &inputs);
    assert_eq!(results[0], [5.0, 2.0]);
    assert_eq!(results[1], [0.0, 3.0, -4.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

fn an_index_that_is_no_row() {
    let graph = Graph::new();
    let table = graph.input("table", [2, 2]);
    let indices = graph.indices("indices", [4]);
    let rows = table.gather_rows(&indices);
    let [gradient] = graph.grad(&rows.mul(&graph.input("upstream", [4, 2])), [&table]);
    let inputs = [
        ("table", words(&[1.0, 2.0, 3.0, 4.0])),
        ("indices", vec![1, 2, 1, u32::MAX]),
        ("upstream", words(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0])),
    ];
    let results = outputs(&[&rows, &gradient, &indices.one_hot(2)], &inputs);
    assert_eq!([&results[0][..2], &results[0][4..6]], [[3.0, 4.0]; 2]);
    assert!(results[0][2..4].iter().chain(&results[0][6..]).all(|v| v.is_nan()), "{results:?}");
    assert_eq!(results[1], [0.0, 0.0, 17.0, 34.0]);
    assert_eq!(results[2], [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
}

fn dropout_keeps_the_mean_and_draws_anew() {
    const N: usize = 100_000;
    const P: f32 = 0.25;
    let graph = Graph::new();
    let x = graph.input("x", [N]);
    let counters = graph.counters("counters");
    let [one, other] = [x.dropout(P, &counters), x.dropout(P, &counters)];
    let [gradient] = graph.grad(&one, [&x]);
    let at = |seed, step| {
        let inputs = [("x", words(&vec![1.0; N])), ("counters", vec![seed, step, 0, 0])];
        outputs(&[&one, &other, &gradient], &inputs)
    };
    let first = at(5, 0);
    let scale = 1.0 / (1.0 - P);
    for dropped in &first[..2] {
        assert!(dropped.iter().all(|&y| y == 0.0 || y == scale));
        // The standard deviation of an element is √(p / (1 - p)).
        let mean = dropped.iter().copied().map(f64::from).sum::<f64>() / N as f64;
        assert!((mean - 1.0).abs() < 5.0 * f64::from(P * scale / N as f32).sqrt(), "mean {mean}");
    }
    assert_eq!(first[2], first[0], "the gradient goes to what stayed");
    // Two independent draws agree in p² + (1 - p)² of all elements.
    let share = f64::from(P * P + (1.0 - P) * (1.0 - P));
    let deviation = (share * (1.0 - share) / N as f64).sqrt();
    let (next, reseeded) = (at(5, 1), at(6, 0));
    for (what, drawn) in [("call", &first[1]), ("step", &next[0]), ("seed", &reseeded[0])] {
        let agree = drawn.iter().zip(&first[0]).filter(|(a, b)| a == b).count() as f64 / N as f64;
        assert!((agree - share).abs() < 5.0 * deviation, "another {what}: {agree} of {share} agree");
    }
    assert_eq!(at(5, 0), first, "the same counters draw the same");
    assert_eq!(x.dropout(0.0, &counters).id(), x.id(), "without a probability nothing is drawn");
}

fn dropout_of_infinities_is_themselves_or_zero() {
    const N: usize = 1000;
    let graph = Graph::new();
    let [x, upstream] = ["x", "upstream"].map(|name| graph.input(name, [N]));
    let dropped = x.dropout(0.5, &graph.counters("counters"));
    let [gradient] = graph.grad(&dropped.mul(&upstream), [&x]);
    let infinities: Vec<f32> =
        (0..N).map(|i| if i % 2 == 0 { f32::INFINITY } else { f32::NEG_INFINITY }).collect();
    let inputs =
        [("x", words(&infinities)), ("upstream", words(&infinities)), ("counters", vec![7, 0, 0, 0])];
    let results = outputs(&[&dropped, &gradient], &inputs);
    let kept = results[0].iter().filter(|&&y| y != 0.0).count();
    assert!((400..600).contains(&kept), "{kept} of {N} are kept");
    for (i, (&y, &gradient)) in results[0].iter().zip(&results[1]).enumerate() {
        assert!(y == 0.0 || y == infinities[i], "element {i} is {y}");
        assert_eq!(gradient, y, "the gradient of element {i}");
    }
}

/// So its cost grows with the result and not with the number of parts.
fn a_concatenation_moves_each_part_once() {
    for parts in [2, 8, 32] {
        let graph = Graph::new();
        let length = 64 / parts;
        let leaves: Vec<Tensor> =
            (0..parts).map(|i| graph.input(&format!("part {i}"), [3, length, 5])).collect();
        let y = graph.concat(&leaves.iter().collect::<Vec<_>>(), 1).scale(2.0);
        let function = Function::new(&Device::cpu(), &[&y]).expect("a function");
        let summary = function.program().summary();
        // The parts are read and written, and so is all for the scale.
        let bytes = 4 * 3 * 64 * 5;
        assert_eq!(summary.bytes_moved, 2 * bytes + 2 * bytes, "{parts} parts");
        assert_eq!((summary.dispatches, summary.transient_bytes), (parts + 1, bytes));
    }
}
