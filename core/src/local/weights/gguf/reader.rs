//! Reads the values of a GGUF header one after another.

use super::GgufError;

/// How deep arrays may lie in arrays.
pub(super) const MAX_DEPTH: usize = 4;

/// The types of values, as the format numbers them.
pub(super) mod kind {
    pub(crate) const U8: u32 = 0;
    pub(crate) const I8: u32 = 1;
    pub(crate) const U16: u32 = 2;
    pub(crate) const I16: u32 = 3;
    pub(crate) const U32: u32 = 4;
    pub(crate) const I32: u32 = 5;
    pub(crate) const F32: u32 = 6;
    pub(crate) const BOOL: u32 = 7;
    pub(crate) const TEXT: u32 = 8;
    pub(crate) const ARRAY: u32 = 9;
    pub(crate) const U64: u32 = 10;
    pub(crate) const I64: u32 = 11;
    pub(crate) const F64: u32 = 12;
}

/// A position in a header.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], GgufError> {
        let end = self.position.checked_add(length).ok_or(GgufError::CutOff)?;
        let taken = self.bytes.get(self.position..end).ok_or(GgufError::CutOff)?;
        self.position = end;
        Ok(taken)
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        self.take(4)?.try_into().map(u32::from_le_bytes).map_err(|_| GgufError::CutOff)
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        self.take(8)?.try_into().map(u64::from_le_bytes).map_err(|_| GgufError::CutOff)
    }

    pub(super) fn length(&mut self) -> Result<usize, GgufError> {
        usize::try_from(self.u64()?).map_err(|_| GgufError::CutOff)
    }

    /// The bytes of a text. Vocabularies may hold some that are not UTF-8.
    pub(super) fn text_bytes(&mut self) -> Result<&'a [u8], GgufError> {
        let length = self.length()?;
        self.take(length)
    }

    /// A name.
    pub(super) fn text(&mut self) -> Result<&'a str, GgufError> {
        std::str::from_utf8(self.text_bytes()?).map_err(|_| GgufError::Text)
    }

    /// Steps over a value of this type.
    pub(super) fn skip(&mut self, kind: u32, depth: usize) -> Result<(), GgufError> {
        match kind {
            kind::TEXT => {
                self.text_bytes()?;
            }
            kind::ARRAY if depth >= MAX_DEPTH => return Err(GgufError::Depth),
            kind::ARRAY => {
                let (kind, count) = (self.u32()?, self.length()?);
                if let Some(size) = size_of(kind) {
                    self.take(count.checked_mul(size).ok_or(GgufError::CutOff)?)?;
                } else {
                    for _ in 0..count {
                        self.skip(kind, depth + 1)?;
                    }
                }
            }
            _ => {
                self.take(size_of(kind).ok_or(GgufError::ValueType(kind))?)?;
            }
        }
        Ok(())
    }

    /// A whole number, a float or a truth value of this type.
    pub(super) fn number(&mut self, kind: u32) -> Option<Number> {
        let bytes = self.take(size_of(kind)?).ok()?;
        Some(match (kind, bytes) {
            (kind::U8 | kind::BOOL, &[a]) => Number::Whole(a.into()),
            (kind::I8, &[a]) => Number::Whole(a.cast_signed().into()),
            (kind::U16, &[a, b]) => Number::Whole(u16::from_le_bytes([a, b]).into()),
            (kind::I16, &[a, b]) => Number::Whole(i16::from_le_bytes([a, b]).into()),
            (kind::U32, &[a, b, c, d]) => Number::Whole(u32::from_le_bytes([a, b, c, d]).into()),
            (kind::I32, &[a, b, c, d]) => Number::Whole(i32::from_le_bytes([a, b, c, d]).into()),
            (kind::F32, &[a, b, c, d]) => Number::Float(f32::from_le_bytes([a, b, c, d]).into()),
            (kind::U64, _) => Number::Whole(u64::from_le_bytes(bytes.try_into().ok()?).into()),
            (kind::I64, _) => Number::Whole(i64::from_le_bytes(bytes.try_into().ok()?).into()),
            (kind::F64, _) => Number::Float(f64::from_le_bytes(bytes.try_into().ok()?)),
            _ => return None,
        })
    }
}

/// A number of any type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(i128),
    Float(f64),
}

/// The bytes of a value whose type has a fixed size.
fn size_of(kind: u32) -> Option<usize> {
    match kind {
        kind::U8 | kind::I8 | kind::BOOL => Some(1),
        kind::U16 | kind::I16 => Some(2),
        kind::U32 | kind::I32 | kind::F32 => Some(4),
        kind::U64 | kind::I64 | kind::F64 => Some(8),
        _ => None,
    }
}
