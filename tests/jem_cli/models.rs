//! `jem import`, `jem export`, `jem info`, `jem completions`.

use crate::support::*;
use jem::io::checkpoint::Checkpoint;
use jem::io::elements::Elements;
use std::path::Path;

fn bytes(path: &str) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn import_export_import_gives_the_same_bytes() {
    let place = Place::new();
    let [best, checkpoint] = place.trained();
    for (i, source) in [weights(), best, checkpoint].iter().enumerate() {
        let [first, exported, second] =
            ["first", "exported", "second"].map(|name| place.at(&format!("{name}-{i}.safetensors")));
        let facts = facts(&["import", source, "--out", &first]);
        assert!(facts["model"].as_str().is_some_and(|model| model.starts_with("WRN-10-1")), "{facts}");
        assert_eq!(facts["wrote"], first.as_str());
        succeed(&[
            "export",
            "--model",
            &first,
            "--to",
            "safetensors",
            "--training-state",
            "--out",
            &exported,
        ]);
        succeed(&["import", &exported, "--out", &second]);
        assert_eq!(bytes(&first), bytes(&exported), "{source}");
        assert_eq!(bytes(&first), bytes(&second), "{source}");
        // With the same names and values as before.
        let (before, after) = (Checkpoint::load(Path::new(source)), Checkpoint::load(Path::new(&second)));
        let (before, after) = (before.expect("a file"), after.expect("a file"));
        for (name, shape, elements) in before.tensors {
            let Elements::F32(values) = elements else { continue };
            assert_eq!(after.f32(Path::new(&second), &name, &shape).expect("the tensor"), values, "{name}");
        }
    }
}

#[test]
fn chains_are_exported_if_asked_for() {
    let place = Place::new();
    let (model, out) = (place.trained()[0].clone(), place.at("model.npz"));
    let chains = ["chain_ages", "replay_buffer"];
    let before = Checkpoint::load(Path::new(&model)).expect("a file").tensors.len();
    succeed(&["export", "--model", &model, "--to", "npz", "--training-state", "--out", &out]);
    let all = arrays(&out);
    assert!(all.len() == before && chains.iter().all(|name| all.contains_key(*name)), "{:?}", all.keys());
    succeed(&["export", "--model", &model, "--to", "npz", "--out", &out]);
    let plain = arrays(&out);
    assert!(plain.len() == before - 2 && chains.iter().all(|name| !plain.contains_key(*name)));
    // Without chains the best model has the network's tensors alone.
    succeed(&["export", "--model", &model, "--to", "npz", "--weights-only", "--out", &out]);
    assert_eq!(arrays(&out).keys().collect::<Vec<_>>(), plain.keys().collect::<Vec<_>>());
    misuse(
        &["export", "--model", &model, "--to", "npz", "--training-state", "--weights-only", "--out", &out],
        &["--training-state", "--weights-only"],
    );
}

#[test]
fn exported_arrays_keep_the_public_names() {
    let place = Place::new();
    let (model, out) = (weights(), place.at("weights.npz"));
    let facts = facts(&["export", "--model", &model, "--to", "npz", "--out", &out]);
    let source = Checkpoint::load(Path::new(&model)).expect("the fixture");
    let exported = arrays(&out);
    assert_eq!(facts["tensors"], source.tensors.len());
    assert_eq!(exported.len(), source.tensors.len());
    for (name, shape, elements) in &source.tensors {
        assert_eq!((&exported[name].shape, &exported[name].elements), (shape, elements), "{name}");
    }
    succeed(&["export", "--model", &model, "--to", "npz", "--weights-only", "--out", &out]);
    let used = arrays(&out);
    assert!(used.contains_key("class_output.weight") && !used.contains_key("energy_output.weight"));
}

/// A `.pt` carries the metadata, which PyTorch does not read, so that it comes back as the same model.
#[test]
fn an_exported_pt_comes_back_as_the_same_model() {
    let place = Place::new();
    let [best, checkpoint] = place.trained();
    let (first, exported, second) =
        (place.at("first.safetensors"), place.at("exported.pt"), place.at("second.safetensors"));
    let settings = ["--activation", "leaky-relu:0.1", "--pooling", "sum"];
    for (source, flags) in [(weights(), &settings[..]), (best, &[]), (checkpoint.clone(), &[])] {
        succeed(&[&["import", &source, "--out", &first], flags].concat());
        succeed(&["export", "--model", &first, "--out", &exported, "--training-state"]);
        succeed(&["import", &exported, "--out", &second]);
        assert_eq!(bytes(&first), bytes(&second), "{source}");
    }
    // The state of the training stays out unless it is asked for.
    let count = |flags: &[&str]| {
        let arguments = [&["export", "--model", &checkpoint, "--out", &exported], flags].concat();
        facts(&arguments)["tensors"].as_u64().expect("a number")
    };
    let (plain, whole) = (count(&[]), count(&["--training-state"]));
    assert_eq!(plain, count(&["--weights-only"]));
    // Two moments of Adam for each tensor, the replay buffer and the ages of its chains.
    assert_eq!(whole, 3 * plain + 2);
    misuse(
        &["export", "--model", &checkpoint, "--out", &exported, "--weights-only", "--training-state"],
        &["--weights-only", "--training-state"],
    );
    fail(
        &place,
        &["export", "--model", &checkpoint, "--out", &place.at("model.bin")],
        &["--to", "model.bin"],
    );
}

#[test]
fn a_normalisation_is_kept_and_applied() {
    let place = Place::new();
    let (out, scores) = (place.at("normalised.safetensors"), place.at("scores.npz"));
    let numbers_of = ["--mean", "0.49,0.48,0.45", "--std", "0.25,0.24,0.26"];
    succeed(&[&["import", &weights(), "--out", &out], &numbers_of[..]].concat());
    assert_eq!(
        facts(&["info", &out])["normalisation"]["mean"].as_array().map(Vec::len),
        Some(3),
        "one a channel"
    );
    // The network's input must equal that of the reference's network: the pixels are its images, with the normalisation
    // inverted.
    let (mean, std) = ([0.49, 0.48, 0.45], [0.25, 0.24, 0.26]);
    let squeezed: Vec<f64> = case("x_p").iter().map(|v| v * 0.9).collect();
    let (plain, shifted): (Vec<f32>, Vec<f32>) = squeezed
        .iter()
        .enumerate()
        .map(|(i, &v)| {
            let channel = i / (SIDE * SIDE) % 3;
            (v as f32, (2.0 * (v * std[channel] + mean[channel]) - 1.0) as f32)
        })
        .unzip();
    let logits = |model: &str, name: &str, images: Vec<f32>| {
        let x = place.floats(name, &[N, 3, SIDE, SIDE], images);
        succeed(&["score", "--model", model, "--images", &x, "--out", &scores]);
        numbers(&arrays(&scores)["logits"])
    };
    assert_near(
        "logits",
        &logits(&out, "shifted.npy", shifted),
        &logits(&weights(), "plain.npy", plain),
        LOGITS,
    );
}

#[test]
fn info_says_what_a_model_is() {
    let place = Place::new();
    let [best, checkpoint] = place.trained();
    let model = facts(&["info", &best, "--batch", "8"]);
    for (key, value) in [
        ("file", best.as_str().into()),
        ("architecture", "WRN-10-1".into()),
        ("classes", 10.into()),
        ("image", serde_json::json!([32, 32, 3])),
        ("parameters", 77706.into()),
        ("iteration", 2.into()),
        ("normalisation", serde_json::Value::Null),
    ] {
        assert_eq!(model[key], value, "{key} in {model}");
    }
    assert!(model["validation"]["accuracy"].is_number(), "{model}");
    assert_eq!(model["trained_on"], "SYNTHETIC shapes train", "{model}");
    assert_eq!(model["recipe"]["batch"], 4);
    for program in ["scoring", "sgld_step"] {
        assert_eq!(model[program]["batch"], 8);
        assert!(model[program]["flops"].as_u64().is_some_and(|flops| flops > 8 * 38_000_000), "{model}");
    }
    let larger = facts(&["info", &best, "--batch", "16"]);
    assert_eq!(
        larger["scoring"]["flops"].as_u64(),
        model["scoring"]["flops"].as_u64().map(|flops| 2 * flops)
    );
    assert_eq!(facts(&["info", &checkpoint])["replay_buffer"], 40);
    assert_eq!(model["replay_buffer"], 40);
    let tensors = |path: &str| Checkpoint::load(Path::new(path)).expect("a file").tensors.len();
    assert_eq!(model["tensors"], tensors(&best));

    let printed = succeed(&["info", &best]);
    for part in ["WRN-10-1", "77,706", "step_size", "scoring of 64", "SGLD step of 64"] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
    assert!(printed.lines().all(|line| line.chars().count() <= 120), "a line is too long: {printed}");
}

#[test]
fn an_architecture_can_be_named() {
    let place = Place::new();
    let (model, out) = (weights(), place.at("model.safetensors"));
    succeed(&["import", &model, "--arch", "wrn-10-1", "--out", &out]);
    assert_eq!(facts(&["info", &out])["architecture"], "WRN-10-1");
    let other = place.at("other.safetensors");
    fail(
        &place,
        &["import", &model, "--arch", "wrn-16-1", "--out", &other],
        &["--arch", "expected WRN-16-1, but the file has the tensors of a WRN-10-1"],
    );
    misuse(&["import", &model, "--arch", "vgg17", "--out", &other], &["vgg17", "wrn-28-10"]);
}

#[test]
fn a_checkpoint_of_training_serves_every_command() {
    let place = Place::new();
    let x = place.x_p();
    for (i, model) in place.trained().iter().enumerate() {
        let out = |name: &str| place.at(&format!("{i}-{name}"));
        let scores = out("scores.npz");
        succeed(&["info", model]);
        succeed(&["import", model, "--out", &out("model.safetensors")]);
        succeed(&["export", "--model", model, "--to", "npz", "--out", &out("model.npz")]);
        succeed(&["score", "--model", model, "--images", &x, "--out", &scores]);
        succeed(&["sample", "--model", model, "--count", "2", "--steps", "2", "--out", &out("samples")]);
        let logits = numbers(&arrays(&scores)["logits"]);
        succeed(&["score", "--model", &out("model.safetensors"), "--images", &x, "--out", &scores]);
        assert_eq!(numbers(&arrays(&scores)["logits"]), logits);
    }
}

#[test]
fn a_run_directory_stands_for_its_best_model() {
    let place = Place::new();
    let x = place.x_p();
    let [best, _] = place.trained();
    let run = place.at("run");
    assert_eq!(facts(&["info", &run])["file"], best.as_str());
    let scored = |model: &str| {
        let scores = place.at("scores.npz");
        succeed(&["score", "--model", model, "--images", &x, "--out", &scores]);
        arrays(&scores)["logits"].clone()
    };
    assert_eq!(scored(&run), scored(&best));
    succeed(&["sample", "--model", &run, "--count", "2", "--steps", "1", "--out", &place.at("samples")]);
    for (name, model) in [("of-run", &run), ("of-file", &best)] {
        succeed(&["export", "--model", model, "--to", "npz", "--out", &place.at(&format!("{name}.npz"))]);
        succeed(&["import", model, "--out", &place.at(&format!("{name}.safetensors"))]);
    }
    for format in ["npz", "safetensors"] {
        assert_eq!(
            bytes(&place.at(&format!("of-run.{format}"))),
            bytes(&place.at(&format!("of-file.{format}")))
        );
    }
    std::fs::remove_file(&best).expect("the file");
    let out = place.at("out");
    for words in [
        &["info", &run][..],
        &["score", "--model", &run, "--images", &x],
        &["sample", "--model", &run, "--out", &out],
        &["export", "--model", &run, "--to", "npz", "--out", &out],
        &["import", &run, "--out", &out],
    ] {
        fail(&place, words, &[&run, "is a directory without best.safetensors"]);
    }
}

#[test]
fn a_user_defined_network_is_named_with_what_opens_it() {
    let place = Place::new();
    let (run, x, out) = (place.trained_own_network(), place.x_p(), place.at("out"));
    for words in [
        &["info", &run][..],
        &["score", "--model", &run, "--images", &x],
        &["sample", "--model", &run, "--out", &out],
        &["export", "--model", &run, "--to", "npz", "--out", &out],
        &["import", &run, "--out", &out],
    ] {
        fail(&place, words, &["best.safetensors", "\"my network\"", "jem::ebm::Model::open_with"]);
    }
}

#[test]
fn shells_complete_and_every_help_has_an_example() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = succeed(&["completions", shell]);
        for part in ["train", "ablate", "checkpoint-every", "sample", "threshold-quantile"] {
            assert!(script.contains(part), "{shell} has no {part}");
        }
    }
    misuse(&["completions", "csh"], &["csh", "bash"]);
    let commands =
        ["devices", "train", "ablate", "import", "export", "info", "score", "sample", "completions"];
    let all = succeed(&["--help"]);
    for command in commands {
        assert!(all.contains(command), "{all}");
        let help = succeed(&[command, "--help"]);
        assert!(help.contains("Example") && help.contains(&format!("  jem {command}")), "{help}");
        let reports = !matches!(command, "completions" | "train" | "ablate");
        assert_eq!(help.contains("--json"), reports, "{command}");
    }
}
