//! Reads `multipart/form-data`, the one body of OpenAI's protocol that is no JSON.

use memchr::memmem;

use super::body::malformed;
use crate::error::Result;

/// The most parts of a form.
const MAX_PARTS: usize = 64;
/// The most bytes of a part's head.
const MAX_HEAD_BYTES: usize = 4096;

/// One part of a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FormPart<'a> {
    pub(super) name: String,
    pub(super) content: &'a [u8],
}

/// The parts of a form.
///
/// # Errors
/// `invalid_request` about the form of the body.
pub(super) fn parts<'a>(content_type: Option<&str>, body: &'a [u8]) -> Result<Vec<FormPart<'a>>> {
    let boundary = boundary(content_type.unwrap_or_default()).ok_or_else(|| {
        malformed("", "the body needs the content type multipart/form-data with a boundary")
    })?;
    let cut_off = || malformed("", "the form is cut off or damaged");
    let mark = format!("--{boundary}");
    // Every mark but the first begins on a line of its own.
    let inner = format!("\r\n{mark}");
    let mut rest = body.strip_prefix(mark.as_bytes()).or_else(|| {
        let first = memmem::find(body, inner.as_bytes())?;
        body.get(first + inner.len()..)
    });
    let mut found = Vec::new();
    loop {
        let part = rest.ok_or_else(cut_off)?;
        if part.starts_with(b"--") {
            return Ok(found);
        }
        if found.len() == MAX_PARTS {
            return Err(malformed("", &format!("the form has more than {MAX_PARTS} parts")));
        }
        let part = part.strip_prefix(b"\r\n").ok_or_else(cut_off)?;
        let end = memmem::find(part, inner.as_bytes()).ok_or_else(cut_off)?;
        let (whole, after) = part.split_at_checked(end).ok_or_else(cut_off)?;
        rest = after.get(inner.len()..);
        let head_end =
            memmem::find(whole, b"\r\n\r\n").filter(|end| *end <= MAX_HEAD_BYTES).ok_or_else(cut_off)?;
        let (head, content) = whole.split_at_checked(head_end).ok_or_else(cut_off)?;
        let name = name_of(&String::from_utf8_lossy(head)).ok_or_else(cut_off)?;
        found.push(FormPart { name, content: content.get(4..).unwrap_or_default() });
    }
}

fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    let boundary = parameter(parameters, "boundary")?;
    let is_form = kind.trim().eq_ignore_ascii_case("multipart/form-data");
    (is_form && (1..=70).contains(&boundary.len())).then_some(boundary)
}

fn name_of(head: &str) -> Option<String> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut dispositions = lines.filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    let (_, parameters) = dispositions.next()?.1.split_once(';')?;
    parameter(parameters, "name").map(str::to_owned)
}

/// The value of a parameter: a word, or a text in quotes.
fn parameter<'a>(parameters: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = parameters;
    loop {
        let (name, value) = rest.split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_once(';').map_or((value, ""), |(value, after)| (value.trim(), after)),
        };
        if name.trim_matches([' ', ';']).eq_ignore_ascii_case(wanted) {
            return Some(value.trim());
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_form_is_read_part_by_part() {
        let body = b"--x\r\nContent-Disposition: form-data; filename=\"a;name=b.png\"; name=\"image[]\"\r\n\
            Content-Type: image/png\r\n\r\n\x89PNG\r\n--\r\n\r\n--x\r\ncontent-disposition: form-data; name=n\r\n\r\n2\r\n--x--\r\n";
        let found = parts(Some("multipart/form-data; boundary=\"x\""), body).expect("a form");
        let expected = [
            FormPart { name: "image[]".into(), content: b"\x89PNG\r\n--\r\n" },
            FormPart { name: "n".into(), content: b"2" },
        ];
        assert_eq!(found, expected);
        for end in 0..body.len() - 4 {
            assert!(parts(Some("multipart/form-data; boundary=x"), &body[..end]).is_err(), "{end}");
        }
        assert!(parts(Some("application/json"), body).is_err() && parts(None, body).is_err());
    }

    proptest! {
        #[test]
        fn any_body_can_be_read(body in "(--x|\r\n|--|:|;|=|\"|name|content-disposition|a){0,40}") {
            let _ = parts(Some("multipart/form-data; boundary=x"), body.as_bytes());
        }
    }
}
