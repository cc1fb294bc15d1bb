//! Half precision (IEEE 754 binary16) from and to f32.

/// Rounds to the nearest half-precision number, ties to even; infinite if it is too large.
pub(super) fn from_f32(number: f32) -> u16 {
    let bits = number.to_bits();
    #[allow(clippy::cast_possible_truncation, reason = "one bit")]
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        // NaN stays NaN, with as much of its payload as fits.
        #[allow(clippy::cast_possible_truncation, reason = "ten bits")]
        let payload = (magnitude >> 13) as u16 & 0x03ff;
        return sign | 0x7e00 | payload;
    }
    if magnitude >= 0x4780_0000 {
        return sign | 0x7c00;
    }
    let rounded = match magnitude < 0x3880_0000 {
        // Subnormal: below 2^-14 the step is 2^-24. Adding 0.5 aligns the bits with it and rounds.
        true => (f32::from_bits(magnitude) + 0.5).to_bits() - 0.5f32.to_bits(),
        // The exponent's bias goes from 127 to 15. The addition rounds and carries into the exponent.
        false => (magnitude - (112 << 23) + 0x0fff + ((magnitude >> 13) & 1)) >> 13,
    };
    #[allow(clippy::cast_possible_truncation, reason = "fifteen bits")]
    {
        sign | rounded as u16
    }
}

/// The same number in f32.
pub(super) fn to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(bits >> 10) & 0x1f, u32::from(bits) & 0x03ff);
    let magnitude = match exponent {
        0 => {
            #[allow(clippy::cast_precision_loss, reason = "ten bits")]
            let fraction = fraction as f32;
            (fraction * 2f32.powi(-24)).to_bits()
        }
        0x1f => 0x7f80_0000 | (fraction << 13),
        _ => ((exponent + 112) << 23) | (fraction << 13),
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_comes_back_as_it_was() {
        for bits in 0..=u16::MAX {
            let back = from_f32(to_f32(bits));
            match to_f32(bits).is_nan() {
                true => assert!(to_f32(back).is_nan(), "{bits:#x}"),
                false => assert_eq!(back, bits, "{:e}", to_f32(bits)),
            }
        }
    }

    #[test]
    fn what_lies_between_two_halves_becomes_the_nearer_one_or_the_even_one() {
        for bits in 0..0x7bff_u16 {
            let (low, high) = (to_f32(bits), to_f32(bits + 1));
            let middle = low + (high - low) / 2.0;
            let even = if bits % 2 == 0 { bits } else { bits + 1 };
            assert_eq!(from_f32(middle), even, "{middle:e}");
            assert_eq!(from_f32(middle.next_down()), bits, "{middle:e}");
            assert_eq!(from_f32(middle.next_up()), bits + 1, "{middle:e}");
            assert_eq!(from_f32(-middle.next_up()), 0x8000 | (bits + 1), "{middle:e}");
        }
        assert_eq!(from_f32(65_519.0), 0x7bff);
        assert_eq!(from_f32(65_520.0), 0x7c00);
        assert_eq!(from_f32(f32::NEG_INFINITY), 0xfc00);
        assert_eq!(from_f32(1e-40), 0);
    }
}
