//! Attacks on every device, and on a public classifier, compared with torchattacks (numbers in
//! fixtures/attacks/peers.json, by make.py there).
//!
//! The public classifier needs `$JEM_DATA` with `models/resnet20.th` and CIFAR-10, and the test says so where there is none. The time of an attack is
//! printed by `./test --test attacks -- --ignored --nocapture`.

#[path = "common/devices.rs"]
mod devices;

use devices::devices;
use jem::compute::random::{Threefry, stream};
use jem::data::Dataset;
use jem::data::images::from_byte;
use jem::data::named::NamedSet;
use jem::device::Device;
use jem::ebm::{ImportOptions, InputNormalisation, Model};
use jem::evaluation::attacks::{Attack, Classifier, Images, Loss, Norm, Threat, Victim};
use jem::nn::init::Init;
use jem::nn::layers::Layered;
use jem::nn::network::Network;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

/// The public ResNet-20 and `n` test images in [-1, 1] with their labels; `None` where they are not.
fn public(n: usize) -> Option<(Model, Vec<f32>, Vec<u32>)> {
    let root = PathBuf::from(std::env::var_os("JEM_DATA")?);
    let path = root.join("models/resnet20.th");
    if !path.is_file() || !root.join("cifar-10-batches-bin").is_dir() {
        return None;
    }
    let normalisation =
        InputNormalisation { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] };
    let options = ImportOptions { normalisation: Some(normalisation), ..ImportOptions::default() };
    let model = Model::import(&path, options).expect("the public ResNet-20");
    let set: NamedSet = "cifar10:test".parse().expect("a name");
    let data: Dataset = set.load(None, &|_| {}).expect("CIFAR-10").subset(&(0..n).collect::<Vec<_>>());
    Some((model, data.images.iter().map(|&byte| from_byte(byte)).collect(), data.labels))
}

#[test]
fn every_device_gives_the_same_gradients_and_robust_images() {
    const N: usize = 40;
    let network = Layered::new("small", [8, 8, 3], 5, |layers, images| {
        let x = layers.conv2d("conv", images, 8, 3, 1, 1).leaky_relu(0.2);
        layers.linear("fc", &x.flatten(), 16).leaky_relu(0.2)
    });
    let network: Arc<dyn Network> = Arc::new(network.with_slope(0.2));
    let parameters = network.layout().initialise(Init::HeNormal, network.slope(), 4);
    let mut random = Threefry::new(1, stream::REPLAY_FILL, 0);
    let pixels: Vec<f32> = (0..N * 192).map(|_| 2.0 * random.uniform() - 1.0).collect();
    let mut found = Vec::new();
    for (name, device) in devices() {
        let mut victim =
            Classifier::of(&device, Arc::clone(&network), [8, 8, 3], &parameters, 16).expect(name);
        let logits: Vec<f32> =
            pixels.chunks(10 * 192).flat_map(|part| victim.logits(part).expect(name)).collect();
        let best = |row: &[f32]| (0..5).max_by(|&a, &b| row[a].total_cmp(&row[b])).expect("classes") as u32;
        let labels: Vec<u32> = logits.chunks(5).map(best).collect();
        let targets: Vec<u32> = labels.iter().map(|label| (label + 1) % 5).collect();
        let mut gradients = Vec::new();
        for loss in [Loss::CrossEntropy, Loss::Dlr, Loss::TargetedDlr, Loss::LogitDifference] {
            let answer =
                victim.gradient(loss, &pixels[..10 * 192], &labels[..10], &targets[..10]).expect(name);
            gradients.extend(answer.gradient);
        }
        let images = Images { pixels: &pixels, labels: &labels };
        let threat = Threat::new(Norm::L2, 0.1).expect("a threat");
        let mut robust = Vec::new();
        for attack in [Attack::ApgdT { steps: 10, targets: 4 }, Attack::Square { queries: 20 }] {
            robust.extend(
                attack.run(&mut victim, images, threat, 0, &mut |_| true).expect(name).expect(name).robust(),
            );
        }
        found.push((name, gradients, robust));
    }
    let [(_, gradients, robust), (name, others, other_robust)] = &found[..] else { panic!("two devices") };
    for (a, b) in gradients.iter().zip(others) {
        assert!((a - b).abs() <= 1e-4 * (1.0 + a.abs()), "{name}: {b}, not {a}");
    }
    // An image may be at the very boundary.
    let differing = robust.iter().zip(other_robust).filter(|(a, b)| a != b).count();
    assert!(differing <= 1, "{name}: {differing} of {} images", robust.len());
    let standing = robust.iter().filter(|robust| **robust).count();
    assert!((10..70).contains(&standing), "{standing} of {} stand", robust.len());
}

#[test]
fn robust_accuracies_are_those_of_torchattacks() {
    let peers: Value = serde_json::from_str(include_str!("fixtures/attacks/peers.json")).expect("JSON");
    let n = peers["images"].as_u64().expect("a number") as usize;
    let Some((model, pixels, labels)) = public(n) else {
        eprintln!("attacks: $JEM_DATA has no models/resnet20.th or CIFAR-10: ran without the public model");
        return;
    };
    let images = Images { pixels: &pixels, labels: &labels };
    let mut victim = Classifier::new(&Device::cpu(), &model, 64).expect("programs");
    let targets = peers["targets"].as_u64().expect("a number") as usize;
    let mut differing = Vec::new();
    for row in peers["rows"].as_array().expect("rows") {
        let norm: Norm = row["norm"].as_str().expect("a norm").parse().expect("a norm");
        let threat = Threat::new(norm, row["epsilon"].as_f64().expect("a radius")).expect("a threat");
        let steps = row["steps"].as_u64().expect("steps") as usize;
        let attack = match row["attack"].as_str().expect("a name") {
            // Deterministic, as there.
            "pgd" => Attack::Pgd { steps, random_start: false },
            "apgd-t" => Attack::ApgdT { steps, targets },
            "fab-t" => Attack::FabT { steps, targets },
            name => name.parse::<Attack>().and_then(|attack| attack.with_steps(steps)).expect("an attack"),
        };
        let found =
            attack.run(&mut victim, images, threat, 0, &mut |_| true).expect("an attack").expect("all of it");
        let right = found.correct.iter().filter(|right| **right).count();
        assert_eq!(right as u64, peers["right"].as_u64().expect("a number"));
        let robust = found.robust().iter().filter(|robust| **robust).count() as i64;
        let theirs = row["robust"].as_i64().expect("a number");
        println!("{attack} {threat} {steps}: {robust}, torchattacks {theirs} of {n}");
        // One image, or one point.
        let bound = if matches!(attack, Attack::Pgd { .. }) { 1 } else { n as i64 / 100 };
        if (robust - theirs).abs() > bound {
            differing.push(format!("{attack} {threat}: {robust}, torchattacks {theirs}"));
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
}

#[test]
#[ignore = "a measurement of time"]
fn time_of_apgd_on_the_public_network() {
    let (model, pixels, labels) = public(1000).expect("$JEM_DATA with models/resnet20.th and CIFAR-10");
    let images = Images { pixels: &pixels, labels: &labels };
    let batch = std::env::var("JEM_ATTACK_BATCH").map_or(100, |text| text.parse().expect("a number"));
    let epsilon =
        std::env::var("JEM_ATTACK_EPSILON").map_or(8.0 / 255.0, |text| text.parse().expect("a number"));
    let mut victim = Classifier::new(&Device::cpu(), &model, batch).expect("programs");
    let threat = Threat::new(Norm::LInf, epsilon).expect("a threat");
    let start = std::time::Instant::now();
    let found = Attack::ApgdCe { steps: 20 }.run(&mut victim, images, threat, 0, &mut |_| true);
    let seconds = start.elapsed().as_secs_f64();
    let found = found.expect("an attack").expect("all of it");
    // Each image is scored once before, and again if it is broken.
    let scored = found.correct.len() + found.broken_by.iter().flatten().count();
    let gradients = found.queries.iter().sum::<u64>() as usize - scored;
    println!(
        "jem epsilon {epsilon:.4} seconds {seconds:.2} robust {:.4} gradients {gradients}",
        found.robust_accuracy()
    );
}
