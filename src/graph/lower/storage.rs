//! The tensors that are stored in f16: those between a network's convolutions, which are read and written by kernels
//! that take either storage type.
//!
//! Gradients are stored multiplied by a power of two, so that small ones do not fall under f16's smallest number
//! (Micikevicius et al. 2018, "Mixed precision training", section 3.2): the head multiplies, and every kernel that
//! writes f32 from them divides.

use super::Lowering;
use super::fuse::{Fusions, Group};
use crate::compute::loss_term::LossTerm;
use crate::compute::storage::Storage;
use crate::graph::{Graph, Node, NodeId, Op};
use std::collections::HashSet;

/// The nodes whose values are stored in f16.
#[derive(Debug, Default)]
pub struct HalfPrecision {
    nodes: HashSet<NodeId>,
    /// The gradients among them.
    gradients: HashSet<NodeId>,
    /// The factor by which the gradients are multiplied.
    scale: f32,
}

/// The scale brings the largest gradient of a loss at a logit to this value. The mean over an 8x8 map and 28 layers may
/// change it by a factor from a thousandth to a hundred, and either is far from f16's limits of 6e-8 and 65,504.
const LARGEST_LOGIT_GRADIENT: f32 = 128.0;

impl HalfPrecision {
    /// The nodes that may be stored in f16, given those that outputs ask for.
    pub fn find(graph: &Graph, fusions: &Fusions, roots: &[NodeId]) -> Self {
        let needed = fusions.needed();
        // One scale for the program, that of the largest losses: the gradients of several heads are added up.
        let heads = needed.iter().filter_map(|&id| match fusions.group(fusions.group_of(id)?) {
            Group::Head(head) => Some(scale(&head.parts)),
            _ => None,
        });
        let scale = heads.reduce(f32::min).unwrap_or(1.0);
        let mut finder = Finder { graph, fusions, halves: Self { scale, ..Self::default() } };
        for &id in &needed {
            finder.propose(id);
        }
        for root in roots {
            finder.halves.nodes.remove(root);
        }
        for &id in &needed {
            finder.check_reads(id);
        }
        // A kernel's results and residual have one storage type.
        while needed.iter().any(|&id| finder.drop_unlike(id)) {}
        finder.halves
    }

    /// The storage type of node `id`.
    pub fn storage(&self, id: NodeId) -> Storage {
        if self.nodes.contains(&id) { Storage::F16 } else { Storage::F32 }
    }

    /// The factor by which the stored value of node `id` is multiplied.
    pub fn scale(&self, id: NodeId) -> f32 {
        if self.nodes.contains(&id) && self.gradients.contains(&id) { self.scale } else { 1.0 }
    }
}

/// A power of two that brings the gradient of these losses at the logits to [`LARGEST_LOGIT_GRADIENT`] or less. It
/// ignores the L2 term, whose gradient has no bound.
fn scale(parts: &[LossTerm]) -> f32 {
    let largest = |part: &LossTerm| {
        let functional = part.labelled.map_or(0.0, |l| l.weight * l.functional.steepness());
        let slopes = [part.log_p_x, part.cross_entropy, part.logit_y, functional];
        slopes.iter().map(|slope| slope.abs()).sum::<f32>()
    };
    let largest = parts.iter().map(largest).fold(0.0, f32::max);
    if largest > 0.0 { (LARGEST_LOGIT_GRADIENT / largest).log2().floor().exp2() } else { 1.0 }
}

struct Finder<'a> {
    graph: &'a Graph,
    fusions: &'a Fusions,
    halves: HalfPrecision,
}

impl Finder<'_> {
    fn group(&self, id: NodeId) -> Option<&Group> {
        self.fusions.group_of(id).map(|group| self.fusions.group(group))
    }

    fn channels(&self, id: NodeId) -> usize {
        self.graph.node(id).shape.last().copied().unwrap_or(1)
    }

    fn is_gradient(&self, id: NodeId) -> bool {
        self.halves.gradients.contains(&id)
    }

    /// Enters node `id` if its kernel can write f16.
    fn propose(&mut self, id: NodeId) {
        let (gradient, made) = match self.group(id) {
            Some(Group::Conv { .. } | Group::Norm { .. }) => (false, true),
            Some(Group::NormGradient { value, .. }) => (true, *value == id),
            Some(Group::InputGradient { value, .. }) => (true, *value == id),
            Some(Group::Head(head)) => (true, head.gradient == id),
            None => (false, false),
        };
        if made && self.channels(id).is_multiple_of(4) {
            self.halves.nodes.insert(id);
            if gradient {
                self.halves.gradients.insert(id);
            }
        }
    }

    fn drop(&mut self, id: NodeId) {
        self.halves.nodes.remove(&id);
    }

    /// Keeps `id` only if it is a gradient, or only if it is not, as `gradient` says.
    fn keep_if(&mut self, id: NodeId, gradient: bool) {
        if self.is_gradient(id) != gradient {
            self.drop(id);
        }
    }

    /// Drops what the kernel of node `id` reads as f32.
    fn check_reads(&mut self, id: NodeId) {
        match self.group(id).cloned() {
            Some(Group::Conv { conv, residual, .. }) => {
                let inputs = self.graph.node(conv).inputs;
                self.keep_if(inputs[0], false);
                inputs[1..].iter().for_each(|&input| self.drop(input));
                residual.into_iter().for_each(|residual| self.keep_if(residual, false));
            }
            Some(Group::InputGradient { conv, masked, residual, .. }) => {
                let inputs = self.graph.node(conv).inputs;
                self.keep_if(inputs[0], true);
                self.drop(inputs[1]);
                residual.into_iter().for_each(|residual| self.keep_if(residual, true));
                masked.into_iter().for_each(|(x, _)| self.check_mask(x));
            }
            Some(Group::Norm { norm, .. }) => {
                let inputs = self.graph.node(norm).inputs;
                self.keep_if(inputs[0], false);
                inputs[1..].iter().for_each(|&input| self.drop(input));
            }
            Some(Group::NormGradient { norm, residual, .. }) => {
                self.check_norm_sums(&self.graph.node(norm));
                residual.into_iter().for_each(|residual| self.keep_if(residual, true));
            }
            Some(Group::Head(head)) => {
                self.keep_if(head.activated, false);
                [head.weights, head.bias, head.labels].into_iter().for_each(|id| self.drop(id));
                head.masked.into_iter().for_each(|(x, _)| self.check_mask(x));
            }
            None => self.check_operation(&self.graph.node(id)),
        }
    }

    /// A mask that no convolution writes is computed from the value itself, in f32.
    fn check_mask(&mut self, x: NodeId) {
        if !self.fusions.writes_mask(x) {
            self.drop(x);
        }
    }

    /// A gradient and the tensor that was normalised are read in either storage type.
    fn check_norm_sums(&mut self, node: &Node) {
        self.keep_if(node.inputs[0], true);
        self.keep_if(node.inputs[1], false);
        node.inputs[2..].iter().for_each(|&input| self.drop(input));
    }

    fn check_operation(&mut self, node: &Node) {
        match node.op {
            Op::NormMean(_) | Op::NormVariance(_) => self.keep_if(node.inputs[0], false),
            Op::NormSums(_) | Op::NormProducts(_) => self.check_norm_sums(node),
            Op::Conv2dWeightGradient(_) => {
                self.keep_if(node.inputs[0], false);
                self.keep_if(node.inputs[1], true);
            }
            // Its first stage takes either, scaled or not.
            Op::Sum(_) => {}
            Op::LeakyReluGradient { .. } => {
                self.drop(node.inputs[0]);
                self.check_mask(node.inputs[1]);
            }
            _ => node.inputs.iter().for_each(|&input| self.drop(input)),
        }
    }

    /// Takes all tensors out that the kernel of node `id` needs in one storage type, if some of them are in f16 and
    /// some not; returns whether that was so.
    fn drop_unlike(&mut self, id: NodeId) -> bool {
        let alike: Vec<NodeId> = match self.group(id) {
            Some(&Group::Conv { residual, value, raw, activated, .. }) => {
                let results = [raw.then_some(value), activated.map(|(id, _)| id)];
                results.into_iter().flatten().chain(residual).collect()
            }
            Some(&Group::InputGradient { residual, value, .. }) => {
                residual.into_iter().chain([value]).collect()
            }
            Some(&Group::Norm { norm, raw, activated, .. }) => {
                let results = [raw.then_some(norm), activated.map(|(id, _)| id)];
                results.into_iter().flatten().chain([self.graph.node(norm).inputs[0]]).collect()
            }
            Some(&Group::NormGradient { norm, residual, value }) => {
                let inputs = self.graph.node(norm).inputs;
                [inputs[0], inputs[1], value].into_iter().chain(residual).collect()
            }
            Some(Group::Head(head)) => vec![head.activated, head.gradient],
            None => match self.graph.node(id) {
                Node { op: Op::NormSums(_) | Op::NormProducts(_), inputs, .. } => inputs[..2].to_vec(),
                _ => return false,
            },
        };
        let halves = alike.iter().filter(|id| self.halves.nodes.contains(id)).count();
        let unlike = halves > 0 && halves < alike.len();
        if unlike {
            alike.iter().for_each(|&id| self.drop(id));
        }
        unlike
    }
}

impl Lowering<'_> {
    /// [`HalfPrecision::storage`].
    pub(super) fn storage(&self, id: NodeId) -> Storage {
        self.halves.storage(id)
    }

    /// The factor by which a kernel must multiply that reads node `from` and writes node `to` linearly; without `to`,
    /// one that writes f32.
    pub(super) fn factor(&self, from: NodeId, to: Option<NodeId>) -> f32 {
        to.map_or(1.0, |to| self.halves.scale(to)) / self.halves.scale(from)
    }
}
