//! Vectors side by side in one block of memory.

use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// Vectors of one width, side by side in one block of memory.
#[derive(Clone, PartialEq)]
pub struct Vectors {
    numbers: Arc<[f32]>,
    width: usize,
}

impl Vectors {
    /// Splits `numbers` into vectors of `width`.
    ///
    /// # Errors
    /// `response_invalid` if the count of numbers is no multiple of the width, or the width is zero.
    pub fn new(numbers: impl Into<Arc<[f32]>>, width: usize) -> Result<Self> {
        let numbers = numbers.into();
        if width == 0 || numbers.len() % width != 0 {
            return Err(Error::response_invalid(format!(
                "{} numbers cannot be split into vectors of width {width}",
                numbers.len()
            )));
        }
        Ok(Self { numbers, width })
    }

    /// Vectors of numbers whose count is known to be a multiple of `width`.
    pub(super) fn of_parts(numbers: Vec<f32>, width: usize) -> Self {
        Self { numbers: numbers.into(), width }
    }

    /// Puts rows side by side.
    ///
    /// # Errors
    /// `response_invalid` if there are no rows, or they differ in width.
    pub fn from_rows(rows: Vec<Vec<f32>>) -> Result<Self> {
        let width = rows.first().map_or(0, Vec::len);
        if let Some(index) = rows.iter().position(|row| row.len() != width) {
            return Err(Error::response_invalid(format!(
                "vector {index} has {} numbers, the first has {width}",
                rows[index].len()
            ))
            .about_input(index));
        }
        Self::new(rows.concat(), width)
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.numbers.len() / self.width
    }

    /// Never: a response holds at least one vector.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// How many numbers a vector has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The vector at `index`.
    pub fn get(&self, index: usize) -> Option<&[f32]> {
        self.iter().nth(index)
    }

    /// Every vector, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.numbers.chunks_exact(self.width)
    }

    /// The whole block: vector after vector.
    pub fn as_flat(&self) -> &[f32] {
        &self.numbers
    }

    /// The position of the first vector that holds NaN or infinity.
    pub(super) fn first_not_finite(&self) -> Option<usize> {
        // First the whole block without a branch for each number, because almost always all is well.
        let is_finite = |numbers: &[f32]| numbers.iter().fold(true, |so_far, x| so_far & x.is_finite());
        if is_finite(&self.numbers) {
            return None;
        }
        self.iter().position(|vector| !is_finite(vector))
    }

    /// Scales every vector to unit length; a zero vector stays zero.
    pub fn normalised(self) -> Self {
        let mut numbers = self.numbers.to_vec();
        for vector in numbers.chunks_exact_mut(self.width) {
            let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
            if length > 0.0 {
                for x in vector {
                    #[allow(clippy::cast_possible_truncation)]
                    {
                        *x = (f64::from(*x) / length) as f32;
                    }
                }
            }
        }
        Self { numbers: numbers.into(), width: self.width }
    }
}

/// A list of numbers for each vector.
impl Serialize for Vectors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de> Deserialize<'de> for Vectors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows = Vec::deserialize(deserializer)?;
        Self::from_rows(rows).map_err(|error| D::Error::custom(error.message()))
    }
}

impl fmt::Debug for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vectors({} × {})", self.len(), self.width)
    }
}

impl<'a> IntoIterator for &'a Vectors {
    type Item = &'a [f32];
    type IntoIter = std::slice::ChunksExact<'a, f32>;

    fn into_iter(self) -> Self::IntoIter {
        self.numbers.chunks_exact(self.width)
    }
}
