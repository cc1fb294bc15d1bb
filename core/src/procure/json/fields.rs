//! Members of an object whose types drift: numbers as text, blanks, nulls, names in another case.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::procure::{Currency, Decimal, Money, Raw, Timestamp, ZoneMark};

/// A text, or what stands in the place of one: a number as it is written, nothing for `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

/// A whole number, or a text that holds one; `None` for what is neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whole(pub(crate) Option<i64>);

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

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole(Some(number)))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(i64::try_from(number).ok()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Whole, E> {
                // Every whole number of the tables is far below 2^53.
                let is_exact = number.fract() == 0.0 && number.abs() < 9.0e15;
                Ok(Whole(is_exact.then_some(number as i64)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Whole, E> {
                Ok(Whole(whole_in(text)))
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Whole, E> {
                Ok(Whole(Some(i64::from(flag))))
            }

            fn visit_unit<E>(self) -> Result<Whole, E> {
                Ok(Whole(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Whole, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Whole(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Whole, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Whole(None))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// `8`, `" 8 "`, `8.0`.
fn whole_in(text: &str) -> Option<i64> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    fraction.bytes().all(|byte| byte == b'0').then(|| whole.parse().ok())?
}

/// A text without surrounding white space, and without the NULs that the services write now and then and databases
/// refuse.
pub(crate) fn tidied(text: &str) -> String {
    let trimmed = text.trim_matches(is_blank);
    if trimmed.contains('\0') { trimmed.replace('\0', "") } else { trimmed.to_owned() }
}

/// Whether [`tidied`] would leave a text as it is.
pub(crate) fn is_tidy(text: &str) -> bool {
    !text.starts_with(is_blank) && !text.ends_with(is_blank) && !text.contains('\0')
}

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '\0'
}

/// An exact number, also with a decimal comma.
pub(crate) fn decimal_in(text: &str) -> Option<Decimal> {
    let text = text.trim();
    match text.split_once(',') {
        None => text.parse().ok(),
        Some((whole, fraction)) => format!("{}.{fraction}", whole.replace('.', "")).parse().ok(),
    }
}

/// The members of one object, each as it is written.
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
    /// The object that `text` is, if it is one.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The member as it is written; `None` if it is missing or `null`.
    pub(crate) fn written(&self, name: &str) -> Option<&'a str> {
        let exact = self.0.iter().find(|(own, _)| own == name);
        let found = exact.or_else(|| self.0.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)))?;
        let written = found.1.get();
        (written != "null").then_some(written)
    }

    /// A text, [tidied]; `None` if that leaves nothing.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let written = self.written(name)?;
        let text = match written.as_bytes().first()? {
            b'"' => serde_json::from_str::<Text<'_>>(written).ok()?.0,
            b'{' | b'[' => return None,
            _ => Cow::Borrowed(written),
        };
        Some(tidied(&text)).filter(|text| !text.is_empty())
    }

    /// A text that an object must have; empty if it has not.
    pub(crate) fn text_or_empty(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    pub(crate) fn whole(&self, name: &str) -> Option<i64> {
        self.text(name).as_deref().and_then(whole_in)
    }

    pub(crate) fn decimal(&self, name: &str) -> Option<Decimal> {
        self.text(name).as_deref().and_then(decimal_in)
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        match self.text(name)?.to_ascii_lowercase().as_str() {
            "true" | "1" | "si" | "sí" => Some(true),
            "false" | "0" | "no" => Some(false),
            _ => None,
        }
    }

    /// A moment; `None` also for the dates of 1900 by which the sources say "none".
    pub(crate) fn time(&self, name: &str, mark: ZoneMark) -> Option<Timestamp> {
        Timestamp::read_optional(&self.text(name)?, mark)
    }

    /// An amount of a currency that is written beside it.
    pub(crate) fn money(&self, name: &str, currency: Option<&Currency>) -> Option<Money> {
        Some(Money::new(self.decimal(name)?, currency?.clone()))
    }

    pub(crate) fn currency(&self, name: &str) -> Option<Currency> {
        self.text(name).map(|code| Currency::from(code.as_str()))
    }

    pub(crate) fn object(&self, name: &str) -> Option<Self> {
        Fields::read(self.written(name)?)
    }

    /// The elements of an array as they are written, without the `null`s.
    pub(crate) fn elements(&self, name: &str) -> Vec<&'a str> {
        let written = self.written(name).unwrap_or("[]");
        let elements = serde_json::from_str::<Vec<&'a RawValue>>(written).unwrap_or_default();
        elements.into_iter().map(RawValue::get).filter(|element| *element != "null").collect()
    }

    /// The objects of an array.
    pub(crate) fn objects(&self, name: &str) -> Vec<Self> {
        self.elements(name).into_iter().filter_map(Fields::read).collect()
    }
}

/// The slice of `body` that `written`, read from it, is.
pub(crate) fn slice_of(body: &Bytes, written: &str) -> Raw {
    let (start, at) = (body.as_ptr().addr(), written.as_ptr().addr());
    let offset = at.wrapping_sub(start);
    let is_inside = offset.checked_add(written.len()).is_some_and(|end| end <= body.len());
    let bytes = if is_inside {
        body.slice(offset..offset + written.len())
    } else {
        Bytes::copy_from_slice(written.as_bytes())
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
    fn drifting_types_read_the_same() {
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
