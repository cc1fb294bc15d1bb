//! Vectors in fewer bytes: half precision, 8-bit integers, single bits.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::half;
use super::similarity::{Ranked, best, same_width};
use super::vectors::Vectors;
use crate::error::{Error, Result};

/// The number format in which vectors are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Encoding {
    /// Single precision, as they are: four bytes a number.
    #[default]
    F32,
    /// IEEE half precision: two bytes a number.
    F16,
    /// Integers from -127 to 127 and one scale for each vector: one byte a number.
    Int8,
    /// The sign only: one bit a number.
    Ubinary,
}

impl Encoding {
    /// Every encoding, the most exact first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Int8, Self::Ubinary];

    /// `f32`, `f16`, `int8` or `ubinary`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Ubinary => "ubinary",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Encoding {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.name() == text).ok_or_else(|| {
            Error::invalid_request(format!("encoding '{text}' is unknown; valid: f32, f16, int8, ubinary"))
        })
    }
}

impl Vectors {
    /// The vectors in this encoding.
    ///
    /// # Errors
    /// As [`to_int8`](Self::to_int8), for that encoding.
    pub fn encoded(&self, encoding: Encoding) -> Result<EncodedVectors> {
        Ok(match encoding {
            Encoding::F32 => EncodedVectors::F32(self.clone()),
            Encoding::F16 => EncodedVectors::F16(self.to_f16()),
            Encoding::Int8 => EncodedVectors::Int8(self.to_int8()?),
            Encoding::Ubinary => EncodedVectors::Ubinary(self.to_ubinary()),
        })
    }

    /// The vectors in half precision, rounded to nearest even. What is too large becomes infinite.
    pub fn to_f16(&self) -> HalfVectors {
        HalfVectors { bits: self.as_flat().iter().map(|x| half::from_f32(*x)).collect(), width: self.width() }
    }

    /// The vectors as integers from -127 to 127, each vector with its own scale: integer × scale ≈ original, and the
    /// largest integer of a vector is 127 or -127.
    ///
    /// One scale for each vector needs no calibration, and a vector's bytes do not depend on its neighbours.
    /// (sentence-transformers' `int8` takes ranges from a calibration set; its numbers cannot be compared with these.)
    /// The cosine of the integers is that of the vectors, without the scales.
    ///
    /// # Errors
    /// `response_invalid` if a number is not finite.
    pub fn to_int8(&self) -> Result<Int8Vectors> {
        let mut numbers = Vec::with_capacity(self.as_flat().len());
        let mut scales = Vec::with_capacity(self.len());
        for (index, vector) in self.iter().enumerate() {
            let largest = vector.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            if !vector.iter().all(|x| x.is_finite()) {
                return Err(Error::response_invalid(format!(
                    "vector {index} holds what is not a finite number"
                )));
            }
            let scale = largest / 127.0;
            // A division, because the reciprocal of the smallest numbers is infinite.
            #[allow(clippy::cast_possible_truncation, reason = "between -127 and 127")]
            let whole = |x: &f32| (x / scale).round_ties_even().clamp(-127.0, 127.0) as i8;
            match scale > 0.0 {
                true => numbers.extend(vector.iter().map(whole)),
                false => numbers.resize(numbers.len() + vector.len(), 0),
            }
            scales.push(scale);
        }
        Ok(Int8Vectors { numbers: numbers.into(), scales: scales.into(), width: self.width() })
    }

    /// One bit a number: 1 where it is above zero. Eight bits to a byte, the first in the highest bit, the last byte padded
    /// with zeros, as sentence-transformers' `quantize_embeddings(…, precision="ubinary")` does it.
    pub fn to_ubinary(&self) -> BinaryVectors {
        let byte = |numbers: &[f32]| {
            numbers.iter().enumerate().fold(0u8, |byte, (bit, x)| byte | (u8::from(*x > 0.0) << (7 - bit)))
        };
        let bytes = self.iter().flat_map(|vector| vector.chunks(8).map(byte)).collect();
        BinaryVectors { bytes, width: self.width() }
    }
}

/// Vectors in one of the encodings.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EncodedVectors {
    /// In single precision.
    F32(Vectors),
    /// In half precision.
    F16(HalfVectors),
    /// As 8-bit integers with scales.
    Int8(Int8Vectors),
    /// As bits.
    Ubinary(BinaryVectors),
}

impl EncodedVectors {
    /// The encoding.
    pub fn encoding(&self) -> Encoding {
        match self {
            Self::F32(_) => Encoding::F32,
            Self::F16(_) => Encoding::F16,
            Self::Int8(_) => Encoding::Int8,
            Self::Ubinary(_) => Encoding::Ubinary,
        }
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(vectors) => vectors.len(),
            Self::F16(vectors) => vectors.len(),
            Self::Int8(vectors) => vectors.len(),
            Self::Ubinary(vectors) => vectors.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers in a vector, however many bytes they take.
    pub fn width(&self) -> usize {
        match self {
            Self::F32(vectors) => vectors.width(),
            Self::F16(vectors) => vectors.width(),
            Self::Int8(vectors) => vectors.width(),
            Self::Ubinary(vectors) => vectors.width(),
        }
    }

    /// The numbers as bytes, vector after vector, little-endian. Without the scales of `int8`.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(vectors) => joined(vectors.as_flat(), f32::to_le_bytes),
            Self::F16(vectors) => joined(vectors.as_bits(), u16::to_le_bytes),
            Self::Int8(vectors) => vectors.as_flat().iter().map(|x| x.to_le_bytes()[0]).collect(),
            Self::Ubinary(vectors) => vectors.as_bytes().to_vec(),
        }
    }
}

/// The bytes of all numbers, one after the other.
fn joined<T: Copy, const N: usize>(numbers: &[T], bytes_of: fn(T) -> [u8; N]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(numbers.len() * N);
    for number in numbers {
        bytes.extend_from_slice(&bytes_of(*number));
    }
    bytes
}

/// Vectors in half precision, side by side, as the bits of IEEE 754 binary16.
#[derive(Clone, PartialEq)]
pub struct HalfVectors {
    bits: Arc<[u16]>,
    width: usize,
}

impl HalfVectors {
    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.bits.len() / self.width
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// Numbers in a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The bits of every number, vector after vector.
    pub fn as_bits(&self) -> &[u16] {
        &self.bits
    }

    /// The same numbers in f32, without rounding.
    pub fn to_f32(&self) -> Vectors {
        let numbers: Vec<f32> = self.bits.iter().map(|bits| half::to_f32(*bits)).collect();
        Vectors::of_parts(numbers, self.width)
    }
}

/// Vectors as 8-bit integers, side by side, each vector with its own scale.
#[derive(Clone, PartialEq)]
pub struct Int8Vectors {
    numbers: Arc<[i8]>,
    scales: Arc<[f32]>,
    width: usize,
}

impl Int8Vectors {
    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Numbers in a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The integers, vector after vector.
    pub fn as_flat(&self) -> &[i8] {
        &self.numbers
    }

    /// The scale of each vector: integer × scale ≈ original. 0 for a zero vector.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The vectors in f32: each number is off by half a scale at most.
    pub fn to_f32(&self) -> Vectors {
        let rows = self.numbers.chunks_exact(self.width).zip(&*self.scales);
        let numbers: Vec<f32> =
            rows.flat_map(|(row, scale)| row.iter().map(move |x| f32::from(*x) * scale)).collect();
        Vectors::of_parts(numbers, self.width)
    }
}

/// Vectors of bits, side by side, eight to a byte.
#[derive(Clone, PartialEq)]
pub struct BinaryVectors {
    bytes: Arc<[u8]>,
    width: usize,
}

/// One of the vectors of bits that are nearest to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BinaryMatch {
    /// Its position among the vectors.
    pub index: usize,
    /// The Hamming distance to the query: in how many bits they differ.
    pub distance: u32,
}

impl BinaryVectors {
    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.bytes_a_vector()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bits in a vector, without the padding of its last byte.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The bytes, vector after vector.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of the vector at `index`.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.bytes.chunks_exact(self.bytes_a_vector()).nth(index)
    }

    /// The `k` vectors that differ from `query` in the fewest bits, the best first, and of equals the one with the lower
    /// index. Fewer if there are fewer.
    ///
    /// # Errors
    /// `invalid_request` if the query differs in width.
    pub fn top_k(&self, query: &[u8], k: usize) -> Result<Vec<BinaryMatch>> {
        same_width(query.len() * 8, self.bytes_a_vector() * 8)?;
        let vectors = self.bytes.chunks_exact(self.bytes_a_vector()).enumerate();
        let ranked = vectors.map(|(index, vector)| Ranked { index, rank: differing_bits(query, vector) });
        Ok(best(ranked, k)
            .into_iter()
            .map(|found| BinaryMatch { index: found.index, distance: found.rank })
            .collect())
    }

    fn bytes_a_vector(&self) -> usize {
        self.width.div_ceil(8)
    }
}

/// The Hamming distance: in how many bits two vectors differ.
///
/// ```
/// # fn main() -> ayni::Result<()> {
/// let vectors = ayni::Vectors::new(vec![0.5, -0.5, 0.5, 0.5, 0.5, -0.5], 3)?.to_ubinary();
/// assert_eq!(vectors.as_bytes(), [0b1010_0000, 0b1100_0000]);
/// assert_eq!(ayni::embed::hamming_distance(&vectors.as_bytes()[..1], &vectors.as_bytes()[1..])?, 2);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `invalid_request` if they differ in width.
pub fn hamming_distance(a: &[u8], b: &[u8]) -> Result<u32> {
    same_width(a.len() * 8, b.len() * 8)?;
    Ok(differing_bits(a, b))
}

/// Both have the same width.
fn differing_bits(a: &[u8], b: &[u8]) -> u32 {
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    let words = a_words
        .iter()
        .zip(b_words)
        .map(|(a, b)| (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b)).count_ones());
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| (a ^ b).count_ones());
    words.sum::<u32>() + rest.sum::<u32>()
}

macro_rules! short_debug {
    ($($name:ident)+) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} × {})"), self.len(), self.width)
            }
        })+
    };
}

short_debug! { HalfVectors Int8Vectors BinaryVectors }

#[cfg(test)]
#[path = "encoding_tests.rs"]
mod tests;
