//! A naive float64 evaluator of graphs: the judge of gradients and of lowered programs.

use super::harness::Inputs;
use super::reference::axes::{argmax, flat, gap, groups, indices};
use super::reference::{for_each_product, normalise as norm, pool};
use super::reference_random::uniform;
use jem::compute::conv_geometry::ConvGeometry;
use jem::compute::loss_term::{LossTerm, STATS};
use jem::graph::{Graph, Node, NodeId, Normalisation, Op, Tensor};
use jem::kernels::binary::BinaryOp;
use jem::kernels::unary::UnaryOp;
use std::collections::{BTreeMap, BTreeSet};

/// The contents of external slots by name; labels are whole numbers.
pub type Slots = BTreeMap<String, Vec<f64>>;

/// Whether a leaf of this name holds whole numbers, labels or counters.
pub fn is_whole(name: &str) -> bool {
    name.starts_with("labels") || name == "counters"
}

/// The nodes that some outputs depend on, ready to be evaluated many times.
pub struct Evaluator {
    nodes: BTreeMap<NodeId, Node>,
    outputs: Vec<NodeId>,
}

impl Evaluator {
    /// Collects the nodes that `outputs` need.
    pub fn new(outputs: &[&Tensor]) -> Self {
        let graph = outputs[0].graph();
        graph.check().unwrap_or_else(|error| panic!("{error}"));
        let outputs: Vec<NodeId> = outputs.iter().map(|tensor| tensor.id()).collect();
        let mut nodes = BTreeMap::new();
        let mut stack = outputs.clone();
        while let Some(id) = stack.pop() {
            nodes.entry(id).or_insert_with(|| {
                let node = graph.node(id);
                stack.extend(&node.inputs);
                node
            });
        }
        Self { nodes, outputs }
    }

    /// The outputs' values.
    pub fn run(&self, slots: &Slots) -> Vec<Vec<f64>> {
        let values = self.values(slots);
        self.outputs.iter().map(|id| values[id].clone()).collect()
    }

    /// The least distance of any value from a kink of the function that it enters.
    pub fn kink_distance(&self, slots: &Slots) -> f64 {
        let values = self.values(slots);
        let mut nearest = f64::INFINITY;
        let mut near = |distance: f64| nearest = nearest.min(distance);
        for node in self.nodes.values() {
            let inputs =
                node.inputs.iter().map(|id| Input { shape: &self.nodes[id].shape, values: &values[id] });
            let inputs: Vec<Input<'_>> = inputs.collect();
            let kinks: Vec<(usize, f32)> = match node.op {
                Op::Unary(UnaryOp::LeakyRelu(_) | UnaryOp::Abs | UnaryOp::Sign) => vec![(0, 0.0)],
                Op::LeakyReluGradient { .. } => vec![(1, 0.0)],
                Op::Unary(UnaryOp::Clamp(low, high) | UnaryOp::Inside(low, high)) => {
                    vec![(0, low), (0, high)]
                }
                _ => Vec::new(),
            };
            for (position, kink) in kinks {
                inputs[position].values.iter().for_each(|value| near((value - f64::from(kink)).abs()));
            }
            if let Op::Binary(BinaryOp::Max | BinaryOp::Min | BinaryOp::Step) = node.op {
                let pairs = inputs[0].values.iter().zip(inputs[1].values);
                // A difference of exactly 0 is no accident: an element beside the maximum that it is.
                pairs.filter(|(a, b)| a != b).for_each(|(a, b)| near((a - b).abs()));
            }
            let groups = |axes: &[usize]| groups(inputs[0].shape, inputs[0].values, axes).into_iter();
            match &node.op {
                Op::Max(axes) => groups(axes).for_each(|group| near(gap(&group))),
                Op::Min(axes) => groups(axes).for_each(|group| {
                    near(gap(&group.iter().map(|v| -v).collect::<Vec<_>>()));
                }),
                &Op::ArgMax(axis) => groups(&[axis]).for_each(|group| near(gap(&group))),
                Op::MaxPool(g) | Op::MaxPoolGradient(g) => {
                    let values = |window: Vec<usize>| window.iter().map(|&i| inputs[0].values[i]).collect();
                    pool::windows(g).into_iter().map(values).for_each(|window: Vec<f64>| near(gap(&window)));
                }
                _ => {}
            }
            if let Op::LogitLoss(parts) | Op::LogitLossGradient(parts) = &node.op {
                let functionals = logit_rows(&inputs, parts).filter_map(|row| row.functional());
                functionals.for_each(|(_, row)| near(row.kink));
            }
        }
        nearest
    }

    fn values(&self, slots: &Slots) -> BTreeMap<NodeId, Vec<f64>> {
        let mut values: BTreeMap<NodeId, Vec<f64>> = BTreeMap::new();
        for (&id, node) in &self.nodes {
            let inputs: Vec<Input<'_>> = node
                .inputs
                .iter()
                .map(|input| Input { shape: &self.nodes[input].shape, values: &values[input] })
                .collect();
            let value = evaluate(node, &inputs, slots);
            assert_eq!(value.len(), node.shape.iter().product::<usize>(), "{node:?}");
            values.insert(id, value);
        }
        values
    }
}

/// The slots of all leaves that `outputs` need, filled at random: labels below `classes`, else uniform in
/// [-1, 1), rounded to f32.
pub fn random_slots(outputs: &[&Tensor], classes: u32, seed: u64) -> Slots {
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    for node in Evaluator::new(outputs).nodes.into_values() {
        if let Op::Leaf(leaf) = node.op {
            let size = sizes.entry(leaf.slot).or_default();
            *size = leaf.words.max(*size);
        }
    }
    let mut inputs = Inputs::new(seed);
    let mut fill = |name: &str, words: usize| -> Vec<f64> {
        match is_whole(name) {
            true => inputs.below(words, classes).into_iter().map(f64::from).collect(),
            false => inputs.floats(words).into_iter().map(f64::from).collect(),
        }
    };
    sizes.into_iter().map(|(name, words)| (name.clone(), fill(&name, words))).collect()
}

/// [`random_slots`] whose values are further than `distance` from every kink.
pub fn smooth_slots(outputs: &[&Tensor], classes: u32, distance: f64) -> Slots {
    let evaluator = Evaluator::new(outputs);
    (0..200)
        .map(|seed| random_slots(outputs, classes, seed))
        .find(|slots| evaluator.kink_distance(slots) > distance)
        .unwrap_or_else(|| panic!("every seed comes nearer than {distance} to a kink"))
}

/// The operations that `outputs` need.
pub fn operations(graph: &Graph, outputs: &[&Tensor]) -> Vec<Op> {
    let nodes: BTreeSet<NodeId> = Evaluator::new(outputs).nodes.into_keys().collect();
    nodes.into_iter().map(|id| graph.node(id).op).collect()
}

struct Input<'a> {
    shape: &'a [usize],
    values: &'a [f64],
}

fn evaluate(node: &Node, inputs: &[Input<'_>], slots: &Slots) -> Vec<f64> {
    let n: usize = node.shape.iter().product();
    let x = |i: usize| inputs[i].values;
    let cols = |i: usize| inputs[i].shape[1];
    let group = |axes: &[usize], of: fn(&[f64]) -> f64| -> Vec<f64> {
        groups(inputs[0].shape, x(0), axes).iter().map(|group| of(group)).collect()
    };
    match &node.op {
        Op::Leaf(leaf) => slots[&leaf.slot][leaf.offset..leaf.offset + n].to_vec(),
        Op::Constant(value) => vec![f64::from(*value); n],
        Op::Uniform { stream } => {
            let (seed, step) = (x(0)[0] as u32, x(0)[1] as u32);
            (0..n).map(|i| uniform([seed, *stream], step, i)).collect()
        }
        Op::Unary(op) => x(0).iter().map(|&x| super::reference_elementwise::unary(*op, x)).collect(),
        Op::Binary(op) => {
            x(0).iter().zip(x(1)).map(|(&a, &b)| super::reference_elementwise::binary(*op, a, b)).collect()
        }
        Op::LeakyReluGradient { slope } => {
            let slope = f64::from(*slope);
            x(0).iter().zip(x(1)).map(|(g, &x)| if x > 0.0 { *g } else { slope * g }).collect()
        }
        Op::Broadcast => {
            let from = |index: &[usize]| {
                let axes = index.iter().zip(inputs[0].shape);
                flat(inputs[0].shape, axes.map(|(&i, &length)| if length == 1 { 0 } else { i }))
            };
            indices(&node.shape).map(|index| x(0)[from(&index)]).collect()
        }
        Op::Reshape => x(0).to_vec(),
        Op::Permute(axes) => {
            let mut y = vec![0.0; n];
            for index in indices(inputs[0].shape) {
                let to = axes.iter().map(|&axis| index[axis]);
                y[flat(&node.shape, to)] = x(0)[flat(inputs[0].shape, index.iter().copied())];
            }
            y
        }
        &Op::Slice { axis, first, step } => indices(&node.shape)
            .map(|index| x(0)[flat(inputs[0].shape, moved(index, axis, first, step))])
            .collect(),
        &Op::Pad { axis, first, step, value } => {
            let mut y = vec![f64::from(value); n];
            for (index, x) in indices(inputs[0].shape).zip(x(0)) {
                y[flat(&node.shape, moved(index, axis, first, step))] = *x;
            }
            y
        }
        &Op::Concat(axis) => {
            let (mut y, mut first) = (vec![f64::NAN; n], 0);
            for part in inputs {
                for (index, x) in indices(part.shape).zip(part.values) {
                    y[flat(&node.shape, moved(index, axis, first, 1))] = *x;
                }
                first += part.shape[axis];
            }
            y
        }
        Op::Sum(axes) => group(axes, |group| group.iter().sum()),
        Op::Max(axes) => group(axes, |group| group[argmax(group)]),
        Op::Min(axes) => group(axes, |group| group.iter().copied().fold(f64::INFINITY, f64::min)),
        &Op::ArgMax(axis) => group(&[axis], |group| argmax(group) as f64),
        &Op::MatMul { transpose_a, transpose_b } => {
            let k = if transpose_a { inputs[0].shape[0] } else { cols(0) };
            let a = |i: usize, p: usize| x(0)[if transpose_a { p * cols(0) + i } else { i * cols(0) + p }];
            let b = |p: usize, j: usize| x(1)[if transpose_b { j * cols(1) + p } else { p * cols(1) + j }];
            let bias = |j: usize| inputs.get(2).map_or(0.0, |bias| bias.values[j]);
            indices(&node.shape)
                .map(|i| (0..k).map(|p| a(i[0], p) * b(p, i[1])).sum::<f64>() + bias(i[1]))
                .collect()
        }
        Op::Conv2d(g) => {
            let bias = inputs.get(2).map_or(vec![0.0; g.c_out], |bias| bias.values.to_vec());
            let mut y: Vec<f64> = (0..n).map(|i| bias[i % g.c_out]).collect();
            products(g, |i, w, o| y[o] += x(0)[i] * x(1)[w]);
            y
        }
        Op::Conv2dInputGradient(g) => {
            let mut y = vec![0.0; n];
            products(g, |i, w, o| y[i] += x(0)[o] * x(1)[w]);
            y
        }
        Op::Conv2dWeightGradient(g) => {
            let mut y = vec![0.0; n];
            products(g, |i, w, o| y[w] += x(0)[i] * x(1)[o]);
            y
        }
        &Op::AveragePool { size } => {
            let mut y = vec![0.0; n];
            for (index, value) in indices(inputs[0].shape).zip(x(0)) {
                y[flat(&node.shape, square(&index, size))] += value / (size * size) as f64;
            }
            y
        }
        &Op::AveragePoolGradient { size } => indices(&node.shape)
            .map(|index| x(0)[flat(inputs[0].shape, square(&index, size))] / (size * size) as f64)
            .collect(),
        Op::MaxPool(g) => pool::chosen(g, x(0)).into_iter().map(|i| x(1)[i]).collect(),
        Op::MaxPoolGradient(g) => {
            let mut y = vec![0.0; n];
            pool::chosen(g, x(0)).into_iter().zip(x(1)).for_each(|(i, gradient)| y[i] += gradient);
            y
        }
        Op::NormMean(g) => norm::means(g, x(0)),
        Op::NormVariance(g) => norm::moments(g, x(0))[1].clone(),
        Op::Normalise(Normalisation { geometry, epsilon }) => {
            let standard = norm::standardised(geometry, x(0), [x(1), x(2)], *epsilon);
            let weighted = norm::weighted(geometry, &standard, x(3));
            weighted.iter().enumerate().map(|(i, v)| v + x(4)[i % geometry.channels]).collect()
        }
        Op::NormaliseGradient(Normalisation { geometry, epsilon }) => {
            norm::gradient(geometry, x(0), x(1), [x(2), x(3)], x(4), *epsilon)
        }
        Op::NormSums(Normalisation { geometry, .. }) => norm::channel_sums(geometry, x(0)),
        Op::NormProducts(Normalisation { geometry, epsilon }) => {
            let standard = norm::standardised(geometry, x(1), [x(2), x(3)], *epsilon);
            norm::channel_sums(geometry, &norm::product(x(0), &standard))
        }
        Op::LogSumExp => x(0).chunks(cols(0)).map(logsumexp).collect(),
        &Op::Softmax { log } => {
            let row = |row: &[f64]| -> Vec<f64> {
                let logs = row.iter().map(|f| f - logsumexp(row));
                if log { logs.collect() } else { logs.map(f64::exp).collect() }
            };
            x(0).chunks(cols(0)).flat_map(row).collect()
        }
        Op::GatherRows => {
            let row = |&index: &f64| &x(0)[index as usize * n / x(1).len()..][..n / x(1).len()];
            x(1).iter().flat_map(row).copied().collect()
        }
        Op::ScatterAdd => {
            let mut y = vec![0.0; n];
            let width = x(0).len() / x(1).len();
            for (x, &index) in x(0).chunks(width).zip(x(1)) {
                let row = &mut y[index as usize * width..][..width];
                row.iter_mut().zip(x).for_each(|(y, x)| *y += x);
            }
            y
        }
        Op::GatherLabels => x(0).chunks(cols(0)).zip(x(1)).map(|(row, &label)| row[label as usize]).collect(),
        Op::ScatterLabels => {
            let row = |(value, &label): (&f64, &f64)| -> Vec<f64> {
                (0..node.shape[1]).map(|j| if j == label as usize { *value } else { 0.0 }).collect()
            };
            x(0).iter().zip(x(1)).flat_map(row).collect()
        }
        Op::LogitLoss(parts) => logit_rows(inputs, parts).map(|row| row.loss()).collect(),
        Op::LogitStats(parts) => logit_rows(inputs, parts).flat_map(|row| row.stats()).collect(),
        Op::LogitLossGradient(parts) => {
            logit_rows(inputs, parts).zip(x(2)).flat_map(|(row, &upstream)| row.gradient(upstream)).collect()
        }
    }
}

/// `index` with position `first + step i` of `axis` in place of `i`.
fn moved(mut index: Vec<usize>, axis: usize, first: usize, step: usize) -> Vec<usize> {
    index[axis] = first + step * index[axis];
    index
}

fn products(geometry: &ConvGeometry, visit: impl FnMut(usize, usize, usize)) {
    for_each_product(geometry, visit);
}

fn logsumexp(row: &[f64]) -> f64 {
    let maximum = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    maximum + row.iter().map(|f| (f - maximum).exp()).sum::<f64>().ln()
}

/// A row of logits with its label and the weights of its part.
struct LogitRow<'a> {
    logits: &'a [f64],
    label: usize,
    part: &'a LossTerm,
}

fn logit_rows<'a>(inputs: &'a [Input<'a>], parts: &'a [LossTerm]) -> impl Iterator<Item = LogitRow<'a>> {
    let parts = parts.iter().flat_map(|part| std::iter::repeat_n(part, part.count));
    inputs[0]
        .values
        .chunks(inputs[0].shape[1])
        .zip(inputs[1].values)
        .zip(parts)
        .map(|((logits, &label), part)| LogitRow { logits, label: label as usize, part })
}

impl LogitRow<'_> {
    fn squares(&self) -> f64 {
        self.logits.iter().map(|f| f * f).sum()
    }

    fn loss(&self) -> f64 {
        let [a, b, c, d] = self.weights();
        let (lse, f_y) = (logsumexp(self.logits), self.logits[self.label]);
        let functional = self.functional().map_or(0.0, |(weight, row)| weight * row.value);
        a * lse + b * (lse - f_y) + c * f_y + d * self.squares() + functional
    }

    /// The weight of the functional, and the functional.
    fn functional(&self) -> Option<(f64, super::reference_logits::FunctionalReference)> {
        let labelled = self.part.labelled?;
        let row = super::reference_logits::functional_reference(labelled.functional, self.logits, self.label);
        Some((f64::from(labelled.weight), row))
    }

    fn weights(&self) -> [f64; 4] {
        let LossTerm { log_p_x, cross_entropy, logit_y, l2, .. } = *self.part;
        [log_p_x, cross_entropy, logit_y, l2].map(f64::from)
    }

    fn stats(&self) -> [f64; STATS] {
        let lse = logsumexp(self.logits);
        let functional = self.functional().map_or(0.0, |(_, row)| row.value);
        let best = (0..self.logits.len()).rev().max_by(|&i, &j| self.logits[i].total_cmp(&self.logits[j]));
        [lse, lse - self.logits[self.label], f64::from(best == Some(self.label)), self.squares(), functional]
    }

    fn gradient(&self, upstream: f64) -> Vec<f64> {
        let [a, b, c, d] = self.weights();
        let lse = logsumexp(self.logits);
        let functional = self.functional();
        let at = |(k, f): (usize, &f64)| {
            let functional = functional.as_ref().map_or(0.0, |(weight, row)| weight * row.gradient[k]);
            let label = if k == self.label { c - b } else { 0.0 };
            upstream * ((a + b) * (f - lse).exp() + label + 2.0 * d * f + functional)
        };
        self.logits.iter().enumerate().map(at).collect()
    }
}

/// The pooled index of an unpooled one.
fn square(index: &[usize], size: usize) -> [usize; 4] {
    [index[0], index[1] / size, index[2] / size, index[3]]
}
