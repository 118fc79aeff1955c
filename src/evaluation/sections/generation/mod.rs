//! Generation: samples by stated chains, and how near they are to the data.

mod figures;

pub(in super::super) use figures::write;

use super::Context;
use crate::ebm::{ChainSource, Langevin, Sampling, ScoreSettings, Scores, scan};
use crate::error::{Error, Result};
use crate::evaluation::generation::chains::{self, LENGTHS, Snapshot};
use crate::evaluation::generation::inception::{self, Inception};
use crate::evaluation::generation::round_to_8_bits;
use crate::evaluation::job::{GoesOn, Job};
use crate::evaluation::store::{Arrays, Store};
use crate::evaluation::subject::{ImageSet, Subject, samples_as_images};
use crate::io::pack;
use crate::named::named;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The arrays of samples: the images, NCHW, and their energies; the numbers of diverged chains.
const SAMPLES: &str = "samples";
const ENERGIES: &str = "energies";
const DIVERGED: &str = "diverged";
/// The arrays of features.
const FEATURES: &str = "features";
const LOGITS: &str = "logits";
/// A pass with the gradient at the images, as a multiple of one without; and one of the Inception network, in passes of
/// a small network.
const GRADIENT: f64 = 2.25;
const INCEPTION: f64 = 150.0;
/// The images of a batch of the Inception network.
const INCEPTION_BATCH: usize = 10;

/// The starting points of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleStart {
    /// Uniform noise.
    Uniform,
    /// The model's replay buffer: its chains with the most steps.
    Buffer,
    /// A Gaussian for each class of the training images.
    Gaussians,
}

named!(SampleStart, "sample-start": Uniform = "uniform", Buffer = "buffer", Gaussians = "gaussians");

/// The samples of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// The number of chains, all of which are evaluated.
    pub count: usize,
    /// The number of SGLD steps.
    pub steps: usize,
    /// Their starting points.
    pub start: SampleStart,
    /// Whether to sample p(x|y), as many chains of each class, rather than p(x).
    pub conditional: bool,
    /// The number of fresh chains whose energies are followed, and the longest of them, in steps; no chains: none.
    pub fresh: [usize; 2],
    /// The file of the public Inception network.
    pub inception: Option<PathBuf>,
    /// The number of the subject whose features are compared.
    pub features: usize,
}

impl Samples {
    /// 1,000 chains of p(x) of 100 steps from noise, and 16 fresh chains of up to 10,000 steps.
    pub fn standard() -> Self {
        Self {
            count: 1000,
            steps: 100,
            start: SampleStart::Uniform,
            conditional: false,
            fresh: [16, LENGTHS[3]],
            inception: None,
            features: 0,
        }
    }
}

/// The SGLD settings of a subject: those of its training, else those of JEM.
fn langevin(subject: &Subject) -> Langevin {
    subject.model.langevin().unwrap_or_default()
}

/// The images that samples are compared with.
pub(in super::super) fn reference(context: Context<'_>) -> &ImageSet {
    context.data.train.as_ref().unwrap_or(&context.data.test)
}

/// The chains of a subject.
#[derive(Clone, Copy)]
struct Chains<'a> {
    context: Context<'a>,
    subject: usize,
}

impl<'a> Chains<'a> {
    fn settings(&self) -> &'a Samples {
        &self.context.settings.samples
    }

    fn subject(&self) -> &'a Subject {
        &self.context.subjects[self.subject]
    }

    /// The classes of the chains; empty: p(x).
    fn classes(&self) -> Vec<u32> {
        let classes = self.subject().classes() as u32;
        if self.settings().conditional && classes > 1 { (0..classes).collect() } else { Vec::new() }
    }

    fn start(&self, start: SampleStart, count: usize, classes: &[u32]) -> Result<ChainSource> {
        let model = &self.subject().model;
        let seed = self.context.settings.seed;
        let mut source = match start {
            SampleStart::Uniform => ChainSource::uniform(model, seed),
            SampleStart::Buffer => ChainSource::buffer(model, seed)?,
            SampleStart::Gaussians => {
                let train = self.context.data.train.as_ref();
                let train =
                    train.ok_or_else(|| Error::setting("sample-start", "gaussians need training images"))?;
                ChainSource::gaussians(model, seed, train.images.clone(), classes)?
            }
        };
        source.select(count, classes);
        Ok(source)
    }

    /// Runs `count` chains from `start`, and keeps them after each of the steps `at`.
    fn run(
        &self,
        start: SampleStart,
        count: usize,
        classes: &[u32],
        at: &[usize],
        goes_on: GoesOn<'_>,
    ) -> Result<Option<Vec<Snapshot>>> {
        let Context { device, settings, .. } = self.context;
        let source = self.start(start, count, classes)?;
        let sampling = Sampling {
            model: &self.subject().model,
            mode: settings.mode,
            langevin: langevin(self.subject()),
            start: &source,
            classes,
            count,
            steps: at.last().copied().unwrap_or(0),
            batch: settings.batch,
            seed: settings.seed,
            mask: None,
        };
        chains::run(device, &sampling, at, goes_on)
    }

    /// The key of chains with `settings`, which depend on the training images if these are where they start.
    fn key(&self, settings: Value) -> Value {
        let Context { settings: all, data, .. } = self.context;
        let start = data.train.as_ref().filter(|_| all.samples.start == SampleStart::Gaussians);
        let about = json!({
            "seed": all.seed,
            "langevin": format!("{:?}", langevin(self.subject())),
            "start images": start.map(|train| &train.digest),
            "chains": settings,
        });
        json!({
            "model": self.subject().digest,
            "norm_mode": format!("{:?}", all.mode),
            "settings": about,
        })
    }

    fn samples_key(&self) -> Value {
        let Samples { count, steps, start, conditional, .. } = self.settings();
        self.key(
            json!({ "count": count, "steps": steps, "start": start.to_string(), "conditional": conditional }),
        )
    }

    fn samples_name(&self) -> String {
        self.context.name(self.subject, "samples")
    }

    fn samples_job(self) -> Job<'a> {
        let &Samples { count, steps, start, .. } = self.settings();
        let what = self.context.what(self.subject, &format!("{count} chains of {steps} steps"));
        let (name, key, cost) = (self.samples_name(), self.samples_key(), (count * steps) as f64 * GRADIENT);
        let measure = move |goes_on: GoesOn<'_>| {
            let classes = self.classes();
            let snapshots = self.run(start, count, &classes, &[steps], goes_on)?;
            let Some(Snapshot { mut images, energies, diverged, .. }) =
                snapshots.and_then(|mut all| all.pop())
            else {
                return Ok(None);
            };
            // As in a file of 8 bits, from which published figures are.
            round_to_8_bits(&mut images);
            let [height, width, channels] = self.subject().model.image_shape();
            let images = pack::nhwc_to_nchw(&images, count, height, width, channels);
            let arrays = Arrays::default()
                .with_f32(SAMPLES, [count, channels, height, width], images)
                .with_f32(ENERGIES, [count], energies)
                .with_json(DIVERGED, &json!(diverged));
            Ok(Some(arrays))
        };
        Job { name, what, key, cost, measure: Box::new(move |_, goes_on| measure(goes_on)) }
    }

    /// The lengths of fresh chains.
    fn lengths(&self) -> Vec<usize> {
        LENGTHS.into_iter().filter(|length| *length <= self.settings().fresh[1]).collect()
    }

    fn fresh_key(&self) -> Value {
        self.key(json!({ "fresh": self.settings().fresh }))
    }

    fn fresh_name(&self) -> String {
        self.context.name(self.subject, "fresh-chains")
    }

    fn fresh_job(self) -> Option<Job<'a>> {
        let [count, _] = self.settings().fresh;
        let lengths = self.lengths();
        let longest = *lengths.last().filter(|_| count > 0)?;
        let what = self.context.what(self.subject, &format!("{count} fresh chains of up to {longest} steps"));
        let (name, key, cost) = (self.fresh_name(), self.fresh_key(), (count * longest) as f64 * GRADIENT);
        let measure = move |goes_on: GoesOn<'_>| {
            let Some(snapshots) = self.run(SampleStart::Uniform, count, &[], &lengths, goes_on)? else {
                return Ok(None);
            };
            let [height, width, channels] = self.subject().model.image_shape();
            let mut arrays = Arrays::default();
            for Snapshot { steps, images, energies, diverged } in snapshots {
                let images = pack::nhwc_to_nchw(&images, count, height, width, channels);
                arrays = arrays
                    .with_f32(&format!("{SAMPLES}_{steps}"), [count, channels, height, width], images)
                    .with_f32(&format!("{ENERGIES}_{steps}"), [count], energies)
                    .with_json(&format!("{DIVERGED}_{steps}"), &json!(diverged));
            }
            Ok(Some(arrays))
        };
        Some(Job { name, what, key, cost, measure: Box::new(move |_, goes_on| measure(goes_on)) })
    }
}

/// A network that computes features: a subject's, or the Inception network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extractor {
    Subject(usize),
    Inception,
}

/// The images whose features are computed.
#[derive(Clone, Copy)]
enum Of<'a> {
    Set(&'a ImageSet),
    Samples(Chains<'a>),
}

/// Features of some images.
#[derive(Clone, Copy)]
struct Extraction<'a> {
    context: Context<'a>,
    extractor: Extractor,
    of: Of<'a>,
}

impl<'a> Extraction<'a> {
    fn name(&self) -> String {
        let by = match self.extractor {
            Extractor::Subject(subject) => format!("by-{subject}"),
            Extractor::Inception => "by-inception".into(),
        };
        match self.of {
            Of::Set(set) => format!("features-{}-{by}", set.name),
            Of::Samples(chains) => self.context.name(chains.subject, &format!("features-samples-{by}")),
        }
    }

    fn key(&self) -> Result<Value> {
        let of = match self.of {
            Of::Set(set) => json!(set.digest),
            Of::Samples(chains) => chains.samples_key(),
        };
        let by = match self.extractor {
            Extractor::Subject(subject) => self.context.subjects[subject].digest.clone(),
            Extractor::Inception => {
                let path = self.context.settings.samples.inception.as_ref();
                let path = path.ok_or_else(|| Error::setting("inception", "no file"))?;
                // The file is large, and is read once more when it is loaded: its name, size and time are enough.
                let facts = std::fs::metadata(path).map_err(Error::io(path))?;
                format!("{} {} {:?}", path.display(), facts.len(), facts.modified().ok())
            }
        };
        Ok(json!({ "of": of, "by": by, "norm_mode": format!("{:?}", self.context.settings.mode) }))
    }

    fn count(&self) -> usize {
        match self.of {
            Of::Set(set) => set.images.count,
            Of::Samples(chains) => chains.settings().count,
        }
    }

    fn job(self) -> Result<Job<'a>> {
        let of = match self.of {
            Of::Set(set) => set.name.clone(),
            Of::Samples(chains) => self.context.what(chains.subject, "samples"),
        };
        let (by, cost) = match self.extractor {
            Extractor::Subject(subject) => (self.context.subjects[subject].name.as_str(), 1.0),
            Extractor::Inception => ("Inception", INCEPTION),
        };
        let (name, what, key) = (self.name(), format!("{by} features of {of}"), self.key()?);
        let cost = self.count() as f64 * cost;
        Ok(Job {
            name,
            what,
            key,
            cost,
            measure: Box::new(move |store, goes_on| self.measure(store, goes_on)),
        })
    }

    fn load(&self) -> Result<Arrays> {
        self.context.load(&self.name(), &self.key()?)
    }

    fn measure(&self, store: &Store, goes_on: GoesOn<'_>) -> Result<Option<Arrays>> {
        let Context { device, settings, subjects, .. } = self.context;
        let images = match self.of {
            Of::Set(set) => set.images.clone(),
            Of::Samples(chains) => {
                let samples = store.load(&chains.samples_name(), &chains.samples_key());
                let samples =
                    samples.ok_or_else(|| Error::setting("samples", "were removed during the evaluation"))?;
                let shape = chains.subject().model.image_shape();
                samples_as_images(samples.f32(SAMPLES), shape)
            }
        };
        let count = images.count;
        match self.extractor {
            Extractor::Subject(subject) => {
                let score = ScoreSettings { mode: settings.mode, features: true, ..ScoreSettings::default() };
                let model = &subjects[subject].model;
                let (mut features, mut logits) = (Vec::new(), Vec::new());
                let mut each = |_, scores: Scores| {
                    features.extend(scores.features.into_iter().flatten());
                    logits.extend(scores.logits);
                    Ok(())
                };
                let mut within = |done: f64| goes_on(done / count as f64);
                let done = scan(device, model, score, &images, settings.batch, &mut within, &mut each)?;
                let (d, classes) = (features.len() / count, logits.len() / count);
                Ok(done.map(|()| {
                    Arrays::default().with_f32(FEATURES, [count, d], features).with_f32(
                        LOGITS,
                        [count, classes],
                        logits,
                    )
                }))
            }
            Extractor::Inception => {
                let path = settings.samples.inception.as_ref();
                let path = path.ok_or_else(|| Error::setting("inception", "no file"))?;
                let network = Inception::open(path, device, INCEPTION_BATCH)?;
                let shape = [images.height, images.width, images.channels];
                let found = network.run(&images.batch(0..count), shape, goes_on)?;
                Ok(found.map(|found| {
                    Arrays::default()
                        .with_f32(FEATURES, [count, inception::FEATURES], found.features)
                        .with_f32(LOGITS, [count, inception::LOGITS], found.logits)
                }))
            }
        }
    }
}

/// The networks that compute features in this evaluation.
fn extractors(context: Context<'_>) -> Vec<Extractor> {
    let inception = context.settings.samples.inception.as_ref().map(|_| Extractor::Inception);
    inception.into_iter().chain([Extractor::Subject(context.settings.samples.features)]).collect()
}

/// The measurements of all subjects that are sampled.
pub(in super::super) fn jobs(context: Context<'_>) -> Result<Vec<Job<'_>>> {
    let mut jobs = Vec::new();
    for extractor in extractors(context) {
        jobs.push(Extraction { context, extractor, of: Of::Set(reference(context)) }.job()?);
    }
    for subject in sampled(context) {
        let chains = Chains { context, subject };
        jobs.push(chains.samples_job());
        for extractor in extractors(context) {
            jobs.push(Extraction { context, extractor, of: Of::Samples(chains) }.job()?);
        }
        jobs.extend(chains.fresh_job());
    }
    Ok(jobs)
}

/// The subjects that are sampled: all that may be densities; the first in any case.
fn sampled(context: Context<'_>) -> Vec<usize> {
    let is_density = |subject: &usize| context.subjects[*subject].model.is_density() != Some(false);
    (0..context.subjects.len()).filter(|subject| *subject == 0 || is_density(subject)).collect()
}
