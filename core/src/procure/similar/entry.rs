//! What the index knows of a tender, and how the store keeps it.

use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use crate::procure::analysis::clean::cut;
use crate::procure::json::fields::Fields;
use crate::procure::store::{Form, RecordKind, StoredRecord};
use crate::procure::{Source, Tender, TenderState, Timestamp};

/// The form of a stored vector.
const MARK: &[u8; 4] = b"vec1";
/// The most characters of a text to embed; models take a few hundred words.
const LONGEST_TEXT: usize = 4_000;
/// The most characters of a title.
const LONGEST_NAME: usize = 400;

/// The first half of a SHA-256: equal only for the same text.
pub(super) type Fingerprint = [u8; 16];

fn fingerprint(text: &str) -> Fingerprint {
    let hash = Sha256::digest(text.as_bytes());
    let mut half = Fingerprint::default();
    half.copy_from_slice(&hash[..16]);
    half
}

/// A tender as it was found.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) code: String,
    pub(super) name: String,
    /// What is embedded; empty if there is nothing.
    pub(super) text: String,
    /// Whether the text is more than a row's.
    pub(super) in_full: bool,
    pub(super) state: String,
    pub(super) open: bool,
    pub(super) closes: Option<Timestamp>,
    source: Source,
    as_of: Timestamp,
}

impl Seen {
    /// A row of the store: its title, and its description where the source gives one in lists.
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

    /// A tender in full: title, description, and the names of its lines.
    pub(super) fn of_tender(tender: &Tender) -> Self {
        let row = &tender.row;
        let mut lines = String::new();
        for item in &tender.items {
            // Writing to a String cannot fail.
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

    /// What tells whether the title, and whether the whole text, is as it was.
    pub(super) fn fingerprints(&self) -> [Fingerprint; 2] {
        [fingerprint(self.name.trim()), fingerprint(&self.text)]
    }

    /// The record of the store that holds its vector.
    pub(super) fn record(&self, space: &str, vector: &[f32], prints: &Prints, revision: u64) -> StoredRecord {
        let body = body(prints, &self.name, vector);
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

/// Title and description, by the names that the sources have for them.
fn texts(fields: &Fields<'_>) -> (String, String) {
    let first = |names: &[&str]| names.iter().find_map(|name| fields.text(name)).unwrap_or_default();
    let own = (first(&["Nombre", "title", "name"]), first(&["Descripcion", "description"]));
    match fields.object("tender").filter(|_| own.0.is_empty()) {
        Some(tender) => texts(&tender),
        None => own,
    }
}

fn joined<const N: usize>(parts: [&str; N]) -> String {
    let parts = parts.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let said: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    cut(&said.join(". "), LONGEST_TEXT).0
}

/// From what a vector was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prints {
    pub(super) name: Fingerprint,
    pub(super) text: Fingerprint,
    pub(super) in_full: bool,
}

/// A vector as the store keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    pub(super) prints: Prints,
    pub(super) name: String,
    pub(super) vector: Vec<f32>,
}

fn body(prints: &Prints, name: &str, vector: &[f32]) -> Bytes {
    let (name, _) = cut(name, LONGEST_NAME);
    let mut body = BytesMut::with_capacity(64 + name.len() + vector.len() * 4);
    body.put_slice(MARK);
    body.put_slice(&prints.name);
    body.put_slice(&prints.text);
    body.put_u8(u8::from(prints.in_full));
    body.put_u32_le(u32::try_from(name.len()).unwrap_or_default());
    body.put_slice(name.as_bytes());
    for number in vector {
        body.put_f32_le(*number);
    }
    body.freeze()
}

/// Reads what [`body`] wrote; `None` for anything else, which is then made anew.
pub(super) fn kept(body: &[u8], width: usize) -> Option<Kept> {
    let rest = body.strip_prefix(MARK)?;
    let (name_print, rest) = rest.split_first_chunk::<16>()?;
    let (text_print, rest) = rest.split_first_chunk::<16>()?;
    let (in_full, rest) = rest.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (name, numbers) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let (numbers, left) = numbers.as_chunks::<4>();
    let vector: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    (left.is_empty() && vector.len() == width).then(|| Kept {
        prints: Prints { name: *name_print, text: *text_print, in_full: *in_full != 0 },
        name: String::from_utf8_lossy(name).into_owned(),
        vector,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_back_and_nothing_else_does() {
        let prints = Prints { name: fingerprint("a"), text: fingerprint("b"), in_full: true };
        let body = body(&prints, "Ñandú", &[1.0, -0.5]);
        assert_eq!(kept(&body, 2), Some(Kept { prints, name: "Ñandú".to_owned(), vector: vec![1.0, -0.5] }));
        assert_eq!(kept(&body, 3), None);
        for end in 0..body.len() {
            assert_eq!(kept(&body[..end], 2), None, "{end}");
        }
        assert_eq!(kept(b"[0.5, 0.5]", 2), None);
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
