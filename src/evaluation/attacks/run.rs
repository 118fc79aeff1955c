//! One run of an attack on a set of images: what is asked of the victim, and what has been found.

use super::Progress;
use super::losses::{Loss, prediction};
use super::threat::{HIGH, LOW, Threat};
use super::victim::{Answer, Victim};
use crate::error::{Error, Result};
use crate::words::counted;

/// Images with the classes that they belong to.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    /// NHWC in [-1, 1].
    pub pixels: &'a [f32],
    /// The class of each image.
    pub labels: &'a [u32],
}

impl<'a> Images<'a> {
    /// Image `index`.
    pub(super) fn image(&self, index: usize) -> &'a [f32] {
        let size = self.pixels.len() / self.labels.len();
        &self.pixels[index * size..][..size]
    }

    fn check(&self, victim: &dyn Victim) -> Result<()> {
        let [height, width, channels] = victim.image();
        let (n, expected) = (self.labels.len(), self.labels.len() * height * width * channels);
        let wrong = |message: String| Err(Error::setting("images", message));
        if n == 0 {
            return wrong("expected at least one image, got none".into());
        }
        if self.pixels.len() != expected {
            let of = format!("{} of {height}x{width}x{channels}", counted(n, "image"));
            return wrong(format!("expected {expected} numbers for {of}, got {}", self.pixels.len()));
        }
        if let Some(at) = self.pixels.iter().position(|pixel| !(LOW..=HIGH).contains(pixel)) {
            let (image, value) = (at / (expected / n), self.pixels[at]);
            return wrong(format!("expected pixels in [{LOW}, {HIGH}], got {value} in image {image}"));
        }
        match self.labels.iter().position(|&label| label as usize >= victim.classes()) {
            Some(image) => {
                let (label, classes) = (self.labels[image], counted(victim.classes(), "class"));
                wrong(format!("image {image} has label {label}, and the model {classes}"))
            }
            None => Ok(()),
        }
    }
}

/// The outcome of an attack.
#[derive(Debug, Clone, PartialEq)]
pub struct Attacked {
    /// The bound that every adversarial image keeps.
    pub threat: Threat,
    /// Whether each clean image is classified right. No other is attacked.
    pub correct: Vec<bool>,
    /// The name of the attack that found each image's adversarial image; `None` if none did.
    pub broken_by: Vec<Option<&'static str>>,
    /// The adversarial images, NHWC in [-1, 1]; clean ones where there is none.
    pub images: Vec<f32>,
    /// The number of forward passes that each image took, with those of gradients.
    pub queries: Vec<u64>,
}

impl Attacked {
    /// Whether each image is classified right, and still is after the attack.
    pub fn robust(&self) -> Vec<bool> {
        self.correct.iter().zip(&self.broken_by).map(|(correct, by)| *correct && by.is_none()).collect()
    }

    /// Robust accuracy: the fraction of all images that are classified right, and still are after the attack.
    pub fn robust_accuracy(&self) -> f64 {
        self.robust().iter().filter(|robust| **robust).count() as f64 / self.correct.len() as f64
    }

    /// The positions of the images that are robust so far.
    pub(super) fn standing(&self) -> Vec<usize> {
        let robust = self.robust();
        (0..robust.len()).filter(|&index| robust[index]).collect()
    }
}

/// A question to the victim about image `index`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a> {
    pub index: usize,
    /// The perturbed image.
    pub image: &'a [f32],
    /// The class that a targeted loss aims at.
    pub target: usize,
}

/// A run of an attack.
pub(super) struct Run<'a> {
    pub victim: &'a mut dyn Victim,
    pub images: Images<'a>,
    pub threat: Threat,
    pub seed: u64,
    pub attacked: Attacked,
    /// The logits of the clean images, `[n, classes]`.
    pub logits: Vec<f32>,
    /// The name of the attack.
    pub name: &'static str,
}

impl<'a> Run<'a> {
    /// Scores the clean images. Returns `None` if `goes_on` returns false.
    ///
    /// # Errors
    /// [`Error::Setting`] for images that do not fit the victim, or logits that are not finite; an error of the device.
    pub fn begin(
        victim: &'a mut dyn Victim,
        images: Images<'a>,
        threat: Threat,
        seed: u64,
        goes_on: Progress<'_>,
    ) -> Result<Option<Self>> {
        images.check(victim)?;
        let n = images.labels.len();
        let attacked = Attacked {
            threat,
            correct: vec![false; n],
            broken_by: vec![None; n],
            images: images.pixels.to_vec(),
            queries: vec![0; n],
        };
        let mut run = Self { victim, images, threat, seed, attacked, logits: Vec::new(), name: "" };
        let all: Vec<usize> = (0..n).collect();
        let Some(logits) = run.logits(&run.clean(&all), goes_on)? else { return Ok(None) };
        for (index, row) in logits.chunks(run.victim.classes()).enumerate() {
            run.attacked.correct[index] = run.is_right(index, row);
        }
        run.logits = logits;
        Ok(Some(run))
    }

    /// Questions about clean images.
    pub fn clean(&self, indices: &[usize]) -> Vec<Query<'a>> {
        indices.iter().map(|&index| Query { index, image: self.images.image(index), target: 0 }).collect()
    }

    pub fn label(&self, index: usize) -> usize {
        self.images.labels[index] as usize
    }

    /// Whether image `index` with these logits is classified right.
    pub fn is_right(&self, index: usize, logits: &[f32]) -> bool {
        prediction(logits) == self.label(index)
    }

    /// The logits of each question, `[n, classes]`. Returns `None` if `goes_on` returns false.
    pub fn logits(&mut self, queries: &[Query<'_>], goes_on: Progress<'_>) -> Result<Option<Vec<f32>>> {
        let mut all = Vec::with_capacity(queries.len() * self.victim.classes());
        for (first, batch) in batches(queries, self.victim.batch()) {
            if !goes_on(first as f64 / queries.len() as f64) {
                return Ok(None);
            }
            let logits = self.victim.logits(&concatenated(batch))?;
            self.check(batch, &logits, None)?;
            all.extend(logits);
        }
        Ok(Some(all))
    }

    /// The answer to each question. Returns `None` if `goes_on` returns false.
    pub fn gradients(
        &mut self,
        loss: Loss,
        queries: &[Query<'_>],
        goes_on: Progress<'_>,
    ) -> Result<Option<Vec<Answer>>> {
        let mut all = Vec::with_capacity(queries.len());
        for (first, batch) in batches(queries, self.victim.batch()) {
            if !goes_on(first as f64 / queries.len() as f64) {
                return Ok(None);
            }
            let labels: Vec<u32> = batch.iter().map(|query| self.images.labels[query.index]).collect();
            let targets: Vec<u32> = batch.iter().map(|query| query.target as u32).collect();
            let Answer { logits, gradient } =
                self.victim.gradient(loss, &concatenated(batch), &labels, &targets)?;
            self.check(batch, &logits, Some(&gradient))?;
            let rows = logits.chunks(self.victim.classes()).zip(gradient.chunks(batch[0].image.len()));
            all.extend(
                rows.map(|(logits, gradient)| Answer { logits: logits.into(), gradient: gradient.into() }),
            );
        }
        Ok(Some(all))
    }

    /// Counts the questions, and refuses answers that are not finite.
    fn check(&mut self, batch: &[Query<'_>], logits: &[f32], gradient: Option<&[f32]>) -> Result<()> {
        for (what, values) in [("logits", Some(logits)), ("an input gradient", gradient)] {
            let Some(values) = values else { continue };
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let (image, value) = (batch[at * batch.len() / values.len()].index, values[at]);
                let message = format!("image {image} has {what} with {value}; expected finite numbers");
                return Err(Error::setting("model", message));
            }
        }
        batch.iter().for_each(|query| self.attacked.queries[query.index] += 1);
        Ok(())
    }

    /// Whether each question, to which the victim gave `logits`, breaks its image. A random victim is asked again.
    /// Returns `None` if `goes_on` returns false.
    pub fn broken<'b>(
        &mut self,
        queries: &[Query<'_>],
        logits: impl Iterator<Item = &'b [f32]>,
        goes_on: Progress<'_>,
    ) -> Result<Option<Vec<bool>>> {
        let wrong = |run: &Self, query: &Query<'_>, logits: &[f32]| !run.is_right(query.index, logits);
        let mut broken: Vec<bool> =
            queries.iter().zip(logits).map(|(q, logits)| wrong(self, q, logits)).collect();
        if self.victim.is_random() && broken.contains(&true) {
            let at: Vec<usize> = (0..queries.len()).filter(|&at| broken[at]).collect();
            let again: Vec<Query<'_>> = at.iter().map(|&at| queries[at]).collect();
            let Some(logits) = self.logits(&again, goes_on)? else { return Ok(None) };
            for (&at, row) in at.iter().zip(logits.chunks(self.victim.classes())) {
                broken[at] = wrong(self, &queries[at], row);
            }
        }
        Ok(Some(broken))
    }

    /// Keeps an adversarial image.
    pub fn record(&mut self, index: usize, x: &[f32]) {
        self.attacked.broken_by[index] = Some(self.name);
        self.attacked.images[index * x.len()..][..x.len()].copy_from_slice(x);
    }

    /// Measures and scores again the adversarial images of this attack; those that the victim classifies right after
    /// all do not count. Returns whether to go on.
    ///
    /// # Errors
    /// [`Error::Setting`] for an image outside the threat, which is a fault of the attack.
    pub fn verify(&mut self, goes_on: Progress<'_>) -> Result<bool> {
        let size = self.images.pixels.len() / self.images.labels.len();
        let found = |(index, by): (usize, &Option<&'static str>)| (*by == Some(self.name)).then_some(index);
        let found: Vec<usize> = self.attacked.broken_by.iter().enumerate().filter_map(found).collect();
        let stored = self.attacked.images.clone();
        let query = |&index: &usize| Query { index, image: &stored[index * size..][..size], target: 0 };
        let queries: Vec<Query<'_>> = found.iter().map(query).collect();
        for Query { index, image, .. } in &queries {
            let clean = self.images.image(*index);
            if !self.threat.allows(clean, image) {
                let (name, distance) = (self.name, self.threat.norm().distance(clean, image));
                let message = format!("its image {index} is at distance {distance}, outside {}", self.threat);
                return Err(Error::setting(name, message));
            }
        }
        let Some(logits) = self.logits(&queries, goes_on)? else { return Ok(false) };
        for (&index, row) in found.iter().zip(logits.chunks(self.victim.classes())) {
            if self.is_right(index, row) {
                self.attacked.broken_by[index] = None;
                self.attacked.images[index * size..][..size].copy_from_slice(self.images.image(index));
            }
        }
        Ok(true)
    }
}

/// Batches of questions with the number of those before.
fn batches<'a, 'b>(queries: &'b [Query<'a>], size: usize) -> impl Iterator<Item = (usize, &'b [Query<'a>])> {
    queries.chunks(size).enumerate().map(move |(number, batch)| (number * size, batch))
}

fn concatenated(batch: &[Query<'_>]) -> Vec<f32> {
    let mut images = Vec::with_capacity(batch.iter().map(|query| query.image.len()).sum());
    batch.iter().for_each(|query| images.extend_from_slice(query.image));
    images
}
