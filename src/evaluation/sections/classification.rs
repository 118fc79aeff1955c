//! Classification and calibration.

use super::scores::{LOGITS, Scoring, Wanted};
use super::{Context, Written};
use crate::error::Result;
use crate::evaluation::bootstrap::{Estimate, Resamples};
use crate::evaluation::calibration::{BINS, Bin, Calibration, risk_coverage, temperature};
use crate::evaluation::classification::Classification;
use crate::evaluation::format::{Form, Object, Row, compared};
use crate::evaluation::job::Job;
use crate::evaluation::predictions::Predictions;
use crate::report::document::{Block, Section};
use serde_json::{Value, json};

/// The coverages whose risks are listed.
const COVERAGES: [f64; 5] = [0.5, 0.7, 0.8, 0.9, 0.95];

/// The predictions of a subject of the test images, whose measurement took in what `wanted` says.
pub(in super::super) fn predictions(
    context: Context<'_>,
    subject: usize,
    wanted: Wanted,
) -> Result<Option<Predictions>> {
    let Some(labels) = &context.subjects[subject].labels else { return Ok(None) };
    let arrays = Scoring::new(context, subject, &context.data.test, wanted).load()?;
    let classes = context.subjects[subject].classes();
    Predictions::new(arrays.f32(LOGITS).to_vec(), labels.test.clone(), classes).map(Some)
}

/// The measurement of the held-out images, if there are any.
pub(in super::super) fn held_out_job<'a>(context: Context<'a>, subject: usize) -> Option<Job<'a>> {
    context.subjects[subject].labels.as_ref()?;
    let set = context.data.held_out.as_ref()?;
    Some(Scoring::new(context, subject, set, Wanted::default()).job())
}

/// The temperature of a subject, fitted to the held-out images; `None` without any.
pub(in super::super) fn fitted_temperature(context: Context<'_>, subject: usize) -> Result<Option<Estimate>> {
    let (Some(set), Some(labels)) = (&context.data.held_out, &context.subjects[subject].labels) else {
        return Ok(None);
    };
    let arrays = Scoring::new(context, subject, set, Wanted::default()).load()?;
    let classes = context.subjects[subject].classes();
    let held_out = Predictions::new(arrays.f32(LOGITS).to_vec(), labels.held_out.clone(), classes)?;
    let resamples = Resamples::new(held_out.len(), context.settings.seed.into());
    Ok(Some(resamples.estimate(|counts| temperature(&held_out, counts))))
}

/// The figures of one subject.
struct Figures {
    predictions: Predictions,
    classification: Classification,
    calibration: Option<Calibrated>,
}

/// The calibration of one subject, before and after temperature scaling.
struct Calibrated {
    before: Calibration,
    temperature: Option<Estimate>,
    after: Option<Calibration>,
}

/// The section on classification, and the one on calibration if `calibrates`.
pub(in super::super) fn write(
    context: Context<'_>,
    wanted: impl Fn(usize) -> Wanted,
    calibrates: bool,
) -> Result<Vec<Written>> {
    let mut all = Vec::new();
    for subject in 0..context.subjects.len() {
        let figures = predictions(context, subject, wanted(subject))?.map(|predictions| {
            let resamples = Resamples::new(predictions.len(), context.settings.seed.into());
            let classification = Classification::of(&predictions, &resamples);
            let calibration =
                calibrates.then(|| calibrated(context, subject, &predictions, &resamples)).transpose()?;
            Ok(Figures { predictions, classification, calibration })
        });
        all.push(figures.transpose()?);
    }
    let mut written = vec![classified(context, &all)?];
    if calibrates {
        written.push(calibration(context, &all)?);
    }
    Ok(written)
}

fn calibrated(
    context: Context<'_>,
    subject: usize,
    predictions: &Predictions,
    resamples: &Resamples,
) -> Result<Calibrated> {
    let temperature = fitted_temperature(context, subject)?;
    let after = temperature.as_ref().map(|t| Calibration::of(&predictions.tempered(t.value), resamples));
    Ok(Calibrated { before: Calibration::of(predictions, resamples), temperature, after })
}

fn classified(context: Context<'_>, all: &[Option<Figures>]) -> Result<Written> {
    let figure = |name: &str, form, of: &dyn Fn(&Classification) -> Option<&Estimate>| Row {
        name: name.into(),
        form,
        figures: all
            .iter()
            .map(|each| each.as_ref().and_then(|figures| of(&figures.classification)))
            .collect(),
    };
    let mut rows = vec![figure("accuracy", Form::Percent, &|c| Some(&c.accuracy))];
    if all.iter().flatten().any(|figures| figures.classification.top_5.is_some()) {
        rows.push(figure("top-5 accuracy", Form::Percent, &|c| c.top_5.as_ref()));
    }
    rows.push(figure("cross-entropy, nats", Form::Digits(4), &|c| Some(&c.cross_entropy)));
    rows.push(figure("Brier score", Form::Digits(4), &|c| Some(&c.brier)));
    let caption = format!("{} images of {}.", context.data.test.images.count, context.data.test.name);
    let blocks = vec![compared(&caption, &context.names(), &rows)];
    let numbers = all.iter().zip(context.subjects).map(|(figures, subject)| {
        let mut object = Object::default();
        if let Some(Figures { classification: c, .. }) = figures {
            object.estimate("accuracy", &c.accuracy);
            if let Some(top_5) = &c.top_5 {
                object.estimate("top_5", top_5);
            }
            object.estimate("cross_entropy", &c.cross_entropy);
            object.estimate("brier", &c.brier);
            let rows: Vec<&[u32]> = c.confusion.chunks(subject.classes()).collect();
            object.value("confusion", json!(rows));
        }
        object.entries()
    });
    let numbers = numbers.collect();
    Ok(Written { section: Section { title: "Classification".into(), blocks }, numbers })
}

fn calibration(context: Context<'_>, all: &[Option<Figures>]) -> Result<Written> {
    let figure = |name: &str, form, of: &dyn Fn(&Calibrated) -> Option<&Estimate>| Row {
        name: name.into(),
        form,
        figures: all
            .iter()
            .map(|each| each.as_ref().and_then(|f| f.calibration.as_ref()).and_then(of))
            .collect(),
    };
    let rows = [
        figure(&format!("ECE, {BINS} bins"), Form::Percent, &|c| Some(&c.before.ece)),
        figure("ECE, adaptive bins", Form::Percent, &|c| Some(&c.before.ece_adaptive)),
        figure("MCE", Form::Percent, &|c| Some(&c.before.mce)),
        figure("temperature", Form::Digits(3), &|c| c.temperature.as_ref()),
        figure("ECE after scaling", Form::Percent, &|c| c.after.as_ref().map(|after| &after.ece)),
        figure("area under risk-coverage", Form::Digits(4), &|c| Some(&c.before.aurc)),
    ];
    let mut blocks =
        vec![compared("", &context.names(), &rows), Block::Text(context.data.held_out_note.clone())];
    let mut head = vec!["coverage".to_owned()];
    head.extend(context.names());
    let risks: Vec<_> = all.iter().map(|f| f.as_ref().map(|f| risk_coverage(&f.predictions))).collect();
    let risk = |curve: &Option<Vec<(f64, f64)>>, coverage: f64| {
        let at = curve.as_ref().and_then(|curve| curve.iter().find(|point| point.0 >= coverage));
        at.map_or("–".into(), |point| Form::Percent.number(point.1))
    };
    let row = |coverage: f64| {
        let cells = risks.iter().map(|curve| risk(curve, coverage));
        std::iter::once(format!("{:.0}%", 100.0 * coverage)).chain(cells).collect()
    };
    blocks.push(Block::Table {
        caption: "Error among the most confident images:".into(),
        head,
        rows: COVERAGES.map(row).to_vec(),
    });
    let numbers = all.iter().map(|figures| {
        let mut object = Object::default();
        if let Some(Calibrated { before, temperature, after }) =
            figures.as_ref().and_then(|f| f.calibration.as_ref())
        {
            object.value("calibration", calibration_numbers(before, temperature.as_ref(), after.as_ref()));
        }
        object.entries()
    });
    let numbers = numbers.collect();
    Ok(Written { section: Section { title: "Calibration".into(), blocks }, numbers })
}

fn calibration_numbers(
    before: &Calibration,
    temperature: Option<&Estimate>,
    after: Option<&Calibration>,
) -> Value {
    let mut object = Object::default();
    object.estimate("ece", &before.ece);
    object.estimate("ece_adaptive", &before.ece_adaptive);
    object.estimate("mce", &before.mce);
    object.estimate("aurc", &before.aurc);
    let bin = |bin: &Bin| json!({ "low": bin.bounds[0], "high": bin.bounds[1], "images": bin.images, "confidence": bin.confidence, "accuracy": bin.accuracy });
    object.value("bins", before.bins.iter().map(bin).collect::<Vec<_>>());
    match (temperature, after) {
        (Some(temperature), Some(after)) => {
            object.estimate("temperature", temperature);
            object.estimate("ece_after_temperature", &after.ece);
        }
        _ => ["temperature", "ece_after_temperature"].iter().for_each(|key| object.value(key, Value::Null)),
    }
    object.finish()
}
