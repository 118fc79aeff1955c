//! Models of other code: what import assumes and asks, the names of classes, and training that begins with a model.

use crate::support::*;
use jem::io::checkpoint::Checkpoint;
use jem::nn::architecture::Architecture;
use jem::nn::init::Init;
use jem::nn::network::Network;
use jem::nn::wide_resnet::WideResNet;
use serde_json::Value;
use std::path::Path;

/// The settings of a run of seconds.
const SMALL: [&str; 18] = [
    "--preset",
    "tiny",
    "--batch",
    "4",
    "--steps",
    "2",
    "--buffer",
    "40",
    "--validation",
    "3",
    "--iterations",
    "3",
    "--evaluate-every",
    "2",
    "--checkpoint-every",
    "2",
    "--pad",
    "1",
];

/// The names of CIFAR-10's classes, but for two: the fixture's classes.
fn names(place: &Place, changed: &[(&str, &str)]) -> String {
    let names = "airplane automobile bird cat deer dog frog horse ship truck".to_owned();
    let names = changed.iter().fold(names, |names, (from, to)| names.replace(from, to));
    std::fs::write(place.at("names.txt"), names.replace(' ', "\n")).expect("a file");
    place.at("names.txt")
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}")).to_owned()
}

#[test]
fn import_says_what_it_assumes_and_asks_what_it_cannot_know() {
    let place = Place::new();
    let out = place.at("m.safetensors");
    let printed = succeed(&["import", &weights(), "--out", &out]);
    for part in [
        "activation     leaky-relu  (a guess: as in the code of JEM",
        "norm           none  (there are no tensors of norms)",
        "pooling        mean  (a guess",
        "normalisation  none  (a guess: the network takes images in [-1, 1]",
    ] {
        assert!(printed.contains(part), "{part:?} is not in {printed}");
    }
    let found = facts(&["info", &out]);
    let guess = |setting: &str| {
        let all = found["assumptions"].as_array().expect("a list");
        all.iter().find(|assumption| assumption["setting"] == setting).expect(setting).clone()
    };
    assert_eq!(guess("activation")["guess"], true);
    assert_eq!((&guess("norm")["guess"], &guess("norm")["value"]), (&false.into(), &"none".into()));

    // Stated settings are no guesses, change the logits, and stay.
    let x = place.x_p();
    let logits = |flags: &[&str]| {
        succeed(&[&["import", &weights(), "--out", &out], flags].concat());
        let scores = place.at("s.npz");
        succeed(&["score", "--model", &out, "--images", &x, "--out", &scores]);
        numbers(&arrays(&scores)["logits"])
    };
    let usual = logits(&[]);
    assert_eq!(logits(&["--activation", "leaky-relu:0.2", "--pooling", "mean"]), usual);
    for flags in [["--activation", "silu"], ["--activation", "relu"], ["--pooling", "sum"]] {
        assert_ne!(logits(&flags), usual, "{flags:?}");
        assert!(succeed(&["info", &out]).contains(&format!("{}  (as stated)", flags[1])));
    }
    misuse(&["import", &weights(), "--out", &out, "--activation", "tanh"], &["expected relu, leaky-relu"]);
    fail(
        &place,
        &["import", &weights(), "--out", &out, "--norm", "batch"],
        &["--norm", "no tensors of norms"],
    );

    // Norms without running statistics.
    let normed = place.changed_model("normed.safetensors", |file| {
        for (name, channels) in
            [("layer1.0.bn1", 16), ("layer1.0.bn2", 16), ("layer2.0.bn1", 16), ("layer2.0.bn2", 32)]
                .into_iter()
                .chain([("layer3.0.bn1", 32), ("layer3.0.bn2", 64), ("bn1", 64)])
        {
            file.push_f32(format!("f.{name}.weight"), &[channels], vec![1.0; channels]);
            file.push_f32(format!("f.{name}.bias"), &[channels], vec![0.0; channels]);
        }
    });
    let open = ["--norm", "f.layer1.0.bn1.weight", "instance, layer or group:G"];
    fail(&place, &["import", &normed, "--out", &out], &open);
    fail(&place, &["score", "--model", &normed, "--images", &x], &open);
    // A command without the flag names the file, once, and the command that has it.
    let once = [&format!("error: {normed}: the norms have"), &format!("jem import {normed} --norm")];
    fail(&place, &["score", "--model", &normed, "--images", &x], &once.map(String::as_str));
    for norm in ["instance", "layer", "group:4"] {
        succeed(&["import", &normed, "--out", &out, "--norm", norm]);
        succeed(&["score", "--model", &out, "--images", &x]);
        // What is exported and comes back is the same model.
        let (exported, again) = (place.at("exported.safetensors"), place.at("again.safetensors"));
        succeed(&["export", "--model", &out, "--to", "safetensors", "--out", &exported]);
        succeed(&["import", &exported, "--out", &again]);
        assert_eq!(std::fs::read(&again).expect("a file"), std::fs::read(&out).expect("a file"), "{norm}");
    }
    fail(
        &place,
        &["import", &normed, "--out", &out, "--norm", "group:5"],
        &["5 groups do not divide the 16 channels"],
    );
}

#[test]
fn classes_are_matched_by_their_names() {
    let place = Place::new();
    let model = place.at("named.safetensors");
    let names = names(&place, &[("deer", "disc"), ("truck", "square")]);
    succeed(&["import", &weights(), "--out", &model, "--classes", &names, "--image-size", "8"]);
    assert!(succeed(&["info", &model]).contains("airplane, automobile, bird, cat, disc, dog"));
    fail(
        &place,
        &["import", &weights(), "--out", &place.at("x"), "--classes", "cifar100"],
        &["--classes", "10 classes, got 100"],
    );
    fail(
        &place,
        &["import", &weights(), "--out", &place.at("x"), "--classes", "nothing"],
        &["--classes", "nothing", "cifar10"],
    );

    // The folder's classes are the model's numbers 4 and 9.
    let photos = place.drawings("photos", 10);
    let out = place.at("s.npz");
    let score = ["score", "--model", &model, "--images", &photos, "--out", &out];
    let scored = facts(&score);
    let labels = numbers(&arrays(&out)["labels"]);
    assert!(labels.contains(&4.0) && labels.contains(&9.0) && labels.iter().all(|l| [4.0, 9.0].contains(l)));
    assert!(scored["accuracy"].is_f64() && scored.get("labels").is_none(), "{scored}");
    let printed = succeed(&[&score[..], &["--top", "10"]].concat());
    assert!(printed.contains("airplane ") && printed.contains("disc "), "{printed}");

    // Other spellings, a class that the model lacks, none that it has.
    let folder = Path::new(&photos);
    std::fs::rename(folder.join("disc"), folder.join("DISC")).expect("a folder");
    assert_eq!(facts(&score)["accuracy"], scored["accuracy"]);
    std::fs::rename(folder.join("DISC"), folder.join("circle")).expect("a folder");
    fail(&place, &score, &["circle", "--classes-map circle=NAME", "--no-labels"]);
    let mapped = [&score[..], &["--classes-map", "circle=disc"]].concat();
    assert_eq!(facts(&mapped)["accuracy"], scored["accuracy"]);
    let wrong = [&score[..], &["--classes-map", "circle=ball"]].concat();
    fail(&place, &wrong, &["--classes-map", "\"ball\" is no class of the model"]);
    std::fs::rename(folder.join("square"), folder.join("box")).expect("a folder");
    let foreign = facts(&score);
    assert!(foreign.get("accuracy").is_none(), "{foreign}");
    assert!(text(&foreign, "labels").contains("other classes than the model (box, circle)"), "{foreign}");

    // A model without names: a folder is refused, a data set is taken in its order, which is said.
    let nameless = place.at("nameless.safetensors");
    succeed(&["import", &weights(), "--out", &nameless, "--image-size", "8"]);
    for class in "abcdefgh".chars() {
        std::fs::create_dir(folder.join(class.to_string())).expect("a folder");
        std::fs::copy(
            std::fs::read_dir(folder.join("box"))
                .expect("a folder")
                .next()
                .expect("a file")
                .expect("it")
                .path(),
            folder.join(class.to_string()).join("1.png"),
        )
        .expect("a copy");
    }
    let score = ["score", "--model", &nameless, "--images", &photos];
    fail(&place, &score, &["does not name its classes", "--classes"]);
    succeed(&[&score[..], &["--no-labels"]].concat());
    let list = "a,b,box,c,circle,d,e,f,g,h".replace(',', "\n");
    std::fs::write(place.at("list.txt"), list).expect("a file");
    assert!(facts(&[&score[..], &["--classes", &place.at("list.txt")]].concat())["accuracy"].is_f64());
}

#[test]
fn a_class_is_sampled_by_its_name() {
    let place = Place::new();
    let model = place.at("named.safetensors");
    succeed(&["import", &weights(), "--out", &model, "--classes", "cifar10"]);
    let sample = |class: &str| {
        let out = place.at(class);
        let words = ["sample", "--model", &model, "--count", "2", "--steps", "1", "--out", &out];
        let found = facts(&[&words[..], &["--class", class]].concat());
        (found["classes"].clone(), std::fs::read(Path::new(&out).join("samples.npy")).expect("samples"))
    };
    assert_eq!(sample("cat"), sample("3"));
    fail(
        &place,
        &["sample", "--model", &model, "--out", &place.at("y"), "--class", "cats"],
        &["--class", "cat", "got \"cats\""],
    );
}

#[test]
fn training_begins_with_a_model_of_other_code() {
    let place = Place::new();
    let (photos, model) = (place.drawings("photos", 40), place.at("model.safetensors"));
    let numbers = ["--mean", "0.5,0.5,0.4", "--std", "0.2,0.3,0.4"];
    succeed(&[&["import", &weights(), "--out", &model, "--classes", "cifar10"], &numbers[..]].concat());
    let train = |out: &str, more: &[&str]| -> Vec<String> {
        let out = place.at(out);
        let words = [&["train", "--data", &photos, "--out", &out], &SMALL[..], more].concat();
        words.into_iter().map(str::to_owned).collect()
    };
    let run = |words: &[String]| succeed(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let from = ["--from", &model, "--p-x-after", "1", "--p-x-ramp", "2", "--norm-statistics", "frozen"];
    let printed = run(&train("run", &from));
    for part in [
        "model   WRN-10-1, batch 4",
        " after 1 iteration\n",
        &format!("from    {model}"),
        "the last layer begins anew, fitted to the training images: the model has 10 classes (airplane, automobile, bird, cat, deer, …, truck), \
         the run 2 classes (disc, square)",
        "test accuracy",
    ] {
        assert!(printed.contains(part), "{part:?} is not in {printed}");
    }
    // The fitted last layer is compared with the trained one.
    assert!(printed.contains("calibration error"), "{printed}");
    let found = facts(&["info", &place.at("run")]);
    assert_eq!(found["class_names"], serde_json::json!(["disc", "square"]));
    assert_eq!(found["normalisation"]["std"][2], 0.4f32);

    // From the run's own model: the same classes, so both are compared at the end.
    let printed = run(&train("further", &["--from", &place.at("run")]));
    for part in ["test images", "start", "best", "calibration error", "cross-entropy"] {
        assert!(printed.contains(part), "{part:?} is not in {printed}");
    }

    // The settings file repeats the start; a resumed run needs neither flag nor model.
    let config = place.at("run/config.toml");
    run(&["train", "--config", &config, "--out", &place.at("again")].map(str::to_owned));
    let last = |run: &str| {
        let path = place.at(&format!("{run}/checkpoints/checkpoint-00000003.safetensors"));
        Checkpoint::load(Path::new(&path)).expect("a checkpoint").tensors
    };
    assert!(last("run") == last("again"), "the repeated run differs");
    std::fs::rename(&model, place.at("moved.safetensors")).expect("a file");
    succeed(&["train", "--resume", &place.at("run"), "--iterations", "4"]);
    fail(
        &place,
        &["train", "--config", &config, "--out", &place.at("third")],
        &["model.safetensors", "starts from", "cannot be read"],
    );

    // Settings without effect, and flags that exclude each other.
    let moved = place.at("moved.safetensors");
    let words = train("x", &["--from", &moved, "--depth", "16"]);
    fail(&place, &words.iter().map(String::as_str).collect::<Vec<_>>(), &["depth", "has no effect"]);
    // Without a preset the settings are those for a trained model.
    let settings = |more: &[&str]| {
        let words =
            [&["train", "--data", &photos, "--print-config", "--validation", "4", "--batch", "4"], more]
                .concat();
        let printed = succeed(&words);
        printed.parse::<toml::Table>().unwrap_or_else(|error| panic!("{error}: {printed}"))
    };
    let fine_tune = settings(&["--from", &moved]);
    assert_eq!(fine_tune["hold_gap"].as_float(), Some(2.5), "{fine_tune}");
    assert_eq!(fine_tune["norm_statistics"].as_str(), Some("frozen"), "{fine_tune}");
    let tiny = settings(&["--from", &moved, "--preset", "tiny"]);
    assert_eq!(tiny["hold_gap"].as_float(), Some(0.0), "{tiny}");
    let classifier = settings(&["--from", &moved, "--recipe", "classifier"]);
    assert_eq!(classifier["norm_statistics"].as_str(), Some("frozen"), "{classifier}");
    assert_eq!(tiny["norm_statistics"].as_str(), Some("batch"), "{tiny}");
    fail(&place, &["train", "--data", &photos, "--preset", "fine-tune"], &["--preset", "--from"]);
    misuse(&["train", "--from", &moved, "--arch", "resnet-20"], &["--from", "--arch"]);
    misuse(&["train", "--from", &moved, "--resume", &place.at("run")], &["--from", "--resume"]);
}

/// The number of elements of a tensor.
fn values_of(file: &Checkpoint, name: &str) -> usize {
    file.tensors.iter().find(|(found, ..)| found == name).map_or(0, |(_, _, elements)| elements.len())
}

/// Writes a file with the network `arch` and initial weights. `rename` returns the name of each tensor, or an empty one
/// for a tensor to leave out.
pub fn file_of(place: &Place, file: &str, arch: &str, rename: impl Fn(&str) -> String) -> String {
    let network = arch.parse::<Architecture>().expect("a name").network();
    let layout = network.layout();
    let values = layout.initialise(Init::default(), 0.0, 1);
    let mut checkpoint = Checkpoint::default();
    for (parameter, values) in layout.scatter(&values) {
        let name = rename(&parameter.name);
        if !name.is_empty() {
            checkpoint.push_f32(name, &parameter.file_shape(), values);
        }
    }
    checkpoint.save(Path::new(&place.at(file))).expect("a file");
    place.at(file)
}

#[test]
fn errors_have_the_names_of_the_file() {
    let place = Place::new();
    let out = place.at("out.safetensors");
    let import = |file: &str, parts: &[&str]| fail(&place, &["import", file, "--out", &out], parts);
    let feat = |name: &str| match name.strip_prefix("linear.") {
        Some(part) => format!("head.{part}"),
        None => format!("feat.{name}"),
    };
    // A last layer under another name, beside a prefix and without one.
    let parts = [
        "ResNet-20: expected tensor feat.linear.weight or feat.fc.weight, found none",
        "tried under \"feat.\"",
        "2 missing: feat.linear.weight, feat.linear.bias",
        "2 left over: head.bias, head.weight",
    ];
    import(&file_of(&place, "feat.safetensors", "resnet-20", feat), &parts);
    let bare = |name: &str| feat(name).trim_start_matches("feat.").to_owned();
    import(
        &file_of(&place, "bare.safetensors", "resnet-20", bare),
        &["expected tensor linear.weight or fc.weight", "(2 missing: linear.weight", "left over: head.bias"],
    );
    // A block that is missing, and one that is too many.
    let gap = |name: &str| if name.contains("layer2.1.bn2") { String::new() } else { format!("net.{name}") };
    import(
        &file_of(&place, "gap.safetensors", "resnet-20", gap),
        &[
            "ResNet-20: expected tensor net.layer2.1.bn2.weight [32], found none",
            "4 missing: net.layer2.1.bn2.weight",
        ],
    );
    let extra = file_of(&place, "extra.safetensors", "resnet-20", |name| format!("net.{name}"));
    let mut file = Checkpoint::load(Path::new(&extra)).expect("a file");
    ["net.a", "net.b"].into_iter().for_each(|name| file.push_f32(name, &[2], vec![1.0; 2]));
    file.save(Path::new(&extra)).expect("a file");
    import(&extra, &["ResNet-20: unknown tensors net.a [2], net.b [2]; they belong"]);
    // Names near a family, whose beginnings were cut off in the search.
    let near = |name: &str| format!("feat.{}", name.replace("layer", "stage"));
    import(
        &file_of(&place, "near.safetensors", "resnet-8", near),
        &["found feat.bn1.bias, ", " more; tried under ", "\"feat.\""],
    );
}

#[test]
fn vectors_of_spectral_norm_divide_weights() {
    let place = Place::new();
    let network = WideResNet { spectral_norm: true, ..WideResNet::new(10, 1, 10, 3) };
    let layout = network.layout();
    let values = layout.initialise(Init::default(), 0.2, 1);
    let (x, out) = (place.x_p(), place.at("out.safetensors"));
    for (vector, value, parts) in [
        ("", vec![], &[][..]),
        ("f.conv1.weight_u", vec![0.0; 16], &["f.conv1.weight_u", "all elements are 0", "norm 1"]),
        ("f.conv1.weight_v", vec![0.0; 27], &["f.conv1.weight_v", "all elements are 0"]),
        ("class_output.weight_u", vec![f32::NAN; 10], &["class_output.weight_u", "NaN"]),
        ("f.conv1.weight_u", vec![1.0; 15], &["f.conv1.weight_u", "[16]", "[15]"]),
        ("f.conv1.weight", vec![0.0; 432], &["f.conv1.weight", "singular value 0"]),
    ] {
        let mut file = Checkpoint::default();
        for (parameter, mut values) in layout.scatter(&values) {
            let mut shape = parameter.file_shape();
            if parameter.name == vector {
                values.clone_from(&value);
                if shape.len() == 1 {
                    shape = vec![value.len()];
                }
            }
            file.push_f32(&parameter.name, &shape, values);
        }
        let path = place.at("spectral.safetensors");
        file.save(Path::new(&path)).expect("a file");
        if values_of(&file, "f.conv1.weight_u") == 15 {
            // The names that PyTorch's newer function gives.
            for (name, ..) in &mut file.tensors {
                for (old, new) in [("weight_u", "0._u"), ("weight_v", "0._v"), ("weight", "original")] {
                    if let Some(layer) = name.strip_suffix(old) {
                        *name = format!("{layer}parametrizations.weight.{new}");
                    }
                }
            }
            let newer = place.at("newer.safetensors");
            file.save(Path::new(&newer)).expect("a file");
            fail(
                &place,
                &["import", &newer, "--out", &out],
                &["tensor f.conv1.parametrizations.weight.0._u: expected [16], found [15]"],
            );
        }
        if parts.is_empty() {
            succeed(&["import", &path, "--out", &out]);
            continue;
        }
        fail(&place, &["import", &path, "--out", &out], parts);
        fail(&place, &["score", "--model", &path, "--images", &x], parts);
    }
}

#[test]
fn a_classifier_is_no_density_which_one_note_says() {
    let place = Place::new();
    let (x, out, photos) = (place.x_p(), place.at("out"), place.drawings("photos", 40));
    let imported = file_of(&place, "resnet.safetensors", "resnet-8", str::to_owned);
    let run = |name: &str, more: &[&str]| {
        let run = place.at(name);
        succeed(&[&["train", "--data", &photos, "--out", &run, "--quiet"], &SMALL[..], more].concat());
        run
    };
    let classifier = run("classifier", &["--recipe", "classifier"]);
    let early = run("early", &["--p-x-after", "9"]);
    let jem = run("jem", &["--p-x-after", "1"]);
    let small = place.floats("small.npy", &[1, 3, 8, 8], vec![0.5; 192]);
    for (model, images, said) in [
        (&imported, &x, 1),
        (&classifier, &small, 1),
        (&early, &small, 1),
        (&jem, &small, 0),
        // A JEM, or a classifier of its code: the file does not tell.
        (&weights(), &x, 0),
    ] {
        for words in [
            &["score", "--model", model, "--images", images, "--threshold", "0"][..],
            &["sample", "--model", model, "--init", images, "--steps", "1", "--out", &out],
        ] {
            let notes = |more: &[&str]| {
                let output =
                    crate::support::jem(&[words, more].concat()).output().expect("the command starts");
                let stderr = String::from_utf8(output.stderr).expect("text");
                assert!(output.status.success(), "{stderr}");
                let is = |line: &&str| {
                    line.starts_with("note: ")
                        && line.contains("energies are not those of a density")
                        && line.contains("samples show no objects")
                        && line.contains(&format!("jem train --from {model}"))
                };
                stderr.lines().filter(is).count()
            };
            assert_eq!((notes(&[]), notes(&["--quiet"])), (said, 0), "{words:?}");
        }
    }
}

#[test]
fn a_network_is_trained_by_its_name() {
    let place = Place::new();
    let photos = place.drawings("photos", 40);
    let out = place.at("run");
    let words = ["train", "--data", &photos, "--out", &out, "--arch", "resnet-8", "--activation", "silu"];
    let printed = succeed(&[&words[..], &SMALL].concat());
    assert!(printed.contains("model   ResNet-8, batch 4"), "{printed}");
    let config = std::fs::read_to_string(Path::new(&out).join("config.toml")).expect("settings");
    assert!(
        config.contains("# network of the run: {") && config.contains("activation = \\\"silu\\\""),
        "{config}"
    );
    assert!(!config.contains("\ndepth = "), "{config}");
    succeed(&["train", "--resume", &out, "--iterations", "4"]);
    assert_eq!(facts(&["info", &out])["architecture"], "ResNet-8");
    let words = ["train", "--data", &photos, "--arch", "resnet-8", "--preset", "tiny", "--print-config"];
    assert!(succeed(&words).contains("# network of the run: {"));
    misuse(&["train", "--arch", "resnet-21"], &["resnet-21", "resnet-20"]);
    // A program's own network is not mistaken for a WideResNet.
    let own = format!("{}/config.toml", place.trained_own_network());
    fail(&place, &["train", "--config", &own, "--data", &photos, "--out", &place.at("x")], &["my network"]);
}
