//! Vectors side by side in one block of memory.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};

/// Vectors of one width, side by side in one block of memory.
#[derive(Clone, PartialEq)]
pub struct Vectors {
    numbers: Arc<[f32]>,
    width: usize,
}

impl Vectors {
    /// Cuts `numbers` into vectors of `width`.
    ///
    /// # Errors
    /// `response_invalid` if they do not come out even or the width is zero.
    pub fn new(numbers: impl Into<Arc<[f32]>>, width: usize) -> Result<Self> {
        let numbers = numbers.into();
        if width == 0 || numbers.len() % width != 0 {
            return Err(Error::response_invalid(format!(
                "{} numbers do not make vectors of {width}",
                numbers.len()
            )));
        }
        Ok(Self { numbers, width })
    }

    /// Vectors of numbers that are known to come out even.
    pub(super) fn of_parts(numbers: Vec<f32>, width: usize) -> Self {
        Self { numbers: numbers.into(), width }
    }

    /// Puts rows side by side.
    ///
    /// # Errors
    /// `response_invalid` if there is none, or they differ in width.
    pub fn from_rows(rows: Vec<Vec<f32>>) -> Result<Self> {
        let width = rows.first().map_or(0, Vec::len);
        if let Some(index) = rows.iter().position(|row| row.len() != width) {
            return Err(Error::response_invalid(format!(
                "vector {index} has {} numbers, the first has {width}",
                rows[index].len()
            )));
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

    /// Numbers in a vector.
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
