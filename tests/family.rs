//! Complete iterations of the family's recipes, compared with PyTorch's numbers in float64.
//!
//! `fixtures/family/make.py` made the numbers. Every batch has the same four images and every iteration continues the
//! same four chains, so nothing depends on their order. Weights and images come from a formula that it shares with this
//! file.

#[path = "common/devices.rs"]
mod devices;
#[path = "common/formula.rs"]
mod formula;

use devices::devices;
use formula::{parameter, values};
use jem::data::Dataset;
use jem::ebm::{ChainStart, Family, Metrics, OptimizerKind, Preset, Recipe, Trainer};
use jem::io::checkpoint::Checkpoint;
use jem::nn::ingredients::{Activation, Norm};
use jem::nn::network::Network as _;
use jem::nn::optimizer::Optimizer;
use jem::nn::wide_resnet::WideResNet;
use std::path::Path;

/// The bound on float32 rounding over two iterations, relative to the change of a tensor.
const CHANGE: f64 = 1e-3;
/// The bound on float32 rounding of chains, losses and statistics, relative to their size.
const SIZE: f64 = 1e-5;
const IMAGES: usize = 4;
const SIDE: usize = 8;

/// A unit vector for spectral norm.
fn unit(name: &str, count: usize) -> Vec<f32> {
    let (layer, part) = name.rsplit_once(".weight_").expect("a vector of a layer's weights");
    let u = values(layer.len() as u32 + u32::from(part.as_bytes()[0]), count);
    let norm = u.iter().map(|&u| f64::from(u).powi(2)).sum::<f64>().sqrt();
    u.into_iter().map(|u| (f64::from(u) / norm) as f32).collect()
}

/// The initial state of `make.py`'s run of `case`.
fn beginning(network: &WideResNet, optimizer: &Optimizer, ema: bool, case: u32) -> Checkpoint {
    let layout = network.layout();
    let is_vector = |name: &str| name.ends_with(".weight_u") || name.ends_with(".weight_v");
    let mut parameters: Vec<(String, Vec<usize>)> =
        layout.in_files().map(|p| (p.name.clone(), p.file_shape())).collect();
    parameters.sort();
    let mut checkpoint = Checkpoint::default();
    let mut number = 0;
    for (name, shape) in &parameters {
        let values = if is_vector(name) {
            unit(name, shape.iter().product())
        } else {
            number += 1;
            parameter(name, shape, number - 1)
        };
        let zeros = vec![0.0; values.len()];
        for state in optimizer.state() {
            checkpoint.push_f32(format!("{}.{name}", state.name()), shape, zeros.clone());
        }
        if ema {
            checkpoint.push_f32(format!("raw.{name}"), shape, values.clone());
        }
        checkpoint.push_f32(name, shape, values);
    }
    let shape = [IMAGES, 3, SIDE, SIDE];
    checkpoint.push_f32("replay_buffer", &shape, values(case + 1, shape.iter().product()));
    checkpoint.metadata.insert("iteration".into(), "0".into());
    checkpoint
}

fn data(case: u32) -> Dataset {
    let bytes: Vec<u8> =
        values(case, IMAGES * 3 * SIDE * SIDE).into_iter().map(|u| ((u + 1.0) * 128.0) as u8).collect();
    let image = |image: usize| {
        let channels = &bytes[image * 3 * SIDE * SIDE..][..3 * SIDE * SIDE];
        (0..SIDE * SIDE).flat_map(move |pixel| (0..3).map(move |c| channels[c * SIDE * SIDE + pixel]))
    };
    Dataset {
        name: "make.py".into(),
        synthetic: true,
        images: (0..IMAGES).flat_map(image).collect(),
        labels: (0..IMAGES as u32).collect(),
        height: SIDE,
        width: SIDE,
        channels: 3,
        class_names: (0..10).map(|class| class.to_string()).collect(),
    }
}

/// ||found - expected|| / size.
fn error(found: &[f32], expected: &[f32], size: f64) -> f64 {
    let square = |(&a, &b): (&f32, &f32)| (f64::from(a) - f64::from(b)).powi(2);
    found.iter().zip(expected).map(square).sum::<f64>().sqrt() / size
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

/// The settings that all cases share.
fn recipe(family: Family) -> Recipe {
    Recipe {
        batch: IMAGES,
        buffer: IMAGES,
        steps: 2,
        step_size: 0.2,
        noise: 0.0,
        clamp_gradient: 1.0,
        clamp_x: true,
        reinitialise: 0.0,
        start: ChainStart::Uniform,
        p_x: 1.0,
        energy_l2: 0.0,
        clip_norm: 0.0,
        warmup: 0,
        decay_at: vec![],
        pad: 0,
        flip: false,
        input_noise: 0.0,
        ..family.recipe(Preset::Tiny)
    }
}

fn compare(name: &str, recipe: &Recipe, case: u32) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/family").join(name);
    let numbers = Checkpoint::load(&path.with_extension("safetensors")).expect("a fixture");
    let network = recipe.network(10, 3);
    let optimizer = recipe.optimizer();
    let before = beginning(&network, &optimizer, recipe.ema > 0.0, case);
    for (device_name, device) in devices() {
        let mut trainer = Trainer::new(&device, recipe, &data(case)).expect("programs");
        trainer.restore(&before, &path).expect("a beginning");
        for _ in 0..2 {
            trainer.step().expect("an iteration");
        }
        let metrics = trainer.finish_metrics().expect("metrics");
        let losses: Vec<f32> = metrics.iter().map(|metrics: &Metrics| metrics.loss as f32).collect();
        let after = trainer.checkpoint().expect("a checkpoint");
        let found = |name: &str, shape: &[usize]| after.f32(&path, name, shape).expect("a tensor").to_vec();
        let mut wrong = Vec::new();
        for (tensor, shape, expected) in &numbers.tensors {
            let jem::io::elements::Elements::F32(expected) = expected else { panic!("{tensor}: floats") };
            // With a moving average the plain names are those of the average.
            let (found, bound, size) = match tensor.as_str() {
                "losses" => (losses.clone(), SIZE, norm(expected)),
                "chains" => (found("replay_buffer", shape), SIZE, norm(expected)),
                name => {
                    let (ours, start) = match name.strip_prefix("ema.") {
                        Some(averaged) => (averaged.to_owned(), averaged),
                        None if recipe.ema > 0.0 => (format!("raw.{name}"), name),
                        None => (name.to_owned(), name),
                    };
                    let start = before.f32(&path, start, shape).expect("a tensor");
                    let change: Vec<f32> = expected.iter().zip(start).map(|(a, b)| a - b).collect();
                    assert!(norm(&change) > 0.0, "{name} does not change");
                    let found = found(&ours, shape);
                    match name.contains("running") || name.contains("weight_") {
                        true => (found, SIZE, norm(expected)),
                        // For weights near 1 the change has no more digits than this.
                        false => (found, CHANGE, norm(&change).max(1e-4 * norm(expected))),
                    }
                }
            };
            let error = error(&found, expected, size);
            if error.is_nan() || error >= bound {
                wrong.push(format!("{tensor}: {error:.2e} over {bound:.0e}"));
            }
        }
        assert!(wrong.is_empty(), "{device_name}: {name}: {wrong:#?}");
    }
}

#[test]
fn plus_plus_is_pytorchs() {
    let base = recipe(Family::JemPlusPlus);
    compare("plus_plus", &Recipe { lr: 0.05, inner_steps: 5, ema: 0.9, ..base }, 1152);
}

#[test]
fn sharpness_aware_minimisation_is_pytorchs() {
    let base = recipe(Family::SadaJem);
    // Each image twice, for the same means.
    let labelled_batch = 2 * IMAGES;
    compare("sada", &Recipe { lr: 0.05, sam: 0.5, weight_decay: 4e-4, labelled_batch, ..base }, 1054);
}

#[test]
fn smooth_energies_are_pytorchs() {
    let recipe = Recipe {
        norm: Norm::GROUP,
        activation: Activation::Silu,
        spectral_norm: true,
        gradient_penalty: 0.1,
        energy_l2: 0.05,
        optimizer: OptimizerKind::AdamW,
        lr: 0.01,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-3,
        weight_decay: 0.1,
        ..recipe(Family::Jem)
    };
    compare("smooth", &recipe, 300);
}
