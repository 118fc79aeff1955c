//! Shows the scores that flags ask for: those of the first images to people, those of all to programs.

use super::{Arguments, ScoreTable};
use crate::facts::{Facts, number, printable, say};
use jem::data::images::Images;
use serde_json::json;

/// The number of images shown.
const SHOWN: usize = 20;

/// Prints the scores that the flags ask for, a line per image.
pub fn figures(arguments: &Arguments, table: &ScoreTable, images: &Images) {
    let asked =
        arguments.predict || arguments.conditional || table.ranking.is_some() || table.verdict.is_some();
    if !asked {
        return;
    }
    let shown = table.len().min(SHOWN);
    let names: Vec<String> = (0..shown).map(|i| name(images, i)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (i, name) in names.iter().enumerate() {
        say(&format!("{name:<width$}{}", printable(&figures_of(i, arguments, table))));
    }
    if table.len() > shown {
        say(&format!("… and {} more; --out writes all", number(table.len() - shown)));
    }
    say("");
}

/// Adds the figures of all images that were asked for, for programs without a file of them.
pub fn values(arguments: &Arguments, table: &ScoreTable, facts: &mut Facts) {
    if arguments.predict {
        let classes = table.posteriors.iter().map(|posterior| table.class(posterior.prediction));
        facts.value("predictions", classes.collect::<Vec<_>>());
    }
    if let Some(ranking) = &table.ranking {
        let ranked = |row: &Vec<usize>| row.iter().map(|&k| table.class(k)).collect::<Vec<_>>();
        facts.value("ranking", json!(ranking.iter().map(ranked).collect::<Vec<_>>()));
    }
    if let Some(verdict) = &table.verdict {
        facts.value("verdicts", verdict.clone());
    }
    if arguments.conditional {
        let rows = table.posteriors.iter().map(|posterior| &posterior.probabilities);
        facts.value("probabilities", json!(rows.collect::<Vec<_>>()));
    }
}

/// The file name of an image, else its number.
fn name(images: &Images, i: usize) -> String {
    images.files.as_ref().map_or_else(|| i.to_string(), |files| printable(&files[i].display().to_string()))
}

fn figures_of(i: usize, arguments: &Arguments, table: &ScoreTable) -> String {
    let class = |k: usize| table.class(k);
    let (posterior, logits) = (&table.posteriors[i], table.logits_of(i));
    let mut line = String::new();
    if arguments.predict {
        let k = posterior.prediction;
        line += &format!("  {} energy {:.4}", class(k), -logits[k]);
    }
    if let Some(ranking) = &table.ranking {
        let ranked = ranking[i].iter().map(|&k| format!("{} {:.4}", class(k), -logits[k]));
        line += &format!("  ranked {}", ranked.collect::<Vec<_>>().join(", "));
    }
    if let Some(verdict) = &table.verdict {
        let word = if verdict[i] { "in" } else { "out" };
        line += &format!("  {word} (logsumexp {:.4})", posterior.logsumexp);
    }
    if arguments.conditional {
        let p = posterior.probabilities.iter().enumerate().map(|(k, p)| format!("{} {p:.4}", class(k)));
        line += &format!("  p(y|x) {}", p.collect::<Vec<_>>().join(", "));
    }
    line
}
