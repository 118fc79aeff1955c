//! Small runs: pictures of a few pixels, and a recipe with every random and scheduled feature.

use jem::data::{Dataset, synthetic::synthetic};
use jem::ebm::{Preset, Recipe};

/// `images` synthetic pictures with side `side`, a divisor of 32.
pub fn pictures(images: usize, side: usize) -> Dataset {
    shrink(synthetic(images, 0, 5).0, side)
}

/// A regular subset of the pixels of square images, with side `side`, a divisor of theirs.
pub fn shrink(mut data: Dataset, side: usize) -> Dataset {
    let every = data.height / side;
    let mut small = Vec::with_capacity(data.len() * side * side * data.channels);
    for image in 0..data.len() {
        for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
            let pixel = (row * every * data.width + column * every) * data.channels;
            small.extend_from_slice(&data.image(image)[pixel..][..data.channels]);
        }
    }
    (data.images, data.height, data.width) = (small, side, side);
    data
}

/// WRN-10-1 for 12 iterations, each with its own learning rate and random numbers.
pub fn recipe() -> Recipe {
    Recipe {
        batch: 4,
        steps: 2,
        buffer: 40,
        reinitialise: 0.5,
        warmup: 10,
        decay_at: vec![0.5],
        iterations: 12,
        pad: 2,
        flip: true,
        input_noise: 0.03,
        ..Preset::Tiny.recipe()
    }
}
