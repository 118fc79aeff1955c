//! Draws the images and chains of each iteration, on the host. The draws are a function of seed and iteration alone, so
//! that a resumed run draws the same as an uninterrupted one.

use crate::compute::random::{Threefry, lane, stream};
use crate::kernels::replay_scatter::DISCARDED;
use rand::RngExt as _;
use rand::seq::{SliceRandom as _, index};

/// Image numbers in a new random order each epoch.
#[derive(Debug, Clone)]
pub struct Shuffled {
    seed: u32,
    stream: u32,
    order: Vec<u32>,
    epoch: Option<u32>,
}

impl Shuffled {
    /// An endless sequence of the numbers of `images` images; `number` distinguishes the sequences of one run.
    pub fn new(images: usize, seed: u32, number: u32) -> Self {
        let order = (0..images as u32).collect();
        Self { seed, stream: lane(stream::SHUFFLE, number), order, epoch: None }
    }

    /// The images of `iteration` at `batch` images per iteration. Every image occurs once per epoch.
    pub fn draw(&mut self, iteration: u64, batch: usize) -> Vec<u32> {
        let images = self.order.len() as u64;
        let first = iteration * batch as u64;
        (first..first + batch as u64)
            .map(|position| {
                self.enter((position / images) as u32);
                self.order[(position % images) as usize]
            })
            .collect()
    }

    fn enter(&mut self, epoch: u32) {
        if self.epoch != Some(epoch) {
            self.order.sort_unstable();
            self.order.shuffle(&mut Threefry::new(self.seed, self.stream, epoch));
            self.epoch = Some(epoch);
        }
    }
}

/// The chains of one iteration: distinct entries of the replay buffer, and a class for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrawnChains {
    /// Entries of the replay buffer.
    pub entries: Vec<u32>,
    /// The class that each chain is sampled for; 0 if it is not class-conditional.
    pub labels: Vec<u32>,
}

/// Draws `batch` chains from a buffer of `buffer` chains. With `classes`, the class of each is uniform, and the buffer
/// has an equal part for each class, so that a chain keeps its class.
pub fn draw_chains(
    seed: u32,
    iteration: u64,
    batch: usize,
    buffer: usize,
    classes: Option<usize>,
) -> DrawnChains {
    let mut entries_random = Threefry::new(seed, stream::REPLAY_INDEX, iteration as u32);
    let Some(classes) = classes else {
        let entries =
            index::sample(&mut entries_random, buffer, batch).into_iter().map(|i| i as u32).collect();
        return DrawnChains { entries, labels: vec![0; batch] };
    };
    let mut labels_random = Threefry::new(seed, stream::CHAIN_LABEL, iteration as u32);
    let labels: Vec<u32> = (0..batch).map(|_| labels_random.random_range(0..classes as u32)).collect();
    let part = buffer / classes;
    let mut entries = vec![0; batch];
    for class in 0..classes as u32 {
        let chains: Vec<usize> = (0..batch).filter(|&chain| labels[chain] == class).collect();
        let drawn = index::sample(&mut entries_random, part, chains.len());
        for (chain, entry) in chains.into_iter().zip(drawn) {
            entries[chain] = class * part as u32 + entry as u32;
        }
    }
    DrawnChains { entries, labels }
}

/// The buffer entry that each image of an iteration's chains replaces, by reservoir sampling (Vitter 1985, algorithm R;
/// Du et al. 2021, "Improved contrastive divergence"). The t-th image of the run replaces a random one of the `buffer`
/// entries with probability `buffer / t`, so that the buffer is a uniform sample of all images; an image that replaces
/// none has [`DISCARDED`]. The initial contents of the buffer count as its first images. If two images draw the same
/// entry, the later one gets it.
pub fn reservoir(seed: u32, iteration: u64, batch: usize, buffer: usize) -> Vec<u32> {
    let mut random = Threefry::new(seed, lane(stream::REPLAY_INDEX, 1), iteration as u32);
    let first = buffer as u64 + iteration * batch as u64;
    let mut targets: Vec<u32> = Vec::with_capacity(batch);
    for image in first + 1..=first + batch as u64 {
        let drawn = random.random_range(0..image);
        let target = if drawn < buffer as u64 { drawn as u32 } else { DISCARDED };
        if let Some(earlier) = targets.iter_mut().find(|earlier| **earlier == target) {
            *earlier = DISCARDED;
        }
        targets.push(target);
    }
    targets
}

/// Chooses `count` images of each class, by `seed` alone, in the order of the data set.
///
/// # Errors
/// The class that has fewer images, and how many it has.
pub fn labelled_images(
    labels: &[u32],
    classes: usize,
    count: usize,
    seed: u32,
) -> Result<Vec<u32>, (usize, usize)> {
    let mut members = vec![Vec::new(); classes];
    (0u32..).zip(labels).for_each(|(image, &label)| members[label as usize].push(image));
    let mut chosen = Vec::with_capacity(classes * count);
    for (class, members) in members.iter_mut().enumerate() {
        if members.len() < count {
            return Err((class, members.len()));
        }
        members.shuffle(&mut Threefry::new(seed, lane(stream::SHUFFLE, 2), class as u32));
        chosen.extend_from_slice(&members[..count]);
    }
    chosen.sort_unstable();
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_image_comes_once_an_epoch_and_epochs_differ() {
        let mut walk = Shuffled::new(10, 7, 0);
        let drawn: Vec<u32> = (0..5).flat_map(|iteration| walk.draw(iteration, 4)).collect();
        let epochs: Vec<&[u32]> = drawn.chunks(10).collect();
        for epoch in &epochs {
            assert_eq!(epoch.iter().collect::<HashSet<_>>().len(), 10);
        }
        assert_ne!(epochs[0], epochs[1]);
    }

    #[test]
    fn a_draw_depends_on_the_iteration_alone() {
        let mut walk = Shuffled::new(10, 7, 0);
        let all: Vec<Vec<u32>> = (0..9).map(|iteration| walk.draw(iteration, 4)).collect();
        assert_eq!(Shuffled::new(10, 7, 0).draw(6, 4), all[6]);
        assert_ne!(Shuffled::new(10, 7, 1).draw(6, 4), all[6], "another walk");
    }

    #[test]
    fn chains_are_distinct_and_keep_their_class() {
        let chains = draw_chains(3, 5, 32, 400, Some(10));
        assert_eq!(chains.entries.iter().collect::<HashSet<_>>().len(), 32);
        for (entry, label) in chains.entries.iter().zip(&chains.labels) {
            assert_eq!(entry / 40, *label);
        }
        let chains = draw_chains(3, 5, 32, 32, None);
        assert_eq!(chains.entries.iter().collect::<HashSet<_>>().len(), 32);
    }

    #[test]
    fn a_reservoir_is_a_uniform_choice_of_all_images() {
        let (buffer, batch, iterations, seeds) = (20, 8, 50, 400);
        // The number of images of each iteration in the buffer at the end; the last element counts the initial
        // contents.
        let mut kept = vec![0usize; iterations + 1];
        for seed in 0..seeds {
            let mut entries = vec![iterations; buffer];
            for iteration in 0..iterations {
                let targets = reservoir(seed, iteration as u64, batch, buffer);
                let real: Vec<u32> = targets.into_iter().filter(|&target| target != DISCARDED).collect();
                assert_eq!(real.iter().collect::<HashSet<_>>().len(), real.len());
                real.iter().for_each(|&target| entries[target as usize] = iteration);
            }
            entries.into_iter().for_each(|iteration| kept[iteration] += 1);
        }
        // All images are equally likely to be in the buffer.
        let all = (buffer + batch * iterations) as f64;
        for (iteration, &kept) in kept.iter().enumerate() {
            let images = if iteration == iterations { buffer } else { batch };
            let mean = f64::from(seeds) * (images * buffer) as f64 / all;
            assert!((kept as f64 - mean).abs() < 5.0 * mean.sqrt(), "{iteration}: {kept}, expected {mean}");
        }
    }

    #[test]
    fn labels_are_as_many_of_each_class_as_asked_for() {
        let labels: Vec<u32> = (0..60).map(|i| i * i % 3).collect();
        let chosen = labelled_images(&labels, 2, 7, 1).unwrap();
        for class in 0..2 {
            assert_eq!(chosen.iter().filter(|&&image| labels[image as usize] == class).count(), 7);
        }
        assert_eq!(chosen.iter().collect::<HashSet<_>>().len(), 14);
        assert_ne!(labelled_images(&labels, 2, 7, 2).unwrap(), chosen);
        assert_eq!(labelled_images(&labels, 3, 7, 1), Err((2, 0)));
    }
}
