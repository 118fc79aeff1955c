//! Logits, input gradients, ODIN's logits and feature distances of sets of images.

use super::Context;
use crate::ebm::discriminant::Gaussians;
use crate::ebm::{ScoreSettings, Scores, scan};
use crate::error::Result;
use crate::evaluation::job::{GoesOn, Job};
use crate::evaluation::odin;
use crate::evaluation::store::{Arrays, Store};
use crate::evaluation::subject::ImageSet;
use serde_json::{Value, json};

/// The cost of a pass with the gradient at the images, as a multiple of one without.
const GRADIENT: f64 = 2.25;
/// The same for ODIN: a gradient and another pass.
const ODIN: f64 = 3.5;
/// The arrays of a measurement.
pub(in super::super) const LOGITS: &str = "logits";
/// The norm of the gradient of log p(x) at each image.
pub(in super::super) const NORMS: &str = "input_gradient_norm";
/// The logits of ODIN's images.
pub(in super::super) const ODIN_LOGITS: &str = "odin_logits";
/// The squared Mahalanobis distances of the features.
pub(in super::super) const DISTANCES: &str = "mahalanobis";
/// The features of the training images that class means are fitted to.
const FEATURES: &str = "features";

/// The scores of each image to measure, besides its logits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Wanted {
    /// The norm of the gradient of log p(x) at the image.
    pub gradient: bool,
    /// The number of images, at the beginning of the set, to take ODIN's score of.
    pub odin: usize,
    /// The Mahalanobis distance of the features.
    pub distances: bool,
}

impl Wanted {
    /// The scores that the detection of `set` needs.
    pub fn for_detection(context: &Context<'_>, subject: usize, set: &ImageSet) -> Self {
        let classes = context.subjects[subject].classes() > 1;
        Self {
            gradient: true,
            odin: if classes { context.settings.odin_images.min(set.images.count) } else { 0 },
            distances: classes && context.data.train.is_some(),
        }
    }
}

/// The scores of `set`, whose measurement is called `name`.
pub(in super::super) struct Scoring<'a> {
    pub context: Context<'a>,
    pub subject: usize,
    pub set: &'a ImageSet,
    pub wanted: Wanted,
}

impl<'a> Scoring<'a> {
    /// The scores of a set of images by a subject.
    pub fn new(context: Context<'a>, subject: usize, set: &'a ImageSet, wanted: Wanted) -> Self {
        Self { context, subject, set, wanted }
    }

    fn name(&self) -> String {
        self.context.name(self.subject, &format!("scores-{}", self.set.name))
    }

    fn key(&self) -> Value {
        let Wanted { gradient, odin, distances } = self.wanted;
        // Distances depend on the training images, too.
        let fit = self.context.data.train.as_ref().filter(|_| distances).map(|train| &train.digest);
        let settings = json!({ "gradient": gradient, "odin": odin, "fit": fit });
        self.context.key(self.subject, self.set, settings)
    }

    /// The measurement to make.
    pub fn job(self) -> Job<'a> {
        let images = self.set.images.count as f64;
        let cost =
            images * if self.wanted.gradient { GRADIENT } else { 1.0 } + self.wanted.odin as f64 * ODIN;
        let what = self.context.what(self.subject, &format!("scoring {}", self.set.name));
        let (name, key) = (self.name(), self.key());
        Job { name, what, key, cost, measure: Box::new(move |store, goes_on| self.measure(store, goes_on)) }
    }

    /// The measurement that was made.
    pub fn load(&self) -> Result<Arrays> {
        self.context.load(&self.name(), &self.key())
    }

    fn measure(&self, store: &Store, goes_on: GoesOn<'_>) -> Result<Option<Arrays>> {
        let Context { device, settings, .. } = self.context;
        let subject = &self.context.subjects[self.subject];
        let images = &self.set.images;
        let gaussians =
            self.wanted.distances.then(|| Fit { context: self.context, subject: self.subject }.load(store));
        let gaussians = gaussians.transpose()?.flatten();
        let (mut logits, mut norms, mut distances) = (Vec::new(), Vec::new(), Vec::new());
        let score = ScoreSettings {
            mode: settings.mode,
            input_gradient: self.wanted.gradient,
            features: gaussians.is_some(),
            ..ScoreSettings::default()
        };
        let image = images.height * images.width * images.channels;
        let mut each = |_, scores: Scores| {
            logits.extend(scores.logits);
            let norm = |g: &[f32]| g.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt() as f32;
            norms.extend(scores.input_gradient.iter().flat_map(|gradient| gradient.chunks(image).map(norm)));
            if let (Some(gaussians), Some(features)) = (&gaussians, scores.features) {
                distances.extend(gaussians.distances(&features).into_iter().map(|d| d as f32));
            }
            Ok(())
        };
        let passes = images.count as f64 * if self.wanted.gradient { GRADIENT } else { 1.0 };
        let share = passes / (passes + self.wanted.odin as f64 * ODIN);
        let mut within = |done: f64| goes_on(share * done / images.count as f64);
        if scan(device, &subject.model, score, images, settings.batch, &mut within, &mut each)?.is_none() {
            return Ok(None);
        }
        let n = images.count;
        let mut arrays = Arrays::default().with_f32(LOGITS, [n, subject.classes()], logits);
        if self.wanted.gradient {
            arrays = arrays.with_f32(NORMS, [n], norms);
        }
        if gaussians.is_some() {
            arrays = arrays.with_f32(DISTANCES, [n], distances);
        }
        if self.wanted.odin > 0 {
            let (count, batch) = (self.wanted.odin, settings.batch);
            let mut within = |done: f64| goes_on(share + (1.0 - share) * done / count as f64);
            let moved =
                odin::logits(device, &subject.model, settings.mode, images, count, batch, &mut within)?;
            let Some(moved) = moved else { return Ok(None) };
            arrays = arrays.with_f32(ODIN_LOGITS, [count, subject.classes()], moved);
        }
        Ok(Some(arrays))
    }
}

/// The features of training images, and the Gaussian classes that fit them.
pub(in super::super) struct Fit<'a> {
    pub context: Context<'a>,
    pub subject: usize,
}

impl<'a> Fit<'a> {
    /// The measurement to make, if there are training images and classes.
    pub fn job(self) -> Option<Job<'a>> {
        let train = self.context.data.train.as_ref()?;
        self.context.subjects[self.subject].labels.as_ref()?;
        let what = self.context.what(self.subject, &format!("features of {}", train.name));
        let cost = train.images.count as f64;
        let (name, key) = (self.name(), self.key(train));
        Some(Job { name, what, key, cost, measure: Box::new(move |_, goes_on| self.measure(train, goes_on)) })
    }

    fn name(&self) -> String {
        self.context.name(self.subject, FEATURES)
    }

    fn key(&self, train: &ImageSet) -> Value {
        self.context.key(self.subject, train, Value::Null)
    }

    fn measure(&self, train: &ImageSet, goes_on: GoesOn<'_>) -> Result<Option<Arrays>> {
        let Context { device, settings, .. } = self.context;
        let model = &self.context.subjects[self.subject].model;
        let score = ScoreSettings { mode: settings.mode, features: true, ..ScoreSettings::default() };
        let count = train.images.count;
        let mut features = Vec::new();
        let mut each = |_, scores: Scores| {
            features.extend(scores.features.into_iter().flatten());
            Ok(())
        };
        let mut within = |done: f64| goes_on(done / count as f64);
        let done = scan(device, model, score, &train.images, settings.batch, &mut within, &mut each)?;
        let d = features.len() / count;
        Ok(done.map(|()| Arrays::default().with_f32(FEATURES, [count, d], features)))
    }

    /// The Gaussian classes; `None` if the features do not differ within the classes.
    fn load(&self, store: &Store) -> Result<Option<Gaussians>> {
        let subject = &self.context.subjects[self.subject];
        let (Some(train), Some(labels)) = (&self.context.data.train, &subject.labels) else {
            return Ok(None);
        };
        let Some(arrays) = store.load(&self.name(), &self.key(train)) else { return Ok(None) };
        let labels: Vec<usize> = labels.train.iter().map(|&label| label as usize).collect();
        Ok(Gaussians::fit(arrays.f32(FEATURES), &labels, subject.classes()))
    }
}
