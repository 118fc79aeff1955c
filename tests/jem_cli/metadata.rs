//! Metadata of model files about their training: wrong values are refused by name wherever a file is read, and files
//! that lack them, as those of earlier versions do, stay readable.

use crate::support::*;
use jem::io::checkpoint::Checkpoint;
use jem::io::elements::Elements;
use std::path::Path;

/// Rewrites the file `path` after `change`.
fn change(path: &str, change: impl FnOnce(&mut Checkpoint)) {
    let mut file = Checkpoint::load(Path::new(path)).expect("a file");
    change(&mut file);
    file.save(Path::new(path)).expect("a file");
}

/// Runs commands that read a model on the model `best`, and resumes `run`; each must fail with `parts`.
fn refused(place: &Place, [best, run, data]: [&str; 3], parts: &[&str]) {
    let (x, out, file) = (place.x_p(), place.at("x"), place.at("x.safetensors"));
    fail(place, &["score", "--model", best, "--images", &x], parts);
    fail(place, &["sample", "--model", best, "--out", &out], parts);
    fail(place, &["train", "--from", best, "--data", data, "--out", &out], parts);
    fail(place, &["info", best], parts);
    fail(place, &["import", best, "--out", &file], parts);
    fail(place, &["train", "--resume", run, "--iterations", "9", "--quiet"], parts);
}

#[test]
fn wrong_values_are_refused_by_name() {
    let place = Place::new();
    let (data, run) = (place.drawings("data", 40), place.at("run"));
    let small = crate::train::SMALL;
    succeed(&[&["train", "--data", &data, "--out", &run, "--quiet"][..], &small].concat());
    let (best, last) =
        (format!("{run}/best.safetensors"), format!("{run}/checkpoints/checkpoint-00000003.safetensors"));
    let whole = [&best, &last].map(|path| std::fs::read(path).expect("a file"));
    let with = |edit: &dyn Fn(&mut Checkpoint), parts: &[&str]| {
        for (path, whole) in [&best, &last].into_iter().zip(&whole) {
            std::fs::write(path, whole).expect("a file");
            change(path, edit);
        }
        refused(&place, [&best, &run, &data], parts);
    };
    for (key, value, part) in [
        ("recipe", "garbage", "expected"),
        ("recipe", "steps = -3", "steps"),
        ("recipe", "step_size = -1.0", "step_size"),
        ("iteration", "three", "\"three\""),
        ("iteration", "-3", "\"-3\""),
        ("iteration", "", "\"\""),
        ("random_stream", "x", "\"x\""),
        ("random_stream", "-1", "\"-1\""),
        ("picture_size", "0", "found 0"),
    ] {
        let edit = |file: &mut Checkpoint| drop(file.metadata.insert(key.into(), value.into()));
        with(&edit, &[".safetensors", &format!("metadata {key}"), part]);
    }
    let ages = |ages: Elements| {
        move |file: &mut Checkpoint| {
            let tensor = file.tensors.iter_mut().find(|(name, ..)| name == "chain_ages").expect("ages");
            (tensor.1, tensor.2) = (vec![ages.len()], ages.clone());
        }
    };
    let of = |value: f32| [vec![1.0; 39], vec![value]].concat();
    with(&ages(Elements::F32(of(-1.0))), &["chain_ages", "element 39 is -1"]);
    with(&ages(Elements::F32(of(0.5))), &["chain_ages", "element 39 is 0.5"]);
    with(&ages(Elements::F32(of(f32::NAN))), &["chain_ages", "element 39 is NaN"]);
    with(&ages(Elements::F32(vec![1.0; 39])), &["chain_ages", "[40]", "[39]"]);
    with(&ages(Elements::I64(vec![1; 40])), &["chain_ages", "F32", "I64"]);

    // Files of earlier versions, which lack these, are read.
    for (path, whole) in [&best, &last].into_iter().zip(&whole) {
        std::fs::write(path, whole).expect("a file");
        change(path, |file| {
            file.metadata.retain(|key, _| key != "recipe" && key != "random_stream");
            file.tensors.retain(|(name, ..)| name != "chain_ages");
        });
    }
    succeed(&["info", &best]);
    succeed(&["sample", "--model", &best, "--count", "1", "--steps", "1", "--out", &place.at("x")]);
    succeed(&["train", "--resume", &run, "--iterations", "4"]);
}

#[test]
fn keys_of_other_programs_are_their_own() {
    let place = Place::new();
    let foreign = place.changed_model("foreign.safetensors", |file| {
        file.metadata.clear();
        file.metadata.insert("recipe".into(), "flour, water".into());
        file.metadata.insert("iteration".into(), "last".into());
    });
    let out = place.at("model.safetensors");
    succeed(&["import", &foreign, "--out", &out]);
    succeed(&["info", &out]);
}
