//! Inputs that commands once took in silence, with wrong numbers or lost files.

use crate::support::*;
use jem::io::checkpoint::Checkpoint;
use jem::io::elements::Elements;
use std::fs;
use std::path::Path;

/// What a command that succeeds prints to standard error.
fn notes(words: &[&str]) -> String {
    let output = jem(words).output().expect("jem starts");
    let notes = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "{words:?}: {notes}");
    notes
}

/// A folder with a picture of 32x32 pixels in each of `classes`.
fn pictures(place: &Place, folder: &str, classes: &[&str]) -> String {
    let data = crate::small::pictures(classes.len(), 32);
    for (index, class) in classes.iter().enumerate() {
        let to = Path::new(&place.at(folder)).join(class);
        fs::create_dir_all(&to).expect("a folder");
        let picture = image::RgbImage::from_raw(32, 32, data.image(index).to_vec()).expect("32x32x3");
        picture.save(to.join("0.png")).expect("a file");
    }
    place.at(folder)
}

#[test]
fn what_is_read_is_not_written_over() {
    let place = Place::new();
    let (x, folder) = (place.at("x.npz"), pictures(&place, "pictures", &["a", "b"]));
    let images = jem::io::npy::read(Path::new(&place.x_p())).expect("images");
    jem::io::npz::write(Path::new(&x), &[("images".to_owned(), images)]).expect("a file");
    let labels = place.at("labels.csv");
    fs::write(&labels, "a/0.png,cat\nb/0.png,dog\n").expect("labels");
    let before = fs::read(&x).expect("the images");
    fail(
        &place,
        &["score", "--model", &weights(), "--images", &x, "--out", &x],
        &["x.npz is the file of images"],
    );
    let words = ["score", "--model", &weights(), "--images", &folder, "--labels", &labels, "--out", &labels];
    fail(&place, &words, &["labels.csv is the file of labels"]);
    let out = place.at("drawn");
    succeed(&["sample", "--model", &weights(), "--steps", "1", "--count", "4", "--out", &out]);
    let init = format!("{out}/samples.npy");
    let drawn = fs::read(&init).expect("samples");
    let words = ["sample", "--model", &weights(), "--init", &init, "--steps", "1", "--out", &out];
    fail(&place, &words, &["samples.npy is the file of --init"]);
    assert!(before == fs::read(&x).expect("the images") && drawn == fs::read(&init).expect("samples"));
}

#[test]
fn guesses_of_a_file_that_was_not_imported_are_said() {
    let place = Place::new();
    let (x, data) = (place.x_p(), place.drawings("data", 40));
    let score = |model: &str| notes(&["score", "--model", model, "--images", &x]);
    let said = score(&weights());
    assert!(said.contains("activation leaky-relu") && said.contains("normalisation none"), "{said}");
    let run = place.at("run");
    let words = ["train", "--from", &weights(), "--data", &data, "--out", &run, "--recipe", "classifier"];
    let small = ["--batch", "4", "--iterations", "1", "--validation", "3", "--buffer", "40"];
    let printed = succeed(&[&words[..], &small].concat());
    assert!(printed.contains("normalisation none"), "{printed}");
    // An imported model has them on record.
    let model = place.at("m.safetensors");
    succeed(&["import", &weights(), "--out", &model]);
    assert!(!score(&model).contains("guess"));
}

#[test]
fn json_has_what_was_asked_for() {
    let place = Place::new();
    let words = [
        "score",
        "--model",
        &weights(),
        "--images",
        &place.x_p(),
        "--predict",
        "--conditional",
        "--top",
        "2",
    ];
    let found = facts(&[&words[..], &["--threshold", "0"]].concat());
    let rows = |key: &str| found[key].as_array().unwrap_or_else(|| panic!("no {key} in {found}")).clone();
    let keys = ["predictions", "ranking", "verdicts", "probabilities"];
    assert!(keys.iter().all(|key| rows(key).len() == N), "{found}");
    for ((prediction, ranked), p) in
        rows("predictions").iter().zip(rows("ranking")).zip(rows("probabilities"))
    {
        let p: Vec<f64> =
            p.as_array().expect("a row").iter().map(|p| p.as_f64().expect("a number")).collect();
        let best = (0..10).max_by(|&a, &b| p[a].total_cmp(&p[b])).expect("ten classes");
        assert!(
            prediction.as_str() == Some(best.to_string().as_str()) && ranked[0] == *prediction,
            "{found}"
        );
    }
}

#[test]
fn files_of_later_versions_and_commands_for_the_terminal_are_seen() {
    let place = Place::new();
    let later = place.changed_model("later.safetensors", |file| {
        file.metadata.insert("format".into(), "jem-checkpoint-9".into());
    });
    fail(&place, &["info", &later], &["later.safetensors", "jem-checkpoint-9", "a newer version wrote it"]);
    let printed = succeed(&["score", "--model", &weights(), "--images", &new_line(&place), "--predict"]);
    assert!(printed.contains("a\\nb.png") && !printed.contains("a\nb.png"), "{printed}");
}

/// A picture whose name has a line break.
fn new_line(place: &Place) -> String {
    let folder = pictures(place, "pictures", &["a"]);
    let path = format!("{folder}/a\nb.png");
    fs::rename(format!("{folder}/a/0.png"), &path).expect("a file");
    path
}

#[test]
fn only_what_was_guessed_can_be_settled_later() {
    let place = Place::new();
    let [guessed, settled, again] = ["g", "s", "a"].map(|name| place.at(&format!("{name}.safetensors")));
    succeed(&["import", &weights(), "--out", &guessed]);
    succeed(&[
        "import",
        &guessed,
        "--activation",
        "silu",
        "--mean",
        "0.5,0.5,0.5",
        "--std",
        "0.2,0.2,0.2",
        "--out",
        &settled,
    ]);
    let info = succeed(&["info", &settled]);
    assert!(info.lines().any(|line| line.starts_with("activation") && line.ends_with("silu")), "{info}");
    assert!(!info.contains("leaky-relu") && !info.contains("normalisation  none"), "{info}");
    let words = ["import", &settled, "--activation", "relu", "--out", &again];
    fail(&place, &words, &["--activation", "s.safetensors states another activation"]);
    succeed(&["import", &settled, "--activation", "silu", "--out", &again]);
}

#[test]
fn gaussians_of_other_classes_are_refused() {
    let place = Place::new();
    let (model, out) = (place.at("m.safetensors"), place.at("drawn"));
    let names = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9"];
    fs::write(place.at("names.txt"), names.join("\n")).expect("a file");
    succeed(&["import", &weights(), "--classes", &place.at("names.txt"), "--out", &model]);
    let own = pictures(&place, "own", &names);
    let other = pictures(&place, "other", &["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9"]);
    let words = |data| {
        let words =
            ["sample", "--model", &model, "--init", "gaussians", "--init-data", data, "--count", "10"];
        [&words[..], &["--class", "all", "--steps", "1", "--out", &out]].concat()
    };
    fail(&place, &words(&other), &["--init-data", "has the classes d0, d1", "the model c0, c1"]);
    succeed(&words(&own));
}

#[cfg(unix)]
#[test]
fn named_pipes_do_not_hang_a_command() {
    let place = Place::new();
    let folder = pictures(&place, "pictures", &["a", "b"]);
    let pipe = format!("{folder}/a/pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let out = place.at("m.safetensors");
    fail(&place, &["import", &pipe, "--out", &out], &["pipe.png", "is not a regular file"]);
    fail(
        &place,
        &["score", "--model", &weights(), "--images", &pipe],
        &["pipe.png", "is not a regular file"],
    );
    // In a folder it is passed over.
    let printed = succeed(&["score", "--model", &weights(), "--images", &folder, "--no-labels"]);
    assert!(printed.contains("2 of"), "{printed}");
}

#[test]
fn values_that_no_network_has_are_refused_at_import() {
    let place = Place::new();
    let fixture = crate::foreign::file_of(&place, "resnet.safetensors", "resnet-8", str::to_owned);
    let out = place.at("m.safetensors");
    let changed = |name: &str, change: &dyn Fn(&mut Checkpoint)| {
        let mut file = Checkpoint::load(Path::new(&fixture)).expect("a file");
        change(&mut file);
        file.save(Path::new(&place.at(name))).expect("a file");
        place.at(name)
    };
    let negative = changed("negative.safetensors", &|file| {
        let tensor =
            file.tensors.iter_mut().find(|(name, ..)| name.ends_with("bn1.running_var")).expect("a variance");
        let Elements::F32(values) = &mut tensor.2 else { panic!("floats") };
        values[1] = -0.5;
    });
    fail(&place, &["import", &negative, "--out", &out], &["bn1.running_var", "element 1 is -0.5"]);
    // `net` stands for `net.`
    let under = changed("under.safetensors", &|file| {
        file.tensors.iter_mut().for_each(|(name, ..)| *name = format!("net.{name}"));
    });
    succeed(&["import", &under, "--prefix", "net", "--out", &out]);
    let one = changed("one.safetensors", &|file| {
        for (name, shape, elements) in &mut file.tensors {
            if name.starts_with("linear.") || name.starts_with("fc.") {
                let Elements::F32(values) = elements else { panic!("floats") };
                values.truncate(values.len() / shape[0]);
                shape[0] = 1;
            }
        }
    });
    fail(&place, &["import", &one, "--classes", "cifar10", "--out", &out], &["--classes", "one output"]);
}

#[test]
fn channels_that_pictures_lack_are_told_before_the_work() {
    let place = Place::new();
    let of_channels = |channels: usize| {
        place.changed_model(&format!("{channels}.safetensors"), |file| {
            let weights = file.tensors.iter_mut().find(|(name, ..)| name == "f.conv1.weight");
            let (_, shape, elements) = weights.expect("the first convolution");
            let Elements::F32(values) = elements else { panic!("floats") };
            let plane = shape[2] * shape[3];
            let filters = values.chunks(shape[1] * plane);
            *values = filters.flat_map(|filter| filter[..channels * plane].to_vec()).collect();
            shape[1] = channels;
        })
    };
    let out = place.at("drawn");
    fail(&place, &["sample", "--model", &of_channels(2), "--steps", "1", "--out", &out], &["2 channels"]);
    // A size does not add channels.
    let folder = pictures(&place, "pictures", &["a"]);
    let words = ["score", "--model", &of_channels(1), "--images", &folder, "--no-labels"];
    let output = jem(&words).output().expect("jem starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !stderr.contains("--size"), "{stderr}");
}
