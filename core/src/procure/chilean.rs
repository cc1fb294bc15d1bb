//! Amounts and times in the format used in Chile.

use super::money::{Currency, Decimal, Money};
use super::time::Timestamp;

impl Decimal {
    /// In Chilean format, with points between thousands and a decimal comma: `1.250.000,50`.
    pub fn chilean(self) -> String {
        let written = self.to_string();
        let (sign, unsigned) = written.strip_prefix('-').map_or(("", written.as_str()), |rest| ("-", rest));
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let groups: Vec<&str> =
            whole.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
        let comma = if fraction.is_empty() { "" } else { "," };
        format!("{sign}{}{comma}{fraction}", groups.join("."))
    }

    /// Without trailing zeros after the point.
    pub(super) fn without_trailing_zeros(self) -> Self {
        let (digits, scale) = self.reduced();
        Self::new(digits, scale)
    }
}

impl Money {
    /// In Chilean format: `$1.250.000`, `UF 41.250,75`, `US$ 1.000,50`. Nothing is rounded or converted.
    ///
    /// ```
    /// use ayni::procure::{Currency, Money};
    /// let money = Money::new("41250.75".parse()?, Currency::Clf);
    /// assert_eq!(money.chilean(), "UF 41.250,75");
    /// assert_eq!(Money::new("16100000.0".parse()?, Currency::Clp).chilean(), "$16.100.000");
    /// # Ok::<_, ayni::Error>(())
    /// ```
    pub fn chilean(&self) -> String {
        let amount = self.amount.without_trailing_zeros().chilean();
        match &self.currency {
            Currency::Clp => format!("${amount}"),
            Currency::Clf => format!("UF {amount}"),
            Currency::Utm => format!("UTM {amount}"),
            Currency::Usd => format!("US$ {amount}"),
            Currency::Eur => format!("€ {amount}"),
            other => format!("{} {amount}", other.as_str()),
        }
    }
}

impl Timestamp {
    /// In Chilean format and Santiago's local time: `26-10-2026 15:30`.
    pub fn chilean(self) -> String {
        let (date, (hour, minute, _)) = (self.date(), self.clock());
        format!("{:02}-{:02}-{:04} {hour:02}:{minute:02}", date.day(), date.month(), date.year())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_dots_between_thousands_and_a_comma() {
        for (amount, currency, written) in [
            ("0", Currency::Clp, "$0"),
            ("999", Currency::Clp, "$999"),
            ("-1000", Currency::Clp, "$-1.000"),
            ("68900000", Currency::Clp, "$68.900.000"),
            ("0.05", Currency::Usd, "US$ 0,05"),
            ("99.90", Currency::Eur, "€ 99,9"),
            ("500", Currency::Utm, "UTM 500"),
            (
                "12345678901234567890.12",
                Currency::Other("GBP".to_owned()),
                "GBP 12.345.678.901.234.567.890,12",
            ),
        ] {
            let money = Money::new(amount.parse().expect("a number"), currency);
            assert_eq!(money.chilean(), written);
        }
    }

    #[test]
    fn moments_are_those_of_santiago() {
        let moment: Timestamp = "2026-10-26T18:30:00Z".parse().expect("a moment");
        assert_eq!(moment.chilean(), "26-10-2026 15:30");
    }
}
