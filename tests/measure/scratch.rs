//! The folder for logs and caches.

use crate::measure::scratch::Scratch;
use std::fs;
use std::io::Error;

#[test]
fn only_what_the_run_made_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mine = folder.path().join("mine");
    fs::write(&mine, "kept").unwrap();
    let new = || Scratch::new(&[folder.path().to_owned()], |path| fs::write(path.join("log"), "")).unwrap();
    let (one, two) = (new(), new());
    assert_ne!(one.path, two.path);
    assert!(one.path.starts_with(folder.path()) && one.path.join("log").exists());
    one.remove().unwrap();
    assert!(two.path.exists());
    two.remove().unwrap();
    assert_eq!(fs::read_to_string(mine).unwrap(), "kept");
    let around = folder.path().join("around");
    Scratch::new(std::slice::from_ref(&around), |_| Ok(())).unwrap().remove().unwrap();
    assert!(!around.exists(), "the run made that too");
}

#[test]
fn the_next_folder_is_taken_where_one_has_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let [file, full, good] = ["file", "full", "good"].map(|name| folder.path().join(name));
    fs::write(&file, "").unwrap();
    let fill = |path: &std::path::Path| {
        if path.starts_with(&full) { Err(Error::other("no room")) } else { Ok(()) }
    };
    let scratch = Scratch::new(&[file.clone(), full.clone(), good.clone()], fill).unwrap();
    assert!(scratch.path.starts_with(&good));
    assert!(!full.exists(), "nothing is left there");
    let message = Scratch::new(&[file, full.clone()], fill).unwrap_err();
    assert!(message.contains("full") && message.ends_with("no room"), "{message}");
}
