//! Walking through a body: whole members and elements are read by serde, the way to them by hand, so that a
//! list of millions of rows is read once and each row keeps the slice that it came from.

use std::ops::Range;

use bytes::Bytes;
use memchr::memchr;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, Persistence, Result};

/// A body that can be walked through: without byte order mark and NUL bytes, valid UTF-8, not an HTML page.
///
/// # Errors
/// `response_invalid` saying what came instead.
pub(crate) fn prepared(body: Bytes) -> Result<Bytes> {
    let body = if body.starts_with(b"\xEF\xBB\xBF") { body.slice(3..) } else { body };
    let body = match memchr(0, &body) {
        Some(_) => body.iter().copied().filter(|byte| *byte != 0).collect::<Vec<u8>>().into(),
        None => body,
    };
    match body.trim_ascii_start().first() {
        // Both are what a service that is down says with status 200: asking again may help.
        None => {
            let error = Error::response_invalid("the answer is empty");
            return Err(error.with_persistence(Persistence::Temporary));
        }
        Some(b'<') => {
            let error =
                Error::response_invalid("a page of markup came instead of JSON; the service may be down");
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

/// Whether a text ends where more was expected; also inside a number, which serde calls invalid.
fn ends_early(text: &str, error: &serde_json::Error) -> bool {
    let mut lines = text.split('\n');
    let last = lines.next_back().unwrap_or_default();
    error.is_eof() || (error.is_syntax() && error.line() == lines.count() + 1 && error.column() >= last.len())
}

/// Reading it once more may give all of it.
fn broken_off(length: usize) -> Error {
    Error::response_invalid(format!("the answer is JSON that breaks off after {length} bytes"))
        .with_persistence(Persistence::Temporary)
        .with_context("reason", "broken_off")
}

/// Reads a body that is one value.
///
/// # Errors
/// `response_invalid` saying whether it breaks off or is something else.
pub(crate) fn whole<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T> {
    let text =
        std::str::from_utf8(body).map_err(|_| Error::response_invalid("the answer is not valid UTF-8"))?;
    serde_json::from_str(text).map_err(|error| match ends_early(text, &error) {
        true => broken_off(text.len()),
        false => Error::response_invalid("the answer is not the JSON object expected"),
    })
}

/// A place in a JSON text.
#[derive(Debug)]
pub(crate) struct Walker<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Walker<'a> {
    /// The beginning of a [`prepared`] body.
    ///
    /// # Errors
    /// `response_invalid` if it is not UTF-8.
    pub(crate) fn new(body: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(body)
            .map_err(|_| Error::response_invalid("the answer is not valid UTF-8"))?;
        Ok(Self { text, at: 0 })
    }

    /// How far the walk has come.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is no white space.
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
            Some(_) => Err(self.strange(&format!("'{}' was expected", char::from(expected)))),
            None => Err(self.broken_off()),
        }
    }

    /// Reads one whole value.
    ///
    /// # Errors
    /// `response_invalid` naming the place.
    pub(crate) fn value<T: Deserialize<'a>>(&mut self) -> Result<T> {
        self.peek();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<T>();
        match values.next() {
            Some(Ok(value)) => {
                self.at += values.byte_offset();
                Ok(value)
            }
            None => Err(self.broken_off()),
            Some(Err(error)) if ends_early(rest, &error) => Err(self.broken_off()),
            Some(Err(error)) if error.is_data() => {
                Err(self.strange("a value of another type was expected in the object"))
            }
            Some(Err(_)) => Err(self.strange("this is not JSON")),
        }
    }

    /// Reads one whole value and says where it stood.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub(crate) fn spanned<T: Deserialize<'a>>(&mut self) -> Result<(T, Range<usize>)> {
        self.peek();
        let start = self.at;
        Ok((self.value()?, start..self.at))
    }

    /// Steps over one whole value.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub(crate) fn skip(&mut self) -> Result<()> {
        self.value::<IgnoredAny>().map(drop)
    }

    /// Walks through an object. `member` gets each name and has to read or step over its value.
    ///
    /// # Errors
    /// `response_invalid` naming the place, and those of `member`.
    pub(crate) fn members(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        self.step(b'{')?;
        if self.peek() == Some(b'}') {
            return self.step(b'}');
        }
        loop {
            match self.peek() {
                Some(b'"') => {}
                Some(_) => return Err(self.strange("a name was expected")),
                None => return Err(self.broken_off()),
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

    /// Walks through an array. `element` has to read or step over each value. `null` is an empty array.
    ///
    /// # Errors
    /// `response_invalid` naming the place, and those of `element`.
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

    /// Takes in that the text should end here.
    ///
    /// # Errors
    /// `response_invalid` if it goes on.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.strange("it should end here")),
        }
    }

    fn broken_off(&self) -> Error {
        broken_off(self.text.len())
    }

    fn strange(&self, what: &str) -> Error {
        Error::response_invalid(format!(
            "the answer is not as the protocol promises at byte {}: {what}",
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
    fn values_are_found_with_their_places() {
        let text = r#" {"other": {"list": [9]}, "list" : [1, 22,
            -3], "x": null }"#;
        let found = numbers(text).expect("walked");
        assert_eq!(found.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 22, -3]);
        assert_eq!(&text[found[1].1.clone()], "22");
        assert!(numbers(r#"{"list":null}"#).expect("walked").is_empty());
        assert!(numbers(r"{}").expect("walked").is_empty());
    }

    #[test]
    fn every_truncation_is_told_as_one() {
        let whole = r#"{"Cantidad":2,"list":[1,2],"name":"ñandú"}"#;
        for end in (1..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            let error = numbers(&whole[..end]).expect_err("truncated");
            assert!(error.message().contains("breaks off"), "{end}: {error}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_precisely() {
        for (body, says) in [
            (&b""[..], "empty"),
            (b" \n", "empty"),
            (b"<html><body>502</body></html>", "markup"),
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
        assert!(error.expect_err("two answers").message().contains("at byte 3: it should end"));
        assert!(numbers("{1: 2}").expect_err("no name").message().contains("at byte 1: a name"));
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
