//! Lowering: from a graph to dispatches.
//!
//! [`fuse`] finds the hand-fused patterns; this file walks what the outputs need, in the order in which it was written
//! (so that a weight gradient is computed while its operands are there, and the liveness plan can free them), and
//! [`emit`] writes the dispatch of each operation or group. Nodes that depend on parameters alone are [`prepared`].

mod convolution;
mod emit;
mod fuse;
mod normalisation;
mod parts;
mod prepared;
mod storage;
mod strides;
mod update;

pub use update::{Update, lower_with_update};

use super::{Graph, Node, NodeId, Op, Tensor};
use crate::compute::storage::Storage;
use crate::device::{ProgramBuilder, View};
use crate::error::{Error, Result};
use crate::kernels::copy::StridedCopy;
use crate::policy::convolution::ConvolutionPolicy;
use convolution::Packing;
use fuse::{Fusions, GroupId};
use normalisation::Statistics;
use prepared::Prepared;
use std::collections::{HashMap, HashSet};
use storage::HalfPrecision;
use update::Fused;

/// A tensor and the view that receives its value.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    /// The tensor.
    pub tensor: &'a Tensor,
    /// The view; at least as long as the tensor.
    pub view: View,
}

/// Appends to `builder` the dispatches that compute `outputs`; `policy` chooses the kernels of convolutions
/// ([`crate::device::Device::policy`] is the device's).
///
/// With `prepare`, nodes that depend on parameters alone (folded weights, the transposed weights of input gradients)
/// are computed by that program into external buffers that both programs name; it is run once after each change of the
/// parameters. Without it, they are computed in line.
///
/// # Errors
/// [`crate::Error::Shape`]: the graph's first mistake, or a tensor of more axes than the kernels take.
pub fn lower(
    policy: &ConvolutionPolicy,
    builder: &mut ProgramBuilder,
    prepare: Option<&mut ProgramBuilder>,
    outputs: &[Output<'_>],
) -> Result<()> {
    lower_checked(policy, builder, prepare, outputs, None).map(|_| ())
}

/// [`lower`]; returns whether its dispatches do the update too, along the first output.
fn lower_checked(
    policy: &ConvolutionPolicy,
    builder: &mut ProgramBuilder,
    prepare: Option<&mut ProgramBuilder>,
    outputs: &[Output<'_>],
    update: Option<&Update>,
) -> Result<bool> {
    let Some(first) = outputs.first() else { return Ok(false) };
    let graph = first.tensor.graph();
    if let Some(other) = outputs.iter().find(|output| !graph.is_same(output.tensor.graph())) {
        let message = format!("output {:?} is of another graph than the first", other.tensor.shape());
        return Err(Error::Shape { operation: "lower", message });
    }
    graph.check()?;
    let mut lowering = Lowering::new(graph, policy, builder, prepare, outputs)?;
    if let Some(update) = update {
        lowering.fuse_update(outputs, update);
    }
    let fused = lowering.update.is_some();
    lowering.run(outputs)?;
    Ok(fused)
}

/// The state of one call of [`lower`].
struct Lowering<'a> {
    graph: &'a Graph,
    policy: &'a ConvolutionPolicy,
    builder: &'a mut ProgramBuilder,
    prepare: Option<&'a mut ProgramBuilder>,
    /// The nodes that `prepare` computes.
    prepared: Prepared,
    fusions: Fusions,
    halves: HalfPrecision,
    /// The groups whose dispatches are written.
    emitted: HashSet<GroupId>,
    /// The view of each node's value, once emitted.
    views: HashMap<NodeId, View>,
    /// The view of each node's sign mask, once emitted.
    masks: HashMap<NodeId, View>,
    /// The repacked copies of weight nodes, once emitted.
    packed: HashMap<(NodeId, Packing), View>,
    /// The statistics and sums that normalisations share, once emitted.
    statistics: Statistics,
    /// The views that nodes write directly.
    targets: HashMap<NodeId, View>,
    /// The update that is part of the last dispatch.
    update: Option<Fused>,
}

impl<'a> Lowering<'a> {
    fn new(
        graph: &'a Graph,
        policy: &'a ConvolutionPolicy,
        builder: &'a mut ProgramBuilder,
        mut prepare: Option<&'a mut ProgramBuilder>,
        outputs: &[Output<'_>],
    ) -> Result<Self> {
        let roots: Vec<NodeId> = outputs.iter().map(|output| output.tensor.id()).collect();
        let prepared = match prepare.as_deref_mut() {
            Some(prepare) => prepared::emit(graph, &roots, builder, prepare)?,
            None => Prepared::new(),
        };
        let fusions = Fusions::find(graph, &roots, &prepared, policy.is_unfused());
        let halves = match policy.storage() {
            Storage::F32 => HalfPrecision::default(),
            Storage::F16 => HalfPrecision::find(graph, &fusions, &roots),
        };
        let mut lowering = Self {
            graph,
            policy,
            builder,
            prepare,
            prepared,
            fusions,
            halves,
            emitted: HashSet::new(),
            views: HashMap::new(),
            masks: HashMap::new(),
            packed: HashMap::new(),
            statistics: Statistics::default(),
            targets: HashMap::new(),
            update: None,
        };
        for (&id, slot) in &lowering.prepared {
            let words = graph.node(id).shape.iter().product();
            lowering.views.insert(id, lowering.builder.external_named(slot, words));
        }
        lowering.choose_targets(outputs);
        Ok(lowering)
    }

    fn run(mut self, outputs: &[Output<'_>]) -> Result<()> {
        let last = self.update.as_ref().map(|update| update.gradient);
        for id in self.fusions.needed() {
            // Aliases, constants and broadcasts are made only when a kernel asks for them.
            let op = self.graph.node(id).op;
            let lazy = matches!(op, Op::Reshape | Op::Constant(_) | Op::Broadcast | Op::Leaf(_));
            if !lazy && last != Some(id) {
                self.compute(id)?;
            }
        }
        let mut copies = Vec::new();
        // The gradient of an update is the first output, and no copy of it is needed.
        for output in &outputs[usize::from(last.is_some())..] {
            let view = self.view(output.tensor.id())?;
            let words = output.tensor.elements();
            if view != output.view.part(0, words) {
                copies.push((view, output.view, words));
            }
        }
        // A value in a slot that outputs go to (a leaf, or a tensor that is asked for twice) is set aside first:
        // another output may overwrite it, and no kernel reads and writes one slot.
        let copy = |words| StridedCopy { shape: [1, 1, 1, words], strides: [0, 0, 0, 1], offset: 0 };
        for (from, _, words) in &mut copies {
            if outputs.iter().any(|output| output.view.slot == from.slot) {
                let aside = self.builder.transient("output set aside", *words);
                self.builder.dispatch("output set aside", copy(*words), &[*from, aside]);
                *from = aside;
            }
        }
        for (from, to, words) in copies {
            self.builder.dispatch("output", copy(words), &[from, to]);
        }
        // The update comes after all that reads what it moves.
        last.map_or(Ok(()), |gradient| self.compute(gradient))
    }

    /// Lets nodes write the outputs' views themselves where nothing can read them too early: the slot is not a leaf's,
    /// and neither the kernel nor any that reads its result binds it a second time. A concatenation is written part by
    /// part, but the first kernel that binds an output's buffer must write all of it: it is copied there.
    fn choose_targets(&mut self, outputs: &[Output<'_>]) {
        let mut read: HashSet<_> = HashSet::new();
        for id in self.fusions.needed() {
            if let Op::Leaf(leaf) = self.graph.node(id).op {
                read.insert(self.builder.external_named(&leaf.slot, leaf.words).slot);
            }
        }
        for output in outputs {
            let alone = outputs.iter().filter(|other| other.view.slot == output.view.slot).count() == 1;
            let mut id = output.tensor.id();
            let mut used = self.fusions.consumers(id) > 0;
            while matches!(self.graph.node(id).op, Op::Reshape) {
                id = self.graph.node(id).inputs[0];
                used |= self.fusions.consumers(id) > 1;
            }
            let made = !matches!(self.graph.node(id).op, Op::Leaf(_) | Op::Broadcast | Op::Concat(_))
                && !self.prepared.contains_key(&id);
            let beside = self.fusions.group_of(id).is_some_and(|group| self.fusions.writes_several(group));
            if made && !read.contains(&output.view.slot) && (alone || !(used || beside)) {
                let words = output.tensor.elements();
                self.targets.entry(id).or_insert(output.view.part(0, words));
            }
        }
    }

    fn node(&self, id: NodeId) -> Node {
        self.graph.node(id)
    }

    /// Writes the dispatches that compute a node, if they are not there yet.
    fn compute(&mut self, id: NodeId) -> Result<()> {
        match self.fusions.group_of(id) {
            Some(group) if self.emitted.insert(group) => self.emit_group(&self.fusions.group(group).clone()),
            None if !self.views.contains_key(&id) => self.emit(id),
            _ => Ok(()),
        }
    }

    /// The view of a node's value, which is computed now if it has not been.
    fn view(&mut self, id: NodeId) -> Result<View> {
        self.compute(id)?;
        Ok(self.views[&id])
    }

    /// A place for the value of node `id`: its target, or a fresh transient slot.
    fn place(&mut self, id: NodeId) -> View {
        let view = match self.targets.get(&id) {
            Some(&view) => view,
            None => {
                let node = self.node(id);
                let words = self.storage(id).words(node.shape.iter().product());
                self.builder.transient(label(&node, id), words)
            }
        };
        self.views.insert(id, view);
        view
    }

    /// The sign mask of node `id`: written by the convolution that made it, else packed from its value.
    fn mask(&mut self, id: NodeId) -> Result<View> {
        if self.fusions.writes_mask(id) {
            self.compute(id)?;
        } else if !self.masks.contains_key(&id) {
            self.emit_mask(id)?;
        }
        Ok(self.masks[&id])
    }
}

/// A name for a node in labels: its scope, or its operation and number.
fn label(node: &Node, id: NodeId) -> String {
    if node.scope.is_empty() { format!("{}#{id}", node.op.name()) } else { node.scope.clone() }
}
