//! A record exactly as its source wrote it.

use std::fmt;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Result};

/// A record exactly as its source wrote it: JSON text with all digits. Cheap to clone; records of one answer share its
/// memory.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Raw(Bytes);

impl Raw {
    /// JSON text.
    ///
    /// # Errors
    /// `invalid_request` if it is not JSON.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            Ok(_) => Ok(Self(Bytes::from(text))),
            Err(_) => Err(Error::invalid_request("the raw record is not JSON")),
        }
    }

    pub(crate) fn of_parsed(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The text; empty for a record without source text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The bytes of the text.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether there is no source text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text as a JSON value. Numbers lose the digits that a float can't represent. A text with a number too large for a
    /// float, or with an escaped lone surrogate, becomes `null`.
    pub fn to_json(&self) -> Value {
        serde_json::from_slice(&self.0).unwrap_or_default()
    }

    /// A copy in its own memory, so that a record that is kept does not keep the whole answer in memory.
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({} bytes)", self.0.len())
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_empty() {
            return serializer.serialize_unit();
        }
        let text: &RawValue = serde_json::from_slice(&self.0).map_err(serde::ser::Error::custom)?;
        text.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_that_no_float_holds_survive() {
        let text = r#"{"a": 3.9333333333333331000, "b":"\u00e1"}"#;
        let raw = Raw::new(text).expect("json");
        assert_eq!(serde_json::to_string(&raw).expect("json"), text);
        assert_eq!(serde_json::to_string(&Raw::default()).expect("json"), "null");
        assert!(Raw::new("{").is_err());
    }
}
