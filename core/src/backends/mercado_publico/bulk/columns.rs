//! Recognising columns by name, in all the spellings of twenty years.

use std::sync::Arc;

use serde::Deserialize;

use super::rows::ReadOptions;
use super::table::CsvRow;
use crate::error::{Error, Result};
use crate::procure::tables::folded;

/// The columns of a set, by their names in the newest files. `!` marks those without which a file is refused; other
/// spellings stand behind bars. Case, accents, blanks and punctuation are ignored anyway.
pub(super) type ColumnNames = &'static [&'static str];

/// The number of a column in [`ColumnNames`]. It is a constant, so that a name without a column does not compile.
pub(super) const fn column_number(columns: ColumnNames, name: &str) -> usize {
    let (mut at, name) = (0, name.as_bytes());
    while at < columns.len() {
        let (entry, mut same) = (columns[at].as_bytes(), 0);
        while same < name.len() && same < entry.len() && entry[same] == name[same] {
            same += 1;
        }
        if same == name.len() && (same == entry.len() || matches!(entry[same], b'!' | b'|')) {
            break;
        }
        at += 1;
    }
    assert!(at < columns.len(), "no column has this name");
    at
}

/// The name of a column in the newest files.
fn newest_name(entry: &'static str) -> &'static str {
    entry.split(['|', '!']).next().unwrap_or(entry)
}

/// What to do with unknown columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnknownColumns {
    /// Refuse the file: a new column may change the meaning of others.
    #[default]
    Refuse,
    /// Keep them in `raw`.
    Keep,
}

/// The columns of one file.
#[derive(Debug)]
pub(super) struct Columns {
    count: usize,
    names: ColumnNames,
    /// The position of each column in the file, by number.
    positions: Vec<Option<usize>>,
    /// The JSON before each field: `{"ID":"`, `","Codigo":"`.
    json_keys: Vec<String>,
    /// Which fields are left empty in JSON, because they contain personal data.
    personal: Vec<bool>,
}

impl Columns {
    /// Reads a header.
    ///
    /// # Errors
    /// `response_invalid` naming the columns that are missing or unknown.
    pub(super) fn read(
        columns: ColumnNames,
        personal: ColumnNames,
        header: CsvRow<'_>,
        options: &ReadOptions,
    ) -> Result<Arc<Self>> {
        let mut names: Vec<String> = Vec::with_capacity(header.len());
        let mut written: Vec<String> = Vec::with_capacity(header.len());
        for index in 0..header.len() {
            let text = header.text(index);
            let text = text.trim_start_matches('\u{FEFF}').trim_matches('"').trim();
            names.push(unique_name(folded(text), &names));
            written.push(text.to_owned());
        }
        let position = |entry: &&'static str| {
            let mut spellings = entry.split(['|', '!']).filter(|name| !name.is_empty()).map(folded);
            spellings.find_map(|spelling| names.iter().position(|name| *name == spelling))
        };
        let positions: Vec<Option<usize>> = columns.iter().map(position).collect();
        let missing = columns.iter().zip(&positions);
        let missing = missing.filter(|(entry, position)| entry.contains('!') && position.is_none());
        check_none("lacks", missing.map(|(entry, _)| newest_name(entry)))?;
        if options.unknown_columns == UnknownColumns::Refuse {
            let others = written.iter().enumerate().filter(|(index, _)| !positions.contains(&Some(*index)));
            check_none("has unknown", others.map(|(_, name)| name.as_str()))?;
        }
        let is_personal = |name: &String| {
            !options.personal_data && personal.iter().any(|personal| folded(personal) == *name)
        };
        Ok(Arc::new(Self {
            count: header.len(),
            names: columns,
            positions,
            json_keys: json_keys(&written),
            personal: names.iter().map(is_personal).collect(),
        }))
    }

    /// The position of a column in the file.
    pub(super) fn position(&self, column: usize) -> Option<usize> {
        self.positions.get(column).copied().flatten()
    }

    pub(super) fn name(&self, column: usize) -> &'static str {
        self.names.get(column).copied().map_or("", newest_name)
    }

    /// Whether a field is dropped because it contains personal data.
    pub(super) fn is_personal(&self, index: usize) -> bool {
        self.personal.get(index).copied().unwrap_or(false)
    }

    /// Checks that a row has as many fields as the header.
    pub(super) fn check(&self, row: CsvRow<'_>, number: u64) -> Result<()> {
        if row.len() == self.count {
            return Ok(());
        }
        Err(Error::response_invalid(format!(
            "row {number} has {} fields where the header has {}",
            row.len(),
            self.count
        )))
    }

    /// The row as a JSON object of the column names and the fields' texts.
    pub(super) fn to_json(&self, row: CsvRow<'_>) -> Vec<u8> {
        let length: usize =
            self.json_keys.iter().enumerate().map(|(at, key)| key.len() + row.bytes(at).len()).sum();
        let mut json = Vec::with_capacity(length + length / 8 + 16);
        for (index, key) in self.json_keys.iter().enumerate() {
            json.extend_from_slice(key.as_bytes());
            if !self.is_personal(index) {
                row.push_json(index, &mut json);
            }
        }
        json.extend_from_slice(if self.json_keys.is_empty() { b"{}" } else { b"\"}" });
        json
    }
}

/// A unique name. The portal writes some names twice: in some years the second is `name.1`, in others it is the same.
fn unique_name(name: String, before: &[String]) -> String {
    let numbered = (1..).map(|number| format!("{name}{number}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    names.find(|name| !before.contains(name)).unwrap_or(name)
}

fn json_keys(names: &[String]) -> Vec<String> {
    let mut json_keys: Vec<String> = Vec::with_capacity(names.len());
    let mut seen: Vec<&str> = Vec::with_capacity(names.len());
    for name in names {
        let begin = if json_keys.is_empty() { "{" } else { "\"," };
        // Names in an object must be unique.
        let repeated = seen.iter().filter(|other| **other == name).count();
        let suffix = if repeated == 0 { String::new() } else { format!(".{repeated}") };
        let quoted = serde_json::Value::from(format!("{name}{suffix}")).to_string();
        json_keys.push(format!("{begin}{quoted}:\""));
        seen.push(name);
    }
    json_keys
}

fn check_none<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let names: Vec<String> =
        names.take(12).map(|name| format!("'{}'", name.chars().take(60).collect::<String>())).collect();
    if names.is_empty() {
        return Ok(());
    }
    let advice = if what == "lacks" {
        "; is it a file of this set?"
    } else {
        "; allow it with `UnknownColumns::Keep`"
    };
    Err(Error::response_invalid(format!("the file {what} columns: {}{advice}", names.join(", "))))
}
