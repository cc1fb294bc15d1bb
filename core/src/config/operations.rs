//! Procurement's operations by name, with requests and answers as JSON: what bindings and commands offer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{ProcurementConfig, Setup, open_procurement_with, read_request};
use crate::backends::mercado_publico::{MercadoPublico, SyncRequest};
use crate::backends::mindicador::{Mindicador, MindicadorConfig};
use crate::context::Context;
use crate::embed::AnyEmbedder;
use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::http::Transport;
use crate::info::BackendInfo;
use crate::procure::rates::{Converted, Rate, RateProvider};
use crate::procure::similar::{Nearest, SimilarTenders};
use crate::procure::store::{LineQuery, MonthLine, RecordKind, SharedStore, StoredMonth};
use crate::procure::{AnyProcurement, Currency, Date, GetRequest, Money, SourceInfo, TenderState, Timestamp};

/// A procurement client under its policy, and the operations that only Mercado Público has.
#[derive(Clone, Debug)]
pub struct ProcurementOperations {
    handle: AnyProcurement,
    own: Option<MercadoPublico>,
    rates: Option<Arc<Mindicador>>,
    similar: Option<Arc<Similar>>,
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

/// The index of similar tenders, which is made when it is first asked for.
#[derive(Debug)]
struct Similar {
    embedder: AnyEmbedder,
    index: OnceCell<SimilarTenders>,
}

/// The value of a currency on a day, or of the latest day with one among the `earlier_days` before it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateRequest {
    currency: Currency,
    date: Date,
    #[serde(default)]
    earlier_days: u16,
}

/// An amount to convert to pesos, with such a rate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConvertRequest {
    money: Money,
    date: Date,
    #[serde(default)]
    earlier_days: u16,
}

/// The most days that are asked one after the other.
const MAX_EARLIER_DAYS: u16 = 31;

/// Tenders to add to the index, read in full.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddRequest {
    codes: Vec<String>,
}

/// Tenders like the one with this code, or near to this text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SimilarRequest {
    code: Option<String>,
    text: Option<String>,
    #[serde(default = "ten")]
    k: usize,
    #[serde(default)]
    states: Vec<String>,
    closing_after: Option<Timestamp>,
}

fn ten() -> usize {
    10
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
            let handle = open_procurement_with(setup, env)?;
            return Ok(Self { handle, own: None, rates: None, similar: None, transport: None });
        };
        let rates = Some(Arc::new(MindicadorConfig::new().with_base_url(&config.rates_url).open()?));
        let (own, policy) = (config.open(env)?, setup.connected_policy()?);
        let fallback = setup.fallback.iter().map(|backend| backend.open(env)).collect::<Result<Vec<_>>>()?;
        let handle = policy.procurement(AnyProcurement::new(own.clone()), fallback)?;
        Ok(Self { handle, own: Some(own), rates, similar: None, transport: policy.transport().cloned() })
    }

    /// The same client, with which tenders like another can be found: by the vectors of this embedder, in the client's store.
    pub fn with_embedder(&self, embedder: AnyEmbedder) -> Self {
        let similar = Similar { embedder, index: OnceCell::new() };
        Self { similar: Some(Arc::new(similar)), ..self.clone() }
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

    async fn similar(&self) -> Result<&SimilarTenders> {
        let similar = self.similar.as_ref().ok_or_else(|| {
            Error::unsupported("similar tenders need an embedder: call it on the client `with_embedder`")
        })?;
        let open = async || Ok(SimilarTenders::new(self.store().await?, similar.embedder.clone()));
        similar.index.get_or_try_init(open).await
    }

    async fn find_similar(&self, cx: &Context, request: SimilarRequest) -> Result<String> {
        let SimilarRequest { code, text, k, states, closing_after } = request;
        let states =
            states.iter().map(|state| TenderState::parse_known(state)).collect::<Result<Vec<_>>>()?;
        let nearest = Nearest { closing_after, ..Nearest::new(k).with_states(states) };
        let index = self.similar().await?;
        json_text(&match (code, text) {
            (Some(code), None) => index.similar(cx, &code, nearest).await?,
            (None, Some(text)) => index.search_meaning(cx, text, nearest).await?,
            _ => return Err(Error::invalid_request("give either the `code` of a tender or a `text`")),
        })
    }

    async fn add_similar(&self, cx: &Context, codes: &[String]) -> Result<String> {
        let mut tenders = Vec::with_capacity(codes.len());
        for code in codes {
            tenders.push(self.handle.tender(cx, GetRequest::new(code)).await?.record);
        }
        json_text(&self.similar().await?.add(cx, &tenders).await?)
    }

    async fn rate(&self, cx: &Context, request: RateRequest) -> Result<Rate> {
        let RateRequest { currency, date, earlier_days } = request;
        if earlier_days > MAX_EARLIER_DAYS {
            return Err(Error::invalid_request(format!("`earlier_days` is at most {MAX_EARLIER_DAYS}")));
        }
        self.own()?;
        let none = || Error::unsupported("this backend has no rates");
        let rates = self.rates.as_ref().ok_or_else(none)?;
        rates.rate_or_earlier(cx, &currency, date, earlier_days).await
    }

    async fn convert(&self, cx: &Context, request: ConvertRequest) -> Result<Converted> {
        let ConvertRequest { money, date, earlier_days } = request;
        let rate =
            self.rate(cx, RateRequest { currency: money.currency.clone(), date, earlier_days }).await?;
        Ok(Converted { pesos: money.convert(&rate, rate.date)?, rate })
    }

    /// Makes the call that `operation` names, and returns its answer as JSON text with every digit of the source: an
    /// operation of [`ProcurementClient`](crate::procure::ProcurementClient), or `sync`, `events`, `import_month`,
    /// `download_month`, `months`, `lines`, `stored`, `quota`, `rate`, `convert`, and [with an embedder](Self::with_embedder)
    /// `refresh_similar`, `add_similar`, `similar`.
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
            "rate" => json_text(&self.rate(&over(), read_request(request)?).await?),
            "convert" => json_text(&self.convert(&over(), read_request(request)?).await?),
            "refresh_similar" => json_text(&self.similar().await?.refresh(cx).await?),
            "add_similar" => self.add_similar(cx, &read_request::<AddRequest>(request)?.codes).await,
            "similar" => self.find_similar(cx, read_request(request)?).await,
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
    use crate::context::BoxFuture;
    use crate::http::{HttpRequest, HttpResponse, TransportError};
    use crate::procure::Source;
    use crate::procure::store::{Batch, Form, StoredRecord};

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

    /// Answers as mindicador.cl does, and refuses all else.
    #[derive(Debug)]
    struct Rates;

    impl Transport for Rates {
        fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, TransportError>> {
            let body = match request.url.path() {
                "/rates/uf/20-11-2026" => {
                    r#"{"codigo":"uf","serie":[{"fecha":"2026-11-20T03:00:00.000Z","valor":39643.59}]}"#
                }
                _ => r#"{"codigo":"uf","serie":[]}"#,
            };
            Box::pin(std::future::ready(Ok(HttpResponse::of(
                200,
                &[("Content-Type", "application/json")],
                body,
            ))))
        }
    }

    #[tokio::test]
    async fn rates_of_a_day_and_amounts_in_pesos_cross_exactly() {
        let operations = opened(json!({
            "backend": "mercado_publico", "ticket": "x", "lock": false, "rates_url": "http://rates.test/rates"
        }));
        let cx = Context::new().with_transport(Arc::new(Rates));
        let rate = json!({ "currency": "CLF", "date": "2026-11-21", "earlier_days": 1 });
        let found = operations.call(&cx, "rate", rate.clone()).await.expect("yesterday's");
        assert_eq!(
            found,
            r#"{"currency":"CLF","date":"2026-11-20","pesos":"39643.59","source":"mindicador"}"#
        );
        let money = json!({ "money": { "amount": "12.5", "currency": "UF" }, "date": "2026-11-20" });
        let pesos = operations.call(&cx, "convert", money).await.expect("converted");
        assert!(
            pesos.starts_with(r#"{"pesos":{"amount":"495544.875","currency":"CLP"},"rate":{"#),
            "{pesos}"
        );
        for (date, days, kind) in
            [("2026-11-21", 0, ErrorKind::NotFound), ("2026-11-21", 32, ErrorKind::InvalidRequest)]
        {
            let request = json!({ "currency": "CLF", "date": date, "earlier_days": days });
            assert_eq!(operations.call(&cx, "rate", request).await.expect_err(date).kind(), kind);
        }
        let scripted = opened(json!({ "backend": "scripted" }));
        assert_eq!(scripted.call(&cx, "rate", rate).await.expect_err("none").kind(), ErrorKind::Unsupported);
    }

    #[tokio::test]
    async fn similar_tenders_are_found_with_any_embedder() {
        let config = json!({ "backend": "mercado_publico", "ticket": "x", "store": "memory", "lock": false });
        let (cx, operations) = (Context::new(), opened(config));
        let store = operations.store().await.expect("a store");
        let mut batch = Batch::new();
        for (code, name, state) in [
            ("1-1-LE26", "Compra de ambulancia", "publicada"),
            ("1-2-LE26", "Compra de ambulancia", "adjudicada"),
            ("1-3-LE26", "Resmas de papel", "publicada"),
        ] {
            let body = json!({ "CodigoExterno": code, "Nombre": name }).to_string();
            let as_of = Timestamp::of_unix_millis(0);
            let mut row =
                StoredRecord::new(RecordKind::Tender, Form::Row, code, Source::V1, as_of, body.into());
            row.state = state.to_owned();
            batch = batch.with_record(row);
        }
        assert!(store.apply(batch).await.expect("written"));
        let scripted = AnyEmbedder::new(crate::backends::scripted::Scripted::default());
        let with_embedder = operations.with_embedder(scripted);
        let call = async |operation, request| with_embedder.call(&cx, operation, request).await;
        let report = call("refresh_similar", json!({})).await.expect("refreshed");
        assert_eq!(report, r#"{"seen":3,"embedded":3,"restated":0,"without_text":0}"#);
        for (request, first, count) in [
            (json!({ "code": "1-1-LE26" }), "1-2-LE26", 2),
            (json!({ "code": "1-1-LE26", "states": ["Publicada"] }), "1-3-LE26", 1),
            (json!({ "text": "Resmas de papel", "k": 1 }), "1-3-LE26", 1),
        ] {
            let found = call("similar", request).await.expect("found");
            let found: Value = serde_json::from_str(&found).expect("json");
            assert_eq!((&found[0]["code"], found.as_array().map(Vec::len)), (&json!(first), Some(count)));
        }
        for (request, kind) in [
            (json!({ "code": "9-9-LE26" }), ErrorKind::NotFound),
            (json!({}), ErrorKind::InvalidRequest),
            (json!({ "text": "x", "states": ["abierta"] }), ErrorKind::InvalidRequest),
        ] {
            assert_eq!(call("similar", request).await.expect_err("refused").kind(), kind);
        }
        let without = operations.call(&cx, "similar", json!({ "code": "1-1-LE26" })).await;
        assert_eq!(without.expect_err("no embedder").kind(), ErrorKind::Unsupported);
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
