//! `jem sample`.

use crate::support::*;
use image::AnimationDecoder;
use image::codecs::gif::GifDecoder;
use serde_json::Value;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Samples with `flags` into `name`; returns the facts.
fn sample(place: &Place, name: &str, flags: &[&str]) -> Value {
    let (model, out) = (weights(), place.at(name));
    let model = if flags.contains(&"--model") { vec![] } else { vec!["--model", &model] };
    facts(&[&["sample", "--out", &out], &model[..], flags].concat())
}

fn samples(place: &Place, name: &str) -> Vec<f64> {
    read_npy(&place.at(&format!("{name}/samples.npy"))).1
}

/// Log densities, a row per step.
fn log_density(place: &Place, name: &str) -> Vec<Vec<f64>> {
    let (shape, values) = read_npy(&place.at(&format!("{name}/log_density.npy")));
    values.chunks(shape[1]).map(<[f64]>::to_vec).collect()
}

#[test]
fn a_step_without_noise_is_the_gradient_of_the_published_model() {
    for device in devices() {
        let place = Place::new();
        let x = place.x_p();
        let ascent =
            ["--init", &x, "--steps", "1", "--noise", "0", "--step-size", "100", "--device", &device];
        sample(&place, "p_x", &ascent);
        let moved = |name: &str| -> Vec<f64> {
            samples(&place, name)
                .iter()
                .zip(case("x_p"))
                .map(|(after, before)| (after - before) / 100.0)
                .collect()
        };
        assert_near(&format!("p(x) on {device}"), &moved("p_x"), &case("dlogsumexp_dx"), GRADIENT);
        assert_near("log p(x)", &log_density(&place, "p_x")[0], &case("logsumexp"), LOGITS);

        // p(x|y) of the class of one of the images.
        let (gradient, logit, y) = (case("dlogit_y_dx"), case("logit_y"), case("y_cond"));
        let i = 2;
        sample(&place, "p_x_y", &[&ascent[..], &["--class", &y[i].to_string()]].concat());
        let image = i * IMAGE..(i + 1) * IMAGE;
        assert_near("p(x|y)", &moved("p_x_y")[image.clone()], &gradient[image], GRADIENT);
        approx::assert_relative_eq!(log_density(&place, "p_x_y")[0][i], logit[i], max_relative = 1e-4);
    }
}

#[test]
fn chains_climb_and_leave_their_record() {
    let place = Place::new();
    let facts = sample(&place, "out", &["--count", "4", "--steps", "6", "--step-size", "20", "--film"]);
    let keys: Vec<&str> = facts.as_object().expect("an object").keys().map(String::as_str).collect();
    for key in ["model", "device", "samples", "steps", "start", "step_size", "noise", "wrote"] {
        assert!(keys.contains(&key), "no {key} in {keys:?}");
    }
    assert_eq!(
        (&facts["samples"], &facts["steps"], &facts["step_size"]),
        (&4.into(), &6.into(), &20.0.into())
    );
    let wrote: Vec<&str> =
        facts["wrote"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let names = ["samples.npy", "samples.png", "log_density.npy", "energies.png", "film.gif"];
    assert_eq!(wrote, names.map(|name| place.at(&format!("out/{name}"))));

    let (shape, values) = read_npy(&place.at("out/samples.npy"));
    assert_eq!(shape, [4, 3, SIDE, SIDE]);
    let rows = log_density(&place, "out");
    assert_eq!((rows.len(), rows[0].len()), (7, 4));
    let mean = |row: &[f64]| row.iter().sum::<f64>() / row.len() as f64;
    assert!(mean(&rows[6]) > mean(&rows[0]), "{rows:?}");
    approx::assert_relative_eq!(
        facts["mean_energy_at_the_end"].as_f64().expect("a mean"),
        -mean(&rows[6]),
        max_relative = 1e-5
    );

    // The scores of the samples equal the last row.
    let (model, x, out) = (weights(), place.at("out/samples.npy"), place.at("scores.npz"));
    succeed(&["score", "--model", &model, "--images", &x, "--out", &out, "--any-range"]);
    assert_near("log density", &rows[6], &numbers(&arrays(&out)["logsumexp"]), LOGITS);

    let grid = image::open(place.at("out/samples.png")).expect("a picture").into_rgb8();
    assert!(grid.width() == grid.height() && grid.width() > 2 * 2 * SIDE as u32, "{:?}", grid.dimensions());
    let byte = |value: f64| ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8;
    let corner = [values[0], values[SIDE * SIDE], values[2 * SIDE * SIDE]].map(byte);
    assert_eq!(grid.get_pixel(2, 2).0, corner);
    image::open(place.at("out/energies.png")).expect("a picture");
    let film = BufReader::new(File::open(place.at("out/film.gif")).expect("a film"));
    let frames = GifDecoder::new(film).expect("a film").into_frames().collect_frames().expect("frames");
    assert_eq!(frames.len(), 7, "the start and each step");
    assert_eq!(frames[0].buffer().dimensions(), grid.dimensions());
    // A film's 256 colours are near those of the picture.
    let near = |frame: &image::RgbaImage| {
        let apart = frame.pixels().zip(grid.pixels());
        let apart = apart.flat_map(|(a, b)| (0..3).map(move |c| f64::from(a.0[c].abs_diff(b.0[c]))));
        apart.sum::<f64>() / f64::from(3 * grid.width() * grid.height())
    };
    let (first, last) = (near(frames[0].buffer()), near(frames[6].buffer()));
    assert!(last < 12.0 && last < 0.9 * first, "the first frame is {first} away, the last {last}");

    sample(&place, "still", &["--count", "2", "--steps", "0"]);
    assert!(!place.names().iter().any(|name| name.ends_with("still/film.gif")));
    assert!(samples(&place, "still").iter().all(|value| value.abs() <= 1.0), "uniform noise in [-1, 1]");
}

#[test]
fn a_seed_is_a_set_of_samples() {
    let place = Place::new();
    let run = |name: &str, more: &[&str]| {
        sample(&place, name, &[&["--count", "3", "--steps", "2"], more].concat());
        samples(&place, name)
    };
    let first = run("a", &["--seed", "5"]);
    assert_eq!(run("b", &["--seed", "5"]), first);
    assert_ne!(run("c", &["--seed", "6"]), first);
    let chains: Vec<&[f64]> = first.chunks(IMAGE).collect();
    assert!(chains[0] != chains[1] && chains[1] != chains[2]);
}

#[test]
fn noise_and_bounds_are_what_the_flags_say() {
    let place = Place::new();
    let x = place.x_p();
    let run = |name: &str, more: &[&str]| -> Vec<f64> {
        sample(&place, name, &[&["--init", &x, "--steps", "1"], more].concat());
        samples(&place, name)
    };
    let moved = |after: &[f64]| -> Vec<f64> { after.iter().zip(case("x_p")).map(|(a, b)| a - b).collect() };
    let noise = moved(&run("noise", &["--step-size", "0", "--noise", "0.5"]));
    let deviation = (noise.iter().map(|v| v * v).sum::<f64>() / noise.len() as f64).sqrt();
    assert!((deviation - 0.5).abs() < 0.01, "the noise deviates by {deviation}");
    let clamped = run("clamped", &["--step-size", "0", "--noise", "0.5", "--clamp"]);
    assert!(clamped.iter().all(|v| v.abs() <= 1.0) && clamped.iter().any(|v| v.abs() == 1.0));
    let gradient = case("dlogsumexp_dx");
    let bound = gradient.iter().map(|g| g.abs()).fold(0.0, f64::max) / 10.0;
    let bounded = ["--step-size", "10", "--noise", "0", "--clamp-gradient", &bound.to_string()];
    let bounded = moved(&run("bounded", &bounded));
    let expected: Vec<f64> = gradient.iter().map(|g| 10.0 * g.clamp(-bound, bound)).collect();
    assert_near("the bounded gradient", &bounded, &expected, 1e-3);
}

#[test]
fn a_row_of_the_grid_is_a_class() {
    let place = Place::new();
    let facts = sample(&place, "out", &["--class", "all", "--count", "20", "--steps", "0"]);
    assert_eq!(facts["classes"], serde_json::json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
    let grid = image::open(place.at("out/samples.png")).expect("a picture");
    assert!(grid.height() > 4 * grid.width(), "{}x{}", grid.width(), grid.height());
    // Chains ascend the logit of the class of their row.
    let (model, out, x) = (weights(), place.at("scores.npz"), place.at("out/samples.npy"));
    succeed(&["score", "--model", &model, "--images", &x, "--out", &out]);
    let logits = numbers(&arrays(&out)["logits"]);
    let expected: Vec<f64> = (0..20).map(|i| logits[i * 10 + i / 2]).collect();
    assert_near("f(x)[y]", &log_density(&place, "out")[0], &expected, 1e-4);

    let three = sample(&place, "three", &["--class", "7,1,3", "--steps", "0", "--count", "6"]);
    assert_eq!(three["classes"], serde_json::json!([7, 1, 3]));
    fail(
        &place,
        &["sample", "--model", &model, "--out", &place.at("no"), "--class", "7,1,3", "--count", "5"],
        &["--count", "3 classes", "5"],
    );
}

#[test]
fn inpainting_holds_what_is_black_in_the_mask() {
    let place = Place::new();
    let x = place.x_p();
    let mask = image::GrayImage::from_fn(SIDE as u32, SIDE as u32, |column, row| {
        image::Luma([if column >= 8 && row < 20 { 255 } else { 0 }])
    });
    mask.save(place.at("mask.png")).expect("a file");
    let mask = place.at("mask.png");
    sample(&place, "out", &["--init", &x, "--inpaint", &mask, "--steps", "3", "--noise", "0.1"]);
    let before = case("x_p");
    for (i, (after, before)) in samples(&place, "out").iter().zip(&before).enumerate() {
        let (row, column) = (i / SIDE % SIDE, i % SIDE);
        let moves = column >= 8 && row < 20;
        assert_eq!(*after == f64::from(*before as f32), !moves, "element {i} at row {row}, column {column}");
    }
}

#[test]
fn chains_start_where_init_says() {
    let place = Place::new();
    let [best, checkpoint] = place.trained();
    // The replay buffer, in the order of the file.
    let still = ["--steps", "0", "--model", &checkpoint];
    let all = sample(&place, "buffer", &[&still[..], &["--init", "buffer"]].concat());
    assert_eq!(all["samples"], 40);
    let buffer = jem::io::checkpoint::Checkpoint::load(checkpoint.as_ref()).expect("a checkpoint");
    let chains = buffer.f32(checkpoint.as_ref(), "replay_buffer", &[40, 3, SIDE, SIDE]).expect("chains");
    let chains: Vec<f64> = chains.iter().map(|&v| f64::from(v)).collect();
    assert_eq!(samples(&place, "buffer"), chains);
    // A smaller number selects the chains with the most steps.
    let some = sample(&place, "some", &[&still[..], &["--init", "buffer", "--count", "3"]].concat());
    assert_eq!(some["start"], "3 of the 40 chains of the replay buffer with the most SGLD steps");
    let ages = buffer.f32(checkpoint.as_ref(), "chain_ages", &[40]).expect("ages");
    let found = samples(&place, "some");
    let at = |image: &[f64]| chains.chunks(IMAGE).position(|chain| chain == image).expect("a chain");
    let started: Vec<usize> = found.chunks(IMAGE).map(at).collect();
    assert!(started.is_sorted(), "{started:?}");
    let youngest = started.iter().map(|&i| ages[i]).fold(f32::INFINITY, f32::min);
    let older = ages.iter().filter(|age| **age > youngest).count();
    assert!(youngest > 0.0 && older < 3, "{started:?} of {ages:?}");

    // By default the chains of a replay buffer continue, for the steps of an iteration.
    let continued = sample(&place, "continued", &["--model", &best]);
    assert_eq!((&continued["samples"], &continued["steps"]), (&40.into(), &2.into()));
    assert_eq!(continued["start"], "all 40 chains of the replay buffer");
    let noise = sample(&place, "noise", &["--model", &best, "--init", "uniform", "--count", "2"]);
    assert_eq!((&noise["start"], &noise["steps"]), (&"uniform noise".into(), &100.into()));

    // The chains of p(x) have no class, so those of a class start anew.
    let of_class = ["--model", &best, "--class", "3", "--count", "2", "--steps", "1"];
    assert_eq!(sample(&place, "of_class", &of_class)["start"], "uniform noise");

    // The settings of training, unless flags replace them.
    let facts = sample(&place, "trained", &["--model", &best, "--count", "2", "--steps", "2"]);
    assert_eq!((&facts["step_size"], &facts["clamp"]), (&6.0.into(), &true.into()));
    assert!(samples(&place, "trained").iter().all(|v| v.abs() <= 1.0));
    let free = sample(&place, "free", &["--model", &best, "--count", "2", "--steps", "1", "--clamp=false"]);
    assert_eq!(free["clamp"], false);

    // A Gaussian per class: samples of a class of constant images are near these.
    let data = place.digits(60);
    let fitted = ["--init", "gaussians", "--init-data", "mnist:train", "--data-dir", &data, "--steps", "0"];
    sample(&place, "gaussians", &[&fitted[..], &["--count", "4", "--class", "3"]].concat());
    let set = sample(&place, "set", &["--init", "mnist:train", "--data-dir", &data, "--steps", "0"]);
    assert_eq!(set["samples"], 60);
    let corner = |name: &str| samples(&place, name)[..SIDE].to_vec();
    assert_eq!(corner("set"), vec![-1.0; SIDE], "digits lie on black");
    assert!(corner("gaussians").iter().all(|v| (v + 1.0).abs() < 0.05), "{:?}", corner("gaussians"));
}

#[test]
fn chains_of_a_class_are_those_of_its_part_of_the_buffer() {
    let place = Place::new();
    let (data, out) = (place.drawings("data", 40), place.at("run"));
    let words = ["train", "--data", &data, "--out", &out, "--recipe", "jem-class-conditional", "--quiet"];
    succeed(&[&words[..], &crate::train::SMALL].concat());
    let run =
        jem::io::checkpoint::Checkpoint::load(format!("{out}/best.safetensors").as_ref()).expect("a file");
    let chains = run.f32("best".as_ref(), "replay_buffer", &[40, 3, 8, 8]).expect("chains");
    let image = 3 * 8 * 8;
    let still = ["sample", "--model", &out, "--steps", "0", "--quiet"];
    let started = |name: &str, more: &[&str]| -> Vec<usize> {
        succeed(&[&still[..], &["--out", &place.at(name)], more].concat());
        let found = samples(&place, name);
        let same = |chain: &[f32], found: &[f64]| chain.iter().zip(found).all(|(&a, &b)| f64::from(a) == b);
        let at = |found| chains.chunks(image).position(|chain| same(chain, found)).expect("a chain");
        found.chunks(image).map(at).collect()
    };
    let all = started("all", &["--class", "all", "--count", "6"]);
    assert!(all[..3].iter().all(|i| *i < 20) && all[3..].iter().all(|i| *i >= 20), "{all:?}");
    assert_eq!(started("second", &["--class", "1", "--count", "3"]), all[3..]);
    assert_eq!(started("each", &["--class", "square"]), (20..40).collect::<Vec<_>>());
    fail(
        &place,
        &[&still[..], &["--class", "1", "--count", "21", "--out", &place.at("more")]].concat(),
        &["--count: expected at most 20, the chains of these classes in the replay buffer, got 21"],
    );
}

#[test]
fn more_chains_than_a_batch_are_sampled() {
    let place = Place::new();
    let facts = sample(&place, "out", &["--count", "70", "--steps", "1"]);
    assert_eq!(facts["samples"], 70);
    let values = samples(&place, "out");
    let mut chains: Vec<&[f64]> = values.chunks(IMAGE).collect();
    assert_eq!(chains.len(), 70);
    chains.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    assert!(chains.windows(2).all(|pair| pair[0] != pair[1]), "two chains are the same");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_it_at_once_and_leaves_earlier_samples_whole() {
    let (place, model) = (Place::new(), weights());
    sample(&place, "out", &["--count", "4", "--steps", "2"]);
    let contents = || {
        let read = |name: &str| std::fs::read(place.at(&format!("out/{name}"))).expect("a file");
        ["samples.npy", "samples.png", "log_density.npy", "energies.png"].map(read)
    };
    let before = contents();
    interrupted(&place.at("out"), &model);
    assert!(contents() == before);
    // A directory is created only with its first file.
    interrupted(&place.at("new/deep"), &model);
    assert!(!Path::new(&place.at("new")).exists());
}

/// Interrupts `jem sample` into `out` while it samples.
#[cfg(unix)]
fn interrupted(out: &str, model: &str) {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    let words = ["sample", "--model", model, "--out", out, "--count", "4", "--steps", "1000000"];
    let mut command = jem(&words);
    // A job in the background of a script inherits SIGINT as ignored.
    unsafe extern "C" {
        fn signal(number: i32, handler: usize) -> usize;
    }
    let default = || {
        // SAFETY: signal(2) takes numbers, and may be called between fork and exec.
        unsafe { signal(2, 0) };
        Ok(())
    };
    // SAFETY: the closure calls signal(2) alone.
    unsafe { command.pre_exec(default) };
    let mut child = command.spawn().expect("the command starts");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(child.try_wait().expect("its state").is_none(), "it samples");
    let started = std::time::Instant::now();
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    let status = child.wait().expect("it ends");
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    // A shell reports 130 = 128 + SIGINT.
    assert!(killed.expect("kill").success() && status.signal() == Some(2), "{status}");
}
