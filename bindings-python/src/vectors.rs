//! Vectors as Python sees them: memory that numpy reads where it is, or bytes.

use ayni::{EncodedVectors, Int8Vectors};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

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
}

fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
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
        match &self.0 {
            Numbers::Vectors(vectors) => PyBytes::new(py, &vectors.to_le_bytes()),
            Numbers::Scales(vectors) => PyBytes::new(py, &bytes_of(vectors.scales())),
        }
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
