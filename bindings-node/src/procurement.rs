//! Procurement clients. Answers cross as JSON text, which keeps every digit of the source.

use std::sync::Arc;

use ayni::backends::mercado_publico::bulk::MonthRequest;
use ayni::backends::mercado_publico::{MercadoPublico, SyncRequest};
use ayni::config::open_procurement_with;
use ayni::http::Transport;
use ayni::procure::{AnyProcurement, GetRequest, ListRequest, PlanRequest, SourceInfo};
use ayni::{BackendInfo, Context, Error, ProcurementConfig, Result, Setup};
use napi::Env;

use napi_derive::napi;
use serde::Serialize;

use crate::call::{Call, Promised, blocking, promise};
use crate::convert::{json_text, open_handle, request};
use crate::failure::{Outcome, guarded};

/// Who a procurement backend is, and what its sources can do.
#[derive(Serialize)]
struct Info<'a> {
    #[serde(flatten)]
    info: &'a BackendInfo,
    sources: &'a [SourceInfo],
}

/// A handle on a procurement client.
#[napi]
pub struct Procurement {
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

#[napi]
impl Procurement {
    /// Opens a backend; without a configuration the one that the environment names.
    #[napi]
    pub fn open(
        env: &Env,
        fields: Option<String>,
        variables: Option<String>,
    ) -> napi::Result<Promised<'_, Self>> {
        let from_env = Setup::<ProcurementConfig>::from_env_with;
        blocking(env, move || {
            let (fields, variables) = (fields.as_deref(), variables.as_deref());
            open_handle(fields, variables, ProcurementConfig::BACKENDS, from_env, open)
        })
    }

    /// Who the backend is, as JSON.
    #[napi]
    pub fn info(&self) -> Outcome<String> {
        guarded(|| json_text(&Info { info: self.handle.info(), sources: self.handle.sources() }))
    }

    /// Makes the call that `operation` names. Gives JSON text.
    #[napi]
    pub fn call<'env>(
        &self,
        env: &'env Env,
        operation: String,
        fields: String,
        call: Option<&Call>,
    ) -> napi::Result<Promised<'env, String>> {
        let (handle, own) = (self.handle.clone(), self.own.clone());
        let own = move || {
            own.ok_or_else(|| {
                Error::unsupported("only the backend 'mercado_publico' syncs, imports and counts a quota")
            })
        };
        let transport = self.transport.clone();
        promise(env, call, move |cx| async move {
            let over = |cx: Context| match transport {
                Some(transport) => cx.with_transport(transport),
                None => cx,
            };
            macro_rules! read {
                ($method:ident, $request:ty) => {
                    json_text(&handle.$method(&cx, request::<$request>(&fields)?).await?)
                };
            }
            macro_rules! own {
                ($method:ident, $request:ty) => {
                    json_text(&own()?.$method(&over(cx), &request::<$request>(&fields)?).await?)
                };
            }
            match operation.as_str() {
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
                "quota" => json_text(&own()?.quota(&over(cx)).await?),
                other => Err(Error::invalid_request(format!("procurement has no operation '{other}'"))),
            }
        })
    }
}
