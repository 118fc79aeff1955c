//! Runs that start from a trained model, stages before log p(x), and frozen statistics of batch norm.

mod model;
#[path = "../common/run_files.rs"]
mod run_files;
#[path = "../common/small.rs"]
mod small;
mod stages;
#[path = "../common/when_scoring.rs"]
mod when_scoring;

use jem::ebm::Recipe;

const SIDE: usize = 8;

fn recipe() -> Recipe {
    Recipe { clamp_x: true, clamp_gradient: 1.0, validation: 12, ..small::recipe() }
}
