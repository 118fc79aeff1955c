//! The figures of robustness: tables, curves and pictures.

use super::measure::{
    ADVERSARIAL, BROKEN, BY, CHECKS, CORRECT, Chunk, DISTAL, QUERIES, ROBUST, STARTS, checks_key, distal_key,
};
use super::{Attempt, public, symbol};
use crate::error::Result;
use crate::evaluation::attacks::{DistalSettings, Norm};
use crate::evaluation::bootstrap::{Estimate, Resamples};
use crate::evaluation::format::{Form, Object, Row, compared};
use crate::evaluation::sections::{Context, Written};
use crate::evaluation::store::Arrays;
use crate::io::{pack, png};
use crate::report::document::{Block, Section};
use crate::report::lines::{self, Frame, Line, Scale};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The number of adversarial images that are shown.
const SHOWN: usize = 10;

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
        let arrays = chunk.load()?;
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
pub(in crate::evaluation) fn write(context: Context<'_>) -> Result<Written> {
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
    for (norm, scale, units) in [(Norm::LInf, 255.0, "1/255 of"), (Norm::L2, 1.0, "units of")] {
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
                let points = members
                    .iter()
                    .map(|(attempt, outcome)| (scale * attempt.threat.epsilon(), outcome.robust.value));
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
        let radius = format!("{} radius in {units} [0, 1] pixels", symbol(norm));
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
            let arrays = chunk.load()?;
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
