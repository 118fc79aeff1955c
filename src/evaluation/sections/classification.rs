//! Classification and calibration.

use super::scores::{LOGITS, Scoring, Wanted};
use super::{Context, Written};
use crate::error::Result;
use crate::evaluation::bootstrap::{Estimate, Resamples};
use crate::evaluation::calibration::{BINS, Calibration, risk_coverage, temperature};
use crate::evaluation::classification::Classification;
use crate::evaluation::format::{Form, Object, Row, compared};
use crate::evaluation::job::Job;
use crate::evaluation::predictions::Predictions;
use crate::report::document::{Block, Section};
use crate::report::lines::{self, Frame, Line, Scale};
use crate::report::reliability::Bin;
use crate::report::{confusion, reliability};
use serde_json::{Value, json};
use std::path::PathBuf;

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

/// The temperature of a subject, and how it came about.
#[derive(Debug, Clone)]
pub(in super::super) struct Fitted {
    /// The temperature, fitted to the held-out images.
    pub temperature: Estimate,
    /// The accuracy on these images.
    accuracy: Estimate,
}

/// The temperature of a subject; `None` without held-out images.
pub(in super::super) fn fitted(context: Context<'_>, subject: usize) -> Result<Option<Fitted>> {
    let (Some(set), Some(labels)) = (&context.data.held_out, &context.subjects[subject].labels) else {
        return Ok(None);
    };
    let arrays = Scoring::new(context, subject, set, Wanted::default()).load()?;
    let classes = context.subjects[subject].classes();
    let held_out = Predictions::new(arrays.f32(LOGITS).to_vec(), labels.held_out.clone(), classes)?;
    let resamples = Resamples::new(held_out.len(), context.settings.seed.into());
    let right: Vec<bool> = held_out.tops().into_iter().map(|(_, right)| right).collect();
    Ok(Some(Fitted {
        temperature: resamples.estimate(|counts| temperature(&held_out, counts)),
        accuracy: resamples.share(&right),
    }))
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
    /// The fit, and the calibration at its temperature.
    scaled: Option<(Fitted, Calibration)>,
}

/// The section on classification, and with `fits`, the temperatures of the subjects, the one on calibration.
pub(in super::super) fn write(
    context: Context<'_>,
    wanted: impl Fn(usize) -> Wanted,
    fits: Option<&[Option<Fitted>]>,
) -> Result<Vec<Written>> {
    let mut all = Vec::new();
    for subject in 0..context.subjects.len() {
        let figures = predictions(context, subject, wanted(subject))?.map(|predictions| {
            let resamples = Resamples::new(predictions.len(), context.settings.seed.into());
            let classification = Classification::of(&predictions, &resamples);
            let calibration = fits.map(|fits| calibrated(fits[subject].as_ref(), &predictions, &resamples));
            Figures { predictions, classification, calibration }
        });
        all.push(figures);
    }
    let mut written = vec![classified(context, &all)?];
    if fits.is_some() {
        written.push(calibration(context, &all)?);
    }
    Ok(written)
}

fn calibrated(fit: Option<&Fitted>, predictions: &Predictions, resamples: &Resamples) -> Calibrated {
    let scaled = fit.map(|fit| {
        let after = Calibration::of(&predictions.tempered(fit.temperature.value), resamples);
        (fit.clone(), after)
    });
    Calibrated { before: Calibration::of(predictions, resamples), scaled }
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
    let mut blocks = vec![compared(&caption, &context.names(), &rows)];
    blocks.extend(confusions(context, all)?);
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

/// The confusion matrix of each subject.
fn confusions(context: Context<'_>, all: &[Option<Figures>]) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    for (at, (figures, subject)) in all.iter().zip(context.subjects).enumerate() {
        let Some(Figures { classification, .. }) = figures else { continue };
        let file = PathBuf::from(format!("{}.png", context.name(at, "confusion")));
        confusion::plot(
            &context.out.join(&file),
            &classification.confusion,
            &subject.class_names,
            &subject.name,
        )?;
        blocks.push(Block::Picture {
            file,
            caption: format!("{}: images of each class by prediction.", subject.name),
        });
    }
    Ok(blocks)
}

/// The reliability diagrams of the first subjects, and the risk-coverage curves.
fn pictures(context: Context<'_>, all: &[Option<Figures>]) -> Result<Vec<Block>> {
    let mut diagrams = Vec::new();
    let mut curves = Vec::new();
    for (figures, subject) in all.iter().zip(context.subjects) {
        let Some(Figures { predictions, calibration: Some(Calibrated { before, scaled }), .. }) = figures
        else {
            continue;
        };
        let diagram = |name: String, calibration: &Calibration| reliability::Diagram {
            name,
            note: format!("ECE {}", Form::Percent.estimate(&calibration.ece)),
            bins: calibration.bins.clone(),
        };
        diagrams.push(diagram(subject.name.clone(), before));
        if let Some((fitted, after)) = scaled {
            diagrams.push(diagram(format!("{}, T = {:.3}", subject.name, fitted.temperature.value), after));
        }
        curves.push(Line { name: subject.name.clone(), points: risk_coverage(predictions), band: None });
    }
    diagrams.truncate(reliability::DIAGRAMS);
    curves.truncate(lines::LINES);
    if diagrams.is_empty() {
        return Ok(Vec::new());
    }
    let files = ["reliability.png", "risk-coverage.png"].map(PathBuf::from);
    let title = format!("Reliability on {}", context.data.test.name);
    reliability::plot(&context.out.join(&files[0]), &diagrams, &title)?;
    let frame = Frame {
        title: "Risk and coverage",
        names: ["share of most confident images", "error among them"],
        scale: Scale::Linear,
        range: None,
    };
    lines::plot(&context.out.join(&files[1]), &curves, &frame)?;
    let captions = [
        "Accuracy by confidence; a calibrated model is on the diagonal.",
        "Error among the most confident images, by their share of all.",
    ];
    let picture = |(file, caption): (PathBuf, &str)| Block::Picture { file, caption: caption.into() };
    Ok(files.into_iter().zip(captions).map(picture).collect())
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
        figure("temperature", Form::Digits(3), &|c| c.scaled.as_ref().map(|(fitted, _)| &fitted.temperature)),
        figure("ECE after scaling", Form::Percent, &|c| c.scaled.as_ref().map(|(_, after)| &after.ece)),
        figure("area under risk-coverage", Form::Digits(4), &|c| Some(&c.before.aurc)),
    ];
    let mut blocks =
        vec![compared("", &context.names(), &rows), Block::Text(context.data.held_out_note.clone())];
    blocks.extend(all.iter().zip(context.subjects).filter_map(|(figures, subject)| {
        let seen = seen_in_training(figures.as_ref()?)?;
        Some(Block::Text(format!("{}: {seen}", subject.name)))
    }));
    blocks.extend(pictures(context, all)?);
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
        if let Some(figures) = figures
            && let Some(calibrated) = &figures.calibration
        {
            object.value("calibration", calibration_numbers(calibrated, seen_in_training(figures).is_some()));
        }
        object.entries()
    });
    let numbers = numbers.collect();
    Ok(Written { section: Section { title: "Calibration".into(), blocks }, numbers })
}

/// Says that the held-out images were seen in training, where their accuracy shows it: its interval lies above that of
/// the test images.
fn seen_in_training(figures: &Figures) -> Option<String> {
    let (fitted, _) = figures.calibration.as_ref()?.scaled.as_ref()?;
    let (held_out, test) = (&fitted.accuracy, &figures.classification.accuracy);
    let [[low, _], [_, high]] = [held_out.interval()?, test.interval()?];
    (low > high).then(|| {
        format!(
            "{:.2}% of the held-out images are classified right, and {:.2}% of the test images. So the model was trained \
             on them, and their temperature is not one for new images. --held-out takes images of the test set instead, \
             such as --held-out 5000, or others.",
            100.0 * held_out.value,
            100.0 * test.value
        )
    })
}

fn calibration_numbers(calibrated: &Calibrated, seen: bool) -> Value {
    let Calibrated { before, scaled } = calibrated;
    let mut object = Object::default();
    object.estimate("ece", &before.ece);
    object.estimate("ece_adaptive", &before.ece_adaptive);
    object.estimate("mce", &before.mce);
    object.estimate("aurc", &before.aurc);
    let bin = |bin: &Bin| {
        let Bin { bounds: [low, high], images, confidence, accuracy } = bin;
        json!({ "low": low, "high": high, "images": images, "confidence": confidence, "accuracy": accuracy })
    };
    object.value("bins", before.bins.iter().map(bin).collect::<Vec<_>>());
    match scaled {
        Some((fitted, after)) => {
            object.estimate("temperature", &fitted.temperature);
            object.estimate("held_out_accuracy", &fitted.accuracy);
            object.value("held_out_seen_in_training", seen);
            object.estimate("ece_after_temperature", &after.ece);
        }
        None => {
            ["temperature", "ece_after_temperature"].iter().for_each(|key| object.value(key, Value::Null));
        }
    }
    object.finish()
}
