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
    let full = std::fs::OpenOptions::new().append(true).open("/dev/full").unwrap();
    let mut journal = Journal::with(path, Some(full));
    std::fs::create_dir(folder.path().join(FILE)).unwrap();
    journal.add(skipped("a", "", 0.0, "full"));
    assert!(!journal.flush());
    std::fs::remove_dir(folder.path().join(FILE)).unwrap();
    journal.add(skipped("b", "", 1.0, "room again"));
    let lines = read(folder.path()).unwrap();
    assert_eq!(lines, journal.lines());
    assert_eq!((lines.len(), lines[0]["step"].as_str()), (2, Some("a")));
}

#[test]
fn lines_of_another_run_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Journal::new(folder.path()).unwrap();
    assert!(Journal::new(folder.path()).is_none(), "a run beside this one");
    first.add(skipped("a", "", 0.0, "first"));
    drop(first);
    assert!(Journal::new(folder.path()).is_none(), "a later run");
    assert_eq!(read(folder.path()).unwrap().len(), 1);
    // A run that could not create its own file does not append to an existing one either.
    let mut late = Journal::with(folder.path().join(FILE), None);
    late.add(skipped("b", "", 0.0, "late"));
    assert!(!late.flush());
    assert_eq!(read(folder.path()).unwrap().len(), 1);
}
