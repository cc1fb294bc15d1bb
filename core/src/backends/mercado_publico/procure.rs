//! The trait `ProcurementClient`, implemented with the three services.

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::{Api, MercadoPublico};
use super::cursor::{fingerprint, foreign_cursor, own_cursor, paged};
use super::fetch::{ApiRequest, Freshness};
use super::filter::{allow_only, check_source, unknown_source};
use super::gate::budget::CallBudget;
use super::wire::{Body, FromSource, compra_agil, ocds, order, tender, v1};
use crate::context::Context;
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::info::BackendInfo;
use crate::procure::json::Fields;
use crate::procure::search_words::SearchWords;
use crate::procure::{
    Answer, Buyer, GetRequest, ListRequest, Listing, OrderCode, OrderState, Plan, PlanRequest,
    ProcurementClient, PurchaseOrder, PurchaseOrderRow, QuickPurchase, QuickPurchaseCode, QuickPurchaseRow,
    QuickPurchaseState, Rut, Source, SourceInfo, Supplier, Tender, TenderCode, TenderRow, TenderState,
    Timestamp,
};

/// How long the detail of a record that may still change is fresh.
const OPEN_DETAIL_TTL: Duration = Duration::from_secs(300);
const BUYERS_TTL: Duration = Duration::from_secs(24 * 3600);

const TENDER_SOURCES: [&str; 4] = ["v1", "ocds", "ocds_direct", "ocds_framework"];

/// A record in full, as a source's detail answer has it.
pub(super) trait FullRecord: Sized {
    /// Reads it; `None` if the source says that it does not exist.
    fn read(body: &Body) -> Result<Option<Self>>;
    /// Whether it cannot change any more.
    fn is_final(&self) -> bool;
}

impl FullRecord for Tender {
    fn read(body: &Body) -> Result<Option<Self>> {
        Ok(tender::read(body)?.into_rows()?.into_iter().next())
    }

    fn is_final(&self) -> bool {
        matches!(self.row.state, TenderState::Awarded | TenderState::Deserted | TenderState::Revoked)
    }
}

impl FullRecord for PurchaseOrder {
    fn read(body: &Body) -> Result<Option<Self>> {
        Ok(order::read(body)?.into_rows()?.into_iter().next())
    }

    fn is_final(&self) -> bool {
        matches!(self.row.state, OrderState::Cancelled | OrderState::Received)
    }
}

impl FullRecord for QuickPurchase {
    fn read(body: &Body) -> Result<Option<Self>> {
        compra_agil::detail(body, compra_agil::success(&body.bytes)?).map(Some)
    }

    fn is_final(&self) -> bool {
        matches!(self.row.state, QuickPurchaseState::Cancelled | QuickPurchaseState::OrderIssued)
    }
}

struct OcdsTender(Tender);

impl FullRecord for OcdsTender {
    fn read(body: &Body) -> Result<Option<Self>> {
        Ok(ocds::tenders(body)?.into_iter().next().map(Self))
    }

    fn is_final(&self) -> bool {
        self.0.is_final()
    }
}

impl MercadoPublico {
    /// The record that `call` asks for. Once it is final, the stored answer is used forever.
    async fn detail<T: FullRecord>(&self, cx: &Context, call: ApiRequest<'_>) -> Result<(T, Body)> {
        let cached = self.cached(cx, &call.clone().with_freshness(Freshness::Always)).await?;
        if let Some(cached) = cached
            && let Some(record) = T::read(&cached.body)?
            && record.is_final()
        {
            return Ok((record, cached.body));
        }
        let body = self.fetch(cx, &call.with_freshness(Freshness::For(OPEN_DETAIL_TTL))).await?.body;
        let record = T::read(&body)?;
        let missing = || Error::new(ErrorKind::NotFound, "no record has this code").with_sent(Sent::Yes);
        Ok((record.ok_or_else(missing)?, body))
    }

    pub(super) async fn tender_by_code(
        &self,
        cx: &Context,
        code: &str,
        budget: Option<&CallBudget>,
    ) -> Result<Tender> {
        Ok(self.detail(cx, tender_request(code).with_budget(budget)).await?.0)
    }

    pub(super) async fn order_by_code(
        &self,
        cx: &Context,
        code: &str,
        budget: Option<&CallBudget>,
    ) -> Result<PurchaseOrder> {
        Ok(self.detail(cx, order_request(code).with_budget(budget)).await?.0)
    }

    /// Rows, with the values in them that could not be read.
    pub(super) fn listing<T: FromSource>(
        &self,
        mut rows: Vec<T>,
        source: Source,
        as_of: Timestamp,
    ) -> Listing<T> {
        let mut unread = BTreeMap::new();
        for name in rows.iter_mut().flat_map(|row| row.origin_mut().unread.clone()) {
            *unread.entry(name).or_default() += 1;
        }
        Listing::new(rows, source, as_of, self.route()).with_unread(unread)
    }

    fn answer<T>(&self, record: T, body: &Body) -> Answer<T> {
        Answer::new(record, body.source.clone(), body.as_of, self.route()).with_stale(body.stale)
    }

    async fn read_tender(&self, cx: &Context, request: &GetRequest) -> Result<Answer<Tender>> {
        let code: TenderCode = parsed_code(request)?;
        match request.source.as_deref() {
            None | Some("v1") => {
                let (record, body) = self.detail(cx, tender_request(&code.to_string())).await?;
                Ok(self.answer(record, &body))
            }
            Some("ocds" | "ocds_direct" | "ocds_framework") => {
                // OCDS calls direct awards and orders under framework agreements processes too.
                let call = ApiRequest::new(Api::Ocds, Operation::GetTender, format!("/record/{code}"));
                let (OcdsTender(record), body) = self.detail(cx, call).await?;
                Ok(self.answer(record, &body))
            }
            Some(other) => Err(unknown_source(other, &TENDER_SOURCES)),
        }
    }

    async fn read_order(&self, cx: &Context, request: &GetRequest) -> Result<Answer<PurchaseOrder>> {
        let code: OrderCode = parsed_code(request)?;
        let (record, body) = self.detail(cx, order_request(&code.to_string())).await?;
        Ok(self.answer(record, &body))
    }

    async fn read_quick(&self, cx: &Context, request: &GetRequest) -> Result<Answer<QuickPurchase>> {
        let code: QuickPurchaseCode = parsed_code(request)?;
        let call = ApiRequest::new(Api::Quick, Operation::GetQuickPurchase, format!("/compra-agil/{code}"));
        let (record, body) = self.detail(cx, call).await?;
        Ok(self.answer(record, &body))
    }

    async fn list_tenders(&self, cx: &Context, request: &ListRequest) -> Result<Listing<TenderRow>> {
        match request.source.as_deref() {
            None | Some("v1") => self.search(cx, request).await,
            Some("ocds") => self.list_ocds(cx, request, "").await,
            Some("ocds_direct") => self.list_ocds(cx, request, "TratoDirecto").await,
            Some("ocds_framework") => self.list_ocds(cx, request, "Convenio").await,
            Some(other) => Err(unknown_source(other, &TENDER_SOURCES)),
        }
    }

    /// The name of OCDS's list of a month. Its newer host spells it in Spanish, with `ñ`.
    fn ocds_list(&self) -> &'static str {
        if self.0.config.ocds_url.trim_end_matches('/').ends_with("/OCDS/data") {
            "listaA%C3%B1oMes"
        } else {
            "listaOCDSAgnoMes"
        }
    }

    /// A month of OCDS: codes only, because its index has nothing else.
    async fn list_ocds(&self, cx: &Context, request: &ListRequest, of: &str) -> Result<Listing<TenderRow>> {
        request.check()?;
        allow_only(request, &["from", "to"], "the index of OCDS, which has codes only,")?;
        let offset = match own_cursor(request)? {
            None => 0,
            Some(cursor) => cursor.parse::<usize>().map_err(|_| foreign_cursor())?,
        };
        let first = request.from.or(request.to).unwrap_or_else(|| self.now(cx).date());
        // The index has no days, so that a part of a month would be all of it.
        let (begin, end) = (first.month_start(), first.month_end());
        let is_whole = request.from.is_none_or(|from| from == begin) && request.to.is_none_or(|to| to == end);
        if !is_whole {
            return Err(Error::unsupported(format!(
                "OCDS lists whole months: ask for {begin} to {end}, or another month"
            )));
        }
        let size = request.limit.unwrap_or(1000).clamp(1, 1000);
        let (list, year, month) = (self.ocds_list(), first.year(), first.month());
        let path = format!("/{list}{of}/{year:04}/{month:02}/{offset}/{size}");
        let call = ApiRequest::new(Api::Ocds, Operation::ListTenders, path)
            .with_freshness(Freshness::For(BUYERS_TTL));
        let body = self.fetch(cx, &call).await?.body;
        let index = ocds::index(&body)?;
        let end = offset + index.codes.len();
        let more = index.total.is_some_and(|total| usize::try_from(total).is_ok_and(|total| end < total));
        let row = |code| TenderRow { code, ..TenderRow::default() };
        let rows = index.codes.into_iter().map(|code| body.record("", &Fields::default(), row(code)));
        let next = (more && end > offset).then(|| Ok::<_, Error>(format!("{}/{end}", fingerprint(request)?)));
        Ok(self
            .listing(rows.collect(), body.source.clone(), body.as_of)
            .with_total(index.total.and_then(|total| u64::try_from(total).ok()))
            .with_next_cursor(next.transpose()?))
    }

    async fn list_buyers(&self, cx: &Context, request: &ListRequest) -> Result<Listing<Buyer>> {
        request.check()?;
        check_source(request, &["v1"])?;
        allow_only(request, &["text", "buyer"], "buyers")?;
        let call = ApiRequest::new(Api::V1, Operation::ListBuyers, "/Publico/Empresas/BuscarComprador")
            .with_freshness(Freshness::For(BUYERS_TTL));
        let body = self.fetch(cx, &call).await?.body;
        let rows = v1::buyers(&body)?.into_rows()?;
        let words = SearchWords::new(request.text.as_deref().unwrap_or_default());
        let keeps = |buyer: &Buyer| {
            words.are_in(&[&buyer.name]) && request.buyer.as_ref().is_none_or(|code| *code == buyer.code)
        };
        let kept: Vec<Buyer> = rows.into_iter().filter(keeps).collect();
        let total = kept.len() as u64;
        let (rows, next) = paged(request, kept, |buyer| &buyer.code)?;
        Ok(self.listing(rows, body.source.clone(), body.as_of).with_total(Some(total)).with_next_cursor(next))
    }

    async fn list_suppliers(&self, cx: &Context, request: &ListRequest) -> Result<Listing<Supplier>> {
        request.check()?;
        check_source(request, &["v1"])?;
        allow_only(request, &["text", "supplier"], "suppliers")?;
        let rut = request.supplier.as_deref().or(request.text.as_deref()).ok_or_else(|| {
            Error::invalid_request("suppliers can be found by tax number only: set `supplier` to a RUT")
        })?;
        let (found, as_of) = self.suppliers_by_rut(cx, rut.parse::<Rut>()?, None).await?;
        let (rows, next) = paged(request, found, |supplier| &supplier.code)?;
        Ok(self.listing(rows, Api::V1.source(), as_of).with_next_cursor(next))
    }
}

fn tender_request<'a>(code: &str) -> ApiRequest<'a> {
    ApiRequest::new(Api::V1, Operation::GetTender, "/publico/licitaciones.json").with("codigo", code)
}

fn order_request<'a>(code: &str) -> ApiRequest<'a> {
    ApiRequest::new(Api::V1, Operation::GetPurchaseOrder, "/publico/ordenesdecompra.json")
        .with("codigo", code)
}

fn parsed_code<C: std::str::FromStr<Err = Error>>(request: &GetRequest) -> Result<C> {
    request.check()?;
    request.code.parse()
}

macro_rules! client {
    ($($method:ident($request:ty) -> $response:ty, $by:ident;)+) => {
        #[deny(clippy::missing_trait_methods)]
        impl ProcurementClient for MercadoPublico {
            fn info(&self) -> &BackendInfo {
                &self.0.info
            }

            fn sources(&self) -> &[SourceInfo] {
                &self.0.sources
            }

            $(async fn $method(&self, cx: &Context, request: $request) -> Result<$response> {
                Box::pin(self.$by(cx, &request)).await
            })+
        }
    };
}

client! {
    tenders(ListRequest) -> Listing<TenderRow>, list_tenders;
    tender(GetRequest) -> Answer<Tender>, read_tender;
    purchase_orders(ListRequest) -> Listing<PurchaseOrderRow>, search;
    purchase_order(GetRequest) -> Answer<PurchaseOrder>, read_order;
    quick_purchases(ListRequest) -> Listing<QuickPurchaseRow>, list_quick;
    quick_purchase(GetRequest) -> Answer<QuickPurchase>, read_quick;
    buyers(ListRequest) -> Listing<Buyer>, list_buyers;
    suppliers(ListRequest) -> Listing<Supplier>, list_suppliers;
    plan(PlanRequest) -> Answer<Plan>, plan_listing;
}
