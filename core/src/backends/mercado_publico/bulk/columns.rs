//! Which column is which: by its name, in any of the spellings of twenty years.

use std::sync::Arc;

use serde::Deserialize;

use super::table::Row;
use crate::error::{Error, Result};
use crate::procure::tables::folded;

/// A column that the portal is known to write.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// As the newest files spell it.
    pub name: &'static str,
    /// Other spellings. Case, accents, blanks and punctuation make no difference anyway.
    pub aliases: &'static [&'static str],
    /// Whether a file without it is not of this set.
    pub is_needed: bool,
}

/// The columns of a set: a number for each that something is read of, and the names of all others.
pub trait ColumnSet: Copy {
    /// Those that something is read of, by number.
    const READ: &'static [Known];
    /// Those that are kept in `raw` only.
    const KEPT: &'static [&'static str];
    /// Those that say something of a person.
    const PERSONAL: &'static [&'static str];
    /// The number.
    fn index(self) -> usize;
}

macro_rules! columns {
    ($name:ident {
        $($variant:ident = $text:literal $(| $alias:literal)* $(, $needed:ident)?;)+
    } kept [$($kept:literal),* $(,)?] personal [$($personal:literal),* $(,)?]) => {
        #[derive(Clone, Copy, Debug)]
        pub enum $name { $($variant),+ }

        impl $crate::backends::mercado_publico::bulk::columns::ColumnSet for $name {
            const READ: &'static [$crate::backends::mercado_publico::bulk::columns::Known] = &[
                $($crate::backends::mercado_publico::bulk::columns::Known {
                    name: $text,
                    aliases: &[$($alias),*],
                    is_needed: columns!(@$($needed)?),
                }),+
            ];
            const KEPT: &'static [&'static str] = &[$($kept),*];
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

/// What to do with columns that ayni does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnknownColumns {
    /// Refuse the file: what a new column means may change what the others mean.
    #[default]
    Refuse,
    /// Keep them in `raw`.
    Keep,
}

/// The columns of one file.
#[derive(Debug)]
pub(super) struct Columns {
    count: usize,
    /// Where the file has what is read, by number.
    places: Vec<Option<usize>>,
    /// What stands before each field in JSON: `{"ID":"`, `","Codigo":"`.
    keys: Vec<String>,
    /// Which fields are left empty in JSON, because they say something of a person.
    personal: Vec<bool>,
}

impl Columns {
    /// Reads a header.
    ///
    /// # Errors
    /// `response_invalid` naming the columns that are missing, unknown or there twice.
    pub(super) fn read<C: ColumnSet>(
        header: Row<'_>,
        unknown: UnknownColumns,
        keeps_personal_data: bool,
    ) -> Result<Arc<Self>> {
        let mut names: Vec<String> = Vec::with_capacity(header.len());
        let mut written: Vec<String> = Vec::with_capacity(header.len());
        for index in 0..header.len() {
            let text = header.text(index);
            let text = text.trim_start_matches('\u{FEFF}').trim_matches('"').trim();
            names.push(told_apart(folded(text), &names));
            written.push(text.to_owned());
        }
        let place = |known: &Known| {
            let mut spellings = std::iter::once(known.name).chain(known.aliases.iter().copied());
            spellings.find_map(|spelling| names.iter().position(|name| *name == folded(spelling)))
        };
        let places: Vec<Option<usize>> = C::READ.iter().map(place).collect();
        let missing = C::READ.iter().zip(&places).filter(|(known, place)| known.is_needed && place.is_none());
        refuse("lacks", missing.map(|(known, _)| known.name))?;
        if unknown == UnknownColumns::Refuse {
            let is_known = |index: usize| {
                places.contains(&Some(index))
                    || names.get(index).is_some_and(|name| C::KEPT.iter().any(|kept| folded(kept) == *name))
            };
            let others = written.iter().enumerate().filter(|(index, _)| !is_known(*index));
            refuse("has unknown", others.map(|(_, name)| name.as_str()))?;
        }
        let is_personal = |name: &String| {
            !keeps_personal_data && C::PERSONAL.iter().any(|personal| folded(personal) == *name)
        };
        Ok(Arc::new(Self {
            count: header.len(),
            places,
            keys: keys(&written),
            personal: names.iter().map(is_personal).collect(),
        }))
    }

    /// Where the file has a column.
    pub(super) fn place(&self, column: impl ColumnSet) -> Option<usize> {
        self.places.get(column.index()).copied().flatten()
    }

    /// Whether a field is dropped because it says something of a person.
    pub(super) fn is_personal(&self, index: usize) -> bool {
        self.personal.get(index).copied().unwrap_or(false)
    }

    /// Fails if a row has more or fewer fields than the header.
    pub(super) fn check(&self, row: Row<'_>, number: u64) -> Result<()> {
        if row.len() == self.count {
            return Ok(());
        }
        Err(Error::response_invalid(format!(
            "row {number} has {} fields where the header has {}",
            row.len(),
            self.count
        )))
    }

    /// The row as a JSON object: every field under the name of the header, as the text that it is.
    pub(super) fn to_json(&self, row: Row<'_>) -> Vec<u8> {
        let length: usize =
            self.keys.iter().enumerate().map(|(at, key)| key.len() + row.bytes(at).len()).sum();
        let mut json = Vec::with_capacity(length + length / 8 + 16);
        for (index, key) in self.keys.iter().enumerate() {
            json.extend_from_slice(key.as_bytes());
            if !self.is_personal(index) {
                row.push_json(index, &mut json);
            }
        }
        json.extend_from_slice(if self.keys.is_empty() { b"{}" } else { b"\"}" });
        json
    }
}

/// The portal writes some names twice, and then calls the second `name.1` or, in other years, the same again.
fn told_apart(name: String, before: &[String]) -> String {
    let numbered = (1..).map(|number| format!("{name}{number}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    names.find(|name| !before.contains(name)).unwrap_or(name)
}

fn keys(names: &[String]) -> Vec<String> {
    let mut keys: Vec<String> = Vec::with_capacity(names.len());
    let mut seen: Vec<&str> = Vec::with_capacity(names.len());
    for name in names {
        let begin = if keys.is_empty() { "{" } else { "\"," };
        // An object has each name once.
        let repeated = seen.iter().filter(|other| **other == name).count();
        let suffix = if repeated == 0 { String::new() } else { format!(".{repeated}") };
        let quoted = serde_json::Value::from(format!("{name}{suffix}")).to_string();
        keys.push(format!("{begin}{quoted}:\""));
        seen.push(name);
    }
    keys
}

fn refuse<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let names: Vec<String> =
        names.take(12).map(|name| format!("'{}'", name.chars().take(60).collect::<String>())).collect();
    if names.is_empty() {
        return Ok(());
    }
    let advice =
        if what == "lacks" { "; is it of this set?" } else { "; allow it with `UnknownColumns::Keep`" };
    Err(Error::response_invalid(format!("the file {what} columns: {}{advice}", names.join(", "))))
}
