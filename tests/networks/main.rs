//! Imported networks compared with PyTorch's numbers in float64: normalisations in both modes, smooth activations,
//! spectral norm, buffers after a step of training, CIFAR ResNets, chains.
//!
//! `fixtures/networks/make.py` made the numbers. Weights and images come from a formula that it shares with this folder.

#[path = "../common/close.rs"]
mod close;
#[path = "../common/devices.rs"]
mod devices;
#[path = "../common/floats.rs"]
mod floats;
#[path = "../common/formula.rs"]
mod formula;
mod sampling;
mod scoring;
mod training;

use formula::{parameter, values};
use jem::ebm::{ImportOptions, InputNormalisation, Model};
use jem::io::checkpoint::Checkpoint;
use jem::io::pack;
use jem::nn::architecture::{Architecture, Choices};
use jem::nn::ingredients::{Activation, Norm};
use jem::nn::resnet::ResNet;
use jem::nn::wide_resnet::WideResNet;
use std::path::Path;

/// The bound on float32 rounding of logits.
const LOGITS: f64 = 1e-5;
/// The bound on float32 rounding of gradients and chains.
const GRADIENT: f64 = 1e-4;
/// The number of images of a case.
const IMAGES: usize = 3;
const SIDE: usize = 32;
/// The images of the cases.
const WIDE: u32 = 3071;
const TRAINING: u32 = 1781;
const SMOOTH: u32 = 5;

/// A file of `architecture` with `make.py`'s weights, with its linear layer called `last`; the buffers of spectral norm
/// have PyTorch's names.
fn file(architecture: &Architecture, last: &str, directory: &Path) -> std::path::PathBuf {
    let layout = architecture.network().layout();
    let divided = layout.has_spectral_norm();
    let renamed = |name: &str, shape: &[usize]| {
        let original = if divided && name.ends_with(".weight") && shape.len() > 1 { "_orig" } else { "" };
        name.replace("linear", last) + original
    };
    let mut parameters: Vec<(String, Vec<usize>)> =
        layout.in_files().map(|p| (renamed(&p.name, &p.shape), p.file_shape())).collect();
    parameters.sort();
    let mut checkpoint = Checkpoint::default();
    for (number, (name, shape)) in parameters.into_iter().enumerate() {
        checkpoint.push_f32(&name, &shape, parameter(&name, &shape, number as u32));
    }
    let path = directory.join("network.safetensors");
    checkpoint.save(&path).expect("a file");
    path
}

fn wide(norm: Norm) -> Architecture {
    Architecture::of(WideResNet { norm, ..WideResNet::new(10, 1, 10, 3) })
}

/// WRN-10-1 with group norm and `silu`, with softplus, and with batch norm, spectral norm and `silu`.
fn smooth() -> [(&'static str, WideResNet); 3] {
    let plain = WideResNet::new(10, 1, 10, 3);
    let silu = WideResNet { activation: Activation::Silu, ..plain };
    [
        ("wrn10_1_gn_silu", WideResNet { norm: Norm::GROUP, ..silu }),
        ("wrn10_1_softplus", WideResNet { activation: Activation::Softplus, ..plain }),
        ("wrn10_1_bn_sn_silu", WideResNet { norm: Norm::Batch, spectral_norm: true, ..silu }),
    ]
}

fn residual(depth: usize, classes: usize) -> Architecture {
    Architecture::of(ResNet::cifar(depth, classes, 3))
}

/// The architecture that the metadata of a model name.
fn architecture_of(model: &Model) -> Architecture {
    Architecture::from_metadata(&model.file().metadata).expect("an architecture")
}

/// The settings of `network` that its names and shapes do not tell.
fn choices(network: &WideResNet) -> Choices {
    let norm = Some(network.norm).filter(|norm| !matches!(norm, Norm::None | Norm::Batch));
    let activation = Some(network.activation).filter(|&activation| activation != Activation::JEM);
    Choices { norm, activation, pooling: None }
}

/// The network and PyTorch's numbers of a case.
fn case(name: &str, architecture: &Architecture, last: &str, choices: Choices) -> (Model, Checkpoint) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = file(architecture, last, directory.path());
    let normalisation = (architecture.network().kind() == ResNet::KIND).then(|| InputNormalisation {
        mean: vec![0.4914, 0.4822, 0.4465],
        std: vec![0.2470, 0.2435, 0.2616],
    });
    let options = ImportOptions { choices, normalisation, ..ImportOptions::default() };
    let model = Model::import(&path, options).expect("a model");
    assert_eq!(architecture_of(&model), *architecture);
    let numbers = Path::new("tests/fixtures/networks").join(format!("{name}.safetensors"));
    (model, Checkpoint::load(&numbers).expect("make.py's numbers"))
}

fn wide_case(name: &str, network: WideResNet) -> (Model, Checkpoint) {
    case(name, &Architecture::of(network), "linear", choices(&network))
}

/// `make.py`'s images of a case, by their number; no activation is near its kink.
fn images(number: u32) -> Vec<f32> {
    pack::nchw_to_nhwc(&values(number, IMAGES * 3 * SIDE * SIDE), IMAGES, 3, SIDE, SIDE)
}

fn nchw(images: &[f32]) -> Vec<f32> {
    pack::nhwc_to_nchw(images, IMAGES, SIDE, SIDE, 3)
}
