//! `jem data`.

use crate::support::*;
use serde_json::Value;
use std::path::Path;

#[test]
fn sets_are_listed_with_the_directories_that_hold_them() {
    let place = Place::new();
    let root = place.digits(20);
    let words = ["data", "--data-dir", &root];
    let printed = succeed(&words);
    let line = |set: &str| {
        let line = printed.lines().find(|line| line.starts_with(set));
        line.unwrap_or_else(|| panic!("no {set} in {printed}")).to_owned()
    };
    for set in ["mnist:train", "mnist:test"] {
        assert!(line(set).ends_with(&format!("{root}/mnist")), "{printed}");
    }
    assert!(line("svhn:extra").contains("not found; its files are at http"), "{printed}");
    let sets: Value = serde_json::from_str(&succeed(&[&words[..], &["--json"]].concat())).expect("JSON");
    let sets = sets.as_array().expect("a list");
    assert_eq!(sets.len(), printed.lines().count());
    for set in sets {
        let found = set["directory"].is_string();
        assert_eq!(found, set["set"].as_str().is_some_and(|name| name.starts_with("mnist:")), "{set}");
        assert_eq!(set["missing"].is_string(), !found, "{set}");
    }
}

#[test]
fn an_incomplete_set_says_what_it_lacks() {
    let place = Place::new();
    let root = place.digits(20);
    std::fs::remove_file(place.at("data/mnist/train-labels-idx1-ubyte")).expect("the file");
    let words = ["data", "--data-dir", &root];
    let printed = succeed(&words);
    let line = printed.lines().find(|line| line.starts_with("mnist:train")).expect("the set");
    let missing =
        format!("{root}/mnist: expected train-labels-idx1-ubyte (or .gz) of mnist:train, found none");
    assert!(line.contains(&missing) && line.contains("http"), "{line}");
    assert!(printed.contains(&format!("mnist:test           {root}/mnist\n")), "{printed}");
    let sets: Value = serde_json::from_str(&succeed(&[&words[..], &["--json"]].concat())).expect("JSON");
    let set = sets.as_array().expect("a list").iter().find(|set| set["set"] == "mnist:train").expect("it");
    assert!(set["missing"].as_str().is_some_and(|text| text.contains(&missing)), "{set}");
}

#[test]
fn a_missing_set_is_a_short_line_with_the_set_the_directories_and_the_page() {
    let place = Place::new();
    let model = weights();
    let run = |words: &[&str]| {
        let mut command = jem(words);
        command.current_dir(place.at("")).env("XDG_CACHE_HOME", place.at("cache"));
        let output = command.output().expect("the command starts");
        assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let folder = |root: &str| Path::new(root).join("mnist").display().to_string();
    let stderr = run(&["score", "--model", &model, "--images", "mnist:test"]);
    let looked = format!("{} or {}", folder("data"), folder(&place.at("cache/jem")));
    assert_eq!(
        stderr,
        format!(
            "error: mnist:test: expected t10k-images-idx3-ubyte (or .gz) in {looked}; download the set from \
             http://yann.lecun.com/exdb/mnist; name its directory with --data-dir\n"
        )
    );
    let stderr = run(&["score", "--model", &model, "--images", "svhn:test", "--data-dir", "."]);
    let expected = "error: svhn:test: expected test_32x32.mat in ./svhn; download the set from http";
    assert!(stderr.starts_with(expected) && !stderr.contains("--data-dir"), "{stderr}");
}

#[test]
fn a_mistyped_jem_data_is_an_error() {
    let place = Place::new();
    let (model, typed) = (weights(), place.at("nowhere"));
    for words in [
        &["data"][..],
        &["score", "--model", &model, "--images", "mnist:test"],
        &["train", "--data", "mnist", "--out", &place.at("run")],
        &["train", "--data", "cifar10", "--out", &place.at("run")],
    ] {
        let output = jem(words).env("JEM_DATA", &typed).output().expect("the command starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {stderr}");
        assert!(stderr.starts_with(&format!("error: JEM_DATA: {typed} is not a directory")), "{stderr}");
    }
}

#[test]
fn a_directory_of_sets_must_be_one() {
    let place = Place::new();
    fail(&place, &["data", "--data-dir", &place.at("none")], &["--data-dir", "none is not a directory"]);
}
