//! f16 on the host: the storage of tensors at half the bytes, and the rounding of a cooperative matrix's operands.
//!
//! Kernels read f16 by `unpack2x16float` and write it by `shaders/common/pack_half.wgsl`, two to a word, the first in
//! the lower half: no device needs an extension for it. They compute in f32.

use crate::compute::argument::Argument;
use crate::compute::contract::{Access, Binding};
use crate::compute::cpu::elementwise::CHUNK;
use crate::compute::storage::Storage;
use rayon::prelude::*;

/// The bits of the f16 nearest to `x`, ties to even. From 65,520 on, beyond the largest f16, the result is infinite.
/// Below the smallest normal f16 (6.1e-5) it has fewer digits, and under 2.98e-8 it is 0.
pub fn to_bits(x: f32) -> u16 {
    // Every case is computed and one taken: such loops become vector instructions.
    let (sign, magnitude) = ((x.to_bits() >> 16 & 0x8000) as u16, x.to_bits() & 0x7fff_ffff);
    // Drops 13 of the 23 bits; a carry runs into the exponent, as it should. The exponents' biases differ by 112.
    let normal = (magnitude + 0xfff + (magnitude >> 13 & 1)) >> 13;
    let normal = normal.wrapping_sub(112 << 10);
    // Multiples of 2^-24: the unit in the last place of 0.5 is just that, so that the addition rounds.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let finite = if magnitude < 0x3880_0000 { subnormal } else { normal };
    let infinite = if magnitude > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
    sign | if magnitude < 0x477f_f000 { finite } else { infinite } as u16
}

/// The value of an f16.
pub fn from_bits(bits: u16) -> f32 {
    const TO_THE_112: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let finite = f32::from_bits(magnitude) * TO_THE_112;
    let value = if bits & 0x7c00 == 0x7c00 { f32::from_bits(magnitude | 0x7f80_0000) } else { finite };
    if bits >> 15 == 1 { -value } else { value }
}

/// `x` rounded to the nearest f16.
pub fn round_to_f16(x: f32) -> f32 {
    from_bits(to_bits(x))
}

/// Elements as f16, two to a word.
pub fn narrow(values: &[f32]) -> Vec<u32> {
    let mut words = vec![0; values.len().div_ceil(2)];
    narrow_into(values, &mut words);
    words
}

fn narrow_into(values: &[f32], words: &mut [u32]) {
    words.par_chunks_mut(CHUNK).zip(values.par_chunks(2 * CHUNK)).for_each(|(words, values)| {
        let (pairs, rest) = values.as_chunks::<2>();
        for (word, pair) in words.iter_mut().zip(pairs) {
            *word = u32::from(to_bits(pair[1])) << 16 | u32::from(to_bits(pair[0]));
        }
        if let ([last], Some(word)) = (rest, words.last_mut()) {
            *word = u32::from(to_bits(*last));
        }
    });
}

/// The elements of words of two f16.
pub fn widen(words: &[u32]) -> Vec<f32> {
    let mut values = vec![0.0; 2 * words.len()];
    values.par_chunks_mut(2 * CHUNK).zip(words.par_chunks(CHUNK)).for_each(|(values, words)| {
        for (pair, &word) in values.as_chunks_mut::<2>().0.iter_mut().zip(words) {
            *pair = [from_bits(word as u16), from_bits((word >> 16) as u16)];
        }
    });
    values
}

/// Runs a twin, which computes in f32, on arguments some of which are stored in f16.
pub(crate) fn in_f32(
    bindings: &[Binding],
    arguments: &mut [Argument<'_>],
    run: impl FnOnce(&mut [Argument<'_>]),
) {
    if bindings.iter().all(|binding| binding.storage == Storage::F32) {
        return run(arguments);
    }
    let mut singles: Vec<Option<Vec<u32>>> = bindings
        .iter()
        .zip(arguments.iter())
        .map(|(binding, argument)| match (binding.storage, binding.access) {
            (Storage::F32, _) => None,
            (Storage::F16, Access::Write) => Some(vec![0; 2 * argument.u32().len()]),
            (Storage::F16, _) => Some(bytemuck::cast_vec(widen(argument.u32()))),
        })
        .collect();
    let mut views: Vec<Argument<'_>> = arguments
        .iter_mut()
        .zip(&mut singles)
        .map(|(argument, single)| match (argument, single) {
            (Argument::Read(_), Some(single)) => Argument::Read(single),
            (Argument::Write(_), Some(single)) => Argument::Write(single),
            (argument, None) => argument.reborrow(),
        })
        .collect();
    run(&mut views);
    for (argument, single) in arguments.iter_mut().zip(&singles) {
        if let (Argument::Write(words), Some(single)) = (argument, single) {
            narrow_into(bytemuck::cast_slice(single), words);
        }
    }
}

/// Runs a twin with argument `index` multiplied by `factor`, a power of two.
pub(crate) fn scaled(
    factor: f32,
    index: usize,
    arguments: &mut [Argument<'_>],
    run: impl FnOnce(&mut [Argument<'_>]),
) {
    if factor == 1.0 {
        return run(arguments);
    }
    let product: Vec<u32> = arguments[index].f32().iter().map(|x| (x * factor).to_bits()).collect();
    let mut views: Vec<Argument<'_>> = arguments.iter_mut().map(Argument::reborrow).collect();
    views[index] = Argument::Read(&product);
    run(&mut views);
}

#[cfg(test)]
mod tests {
    use crate::compute::half::*;

    #[test]
    fn every_f16_stays_and_what_lies_between_goes_to_the_nearer_or_even_one() {
        for bits in 0..0x7c00u16 {
            let (low, high) = (from_bits(bits), from_bits(bits + 1));
            assert_eq!((to_bits(low), to_bits(-low)), (bits, bits | 0x8000));
            assert_eq!(round_to_f16(low).to_bits(), low.to_bits());
            assert_eq!(round_to_f16(-low).to_bits(), (-low).to_bits());
            // From the largest one on, as if there were a next one.
            let high = if high.is_finite() { high } else { 65_536.0 };
            let middle = low + (high - low) / 2.0;
            let beyond = |x: f32| if x == 65_536.0 { f32::INFINITY } else { x };
            let even = if bits.is_multiple_of(2) { low } else { beyond(high) };
            assert_eq!(round_to_f16(middle), even, "{middle:e}");
            assert_eq!(round_to_f16(middle.next_down()), low, "under {middle:e}");
            assert_eq!(round_to_f16(middle.next_up()), beyond(high), "over {middle:e}");
        }
    }

    /// The value by the definition of f16, not from its bits.
    #[test]
    fn the_value_of_an_f16() {
        for bits in 0..0x7c00u16 {
            let (exponent, fraction) = (i32::from(bits >> 10), f32::from(bits & 0x3ff));
            let value = match exponent {
                0 => fraction * 2f32.powi(-24),
                _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
            };
            assert_eq!(from_bits(bits), value);
            assert_eq!(from_bits(bits | 0x8000).to_bits(), (-value).to_bits());
        }
        assert_eq!([0x7c00, 0xfc00].map(from_bits), [f32::INFINITY, f32::NEG_INFINITY]);
        assert!(from_bits(0x7e00).is_nan() && from_bits(to_bits(f32::NAN)).is_nan());
        assert_eq!([1e6, -1e6].map(to_bits), [0x7c00, 0xfc00]);
    }

    #[test]
    fn pairs_lie_with_the_first_in_the_lower_half() {
        assert_eq!(narrow(&[1.0, -2.0, 0.5]), [0xc000_3c00, 0x3800]);
        assert_eq!(widen(&[0xc000_3c00, 0x3800]), [1.0, -2.0, 0.5, 0.0]);
    }

    #[test]
    fn what_f16_has_not_becomes_infinite_or_zero() {
        assert_eq!(round_to_f16(1e6), f32::INFINITY);
        assert_eq!(round_to_f16(f32::NEG_INFINITY), f32::NEG_INFINITY);
        assert_eq!(round_to_f16(f32::MAX), f32::INFINITY);
        assert_eq!(round_to_f16(-1e-9).to_bits(), (-0f32).to_bits());
        assert!(round_to_f16(f32::NAN).is_nan());
    }
}
