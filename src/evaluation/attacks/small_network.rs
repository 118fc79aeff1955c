//! Small networks for the tests of attacks.

use super::losses::prediction;
use super::{Answer, Classifier, Loss, Victim};
use crate::compute::splitmix::SplitMix;
use crate::device::Device;
use crate::error::Result;
use crate::nn::layers::Layered;
use crate::nn::network::Network;
use std::sync::Arc;

pub const SIDE: usize = 6;

/// A perceptron with one hidden layer for grey images of [`SIDE`] pixels a side, and random parameters.
pub fn perceptron(seed: u64, classes: usize) -> (Arc<dyn Network>, Vec<f32>) {
    let network = Layered::new("perceptron", [SIDE, SIDE, 1], classes, |layers, images| {
        layers.linear("fc", &images.flatten(), 24).leaky_relu(0.1)
    });
    let mut random = SplitMix::new(seed, 99);
    let parameters = (0..network.layout().words()).map(|_| random.uniform(-0.6, 0.6)).collect();
    (Arc::new(network), parameters)
}

/// A linear classifier of grey images with weights `[classes, pixels]` and a bias for each class.
pub fn linear(weights: &[f32], bias: &[f32], side: usize, batch: usize) -> Classifier {
    let classes = bias.len();
    let network = Layered::new("linear", [side, side, 1], classes, |_, images| images.flatten());
    let part = |parameter: &crate::nn::parameters::Parameter| -> Result<&[f32]> {
        Ok(if parameter.name.ends_with("weight") { weights } else { bias })
    };
    let parameters = network.layout().gather(part).unwrap();
    Classifier::of(&Device::cpu(), Arc::new(network), [side, side, 1], &parameters, batch).unwrap()
}

/// [`perceptron`] as a victim.
pub fn victim(seed: u64, classes: usize, batch: usize) -> Classifier {
    let (network, parameters) = perceptron(seed, classes);
    Classifier::of(&Device::cpu(), network, [SIDE, SIDE, 1], &parameters, batch).unwrap()
}

/// Random images.
pub fn images(n: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix::new(seed, 98);
    (0..n * SIDE * SIDE).map(|_| random.uniform(-0.9, 0.9)).collect()
}

/// Random images with the labels that [`victim`] predicts.
pub fn right_images(n: usize, seed: u64, classes: usize) -> (Vec<f32>, Vec<u32>) {
    let pixels = images(n, seed);
    let logits = victim(seed, classes, n).logits(&pixels).unwrap();
    let labels = logits.chunks(classes).map(|row| prediction(row) as u32).collect();
    (pixels, labels)
}

/// A victim whose gradients are 0, as where they are masked.
#[derive(Debug)]
pub struct Masked<V>(pub V);

impl<V: Victim> Victim for Masked<V> {
    fn image(&self) -> [usize; 3] {
        self.0.image()
    }

    fn classes(&self) -> usize {
        self.0.classes()
    }

    fn batch(&self) -> usize {
        self.0.batch()
    }

    fn logits(&mut self, images: &[f32]) -> Result<Vec<f32>> {
        self.0.logits(images)
    }

    fn gradient(&mut self, _: Loss, images: &[f32], _: &[u32], _: &[u32]) -> Result<Answer> {
        Ok(Answer { logits: self.0.logits(images)?, gradient: vec![0.0; images.len()] })
    }
}
