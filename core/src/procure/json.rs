//! JSON as procurement services write it: numbers as strings, blanks, nulls, names in another case.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use memchr::memchr;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Currency, Decimal, Money, Raw, Timestamp, ZoneMark};
use crate::error::{Error, Persistence, Result};

/// Prepares a body for reading: removes a byte order mark and NUL bytes, and checks that it is UTF-8 and not an HTML page.
///
/// # Errors
/// `response_invalid` saying what is wrong.
pub(crate) fn prepared(body: Bytes) -> Result<Bytes> {
    let body = if body.starts_with(b"\xEF\xBB\xBF") { body.slice(3..) } else { body };
    let body = match memchr(0, &body) {
        Some(_) => body.iter().copied().filter(|byte| *byte != 0).collect::<Vec<u8>>().into(),
        None => body,
    };
    // A service that is down may send either with status 200, so a retry may help.
    let may_be_down =
        |what: &str| Err(Error::response_invalid(what).with_persistence(Persistence::Temporary));
    match body.trim_ascii_start().first() {
        None => return may_be_down("the answer is empty"),
        Some(b'<') => return may_be_down("the service sent an HTML page instead of JSON; it may be down"),
        Some(_) => {}
    }
    if let Err(error) = std::str::from_utf8(&body) {
        let at = error.valid_up_to();
        return Err(Error::response_invalid(format!("the answer is not valid UTF-8 from byte {at} on")));
    }
    Ok(body)
}

/// Whether the text ends too early. serde calls that a syntax error inside a number.
fn ends_early(text: &str, error: &serde_json::Error) -> bool {
    let mut lines = text.split('\n');
    let last = lines.next_back().unwrap_or_default();
    error.is_eof() || (error.is_syntax() && error.line() == lines.count() + 1 && error.column() >= last.len())
}

/// A string that is borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// `8`, `" 8 "`, `8.0`.
fn parse_whole(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    fraction.bytes().all(|byte| byte == b'0').then(|| whole.parse().ok())?
}

pub(crate) fn parse_decimal(text: &str) -> Option<Decimal> {
    match text.trim().split_once(',') {
        None => text.trim().parse().ok(),
        Some((whole, fraction)) => format!("{}.{fraction}", whole.replace('.', "")).parse().ok(),
    }
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

/// An object whose members are read one by one. Members that have a value but none of the expected kind are remembered,
/// also those of objects in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
    unread: Rc<RefCell<Vec<&'static str>>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some((name, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    fields.members.push((name.0, value));
                }
                Ok(fields)
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

    /// Reads a [`prepared`] body, which is one object.
    ///
    /// # Errors
    /// `response_invalid`, which says whether the body is truncated: then a new request may give the whole.
    pub(crate) fn of_body(body: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(body)
            .map_err(|_| Error::response_invalid("the answer is not valid UTF-8"))?;
        serde_json::from_str(text).map_err(|error| match ends_early(text, &error) {
            true => Error::response_invalid(format!(
                "the answer is JSON that is truncated after {} bytes",
                text.len()
            ))
            .with_persistence(Persistence::Temporary)
            .with_context("reason", "broken_off"),
            false => Error::response_invalid(format!(
                "the answer is not the expected JSON object, from line {} column {} on",
                error.line(),
                error.column()
            )),
        })
    }

    fn member(&self, name: &str) -> Option<&'a RawValue> {
        let exact = self.members.iter().find(|(own, _)| own == name);
        let found = exact.or_else(|| self.members.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)));
        found.map(|(_, value)| *value)
    }

    /// All members, as they are written.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.members.iter().map(|(name, value)| (&**name, value.get()))
    }

    /// Whether there is a member with this name, perhaps `null`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.member(name).is_some()
    }

    /// The raw JSON of a member; `None` if it is missing or `null`. The case of the name is ignored where no name matches
    /// exactly.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a str> {
        self.member(name).map(RawValue::get).filter(|raw| *raw != "null")
    }

    /// The members that could not be read so far, each once.
    pub(crate) fn unread(&self) -> Vec<&'static str> {
        let mut names = self.unread.borrow().clone();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn parsed<T>(&self, name: &'static str, parse: impl FnOnce(Cow<'_, str>) -> Option<T>) -> Option<T> {
        let raw = self.raw(name)?;
        let text = match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw).ok().map(|Text(text)| text),
            Some(b'{' | b'[') => None,
            _ => Some(Cow::Borrowed(raw)),
        };
        let text = text.map(|text| if is_tidy(&text) { text } else { Cow::Owned(tidied(&text)) });
        if text.as_ref().is_some_and(|text| text.is_empty()) {
            return None;
        }
        let value = text.and_then(parse);
        self.remember(name, raw, value.is_none());
        value
    }

    /// Remembers a value that is not of the expected kind, unless it is empty in another way: `""`, `[]`, `{}`.
    fn remember(&self, name: &'static str, raw: &str, is_unread: bool) {
        let is_empty = |c: char| is_blank(c) || matches!(c, '"' | '[' | ']' | '{' | '}');
        if is_unread && !raw.trim_matches(is_empty).is_empty() {
            self.unread.borrow_mut().push(name);
        }
    }

    /// A [tidied] text; `None` if it is empty.
    pub(crate) fn text(&self, name: &'static str) -> Option<String> {
        self.parsed(name, |text| Some(text.into_owned()))
    }

    /// A [tidied] text; empty if it is missing.
    pub(crate) fn text_or_empty(&self, name: &'static str) -> String {
        self.text(name).unwrap_or_default()
    }

    pub(crate) fn whole(&self, name: &'static str) -> Option<i64> {
        self.parsed(name, |text| parse_whole(&text))
    }

    pub(crate) fn decimal(&self, name: &'static str) -> Option<Decimal> {
        self.parsed(name, |text| parse_decimal(&text))
    }

    pub(crate) fn flag(&self, name: &'static str) -> Option<bool> {
        self.parsed(name, |text| match text.to_lowercase().as_str() {
            "true" | "1" | "si" | "sí" => Some(true),
            "false" | "0" | "no" => Some(false),
            _ => None,
        })
    }

    /// A time; also `None` for the dates of 1900 that the sources write for "none".
    pub(crate) fn time(&self, name: &'static str, mark: ZoneMark) -> Option<Timestamp> {
        self.parsed(name, |text| Timestamp::read(&text, mark).ok()).filter(|time| time.is_given())
    }

    pub(crate) fn money(&self, name: &'static str, currency: Option<&Currency>) -> Option<Money> {
        Some(Money::new(self.decimal(name)?, currency?.clone()))
    }

    pub(crate) fn currency(&self, name: &'static str) -> Option<Currency> {
        self.text(name).map(|code| Currency::from(code.as_str()))
    }

    pub(crate) fn object(&self, name: &'static str) -> Option<Self> {
        self.inner(name, self.raw(name)?)
    }

    fn inner(&self, name: &'static str, raw: &'a str) -> Option<Self> {
        let inner = Self::read(raw);
        self.remember(name, raw, inner.is_none());
        inner.map(|inner| Self { unread: Rc::clone(&self.unread), ..inner })
    }

    /// The raw JSON of the elements of an array, without the `null`s.
    pub(crate) fn elements(&self, name: &'static str) -> Vec<&'a str> {
        let Some(raw) = self.raw(name) else { return Vec::new() };
        let elements = serde_json::from_str::<Vec<&'a RawValue>>(raw);
        self.remember(name, raw, elements.is_err());
        let elements = elements.unwrap_or_default().into_iter().map(RawValue::get);
        elements.filter(|element| *element != "null").collect()
    }

    pub(crate) fn objects(&self, name: &'static str) -> Vec<Self> {
        self.elements(name).into_iter().filter_map(|raw| self.inner(name, raw)).collect()
    }
}

/// `raw`, which was read from `body`, as a slice that shares its memory.
pub(crate) fn slice_of(body: &Bytes, raw: &str) -> Raw {
    let offset = raw.as_ptr().addr().wrapping_sub(body.as_ptr().addr());
    let is_inside = offset.checked_add(raw.len()).is_some_and(|end| end <= body.len());
    Raw::of_parsed(match is_inside {
        true => body.slice(offset..offset + raw.len()),
        false => Bytes::copy_from_slice(raw.as_bytes()),
    })
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
        for (text, unread) in [
            ("{}", &[][..]),
            (r#"{"n":null}"#, &[]),
            (r#"{"n":" "}"#, &[]),
            (r#"{"n":[]}"#, &[]),
            (r#"{"n":{"a":1}}"#, &["n"]),
            (r#"{"n":[1]}"#, &["n"]),
            (r#"{"n":"8.5"}"#, &["n"]),
        ] {
            let read = fields(text);
            assert_eq!((read.whole("n"), &*read.unread()), (None, unread), "{text}");
        }
    }

    #[test]
    fn amounts_keep_their_digits_and_what_is_none_is_named() {
        let text = r#"{"a":3.9333333333333331,"b":"16100000.0","c":"1.234.567,50","d":1e3,"e":"no","f":{"g":"ayer",
            "h":"1900-01-03","i":"si"},"j":[{"k":"x"}, 5]}"#;
        let read = fields(text);
        for (name, expected) in
            [("a", "3.9333333333333331"), ("b", "16100000.0"), ("c", "1234567.50"), ("d", "1000")]
        {
            assert_eq!(read.decimal(name).expect(name).to_string(), expected);
        }
        assert_eq!((read.decimal("e"), read.unread()), (None, vec!["e"]));
        let inner = read.object("f").expect("an object");
        let mark = ZoneMark::WallClock;
        assert_eq!((inner.time("g", mark), inner.time("h", mark), inner.flag("i")), (None, None, Some(true)));
        assert_eq!(read.objects("j").first().expect("one").whole("k"), None);
        assert_eq!(read.unread(), ["e", "g", "j", "k"]);
    }

    #[test]
    fn texts_are_trimmed_and_unescaped() {
        let read =
            fields(r#"{"a":" Regi\u00f3n \"X\" ","b":5,"c":" ","d":"\u0000 A\u0000B \u0000","e":"\u0000"}"#);
        let texts = ["a", "b", "c", "d", "e"].map(|name| read.text(name));
        assert_eq!(
            texts.each_ref().map(Option::as_deref),
            [Some("Región \"X\""), Some("5"), None, Some("AB"), None]
        );
    }

    #[test]
    fn bodies_that_are_no_object_say_why() {
        for (body, says) in [
            (&b""[..], "empty"),
            (b" \n", "empty"),
            (b"<html><body>502</body></html>", "HTML page"),
            (b"{\"a\":\"\xff\"}", "from byte 6"),
        ] {
            let error = prepared(Bytes::copy_from_slice(body)).expect_err(says);
            assert!(error.message().contains(says), "{error}");
        }
        let clean = prepared(Bytes::from_static(b"\xEF\xBB\xBF{\"list\":[1\0]}\0")).expect("prepared");
        assert_eq!(&*clean, b"{\"list\":[1]}");
        for body in ["[1]", "{} {}", "{1: 2}"] {
            let error = Fields::of_body(body.as_bytes()).expect_err(body);
            assert!(error.message().contains("expected JSON object"), "{error}");
        }
        let whole = r#"{"Cantidad":2,"list":[1,2],"name":"ñandú"}"#;
        for end in (1..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            let error = Fields::of_body(&whole.as_bytes()[..end]).expect_err("truncated");
            assert!(error.message().contains("truncated"), "{end}: {error}");
        }
    }
}
