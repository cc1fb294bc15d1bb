//! What a GGUF file says about its model besides the tensors.

use std::collections::HashMap;
use std::fmt;

use super::reader::{Number, Reader, kind};
use crate::local::weights::mapped::MappedFile;

/// The metadata of a file by key. Values stay in the mapped file and are read when they are asked for; one of another
/// type than asked for reads as missing.
#[derive(Clone)]
pub(crate) struct Metadata {
    file: MappedFile,
    /// The type of each value, and where it is. All were stepped over once, so they end within the file.
    values: HashMap<String, (u32, usize)>,
}

impl Metadata {
    pub(super) fn new(file: &MappedFile, values: HashMap<String, (u32, usize)>) -> Self {
        Self { file: file.clone(), values }
    }

    /// `general.architecture`: the model's kind, and the prefix of the keys about its shape. Empty where it is missing.
    pub(crate) fn architecture(&self) -> &str {
        self.text("general.architecture").unwrap_or_default()
    }

    /// A text.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        let (kind, mut reader) = self.value(key)?;
        if kind != kind::TEXT {
            return None;
        }
        reader.text().ok()
    }

    /// A whole number that is not negative.
    pub(crate) fn whole(&self, key: &str) -> Option<u64> {
        match self.any_number(key)? {
            Number::Whole(number) => u64::try_from(number).ok(),
            Number::Float(_) => None,
        }
    }

    /// A number of any type.
    #[allow(clippy::cast_precision_loss, reason = "counts and hyperparameters are far below 2^53")]
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        Some(match self.any_number(key)? {
            Number::Whole(number) => number as f64,
            Number::Float(number) => number,
        })
    }

    /// A truth value.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        let (kind, mut reader) = self.value(key)?;
        if kind != kind::BOOL {
            return None;
        }
        reader.number(kind).map(|number| number != Number::Whole(0))
    }

    /// A list of texts, as bytes: vocabularies may hold some that are not UTF-8.
    pub(crate) fn texts(&self, key: &str) -> Option<Vec<&[u8]>> {
        let (element, count, mut reader) = self.list(key)?;
        if element != kind::TEXT {
            return None;
        }
        // Not more room than the file's bytes can fill.
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(reader.text_bytes().ok()?);
        }
        Some(texts)
    }

    /// A list of numbers of any type.
    #[allow(clippy::cast_precision_loss, reason = "scores, types and ids of tokens are far below 2^53")]
    pub(crate) fn numbers(&self, key: &str) -> Option<Vec<f64>> {
        let (element, count, mut reader) = self.list(key)?;
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(match reader.number(element)? {
                Number::Whole(number) => number as f64,
                Number::Float(number) => number,
            });
        }
        Some(numbers)
    }

    fn value(&self, key: &str) -> Option<(u32, Reader<'_>)> {
        let (kind, position) = *self.values.get(key)?;
        Some((kind, Reader { bytes: self.file.as_ref(), position }))
    }

    fn any_number(&self, key: &str) -> Option<Number> {
        let (kind, mut reader) = self.value(key)?;
        if kind == kind::BOOL {
            return None;
        }
        reader.number(kind)
    }

    fn list(&self, key: &str) -> Option<(u32, usize, Reader<'_>)> {
        let (kind, mut reader) = self.value(key)?;
        if kind != kind::ARRAY {
            return None;
        }
        Some((reader.u32().ok()?, reader.length().ok()?, reader))
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metadata({} values of {})", self.values.len(), self.file.path().display())
    }
}
