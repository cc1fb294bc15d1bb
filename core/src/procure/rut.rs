//! Chilean tax numbers.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A Chilean tax number (RUT) with a valid check digit.
///
/// It is read with or without points and dash, with `K` or `k`, and written with both.
///
/// ```
/// use ayni::procure::Rut;
/// let rut: Rut = "76990011k".parse()?;
/// assert_eq!((rut.to_string().as_str(), rut.compact().as_str()), ("76.990.011-K", "76990011K"));
/// # Ok::<_, ayni::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rut(u32);

impl Rut {
    /// The RUT with this number, which does not include the check digit.
    ///
    /// # Errors
    /// `invalid_request` for 0 and for numbers of more than eight digits.
    pub fn new(number: u32) -> Result<Self> {
        if number == 0 || number > 99_999_999 {
            return Err(Error::invalid_request("a RUT has one to eight digits before its check digit"));
        }
        Ok(Self(number))
    }

    /// The number without its check digit.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The check digit: `0` to `9`, or `K`.
    pub fn check_digit(self) -> char {
        let (mut rest, mut factor, mut sum) = (self.0, 2, 0);
        while rest > 0 {
            sum += (rest % 10) * factor;
            factor = if factor == 7 { 2 } else { factor + 1 };
            rest /= 10;
        }
        match 11 - sum % 11 {
            11 => '0',
            10 => 'K',
            digit => char::from_digit(digit, 10).unwrap_or('0'),
        }
    }

    /// Without points and dash, as OCDS writes it: `76990011K`.
    pub fn compact(self) -> String {
        format!("{}{}", self.0, self.check_digit())
    }
}

impl FromStr for Rut {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || Error::invalid_request("not a RUT such as 76.990.011-K");
        let mut digits = String::with_capacity(9);
        for character in text.trim().chars().filter(|c| !matches!(c, '.' | '-' | ' ')) {
            match character.to_ascii_uppercase() {
                known @ ('0'..='9' | 'K') if digits.len() < 9 => digits.push(known),
                _ => return Err(refuse()),
            }
        }
        let check = digits.pop().ok_or_else(refuse)?;
        let rut = Self::new(digits.parse().map_err(|_| refuse())?)?;
        if rut.check_digit() != check {
            return Err(Error::invalid_request("the check digit of the RUT is wrong"));
        }
        Ok(rut)
    }
}

impl fmt::Display for Rut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millions, thousands, ones) = (self.0 / 1_000_000, self.0 / 1_000 % 1_000, self.0 % 1_000);
        match (millions, thousands) {
            (0, 0) => write!(f, "{ones}")?,
            (0, _) => write!(f, "{thousands}.{ones:03}")?,
            _ => write!(f, "{millions}.{thousands:03}.{ones:03}")?,
        }
        write!(f, "-{}", self.check_digit())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_numbers_hold_and_changed_ones_do_not() {
        for text in ["61.900.001-3", "76.990.011-K", "769900446", "70.017.820-k", "1-9"] {
            assert!(text.parse::<Rut>().is_ok(), "{text}");
        }
        for text in ["", "K", "-", "61.900.001-4", "76.990.011-0", "0-0", "1234567890-1", "76.99a.011-K"] {
            assert!(text.parse::<Rut>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[0-9kK.\\- \\PC]{0,16}") {
            if let Ok(rut) = text.parse::<Rut>() {
                prop_assert_eq!(rut.to_string().parse::<Rut>().expect("read back"), rut);
            }
        }

        #[test]
        fn every_form_reads_back_and_a_wrong_digit_never_does(number in 1_u32..=99_999_999, other in 0_u32..11) {
            let rut = Rut::new(number).expect("in range");
            prop_assert_eq!(rut.to_string().parse::<Rut>().expect("dots"), rut);
            prop_assert_eq!(rut.compact().to_lowercase().parse::<Rut>().expect("compact"), rut);
            let digit = if other == 10 { 'K' } else { char::from_digit(other, 10).expect("a digit") };
            let read = format!("{number}-{digit}").parse::<Rut>();
            prop_assert_eq!(read.is_ok(), digit == rut.check_digit());
        }
    }
}
