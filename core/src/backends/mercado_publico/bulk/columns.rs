//! Recognising columns by name, in all the spellings of twenty years.

use std::sync::Arc;

use serde::Deserialize;

use super::table::CsvRow;
use crate::error::{Error, Result};
use crate::procure::tables::folded;

/// A column that ayni parses.
#[derive(Clone, Copy, Debug)]
pub struct KnownColumn {
    /// The name in the newest files.
    pub name: &'static str,
    /// Other spellings. Case, accents, blanks and punctuation are ignored anyway.
    pub aliases: &'static [&'static str],
    /// Whether a file without it is refused.
    pub is_required: bool,
}

/// The columns of a set, as an enum of the parsed ones and the names of all others.
pub trait ColumnSet: Copy {
    /// The parsed columns, by number.
    const PARSED: &'static [KnownColumn];
    /// The columns that are only in `raw`.
    const RAW_ONLY: &'static [&'static str];
    /// The columns with personal data.
    const PERSONAL: &'static [&'static str];
    /// The number of the column.
    fn index(self) -> usize;
}

macro_rules! columns {
    ($name:ident {
        $($variant:ident = $text:literal $(| $alias:literal)* $(, $needed:ident)?;)+
    } kept [$($kept:literal),* $(,)?] personal [$($personal:literal),* $(,)?]) => {
        #[derive(Clone, Copy, Debug)]
        pub enum $name { $($variant),+ }

        impl $crate::backends::mercado_publico::bulk::columns::ColumnSet for $name {
            const PARSED: &'static [$crate::backends::mercado_publico::bulk::columns::KnownColumn] = &[
                $($crate::backends::mercado_publico::bulk::columns::KnownColumn {
                    name: $text,
                    aliases: &[$($alias),*],
                    is_required: columns!(@$($needed)?),
                }),+
            ];
            const RAW_ONLY: &'static [&'static str] = &[$($kept),*];
            const PERSONAL: &'static [&'static str] = &[$($personal),*];

            fn index(self) -> usize {
                self as usize
            }
        }
    };
    (@needed) => { true };
    (@) => { false };
}
pub(super) use columns;

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
    /// The position of each parsed column in the file, by number.
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
    pub(super) fn read<C: ColumnSet>(
        header: CsvRow<'_>,
        unknown: UnknownColumns,
        keeps_personal_data: bool,
    ) -> Result<Arc<Self>> {
        let mut names: Vec<String> = Vec::with_capacity(header.len());
        let mut written: Vec<String> = Vec::with_capacity(header.len());
        for index in 0..header.len() {
            let text = header.text(index);
            let text = text.trim_start_matches('\u{FEFF}').trim_matches('"').trim();
            names.push(unique_name(folded(text), &names));
            written.push(text.to_owned());
        }
        let position = |known: &KnownColumn| {
            let mut spellings = std::iter::once(known.name).chain(known.aliases.iter().copied());
            spellings.find_map(|spelling| names.iter().position(|name| *name == folded(spelling)))
        };
        let positions: Vec<Option<usize>> = C::PARSED.iter().map(position).collect();
        let missing = C::PARSED
            .iter()
            .zip(&positions)
            .filter(|(known, position)| known.is_required && position.is_none());
        check_none("lacks", missing.map(|(known, _)| known.name))?;
        if unknown == UnknownColumns::Refuse {
            let is_known = |index: usize| {
                positions.contains(&Some(index))
                    || names
                        .get(index)
                        .is_some_and(|name| C::RAW_ONLY.iter().any(|kept| folded(kept) == *name))
            };
            let others = written.iter().enumerate().filter(|(index, _)| !is_known(*index));
            check_none("has unknown", others.map(|(_, name)| name.as_str()))?;
        }
        let is_personal = |name: &String| {
            !keeps_personal_data && C::PERSONAL.iter().any(|personal| folded(personal) == *name)
        };
        Ok(Arc::new(Self {
            count: header.len(),
            positions,
            json_keys: json_keys(&written),
            personal: names.iter().map(is_personal).collect(),
        }))
    }

    /// The position of a column in the file.
    pub(super) fn position(&self, column: impl ColumnSet) -> Option<usize> {
        self.positions.get(column.index()).copied().flatten()
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
