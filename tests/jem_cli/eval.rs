//! `jem eval`.

use crate::support::numbers as numbers_of;
use crate::support::*;
use jem::device::Device;
use jem::ebm::{Recipe, RunOptions, run};
use jem::io::elements::{Array, Elements};
use jem::io::npz;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Writes `count` labelled 8x8 pictures, from picture `first` on.
fn pictures(place: &Place, name: &str, first: usize, count: usize) -> String {
    let data = crate::small::pictures(first + count, 8);
    let images = data.images[first * data.image_bytes()..].to_vec();
    let labels = data.labels[first..].to_vec();
    let arrays = [
        ("images", Array { shape: vec![count, 8, 8, 3], elements: Elements::U8(images) }),
        ("labels", Array { shape: vec![count], elements: Elements::U32(labels) }),
    ];
    let arrays = arrays.map(|(name, array)| (name.to_owned(), array));
    npz::write(Path::new(&place.at(name)), &arrays).expect("a file");
    place.at(name)
}

/// Trains a WRN-10-1 on 8x8 pictures for two iterations; returns its best model.
fn model(place: &Place) -> String {
    let data = crate::small::pictures(40, 8);
    let recipe = Recipe { iterations: 2, validation: 20, ..crate::small::recipe() };
    let options = RunOptions::new(PathBuf::from(place.at("run")));
    let outcome = run(&Device::cpu(), &recipe, &data, &data, options).expect("a run");
    outcome.best.expect("a best model").to_str().expect("UTF-8").to_owned()
}

fn read(out: &str) -> Value {
    let text = std::fs::read_to_string(Path::new(out).join("eval.json")).expect("eval.json");
    serde_json::from_str(&text).expect("JSON")
}

/// The stderr of a command that must succeed.
fn progress(words: &[&str]) -> String {
    let output = jem(words).output().expect("the command starts");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {stderr}");
    stderr
}

/// Asserts that every number of figures has an interval beside it that contains it.
fn assert_intervals(path: &str, value: &Value, checked: &mut usize) {
    match value {
        Value::Object(object) => {
            let intervals = object.get("interval").and_then(Value::as_object);
            for (key, interval) in intervals.into_iter().flatten() {
                let (Some(number), Some(bounds)) = (object[key].as_f64(), interval.as_array()) else {
                    panic!("{path}.{key}: {} with {interval}", object[key]);
                };
                let [low, high] = [&bounds[0], &bounds[1]].map(|bound| bound.as_f64().expect("a bound"));
                assert!(
                    low - 1e-9 <= number && number <= high + 1e-9,
                    "{path}.{key}: {number} in {bounds:?}"
                );
                *checked += 1;
            }
            object.iter().for_each(|(key, value)| assert_intervals(&format!("{path}.{key}"), value, checked));
        }
        Value::Array(all) => all.iter().for_each(|value| assert_intervals(path, value, checked)),
        _ => {}
    }
}

#[test]
fn a_model_is_evaluated_once() {
    let place = Place::new();
    let (model, out) = (model(&place), place.at("report"));
    let [test, held_out, other] = [("test.npz", 0, 60), ("held.npz", 100, 50), ("other.npz", 200, 30)]
        .map(|(n, f, c)| pictures(&place, n, f, c));
    let ood = format!("noise,{other},interpolated,constant");
    let words = [
        "eval",
        "--model",
        &model,
        "--data",
        &test,
        "--held-out",
        &held_out,
        "--ood",
        &ood,
        "--ood-images",
        "25",
    ];
    let words =
        [&words[..], &["--batch", "16", "--only", "calibration,ood", "--against", &model, "--out", &out]]
            .concat();
    let first = progress(&words);
    for part in ["scoring held-out images", "scoring noise", "scoring constant"] {
        assert!(first.contains(part), "{part}: {first}");
    }
    let numbers = read(&out);
    let score = facts(&["score", "--model", &model, "--images", &test]);
    assert_eq!(numbers["accuracy"], score["accuracy"]);
    assert_eq!((numbers["images"].as_u64(), numbers["ood"].as_array().map(Vec::len)), (Some(60), Some(4)));
    assert_eq!(numbers["calibration"]["bins"].as_array().map(Vec::len), Some(20));
    for set in numbers["ood"].as_array().expect("sets") {
        for key in [
            "log_px",
            "max_py",
            "approximate_mass",
            "max_logit",
            "entropy",
            "energy_temperature",
            "gen",
            "odin",
        ] {
            for figure in ["auroc", "aupr_in", "aupr_out", "fpr95"] {
                let value = set["scores"][key][figure].as_f64().expect("a figure");
                assert!((0.0..=1.0).contains(&value), "{key} {figure} {value}");
            }
        }
        assert_eq!(set["scores"]["mahalanobis"], Value::Null, "there are no training images");
    }
    let mut checked = 0;
    assert_intervals("eval", &numbers, &mut checked);
    assert!(checked > 250, "{checked}");
    // The same model as a baseline has the same figures, and differences of exactly 0.
    assert_eq!(numbers["against"][0]["accuracy"], numbers["accuracy"]);
    let text = std::fs::read_to_string(place.at("report/eval.md")).expect("eval.md");
    let accuracy = text.lines().find(|line| line.starts_with("| accuracy")).expect("a row");
    assert!(accuracy.ends_with("| 0.00% [0.00, 0.00] |"), "{accuracy}");
    assert!(!text.contains("no model to compare with"));
    let page = std::fs::read_to_string(place.at("report/eval.html")).expect("eval.html");
    assert!(!page.contains("http") && !page.contains(".png\""), "it needs no other file");

    let again = progress(&words);
    assert!(!again.contains("scoring"), "nothing is measured again: {again}");
    assert_eq!(read(&out), numbers);
    let fewer = [&words[..], &["--images", "40"]].concat();
    let fewer = progress(&fewer);
    assert!(fewer.contains("scoring") && !fewer.contains("scoring constant"), "{fewer}");
    assert_eq!(read(&out)["images"], 40);
}

#[test]
fn held_out_images_leave_the_test_set() {
    let place = Place::new();
    let (model, out) = (model(&place), place.at("report"));
    let test = pictures(&place, "test.npz", 0, 60);
    let words = ["eval", "--model", &model, "--data", &test, "--only", "calibration", "--out", &out];
    succeed(&words);
    let numbers = read(&out);
    assert_eq!(
        (numbers["images"].as_u64(), &numbers["calibration"]["temperature"]),
        (Some(60), &Value::Null)
    );
    assert!(numbers.get("ood").is_none());
    let text = std::fs::read_to_string(place.at("report/eval.md")).expect("eval.md");
    assert!(text.contains("no model to compare with"), "{text}");
    succeed(&[&words[..], &["--held-out", "20"]].concat());
    let numbers = read(&out);
    assert_eq!(numbers["images"], 40);
    assert!(
        numbers["calibration"]["ece_after_temperature"].as_f64().is_some_and(|ece| (0.0..1.0).contains(&ece))
    );
}

#[test]
fn wrong_inputs_are_one_line_and_leave_nothing() {
    let place = Place::new();
    let model = model(&place);
    let [test, few] =
        [("test.npz", 60), ("few.npz", 1)].map(|(name, count)| pictures(&place, name, 0, count));
    let (out, large) = (place.at("report"), place.x_p());
    let unlabelled = place.floats("unlabelled.npy", &[4, 3, 8, 8], vec![0.0; 4 * 192]);
    let eval = |flags: &[&str]| {
        let words = ["eval", "--quiet", "--model", &model, "--out", &out].map(str::to_owned);
        words.into_iter().chain(flags.iter().map(|&flag| flag.to_owned())).collect::<Vec<_>>()
    };
    for (flags, parts) in [
        (&["--data", &*test, "--images", "61"][..], &["--images", "1 to 60", "got 61"][..]),
        (&["--data", &test, "--images", "0"], &["--images", "got 0"]),
        (&["--data", &test, "--ood", &large], &["x.npy", "[8, 8, 3]", "[32, 32, 3]"]),
        (&["--data", &test, "--ood", "mars:test"], &["--ood", "mars:test"]),
        (&["--data", &test, "--ood", "noise,noise"], &["--ood", "noise twice"]),
        (&["--data", &few, "--ood", "interpolated"], &["--ood", "two test images"]),
        (&["--data", &test, "--ood", &test, "--ood-images", "99"], &["--ood-images", "1 to 60", "got 99"]),
        (&["--data", &test, "--held-out", "60"], &["--held-out", "1 to 59", "got 60"]),
        (&["--data", &unlabelled], &["--data", "no classes"]),
        (&["--data", "nowhere"], &["--data", "nowhere"]),
        (&["--data", &test, "--against", &weights()], &["--against", "[32, 32, 3]", "[8, 8, 3]"]),
    ] {
        let words = eval(flags);
        fail(&place, &words.iter().map(String::as_str).collect::<Vec<_>>(), parts);
    }
    misuse(
        &["eval", "--model", &model, "--data", &test, "--out", &out, "--only", "robots"],
        &["calibration"],
    );
    // A last layer of NaN is refused when the model is read; one of large numbers overflows when it is run.
    let network = place.changed_model("large.safetensors", |file| {
        let (.., elements) = file.tensors.iter_mut().find(|t| t.0 == "class_output.weight").expect("a layer");
        if let Elements::F32(values) = elements {
            values.iter_mut().for_each(|value| *value = 3e38);
        }
    });
    let labels = Array { shape: vec![N], elements: Elements::U32(vec![0; N]) };
    let x = case("x_p").iter().map(|&v| v as f32).collect();
    let images = Array { shape: vec![N, 3, SIDE, SIDE], elements: Elements::F32(x) };
    let data = place.at("large.npz");
    npz::write(Path::new(&data), &[("images".into(), images), ("labels".into(), labels)]).expect("a file");
    let words =
        ["eval", "--model", &network, "--data", &data, "--only", "calibration", "--quiet", "--out", &out];
    let output = jem(&words).output().expect("the command starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.lines().count() == 1, "{stderr}");
    assert!(stderr.contains("image 0") && stderr.contains("logit"), "{stderr}");
    assert!(!Path::new(&place.at("report/eval.json")).exists());
}

#[test]
fn attacks_use_the_radius_that_they_state() {
    let place = Place::new();
    let (model, out) = (model(&place), place.at("report"));
    let test = pictures(&place, "test.npz", 0, 40);
    let words = ["eval", "--model", &model, "--data", &test, "--only", "robustness", "--attack-images", "30"];
    let attacks = ["--attacks", "pgd,square", "--attack-steps", "5", "--linf", "8/255", "--l2", "0.5"];
    let words =
        [&words[..], &attacks, &["--refine-steps", "2", "--refine-chains", "2", "--out", &out]].concat();
    progress(&words);
    let numbers = read(&out);
    let robustness = numbers["robustness"].as_array().expect("attacks");
    let keys: Vec<(&str, &str, bool)> = robustness
        .iter()
        .map(|one| {
            let refined = one["refined"] == true;
            (one["attack"].as_str().expect("a name"), one["norm"].as_str().expect("a norm"), refined)
        })
        .collect();
    let expected =
        [("pgd", "linf", false), ("pgd", "l2", false), ("square", "linf", false), ("square", "l2", false)];
    assert_eq!(keys, [&expected[..], &[("apgd-ce", "l2", true)]].concat());
    for one in robustness {
        let [clean, robust] = ["clean_accuracy", "accuracy"].map(|key| one[key].as_f64().expect("a share"));
        // A refined image may be classified another way each time.
        assert!((0.0..=1.0).contains(&robust) && (robust <= clean || one["refined"] == true), "{one}");
        assert_eq!((&one["images"], &one["interval"]["accuracy"][2]), (&Value::from(30), &Value::Null));
    }
    assert_eq!(robustness[0]["epsilon"].as_f64(), Some(8.0 / 255.0));
    // The adversarial images, measured in units of [0, 1] pixels.
    let found = arrays(&place.at("report/parts/attack-pgd-5-linf-8-255-0.npz"));
    let (index, adversarial) = (numbers_of(&found["index"]), numbers_of(&found["adversarial"]));
    assert!(!index.is_empty(), "an untrained network is easily fooled");
    let clean = npz::read(Path::new(&test)).expect("arrays");
    let clean =
        clean.iter().find(|(name, _)| name == "images").map(|(_, array)| numbers_of(array)).expect("images");
    let size = 8 * 8 * 3;
    let mut largest = 0.0f64;
    for (row, &image) in adversarial.chunks(size).zip(&index) {
        for (at, value) in row.iter().enumerate() {
            // [C, H, W] against [H, W, C].
            let (channel, pixel) = (at / 64, at % 64);
            let before = clean[image as usize * size + pixel * 3 + channel] / 255.0;
            let after = (value + 1.0) / 2.0;
            assert!((-1e-6..=1.0 + 1e-6).contains(&after), "{after}");
            largest = largest.max((after - before).abs());
        }
    }
    assert!(largest <= 8.0 / 255.0 + 1e-6 && largest > 7.5 / 255.0, "{} of 255", 255.0 * largest);
    assert!(!numbers["attack_checks"].as_array().expect("checks").is_empty());
    assert_eq!(numbers["distal"]["noise"].as_array().map(Vec::len), Some(10));
    for file in ["adversarial.png", "distal-noise.png"] {
        image::open(place.at(&format!("report/{file}"))).expect(file);
    }
    assert!(!progress(&words).contains("images 1 to"), "nothing is attacked again");
    for (flags, parts) in [
        (&["--attacks", "pgd", "--linf", "0"][..], &["--linf", "above 0"][..]),
        (&["--attacks", "autoattack", "--attack-steps", "3"], &["--attack-steps", "fixed"]),
        (&["--attack-images", "41"], &["--attack-images", "1 to 40"]),
    ] {
        let words = [&["eval", "--quiet", "--model", &model, "--data", &test, "--out", &out], flags].concat();
        fail(&place, &words, parts);
    }
}

#[test]
fn samples_are_compared_with_images() {
    let place = Place::new();
    let (model, out) = (model(&place), place.at("report"));
    let test = pictures(&place, "test.npz", 0, 60);
    let words =
        ["eval", "--model", &model, "--data", &test, "--only", "generation", "--quick", "--out", &out];
    let words = [&words[..], &["--samples", "40", "--sample-steps", "5", "--sample-classes"]].concat();
    let first = progress(&words);
    assert!(first.contains("40 chains of 5 steps") && first.contains("features of samples"), "{first}");
    let numbers = read(&out);
    let generation = &numbers["generation"];
    assert_eq!((&generation["features"], &generation["n"]), (&numbers["model"], &Value::from(40)));
    for key in ["fd", "kd", "precision", "recall", "density", "coverage", "class_entropy", "diversity"] {
        assert!(generation[key].as_f64().is_some_and(f64::is_finite), "{key}: {}", generation[key]);
    }
    assert_eq!(generation["inception_score"], Value::Null, "no Inception network was given");
    let steps =
        generation["fresh_chains"].as_array().expect("chains").iter().map(|one| one["steps"].as_u64());
    assert_eq!(steps.collect::<Vec<_>>(), [Some(10), Some(100), Some(1000)]);
    assert_intervals("generation", generation, &mut 0);
    let samples = arrays(&place.at("report/parts/samples.npz"));
    assert_eq!(samples["samples"].shape, [40, 3, 8, 8]);
    // As in a file of 8 bits.
    let is_byte =
        |value: &f64| ((value + 1.0) * 127.5).fract().min(1.0 - ((value + 1.0) * 127.5).fract()) < 1e-3;
    assert!(numbers_of(&samples["samples"]).iter().all(is_byte));
    for file in ["samples.png", "fresh-chains.png"] {
        image::open(place.at(&format!("report/{file}"))).expect(file);
    }
    let text = std::fs::read_to_string(place.at("report/eval.md")).expect("eval.md");
    assert!(text.contains(&format!("fd[{}]", numbers["model"].as_str().expect("a name"))), "{text}");
    assert!(!text.contains("| FID"), "no other features are called FID");
    assert!(!progress(&words).contains("chains of"), "nothing is sampled again");
    let not_inception = weights();
    for (flags, parts) in [
        (&["--samples", "41", "--sample-classes"][..], &["--samples", "multiple of 10"][..]),
        (&["--sample-init", "buffer", "--samples", "41"], &["--samples", "40"]),
        (&["--inception", "nowhere.pth"], &["nowhere.pth"]),
        (&["--inception", &not_inception], &["weights.safetensors"]),
    ] {
        let words = [
            &["eval", "--quiet", "--model", &model, "--data", &test, "--only", "generation", "--out", &out],
            flags,
        ];
        fail(&place, &words.concat(), parts);
    }
}
