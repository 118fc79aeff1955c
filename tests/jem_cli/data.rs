//! `jem data`.

use crate::support::*;
use serde_json::Value;

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
fn a_directory_of_sets_must_be_one() {
    let place = Place::new();
    fail(&place, &["data", "--data-dir", &place.at("none")], &["--data-dir", "none is not a directory"]);
}
