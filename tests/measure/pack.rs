//! The files besides the lines and the summary.

use crate::figures::line;
use crate::measure::figures::Lines;
use crate::measure::pack::{FILES, logs, put, results};
use serde_json::json;
use std::io::{Error, Write};

#[test]
fn a_file_is_complete_or_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    put(&path, |file| file.write_all(b"one")).unwrap();
    let full = put(&path, |file| file.write_all(b"tw").and(Err(Error::other("no room"))));
    assert_eq!(full.unwrap_err().to_string(), "no room");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing else is left");
}

#[test]
fn a_file_that_cannot_be_written_costs_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (out, said) = (folder.path().join("out"), folder.path().join("said"));
    // A folder that blocks the first file.
    std::fs::create_dir_all(out.join("profile-f32.json/in the way")).unwrap();
    std::fs::create_dir(&said).unwrap();
    std::fs::write(said.join("01-host.log"), "words\n").unwrap();
    let all = ["profile-f32", "registers", "gate-naga"].map(|step| line(step, json!({"a": 1})));
    let messages = results(&out, Lines(&all));
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].starts_with("profile-f32.json: "), "{messages:?}");
    logs(&out, &said).unwrap();
    assert!(logs(&out, &folder.path().join("none")).is_err());
    for file in ["registers.json", "gate.json", "logs.tar.gz"] {
        assert!(FILES.contains(&file) && out.join(file).metadata().unwrap().len() > 0, "{file}");
    }
    assert_eq!(out.read_dir().unwrap().count(), 4);
}
