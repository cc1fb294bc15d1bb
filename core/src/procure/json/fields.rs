//! Objects whose types vary: numbers as strings, blanks, nulls, names in another case.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::procure::{Currency, Decimal, Money, Raw, Timestamp, ZoneMark};

/// A string, or what the services write instead of one: a number, a boolean, or `null`, which is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

/// A whole number, also in a string; `None` for anything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WholeNumber(pub(crate) Option<i64>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(if flag { "1" } else { "0" })))
            }

            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for WholeNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = WholeNumber;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E>(self, number: i64) -> Result<WholeNumber, E> {
                Ok(WholeNumber(Some(number)))
            }

            fn visit_u64<E>(self, number: u64) -> Result<WholeNumber, E> {
                Ok(WholeNumber(i64::try_from(number).ok()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<WholeNumber, E> {
                // All of these numbers are far below 2^53.
                let is_exact = number.fract() == 0.0 && number.abs() < 9.0e15;
                Ok(WholeNumber(is_exact.then_some(number as i64)))
            }

            fn visit_str<E>(self, text: &str) -> Result<WholeNumber, E> {
                Ok(WholeNumber(parse_whole(text)))
            }

            fn visit_bool<E>(self, flag: bool) -> Result<WholeNumber, E> {
                Ok(WholeNumber(Some(i64::from(flag))))
            }

            fn visit_unit<E>(self) -> Result<WholeNumber, E> {
                Ok(WholeNumber(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WholeNumber, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(WholeNumber(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<WholeNumber, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(WholeNumber(None))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// `8`, `" 8 "`, `8.0`.
fn parse_whole(text: &str) -> Option<i64> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    fraction.bytes().all(|byte| byte == b'0').then(|| whole.parse().ok())?
}

/// A text without surrounding white space, and without NULs, which the services sometimes write and databases refuse.
/// Entities of HTML are decoded: `Adquisici&oacute;n`.
pub(crate) fn tidied(text: &str) -> String {
    let decoded = html_escape::decode_html_entities(text);
    let trimmed = decoded.trim_matches(is_blank);
    if trimmed.contains('\0') { trimmed.replace('\0', "") } else { trimmed.to_owned() }
}

/// Whether [`tidied`] would leave a text as it is.
pub(crate) fn is_tidy(text: &str) -> bool {
    !text.starts_with(is_blank) && !text.ends_with(is_blank) && !text.contains(['\0', '&'])
}

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '\0'
}

pub(crate) fn parse_decimal(text: &str) -> Option<Decimal> {
    let text = text.trim();
    match text.split_once(',') {
        None => text.parse().ok(),
        Some((whole, fraction)) => format!("{}.{fraction}", whole.replace('.', "")).parse().ok(),
    }
}

#[derive(Debug, Default)]
pub(crate) struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    fields.push((name.0, map.next_value::<&'de RawValue>()?));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

impl<'a> Fields<'a> {
    /// Reads an object; `None` for any other JSON.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The raw JSON of a member; `None` if it is missing or `null`. The case of the name is ignored where no name matches
    /// exactly.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a str> {
        let exact = self.0.iter().find(|(own, _)| own == name);
        let found = exact.or_else(|| self.0.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)))?;
        let raw = found.1.get();
        (raw != "null").then_some(raw)
    }

    /// A [tidied] text; `None` if it is empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let raw = self.raw(name)?;
        let text = match raw.as_bytes().first()? {
            b'"' => serde_json::from_str::<Text<'_>>(raw).ok()?.0,
            b'{' | b'[' => return None,
            _ => Cow::Borrowed(raw),
        };
        Some(tidied(&text)).filter(|text| !text.is_empty())
    }

    /// A [tidied] text; empty if it is missing.
    pub(crate) fn text_or_empty(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    pub(crate) fn whole(&self, name: &str) -> Option<i64> {
        self.text(name).as_deref().and_then(parse_whole)
    }

    pub(crate) fn decimal(&self, name: &str) -> Option<Decimal> {
        self.text(name).as_deref().and_then(parse_decimal)
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        match self.text(name)?.to_ascii_lowercase().as_str() {
            "true" | "1" | "si" | "sí" => Some(true),
            "false" | "0" | "no" => Some(false),
            _ => None,
        }
    }

    /// A time; also `None` for the dates of 1900 that the sources write for "none".
    pub(crate) fn time(&self, name: &str, mark: ZoneMark) -> Option<Timestamp> {
        Timestamp::read_optional(&self.text(name)?, mark)
    }

    pub(crate) fn money(&self, name: &str, currency: Option<&Currency>) -> Option<Money> {
        Some(Money::new(self.decimal(name)?, currency?.clone()))
    }

    pub(crate) fn currency(&self, name: &str) -> Option<Currency> {
        self.text(name).map(|code| Currency::from(code.as_str()))
    }

    pub(crate) fn object(&self, name: &str) -> Option<Self> {
        Fields::read(self.raw(name)?)
    }

    /// The raw JSON of the elements of an array, without the `null`s.
    pub(crate) fn elements(&self, name: &str) -> Vec<&'a str> {
        let raw = self.raw(name).unwrap_or("[]");
        let elements = serde_json::from_str::<Vec<&'a RawValue>>(raw).unwrap_or_default();
        elements.into_iter().map(RawValue::get).filter(|element| *element != "null").collect()
    }

    pub(crate) fn objects(&self, name: &str) -> Vec<Self> {
        self.elements(name).into_iter().filter_map(Fields::read).collect()
    }
}

/// `raw`, which was read from `body`, as a slice that shares its memory.
pub(crate) fn slice_of(body: &Bytes, raw: &str) -> Raw {
    let (start, at) = (body.as_ptr().addr(), raw.as_ptr().addr());
    let offset = at.wrapping_sub(start);
    let is_inside = offset.checked_add(raw.len()).is_some_and(|end| end <= body.len());
    let bytes = if is_inside {
        body.slice(offset..offset + raw.len())
    } else {
        Bytes::copy_from_slice(raw.as_bytes())
    };
    Raw::of_parsed(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields<'_> {
        Fields::read(text).expect("an object")
    }

    #[test]
    fn values_of_varying_types_read_the_same() {
        for text in [r#"{"n":8}"#, r#"{"n":"8"}"#, r#"{"n":" 8 "}"#, r#"{"N":8.0}"#, r#"{"n":"8.00"}"#] {
            assert_eq!(fields(text).whole("n"), Some(8), "{text}");
        }
        for text in [
            r#"{"n":null}"#,
            r#"{"n":""}"#,
            r#"{"n":" "}"#,
            r#"{"n":{}}"#,
            r#"{"n":[1]}"#,
            "{}",
            r#"{"n":"8.5"}"#,
        ] {
            assert_eq!(fields(text).whole("n"), None, "{text}");
        }
    }

    #[test]
    fn amounts_keep_their_digits() {
        for (text, expected) in [
            (r#"{"n":3.9333333333333331}"#, "3.9333333333333331"),
            (r#"{"n":"16100000.0"}"#, "16100000.0"),
            (r#"{"n":"1.234.567,50"}"#, "1234567.50"),
            (r#"{"n":1e3}"#, "1000"),
        ] {
            assert_eq!(fields(text).decimal("n").map(|amount| amount.to_string()).as_deref(), Some(expected));
        }
        assert_eq!(fields(r#"{"n":"no"}"#).decimal("n"), None);
    }

    #[test]
    fn texts_are_trimmed_and_unescaped() {
        let read = fields(r#"{"a":" Regi\u00f3n \"X\" ","b":5,"c":" "}"#);
        assert_eq!(read.text("a").as_deref(), Some("Región \"X\""));
        assert_eq!(read.text("b").as_deref(), Some("5"));
        assert_eq!(read.text("c"), None);
        let read = fields(r#"{"a":"\u0000 A\u0000B \u0000","b":"\u0000"}"#);
        assert_eq!((read.text("a").as_deref(), read.text("b")), (Some("AB"), None));
    }
}
