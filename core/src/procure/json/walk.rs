//! A streaming reader for large bodies: serde reads each row, and this walks between them. So a list of millions of rows
//! is read once, and each row keeps the slice of the body that it came from.

use std::ops::Range;

use bytes::Bytes;
use memchr::memchr;
use serde::Deserialize;
use serde::de::IgnoredAny;

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
    match body.trim_ascii_start().first() {
        // A service that is down may send either with status 200, so a retry may help.
        None => {
            let error = Error::response_invalid("the answer is empty");
            return Err(error.with_persistence(Persistence::Temporary));
        }
        Some(b'<') => {
            let error =
                Error::response_invalid("the service sent an HTML page instead of JSON; it may be down");
            return Err(error.with_persistence(Persistence::Temporary));
        }
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

/// A new request may give the whole answer.
fn truncated(length: usize) -> Error {
    Error::response_invalid(format!("the answer is JSON that is truncated after {length} bytes"))
        .with_persistence(Persistence::Temporary)
        .with_context("reason", "broken_off")
}

/// Reads a body that is a single value.
///
/// # Errors
/// `response_invalid`, which says whether the body is truncated.
pub(crate) fn whole<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T> {
    let text =
        std::str::from_utf8(body).map_err(|_| Error::response_invalid("the answer is not valid UTF-8"))?;
    serde_json::from_str(text).map_err(|error| match ends_early(text, &error) {
        true => truncated(text.len()),
        false => Error::response_invalid("the answer is not the expected JSON object"),
    })
}

#[derive(Debug)]
pub(crate) struct Walker<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Walker<'a> {
    /// Starts at the beginning of a [`prepared`] body.
    ///
    /// # Errors
    /// `response_invalid` if it is not UTF-8.
    pub(crate) fn new(body: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(body)
            .map_err(|_| Error::response_invalid("the answer is not valid UTF-8"))?;
        Ok(Self { text, at: 0 })
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next byte after white space.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let space = rest.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))?;
        self.at += space;
        rest.get(space).copied()
    }

    fn step(&mut self, expected: u8) -> Result<()> {
        match self.peek() {
            Some(found) if found == expected => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(self.unexpected(&format!("expected '{}'", char::from(expected)))),
            None => Err(self.truncated()),
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// `response_invalid` with the byte at which the text is wrong.
    pub(crate) fn value<T: Deserialize<'a>>(&mut self) -> Result<T> {
        self.peek();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<T>();
        match values.next() {
            Some(Ok(value)) => {
                self.at += values.byte_offset();
                Ok(value)
            }
            None => Err(self.truncated()),
            Some(Err(error)) if ends_early(rest, &error) => Err(self.truncated()),
            Some(Err(error)) if error.is_data() => {
                Err(self.unexpected("the object contains a value of an unexpected type"))
            }
            Some(Err(_)) => Err(self.unexpected("invalid JSON")),
        }
    }

    /// Reads a value and returns its range of bytes.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub(crate) fn spanned<T: Deserialize<'a>>(&mut self) -> Result<(T, Range<usize>)> {
        self.peek();
        let start = self.at;
        Ok((self.value()?, start..self.at))
    }

    /// Skips a value.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub(crate) fn skip(&mut self) -> Result<()> {
        self.value::<IgnoredAny>().map(drop)
    }

    /// Walks through an object. `member` gets each name and must read or skip its value.
    ///
    /// # Errors
    /// `response_invalid` with the byte at which the text is wrong, and those of `member`.
    pub(crate) fn members(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        self.step(b'{')?;
        if self.peek() == Some(b'}') {
            return self.step(b'}');
        }
        loop {
            match self.peek() {
                Some(b'"') => {}
                Some(_) => return Err(self.unexpected("expected a member name")),
                None => return Err(self.truncated()),
            }
            let name: super::fields::Text<'a> = self.value()?;
            self.step(b':')?;
            member(self, &name.0)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                _ => return self.step(b'}'),
            }
        }
    }

    /// Walks through an array. `element` must read or skip each value. `null` counts as an empty array.
    ///
    /// # Errors
    /// `response_invalid` with the byte at which the text is wrong, and those of `element`.
    pub(crate) fn elements(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        if self.peek() == Some(b'n') {
            return self.skip();
        }
        self.step(b'[')?;
        if self.peek() == Some(b']') {
            return self.step(b']');
        }
        loop {
            element(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                _ => return self.step(b']'),
            }
        }
    }

    /// Checks that the text ends here.
    ///
    /// # Errors
    /// `response_invalid` if it does not.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("expected the end")),
        }
    }

    fn truncated(&self) -> Error {
        truncated(self.text.len())
    }

    fn unexpected(&self, what: &str) -> Error {
        Error::response_invalid(format!(
            "the answer does not follow the protocol at byte {}: {what}",
            self.at
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(text: &str) -> Result<Vec<(i64, Range<usize>)>> {
        let mut found = Vec::new();
        Walker::new(text.as_bytes())?.members(|walker, name| match name {
            "list" => walker.elements(|walker| {
                found.push(walker.spanned()?);
                Ok(())
            }),
            _ => walker.skip(),
        })?;
        Ok(found)
    }

    #[test]
    fn values_are_found_with_their_ranges() {
        let text = r#" {"other": {"list": [9]}, "list" : [1, 22,
            -3], "x": null }"#;
        let found = numbers(text).expect("walked");
        assert_eq!(found.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 22, -3]);
        assert_eq!(&text[found[1].1.clone()], "22");
        assert!(numbers(r#"{"list":null}"#).expect("walked").is_empty());
        assert!(numbers(r"{}").expect("walked").is_empty());
    }

    #[test]
    fn every_truncation_is_reported_as_one() {
        let whole = r#"{"Cantidad":2,"list":[1,2],"name":"ñandú"}"#;
        for end in (1..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            let error = numbers(&whole[..end]).expect_err("truncated");
            assert!(error.message().contains("truncated"), "{end}: {error}");
        }
    }

    #[test]
    fn the_error_says_where_a_text_is_not_json() {
        for (body, says) in [
            (&b""[..], "empty"),
            (b" \n", "empty"),
            (b"<html><body>502</body></html>", "HTML page"),
            (b"{\"a\":\"\xff\"}", "from byte 6"),
        ] {
            let error = prepared(Bytes::copy_from_slice(body)).expect_err(says);
            assert!(error.message().contains(says), "{error}");
        }
        assert!(numbers("[1]").expect_err("no object").message().contains("at byte 0"));
        let error = numbers(r#"{"list":[1]} {"list":[2]}"#).and_then(|_| {
            let mut walker = Walker::new(b"{} {}")?;
            walker.members(|walker, _| walker.skip())?;
            walker.end()
        });
        assert!(error.expect_err("two answers").message().contains("at byte 3: expected the end"));
        assert!(
            numbers("{1: 2}").expect_err("no name").message().contains("at byte 1: expected a member name")
        );
        let nul = prepared(Bytes::from_static(b"\xEF\xBB\xBF{\"list\":[1\0]}\0")).expect("prepared");
        assert_eq!(&*nul, b"{\"list\":[1]}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}\",:0-9a-z\\\\ ]{0,60}") {
            let _ = numbers(&text);
        }
    }
}
