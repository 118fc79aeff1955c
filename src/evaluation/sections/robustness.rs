//! Robustness: accuracy under adversarial attacks.

use super::{Context, Written};
use crate::error::Result;
use crate::evaluation::attacks::{
    Attack, Attacked, Backward, Classifier, Distal, DistalSettings, DistalStart, Images, Norm, Refined,
    Refinement, Threat, Victim, distal, sanity_checks,
};
use crate::evaluation::bootstrap::{Estimate, Resamples};
use crate::evaluation::format::{Form, Object, Row, compared};
use crate::evaluation::job::{GoesOn, Job};
use crate::evaluation::store::Arrays;
use crate::io::{pack, png};
use crate::report::document::{Block, Section};
use crate::report::lines::{self, Frame, Line, Scale};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The number of images of a measurement: an interrupted evaluation repeats at most so many.
const CHUNK: usize = 100;
/// The arrays of an attack's measurement: whether each image is classified right before and after it, the forward passes
/// of each, the numbers of the broken images, and these, NCHW in [-1, 1].
const CORRECT: &str = "correct";
const ROBUST: &str = "robust";
const QUERIES: &str = "queries";
const BROKEN: &str = "index";
const ADVERSARIAL: &str = "adversarial";
/// The number of images that each part of an attack broke.
const BY: &str = "broken_by";
/// The sanity checks; the distal adversarials.
const CHECKS: &str = "checks";
const DISTAL: &str = "distal";
/// The number of adversarial images that are shown.
const SHOWN: usize = 10;

/// An attack to make on the first images of the test set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attempt {
    /// The attack.
    pub attack: Attack,
    /// The norm and the radius.
    pub threat: Threat,
    /// The number of images.
    pub images: usize,
    /// Whether the model refines images by SGLD before it classifies them; only models with SGLD settings do.
    pub refined: bool,
}

/// The refinement of images by SGLD, with the settings of the model's training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefinementSettings {
    /// SGLD steps.
    pub steps: usize,
    /// Chains for each image.
    pub chains: usize,
    /// Independent refinements for each gradient.
    pub draws: usize,
}

/// The attacks of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Attacks {
    /// The attacks, in the order of the report.
    pub attempts: Vec<Attempt>,
    /// The refinement of those that are refined.
    pub refinement: RefinementSettings,
    /// The radius and the number of images of the sanity checks; `None`: no checks.
    pub checks: Option<(Threat, usize)>,
    /// Whether to make distal adversarials.
    pub distal: bool,
}

impl Attacks {
    /// The attacks of a report, on at most `most` images: APGD-CE of 20 steps at several radii on up to 500, AutoAttack at
    /// the radii of RobustBench, 8/255 (L-infinity) and 0.5 (L2), on up to 100, APGD-CE through refinement on up to 20,
    /// and sanity checks on up to 50.
    pub fn standard(most: usize) -> Self {
        let attempt = |attack, norm, epsilon, images: usize, refined| Attempt {
            attack,
            threat: Threat::new(norm, epsilon).expect("a radius"),
            images: images.min(most),
            refined,
        };
        let apgd = Attack::ApgdCe { steps: 20 };
        let radii = [1.0, 2.0, 4.0, 8.0].map(|bytes| (Norm::LInf, bytes / 255.0)).into_iter();
        let radii = radii.chain([0.25, 0.5, 1.0].map(|epsilon| (Norm::L2, epsilon)));
        let mut attempts: Vec<Attempt> =
            radii.map(|(norm, epsilon)| attempt(apgd, norm, epsilon, 500, false)).collect();
        for (norm, epsilon) in [(Norm::LInf, 8.0 / 255.0), (Norm::L2, 0.5)] {
            attempts.push(attempt(Attack::AutoAttack, norm, epsilon, 100, false));
        }
        attempts.push(attempt(apgd, Norm::L2, 0.5, 20, true));
        Self {
            attempts,
            refinement: RefinementSettings { steps: 10, chains: 5, draws: 1 },
            checks: Some((Threat::new(Norm::LInf, 1.0 / 255.0).expect("a radius"), 50.min(most))),
            distal: true,
        }
    }
}

impl Attempt {
    fn name(&self) -> String {
        let Self { attack, threat, refined, .. } = self;
        let steps = attack.steps().map(|steps| format!("-{steps}")).unwrap_or_default();
        let refined = if *refined { "-refined" } else { "" };
        format!("{attack}{steps}{refined}-{}-{}", threat.norm(), radius(*threat))
    }

    /// The name in tables.
    fn title(&self) -> String {
        let Self { attack, threat, images, refined } = self;
        let steps = attack.steps().map(|steps| format!("-{steps}")).unwrap_or_default();
        let refined = if *refined { ", through refinement" } else { "" };
        format!(
            "{}{steps}{refined}, {} {}, n = {images}",
            public(*attack),
            symbol(threat.norm()),
            radius(*threat)
        )
    }
}

/// The name of an attack as its authors write it.
fn public(attack: Attack) -> &'static str {
    match attack {
        Attack::Noise => "random noise",
        Attack::Pgd { .. } => "PGD",
        Attack::ApgdCe { .. } => "APGD-CE",
        Attack::ApgdDlr { .. } => "APGD-DLR",
        Attack::ApgdT { .. } => "APGD-T",
        Attack::FabT { .. } => "FAB-T",
        Attack::Square { .. } => "Square",
        Attack::AutoAttack => "AutoAttack",
    }
}

fn symbol(norm: Norm) -> &'static str {
    match norm {
        Norm::LInf => "L∞",
        Norm::L2 => "L2",
    }
}

/// A radius as people write it: `8/255`, `0.5`.
fn radius(threat: Threat) -> String {
    let bytes = threat.epsilon() * 255.0;
    match threat.norm() {
        Norm::LInf if (bytes - bytes.round()).abs() < 1e-9 => format!("{}/255", bytes.round()),
        _ => threat.epsilon().to_string(),
    }
}

/// One measurement: some images under one attack.
struct Chunk<'a> {
    context: Context<'a>,
    subject: usize,
    attempt: Attempt,
    first: usize,
    count: usize,
}

impl<'a> Chunk<'a> {
    /// The measurements of an attempt; none if the subject has no classes, or refines nothing and should.
    fn all(context: Context<'a>, subject: usize, attempt: Attempt) -> Vec<Self> {
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
pub(in super::super) fn jobs<'a>(context: Context<'a>, subject: usize) -> Vec<Job<'a>> {
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

fn checks_key(context: Context<'_>, subject: usize, (threat, images): (Threat, usize)) -> (String, Value) {
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
        // Of the whole set, those that are classified right: an order between attacks needs images to attack.
        let pixels = data.test.images.batch(0..count);
        let images = Images { pixels: &pixels, labels: &labels[..count] };
        let mut other = source(context, subject).map(victim).transpose()?;
        let other = other.as_mut().map(|other| other as &mut dyn Victim);
        let checks =
            sanity_checks(&mut victim(subject)?, other, images, threat, settings.seed.into(), goes_on)?;
        let check = |check: &crate::evaluation::attacks::Check| {
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

fn distal_key(context: Context<'_>, subject: usize) -> (String, Value) {
    let set = &context.data.test;
    let key = context.key(
        subject,
        set,
        json!({ "distal": format!("{:?}", DistalSettings::default()), "seed": context.settings.seed }),
    );
    (context.name(subject, "attack-distal"), key)
}

/// The starts of distal adversarials.
const STARTS: [DistalStart; 2] = [DistalStart::Noise, DistalStart::Grey];

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

/// The outcome of an attempt for one subject.
struct Outcome {
    clean: Estimate,
    robust: Estimate,
    by: BTreeMap<String, u64>,
    /// The mean number of forward passes of an attacked image.
    queries: f64,
}

fn outcome(context: Context<'_>, subject: usize, attempt: Attempt) -> Result<Option<Outcome>> {
    let (mut correct, mut robust, mut queries) = (Vec::new(), Vec::new(), 0.0);
    let mut by: BTreeMap<String, u64> = BTreeMap::new();
    for chunk in Chunk::all(context, subject, attempt) {
        let arrays = context.load(&chunk.name(), &chunk.key())?;
        correct.extend(arrays.u32(CORRECT).iter().map(|&word| word == 1));
        robust.extend(arrays.u32(ROBUST).iter().map(|&word| word == 1));
        queries += arrays.u32(QUERIES).iter().map(|&queries| f64::from(queries)).sum::<f64>();
        for (name, count) in arrays.json(BY).as_object().into_iter().flatten() {
            *by.entry(name.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
    }
    if correct.is_empty() {
        return Ok(None);
    }
    let resamples = Resamples::new(correct.len(), context.settings.seed.into());
    let attacked = correct.iter().filter(|correct| **correct).count().max(1);
    let [clean, robust] = [&correct, &robust].map(|marks| resamples.share(marks));
    Ok(Some(Outcome { clean, robust, by, queries: queries / attacked as f64 }))
}

/// The section.
pub(in super::super) fn write(context: Context<'_>) -> Result<Written> {
    let attempts = &context.settings.attacks.attempts;
    let mut all: Vec<Vec<Option<Outcome>>> = Vec::new();
    for subject in 0..context.subjects.len() {
        let outcomes = attempts.iter().map(|&attempt| outcome(context, subject, attempt));
        all.push(outcomes.collect::<Result<_>>()?);
    }
    let mut blocks = vec![Block::Text(
        "Accuracy under attack: the share of all images that are classified right and still are after the attack. Radii \
         are in units of [0, 1] pixels; every adversarial image was measured in float64 and classified again. An attack \
         that finds nothing does not prove that there is nothing to find."
            .into(),
    )];
    let row = |(at, attempt): (usize, &Attempt)| Row {
        name: attempt.title(),
        form: Form::Percent,
        figures: all.iter().map(|outcomes| outcomes[at].as_ref().map(|outcome| &outcome.robust)).collect(),
    };
    let rows: Vec<Row<'_>> = attempts.iter().enumerate().map(row).collect();
    blocks.push(compared("", &context.names(), &rows));
    blocks.extend(curves(context, &all)?);
    blocks.extend(shown(context)?);
    let mut numbers = Vec::new();
    for (subject, outcomes) in all.iter().enumerate() {
        let mut object = Object::default();
        let robustness = attempts.iter().zip(outcomes);
        let robustness =
            robustness.filter_map(|(attempt, outcome)| Some(json_of(attempt, outcome.as_ref()?)));
        object.value("robustness", robustness.collect::<Vec<_>>());
        let name = &context.subjects[subject].name;
        if let Some(found) = found(
            context,
            subject,
            context.settings.attacks.checks.map(|checks| checks_key(context, subject, checks)),
        )? {
            let checks = found.json(CHECKS);
            let images = context.settings.attacks.checks.map_or(0, |(_, images)| images);
            blocks.push(checks_table(name, images, &checks));
            object.value("attack_checks", checks);
        }
        let distal = context.settings.attacks.distal.then(|| distal_key(context, subject));
        if let Some(found) = found(context, subject, distal)? {
            blocks.extend(distal_blocks(context, subject, &found)?);
            object.value("distal", found.json(DISTAL));
        }
        numbers.push(object.entries());
    }
    Ok(Written { section: Section { title: "Robustness".into(), blocks }, numbers })
}

/// A measurement, if it is wanted of the subject.
fn found(context: Context<'_>, subject: usize, wanted: Option<(String, Value)>) -> Result<Option<Arrays>> {
    match wanted.filter(|_| context.subjects[subject].labels.is_some()) {
        Some((name, key)) => context.load(&name, &key).map(Some),
        None => Ok(None),
    }
}

fn json_of(attempt: &Attempt, outcome: &Outcome) -> Value {
    let mut object = Object::default();
    object.value("norm", attempt.threat.norm().to_string());
    object.value("epsilon", attempt.threat.epsilon());
    object.value("attack", attempt.attack.name());
    object.value("steps", json!(attempt.attack.steps()));
    object.value("refined", attempt.refined);
    object.value("images", attempt.images);
    object.estimate("clean_accuracy", &outcome.clean);
    object.estimate("accuracy", &outcome.robust);
    object.value("broken_by", json!(outcome.by));
    object.value("mean_queries", outcome.queries);
    object.finish()
}

/// The curves over the radius: a picture for each norm that has an attack at several radii.
fn curves(context: Context<'_>, all: &[Vec<Option<Outcome>>]) -> Result<Vec<Block>> {
    let attempts = &context.settings.attacks.attempts;
    let mut blocks = Vec::new();
    for norm in [Norm::LInf, Norm::L2] {
        let mut lines: Vec<Line> = Vec::new();
        for (subject, outcomes) in all.iter().enumerate() {
            let mut families: BTreeMap<String, Vec<(&Attempt, &Outcome)>> = BTreeMap::new();
            for (attempt, outcome) in
                attempts.iter().zip(outcomes).filter(|(attempt, _)| attempt.threat.norm() == norm)
            {
                let Some(outcome) = outcome else { continue };
                let steps = attempt.attack.steps().map(|steps| format!("-{steps}")).unwrap_or_default();
                let refined = if attempt.refined { ", refined" } else { "" };
                let family = format!("{}{steps}{refined}, n = {}", public(attempt.attack), attempt.images);
                families.entry(family).or_default().push((attempt, outcome));
            }
            for (family, mut members) in families.into_iter().filter(|(_, members)| members.len() > 1) {
                members.sort_by(|a, b| a.0.threat.epsilon().total_cmp(&b.0.threat.epsilon()));
                let band = |figure: &Estimate| figure.interval().unwrap_or([f64::NAN; 2]);
                let clean = &members[0].1.clean;
                let points =
                    members.iter().map(|(attempt, outcome)| (attempt.threat.epsilon(), outcome.robust.value));
                let bands = members.iter().map(|(_, outcome)| band(&outcome.robust));
                lines.push(Line {
                    name: if all.len() > 1 {
                        format!("{}, {family}", context.subjects[subject].name)
                    } else {
                        family
                    },
                    points: std::iter::once((0.0, clean.value)).chain(points).collect(),
                    band: Some(std::iter::once(band(clean)).chain(bands).collect()),
                });
            }
        }
        lines.truncate(lines::LINES);
        if lines.is_empty() {
            continue;
        }
        let file = PathBuf::from(format!("robustness-{norm}.png"));
        let radius = format!("{} radius in units of [0, 1] pixels", symbol(norm));
        let frame = Frame {
            title: "Accuracy under attack",
            names: [&radius, "accuracy"],
            scale: Scale::Linear,
            range: Some(0.0..1.0),
        };
        lines::plot(&context.out.join(&file), &lines, &frame)?;
        let caption = format!("Accuracy over the {} radius, with 95% intervals.", symbol(norm));
        blocks.push(Block::Picture { file, caption });
    }
    Ok(blocks)
}

/// Adversarial images of the first attack that found some, for the first subject: clean, attacked, and their difference.
fn shown(context: Context<'_>) -> Result<Vec<Block>> {
    let [height, width, channels] = context.subjects[0].model.image_shape();
    let size = height * width * channels;
    for &attempt in &context.settings.attacks.attempts {
        for chunk in Chunk::all(context, 0, attempt) {
            let arrays = context.load(&chunk.name(), &chunk.key())?;
            let index = arrays.u32(BROKEN);
            let n = index.len().min(SHOWN);
            if n == 0 || !matches!(channels, 1 | 3) {
                continue;
            }
            let adversarial =
                pack::nchw_to_nhwc(&arrays.f32(ADVERSARIAL)[..n * size], n, channels, height, width);
            let clean = index[..n].iter().flat_map(|&image| {
                let image = chunk.first + image as usize;
                context.data.test.images.batch(image..image + 1)
            });
            let clean: Vec<f32> = clean.collect();
            // The largest change of each image reaches black or white.
            let mut difference: Vec<f32> = adversarial.iter().zip(&clean).map(|(a, b)| a - b).collect();
            for image in difference.chunks_mut(size) {
                let largest = image.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
                image.iter_mut().for_each(|value| *value /= largest);
            }
            let file = PathBuf::from("adversarial.png");
            let all = [clean, adversarial, difference].concat();
            png::write_grid(&context.out.join(&file), &all, 3 * n, height, width, channels, n, 2)?;
            let caption = format!(
                "{}: clean images, adversarial images, and their differences, magnified.",
                attempt.title()
            );
            return Ok(vec![Block::Picture { file, caption }]);
        }
    }
    Ok(Vec::new())
}

fn checks_table(name: &str, images: usize, checks: &Value) -> Block {
    let percent = |value: &Value| value.as_f64().map_or("–".into(), |value| Form::Percent.number(value));
    let row = |check: &Value| {
        vec![
            check["name"].as_str().unwrap_or_default().to_owned(),
            percent(&check["stronger"]),
            percent(&check["weaker"]),
            if check["holds"] == true { "holds".into() } else { "FAILS".to_owned() },
        ]
    };
    Block::Table {
        caption: format!(
            "{name}: sanity checks after Carlini et al. (2019) on {images} images. Where one fails, gradients are masked, and \
             the accuracies above are too high."
        ),
        head: ["", "accuracy", "against the weaker attack", ""].map(String::from).to_vec(),
        rows: checks.as_array().into_iter().flatten().map(row).collect(),
    }
}

fn distal_blocks(context: Context<'_>, subject: usize, found: &Arrays) -> Result<Vec<Block>> {
    let model = &context.subjects[subject].model;
    let [height, width, channels] = model.image_shape();
    let classes = context.subjects[subject].classes();
    let facts = found.json(DISTAL);
    let mut blocks = Vec::new();
    for start in STARTS.map(|start| start.to_string()) {
        let steps = facts[&start].as_array().into_iter().flatten();
        let reached: Vec<u64> = steps.filter_map(|one| one["steps"].as_u64()).collect();
        let mean = reached.iter().sum::<u64>() as f64 / reached.len() as f64;
        let DistalSettings { confidence, step, steps, .. } = DistalSettings::default();
        let text = format!(
            "{}: from {start} to a confidence of {:.0}%, in steps of L2 length {step}: {} of {classes} classes reached it \
             within {steps} steps, after {mean:.0} on average.",
            context.subjects[subject].name,
            100.0 * confidence,
            reached.len()
        );
        if !matches!(channels, 1 | 3) {
            blocks.push(Block::Text(text));
            continue;
        }
        let file = PathBuf::from(format!("{}.png", context.name(subject, &format!("distal-{start}"))));
        let images = pack::nchw_to_nhwc(found.f32(&start), classes, channels, height, width);
        png::write_grid(&context.out.join(&file), &images, classes, height, width, channels, 10, 2)?;
        blocks.push(Block::Picture { file, caption: text });
    }
    Ok(blocks)
}
