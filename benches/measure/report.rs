//! A page for `bench-results`: the summary, followed by the tables that it was made from.

use super::figures::Lines;
use super::journal::START;
use super::words::{Table, digits};
use super::{journal, log, summary};
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The most rows shown of a table; profiles have hundreds.
const ROWS: usize = 40;

/// Writes `DATE-NAME.md` into the folder `to` from the results in `out`, and returns its path. An existing page is not
/// replaced: the new one gets a number.
///
/// # Errors
/// If there are no results, or the page cannot be written.
pub fn write(out: &Path, to: &Path) -> Result<PathBuf, String> {
    let lines = journal::read(out)?;
    if Lines(&lines).line(START).is_none() {
        return Err(format!("{}: no line describes the run itself", out.join(journal::FILE).display()));
    }
    let page = page(&lines);
    // The date is a part of a path.
    let date = slug(Lines(&lines).result(START)["date"].as_str().unwrap_or("undated"));
    let name = slug(&summary::device(Lines(&lines)));
    std::fs::create_dir_all(to).map_err(|error| format!("{}: {error}", to.display()))?;
    let mut path = to.join(format!("{date}-{name}.md"));
    let mut number = 2;
    while path.exists() {
        path = to.join(format!("{date}-{name}-{number}.md"));
        number += 1;
    }
    std::fs::write(&path, page).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// `name` in lower-case letters, digits and hyphens, at most five words.
pub fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.take(5).map(str::to_ascii_lowercase).collect();
    if words.is_empty() { "unknown".into() } else { words.join("-") }
}

/// The page.
fn page(lines: &[Value]) -> String {
    let mut text = summary::page(lines);
    text += "\n# Steps and tables\n\n";
    let mut steps = Table::new(&["step", "status", "seconds", "limit"]);
    for line in lines.iter().filter(|line| line["step"] != START) {
        let cells = ["step", "status", "seconds", "limit"].map(|name| cell(&line[name]));
        steps.row(cells.to_vec());
    }
    text += &steps.text();
    for line in lines {
        let tables = line["result"]["tables"].as_array().into_iter().flatten();
        for table in tables.filter(|table| !is_ceilings_again(line, table)) {
            let title = format!("{}: {}", cell(&line["step"]), cell(&table["title"]));
            write!(text, "\n## {title}\n\n{}", rows(table)).expect("a string");
        }
        if let Some(said) = line["result"]["text"].as_str().filter(|_| line["step"] == "clocks") {
            write!(text, "\n## clocks\n\n```text\n{}\n```\n", brief(said)).expect("a string");
        }
    }
    text
}

/// Whether `table` holds ceilings, which every bench measures again, of a step other than `ceilings`.
fn is_ceilings_again(line: &Value, table: &Value) -> bool {
    line["step"] != "ceilings" && table["title"].as_str().is_some_and(|title| title.starts_with("Ceiling of"))
}

/// The rows of a table in Markdown, with its notes.
fn rows(table: &Value) -> String {
    let rows: Vec<&Map<String, Value>> =
        table["rows"].as_array().into_iter().flatten().filter_map(Value::as_object).collect();
    let Some(first) = rows.first() else { return "No rows.\n".into() };
    let named = table["columns"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut columns: Vec<&str> = named.collect();
    if columns.is_empty() {
        columns.extend(first.keys().map(String::as_str));
    }
    let mut written = Table::new(&columns);
    for row in rows.iter().take(ROWS) {
        written.row(columns.iter().map(|column| row.get(*column).map_or("-".into(), cell)).collect());
    }
    let mut text = written.text();
    if rows.len() > ROWS {
        writeln!(text, "\n{} more rows are in `results.jsonl`.", rows.len() - ROWS).expect("a string");
    }
    for note in table["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        write!(text, "\n{note}\n").expect("a string");
    }
    text
}

/// The output of `nvidia-smi` without the lines that have no value, at most 80 lines.
fn brief(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains("N/A") && !line.trim().is_empty()).take(80);
    lines.collect::<Vec<_>>().join("\n")
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => log::last_words(text).join(" ").replace('|', "\\|"),
        Value::Number(number) if number.is_f64() => digits(number.as_f64().unwrap_or(f64::NAN)),
        other => other.to_string(),
    }
}
