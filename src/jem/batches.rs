//! Which images and chains each iteration takes: drawn on the host, a function of seed and iteration alone,
//! so that a resumed run draws what the uninterrupted one would have.

use crate::kernels::random::{Threefry, lane, stream};
use rand::RngExt as _;
use rand::seq::{SliceRandom as _, index};

/// Image numbers in shuffled epochs.
#[derive(Debug, Clone)]
pub struct Shuffled {
    seed: u32,
    stream: u32,
    order: Vec<u32>,
    epoch: Option<u32>,
}

impl Shuffled {
    /// An endless walk through `images` images; `number` tells the walks of one run apart.
    pub fn new(images: usize, seed: u32, number: u32) -> Self {
        let order = (0..images as u32).collect();
        Self { seed, stream: lane(stream::SHUFFLE, number), order, epoch: None }
    }

    /// The images of `iteration` at `batch` images an iteration. Every image comes once an epoch.
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
pub struct Chains {
    /// Entries of the replay buffer.
    pub entries: Vec<u32>,
    /// The class that each chain is sampled for; 0 if it is not class-conditional.
    pub labels: Vec<u32>,
}

/// Draws `batch` chains from a buffer of `buffer`. With `classes`, the class of each is uniform, and the
/// buffer has an equal part for each class, so that a chain keeps its class.
pub fn draw_chains(seed: u32, iteration: u64, batch: usize, buffer: usize, classes: Option<usize>) -> Chains {
    let mut entries_random = Threefry::new(seed, stream::REPLAY_INDEX, iteration as u32);
    let Some(classes) = classes else {
        let entries =
            index::sample(&mut entries_random, buffer, batch).into_iter().map(|i| i as u32).collect();
        return Chains { entries, labels: vec![0; batch] };
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
    Chains { entries, labels }
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
}
