//! Every recipe of the family, as small runs.

use crate::small::recipe;
use jem::ebm::{Family, OptimizerKind, Precision, Preset, Recipe};
use jem::nn::ingredients::{Activation, Norm};

/// Every recipe of the family, and one with the features that none of them has.
pub fn family() -> Vec<(&'static str, Recipe)> {
    let small = |family: Family| {
        let Recipe { batch, steps, buffer, reinitialise, warmup, decay_at, pad, input_noise, .. } = recipe();
        let labels_per_class = if family == Family::SemiSupervised { 1 } else { 0 };
        let recipe = family.recipe(Preset::Tiny);
        // For the semi-supervised recipe one more than there are labels.
        let labelled_batch = match family {
            Family::SemiSupervised => 12,
            _ if recipe.labelled_batch > 0 => 2 * batch,
            _ => 0,
        };
        Recipe {
            batch,
            labelled_batch,
            labels_per_class,
            steps,
            buffer,
            reinitialise,
            warmup,
            decay_at,
            pad,
            input_noise,
            iterations: 40,
            ..recipe
        }
    };
    let mut all: Vec<_> = Family::ALL.map(|family| (family.name(), small(family))).to_vec();
    let everything = Recipe {
        norm: Norm::GROUP,
        activation: Activation::Softplus,
        spectral_norm: true,
        reservoir: true,
        inner_steps: 3,
        gradient_penalty: 0.01,
        optimizer: OptimizerKind::AdamW,
        weight_decay: 0.01,
        sam: 0.05,
        ema: 0.9,
        ..small(Family::Jem)
    };
    let halves = |recipe: &Recipe| Recipe { precision: Precision::F16, ..recipe.clone() };
    all.push(("everything else in f16", halves(&everything)));
    all.push(("everything else", everything));
    all.push(("jem++ in f16", halves(&small(Family::JemPlusPlus))));
    all
}
