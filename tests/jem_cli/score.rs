//! `jem score`.

use crate::support::*;
use jem::io::checkpoint::Checkpoint;
use jem::io::elements::Elements;
use jem::io::png;
use jem::nn::architecture::Architecture;
use std::path::Path;

/// Scores `x_p` with `flags`; returns the arrays written.
fn score(place: &Place, flags: &[&str]) -> std::collections::BTreeMap<String, jem::io::elements::Array> {
    let (model, x, out) = (weights(), place.x_p(), place.at("scores.npz"));
    succeed(&[&["score", "--model", &model, "--images", &x, "--out", &out], flags].concat());
    arrays(&out)
}

#[test]
fn scores_are_those_of_the_published_model() {
    for device in devices() {
        let place = Place::new();
        // Batches of 4 and of 2.
        let scores = score(&place, &["--device", &device, "--input-gradient", "--batch", "4"]);
        let names: Vec<&str> = scores.keys().map(String::as_str).collect();
        let expected =
            ["dlogsumexp_dx", "entropy", "input_gradient_norm", "logits", "logsumexp", "prediction"];
        assert_eq!(names, [&expected[..], &["probabilities"]].concat());
        for (name, shape, bound) in [
            ("logits", vec![N, 10], LOGITS),
            ("logsumexp", vec![N], LOGITS),
            ("probabilities", vec![N, 10], LOGITS),
            ("dlogsumexp_dx", vec![N, 3, SIDE, SIDE], GRADIENT),
        ] {
            assert_eq!(scores[name].shape, shape, "{name}");
            assert!(matches!(scores[name].elements, Elements::F32(_)), "{name}");
            assert_near(&format!("{name} on {device}"), &numbers(&scores[name]), &case(name), bound);
        }
        let norms: Vec<f64> = case("dlogsumexp_dx").chunks(IMAGE).map(norm).collect();
        assert_near("norms", &numbers(&scores["input_gradient_norm"]), &norms, GRADIENT);
        let p = case("probabilities");
        let entropy: Vec<f64> =
            p.chunks(10).map(|row| -row.iter().map(|p| p * p.ln()).sum::<f64>()).collect();
        assert_near("entropy", &numbers(&scores["entropy"]), &entropy, LOGITS);
        let prediction: Vec<f64> = case("logits").chunks(10).map(|row| best(row) as f64).collect();
        assert_eq!(numbers(&scores["prediction"]), prediction);
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn best(row: &[f64]) -> usize {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).expect("a class")
}

#[test]
fn a_temperature_is_that_of_the_gibbs_distribution() {
    let place = Place::new();
    let logits = case("logits");
    let t = 2.5;
    let mut softened = Vec::new();
    let mut free = Vec::new();
    for row in logits.chunks(10) {
        let z: f64 = row.iter().map(|f| (f / t).exp()).sum();
        softened.extend(row.iter().map(|f| (f / t).exp() / z));
        free.push(t * z.ln());
    }
    let hot = score(&place, &["--temperature", "2.5", "--input-gradient"]);
    assert_near("p(y|x)", &numbers(&hot["probabilities"]), &softened, LOGITS);
    assert_near("logsumexp", &numbers(&hot["logsumexp"]), &free, LOGITS);
    assert_near("logits", &numbers(&hot["logits"]), &logits, LOGITS);
    assert_eq!(score(&place, &["--beta", "0.4", "--input-gradient"]), hot);
    // The gradient is that of LogSumExp at this temperature, so it differs from the one at temperature 1.
    let cold = score(&place, &["--input-gradient"]);
    let apart = error(&numbers(&hot["dlogsumexp_dx"]), &numbers(&cold["dlogsumexp_dx"]));
    assert!(apart > 0.01, "the temperature changes the gradient by {apart:e}");
    // A finite difference along the gradient.
    let gradient = numbers(&hot["dlogsumexp_dx"]);
    let step = 1e-2 / norm(&gradient);
    let before = case("x_p");
    let moved = before.iter().zip(&gradient).map(|(x, g)| (x + step * g).clamp(-1.0, 1.0) as f32);
    let (x, out) = (place.floats("moved.npy", &[N, 3, SIDE, SIDE], moved.collect()), place.at("moved.npz"));
    let before: f64 = numbers(&hot["logsumexp"]).iter().sum();
    let words = ["--images", &x, "--out", &out, "--temperature", "2.5"];
    succeed(&[&["score", "--model", &weights()], &words[..]].concat());
    let after: f64 = numbers(&arrays(&out)["logsumexp"]).iter().sum();
    let (found, expected) = (after - before, step * gradient.iter().map(|g| g * g).sum::<f64>());
    assert!((found / expected - 1.0).abs() < 0.1, "rose by {found:e}, expected {expected:e}");
}

#[test]
fn rows_of_csv_are_the_arrays() {
    let place = Place::new();
    let labels: Vec<i64> = case("y_cond").iter().map(|&y| y as i64).collect();
    let labels = place.array("y.npy", &[N], Elements::I64(labels));
    let flags = ["--labels", &labels, "--input-gradient", "--top", "3", "--threshold", "1"];
    let scores = score(&place, &flags);
    let out = place.at("scores.csv");
    let (model, x) = (weights(), place.x_p());
    succeed(&[&["score", "--model", &model, "--images", &x, "--out", &out], &flags[..]].concat());
    let csv = std::fs::read_to_string(&out).expect("rows");
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let rows: Vec<Vec<f64>> =
        lines.map(|line| line.split(',').map(|field| field.parse().expect(field)).collect()).collect();
    assert!(rows.len() == N && rows.iter().all(|row| row.len() == header.len()), "{csv}");
    let column = |name: &str| -> Vec<f64> {
        let place = header.iter().position(|&column| column == name);
        let place = place.unwrap_or_else(|| panic!("no column {name} in {header:?}"));
        rows.iter().map(|row| row[place]).collect()
    };
    let near = |name: &str, values: &[f64]| {
        for (found, value) in column(name).iter().zip(values) {
            approx::assert_relative_eq!(found, value, max_relative = 1e-6, epsilon = 1e-12);
        }
    };
    let of = |array: &str, k: usize| -> Vec<f64> {
        let array = &scores[array];
        numbers(array).into_iter().skip(k).step_by(array.shape.get(1).copied().unwrap_or(1)).collect()
    };
    near("image", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    near("label", &of("labels", 0));
    for name in ["prediction", "correct", "logsumexp", "entropy", "input_gradient_norm", "verdict"] {
        near(name, &of(name, 0));
    }
    for class in 0..10 {
        near(&format!("logit_{class}"), &of("logits", class));
        near(&format!("p_{class}"), &of("probabilities", class));
    }
    for rank in 0..3 {
        near(&format!("rank_{}", rank + 1), &of("ranking", rank));
    }
}

#[test]
fn labels_give_the_accuracy() {
    let place = Place::new();
    let (model, x) = (weights(), place.x_p());
    let prediction: Vec<i64> = case("logits").chunks(10).map(|row| best(row) as i64).collect();
    let mut labels = prediction;
    labels[1] = (labels[1] + 1) % 10;
    labels[4] = (labels[4] + 3) % 10;
    let labels = place.array("y.npy", &[N], Elements::I64(labels));
    let (out, words) = (place.at("scores.npz"), ["score", "--model", &model, "--images", &x]);
    let labelled = [&words[..], &["--labels", &labels]].concat();
    let facts = facts(&[&labelled[..], &["--out", &out]].concat());
    approx::assert_relative_eq!(facts["accuracy"].as_f64().expect("an accuracy"), 4.0 / 6.0);
    assert_eq!(numbers(&arrays(&out)["correct"]), [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]);
    let printed = succeed(&labelled);
    assert!(printed.contains("accuracy") && printed.contains("66.67%"), "{printed}");
    assert!(!succeed(&words).contains("accuracy"));
}

#[test]
fn four_ways_of_using_an_energy_are_printed() {
    let place = Place::new();
    let (model, x) = (weights(), place.x_p());
    let logits = case("logits");
    let (first, p) = (&logits[..10], case("probabilities"));
    let print = |flags: &[&str]| {
        let printed = succeed(&[&["score", "--model", &model, "--images", &x], flags].concat());
        printed.lines().next().expect("a line").to_owned()
    };
    let class = best(first);
    let predicted = print(&["--predict"]);
    let energy = format!("{class} energy {:.4}", -first[class]);
    assert!(predicted.starts_with("0 ") && predicted.contains(&energy), "{energy}: {predicted}");

    let mut order: Vec<usize> = (0..10).collect();
    order.sort_by(|&a, &b| first[b].total_cmp(&first[a]));
    let ranked = order[..3].iter().map(|&k| format!("{k} {:.4}", -first[k])).collect::<Vec<_>>().join(", ");
    let line = print(&["--top", "3"]);
    assert!(line.contains(&ranked), "{ranked}: {line}");

    let logsumexp = case("logsumexp");
    let line = print(&["--threshold", &(logsumexp[0] - 0.01).to_string()]);
    assert!(line.contains(&format!(" in (logsumexp {:.4})", logsumexp[0])), "{line}");
    let line = print(&["--threshold", &(logsumexp[0] + 0.01).to_string()]);
    assert!(line.contains(&format!(" out (logsumexp {:.4})", logsumexp[0])), "{line}");

    let line = print(&["--conditional"]);
    for (k, p) in p[..10].iter().enumerate() {
        assert!(line.contains(&format!("{k} {p:.4}")), "class {k}: {line}");
    }
}

#[test]
fn a_threshold_is_fitted_to_a_quantile() {
    let place = Place::new();
    let (model, x, data) = (weights(), place.x_p(), place.digits(40));
    let out = place.at("scores.npz");
    let digits = ["score", "--model", &model, "--images", "mnist:test", "--data-dir", &data, "--out", &out];
    let facts_of_digits = facts(&digits);
    assert_eq!(facts_of_digits["images"], 40);
    let mut densities = numbers(&arrays(&out)["logsumexp"]);
    densities.sort_by(f64::total_cmp);
    // NumPy's quantile 0.3 of 40 values lies 0.7 of the distance from the 12th to the 13th.
    let threshold = densities[11] + 0.7 * (densities[12] - densities[11]);
    let fit = ["--threshold-quantile", "0.3", "--threshold-on", "mnist:test", "--data-dir", &data];
    let facts = facts(&[&["score", "--model", &model, "--images", &x, "--out", &out], &fit[..]].concat());
    approx::assert_relative_eq!(
        facts["threshold"].as_f64().expect("a threshold"),
        threshold,
        max_relative = 1e-5
    );
    let verdict: Vec<f64> =
        case("logsumexp").iter().map(|&density| f64::from(u8::from(density >= threshold))).collect();
    assert_eq!(numbers(&arrays(&out)["verdict"]), verdict);
    approx::assert_relative_eq!(
        facts["in_distribution"].as_f64().expect("a share"),
        verdict.iter().sum::<f64>() / N as f64
    );
}

#[test]
fn bytes_a_folder_and_a_named_set_are_scored_alike() {
    let place = Place::new();
    let model = weights();
    let bytes: Vec<u8> = (0..4 * IMAGE).map(|i| (i * 31 / (1 + i % 5) % 256) as u8).collect();
    let of = |images: &str, more: &[&str]| {
        let out = place.at("scores.npz");
        succeed(&[&["score", "--model", &model, "--images", images, "--out", &out], more].concat());
        arrays(&out)
    };
    let array = of(&place.array("bytes.npy", &[4, SIDE, SIDE, 3], Elements::U8(bytes.clone())), &[]);
    for (i, image) in bytes.chunks(IMAGE).enumerate() {
        // Two classes by sub-folder: they have labels, but not those of the model.
        let folder = Path::new(&place.at("photos")).join(["cat", "dog"][i / 2]);
        std::fs::create_dir_all(&folder).expect("a directory");
        let (values, picture): (Vec<f32>, _) =
            (image.iter().map(|&b| f32::from(b) / 127.5 - 1.0).collect(), folder.join(format!("{i}.png")));
        let buffer = image::RgbImage::from_raw(SIDE as u32, SIDE as u32, image.to_vec());
        buffer.expect("an image").save(&picture).expect("a file");
        assert_eq!(png::to_byte(values[5]), image[5]);
    }
    let folder = of(&place.at("photos"), &["--no-labels"]);
    assert_eq!(folder["logits"], array["logits"]);
    let csv = place.at("scores.csv");
    let words = ["--images", &place.at("photos"), "--no-labels", "--out", &csv];
    succeed(&[&["score", "--model", &model], &words[..]].concat());
    let csv = std::fs::read_to_string(&csv).expect("rows");
    assert!(csv.lines().nth(3).is_some_and(|line| line.contains("2.png,")), "{csv}");

    // Grey digits of 28x28 are padded with black.
    let data = place.digits(3);
    let set = of("mnist:test", &["--data-dir", &data]);
    assert_eq!((set["logits"].shape.clone(), set["correct"].shape.clone()), (vec![3, 10], vec![3]));
    let unlabelled = of("mnist:test", &["--data-dir", &data, "--no-labels"]);
    assert!(!unlabelled.contains_key("correct") && unlabelled["logits"] == set["logits"]);
    // The environment variable works, too.
    let mut command = jem(&["score", "--model", &model, "--images", "mnist:test", "--json"]);
    let output = command.env("JEM_DATA", &data).output().expect("the command starts");
    let facts: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(facts["images"], 3);
}

#[test]
fn drawings_are_scored_by_name() {
    let place = Place::new();
    let model = weights();
    let of_drawings = ["score", "--model", &model, "--images", "synthetic:test", "--batch", "1000"];
    let facts = facts(&of_drawings);
    assert_eq!((&facts["images"], &facts["images_from"]), (&10_000.into(), &"SYNTHETIC shapes test".into()));
    assert!(facts["accuracy"].is_number(), "{facts}");
    for images in ["synthetic:extra", "nowhere:test"] {
        fail(
            &place,
            &["score", "--model", &model, "--images", images],
            &[images, "synthetic:test", "no such"],
        );
    }
}

#[test]
fn values_far_outside_the_range_are_scored_when_allowed() {
    let place = Place::new();
    let (model, out) = (weights(), place.at("scores.npz"));
    let scaled = |factor: f32| case("x_p").iter().map(|&v| factor * v as f32).collect();
    // Unclamped chains exceed the range slightly; images scaled for another program exceed it by far.
    let x = place.floats("chains.npy", &[N, 3, SIDE, SIDE], scaled(1.5));
    succeed(&["score", "--model", &model, "--images", &x]);
    let x = place.floats("wide.npy", &[N, 3, SIDE, SIDE], scaled(2.5));
    let words = ["score", "--model", &model, "--images", &x, "--out", &out];
    fail(&place, &words, &["wide.npy", "[-1, 1]", "--any-range"]);
    succeed(&[&words[..], &["--any-range"]].concat());
    assert_eq!(arrays(&out)["logits"].shape, [N, 10]);
}

#[test]
fn batch_norm_takes_its_statistics_as_asked() {
    let place = Place::new();
    let (model, x, out) = (place.at("bn.safetensors"), place.x_p(), place.at("scores.npz"));
    let architecture: Architecture = "wrn-10-1-bn".parse().expect("an architecture");
    let mut file = Checkpoint::default();
    for (seed, parameter) in architecture.network().layout().in_files().enumerate() {
        let shape = parameter.file_shape();
        let value = |i: usize| ((i * 37 + seed * 11) % 101) as f32 / 505.0 - 0.1;
        // Variances and scales must be above 0.
        let above = if shape.len() == 1 { 0.5 } else { 0.0 };
        let values = (0..shape.iter().product()).map(|i| value(i) + above).collect();
        file.push_f32(parameter.name.clone(), &shape, values);
    }
    file.save(Path::new(&model)).expect("a file");
    let logits = |flags: &[&str]| {
        succeed(&[&["score", "--model", &model, "--images", &x, "--out", &out], flags].concat());
        numbers(&arrays(&out)["logits"])
    };
    let inference = logits(&[]);
    assert_eq!(logits(&["--norm-mode", "inference"]), inference);
    assert_near("one by one", &logits(&["--batch", "1"]), &inference, LOGITS);
    let training = logits(&["--norm-mode", "training"]);
    assert!(error(&training, &inference) > 1e-2, "the batch's own statistics change nothing");
    let pairs = logits(&["--norm-mode", "training", "--batch", "2"]);
    assert!(error(&pairs, &training) > 1e-3, "they are not those of the batch");
    misuse(&["score", "--model", &model, "--images", &x, "--norm-mode", "none"], &["--norm-mode", "none"]);
}

#[test]
fn facts_are_json_with_the_documented_keys() {
    let place = Place::new();
    let (model, x, out) = (weights(), place.x_p(), place.at("scores.npz"));
    let facts = facts(&["score", "--model", &model, "--images", &x, "--out", &out, "--threshold", "0"]);
    let keys: Vec<&str> = facts.as_object().expect("an object").keys().map(String::as_str).collect();
    let expected = [
        "device",
        "images",
        "images_from",
        "in_distribution",
        "mean_entropy",
        "mean_logsumexp",
        "model",
        "seconds",
        "threshold",
        "wrote",
    ];
    let mut sorted = keys;
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    let mean = case("logsumexp").iter().sum::<f64>() / N as f64;
    approx::assert_relative_eq!(facts["mean_logsumexp"].as_f64().expect("a mean"), mean, max_relative = 1e-5);
    assert_eq!(facts["wrote"], out.as_str());
}
