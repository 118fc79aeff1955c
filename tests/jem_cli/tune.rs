//! `jem tune`: winners are correct, are saved, and are used by later programs.

use crate::support::*;
use jem::compute::conv_geometry::ConvProblem;
use jem::device::{Device, DeviceOptions, Program};
use jem::ebm::{BatchLayout, Preset, Programs, Recipe};
use jem::policy::convolution::{ConvolutionPolicy, Tuned};
use jem::policy::implementation::ConvImplementation;
use jem::tuning::file;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The output of `command`, which must succeed.
fn run(mut command: Command) -> String {
    let output = command.output().expect("it starts");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
    assert!(output.status.success(), "{command:?}: {stdout}{stderr}");
    stdout
}

/// The JSON output of `jem` with these arguments and the tuned kernels of `file`.
fn facts_with(file: &str, words: &[&str]) -> Value {
    let mut command = jem(&[words, &["--json"]].concat());
    command.env("JEM_TUNED", file);
    serde_json::from_str(&run(command)).expect("JSON")
}

/// The recipe to tune for.
fn recipe() -> Recipe {
    Recipe { batch: 2, steps: 2, buffer: 20, ..Preset::Tiny.recipe() }
}

fn programs(policy: &ConvolutionPolicy) -> Programs {
    let recipe = recipe();
    let batch = BatchLayout::new(&recipe, SIDE, SIDE, 3);
    Programs::build(&recipe, &recipe.network(10, 3), batch, 1000, policy).expect("programs")
}

/// The losses of the first two iterations of `train_cifar`, which `cargo test` builds beside the tests, with the tuned
/// kernels of `file`. The run is then interrupted, because testing the model takes a software driver minutes.
#[cfg(unix)]
fn train(device: &str, file: &str, out: &Path) -> Vec<f64> {
    let mut path = std::env::current_exe().expect("the test has a path");
    path.pop();
    path.pop();
    path.push("examples/train_cifar");
    assert!(path.exists(), "{} is not built: run cargo test without --test", path.display());
    let mut command = Command::new(path);
    command.env("JEM_TUNED", file).env("XDG_RUNTIME_DIR", std::env::temp_dir());
    command.args(["--synthetic", "--preset", "tiny", "--batch", "2", "--steps", "2", "--buffer", "20"]);
    command.args(["--iterations", "1000000", "--evaluate-every", "1000000", "--device", device, "--out"]);
    command.arg(out).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let child = command.spawn().expect("the example starts");
    let losses = || -> Vec<f64> {
        let text = std::fs::read_to_string(out.join("metrics.csv")).unwrap_or_default();
        let Some((header, rows)) = text.split_once('\n') else { return Vec::new() };
        let column = header.split(',').position(|name| name == "loss").expect("a loss");
        // The last line may be incomplete.
        let whole = rows.split_inclusive('\n').filter(|row| row.ends_with('\n'));
        whole.filter_map(|row| row.split(',').nth(column)?.parse().ok()).collect()
    };
    for _ in 0..1200 {
        if losses().len() >= 2 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    let output = child.wait_with_output().expect("the example ends");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(killed.success() && output.status.code() == Some(130), "{stderr}");
    losses()[..2].to_vec()
}

fn open(spec: &str) -> Device {
    let options = DeviceOptions { uncached: true, ..DeviceOptions::default() };
    Device::open(&spec.parse().expect("a device"), options).expect("a GPU")
}

/// The convolutions of an iteration.
fn expected() -> BTreeSet<ConvProblem> {
    let programs = programs(&ConvolutionPolicy::default());
    let programs: [&Program; 2] = [programs.sgld.as_ref().expect("samples"), &programs.update];
    let dispatches = programs.into_iter().flat_map(|program| &program.dispatches);
    dispatches.filter_map(|dispatch| dispatch.kernel.convolution()).collect()
}

#[test]
fn winners_are_right_and_kept() {
    let place = Place::new();
    let (file, [_, gpu]) = (place.at("tuned.toml"), devices());
    let tune = ["tune", "--preset", "tiny", "--batch", "2", "--steps", "2", "--seconds", "0.001"];
    let found = facts(&[&tune[..], &["--device", &gpu, "--out", &file]].concat());

    let shapes = found["shapes"].as_array().expect("a list");
    let directions: BTreeSet<&str> =
        shapes.iter().map(|s| s["direction"].as_str().expect("a name")).collect();
    assert_eq!(directions, BTreeSet::from(["forward", "input-gradient", "weight-gradient"]));
    for shape in shapes {
        assert!(shape["winner"].is_string(), "{shape}");
        let candidates = shape["candidates"].as_array().expect("a list");
        assert!(!candidates.is_empty() && candidates.iter().all(|c| c["refused"].is_null()), "{shape}");
        assert!(candidates.iter().all(|c| c["milliseconds"].as_f64().is_some_and(|ms| ms > 0.0)), "{shape}");
    }
    let expected = expected();
    assert_eq!(shapes.len(), expected.len());
    let several = shapes.iter().filter(|s| s["candidates"].as_array().is_some_and(|all| all.len() > 2));
    assert!(several.count() > shapes.len() / 2, "{found}");

    let device = open(&gpu);
    let adapter = device.adapter().expect("a GPU");
    let winners = file::read(Path::new(&file), adapter).expect("the file");
    assert_eq!(winners.keys().copied().collect::<BTreeSet<_>>(), expected);
    for (with, count) in [(file.as_str(), shapes.len()), ("none", 0)] {
        let devices = facts_with(with, &["devices"]);
        let adapters = devices["adapters"].as_array().expect("a list");
        let listed = adapters.iter().find(|a| a["name"] == adapter.name.as_str()).expect("the adapter");
        assert_eq!(listed["tuned_shapes"], count, "{listed}");
    }
}

#[cfg(unix)]
#[test]
fn training_runs_what_was_tuned() {
    let place = Place::new();
    let (file, [_, gpu]) = (place.at("tuned.toml"), devices());
    let device = open(&gpu);
    let adapter = device.adapter().expect("a GPU");
    let expected = expected();
    // The last candidate of every shape, which is seldom the default choice.
    let policy = device.policy();
    let last = |shape: &ConvProblem| *policy.candidates(shape).last().expect("candidates");
    let last: Tuned = expected.iter().map(|shape| (*shape, last(shape))).collect();
    assert!(last.values().any(|candidate| matches!(candidate, ConvImplementation::Winograd(_))));
    file::write(Path::new(&file), adapter, &last).expect("a file");
    let policy = device.policy().clone().with_tuned(last);
    let programs = programs(&policy);
    let programs = [programs.sgld.as_ref().expect("samples"), &programs.update];
    let kernels: Vec<_> =
        programs.iter().flat_map(|program| &program.dispatches).map(|d| &d.kernel).collect();
    for kernel in &kernels {
        let Some(shape) = kernel.convolution() else { continue };
        let tile = match policy.candidate(&shape) {
            ConvImplementation::Implicit(tile) | ConvImplementation::Parts(tile, _) => tile,
            other => panic!("{shape} by {kernel:?}, not {other}"),
        };
        assert!(format!("{kernel:?}").contains(&format!("tile: Some({tile:?})")), "{kernel:?}");
    }
    assert!(kernels.iter().any(|kernel| kernel.name() == "winograd_product"));

    let [tuned, by_rule] = [(file.as_str(), "tuned"), ("none", "rule")].map(|(file, name)| {
        let out = PathBuf::from(place.at(name));
        let losses = train(&gpu, file, &out);
        let config = std::fs::read_to_string(out.join("config.toml")).expect("the settings");
        let events = std::fs::read_to_string(out.join("events.jsonl")).expect("the events");
        (losses, config, events)
    });
    assert_near("losses", &tuned.0, &by_rule.0, 1e-4);
    let summary = policy.summary();
    assert!(summary.starts_with(&format!("{} shapes as measured", expected.len())), "{summary}");
    assert!(tuned.1.contains(&format!("# kernels of convolutions: {summary}\n")), "{}", tuned.1);
    assert!(tuned.2.contains(&format!("\"kernels\":\"{summary}\"")), "{}", tuned.2);
    assert!(by_rule.1.contains("# kernels of convolutions: by rule\n"), "{}", by_rule.1);
}

/// In f16, on a driver with or without matrices.
#[test]
fn a_precision_is_tuned_for_beside_another() {
    let place = Place::new();
    let (file, [_, gpu]) = (place.at("tuned.toml"), devices());
    let tune = |precision: &'static str| {
        let tune = ["tune", "--preset", "tiny", "--batch", "2", "--steps", "2", "--seconds", "0.001"];
        let network = ["--image", "8x8x3", "--depth", "10", "--width", "1"];
        facts(&[&tune[..], &network, &["--precision", precision, "--device", &gpu, "--out", &file]].concat())
    };
    let (f16, f32) = (tune("f16"), tune("f32"));
    assert!(f16["precision"].as_str().is_some_and(|words| words.starts_with("f16, ")), "{f16}");
    assert_eq!(f32["precision"], "f32");
    let shapes = |facts: &Value| facts["shapes"].as_array().expect("a list").clone();
    let half = |shape: &&Value| shape["storage"].as_array().is_some_and(|all| all.contains(&"f16".into()));
    let of_f16 = shapes(&f16);
    assert!(of_f16.iter().filter(half).count() > of_f16.len() / 2, "{f16}");
    assert_eq!(shapes(&f32).iter().filter(half).count(), 0, "{f32}");
    for shape in of_f16.iter().filter(half) {
        assert!(shape["winner"].is_string(), "{shape}");
        let candidates = shape["candidates"].as_array().expect("a list");
        assert!(candidates.iter().all(|c| c["refused"].is_null()), "{shape}");
    }
    let several = of_f16.iter().filter(|s| s["candidates"].as_array().is_some_and(|all| all.len() > 2));
    assert!(several.count() > of_f16.len() / 2, "{f16}");
    let device = open(&gpu);
    let winners = file::read(Path::new(&file), device.adapter().expect("a GPU")).expect("the file");
    assert_eq!(f32["shapes_in_file"], winners.len());
    let half = winners.keys().filter(|shape| shape.is_half()).count();
    assert!(half > 0 && half < winners.len(), "both precisions are in the file");
}

#[test]
fn a_model_is_tuned_for_and_a_damaged_file_replaced() {
    let place = Place::new();
    let (file, [_, gpu]) = (place.at("tuned.toml"), devices());
    std::fs::write(&file, "[[adapter]]\nname = 3\n").expect("a file");
    let (model, x) = (weights(), place.x_p());
    let score = ["score", "--model", &model, "--images", &x, "--device", &gpu];
    let output = jem(&score).env("JEM_TUNED", &file).output().expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for part in ["tuned.toml", "line 2", "delete it", "jem tune", "JEM_TUNED=none"] {
        assert!(stderr.contains(part), "{part:?} is not in {stderr}");
    }
    // The host has no choice of kernels and reads no file.
    let mut on_cpu = jem(&["score", "--model", &model, "--images", &x, "--device", "cpu"]);
    on_cpu.env("JEM_TUNED", &file);
    run(on_cpu);

    let batch = N.to_string();
    let words = ["tune", "--model", &model, "--batch", &batch, "--seconds", "0.001", "--device", &gpu];
    let mut tune = jem(&words);
    tune.env("JEM_TUNED", &file);
    let printed = run(tune);
    assert!(printed.contains(&format!("forward {N}x32x32x3 -> 16, 3x3")), "{printed}");
    assert!(printed.contains("tuned.toml has ") && !printed.contains("to use them"), "{printed}");
    assert!(printed.lines().all(|line| line.chars().count() <= 100), "{printed}");
    let mut scored = jem(&score);
    scored.env("JEM_TUNED", &file);
    run(scored);
}

#[test]
fn a_mistyped_jem_tuned_is_an_error() {
    let place = Place::new();
    let [_, gpu] = devices();
    let (model, x) = (weights(), place.x_p());
    for typed in [place.at("missing.toml"), "off".into()] {
        for words in [
            &["score", "--model", &model, "--images", &x, "--device", &gpu][..],
            &["sample", "--model", &model, "--device", &gpu, "--out", &place.at("samples")],
            &["devices"],
        ] {
            let output = jem(words).env("JEM_TUNED", &typed).output().expect("it starts");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{words:?}: {stderr}");
            assert!(stderr.starts_with(&format!("error: JEM_TUNED: there is no file {typed}")), "{stderr}");
            assert!(stderr.contains("none") && stderr.lines().count() == 1, "{stderr}");
        }
        // The host has no choice of kernels.
        let on_cpu = ["score", "--model", &model, "--images", &x, "--device", "cpu"];
        assert!(jem(&on_cpu).env("JEM_TUNED", &typed).output().expect("it starts").status.success());
    }
}

/// `--only` and `--top` select the largest shapes of one program.
fn limited(more: &[&str]) -> Value {
    limited_in(&Place::new(), more)
}

fn limited_in(place: &Place, more: &[&str]) -> Value {
    let (file, [_, gpu]) = (place.at("tuned.toml"), devices());
    let tune = ["tune", "--preset", "tiny", "--batch", "2", "--steps", "2", "--seconds", "0.001"];
    facts(&[&tune[..], more, &["--device", &gpu, "--out", &file]].concat())
}

/// The values of `key` in the list `name`.
fn listed<'a>(facts: &'a Value, name: &str, key: &str) -> Vec<&'a Value> {
    facts[name].as_array().expect("a list").iter().map(|item| &item[key]).collect()
}

#[test]
fn the_largest_shapes_of_one_program_are_tuned_and_the_others_named() {
    let programs = programs(&ConvolutionPolicy::default());
    let count = |program: &Program| {
        let of = |dispatch: &jem::device::Dispatch| dispatch.kernel.convolution();
        program.dispatches.iter().filter_map(of).collect::<BTreeSet<ConvProblem>>().len()
    };
    let sgld = limited(&["--only", "sgld", "--top", "3"]);
    assert_eq!(listed(&sgld, "shapes", "winner").len(), 3, "{sgld}");
    assert!(listed(&sgld, "shapes", "winner").iter().all(|winner| winner.is_string()), "{sgld}");
    let left_out = listed(&sgld, "left_out", "why");
    assert_eq!(3 + left_out.len(), count(programs.sgld.as_ref().expect("samples")), "{sgld}");
    assert!(left_out.iter().all(|why| **why == "ranked below the 3 by a first measurement"), "{sgld}");
    for list in ["shapes", "left_out"] {
        assert!(listed(&sgld, list, "runs").iter().all(|runs| runs.as_u64() >= Some(2)), "{sgld}");
        assert!(listed(&sgld, list, "direction").iter().all(|d| **d != "weight-gradient"), "{sgld}");
    }
    let times = listed(&sgld, "left_out", "milliseconds_by_rule");
    assert!(times.iter().all(|ms| ms.as_f64().is_some_and(|ms| ms > 0.0)), "{sgld}");

    let update = limited(&["--only", "update", "--top", "1000"]);
    assert_eq!(listed(&update, "shapes", "winner").len(), count(&programs.update), "{update}");
    assert!(listed(&update, "shapes", "direction").iter().any(|d| **d == "weight-gradient"), "{update}");
    assert_eq!(update["left_out"].as_array().map(Vec::len), Some(0), "{update}");
}

#[test]
fn what_does_not_fit_the_time_is_named_and_not_written() {
    let none = limited(&["--max-seconds", "0.000001"]);
    assert_eq!((none["shapes"].as_array().map(Vec::len), &none["shapes_in_file"]), (Some(0), &0.into()));
    let why = listed(&none, "left_out", "why");
    assert_eq!(why.len(), expected().len(), "{none}");
    assert!(why.iter().all(|why| **why == "no time was left"), "{none}");
    let times = listed(&none, "left_out", "milliseconds_by_rule");
    assert!(times.iter().all(|ms| ms.is_null()), "{none}");

    let place = Place::new();
    let all = limited_in(&place, &["--max-seconds", "3600"]);
    assert_eq!(listed(&all, "shapes", "winner").len(), expected().len(), "{all}");
    let again = limited_in(&place, &["--max-seconds", "0.000001"]);
    assert_eq!(again["shapes_in_file"], all["shapes_in_file"], "what was there before counts");
    assert_eq!(all["left_out"].as_array().map(Vec::len), Some(0), "{all}");
    assert!(listed(&all, "shapes", "untried").iter().all(|u| u.as_array().is_some_and(Vec::is_empty)));
}

/// An empty variable counts as unset, so the error must not name it.
#[cfg(target_os = "linux")]
#[test]
fn an_empty_variable_is_not_blamed_for_the_place_of_the_winners() {
    let place = Place::new();
    let [_, gpu] = devices();
    std::fs::write(place.at("file"), "").expect("a file");
    let mut tune = jem(&["tune", "--device", &gpu]);
    let output = tune.env("JEM_TUNED", "").env("XDG_CACHE_HOME", place.at("file")).output();
    let stderr = String::from_utf8_lossy(&output.expect("it starts").stderr).into_owned();
    assert!(stderr.contains("--out: the directory") && !stderr.contains("JEM_TUNED"), "{stderr}");
}

#[test]
fn flags_that_cannot_be_are_refused() {
    let place = Place::new();
    let [_, gpu] = devices();
    let out = place.at("tuned.toml");
    let tune = |more: &[&'static str]| [&["tune", "--device", &gpu, "--out", &out], more].concat();
    fail(&place, &["tune", "--device", "cpu", "--out", &out], &["--device", "cpu", "gpu:llvmpipe"]);
    fail(&place, &["tune", "--device", &gpu], &["--out", "JEM_TUNED=none"]);
    fail(&place, &tune(&["--seconds", "0"]), &["--seconds", "above 0"]);
    fail(&place, &tune(&["--max-seconds", "0"]), &["--max-seconds", "above 0"]);
    fail(&place, &tune(&["--top", "0"]), &["--top", "at least 1"]);
    let classifier = place.at("classifier.toml");
    std::fs::write(&classifier, "p_x = 0.0\np_xy = 0.0\n").expect("a file");
    let only = ["tune", "--config", &classifier, "--only", "sgld", "--device", &gpu, "--out", &out];
    fail(&place, &only, &["--only", "no SGLD"]);
    fail(&place, &tune(&["--batch", "0"]), &["--batch", "from 1"]);
    fail(&place, &tune(&["--depth", "11"]), &["depth", "11"]);
    fail(&place, &tune(&["--model", "missing.safetensors"]), &["missing.safetensors"]);
    let nowhere = place.at("nowhere/tuned.toml");
    fail(&place, &["tune", "--device", &gpu, "--out", &nowhere], &["--out", "nowhere"]);
    misuse(&tune(&["--image", "32x32"]), &["--image", "32x32x3"]);
    misuse(&tune(&["--precision", "f64"]), &["--precision", "f32, f16, auto"]);
    misuse(&tune(&["--model", "m.safetensors", "--precision", "f16"]), &["--model", "--precision"]);
    misuse(&tune(&["--preset", "huge"]), &["--preset", "huge", "tiny"]);
    misuse(&tune(&["--only", "nothing"]), &["--only", "sgld, update, all"]);
    misuse(&tune(&["--model", "m.safetensors", "--only", "sgld"]), &["--model", "--only"]);
    misuse(&tune(&["--model", "m.safetensors", "--depth", "16"]), &["--model", "--depth"]);
}
