//! Out-of-distribution detection.

use super::classification::Fitted;
use super::scores::{DISTANCES, LOGITS, NORMS, ODIN_LOGITS, Scoring, Wanted};
use super::{Context, Written};
use crate::error::Result;
use crate::evaluation::bootstrap::Resamples;
use crate::evaluation::detection::Detection;
use crate::evaluation::format::{Form, Object, Row, compared};
use crate::evaluation::store::Arrays;
use crate::evaluation::subject::ImageSet;
use crate::evaluation::{odin, scores};
use crate::report::document::{Block, Section};
use crate::report::histograms;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// A score that is higher in distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Score {
    LogPx,
    MaxPy,
    ApproximateMass,
    MaxLogit,
    Entropy,
    Energy,
    Gen,
    Odin,
    Mahalanobis,
}

impl Score {
    const ALL: [Self; 9] = [
        Self::LogPx,
        Self::MaxPy,
        Self::ApproximateMass,
        Self::MaxLogit,
        Self::Entropy,
        Self::Energy,
        Self::Gen,
        Self::Odin,
        Self::Mahalanobis,
    ];

    /// The key in `eval.json`.
    fn key(self) -> &'static str {
        match self {
            Self::LogPx => "log_px",
            Self::MaxPy => "max_py",
            Self::ApproximateMass => "approximate_mass",
            Self::MaxLogit => "max_logit",
            Self::Entropy => "entropy",
            Self::Energy => "energy_temperature",
            Self::Gen => "gen",
            Self::Odin => "odin",
            Self::Mahalanobis => "mahalanobis",
        }
    }

    /// The name in tables.
    fn name(self) -> &'static str {
        match self {
            Self::LogPx => "log p(x)",
            Self::MaxPy => "max p(y|x)",
            Self::ApproximateMass => "approximate mass",
            Self::MaxLogit => "max logit",
            Self::Entropy => "-entropy",
            Self::Energy => "-energy at T",
            Self::Gen => "GEN",
            Self::Odin => "ODIN",
            Self::Mahalanobis => "Mahalanobis",
        }
    }

    /// The name on an axis.
    fn axis(self) -> &'static str {
        match self {
            Self::MaxPy => "max p(y|x), log-odds",
            Self::Odin => "ODIN, log-odds",
            Self::Mahalanobis => "-Mahalanobis distance²",
            other => other.name(),
        }
    }

    /// The scores of the images of a measurement; `None` if it lacks what they need. `temperature` is for
    /// [`Score::Energy`].
    fn of(self, arrays: &Arrays, classes: usize, temperature: Option<f64>) -> Option<Vec<f64>> {
        let logits = |name, score: &dyn Fn(&[f32]) -> f64| {
            arrays.f32(name).chunks_exact(classes).map(score).collect::<Vec<f64>>()
        };
        let negative = |name| arrays.f32(name).iter().map(|&x| -f64::from(x)).collect();
        // All are functions of the one logit of an energy without classes.
        if classes == 1 && !matches!(self, Self::LogPx | Self::ApproximateMass) {
            return None;
        }
        let values = match self {
            Self::LogPx => logits(LOGITS, &scores::log_px),
            Self::MaxPy => logits(LOGITS, &scores::max_py),
            Self::ApproximateMass => negative(NORMS),
            Self::MaxLogit => logits(LOGITS, &scores::max_logit),
            Self::Entropy => logits(LOGITS, &scores::entropy),
            Self::Energy => {
                let temperature = temperature?;
                logits(LOGITS, &|row| scores::energy(row, temperature))
            }
            Self::Gen => logits(LOGITS, &scores::gen_entropy),
            Self::Odin => {
                let tempered = |row: &[f32]| {
                    let row: Vec<f32> = row.iter().map(|logit| logit / odin::TEMPERATURE).collect();
                    scores::max_py(&row)
                };
                logits(ODIN_LOGITS, &tempered)
            }
            Self::Mahalanobis => negative(DISTANCES),
        };
        (!values.is_empty()).then_some(values)
    }
}

/// The scoring of a set for detection.
pub(in super::super) fn scoring<'a>(context: Context<'a>, subject: usize, set: &'a ImageSet) -> Scoring<'a> {
    Scoring::new(context, subject, set, Wanted::for_detection(&context, subject, set))
}

/// The detections of one subject: for each set, each score's, if there is one.
type Detections = Vec<Vec<(Score, Option<Detection>)>>;

/// The section. `fits` are the temperatures of the subjects, if they have one.
pub(in super::super) fn write(context: Context<'_>, fits: &[Option<Fitted>]) -> Result<Written> {
    let temperature = |fit: &Option<Fitted>| fit.as_ref().map(|fit| fit.temperature.value);
    let temperatures: Vec<Option<f64>> = fits.iter().map(temperature).collect();
    let mut all = Vec::new();
    for (subject, &temperature) in temperatures.iter().enumerate() {
        all.push(detections(context, subject, temperature)?);
    }
    let sets = &context.data.outside;
    let mut blocks = vec![Block::Text(format!(
        "How well scores tell {} test images from images of other sets. Every score is higher in distribution. ODIN takes \
         the first {} images of a set.",
        context.data.test.images.count, context.settings.odin_images
    ))];
    for (subject, detections) in all.iter().enumerate() {
        let mut head = vec!["AUROC".to_owned()];
        head.extend(sets.iter().map(|set| set.name.clone()));
        let row = |(i, score): (usize, Score)| {
            let cells = detections.iter().map(|set| match &set[i].1 {
                Some(detection) => format!("{:.3}", detection.auroc.value),
                None => "–".into(),
            });
            std::iter::once(score.name().to_owned()).chain(cells).collect()
        };
        let rows = Score::ALL.into_iter().enumerate().map(row).collect();
        let caption =
            if all.len() > 1 { format!("{}:", context.subjects[subject].name) } else { String::new() };
        blocks.push(Block::Table { caption, head, rows });
    }
    blocks.extend(pictures(context, &temperatures, &all)?);
    for (at, set) in sets.iter().enumerate() {
        blocks.push(Block::Table {
            caption: format!("{} images of {}:", set.images.count, set.name),
            head: ["", "AUROC", "AUPR in", "AUPR out", "FPR at 95% TPR"].map(String::from).to_vec(),
            rows: all[0][at]
                .iter()
                .filter_map(|(score, detection)| details(*score, detection.as_ref()?))
                .collect(),
        });
        if all.len() > 1 {
            let row = |(i, score): (usize, Score)| Row {
                name: score.name().into(),
                form: Form::Digits(3),
                figures: all
                    .iter()
                    .map(|sets| sets[at][i].1.as_ref().map(|detection| &detection.auroc))
                    .collect(),
            };
            let rows: Vec<Row<'_>> = Score::ALL.into_iter().enumerate().map(row).collect();
            blocks.push(compared(&format!("AUROC of {}, paired:", set.name), &context.names(), &rows));
        }
    }
    let numbers = all.iter().map(|detections| numbers(sets, detections)).collect();
    Ok(Written { section: Section { title: "Out-of-distribution detection".into(), blocks }, numbers })
}

fn detections(context: Context<'_>, subject: usize, temperature: Option<f64>) -> Result<Detections> {
    let classes = context.subjects[subject].classes();
    let seed = u64::from(context.settings.seed);
    let inside = scoring(context, subject, &context.data.test).load()?;
    let mut all = Vec::new();
    for (number, set) in (1..).zip(&context.data.outside) {
        let outside = scoring(context, subject, set).load()?;
        let mut detections = Vec::new();
        for score in Score::ALL {
            let of = |arrays| score.of(arrays, classes, temperature);
            let detection = match (of(&inside), of(&outside)) {
                (Some(inside), Some(outside)) => {
                    // The test images are resampled as for their accuracy, each other set by a seed of its own.
                    let resamples =
                        [Resamples::new(inside.len(), seed), Resamples::new(outside.len(), seed + number)];
                    Some(Detection::of(&inside, &outside, [&resamples[0], &resamples[1]])?)
                }
                _ => None,
            };
            detections.push((score, detection));
        }
        all.push(detections);
    }
    Ok(all)
}

/// The histograms of each score over each set, a picture for each subject and for so many sets as fit one.
fn pictures(context: Context<'_>, temperatures: &[Option<f64>], all: &[Detections]) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    for (subject, detections) in all.iter().enumerate() {
        let classes = context.subjects[subject].classes();
        let of = |score: Score, arrays: &Arrays| score.of(arrays, classes, temperatures[subject]);
        let inside = scoring(context, subject, &context.data.test).load()?;
        let sets: Vec<(usize, &ImageSet)> = context.data.outside.iter().enumerate().collect();
        for (number, part) in sets.chunks(histograms::SETS - 1).enumerate() {
            let outside = part.iter().map(|(_, set)| scoring(context, subject, set).load());
            let outside = outside.collect::<Result<Vec<Arrays>>>()?;
            let mut panels = Vec::new();
            for (i, score) in Score::ALL.into_iter().enumerate() {
                let measured = std::iter::once(&inside).chain(&outside).map(|arrays| of(score, arrays));
                let Some(values) = measured.collect::<Option<Vec<Vec<f64>>>>() else { continue };
                let auroc = |(at, set): &(usize, &ImageSet)| {
                    let detection = detections[*at][i].1.as_ref();
                    detection.map(|detection| format!("{} {:.3}", set.name, detection.auroc.value))
                };
                let aurocs: Vec<String> = part.iter().filter_map(auroc).collect();
                let note = format!("AUROC: {}", aurocs.join(", "));
                panels.push(histograms::Score { name: score.axis().into(), note, sets: values });
            }
            let names: Vec<String> = std::iter::once(&context.data.test.name)
                .chain(part.iter().map(|(_, set)| &set.name))
                .cloned()
                .collect();
            let suffix = if number == 0 { String::new() } else { format!("-{}", number + 1) };
            let file = PathBuf::from(format!("{}{suffix}.png", context.name(subject, "ood")));
            let title = format!("Scores by {}", context.subjects[subject].name);
            histograms::plot(&context.out.join(&file), &panels, &names, &title)?;
            let caption = format!("{title}: higher is in distribution.");
            blocks.push(Block::Picture { file, caption });
        }
    }
    Ok(blocks)
}

fn details(score: Score, detection: &Detection) -> Option<Vec<String>> {
    let Detection { auroc, aupr_in, aupr_out, fpr95 } = detection;
    let cells = [auroc, aupr_in, aupr_out].map(|figure| Form::Digits(3).estimate(figure));
    Some([score.name().to_owned()].into_iter().chain(cells).chain([Form::Percent.estimate(fpr95)]).collect())
}

fn numbers(sets: &[ImageSet], detections: &Detections) -> Map<String, Value> {
    let set = |(set, detections): (&ImageSet, &Vec<(Score, Option<Detection>)>)| {
        let mut scores = Map::new();
        for (score, detection) in detections {
            let value = match detection {
                None => Value::Null,
                Some(Detection { auroc, aupr_in, aupr_out, fpr95 }) => {
                    let mut object = Object::default();
                    object.estimate("auroc", auroc);
                    object.estimate("aupr_in", aupr_in);
                    object.estimate("aupr_out", aupr_out);
                    object.estimate("fpr95", fpr95);
                    object.finish()
                }
            };
            scores.insert(score.key().into(), value);
        }
        let mut object = Object::default();
        object.value("set", set.name.as_str());
        object.value("images", set.images.count);
        object.value("scores", scores);
        object.finish()
    };
    let mut object = Object::default();
    object.value("ood", sets.iter().zip(detections).map(set).collect::<Vec<_>>());
    object.entries()
}
