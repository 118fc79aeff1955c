//! Scores of a whole set of images, batch by batch.

use super::model::Model;
use super::scorer::{ScoreSettings, Scorer, Scores};
use crate::data::images::Images;
use crate::device::Device;
use crate::error::{Error, Result};

/// Scores `images`, which have the model's shape, in batches of `batch`, and gives `each` batch's first image and scores.
/// Returns `None` if `goes_on` returns false; it is called with the number of images that are done, an estimate within a
/// batch, and must not use the device.
///
/// # Errors
/// An error of the device or of `each`; [`Error::File`] for the model if a logit is not finite, with its image.
pub fn scan(
    device: &Device,
    model: &Model,
    settings: ScoreSettings,
    images: &Images,
    batch: usize,
    goes_on: &mut dyn FnMut(f64) -> bool,
    each: &mut dyn FnMut(usize, Scores) -> Result<()>,
) -> Result<Option<()>> {
    let mut loaded: Option<(usize, Scorer)> = None;
    for first in (0..images.count).step_by(batch) {
        let size = batch.min(images.count - first);
        // The last batch may be smaller; it has its own program.
        let scorer = match loaded.take() {
            Some((loaded, scorer)) if loaded == size => scorer,
            _ => Scorer::new(device, model, settings, size)?,
        };
        let within = |part: f64| goes_on(first as f64 + part * size as f64);
        let Some(scores) = scorer.score_while(&images.batch(first..first + size), within)? else {
            return Ok(None);
        };
        if let Some(at) = scores.logits.iter().position(|logit| !logit.is_finite()) {
            let image = first + at / model.network().classes();
            let message = format!("image {image} of {} has a logit of {}", images.name, scores.logits[at]);
            return Err(Error::file(model.path(), message));
        }
        each(first, scores)?;
        loaded = Some((size, scorer));
        if !goes_on((first + size) as f64) {
            return Ok(None);
        }
    }
    Ok(Some(()))
}
