//! The figures of sets of features, and the features of the public Inception network, against other implementations.

#[path = "common/close.rs"]
mod close;
#[path = "common/formula.rs"]
mod formula;

use close::assert_close;
use formula::values;
use jem::device::Device;
use jem::ebm::{ChainSource, Langevin, Model, Sampling, uniform_image};
use jem::evaluation::bootstrap::Resamples;
use jem::evaluation::generation::chains::{self, Snapshot};
use jem::evaluation::generation::diversity::diversity;
use jem::evaluation::generation::features::Features;
use jem::evaluation::generation::frechet;
use jem::evaluation::generation::inception::{self, Activations, Inception};
use jem::evaluation::generation::inception_score::InceptionScore;
use jem::evaluation::generation::kernel::{self, Subsets};
use jem::evaluation::generation::manifold::Manifold;
use jem::evaluation::generation::round_to_8_bits;
use jem::io::checkpoint::Checkpoint;
use jem::io::pack;
use jem::io::torch::write;
use jem::nn::architecture::NormMode;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Features as in make.py.
fn features(tensor: u32, n: usize, d: usize, scale: f32, shift: f32) -> Vec<f32> {
    let u = values(tensor, n * d);
    let one = |i: usize| {
        let (row, j) = (&u[i / d * d..][..d], i % d);
        (scale + j as f32 / 128.0) * (row[j] + 0.5 * row[(j + d - 1) % d]) + shift
    };
    (0..n * d).map(one).collect()
}

#[test]
fn figures_are_those_of_public_implementations() {
    let path = Path::new("tests/fixtures/generation/figures.safetensors");
    let numbers = Checkpoint::load(path).expect("make.py's numbers");
    for (number, (name, n, m, d)) in
        [("small", 300, 300, 8), ("wide", 400, 400, 64), ("deficient", 60, 60, 96)].into_iter().enumerate()
    {
        let samples = features(2 * number as u32 + 1, n, d, 1.0, 0.25);
        let data = features(2 * number as u32 + 2, m, d, 1.25, 0.125);
        let samples = Features::new("samples", &samples, d).unwrap();
        let data = Features::new("data", &data, d).unwrap();
        let resamples = [&Resamples::new(n, 0), &Resamples::new(m, 1)];
        let expected =
            |key: &str, count: usize| numbers.f32(path, &format!("{name} {key}"), &[count]).unwrap();
        let close = |found: &[f64], key: &str, bound: f64| {
            assert_close(found, expected(key, found.len()), bound, &format!("{name}: {key}"));
        };
        let fd = frechet::distance(&samples, &data, resamples).unwrap().value;
        close(&[fd], "fd", 1e-6);
        let kd = kernel::distance(&samples, &data, resamples).unwrap().value;
        let [of_subset, _] =
            kernel::of_subsets(&samples, &data, Subsets { count: 1, size: n, seed: 0 }).unwrap();
        close(&[kd], "kd", 1e-6);
        close(&[of_subset], "kd", 1e-6);
        for k in [3, 5] {
            let found = Manifold::with_neighbours(&samples, &data, resamples, [k, k]).unwrap();
            let found = [found.precision, found.recall, found.density, found.coverage].map(|of| of.value);
            // All are ratios of counts: equal but for the rounding of the stored numbers.
            close(&found, &format!("prdc {k}"), 1e-7);
        }
        let logits: Vec<f32> = samples.rows().flatten().map(|value| 4.0 * value).collect();
        let logits = Features::new("logits", &logits, d).unwrap();
        let score = InceptionScore::new(&logits, 0, resamples[0]).unwrap().whole.value;
        close(&[score], "inception score", 1e-6);
    }
}

/// PyTorch's numbers of the network.
const ACTIVATIONS: &str = "tests/fixtures/inception/activations.safetensors";
/// Every such number of features and logits is stored.
const STEP: usize = 8;
/// The name, the number of the tensor in the formula, and the number, height and width of images.
const IMAGES: [(&str, u32, [usize; 3]); 2] = [("square", 901, [2, 32, 32]), ("wide", 902, [1, 24, 40])];

/// The state dict of the network with weights as in make.py.
fn state_dict() -> Checkpoint {
    let numbers = Checkpoint::load(Path::new(ACTIVATIONS)).expect("make.py's numbers");
    let mut shapes: BTreeMap<String, Vec<usize>> =
        serde_json::from_str(&numbers.metadata["shapes"]).expect("JSON");
    shapes.retain(|name, _| !name.ends_with("num_batches_tracked"));
    let mut file = Checkpoint::default();
    for (number, (name, shape)) in shapes.iter().enumerate() {
        let u = values(number as u32, shape.iter().product());
        let fan_in: usize = shape[1..].iter().product();
        let scale = (6.0 / fan_in as f32).sqrt();
        let value = |u: f32| match name {
            _ if shape.len() > 1 => scale * u,
            name if name.ends_with("running_var") || name.ends_with("bn.weight") => 1.0 + 0.5 * u,
            _ => 0.125 * u,
        };
        file.push_f32(name, shape, u.into_iter().map(value).collect());
    }
    file
}

/// The images of a case, NHWC.
fn images(tensor: u32, [n, h, w]: [usize; 3]) -> Vec<f32> {
    let mut planar = values(tensor, n * 3 * h * w);
    planar[..3 * h * w].iter_mut().for_each(|value| *value *= 0.25);
    pack::nchw_to_nhwc(&planar, n, 3, h, w)
}

/// Asserts that the network of `path` has the activations of `expected`.
fn assert_activations(path: &Path, expected: &Path) {
    let numbers = Checkpoint::load(expected).expect("make.py's numbers");
    // The second image is alone in its batch.
    let network = Inception::open(path, &Device::cpu(), 1).expect("the network");
    for (name, tensor, shape @ [n, h, w]) in IMAGES {
        let found = network.run(&images(tensor, shape), [h, w, 3], &mut |_| true).expect("activations");
        let Activations { features, logits } = found.expect("nothing stops it");
        for (key, found, length) in
            [("features", features, inception::FEATURES), ("logits", logits, inception::LOGITS)]
        {
            assert_eq!(found.len(), n * length);
            let found: Vec<f32> =
                found.chunks(length).flat_map(|row| row.iter().step_by(STEP)).copied().collect();
            let key = format!("{name} {key}");
            let expected = numbers.f32(expected, &key, &[n, length / STEP]).expect("numbers");
            assert_close(&found, expected, 1e-4, &key);
        }
    }
}

#[test]
fn the_inception_network_is_that_of_pytorch_fid() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("weights.pth");
    write::write(&path, &state_dict()).expect("a file");
    assert_activations(&path, Path::new(ACTIVATIONS));

    let network = Inception::open(&path, &Device::cpu(), 2).expect("the network");
    let grey = values(5, 3 * 6 * 4);
    let mut fractions = Vec::new();
    let mut goes_on = |fraction| {
        fractions.push(fraction);
        true
    };
    let found = network.run(&grey, [6, 4, 1], &mut goes_on).unwrap().expect("nothing stops it");
    assert!(fractions.is_sorted() && fractions[0] == 0.0 && *fractions.last().unwrap() < 1.0);
    let coloured: Vec<f32> = grey.iter().flat_map(|value| [*value; 3]).collect();
    let same = network.run(&coloured, [6, 4, 3], &mut |_| true).unwrap().expect("nothing stops it");
    assert_eq!(found, same, "grey images");
    let alone = network.run(&grey[48..], [6, 4, 1], &mut |_| true).unwrap().expect("nothing stops it");
    assert_close(&alone.features, &found.features[2 * inception::FEATURES..], 1e-6, "the last image");
    assert_eq!(network.run(&grey, [6, 4, 1], &mut |_| false).unwrap(), None);
    let message = network.run(&grey, [6, 6, 2], &mut |_| true).unwrap_err().to_string();
    assert_eq!(message, "images: expected images of 1 or 3 channels, got 72 numbers for images 6x6x2");
}

#[test]
fn images_are_rounded_to_the_values_of_files() {
    let mut images = [-3.0, -1.0, -0.9999, 0.001, 0.5, 1.0, 1.7, f32::NAN];
    round_to_8_bits(&mut images);
    let byte = |value: f32| value / 127.5 - 1.0;
    assert_eq!(images, [0.0, 0.0, 0.0, 128.0, 191.0, 255.0, 255.0, 0.0].map(byte));
}

#[test]
fn files_of_other_networks_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let refused = |file: &Checkpoint| {
        let path = directory.path().join("weights.pth");
        write::write(&path, file).expect("a file");
        let message = Inception::open(&path, &Device::cpu(), 1).unwrap_err().to_string();
        let start =
            format!("{}: is not pt_inception-2015-12-05-6726825d.pth of pytorch-fid: ", path.display());
        assert!(!message.contains('\n'), "{message}");
        message.strip_prefix(&start).unwrap_or_else(|| panic!("{message}")).to_owned()
    };
    let mut file = Checkpoint::default();
    file.push_f32("conv1.weight", &[1, 1], vec![0.0]);
    assert_eq!(refused(&file), "it has no tensor Conv2d_1a_3x3.bn.bias");
    file.push_f32("Conv2d_1a_3x3.bn.bias", &[2], vec![0.0; 2]);
    assert_eq!(refused(&file), "tensor Conv2d_1a_3x3.bn.bias is [2], expected [32]");
    let mut file = state_dict();
    file.push_f32("AuxLogits.fc.bias", &[1], vec![0.0]);
    assert_eq!(refused(&file), "it has a tensor AuxLogits.fc.bias, which is not of the network");
    file.tensors.pop();
    let set = |file: &mut Checkpoint, name: &str, value: f32| {
        let tensor = file.tensors.iter_mut().find(|(found, ..)| found == name).expect("a tensor");
        tensor.2 = jem::io::elements::Elements::F32(vec![value; tensor.2.len()]);
    };
    set(&mut file, "Mixed_7b.branch1x1.bn.running_var", -1.0);
    assert_eq!(refused(&file), "tensor Mixed_7b.branch1x1.bn.running_var has the value -1");
    set(&mut file, "Mixed_7b.branch1x1.bn.running_var", f32::NAN);
    assert_eq!(refused(&file), "tensor Mixed_7b.branch1x1.bn.running_var has the value NaN");
    let text = directory.path().join("text.pth");
    std::fs::write(&text, "this is no file of weights").expect("a file");
    let message = Inception::open(&text, &Device::cpu(), 1).unwrap_err().to_string();
    assert!(message.contains("text.pth") && !message.contains('\n'), "{message}");
    assert!(Inception::open(&text, &Device::cpu(), 0).unwrap_err().to_string().contains("batch: must be"));
}

/// Needs Python with torch, torchvision, pytorch-fid and safetensors: `JEM_PYTHON`, or `python3`.
#[test]
#[ignore = "needs pytorch-fid"]
fn random_weights_give_the_features_of_pytorch_fid() {
    let directory = tempfile::tempdir().expect("a directory");
    let python = std::env::var("JEM_PYTHON").unwrap_or_else(|_| "python3".into());
    let mut command = Command::new(&python);
    command.arg("tests/fixtures/inception/make.py").arg(directory.path()).arg("3");
    let output = command.output().unwrap_or_else(|error| panic!("{python} does not start ({error})"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let in_directory = |name: &str| -> PathBuf { directory.path().join(name) };
    assert_activations(&in_directory("weights.pth"), &in_directory("activations.safetensors"));
}

const MODEL: &str = "tests/fixtures/wrn10_1/weights.safetensors";
/// The number of values of an image of the model.
const PIXELS: usize = 32 * 32 * 3;
const SEED: u32 = 4;

fn sampling<'a>(model: &'a Model, start: &'a ChainSource, classes: &'a [u32]) -> Sampling<'a> {
    let langevin = Langevin { step_size: 0.5, noise: 0.001, ..Langevin::default() };
    let (mode, count, steps) = (NormMode::Inference, 4, 5);
    Sampling { model, mode, langevin, start, classes, count, steps, batch: 3, seed: SEED, mask: None }
}

fn snapshots(sampling: &Sampling, at: &[usize]) -> Vec<Snapshot> {
    let found = chains::run(&Device::cpu(), sampling, at, &mut |_| true).expect("chains");
    found.expect("nothing stops them")
}

#[test]
fn snapshots_are_of_the_chains_of_a_sampler() {
    let model = Model::open(Path::new(MODEL)).expect("a model");
    let start = ChainSource::uniform(&model, SEED);
    for classes in [&[][..], &[7, 2]] {
        let sampling = sampling(&model, &start, classes);
        let found = snapshots(&sampling, &[0, 2, 5]);
        assert_eq!(found.iter().map(|snapshot| snapshot.steps).collect::<Vec<_>>(), [0, 2, 5]);
        let first: Vec<f32> = (0..4).flat_map(|chain| uniform_image(SEED, chain, PIXELS)).collect();
        assert_eq!(found[0].images, first);

        // Four chains in batches of at most three are two batches of two.
        let sampler = sampling.sampler(&Device::cpu()).expect("a sampler");
        let labels = if classes.is_empty() { [0; 4] } else { [7, 7, 2, 2] };
        for batch in 0..2 {
            let part = |values: &[f32]| values[2 * batch * PIXELS..][..2 * PIXELS].to_vec();
            sampler.start(&part(&first), &labels[2 * batch..][..2], SEED, 5 * batch as u32).expect("a start");
            for step in 0..=5 {
                if let Some(snapshot) = found.iter().find(|snapshot| snapshot.steps == step) {
                    assert_eq!(part(&snapshot.images), sampler.images().expect("images"), "{step}");
                    let energies = sampler.energies().expect("energies");
                    assert_eq!(snapshot.energies[2 * batch..][..2], energies, "{step}");
                }
                sampler.advance().expect("a step");
            }
        }
        let [before, .., after] = &found[..] else { panic!("three snapshots") };
        let energy = |snapshot: &Snapshot| snapshot.energy(1).expect("sound chains").value;
        if classes.is_empty() {
            assert!(energy(after) < energy(before), "chains climb log p(x)");
        }
        assert!(found.iter().all(|snapshot| snapshot.diverged.is_empty()));
        let pixels = Features::new("pixels", &after.images, PIXELS).unwrap();
        let expected = diversity(&pixels, &Resamples::new(4, 1)).unwrap();
        assert_eq!(after.diversity(1).unwrap(), Some(expected));
    }
}

#[test]
fn chains_can_diverge_and_be_stopped() {
    let model = Model::open(Path::new(MODEL)).expect("a model");
    let start = ChainSource::uniform(&model, SEED);
    let sampling = sampling(&model, &start, &[]);
    let wild =
        Sampling { langevin: Langevin { step_size: f32::MAX, ..sampling.langevin }, ..sampling.clone() };
    let found = snapshots(&wild, &[0, 5]);
    assert_eq!((found[0].diverged.len(), &found[1].diverged[..]), (0, &[0, 1, 2, 3][..]));
    assert_eq!((found[1].energy(1), found[1].diversity(1).unwrap()), (None, None));
    let one = Snapshot { diverged: vec![1], ..found[0].clone() };
    let rest: Vec<f64> = [0, 2, 3].map(|chain| f64::from(one.energies[chain])).to_vec();
    assert_eq!(one.energy(1), Some(Resamples::new(3, 1).mean(&rest)));

    let mut fractions = Vec::new();
    let mut stop = |fraction| {
        fractions.push(fraction);
        fraction < 0.7
    };
    assert_eq!(chains::run(&Device::cpu(), &sampling, &[5], &mut stop).expect("no error"), None);
    assert!(
        fractions.is_sorted() && fractions[0] == 0.0 && *fractions.last().unwrap() < 0.8,
        "{fractions:?}"
    );

    let message = |sampling: &Sampling, at: &[usize]| {
        chains::run(&Device::cpu(), sampling, at, &mut |_| true).unwrap_err().to_string()
    };
    assert_eq!(
        message(&sampling, &[3, 2]),
        "steps: expected ascending numbers of at most 5 steps, got [3, 2]"
    );
    assert!(message(&sampling, &[6]).contains("at most 5 steps"));
    assert!(message(&sampling, &[]).contains("at most 5 steps"));
    let odd = Sampling { classes: &[0, 1, 2], ..sampling.clone() };
    assert!(message(&odd, &[5]).contains("chains: expected a multiple of 3 chains"));
    let none = Sampling { count: 0, ..sampling.clone() };
    assert!(message(&none, &[5]).contains("got 0 in batches of 3"));
    assert!(ChainSource::buffer(&model, SEED).unwrap_err().to_string().contains("has no replay buffer"));
}
