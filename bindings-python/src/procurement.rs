//! Procurement clients. Answers cross as JSON text, in which every digit is as the source wrote it.

use std::future::Future;

use ayni::backends::mercado_publico::bulk::MonthRequest;
use ayni::backends::mercado_publico::{MercadoPublico, SyncRequest};
use ayni::config::open_procurement_with;
use ayni::procure::{AnyProcurement, GetRequest, ListRequest, PlanRequest, SourceInfo};
use ayni::{BackendInfo, Context, Error, ErrorKind, ProcurementConfig, Result, Setup};
use pyo3::prelude::*;
use serde::Serialize;

use crate::call::{Given, How, Setting, call};
use crate::convert::{Variables, config, opened, request, shown};
use crate::failure::{invalid, raised};

/// Who a procurement backend is, and what its sources can do.
#[derive(Serialize)]
struct Info<'a> {
    #[serde(flatten)]
    info: &'a BackendInfo,
    sources: &'a [SourceInfo],
}

/// A handle on a procurement client.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct Procurement {
    handle: AnyProcurement,
    /// For what only this backend does.
    own: Option<MercadoPublico>,
}

fn open(setup: Setup<ProcurementConfig>, env: &ayni::Environment) -> Result<Procurement> {
    let ProcurementConfig::MercadoPublico(config) = &setup.backend else {
        return Ok(Procurement { handle: open_procurement_with(setup, env)?, own: None });
    };
    let own = config.open(env)?;
    let fallback = setup.fallback.iter().map(|backend| backend.open(env)).collect::<Result<Vec<_>>>()?;
    let handle = setup.policy.procurement(AnyProcurement::new(own.clone()), fallback)?;
    Ok(Procurement { handle, own: Some(own) })
}

#[pymethods]
impl Procurement {
    #[new]
    #[pyo3(signature = (fields, env=None))]
    fn new(py: Python<'_>, fields: &Bound<'_, PyAny>, env: Variables) -> PyResult<Self> {
        let setup = config::<Setup<ProcurementConfig>>(fields, ProcurementConfig::BACKENDS)?;
        opened(py, env, |env| open(setup, env))
    }

    #[staticmethod]
    #[pyo3(signature = (env=None))]
    fn from_env(py: Python<'_>, env: Variables) -> PyResult<Self> {
        opened(py, env, |env| open(Setup::<ProcurementConfig>::from_env_with(env)?, env))
    }

    fn info(&self, py: Python<'_>) -> Given {
        let (info, sources) = (self.handle.info(), self.handle.sources());
        shown(py, &Info { info, sources })
    }

    /// Makes the call that `operation` names; gives JSON text.
    #[pyo3(signature = (operation, fields, setting=None, future=None))]
    fn call(
        &self,
        py: Python<'_>,
        operation: &str,
        fields: &Bound<'_, PyAny>,
        setting: Option<&Setting>,
        future: Option<&Bound<'_, PyAny>>,
    ) -> Given {
        let (how, handle) = (How { setting, future }, self.handle.clone());
        macro_rules! read {
            ($method:ident, $request:ty) => {{
                let request = request::<$request>(fields)?;
                json(py, how, move |cx| async move { handle.$method(&cx, request).await })
            }};
        }
        macro_rules! own {
            ($method:ident, $request:ty) => {{
                let (own, request) = (self.own(py)?, request::<$request>(fields)?);
                json(py, how, move |cx| async move { own.$method(&cx, &request).await })
            }};
        }
        match operation {
            "tenders" => read!(tenders, ListRequest),
            "tender" => read!(tender, GetRequest),
            "purchase_orders" => read!(purchase_orders, ListRequest),
            "purchase_order" => read!(purchase_order, GetRequest),
            "quick_purchases" => read!(quick_purchases, ListRequest),
            "quick_purchase" => read!(quick_purchase, GetRequest),
            "buyers" => read!(buyers, ListRequest),
            "suppliers" => read!(suppliers, ListRequest),
            "plan" => read!(plan, PlanRequest),
            "sync" => own!(sync, SyncRequest),
            "import_month" => own!(import_month, MonthRequest),
            "download_month" => own!(download_month, MonthRequest),
            "quota" => {
                let own = self.own(py)?;
                json(py, how, move |cx| async move { own.quota(&cx).await })
            }
            other => Err(invalid(py, format!("procurement has no operation '{other}'"))),
        }
    }
}

impl Procurement {
    pub(crate) fn handle(&self) -> &AnyProcurement {
        &self.handle
    }

    fn own(&self, py: Python<'_>) -> PyResult<MercadoPublico> {
        self.own.clone().ok_or_else(|| {
            raised(
                py,
                &Error::unsupported("only the backend 'mercado_publico' syncs, imports and counts a quota"),
            )
        })
    }
}

/// Makes a call whose answer becomes JSON text, away from the interpreter.
fn json<T, W>(py: Python<'_>, how: How<'_, '_>, work: impl FnOnce(Context) -> W + Send + 'static) -> Given
where
    T: Serialize + Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    let work = move |cx| async move {
        let answer = work(cx).await?;
        serde_json::to_string(&answer).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the answer cannot be written as JSON").with_source(error)
        })
    };
    call(py, how, work, |py, text| Ok(text.into_pyobject(py)?.into_any().unbind()))
}
