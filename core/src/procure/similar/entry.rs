//! A tender's text for the index, and its vector in the store.

use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use crate::procure::analysis::clean::cut;
use crate::procure::json::Fields;
use crate::procure::search_words::texts;
use crate::procure::store::{Form, RecordKind, StoredRecord};
use crate::procure::{Source, Tender, TenderState, Timestamp};

/// The first bytes of a stored vector.
const VECTOR_MAGIC: &[u8; 4] = b"vec1";
/// The most characters of a text to embed. Models take a few hundred words.
const MAX_TEXT_CHARS: usize = 4_000;
/// The most characters of a title.
const MAX_NAME_CHARS: usize = 400;

/// The first half of a SHA-256 hash of a text.
pub(super) type Fingerprint = [u8; 16];

fn fingerprint(text: &str) -> Fingerprint {
    let hash = Sha256::digest(text.as_bytes());
    let mut half = Fingerprint::default();
    half.copy_from_slice(&hash[..16]);
    half
}

#[derive(Clone, Debug)]
pub(super) struct TenderText {
    pub(super) code: String,
    pub(super) name: String,
    /// The text to embed; may be empty.
    pub(super) text: String,
    /// Whether the text is from the details and not from a row.
    pub(super) in_full: bool,
    pub(super) state: String,
    pub(super) open: bool,
    pub(super) closes: Option<Timestamp>,
    source: Source,
    as_of: Timestamp,
}

impl TenderText {
    /// The text of a row in the store: its title, and its description if the source's lists have one.
    pub(super) fn of_record(record: &StoredRecord) -> Self {
        let written = std::str::from_utf8(&record.body).unwrap_or_default();
        let (name, description) = texts(&Fields::read(written).unwrap_or_default());
        Self {
            code: record.code.clone(),
            text: joined([name.as_str(), description.as_str()]),
            name,
            in_full: false,
            state: record.state.clone(),
            open: record.open,
            closes: record.closes,
            source: record.source.clone(),
            as_of: record.as_of,
        }
    }

    /// The text of a tender's details: title, description, and the names of its lines.
    pub(super) fn of_tender(tender: &Tender) -> Self {
        let row = &tender.row;
        let mut lines = String::new();
        for item in &tender.items {
            // Writing to a `String` never fails.
            let _ = write!(lines, "{}. ", item.name);
        }
        Self {
            code: row.code.clone(),
            name: row.name.clone(),
            text: joined([&row.name, &tender.description, &lines]),
            in_full: true,
            state: row.state.to_string(),
            open: matches!(row.state, TenderState::Published | TenderState::Closed),
            closes: row.closes,
            source: row.origin.source.clone(),
            as_of: row.origin.as_of,
        }
    }

    pub(super) fn fingerprints(&self) -> [Fingerprint; 2] {
        [fingerprint(self.name.trim()), fingerprint(&self.text)]
    }

    pub(super) fn record(
        &self,
        space: &str,
        vector: &[f32],
        fingerprints: &Fingerprints,
        revision: u64,
    ) -> StoredRecord {
        let body = body(fingerprints, &self.name, vector);
        let code = format!("{space}/{}", self.code);
        StoredRecord {
            state: self.state.clone(),
            open: self.open,
            closes: self.closes,
            revision,
            ..StoredRecord::new(RecordKind::Tender, Form::Vector, code, self.source.clone(), self.as_of, body)
        }
    }
}

fn joined<const N: usize>(parts: [&str; N]) -> String {
    let parts = parts.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let said: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    cut(&said.join(". "), MAX_TEXT_CHARS).0
}

/// The fingerprints of the text that a vector was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprints {
    pub(super) name: Fingerprint,
    pub(super) text: Fingerprint,
    pub(super) in_full: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct StoredVector {
    pub(super) fingerprints: Fingerprints,
    pub(super) name: String,
    pub(super) vector: Vec<f32>,
}

fn body(fingerprints: &Fingerprints, name: &str, vector: &[f32]) -> Bytes {
    let (name, _) = cut(name, MAX_NAME_CHARS);
    let mut body = BytesMut::with_capacity(64 + name.len() + vector.len() * 4);
    body.put_slice(VECTOR_MAGIC);
    body.put_slice(&fingerprints.name);
    body.put_slice(&fingerprints.text);
    body.put_u8(u8::from(fingerprints.in_full));
    body.put_u32_le(u32::try_from(name.len()).unwrap_or_default());
    body.put_slice(name.as_bytes());
    for number in vector {
        body.put_f32_le(*number);
    }
    body.freeze()
}

/// Reads what [`body`] wrote; `None` for anything else, which is then embedded again.
pub(super) fn read_vector(body: &[u8], width: usize) -> Option<StoredVector> {
    let rest = body.strip_prefix(VECTOR_MAGIC)?;
    let (name_print, rest) = rest.split_first_chunk::<16>()?;
    let (text_print, rest) = rest.split_first_chunk::<16>()?;
    let (in_full, rest) = rest.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (name, numbers) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let (numbers, left) = numbers.as_chunks::<4>();
    let vector: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    (left.is_empty() && vector.len() == width).then(|| StoredVector {
        fingerprints: Fingerprints { name: *name_print, text: *text_print, in_full: *in_full != 0 },
        name: String::from_utf8_lossy(name).into_owned(),
        vector,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_back_and_nothing_else_does() {
        let fingerprints = Fingerprints { name: fingerprint("a"), text: fingerprint("b"), in_full: true };
        let body = body(&fingerprints, "Ñandú", &[1.0, -0.5]);
        assert_eq!(
            read_vector(&body, 2),
            Some(StoredVector { fingerprints, name: "Ñandú".to_owned(), vector: vec![1.0, -0.5] })
        );
        assert_eq!(read_vector(&body, 3), None);
        for end in 0..body.len() {
            assert_eq!(read_vector(&body[..end], 2), None, "{end}");
        }
        assert_eq!(read_vector(b"[0.5, 0.5]", 2), None);
    }

    #[test]
    fn titles_are_found_under_the_names_of_every_source() {
        let text = |written: &str| texts(&Fields::read(written).expect("an object"));
        assert_eq!(text(r#"{"CodigoExterno":"1","Nombre":" A "}"#), ("A".into(), String::new()));
        assert_eq!(text(r#"{"nombre":"A","descripcion":"B"}"#), ("A".into(), "B".into()));
        let release = r#"{"ocid":"x","tender":{"title":"A","description":"B"}}"#;
        assert_eq!(text(release), ("A".into(), "B".into()));
    }
}
