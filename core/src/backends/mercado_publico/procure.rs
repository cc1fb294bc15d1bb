//! The trait, over the three services.

use std::time::Duration;

use super::client::{Api, MercadoPublico};
use super::fetch::{Ask, Hold};
use super::gate::ledger::Reservation;
use super::wire::v1::{self, V1};
use super::wire::{Body, compra_agil, ocds, order, tender};
use crate::context::Context;
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::info::BackendInfo;
use crate::procure::tables::folded;
use crate::procure::{
    Answer, Buyer, GetRequest, ListRequest, Listing, OrderCode, OrderState, Plan, PlanRequest,
    ProcurementClient, PurchaseOrder, PurchaseOrderRow, QuickPurchase, QuickPurchaseCode, QuickPurchaseRow,
    QuickPurchaseState, Rut, SourceInfo, Supplier, Tender, TenderCode, TenderRow, TenderState,
};

/// How long the detail of a record holds that may still change.
const OPEN_DETAIL: Duration = Duration::from_secs(300);
/// How long the list of buyers holds.
const BUYERS: Duration = Duration::from_secs(24 * 3600);

/// A record that a source gives in full.
pub(super) trait Detail: Sized {
    /// Reads it; `None` if the source says that there is none.
    fn read(body: &Body) -> Result<Option<Self>>;
    /// Whether it can never change again.
    fn is_final(&self) -> bool;
}

fn only<T>(answer: V1<T>) -> Result<Option<T>> {
    match answer {
        V1::List { rows, .. } => Ok(rows.into_iter().next()),
        V1::Failure(_) => Err(Error::response_invalid("the answer is a failure that was kept")),
    }
}

impl Detail for Tender {
    fn read(body: &Body) -> Result<Option<Self>> {
        only(tender::read(body)?)
    }

    fn is_final(&self) -> bool {
        matches!(self.row.state, TenderState::Awarded | TenderState::Deserted | TenderState::Revoked)
    }
}

impl Detail for PurchaseOrder {
    fn read(body: &Body) -> Result<Option<Self>> {
        only(order::read(body)?)
    }

    fn is_final(&self) -> bool {
        matches!(self.row.state, OrderState::Cancelled | OrderState::Received)
    }
}

impl Detail for QuickPurchase {
    fn read(body: &Body) -> Result<Option<Self>> {
        match compra_agil::payload(&body.bytes)? {
            Ok(payload) => compra_agil::detail(body, payload).map(Some),
            Err(_) => Err(Error::response_invalid("the answer is a failure that was kept")),
        }
    }

    fn is_final(&self) -> bool {
        matches!(self.row.state, QuickPurchaseState::Cancelled | QuickPurchaseState::OrderIssued)
    }
}

/// A tender out of OCDS.
struct Package(Tender);

impl Detail for Package {
    fn read(body: &Body) -> Result<Option<Self>> {
        Ok(ocds::tenders(body)?.into_iter().next().map(Self))
    }

    fn is_final(&self) -> bool {
        self.0.is_final()
    }
}

impl MercadoPublico {
    /// The record that `ask` names, for good once it is final.
    async fn detail<T: Detail>(&self, cx: &Context, ask: Ask<'_>) -> Result<(T, Body)> {
        let kept = self.kept(cx, &ask.clone().holding(Hold::Always)).await?;
        if let Some(kept) = kept
            && let Some(record) = T::read(&kept.body)?
            && record.is_final()
        {
            return Ok((record, kept.body));
        }
        let body = self.fetch(cx, &ask.holding(Hold::For(OPEN_DETAIL))).await?.body;
        let record = T::read(&body)?;
        let missing =
            || Error::new(ErrorKind::NotFound, "there is no record with this code").with_sent(Sent::Yes);
        Ok((record.ok_or_else(missing)?, body))
    }

    pub(super) async fn tender_by_code(
        &self,
        cx: &Context,
        code: &str,
        under: Option<&Reservation>,
    ) -> Result<Tender> {
        Ok(self.detail(cx, tender_ask(code).under(under)).await?.0)
    }

    pub(super) async fn order_by_code(
        &self,
        cx: &Context,
        code: &str,
        under: Option<&Reservation>,
    ) -> Result<PurchaseOrder> {
        Ok(self.detail(cx, order_ask(code).under(under)).await?.0)
    }

    fn answer<T>(&self, record: T, body: &Body) -> Answer<T> {
        Answer::new(record, body.source.clone(), body.as_of, self.route()).with_stale(body.stale)
    }

    async fn read_tender(&self, cx: &Context, request: &GetRequest) -> Result<Answer<Tender>> {
        let code: TenderCode = checked(request)?;
        match request.source.as_deref() {
            None | Some("v1") => {
                let (record, body) = self.detail(cx, tender_ask(&code.to_string())).await?;
                Ok(self.answer(record, &body))
            }
            Some("ocds" | "ocds_direct" | "ocds_framework") => {
                // Direct awards and orders under framework agreements are among its processes.
                let ask = Ask::new(Api::Ocds, Operation::GetTender, format!("/record/{code}"));
                let (Package(record), body) = self.detail(cx, ask).await?;
                Ok(self.answer(record, &body))
            }
            Some(other) => Err(unknown_source(other)),
        }
    }

    async fn read_order(&self, cx: &Context, request: &GetRequest) -> Result<Answer<PurchaseOrder>> {
        let code: OrderCode = checked(request)?;
        let (record, body) = self.detail(cx, order_ask(&code.to_string())).await?;
        Ok(self.answer(record, &body))
    }

    async fn read_quick(&self, cx: &Context, request: &GetRequest) -> Result<Answer<QuickPurchase>> {
        let code: QuickPurchaseCode = checked(request)?;
        let ask = Ask::new(Api::Quick, Operation::GetQuickPurchase, format!("/compra-agil/{code}"));
        let (record, body) = self.detail(cx, ask).await?;
        Ok(self.answer(record, &body))
    }

    async fn list_tenders(&self, cx: &Context, request: &ListRequest) -> Result<Listing<TenderRow>> {
        match request.source.as_deref() {
            None | Some("v1") => self.list_days(cx, request).await,
            Some("ocds") => self.list_ocds(cx, request, "").await,
            Some("ocds_direct") => self.list_ocds(cx, request, "TratoDirecto").await,
            Some("ocds_framework") => self.list_ocds(cx, request, "Convenio").await,
            Some(other) => Err(unknown_source(other)),
        }
    }

    /// The name of OCDS's list of a month. On its newer host it is spelt as Chile spells a year.
    fn ocds_list(&self) -> &'static str {
        if self.0.config.ocds_url.trim_end_matches('/').ends_with("/OCDS/data") {
            "listaA%C3%B1oMes"
        } else {
            "listaOCDSAgnoMes"
        }
    }

    /// A month of OCDS: codes only, because its index gives no more.
    async fn list_ocds(&self, cx: &Context, request: &ListRequest, of: &str) -> Result<Listing<TenderRow>> {
        request.check()?;
        let offset = match &request.cursor {
            None => 0,
            Some(cursor) => cursor
                .parse::<usize>()
                .map_err(|_| Error::invalid_request("the cursor is not one that an earlier listing gave"))?,
        };
        let first = request.from.or(request.to).unwrap_or_else(|| self.now(cx).date());
        let last = request.to.unwrap_or(first);
        if (first.year(), first.month()) != (last.year(), last.month()) {
            return Err(Error::unsupported("OCDS lists one month at a time: ask for days of one month"));
        }
        if request.text.is_some()
            || request.state.is_some()
            || request.buyer.is_some()
            || request.region.is_some()
        {
            return Err(Error::unsupported(
                "the index of OCDS holds codes only: filter by what `tender` gives of them",
            ));
        }
        let size = request.limit.unwrap_or(1000).clamp(1, 1000);
        let (list, year, month) = (self.ocds_list(), first.year(), first.month());
        let path = format!("/{list}{of}/{year:04}/{month:02}/{offset}/{size}");
        let ask = Ask::new(Api::Ocds, Operation::ListTenders, path).holding(Hold::For(BUYERS));
        let body = self.fetch(cx, &ask).await?.body;
        let index = ocds::index(&body)?;
        let end = offset + index.codes.len();
        let more = index.total.is_some_and(|total| usize::try_from(total).is_ok_and(|total| end < total));
        let origin = body.origin(crate::procure::Raw::default());
        let rows = index.codes.into_iter().map(|code| TenderRow {
            code,
            origin: origin.clone(),
            ..TenderRow::default()
        });
        Ok(Listing::new(rows.collect(), body.source.clone(), body.as_of, self.route())
            .with_total(index.total.and_then(|total| u64::try_from(total).ok()))
            .with_next_cursor((more && end > offset).then(|| end.to_string())))
    }

    async fn list_buyers(&self, cx: &Context, request: &ListRequest) -> Result<Listing<Buyer>> {
        let ask = Ask::new(Api::V1, Operation::ListBuyers, "/Publico/Empresas/BuscarComprador")
            .holding(Hold::For(BUYERS));
        let body = self.fetch(cx, &ask).await?.body;
        let V1::List { rows, .. } = v1::buyers(&body)? else {
            return Err(Error::response_invalid("the answer is a failure that was kept"));
        };
        let wanted = request.text.as_deref().map(folded);
        let keeps = |buyer: &Buyer| {
            wanted.as_ref().is_none_or(|wanted| folded(&buyer.name).contains(wanted))
                && request.buyer.as_ref().is_none_or(|code| *code == buyer.code)
        };
        let rows: Vec<Buyer> =
            rows.into_iter().filter(keeps).take(request.limit.unwrap_or(usize::MAX)).collect();
        Ok(Listing::new(rows, body.source.clone(), body.as_of, self.route()))
    }

    async fn list_suppliers(&self, cx: &Context, request: &ListRequest) -> Result<Listing<Supplier>> {
        let rut = request.supplier.as_deref().or(request.text.as_deref()).ok_or_else(|| {
            Error::invalid_request("suppliers are found by tax number only: set `supplier` to a RUT")
        })?;
        let (rows, as_of) = self.suppliers_by_rut(cx, rut.parse::<Rut>()?).await?;
        Ok(Listing::new(rows, Api::V1.source(), as_of, self.route()))
    }
}

fn tender_ask<'a>(code: &str) -> Ask<'a> {
    Ask::new(Api::V1, Operation::GetTender, "/publico/licitaciones.json").with("codigo", code)
}

fn order_ask<'a>(code: &str) -> Ask<'a> {
    Ask::new(Api::V1, Operation::GetPurchaseOrder, "/publico/ordenesdecompra.json").with("codigo", code)
}

fn checked<C: std::str::FromStr<Err = Error>>(request: &GetRequest) -> Result<C> {
    request.check()?;
    request.code.parse()
}

fn unknown_source(name: &str) -> Error {
    Error::invalid_request(format!(
        "there is no source '{name}' of tenders; valid: v1, ocds, ocds_direct, ocds_framework"
    ))
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
    purchase_orders(ListRequest) -> Listing<PurchaseOrderRow>, list_days;
    purchase_order(GetRequest) -> Answer<PurchaseOrder>, read_order;
    quick_purchases(ListRequest) -> Listing<QuickPurchaseRow>, list_quick;
    quick_purchase(GetRequest) -> Answer<QuickPurchase>, read_quick;
    buyers(ListRequest) -> Listing<Buyer>, list_buyers;
    suppliers(ListRequest) -> Listing<Supplier>, list_suppliers;
    plan(PlanRequest) -> Answer<Plan>, plan_listing;
}
