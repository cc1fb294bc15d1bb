//! The filters that the service does not have, applied to its rows here.

use std::sync::LazyLock;

use super::client::{Api, MercadoPublico};
use super::fetch::{ApiRequest, Freshness};
use super::search::Daily;
use super::wire::v1;
use crate::context::Context;
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::procure::tables::folded;
use crate::procure::{
    ListRequest, Money, PurchaseOrder, QuickPurchaseRow, QuickPurchaseState, Rut, Supplier, Tender,
};

/// The regions by number, in the order of the service's guide.
const REGIONS: [&str; 16] = [
    "Tarapacá",
    "Antofagasta",
    "Atacama",
    "Coquimbo",
    "Valparaíso",
    "O'Higgins",
    "Maule",
    "Biobío",
    "Araucanía",
    "Los Lagos",
    "Aysén",
    "Magallanes",
    "Metropolitana",
    "Los Ríos",
    "Arica y Parinacota",
    "Ñuble",
];

/// The filters of a request, parsed.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    words: Vec<String>,
    state: Option<String>,
    kinds: Vec<String>,
    buyer: Option<String>,
    supplier: Option<String>,
    region: Option<String>,
    min: Option<Money>,
    max: Option<Money>,
}

impl Filter {
    /// # Errors
    /// `invalid_request` for a tax number whose check digit does not hold.
    pub(super) fn new(request: &ListRequest) -> Result<Self> {
        if let Some(supplier) = request.supplier.as_deref().filter(|supplier| supplier.contains('-')) {
            supplier.parse::<Rut>()?;
        }
        let text = |text: &Option<String>| {
            text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        Ok(Self {
            words: request
                .text
                .iter()
                .flat_map(|text| text.split_whitespace())
                .map(folded)
                .filter(|word| !word.is_empty())
                .collect(),
            state: text(&request.state).filter(|state| !matches!(state.as_str(), "todos" | "activas")),
            kinds: request.kinds.iter().map(|kind| kind.trim().to_ascii_uppercase()).collect(),
            buyer: text(&request.buyer),
            supplier: text(&request.supplier),
            region: text(&request.region),
            min: request.min_amount.clone(),
            max: request.max_amount.clone(),
        })
    }

    /// The filters that the service itself applies.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let buyer = self.buyer.iter().map(|buyer| ("CodigoOrganismo", buyer.clone()));
        let supplier = self.supplier.iter().map(|supplier| ("CodigoProveedor", supplier.clone()));
        buyer.chain(supplier).collect()
    }

    /// Whether the rows of a list are not enough to decide.
    pub(super) fn needs_details(&self) -> bool {
        self.region.is_some() || self.min.is_some() || self.max.is_some()
    }

    /// Whether the supplier is given by tax number, so that the service's own code for it must be looked up.
    pub(super) fn needs_supplier_code(&self) -> bool {
        self.supplier.as_deref().is_some_and(|supplier| supplier.contains('-'))
    }

    pub(super) fn keeps_row<T: Daily>(&self, row: &T) -> bool {
        self.keeps_code(row.code())
            && self.state.as_deref().is_none_or(|state| row.is_in_state(state))
            && self.keeps_text(&[row.name()])
    }

    fn keeps_code(&self, code: &str) -> bool {
        let kind = || {
            let last = code.rsplit('-').next().unwrap_or_default();
            last.get(..last.len().saturating_sub(2)).unwrap_or_default().to_ascii_uppercase()
        };
        self.kinds.is_empty() || self.kinds.contains(&kind())
    }

    /// Whether every word is in one of the texts, ignoring accents and case.
    fn keeps_text(&self, texts: &[&str]) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let all: String = texts.iter().map(|text| folded(text) + " ").collect();
        self.words.iter().all(|word| all.contains(word.as_str()))
    }

    fn keeps_amount(&self, amount: Option<&Money>) -> bool {
        let least =
            |min: &Money| amount.is_some_and(|own| own.currency == min.currency && own.amount >= min.amount);
        let most =
            |max: &Money| amount.is_some_and(|own| own.currency == max.currency && own.amount <= max.amount);
        self.min.as_ref().is_none_or(least) && self.max.as_ref().is_none_or(most)
    }

    fn keeps_region(&self, own: Option<&str>) -> bool {
        self.region.as_deref().is_none_or(|wanted| {
            let wanted = region_name(wanted);
            own.is_some_and(|own| folded(own).contains(&folded(&wanted)))
        })
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
        self.state.as_deref().is_none_or(|state| row.state == QuickPurchaseState::from(state))
            && self.buyer.as_ref().is_none_or(buyer)
            && self.keeps_amount(row.budget.as_ref())
    }

    /// The region's number, for the API that filters by it.
    pub(super) fn region_number(&self) -> Result<Option<usize>> {
        let Some(region) = &self.region else { return Ok(None) };
        region_of(&region_name(region))
            .map(Some)
            .ok_or_else(|| Error::invalid_request(format!("unknown region '{region}'")))
    }
}

/// The number of a region by its name: `Región del Maule` is 7.
pub(super) fn region_of(name: &str) -> Option<usize> {
    static FOLDED: LazyLock<[String; 16]> = LazyLock::new(|| REGIONS.map(folded));
    let wanted = folded(name);
    let is_it = |name: &String| name.contains(&wanted) || wanted.contains(name);
    FOLDED.iter().position(is_it).map(|index| index + 1)
}

/// The name of a region that is given by number; other texts as they are.
fn region_name(region: &str) -> String {
    let number = region.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    number.and_then(|index| REGIONS.get(index)).map_or_else(|| region.to_owned(), |name| (*name).to_owned())
}

impl MercadoPublico {
    /// The filter, with the service's own code for a supplier that was given by tax number.
    pub(super) async fn resolved(&self, cx: &Context, filter: Filter) -> Result<Filter> {
        if !filter.needs_supplier_code() {
            return Ok(filter);
        }
        let rut: Rut = filter.supplier.as_deref().unwrap_or_default().parse()?;
        let found = self.suppliers_by_rut(cx, rut).await?.0;
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
    ) -> Result<(Vec<Supplier>, crate::procure::Timestamp)> {
        let call = ApiRequest::new(Api::V1, Operation::ListSuppliers, "/Publico/Empresas/BuscarProveedor")
            .with("rutempresaproveedor", rut.to_string())
            .with_freshness(Freshness::For(std::time::Duration::from_secs(24 * 3600)));
        let body = self.fetch(cx, &call).await?.body;
        let rows = v1::suppliers(&body)?.into_rows()?.into_iter();
        let rows = rows.map(|row| Supplier { tax_number: Some(rut.to_string()), ..row }).collect();
        Ok((rows, body.as_of))
    }
}
