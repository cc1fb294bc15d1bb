//! Exact amounts of money.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// An exact decimal number: up to 38 digits, any of them behind the point. Never a float on the way.
///
/// ```
/// use ayni::Decimal;
/// let amount: Decimal = "16100000.50".parse()?;
/// assert_eq!(amount.to_string(), "16100000.50");
/// assert_eq!(amount, "16100000.5".parse()?);
/// # Ok::<_, ayni::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: i128,
    scale: u8,
}

impl Decimal {
    /// `digits` with `scale` of them behind the point.
    pub fn new(digits: i128, scale: u8) -> Self {
        Self { digits, scale }
    }

    /// The number times ten to the power of [`scale`](Self::scale).
    pub fn digits(self) -> i128 {
        self.digits
    }

    /// How many digits stand behind the point.
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// Digits and scale without zeros at the end.
    fn reduced(self) -> (i128, u8) {
        let (mut digits, mut scale) = (self.digits, self.scale);
        while scale > 0 && digits % 10 == 0 {
            digits /= 10;
            scale -= 1;
        }
        (digits, scale)
    }

    fn exponent_form(text: &str) -> Option<(&str, i32)> {
        match text.split_once(['e', 'E']) {
            None => Some((text, 0)),
            Some((mantissa, exponent)) => Some((mantissa, exponent.parse().ok()?)),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (mantissa, exponent) = Self::exponent_form(text)?;
        let (negative, unsigned) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut digits: i128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return None;
            }
            digits = digits.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
        }
        let mut scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        while scale < 0 {
            digits = digits.checked_mul(10)?;
            scale += 1;
        }
        Some(Self {
            digits: if negative { -digits } else { digits },
            scale: u8::try_from(scale).ok().filter(|s| *s <= 38)?,
        })
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.reduced() == other.reduced()
    }
}

impl Eq for Decimal {}

impl std::hash::Hash for Decimal {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.reduced().hash(state);
    }
}

impl FromStr for Decimal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::read(text.trim())
            .ok_or_else(|| Error::invalid_request("not an exact decimal number of up to 38 digits"))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.digits < 0 { "-" } else { "" };
        let digits = self.digits.unsigned_abs().to_string();
        let scale = usize::from(self.scale);
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| serde::de::Error::custom(error.message()))
    }
}

/// The currency or unit of account of an amount.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Currency {
    /// Chilean peso.
    Clp,
    /// Unidad de Fomento.
    Clf,
    /// Unidad Tributaria Mensual.
    Utm,
    /// United States dollar.
    Usd,
    /// Euro.
    Eur,
    /// A code that ayni does not know, as the source spelt it.
    Other(String),
}

impl Currency {
    /// The code: `CLP`, `CLF`, `UTM`, `USD`, `EUR`, or what the source said.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Clp => "CLP",
            Self::Clf => "CLF",
            Self::Utm => "UTM",
            Self::Usd => "USD",
            Self::Eur => "EUR",
            Self::Other(code) => code,
        }
    }
}

impl From<&str> for Currency {
    fn from(code: &str) -> Self {
        match code.trim() {
            "CLP" => Self::Clp,
            "CLF" | "UF" => Self::Clf,
            "UTM" => Self::Utm,
            "USD" => Self::Usd,
            "EUR" => Self::Eur,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An amount and its currency. There is no conversion here: that needs a dated rate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Money {
    /// How much.
    pub amount: Decimal,
    /// Of what.
    pub currency: Currency,
}

impl Money {
    /// An amount of `currency`.
    pub fn new(amount: Decimal, currency: Currency) -> Self {
        Self { amount, currency }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_back() {
        for text in ["0", "-1", "43050000", "16100000.0", "0.05", "-0.001", "12345678901234567890.12"] {
            assert_eq!(text.parse::<Decimal>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn exponents_are_exact() {
        assert_eq!("3.3e+08".parse::<Decimal>().expect("number"), Decimal::new(330_000_000, 0));
        assert_eq!("12e-3".parse::<Decimal>().expect("number"), Decimal::new(12, 3));
    }

    #[test]
    fn what_is_no_exact_number_is_refused() {
        for text in ["", ".", "-", "1,5", "NaN", "1e99", "1e-99", "1.2.3", "9".repeat(60).as_str()] {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
    }
}
