//! The short examples as programs, and their length in lines.

#[path = "common/small.rs"]
mod small;

use jem::device::Device;
use jem::ebm::Trainer;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The most lines of an example that a reader can take in at a glance.
const LINES: usize = 40;

/// The command that runs the example `name`, which `cargo test` builds beside the tests, in `folder`.
fn command(name: &str, folder: &Path) -> Command {
    let mut path = std::env::current_exe().expect("the test has a path");
    path.pop();
    path.pop();
    path.push(format!("examples/{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is not built: run cargo test without --test", path.display());
    let mut command = Command::new(path);
    command.current_dir(folder).env_remove("JEM_DEVICE").env("JEM_TUNED", "none");
    command
}

/// Runs the example `name` in `folder`; returns what it printed.
fn run(name: &str, arguments: &[&str], folder: &Path) -> String {
    let output = command(name, folder).args(arguments).output().expect("it starts");
    let [printed, errors] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
    assert!(output.status.success(), "{name}: {errors}");
    printed
}

/// The number after `label`.
fn number(printed: &str, label: &str) -> f64 {
    let (_, rest) = printed.split_once(label).unwrap_or_else(|| panic!("no {label:?} in {printed}"));
    let end = rest.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).unwrap_or(rest.len());
    rest[..end].parse().unwrap_or_else(|_| panic!("no number behind {label:?} in {printed}"))
}

#[test]
fn they_are_short() {
    for name in ["differentiate", "own_network", "own_energy", "score_and_sample"] {
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "examples", &format!("{name}.rs")].iter().collect();
        let lines = std::fs::read_to_string(&path).expect("the example").lines().count();
        assert!(lines <= LINES, "{name} has {lines} lines");
    }
}

#[test]
fn differentiate_prints_value_gradient_and_second_gradient() {
    let folder = tempfile::tempdir().expect("a directory");
    let printed = run("differentiate", &[], folder.path());
    // f = Σ ln(1 + exp(x W + b)) for the numbers of the example.
    let x = [[0.5, -1.0, 2.0], [0.0, 1.0, -0.5], [1.5, 0.3, -2.0], [0.1, 0.2, 0.3]];
    let w = [[0.2, -0.4], [0.6, 0.1], [-0.3, 0.5]];
    let logit = |row: &[f64; 3], j: usize| (0..3).map(|i| row[i] * w[i][j]).sum::<f64>() + [0.1, -0.1][j];
    let f: f64 = x.iter().flat_map(|row| [0, 1].map(|j| logit(row, j).exp().ln_1p())).sum();
    assert!((number(&printed, "\nf: [") - f).abs() < 1e-5, "{f}: {printed}");
    assert!(printed.contains("df/dx: [") && printed.contains("d|df/dx|²/dW: ["), "{printed}");
}

#[test]
fn an_energy_of_ones_own_learns_a_circle() {
    let folder = tempfile::tempdir().expect("a directory");
    let radius =
        number(&run("own_energy", &[], folder.path()), "mean radius of the samples (the circle's is 1): ");
    assert!((0.9..1.2).contains(&radius), "{radius}");
}

#[test]
fn a_network_of_ones_own_trains() {
    let folder = tempfile::tempdir().expect("a directory");
    let accuracy = number(&run("own_network", &[], folder.path()), "accuracy ");
    // Ten classes.
    assert!(accuracy > 25.0, "{accuracy}");
    assert!(folder.path().join("runs/own-network-1/report.html").exists());
}

#[cfg(unix)]
#[test]
fn a_network_of_ones_own_is_interrupted_with_a_checkpoint() {
    let folder = tempfile::tempdir().expect("a directory");
    let out = folder.path().join("runs/own-network-1");
    let mut child = command("own_network", folder.path());
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let begun =
        || std::fs::read_to_string(out.join("metrics.csv")).is_ok_and(|text| text.lines().count() > 2);
    for _ in 0..1200 {
        if begun() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    let output = child.wait_with_output().expect("it ends");
    assert!(killed.success() && output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).expect("text");
    assert!(printed.starts_with("accuracy NaN%, see "), "it has not been tested: {printed}");
    assert_eq!(std::fs::read_dir(out.join("checkpoints")).expect("checkpoints").count(), 1);
}

#[test]
fn a_model_scores_and_samples() {
    let folder = tempfile::tempdir().expect("a directory");
    let trainer = Trainer::new(&Device::cpu(), &small::recipe(), &small::pictures(20, 8)).expect("a trainer");
    let path = folder.path().join("model.safetensors");
    trainer.model().expect("a model").save(&path).expect("a file");
    let images = folder.path().join("images.npy");
    let bytes = jem::io::elements::Elements::U8((0..2 * 8 * 8 * 3).map(|i| (i * 7 % 256) as u8).collect());
    jem::io::npy::write(&images, &[2, 8, 8, 3], &bytes).expect("images");
    let arguments = [&path, &images].map(|path| path.to_str().expect("text"));
    let printed = run("score_and_sample", &arguments, folder.path());
    assert!(printed.contains("image 0: class ") && printed.contains("image 1: class "), "{printed}");
    let probability = number(&printed, "p = ");
    assert!((0.1..=1.0).contains(&probability), "{printed}");
    assert!(number(&printed, "energy ").is_finite());
    let picture = std::fs::read(folder.path().join("samples.png")).expect("the samples");
    assert!(picture.starts_with(b"\x89PNG"));
}

#[test]
fn two_moons_draws_a_density() {
    let folder = tempfile::tempdir().expect("a directory");
    let printed = run("two_moons", &["--iterations", "250", "--device", "cpu"], folder.path());
    assert!(number(&printed, "accuracy ") > 80.0, "{printed}");
    let picture = std::fs::read(folder.path().join("two_moons.png")).expect("the picture");
    assert!(picture.starts_with(b"\x89PNG"));
}
