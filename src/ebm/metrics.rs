//! The metrics of an iteration: losses, energies, accuracy, gradient norms.

use super::evaluator::null_is_nan;
use super::programs::{BatchLayout, BatchPart, held_gap};
use crate::compute::loss_term::{LossTerm, STATS};
use serde::{Deserialize, Serialize};

/// The metrics of one iteration, from before its optimizer step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The iteration, from 0 on.
    pub iteration: u64,
    /// The learning rate of the optimizer step.
    #[serde(deserialize_with = "null_is_nan")]
    pub learning_rate: f64,
    /// The total loss.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    /// Mean energy -LogSumExp f(x) of the images for log p(x), or of the labelled images without that term.
    #[serde(deserialize_with = "null_is_nan")]
    pub energy_data: f64,
    /// Mean energy of the samples; NaN without samples.
    #[serde(deserialize_with = "null_is_nan")]
    pub energy_samples: f64,
    /// Mean cross-entropy of the labelled images, in nats; NaN without them.
    #[serde(deserialize_with = "null_is_nan")]
    pub cross_entropy: f64,
    /// Accuracy on the labelled images; NaN without them.
    #[serde(deserialize_with = "null_is_nan")]
    pub accuracy: f64,
    /// The norm of the gradient of the loss with respect to all parameters.
    #[serde(deserialize_with = "null_is_nan")]
    pub gradient_norm: f64,
    /// The root mean square over the chains of the norm of the gradient of log p̃(x), in the last SGLD step.
    #[serde(deserialize_with = "null_is_nan")]
    pub input_gradient_norm: f64,
    /// The root mean square displacement of a sample's elements over the K steps of the iteration, for images in
    /// [-1, 1].
    #[serde(deserialize_with = "null_is_nan")]
    pub displacement: f64,
    /// The fraction of the samples' elements at or beyond the ends of [-1, 1].
    #[serde(deserialize_with = "null_is_nan")]
    pub saturated: f64,
    /// The mean number of SGLD steps since the chains of the replay buffer started; the trainer sets it.
    #[serde(deserialize_with = "null_is_nan")]
    pub chain_age: f64,
}

impl Metrics {
    /// Reads the metrics from the words that the programs write to [`super::programs::METRICS`]; `parts` are the loss
    /// terms of [`super::loss_terms`] that the iteration had, and `hold_gap` is the recipe's.
    pub fn new(
        iteration: u64,
        learning_rate: f64,
        words: &[f32],
        batch: BatchLayout,
        parts: &[(BatchPart, LossTerm)],
        hold_gap: f32,
    ) -> Self {
        let rows: Vec<[f64; STATS]> = words[..batch.rows() * STATS]
            .chunks(STATS)
            .map(|row| std::array::from_fn(|stat| f64::from(row[stat])))
            .collect();
        let has = |wanted: BatchPart| parts.iter().any(|(role, _)| *role == wanted);
        let early = batch.data > 0 && !has(BatchPart::Data);
        let rows_of = |role: BatchPart| &rows[if early { batch.early_rows() } else { batch.rows_of(role) }];
        let [data, samples, labelled] =
            [BatchPart::Data, BatchPart::Samples, BatchPart::Labelled].map(rows_of);
        let mean = |rows: &[[f64; STATS]], stat: usize| {
            rows.iter().map(|row| row[stat]).sum::<f64>() / rows.len() as f64
        };
        // Never written without a penalty, so 0.
        let mut loss = if has(BatchPart::Data) { f64::from(words[batch.penalty_word()]) } else { 0.0 };
        for (role, part) in parts {
            for &[lse, cross_entropy, _, squares, functional] in rows_of(*role) {
                // A term of weight 0 is left out: its statistic may be undefined or NaN.
                let term =
                    |weight: f32, value: f64| if weight == 0.0 { 0.0 } else { f64::from(weight) * value };
                loss += term(part.log_p_x, lse)
                    + term(part.cross_entropy, cross_entropy)
                    + term(part.logit_y, lse - cross_entropy)
                    + term(part.l2, squares)
                    + part.labelled.map_or(0.0, |labelled| term(labelled.weight, functional));
            }
        }
        if let Some((_, part)) = parts.iter().find(|(role, _)| *role == BatchPart::Samples)
            && hold_gap > 0.0
        {
            // The terms above contain -u, with u the gap; replace it with the held gap.
            let (gap, weight) =
                (mean(data, 0) - mean(samples, 0), f64::from(part.log_p_x) * part.count as f64);
            loss += weight * (held_gap(gap, f64::from(hold_gap)) + gap);
        }
        let norm = |word: usize, per: usize| (f64::from(words[word]) / per as f64).sqrt();
        let chains = if has(BatchPart::Samples) { batch.samples } else { 0 };
        let elements = chains * batch.image();
        let present = |value: f64| if chains > 0 { value } else { f64::NAN };
        Self {
            iteration,
            learning_rate,
            loss,
            energy_data: -mean(if has(BatchPart::Data) { data } else { labelled }, 0),
            energy_samples: present(-mean(samples, 0)),
            cross_entropy: mean(labelled, 1),
            accuracy: mean(labelled, 2),
            gradient_norm: norm(batch.gradient_norm_word(), 1),
            input_gradient_norm: present(norm(batch.input_norm_word(), chains)),
            displacement: present(norm(batch.displacement_word(), elements)),
            saturated: present(1.0 - f64::from(words[batch.inside_word()]) / elements as f64),
            chain_age: f64::NAN,
        }
    }

    /// The mean energy of samples minus that of data: 0 when the model cannot distinguish them.
    pub fn energy_gap(&self) -> f64 {
        self.energy_samples - self.energy_data
    }
}
