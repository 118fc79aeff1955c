//! Text for numbers, the ends of steps, and tables.

use super::figures::{Lines, number};
use jem::process::signal_name;
use serde_json::Value;
use std::fmt::Write as _;

/// The text in place of a missing number.
pub const NONE: &str = "not measured";

/// The string in `value`, or `unknown`.
pub fn words(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

/// The text of a section without figures: the end of `step`, which measures them.
pub fn nothing(lines: Lines<'_>, step: &str) -> String {
    format!("Not measured; {}.\n", ending(lines, step))
}

/// The name of a step and its end.
pub fn ending(lines: Lines<'_>, step: &str) -> String {
    format!("`{step}` {}", end(lines, step))
}

/// The end of a step, as text to follow its name.
pub fn end(lines: Lines<'_>, step: &str) -> String {
    let Some(line) = lines.line(step) else { return "has not run".into() };
    match line["status"].as_str() {
        Some("skipped") => format!("was skipped: {}", words(&line["reason"])),
        Some("died") => match line["signal"].as_i64() {
            Some(signal) => match i32::try_from(signal).ok().and_then(signal_name) {
                Some(name) => format!("was killed by {name}"),
                None => format!("was killed by signal {signal}"),
            },
            None => "died".into(),
        },
        Some("failed") => match line["exit"].as_i64() {
            Some(exit) => format!("failed with exit status {exit}"),
            None => "could not be started".into(),
        },
        Some("timed out") => {
            format!("was killed at its limit of {:.0} s", number(line, "limit").unwrap_or(0.0))
        }
        Some("stopped") => "was stopped with the run".into(),
        Some("ok") => "ended without an error but reported no such result".into(),
        _ => "has no status".into(),
    }
}

/// `text`, or [`NONE`].
pub fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| NONE.into())
}

/// Three significant digits.
pub fn digits(number: f64) -> String {
    let power = number.abs().log10().floor();
    let decimals = if number == 0.0 || !number.is_finite() { 0.0 } else { (2.0 - power).clamp(0.0, 6.0) };
    format!("{number:.*}", decimals as usize)
}

/// A fraction in percent.
pub fn percent(fraction: f64) -> String {
    let percent = 100.0 * fraction;
    if percent < 10.0 { format!("{percent:.1}%") } else { format!("{percent:.0}%") }
}

/// A time in milliseconds.
pub fn milliseconds(milliseconds: f64) -> String {
    format!("{} ms", digits(milliseconds))
}

/// A rate in GFLOP/s.
pub fn flops(rate: f64) -> String {
    if rate >= 1000.0 {
        format!("{} TFLOP/s", digits(rate / 1000.0))
    } else {
        format!("{} GFLOP/s", digits(rate))
    }
}

/// A rate in GB/s.
pub fn bytes(rate: f64) -> String {
    if rate >= 1000.0 { format!("{} TB/s", digits(rate / 1000.0)) } else { format!("{} GB/s", digits(rate)) }
}

/// A table in Markdown.
pub struct Table {
    text: String,
    rows: usize,
}

impl Table {
    /// An empty table.
    pub fn new(columns: &[&str]) -> Self {
        let rule = format!("|---|{}\n", "---:|".repeat(columns.len() - 1));
        Self { text: format!("| {} |\n{rule}", columns.join(" | ")), rows: 0 }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        writeln!(self.text, "| {} |", cells.join(" | ")).expect("a string");
        self.rows += 1;
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The table.
    pub fn text(self) -> String {
        self.text
    }
}
