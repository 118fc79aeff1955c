//! The measurements of robustness: attacks on some images at a time, sanity checks, distal adversarials.

use super::{Attempt, RefinementSettings};
use crate::error::Result;
use crate::evaluation::attacks::{
    Attacked, Backward, Check, Classifier, Distal, DistalSettings, DistalStart, Images, Refined, Refinement,
    Threat, Victim, distal, sanity_checks,
};
use crate::evaluation::job::{GoesOn, Job};
use crate::evaluation::sections::Context;
use crate::evaluation::store::Arrays;
use crate::io::pack;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The number of images of a measurement: an interrupted evaluation repeats at most so many.
const CHUNK: usize = 100;
/// The arrays of an attack's measurement: whether each image is classified right before and after it, the forward passes
/// of each, the numbers of the broken images, and these, NCHW in [-1, 1].
pub(super) const CORRECT: &str = "correct";
pub(super) const ROBUST: &str = "robust";
pub(super) const QUERIES: &str = "queries";
pub(super) const BROKEN: &str = "index";
pub(super) const ADVERSARIAL: &str = "adversarial";
/// The number of images that each part of an attack broke.
pub(super) const BY: &str = "broken_by";
/// The sanity checks; the distal adversarials.
pub(super) const CHECKS: &str = "checks";
pub(super) const DISTAL: &str = "distal";
/// One measurement: some images under one attack.
pub(super) struct Chunk<'a> {
    context: Context<'a>,
    subject: usize,
    attempt: Attempt,
    /// The number of the first image.
    pub first: usize,
    count: usize,
}

impl<'a> Chunk<'a> {
    /// The measurements of an attempt; none if the subject has no classes, or refines nothing and should.
    pub fn all(context: Context<'a>, subject: usize, attempt: Attempt) -> Vec<Self> {
        let model = &context.subjects[subject];
        if model.labels.is_none() || (attempt.refined && model.model.langevin().is_none()) {
            return Vec::new();
        }
        let images = attempt.images;
        let chunk =
            |first: usize| Self { context, subject, attempt, first, count: CHUNK.min(images - first) };
        (0..images).step_by(CHUNK).map(chunk).collect()
    }

    fn name(&self) -> String {
        self.context.name(self.subject, &format!("attack-{}-{}", self.attempt.name(), self.first))
    }

    fn key(&self) -> Value {
        let Attempt { attack, threat, refined, .. } = self.attempt;
        let refinement = refined.then(|| format!("{:?}", self.context.settings.attacks.refinement));
        let settings = json!({
            "attack": format!("{attack:?}"),
            "norm": threat.norm().to_string(),
            "epsilon": threat.epsilon(),
            "refinement": refinement,
            "seed": self.context.settings.seed,
            "first": self.first,
            "count": self.count,
            "labels": self.labels(),
        });
        self.context.key(self.subject, &self.context.data.test, settings)
    }

    fn labels(&self) -> &'a [u32] {
        let labels = self.context.subjects[self.subject].labels.as_ref();
        labels.map_or(&[], |labels| &labels.test[self.first..self.first + self.count])
    }

    /// The arrays that were measured.
    pub fn load(&self) -> Result<Arrays> {
        self.context.load(&self.name(), &self.key())
    }

    fn job(self) -> Job<'a> {
        let classes = self.context.subjects[self.subject].classes();
        let RefinementSettings { steps, chains, draws } = self.context.settings.attacks.refinement;
        let factor = if self.attempt.refined { (chains * draws * (1 + steps)) as f64 } else { 1.0 };
        let cost = self.count as f64 * self.attempt.attack.cost(classes) * factor;
        let last = self.first + self.count;
        let what = format!("{}, images {} to {last}", self.attempt.title(), self.first + 1);
        let (name, key, what) = (self.name(), self.key(), self.context.what(self.subject, &what));
        Job { name, what, key, cost, measure: Box::new(move |_, goes_on| self.measure(goes_on)) }
    }

    fn measure(&self, goes_on: GoesOn<'_>) -> Result<Option<Arrays>> {
        let Context { data, settings, .. } = self.context;
        let Attempt { attack, threat, .. } = self.attempt;
        let pixels = data.test.images.batch(self.first..self.first + self.count);
        let images = Images { pixels: &pixels, labels: self.labels() };
        // Every chunk has random numbers of its own.
        let seed = u64::from(settings.seed) << 32 | self.first as u64;
        let mut victim = self.victim()?;
        let attacked = attack.run(&mut *victim, images, threat, seed, goes_on)?;
        let [height, width, channels] = victim.image();
        Ok(attacked.map(|attacked| arrays(&attacked, [height, width, channels])))
    }

    fn victim(&self) -> Result<Box<dyn Victim>> {
        let Context { device, subjects, settings, .. } = self.context;
        let model = &subjects[self.subject].model;
        let RefinementSettings { steps, chains, draws } = settings.attacks.refinement;
        Ok(match model.langevin().filter(|_| self.attempt.refined) {
            None => Box::new(Classifier::new(device, model, settings.batch)?),
            Some(langevin) => {
                let (backward, seed) = (Backward::Identity, settings.seed);
                let refinement = Refinement { langevin, steps, chains, draws, backward, seed };
                Box::new(Refined::new(device, model, refinement, settings.batch.div_ceil(chains))?)
            }
        })
    }
}

fn arrays(attacked: &Attacked, [height, width, channels]: [usize; 3]) -> Arrays {
    let n = attacked.correct.len();
    let word = |is: &bool| u32::from(*is);
    let robust = attacked.robust();
    let broken: Vec<usize> = (0..n).filter(|&image| attacked.broken_by[image].is_some()).collect();
    let size = height * width * channels;
    let images: Vec<f32> =
        broken.iter().flat_map(|&image| &attacked.images[image * size..][..size]).copied().collect();
    let mut by: BTreeMap<&str, usize> = BTreeMap::new();
    attacked.broken_by.iter().flatten().for_each(|name| *by.entry(name).or_default() += 1);
    let images = pack::nhwc_to_nchw(&images, broken.len(), height, width, channels);
    Arrays::default()
        .with_u32(CORRECT, [n], attacked.correct.iter().map(word).collect())
        .with_u32(ROBUST, [n], robust.iter().map(word).collect())
        .with_u32(QUERIES, [n], attacked.queries.iter().map(|&queries| queries as u32).collect())
        .with_u32(BROKEN, [broken.len()], broken.iter().map(|&image| image as u32).collect())
        .with_f32(ADVERSARIAL, [broken.len(), channels, height, width], images)
        .with_json(BY, &json!(by))
}

/// The measurements of all attacks on a subject, of its checks and its distal adversarials.
pub(in crate::evaluation) fn jobs<'a>(context: Context<'a>, subject: usize) -> Vec<Job<'a>> {
    let attacks = &context.settings.attacks;
    let chunks = attacks.attempts.iter().flat_map(|&attempt| Chunk::all(context, subject, attempt));
    let mut jobs: Vec<Job<'a>> = chunks.map(Chunk::job).collect();
    if context.subjects[subject].labels.is_none() {
        return jobs;
    }
    if let Some(checks) = attacks.checks {
        jobs.push(checks_job(context, subject, checks));
    }
    if attacks.distal {
        jobs.push(distal_job(context, subject));
    }
    jobs
}

/// The model that attacks are transferred from: another one, if there is one.
fn source(context: Context<'_>, subject: usize) -> Option<usize> {
    (0..context.subjects.len()).find(|&other| other != subject && context.subjects[other].labels.is_some())
}

/// The name and the key of the sanity checks of a subject.
pub(super) fn checks_key(
    context: Context<'_>,
    subject: usize,
    (threat, images): (Threat, usize),
) -> (String, Value) {
    let other = source(context, subject).map(|other| context.subjects[other].digest.as_str());
    let settings = json!({
        "norm": threat.norm().to_string(),
        "epsilon": threat.epsilon(),
        "images": images,
        "source": other,
        "seed": context.settings.seed,
    });
    (context.name(subject, "attack-checks"), context.key(subject, &context.data.test, settings))
}

fn checks_job<'a>(context: Context<'a>, subject: usize, checks: (Threat, usize)) -> Job<'a> {
    let (threat, count) = checks;
    let (name, key) = checks_key(context, subject, checks);
    let measure = move |goes_on: GoesOn<'_>| {
        let Context { device, subjects, data, settings, .. } = context;
        let victim = |subject: usize| Classifier::new(device, &subjects[subject].model, settings.batch);
        let labels = subjects[subject].labels.as_ref().map_or(&[][..], |labels| &labels.test);
        let pixels = data.test.images.batch(0..count);
        let images = Images { pixels: &pixels, labels: &labels[..count] };
        let mut other = source(context, subject).map(victim).transpose()?;
        let other = other.as_mut().map(|other| other as &mut dyn Victim);
        let checks =
            sanity_checks(&mut victim(subject)?, other, images, threat, settings.seed.into(), goes_on)?;
        let check = |check: &Check| {
            json!({
                "name": check.name,
                "stronger": check.stronger,
                "weaker": check.weaker,
                "holds": check.holds,
            })
        };
        Ok(checks.map(|checks| {
            Arrays::default().with_json(CHECKS, &Value::Array(checks.iter().map(check).collect()))
        }))
    };
    let what = context.what(subject, "sanity checks of attacks");
    // Gradient steps of seven attacks and the queries of one.
    let cost = count as f64 * (231.0 * 3.0 + 1000.0);
    Job { name, what, key, cost, measure: Box::new(move |_, goes_on| measure(goes_on)) }
}

/// The name and the key of the distal adversarials of a subject.
pub(super) fn distal_key(context: Context<'_>, subject: usize) -> (String, Value) {
    let set = &context.data.test;
    let key = context.key(
        subject,
        set,
        json!({ "distal": format!("{:?}", DistalSettings::default()), "seed": context.settings.seed }),
    );
    (context.name(subject, "attack-distal"), key)
}

/// The starts of distal adversarials.
pub(super) const STARTS: [DistalStart; 2] = [DistalStart::Noise, DistalStart::Grey];

fn distal_job<'a>(context: Context<'a>, subject: usize) -> Job<'a> {
    let (name, key) = distal_key(context, subject);
    let measure = move |goes_on: GoesOn<'_>| {
        let Context { device, subjects, settings, .. } = context;
        let mut victim = Classifier::new(device, &subjects[subject].model, settings.batch)?;
        let [height, width, channels] = victim.image();
        let classes = subjects[subject].classes();
        let mut arrays = Arrays::default();
        let mut facts = Map::new();
        for (number, start) in STARTS.into_iter().enumerate() {
            let settings = DistalSettings { start, ..DistalSettings::default() };
            let mut part = |part: f64| goes_on((number as f64 + part) / STARTS.len() as f64);
            let seed = context.settings.seed.into();
            let Some(found) = distal(&mut victim, settings, seed, &mut part)? else { return Ok(None) };
            let images: Vec<f32> = found.iter().flat_map(|one| &one.image).copied().collect();
            let images = pack::nhwc_to_nchw(&images, classes, height, width, channels);
            arrays = arrays.with_f32(&start.to_string(), [classes, channels, height, width], images);
            let one = |one: &Distal| json!({ "class": one.class, "steps": one.steps, "confidence": one.confidence });
            facts.insert(start.to_string(), found.iter().map(one).collect());
        }
        Ok(Some(arrays.with_json(DISTAL, &Value::Object(facts))))
    };
    let what = context.what(subject, "distal adversarials");
    let cost = (STARTS.len() * context.subjects[subject].classes()) as f64 * 300.0;
    Job { name, what, key, cost, measure: Box::new(move |_, goes_on| measure(goes_on)) }
}
