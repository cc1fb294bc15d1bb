//! Procurement clients. Answers cross as JSON text, which keeps every digit of the source.

use std::future::Future;
use std::sync::Arc;

use ayni::backends::mercado_publico::bulk::MonthRequest;
use ayni::backends::mercado_publico::{EventRequest, MercadoPublico, SyncRequest};
use ayni::config::open_procurement_with;
use ayni::http::Transport;
use ayni::procure::{AnyProcurement, GetRequest, ListRequest, PlanRequest, SourceInfo};
use ayni::{BackendInfo, Context, Error, ProcurementConfig, Result, Setup};
use pyo3::prelude::*;
use serde::Serialize;

use crate::call::{Caller, Returned, call};
use crate::convert::{Variables, as_python, json_text, open_handle, request};
use crate::failure::{invalid, to_exception};

/// Who a procurement backend is, and what its sources can do.
#[derive(Serialize)]
struct Info<'a> {
    #[serde(flatten)]
    info: &'a BackendInfo,
    sources: &'a [SourceInfo],
}

/// A handle on a procurement client.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct Procurement {
    pub(crate) handle: AnyProcurement,
    /// For the operations that only this backend has.
    own: Option<MercadoPublico>,
    /// What sends their requests, unless it is the built-in transport.
    transport: Option<Arc<dyn Transport>>,
}

fn open(setup: Setup<ProcurementConfig>, env: &ayni::Environment) -> Result<Procurement> {
    let ProcurementConfig::MercadoPublico(config) = &setup.backend else {
        return Ok(Procurement { handle: open_procurement_with(setup, env)?, own: None, transport: None });
    };
    let (own, policy) = (config.open(env)?, setup.connected_policy()?);
    let fallback = setup.fallback.iter().map(|backend| backend.open(env)).collect::<Result<Vec<_>>>()?;
    let handle = policy.procurement(AnyProcurement::new(own.clone()), fallback)?;
    Ok(Procurement { handle, own: Some(own), transport: policy.transport().cloned() })
}

#[pymethods]
impl Procurement {
    #[new]
    #[pyo3(signature = (fields, env=None))]
    fn new(py: Python<'_>, fields: Option<&Bound<'_, PyAny>>, env: Variables) -> PyResult<Self> {
        let from_env = Setup::<ProcurementConfig>::from_env_with;
        open_handle(py, fields, env, ProcurementConfig::BACKENDS, from_env, open)
    }

    fn info(&self, py: Python<'_>) -> Returned {
        let (info, sources) = (self.handle.info(), self.handle.sources());
        as_python(py, Info { info, sources })
    }

    /// Makes the call that `operation` names. Returns JSON text.
    fn call(
        &self,
        py: Python<'_>,
        operation: &str,
        fields: &Bound<'_, PyAny>,
        caller: Caller<'_>,
    ) -> Returned {
        let handle = self.handle.clone();
        let elsewhere = "only the backend 'mercado_publico' syncs, imports and counts a quota";
        let own = || self.own.clone().ok_or_else(|| to_exception(py, &Error::unsupported(elsewhere)));
        let transport = self.transport.clone();
        let over = move |cx: Context| match transport {
            Some(transport) => cx.with_transport(transport),
            None => cx,
        };
        macro_rules! read {
            ($method:ident, $request:ty) => {{
                let request = request::<$request>(fields)?;
                json(py, caller, move |cx| async move { handle.$method(&cx, request).await })
            }};
        }
        macro_rules! own {
            ($method:ident, $request:ty) => {{
                let (own, request) = (own()?, request::<$request>(fields)?);
                json(py, caller, move |cx| async move { own.$method(&over(cx), &request).await })
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
            "events" => own!(events, EventRequest),
            "import_month" => own!(import_month, MonthRequest),
            "download_month" => own!(download_month, MonthRequest),
            "quota" => {
                let own = own()?;
                json(py, caller, move |cx| async move { own.quota(&over(cx)).await })
            }
            other => Err(invalid(py, format!("procurement has no operation '{other}'"))),
        }
    }
}

/// Makes a call whose answer is written as JSON text without holding the interpreter.
fn json<T, W>(
    py: Python<'_>,
    caller: Caller<'_>,
    work: impl FnOnce(Context) -> W + Send + 'static,
) -> Returned
where
    T: Serialize + Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    let work = move |cx| async move { json_text(&work(cx).await?) };
    call(py, caller, work, |py, text| Ok(text.into_pyobject(py)?.into_any().unbind()))
}
