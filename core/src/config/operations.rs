//! Procurement's operations by name, with requests and answers as JSON: what bindings and commands offer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ProcurementConfig, Setup, open_procurement_with, read_request};
use crate::backends::mercado_publico::{MercadoPublico, SyncRequest};
use crate::context::Context;
use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::http::Transport;
use crate::info::BackendInfo;
use crate::procure::store::{LineQuery, MonthLine, RecordKind, SharedStore, StoredMonth};
use crate::procure::{AnyProcurement, SourceInfo};

/// A procurement client under its policy, and the operations that only Mercado Público has.
#[derive(Clone, Debug)]
pub struct ProcurementOperations {
    handle: AnyProcurement,
    own: Option<MercadoPublico>,
    /// What sends the requests of `own`, unless it is the built-in transport.
    transport: Option<Arc<dyn Transport>>,
}

/// Who a procurement backend is, and what its sources can do.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcurementInfo<'a> {
    #[serde(flatten)]
    info: &'a BackendInfo,
    /// What each of its sources can do.
    sources: &'a [SourceInfo],
}

/// Which months of a kind are in the store.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MonthsRequest {
    kind: RecordKind,
}

impl ProcurementOperations {
    /// Opens a backend under its policy.
    ///
    /// # Errors
    /// As [`open_procurement_with`].
    pub fn open(setup: Setup<ProcurementConfig>, env: &Environment) -> Result<Self> {
        let ProcurementConfig::MercadoPublico(config) = &setup.backend else {
            return Ok(Self { handle: open_procurement_with(setup, env)?, own: None, transport: None });
        };
        let (own, policy) = (config.open(env)?, setup.connected_policy()?);
        let fallback = setup.fallback.iter().map(|backend| backend.open(env)).collect::<Result<Vec<_>>>()?;
        let handle = policy.procurement(AnyProcurement::new(own.clone()), fallback)?;
        Ok(Self { handle, own: Some(own), transport: policy.transport().cloned() })
    }

    /// The client.
    pub fn handle(&self) -> &AnyProcurement {
        &self.handle
    }

    /// Who the backend is, and what its sources can do.
    pub fn info(&self) -> ProcurementInfo<'_> {
        ProcurementInfo { info: self.handle.info(), sources: self.handle.sources() }
    }

    fn own(&self) -> Result<&MercadoPublico> {
        let elsewhere = "only the backend 'mercado_publico' syncs, imports, stores and counts a quota";
        self.own.as_ref().ok_or_else(|| Error::unsupported(elsewhere))
    }

    async fn store(&self) -> Result<SharedStore> {
        self.own()?.store().await
    }

    /// Makes the call that `operation` names, and returns its answer as JSON text with every digit of the source: an
    /// operation of [`ProcurementClient`](crate::procure::ProcurementClient), or `sync`, `events`, `import_month`,
    /// `download_month`, `months`, `lines`, `stored`, `quota`.
    ///
    /// # Errors
    /// `invalid_request` for an unknown operation or an invalid request; `unsupported` where the backend lacks it; those of
    /// the operation.
    pub async fn call(&self, cx: &Context, operation: &str, request: Value) -> Result<String> {
        let over = || match &self.transport {
            Some(transport) => cx.clone().with_transport(Arc::clone(transport)),
            None => cx.clone(),
        };
        macro_rules! read {
            ($method:ident) => {
                json_text(&self.handle.$method(cx, read_request(request)?).await?)
            };
        }
        macro_rules! own {
            ($method:ident) => {
                json_text(&self.own()?.$method(&over(), &read_request(request)?).await?)
            };
        }
        match operation {
            "tenders" => read!(tenders),
            "tender" => read!(tender),
            "purchase_orders" => read!(purchase_orders),
            "purchase_order" => read!(purchase_order),
            "quick_purchases" => read!(quick_purchases),
            "quick_purchase" => read!(quick_purchase),
            "buyers" => read!(buyers),
            "suppliers" => read!(suppliers),
            "plan" => read!(plan),
            "sync" => {
                json_text(&Box::pin(self.own()?.sync(&over(), &read_request::<SyncRequest>(request)?)).await?)
            }
            "events" => own!(events),
            "import_month" => own!(import_month),
            "download_month" => own!(download_month),
            "months" => {
                let MonthsRequest { kind } = read_request(request)?;
                let months = self.store().await?.line_store()?.months(kind).await?;
                json_text(
                    &months
                        .into_iter()
                        .map(|(month, lines)| StoredMonth { month, lines })
                        .collect::<Vec<_>>(),
                )
            }
            "lines" => {
                let query = read_request::<LineQuery>(request)?;
                let lines = self.store().await?.line_store()?.lines(query).await?;
                json_text(
                    &lines.into_iter().map(|(month, line)| MonthLine { month, line }).collect::<Vec<_>>(),
                )
            }
            "stored" => json_text(&self.store().await?.records(read_request(request)?).await?),
            "quota" => json_text(&self.own()?.quota(&over()).await?),
            other => Err(Error::invalid_request(format!("procurement has no operation '{other}'"))),
        }
    }
}

fn json_text(answer: &impl Serialize) -> Result<String> {
    serde_json::to_string(answer).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the answer cannot be written as JSON").with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn opened(config: Value) -> ProcurementOperations {
        let setup = serde_json::from_value(config).expect("a configuration");
        ProcurementOperations::open(setup, &Environment::empty()).expect("opened")
    }

    #[tokio::test]
    async fn operations_are_called_by_name_and_what_is_wrong_is_named() {
        let (cx, operations) = (Context::new(), opened(json!({ "backend": "scripted" })));
        let text = operations.call(&cx, "tender", json!({ "code": "9002-7-LR26" })).await.expect("read");
        assert!(text.contains("\"code\":\"9002-7-LR26\""), "{text}");
        for (operation, request, kind) in [
            ("tenderz", json!({}), ErrorKind::InvalidRequest),
            ("tenders", json!({ "txet": "x" }), ErrorKind::InvalidRequest),
            ("events", json!({}), ErrorKind::Unsupported),
            ("lines", json!({ "kind": "tender" }), ErrorKind::Unsupported),
        ] {
            assert_eq!(operations.call(&cx, operation, request).await.expect_err(operation).kind(), kind);
        }
    }

    #[tokio::test]
    async fn lines_of_months_cross_as_data() {
        let config = json!({ "backend": "mercado_publico", "ticket": "x", "store": "memory", "lock": false });
        let (cx, operations) = (Context::new(), opened(config));
        let store = operations.store().await.expect("a store");
        let lines = store.line_store().expect("lines");
        let month = "2026-06".parse().expect("a month");
        let edition = lines.begin_edition(RecordKind::Tender, month).await.expect("begun");
        let line = crate::procure::store::StoredLine {
            position: 1,
            code: "1-1-LE26".to_owned(),
            body: bytes::Bytes::from("{\"a\": 1.50}"),
            ..Default::default()
        };
        lines.add_lines(edition, vec![line]).await.expect("added");
        assert!(lines.publish_edition(edition, Default::default()).await.expect("published"));
        let months = operations.call(&cx, "months", json!({ "kind": "tender" })).await.expect("read");
        assert_eq!(months, r#"[{"month":"2026-06","lines":1}]"#);
        let found = operations.call(&cx, "lines", json!({ "kind": "tender", "code": "1-1-LE26" })).await;
        let found = found.expect("read");
        assert!(
            found.contains("\"month\":\"2026-06\",\"line\":{\"position\":1") && found.contains("1.50"),
            "{found}"
        );
        let none = operations.call(&cx, "lines", json!({ "kind": "tender", "after": ["2026-06", 1] })).await;
        assert_eq!(none.expect("read"), "[]");
    }
}
