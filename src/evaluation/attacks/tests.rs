//! The attacks together: against closed forms, and against the faults that others have shipped.

use super::small_network::{self, SIDE, linear, right_images};
use super::*;
use crate::compute::splitmix::SplitMix;
use crate::error::Result;

/// All attacks with few steps; those that need more classes than there are excepted.
fn all(classes: usize) -> Vec<Attack> {
    let attacks = [
        Attack::Noise,
        Attack::Pgd { steps: 10, random_start: true },
        Attack::Pgd { steps: 10, random_start: false },
        Attack::ApgdCe { steps: 20 },
        Attack::ApgdDlr { steps: 20 },
        Attack::ApgdT { steps: 20, targets: 9 },
        Attack::FabT { steps: 20, targets: 9 },
        Attack::Square { queries: 200 },
    ];
    attacks.into_iter().filter(|attack| attack.check(classes).is_ok()).collect()
}

fn run(attack: Attack, victim: &mut dyn Victim, images: Images<'_>, threat: Threat) -> Attacked {
    attack.run(victim, images, threat, 0, &mut |_| true).unwrap().expect("nothing stops it")
}

/// A linear classifier, images that it classifies right, and the distance of each to the boundary in units of [0, 1].
struct Solvable {
    victim: Classifier,
    pixels: Vec<f32>,
    labels: Vec<u32>,
    distances: Vec<f64>,
}

impl Solvable {
    /// `z = W x + b`: the change to class t is `(z_y - z_t) / ||w_y - w_t||` in the dual norm. Pixels are near 0 and margins
    /// small, so that the range does not matter.
    fn new(norm: Norm, classes: usize) -> Self {
        let (n, size) = (60, SIDE * SIDE);
        let mut random = SplitMix::new(4, classes as u64);
        let weights: Vec<f32> = (0..classes * size).map(|_| random.uniform(-1.0, 1.0)).collect();
        let bias: Vec<f32> = (0..classes).map(|_| random.uniform(-0.2, 0.2)).collect();
        let pixels: Vec<f32> = (0..n * size).map(|_| random.uniform(-0.2, 0.2)).collect();
        let (mut labels, mut distances) = (Vec::new(), Vec::new());
        for image in pixels.chunks(size) {
            let logit = |class: usize| {
                let products =
                    weights[class * size..].iter().zip(image).map(|(&w, &x)| f64::from(w) * f64::from(x));
                products.sum::<f64>() + f64::from(bias[class])
            };
            let label = (0..classes).max_by(|&a, &b| logit(a).total_cmp(&logit(b))).unwrap();
            let distance = |class: usize| {
                let rows = weights[label * size..].iter().zip(&weights[class * size..]).take(size);
                let differences = rows.map(|(&a, &b)| f64::from(a) - f64::from(b));
                let dual = match norm {
                    Norm::LInf => differences.map(f64::abs).sum::<f64>(),
                    Norm::L2 => differences.map(|d| d * d).sum::<f64>().sqrt(),
                };
                // Half, from the range [-1, 1].
                (logit(label) - logit(class)) / dual / 2.0
            };
            let others = (0..classes).filter(|&class| class != label);
            distances.push(others.map(distance).fold(f64::INFINITY, f64::min));
            labels.push(label as u32);
        }
        Self { victim: linear(&weights, &bias, SIDE, 16), pixels, labels, distances }
    }
}

/// The middle of some numbers.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[test]
fn fab_finds_the_least_perturbation_of_a_linear_classifier() {
    for norm in Norm::ALL {
        for classes in [2, 5] {
            let mut solvable = Solvable::new(norm, classes);
            let images = Images { pixels: &solvable.pixels, labels: &solvable.labels };
            let found = minimal_perturbations(&mut solvable.victim, images, norm, 40, 9, &mut |_| true);
            for (found, exact) in found.unwrap().unwrap().iter().zip(&solvable.distances) {
                assert!(*found >= exact * (1.0 - 1e-4) && *found <= 1.01 * exact, "{norm}: {found} {exact}");
            }
        }
    }
}

#[test]
fn attacks_break_what_is_within_the_radius_of_a_linear_classifier_and_nothing_else() {
    for norm in Norm::ALL {
        for classes in [2, 5] {
            let mut solvable = Solvable::new(norm, classes);
            let epsilon = median(&solvable.distances);
            let threat = Threat::new(norm, epsilon).unwrap();
            let distances = solvable.distances.clone();
            let (pixels, labels) = (solvable.pixels.clone(), solvable.labels.clone());
            let images = Images { pixels: &pixels, labels: &labels };
            for attack in all(classes) {
                let found = run(attack, &mut solvable.victim, images, threat);
                assert!(found.correct.iter().all(|correct| *correct));
                let robust = found.robust();
                for (robust, distance) in robust.iter().zip(&distances) {
                    assert!(*robust || *distance <= epsilon * 1.0001, "{attack} {norm}: {distance}");
                }
                // With two classes every gradient leads there; else those with targets, one of which is the nearest.
                let gradient = matches!(attack, Attack::Pgd { .. } | Attack::ApgdCe { .. });
                let exact = matches!(attack, Attack::ApgdT { .. } | Attack::FabT { .. });
                if exact || gradient && classes == 2 {
                    let missed =
                        robust.iter().zip(&distances).filter(|(r, d)| **r && **d < 0.98 * epsilon).count();
                    assert_eq!(missed, 0, "{attack} {norm} {classes}");
                }
            }
        }
    }
}

#[test]
fn attacks_are_ordered_on_a_network_and_keep_their_threat() {
    let (pixels, labels) = right_images(50, 7, 5);
    let images = Images { pixels: &pixels, labels: &labels };
    for (norm, epsilon) in [(Norm::LInf, 0.04), (Norm::L2, 0.15)] {
        let threat = Threat::new(norm, epsilon).unwrap();
        let mut accuracies = std::collections::BTreeMap::new();
        for attack in all(5) {
            let mut victim = small_network::victim(7, 5, 16);
            let found = run(attack, &mut victim, images, threat);
            let size = SIDE * SIDE;
            for (index, by) in found.broken_by.iter().enumerate() {
                let [clean, x] = [&pixels, &found.images].map(|images| &images[index * size..][..size]);
                match by {
                    None => assert_eq!(clean, x),
                    Some(name) => {
                        assert_eq!(*name, attack.name());
                        assert!(norm.distance(clean, x) <= epsilon && x.iter().all(|x| x.abs() <= 1.0));
                        assert_ne!(losses::prediction(&victim.logits(x).unwrap()) as u32, labels[index]);
                    }
                }
            }
            // A batch of another size gives the same.
            let other = run(attack, &mut small_network::victim(7, 5, 7), images, threat);
            assert_eq!(other.robust(), found.robust(), "{attack}");
            accuracies.insert(attack.name(), found.robust_accuracy());
        }
        let at = |name: &str| accuracies[name];
        assert!(at("noise") > 0.8 && at("apgd-ce") < 0.6, "{accuracies:?}");
        for gradient in ["apgd-ce", "apgd-dlr", "apgd-t", "fab-t"] {
            assert!(at(gradient) <= at("square"), "{gradient} {accuracies:?}");
            assert!(at(gradient) <= at("pgd"), "{gradient} {accuracies:?}");
        }
        assert!(at("square") < at("noise"), "{accuracies:?}");
    }
}

#[test]
fn autoattack_is_its_four_parts_on_what_each_leaves() {
    let (pixels, labels) = right_images(30, 7, 5);
    let images = Images { pixels: &pixels, labels: &labels };
    let threat = Threat::new(Norm::LInf, 0.02).unwrap();
    let mut victim = small_network::victim(7, 5, 16);
    let found = run(Attack::AutoAttack, &mut victim, images, threat);
    let apgd = run(Attack::ApgdCe { steps: 100 }, &mut victim, images, threat);
    for (auto, alone) in found.broken_by.iter().zip(&apgd.broken_by) {
        assert_eq!(*auto == Some("apgd-ce"), alone.is_some());
        assert!(auto.is_none_or(|name| ["apgd-ce", "apgd-t", "fab-t", "square"].contains(&name)));
    }
    // A robust image has seen all: a clean score, 101 gradients, 101 for each of 4 targets, 200 for each, 5,000 queries.
    let robust = found.robust().iter().position(|robust| *robust).expect("a robust image");
    assert_eq!(found.queries[robust], 1 + 101 + 4 * 101 + 4 * 200 + 5000);
    assert!(found.robust_accuracy() > 0.0 && found.robust_accuracy() <= apgd.robust_accuracy());
}

#[test]
fn images_that_are_wrong_already_are_not_attacked() {
    let (pixels, mut labels) = right_images(20, 7, 5);
    for label in labels.iter_mut().take(10) {
        *label = (*label + 1) % 5;
    }
    let images = Images { pixels: &pixels, labels: &labels };
    for attack in all(5) {
        let threat = Threat::new(Norm::LInf, 1.0).unwrap();
        let found = run(attack, &mut small_network::victim(7, 5, 100), images, threat);
        assert!(found.correct[..10].iter().all(|correct| !correct) && found.correct[10..].iter().all(|c| *c));
        assert!(found.broken_by[..10].iter().all(Option::is_none));
        assert!(found.queries[..10].iter().all(|queries| *queries == 1));
        assert_eq!(found.images[..10 * SIDE * SIDE], pixels[..10 * SIDE * SIDE]);
        assert!(found.robust_accuracy() <= 0.5);
        let robust = found.robust().iter().filter(|robust| **robust).count();
        assert_eq!(found.robust_accuracy(), robust as f64 / 20.0);
    }
}

#[test]
fn a_hundred_classes_and_equal_scores_are_attacked() {
    let (pixels, labels) = right_images(6, 2, 100);
    let images = Images { pixels: &pixels, labels: &labels };
    let threat = Threat::new(Norm::L2, 0.1).unwrap();
    for attack in all(100) {
        run(attack, &mut small_network::victim(2, 100, 4), images, threat);
    }
    // Every class has the score 0, so that the first wins whatever the image.
    let mut equal = linear(&[0.0; 4 * SIDE * SIDE], &[0.0; 4], SIDE, 8);
    let images = Images { pixels: &pixels, labels: &[0, 0, 0, 1, 2, 3] };
    for attack in all(4).into_iter().chain([Attack::AutoAttack]) {
        let found = run(attack, &mut equal, images, threat);
        assert_eq!(found.robust(), [true, true, true, false, false, false], "{attack}");
    }
}

/// A victim that is not a number at bright images.
struct Nan(Classifier);

impl Victim for Nan {
    fn image(&self) -> [usize; 3] {
        self.0.image()
    }

    fn classes(&self) -> usize {
        self.0.classes()
    }

    fn batch(&self) -> usize {
        self.0.batch()
    }

    fn logits(&mut self, images: &[f32]) -> Result<Vec<f32>> {
        let mut logits = self.0.logits(images)?;
        for (row, image) in images.chunks(SIDE * SIDE).enumerate() {
            if image[0] > 0.95 {
                logits[row * 5 + 2] = f32::NAN;
            }
        }
        Ok(logits)
    }

    fn gradient(&mut self, loss: Loss, images: &[f32], labels: &[u32], targets: &[u32]) -> Result<Answer> {
        let mut answer = self.0.gradient(loss, images, labels, targets)?;
        answer.logits = self.logits(images)?;
        Ok(answer)
    }
}

#[test]
fn logits_that_are_not_numbers_are_an_error() {
    let mut pixels = small_network::images(9, 7);
    pixels.iter_mut().step_by(SIDE * SIDE).for_each(|pixel| *pixel = 0.9);
    let labels = vec![0; 9];
    pixels[7 * SIDE * SIDE] = 0.97;
    let images = Images { pixels: &pixels, labels: &labels };
    let threat = Threat::new(Norm::LInf, 0.01).unwrap();
    let mut victim = Nan(small_network::victim(7, 5, 4));
    for attack in all(5) {
        let error = attack.run(&mut victim, images, threat, 0, &mut |_| true).unwrap_err().to_string();
        assert_eq!(error, "model: image 7 has logits with NaN; expected finite numbers");
    }
    // Only perturbed images are bright here.
    pixels[7 * SIDE * SIDE] = 0.9;
    let logits = small_network::victim(7, 5, 9).logits(&pixels).unwrap();
    let labels: Vec<u32> = logits.chunks(5).map(|row| losses::prediction(row) as u32).collect();
    let images = Images { pixels: &pixels, labels: &labels };
    let wide = Threat::new(Norm::LInf, 0.5).unwrap();
    let error = Attack::Noise.run(&mut victim, images, wide, 0, &mut |_| true).unwrap_err().to_string();
    assert!(error.ends_with("has logits with NaN; expected finite numbers"), "{error}");
}

#[test]
fn wrong_images_settings_and_models_are_refused_in_a_line() {
    let (pixels, labels) = right_images(3, 7, 5);
    let threat = Threat::new(Norm::LInf, 0.01).unwrap();
    let refused = |pixels: &[f32], labels: &[u32], attack: Attack, classes: usize| {
        let images = Images { pixels, labels };
        let error = attack.run(&mut small_network::victim(7, classes, 4), images, threat, 0, &mut |_| true);
        error.unwrap_err().to_string()
    };
    let pgd = Attack::Pgd { steps: 1, random_start: false };
    assert_eq!(refused(&[], &[], pgd, 5), "images: expected at least one image, got none");
    assert_eq!(
        refused(&pixels[1..], &labels, pgd, 5),
        "images: expected 108 numbers for 3 images of 6x6x1, got 107"
    );
    assert_eq!(refused(&pixels, &[0, 9, 0], pgd, 5), "images: image 1 has label 9, and the model 5 classes");
    let mut bright = pixels.clone();
    bright[40] = 1.5;
    assert_eq!(refused(&bright, &labels, pgd, 5), "images: expected pixels in [-1, 1], got 1.5 in image 1");
    let none = Attack::ApgdCe { steps: 0 };
    assert_eq!(refused(&pixels, &labels, none, 5), "steps: must be at least 1, got 0");
    for (attack, classes) in [(Attack::AutoAttack, 3), (Attack::ApgdDlr { steps: 1 }, 2), (pgd, 1)] {
        let error = refused(&pixels, &[0, 0, 0], attack, classes);
        assert!(error.starts_with("attack: ") && error.contains("the model has"), "{error}");
    }
    assert!("autoattack".parse::<Attack>().is_ok() && "auto".parse::<Attack>().is_err());
    assert!(Attack::AutoAttack.with_steps(10).is_err());
    for attack in Attack::PUBLISHED {
        assert_eq!(attack.name().parse::<Attack>().unwrap(), attack);
        if attack.steps().is_some() {
            assert_eq!(attack.with_steps(7).unwrap().steps(), Some(7));
        }
    }
}

#[test]
fn progress_rises_and_stops_an_attack() {
    let (pixels, labels) = right_images(40, 7, 5);
    let images = Images { pixels: &pixels, labels: &labels };
    let threat = Threat::new(Norm::LInf, 0.02).unwrap();
    for attack in all(5).into_iter().chain([Attack::AutoAttack]) {
        let mut reports = Vec::new();
        let mut victim = small_network::victim(7, 5, 4);
        attack
            .run(&mut victim, images, threat, 0, &mut |part| {
                reports.push(part);
                true
            })
            .unwrap()
            .unwrap();
        assert!(reports.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9), "{attack}: {reports:?}");
        assert!(reports[0] >= 0.0 && reports[reports.len() - 1] <= 1.0 + 1e-9, "{attack}");
        for stop in [0, reports.len() / 2] {
            let mut left = stop;
            let stopped = attack.run(&mut victim, images, threat, 0, &mut |_| {
                left = left.wrapping_sub(1);
                left != usize::MAX
            });
            assert_eq!(stopped.unwrap(), None, "{attack} {stop}");
        }
    }
}
