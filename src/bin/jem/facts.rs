//! The results of a command: text for people, JSON for programs.

use crate::session::complain;
use serde_json::{Map, Value};
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// The width of the text, in columns.
const WIDTH: usize = 100;

/// Facts in the order in which they are printed at the end of a command: a line each, or one JSON object.
#[derive(Debug, Default)]
pub struct Facts {
    lines: Vec<(String, String)>,
    json: Map<String, Value>,
}

impl Facts {
    /// Adds a fact with its text for people and its value for programs, whose key has `_` instead of spaces.
    pub fn add(&mut self, name: &str, text: impl Into<String>, value: impl Into<Value>) {
        self.line(name, text);
        self.value(name, value);
    }

    /// Adds a fact with the same text for people and programs.
    pub fn text(&mut self, name: &str, text: impl Into<String>) {
        let text = text.into();
        self.add(name, text.clone(), text);
    }

    /// Adds a fact that only people see.
    pub fn line(&mut self, name: &str, text: impl Into<String>) {
        self.lines.push((name.into(), text.into()));
    }

    /// Adds a fact that only programs see.
    pub fn value(&mut self, name: &str, value: impl Into<Value>) {
        self.json.insert(name.replace(' ', "_"), value.into());
    }

    /// Prints all facts.
    pub fn print(&self, json: bool) {
        if json {
            return say(&Value::Object(self.json.clone()).to_string());
        }
        let width = self.lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, text) in &self.lines {
            for (i, part) in wrapped(&printable(text), WIDTH.saturating_sub(width + 2)).iter().enumerate() {
                say(&format!("{:<width$}  {part}", if i == 0 { name } else { "" }));
            }
        }
    }
}

/// A text from a file, which must not command the terminal or look like two lines: control characters are escaped.
pub fn printable(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// Breaks `text` after commas into lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in text.split_inclusive(", ") {
        let last = lines.last_mut().expect("there is one");
        if !last.is_empty() && last.chars().count() + part.trim_end().chars().count() > width {
            lines.push(part.to_owned());
        } else {
            last.push_str(part);
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// A number with commas between thousands.
pub fn number(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whether a line could not be printed, for another reason than a reader who left.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Prints a line. If the reader has closed the pipe (`| head`), the command goes on without output: it may have files to
/// write. Another failure is reported once, and [`status`] returns it.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush())
        && error.kind() != ErrorKind::BrokenPipe
        && !FAILED.swap(true, Ordering::Relaxed)
    {
        complain(&format!("error: standard output: {error}"));
    }
}

/// The exit status of a command that ended with `status`: a failure if a line could not be printed.
pub fn status(status: ExitCode) -> ExitCode {
    if FAILED.load(Ordering::Relaxed) { ExitCode::FAILURE } else { status }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_have_commas() {
        for (value, text) in [(0, "0"), (999, "999"), (77_706, "77,706"), (36_489_290, "36,489,290")] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn long_text_is_broken_after_commas() {
        assert_eq!(wrapped("a = 1, b = 22, c = 3", 12), ["a = 1,", "b = 22,", "c = 3"]);
        assert_eq!(wrapped("a = 1, b = 22, c = 3", 13), ["a = 1,", "b = 22, c = 3"]);
        assert_eq!(wrapped("a = 1, b = 22, c = 3", 14), ["a = 1, b = 22,", "c = 3"]);
        assert_eq!(wrapped("no place to break it", 5), ["no place to break it"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
