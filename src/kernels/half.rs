//! f16 on the host, where no kernel of this crate computes in it: how a cooperative matrix rounds its operands.

/// `x` rounded to the nearest f16, ties to even. Beyond the largest f16 (from 65,520 on) it is infinite; below the
/// smallest normal one (6.1e-5) f16 has fewer digits, and nothing under 2.98e-8.
pub fn round_to_f16(x: f32) -> f32 {
    const LARGEST: f32 = 65_504.0;
    const SMALLEST_NORMAL: f32 = 1.0 / 16_384.0;
    if !x.is_finite() {
        return x;
    }
    let rounded = if x.abs() < SMALLEST_NORMAL {
        // Multiples of 2^-24: the unit in the last place of 0.5 is just that, so that the addition rounds.
        ((x.abs() + 0.5) - 0.5).copysign(x)
    } else {
        // 13 of the 23 bits go; a carry runs into the exponent, as it should.
        let bits = x.to_bits();
        f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & !0x1fff)
    };
    if rounded.abs() > LARGEST { f32::INFINITY.copysign(x) } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of an f16.
    fn value(bits: u16) -> f32 {
        let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 0x3ff));
        let magnitude = match exponent {
            0 => fraction * 2f32.powi(-24),
            31 => f32::INFINITY,
            _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
        };
        if bits >> 15 == 1 { -magnitude } else { magnitude }
    }

    #[test]
    fn every_f16_stays_and_what_lies_between_goes_to_the_nearer_or_even_one() {
        for bits in 0..0x7c00u16 {
            let (low, high) = (value(bits), value(bits + 1));
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

    #[test]
    fn what_f16_has_not_becomes_infinite_or_zero() {
        assert_eq!(round_to_f16(1e6), f32::INFINITY);
        assert_eq!(round_to_f16(f32::NEG_INFINITY), f32::NEG_INFINITY);
        assert_eq!(round_to_f16(f32::MAX), f32::INFINITY);
        assert_eq!(round_to_f16(-1e-9).to_bits(), (-0f32).to_bits());
        assert!(round_to_f16(f32::NAN).is_nan());
    }
}
