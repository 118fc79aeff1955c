//! One step of stochastic gradient Langevin dynamics on a batch of images, as part of a program.

use super::Recipe;
use crate::compute::loss_term::LossTerm;
use crate::device::{Key, ProgramBuilder, View};
use crate::error::{Error, Result};
use crate::graph::{Output, Tensor, Update, lower_with_update};
use crate::kernels::sgld::Sgld;
use crate::kernels::tick::{COUNTERS, SGLD_STEP, Tick};
use crate::policy::convolution::ConvolutionPolicy;

/// The external slot of the random-number counters.
pub const COUNTER_WORDS: Key<u32> = Key::new("counters");
/// The external slot of the gradient of the log density at the images.
pub const INPUT_GRADIENT: Key<f32> = Key::new("input gradient");

/// The settings of SGLD (Welling & Teh, ICML 2011), with step size and noise set independently, as in JEM.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Langevin {
    /// The step size: the factor of the gradient.
    pub step_size: f32,
    /// Standard deviation of the noise.
    pub noise: f32,
    /// The bound on each element of the gradient; `None`: no bound.
    pub clamp_gradient: Option<f32>,
    /// Whether to clamp the images to [-1, 1].
    pub clamp_x: bool,
    /// The number of updates with each gradient: the proximal inner steps of JEM++ (Yang & Ji, ICCV 2021; after YOPO,
    /// Zhang et al., NeurIPS 2019), which compute the gradient p at the output of the first convolution once and then
    /// ascend `<conv1(x), p>`. conv1 is linear, so the inner gradient conv1ᵀ p is the gradient of log p(x) at the first
    /// x throughout.
    pub inner_steps: usize,
}

impl Default for Langevin {
    /// The published settings of JEM.
    fn default() -> Self {
        Self { step_size: 1.0, noise: 0.01, clamp_gradient: None, clamp_x: false, inner_steps: 1 }
    }
}

impl Langevin {
    /// The settings of a recipe.
    pub fn of(recipe: &Recipe) -> Self {
        Self {
            step_size: recipe.step_size,
            noise: recipe.noise,
            clamp_gradient: (recipe.clamp_gradient > 0.0).then_some(recipe.clamp_gradient),
            clamp_x: recipe.clamp_x,
            inner_steps: recipe.inner_steps,
        }
    }

    /// The loss term of a batch of `count` images that is the log density of the chains, up to a constant: log p(x), or
    /// log p(x|y) for each image's label.
    pub fn log_density(count: usize, class_conditional: bool) -> LossTerm {
        match class_conditional {
            true => LossTerm { count, logit_y: 1.0, ..LossTerm::default() },
            false => LossTerm { count, log_p_x: 1.0, ..LossTerm::default() },
        }
    }

    /// Appends `inner_steps` updates `x += step * clamp(∂ log_density/∂x) + noise * N(0, 1)` of the images `x`, which
    /// are in `images`, and increments the counter of SGLD steps. All updates use the gradient at the first `x`, and
    /// `others` are computed at the same `x`. Elements whose `moving` (one float each) is 0 do not change.
    ///
    /// # Errors
    /// A shape error of the graph; [`Error::Setting`] for no inner step.
    pub fn append(
        &self,
        policy: &ConvolutionPolicy,
        builder: &mut ProgramBuilder,
        prepare: &mut ProgramBuilder,
        log_density: &Tensor,
        x: &Tensor,
        images: View,
        others: &[Output<'_>],
        moving: Option<View>,
    ) -> Result<()> {
        if self.inner_steps == 0 {
            return Err(Error::setting("inner_steps", "must be at least 1, got 0"));
        }
        let n = x.elements();
        let [gradient] = x.graph().grad(log_density, [x]);
        let view = builder.external(INPUT_GRADIENT, n);
        let counters = builder.external(COUNTER_WORDS, COUNTERS);
        // Without noise all inner steps are equal, also with the clamp, and one step of their total length replaces
        // them.
        let updates = if self.noise == 0.0 { 1 } else { self.inner_steps };
        let kernel = Sgld {
            n,
            step: self.step_size * (self.inner_steps / updates) as f32,
            noise: self.noise,
            clamp_gradient: self.clamp_gradient,
            clamp_x: self.clamp_x.then_some((-1.0, 1.0)),
            masked: moving.is_some(),
        };
        let output = Output { tensor: &gradient, view };
        let update = Update { kernel, x: images, counters, moving };
        lower_with_update(policy, builder, prepare, output, others, &update)?;
        builder.dispatch("sgld step", Tick { word: SGLD_STEP }, &[counters]);
        for _ in 1..updates {
            let views: Vec<View> = [images, view, counters].into_iter().chain(moving).collect();
            builder.dispatch("inner step", kernel, &views);
            builder.dispatch("sgld step", Tick { word: SGLD_STEP }, &[counters]);
        }
        Ok(())
    }
}
