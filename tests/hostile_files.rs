//! Files that a fuzzer made for each reader (see `fuzz/`). Whatever a file contains, its reader returns, either with
//! the contents or with a one-line error.
//!
//! `fixtures/hostile/TARGET` holds a selection of the inputs that took new paths through the reader, with the names of
//! `fuzz/`'s targets. Inputs that reveal a bug are added there.

use jem::data::cifar::{Version, append_records};
use jem::data::{array, decode, idx, svhn};
use jem::ebm::Overrides;
use jem::io::{npy, npz, state_file};
use std::io::Cursor;
use std::path::Path;

/// Reads every file of a target; returns the numbers of accepted and refused files.
fn read_all(target: &str, read: impl Fn(&[u8]) -> Result<(), String>) -> (usize, usize) {
    let folder = Path::new("tests/fixtures/hostile").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut counts = (0, 0);
    for entry in entries {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("a file");
        match read(&bytes) {
            Ok(()) => counts.0 += 1,
            Err(message) => {
                assert!(
                    !message.is_empty() && message.lines().count() == 1,
                    "{}: {message:?}",
                    path.display()
                );
                assert!(!message.contains(char::is_control), "{}: {message:?}", path.display());
                counts.1 += 1;
            }
        }
    }
    counts
}

#[track_caller]
fn assert_both(target: &str, (accepted, refused): (usize, usize)) {
    assert!(accepted > 0 && refused > 0, "{target}: {accepted} accepted, {refused} refused");
}

#[test]
fn checkpoints() {
    let read = |bytes: &[u8]| state_file::parse(&mut Cursor::new(bytes), bytes.len() as u64).map(drop);
    assert_both("torch", read_all("torch", read));
    assert_both("safetensors", read_all("safetensors", read));
}

#[test]
fn arrays() {
    let read = |bytes: &[u8]| {
        npy::parse(bytes).and_then(|array| array::images(array, false, None, "hostile")).map(drop)
    };
    assert_both("npy", read_all("npy", read));
    assert_both("npz", read_all("npz", |bytes| npz::parse(bytes).map(drop)));
}

#[test]
fn data_sets() {
    assert_both("idx", read_all("idx", |bytes| idx::read(bytes, bytes.len() as u64).map(drop)));
    assert_both("matlab", read_all("matlab", |bytes| svhn::read(bytes, bytes.len() as u64).map(drop)));
    let records = |bytes: &[u8]| append_records(bytes, Version::Cifar10, &mut Vec::new(), &mut Vec::new());
    assert_both("cifar", read_all("cifar", records));
    assert_both("images", read_all("images", |bytes| decode::decode(bytes).map(drop)));
}

#[test]
fn settings() {
    let read = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Overrides::parse(text).map(drop),
        Err(error) => Err(error.to_string()),
    };
    assert_both("config", read_all("config", read));
}
