//! The whole of an evaluation: measurements, sections, report.

use super::job::{Job, Watch, measure};
use super::sections::scores::{Fit, Scoring, Wanted};
use super::sections::{Context, Written, classification, generation, ood, published, robustness};
use super::store::Store;
use super::subject::{EvaluationData, Subject};
use super::{Part, Settings};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::io::atomic;
use crate::report::document::{Block, Document};
use serde_json::{Map, Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The version of the format of `eval.json`.
const VERSION: u32 = 1;
/// The directory of measurements, in that of the report.
const PARTS: &str = "parts";

/// A report that is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The contents of `eval.json`.
    pub numbers: Value,
    /// The report in words, tables and pictures.
    pub document: Document,
    /// The files: `eval.json`, `eval.md`, `eval.html`.
    pub files: Vec<PathBuf>,
}

/// Evaluates the first of `subjects`, and the others for comparison, and writes the report into the directory `out`.
/// Measurements that an earlier call left in `out` are not repeated. Returns `None` if `watch` stopped it.
///
/// # Errors
/// An error of the device; [`Error::File`] for a model whose logits are not finite; [`Error::Io`].
pub fn evaluate(
    device: &Device,
    subjects: &[Subject],
    data: &EvaluationData,
    settings: &Settings,
    out: &Path,
    watch: &mut dyn Watch,
) -> Result<Option<Report>> {
    std::fs::create_dir_all(out).map_err(Error::io(out))?;
    let store = Store::new(out.join(PARTS));
    let context = Context { device, subjects, data, settings, store: &store, out };
    let Some(done) = measure(jobs(context)?, &store, watch)? else { return Ok(None) };
    watch.measures("figures and their intervals");
    let wants = |subject| wanted(context, subject);
    let calibrates = settings.has(Part::Calibration);
    let fits = match calibrates || settings.has(Part::Ood) {
        true => (0..subjects.len())
            .map(|subject| classification::fitted(context, subject))
            .collect::<Result<_>>()?,
        false => Vec::new(),
    };
    let mut sections = classification::write(context, wants, calibrates.then_some(&fits[..]))?;
    if settings.has(Part::Ood) {
        sections.push(ood::write(context, &fits)?);
    }
    if settings.has(Part::Robustness) {
        sections.push(robustness::write(context)?);
    }
    if !watch.at(done) {
        return Ok(None);
    }
    if settings.has(Part::Generation) {
        sections.push(generation::write(context, wants)?);
    }
    write(context, sections).map(Some)
}

/// The scores of the test images that the parts need.
fn wanted(context: Context<'_>, subject: usize) -> Wanted {
    match context.settings.has(Part::Ood) {
        true => Wanted::for_detection(&context, subject, &context.data.test),
        false => Wanted::default(),
    }
}

/// All measurements, in their order.
fn jobs(context: Context<'_>) -> Result<Vec<Job<'_>>> {
    let mut jobs = Vec::new();
    for subject in 0..context.subjects.len() {
        if context.settings.has(Part::Ood) {
            jobs.extend(Fit { context, subject }.job());
        }
        jobs.push(Scoring::new(context, subject, &context.data.test, wanted(context, subject)).job());
        if context.settings.has(Part::Calibration) || context.settings.has(Part::Ood) {
            jobs.extend(classification::held_out_job(context, subject));
        }
        if context.settings.has(Part::Ood) {
            jobs.extend(context.data.outside.iter().map(|set| ood::scoring(context, subject, set).job()));
        }
    }
    // The longest come last.
    if context.settings.has(Part::Robustness) {
        jobs.extend((0..context.subjects.len()).flat_map(|subject| robustness::jobs(context, subject)));
    }
    if context.settings.has(Part::Generation) {
        jobs.extend(generation::jobs(context)?);
    }
    Ok(jobs)
}

/// Writes the report.
fn write(context: Context<'_>, sections: Vec<Written>) -> Result<Report> {
    let Context { subjects, data, settings, out, .. } = context;
    let mut objects: Vec<Map<String, Value>> =
        subjects.iter().map(|subject| about(context, subject)).collect();
    let mut document =
        Document { title: format!("{} on {}", subjects[0].name, data.name), ..Document::default() };
    let about = format!(
        "{} of {}. Intervals are 95% bootstrap intervals; differences are paired.",
        describe(&subjects[0]),
        data.test.images.name
    );
    document.opening.push(Block::Text(about));
    if subjects.len() == 1 && subjects[0].model.is_density() != Some(false) {
        let missing = "There is no model to compare with. A plain classifier of the same architecture is what a joint \
                       energy-based model is to be compared with: its LogSumExp detects other sets, too.";
        document.opening.push(Block::Text(missing.into()));
    }
    for Written { section, numbers } in sections {
        document.sections.push(section);
        for (object, numbers) in objects.iter_mut().zip(numbers) {
            merge(object, numbers);
        }
    }
    let mut numbers = Map::new();
    if settings.published {
        let (section, rows) = published::write(&data.name);
        document.sections.push(section);
        numbers.insert("published".into(), rows);
    }
    numbers.insert("version".into(), json!(VERSION));
    numbers.insert("data".into(), json!(data.name));
    numbers.insert("images".into(), json!(data.test.images.count));
    numbers.insert("seed".into(), json!(settings.seed));
    numbers.insert("device".into(), json!(context.device.name()));
    let mut objects = objects.into_iter();
    merge(&mut numbers, objects.next().expect("there is a subject"));
    let others: Vec<Value> = objects.map(Value::Object).collect();
    numbers.insert("against".into(), others.into());
    let numbers = Value::Object(numbers);
    let path = out.join("eval.json");
    atomic::write(&path, |file| writeln!(file, "{numbers:#}"))?;
    let mut files = vec![path];
    files.extend(document.write(out, "eval")?);
    Ok(Report { numbers, document, files })
}

/// The first entries of a subject's object.
fn about(context: Context<'_>, subject: &Subject) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("model".into(), json!(subject.name));
    object.insert("network".into(), json!(subject.model.network().name()));
    object.insert("norm_mode".into(), json!(format!("{:?}", context.settings.mode).to_lowercase()));
    object
}

fn describe(subject: &Subject) -> String {
    let [height, width, channels] = subject.model.image_shape();
    format!("{} on images {height}x{width}x{channels}", subject.model.network().name())
}

/// Adds `entries` to `object`; the intervals of both stand under one key.
fn merge(object: &mut Map<String, Value>, entries: Map<String, Value>) {
    for (key, value) in entries {
        match (object.get_mut(&key), value) {
            (Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
            (_, value) => drop(object.insert(key, value)),
        }
    }
}
