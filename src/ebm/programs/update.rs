//! The loss, its gradients and the optimizer.

use super::METRICS;
use super::layout::{BatchLayout, BatchPart};
use crate::compute::loss_term::{LabelledLoss, LossTerm, STATS};
use crate::device::{Program, ProgramBuilder, View};
use crate::ebm::Recipe;
use crate::ebm::langevin::{COUNTER_WORDS, Langevin};
use crate::error::Result;
use crate::graph::{Counters, Graph, Output, Tensor, lower};
use crate::nn::batch_norm::NormMode;
use crate::nn::network::{Network, Pass};
use crate::nn::optimizer::{self, GRADIENTS, gradient_norm};
use crate::nn::parameters::ParameterLayout;
use crate::policy::convolution::ConvolutionPolicy;

/// The terms of the loss. They are means over a part of the batch, so weights are divided by the number of its images.
///
/// `loss = p_x (mean f(samples) - mean f(data)) + p_y_given_x mean labelled_loss(labelled)
///       + p_xy (mean f(samples)[y] - mean f(labelled)[y]) + energy_l2 (mean f²(data) + mean f²(samples))
///       + gradient_penalty mean |∂f/∂x|²(data)`,
/// with `f(x) = LogSumExp_y f(x)[y]`, and f² averaged over classes. With `hold_gap`, [`held_gap`] replaces the first
/// difference. The labelled loss is the cross-entropy or a [`crate::compute::functional::Functional`]. The last term,
/// the gradient penalty, is not among the returned terms.
pub fn loss_terms(recipe: &Recipe, batch: BatchLayout, classes: usize) -> Vec<(BatchPart, LossTerm)> {
    let mean = |weight: f32, count: usize| weight / count as f32;
    let weight = mean(recipe.p_y_given_x, batch.labelled);
    let labelled = recipe.functional().map(|functional| LabelledLoss { weight, functional });
    let l2 = |count: usize| mean(recipe.energy_l2, count * classes);
    let data = LossTerm {
        count: batch.data,
        log_p_x: mean(-recipe.p_x, batch.data),
        l2: l2(batch.data),
        ..LossTerm::default()
    };
    let samples = LossTerm {
        count: batch.samples,
        log_p_x: mean(recipe.p_x, batch.samples),
        logit_y: mean(recipe.p_xy, batch.samples),
        l2: l2(batch.samples),
        ..LossTerm::default()
    };
    let labelled = LossTerm {
        count: batch.labelled,
        cross_entropy: if labelled.is_none() { weight } else { 0.0 },
        logit_y: mean(-recipe.p_xy, batch.labelled),
        labelled,
        ..LossTerm::default()
    };
    let all = [(BatchPart::Data, data), (BatchPart::Samples, samples), (BatchPart::Labelled, labelled)];
    all.into_iter().filter(|(_, part)| part.count > 0).collect()
}

/// Builds the programs that compute the gradients of the loss.
#[derive(Debug, Clone)]
pub(super) struct LossPrograms<'a> {
    pub recipe: &'a Recipe,
    pub network: &'a dyn Network,
    pub layout: &'a ParameterLayout,
    pub batch: BatchLayout,
    pub policy: &'a ConvolutionPolicy,
    /// Whether they train p(y|x) alone, before log p(x) joins.
    pub early: bool,
}

impl LossPrograms<'_> {
    /// The optimizer step, with the gradients at the weights, or at the weights that [`LossPrograms::perturb`]
    /// perturbed.
    pub fn update(&self, prepare: &mut ProgramBuilder) -> Result<Program> {
        let (recipe, words) = (self.recipe, self.layout.trained_words());
        let mut builder = ProgramBuilder::new("update");
        let perturbed = recipe.sam > 0.0;
        self.gradients(&mut builder, prepare, !perturbed)?;
        if perturbed {
            optimizer::unperturb(&mut builder, self.layout.words(), words);
        }
        let metrics = builder.external(METRICS, self.batch.metrics_words());
        let norm = metrics.part(self.batch.gradient_norm_word(), 1);
        gradient_norm(&mut builder, self.layout.words(), norm);
        let clip = (recipe.clip_norm > 0.0).then_some(recipe.clip_norm);
        recipe.optimizer().step(&mut builder, self.layout, clip, norm);
        if recipe.ema > 0.0 {
            optimizer::average(&mut builder, self.layout);
        }
        Ok(builder.finish())
    }

    /// The perturbation of sharpness-aware minimisation.
    pub fn perturb(&self, prepare: &mut ProgramBuilder) -> Result<Program> {
        let mut builder = ProgramBuilder::new("perturb");
        self.gradients(&mut builder, prepare, true)?;
        let Recipe { sam, sam_adaptive, .. } = *self.recipe;
        optimizer::perturb(&mut builder, self.layout.words(), self.layout.trained_words(), sam, sam_adaptive);
        Ok(builder.finish())
    }

    /// Computes all gradients of the loss, and, if `figures`, the metrics of it and batch norm's next statistics.
    fn gradients(
        &self,
        builder: &mut ProgramBuilder,
        prepare: &mut ProgramBuilder,
        figures: bool,
    ) -> Result<()> {
        let &Self { recipe, network, layout, batch, .. } = self;
        let graph = Graph::new();
        let metrics = builder.external(METRICS, batch.metrics_words());
        let flat = builder.external(GRADIENTS, layout.words());
        // Dropout depends on the iteration alone, so that a resumed run drops the same elements.
        let counters = graph.counters(COUNTER_WORDS.name());
        let mut losses = Vec::new();
        let mut outputs: Vec<(Tensor, View)> = Vec::new();
        let mut parts = loss_terms(recipe, batch, network.classes());
        parts.retain(|(part, _)| !self.early || *part == BatchPart::Labelled);
        let held = recipe.hold_gap > 0.0 && !self.early;
        let mut gaps = Vec::new();
        let rises = recipe.p_x_ramp > 0 && !self.early;
        let groups: Vec<&[(BatchPart, LossTerm)]> =
            if batch.separate { parts.chunks(1).collect() } else { vec![&parts[..]] };
        // Running statistics follow images from the distribution that the model is used on.
        let followed = if batch.labelled > 0 { BatchPart::Labelled } else { BatchPart::Data };
        let mut statistics = Vec::new();
        for group in groups {
            let (Some((first, _)), Some((last, _))) = (group.first(), group.last()) else { continue };
            let x = batch.leaf(&graph, batch.images_of(*first).start..batch.images_of(*last).end);
            let rows = match self.early {
                true => batch.early_rows(),
                false => batch.rows_of(*first).start..batch.rows_of(*last).end,
            };
            let labels = batch.labels(&graph, rows.clone());
            let mut pass = Pass::new(layout, NormMode::Training).with_dropout(&counters);
            let logits = network.logits(&x, &mut pass);
            let parts: Vec<LossTerm> = group.iter().map(|(_, part)| *part).collect();
            // The gap of energies has a term of its own.
            let mut terms = parts.clone();
            if held {
                let gap = |&LossTerm { count, log_p_x, .. }: &LossTerm| LossTerm {
                    count,
                    log_p_x: -log_p_x / recipe.p_x,
                    ..LossTerm::default()
                };
                gaps.push(logits.logit_loss(&labels, &parts.iter().map(gap).collect::<Vec<_>>()).sum_all());
                terms.iter_mut().for_each(|part| part.log_p_x = 0.0);
            }
            let loss = logits.logit_loss(&labels, &terms);
            losses.push(match rises && *first != BatchPart::Labelled {
                true => loss.mul(&batch.factors(&graph, rows.clone())),
                false => loss,
            });
            if figures {
                let view = metrics.part(rows.start * STATS, rows.len() * STATS);
                outputs.push((logits.logit_stats(&labels, &parts), view));
            }
            if figures && group.iter().any(|(part, _)| *part == followed) {
                statistics = pass.running_statistics(recipe.norm_momentum);
            }
        }
        if let Some(gap) = gaps.into_iter().reduce(|a, b| a.add(&b)) {
            let mut held = held_gap_of(&gap, recipe.hold_gap).scale(recipe.p_x);
            if rises {
                let first = batch.rows_of(BatchPart::Data).start;
                held = held.mul(&batch.factors(&graph, first..first + 1).reshape([]));
            }
            losses.push(held);
        }
        if recipe.gradient_penalty > 0.0 && !self.early {
            let mut penalty = self.penalty(&graph, &counters);
            if rises {
                let first = batch.rows_of(BatchPart::Data).start;
                penalty = penalty.mul(&batch.factors(&graph, first..first + 1).reshape([]));
            }
            if figures {
                outputs.push((penalty.sum_all(), metrics.part(batch.penalty_word(), 1)));
            }
            losses.push(penalty);
        }
        let leaves = layout.leaves(&graph);
        let gradients =
            graph.grad_of_all(&losses.iter().collect::<Vec<_>>(), &leaves.iter().collect::<Vec<_>>());
        for (parameter, tensor) in layout.trained().zip(gradients) {
            outputs.push((tensor, flat.part(parameter.offset, parameter.elements())));
        }
        let mut outputs: Vec<Output<'_>> =
            outputs.iter().map(|(tensor, view)| Output { tensor, view: *view }).collect();
        outputs.extend(layout.outputs(builder, &statistics));
        lower(self.policy, builder, Some(prepare), &outputs)
    }

    /// Each element's contribution to `gradient_penalty mean |∂ log p(x)/∂x|²` at the data: R1 of Mescheder et al.
    /// (ICML 2018), without the factor of one half.
    fn penalty(&self, graph: &Graph, counters: &Counters) -> Tensor {
        let &Self { recipe, network, layout, batch, .. } = self;
        let x = batch.leaf(graph, batch.images_of(BatchPart::Data));
        let labels = batch.labels(graph, batch.rows_of(BatchPart::Data));
        let mut pass = Pass::new(layout, NormMode::Training).with_dropout(counters);
        let logits = network.logits(&x, &mut pass);
        let log_density = logits.logit_loss(&labels, &[Langevin::log_density(batch.data, false)]);
        let [gradient] = graph.grad(&log_density, [&x]);
        gradient.mul(&gradient).scale(recipe.gradient_penalty / batch.data as f32)
    }
}

/// φ(u) of the loss `p_x φ(u)`, for the gap `u = mean f(data) - mean f(samples)` of a batch under `hold_gap = G`: -u
/// below 0, -u + u²/2G from 0 to G, and the constant -G/2 above. So log p(x) has the weight `p_x` up to a gap of 0, a
/// linearly falling weight up to G, and none above, until the chains have caught up.
pub fn held_gap(gap: f64, limit: f64) -> f64 {
    let within = gap.clamp(0.0, limit);
    within * within / (2.0 * limit) + (gap - limit).max(0.0) - gap
}

/// [`held_gap`] in a graph.
fn held_gap_of(gap: &Tensor, limit: f32) -> Tensor {
    let within = gap.clamp(0.0, limit);
    let above = gap.affine(1.0, -limit).relu();
    within.square().scale(0.5 / limit).add(&above).sub(gap)
}
