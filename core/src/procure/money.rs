//! Exact amounts of money.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// An exact decimal number of up to 38 digits, before or after the point. It is never converted to a float.
///
/// ```
/// use ayni::procure::Decimal;
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

/// The most digits of a number.
const MAX_DIGITS: u8 = 38;

impl Decimal {
    /// The number with these digits, `scale` of them after the point.
    pub fn new(digits: i128, scale: u8) -> Self {
        Self { digits, scale }
    }

    /// The number times ten to the power of [`scale`](Self::scale).
    pub fn digits(self) -> i128 {
        self.digits
    }

    /// The number of digits after the point.
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// The exact product; `None` if it has more than 38 digits, or more than 38 after the point.
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let ((a, a_scale), (b, b_scale)) = (self.reduced(), other.reduced());
        let scale = a_scale.checked_add(b_scale)?;
        let (digits, scale) = Self { digits: a.checked_mul(b)?, scale }.reduced();
        Some(Self { digits, scale }).filter(|product| product.scale <= MAX_DIGITS && product.is_short())
    }

    /// Rounded to `scale` digits after the point, halves away from zero. Unchanged if it has no more digits.
    pub fn rounded(self, scale: u8) -> Self {
        let Some(surplus) = self.scale.checked_sub(scale).filter(|surplus| *surplus > 0) else { return self };
        let Some(unit) = 10_i128.checked_pow(u32::from(surplus)) else { return Self { digits: 0, scale } };
        let (whole, rest) = (self.digits / unit, self.digits % unit);
        let up = rest.unsigned_abs() >= unit.unsigned_abs().div_ceil(2);
        Self { digits: whole + if up { self.digits.signum() } else { 0 }, scale }
    }

    /// Whether it has at most 38 digits.
    fn is_short(self) -> bool {
        self.digits.unsigned_abs() < 10_u128.pow(u32::from(MAX_DIGITS))
    }

    /// Digits and scale without trailing zeros.
    pub(super) fn reduced(self) -> (i128, u8) {
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
        if digits == 0 {
            // Zero with a large exponent: the loop below would run for hours.
            scale = scale.clamp(0, 38);
        }
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
        let size = |digits: i128, scale: u8| match 10_u128.checked_pow(u32::from(scale)) {
            Some(unit) => (digits.unsigned_abs() / unit, digits.unsigned_abs() % unit),
            None => (0, digits.unsigned_abs()),
        };
        let ((a_whole, a_rest), (b_whole, b_rest)) = (size(a, a_scale), size(b, b_scale));
        // Digits after the point compare as text: 0.5 is more than 0.25.
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
    /// Any other code, as the source wrote it.
    Other(String),
}

impl Currency {
    /// The code: `CLP`, `CLF`, `UTM`, `USD`, `EUR`, or the source's own.
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

/// An amount with its currency. Converting it needs the rate of a day.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// The amount.
    pub amount: Decimal,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// An amount of `currency`.
    pub fn new(amount: Decimal, currency: Currency) -> Self {
        Self { amount, currency }
    }

    /// The exact sum; `None` if there is none, if one is missing, or if they are in several currencies.
    pub fn sum(amounts: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        amounts.into_iter().reduce(|sum, next| {
            let (sum, next) = (sum?, next?);
            let scale = sum.amount.scale.max(next.amount.scale);
            let digits = |amount: Decimal| {
                10_i128.checked_pow(u32::from(scale - amount.scale))?.checked_mul(amount.digits)
            };
            let digits = digits(sum.amount)?.checked_add(digits(next.amount)?)?;
            (sum.currency == next.currency).then(|| Self::new(Decimal::new(digits, scale), sum.currency))
        })?
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        assert_eq!("0e2147483647".parse::<Decimal>().expect("number"), Decimal::new(0, 0));
        assert_eq!("12e-3".parse::<Decimal>().expect("number"), Decimal::new(12, 3));
    }

    #[test]
    fn what_is_no_exact_number_is_refused() {
        for text in ["", ".", "-", "1,5", "NaN", "1e99", "1e-99", "1.2.3", "9".repeat(60).as_str()] {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
    }

    #[test]
    fn rounding_is_asked_for_and_takes_halves_away_from_zero() {
        for (number, scale, expected) in [
            ("495544.875", 0, "495545"),
            ("495544.875", 2, "495544.88"),
            ("-0.5", 0, "-1"),
            ("0.49", 0, "0"),
            ("12", 2, "12"),
            ("0.00000000000000000000000000000000000001", 0, "0"),
        ] {
            let rounded = number.parse::<Decimal>().expect("number").rounded(scale);
            assert_eq!(rounded.to_string(), expected, "{number}");
        }
        assert_eq!(Decimal::new(1, 200).rounded(2), Decimal::new(0, 0), "beyond what any text gives");
    }

    proptest! {
        #[test]
        fn every_number_reads_back(digits in any::<i128>(), scale in 0_u8..=38) {
            let number = Decimal::new(digits, scale);
            match number.to_string().parse::<Decimal>() {
                Ok(read) => prop_assert_eq!((read.digits(), read.scale()), (digits, scale)),
                Err(_) => prop_assert!(digits == i128::MIN, "{}", number),
            }
        }

        #[test]
        fn numbers_sort_as_their_values_do(a in -10_i128.pow(18)..10_i128.pow(18), b in -10_i128.pow(18)..10_i128.pow(18), a_scale in 0_u8..=18, b_scale in 0_u8..=18) {
            let value = |digits: i128, scale: u8| digits * 10_i128.pow(u32::from(18 - scale));
            let compared = Decimal::new(a, a_scale).cmp(&Decimal::new(b, b_scale));
            prop_assert_eq!(compared, value(a, a_scale).cmp(&value(b, b_scale)));
        }

        #[test]
        fn products_are_exact_or_none(a in any::<i64>(), b in any::<i64>(), a_scale in 0_u8..=18, b_scale in 0_u8..=18) {
            let product = Decimal::new(i128::from(a), a_scale).checked_mul(Decimal::new(i128::from(b), b_scale));
            let exact = Decimal::new(i128::from(a) * i128::from(b), a_scale + b_scale);
            match product {
                Some(product) => prop_assert_eq!(product, exact),
                None => prop_assert!(exact.to_string().len() > 38, "{}", exact),
            }
        }

        #[test]
        fn any_number_is_compared_multiplied_and_rounded(a in any::<i128>(), b in any::<i128>(), a_scale in any::<u8>(), b_scale in any::<u8>()) {
            let (a, b) = (Decimal::new(a, a_scale), Decimal::new(b, b_scale));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a == b, a.cmp(&b) == Ordering::Equal);
            let _ = (a.checked_mul(b), a.rounded(b_scale), a.to_string());
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9eE., ]{0,60}") {
            if let Ok(number) = text.parse::<Decimal>() {
                prop_assert_eq!(number.to_string().parse::<Decimal>().expect("read back"), number);
            }
        }
    }
}
