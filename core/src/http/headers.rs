//! Header fields as text.

use ::http::{HeaderMap, HeaderValue};

use crate::error::{Error, Result};

/// Reads header fields that are text.
pub(crate) trait HeaderText {
    /// The first value of a field, if it is text. The name may be in any case.
    fn text(&self, name: &str) -> Option<&str>;
}

impl HeaderText for HeaderMap {
    fn text(&self, name: &str) -> Option<&str> {
        as_text(self.get(name)?)
    }
}

/// A value as text. Servers write UTF-8 into header fields, which `HeaderValue::to_str` refuses.
pub(super) fn as_text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

/// The header value that a field of the configuration gives.
///
/// # Errors
/// `config_invalid` naming `field`.
pub(crate) fn header_value(field: &'static str, value: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(value).map_err(|_| {
        Error::config(format!(
            "`{field}` holds a character that HTTP does not allow in a header, such as a line break"
        ))
        .with_context("field", field)
    })
}

/// Header fields for tests.
#[cfg(test)]
pub(crate) fn header_map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name: ::http::HeaderName = name.parse().expect("a header name");
        headers.append(name, HeaderValue::from_str(value).expect("a header value"));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn names_are_found_in_any_case_and_the_first_value_counts() {
        let headers = header_map(&[("x-two", "a"), ("X-Two", "b"), ("X-City", "Ñuñoa")]);
        assert_eq!(headers.text("X-TWO"), Some("a"));
        assert_eq!(headers.text("x-city"), Some("Ñuñoa"));
        assert_eq!(headers.text("not a name"), None);
    }

    #[test]
    fn bytes_that_are_no_text_are_not_there() {
        let mut headers = HeaderMap::new();
        headers.insert("x-latin", HeaderValue::from_bytes(b"\xd1u\xf1oa").expect("a header value"));
        assert_eq!(headers.text("x-latin"), None);
    }

    #[test]
    fn a_configured_value_with_a_line_break_is_named_without_being_shown() {
        let error = header_value("organization", "canary\r\nx: y").expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(error.message().contains("`organization`") && !error.message().contains("canary"), "{error}");
    }
}
