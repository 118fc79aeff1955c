//! The files of runs, and a comparison of two runs.
#![allow(dead_code, reason = "each test takes what it needs")]

use jem::io::checkpoint::list_numbered;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The checkpoints of a run, oldest first, with their iterations.
pub fn checkpoints(out: &Path) -> Vec<(u64, PathBuf)> {
    list_numbered(&out.join("checkpoints"), "checkpoint").expect("a directory of checkpoints")
}

/// The lines of `events.jsonl`, each of which must be complete.
pub fn events(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("events.jsonl")).expect("events");
    text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
}

/// Every file below `folder` and its contents.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).expect("a file"));
        }
    }
    found
}

/// Copies a directory with all its contents.
pub fn copy(from: &Path, to: &Path) {
    for (path, contents) in files(from) {
        let target = to.join(path.strip_prefix(from).expect("below it"));
        fs::create_dir_all(target.parent().expect("a directory")).expect("a directory");
        fs::write(target, contents).expect("a file");
    }
}

/// Removes the last `bytes` bytes.
pub fn truncate(path: &Path, bytes: usize) {
    let contents = fs::read(path).expect("a file");
    fs::write(path, &contents[..contents.len().saturating_sub(bytes)]).expect("a file");
}

/// Asserts that two runs have the same last checkpoint, best model and metrics, except for times, bit for bit.
pub fn assert_same_run(a: &Path, b: &Path) {
    let rows = |out: &Path| -> Vec<Vec<String>> {
        let text = fs::read_to_string(out.join("metrics.csv")).expect("metrics");
        let lines = text.lines().map(|line| line.split(',').map(String::from).collect::<Vec<_>>());
        // Without seconds and images per second.
        lines.map(|row| [&row[..1], &row[3..]].concat()).collect()
    };
    let (found, expected) = (rows(a), rows(b));
    assert_eq!(found.len(), expected.len(), "rows of metrics.csv in {}", a.display());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "metrics.csv in {}", a.display());
    }
    let last = |out: &Path| checkpoints(out).pop().expect("a checkpoint").1;
    assert_eq!(last(a).file_name(), last(b).file_name());
    let same = |a: &Path, b: &Path| fs::read(a).expect("a file") == fs::read(b).expect("a file");
    assert!(same(&last(a), &last(b)), "the last checkpoints of {} and {} differ", a.display(), b.display());
    let best = |out: &Path| out.join("best.safetensors");
    assert!(same(&best(a), &best(b)), "the best models of {} and {} differ", a.display(), b.display());
}
