//! Imported networks against PyTorch's numbers in float64: batch norm in both modes, CIFAR ResNets, chains.
//!
//! `fixtures/networks/make.py` made the numbers. Weights and images come from a formula that it shares with this file.

#[path = "common/devices.rs"]
mod devices;

use devices::devices;
use jem::io::checkpoint::Checkpoint;
use jem::io::pack;
use jem::jem::{ImportOptions, Langevin, Model, Normalisation, Sampler, ScoreSettings, Scorer};
use jem::nn::architecture::{Architecture, Mode};
use jem::nn::cifar_resnet::CifarResNet;
use jem::nn::wide_resnet::{Norm, WideResNet};
use std::path::Path;

/// Rounding of float32 on logits.
const LOGITS: f64 = 1e-5;
/// Rounding of float32 on gradients and chains.
const GRADIENT: f64 = 1e-4;
/// Images of a case.
const IMAGES: usize = 3;
const SIDE: usize = 32;
/// The images of the cases.
const RESNET_20: u32 = 1699;
const RESNET_8: u32 = 4280;
const WIDE: u32 = 3071;
const TRAINING: u32 = 1781;

/// `make.py`'s numbers of a tensor: in [-1, 1), each a multiple of 2^-23.
fn values(tensor: u32, count: usize) -> Vec<f32> {
    let one = |i: u32| {
        let mut x = i.wrapping_mul(2_654_435_761).wrapping_add(tensor * 40_503 + 12_345);
        x ^= x >> 16;
        x = x.wrapping_mul(0x045d_9f3b);
        x ^= x >> 16;
        (x >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count as u32).map(one).collect()
}

/// A file of `architecture` with `make.py`'s weights, its linear layer called `last`.
fn file(architecture: Architecture, last: &str, directory: &Path) -> std::path::PathBuf {
    let layout = architecture.layout();
    let mut parameters: Vec<(String, Vec<usize>)> =
        layout.in_files().map(|p| (p.name.replace("linear", last), p.file_shape())).collect();
    parameters.sort();
    let mut checkpoint = Checkpoint::default();
    for (number, (name, shape)) in parameters.into_iter().enumerate() {
        let u = values(number as u32, shape.iter().product());
        let fan_in: usize = shape[1..].iter().product();
        let scale = (0..).map(|k| 0.5f32.powi(k)).find(|s| s * s * fan_in as f32 <= 6.0).expect("a scale");
        let value = |u: f32| match name.as_str() {
            name if name.ends_with("running_var") => 1.25 + 0.75 * u,
            name if name.ends_with("running_mean") => 0.25 * u,
            name if name.ends_with("bias") => 0.125 * u,
            _ if shape.len() == 1 => 1.0 + 0.5 * u,
            _ => scale * u,
        };
        checkpoint.push_f32(&name, &shape, u.iter().map(|&u| value(u)).collect());
    }
    let path = directory.join("network.safetensors");
    checkpoint.save(&path).expect("a file");
    path
}

fn wide(norm: Norm) -> Architecture {
    Architecture::WideResNet(WideResNet { norm, ..WideResNet::new(10, 1, 10, 3) })
}

fn residual(depth: usize, classes: usize) -> Architecture {
    Architecture::CifarResNet(CifarResNet { depth, classes, channels: 3 })
}

/// The network and PyTorch's numbers of a case.
fn case(name: &str, architecture: Architecture, last: &str) -> (Model, Checkpoint) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = file(architecture, last, directory.path());
    let normalisation = matches!(architecture, Architecture::CifarResNet(_))
        .then(|| Normalisation { mean: vec![0.4914, 0.4822, 0.4465], std: vec![0.2470, 0.2435, 0.2616] });
    let model = Model::import(&path, ImportOptions { architecture: None, normalisation }).expect("a model");
    assert_eq!(*model.architecture(), architecture, "inferred from names and shapes");
    let numbers = Path::new("tests/fixtures/networks").join(format!("{name}.safetensors"));
    (model, Checkpoint::load(&numbers).expect("make.py's numbers"))
}

/// `make.py`'s images of a case, by their number: no activation is near its kink.
fn images(number: u32) -> Vec<f32> {
    pack::nchw_to_nhwc(&values(number, IMAGES * 3 * SIDE * SIDE), IMAGES, 3, SIDE, SIDE)
}

fn nchw(images: &[f32]) -> Vec<f32> {
    pack::nhwc_to_nchw(images, IMAGES, SIDE, SIDE, 3)
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], bound: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: elements");
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let difference = square(&mut found.iter().zip(expected).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    let norm = square(&mut expected.iter().map(|&b| f64::from(b)));
    let error = (difference / norm).sqrt();
    assert!(norm > 0.0 && error < bound, "{what}: relative error {error:.2e} over {bound:.0e}");
}

fn compare(model: &Model, numbers: &Checkpoint, mode: Mode, number: u32, [logits, dx]: [&str; 2]) {
    let path = Path::new("make.py");
    let settings = ScoreSettings { mode, beta: 1.0, input_gradient: true };
    let classes = model.architecture().classes();
    for (name, device) in devices() {
        let scorer = Scorer::new(&device, model, settings, IMAGES).expect("programs");
        let scores = scorer.score(&images(number)).expect("scores");
        let expected = numbers.f32(path, logits, &[IMAGES, classes]).expect(logits);
        assert_close(&scores.logits, expected, LOGITS, &format!("{name}: {logits}"));
        let expected = numbers.f32(path, dx, &[IMAGES, 3, SIDE, SIDE]).expect(dx);
        let gradient = nchw(&scores.input_gradient.expect("asked for"));
        assert_close(&gradient, expected, GRADIENT, &format!("{name}: {dx}"));
    }
}

#[test]
fn residual_networks_are_pytorchs() {
    let (model, numbers) = case("resnet20", residual(20, 10), "linear");
    compare(&model, &numbers, Mode::Inference, RESNET_20, ["logits", "dx"]);
    let (model, numbers) = case("resnet8_fc", residual(8, 7), "fc");
    compare(&model, &numbers, Mode::Inference, RESNET_8, ["logits", "dx"]);
}

#[test]
fn batch_norm_with_the_statistics_of_training_and_of_the_batch() {
    let (model, numbers) = case("wrn10_1_bn", wide(Norm::Batch), "linear");
    compare(&model, &numbers, Mode::Inference, WIDE, ["logits", "dx"]);
    compare(&model, &numbers, Mode::Training, TRAINING, ["training_logits", "training_dx"]);
}

const ASCENT: Langevin =
    Langevin { step_size: 1.0, noise: 0.0, clamp_gradient: None, clamp_x: false, inner_steps: 1 };

#[test]
fn chains_without_noise_are_gradient_ascent() {
    let (model, numbers) = case("wrn10_1_bn", wide(Norm::Batch), "linear");
    for (name, device) in devices() {
        for (chain, class) in [("ascent", None), ("ascent_class_3", Some(3))] {
            let conditional = class.is_some();
            let sampler = Sampler::new(&device, &model, Mode::Inference, ASCENT, IMAGES, conditional, None);
            let sampler = sampler.expect("programs");
            sampler.start(&images(WIDE), &[class.unwrap_or(0); IMAGES], 7, 0).expect("a start");
            let mut densities = Vec::new();
            for _ in 0..5 {
                densities.push(sampler.step().expect("a step"));
            }
            densities.push(sampler.density().expect("densities"));
            let expected = numbers.f32(Path::new("make.py"), chain, &[IMAGES, 3, SIDE, SIDE]).expect(chain);
            let found = nchw(&sampler.images().expect("images"));
            assert_close(&found, expected, GRADIENT, &format!("{name}: {chain}"));
            let first = numbers.f32(Path::new("make.py"), "logits", &[IMAGES, 10]).expect("logits");
            for (image, logits) in first.chunks(10).enumerate() {
                let logsumexp = logits.iter().map(|f| f.exp()).sum::<f32>().ln();
                let density = class.map_or(logsumexp, |class| logits[class as usize]);
                assert!((densities[0][image] - density).abs() < 1e-4, "{name}: {chain}: {:?}", densities[0]);
            }
        }
    }
}

#[test]
fn a_mask_holds_pixels_to_the_bit() {
    let (model, _) = case("wrn10_1_bn", wide(Norm::Batch), "linear");
    let mask: Vec<f32> = (0..SIDE * SIDE * 3).map(|i| if i / 3 % SIDE < 10 { 0.0 } else { 1.0 }).collect();
    let langevin = Langevin { noise: 0.1, clamp_x: true, ..ASCENT };
    for (name, device) in devices() {
        let sampler = Sampler::new(&device, &model, Mode::Inference, langevin, IMAGES, false, Some(&mask))
            .expect("programs");
        sampler.start(&images(WIDE), &[0; IMAGES], 7, 0).expect("a start");
        for _ in 0..3 {
            sampler.step().expect("a step");
        }
        let moved = sampler.images().expect("images");
        let mut changed = 0;
        for (i, (before, after)) in images(WIDE).iter().zip(&moved).enumerate() {
            match mask[i % mask.len()] == 0.0 {
                true => assert_eq!(before.to_bits(), after.to_bits(), "{name}: element {i} is held"),
                false => changed += usize::from(before != after),
            }
        }
        assert!(changed > moved.len() / 2, "{name}: {changed} elements moved");
        let misfit = Sampler::new(&device, &model, Mode::Inference, langevin, 1, false, Some(&mask[1..]));
        assert!(misfit.expect_err("a mask of another size").to_string().contains("expected 3072 elements"));
    }
}

/// The same seed gives the same chains, another seed others.
#[test]
fn noise_is_the_seeds() {
    let (model, _) = case("wrn10_1_bn", wide(Norm::None), "linear");
    let langevin = Langevin { noise: 0.01, ..ASCENT };
    for (name, device) in devices() {
        let sampler =
            Sampler::new(&device, &model, Mode::Inference, langevin, IMAGES, false, None).expect("programs");
        let run = |seed: u32| {
            sampler.start(&images(WIDE), &[0; IMAGES], seed, 0).expect("a start");
            sampler.step().expect("a step");
            sampler.step().expect("a step");
            sampler.images().expect("images")
        };
        let first = run(1);
        assert_eq!(first, run(1), "{name}");
        assert_ne!(first, run(2), "{name}");
    }
}

/// Other depths, widths, classes and channels: the devices agree.
#[test]
fn networks_of_other_sizes() {
    let other = WideResNet { norm: Norm::Batch, ..WideResNet::new(16, 2, 100, 1) };
    for architecture in [Architecture::WideResNet(other), residual(32, 5)] {
        let directory = tempfile::tempdir().expect("a directory");
        let model = Model::open(&file(architecture, "linear", directory.path())).expect("a model");
        assert_eq!(*model.architecture(), architecture);
        let images = values(1000, SIDE * SIDE * architecture.channels() * 2);
        let settings = ScoreSettings { mode: Mode::Inference, beta: 0.5, input_gradient: true };
        let [cpu, gpu] = devices().map(|(_, device)| {
            let scorer = Scorer::new(&device, &model, settings, 2).expect("programs");
            scorer.score(&images).expect("scores")
        });
        assert_close(&gpu.logits, &cpu.logits, LOGITS, &architecture.name());
        let [gpu, cpu] = [gpu, cpu].map(|scores| scores.input_gradient.expect("asked for"));
        assert_close(&gpu, &cpu, GRADIENT, &architecture.name());
    }
}
