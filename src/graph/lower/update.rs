//! The SGLD update that follows a gradient.

use super::fuse::Group;
use super::{Lowering, Output, lower_checked};
use crate::device::{ProgramBuilder, View};
use crate::error::Result;
use crate::graph::{NodeId, Op};
use crate::kernels::sgld::Sgld;
use crate::policy::convolution::ConvolutionPolicy;

/// A step of SGLD.
#[derive(Debug, Clone, Copy)]
pub struct Update {
    /// The step; of as many elements as the gradient has.
    pub kernel: Sgld,
    /// The view that moves: the leaf at which the gradient is taken.
    pub x: View,
    /// The random-number counters.
    pub counters: View,
    /// The elements that move, if not all of them ([`Sgld::masked`]).
    pub moving: Option<View>,
}

impl Update {
    /// The views that it binds after the gradient.
    fn views(&self) -> Vec<View> {
        [self.x, self.counters].into_iter().chain(self.moving).collect()
    }
}

/// An update that an input gradient's kernel does too.
#[derive(Debug, Clone)]
pub struct Fused {
    /// The node of the gradient.
    pub gradient: NodeId,
    pub kernel: Sgld,
    pub views: Vec<View>,
}

/// [`super::lower`], then one step of SGLD along `gradient`. `others` are computed at `x` as it was.
///
/// # Errors
/// The errors of [`super::lower`].
pub fn lower_with_update(
    policy: &ConvolutionPolicy,
    builder: &mut ProgramBuilder,
    prepare: &mut ProgramBuilder,
    gradient: Output<'_>,
    others: &[Output<'_>],
    update: &Update,
) -> Result<()> {
    let outputs: Vec<_> = std::iter::once(gradient).chain(others.iter().copied()).collect();
    if !lower_checked(policy, builder, Some(prepare), &outputs, Some(update))? {
        let mut views = update.views();
        views.insert(1, gradient.view);
        builder.dispatch("sgld", update.kernel, &views);
    }
    Ok(())
}

impl Lowering<'_> {
    /// Has the kernel that makes the first output do the update too, if it is an input gradient's and only that
    /// output's.
    pub(super) fn fuse_update(&mut self, outputs: &[Output<'_>], update: &Update) {
        let gradient = self.source(outputs[0].tensor.id());
        let group = self.fusions.group_of(gradient).map(|group| self.fusions.group(group));
        let made = matches!(group, Some(&Group::InputGradient { value, .. }) if value == gradient);
        let others = outputs[1..].iter().any(|output| self.source(output.tensor.id()) == gradient);
        let written = self.targets.get(&gradient).is_some_and(|&view| view == outputs[0].view);
        if made && written && !others && self.fusions.consumers(gradient) == 0 && !self.policy.is_unfused() {
            self.update = Some(Fused { gradient, kernel: update.kernel, views: update.views() });
        }
    }

    /// The node of which `id` is a reshape, or a reshape of a reshape; else `id` itself.
    fn source(&self, mut id: NodeId) -> NodeId {
        while let Op::Reshape = self.graph.node(id).op {
            id = self.graph.node(id).inputs[0];
        }
        id
    }
}
