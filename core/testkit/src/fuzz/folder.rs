//! Mutates folders: the files of a model, with few changes, so that most of what is read stays valid.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde_json::{Map, Number, Value};

use super::mutate::{self, InputKind};
use crate::random::Random;

/// A folder in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folder {
    /// What its files hold, by their names; those of folders in it are joined with `/`.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// The most changes of one mutation.
const MAX_CHANGES: usize = 3;

/// Bytes of a binary file in which most changes happen: its header.
const HEADER_BYTES: usize = 4096;

impl Folder {
    /// Reads a folder with all folders in it.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut folder = Self::default();
        folder.add(path, "")?;
        Ok(folder)
    }

    fn add(&mut self, path: &Path, prefix: &str) -> io::Result<()> {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                self.add(&entry.path(), &format!("{name}/"))?;
            } else {
                self.files.insert(name, std::fs::read(entry.path())?);
            }
        }
        Ok(())
    }

    /// This folder with another file.
    #[must_use]
    pub fn with(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(name.to_owned(), content.into());
        self
    }

    /// Writes the files into a folder, which is made where it is missing.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        for (name, content) in &self.files {
            let path = path.join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            std::fs::write(path, content)?;
        }
        Ok(())
    }

    /// The folder with one to three changes, and the names of the files that were changed. The same seed and number give
    /// the same changes.
    #[must_use]
    pub fn mutated(&self, seed: u64, number: u64) -> (Self, Vec<String>) {
        let mut random = Random::from_parts(&[seed, number]);
        let (mut folder, mut changed) = (self.clone(), Vec::new());
        let names: Vec<&String> = self.files.keys().collect();
        for _ in 0..=random.index(MAX_CHANGES) {
            let Some(name) = random.choose(&names) else { break };
            if let Some(content) = folder.files.get_mut(*name) {
                *content = mutated_file(name, std::mem::take(content), &mut random);
                changed.push((*name).clone());
            }
        }
        changed.sort();
        changed.dedup();
        (folder, changed)
    }
}

/// A file with a change that suits what it is.
fn mutated_file(name: &str, content: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let ending = name.rsplit('.').next().unwrap_or_default();
    match ending {
        "json" if content.len() < mutate::MAX_INPUT_BYTES && random.percent(15) => {
            mutate::mutated(&[content], InputKind::Json, random)
        }
        "json" => match serde_json::from_slice(&content) {
            Ok(value) => mutated_json(value, random).to_string().into_bytes(),
            Err(_) => mutate::mutated(&[content], InputKind::Json, random),
        },
        "safetensors" => mutated_safetensors(content, random),
        _ => mutated_binary(content, HEADER_BYTES, random),
    }
}

/// Numbers that sizes, counts and scales must survive.
const NUMBERS: [&str; 30] = [
    "0",
    "1",
    "-1",
    "2",
    "3",
    "5",
    "7",
    "8",
    "12",
    "13",
    "64",
    "255",
    "256",
    "257",
    "1023",
    "1025",
    "65535",
    "20000000",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "0.5",
    "1e-45",
    "1e300",
    "-1e300",
];

/// A JSON document with one value changed.
fn mutated_json(mut document: Value, random: &mut Random) -> Value {
    let donor = value_in(&document, random).clone();
    let place = place_in(&mut document, random);
    change(place, donor, random);
    document
}

/// Some value, each level as likely as any other.
fn value_in<'a>(mut value: &'a Value, random: &mut Random) -> &'a Value {
    loop {
        let next = match value {
            Value::Array(items) => random.choose(items),
            Value::Object(fields) => fields.values().nth(random.index(fields.len())),
            _ => None,
        };
        match next.filter(|_| random.percent(80)) {
            Some(next) => value = next,
            None => return value,
        }
    }
}

/// As [`value_in`], to change it.
fn place_in<'a>(value: &'a mut Value, random: &mut Random) -> &'a mut Value {
    let children = match &*value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    };
    if children == 0 || random.percent(15) {
        return value;
    }
    let index = random.index(children);
    match value {
        Value::Array(items) => place_in(&mut items[index], random),
        Value::Object(fields) => {
            let key = fields.keys().nth(index).cloned().unwrap_or_default();
            place_in(&mut fields[&key], random)
        }
        other => other,
    }
}

fn change(value: &mut Value, donor: Value, random: &mut Random) {
    match value {
        Value::Array(items) => change_list(items, donor, random),
        Value::Object(fields) => change_fields(fields, donor, random),
        Value::Number(number) if random.percent(70) => *number = other_number(number, random),
        Value::String(text) if random.percent(60) => change_text(text, random),
        Value::Bool(flag) if random.percent(80) => *flag = !*flag,
        _ => {
            *value = match random.index(9) {
                0 => Value::Null,
                1 => Value::Bool(random.percent(50)),
                2 | 3 => Value::Number(number(random)),
                4 => Value::String(String::new()),
                5 => Value::Array(vec![Value::Null; random.index(3)]),
                6 => Value::Object(Map::new()),
                7 => (0..1 + random.index(200)).fold(Value::Null, |inner, _| Value::Array(vec![inner])),
                _ => donor,
            };
        }
    }
}

fn number(random: &mut Random) -> Number {
    let text = random.pick(&NUMBERS);
    serde_json::from_str(text).unwrap_or_else(|_| Number::from(0))
}

fn other_number(old: &Number, random: &mut Random) -> Number {
    let Some(old) = old.as_u64().filter(|_| random.percent(40)) else { return number(random) };
    Number::from(match random.index(4) {
        0 => old.saturating_mul(2),
        1 => old.saturating_add(1),
        2 => old.saturating_sub(1),
        _ => old / 2,
    })
}

fn change_text(text: &mut String, random: &mut Random) {
    match random.index(5) {
        0 => *text = text.repeat(2 + random.index(3)),
        1 => *text = "x".repeat(1 << random.index(18)),
        2 => drop(text.pop()),
        3 => text.insert_str(0, random.pick(&["../", "\u{301}", "▁", "##", "(", "é", "\0", " "])),
        _ => *text = text.chars().rev().collect(),
    }
}

fn change_list(items: &mut Vec<Value>, donor: Value, random: &mut Random) {
    let at = random.index(items.len().max(1));
    match (random.index(4), items.get(at).cloned()) {
        (0, Some(_)) => drop(items.remove(at)),
        (1, Some(item)) => {
            let times = if random.percent(10) { 3000 } else { 1 + random.index(20) };
            items.splice(at..at, std::iter::repeat_n(item, times));
        }
        (2, Some(_)) => items.reverse(),
        _ => items.push(donor),
    }
}

fn change_fields(fields: &mut Map<String, Value>, donor: Value, random: &mut Random) {
    let nth = |fields: &Map<String, Value>, random: &mut Random| {
        fields.keys().nth(random.index(fields.len())).cloned().unwrap_or_default()
    };
    let (one, other) = (nth(fields, random), nth(fields, random));
    match random.index(4) {
        0 => drop(fields.remove(&one)),
        1 => {
            let value = fields.get(&one).cloned().unwrap_or_default();
            fields.insert(other, value);
        }
        2 => {
            let value = fields.remove(&one).unwrap_or_default();
            fields.insert(format!("{one}x"), value);
        }
        _ => drop(fields.insert(one, donor)),
    }
}

/// A safetensors file with another header, or other numbers.
fn mutated_safetensors(mut content: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let header = content.first_chunk().map(|length| u64::from_le_bytes(*length));
    let end = header.and_then(|length| usize::try_from(length).ok()?.checked_add(8));
    let Some(end) = end.filter(|end| *end <= content.len()) else {
        return mutated_binary(content, HEADER_BYTES, random);
    };
    match random.index(10) {
        0..=4 => {
            let Ok(header) = serde_json::from_slice(&content[8..end]) else { return content };
            let header = mutated_json(header, random).to_string().into_bytes();
            let length = (header.len() as u64).to_le_bytes();
            [&length[..], &header, &content[end..]].concat()
        }
        5..=7 => {
            // Some numbers become NaN, infinite or huge.
            for _ in 0..=random.index(4) {
                let at = end + random.index(content.len() - end) / 4 * 4;
                let bits =
                    random.pick(&[0x7fc0_0000_u32, 0x7f80_0000, 0xff80_0000, 0x7f7f_ffff, 0, 0x0000_0001]);
                if let Some(number) = content.get_mut(at..at + 4) {
                    number.copy_from_slice(&bits.to_le_bytes());
                }
            }
            content
        }
        8 => {
            content.truncate(random.index(content.len()));
            content
        }
        _ => mutated_binary(content, end, random),
    }
}

/// Bytes, mostly near the start, and lengths and counts that are too large.
fn mutated_binary(mut content: Vec<u8>, header: usize, random: &mut Random) -> Vec<u8> {
    for _ in 0..=random.index(3) {
        let most = if random.percent(80) { header.min(content.len()) } else { content.len() };
        let at = random.index(most);
        match random.index(6) {
            0 | 1 => {
                if let Some(byte) = content.get_mut(at) {
                    *byte ^= 1 << random.index(8);
                }
            }
            2 | 3 => {
                let large = random.pick(&[0, 1, 0xffff_ffff, 1 << 32, 1 << 60, u64::MAX >> 1, u64::MAX]);
                if let Some(number) = content.get_mut(at..at + 8) {
                    number.copy_from_slice(&large.to_le_bytes());
                }
            }
            4 => drop(content.drain(at..content.len().min(at + 1 + random.index(64)))),
            _ if random.percent(30) => content.truncate(at),
            _ => {
                let part = content.get(at..content.len().min(at + 32)).unwrap_or_default().to_vec();
                content.splice(at..at, part);
            }
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> Folder {
        let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let weights = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 8]].concat();
        Folder::default()
            .with("config.json", r#"{"hidden_size": 8, "name": "x", "list": [1, {"a": true}]}"#)
            .with("1_Pooling/config.json", "{}")
            .with("model.safetensors", weights)
            .with("model.gguf", &b"GGUF\x03\0\0\0\0\0\0\0"[..])
    }

    #[test]
    fn a_number_gives_the_same_changes_again_and_most_numbers_others() {
        let mut all = std::collections::HashSet::new();
        for number in 0..500 {
            let (mutated, changed) = folder().mutated(7, number);
            assert_eq!((mutated.clone(), changed.clone()), folder().mutated(7, number));
            assert!((1..=MAX_CHANGES).contains(&changed.len()), "{changed:?}");
            assert!(mutated.files.keys().eq(folder().files.keys()));
            all.insert(mutated.files);
        }
        assert!(all.len() > 350, "{}", all.len());
    }

    #[test]
    fn most_changed_documents_are_still_json() {
        let documents = (0..300).map(|number| folder().mutated(9, number).0.files["config.json"].clone());
        let valid = documents.filter(|document| serde_json::from_slice::<Value>(document).is_ok()).count();
        assert!(valid > 200, "{valid}");
    }

    #[test]
    fn a_folder_is_read_as_it_was_written() {
        let place = tempfile::tempdir().unwrap();
        folder().write(place.path()).unwrap();
        assert_eq!(Folder::read(place.path()).unwrap(), folder());
    }
}
