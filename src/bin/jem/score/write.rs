//! Writes scores as files: `.npz` with an array per score, or `.csv` with a row per image.

use super::{Gradients, ScoreTable};
use jem::data::images::Images;
use jem::io::elements::{Array, Elements};
use jem::io::{atomic, ending, npy, npz};
use jem::{Error, Result};
use std::io::Write as _;
use std::path::Path;

/// The format of a file of scores.
#[derive(Debug, Clone, Copy)]
pub enum Format {
    Npz,
    Csv,
}

impl Format {
    /// The format that the extension of the path names.
    pub fn of(path: &Path) -> Result<Self> {
        match ending(path).as_deref() {
            Some("npz") => Ok(Self::Npz),
            Some("csv") => Ok(Self::Csv),
            _ => {
                Err(Error::setting("--out", format!("expected a .npz or .csv file, got {}", path.display())))
            }
        }
    }
}

/// Writes all scores, atomically. Takes the gradients out of `table`, except for their norms.
pub fn write(path: &Path, format: Format, table: &mut ScoreTable, images: &Images) -> Result<()> {
    match format {
        Format::Npz => npz::write(path, &arrays(table)),
        Format::Csv => csv(path, table, images),
    }
}

fn arrays(table: &mut ScoreTable) -> Vec<(String, Array)> {
    let logits = table.logits.clone();
    let gradients = table.gradients.as_mut().map(|gradients| Gradients {
        shape: gradients.shape,
        norms: gradients.norms.clone(),
        all: gradients.all.take(),
    });
    let n = table.len();
    let mut arrays = Vec::new();
    let mut add =
        |name: &str, shape: Vec<usize>, elements| arrays.push((name.to_owned(), Array { shape, elements }));
    let each = |value: fn(&jem::ebm::Posterior) -> f64| -> Elements {
        Elements::F32(table.posteriors.iter().map(|p| value(p) as f32).collect())
    };
    add("logits", vec![n, table.classes], Elements::F32(logits));
    add("logsumexp", vec![n], each(|p| p.logsumexp));
    let probabilities = table.posteriors.iter().flat_map(|p| p.probabilities.iter().map(|&p| p as f32));
    add("probabilities", vec![n, table.classes], Elements::F32(probabilities.collect()));
    let prediction = table.posteriors.iter().map(|p| p.prediction as i64).collect();
    add("prediction", vec![n], Elements::I64(prediction));
    add("entropy", vec![n], each(|p| p.entropy));
    if let Some(labels) = &table.labels {
        add("labels", vec![n], Elements::I64(labels.iter().map(|&label| i64::from(label)).collect()));
        let correct = (0..n).map(|i| u8::from(table.correct(i) == Some(true)));
        add("correct", vec![n], Elements::U8(correct.collect()));
    }
    if let Some(Gradients { shape: [h, w, c], norms, all }) = gradients {
        if let Some(all) = all {
            add("dlogsumexp_dx", vec![n, c, h, w], Elements::F32(all));
        }
        add("input_gradient_norm", vec![n], Elements::F32(norms));
    }
    if let Some(ranking) = &table.ranking {
        let k = ranking.first().map_or(0, Vec::len);
        let classes = ranking.iter().flatten().map(|&class| class as i64).collect();
        add("ranking", vec![n, k], Elements::I64(classes));
        let energy = |(i, row): (usize, &Vec<usize>)| -> Vec<f32> {
            row.iter().map(|&class| -table.logits_of(i)[class]).collect()
        };
        let energies = ranking.iter().enumerate().flat_map(energy).collect();
        add("ranking_energy", vec![n, k], Elements::F32(energies));
    }
    if let Some(verdict) = &table.verdict {
        add("verdict", vec![n], Elements::U8(verdict.iter().map(|&inside| u8::from(inside)).collect()));
    }
    arrays
}

/// Writes a row per image, with gradients reduced to their norms.
fn csv(path: &Path, table: &ScoreTable, images: &Images) -> Result<()> {
    let norms = table.gradients.as_ref().map(|gradients| &gradients.norms);
    let mut columns = vec!["image".to_owned()];
    columns.extend(table.labels.is_some().then(|| "label".into()));
    columns.push("prediction".into());
    columns.extend(table.names.is_some().then(|| "prediction_name".into()));
    columns.extend(["logsumexp", "entropy"].map(String::from));
    columns.extend(table.labels.is_some().then(|| "correct".into()));
    columns.extend(norms.is_some().then(|| "input_gradient_norm".into()));
    columns.extend(table.verdict.is_some().then(|| "verdict".into()));
    let top = table.ranking.as_ref().and_then(|ranking| ranking.first()).map_or(0, Vec::len);
    columns.extend((0..top).map(|place| format!("rank_{}", place + 1)));
    columns.extend((0..table.classes).map(|class| format!("logit_{class}")));
    columns.extend((0..table.classes).map(|class| format!("p_{class}")));
    atomic::write(path, |file| {
        writeln!(file, "{}", columns.join(","))?;
        for (i, posterior) in table.posteriors.iter().enumerate() {
            let name = images
                .files
                .as_ref()
                .map_or_else(|| i.to_string(), |files| quoted(&files[i].to_string_lossy()));
            let mut row = vec![name];
            row.extend(table.labels.as_ref().map(|labels| labels[i].to_string()));
            row.push(posterior.prediction.to_string());
            row.extend(table.names.as_ref().map(|names| quoted(&names[posterior.prediction])));
            row.extend([posterior.logsumexp, posterior.entropy].map(|value| value.to_string()));
            row.extend(table.correct(i).map(|correct| u8::from(correct).to_string()));
            row.extend(norms.map(|norms| norms[i].to_string()));
            row.extend(table.verdict.as_ref().map(|verdict| u8::from(verdict[i]).to_string()));
            row.extend(table.ranking.iter().flat_map(|ranking| &ranking[i]).map(usize::to_string));
            row.extend(table.logits_of(i).iter().map(f32::to_string));
            row.extend(posterior.probabilities.iter().map(f64::to_string));
            writeln!(file, "{}", row.join(","))?;
        }
        Ok(())
    })
}

/// A CSV field (RFC 4180).
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// Reads labels from a `.npy` file: `count` integers below `classes`.
pub fn read_labels(path: &Path, count: usize, classes: usize) -> Result<Vec<u32>> {
    let array = npy::read(path)?;
    if array.shape != [count] {
        let message = format!("expected labels [{count}], one an image, found {:?}", array.shape);
        return Err(Error::file(path, message));
    }
    let values: Vec<i64> = match array.elements {
        Elements::I64(values) => values,
        Elements::U32(values) => values.into_iter().map(i64::from).collect(),
        Elements::U8(values) => values.into_iter().map(i64::from).collect(),
        Elements::F32(_) => return Err(Error::file(path, "expected integers, found floats")),
    };
    let label = |(i, value): (usize, i64)| match u32::try_from(value) {
        Ok(label) if (label as usize) < classes => Ok(label),
        _ => Err(Error::file(
            path,
            format!("label {i} is {value}, expected 0 to {}, the model's classes", classes - 1),
        )),
    };
    values.into_iter().enumerate().map(label).collect()
}
