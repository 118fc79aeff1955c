//! Pictures and arrays as people have them: formats, sizes, ranges, parts of folders, files of labels.

use crate::support::*;
use image::{Rgb, RgbImage};
use jem::io::elements::{Array, Elements};
use jem::io::npz;
use std::path::Path;
use std::process::Output;

/// Writes a picture of `width`x`height` that has no symmetry.
fn picture(place: &Place, name: &str, width: u32, height: u32) -> String {
    let path = place.at(name);
    std::fs::create_dir_all(Path::new(&path).parent().expect("a folder")).expect("a directory");
    let pixel = |x: u32, y: u32| Rgb([(x * 200 / width) as u8, (y * 200 / height) as u8, 90]);
    RgbImage::from_fn(width, height, pixel).save(&path).expect("a file");
    path
}

/// The output of `jem score` of the reference network on `images`, which must succeed.
fn score(images: &[&str], flags: &[&str]) -> Output {
    let model = weights();
    let words = [&["score", "--model", &model, "--images"][..], images, flags].concat();
    let output = jem(&words).output().expect("the command starts");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The notes on standard error, but for the one on what is guessed of the weights.
fn notes(output: &Output) -> Vec<String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let of_images = |line: &&str| !line.contains("the file does not tell everything");
    stderr.lines().filter(of_images).map(str::to_owned).collect()
}

#[test]
fn photographs_need_a_size_which_the_error_suggests() {
    let place = Place::new();
    picture(&place, "photos/cat/1.jpg", 50, 37);
    picture(&place, "photos/cat/2.JPEG", 32, 24);
    picture(&place, "photos/dog/3.webp", 37, 50);
    let photos = place.at("photos");
    let model = weights();
    let parts =
        ["--size: ", "found 3 sizes, from 32x24 to ", "37x50", "2.JPEG is 32x24", "--size 32 scales them"];
    fail(&place, &["score", "--model", &model, "--images", &photos], &parts);
    fail(&place, &["sample", "--model", &model, "--init", &photos, "--out", &place.at("out")], &parts);
    fail(&place, &["train", "--data", &photos, "--out", &place.at("run")], &parts);
    let output = score(&[&photos], &["--size", "32", "--no-labels"]);
    assert!(notes(&output).is_empty(), "{:?}", notes(&output));
    // Pictures of one size that is not the model's.
    picture(&place, "one/1.png", 40, 40);
    let one = place.at("one");
    fail(&place, &["score", "--model", &model, "--images", &one], &["[40, 40, 3]", "--size 32 scales them"]);
    score(&[&one], &["--size", "32"]);
    let x = place.x_p();
    fail(&place, &["score", "--model", &model, "--images", &x, "--size", "32"], &["--size", "is an array"]);
    misuse(&["score", "--model", &model, "--images", &one, "--size", "0"], &["--size", "1..=4096"]);
}

#[test]
fn a_run_remembers_how_its_images_are_read() {
    let place = Place::new();
    for class in ["1", "2", "10"] {
        for i in 0..10 {
            picture(&place, &format!("photos/{class}/{i}.png"), 12 + i, 12);
        }
    }
    let (photos, run) = (place.at("photos"), place.at("run"));
    let small = [
        "--recipe",
        "classifier",
        "--preset",
        "tiny",
        "--iterations",
        "1",
        "--validation",
        "3",
        "--batch",
        "8",
    ];
    let words = [&["train", "--data", &photos, "--size", "8", "--out", &run][..], &small].concat();
    let printed = succeed(&words);
    assert!(printed.contains("8x8x3, 3 classes"), "{printed}");
    assert!(printed.contains(&format!("--images {photos}:test --size 8\n")), "{printed}");
    let config = std::fs::read_to_string(place.at("run/config.toml")).expect("settings");
    assert!(config.contains(r#""size":8"#) && config.contains(r#""class_order":"natural""#), "{config}");
    succeed(&["train", "--resume", &run, "--iterations", "2"]);
    let words = ["train", "--resume", &run, "--size", "16"];
    fail(&place, &words, &["--resume", "--size 8", "--size 16"]);
    let test = format!("{photos}:test");
    // Its model repeats the size, too, wherever the file is and whatever the sizes of the pictures are.
    let model = place.at("model.safetensors");
    std::fs::copy(place.at("run/best.safetensors"), &model).expect("a file");
    let logits = |model: &str, images: &str, flags: &[&str]| {
        let out = place.at("scores.npz");
        let words = [&["score", "--model", model, "--images", images, "--out", &out][..], flags].concat();
        let output = jem(&words).output().expect("the command starts");
        assert!(output.status.success(), "{output:?}");
        let scaled = |note: &&String| note.contains("scaled to 8x8");
        (numbers(&arrays(&out)["logits"]), notes(&output).iter().filter(scaled).count())
    };
    let (expected, said) = logits(&run, &test, &["--size", "8"]);
    assert_eq!((expected.len(), said), (9, 0));
    for model in [&run, &model, &place.at("run/checkpoints/checkpoint-00000002.safetensors")] {
        let (found, said) = logits(model, &test, &[]);
        assert_eq!((found.len(), said), (9, 1), "{model}");
    }
    assert_eq!(logits(&model, &test, &[]), (expected, 1));
    picture(&place, "one/1.png", 40, 30);
    let (one, samples) = (place.at("one"), place.at("samples"));
    assert_eq!(logits(&model, &one, &[]).0.len(), 3);
    let start = ["--init", &photos, "--steps", "0", "--count", "1", "--out", &samples];
    succeed(&[&["sample", "--model", &model][..], &start].concat());
    let further = place.at("further");
    let words = ["train", "--from", &model, "--data", &photos, "--out", &further];
    let printed = succeed(&[&words[..], &small].concat());
    assert!(printed.contains("scaled to 8x8") && printed.contains("8x8x3, 3 classes"), "{printed}");
    // For a model that does not record it, the error names the flag with the model's own size.
    let x = place.x_p();
    assert_eq!(logits(&weights(), &x, &[]).1, 0);
    let unknown = place.at("unknown.safetensors");
    let mut file = jem::io::checkpoint::Checkpoint::load(Path::new(&model)).expect("a file");
    assert_eq!(file.metadata.remove("picture_size").as_deref(), Some("8"));
    file.save(Path::new(&unknown)).expect("a file");
    let again = place.at("again");
    for words in [
        &["score", "--model", &unknown, "--images", &test][..],
        &["sample", "--model", &unknown, "--init", &photos, "--out", &again],
        &["train", "--from", &unknown, "--data", &photos, "--out", &again],
    ] {
        fail(&place, words, &["--size 8 scales them"]);
    }
    fail(&place, &["train", "--data", "synthetic", "--size", "8"], &["--size", "synthetic"]);
}

#[test]
fn files_are_named_where_they_are_wrong() {
    let place = Place::new();
    let (model, whole) =
        (weights(), std::fs::read(picture(&place, "photos/a.jpg", 200, 160)).expect("a file"));
    let photos = place.at("photos");
    let words = ["score", "--model", &model, "--images", &photos, "--size", "32"];
    std::fs::write(place.at("photos/b.JPG"), &whole[..whole.len() * 7 / 10]).expect("a file");
    fail(
        &place,
        &words,
        &["b.JPG: is truncated: it ends after", "--allow-truncated reads as far as it goes"],
    );
    let output = score(&[&photos], &["--size", "32", "--allow-truncated"]);
    assert!(notes(&output)[0].contains("1 truncated") && notes(&output)[0].contains("b.JPG"), "{output:?}");
    for (contents, part) in [("", "is empty"), ("a text", "does not begin as one")] {
        std::fs::write(place.at("photos/b.JPG"), contents).expect("a file");
        fail(&place, &words, &["b.JPG", part]);
    }
    std::fs::remove_file(place.at("photos/b.JPG")).expect("a file");
    std::fs::write(place.at("photos/c.heic"), "no image").expect("a file");
    let output = score(&[&photos], &["--size", "32"]);
    assert!(notes(&output)[0].contains("passed over 1 file: 1 .heic"), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("nor a labels.csv"), "{output:?}");
    assert!(notes(&score(&[&photos], &["--size", "32", "--quiet"])).is_empty());
}

#[test]
fn single_pictures_are_inputs() {
    let place = Place::new();
    let (a, b) = (picture(&place, "a.png", 32, 32), picture(&place, "b.jpg", 32, 32));
    let printed = String::from_utf8(score(&[&a], &["--predict"]).stdout).expect("text");
    assert!(printed.contains("a.png  "), "{printed}");
    let facts = facts(&["score", "--model", &weights(), "--images", &a, &b]);
    assert_eq!((facts["images"].as_u64(), facts["images_from"].as_str()), (Some(2), Some("2 files")));
    let x = place.x_p();
    fail(&place, &["score", "--model", &weights(), "--images", &a, &x], &["--images", "x.npy"]);
    succeed(&["sample", "--model", &weights(), "--init", &a, "--steps", "1", "--out", &place.at("out")]);
}

#[test]
fn ranges_are_asked_about() {
    let place = Place::new();
    let grey = |value: f32| vec![value; IMAGE];
    let half = place.floats("half.npy", &[1, 3, SIDE, SIDE], grey(0.25));
    let output = score(&[&half], &[]);
    assert!(notes(&output)[0].contains("0.25") && notes(&output)[0].contains("--range 0,1"), "{output:?}");
    let logits = |images: &str, flags: &[&str]| {
        let out = place.at("scores.npz");
        let output = score(&[images], &[&["--out", &out], flags].concat());
        assert!(notes(&output).is_empty(), "{output:?}");
        numbers(&arrays(&out)["logits"])
    };
    let right = place.floats("right.npy", &[1, 3, SIDE, SIDE], grey(-0.5));
    let expected = logits(&right, &[]);
    assert_eq!(logits(&half, &["--range", "0,1"]), expected);
    assert!(logits(&half, &["--range", "-1,1"]) != expected);
    let far = place.floats("far.npy", &[1, 3, SIDE, SIDE], grey(63.75));
    fail(&place, &["score", "--model", &weights(), "--images", &far], &["far.npy", "63.75", "--range 0,255"]);
    assert_eq!(logits(&far, &["--range", "0,255"]), expected);
    misuse(&["score", "--model", "m", "--images", &far, "--range", "1"], &["--range", "black and white"]);
}

#[test]
fn endings_may_be_in_any_case() {
    let place = Place::new();
    let (model, x) = (weights(), place.x_p());
    let upper = |from: &str, name: &str| {
        std::fs::rename(from, place.at(name)).expect("a file");
        place.at(name)
    };
    let out = |name: &str| place.at(name);
    for (first, second) in [("a.PT", "b.Pth"), ("a.SAFETENSORS", "b.SafeTensors"), ("a.NPZ", "b.Npz")] {
        succeed(&["export", "--model", &model, "--out", &out(first)]);
        succeed(&["export", "--model", &model, "--out", &out(second)]);
        if !first.ends_with("NPZ") {
            succeed(&["import", &out(first), "--out", &out("again.SafeTensors")]);
        }
    }
    fail(&place, &["import", &model, "--out", &out("x.PT")], &["--out", "jem export"]);
    let x = upper(&x, "X.NPY");
    for scores in ["s.NPZ", "s.CSV"] {
        succeed(&["score", "--model", &model, "--images", &x, "--out", &out(scores)]);
    }
    assert!(arrays(&out("s.NPZ")).contains_key("logits"));
    // Pictures, and the labels beside them.
    for (i, ending) in ["JPG", "Jpeg", "PNG", "WebP", "BMP", "Gif", "TIFF", "Ppm"].into_iter().enumerate() {
        let path = picture(&place, &format!("photos/{i}.{}", ending.to_lowercase()), 32, 32);
        upper(&path, &format!("photos/{i}.{ending}"));
    }
    let rows: String = (0..8).map(|i| format!("{i},{}\n", ["cat", "dog"][i % 2])).collect();
    std::fs::write(place.at("photos/LABELS.Csv"), format!("image,label\n{rows}")).expect("a file");
    std::fs::write(place.at("classes.TXT"), "cat\ndog\na\nb\nc\nd\ne\nf\ng\nh\n").expect("a file");
    let (photos, classes) = (place.at("photos"), place.at("classes.TXT"));
    let words = ["score", "--model", &model, "--images", &photos, "--classes", &classes];
    let found = facts(&words);
    assert!(found["images"] == 8 && found["accuracy"].is_number(), "{found}");
    let rows = upper(&place.at("photos/LABELS.Csv"), "ROWS.CSV");
    assert!(facts(&[&words[..], &["--labels", &rows]].concat())["accuracy"].is_number());
}

#[test]
fn an_npz_is_an_input() {
    let place = Place::new();
    let path = place.at("set.npz");
    let pixels = (0..2 * IMAGE).map(|i| (i % 251) as u8).collect();
    let images = Array { shape: vec![2, SIDE, SIDE, 3], elements: Elements::U8(pixels) };
    let labels = Array { shape: vec![2], elements: Elements::I64(vec![3, 1]) };
    npz::write(Path::new(&path), &[("x".into(), images), ("y".into(), labels)]).expect("a file");
    let output = score(&[&path], &["--json"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains(r#""accuracy":"#), "{output:?}");
    assert!(notes(&output)[0].contains("images are the array x, labels the array y"), "{output:?}");
}

#[test]
fn a_csv_of_labels_is_trained_on_and_scored_by() {
    let place = Place::new();
    let mut rows = "image,label\n".to_owned();
    for i in 0..20 {
        picture(&place, &format!("photos/{i}.png"), 8 + i % 2, 8);
        rows += &format!("{i},{}\n", ["cat", "dog"][i as usize % 2]);
    }
    std::fs::write(place.at("rows.csv"), rows).expect("a file");
    let (photos, rows, run) = (place.at("photos"), place.at("rows.csv"), place.at("run"));
    let small = [
        "--recipe",
        "classifier",
        "--preset",
        "tiny",
        "--iterations",
        "1",
        "--validation",
        "2",
        "--batch",
        "8",
    ];
    let data = ["--data", &photos, "--labels", &rows, "--size", "8"];
    let printed = succeed(&[&["train", "--out", &run][..], &data, &small].concat());
    assert!(printed.contains("18 training and 2 test images of 8x8x3, 2 classes"), "{printed}");
    let words = ["score", "--model", &run, "--images", &photos, "--size", "8", "--labels", &rows];
    assert!(facts(&words)["accuracy"].is_number());
    std::fs::write(place.at("rows.csv"), "image,label\n1.png,cat\n").expect("a file");
    fail(&place, &words, &["rows.csv", "no row for the image", "0.png"]);
}
