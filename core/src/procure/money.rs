//! Exact amounts of money.

use std::cmp::Ordering;
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

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((a, a_scale), (b, b_scale)) = (self.reduced(), other.reduced());
        if (a < 0) != (b < 0) {
            return a.cmp(&b);
        }
        let size = |digits: i128, scale: u8| {
            let (digits, unit) = (digits.unsigned_abs(), 10_u128.pow(u32::from(scale)));
            (digits / unit, digits % unit)
        };
        let ((a_whole, a_rest), (b_whole, b_rest)) = (size(a, a_scale), size(b, b_scale));
        // Digits behind the point compare like words: 0.5 is more than 0.25.
        let padded = |rest: u128, scale: u8| format!("{rest:0>width$}", width = usize::from(scale));
        let sizes = a_whole.cmp(&b_whole).then_with(|| {
            let (a_text, b_text) = (padded(a_rest, a_scale), padded(b_rest, b_scale));
            a_text.trim_end_matches('0').cmp(b_text.trim_end_matches('0'))
        });
        if a < 0 { sizes.reverse() } else { sizes }
    }
}

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

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(deserializer)?.as_str()))
    }
}

/// An amount and its currency. There is no conversion here: that needs a dated rate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
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
    fn numbers_sort_by_size_whatever_their_digits() {
        let sorted =
            ["-12.5", "-12.25", "-0.5", "0", "0.05", "0.5", "0.50000001", "2", "10", "99999999999999999999"];
        for pair in sorted.windows(2) {
            let [a, b] = [pair[0], pair[1]].map(|text| text.parse::<Decimal>().expect("number"));
            assert!(a < b, "{a} {b}");
        }
        assert_eq!(
            "1.50".parse::<Decimal>().expect("number").cmp(&"1.5".parse().expect("number")),
            Ordering::Equal
        );
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
