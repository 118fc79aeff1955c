//! The result of a step, read from its output and the files that it left.

use super::child::Ended;
use super::orders::Reader;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The largest file that is taken into `results.jsonl`, in bytes.
const LARGEST: u64 = 4 << 20;
/// The most characters of text and the most rows of `metrics.csv` that are taken.
const MOST: (usize, usize) = (60_000, 200);

/// The result of a step that `ended` and whose files are in `folder`; null if it left none.
pub fn read(reader: Reader, ended: &Ended, folder: &Path) -> Value {
    match reader {
        Reader::Line => objects(&ended.text).pop().unwrap_or(Value::Null),
        Reader::Lines => match objects(&ended.text) {
            rows if rows.is_empty() => Value::Null,
            rows => json!({"rows": rows}),
        },
        Reader::Text => json!({"text": ended.text.chars().take(MOST.0).collect::<String>()}),
        Reader::Bench => {
            let parsed = file(&folder.join("bench.json")).and_then(|text| serde_json::from_str(&text).ok());
            parsed.unwrap_or(Value::Null)
        }
        Reader::Tests => tests(&ended.text),
        Reader::Metrics => {
            file(&folder.join("metrics.csv")).map_or(Value::Null, |text| json!({"columns": columns(&text)}))
        }
    }
}

/// The contents of a file of at most [`LARGEST`] bytes.
fn file(path: &Path) -> Option<String> {
    let small = path.metadata().is_ok_and(|metadata| metadata.len() <= LARGEST);
    small.then(|| std::fs::read_to_string(path).ok()).flatten()
}

/// The lines of `text` that are JSON objects.
fn objects(text: &str) -> Vec<Value> {
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with('{'));
    lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(Value::is_object).collect()
}

/// The tests that passed and failed, read from the lines of the test harness.
fn tests(text: &str) -> Value {
    let ended = |word: &str| -> Vec<&str> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("test ")?.trim_end().strip_suffix(word));
        lines.map(|name| name.trim_end().trim_end_matches("...").trim_end()).collect()
    };
    let (passed, failed) = (ended(" ok"), ended(" FAILED"));
    let finished = text.lines().any(|line| line.starts_with("test result:"));
    if passed.is_empty() && failed.is_empty() && !finished {
        return Value::Null;
    }
    json!({"passed": passed.len(), "failed": failed, "finished": finished})
}

/// The numbers of `metrics.csv` by column, from its beginning; null where a row has none.
fn columns(text: &str) -> Map<String, Value> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let mut columns: Vec<Vec<Option<f64>>> = vec![Vec::new(); names.len()];
    // An incomplete last row has too few cells.
    for cells in lines.map(|line| line.split(',').collect::<Vec<_>>()).take(MOST.1) {
        if cells.len() == names.len() {
            for (column, cell) in columns.iter_mut().zip(cells) {
                column.push(cell.parse().ok());
            }
        }
    }
    names.into_iter().zip(columns).map(|(name, column)| (name.to_owned(), json!(column))).collect()
}
