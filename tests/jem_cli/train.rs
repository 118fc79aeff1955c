//! `jem train`: its files and output, resumption, and errors.

use crate::support::*;
use jem::io::checkpoint::Checkpoint;
use jem::io::elements::Elements;
use serde_json::Value;
use std::path::Path;

/// A run of a second.
pub const SMALL: [&str; 14] = [
    "--preset",
    "tiny",
    "--batch",
    "4",
    "--steps",
    "1",
    "--buffer",
    "40",
    "--iterations",
    "3",
    "--checkpoint-every",
    "2",
    "--evaluate-every",
    "2",
];

/// The arguments of a small run on `data` into `out`.
pub fn train<'a>(data: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--data", data, "--out", out], &SMALL[..], more].concat()
}

pub fn read(path: &str, name: &str) -> String {
    std::fs::read_to_string(Path::new(path).join(name)).expect("a file")
}

#[test]
fn a_folder_of_classes_becomes_a_model_that_goes_on_by_one_flag() {
    let place = Place::new();
    let (data, out, whole) = (place.drawings("my photos", 40), place.at("run"), place.at("whole"));
    let printed = succeed(&train(&data, &out, &["--recipe", "jem-class-conditional"]));
    for part in [
        "my photos train: 36 training and 4 test images of 8x8x3, 2 classes",
        "4 of its 40 images, one in 10 of each class, are held out for testing, as ",
        "recipe  jem-class-conditional",
        "is chosen on 3 training images that are held out",
        "test accuracy ",
        "energies ",
        "best.safetensors",
        "curves.png",
        "jem sample --model ",
        "--iterations 6",
        &format!("--images '{data}:test'"),
    ] {
        assert!(printed.contains(part), "{part:?} is not in {printed}");
    }
    assert!(read(&out, "config.toml").starts_with("# data: my photos train\n# data source: {"));
    let written = read(&out, "report.html");
    std::fs::remove_file(format!("{out}/report.html")).expect("the report of the end");
    let report = facts(&["report", &out])["report"].as_str().expect("a path").to_owned();
    assert_eq!((report, read(&out, "report.html")), (format!("{out}/report.html"), written));
    fail(&place, &["report", &data], &["holds no run", "config.toml"]);
    let model = format!("{out}/best.safetensors");
    let scored = facts(&["score", "--model", &model, "--images", &data]);
    assert_eq!(scored["images"], 40);
    // Scoring the images that training held out gives its test accuracy.
    let scores = |part: &str| {
        let csv = place.at("scores.csv");
        let words = ["score", "--model", &model, "--images", &format!("{data}:{part}"), "--out", &csv];
        let accuracy = 100.0 * facts(&words)["accuracy"].as_f64().expect("an accuracy");
        let rows = std::fs::read_to_string(&csv).expect("rows");
        let file = |row: &str| row.split(',').next().expect("a file").to_owned();
        (accuracy, rows.lines().skip(1).map(file).collect::<Vec<_>>())
    };
    let ((_, trained_on), (accuracy, held_out)) = (scores("train"), scores("test"));
    assert!(printed.contains(&format!("test accuracy  {accuracy:.2}%")), "{accuracy}: {printed}");
    assert_eq!((trained_on.len(), held_out.len()), (36, 4));
    assert!(held_out.iter().all(|file| !trained_on.contains(file)), "{held_out:?}");

    // From another directory, with no other flags.
    let resumed = jem(&["train", "--quiet", "--iterations", "5", "--resume", &out])
        .current_dir(place.at("."))
        .output()
        .expect("the command starts");
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert!(resumed.stderr.is_empty() && !String::from_utf8_lossy(&resumed.stdout).contains("device"));
    succeed(
        &[&train(&data, &whole, &["--recipe", "jem-class-conditional"])[..], &["--iterations", "5"]].concat(),
    );
    let last = |run: &str| {
        let path = Path::new(run).join("checkpoints/checkpoint-00000005.safetensors");
        Checkpoint::load(&path).expect("a checkpoint").tensors
    };
    assert!(last(&out) == last(&whole), "the resumed run differs from the uninterrupted one");

    // Data that has been moved.
    std::fs::rename(&data, place.at("moved")).expect("a directory");
    fail(&place, &["train", "--resume", &out], &["--data", "my photos", "no such set or folder"]);
    succeed(&["train", "--resume", &out, "--data", &place.at("moved")]);
}

/// The words of the command that `printed` suggests for samples, after `jem`.
fn suggested(printed: &str) -> Vec<&str> {
    let line = printed.lines().find_map(|line| line.strip_prefix("  jem sample ")).expect("a suggestion");
    std::iter::once("sample").chain(line.split(' ')).collect()
}

/// In so short a run new chains of 400 steps reach lower energies than those of the replay buffer.
#[test]
fn the_samples_that_a_run_suggests_are_those_of_its_chains() {
    let place = Place::new();
    let data = place.drawings("data", 40);
    for (recipe, flags) in [
        ("jem", "--init buffer"),
        ("jem-class-conditional", "--init buffer --class all"),
        ("jem++", "--init buffer"),
    ] {
        let out = place.at(recipe);
        let more = ["--iterations", "200", "--evaluate-every", "200", "--steps", "6", "--batch", "8"];
        let more = [&more[..], &["--recipe", recipe]].concat();
        let printed = succeed(&train(&data, &out, &more));
        let words = suggested(&printed);
        assert!(words.join(" ").contains(flags), "{words:?}");
        let drawn = facts(&words);
        assert_eq!(drawn["steps"], 6, "{drawn}");
        let run = Checkpoint::load(format!("{out}/best.safetensors").as_ref()).expect("the best model");
        let chains = run.f32("best".as_ref(), "replay_buffer", &[40, 3, 8, 8]).expect("chains").to_vec();
        let (x, scores) = (place.floats("chains.npy", &[40, 3, 8, 8], chains), place.at("scores.npz"));
        let model = format!("{out}/best.safetensors");
        succeed(&["score", "--model", &model, "--images", &x, "--out", &scores, "--any-range"]);
        let energies = |name: &str| numbers(&arrays(&scores)[name]).iter().map(|v| -v).collect::<Vec<f64>>();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let buffer = mean(&energies("logsumexp"));
        // The energies of the pictures, whatever density they were drawn from.
        let new = place.at(&format!("{recipe}-new"));
        succeed(&["sample", "--model", &model, "--init", "uniform", "--steps", "400", "--out", &new]);
        let [reached, fresh] = [format!("{out}/drawn"), new].map(|drawn| {
            let pictures = format!("{drawn}/samples.npy");
            succeed(&["score", "--model", &model, "--images", &pictures, "--out", &scores, "--any-range"]);
            mean(&energies("logsumexp"))
        });
        println!("{recipe}: buffer {buffer:.3}, drawn {reached:.3}, new chains {fresh:.3}");
        let near = (reached - buffer).abs() < 0.5 * (fresh - buffer).abs();
        assert!(near, "{recipe}: drawn {reached}, buffer {buffer}, new chains {fresh}");
    }
    // If the best model has no chains, the suggested ones start as in training.
    for (recipe, start, more) in [
        ("jem", "--init uniform --steps 10", &["--recipe", "jem"][..]),
        ("jem++", "--init gaussians --init-data", &["--recipe", "jem++"]),
    ] {
        let out = place.at(&format!("early {recipe}"));
        let printed = succeed(&[&train(&data, &out, more)[..], &["--p-x-after", "9"]].concat());
        let line = printed.lines().find(|line| line.contains("jem sample")).expect("a suggestion");
        assert!(line.contains(start), "{line}");
    }
}

#[test]
fn bad_settings_are_one_line_and_leave_nothing() {
    let place = Place::new();
    let (data, out) = (place.drawings("data", 40), place.at("run"));
    let at = |words: &[&str], parts: &[&str]| fail(&place, &train(&data, &out, words), parts);
    at(&["--step-size", "-1"], &["step_size", "at least 0", "-1"]);
    at(&["--steps", "0"], &["steps", "at least 1", "p_x", "got 0"]);
    at(&["--buffer", "3"], &["buffer", "at least 4", "got 3"]);
    at(&["--depth", "12"], &["depth", "6n + 4", "12"]);
    let left = "from 1 to 33, for the 33 training images that are left after 3 held-out images";
    at(&["--batch", "100"], &["--batch: ", left, "got 100"]);
    at(&["--batch", "0"], &["--batch: ", left, "got 0"]);
    at(
        &["--batch", "36", "--validation", "1"],
        &["35 training images that are left after 1 held-out image;"],
    );
    at(&["--validation", "36"], &["validation", "36", "smaller"]);
    at(&["--validation", "0"], &["validation", "at least 1", "got 0"]);
    at(&["--pad", "8"], &["pad", "8x8", "got 8"]);
    at(&["--device", "gpu:no such adapter"], &["no such adapter"]);
    // An automatically selected size has the same checks.
    fail(&place, &["train", "--data", &data, "--lr", "-1"], &["lr", "at least 0", "-1"]);

    let config = place.at("mine.toml");
    for (text, parts) in [
        ("depth = 10\nwidht = 2\n", ["mine.toml", "widht"]),
        ("recipe = \"jem+\"\n", ["jem+", "jem++"]),
        ("lr = \"fast\"\n", ["mine.toml", "line 1"]),
        ("lr = -0.5\n", ["lr", "-0.5"]),
    ] {
        std::fs::write(&config, text).expect("a file");
        at(&["--config", &config], &parts);
    }
    at(&["--config", &place.at("missing.toml")], &["missing.toml"]);
    fail(&place, &train("imagenet", &out, &[]), &["--data", "cifar10, cifar100", "synthetic", "imagenet"]);
    fail(
        &place,
        &train("mnist", &out, &["--data-dir", &data]),
        &["mnist:train", "--data-dir", &data, "mnist;"],
    );
    fail(&place, &train("cifar10", &out, &["--data-dir", &data]), &["--data-dir", "data_batch_1.bin"]);
    fail(&place, &["train", "--resume", &data], &["holds no run", "config.toml"]);
    std::fs::write(place.at("config.toml"), "depth = 10\n").expect("a file");
    fail(&place, &["train", "--resume", &place.at("")], &["--data", "does not record"]);
    fail(&place, &train(&data, &place.at(""), &[]), &["holds another run", "--resume"]);
    misuse(&train(&data, &out, &["--optimizer", "adagrad"]), &["--optimizer", "adam, adamw, sgd"]);
    misuse(&["train", "--preset", "huge"], &["--preset", "auto, tiny, small, paper, fine-tune"]);
    misuse(&["train", "--labelled-loss", "hinges"], &["--labelled-loss", "perceptron, hinge,", "'hinge'"]);
    misuse(&train(&data, &out, &["--recipe", "jem+"]), &["--recipe", "classifier, jem,", "jem+"]);
    misuse(&["train", "--resume", &out, "--preset", "tiny"], &["--preset"]);
}

#[test]
fn a_resumed_run_keeps_its_data_and_its_settings_file_repeats_it() {
    let place = Place::new();
    let (out, again) = (place.at("run"), place.at("again"));
    succeed(&train("mnist", &out, &["--data-dir", &place.digits(60), "--quiet"]));
    fail(
        &place,
        &["train", "--resume", &out, "--data", "synthetic"],
        &["--resume", "is a run on mnist", "synthetic"],
    );
    let config = format!("{out}/config.toml");
    let words = ["train", "--config", &config, "--seed", "7"];
    let printed = succeed(&[&words[..], &["--out", &again]].concat());
    assert!(printed.contains("MNIST train: 60 training"), "{printed}");
    assert!(!printed.contains("preset"), "the file leaves nothing to choose: {printed}");

    fail(&place, &[&words[..], &["--recipe", "unconditional"]].concat(), &["--recipe", "those of jem"]);

    // Only the settings are printed, and nothing is written.
    let before = place.names();
    let settings = succeed(&[&words[..], &["--print-config"]].concat());
    assert_eq!(place.names(), before);
    let written = read(&again, "config.toml");
    let written: Vec<&str> = written.lines().filter(|line| !line.starts_with('#')).collect();
    let (source, settings_alone) = settings.split_once('\n').expect("lines");
    assert!(source.starts_with("# data source: {\"data\":\"mnist\""), "{source}");
    assert_eq!(settings_alone.lines().collect::<Vec<_>>(), written);
    assert!(written.contains(&"seed = 7") && written.contains(&"batch = 4"), "{settings}");
    let settings = succeed(&["train", "--resume", &again, "--print-config", "--lr", "0.5"]);
    assert!(settings.contains("lr = 0.5\n") && settings.contains("seed = 7\n"), "{settings}");
}

#[test]
fn a_quiet_run_prints_only_its_figures_and_auto_passes_over_sizes_that_do_not_fit() {
    let place = Place::new();
    let (data, out) = (place.drawings("data", 40), place.at("run"));
    let flags = ["--steps", "1", "--iterations", "2"];
    let words = [&["train", "--data", &data, "--out", &out][..], &flags].concat();
    // A batch of the larger presets has more images than the folder.
    let printed = succeed(&words);
    assert!(printed.contains("tiny   about") && !printed.contains("small  about"), "{printed}");
    assert!(printed.contains("next: score images"), "{printed}");
    let quiet = succeed(&["train", "--resume", &out, "--iterations", "3", "--quiet"]);
    assert!(quiet.starts_with("test accuracy") && !quiet.contains("next"), "{quiet}");
    let complete = jem(&["train", "--resume", &out, "--iterations", "2"]).output().expect("it starts");
    let complete = String::from_utf8(complete.stderr).expect("UTF-8");
    assert!(complete.contains("is complete: all 3 iterations are done, 2 were asked for"), "{complete}");
    // The time of a run is that of all its sessions.
    let seconds: Vec<f64> = read(&out, "metrics.csv")
        .lines()
        .skip(1)
        .map(|row| row.split(',').nth(1).expect("a column").parse().expect("a number"))
        .collect();
    assert!(seconds.len() == 3 && seconds.is_sorted(), "{seconds:?}");
}

#[test]
fn a_scalar_energy_trains_scores_and_samples() {
    let place = Place::new();
    let (data, out) = (place.drawings("data", 40), place.at("run"));
    let printed = succeed(&train(&data, &out, &["--recipe", "unconditional"]));
    assert!(
        printed.contains("energies ") && !printed.contains("test accuracy") && !printed.contains("NaN"),
        "{printed}"
    );
    let rows = read(&out, "metrics.csv");
    let [header, row] =
        [0, 3].map(|line| rows.lines().nth(line).expect("a row").split(',').collect::<Vec<_>>());
    let cell = |name: &str| row[header.iter().position(|column| *column == name).expect("a column")];
    assert!(cell("accuracy").is_empty() && cell("cross_entropy").is_empty(), "{rows}");
    assert!(cell("energy_gap").parse::<f64>().is_ok_and(f64::is_finite), "{rows}");

    let found = facts(&["info", &out]);
    assert_eq!(found["classes"], 1);
    assert!(found["model"].as_str().expect("text").contains("a scalar energy"), "{found}");
    // Labels of the images are unused.
    let scored = facts(&["score", "--model", &out, "--images", &data]);
    assert_eq!((&scored["images"], &scored["accuracy"]), (&Value::from(40), &Value::Null));
    assert_eq!(scored["mean_entropy"].to_string(), "0.0", "not -0.0");
    succeed(&["sample", "--model", &out, "--count", "4", "--steps", "2", "--out", &place.at("drawn")]);
    let labels = place.array("labels.npy", &[40], Elements::I64(vec![0; 40]));
    fail(
        &place,
        &["score", "--model", &out, "--images", &data, "--labels", &labels],
        &["--labels", "no classes"],
    );
    let best = format!("{out}/best.safetensors");
    let words = ["export", "--model", &out, "--to", "npz", "--out", &best];
    fail(&place, &words, &["--out", "is the model that is read"]);
    // Images without classes.
    let flat = format!("{data}/disc");
    succeed(&train(&flat, &place.at("flat"), &["--recipe", "unconditional"]));
    succeed(&["score", "--model", &place.at("flat"), "--images", &format!("{flat}:test")]);
    fail(&place, &train(&flat, &place.at("no"), &[]), &["--data", "one class", "jem needs", "unconditional"]);
    let drawn = place.at("none");
    let words = ["sample", "--model", &out, "--class", "0", "--steps", "2", "--out", &drawn];
    fail(&place, &words, &["--class", "scalar energy"]);
    fail(&place, &["train", "--resume", &out, "--p-y-given-x", "1"], &["p_y_given_x", "unconditional"]);
    let whole = Checkpoint::load(&Path::new(&out).join("best.safetensors")).expect("a model");
    assert!(whole.tensors.iter().any(|tensor| tensor.0 == "energy_output.weight" && tensor.1[0] == 1));
}

#[test]
fn a_run_stays_the_recipe_that_it_is() {
    let place = Place::new();
    let (data, out) = (place.drawings("data", 40), place.at("run"));
    succeed(&train(&data, &out, &["--quiet"]));
    fail(&place, &["train", "--resume", &out, "--recipe", "jem++"], &["--recipe", "run of jem", "jem++"]);
    fail(&place, &train(&data, &out, &[]), &["holds another run", "--resume"]);
}

#[test]
fn help_groups_the_settings_and_fits_80_columns() {
    for command in ["train", "ablate"] {
        for (flag, width) in [("-h", 80), ("--help", 80), ("-h", 120)] {
            let output = jem(&[command, flag]).env("COLUMNS", width.to_string()).output();
            let output = output.expect("the command starts");
            let help = String::from_utf8(output.stdout).expect("UTF-8");
            let heading = |line: &&str| line.ends_with(':') && !line.starts_with([' ', 'W']);
            let headings: Vec<&str> = help.lines().filter(heading).collect();
            let expected =
                ["Options", "Model", "Data", "SGLD", "Loss", "Optimizer", "Run", "Guard", "Examples"];
            assert_eq!(headings, expected.map(|heading| format!("{heading}:")), "{help}");
            assert!(help.lines().all(|line| line.chars().count() <= width), "{help}");
            // No example may be wrapped.
            let (_, examples) = help.split_once("Examples:\n").expect("examples");
            let block = examples.lines().take_while(|line| !line.is_empty());
            assert!(block.into_iter().all(|line| line.starts_with("  jem ")), "{examples}");
        }
    }
}
