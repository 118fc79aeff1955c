//! The flags of attacks.

use jem::evaluation::attacks::{Attack, Norm, Threat, parse_epsilon};
use jem::evaluation::{Attacks, Attempt};
use jem::{Error, Result};

/// The numbers of images of the attacks, of AutoAttack, of refined images and of sanity checks with --quick.
const QUICK: [usize; 4] = [100, 20, 10, 20];

/// Which attacks to make.
#[derive(Debug, Clone, clap::Args)]
pub struct AttackArguments {
    /// Attacks, separated by commas: pgd, apgd-ce, apgd-dlr, apgd-t, fab-t, square or autoattack, each at every radius
    /// [default: apgd-ce of 20 steps at every radius, and autoattack at 8/255 and 0.5]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    attacks: Vec<Attack>,
    /// Steps of the attacks, queries of square [default: as published]
    #[arg(long, value_name = "N", requires = "attacks")]
    attack_steps: Option<usize>,
    /// L-infinity radii in units of [0, 1] pixels, separated by commas, or none [default: 1/255,2/255,4/255,8/255]
    #[arg(long, value_name = "RADII")]
    linf: Option<String>,
    /// L2 radii in units of [0, 1] pixels, separated by commas, or none [default: 0.25,0.5,1]
    #[arg(long, value_name = "RADII")]
    l2: Option<String>,
    /// Number of images of each attack, the first test images [default: 500; autoattack 100]
    #[arg(long, value_name = "N")]
    attack_images: Option<usize>,
    /// SGLD steps of the refinement through which a JEM is attacked, too; 0: none
    #[arg(long, value_name = "K", default_value_t = 10)]
    refine_steps: usize,
    /// Chains for each refined image
    #[arg(long, value_name = "M", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    refine_chains: u32,
}

impl AttackArguments {
    /// The attacks, for `images` test images and models of at least `classes` classes.
    pub fn attacks(&self, images: usize, classes: usize, quick: bool) -> Result<Attacks> {
        if let Some(count) = self.attack_images.filter(|&count| count == 0 || count > images) {
            return Err(Error::setting("--attack-images", format!("expected 1 to {images}, got {count}")));
        }
        let mut all = Attacks::standard(images);
        let default = |norm: Norm| {
            let threats = all
                .attempts
                .iter()
                .filter(|attempt| matches!(attempt.attack, Attack::ApgdCe { .. }) && !attempt.refined);
            threats.map(|attempt| attempt.threat).filter(|threat| threat.norm() == norm).collect::<Vec<_>>()
        };
        let linf = radii("--linf", self.linf.as_deref(), Norm::LInf)?.unwrap_or_else(|| default(Norm::LInf));
        let l2 = radii("--l2", self.l2.as_deref(), Norm::L2)?.unwrap_or_else(|| default(Norm::L2));
        let given = self.linf.is_some() || self.l2.is_some();
        let [few, fewer, refined, checks] = if quick { QUICK } else { [500, 100, 20, 50] };
        let limited = |count: usize| self.attack_images.unwrap_or(count.min(images));
        let count = |attack: Attack| limited(if attack == Attack::AutoAttack { fewer } else { few });
        if !self.attacks.is_empty() || given {
            let mut attacks = self.attacks.clone();
            if attacks.is_empty() {
                attacks.push(Attack::ApgdCe { steps: 20 });
            }
            let refines: Vec<Attempt> =
                all.attempts.iter().copied().filter(|attempt| attempt.refined).collect();
            all.attempts.clear();
            for attack in attacks {
                let attack = self.attack_steps.map_or(Ok(attack), |steps| attack.with_steps(steps));
                let attack = attack.map_err(|error| flagged("--attack-steps", error))?;
                attack.check(classes).map_err(|error| flagged("--attacks", error))?;
                let attempt =
                    |&threat: &Threat| Attempt { attack, threat, images: count(attack), refined: false };
                all.attempts.extend(linf.iter().chain(&l2).map(attempt));
            }
            all.attempts.extend(refines);
        } else {
            all.attempts.retain(|attempt| attempt.attack.check(classes).is_ok());
        }
        for attempt in &mut all.attempts {
            attempt.images = if attempt.refined { limited(refined) } else { count(attempt.attack) };
        }
        all.attempts.retain(|attempt| !attempt.refined || self.refine_steps > 0);
        all.refinement.steps = self.refine_steps;
        all.refinement.chains = self.refine_chains as usize;
        if let Some((_, count)) = &mut all.checks {
            *count = checks.min(images);
        }
        Ok(all)
    }

    /// The attack that is left out by default for models of at least `classes` classes, and why.
    pub fn omission(&self, classes: usize) -> Option<String> {
        let is_default = self.attacks.is_empty() && self.linf.is_none() && self.l2.is_none();
        let why = Attack::AutoAttack.check(classes).err().filter(|_| is_default)?;
        Some(format!("left out AutoAttack: {why}"))
    }
}

/// The radii `text`, the value of `flag`; `None` without one.
fn radii(flag: &str, text: Option<&str>, norm: Norm) -> Result<Option<Vec<Threat>>> {
    let Some(text) = text else { return Ok(None) };
    if text == "none" {
        return Ok(Some(Vec::new()));
    }
    let threat = |text: &str| parse_epsilon(text).and_then(|epsilon| Threat::new(norm, epsilon));
    text.split(',').map(threat).collect::<Result<Vec<_>>>().map(Some).map_err(|error| flagged(flag, error))
}

fn flagged(flag: &str, error: Error) -> Error {
    match error {
        Error::Setting { message, .. } => Error::setting(flag, message),
        other => other,
    }
}
