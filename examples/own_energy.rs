//! Trains a user-defined energy: fits E(x) = -f(x), a perceptron, to points on a circle. The gradient of log p(x) is
//! that of f at the data minus that at samples of the model.

use jem::device::Device;
use jem::ebm::{DensitySampler, Langevin};
use jem::graph::Graph;
use jem::nn::{batch_norm::NormMode, init::Init, layers::Layered, optimizer::Optimizer};
use jem::nn::{network::Network, network::Pass, training::TrainingStep, training::Weights};

const POINTS: usize = 256;

fn main() -> jem::Result<()> {
    jem::self_test::serve();
    // A point is an image of one pixel with two channels.
    let network = Layered::new("circle", [1, 1, 2], 1, |layers, x| {
        let x = layers.linear("fc1", &x.flatten(), 64).silu();
        layers.linear("fc2", &x, 64).silu()
    });
    let weights = Weights::of(&Device::auto()?, &network, Init::HeNormal, 1)?;
    let (graph, mut pass) = (Graph::new(), Pass::new(weights.layout(), NormMode::Training));
    let [data, samples] = ["data", "samples"].map(|name| graph.input(name, [POINTS, 1, 1, 2]));
    let [f_data, f_samples] = [&data, &samples].map(|x| network.logits(x, &mut pass));
    let size = &f_data.square() + &f_samples.square();
    let loss = (&f_samples - &f_data + size.scale(0.01)).mean(&[0, 1]);
    let mut step = TrainingStep::new(&weights, Optimizer::adam(), &loss)?;
    let langevin = Langevin { step_size: 0.01, noise: 0.14, ..Langevin::default() };
    let chains = DensitySampler::new(&weights, langevin, &f_samples, &samples)?;
    let circle = |i: usize| [(i as f32 * 2.4).cos(), (i as f32 * 2.4).sin()];
    chains.start(&vec![0.0; 2 * POINTS], 1)?;
    for i in 0..500 {
        chains.run(20)?;
        step.set(&samples, &chains.chains()?)?;
        step.set(&data, &(i * POINTS..(i + 1) * POINTS).flat_map(circle).collect::<Vec<f32>>())?;
        step.run(1e-3)?;
    }
    let radius = |point: &[f32]| point[0].hypot(point[1]) / POINTS as f32;
    let mean: f32 = chains.chains()?.chunks(2).map(radius).sum();
    println!("mean radius of the samples (the circle's is 1): {mean:.3}");
    Ok(())
}
