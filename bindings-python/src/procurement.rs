//! Procurement clients. Answers cross as JSON text, which keeps every digit of the source.

use ayni::config::ProcurementOperations;
use ayni::{ProcurementConfig, Setup};
use pyo3::prelude::*;

use crate::call::{Caller, Returned, call};
use crate::convert::{Variables, as_python, from_python, open_handle};
use crate::embedder::Embedder;

/// A handle on a procurement client.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct Procurement(pub(crate) ProcurementOperations);

#[pymethods]
impl Procurement {
    #[new]
    #[pyo3(signature = (fields, env=None))]
    fn new(py: Python<'_>, fields: Option<&Bound<'_, PyAny>>, env: Variables) -> PyResult<Self> {
        let from_env = Setup::<ProcurementConfig>::from_env_with;
        let open = ProcurementOperations::open;
        open_handle(py, fields, env, ProcurementConfig::BACKENDS, from_env, open).map(Self)
    }

    fn info(&self, py: Python<'_>) -> Returned {
        as_python(py, self.0.info())
    }

    /// The same client, with which similar tenders are found by this embedder's vectors.
    fn with_embedder(&self, embedder: &Embedder) -> Self {
        Self(self.0.with_embedder(embedder.0.clone()))
    }

    /// Makes the call that `operation` names. Returns JSON text.
    fn call(
        &self,
        py: Python<'_>,
        operation: String,
        fields: &Bound<'_, PyAny>,
        caller: Caller<'_>,
    ) -> Returned {
        let (operations, fields) = (self.0.clone(), from_python(fields)?);
        let work = move |cx| async move { operations.call(&cx, &operation, fields).await };
        call(py, caller, work, |py, text| Ok(text.into_pyobject(py)?.into_any().unbind()))
    }
}
