//! Distal adversarials: images without content that a classifier is confident about (Grathwohl et al. 2019, section 5.3).

use super::Progress;
use super::losses::Loss;
use super::pgd::ascend;
use super::run::{Images, Query, Run};
use super::start::{Stream, random};
use super::threat::{HIGH, LOW, Norm, Threat};
use super::victim::Victim;
use crate::ebm::Posterior;
use crate::error::{Error, Result};
use crate::named::named;

/// The starting image of an ascent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DistalStart {
    /// Uniform noise, other noise for each image.
    Noise,
    /// All pixels 0.
    Black,
    /// All pixels 1/2.
    Grey,
}

named!(DistalStart, "distal-start": Noise = "noise", Black = "black", Grey = "grey");

/// The settings of an ascent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DistalSettings {
    /// The starting image.
    pub start: DistalStart,
    /// The probability p(y|x) at which the ascent ends.
    pub confidence: f64,
    /// The L2 length of a step, in units of [0, 1] pixels.
    pub step: f64,
    /// The most steps.
    pub steps: usize,
}

impl Default for DistalSettings {
    /// From noise to 90%, in steps of 0.1.
    fn default() -> Self {
        Self { start: DistalStart::Noise, confidence: 0.9, step: 0.1, steps: 1000 }
    }
}

/// One image of a class.
#[derive(Debug, Clone, PartialEq)]
pub struct Distal {
    /// The class that the ascent aims at.
    pub class: usize,
    /// The steps that the confidence took; `None` if it was not reached.
    pub steps: Option<usize>,
    /// p(y|x) of the class at the last image.
    pub confidence: f64,
    /// The last image, NHWC in [-1, 1].
    pub image: Vec<f32>,
}

/// Ascends log p(y|x) by normalised gradient steps, once for each class, until the victim is confident. Returns `None` if
/// `progress` returns false.
///
/// # Errors
/// [`Error::Setting`] for a confidence outside (0, 1) or a step that is not above 0, for fewer than 2 classes, and for
/// logits or gradients that are not finite; an error of the device.
pub fn distal(
    victim: &mut dyn Victim,
    settings: DistalSettings,
    seed: u64,
    progress: Progress<'_>,
) -> Result<Option<Vec<Distal>>> {
    let DistalSettings { start, confidence, step, steps } = settings;
    if !(confidence > 0.0 && confidence < 1.0) {
        return Err(Error::setting(
            "confidence",
            format!("expected a number between 0 and 1, got {confidence}"),
        ));
    }
    let threat = Threat::new(Norm::L2, step)
        .map_err(|_| Error::setting("step", format!("expected a finite number above 0, got {step}")))?;
    Loss::CrossEntropy.check(victim.classes())?;
    let (classes, elements) = (victim.classes(), victim.image().iter().product());
    let image = |class: usize| match start {
        DistalStart::Black => vec![LOW; elements],
        DistalStart::Grey => vec![0.5 * (LOW + HIGH); elements],
        DistalStart::Noise => {
            let mut random = random(seed, Stream::Distal, 0, class);
            (0..elements).map(|_| random.uniform(LOW, HIGH)).collect()
        }
    };
    let starts: Vec<f32> = (0..classes).flat_map(image).collect();
    let labels: Vec<u32> = (0..classes as u32).collect();
    let images = Images { pixels: &starts, labels: &labels };
    let Some(mut run) = Run::begin(victim, images, threat, seed, progress)? else { return Ok(None) };
    let one =
        |class: usize| Distal { class, steps: None, confidence: 0.0, image: images.image(class).to_vec() };
    let mut all: Vec<Distal> = (0..classes).map(one).collect();
    for number in 0..=steps {
        let open: Vec<usize> = (0..classes).filter(|&class| all[class].steps.is_none()).collect();
        if open.is_empty() {
            break;
        }
        let queries: Vec<Query<'_>> =
            open.iter().map(|&index| Query { index, image: &all[index].image, target: 0 }).collect();
        let mut part = |part: f64| progress((number as f64 + part) / (steps + 1) as f64);
        let Some(answers) = run.gradients(Loss::CrossEntropy, &queries, &mut part)? else { return Ok(None) };
        for (&class, answer) in open.iter().zip(answers) {
            let distal = &mut all[class];
            distal.confidence = Posterior::new(&answer.logits, 1.0).probabilities[class];
            if distal.confidence >= confidence {
                distal.steps = Some(number);
            } else if number < steps {
                // Down the cross-entropy.
                ascend(Norm::L2, &mut distal.image, &answer.gradient, -threat.radius() as f32);
                distal.image.iter_mut().for_each(|x| *x = x.clamp(LOW, HIGH));
            }
        }
    }
    Ok(Some(all))
}

#[cfg(test)]
mod tests {
    use super::super::small_network;
    use super::*;

    #[test]
    fn ascents_end_at_the_confidence() {
        let mut victim = small_network::victim(3, 5, 2);
        for start in DistalStart::ALL {
            let settings = DistalSettings { start, steps: 300, ..DistalSettings::default() };
            let found = distal(&mut victim, settings, 1, &mut |_| true).unwrap().unwrap();
            assert_eq!(found.len(), 5);
            for Distal { class, steps, confidence, image } in &found {
                let logits = victim.logits(image).unwrap();
                let posterior = Posterior::new(&logits, 1.0);
                assert!((posterior.probabilities[*class] - confidence).abs() < 1e-6, "{start} {class}");
                assert_eq!(steps.is_some(), *confidence >= 0.9, "{start} {class}: {steps:?} {confidence}");
            }
            assert!(found.iter().all(|one| one.steps.is_some()), "{start}");
        }
        let short = DistalSettings { steps: 0, ..DistalSettings::default() };
        assert!(
            distal(&mut victim, short, 1, &mut |_| true)
                .unwrap()
                .unwrap()
                .iter()
                .any(|one| one.steps.is_none())
        );
        assert_eq!(distal(&mut victim, short, 1, &mut |_| false).unwrap(), None);
        for wrong in [DistalSettings { confidence: 1.0, ..short }, DistalSettings { step: f64::NAN, ..short }]
        {
            assert!(distal(&mut victim, wrong, 1, &mut |_| true).is_err());
        }
    }
}
