//! Codes of tenders, purchase orders and quick purchases.

use std::fmt;
use std::str::FromStr;

use super::tables::{OrderType, TenderType};
use crate::error::{Error, Result};

/// `<prefix>-<sequence>-<kind><yy>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Parts<'a> {
    prefix: u64,
    sequence: u64,
    kind: &'a str,
    year: u8,
}

fn split(text: &str) -> Option<Parts<'_>> {
    let mut parts = text.trim().splitn(3, '-');
    let number = |part: Option<&str>| {
        let part = part.filter(|part| part.len() <= 15 && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        part.parse::<u64>().ok()
    };
    let (prefix, sequence, rest) = (number(parts.next())?, number(parts.next())?, parts.next()?);
    // The last two digits are the year: `L114` is a tender of type L1 of 2014.
    let (kind, year) = rest.split_at_checked(rest.len().checked_sub(2)?)?;
    let is_kind = (1..=4).contains(&kind.len()) && kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let begins_with_letter = kind.starts_with(|first: char| first.is_ascii_alphabetic());
    let year = year.bytes().all(|byte| byte.is_ascii_digit()).then(|| year.parse().ok())??;
    (is_kind && begins_with_letter).then_some(Parts { prefix, sequence, kind, year })
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident of $what:literal, $example:literal {
        $(#[doc = $kind_doc:literal])+ kind: $kind:ty, accepts: $accepts:expr
    })+) => {
        $($(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name {
            prefix: u64,
            sequence: u64,
            kind: $kind,
            year: u8,
        }

        impl $name {
            /// The number before the first dash. It often looks like the code of a unit but is not one.
            pub fn prefix(&self) -> u64 {
                self.prefix
            }

            /// The sequence number after the prefix.
            pub fn sequence(&self) -> u64 {
                self.sequence
            }

            $(#[doc = $kind_doc])+
            pub fn kind(&self) -> &$kind {
                &self.kind
            }

            /// The year. For an order under a framework agreement it is the agreement's year.
            pub fn year(&self) -> u16 {
                2000 + u16::from(self.year)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                let accepts: fn(&str) -> bool = $accepts;
                let parts = split(text).filter(|parts| accepts(parts.kind)).ok_or_else(|| {
                    Error::invalid_request(concat!("not the code of ", $what, " such as ", $example))
                })?;
                let Parts { prefix, sequence, kind, year } = parts;
                Ok(Self { prefix, sequence, kind: <$kind>::from(kind.to_ascii_uppercase().as_str()), year })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}-{}-{}{:02}", self.prefix, self.sequence, self.kind, self.year)
            }
        })+
    };
}

codes! {
    /// The code of a tender: `1509-5-L114`.
    TenderCode of "a tender", "1509-5-L114" {
        /// The type of tender.
        kind: TenderType, accepts: |kind| !kind.eq_ignore_ascii_case("COT")
    }
    /// The code of a purchase order: `2097-241-SE14`.
    OrderCode of "a purchase order", "2097-241-SE14" {
        /// The mechanism of the order.
        kind: OrderType, accepts: |kind| !kind.eq_ignore_ascii_case("COT")
    }
    /// The code of a quick purchase (Compra Ágil): `990301-330-COT26`.
    QuickPurchaseCode of "a quick purchase", "990301-330-COT26" {
        /// Always `COT`.
        kind: String, accepts: |kind| kind.eq_ignore_ascii_case("COT")
    }
}

impl TenderCode {
    /// The public web page.
    pub fn public_page(&self) -> String {
        format!(
            "https://www.mercadopublico.cl/Procurement/Modules/RFB/DetailsAcquisition.aspx?idlicitacion={self}"
        )
    }
}

impl QuickPurchaseCode {
    /// The public web page.
    pub fn public_page(&self) -> String {
        format!("https://buscador.mercadopublico.cl/ficha?code={self}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_two_digits_are_the_year_and_what_stands_before_is_the_kind() {
        let code: TenderCode = "1509-5-L114".parse().expect("a code");
        assert_eq!((code.prefix(), code.sequence(), code.year()), (1509, 5, 2014));
        assert_eq!(code.kind(), &TenderType::L1);
        let order: OrderCode = "990204-7-TD26".parse().expect("a code");
        assert_eq!(order.kind(), &OrderType::Other("TD".to_owned()));
        let quick: QuickPurchaseCode = "990301-330-cot26".parse().expect("a code");
        assert_eq!(quick.public_page(), "https://buscador.mercadopublico.cl/ficha?code=990301-330-COT26");
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for text in [
            "",
            "1509",
            "1509-5",
            "1509-5-",
            "1509-5-14",
            "1509-5-L1x4",
            "a-5-L114",
            "1509-5-L1-14",
            "-1-5-LE26",
        ] {
            assert!(text.parse::<TenderCode>().is_err(), "{text}");
        }
        assert!("990301-330-COT26".parse::<TenderCode>().is_err());
        assert!("990301-330-cOT26".parse::<OrderCode>().is_err());
        assert!("1509-5-LE26".parse::<QuickPurchaseCode>().is_err());
    }

    proptest! {
        #[test]
        fn codes_read_back(prefix in 0_u64..99_999_999, sequence in 0_u64..999_999, kind in "[A-Z][A-Z0-9]{0,2}", year in 0_u8..100) {
            prop_assume!(kind != "COT");
            let text = format!("{prefix}-{sequence}-{kind}{year:02}");
            prop_assert_eq!(text.parse::<TenderCode>().expect("a tender's").to_string(), text.as_str());
            prop_assert_eq!(text.parse::<OrderCode>().expect("an order's").to_string(), text.as_str());
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = text.parse::<TenderCode>();
            let _ = text.parse::<QuickPurchaseCode>();
        }
    }
}
