//! Small expressions, one or more for each operation, that gradients and lowering are held to.

use jem::compute::conv_geometry::ConvGeometry;
use jem::compute::loss_term::LossTerm;
use jem::compute::norm_geometry::NormGeometry;
use jem::compute::pool_geometry::PoolGeometry;
use jem::graph::{Graph, Indices, Normalisation, Op, Tensor};
use jem::kernels::binary::BinaryOp;
use jem::kernels::unary::UnaryOp;

/// Classes of the cases with labels. A power of two: the gradient table divides weights by it in f32.
pub const CLASSES: usize = 4;

/// An operation on leaves.
pub struct Case {
    /// The name in messages.
    pub name: &'static str,
    /// Its float leaves: name and shape.
    pub leaves: &'static [(&'static str, &'static [usize])],
    /// The operation on them.
    pub build: fn(&Graph, &[Tensor]) -> Tensor,
}

/// The operations, each with a name; one that is not listed here does not compile.
macro_rules! operations {
    ($($name:ident: $pattern:pat,)*) => {
        /// The name of an operation.
        pub fn operation(op: &Op) -> &'static str {
            match op {
                $($pattern => stringify!($name),)*
            }
        }

        /// The names of all operations.
        pub const OPERATIONS: &[&str] = &[$(stringify!($name)),*];
    };
}

operations! {
    leaf: Op::Leaf(_),
    constant: Op::Constant(_),
    uniform: Op::Uniform { .. },
    affine: Op::Unary(UnaryOp::Affine(..)),
    exp: Op::Unary(UnaryOp::Exp),
    log: Op::Unary(UnaryOp::Log),
    reciprocal: Op::Unary(UnaryOp::Reciprocal),
    sqrt: Op::Unary(UnaryOp::Sqrt),
    leaky_relu: Op::Unary(UnaryOp::LeakyRelu(_)),
    clamp: Op::Unary(UnaryOp::Clamp(..)),
    inside: Op::Unary(UnaryOp::Inside(..)),
    sigmoid: Op::Unary(UnaryOp::Sigmoid),
    softplus: Op::Unary(UnaryOp::Softplus),
    abs: Op::Unary(UnaryOp::Abs),
    sign: Op::Unary(UnaryOp::Sign),
    tanh: Op::Unary(UnaryOp::Tanh),
    to_floats: Op::Unary(UnaryOp::Float),
    silu: Op::Unary(UnaryOp::Silu),
    pow: Op::Unary(UnaryOp::Pow(_)),
    add: Op::Binary(BinaryOp::Add),
    sub: Op::Binary(BinaryOp::Sub),
    mul: Op::Binary(BinaryOp::Mul),
    div: Op::Binary(BinaryOp::Div),
    maximum: Op::Binary(BinaryOp::Max),
    minimum: Op::Binary(BinaryOp::Min),
    step: Op::Binary(BinaryOp::Step),
    leaky_relu_gradient: Op::LeakyReluGradient { .. },
    broadcast: Op::Broadcast,
    reshape: Op::Reshape,
    permute: Op::Permute(_),
    slice: Op::Slice { .. },
    pad: Op::Pad { .. },
    concat: Op::Concat(_),
    sum: Op::Sum(_),
    max: Op::Max(_),
    min: Op::Min(_),
    argmax: Op::ArgMax(_),
    matmul: Op::MatMul { transpose_a: false, transpose_b: false },
    matmul_nt: Op::MatMul { transpose_a: false, transpose_b: true },
    matmul_tn: Op::MatMul { transpose_a: true, transpose_b: false },
    matmul_tt: Op::MatMul { transpose_a: true, transpose_b: true },
    conv2d: Op::Conv2d(_),
    conv2d_input_gradient: Op::Conv2dInputGradient(_),
    conv2d_weight_gradient: Op::Conv2dWeightGradient(_),
    average_pool: Op::AveragePool { .. },
    average_pool_gradient: Op::AveragePoolGradient { .. },
    max_pool: Op::MaxPool(_),
    max_pool_gradient: Op::MaxPoolGradient(_),
    norm_mean: Op::NormMean(_),
    norm_variance: Op::NormVariance(_),
    normalise: Op::Normalise(_),
    normalise_gradient: Op::NormaliseGradient(_),
    norm_sums: Op::NormSums(_),
    norm_products: Op::NormProducts(_),
    logsumexp: Op::LogSumExp,
    softmax: Op::Softmax { log: false },
    log_softmax: Op::Softmax { log: true },
    gather_rows: Op::GatherRows,
    scatter_add: Op::ScatterAdd,
    gather_labels: Op::GatherLabels,
    scatter_labels: Op::ScatterLabels,
    logit_loss: Op::LogitLoss(_),
    logit_stats: Op::LogitStats(_),
    logit_loss_gradient: Op::LogitLossGradient(_),
}

/// Data, samples and labelled images: [`ROWS`] rows.
pub fn parts() -> Vec<LossTerm> {
    vec![
        LossTerm { count: 2, log_p_x: -1.0, l2: 0.25, ..LossTerm::default() },
        LossTerm { count: 1, log_p_x: 1.0, logit_y: 0.5, l2: 0.125, ..LossTerm::default() },
        LossTerm { count: 2, cross_entropy: 1.5, ..LossTerm::default() },
    ]
}

/// Rows of the cases with labels.
pub const ROWS: usize = 5;

fn labels(graph: &Graph) -> Indices {
    graph.indices("labels", [ROWS])
}

fn geometry(
    size: (usize, usize),
    channels: (usize, usize),
    kernel: (usize, usize),
    stride: usize,
    padding: usize,
) -> ConvGeometry {
    let (((h, w), (c_in, c_out)), (kh, kw)) = ((size, channels), kernel);
    ConvGeometry { n: 2, h, w, c_in, c_out, kh, kw, stride, padding }
}

/// Batch norm's, or group norm's with some groups.
fn norm(x: &Tensor, groups: usize) -> Normalisation {
    let geometry = if groups == 0 { NormGeometry::of_batch(x) } else { NormGeometry::of_groups(x, groups) };
    Normalisation { geometry, epsilon: 0.125 }
}

/// The gradients at tensor, weight and bias, in one tensor.
fn gradient_of_norm(graph: &Graph, x: &[Tensor], groups: usize) -> Tensor {
    let y = x[0].normalise(norm(&x[0], groups), &x[1], &x[2]);
    let gradients = graph.grad(&y.mul(&y).scale(0.5), [&x[0], &x[1], &x[2]]);
    gradients[0].mul(&gradients[1]).add(&gradients[2])
}

type Leaves = &'static [(&'static str, &'static [usize])];

/// The cases.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let mut case =
        |name, leaves: Leaves, build: fn(&Graph, &[Tensor]) -> Tensor| all.push(Case { name, leaves, build });

    let one: Leaves = &[("x", &[3, 5])];
    case("affine", one, |_, x| x[0].affine(-1.75, 0.5));
    case("exp", one, |_, x| x[0].exp());
    case("log", one, |_, x| x[0].affine(0.5, 2.0).log());
    case("reciprocal", one, |_, x| x[0].affine(0.5, 2.0).reciprocal());
    case("sqrt", one, |_, x| x[0].affine(0.5, 2.0).sqrt());
    case("leaky_relu", one, |_, x| x[0].leaky_relu(0.2));
    case("clamp", one, |_, x| x[0].clamp(-0.5, 0.625));
    case("inside", one, |_, x| x[0].inside(-0.5, 0.625).mul(&x[0]));
    case("sigmoid", one, |_, x| x[0].sigmoid());
    case("softplus", one, |_, x| x[0].softplus());
    case("silu", one, |_, x| x[0].silu());
    case("relu", one, |_, x| x[0].relu());
    case("abs", one, |_, x| x[0].abs());
    case("sign", one, |_, x| x[0].sign().mul(&x[0]));
    case("tanh", one, |_, x| x[0].tanh());
    case("square", one, |_, x| x[0].square());
    case("pow 3", one, |_, x| x[0].pow(3.0));
    case("pow 6", one, |_, x| x[0].pow(6.0));
    case("pow 9", one, |_, x| x[0].scale(0.5).pow(9.0));
    case("pow -5", one, |_, x| x[0].affine(0.5, 2.0).pow(-5.0));
    case("pow -2", one, |_, x| x[0].affine(0.5, 2.0).pow(-2.0));
    case("pow 0.5", one, |_, x| x[0].affine(0.5, 2.0).pow(0.5));
    case("pow 1.25", one, |_, x| x[0].affine(0.5, 2.0).pow(1.25));

    case("dropout", one, |graph, x| x[0].dropout(0.375, &graph.counters("counters")));

    let two: Leaves = &[("a", &[3, 5]), ("b", &[3, 5])];
    case("add", two, |_, x| x[0].add(&x[1]));
    case("sub", two, |_, x| x[0].sub(&x[1]));
    case("mul", two, |_, x| x[0].mul(&x[1]));
    case("div", two, |_, x| x[0].div(&x[1].affine(0.5, 2.0)));
    case("maximum", two, |_, x| x[0].maximum(&x[1]));
    case("minimum", two, |_, x| x[0].minimum(&x[1]));
    case("step", two, |_, x| x[0].step(&x[1]).mul(&x[0]));
    case("maximum with a constant", one, |graph, x| x[0].maximum(&graph.constant(0.25, [])));
    case("minimum, broadcast", &[("a", &[2, 3, 4]), ("b", &[3, 1])], |_, x| x[1].minimum(&x[0]));
    // By each element, whose weights the upstream gives.
    case("mse", two, |_, x| x[0].mul(&x[0].mse(&x[1])));
    case("add one tensor twice", one, |_, x| x[0].add(&x[0]));
    case("mul by itself", one, |_, x| x[0].mul(&x[0]));
    let rows: Leaves = &[("a", &[2, 3, 4]), ("b", &[3, 1])];
    case("add, broadcast", rows, |_, x| x[0].add(&x[1]));
    case("sub, broadcast", rows, |_, x| x[1].sub(&x[0]));
    case("mul, broadcast", rows, |_, x| x[1].mul(&x[0]));
    case("div, broadcast", rows, |_, x| x[0].div(&x[1].affine(0.5, 2.0)));
    case("div of a broadcast", rows, |_, x| x[1].div(&x[0].affine(0.5, 2.0)));
    case("mul, both broadcast", &[("a", &[2, 1, 4]), ("b", &[3, 1])], |_, x| x[0].mul(&x[1]));
    case("arithmetic with constants", one, |graph, x| {
        let c = |value| graph.constant(value, [5]);
        let sums = c(0.5).add(&x[0]).sub(&c(0.25)).add(&c(2.0));
        c(3.0).sub(&sums).mul(&c(0.5)).div(&c(1.5)).add(&c(2.0).mul(&x[0])).add(&c(0.0))
    });
    case("leaky_relu_gradient", two, |_, x| x[0].leaky_relu_gradient(&x[1], 0.2));
    case("leaky_relu_gradient at itself", one, |_, x| x[0].leaky_relu_gradient(&x[0], 0.2));

    case("broadcast", &[("x", &[3, 1, 2])], |_, x| x[0].broadcast_to([2, 3, 4, 2]));
    case("broadcast of a scalar", &[("x", &[])], |_, x| x[0].broadcast_to([3, 2]));
    case("reshape", &[("x", &[2, 3, 4])], |_, x| x[0].reshape([6, 4]).exp().reshape([4, 6]).reshape([24]));
    case("reshape of a broadcast", &[("x", &[3, 1])], |_, x| x[0].broadcast_to([3, 4]).reshape([2, 6]));
    case("permute", &[("x", &[2, 3, 4, 2])], |_, x| x[0].permute(&[2, 0, 3, 1]));
    case("permute in a cycle", &[("x", &[2, 3, 4])], |_, x| x[0].permute(&[1, 2, 0]));

    let four: Leaves = &[("x", &[2, 3, 4, 2])];
    case("slice of the first axis", four, |_, x| x[0].slice(0, 1..2));
    case("slice of an inner axis", four, |_, x| x[0].slice(2, 1..3));
    case("slice of every second", &[("x", &[2, 7, 3])], |_, x| x[0].slice_step(1, 1..6, 2));
    case("slice of a broadcast", &[("x", &[3, 1])], |_, x| x[0].broadcast_to([3, 4]).slice(1, 1..3));
    case("pad", four, |_, x| x[0].pad(1, 2, 1, 0.25).pad(3, 0, 1, -0.5));
    case("pad of the last axis in front", &[("x", &[3])], |_, x| x[0].pad(0, 2, 0, 0.75));
    let three: Leaves = &[("a", &[2, 3, 4]), ("b", &[2, 1, 4]), ("c", &[2, 2, 4])];
    case("concat", three, |graph, x| graph.concat(&[&x[0], &x[1], &x[2]], 1));
    case("concat of one twice", three, |graph, x| graph.concat(&[&x[1], &x[0], &x[1]], 1));
    case("concat of the first axis", &[("a", &[2, 3]), ("b", &[1, 3])], |graph, x| {
        graph.concat(&[&x[0], &x[1].exp()], 0)
    });
    case("concat of the last axis", &[("a", &[5, 2]), ("b", &[5, 3])], |graph, x| {
        graph.concat(&[&x[1], &x[0]], 1)
    });

    case("sum of the first axis", four, |_, x| x[0].sum(&[0]));
    case("sum of the last axis", four, |_, x| x[0].sum(&[3]));
    case("sum of the inner axes", four, |_, x| x[0].sum(&[1, 2]));
    case("sum of axes apart", four, |_, x| x[0].sum(&[2, 0]));
    case("sum of runs of axes", &[("x", &[2, 3, 2, 2, 3])], |_, x| x[0].sum_keep(&[0, 2, 3]));
    case("sum of all", four, |_, x| x[0].sum_all());
    case("max of the last axis", four, |_, x| x[0].max(&[3]));
    case("max of the first axis", four, |_, x| x[0].max_keep(&[0]).mul(&x[0]));
    case("max of axes apart", four, |_, x| x[0].max(&[2, 0]));
    case("min of the inner axes", four, |_, x| x[0].min(&[1, 2]));
    case("min of all", four, |_, x| x[0].min_keep(&[0, 1, 2, 3]));
    case("argmax of the last axis", &[("x", &[ROWS, CLASSES])], |_, x| x[0].gather_labels(&x[0].argmax(1)));
    case("argmax of the first axis", &[("x", &[ROWS, CLASSES])], |_, x| {
        x[0].mul(&x[0].argmax(0).to_floats().affine(1.0, 1.0))
    });
    case("mean", four, |_, x| x[0].mean(&[0, 3]));

    let nn: Leaves = &[("a", &[3, 4]), ("b", &[4, 5]), ("bias", &[5])];
    case("matmul", nn, |_, x| x[0].matmul(&x[1]));
    case("linear", nn, |_, x| x[0].linear(&x[1], &x[2]));
    case("linear on one row", &[("a", &[1, 4]), ("b", &[4, 5]), ("bias", &[5])], |_, x| {
        x[0].linear(&x[1], &x[2])
    });
    let nt: Leaves = &[("a", &[3, 4]), ("b", &[5, 4]), ("bias", &[5])];
    case("matmul_nt", nt, |_, x| x[0].matmul_with(&x[1], None, false, true));
    case("matmul_nt, bias", nt, |_, x| x[0].matmul_with(&x[1], Some(&x[2]), false, true));
    let tn: Leaves = &[("a", &[4, 3]), ("b", &[4, 5]), ("bias", &[5])];
    case("matmul_tn", tn, |_, x| x[0].matmul_with(&x[1], None, true, false));
    case("matmul_tn, bias", tn, |_, x| x[0].matmul_with(&x[1], Some(&x[2]), true, false));
    let tt: Leaves = &[("a", &[4, 3]), ("b", &[5, 4]), ("bias", &[5])];
    case("matmul_tt", tt, |_, x| x[0].matmul_with(&x[1], None, true, true));
    case("matmul_tt, bias", tt, |_, x| x[0].matmul_with(&x[1], Some(&x[2]), true, true));

    let conv3: Leaves = &[("x", &[2, 5, 4, 3]), ("w", &[3, 3, 3, 2]), ("bias", &[2])];
    case("conv2d 3x3", conv3, |_, x| x[0].conv2d(&x[1], None, 1, 1));
    case("conv2d 3x3, bias, stride 2", conv3, |_, x| x[0].conv2d(&x[1], Some(&x[2]), 2, 1));
    case("conv2d 3x3, no padding, stride 3", conv3, |_, x| x[0].conv2d(&x[1], Some(&x[2]), 3, 0));
    let conv1: Leaves = &[("x", &[2, 4, 3, 3]), ("w", &[1, 1, 3, 2]), ("bias", &[2])];
    case("conv2d 1x1, bias, stride 2", conv1, |_, x| x[0].conv2d(&x[1], Some(&x[2]), 2, 0));
    case("conv2d 5x2, padding 1, stride 2", &[("x", &[1, 6, 5, 2]), ("w", &[5, 2, 2, 3])], |_, x| {
        x[0].conv2d(&x[1], None, 2, 1)
    });
    case("conv2d_input_gradient", &[("g", &[2, 5, 4, 2]), ("w", &[3, 3, 3, 2])], |_, x| {
        x[0].conv2d_input_gradient(&x[1], geometry((5, 4), (3, 2), (3, 3), 1, 1))
    });
    case("conv2d_input_gradient, stride 2", &[("g", &[2, 3, 2, 2]), ("w", &[3, 3, 3, 2])], |_, x| {
        x[0].conv2d_input_gradient(&x[1], geometry((5, 4), (3, 2), (3, 3), 2, 1))
    });
    case("conv2d_weight_gradient", &[("x", &[2, 5, 4, 3]), ("g", &[2, 5, 4, 2])], |_, x| {
        x[0].conv2d_weight_gradient(&x[1], geometry((5, 4), (3, 2), (3, 3), 1, 1))
    });
    case("conv2d_weight_gradient, stride 2", &[("x", &[2, 5, 4, 3]), ("g", &[2, 3, 2, 2])], |_, x| {
        x[0].conv2d_weight_gradient(&x[1], geometry((5, 4), (3, 2), (3, 3), 2, 1))
    });

    case("average_pool", &[("x", &[2, 4, 6, 3])], |_, x| x[0].average_pool(2));
    case("average_pool_gradient", &[("x", &[2, 2, 3, 3])], |_, x| x[0].average_pool_gradient(2));
    case("global_average_pool", &[("x", &[2, 3, 3, 4])], |_, x| x[0].global_average_pool());
    case("global_average_pool, not square", &[("x", &[2, 3, 4, 2])], |_, x| x[0].global_average_pool());

    case("max_pool", &[("x", &[2, 4, 6, 3])], |_, x| x[0].max_pool(2, 2, 0));
    case("max_pool with overlap and padding", &[("x", &[1, 5, 4, 2])], |_, x| x[0].max_pool(3, 2, 1));
    case("max_pool_gradient", &[("x", &[1, 4, 3, 2]), ("g", &[1, 2, 2, 2])], |_, x| {
        let geometry = PoolGeometry { n: 1, h: 4, w: 3, c: 2, size: 3, stride: 2, padding: 1 };
        x[0].max_pool_gradient(&x[1], geometry)
    });
    case("max_pool of stride 1", &[("x", &[1, 4, 3, 2])], |_, x| x[0].max_pool(2, 1, 1));

    // Populations are powers of two, by which the table divides in f32.
    let batch: Leaves = &[("x", &[2, 4, 4]), ("weight", &[4]), ("bias", &[4])];
    case("batch norm", batch, |_, x| x[0].normalise(norm(&x[0], 0), &x[1], &x[2]));
    case("group norm", &[("x", &[2, 2, 8]), ("weight", &[8]), ("bias", &[8])], |_, x| {
        x[0].normalise(norm(&x[0], 4), &x[1], &x[2])
    });
    case("batch norm of three channels", &[("x", &[4, 3]), ("weight", &[3]), ("bias", &[3])], |_, x| {
        x[0].normalise(norm(&x[0], 0), &x[1], &x[2])
    });
    case("batch norm and a leaky ReLU", batch, |_, x| {
        x[0].normalise(norm(&x[0], 0), &x[1], &x[2]).leaky_relu(0.2)
    });
    case("batch norm with itself as weight", &[("x", &[1, 4])], |_, x| {
        let rows = x[0].mul(&x[0]).add(&x[0].permute(&[1, 0]));
        let weight = x[0].reshape([4]);
        rows.normalise(norm(&rows, 0), &weight, &weight)
    });
    // One gradient, one tensor and one weight, but other deviations.
    case("two norms of one tensor", batch, |_, x| {
        let [one, other] = [0.125, 2.0]
            .map(|epsilon| x[0].normalise(Normalisation { epsilon, ..norm(&x[0], 0) }, &x[1], &x[2]));
        one.add(&other)
    });
    case("gradient of batch norm", batch, |graph, x| gradient_of_norm(graph, x, 0));
    case("gradient of group norm", &[("x", &[2, 2, 4]), ("weight", &[4]), ("bias", &[4])], |graph, x| {
        gradient_of_norm(graph, x, 2)
    });
    case("moments of a batch", &[("x", &[4, 4])], |_, x| {
        let [mean, variance] = x[0].moments(NormGeometry::of_batch(&x[0]));
        mean.mul(&mean).add(&variance)
    });

    let logits: Leaves = &[("x", &[ROWS, CLASSES])];
    case("logsumexp", logits, |_, x| x[0].logsumexp());
    case("softmax", logits, |_, x| x[0].softmax());
    case("log_softmax", logits, |_, x| x[0].log_softmax());
    case("gather_rows", &[("x", &[CLASSES, 3])], |graph, x| x[0].gather_rows(&labels(graph)));
    case("gather_rows of more axes", &[("x", &[CLASSES, 2, 2])], |graph, x| {
        x[0].gather_rows(&labels(graph).reshape([ROWS, 1]))
    });
    case("scatter_add", &[("x", &[ROWS, 2])], |graph, x| x[0].scatter_add(&labels(graph), CLASSES));
    case("scatter_add of numbers", &[("x", &[ROWS])], |graph, x| x[0].scatter_add(&labels(graph), CLASSES));
    case("gather_labels", logits, |graph, x| x[0].gather_labels(&labels(graph)));
    case("to_floats", logits, |graph, x| x[0].mul(&labels(graph).to_floats().reshape([ROWS, 1])));
    case("one_hot", logits, |graph, x| x[0].mul(&labels(graph).one_hot(CLASSES)));
    case("scatter_labels", &[("x", &[ROWS])], |graph, x| x[0].scatter_labels(&labels(graph), CLASSES));
    case("logit_loss", logits, |graph, x| x[0].logit_loss(&labels(graph), &parts()));
    case("cross_entropy", logits, |graph, x| x[0].mul(&x[0].cross_entropy(&labels(graph))));
    case("logit_stats", logits, |graph, x| {
        // Its gradient is zero by definition, so that it stands beside something that has one.
        let stats = x[0].logit_stats(&labels(graph), &parts());
        x[0].mul(&stats.inside(-100.0, 100.0).sum_keep(&[1]))
    });
    case("logit_loss_gradient", &[("x", &[ROWS, CLASSES]), ("u", &[ROWS])], |graph, x| {
        x[0].logit_loss_gradient(&labels(graph), &x[1], &parts())
    });
    all
}

impl Case {
    /// The operation in the middle of an expression: something nonlinear before each input, and after the result
    /// something nonlinear with another weight for each element. Returns the float leaves, the operation's own result,
    /// and the scalar loss.
    pub fn mid_graph(&self, graph: &Graph) -> (Vec<Tensor>, Tensor, Tensor) {
        let leaves: Vec<Tensor> = self.leaves.iter().map(|(name, shape)| graph.input(name, *shape)).collect();
        let before = |x: &Tensor| x.exp().sub(&x.mul(x).affine(0.25, 1.0));
        let inputs: Vec<Tensor> = leaves.iter().map(before).collect();
        let y = (self.build)(graph, &inputs);
        let weights = graph.input("upstream", y.shape());
        let loss = y.mul(&y).scale(0.25).add(&y.scale(0.5).exp()).mul(&weights).sum_all();
        (leaves, y, loss)
    }
}
