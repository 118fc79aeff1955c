//! Runs the command, and makes small models and images for it.

use jem::device::Device;
use jem::ebm::{Recipe, RunOptions, run};
use jem::io::checkpoint::Checkpoint;
use jem::io::elements::{Array, Elements};
use jem::io::{npy, npz};
use jem::nn::layers::Layered;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

/// The bound on float32 rounding of logits and energies, as ||a - b|| / ||b||.
pub const LOGITS: f64 = 1e-5;
/// The bound on float32 rounding of gradients.
pub const GRADIENT: f64 = 1e-4;
/// The number of images of the reference case.
pub const N: usize = 6;
/// The number of rows and of columns of an image.
pub const SIDE: usize = 32;
/// The number of elements of an image.
pub const IMAGE: usize = 3 * SIDE * SIDE;

/// A temporary directory for a test, with files for the command.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    /// The path of `name` in it.
    pub fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// The names of all files and directories in it, recursively.
    pub fn names(&self) -> Vec<PathBuf> {
        fn below(directory: &Path, names: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(directory).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    below(&path, names);
                }
                names.push(path);
            }
        }
        let mut names = Vec::new();
        below(self.0.path(), &mut names);
        names.sort();
        names
    }

    /// Writes the images `x_p` of the reference case.
    pub fn x_p(&self) -> String {
        self.floats("x.npy", &[N, 3, SIDE, SIDE], case("x_p").iter().map(|&v| v as f32).collect())
    }

    pub fn floats(&self, name: &str, shape: &[usize], values: Vec<f32>) -> String {
        self.array(name, shape, Elements::F32(values))
    }

    pub fn array(&self, name: &str, shape: &[usize], elements: Elements) -> String {
        npy::write(Path::new(&self.at(name)), shape, &elements).expect("a file");
        self.at(name)
    }

    /// Writes `name`, the reference network after `change` to its tensors.
    pub fn changed_model(&self, name: &str, change: impl FnOnce(&mut Checkpoint)) -> String {
        let mut file = Checkpoint::load(Path::new(&weights())).expect("the fixture");
        change(&mut file);
        file.save(Path::new(&self.at(name))).expect("a file");
        self.at(name)
    }

    /// A model for `classes` classes.
    pub fn model_of(&self, classes: usize) -> String {
        self.changed_model(&format!("{classes}-classes.safetensors"), |file| {
            for (name, shape, elements) in &mut file.tensors {
                if name.starts_with("class_output.") {
                    shape[0] = classes;
                    let values = (0..shape.iter().product()).map(|i| (i % 7) as f32 / 100.0 - 0.03);
                    *elements = Elements::F32(values.collect());
                }
            }
        })
    }

    /// Writes a folder `name` with a sub-folder of 8x8 drawings for each of two classes.
    pub fn drawings(&self, name: &str, images: usize) -> String {
        let data = crate::small::pictures(5 * images, 8);
        for index in 0..data.len() {
            let Some(class) = ["disc", "square"].get(data.labels[index] as usize) else { continue };
            let folder = Path::new(&self.at(name)).join(class);
            std::fs::create_dir_all(&folder).expect("a directory");
            let pixels = data.image(index).to_vec();
            let picture = image::RgbImage::from_raw(8, 8, pixels).expect("8x8x3");
            picture.save(folder.join(format!("{index}.png"))).expect("a file");
        }
        self.at(name)
    }

    /// Trains on drawings for two iterations; returns the run's best model and its last checkpoint.
    pub fn trained(&self) -> [String; 2] {
        let data = crate::small::pictures(40, SIDE);
        let recipe = Recipe {
            iterations: 2,
            validation: 20,
            evaluate_every: 2,
            sample_every: 2,
            checkpoint_every: 2,
            clamp_x: true,
            ..crate::small::recipe()
        };
        let options = RunOptions::new(PathBuf::from(self.at("run")));
        let outcome = run(&Device::cpu(), &recipe, &data, &data, options).expect("a run");
        let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
        [text(outcome.best.expect("a best model")), text(outcome.checkpoint)]
    }

    /// Trains a user-defined network for two iterations; returns the run directory.
    pub fn trained_own_network(&self) -> String {
        let network = Layered::new("my network", [8, 8, 3], 10, |layers, images| {
            layers.linear("hidden", &images.flatten(), 16).leaky_relu(0.2)
        });
        let data = crate::small::pictures(40, 8);
        let recipe = Recipe { iterations: 2, validation: 20, ..crate::small::recipe() };
        let options =
            RunOptions { network: Some(Arc::new(network)), ..RunOptions::new(PathBuf::from(self.at("own"))) };
        run(&Device::cpu(), &recipe, &data, &data, options).expect("a run");
        self.at("own")
    }
}

/// The weights of the reference network, a WRN-10-1.
pub fn weights() -> String {
    format!("{}/tests/fixtures/wrn10_1/weights.safetensors", env!("CARGO_MANIFEST_DIR"))
}

/// A tensor of the reference case, computed in float64.
pub fn case(name: &str) -> Vec<f64> {
    let path = format!("{}/tests/fixtures/wrn10_1/case.safetensors", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).expect("the fixture");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let tensor = file.tensor(name).expect("the tensor");
    let words = tensor.data().as_chunks::<8>().0.iter();
    match tensor.dtype() {
        Dtype::F64 => words.map(|&word| f64::from_le_bytes(word)).collect(),
        _ => words.map(|&word| i64::from_le_bytes(word) as f64).collect(),
    }
}

/// The devices that must give the same results, in the form that `--device` takes.
pub fn devices() -> [String; 2] {
    ["cpu".into(), crate::adapter::gpu_spec().to_string()]
}

/// The command with these arguments, on the CPU unless `--device` is among them.
pub fn jem(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jem"));
    // A Mesa driver prints a warning without such a directory.
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir()).env_remove("JEM_DATA").env("JEM_DEVICE", "cpu");
    // A user's tuned kernels and shaders must not affect tests.
    command.env("JEM_TUNED", "none").env("JEM_PIPELINE_CACHE", "none").env_remove("JEM_SHADERS");
    command.env("JEM_IMAGE_CACHE", "none");
    command.args(words);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn output(words: &[&str]) -> Output {
    jem(words).output().expect("the command starts")
}

/// The output of a command that must succeed.
pub fn succeed(words: &[&str]) -> String {
    let output = output(words);
    assert!(output.status.success(), "{words:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The output of a command with `--json`, which must succeed and print one JSON object.
pub fn facts(words: &[&str]) -> Value {
    let printed = succeed(&[words, &["--json"]].concat());
    let value: Value = serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{words:?}: {e}: {printed}"));
    assert!(value.is_object(), "{printed}");
    value
}

/// Asserts exit code 1, one line of error that contains all of `parts`, no output, and no new files.
pub fn fail(place: &Place, words: &[&str], parts: &[&str]) {
    let before = place.names();
    let output = output(words);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words:?}: {}{stderr}", text(&output.stdout));
    assert!(stderr.starts_with("error: ") && stderr.trim_end().lines().count() == 1, "{words:?}: {stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{words:?}: {part:?} is not in {stderr}");
    }
    assert!(output.stdout.is_empty(), "{words:?}: {}", text(&output.stdout));
    assert_eq!(place.names(), before, "{words:?} wrote something: {stderr}");
}

/// Asserts exit code 2, clap's for invalid arguments, with `parts` in its message.
pub fn misuse(words: &[&str], parts: &[&str]) {
    let output = output(words);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words:?}: {}{stderr}", text(&output.stdout));
    for part in parts {
        assert!(stderr.contains(part), "{words:?}: {part:?} is not in {stderr}");
    }
}

/// The arrays of an `.npz` file by name.
pub fn arrays(path: &str) -> BTreeMap<String, Array> {
    npz::read(Path::new(path)).expect("arrays").into_iter().collect()
}

/// An array of a file, as float64.
pub fn numbers(array: &Array) -> Vec<f64> {
    match &array.elements {
        Elements::F32(values) => values.iter().map(|&v| f64::from(v)).collect(),
        Elements::I64(values) => values.iter().map(|&v| v as f64).collect(),
        Elements::U8(values) => values.iter().map(|&v| f64::from(v)).collect(),
        Elements::U32(values) => values.iter().map(|&v| f64::from(v)).collect(),
    }
}

/// The shape and the numbers of a `.npy` file.
pub fn read_npy(path: &str) -> (Vec<usize>, Vec<f64>) {
    let array = npy::read(Path::new(path)).expect("an array");
    let numbers = numbers(&array);
    (array.shape, numbers)
}

/// ||a - b|| / ||b||
pub fn error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}

/// Asserts that `a` equals `b` except for rounding.
pub fn assert_near(what: &str, a: &[f64], b: &[f64], bound: f64) {
    let error = error(a, b);
    assert!(error <= bound, "{what}: error {error:e}, allowed {bound:e}");
}
