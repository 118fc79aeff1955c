//! Robustness: accuracy under adversarial attacks.

mod figures;
mod measure;

pub(in crate::evaluation) use figures::write;
pub(in crate::evaluation) use measure::jobs;

use crate::evaluation::attacks::{Attack, Norm, Threat};

/// An attack to make on the first images of the test set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attempt {
    /// The attack.
    pub attack: Attack,
    /// The norm and the radius.
    pub threat: Threat,
    /// The number of images.
    pub images: usize,
    /// Whether the model refines images by SGLD before it classifies them; only models with SGLD settings do.
    pub refined: bool,
}

/// The refinement of images by SGLD, with the settings of the model's training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefinementSettings {
    /// SGLD steps.
    pub steps: usize,
    /// Chains for each image.
    pub chains: usize,
    /// Independent refinements for each gradient.
    pub draws: usize,
}

/// The attacks of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Attacks {
    /// The attacks, in the order of the report.
    pub attempts: Vec<Attempt>,
    /// The refinement of those that are refined.
    pub refinement: RefinementSettings,
    /// The radius and the number of images of the sanity checks; `None`: no checks.
    pub checks: Option<(Threat, usize)>,
    /// Whether to make distal adversarials.
    pub distal: bool,
}

impl Attacks {
    /// The attacks of a report, on at most `most` images: APGD-CE of 20 steps at several radii on up to 500, AutoAttack at
    /// the radii of RobustBench, 8/255 (L-infinity) and 0.5 (L2), on up to 100, APGD-CE through refinement on up to 20,
    /// and sanity checks on up to 50.
    pub fn standard(most: usize) -> Self {
        let attempt = |attack, norm, epsilon, images: usize, refined| Attempt {
            attack,
            threat: Threat::new(norm, epsilon).expect("a radius"),
            images: images.min(most),
            refined,
        };
        let apgd = Attack::ApgdCe { steps: 20 };
        let radii = [1.0, 2.0, 4.0, 8.0].map(|bytes| (Norm::LInf, bytes / 255.0)).into_iter();
        let radii = radii.chain([0.25, 0.5, 1.0].map(|epsilon| (Norm::L2, epsilon)));
        let mut attempts: Vec<Attempt> =
            radii.map(|(norm, epsilon)| attempt(apgd, norm, epsilon, 500, false)).collect();
        for (norm, epsilon) in [(Norm::LInf, 8.0 / 255.0), (Norm::L2, 0.5)] {
            attempts.push(attempt(Attack::AutoAttack, norm, epsilon, 100, false));
        }
        attempts.push(attempt(apgd, Norm::L2, 0.5, 20, true));
        Self {
            attempts,
            refinement: RefinementSettings { steps: 10, chains: 5, draws: 1 },
            checks: Some((Threat::new(Norm::LInf, 1.0 / 255.0).expect("a radius"), 50.min(most))),
            distal: true,
        }
    }
}

impl Attempt {
    fn name(&self) -> String {
        let Self { attack, threat, refined, .. } = self;
        let steps = attack.steps().map(|steps| format!("-{steps}")).unwrap_or_default();
        let refined = if *refined { "-refined" } else { "" };
        format!("{attack}{steps}{refined}-{}-{}", threat.norm(), radius(*threat))
    }

    /// The name in tables.
    fn title(&self) -> String {
        let Self { attack, threat, images, refined } = self;
        let steps = attack.steps().map(|steps| format!("-{steps}")).unwrap_or_default();
        let refined = if *refined { ", through refinement" } else { "" };
        format!(
            "{}{steps}{refined}, {} {}, n = {images}",
            public(*attack),
            symbol(threat.norm()),
            radius(*threat)
        )
    }
}

/// The name of an attack as its authors write it.
fn public(attack: Attack) -> &'static str {
    match attack {
        Attack::Noise => "random noise",
        Attack::Pgd { .. } => "PGD",
        Attack::ApgdCe { .. } => "APGD-CE",
        Attack::ApgdDlr { .. } => "APGD-DLR",
        Attack::ApgdT { .. } => "APGD-T",
        Attack::FabT { .. } => "FAB-T",
        Attack::Square { .. } => "Square",
        Attack::AutoAttack => "AutoAttack",
    }
}

fn symbol(norm: Norm) -> &'static str {
    match norm {
        Norm::LInf => "L∞",
        Norm::L2 => "L2",
    }
}

/// A radius as people write it: `8/255`, `0.5`.
fn radius(threat: Threat) -> String {
    let bytes = threat.epsilon() * 255.0;
    match threat.norm() {
        Norm::LInf if (bytes - bytes.round()).abs() < 1e-9 => format!("{}/255", bytes.round()),
        _ => threat.epsilon().to_string(),
    }
}
