//! Selects the largest preset that a device finishes in reasonable time, by timing a few iterations.

use super::programs::BatchLayout;
use super::{Preset, Programs, Recipe, Trainer, check_recipe};
use crate::data::Dataset;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::network::Network as _;
use crate::report::status::Phase;
use std::fmt;
use std::time::Instant;

/// The number of timed iterations, after an untimed one.
const TIMED: u32 = 3;
/// A preset is not tried if, at the speed of the smaller one, its run would take this many times its patience and its
/// trial more than [`TRIAL`] seconds. Larger networks use a device more fully, but not by this factor.
const HOPELESS: f64 = 3.0;
/// The longest trial, in seconds, of a preset that looks too slow.
const TRIAL: f64 = 15.0;
/// The largest share of a run that its trial may take, if it takes more than [`TRIAL`] seconds.
const SHARE: f64 = 0.1;

/// The preset that `auto` selects, with the estimates for all presets.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The preset.
    pub preset: Preset,
    /// The presets with the estimated seconds of a run: measured, or predicted from a smaller preset.
    pub estimates: Vec<(Preset, f64)>,
}

impl Choice {
    /// The seconds that the chosen preset's run will take.
    pub fn seconds(&self) -> f64 {
        self.estimates
            .iter()
            .find(|(preset, _)| *preset == self.preset)
            .map_or(f64::NAN, |(_, seconds)| *seconds)
    }

    /// The estimates and the choice, a line each.
    pub fn lines(&self) -> Vec<String> {
        let line = |&(preset, seconds): &(Preset, f64)| {
            let mark = if preset == self.preset { "<- taken" } else { "" };
            format!("        {:<6} about {:<12} {mark}", preset.to_string(), duration(seconds))
        };
        self.estimates.iter().map(line).collect()
    }
}

/// The timing of a preset in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The preset.
    pub preset: Preset,
    /// The number of the iteration, from 1 on, and its phase; `None` while the programs are loaded.
    pub iteration: Option<(u32, Phase)>,
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { preset, iteration } = self;
        match iteration {
            None => write!(f, "timing {preset}: loading kernels"),
            Some((number, phase)) => write!(f, "timing {preset}: iteration {number}/{}, {phase}", TIMED + 1),
        }
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} seconds"),
        s if s < 5400.0 => format!("{:.0} minutes", s / 60.0),
        s if s < 48.0 * 3600.0 => format!("{:.1} hours", s / 3600.0),
        s => format!("{:.0} days", s / 86400.0),
    }
}

/// Times a few iterations of the presets, smallest first, and selects the largest whose run ends within its
/// [`Preset::patience`]. `recipe` makes the recipe of a preset, with the user's own settings.
///
/// # Errors
/// An invalid setting, or an error of the device for the smallest preset. A larger preset that does not fit the device
/// is skipped.
pub fn choose(device: &Device, train: &Dataset, recipe: impl Fn(Preset) -> Recipe) -> Result<Choice> {
    choose_with(device, train, recipe, |_| ())
}

/// Selects a preset as [`choose`] does. `observe` is called with the progress of the timing; it must not use the
/// device.
///
/// # Errors
/// The errors of [`choose`].
pub fn choose_with(
    device: &Device,
    train: &Dataset,
    recipe: impl Fn(Preset) -> Recipe,
    mut observe: impl FnMut(Timing),
) -> Result<Choice> {
    let mut choice = Choice { preset: Preset::Tiny, estimates: Vec::new() };
    let mut rate = None;
    for preset in Preset::SIZES {
        let recipe = recipe(preset);
        // A larger preset may not fit a small data set.
        if preset != Preset::Tiny && check_recipe(&recipe, train).is_err() {
            continue;
        }
        let images = train.len() - recipe.validation.min(train.len());
        let iterations = recipe.total_iterations(images) as f64;
        let flops = iteration_flops(device, &recipe, train)?;
        if let Some(rate) = rate {
            let predicted = iterations * flops / rate;
            let trial = f64::from(TIMED + 1) * flops / rate;
            if trial > TRIAL && (predicted > HOPELESS * preset.patience() || trial > SHARE * predicted) {
                choice.estimates.push((preset, predicted));
                continue;
            }
        }
        let observe = |iteration| observe(Timing { preset, iteration });
        let seconds = match time_iteration(device, &recipe, train, observe) {
            Err(Error::Limit { .. } | Error::Device { .. }) if preset != Preset::Tiny => break,
            other => other?,
        };
        rate = Some(flops / seconds);
        choice.estimates.push((preset, iterations * seconds));
        if iterations * seconds <= preset.patience() {
            choice.preset = preset;
        }
    }
    Ok(choice)
}

/// Floating-point operations of one iteration.
fn iteration_flops(device: &Device, recipe: &Recipe, train: &Dataset) -> Result<f64> {
    let network = recipe.network(train.classes(), train.channels);
    network.check()?;
    let batch = BatchLayout::new(recipe, train.height, train.width, train.channels);
    let programs = Programs::build(recipe, &network, batch, train.len(), &recipe.precision.policy(device).0)?;
    let step = programs.sgld.map_or(0, |program| program.summary().flops);
    Ok((recipe.steps as u64 * step + programs.update.summary().flops) as f64)
}

/// Returns the seconds that an iteration takes; `observe` is called with values of [`Timing::iteration`].
fn time_iteration(
    device: &Device,
    recipe: &Recipe,
    train: &Dataset,
    mut observe: impl FnMut(Option<(u32, Phase)>),
) -> Result<f64> {
    observe(None);
    let mut trainer = Trainer::new(device, recipe, train)?;
    let mut step = |trainer: &mut Trainer, number| {
        trainer.step_while(|phase| {
            observe(Some((number, phase)));
            true
        })
    };
    step(&mut trainer, 1)?;
    trainer.finish_metrics()?;
    let start = Instant::now();
    for number in 2..TIMED + 2 {
        step(&mut trainer, number)?;
    }
    trainer.finish_metrics()?;
    Ok(start.elapsed().as_secs_f64() / f64::from(TIMED))
}
