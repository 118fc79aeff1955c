//! Attacks by name, and AutoAttack.

use super::Progress;
use super::losses::Loss;
use super::run::{Attacked, Images, Run};
use super::square::Schedule;
use super::threat::Threat;
use super::victim::Victim;
use super::{apgd, fab, noise, pgd, square};
use crate::error::{Error, Result};
use crate::named::unknown;
use std::str::FromStr;

/// The most batches of images that an attack holds in memory, so that batches stay full as images are broken.
pub(super) const GROUP: usize = 8;
/// The wrong classes that targeted attacks of AutoAttack aim at, the likeliest first.
const TARGETS: usize = 9;
/// The queries of AutoAttack's Square attack.
const QUERIES: usize = 5000;
/// The steps of AutoAttack's other attacks.
const STEPS: usize = 100;

/// An attack with its settings. Its name ([`Attack::name`]) stands for the published ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// One random perturbation of the largest allowed size.
    Noise,
    /// Projected gradient descent on the cross-entropy, with steps of 2.5 ε / `steps` (Madry et al. 2018).
    Pgd {
        /// Gradient steps.
        steps: usize,
        /// Whether to start at a random point of the ball rather than at the clean image.
        random_start: bool,
    },
    /// Auto-PGD on the cross-entropy (Croce & Hein 2020).
    ApgdCe {
        /// Gradient steps.
        steps: usize,
    },
    /// Auto-PGD on the difference of logits ratio.
    ApgdDlr {
        /// Gradient steps.
        steps: usize,
    },
    /// Auto-PGD on the targeted difference of logits ratio, for each target.
    ApgdT {
        /// Gradient steps for each target.
        steps: usize,
        /// The number of wrong classes to aim at, the likeliest first; at most all.
        targets: usize,
    },
    /// The targeted fast adaptive boundary attack (Croce & Hein 2020b).
    FabT {
        /// Steps for each target.
        steps: usize,
        /// The number of wrong classes to aim at, the likeliest first; at most all.
        targets: usize,
    },
    /// The Square attack (Andriushchenko et al. 2020).
    Square {
        /// Forward passes.
        queries: usize,
    },
    /// AutoAttack, standard version (Croce & Hein 2020): APGD-CE and APGD-T of 100 steps, FAB-T of 100 steps, and Square
    /// of 5,000 queries, with 9 targets; each attacks the images that those before left.
    AutoAttack,
}

impl Attack {
    /// The published attacks: their names and settings.
    pub const PUBLISHED: [Self; 7] = [
        Self::Pgd { steps: 40, random_start: true },
        Self::ApgdCe { steps: STEPS },
        Self::ApgdDlr { steps: STEPS },
        Self::ApgdT { steps: STEPS, targets: TARGETS },
        Self::FabT { steps: STEPS, targets: TARGETS },
        Self::Square { queries: QUERIES },
        Self::AutoAttack,
    ];

    /// The name, such as `apgd-ce`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Pgd { .. } => "pgd",
            Self::ApgdCe { .. } => "apgd-ce",
            Self::ApgdDlr { .. } => "apgd-dlr",
            Self::ApgdT { .. } => "apgd-t",
            Self::FabT { .. } => "fab-t",
            Self::Square { .. } => "square",
            Self::AutoAttack => "autoattack",
        }
    }

    /// The gradient steps, for Square the queries; `None` for AutoAttack, whose settings are fixed, and noise.
    pub fn steps(self) -> Option<usize> {
        match self {
            Self::Noise | Self::AutoAttack => None,
            Self::Square { queries: steps }
            | Self::Pgd { steps, .. }
            | Self::ApgdCe { steps }
            | Self::ApgdDlr { steps }
            | Self::ApgdT { steps, .. }
            | Self::FabT { steps, .. } => Some(steps),
        }
    }

    /// The attack with `steps` steps, for Square queries.
    ///
    /// # Errors
    /// [`Error::Setting`] for no steps, and for an attack that [has none](Attack::steps).
    pub fn with_steps(self, steps: usize) -> Result<Self> {
        if self.steps().is_none() {
            let message =
                format!("{self} has fixed settings; choose a part of it to set the number of steps");
            return Err(Error::setting("steps", message));
        }
        if steps == 0 {
            return Err(Error::setting("steps", "must be at least 1, got 0"));
        }
        Ok(match self {
            Self::Noise | Self::AutoAttack => self,
            Self::Pgd { random_start, .. } => Self::Pgd { steps, random_start },
            Self::ApgdCe { .. } => Self::ApgdCe { steps },
            Self::ApgdDlr { .. } => Self::ApgdDlr { steps },
            Self::ApgdT { targets, .. } => Self::ApgdT { steps, targets },
            Self::FabT { targets, .. } => Self::FabT { steps, targets },
            Self::Square { .. } => Self::Square { queries: steps },
        })
    }

    /// Checks the settings for a model of `classes` classes.
    ///
    /// # Errors
    /// [`Error::Setting`] for too few classes for the attack's loss, for no steps, and for no targets.
    pub fn check(self, classes: usize) -> Result<()> {
        if self.steps() == Some(0) {
            return self.with_steps(0).map(drop);
        }
        if let Self::ApgdT { targets: 0, .. } | Self::FabT { targets: 0, .. } = self {
            return Err(Error::setting("targets", "must be at least 1, got 0"));
        }
        match self {
            Self::ApgdDlr { .. } => Loss::Dlr.check(classes),
            Self::ApgdT { .. } | Self::AutoAttack => Loss::TargetedDlr.check(classes),
            Self::FabT { .. } => Loss::LogitDifference.check(classes),
            Self::Noise | Self::Pgd { .. } | Self::ApgdCe { .. } | Self::Square { .. } => {
                Loss::CrossEntropy.check(classes)
            }
        }
    }

    /// Attacks each of `images` that `victim` classifies right. Returns `None` if `progress` returns false.
    ///
    /// # Errors
    /// The errors of [`Attack::check`]; [`Error::Setting`] for images that do not fit the victim, labels that are not its
    /// classes, and logits or gradients that are not finite; an error of the device.
    pub fn run(
        self,
        victim: &mut dyn Victim,
        images: Images<'_>,
        threat: Threat,
        seed: u64,
        progress: Progress<'_>,
    ) -> Result<Option<Attacked>> {
        self.check(victim.classes())?;
        let parts: &[(Self, Schedule)] = &match self {
            Self::AutoAttack => vec![
                (Self::ApgdCe { steps: STEPS }, Schedule::AsPublished),
                (Self::ApgdT { steps: STEPS, targets: TARGETS }, Schedule::AsPublished),
                (Self::FabT { steps: STEPS, targets: TARGETS }, Schedule::AsPublished),
                (Self::Square { queries: QUERIES }, Schedule::AsPublished),
            ],
            _ => vec![(self, Schedule::Stretched)],
        };
        let cost: f64 = parts.iter().map(|(part, _)| part.cost(victim.classes())).sum::<f64>() + 1.0;
        let group = GROUP * victim.batch();
        let mut begin = |part: f64| progress(part / cost);
        let Some(mut run) = Run::begin(victim, images, threat, seed, &mut begin)? else { return Ok(None) };
        let mut done = 1.0;
        for &(part, schedule) in parts {
            run.name = part.name();
            let classes = run.victim.classes();
            let standing = run.attacked.standing();
            let share = part.cost(classes) / standing.len().div_ceil(group).max(1) as f64;
            for indices in standing.chunks(group) {
                let mut goes_on = |part: f64| progress((done + share * part) / cost);
                if !part.attack(&mut run, indices, schedule, &mut goes_on)? {
                    return Ok(None);
                }
                done += share;
            }
            if !run.verify(&mut |_| progress(done / cost))? {
                return Ok(None);
            }
        }
        Ok(Some(run.attacked))
    }

    /// Runs one part on a group of images. Returns whether to go on.
    fn attack(
        self,
        run: &mut Run<'_>,
        indices: &[usize],
        schedule: Schedule,
        goes_on: Progress<'_>,
    ) -> Result<bool> {
        match self {
            Self::Noise => noise::attack(run, indices, goes_on),
            Self::Pgd { steps, random_start } => pgd::attack(run, indices, steps, random_start, goes_on),
            Self::ApgdCe { steps } => apgd::attack(run, indices, Loss::CrossEntropy, steps, 0, goes_on),
            Self::ApgdDlr { steps } => apgd::attack(run, indices, Loss::Dlr, steps, 0, goes_on),
            Self::ApgdT { steps, targets } => {
                for_each_target(run, indices, targets, goes_on, |run, indices, rank, goes_on| {
                    apgd::attack(run, indices, Loss::TargetedDlr, steps, rank, goes_on)
                })
            }
            Self::FabT { steps, targets } => {
                for_each_target(run, indices, targets, goes_on, |run, indices, rank, goes_on| {
                    fab::attack(run, indices, steps, rank, goes_on)
                })
            }
            Self::Square { queries } => square::attack(run, indices, queries, schedule, goes_on),
            Self::AutoAttack => unreachable!("it consists of others"),
        }
    }

    /// An estimate of the time for an image that no attack breaks, in forward passes.
    pub fn cost(self, classes: usize) -> f64 {
        const BACKWARD: f64 = 3.0;
        let targets = |targets: usize| targets.min(classes.saturating_sub(1)) as f64;
        match self {
            Self::Noise => 1.0,
            Self::AutoAttack => {
                let parts = [
                    Self::ApgdCe { steps: STEPS },
                    Self::ApgdT { steps: STEPS, targets: TARGETS },
                    Self::FabT { steps: STEPS, targets: TARGETS },
                    Self::Square { queries: QUERIES },
                ];
                parts.iter().map(|part| part.cost(classes)).sum()
            }
            Self::Pgd { steps, .. } | Self::ApgdCe { steps } | Self::ApgdDlr { steps } => {
                BACKWARD * steps as f64
            }
            Self::ApgdT { steps, targets: count } => BACKWARD * steps as f64 * targets(count),
            Self::FabT { steps, targets: count } => (BACKWARD + 1.0) * steps as f64 * targets(count),
            Self::Square { queries } => queries as f64,
        }
    }
}

/// Attacks the images that stand for each target in turn, the likeliest wrong class first. Returns whether to go on.
fn for_each_target(
    run: &mut Run<'_>,
    indices: &[usize],
    targets: usize,
    goes_on: Progress<'_>,
    mut attack: impl FnMut(&mut Run<'_>, &[usize], usize, Progress<'_>) -> Result<bool>,
) -> Result<bool> {
    let targets = targets.min(run.victim.classes() - 1);
    for rank in 0..targets {
        let stands = |index: &usize| run.attacked.broken_by[*index].is_none();
        let standing: Vec<usize> = indices.iter().copied().filter(stands).collect();
        let mut part = |part: f64| goes_on((rank as f64 + part) / targets as f64);
        if !standing.is_empty() && !attack(run, &standing, rank, &mut part)? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl std::fmt::Display for Attack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Attack {
    type Err = Error;

    /// The published attack of this name ([`Attack::PUBLISHED`]).
    fn from_str(text: &str) -> Result<Self> {
        let found = Self::PUBLISHED.into_iter().find(|attack| attack.name() == text);
        found.ok_or_else(|| Error::setting("attack", unknown(&Self::PUBLISHED.map(Self::name), text)))
    }
}
