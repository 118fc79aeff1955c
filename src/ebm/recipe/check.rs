//! The range of every setting.

use super::Recipe;
use crate::error::{Error, Result};
use crate::words::counted;

/// The smallest gap of energies at which log p(x) may lose its weight: the reciprocals of smaller ones overflow.
const SMALLEST_GAP: f32 = 1e-6;
/// The largest number of fresh chains, which are sampled at once.
const MAX_FRESH_CHAINS: usize = 4096;

impl Recipe {
    /// Checks every setting against its range, and against `images` training images (after the held-out ones).
    ///
    /// # Errors
    /// [`Error::Setting`] with the key, the allowed range and what was found.
    pub fn check(&self, images: usize, classes: usize) -> Result<()> {
        let fail = |key: &str, message: String| Err(Error::setting(key, message));
        let positive = [
            ("buffer", self.buffer),
            ("inner_steps", self.inner_steps),
            ("keep", self.keep),
            ("evaluate_every", self.evaluate_every as usize),
            ("sample_every", self.sample_every as usize),
            ("checkpoint_every", self.checkpoint_every as usize),
            ("snapshot_every", self.snapshot_every as usize),
        ];
        if self.batch == 0 || self.batch > images {
            let held_out = match self.validation {
                0 => String::new(),
                held_out => format!(" that are left after {}", counted(held_out, "held-out image")),
            };
            let there = counted(images, "training image");
            let message =
                format!("must be from 1 to {images}, for the {there}{held_out}; got {}", self.batch);
            return fail("batch", message);
        }
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return fail(key, "must be at least 1, got 0".into());
        }
        let finite_from_0 = [
            ("step_size", f64::from(self.step_size)),
            ("noise", f64::from(self.noise)),
            ("clamp_gradient", f64::from(self.clamp_gradient)),
            ("p_x", f64::from(self.p_x)),
            ("p_y_given_x", f64::from(self.p_y_given_x)),
            ("p_xy", f64::from(self.p_xy)),
            ("hold_gap", f64::from(self.hold_gap)),
            ("energy_l2", f64::from(self.energy_l2)),
            ("gradient_penalty", f64::from(self.gradient_penalty)),
            ("sam", f64::from(self.sam)),
            ("lr", self.lr),
            ("epsilon", f64::from(self.epsilon)),
            ("weight_decay", f64::from(self.weight_decay)),
            ("clip_norm", f64::from(self.clip_norm)),
            ("decay_factor", self.decay_factor),
            ("epochs", self.epochs),
            ("input_noise", f64::from(self.input_noise)),
        ];
        if let Some((key, value)) =
            finite_from_0.iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0))
        {
            return fail(key, format!("must be a finite number of at least 0, got {value}"));
        }
        if self.fresh_chains > MAX_FRESH_CHAINS {
            let message = format!("expected at most {MAX_FRESH_CHAINS}, got {}", self.fresh_chains);
            return fail("fresh_chains", message);
        }
        let unit = [
            ("beta1", self.beta1),
            ("beta2", self.beta2),
            ("momentum", f64::from(self.momentum)),
            ("ema", self.ema),
        ];
        if let Some((key, value)) = unit.iter().find(|(_, value)| !(0.0..1.0).contains(value)) {
            return fail(key, format!("must be at least 0 and below 1, got {value}"));
        }
        if !(0.0..=1.0).contains(&self.reinitialise) {
            return fail("reinitialise", format!("is a probability, got {}", self.reinitialise));
        }
        if !(self.norm_momentum > 0.0 && self.norm_momentum <= 1.0) {
            let message = format!("must be above 0 and at most 1, got {}", self.norm_momentum);
            return fail("norm_momentum", message);
        }
        if let Some(at) = self.decay_at.iter().find(|at| !(at.is_finite() && **at >= 0.0)) {
            return fail("decay_at", format!("must be finite numbers of at least 0, got {at}"));
        }
        let bounds = [
            ("diverged_above", self.diverged_above),
            ("max_gap", self.max_gap),
            ("max_displacement", self.max_displacement),
            ("max_saturated", self.max_saturated),
            ("max_chain_age", self.max_chain_age),
        ];
        if let Some((key, value)) = bounds.iter().find(|(_, value)| value.is_nan() || *value <= 0.0) {
            return fail(key, format!("must be above 0, got {value}"));
        }
        let above_0 = [("margin", self.margin), ("beta", self.beta)];
        if let Some((key, value)) = above_0.iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            return fail(key, format!("must be a finite number above 0, got {value}"));
        }
        self.check_labels()?;
        self.check_stages()?;
        if self.samples() {
            self.check_sampling(classes)?;
        } else if self.gradient_penalty != 0.0 {
            return fail(
                "gradient_penalty",
                "must be 0 when p_x is 0: it applies to the images for p(x)".into(),
            );
        } else if self.p_y_given_x == 0.0 {
            return fail("p_y_given_x", "p_x, p_y_given_x and p_xy are all 0: nothing to train".into());
        }
        if self.total_iterations(images) == 0 {
            return fail("epochs", "epochs and iterations are both 0: nothing to do".into());
        }
        Ok(())
    }

    /// Rejects a stage before log p(x) if there is nothing to train in it, or no log p(x) after it, and `hold_gap`
    /// without log p(x).
    fn check_stages(&self) -> Result<()> {
        if self.hold_gap > 0.0 && self.hold_gap < SMALLEST_GAP {
            let message = format!("must be 0 or at least {SMALLEST_GAP}, got {}", self.hold_gap);
            return Err(Error::setting("hold_gap", message));
        }
        if self.hold_gap > 0.0 && self.p_x == 0.0 {
            let value = self.hold_gap;
            return Err(Error::setting(
                "hold_gap",
                format!("must be 0 with p_x = 0: there is no log p(x) to hold; got {value}"),
            ));
        }
        let stages = [("p_x_after", self.p_x_after), ("p_x_ramp", self.p_x_ramp)];
        let Some((key, value)) = stages.into_iter().find(|(_, iterations)| *iterations > 0) else {
            return Ok(());
        };
        let why = if self.p_x == 0.0 {
            "p_x = 0: there is no log p(x) to begin later"
        } else if self.p_xy != 0.0 {
            "p_xy, which joins images and classes"
        } else if self.p_x_after > 0 && self.p_y_given_x == 0.0 {
            "p_y_given_x = 0: there is nothing to train before"
        } else {
            return Ok(());
        };
        Err(Error::setting(key, format!("must be 0 with {why}; got {value}")))
    }

    /// Refuses settings that need classes if the recipe is unconditional.
    fn check_labels(&self) -> Result<()> {
        let labelled = [("p_y_given_x", self.p_y_given_x), ("p_xy", self.p_xy)];
        let needed = labelled.into_iter().find(|(_, weight)| self.unconditional && *weight != 0.0);
        if let Some((key, value)) = needed {
            let message = format!("must be 0 with unconditional = true, which has no classes, got {value}");
            return Err(Error::setting(key, message));
        }
        if self.unconditional && self.class_conditional {
            let message = "must be false with unconditional = true, which has no classes";
            return Err(Error::setting("class_conditional", message));
        }
        Ok(())
    }

    fn check_sampling(&self, classes: usize) -> Result<()> {
        let fail = |key: &str, message: String| Err(Error::setting(key, message));
        if self.steps == 0 {
            return fail("steps", "must be at least 1 when p_x or p_xy is not 0, got 0".into());
        }
        let chains = if self.class_conditional { self.batch * classes } else { self.batch };
        if self.buffer < chains {
            let why = if self.class_conditional { "the batch times the classes" } else { "the batch" };
            return fail("buffer", format!("must be at least {chains} ({why}), got {}", self.buffer));
        }
        if self.p_xy != 0.0 && !self.class_conditional {
            return fail("p_xy", "log p(x, y) needs class_conditional = true".into());
        }
        if self.reservoir && self.class_conditional {
            return fail(
                "reservoir",
                "must be false with class_conditional = true, whose buffer has a part for each class".into(),
            );
        }
        if self.gradient_penalty != 0.0 && self.p_x == 0.0 {
            return fail(
                "gradient_penalty",
                "must be 0 when p_x is 0: it applies to the images for p(x)".into(),
            );
        }
        Ok(())
    }
}
