//! The dispatches of normalisations. Statistics and sums take two stages each, and all that read them share them.

use super::{Lowering, label};
use crate::compute::mask::mask_words;
use crate::compute::norm_geometry::NormGeometry;
use crate::device::View;
use crate::error::Result;
use crate::graph::{Node, NodeId, Normalisation, Op};
use crate::kernels::moments::Moments;
use crate::kernels::moments_combine::MomentsCombine;
use crate::kernels::normalise::Normalise;
use crate::kernels::normalise_gradient::NormaliseGradient;
use crate::kernels::normalise_sums::NormaliseSums;
use crate::kernels::normalise_sums_combine::NormaliseSumsCombine;
use std::collections::HashMap;

/// The statistics and sums that normalisations share, once emitted.
#[derive(Debug, Default)]
pub struct Statistics {
    /// The means and variances of a tensor.
    moments: HashMap<(NodeId, NormGeometry), [View; 2]>,
    /// Sums, products and each group's means. The key is gradient, tensor, statistics (which are those of one geometry)
    /// and weight, and the bits of epsilon.
    sums: HashMap<(Vec<NodeId>, u32), [View; 3]>,
}

impl Lowering<'_> {
    /// Puts the view of a statistic in the place of its node.
    pub(super) fn emit_statistic(&mut self, id: NodeId, node: &Node) -> Result<()> {
        let view = match node.op {
            Op::NormMean(geometry) => self.moments(node.inputs[0], geometry)?[0],
            Op::NormVariance(geometry) => self.moments(node.inputs[0], geometry)?[1],
            Op::NormSums(norm) => self.norm_sums(node, norm)?[0],
            Op::NormProducts(norm) => self.norm_sums(node, norm)?[1],
            _ => unreachable!("a statistic of a normalisation"),
        };
        self.views.insert(id, view);
        Ok(())
    }

    /// The means and variances of node `x`.
    fn moments(&mut self, x: NodeId, geometry: NormGeometry) -> Result<[View; 2]> {
        if let Some(&views) = self.statistics.moments.get(&(x, geometry)) {
            return Ok(views);
        }
        let name = format!("{} moments", label(&self.node(x), x));
        let source = self.view(x)?;
        let kernel = Moments { geometry, storage: self.storage(x) };
        let words = kernel.parts().partial_len(&geometry);
        let partial = self.builder.transient(format!("{name} in parts"), words);
        self.builder.dispatch(name.clone(), kernel, &[source, partial]);
        let views = [(); 2].map(|()| self.builder.transient(name.clone(), geometry.statistics_len()));
        let [mean, variance] = views;
        self.builder.dispatch(name, MomentsCombine { geometry }, &[partial, mean, variance]);
        self.statistics.moments.insert((x, geometry), views);
        Ok(views)
    }

    /// The sums, products and means over all rows for the inputs of `node`: gradient, `x`, mean, variance and weight.
    fn norm_sums(&mut self, node: &Node, norm: Normalisation) -> Result<[View; 3]> {
        let Normalisation { geometry, epsilon } = norm;
        let [gradient, x, ..] = node.inputs[..] else { unreachable!("five inputs") };
        let key = (node.inputs.clone(), epsilon.to_bits());
        if let Some(&views) = self.statistics.sums.get(&key) {
            return Ok(views);
        }
        let name = format!("{} sums", label(node, gradient));
        let mut views = self.inputs(node)?;
        let weight = views.pop().expect("the weight is the last input");
        let kernel = NormaliseSums { geometry, epsilon, storage: self.storage(x) };
        let words = kernel.parts().partial_len(&geometry);
        let partial = self.builder.transient(format!("{name} in parts"), words);
        views.push(partial);
        self.builder.dispatch(name.clone(), kernel, &views);
        let channels = geometry.outer * geometry.channels;
        let views = [channels, channels, 2 * geometry.statistics_len()]
            .map(|words| self.builder.transient(name.clone(), words));
        let [sums, products, means] = views;
        let kernel = NormaliseSumsCombine { geometry, factor: self.factor(gradient, None) };
        self.builder.dispatch(name, kernel, &[partial, weight, sums, products, means]);
        self.statistics.sums.insert(key, views);
        Ok(views)
    }

    /// A normalisation with the operations that [`super::fuse::Group::Norm`] fuses to it.
    pub(super) fn emit_norm(
        &mut self,
        id: NodeId,
        raw: bool,
        activated: Option<(NodeId, f32)>,
        mask: bool,
    ) -> Result<()> {
        let node = self.node(id);
        let Op::Normalise(Normalisation { geometry, epsilon }) = node.op else {
            unreachable!("a normalisation")
        };
        let name = label(&node, id);
        let mut views = self.inputs(&node)?;
        if raw {
            views.push(self.place(id));
        }
        if let Some((activated, _)) = activated {
            views.push(self.place(activated));
        }
        if mask {
            let words = mask_words(geometry.outer * geometry.rows, geometry.channels);
            let view = self.builder.transient(format!("{name} mask"), words);
            self.masks.insert(id, view);
            views.push(view);
        }
        let storage = self.storage(node.inputs[0]);
        let activated = activated.map(|(_, slope)| slope);
        self.builder.dispatch(name, Normalise { geometry, epsilon, raw, activated, mask, storage }, &views);
        Ok(())
    }

    /// The gradient `id` of a normalisation, with another one added, into the place of `value`.
    pub(super) fn emit_norm_gradient(
        &mut self,
        id: NodeId,
        residual: Option<NodeId>,
        value: NodeId,
    ) -> Result<()> {
        let node = self.node(id);
        let Op::NormaliseGradient(norm) = node.op else { unreachable!("a normalisation's gradient") };
        let Normalisation { geometry, epsilon } = norm;
        let [_, _, means] = self.norm_sums(&node, norm)?;
        let mut views = self.inputs(&node)?;
        views.push(means);
        if let Some(residual) = residual {
            views.push(self.view(residual)?);
        }
        views.push(self.place(value));
        let storage = self.storage(node.inputs[1]);
        let kernel = NormaliseGradient { geometry, epsilon, residual: residual.is_some(), storage };
        self.builder.dispatch(label(&node, id), kernel, &views);
        Ok(())
    }
}
