//! The published figures of the family, marked as published.

use crate::evaluation::format::Form;
use crate::evaluation::published::{DETECTION_SETS, Evidence, Figure, Published};
use crate::report::document::{Block, Section};
use serde_json::{Value, json};

/// The section for the data set called `data`, and its rows for `eval.json`.
pub(in super::super) fn write(data: &str) -> (Section, Value) {
    let rows: Vec<&Published> = Published::of(data).collect();
    let mut blocks = vec![Block::Text(match rows.is_empty() {
        true => format!("There are none for {data} in this program's table."),
        false => "Copied from publications, not measured here. Protocols differ: docs/evaluation.md says which of the figures \
                  above may stand beside which of these."
            .into(),
    })];
    if !rows.is_empty() {
        blocks.push(figures(&rows));
        blocks.push(detections(&rows));
        blocks.push(robustness(&rows));
        blocks.push(protocols(&rows));
    }
    let numbers = rows.iter().map(|row| numbers(row)).collect();
    (Section { title: "Published figures".into(), blocks }, numbers)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// A figure; a star marks what was not read in its own source.
fn cell(figure: Option<Figure>, form: Form) -> String {
    figure.map_or("–".into(), |Figure { value, evidence }| {
        let star = if matches!(evidence, Evidence::Source(_)) { "" } else { "*" };
        format!("{}{star}", form.number(value))
    })
}

fn figures(rows: &[&Published]) -> Block {
    let row = |row: &&Published| {
        vec![
            row.model.to_owned(),
            cell(row.accuracy, Form::Percent),
            cell(row.ece, Form::Percent),
            cell(row.inception_score, Form::Digits(2)),
            cell(row.fid, Form::Digits(1)),
        ]
    };
    Block::Table {
        caption: "Published; a star marks figures that were not read in their own source.".into(),
        head: words(&["", "accuracy", "ECE", "Inception Score", "FID"]),
        rows: rows.iter().map(row).collect(),
    }
}

fn detections(rows: &[&Published]) -> Block {
    let all = rows.iter().flat_map(|row| row.detections.iter().map(move |detections| (row, detections)));
    let row = |(row, detections): (&&Published, &crate::evaluation::published::Detections)| {
        let cells = detections.aurocs.map(|auroc| {
            cell(auroc.map(|value| Figure { value, evidence: detections.evidence }), Form::Digits(3))
        });
        [format!("{}, {}", row.model, detections.score)].into_iter().chain(cells).collect()
    };
    Block::Table {
        caption: "Published AUROC of out-of-distribution detection.".into(),
        head: std::iter::once(String::new()).chain(words(&DETECTION_SETS)).collect(),
        rows: all.map(row).collect(),
    }
}

fn robustness(rows: &[&Published]) -> Block {
    let all = rows.iter().flat_map(|row| row.robustness.iter().map(move |robustness| (row, robustness)));
    let row = |(row, r): (&&Published, &crate::evaluation::published::Robustness)| {
        let attack = format!("{} {}, {}", r.norm, r.epsilon, r.attack);
        vec![row.model.to_owned(), attack, cell(Some(r.accuracy), Form::Percent)]
    };
    Block::Table {
        caption: "Published accuracy under attack; radii are in units of [0, 1] pixels.".into(),
        head: words(&["", "attack", "accuracy"]),
        rows: all.map(row).collect(),
    }
}

fn protocols(rows: &[&Published]) -> Block {
    let row = |row: &&Published| words(&[row.model, row.source, row.protocol]);
    Block::Table {
        caption: "Sources and protocols of the published figures.".into(),
        head: words(&["", "source", "protocol"]),
        rows: rows.iter().map(row).collect(),
    }
}

fn numbers(row: &Published) -> Value {
    let figure = |figure: Option<Figure>| {
        figure.map(|Figure { value, evidence }| json!({ "value": value, "evidence": evidence.to_string() }))
    };
    let detections = row.detections.iter().map(|of| {
        json!({ "score": of.score, "sets": DETECTION_SETS, "auroc": of.aurocs, "evidence": of.evidence.to_string() })
    });
    let robustness = row.robustness.iter().map(|of| {
        json!({ "norm": of.norm, "epsilon": of.epsilon, "attack": of.attack, "accuracy": figure(Some(of.accuracy)) })
    });
    json!({
        "model": row.model,
        "source": row.source,
        "protocol": row.protocol,
        "accuracy": figure(row.accuracy),
        "ece": figure(row.ece),
        "inception_score": figure(row.inception_score),
        "fid": figure(row.fid),
        "ood": detections.collect::<Vec<_>>(),
        "robustness": robustness.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_figures_are_marked() {
        let (section, numbers) = write("cifar10");
        let rows = numbers.as_array().expect("rows");
        assert!(rows.len() > 10, "{}", rows.len());
        assert!(rows.iter().all(|row| row["source"].as_str().is_some_and(|source| !source.is_empty())));
        assert_eq!(section.blocks.len(), 5);
        for block in &section.blocks[1..] {
            let Block::Table { caption, head, rows } = block else { panic!("a table") };
            assert!(caption.to_lowercase().contains("published") && !rows.is_empty(), "{caption}");
            assert!(rows.iter().all(|row| row.len() == head.len()));
        }
        let (section, numbers) = write("photos");
        assert_eq!((section.blocks.len(), numbers), (1, json!([])));
    }
}
