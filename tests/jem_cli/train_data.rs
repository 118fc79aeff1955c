//! `jem train` on folders, drawings and data sets with names.

use crate::support::*;
use crate::train::{SMALL, read, train};
use jem::io::checkpoint::Checkpoint;
use serde_json::Value;
use std::path::{Path, PathBuf};

#[test]
fn parts_of_a_folder_are_trained_and_tested_on() {
    let place = Place::new();
    let (data, out) = (place.at("data"), place.at("run"));
    place.drawings("data/train", 20);
    place.drawings("data/test", 6);
    let printed = succeed(&train(&data, &out, &["--recipe", "classifier"]));
    assert!(printed.contains("20 training and 6 test images of 8x8x3"), "{printed}");
    assert!(printed.contains(&format!("--images {data}/test")), "{printed}");
    assert!(!printed.contains("NaN") && !printed.contains("jem sample"), "{printed}");

    place.drawings("data/train/triangle", 2);
    std::fs::rename(place.at("data/train/triangle/disc"), place.at("data/train/cat")).expect("a folder");
    std::fs::remove_dir_all(place.at("data/train/triangle")).expect("a folder");
    fail(&place, &train(&data, &place.at("other"), &[]), &["data/test", "no class cat"]);
}

#[test]
fn drawings_and_digits_by_name() {
    let place = Place::new();
    let digits = place.digits(60);
    let printed = succeed(&train("mnist", &place.at("digits"), &["--data-dir", &digits]));
    for part in
        ["60 training and 60 test images of 32x32x1", "28x28 are centred on black of 32x32", "mnist:test"]
    {
        assert!(printed.contains(part), "{part:?} is not in {printed}");
    }
    succeed(&["train", "--resume", &place.at("digits"), "--iterations", "4"]);
}

#[test]
fn every_result_of_drawings_says_once_that_they_are_synthetic() {
    let place = Place::new();
    let out = place.at("run");
    let printed = succeed(&train("synthetic", &out, &["--data-dir", &place.at("")]));
    assert!(printed.contains("data    SYNTHETIC shapes train: 50000 training and 10000 test"), "{printed}");
    assert!(printed.contains("--images synthetic:test --data-dir "), "{printed}");
    let described = succeed(&["info", &out]);
    let trained_on = described.lines().find(|line| line.starts_with("trained on ")).expect("a line");
    assert!(trained_on.ends_with("  SYNTHETIC shapes train"), "{described}");
    let (config, page) = (read(&out, "config.toml"), read(&out, "report.html"));
    assert!(config.starts_with("# data: SYNTHETIC shapes train\n"), "{config}");
    assert!(page.contains("<title>run: SYNTHETIC shapes train</title>"), "{page}");
    for text in [printed, described, config] {
        assert!(text.lines().all(|line| line.matches("SYNTHETIC").count() <= 1), "{text}");
    }

    let out = place.at("ablation");
    let one = ["ablate", "--data", "synthetic", "--out", &out, "--recipes", "classifier", "--seeds", "1"];
    succeed(&[&one[..], &SMALL, &["--quiet"]].concat());
    let table = read(&out, "table.md");
    assert!(table.starts_with("# SYNTHETIC shapes, preset tiny, on cpu"), "{table}");
    assert!(read(&out, "table.json").contains("\"data\": \"SYNTHETIC shapes\""));
}

/// Every data set that `--data` reads from files, in the layout of the set's authors.
#[test]
fn every_set_is_trained_on_by_its_name() {
    let place = Place::new();
    let of_grey = [32, 32, 1];
    let of_colour = [32, 32, 3];
    for (name, data, title, classes, [height, width, channels], flip) in [
        ("cifar10", place.cifar10(20), "CIFAR-10", 10, of_colour, true),
        ("cifar100", place.cifar100(200), "CIFAR-100", 100, of_colour, true),
        ("svhn", place.house_numbers(60), "SVHN", 10, of_colour, false),
        // Padded from 28x28.
        ("mnist", place.digits(60), "MNIST", 10, of_grey, false),
        ("fashion-mnist", place.clothes(60), "Fashion-MNIST", 10, of_grey, true),
        ("kmnist", place.hiragana(60), "Kuzushiji-MNIST", 10, of_grey, false),
    ] {
        let out = place.at(name);
        let printed = succeed(&train(name, &out, &["--data-dir", &data, "--validation", "20"]));
        let images = format!("images of {height}x{width}x{channels}, {classes} classes");
        assert!(printed.contains(&format!("{title} train: ")) && printed.contains(&images), "{printed}");

        let config = read(&out, "config.toml");
        let source = serde_json::json!({ "data": name, "directory": data });
        assert!(config.starts_with(&format!("# data: {title} train\n# data source: {source}\n")), "{config}");
        assert!(config.contains(&format!("flip = {flip}\n")), "{name}: {config}");
        let start = read(&out, "events.jsonl").lines().next().expect("an event").to_owned();
        let start: Value = serde_json::from_str(&start).expect("JSON");
        assert_eq!(
            (start["event"].as_str(), start["details"]["synthetic"].as_bool()),
            (Some("start"), Some(false))
        );
        assert_eq!(start["details"]["data"], format!("{title} train"));

        let metrics = read(&out, "metrics.csv");
        let rows: Vec<Vec<&str>> = metrics.lines().map(|row| row.split(',').collect()).collect();
        assert_eq!(rows.len(), 1 + 3, "{name}: {metrics}");
        for column in ["loss", "energy_data", "energy_samples", "cross_entropy"] {
            let at = rows[0].iter().position(|title| *title == column).expect("the column");
            let finite = |row: &Vec<&str>| row[at].parse::<f64>().is_ok_and(f64::is_finite);
            assert!(rows[1..].iter().all(finite), "{name}, {column}: {metrics}");
        }
        let path = Path::new(&out).join("checkpoints/checkpoint-00000003.safetensors");
        let checkpoint = Checkpoint::load(&path).expect("a checkpoint");
        let shape = |tensor: &str| {
            let found = checkpoint.tensors.iter().find(|(name, ..)| name == tensor);
            found.map(|(_, shape, _)| shape.clone()).unwrap_or_else(|| panic!("{name}: no {tensor}"))
        };
        assert_eq!(shape("replay_buffer"), [40, channels, height, width], "{name}");
        assert_eq!(shape("f.conv1.weight")[1], channels, "{name}");
        assert_eq!(shape("class_output.weight")[0], classes, "{name}");
    }
}

/// The real data sets, if they are on this machine.
#[test]
fn official_sets() {
    let root = std::env::var_os("JEM_DATA").map(PathBuf::from);
    for (name, file, images) in [
        (
            "cifar10",
            "cifar-10-batches-bin/data_batch_1.bin",
            "50000 training and 10000 test images of 32x32x3",
        ),
        ("mnist", "mnist/train-images-idx3-ubyte.gz", "60000 training and 10000 test images of 32x32x1"),
        ("fashion-mnist", "fashion-mnist/train-images-idx3-ubyte.gz", "60000 training and 10000 test images"),
    ] {
        let Some(root) = root.as_ref().filter(|root| root.join(file).is_file()) else {
            // Bypass libtest's capture, so that this is shown when the test passes.
            use std::io::Write as _;
            let line = format!("jem_cli::train_data: $JEM_DATA has no {file}: ran without {name}");
            writeln!(std::io::stderr(), "{line}").expect("standard error");
            continue;
        };
        let place = Place::new();
        let root = root.to_str().expect("UTF-8");
        let printed = succeed(&train(name, &place.at("run"), &["--data-dir", root]));
        assert!(printed.contains(images), "{printed}");
    }
}
