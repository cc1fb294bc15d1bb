//! The filters of a request. Those that the service does not have are applied to its rows here; those that nobody can
//! apply are refused.

use super::client::{Api, MercadoPublico};
use super::fetch::{ApiRequest, Freshness};
use super::gate::budget::CallBudget;
use super::search::Daily;
use super::wire::v1;
use crate::context::Context;
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::procure::search_words::SearchWords;
use crate::procure::store::RecordKind;
use crate::procure::tables::folded;
use crate::procure::{
    ListRequest, Money, OrderState, PurchaseOrder, QuickPurchaseRow, QuickPurchaseState, Region, Rut,
    Supplier, Tender, TenderState,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    words: SearchWords,
    /// The state, as its `Display` writes it.
    state: Option<String>,
    kinds: Vec<String>,
    buyer: Option<String>,
    supplier: Option<String>,
    region: Option<Region>,
    min: Option<Money>,
    max: Option<Money>,
}

/// The filters of a [`ListRequest`], by their names.
const FILTERS: [&str; 10] =
    ["from", "to", "text", "state", "buyer", "supplier", "region", "kinds", "min_amount", "max_amount"];

/// Fails if a request has other filters than these.
///
/// # Errors
/// `unsupported`, naming the first that cannot be applied to `what`.
pub(super) fn allow_only(request: &ListRequest, allowed: &[&str], what: &str) -> Result<()> {
    let is_set = |name: &str| match name {
        "from" => request.from.is_some(),
        "to" => request.to.is_some(),
        "text" => request.text.is_some(),
        "state" => request.state.is_some(),
        "buyer" => request.buyer.is_some(),
        "supplier" => request.supplier.is_some(),
        "region" => request.region.is_some(),
        "kinds" => !request.kinds.is_empty(),
        "min_amount" => request.min_amount.is_some(),
        _ => request.max_amount.is_some(),
    };
    match FILTERS.into_iter().find(|name| is_set(name) && !allowed.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Error::unsupported(format!(
            "{what} cannot be filtered by `{name}`; possible: {}",
            allowed.join(", ")
        ))
        .with_context("field", name)),
    }
}

/// Fails if a request names a source that its records do not come from.
///
/// # Errors
/// `invalid_request`, listing the valid names.
pub(super) fn check_source(request: &ListRequest, valid: &[&str]) -> Result<()> {
    match request.source.as_deref() {
        Some(name) if !valid.contains(&name) => Err(unknown_source(name, valid)),
        _ => Ok(()),
    }
}

pub(super) fn unknown_source(name: &str, valid: &[&str]) -> Error {
    Error::invalid_request(format!("unknown source '{name}' of these records; valid: {}", valid.join(", ")))
        .with_context("field", "source")
}

/// The value of a field, or an error that names the field.
fn field<T>(name: &'static str, parsed: Result<T>) -> Result<T> {
    parsed.map_err(|error| {
        Error::invalid_request(format!("`{name}`: {}", error.message())).with_context("field", name)
    })
}

/// The state, as its `Display` writes it; `None` for all.
fn state(kind: RecordKind, text: &str) -> Result<Option<String>> {
    let state = match (kind, folded(text).as_str()) {
        (_, "todos") => return Ok(None),
        (RecordKind::Tender, "activas") => TenderState::Published.to_string(),
        (RecordKind::Tender, _) => TenderState::parse_known(text)?.to_string(),
        (RecordKind::PurchaseOrder, _) => OrderState::parse_known(text)?.to_string(),
        (RecordKind::QuickPurchase, _) => QuickPurchaseState::parse_known(text)?.to_string(),
    };
    Ok(Some(state))
}

/// The letters of a kind: `LE`.
fn kind_letters(text: &str) -> Result<String> {
    let letters = text.trim().to_ascii_uppercase();
    match (1..=3).contains(&letters.len()) && letters.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => Ok(letters),
        false => Err(Error::invalid_request("a kind is the letters of a code, such as LE, LP or SE")),
    }
}

impl Filter {
    /// The filters of a request for records of a kind.
    ///
    /// # Errors
    /// `invalid_request` for a state, region, kind, code or tax number that does not exist.
    pub(super) fn new(kind: RecordKind, request: &ListRequest) -> Result<Self> {
        let text = |text: &Option<String>| {
            text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let (buyer, supplier) = (text(&request.buyer), text(&request.supplier));
        // Quick purchases know buyers by name and tax number, the others by the service's code.
        if kind != RecordKind::QuickPurchase {
            field("buyer", buyer.as_deref().map_or(Ok(()), check_code))?;
            field("supplier", supplier.as_deref().map_or(Ok(()), check_code_or_rut))?;
        }
        Ok(Self {
            words: SearchWords::new(request.text.as_deref().unwrap_or_default()),
            state: field("state", text(&request.state).map_or(Ok(None), |text| state(kind, &text)))?,
            kinds: field("kinds", request.kinds.iter().map(|kind| kind_letters(kind)).collect())?,
            buyer,
            supplier,
            region: field(
                "region",
                text(&request.region).map(|text| Region::parse_known(&text)).transpose(),
            )?,
            min: request.min_amount.clone(),
            max: request.max_amount.clone(),
        })
    }

    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let buyer = self.buyer.iter().map(|buyer| ("CodigoOrganismo", buyer.clone()));
        let supplier = self.supplier.iter().map(|supplier| ("CodigoProveedor", supplier.clone()));
        buyer.chain(supplier).collect()
    }

    /// The state, as its `Display` writes it.
    pub(super) fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    pub(super) fn region_number(&self) -> Option<i64> {
        self.region.as_ref().and_then(|region| region.numbers().first().copied())
    }

    /// Whether the rows of a list are not enough to decide.
    pub(super) fn needs_details(&self) -> bool {
        self.region.is_some() || self.min.is_some() || self.max.is_some()
    }

    /// Whether all rows of a page of quick purchases pass, because the service applies what there is.
    pub(super) fn keeps_all_quick(&self) -> bool {
        self.buyer.is_none() && self.kinds.is_empty() && self.min.is_none() && self.max.is_none()
    }

    /// Whether the supplier is given by tax number, so that the service's own code for it must be looked up.
    pub(super) fn needs_supplier_code(&self) -> bool {
        self.supplier.as_deref().is_some_and(|supplier| supplier.contains('-'))
    }

    pub(super) fn keeps_row<T: Daily>(&self, row: &T) -> bool {
        self.keeps_code(row.code())
            && self.state.as_deref().is_none_or(|state| row.is_in_state(state))
            && self.words.are_in(&[row.name()])
    }

    fn keeps_code(&self, code: &str) -> bool {
        let kind = || {
            let last = code.rsplit('-').next().unwrap_or_default();
            last.get(..last.len().saturating_sub(2)).unwrap_or_default().to_ascii_uppercase()
        };
        self.kinds.is_empty() || self.kinds.contains(&kind())
    }

    fn keeps_amount(&self, amount: Option<&Money>) -> bool {
        let least =
            |min: &Money| amount.is_some_and(|own| own.currency == min.currency && own.amount >= min.amount);
        let most =
            |max: &Money| amount.is_some_and(|own| own.currency == max.currency && own.amount <= max.amount);
        self.min.as_ref().is_none_or(least) && self.max.as_ref().is_none_or(most)
    }

    fn keeps_region(&self, own: Option<&str>) -> bool {
        self.region.as_ref().is_none_or(|wanted| own.is_some_and(|own| Region::from(own) == *wanted))
    }

    pub(super) fn keeps_tender(&self, tender: &Tender) -> bool {
        let region = tender.buyer.as_ref().and_then(|buyer| buyer.region.as_deref());
        self.keeps_region(region) && self.keeps_amount(tender.estimated_amount.as_ref())
    }

    pub(super) fn keeps_order(&self, order: &PurchaseOrder) -> bool {
        let region = order.buyer.as_ref().and_then(|buyer| buyer.region.as_deref());
        self.keeps_region(region) && self.keeps_amount(order.total.as_ref())
    }

    /// Rows of quick purchases have all that is needed. A buyer is a name or a tax number here.
    pub(super) fn keeps_quick(&self, row: &QuickPurchaseRow) -> bool {
        let rut = |text: &str| text.parse::<Rut>().ok();
        let buyer = |wanted: &String| match (rut(wanted), row.buyer_tax_number.as_deref().and_then(rut)) {
            (Some(wanted), own) => own == Some(wanted),
            (None, _) => row.buyer_name.as_deref().is_some_and(|name| folded(name).contains(&folded(wanted))),
        };
        self.keeps_code(&row.code)
            && self.state.as_deref().is_none_or(|state| row.state == QuickPurchaseState::from(state))
            && self.buyer.as_ref().is_none_or(buyer)
            && self.keeps_amount(row.budget.as_ref())
    }
}

/// The service answers anything but a number with a failure that names no field.
fn check_code(code: &str) -> Result<()> {
    match code.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(()),
        false => Err(Error::invalid_request("expected the service's number, such as 7248")),
    }
}

fn check_code_or_rut(code: &str) -> Result<()> {
    if code.contains('-') { code.parse::<Rut>().map(drop) } else { check_code(code) }
}

impl MercadoPublico {
    /// The filter, with the service's own code for a supplier that was given by tax number.
    pub(super) async fn resolved(
        &self,
        cx: &Context,
        filter: Filter,
        budget: Option<&CallBudget>,
    ) -> Result<Filter> {
        if !filter.needs_supplier_code() {
            return Ok(filter);
        }
        let rut: Rut = filter.supplier.as_deref().unwrap_or_default().parse()?;
        let found = self.suppliers_by_rut(cx, rut, budget).await?.0;
        let code = found.into_iter().next().map(|supplier| supplier.code).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "no supplier has this tax number").with_sent(Sent::Yes)
        })?;
        Ok(Filter { supplier: Some(code), ..filter })
    }

    /// The suppliers with a tax number, and the time of that answer.
    pub(super) async fn suppliers_by_rut(
        &self,
        cx: &Context,
        rut: Rut,
        budget: Option<&CallBudget>,
    ) -> Result<(Vec<Supplier>, crate::procure::Timestamp)> {
        let call = ApiRequest::new(Api::V1, Operation::ListSuppliers, "/Publico/Empresas/BuscarProveedor")
            .with("rutempresaproveedor", rut.to_string())
            .with_freshness(Freshness::For(std::time::Duration::from_secs(24 * 3600)))
            .with_budget(budget);
        let body = self.fetch(cx, &call).await?.body;
        let rows = v1::suppliers(&body)?.into_rows()?.into_iter();
        let rows = rows.map(|row| Supplier { tax_number: Some(rut.to_string()), ..row }).collect();
        Ok((rows, body.as_of))
    }
}
