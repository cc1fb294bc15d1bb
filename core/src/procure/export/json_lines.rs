//! JSON Lines: one record per line.

use bytes::Bytes;
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{RecordWriter, chunks, not_json};
use crate::error::Result;

/// Options for JSON Lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct JsonLinesFormat {
    /// Whether to write the source's own text of each record. It may contain personal data, so it is written only if
    /// `personal_data` is set too.
    pub raw: bool,
    /// Whether to write names, telephone numbers and mail addresses of persons.
    pub personal_data: bool,
}

impl JsonLinesFormat {
    /// Records without the source's own text and without personal data.
    pub fn new() -> Self {
        Self::default()
    }

    /// Complete records, with the source's own text and personal data.
    pub fn whole() -> Self {
        Self { raw: true, personal_data: true }
    }

    setters! {
        /// Sets whether to write the source's own text.
        with_raw: raw = bool;
        /// Sets whether to write personal data.
        with_personal_data: personal_data = bool;
    }
}

/// Writes records as JSON Lines: tenders, orders, quick purchases, their rows, or anything that serde can write. Amounts
/// are texts with all digits.
pub fn json_lines<'a, T: Serialize + Send + 'a>(
    records: impl Stream<Item = Result<T>> + Send + 'a,
    format: JsonLinesFormat,
) -> impl Stream<Item = Result<Bytes>> + Send + 'a {
    chunks(records, format)
}

impl<T: Serialize> RecordWriter<T> for JsonLinesFormat {
    fn head(&mut self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn record(&mut self, out: &mut Vec<u8>, record: T) -> Result<()> {
        let start = out.len();
        if self.raw && self.personal_data {
            serde_json::to_writer(&mut *out, &record).map_err(not_json)?;
            // The source's own text may contain line breaks between tokens.
            for byte in out.iter_mut().skip(start).filter(|byte| matches!(byte, b'\n' | b'\r')) {
                *byte = b' ';
            }
        } else {
            let mut value = serde_json::to_value(&record).map_err(not_json)?;
            strip(&mut value, self.personal_data);
            serde_json::to_writer(&mut *out, &value).map_err(not_json)?;
        }
        out.push(b'\n');
        Ok(())
    }

    fn tail(&mut self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

/// Removes the source's own text, and personal data unless it may stay.
fn strip(value: &mut Value, personal_data: bool) {
    match value {
        Value::Object(members) => {
            if let Some(Value::Object(origin)) = members.get_mut("origin") {
                origin.remove("raw");
            }
            if !personal_data {
                for name in ["contact", "payment_contact", "contract_contact"] {
                    members.remove(name);
                }
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
