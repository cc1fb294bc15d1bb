//! Vectors for Python: memory that numpy reads in place, or bytes.

use ayni::embed::{EncodedVectors, Int8Vectors};
use ayni::{Error, Result, Vectors};
use pyo3::exceptions::PyNotImplementedError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::failure::{invalid, to_exception};

/// How numpy names the order of a number's bytes.
const ORDER: char = if cfg!(target_endian = "little") { '<' } else { '>' };

/// A block of numbers that numpy uses as an array without a copy. It is read-only because clones of it may be in a cache.
/// The array keeps it alive.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct Block(Numbers);

enum Numbers {
    Vectors(EncodedVectors),
    Scales(Int8Vectors),
}

impl Block {
    pub(crate) fn new(vectors: EncodedVectors) -> Self {
        Self(Numbers::Vectors(vectors))
    }

    fn floats(&self) -> Result<Vectors> {
        match &self.0 {
            Numbers::Vectors(EncodedVectors::F32(vectors)) => Ok(vectors.clone()),
            Numbers::Vectors(EncodedVectors::F16(vectors)) => Ok(vectors.to_f32()),
            Numbers::Vectors(EncodedVectors::Int8(vectors)) => Ok(vectors.to_f32()),
            _ => Err(Error::unsupported("vectors of bits have no cosine; embed with another encoding")),
        }
    }
}

/// The vectors to search: a block, or rows of numbers.
#[derive(FromPyObject)]
pub(crate) enum Searched<'py> {
    Block(PyRef<'py, Block>),
    Rows(Vec<Vec<f32>>),
}

/// The nearest `k` vectors: (position, cosine), the best first.
#[pyfunction]
pub(crate) fn top_k(
    py: Python<'_>,
    vectors: Searched<'_>,
    query: Vec<f32>,
    k: usize,
) -> PyResult<Vec<(usize, f32)>> {
    let vectors = match vectors {
        Searched::Block(block) => block.floats().map_err(|error| to_exception(py, &error))?,
        Searched::Rows(rows) => Vectors::from_rows(rows).map_err(|error| invalid(py, error.message()))?,
    };
    let found = py.detach(|| vectors.top_k(&query, k)).map_err(|error| to_exception(py, &error))?;
    Ok(found.into_iter().map(|found| (found.index, found.score)).collect())
}

/// The cosine of two vectors.
#[pyfunction]
pub(crate) fn similarity(py: Python<'_>, a: Vec<f32>, b: Vec<f32>) -> PyResult<f32> {
    ayni::embed::similarity(&a, &b).map_err(|error| to_exception(py, &error))
}

#[pymethods]
impl Block {
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        use EncodedVectors as E;
        let (address, numbers, shape) = match &self.0 {
            Numbers::Vectors(E::F32(all)) => (address(all.as_flat()), "f4", vec![all.len(), all.width()]),
            Numbers::Vectors(E::F16(all)) => (address(all.as_bits()), "f2", vec![all.len(), all.width()]),
            Numbers::Vectors(E::Int8(all)) => (address(all.as_flat()), "i1", vec![all.len(), all.width()]),
            Numbers::Vectors(E::Ubinary(all)) => {
                (address(all.as_bytes()), "u1", vec![all.len(), all.width().div_ceil(8)])
            }
            Numbers::Vectors(other) => {
                let told = format!("numpy has no numbers for the encoding {}", other.encoding());
                return Err(PyNotImplementedError::new_err(told));
            }
            Numbers::Scales(vectors) => (address(vectors.scales()), "f4", vec![vectors.len()]),
        };
        let interface = PyDict::new(py);
        interface.set_item(intern!(py, "version"), 3)?;
        interface.set_item(intern!(py, "typestr"), format!("{ORDER}{numbers}"))?;
        interface.set_item(intern!(py, "shape"), PyTuple::new(py, shape)?)?;
        interface.set_item(intern!(py, "data"), (address, true))?;
        Ok(interface)
    }

    fn __len__(&self) -> usize {
        match &self.0 {
            Numbers::Vectors(vectors) => vectors.len(),
            Numbers::Scales(vectors) => vectors.len(),
        }
    }

    /// The numbers, vector after vector, little-endian.
    fn tobytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes = match &self.0 {
            Numbers::Vectors(vectors) => vectors.to_le_bytes(),
            Numbers::Scales(vectors) => {
                vectors.scales().iter().flat_map(|scale| scale.to_le_bytes()).collect()
            }
        };
        PyBytes::new(py, &bytes)
    }

    /// The scale of each vector of `int8`.
    #[getter]
    fn scales(&self) -> Option<Self> {
        match &self.0 {
            Numbers::Vectors(EncodedVectors::Int8(vectors)) => Some(Self(Numbers::Scales(vectors.clone()))),
            _ => None,
        }
    }
}

fn address<T>(numbers: &[T]) -> usize {
    numbers.as_ptr().expose_provenance()
}
