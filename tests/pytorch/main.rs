//! The lines that `jem export --help` gives for PyTorch, run by PyTorch on exported models: they load strictly, and
//! PyTorch computes the logits of the model.
//!
//! These tests need Python with PyTorch and safetensors: `JEM_PYTHON`, or `python3`. They are ignored unless asked for
//! (`./test --test pytorch -- --ignored`); `.ci/run` installs both and asks.

#[path = "../common/close.rs"]
mod close;
#[path = "../common/formula.rs"]
mod formula;
#[path = "../common/public_case.rs"]
mod public_case;
#[path = "../common/small.rs"]
mod small;

use close::assert_close;
use formula::values;
use jem::device::Device;
use jem::ebm::{Model, Recipe, RunOptions, ScoreSettings, Scorer, run};
use jem::io::pack;
use jem::nn::ingredients::Norm;
use public_case::{Case, IMAGES, cases, import};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The bound on float32 rounding of logits.
const LOGITS: f64 = 1e-5;
const WEIGHTS: &str = "tests/fixtures/wrn10_1/weights.safetensors";

fn jem(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_jem")).args(arguments).output().expect("jem starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The line of the help for the format of `exported`, with the path of it.
fn line(exported: &Path) -> String {
    let ending = exported.extension().and_then(|ending| ending.to_str()).expect("an ending");
    let file = format!("model.{ending}");
    let help = jem(&["export", "--help"]);
    let line = help.lines().map(str::trim).find(|line| line.starts_with("network.") && line.contains(&file));
    line.expect("a line for PyTorch").replace(&file, exported.to_str().expect("UTF-8"))
}

/// The output of load.py.
fn python(arguments: &[&str]) -> String {
    let python = std::env::var("JEM_PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(&python).arg("tests/pytorch/load.py").args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{python} does not start ({error}): set JEM_PYTHON"));
    assert!(
        output.status.success(),
        "{arguments:?}: {}(JEM_PYTHON names a Python with torch and safetensors)",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Asserts that PyTorch's `network` loads `exported` strictly and computes the logits of `model`.
#[track_caller]
fn assert_loads(network: &str, exported: &Path, model: &Model) {
    let [h, w, c] = model.image_shape();
    let planar = values(7, IMAGES * h * w * c);
    let settings = ScoreSettings::default();
    let scorer = Scorer::new(&Device::cpu(), model, settings, IMAGES).expect("programs");
    let expected = scorer.score(&pack::nchw_to_nhwc(&planar, IMAGES, c, h, w)).expect("scores").logits;
    let images = exported.with_file_name("images.f32");
    std::fs::write(&images, bytemuck::cast_slice(&planar)).expect("a file");
    let shape = format!("{IMAGES},{c},{h},{w}");
    let printed = python(&[network, &line(exported), images.to_str().expect("UTF-8"), &shape]);
    let found: Vec<f64> = printed.split_whitespace().map(|number| number.parse().expect(&printed)).collect();
    assert_close(&found, &expected, LOGITS, &format!("{network}: {}", exported.display()));
}

/// Asserts that PyTorch's `network` refuses `exported`, with `parts` in the message.
#[track_caller]
fn assert_rejected(network: &str, exported: &Path, parts: &[&str]) {
    let printed = python(&[network, &format!("rejected:{}", line(exported)), "", ""]);
    for part in parts {
        assert!(printed.contains(part), "{part:?} is not in {printed}");
    }
}

/// A small run of `recipe`: its best model and its last checkpoint.
fn trained(recipe: Recipe, directory: &Path) -> [PathBuf; 2] {
    let recipe = Recipe { iterations: 3, validation: 20, evaluate_every: 2, clamp_x: true, ..recipe };
    let data = small::pictures(40, 16);
    let outcome = run(&Device::cpu(), &recipe, &data, &data, RunOptions::new(directory.join("run")));
    let outcome = outcome.expect("a run");
    [outcome.best.expect("a best model"), outcome.checkpoint]
}

fn export(model: &Path, out: &Path, flags: &[&str]) {
    let [model, out] = [model, out].map(|path| path.to_str().expect("UTF-8"));
    jem(&[&["export", "--model", model, "--out", out], flags].concat());
}

#[test]
#[ignore = "needs Python with PyTorch: see JEM_PYTHON"]
fn public_networks_load_what_was_exported() {
    for (name, choices, _) in cases() {
        let case = Case::load(name);
        let directory = tempfile::tempdir().expect("a directory");
        let model = import(&case, &case.write(directory.path(), "module."), choices).expect("a model");
        let saved = directory.path().join("saved.safetensors");
        model.save(&saved).expect("a file");
        for file in ["model.pt", "model.safetensors"] {
            let exported = directory.path().join(file);
            export(&saved, &exported, &[]);
            assert_loads(name, &exported, &model);
        }
    }
}

#[test]
#[ignore = "needs Python with PyTorch: see JEM_PYTHON"]
fn trained_models_load_without_the_state_of_training() {
    for (network, recipe) in [
        ("wrn", Recipe { ema: 0.9, ..small::recipe() }),
        ("wrn with batch norm", Recipe { norm: Norm::Batch, ..small::recipe() }),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        for (number, model) in trained(recipe, directory.path()).iter().enumerate() {
            let exported = directory.path().join(format!("{number}.pt"));
            export(model, &exported, &[]);
            assert_loads(network, &exported, &Model::open(model).expect("a model"));
            // With it, PyTorch names what its network does not have.
            if number == 1 {
                export(model, &exported, &["--training-state"]);
                assert_rejected(network, &exported, &["Unexpected key", "replay_buffer", "adam.first."]);
            }
        }
    }
}

#[test]
#[ignore = "needs Python with PyTorch: see JEM_PYTHON"]
fn heads_are_kept_or_left_out_as_the_help_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let exported = directory.path().join("model.pt");
    let model = Model::open(Path::new(WEIGHTS)).expect("a model");
    export(Path::new(WEIGHTS), &exported, &[]);
    assert_loads("wrn with both heads", &exported, &model);
    assert_rejected("wrn", &exported, &["Unexpected key", "energy_output.weight"]);
    export(Path::new(WEIGHTS), &exported, &["--weights-only"]);
    assert_loads("wrn", &exported, &model);
    assert_rejected("wrn with both heads", &exported, &["Missing key", "energy_output.weight"]);
}

#[test]
#[ignore = "needs Python with PyTorch: see JEM_PYTHON"]
fn spectral_norm_is_pytorchs_or_divided() {
    let directory = tempfile::tempdir().expect("a directory");
    let recipe = Recipe { spectral_norm: true, ..small::recipe() };
    for path in trained(recipe, directory.path()) {
        let model = Model::open(&path).expect("a model");
        let exported = directory.path().join("model.safetensors");
        export(&path, &exported, &[]);
        assert_loads("wrn with spectral norm", &exported, &model);
        assert_rejected("wrn", &exported, &["Missing key", "f.conv1.weight"]);
        export(&path, &exported, &["--fold"]);
        assert_loads("wrn", &exported, &model);
    }
}
