//! Records as JSON, one a line.

use bytes::Bytes;
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Writer, pieces, unwritten};
use crate::error::Result;

/// What of a record is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct JsonLinesFormat {
    /// Whether the source's own text goes with each record. It may hold personal data, and is there only if that may be
    /// written too.
    pub raw: bool,
    /// Whether names, telephones and mail addresses of persons are written.
    pub personal_data: bool,
}

impl JsonLinesFormat {
    /// Records without the source's own text and without personal data.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that is known.
    pub fn whole() -> Self {
        Self { raw: true, personal_data: true }
    }

    /// Says whether the source's own text goes with each record.
    pub fn with_raw(mut self, raw: bool) -> Self {
        self.raw = raw;
        self
    }

    /// Says whether personal data is written.
    pub fn with_personal_data(mut self, written: bool) -> Self {
        self.personal_data = written;
        self
    }
}

/// Writes records as JSON Lines: tenders, orders, quick purchases, rows of them, or whatever serde writes. Amounts are
/// texts, digit for digit.
pub fn json_lines<'a, T: Serialize + Send + 'a>(
    records: impl Stream<Item = Result<T>> + Send + 'a,
    format: JsonLinesFormat,
) -> impl Stream<Item = Result<Bytes>> + Send + 'a {
    pieces(records, format)
}

impl<T: Serialize> Writer<T> for JsonLinesFormat {
    fn head(&mut self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn record(&mut self, out: &mut Vec<u8>, record: T) -> Result<()> {
        let start = out.len();
        if self.raw && self.personal_data {
            serde_json::to_writer(&mut *out, &record).map_err(unwritten)?;
            // The source's own text may have line breaks, between its tokens.
            for byte in out.iter_mut().skip(start).filter(|byte| matches!(byte, b'\n' | b'\r')) {
                *byte = b' ';
            }
        } else {
            let mut value = serde_json::to_value(&record).map_err(unwritten)?;
            strip(&mut value, self.personal_data);
            serde_json::to_writer(&mut *out, &value).map_err(unwritten)?;
        }
        out.push(b'\n');
        Ok(())
    }

    fn tail(&mut self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

/// Takes out the source's own text, and persons unless they may stay.
fn strip(value: &mut Value, personal_data: bool) {
    match value {
        Value::Object(members) => {
            if let Some(Value::Object(origin)) = members.get_mut("origin") {
                origin.remove("raw");
            }
            if !personal_data {
                members.remove("contact");
            }
            for (_, member) in members.iter_mut() {
                strip(member, personal_data);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                strip(element, personal_data);
            }
        }
        _ => {}
    }
}
