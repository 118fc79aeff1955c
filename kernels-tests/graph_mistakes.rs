//! Wrong shapes: each is one [`jem::Error::Shape`] that names the operation and the shapes, never a panic,
//! also when gradients of the mistake are asked for.

use super::graph_cases::{ROWS, parts};
use jem::compute::conv_geometry::ConvGeometry;
use jem::compute::functional::Functional;
use jem::compute::loss_term::{LabelledLoss, LossTerm};
use jem::compute::norm_geometry::NormGeometry;
use jem::compute::pool_geometry::PoolGeometry;
use jem::device::Device;
use jem::graph::{Function, Graph, Leaf, Normalisation, Tensor};

tests![
    element_by_element,
    shapes_alone,
    parts_of_tensors,
    normalisations,
    matrices,
    convolutions,
    pools,
    logits_and_labels,
    second_derivatives_of_functionals,
    leaves,
    probabilities,
    bounds_and_powers,
    tensors_without_elements,
    two_graphs,
    five_axes_that_do_not_merge,
    the_first_mistake_is_the_one_that_is_told
];

/// Lowers the outcome of `build` and its gradients, and returns the error.
fn mistake(build: impl FnOnce(&Graph) -> Tensor) -> String {
    let graph = Graph::new();
    let y = build(&graph);
    let leaf = graph.input("another", y.shape());
    let functional = |y: &Tensor| y.mul(&leaf).exp().sum_all();
    let first = graph.grad(&functional(&y), [&leaf, &y]);
    let leaves: Vec<Tensor> = [graph.input("x", [2, 3]), first[0].clone()].into();
    let second = graph.grad_of_all(&[&functional(&first[1])], &leaves.iter().collect::<Vec<_>>());
    let error = Function::new(&Device::cpu(), &[&y, &second[0]]).expect_err("a mistake in shapes");
    assert!(matches!(error, jem::error::Error::Shape { .. }), "{error:?}");
    error.to_string()
}

/// Asserts that the message of `build`'s mistake holds all of `texts`.
fn says(build: impl FnOnce(&Graph) -> Tensor, texts: &[&str]) {
    let message = mistake(build);
    for text in texts {
        assert!(message.contains(text), "{text:?} is not in {message:?}");
    }
}

fn x<const N: usize>(graph: &Graph, shape: [usize; N]) -> Tensor {
    graph.input("x", shape)
}

fn w<const N: usize>(graph: &Graph, shape: [usize; N]) -> Tensor {
    graph.input("w", shape)
}

fn element_by_element() {
    says(|g| x(g, [2, 3]).add(&w(g, [2, 4])), &["add:", "[2, 3]", "[2, 4]"]);
    says(|g| x(g, [2, 3]).sub(&w(g, [4])), &["sub:", "[2, 3]", "[4]"]);
    says(|g| x(g, [2, 3]).mul(&w(g, [3, 3])), &["mul:", "[2, 3]", "[3, 3]"]);
    says(|g| x(g, [2, 3]).div(&w(g, [2])), &["div:", "[2, 3]", "[2]"]);
    says(
        |g| x(g, [2, 3]).leaky_relu_gradient(&w(g, [3, 2]), 0.2),
        &["leaky_relu_gradient:", "[2, 3]", "[3, 2]"],
    );
}

fn shapes_alone() {
    says(|g| x(g, [2, 3]).broadcast_to([2, 4]), &["broadcast:", "[2, 3]", "[2, 4]"]);
    says(|g| x(g, [2, 3]).broadcast_to([3]), &["broadcast:", "[2, 3]", "[3]"]);
    says(|g| x(g, [2, 3]).reshape([7]), &["reshape:", "[2, 3]", "[7]"]);
    says(|g| x(g, [2, 3]).permute(&[0, 0]), &["permute:", "[0, 0]", "[2, 3]"]);
    says(|g| x(g, [2, 3]).permute(&[0]), &["permute:", "[0]", "[2, 3]"]);
    says(|g| x(g, [2, 3]).sum(&[2]), &["sum:", "[2]", "[2, 3]"]);
    says(|g| x(g, [2, 3]).max(&[2]), &["max:", "[2]", "[2, 3]"]);
    says(|g| x(g, [2, 3]).min_keep(&[0, 4]), &["min:", "[0, 4]", "[2, 3]"]);
    says(|g| x(g, [2, 3]).argmax(2).to_floats(), &["argmax:", "axis 2", "[2, 3]"]);
    says(|g| x(g, [2, 3]).mean(&[5]), &["sum:", "[5]", "[2, 3]"]);
}

fn parts_of_tensors() {
    says(|g| x(g, [2, 3]).slice(2, 0..1), &["slice:", "axis 2", "[2, 3]"]);
    says(|g| x(g, [2, 3]).slice(1, 2..4), &["slice:", "2..4", "[2, 3]"]);
    says(|g| x(g, [2, 3]).slice(1, 1..1), &["slice:", "1..1", "[2, 3]"]);
    says(|g| x(g, [2, 3]).slice_step(1, 0..3, 0), &["slice:", "step 0"]);
    says(|g| x(g, [2, 3]).pad(2, 1, 1, 0.0), &["pad:", "axis 2", "[2, 3]"]);
    says(|g| g.concat(&[], 0), &["concat:", "no parts"]);
    says(|g| g.concat(&[&x(g, [2, 3]), &w(g, [2, 4])], 0), &["concat:", "[2, 3]", "[2, 4]", "axis 0"]);
    says(|g| g.concat(&[&x(g, [2, 3]), &w(g, [2])], 0), &["concat:", "[2, 3]", "[2]"]);
    says(|g| g.concat(&[&x(g, [2, 3]), &w(g, [2, 3])], 2), &["concat:", "axis 2"]);
}

fn normalisations() {
    let normalised = |g: &Graph, groups: usize, weights: usize| {
        let x = x(g, [2, 3, 12]);
        let geometry =
            if groups > 0 { NormGeometry::of_groups(&x, groups) } else { NormGeometry::of_batch(&x) };
        x.normalise(Normalisation { geometry, epsilon: 1e-5 }, &w(g, [weights]), &g.input("b", [12]))
    };
    says(|g| normalised(g, 0, 4), &["normalise:", "[2, 3, 12]", "weight [4]", "bias [12]"]);
    says(|g| normalised(g, 5, 12), &["normalise:", "[2, 3, 12]", "size: 0"]);
    says(
        |g| {
            let other = NormGeometry::of_batch(&x(g, [2, 3, 16]));
            w(g, [2, 3, 12]).moments(other)[0].clone()
        },
        &["moments:", "[2, 3, 12]", "channels: 16"],
    );
}

fn matrices() {
    says(|g| x(g, [2, 3]).matmul(&w(g, [4, 5])), &["matmul:", "[2, 3]", "[4, 5]"]);
    says(|g| x(g, [2, 3, 4]).matmul(&w(g, [4, 5])), &["matmul:", "[2, 3, 4]", "[4, 5]"]);
    says(|g| x(g, [2, 3]).matmul_with(&w(g, [3, 5]), None, false, true), &["matmul:", "[2, 3]", "[5, 3]"]);
    says(|g| x(g, [2, 3]).linear(&w(g, [3, 5]), &g.input("b", [4])), &["matmul:", "[3, 5]", "[4]"]);
}

fn convolutions() {
    says(
        |g| x(g, [1, 8, 8, 3]).conv2d(&w(g, [3, 3, 4, 8]), None, 1, 1),
        &["conv2d:", "[1, 8, 8, 3]", "[3, 3, 4, 8]"],
    );
    says(|g| x(g, [8, 8, 3]).conv2d(&w(g, [3, 3, 3, 8]), None, 1, 1), &["conv2d:", "[8, 8, 3]"]);
    says(
        |g| x(g, [1, 2, 2, 3]).conv2d(&w(g, [5, 5, 3, 8]), None, 1, 1),
        &["conv2d:", "[5, 5, 3, 8]", "padding 1"],
    );
    says(|g| x(g, [1, 8, 8, 3]).conv2d(&w(g, [3, 3, 3, 8]), None, 0, 1), &["conv2d:", "stride 0"]);
    says(
        |g| x(g, [1, 8, 8, 3]).conv2d(&w(g, [3, 3, 3, 8]), Some(&g.input("b", [7])), 1, 1),
        &["conv2d:", "[3, 3, 3, 8]", "[7]"],
    );
    let geometry = ConvGeometry { n: 1, h: 8, w: 8, c_in: 3, c_out: 4, kh: 3, kw: 3, stride: 1, padding: 1 };
    says(
        |g| x(g, [1, 8, 8, 5]).conv2d_input_gradient(&w(g, [3, 3, 3, 4]), geometry),
        &["conv2d_input_gradient:", "[1, 8, 8, 5]", "c_out: 4"],
    );
    says(
        |g| x(g, [1, 8, 8, 3]).conv2d_weight_gradient(&w(g, [1, 7, 8, 4]), geometry),
        &["conv2d_weight_gradient:", "[1, 7, 8, 4]", "h: 8"],
    );
}

fn pools() {
    says(|g| x(g, [1, 8, 6, 3]).average_pool(4), &["average_pool:", "4", "[1, 8, 6, 3]"]);
    says(|g| x(g, [1, 8, 6, 3]).average_pool(0), &["average_pool:", "0", "[1, 8, 6, 3]"]);
    for (size, stride, padding) in [(0, 1, 0), (2, 0, 0), (2, 2, 2), (9, 1, 0)] {
        let texts = [format!("size {size}, stride {stride}, padding {padding}"), "[1, 8, 6, 3]".into()];
        says(|g| x(g, [1, 8, 6, 3]).max_pool(size, stride, padding), &["max_pool:", &texts[0], &texts[1]]);
    }
    let geometry = PoolGeometry { n: 1, h: 8, w: 6, c: 3, size: 2, stride: 2, padding: 0 };
    says(
        |g| x(g, [1, 8, 6, 3]).max_pool_gradient(&w(g, [1, 4, 2, 3]), geometry),
        &["max_pool_gradient:", "[1, 8, 6, 3]", "[1, 4, 2, 3]", "size: 2"],
    );
    says(|g| x(g, [8, 6]).max_pool(2, 2, 0), &["max_pool:", "[8, 6]"]);
    says(|g| x(g, [8, 6]).average_pool(2), &["average_pool:", "[8, 6]"]);
    says(|g| x(g, [8, 6]).average_pool_gradient(2), &["average_pool_gradient:", "[8, 6]"]);
    says(|g| x(g, [8, 6, 3]).global_average_pool(), &["global_average_pool:", "[8, 6, 3]"]);
}

fn logits_and_labels() {
    let labels = |g: &Graph, n: usize| g.indices("labels", [n]);
    says(|g| x(g, [5]).logsumexp(), &["logsumexp:", "[5]"]);
    says(|g| x(g, [5]).softmax(), &["softmax:", "[5]"]);
    says(|g| x(g, [5, 4, 3]).log_softmax(), &["log_softmax:", "[5, 4, 3]"]);
    says(|g| x(g, [5, 4]).gather_labels(&labels(g, 6)), &["gather_labels:", "[6]", "5 rows"]);
    says(|g| x(g, [1]).gather_labels(&labels(g, 1)), &["gather_labels:", "[1]"]);
    says(|g| x(g, [5]).scatter_labels(&labels(g, 6), 4), &["scatter_labels:", "[6]", "[5]"]);
    says(|g| x(g, []).gather_rows(&labels(g, 6)), &["gather_rows:", "[]"]);
    says(|g| x(g, [5, 3]).scatter_add(&labels(g, 6), 4), &["scatter_add:", "[6]", "[5, 3]"]);
    says(|g| x(g, [6, 3]).scatter_add(&labels(g, 6), 0), &["scatter_add:", "no rows"]);
    says(|g| x(g, [ROWS, 4]).logit_loss(&labels(g, 3), &parts()), &["logit_loss:", "[5, 4]", "[3]"]);
    says(|g| x(g, [ROWS]).logit_loss(&labels(g, ROWS), &parts()), &["logit_loss:", "[5]"]);
    says(
        |g| x(g, [6, 4]).logit_stats(&labels(g, 6), &parts()),
        &["logit_stats:", "[6, 4]", "5 images in 3 parts"],
    );
    let five = vec![LossTerm { count: 1, ..LossTerm::default() }; 5];
    says(|g| x(g, [5, 4]).logit_loss(&labels(g, 5), &five), &["logit_loss:", "5 parts (at most 4)"]);
    says(|g| x(g, [5, 4]).logit_loss(&labels(g, 5), &[]), &["logit_loss:", "0 images in 0 parts"]);
    says(
        |g| x(g, [5, 4]).logit_loss_gradient(&labels(g, 5), &w(g, [4]), &parts()),
        &["logit_loss_gradient:", "[4]", "5 rows"],
    );
}

fn second_derivatives_of_functionals() {
    let labelled = Some(LabelledLoss { weight: 1.0, functional: Functional::Log });
    let part = [LossTerm { count: 5, labelled, ..LossTerm::default() }];
    says(
        |g| {
            let x = x(g, [5, 4]);
            let [gradient] = g.grad(&x.logit_loss(&g.indices("labels", [5]), &part), [&x]);
            let [second] = g.grad(&gradient.mul(&gradient), [&x]);
            second
        },
        &["grad:", "functionals of energies have no second derivative here"],
    );
}

fn leaves() {
    let leaf = |words, offset| Leaf { slot: "parameters".into(), words, offset, parameter: true };
    says(|g| g.leaf(leaf(64, 32), [8]), &["leaf:", "parameters", "32"]);
    says(|g| g.leaf(leaf(64, 64), [8]), &["leaf:", "parameters", "64"]);
    says(
        |g| x(g, [3]).mul(&g.indices("x", [3]).to_floats()),
        &["leaf:", "\"x\"", "floating-point numbers", "indices or counters"],
    );
    says(|g| x(g, [3]).dropout(0.5, &g.counters("x")), &["leaf:", "\"x\""]);
    says(|g| g.input("empty", [3, 0]), &["leaf:", "empty", "[3, 0]"]);
}

fn probabilities() {
    for (p, text) in [(1.0, "probability 1;"), (-0.25, "probability -0.25;"), (f32::NAN, "probability NaN;")]
    {
        says(|g| x(g, [3]).dropout(p, &g.counters("counters")), &["dropout:", text]);
    }
}

fn bounds_and_powers() {
    for (low, high) in [(1.0, -1.0), (f32::NAN, 1.0), (0.0, f32::NAN)] {
        let text = format!("bounds {low} and {high}");
        says(|g| x(g, [3]).clamp(low, high), &["clamp:", &text]);
        says(|g| x(g, [3]).inside(low, high), &["inside:", &text]);
    }
    for p in [f32::NAN, f32::INFINITY] {
        says(|g| x(g, [3]).pow(p), &["pow:", &format!("power {p}")]);
    }
}

/// The mistake is that of the operation that makes a tensor without elements, and no operation after it panics.
fn tensors_without_elements() {
    let none = |g: &Graph, shape: &[usize]| g.constant(1.0, shape);
    says(|g| g.input("x", [0, 3]), &["leaf:", "[0, 3]"]);
    says(|g| none(g, &[0, 3]), &["constant:", "[0, 3]"]);
    says(|g| x(g, [1, 3]).broadcast_to([0, 3]), &["broadcast:", "[0, 3]"]);
    says(|g| x(g, [1, 3]).add(&none(g, &[0, 3])), &["constant:", "[0, 3]"]);
    says(|g| x(g, [3]).scatter_labels(&g.indices("labels", [3]), 0), &["scatter_labels:", "[3, 0]"]);
    says(|g| g.indices("labels", [3]).one_hot(0), &["scatter_labels:", "[3, 0]"]);
    says(|g| x(g, [1, 2, 2, 3]).average_pool_gradient(0), &["average_pool_gradient:", "[1, 0, 0, 3]"]);
    says(|g| g.counters("counters").uniform([0, 3]), &["uniform:", "[0, 3]"]);
    says(|g| g.leaf(Leaf { slot: "p".into(), words: 0, offset: 0, parameter: true }, [0]), &["leaf:", "[0]"]);
    // Every operation on such tensors.
    let after: &[fn(&Graph, Tensor) -> Tensor] = &[
        |_, x| x.exp(),
        |_, x| x.dropout(0.5, &x.graph().counters("counters")),
        |_, x| x.add(&x.exp()),
        |_, x| x.reshape([0]),
        |_, x| x.flatten(),
        |_, x| x.sum_all(),
        |_, x| x.sum(&[0]),
        |_, x| x.mean(&[0, 1]),
        |_, x| x.max(&[0]),
        |_, x| x.min_keep(&[1]),
        |_, x| x.argmax(0).to_floats(),
        |_, x| x.slice(0, 0..0),
        |_, x| x.slice_step(1, 0..2, 2),
        |_, x| x.pad(0, 1, 1, 0.0),
        |g, x| g.concat(&[&x, &x], 0),
        |_, x| x.permute(&(0..x.shape().len()).rev().collect::<Vec<_>>()),
        |_, x| x.matmul(&x.permute(&[1, 0])),
        |_, x| x.logsumexp(),
        |_, x| x.softmax(),
        |_, x| x.mse(&x.exp()),
        |g, x| x.cross_entropy(&g.indices("labels", [x.shape()[0]])),
        |g, x| x.gather_rows(&g.indices("labels", [2])),
        |g, x| x.scatter_add(&g.indices("labels", [x.shape()[0]]), 4),
        |g, x| x.gather_labels(&g.indices("labels", [x.shape()[0]])),
        |_, x| x.average_pool(1),
        |_, x| x.global_average_pool(),
        |_, x| x.max_pool(1, 1, 0),
        |g, x| x.conv2d(&w(g, [1, 1, 3, 4]), None, 1, 0),
        |g, x| {
            let geometry = NormGeometry::of_batch(&x);
            let channels = *x.shape().last().expect("an axis");
            let [weight, bias] = ["w", "b"].map(|name| g.input(name, [channels]));
            x.normalise(Normalisation { geometry, epsilon: 1e-5 }, &weight, &bias)
        },
        |_, x| x.moments(NormGeometry::of_groups(&x, 1))[1].clone(),
    ];
    for shape in [vec![0, 3], vec![3, 0], vec![0, 2, 2, 3], vec![1, 0, 0, 3], vec![1, 2, 2, 0]] {
        for operation in after {
            says(|g| operation(g, none(g, &shape)), &["constant:", &format!("{shape:?}")]);
        }
    }
}

fn two_graphs() {
    let other = Graph::new();
    says(|g| x(g, [3]).add(&w(&other, [3])), &["add:", "two graphs"]);
    says(|g| x(g, [3]).add(&other.constant(1.0, [3])), &["add:", "two graphs"]);
    says(|g| x(g, [3, 3]).matmul(&w(&other, [3, 3])), &["matmul:", "two graphs"]);
    says(|g| g.concat(&[&w(&other, [3])], 0), &["concat:", "two graphs"]);
    says(|g| g.concat(&[&x(g, [3]), &w(&other, [3])], 0), &["concat:", "two graphs"]);
    says(|g| x(g, [3]).dropout(0.5, &other.counters("counters")), &["dropout:", "two graphs"]);
    says(|g| g.grad(&x(g, [3]).exp(), [&w(&other, [3])])[0].clone(), &["grad:", "two graphs"]);
    let graph = Graph::new();
    let [a, b] = [x(&graph, [3]).exp(), w(&other, [3]).exp()];
    let error = Function::new(&Device::cpu(), &[&a, &b]).expect_err("two graphs").to_string();
    assert!(error.contains("another graph"), "{error}");
}

fn five_axes_that_do_not_merge() {
    let message = |build: fn(&Graph) -> Tensor| {
        let graph = Graph::new();
        let error = Function::new(&Device::cpu(), &[&build(&graph)]).expect_err("five axes");
        assert!(matches!(error, jem::error::Error::Shape { .. }), "{error:?}");
        error.to_string()
    };
    let text = message(|g| x(g, [2, 1, 3, 1, 2]).add(&w(g, [1, 2, 1, 3, 1])));
    assert!(text.contains("add:") && text.contains("[2, 2, 3, 3, 2]"), "{text}");
    let text = message(|g| x(g, [2, 2, 2, 2, 2]).permute(&[4, 3, 2, 1, 0]));
    assert!(text.contains("permute:") && text.contains("[2, 2, 2, 2, 2]"), "{text}");
}

fn the_first_mistake_is_the_one_that_is_told() {
    says(|g| x(g, [2, 3]).matmul(&w(g, [4, 5])).reshape([7]), &["matmul:"]);
}
