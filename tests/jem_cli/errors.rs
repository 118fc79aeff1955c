//! Every error is one line that names the file, the tensor or the flag, what was expected and what was found. Nothing
//! is written.

use crate::support::*;
use jem::io::elements::Elements;

/// A tensor of a file.
type Tensor = (String, Vec<usize>, Elements);

/// The arguments of `jem score`.
fn score<'a>(model: &'a str, images: &'a str) -> Vec<&'a str> {
    vec!["score", "--model", model, "--images", images]
}

#[test]
fn models_that_are_none() {
    let place = Place::new();
    let (x, out) = (place.x_p(), place.at("out.safetensors"));
    let edit = |name: &str, tensor: &str, change: &dyn Fn(&mut Tensor)| {
        place.changed_model(name, |file| {
            change(file.tensors.iter_mut().find(|t| t.0 == tensor).expect("the tensor"));
        })
    };
    let nan = edit("nan.safetensors", "f.layer2.0.conv2.bias", &|(_, _, elements)| {
        if let Elements::F32(values) = elements {
            values[3] = f32::NAN;
        }
    });
    let renamed = edit("renamed.safetensors", "f.conv1.bias", &|tensor| tensor.0 = "f.conv1.offset".into());
    let reshaped = edit("reshaped.safetensors", "f.layer3.0.conv1.weight", &|tensor| {
        tensor.1 = vec![64, 3, 3, 32];
    });
    let integers = edit("integers.safetensors", "class_output.bias", &|tensor| {
        tensor.2 = Elements::I64(vec![0; 10]);
    });
    let unknown =
        place.changed_model("unknown.safetensors", |file| file.push_f32("attention", &[2], vec![0.0; 2]));
    std::fs::write(place.at("text.safetensors"), "no model\n").expect("a file");
    std::fs::write(place.at("empty.safetensors"), "").expect("a file");
    let whole = std::fs::read(weights()).expect("the fixture");
    std::fs::write(place.at("half.safetensors"), &whole[..whole.len() / 2]).expect("a file");
    std::fs::create_dir(place.at("folder")).expect("a directory");
    for (model, parts) in [
        (nan, vec!["nan.safetensors", "f.layer2.0.conv2.bias", "element 3 is NaN", "finite"]),
        (renamed, vec!["renamed.safetensors", "expected tensor f.conv1.bias [16], found none"]),
        (reshaped, vec!["f.layer3.0.conv1.weight", "expected [64, 32, 3, 3], found [64, 3, 3, 32]"]),
        (integers, vec!["integers.safetensors", "class_output.bias", "expected floats", "I64"]),
        (unknown, vec!["unknown.safetensors", "unknown tensor attention [2]"]),
        (place.at("text.safetensors"), vec!["text.safetensors"]),
        (place.at("empty.safetensors"), vec!["empty.safetensors"]),
        (place.at("half.safetensors"), vec!["half.safetensors"]),
        (place.at("folder"), vec!["folder"]),
        (place.at("missing.safetensors"), vec!["missing.safetensors"]),
        (x.clone(), vec!["x.npy"]),
    ] {
        let model = model.as_str();
        fail(&place, &["info", model], &parts);
        fail(&place, &["import", model, "--out", &out], &parts);
        fail(&place, &["export", "--model", model, "--to", "npz", "--out", &out], &parts);
        fail(&place, &[&score(model, &x)[..], &["--out", &place.at("s.npz")]].concat(), &parts);
        fail(&place, &["sample", "--model", model, "--out", &place.at("samples")], &parts);
    }
}

#[test]
fn images_that_do_not_fit() {
    let place = Place::new();
    let (model, out) = (weights(), place.at("scores.npz"));
    place.floats("small.npy", &[2, 3, 16, 16], vec![0.0; 2 * 3 * 256]);
    place.floats("nan.npy", &[1, 3, SIDE, SIDE], vec![f32::NAN; IMAGE]);
    place.floats("flat.npy", &[2, 5], vec![0.0; 10]);
    place.array("integers.npy", &[1, 3, SIDE, SIDE], Elements::I64(vec![0; IMAGE]));
    std::fs::create_dir(place.at("none")).expect("a directory");
    std::fs::create_dir(place.at("corrupt")).expect("a directory");
    let picture = image::RgbImage::from_pixel(SIDE as u32, SIDE as u32, image::Rgb([1, 2, 3]));
    picture.save(place.at("corrupt/a.png")).expect("a file");
    let whole = std::fs::read(place.at("corrupt/a.png")).expect("the file");
    std::fs::write(place.at("corrupt/b.png"), &whole[..whole.len() - 20]).expect("a file");
    std::fs::write(place.at("broken.npy"), b"\x93NUMPY\x01\x00").expect("a file");
    for (images, parts) in [
        ("small.npy", vec!["small.npy", "[32, 32, 3]", "[16, 16, 3]"]),
        ("nan.npy", vec!["nan.npy", "NaN"]),
        ("flat.npy", vec!["flat.npy", "[N, C, H, W]", "[2, 5]"]),
        ("integers.npy", vec!["integers.npy", "I64"]),
        ("none", vec!["none", "expected JPEG, PNG"]),
        ("corrupt", vec!["b.png"]),
        ("broken.npy", vec!["broken.npy"]),
        ("missing.npy", vec!["missing.npy", "cifar10:test"]),
    ] {
        let images = place.at(images);
        fail(&place, &[&score(&model, &images)[..], &["--out", &out]].concat(), &parts);
        fail(&place, &["sample", "--model", &model, "--init", &images, "--out", &place.at("out")], &parts);
    }
    let data = place.at("nowhere");
    fail(
        &place,
        &[&score(&model, "svhn:test")[..], &["--data-dir", &data]].concat(),
        &["--data-dir", "nowhere"],
    );
    misuse(&[&score(&model, "svhn:test")[..], &["--data", &data]].concat(), &["--data", "--data-dir"]);
    fail(&place, &score(&model, "imagenet:test"), &["imagenet:test", "svhn:test"]);
}

#[test]
fn labels_that_do_not_fit() {
    let place = Place::new();
    let (model, x, out) = (weights(), place.x_p(), place.at("scores.npz"));
    let try_labels = |labels: &str, parts: &[&str]| {
        fail(&place, &[&score(&model, &x)[..], &["--labels", labels, "--out", &out]].concat(), parts);
    };
    try_labels(&place.array("short.npy", &[5], Elements::I64(vec![0; 5])), &["short.npy", "[6]", "[5]"]);
    let wrong = place.array("wrong.npy", &[N], Elements::I64(vec![0, 1, 2, 10, 4, 5]));
    try_labels(&wrong, &["wrong.npy", "label 3 is 10", "0 to 9"]);
    let negative = place.array("negative.npy", &[N], Elements::I64(vec![0, -1, 2, 3, 4, 5]));
    try_labels(&negative, &["negative.npy", "label 1 is -1"]);
    try_labels(&place.floats("floats.npy", &[N], vec![0.0; N]), &["floats.npy", "integers", "floats"]);
    try_labels(&place.at("missing.npy"), &["missing.npy"]);

    let (hundred, data) = (place.model_of(100), place.digits(4));
    let words = [&score(&hundred, "mnist:test")[..], &["--data-dir", &data, "--out", &out]].concat();
    // A set of other classes has no accuracy.
    let found = facts(&words);
    let note = found["labels"].as_str().expect("a note");
    assert!(note.contains("MNIST test has 10 classes, the model 100, so no accuracy"), "{note}");
    assert!(found.get("accuracy").is_none() && !arrays(&out).contains_key("correct"), "{found}");
    assert_eq!(arrays(&out)["logits"].shape, [4, 100]);
}

#[test]
fn places_that_cannot_be_written() {
    let place = Place::new();
    let (model, x) = (weights(), place.x_p());
    std::fs::write(place.at("file"), "").expect("a file");
    std::fs::create_dir(place.at("folder.npz")).expect("a directory");
    #[cfg(unix)]
    std::os::unix::fs::symlink("/dev/null", place.at("null.npz")).expect("a link");
    let commands = |out: &str| -> [Vec<String>; 3] {
        [
            vec!["import", &model, "--out", out],
            vec!["export", "--model", &model, "--to", "npz", "--out", out],
            [&score(&model, &x)[..], &["--out", out]].concat(),
        ]
        .map(|words| words.into_iter().map(str::to_owned).collect())
    };
    for (out, parts) in [
        (place.at("missing/out.npz"), ["--out", "missing"]),
        (place.at("file/out.npz"), ["--out", "file"]),
        (place.at("folder.npz"), ["--out", "folder.npz is a directory"]),
        ("/proc/out.npz".into(), ["--out", "/proc/out.npz"]),
        (place.at("null.npz"), ["--out", "null.npz: is not a regular file"]),
    ] {
        if out.starts_with("/proc") && !cfg!(target_os = "linux") || out.contains("null") && !cfg!(unix) {
            continue;
        }
        for words in commands(&out) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            fail(&place, &words, &parts);
        }
    }
    fail(
        &place,
        &[&score(&model, &x)[..], &["--out", &place.at("scores.txt")]].concat(),
        &["scores.txt", ".npz"],
    );
    let sample =
        |out: &str| vec!["sample".to_owned(), "--model".into(), model.clone(), "--out".into(), out.into()];
    for (out, part) in [(place.at("file"), "file"), (place.at("file/samples"), "file")] {
        let words = sample(&out);
        fail(&place, &words.iter().map(String::as_str).collect::<Vec<_>>(), &[part]);
    }
}

#[test]
fn flags_out_of_range() {
    let place = Place::new();
    let [model, checkpoint] = place.trained();
    let x = place.x_p();
    let try_score = |flags: &[&str], parts: &[&str]| {
        let out = place.at("scores.npz");
        fail(&place, &[&score(&model, &x)[..], &["--out", &out], flags].concat(), parts);
    };
    try_score(&["--device", "gpu:no such adapter"], &["no such adapter"]);
    try_score(&["--top", "11"], &["--top", "1 to 10", "11"]);
    try_score(&["--top", "0"], &["--top", "0"]);
    try_score(&["--batch", "0"], &["--batch"]);
    try_score(&["--temperature", "0"], &["--temperature", "above 0"]);
    try_score(&["--beta", "inf"], &["--beta", "inf"]);
    try_score(&["--threshold", "nan"], &["--threshold", "NaN"]);
    try_score(
        &["--threshold-quantile", "1.5", "--threshold-on", &x],
        &["--threshold-quantile", "0 to 1", "1.5"],
    );
    try_score(
        &["--threshold-quantile", "0.5", "--threshold-on", &place.at("missing.npy")],
        &["--threshold-on", "missing.npy"],
    );
    fail(&place, &["info", &model, "--batch", "0"], &["--batch", "1 to 10000"]);
    fail(&place, &["info", &model, "--batch", "1000000000000"], &["--batch", "1 to 10000"]);
    let out = place.at("out.safetensors");
    fail(&place, &["import", &model, "--mean", "0.5", "--std", "0.2", "--out", &out], &["--mean", "3", "1"]);
    fail(
        &place,
        &["import", &model, "--mean", "0,0,0", "--std", "1,0,1", "--out", &out],
        &["--std", "above 0", "0"],
    );
    fail(&place, &["devices", "--test", "gpu:no such adapter"], &["no such adapter"]);

    let try_sample = |flags: &[&str], parts: &[&str]| {
        let out = place.at("deep/samples");
        fail(&place, &[&["sample", "--model", &checkpoint, "--out", &out], flags].concat(), parts);
    };
    try_sample(&["--class", "10"], &["--class", "0 to 9", "10"]);
    try_sample(&["--class", "cat"], &["--class", "cat"]);
    try_sample(&["--class", "3,1,3"], &["--class", "each class once", "class 3 twice (\"3\")", "--count"]);
    try_sample(&["--class", "3,03"], &["class 3 twice (\"3\" and \"03\")"]);
    try_sample(&["--count", "0"], &["--count"]);
    let chains = "--count: expected at most 40, the chains of the replay buffer, got 41";
    try_sample(&["--init", "buffer", "--count", "41"], &[chains]);
    try_sample(&["--init", &x, "--count", "7"], &["--count", "at most 6, the images of ", "x.npy, got 7"]);
    try_sample(&["--step-size", "nan"], &["--step-size", "NaN"]);
    try_sample(&["--noise=-1"], &["--noise", "-1"]);
    try_sample(&["--batch", "0"], &["--batch"]);
    try_sample(&["--clamp-gradient=-1"], &["--clamp-gradient", "-1"]);
    try_sample(&["--device", "gpu:no such adapter"], &["no such adapter"]);
    let bufferless = weights();
    let words = ["sample", "--model", &bufferless, "--out", &place.at("samples")];
    let buffer = [&words[..], &["--init", "buffer"]].concat();
    fail(&place, &buffer, &["weights.safetensors", "no replay buffer"]);
    let leap = [&words[..], &["--step-size", "1e38", "--count", "2"]].concat();
    fail(&place, &leap, &["--step-size", "chain", "diverged", "--clamp"]);

    image::GrayImage::new(16, 32).save(place.at("narrow.png")).expect("a file");
    image::GrayImage::new(32, 32).save(place.at("mask.png")).expect("a file");
    std::fs::write(place.at("text.png"), "no picture").expect("a file");
    let try_mask =
        |mask: &str, parts: &[&str]| try_sample(&["--init", &x, "--inpaint", &place.at(mask)], parts);
    try_mask("narrow.png", &["narrow.png", "32x32", "16x32"]);
    try_mask("text.png", &["text.png"]);
    try_mask("missing.png", &["missing.png"]);
    try_mask("mask.png", &["mask.png", "holds every pixel"]);
    try_sample(&["--inpaint", &place.at("mask.png")], &["--inpaint", "--init"]);
}

#[test]
fn words_that_are_not_understood_end_with_2() {
    let (model, x) = (weights(), "x.npy");
    misuse(&[&score(&model, x)[..], &["--device", "cuda"]].concat(), &["--device", "cuda", "gpu:NAME"]);
    misuse(&[&score(&model, x)[..], &["--threshold-quantile", "0.1"]].concat(), &["--threshold-on"]);
    misuse(&[&score(&model, x)[..], &["--beta", "1", "--temperature", "2"]].concat(), &["--temperature"]);
    misuse(&["import", "a.pt", "--mean", "1", "--out", "b"], &["--std"]);
    let (model, place) = (weights(), Place::new());
    let import = ["import", &model, "--out"];
    fail(&place, &[&import[..], &[&place.at("model.pt")]].concat(), &["--out", "jem export", ".pt"]);
    let bytes = ["--mean", "123.7,116.3,103.5", "--std", "58.4,57.1,57.4"];
    let out = place.at("model.safetensors");
    let words = [&import[..], &[&out], &bytes].concat();
    fail(&place, &words, &["mean", "123.7", "divide by 255"]);
    misuse(&["export", "--model", "a", "--to", "onnx", "--out", "b"], &["onnx", "npz"]);
    misuse(&["sample", "--model", "a"], &["--out"]);
    misuse(&["trian"], &["trian", "train"]);
    misuse(&[], &["Usage"]);
}

/// The reader of standard output leaves before the first line; the command writes its file nevertheless.
#[cfg(unix)]
#[test]
fn a_reader_who_leaves_costs_no_file() {
    use std::process::Stdio;
    let place = Place::new();
    let (model, x) = (weights(), place.x_p());
    let at = |name: &str| place.at(name);
    let (npz, csv, samples, imported, exported) =
        (at("scores.npz"), at("scores.csv"), at("samples"), at("model.safetensors"), at("model.npz"));
    let score = ["score", "--model", &model, "--images", &x, "--predict", "--top", "2", "--out"];
    for (words, file) in [
        ([&score[..], &[&npz]].concat(), &npz),
        ([&score[..], &[&csv, "--json"]].concat(), &csv),
        (
            vec!["sample", "--model", &model, "--steps", "1", "--count", "1", "--out", &samples],
            &at("samples/samples.npy"),
        ),
        (vec!["import", &model, "--out", &imported], &imported),
        (vec!["export", "--model", &model, "--to", "npz", "--out", &exported], &exported),
    ] {
        let mut child =
            jem(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(std::path::Path::new(file).is_file(), "{words:?} wrote no {file}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_who_leaves_is_no_error() {
    use std::io::Read;
    use std::process::Stdio;
    let model = weights();
    for words in [&["completions", "bash"][..], &["info", &model], &["devices"], &["score", "--help"]] {
        let mut child =
            jem(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("text");
        child.wait().expect("it ends");
        assert_eq!(stderr, "", "{words:?}");
    }
}
