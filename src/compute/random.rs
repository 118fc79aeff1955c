//! Counter-based random numbers: Threefry2x32 with 20 rounds (Salmon et al., "Parallel random numbers:
//! as easy as 1, 2, 3", SC 2011). Twin: `shaders/common/threefry.wgsl`.
//!
//! The key is (seed, stream), the counter (step, element): a number depends on what it is for and not on
//! what was drawn before it, so a resumed run draws what the uninterrupted run would have drawn.

use rand::rand_core::TryRng;
use std::convert::Infallible;
use std::f32::consts::TAU;

/// The purposes of random numbers: the second word of the key, below 256 (see [`lane`]).
pub mod stream {
    /// The noise of the SGLD update.
    pub const SGLD_NOISE: u32 = 1;
    /// The images that start new chains.
    pub const REPLAY_INIT: u32 = 2;
    /// The choice of the chains that start anew.
    pub const REPLAY_CHOICE: u32 = 3;
    /// Crops and flips.
    pub const AUGMENT: u32 = 4;
    /// The noise on training images.
    pub const INPUT_NOISE: u32 = 5;
    /// The order of the training images, on the host.
    pub const SHUFFLE: u32 = 6;
    /// Initial weights, on the host.
    pub const WEIGHTS: u32 = 7;
    /// The choice of the replay buffer's entries that a batch continues, on the host.
    pub const REPLAY_INDEX: u32 = 8;
    /// The labels of class-conditional chains, on the host.
    pub const CHAIN_LABEL: u32 = 9;
    /// The first contents of the replay buffer.
    pub const REPLAY_FILL: u32 = 10;
    /// Tensor expressions, such as dropout.
    pub const EXPRESSION: u32 = 11;
}

/// The second key word for `stream` in `lane`: several users of one stream in one step, such as two
/// batches of one iteration, take different lanes (below 2^24).
pub const fn lane(stream: u32, lane: u32) -> u32 {
    stream | lane << 8
}

/// Two random words for `key` (seed, stream) and `counter` (step, element).
pub fn threefry2x32(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    const PARITY: u32 = 0x1bd1_1bda;
    const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];
    let keys = [key[0], key[1], PARITY ^ key[0] ^ key[1]];
    let mut x = [counter[0].wrapping_add(key[0]), counter[1].wrapping_add(key[1])];
    for group in 0..5 {
        for rotation in ROTATIONS[group % 2] {
            x[0] = x[0].wrapping_add(x[1]);
            x[1] = x[1].rotate_left(rotation) ^ x[0];
        }
        x[0] = x[0].wrapping_add(keys[(group + 1) % 3]);
        x[1] = x[1].wrapping_add(keys[(group + 2) % 3]).wrapping_add(group as u32 + 1);
    }
    x
}

/// Uniform in [0, 1): the upper 24 bits of `word`, exactly.
pub fn uniform(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Two independent standard normal numbers from two random words (Box & Muller 1958). The radius takes
/// 24 bits, so that no number exceeds √(2 ln 2^24) = 5.77.
pub fn normal_pair(words: [u32; 2]) -> [f32; 2] {
    let u = ((words[0] >> 8) + 1) as f32 * (1.0 / 16_777_216.0);
    let radius = (-2.0 * u.ln()).max(0.0).sqrt();
    let [sine, cosine] = sine_cosine_of_turn(uniform(words[1]));
    [radius * cosine, radius * sine]
}

/// sin(2πt) and cos(2πt) for t in [0, 1), to 1e-7: Taylor polynomials about the nearest quarter turn.
/// GPUs promise no better than 2^-11 for their own sine.
fn sine_cosine_of_turn(t: f32) -> [f32; 2] {
    let quarter = (4.0 * t + 0.5).floor();
    let r = (t - 0.25 * quarter) * TAU;
    let r2 = r * r;
    let sine = r * (1.0 + r2 * (-1.0 / 6.0 + r2 * (1.0 / 120.0 + r2 * (-1.0 / 5040.0 + r2 / 362_880.0))));
    let cosine = 1.0 + r2 * (-0.5 + r2 * (1.0 / 24.0 + r2 * (-1.0 / 720.0 + r2 / 40_320.0)));
    match quarter as u32 % 4 {
        0 => [sine, cosine],
        1 => [cosine, -sine],
        2 => [-sine, -cosine],
        _ => [-cosine, sine],
    }
}

/// A generator on the host over one stream and step: for shuffles and initial weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threefry {
    key: [u32; 2],
    counter: [u32; 2],
    spare: Option<u32>,
}

impl Threefry {
    /// The numbers of `stream` under `seed` at `step` (an iteration, an epoch, a tensor's number).
    pub fn new(seed: u32, stream: u32, step: u32) -> Self {
        Self { key: [seed, stream], counter: [step, 0], spare: None }
    }

    /// Uniform in [0, 1), with 24 bits.
    pub fn uniform(&mut self) -> f32 {
        uniform(self.next())
    }

    /// Two independent standard normal numbers.
    pub fn normal_pair(&mut self) -> [f32; 2] {
        normal_pair([self.next(), self.next()])
    }

    /// The next 32 bits; a step has 2^33 words.
    fn next(&mut self) -> u32 {
        if let Some(word) = self.spare.take() {
            return word;
        }
        let [word, spare] = threefry2x32(self.key, self.counter);
        self.counter[1] = self.counter[1].wrapping_add(1);
        self.spare = Some(spare);
        word
    }
}

impl TryRng for Threefry {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.next())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let low = self.next();
        Ok(u64::from(low) | u64::from(self.next()) << 32)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(4) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::compute::random::*;
    use rand::Rng;

    /// The vectors published with the reference implementation (Random123, `kat_vectors`).
    #[test]
    fn known_answers() {
        for (counter, key, expected) in [
            ([0, 0], [0, 0], [0x6b20_0159, 0x99ba_4efe]),
            ([!0, !0], [!0, !0], [0x1cb9_96fc, 0xbb00_2be7]),
            ([0x243f_6a88, 0x85a3_08d3], [0x1319_8a2e, 0x0370_7344], [0xc492_3a9c, 0x483d_f7a0]),
        ] {
            assert_eq!(threefry2x32(key, counter), expected);
        }
    }

    #[test]
    fn extreme_words_give_finite_numbers() {
        for a in [0, 255, 256, 1 << 31, !0] {
            for b in [0, 1 << 29, 1 << 30, 1 << 31, 3 << 30, !0] {
                assert!((0.0..1.0).contains(&uniform(a)));
                let [x, y] = normal_pair([a, b]);
                assert!(x.is_finite() && y.is_finite() && x.hypot(y) < 5.8, "{a} {b}: {x} {y}");
            }
        }
    }

    #[test]
    fn sine_and_cosine_are_within_2e_7() {
        for i in 0..1 << 16 {
            let t = i as f32 / 65_536.0 + 1.0 / 16_777_216.0;
            let [sine, cosine] = sine_cosine_of_turn(t);
            let angle = std::f64::consts::TAU * f64::from(t);
            approx::assert_abs_diff_eq!(f64::from(sine), angle.sin(), epsilon = 2e-7);
            approx::assert_abs_diff_eq!(f64::from(cosine), angle.cos(), epsilon = 2e-7);
        }
    }

    #[test]
    fn the_generator_follows_the_counter() {
        let mut generator = Threefry::new(7, stream::SHUFFLE, 3);
        let [a, b] = threefry2x32([7, stream::SHUFFLE], [3, 0]);
        let [c, d] = threefry2x32([7, stream::SHUFFLE], [3, 1]);
        assert_eq!(generator.next_u32(), a);
        assert_eq!(generator.next_u64(), u64::from(b) | u64::from(c) << 32);
        let mut bytes = [0; 4];
        generator.fill_bytes(&mut bytes);
        assert_eq!(u32::from_le_bytes(bytes), d);
    }
}
