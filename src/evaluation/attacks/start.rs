//! Random numbers and random starting points of attacks.

use super::threat::{Norm, Threat};
use crate::compute::random::normal_pair;
use crate::compute::splitmix::SplitMix;

/// The purposes of random numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    Pgd = 1,
    Apgd = 2,
    Square = 3,
    Noise = 4,
    Distal = 5,
    ApgdDlr = 6,
    Refinement = 7,
}

/// The random numbers of image `index` in run `run` of an attack.
pub(super) fn random(seed: u64, stream: Stream, run: usize, index: usize) -> SplitMix {
    SplitMix::new(seed, ((stream as u64) << 56) | ((run as u64) << 40) | index as u64)
}

/// A random point of the ball around `clean`, clamped to the range of pixels. L-infinity: uniform in the ball. L2: in a
/// random direction, at a uniformly random distance.
pub(super) fn inside(threat: Threat, clean: &[f32], random: &mut SplitMix) -> Vec<f32> {
    let direction = match threat.norm() {
        Norm::LInf => (0..clean.len()).map(|_| random.uniform(-1.0, 1.0)).collect(),
        Norm::L2 => {
            let direction = direction(threat.norm(), clean.len(), random);
            let part = random.uniform(0.0, 1.0);
            direction.iter().map(|d| part * d).collect::<Vec<f32>>()
        }
    };
    moved(threat, clean, &direction)
}

/// A random point of the ball's surface, clamped to the range of pixels (AutoAttack's start): a uniform vector scaled to
/// the radius for L-infinity, a normal one for L2.
pub(super) fn on_surface(threat: Threat, clean: &[f32], random: &mut SplitMix) -> Vec<f32> {
    moved(threat, clean, &direction(threat.norm(), clean.len(), random))
}

/// A random vector of norm 1.
fn direction(norm: Norm, len: usize, random: &mut SplitMix) -> Vec<f32> {
    let mut vector: Vec<f32> = match norm {
        Norm::LInf => (0..len).map(|_| random.uniform(-1.0, 1.0)).collect(),
        Norm::L2 => normals(len, random),
    };
    let length = norm.of(&vector) as f32 + 1e-12;
    vector.iter_mut().for_each(|v| *v /= length);
    vector
}

/// Standard normal numbers.
pub(super) fn normals(len: usize, random: &mut SplitMix) -> Vec<f32> {
    let pairs = (0..len.div_ceil(2)).flat_map(|_| {
        let bits = random.next();
        normal_pair([(bits >> 32) as u32, bits as u32])
    });
    pairs.take(len).collect()
}

/// `clean` plus the radius times `direction`, within the threat.
fn moved(threat: Threat, clean: &[f32], direction: &[f32]) -> Vec<f32> {
    let radius = threat.radius() as f32;
    let mut x: Vec<f32> = clean.iter().zip(direction).map(|(x, d)| x + radius * d).collect();
    threat.project(clean, &mut x);
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_random_points_of_the_ball() {
        let clean = vec![0.0f32; 101];
        for norm in Norm::ALL {
            let threat = Threat::new(norm, 0.1).unwrap();
            let [a, b] =
                [3, 4].map(|index| on_surface(threat, &clean, &mut random(0, Stream::Apgd, 0, index)));
            assert_ne!(a, b);
            assert_eq!(a, on_surface(threat, &clean, &mut random(0, Stream::Apgd, 0, 3)));
            assert_ne!(a, on_surface(threat, &clean, &mut random(1, Stream::Apgd, 0, 3)));
            assert!(threat.allows(&clean, &a) && norm.distance(&clean, &a) > 0.0999);
            let distances: Vec<f64> = (0..200)
                .map(|index| {
                    norm.distance(&clean, &inside(threat, &clean, &mut random(0, Stream::Pgd, 0, index)))
                })
                .collect();
            assert!(distances.iter().all(|&distance| distance <= 0.1));
            let mean = distances.iter().sum::<f64>() / 200.0;
            // The largest of 101 uniform numbers, and a uniform number.
            let expected = if norm == Norm::LInf { 0.1 * 101.0 / 102.0 } else { 0.05 };
            assert!((mean - expected).abs() < 0.007, "{norm}: {mean}");
        }
    }
}
