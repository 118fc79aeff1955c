//! Trains a user-defined network as a joint energy-based model: classifier, density and generator in one.

use jem::data::synthetic::synthetic;
use jem::device::Device;
use jem::ebm::{Family, Preset, Recipe, RunDirectory, RunOptions, run};
use jem::interrupt;
use jem::nn::{init::Init, layers::Layered};
use jem::report::terminal::{Style, Terminal};
use std::path::Path;
use std::sync::Arc;

fn main() -> jem::Result<()> {
    jem::self_test::serve();
    let network = Layered::new("convolutional", [32, 32, 3], 10, |layers, images| {
        let x = layers.conv2d("conv1", images, 16, 3, 2, 1).leaky_relu(0.2);
        let x = layers.conv2d("conv2", &x, 32, 3, 2, 1).leaky_relu(0.2);
        layers.linear("fc", &x.flatten(), 64).leaky_relu(0.2)
    });
    let recipe = Recipe {
        batch: 32,
        steps: 10,
        buffer: 500,
        iterations: 300,
        init: Init::HeNormal,
        ..Family::Jem.recipe(Preset::Tiny)
    };
    let (train, test) = synthetic(5000, 500, 1);
    let options = RunOptions {
        network: Some(Arc::new(network.with_slope(0.2))),
        progress: Some(Box::new(Terminal::new(Style::Bar))),
        stop: interrupt::flag()?,
        ..RunOptions::new(RunDirectory::fresh(Path::new("runs"), "own-network"))
    };
    let outcome = run(&Device::auto()?, &recipe, &train, &test, options)?;
    let accuracy = outcome.test.map_or(f64::NAN, |test| 100.0 * test.accuracy);
    println!("accuracy {accuracy:.1}%, see {}", outcome.report.display());
    Ok(())
}
