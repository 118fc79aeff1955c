//! `results.jsonl`: a line for each step, synced to disk before the next step begins.

use super::child::{Ended, Status};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The file.
pub const FILE: &str = "results.jsonl";

/// The name of the first line, which describes the run itself.
pub const START: &str = "start";

/// The lines of a run. A line that cannot be written is kept and tried again with the next one.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    lines: Vec<Value>,
    written: usize,
    /// Whether the file is this run's.
    made: bool,
}

impl Journal {
    /// Creates an empty journal in the folder `out`; `None` if there is one already, from an earlier or a concurrent
    /// run.
    pub fn new(out: &Path) -> Option<Self> {
        let path = out.join(FILE);
        match OpenOptions::new().append(true).create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
            file => Some(Self::with(path, file.ok())),
        }
    }

    /// Creates an empty journal at `path`. Without a `file`, the first write creates it.
    pub fn with(path: PathBuf, file: Option<File>) -> Self {
        Self { path, made: file.is_some(), file, lines: Vec::new(), written: 0 }
    }

    /// Appends `line` and syncs it.
    pub fn add(&mut self, line: Value) {
        self.lines.push(line);
        self.flush();
    }

    /// Writes the lines that are not written yet; returns whether all are written.
    pub fn flush(&mut self) -> bool {
        if self.file.is_none() {
            // An earlier write failed. There may be room now, or the folder may exist.
            let mut options = OpenOptions::new();
            self.file = options.append(true).create(true).create_new(!self.made).open(&self.path).ok();
            self.made |= self.file.is_some();
        }
        let Some(file) = &mut self.file else { return self.written == self.lines.len() };
        while let Some(line) = self.lines.get(self.written) {
            let length = file.metadata().map(|metadata| metadata.len());
            if file.write_all(format!("{line}\n").as_bytes()).and_then(|()| file.sync_data()).is_err() {
                // Half a line would spoil the next one.
                let _ = length.and_then(|length| file.set_len(length));
                self.file = None;
                return false;
            }
            self.written += 1;
        }
        true
    }

    /// All lines.
    pub fn lines(&self) -> &[Value] {
        &self.lines
    }
}

/// The lines of the file in `out`. An incomplete last line, as a power cut leaves it, is left out.
///
/// # Errors
/// If there is no such file, or another line is not JSON.
pub fn read(out: &Path) -> Result<Vec<Value>, String> {
    let path = out.join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines: Vec<&str> = text.lines().collect();
    let mut values = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(value) => values.push(value),
            Err(_) if number + 1 == lines.len() && !text.ends_with('\n') => {}
            Err(error) => return Err(format!("{} line {}: {error}", path.display(), number + 1)),
        }
    }
    Ok(values)
}

/// The line of a step that ran. `at` and `limit` are in seconds.
pub fn line(step: &str, about: &str, at: f64, limit: f64, ended: &Ended, result: Value) -> Value {
    json!({
        "step": step,
        "about": about,
        "status": ended.status.word(),
        "exit": ended.exit,
        "signal": ended.signal,
        "seconds": round(ended.time.as_secs_f64()),
        "limit": round(limit),
        "at": round(at),
        "last_words": ended.last_words,
        "result": result,
    })
}

/// The line of a step that did not run.
pub fn skipped(step: &str, about: &str, at: f64, reason: &str) -> Value {
    json!({
        "step": step,
        "about": about,
        "status": Status::Skipped.word(),
        "exit": null,
        "signal": null,
        "seconds": 0.0,
        "limit": null,
        "at": round(at),
        "last_words": [],
        "reason": reason,
        "result": null,
    })
}

/// Seconds with two decimals.
fn round(seconds: f64) -> f64 {
    (100.0 * seconds).round() / 100.0
}
