//! Vectors as Python sees them: memory that numpy reads where it is, or bytes.

use ayni::embed::{EncodedVectors, Int8Vectors};
use ayni::{Error, Result, Vectors};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::failure::{invalid, raised};

/// A block of numbers that numpy makes an array of without a copy. It is read-only, because clones of it may be in a
/// cache; the array keeps it alive.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct Block(Numbers);

#[derive(Debug)]
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
            _ => Err(Error::unsupported("vectors of bits have no cosine; embed them with another encoding")),
        }
    }
}

/// What is searched: a block, or rows of numbers.
#[derive(FromPyObject)]
pub(crate) enum Searched<'py> {
    Block(PyRef<'py, Block>),
    Rows(Vec<Vec<f32>>),
}

/// The nearest `k` of some vectors: (position, cosine), the best first.
#[pyfunction]
pub(crate) fn top_k(
    py: Python<'_>,
    vectors: Searched<'_>,
    query: Vec<f32>,
    k: usize,
) -> PyResult<Vec<(usize, f32)>> {
    let vectors = match vectors {
        Searched::Block(block) => block.floats().map_err(|error| raised(py, &error))?,
        Searched::Rows(rows) => Vectors::from_rows(rows).map_err(|error| invalid(py, error.message()))?,
    };
    let found = py.detach(|| vectors.top_k(&query, k)).map_err(|error| raised(py, &error))?;
    Ok(found.into_iter().map(|found| (found.index, found.score)).collect())
}

/// The cosine of two vectors.
#[pyfunction]
pub(crate) fn similarity(py: Python<'_>, a: Vec<f32>, b: Vec<f32>) -> PyResult<f32> {
    ayni::embed::similarity(&a, &b).map_err(|error| raised(py, &error))
}

#[pymethods]
impl Block {
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let little = cfg!(target_endian = "little");
        let (address, kind, shape) = match &self.0 {
            Numbers::Vectors(EncodedVectors::F32(vectors)) => {
                let kind = if little { "<f4" } else { ">f4" };
                (vectors.as_flat().as_ptr().expose_provenance(), kind, vec![vectors.len(), vectors.width()])
            }
            Numbers::Vectors(EncodedVectors::F16(vectors)) => {
                let kind = if little { "<f2" } else { ">f2" };
                (vectors.as_bits().as_ptr().expose_provenance(), kind, vec![vectors.len(), vectors.width()])
            }
            Numbers::Vectors(EncodedVectors::Int8(vectors)) => {
                (vectors.as_flat().as_ptr().expose_provenance(), "|i1", vec![vectors.len(), vectors.width()])
            }
            Numbers::Vectors(EncodedVectors::Ubinary(vectors)) => {
                let shape = vec![vectors.len(), vectors.width().div_ceil(8)];
                (vectors.as_bytes().as_ptr().expose_provenance(), "|u1", shape)
            }
            Numbers::Vectors(other) => return Err(unknown(other)),
            Numbers::Scales(vectors) => {
                let kind = if little { "<f4" } else { ">f4" };
                (vectors.scales().as_ptr().expose_provenance(), kind, vec![vectors.len()])
            }
        };
        let interface = PyDict::new(py);
        interface.set_item(intern!(py, "version"), 3)?;
        interface.set_item(intern!(py, "typestr"), kind)?;
        interface.set_item(intern!(py, "shape"), pyo3::types::PyTuple::new(py, shape)?)?;
        interface.set_item(intern!(py, "data"), (address, true))?;
        Ok(interface)
    }

    fn __len__(&self) -> usize {
        match &self.0 {
            Numbers::Vectors(vectors) => vectors.len(),
            Numbers::Scales(vectors) => vectors.len(),
        }
    }

    /// The numbers, vector after vector, the least byte of each first.
    fn tobytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(
            py,
            &match &self.0 {
                Numbers::Vectors(vectors) => vectors.to_le_bytes(),
                Numbers::Scales(vectors) => {
                    vectors.scales().iter().flat_map(|scale| scale.to_le_bytes()).collect()
                }
            },
        )
    }

    /// What the vectors of `int8` are multiplied with, one number a vector.
    #[getter]
    fn scales(&self) -> Option<Self> {
        match &self.0 {
            Numbers::Vectors(EncodedVectors::Int8(vectors)) => Some(Self(Numbers::Scales(vectors.clone()))),
            _ => None,
        }
    }
}

fn unknown(vectors: &EncodedVectors) -> PyErr {
    let what = vectors.encoding();
    pyo3::exceptions::PyNotImplementedError::new_err(format!("numpy has no numbers for the encoding {what}"))
}
