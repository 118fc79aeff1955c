//! The hand-fused patterns: which nodes one kernel computes together.
//!
//! - convolution (+ residual) (+ leaky ReLU and its sign mask);
//! - a convolution's input gradient (* leaky ReLU's mask) (+ residual gradient), in either order;
//! - a normalisation (+ leaky ReLU and its sign mask), and its gradient (+ residual gradient);
//! - the head: global average pool, linear layer, logit loss, and their gradient down to the pool's input.

use super::super::{Graph, Node, NodeId, Op};
use super::prepared::Prepared;
use crate::compute::epilogue::Residual;
use crate::compute::loss_term::LossTerm;
use crate::kernels::head::Head;
use crate::kernels::unary::UnaryOp;
use std::collections::{BTreeSet, HashMap};

/// Nodes that one dispatch computes.
#[derive(Debug, Clone)]
pub enum Group {
    /// `value = conv2d (+ residual)` and `activated = leaky_relu(value)`.
    Conv {
        conv: NodeId,
        residual: Option<NodeId>,
        value: NodeId,
        /// Whether `value` itself is written.
        raw: bool,
        activated: Option<(NodeId, f32)>,
        mask: bool,
    },
    /// `value = input gradient (* leaky ReLU gradient at `masked`) (+ residual)`, in the order of `when`.
    InputGradient {
        conv: NodeId,
        masked: Option<(NodeId, f32)>,
        residual: Option<NodeId>,
        when: Residual,
        value: NodeId,
    },
    /// `norm = normalise` and `activated = leaky_relu(norm)`.
    Norm {
        norm: NodeId,
        /// Whether `norm` itself is written.
        raw: bool,
        activated: Option<(NodeId, f32)>,
        mask: bool,
    },
    /// `value = normalise gradient (+ residual)`.
    NormGradient { norm: NodeId, residual: Option<NodeId>, value: NodeId },
    /// The head.
    Head(HeadGroup),
}

/// The nodes of a fused head.
#[derive(Debug, Clone)]
pub struct HeadGroup {
    pub activated: NodeId,
    pub weights: NodeId,
    pub bias: NodeId,
    pub labels: NodeId,
    pub parts: Vec<LossTerm>,
    /// The linear layer's input, `[n, features]`.
    pub pooled: NodeId,
    pub logits: NodeId,
    pub stats: Option<NodeId>,
    pub logit_gradient: NodeId,
    /// The last node of the backward half, and the mask's tensor and slope if a leaky ReLU is part of it.
    pub gradient: NodeId,
    pub masked: Option<(NodeId, f32)>,
    /// Whether the logits are used by others.
    pub writes_logits: bool,
    /// Whether `pooled`, `logit_gradient` or a node that follows from the latter is used by others.
    pub writes_saved: bool,
}

/// The number of a group within [`Fusions`].
pub type GroupId = usize;

/// The groups of a graph, and the nodes whose values are computed at all.
#[derive(Debug)]
pub struct Fusions {
    groups: Vec<Group>,
    group_of: HashMap<NodeId, GroupId>,
    consumers: HashMap<NodeId, Vec<(NodeId, usize)>>,
    needed: BTreeSet<NodeId>,
}

impl Fusions {
    /// Finds the groups in what `roots` depend on and is not `prepared`: of one operation each if `is_unfused`.
    pub fn find(graph: &Graph, roots: &[NodeId], prepared: &Prepared, is_unfused: bool) -> Self {
        let inputs = |id: NodeId| match prepared.contains_key(&id) {
            true => Vec::new(),
            false => graph.node(id).inputs,
        };
        let live = reachable(roots, inputs);
        let mut consumers: HashMap<NodeId, Vec<(NodeId, usize)>> = HashMap::new();
        for &id in &live {
            for (position, input) in inputs(id).into_iter().enumerate() {
                consumers.entry(input).or_default().push((id, position));
            }
        }
        let mut finder =
            Finder { graph, roots, consumers: &consumers, groups: Vec::new(), group_of: HashMap::new() };
        for &id in live.iter().filter(|id| !prepared.contains_key(id)) {
            match graph.node(id).op {
                Op::Conv2d(_) if is_unfused => finder.conv_alone(id),
                Op::Conv2dInputGradient(_) if is_unfused => finder.input_gradient_alone(id),
                Op::Normalise(_) if is_unfused => finder.norm_alone(id),
                Op::NormaliseGradient(_) if is_unfused => finder.norm_gradient_alone(id),
                Op::Normalise(_) => finder.norm(id),
                Op::NormaliseGradient(_) => finder.norm_gradient(id),
                Op::Conv2d(_) => finder.conv(id),
                Op::Conv2dInputGradient(_) => finder.input_gradient(id),
                Op::AveragePoolGradient { .. } if is_unfused => {}
                Op::AveragePoolGradient { .. } => finder.head(id),
                _ => {}
            }
        }
        let Finder { groups, group_of, .. } = finder;
        let mut fusions = Self { groups, group_of, consumers, needed: BTreeSet::new() };
        fusions.needed = reachable(roots, |id| match prepared.contains_key(&id) {
            true => Vec::new(),
            false => fusions.inputs(graph, id),
        });
        fusions
    }

    /// The group that computes node `id`.
    pub fn group_of(&self, id: NodeId) -> Option<GroupId> {
        self.group_of.get(&id).copied()
    }

    /// A group.
    pub fn group(&self, group: GroupId) -> &Group {
        &self.groups[group]
    }

    /// Whether the dispatch of a group may write more than one node's value.
    pub fn writes_several(&self, group: GroupId) -> bool {
        match &self.groups[group] {
            Group::Conv { raw, activated, .. } | Group::Norm { raw, activated, .. } => {
                *raw && activated.is_some()
            }
            Group::InputGradient { .. } | Group::NormGradient { .. } => false,
            Group::Head(_) => true,
        }
    }

    /// Whether the convolution or normalisation that makes node `id` writes its sign mask too.
    pub fn writes_mask(&self, id: NodeId) -> bool {
        let group = self.group_of(id).map(|group| self.group(group));
        match group {
            Some(&Group::Conv { value, mask, .. }) => mask && value == id,
            Some(&Group::Norm { norm, mask, .. }) => mask && norm == id,
            _ => false,
        }
    }

    /// The nodes whose values are computed, in the order in which they were written.
    pub fn needed(&self) -> Vec<NodeId> {
        self.needed.iter().copied().collect()
    }

    /// The number of times that node `id` is an input of a node that the roots depend on.
    pub fn consumers(&self, id: NodeId) -> usize {
        self.consumers.get(&id).map_or(0, Vec::len)
    }

    /// The nodes whose values the computation of node `id` reads.
    fn inputs(&self, graph: &Graph, id: NodeId) -> Vec<NodeId> {
        let Some(&index) = self.group_of.get(&id) else { return graph.node(id).inputs };
        match &self.groups[index] {
            Group::Conv { conv, residual, .. } => {
                graph.node(*conv).inputs.into_iter().chain(*residual).collect()
            }
            Group::InputGradient { conv, masked, residual, .. } => {
                let masked = masked.map(|(id, _)| id);
                graph.node(*conv).inputs.into_iter().chain(masked).chain(*residual).collect()
            }
            Group::Norm { norm, .. } => graph.node(*norm).inputs,
            Group::NormGradient { norm, residual, .. } => {
                graph.node(*norm).inputs.into_iter().chain(*residual).collect()
            }
            Group::Head(head) => {
                let masked = head.masked.map(|(id, _)| id);
                [head.activated, head.weights, head.bias, head.labels].into_iter().chain(masked).collect()
            }
        }
    }
}

/// `roots` and all nodes that `inputs` leads to.
fn reachable(roots: &[NodeId], inputs: impl Fn(NodeId) -> Vec<NodeId>) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::new();
    let mut stack = roots.to_vec();
    while let Some(id) = stack.pop() {
        if found.insert(id) {
            stack.extend(inputs(id));
        }
    }
    found
}

/// The results that a kernel writes from its value.
struct Followers {
    /// The value itself is used by others.
    raw: bool,
    activated: Option<(NodeId, f32)>,
    mask: bool,
}

struct Finder<'a> {
    graph: &'a Graph,
    roots: &'a [NodeId],
    consumers: &'a HashMap<NodeId, Vec<(NodeId, usize)>>,
    groups: Vec<Group>,
    group_of: HashMap<NodeId, GroupId>,
}

impl Finder<'_> {
    fn consumers(&self, id: NodeId) -> &[(NodeId, usize)] {
        self.consumers.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The only use of node `id`, if its value is wanted nowhere else.
    fn only_use(&self, id: NodeId) -> Option<(NodeId, usize, Node)> {
        match self.consumers(id) {
            &[(user, position)] if !self.roots.contains(&id) => Some((user, position, self.graph.node(user))),
            _ => None,
        }
    }

    /// If the only use of `id` is a sum that no group has taken: the sum and the other summand.
    fn residual(&self, id: NodeId) -> Option<(NodeId, NodeId)> {
        let (sum, position, node) = self.only_use(id)?;
        let is_sum = node.op == Op::Binary(crate::kernels::binary::BinaryOp::Add);
        (is_sum && !self.group_of.contains_key(&sum)).then(|| (sum, node.inputs[1 - position]))
    }

    fn add(&mut self, group: Group, nodes: impl IntoIterator<Item = NodeId>) {
        for id in nodes {
            self.group_of.insert(id, self.groups.len());
        }
        self.groups.push(group);
    }

    fn conv_alone(&mut self, conv: NodeId) {
        let group =
            Group::Conv { conv, residual: None, value: conv, raw: true, activated: None, mask: false };
        self.add(group, [conv]);
    }

    fn input_gradient_alone(&mut self, conv: NodeId) {
        let (masked, residual, when) = (None, None, Residual::None);
        self.add(Group::InputGradient { conv, masked, residual, when, value: conv }, [conv]);
    }

    fn conv(&mut self, conv: NodeId) {
        let (value, residual) = self.residual(conv).map_or((conv, None), |(sum, other)| (sum, Some(other)));
        let Followers { raw, activated, mask } = self.followers(value);
        let nodes = [Some(value), activated.map(|(id, _)| id)];
        self.add(Group::Conv { conv, residual, value, raw, activated, mask }, nodes.into_iter().flatten());
    }

    /// The results that the kernel which computes `value` can write from it.
    fn followers(&self, value: NodeId) -> Followers {
        let op = |id: NodeId| self.graph.node(id).op;
        let activation = |&(user, _): &(NodeId, usize)| match op(user) {
            Op::Unary(UnaryOp::LeakyRelu(slope)) => Some((user, slope)),
            _ => None,
        };
        let users = self.consumers(value);
        let activated = users.iter().find_map(activation);
        let is_mask = |&(user, position): &(NodeId, usize)| {
            position == 1 && matches!(op(user), Op::LeakyReluGradient { .. })
        };
        let mask = users.iter().any(is_mask);
        let others = users
            .iter()
            .any(|user| !is_mask(user) && activated.is_none_or(|(activated, _)| activated != user.0));
        let raw = others || activated.is_none() || self.roots.contains(&value);
        Followers { raw, activated, mask }
    }

    fn norm_alone(&mut self, norm: NodeId) {
        self.add(Group::Norm { norm, raw: true, activated: None, mask: false }, [norm]);
    }

    fn norm(&mut self, norm: NodeId) {
        let Followers { raw, activated, mask } = self.followers(norm);
        let nodes = [Some(norm), activated.map(|(id, _)| id)];
        self.add(Group::Norm { norm, raw, activated, mask }, nodes.into_iter().flatten());
    }

    fn norm_gradient_alone(&mut self, norm: NodeId) {
        self.add(Group::NormGradient { norm, residual: None, value: norm }, [norm]);
    }

    fn norm_gradient(&mut self, norm: NodeId) {
        let (value, residual) = self.residual(norm).map_or((norm, None), |(sum, other)| (sum, Some(other)));
        self.add(Group::NormGradient { norm, residual, value }, [value]);
    }

    fn input_gradient(&mut self, conv: NodeId) {
        let (mut value, mut residual, mut when) = (conv, None, Residual::None);
        let mut masked = self.masked(conv);
        if let Some((user, ..)) = masked {
            value = user;
        }
        if let Some((sum, other)) = self.residual(value) {
            (value, residual, when) = (sum, Some(other), Residual::AfterMask);
        }
        // The sum is the group's too: the other summand may be a convolution's, which must not take it.
        let mut nodes = vec![value];
        if let (None, Residual::AfterMask, Some(found)) = (masked, when, self.masked(value)) {
            (value, masked, when) = (found.0, Some(found), Residual::BeforeMask);
            nodes.push(value);
        }
        let masked = masked.map(|(_, x, slope)| (x, slope));
        self.add(Group::InputGradient { conv, masked, residual, when, value }, nodes);
    }

    /// If the only use of gradient `id` is a leaky ReLU's gradient that no group has taken: that, the leaky
    /// ReLU's input, and the slope.
    fn masked(&self, id: NodeId) -> Option<(NodeId, NodeId, f32)> {
        let (user, position, node) = self.only_use(id)?;
        let Op::LeakyReluGradient { slope } = node.op else { return None };
        (position == 0 && !self.group_of.contains_key(&user)).then(|| (user, node.inputs[1], slope))
    }

    fn head(&mut self, pool_gradient: NodeId) {
        if let Some(head) = self.find_head(pool_gradient) {
            let nodes = [Some(head.gradient), Some(head.logits), head.stats];
            let saved = [head.pooled, head.logit_gradient];
            let saved = saved.into_iter().filter(|_| head.writes_saved);
            let nodes: Vec<_> = nodes.into_iter().flatten().chain(saved).collect();
            self.add(Group::Head(head), nodes);
        }
    }

    fn find_head(&self, pool_gradient: NodeId) -> Option<HeadGroup> {
        let node = |id: NodeId| self.graph.node(id);
        let unreshaped = |id: NodeId| match node(id) {
            Node { op: Op::Reshape, inputs, .. } => inputs[0],
            _ => id,
        };
        let spread = node(pool_gradient);
        let back = node(unreshaped(spread.inputs[0]));
        let (&[logit_gradient, weights], Op::MatMul { transpose_a: false, transpose_b: true }) =
            (&back.inputs[..], &back.op)
        else {
            return None;
        };
        let loss_gradient = node(logit_gradient);
        let Op::LogitLossGradient(parts) = loss_gradient.op else { return None };
        let [logits, labels, upstream] = loss_gradient.inputs[..].try_into().ok()?;
        let linear = node(logits);
        let (&[pooled, forward_weights, bias], Op::MatMul { transpose_a: false, transpose_b: false }) =
            (&linear.inputs[..], &linear.op)
        else {
            return None;
        };
        let pool = node(unreshaped(pooled));
        let Op::AveragePool { size } = pool.op else { return None };
        let activated = pool.inputs[0];
        let [_, h, w, features] = node(activated).shape[..].try_into().ok()?;
        let fits = features <= Head::MAX_FEATURES && linear.shape[1] <= Head::MAX_CLASSES;
        let same = spread.op == Op::AveragePoolGradient { size } && forward_weights == weights;
        if node(upstream).op != Op::Constant(1.0) || !(same && fits && h == size && w == size) {
            return None;
        }
        let masked = self.head_mask(pool_gradient, activated);
        let stats_of = |&(user, _): &(NodeId, usize)| {
            let stats = node(user);
            (stats.op == Op::LogitStats(parts.clone()) && stats.inputs[1] == labels).then_some(user)
        };
        let stats = self.consumers(logits).iter().find_map(stats_of);
        let uses = |id: NodeId, inside: &[Option<NodeId>]| {
            let others = |&(user, _): &(NodeId, usize)| !inside.contains(&Some(user));
            self.roots.contains(&id) || self.consumers(id).iter().any(others)
        };
        let writes_logits = uses(logits, &[Some(logit_gradient), stats]);
        let back = unreshaped(spread.inputs[0]);
        // The nodes between the logits' gradient and the pool's are not written: other users compute them again.
        let shared = [back, spread.inputs[0]].into_iter().any(|id| self.only_use(id).is_none());
        let writes_saved = shared || uses(pooled, &[Some(logits)]) || uses(logit_gradient, &[Some(back)]);
        // One binding too many for WebGPU's eight: the mask is applied by a kernel of its own.
        let masked = masked.filter(|_| !(writes_logits && writes_saved));
        let gradient = masked.map_or(pool_gradient, |(user, ..)| user);
        Some(HeadGroup {
            activated,
            weights,
            bias,
            labels,
            parts,
            pooled,
            logits,
            stats,
            logit_gradient,
            gradient,
            masked: masked.map(|(_, value, slope)| (value, slope)),
            writes_logits,
            writes_saved,
        })
    }

    /// If the gradient at the pool's input goes only through the leaky ReLU that made it: that gradient's
    /// node, the leaky ReLU's input, and the slope.
    fn head_mask(&self, pool_gradient: NodeId, activated: NodeId) -> Option<(NodeId, NodeId, f32)> {
        let (user, position, node) = self.only_use(pool_gradient)?;
        let Op::LeakyReluGradient { slope } = node.op else { return None };
        let made = self.graph.node(activated);
        let same = made.op == Op::Unary(UnaryOp::LeakyRelu(slope)) && made.inputs[0] == node.inputs[1];
        (position == 0 && same).then(|| (user, node.inputs[1], slope))
    }
}
