//! The figures of samples.

use super::{
    Chains, DIVERGED, ENERGIES, Extraction, Extractor, FEATURES, LOGITS, Of, SAMPLES, Samples, extractors,
    reference, sampled,
};
use crate::error::Result;
use crate::evaluation::bootstrap::{Estimate, Resamples};
use crate::evaluation::format::{Form, Object, Row, compared};
use crate::evaluation::generation::chains::Snapshot;
use crate::evaluation::generation::diversity::diversity;
use crate::evaluation::generation::features::Features;
use crate::evaluation::generation::inception_score::InceptionScore;
use crate::evaluation::generation::manifold::Manifold;
use crate::evaluation::generation::modes::Modes;
use crate::evaluation::generation::nearest::{Closeness, Neighbour, nearest};
use crate::evaluation::generation::{frechet, kernel};
use crate::evaluation::predictions::Top;
use crate::evaluation::scores::log_px;
use crate::evaluation::sections::scores::{self, Scoring, Wanted};
use crate::evaluation::sections::{Context, Written};
use crate::evaluation::store::Arrays;
use crate::evaluation::subject::{ImageSet, samples_as_images};
use crate::io::png;
use crate::report::document::{Block, Section};
use crate::report::lines::{self, Frame, Line, Scale};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// The number of samples that are shown, and in a row.
const SHOWN: [usize; 2] = [100, 10];
/// The number of samples that are shown with their nearest training images.
const NEAREST: usize = 10;

/// The comparison of samples with data in the features of one network.
struct Comparison {
    /// The name of the network.
    features: String,
    fd: Estimate,
    kd: Estimate,
    manifold: Manifold,
    /// The Inception Score, of the Inception network alone.
    inception_score: Option<InceptionScore>,
}

/// All figures of one subject's samples.
struct Figures {
    comparisons: Vec<Comparison>,
    modes: Option<Modes>,
    /// The nearest training images in pixels, and how near they are beside those of test images.
    closeness: Option<(Vec<Neighbour>, Closeness)>,
    diversity: Option<[Estimate; 2]>,
    /// The samples that are evaluated: those of chains that have not diverged.
    sound: Vec<usize>,
    samples: Vec<f32>,
    fresh: Vec<Fresh>,
}

/// Fresh chains of one length.
struct Fresh {
    steps: usize,
    energy: Option<Estimate>,
    diversity: Option<Estimate>,
    diverged: usize,
}

/// The section. `wanted` is what the scoring of the test images took in.
pub(in super::super::super) fn write(
    context: Context<'_>,
    wanted: impl Fn(usize) -> Wanted,
) -> Result<Written> {
    let subjects = sampled(context);
    let mut all: Vec<Option<Figures>> = Vec::new();
    for subject in 0..context.subjects.len() {
        let is_sampled = subjects.contains(&subject);
        all.push(is_sampled.then(|| figures(Chains { context, subject })).transpose()?);
    }
    let set = reference(context);
    let mut blocks = vec![Block::Text(opening(context, set))];
    for (at, _) in extractors(context).into_iter().enumerate() {
        blocks.push(comparison(context, at, &all));
    }
    blocks.push(others(context, &all));
    let mut numbers = Vec::new();
    for (subject, figures) in all.iter().enumerate() {
        let mut object = Object::default();
        if let Some(figures) = figures {
            blocks.extend(pictures(context, subject, figures)?);
            object.value("generation", numbers_of(context, subject, figures));
        }
        numbers.push(object.entries());
    }
    blocks.extend(energies(context, &all, wanted)?);
    Ok(Written { section: Section { title: "Generation".into(), blocks }, numbers })
}

fn opening(context: Context<'_>, set: &ImageSet) -> String {
    let Samples { count, steps, start, conditional, features, .. } = &context.settings.samples;
    let of = if *conditional { "p(x|y), as many of each class," } else { "p(x)" };
    let own = match *features {
        0 => {
            " These features are the evaluated model's own, along which its samples were made; a classifier of --against has \
             others."
        }
        _ => "",
    };
    format!(
        "{count} chains of {of} from {start}, {steps} SGLD steps each, none selected, compared with {} images of {}, all in 8 \
         bits. Fréchet and kernel distances are in the features of the network that they name; only those of the public \
         Inception network are FID and KID. They depend on n: compare equal n.{own}",
        set.images.count, set.images.name
    )
}

fn figures(chains: Chains<'_>) -> Result<Figures> {
    let context = chains.context;
    let seed = u64::from(context.settings.seed);
    let arrays = context.load(&chains.samples_name(), &chains.samples_key())?;
    let diverged = indices(&arrays.json(DIVERGED));
    let count = chains.settings().count;
    let sound: Vec<usize> = (0..count).filter(|chain| !diverged.contains(chain)).collect();
    let shape = chains.subject().model.image_shape();
    let size: usize = shape.iter().product();
    let samples = samples_as_images(arrays.f32(SAMPLES), shape).batch(0..count);
    let samples: Vec<f32> =
        sound.iter().flat_map(|&chain| &samples[chain * size..][..size]).copied().collect();
    let set = reference(context);
    let mut found = Figures {
        comparisons: Vec::new(),
        modes: None,
        closeness: None,
        diversity: None,
        sound,
        samples,
        fresh: fresh(chains)?,
    };
    // The figures compare distributions, which take more than a few images.
    if found.sound.len() < 10 || set.images.count < 10 {
        return Ok(found);
    }
    let n = found.sound.len();
    let resamples = [Resamples::new(n, seed), Resamples::new(set.images.count, seed + 1)];
    let of = [&resamples[0], &resamples[1]];
    for extractor in extractors(context) {
        let measured = Extraction { context, extractor, of: Of::Samples(chains) }.load()?;
        let data = Extraction { context, extractor, of: Of::Set(set) }.load()?;
        let d = measured.f32(FEATURES).len() / count;
        let kept = rows(measured.f32(FEATURES), d, &found.sound);
        let kept = Features::new("samples", &kept, d)?;
        let data = Features::new("reference images", data.f32(FEATURES), d)?;
        let classes = measured.f32(LOGITS).len() / count;
        let logits = rows(measured.f32(LOGITS), classes, &found.sound);
        let is_inception = extractor == Extractor::Inception;
        let score = is_inception
            .then(|| InceptionScore::new(&Features::new("samples", &logits, classes)?, seed, of[0]));
        found.comparisons.push(Comparison {
            features: match extractor {
                Extractor::Subject(subject) => context.subjects[subject].name.clone(),
                Extractor::Inception => "inception".into(),
            },
            fd: frechet::distance(&kept, &data, of)?,
            kd: kernel::distance(&kept, &data, of)?,
            manifold: Manifold::new(&kept, &data, of)?,
            inception_score: score.transpose()?,
        });
        if !is_inception && classes > 1 {
            let predictions: Vec<usize> = logits.chunks(classes).map(|row| Top::of(row).class).collect();
            let even = vec![1.0 / classes as f64; classes];
            found.modes = Some(Modes::new(&predictions, &even, of[0])?);
        }
    }
    found.closeness = closeness(
        context,
        &found.samples,
        [of[0], &Resamples::new(n.min(context.data.test.images.count), seed)],
    )?;
    let images = set.images.batch(0..set.images.count.min(n));
    let of_data = Resamples::new(images.len() / size, seed + 1);
    found.diversity = Some([
        diversity(&Features::new("samples", &found.samples, size)?, of[0])?,
        diversity(&Features::new("reference images", &images, size)?, &of_data)?,
    ]);
    Ok(found)
}

fn indices(value: &Value) -> Vec<usize> {
    value.as_array().into_iter().flatten().filter_map(Value::as_u64).map(|index| index as usize).collect()
}

fn rows(values: &[f32], d: usize, kept: &[usize]) -> Vec<f32> {
    kept.iter().flat_map(|&row| &values[row * d..][..d]).copied().collect()
}

/// The nearest training images of samples, beside those of as many test images, in pixels.
fn closeness(
    context: Context<'_>,
    samples: &[f32],
    of: [&Resamples; 2],
) -> Result<Option<(Vec<Neighbour>, Closeness)>> {
    let Some(train) = &context.data.train else { return Ok(None) };
    let size = train.images.height * train.images.width * train.images.channels;
    let training = train.images.batch(0..train.images.count);
    let test = context.data.test.images.batch(0..of[1].len());
    let training = Features::new("training images", &training, size)?;
    let find =
        |name: &str, images: &[f32]| nearest(&Features::new(name, images, size)?, &training, &mut |_| true);
    let [samples, test] = [find("samples", samples)?, find("test images", &test)?];
    let (Some(samples), Some(test)) = (samples, test) else { return Ok(None) };
    let closeness = Closeness::new(&samples, &test, of)?;
    Ok(Some((samples, closeness)))
}

fn fresh(chains: Chains<'_>) -> Result<Vec<Fresh>> {
    let [count, _] = chains.settings().fresh;
    if count == 0 || chains.lengths().is_empty() {
        return Ok(Vec::new());
    }
    let arrays: Arrays = chains.context.load(&chains.fresh_name(), &chains.fresh_key())?;
    let shape = chains.subject().model.image_shape();
    let seed = u64::from(chains.context.settings.seed);
    let one = |steps: usize| {
        let images = samples_as_images(arrays.f32(&format!("{SAMPLES}_{steps}")), shape).batch(0..count);
        let energies = arrays.f32(&format!("{ENERGIES}_{steps}")).to_vec();
        let diverged = indices(&arrays.json(&format!("{DIVERGED}_{steps}")));
        let snapshot = Snapshot { steps, images, energies, diverged };
        Ok(Fresh {
            steps,
            energy: snapshot.energy(seed),
            diversity: snapshot.diversity(seed)?,
            diverged: snapshot.diverged.len(),
        })
    };
    chains.lengths().into_iter().map(one).collect()
}

fn comparison(context: Context<'_>, at: usize, all: &[Option<Figures>]) -> Block {
    let figure = |name: String, form: Form, of: &dyn Fn(&Comparison) -> Option<&Estimate>| Row {
        name,
        form,
        figures: all.iter().map(|f| f.as_ref().and_then(|f| f.comparisons.get(at)).and_then(of)).collect(),
    };
    let by = all.iter().flatten().find_map(|figures| figures.comparisons.get(at)).map(|c| c.features.clone());
    let by = by.unwrap_or_default();
    let names = if by == "inception" {
        ["FID".to_owned(), "KID".to_owned()]
    } else {
        [format!("fd[{by}]"), format!("kd[{by}]")]
    };
    let [fd, kd] = names;
    let mut rows = vec![
        figure(fd, Form::Digits(3), &|c| Some(&c.fd)),
        figure(kd, Form::Digits(5), &|c| Some(&c.kd)),
        figure("precision".into(), Form::Percent, &|c| Some(&c.manifold.precision)),
        figure("recall".into(), Form::Percent, &|c| Some(&c.manifold.recall)),
        figure("density".into(), Form::Digits(3), &|c| Some(&c.manifold.density)),
        figure("coverage".into(), Form::Percent, &|c| Some(&c.manifold.coverage)),
    ];
    if by == "inception" {
        let score: &dyn Fn(&Comparison) -> Option<&Estimate> =
            &|c| c.inception_score.as_ref().map(|score| &score.whole);
        rows.push(figure("Inception Score, whole set".into(), Form::Digits(3), score));
    }
    compared(&format!("In the features of {by}:"), &context.names(), &rows)
}

fn others(context: Context<'_>, all: &[Option<Figures>]) -> Block {
    let figure = |name: &str, form: Form, of: &dyn Fn(&Figures) -> Option<&Estimate>| Row {
        name: name.into(),
        form,
        figures: all.iter().map(|figures| figures.as_ref().and_then(of)).collect(),
    };
    let rows = [
        figure("entropy of predicted classes, nats", Form::Digits(3), &|f| {
            f.modes.as_ref().map(|m| &m.entropy)
        }),
        figure("total variation from equal classes", Form::Percent, &|f| {
            f.modes.as_ref().map(|m| &m.total_variation)
        }),
        figure("nearer to training images than test images are", Form::Percent, &|f| {
            f.closeness.as_ref().map(|c| &c.1.closer)
        }),
        figure("as near as the nearest 1% of test images", Form::Percent, &|f| {
            f.closeness.as_ref().map(|c| &c.1.suspicious)
        }),
        figure("mean distance of two samples", Form::Digits(2), &|f| f.diversity.as_ref().map(|d| &d[0])),
        figure("mean distance of two images", Form::Digits(2), &|f| f.diversity.as_ref().map(|d| &d[1])),
    ];
    compared("Classes, copies and diversity (distances in pixels of [-1, 1]):", &context.names(), &rows)
}

/// The energies of fresh chains beside those of the test images.
fn energies(
    context: Context<'_>,
    all: &[Option<Figures>],
    wanted: impl Fn(usize) -> Wanted,
) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut lines = Vec::new();
    for (subject, figures) in all.iter().enumerate() {
        let Some(figures) = figures.as_ref().filter(|figures| !figures.fresh.is_empty()) else { continue };
        let data = data_energy(context, subject, wanted(subject))?;
        let name = &context.subjects[subject].name;
        let text = |figure: &Option<Estimate>, form: Form| {
            figure.as_ref().map_or("–".into(), |f| form.estimate(f))
        };
        let row = |fresh: &Fresh| {
            vec![
                fresh.steps.to_string(),
                text(&fresh.energy, Form::Digits(2)),
                text(&fresh.diversity, Form::Digits(2)),
                fresh.diverged.to_string(),
            ]
        };
        let mut rows: Vec<Vec<String>> = figures.fresh.iter().map(row).collect();
        rows.push(vec!["test images".into(), Form::Digits(2).estimate(&data), String::new(), String::new()]);
        let [count, _] = context.settings.samples.fresh;
        blocks.push(Block::Table {
            caption: format!(
                "{name}: {count} fresh chains from noise as they go on. Chains of a model that was trained with short ones \
                 often climb past the data."
            ),
            head: ["steps", "energy", "mean distance of two", "diverged"].map(String::from).to_vec(),
            rows,
        });
        let points: Vec<(f64, f64)> =
            figures.fresh.iter().filter_map(|f| Some((f.steps as f64, f.energy.as_ref()?.value))).collect();
        let ends = points.first().zip(points.last()).map(|(first, last)| [first.0, last.0]);
        lines.push(Line { name: format!("{name}, chains"), points, band: None });
        if let Some(ends) = ends {
            let points = ends.iter().map(|&x| (x, data.value)).collect();
            lines.push(Line { name: format!("{name}, test images"), points, band: None });
        }
    }
    lines.truncate(lines::LINES);
    if !lines.is_empty() {
        let file = PathBuf::from("fresh-chains.png");
        let frame = Frame {
            title: "Energy of fresh chains",
            names: ["SGLD steps", "energy, nats"],
            scale: Scale::Log10,
            range: None,
        };
        lines::plot(&context.out.join(&file), &lines, &frame)?;
        let caption = "The mean energy of fresh chains over their steps, beside that of test images.".into();
        blocks.push(Block::Picture { file, caption });
    }
    Ok(blocks)
}

/// The mean energy of the test images.
fn data_energy(context: Context<'_>, subject: usize, wanted: Wanted) -> Result<Estimate> {
    let arrays = Scoring::new(context, subject, &context.data.test, wanted).load()?;
    let classes = context.subjects[subject].classes();
    let energies: Vec<f64> =
        arrays.f32(scores::LOGITS).chunks_exact(classes).map(|row| -log_px(row)).collect();
    Ok(Resamples::new(energies.len(), context.settings.seed.into()).mean(&energies))
}

fn pictures(context: Context<'_>, subject: usize, figures: &Figures) -> Result<Vec<Block>> {
    let [height, width, channels] = context.subjects[subject].model.image_shape();
    let size = height * width * channels;
    let mut blocks = Vec::new();
    if figures.sound.is_empty() || !matches!(channels, 1 | 3) {
        return Ok(blocks);
    }
    let name = &context.subjects[subject].name;
    let shown = figures.sound.len().min(SHOWN[0]);
    let spread = (0..shown).map(|i| i * figures.sound.len() / shown);
    let images: Vec<f32> = spread.flat_map(|at| &figures.samples[at * size..][..size]).copied().collect();
    let file = PathBuf::from(format!("{}.png", context.name(subject, "samples")));
    png::write_grid(&context.out.join(&file), &images, shown, height, width, channels, SHOWN[1], 2)?;
    let caption = format!("{name}: {shown} of the samples, evenly spaced, none selected.");
    blocks.push(Block::Picture { file, caption });
    if let (Some((neighbours, _)), Some(train)) = (&figures.closeness, &context.data.train) {
        let n = neighbours.len().min(NEAREST);
        let own = figures.samples[..n * size].to_vec();
        let near = neighbours[..n].iter().flat_map(|found| train.images.batch(found.index..found.index + 1));
        let images: Vec<f32> = own.into_iter().chain(near).collect();
        let file = PathBuf::from(format!("{}.png", context.name(subject, "nearest")));
        png::write_grid(&context.out.join(&file), &images, 2 * n, height, width, channels, n, 2)?;
        let caption = format!("{name}: samples, and below each its nearest training image in pixels.");
        blocks.push(Block::Picture { file, caption });
    }
    Ok(blocks)
}

fn numbers_of(context: Context<'_>, subject: usize, figures: &Figures) -> Value {
    let Samples { count, steps, start, conditional, .. } = &context.settings.samples;
    let set = reference(context);
    let mut object = Object::default();
    let mut others = Map::new();
    for (at, comparison) in figures.comparisons.iter().enumerate() {
        if at == 0 {
            add(&mut object, comparison);
        } else {
            let mut other = Object::default();
            add(&mut other, comparison);
            others.insert(comparison.features.clone(), other.finish());
        }
    }
    object.value("also", others);
    object.value("n", figures.sound.len());
    object.value("chains", *count);
    object.value("diverged", *count - figures.sound.len());
    object.value("steps", *steps);
    object.value("start", start.to_string());
    object.value("conditional", *conditional);
    object.value("langevin", format!("{:?}", super::langevin(&context.subjects[subject])));
    object.value("reference", json!({ "set": set.name, "images": set.images.count }));
    if let Some(Modes { counts, entropy, total_variation }) = &figures.modes {
        object.value("class_counts", json!(counts));
        object.estimate("class_entropy", entropy);
        object.estimate("class_total_variation", total_variation);
    }
    if let Some((_, closeness)) = &figures.closeness {
        object.estimate("closer_than_test", &closeness.closer);
        object.estimate("suspiciously_close", &closeness.suspicious);
        object.value("median_nearest_distances", json!(closeness.medians));
    }
    if let Some([samples, data]) = &figures.diversity {
        object.estimate("diversity", samples);
        object.estimate("data_diversity", data);
    }
    let fresh = figures.fresh.iter().map(|fresh| {
        let mut object = Object::default();
        object.value("steps", fresh.steps);
        let figures = [("energy", &fresh.energy), ("diversity", &fresh.diversity)];
        for (key, figure) in figures.into_iter().filter_map(|(key, figure)| Some((key, figure.as_ref()?))) {
            object.estimate(key, figure);
        }
        object.value("diverged", fresh.diverged);
        object.finish()
    });
    object.value("fresh_chains", fresh.collect::<Vec<_>>());
    object.finish()
}

fn add(object: &mut Object, comparison: &Comparison) {
    object.value("features", comparison.features.as_str());
    object.estimate("fd", &comparison.fd);
    object.estimate("kd", &comparison.kd);
    object.estimate("precision", &comparison.manifold.precision);
    object.estimate("recall", &comparison.manifold.recall);
    object.estimate("density", &comparison.manifold.density);
    object.estimate("coverage", &comparison.manifold.coverage);
    match &comparison.inception_score {
        Some(score) => {
            object.estimate("inception_score", &score.whole);
            object.value("inception_score_splits", json!([score.split_mean, score.split_deviation]));
        }
        None => object.value("inception_score", Value::Null),
    }
}
