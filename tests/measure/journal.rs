//! `results.jsonl` on a full disk, and after a power cut.

use crate::measure::journal::{FILE, Journal, read, skipped};

#[test]
fn a_last_line_that_is_cut_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    std::fs::write(&path, "{\"step\":\"a\"}\n{\"step\":\"b\"}\n{\"ste").unwrap();
    let lines = read(folder.path()).unwrap();
    assert_eq!(lines.iter().map(|line| line["step"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
    std::fs::write(&path, "{\"step\":\"a\"}\n{\"ste\n{\"step\":\"c\"}\n").unwrap();
    let message = read(folder.path()).unwrap_err();
    assert!(message.contains("results.jsonl line 2"), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn lines_wait_for_a_disk_that_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let mut journal = Journal::new(folder.path());
    journal.add(skipped("a", "", 0.0, "full"));
    assert!(!journal.flush());
    std::fs::remove_file(&path).unwrap();
    journal.add(skipped("b", "", 1.0, "room again"));
    let lines = read(folder.path()).unwrap();
    assert_eq!(lines, journal.lines());
    assert_eq!((lines.len(), lines[0]["step"].as_str()), (2, Some("a")));
}
