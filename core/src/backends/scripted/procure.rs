//! Three invented records.

use serde_json::json;

use super::{NAME, Scripted};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::info::{BackendInfo, Route};
use crate::procure::search_words::SearchWords;
use crate::procure::{
    Answer, Buyer, Currency, Date, Decimal, GetRequest, LineItem, ListRequest, Listing, Money, Origin, Plan,
    PlanRequest, ProcurementClient, PurchaseOrder, PurchaseOrderRow, QuickPurchase, QuickPurchaseRow, Raw,
    Sorting, Source, Supplier, Tender, TenderRow, Timestamp,
};

/// A purchase. Each one appears as a tender, an order and a quick purchase.
#[derive(Debug)]
struct Purchase {
    tender: &'static str,
    order: &'static str,
    quick: &'static str,
    name: &'static str,
    description: &'static str,
    state: &'static str,
    published: (u16, u8, u8),
    closes: &'static str,
    pesos: i128,
    buyer: (&'static str, &'static str, &'static str),
    supplier: (&'static str, &'static str, &'static str),
    item: (&'static str, i128, &'static str),
}

/// Invented, oldest first. No such body, supplier or code exists.
const PURCHASES: [Purchase; 3] = [
    Purchase {
        tender: "9001-1-LE26",
        order: "9001-101-SE26",
        quick: "9001-201-COT26",
        name: "Resmas de papel tamaño carta",
        description: "Papel para las oficinas del municipio inventado de Puerto Guion",
        state: "adjudicada",
        published: (2026, 1, 5),
        closes: "2026-01-15T15:00:00-03:00",
        pesos: 1_250_000,
        buyer: ("9001", "Municipalidad de Puerto Guion", "Región Inventada"),
        supplier: ("501", "Papelera del Guion SpA", "76.000.001-1"),
        item: ("Resma de papel", 500, "44122107"),
    },
    Purchase {
        tender: "9002-7-LR26",
        order: "9002-107-SE26",
        quick: "9002-207-COT26",
        name: "Ambulancia de rescate 4x4",
        description: "Una ambulancia equipada para la posta rural inventada de Cerro Ensayo",
        state: "publicada",
        published: (2026, 1, 12),
        closes: "2026-02-02T17:00:00-03:00",
        pesos: 68_900_000,
        buyer: ("9002", "Servicio de Salud Ensayo", "Región Inventada"),
        supplier: ("502", "Vehículos Ensayo Ltda.", "76.000.002-K"),
        item: ("Ambulancia 4x4", 1, "25101703"),
    },
    Purchase {
        tender: "9001-3-L126",
        order: "9001-103-SE26",
        quick: "9001-203-COT26",
        name: "Mantención de calderas",
        description: "Mantención anual de las calderas de la escuela inventada",
        state: "cerrada",
        published: (2026, 1, 19),
        closes: "2026-01-26T12:00:00-03:00",
        pesos: 3_480_000,
        buyer: ("9001", "Municipalidad de Puerto Guion", "Región Inventada"),
        supplier: ("503", "Calderas Libreto EIRL", "76.000.003-8"),
        item: ("Mantención de caldera", 2, "72101511"),
    },
];

/// The day as of which the records are valid.
fn as_of() -> Timestamp {
    Timestamp::of_unix_millis(1_769_914_800_000)
}

impl Purchase {
    fn day(&self) -> Result<Date> {
        Date::new(self.published.0, self.published.1, self.published.2)
    }

    fn matches(&self, request: &ListRequest) -> Result<bool> {
        let day = self.day()?;
        let holds = |text: &String| SearchWords::new(text).are_in(&[self.name, self.description]);
        let same = |wanted: &Option<String>, own: &[&str]| {
            wanted.as_ref().is_none_or(|wanted| own.iter().any(|own| own.eq_ignore_ascii_case(wanted)))
        };
        let amount = self.money();
        let is_comparable = |limit: &Money| limit.currency == amount.currency;
        let is_kind = |kind: &String| {
            [self.tender, self.order, self.quick]
                .iter()
                .filter_map(|code| code.rsplit('-').next()?.strip_suffix("26"))
                .any(|letters| letters.eq_ignore_ascii_case(kind.trim()))
        };
        Ok(request.text.as_ref().is_none_or(holds)
            && request.from.is_none_or(|from| from <= day)
            && request.to.is_none_or(|to| day <= to)
            && same(&request.state, &[self.state])
            && same(&request.buyer, &[self.buyer.0])
            && same(&request.supplier, &[self.supplier.0, self.supplier.2])
            && same(&request.region, &[self.buyer.2])
            && (request.kinds.is_empty() || request.kinds.iter().any(is_kind))
            && request
                .min_amount
                .as_ref()
                .is_none_or(|min| is_comparable(min) && min.amount <= amount.amount)
            && request
                .max_amount
                .as_ref()
                .is_none_or(|max| is_comparable(max) && amount.amount <= max.amount))
    }

    fn published(&self) -> Option<Timestamp> {
        self.day().and_then(|day| Timestamp::at(day, 9, 0, 0)).ok()
    }

    fn closes(&self) -> Option<Timestamp> {
        self.closes.parse().ok()
    }

    fn money(&self) -> Money {
        Money::new(Decimal::new(self.pesos, 0), Currency::Clp)
    }

    fn buyer(&self) -> Buyer {
        let (code, name, region) = self.buyer;
        Buyer { region: Some(region.to_owned()), ..Buyer::new(code, name) }
    }

    fn supplier(&self) -> Supplier {
        let (code, name, tax_number) = self.supplier;
        Supplier { tax_number: Some(tax_number.to_owned()), ..Supplier::new(code, name) }
    }

    fn items(&self) -> Vec<LineItem> {
        let (name, quantity, product_code) = self.item;
        vec![LineItem {
            product_code: Some(product_code.to_owned()),
            quantity: Some(Decimal::new(quantity, 0)),
            unit: Some("Unidad".to_owned()),
            ..LineItem::new(name)
        }]
    }

    fn origin(&self, code: &str) -> Origin {
        let raw = json!({ "codigo": code, "nombre": self.name, "estado": self.state }).to_string();
        Origin::new(Source::new(NAME), as_of(), Raw::new(raw).unwrap_or_default())
    }

    fn tender_row(&self) -> TenderRow {
        let row = TenderRow::new(self.tender, self.name, self.state).with_origin(self.origin(self.tender));
        TenderRow { closes: self.closes(), ..row }
    }

    fn tender(&self) -> Tender {
        Tender {
            row: self.tender_row(),
            description: self.description.to_owned(),
            buyer: Some(self.buyer()),
            estimated_amount: Some(self.money()),
            published: self.published(),
            items: self.items(),
            ..Tender::default()
        }
    }

    fn order_row(&self) -> PurchaseOrderRow {
        PurchaseOrderRow::new(self.order, self.name, self.state).with_origin(self.origin(self.order))
    }

    fn order(&self) -> PurchaseOrder {
        PurchaseOrder {
            row: self.order_row(),
            tender_code: Some(self.tender.to_owned()),
            buyer: Some(self.buyer()),
            supplier: Some(self.supplier()),
            total: Some(self.money()),
            sent: self.published(),
            items: self.items(),
            ..PurchaseOrder::default()
        }
    }

    fn quick_row(&self) -> QuickPurchaseRow {
        QuickPurchaseRow {
            published: self.published(),
            closes: self.closes(),
            budget: Some(self.money()),
            buyer_name: Some(self.buyer.1.to_owned()),
            ..QuickPurchaseRow::new(self.quick, self.name, self.state).with_origin(self.origin(self.quick))
        }
    }

    fn quick(&self) -> QuickPurchase {
        QuickPurchase {
            row: self.quick_row(),
            description: self.description.to_owned(),
            buyer: Some(self.buyer()),
            items: self.items(),
            ..QuickPurchase::default()
        }
    }
}

impl Scripted {
    async fn list<T: PartialEq>(
        &self,
        cx: &Context,
        request: &ListRequest,
        row: impl Fn(&Purchase) -> T,
    ) -> Result<Listing<T>> {
        self.begin(cx).await?;
        self.listing(request, row)
    }

    fn listing<T: PartialEq>(
        &self,
        request: &ListRequest,
        row: impl Fn(&Purchase) -> T,
    ) -> Result<Listing<T>> {
        request.check()?;
        let start = match &request.cursor {
            None => 0,
            Some(cursor) => cursor.parse::<usize>().map_err(|_| {
                Error::invalid_request("the cursor is not one that an earlier listing of scripted gave")
            })?,
        };
        let mut rows = Vec::new();
        for purchase in &PURCHASES {
            if purchase.matches(request)? {
                let row = row(purchase);
                // A buyer with several purchases is listed once.
                if !rows.contains(&row) {
                    rows.push(row);
                }
            }
        }
        if request.sorting == Sorting::NewestFirst {
            rows.reverse();
        }
        let total = rows.len();
        let end = start.saturating_add(request.limit.unwrap_or(usize::MAX)).min(total);
        let rows = rows.into_iter().take(end).skip(start).collect();
        let listing = Listing::new(rows, Source::new(NAME), as_of(), Route::new(&self.0.info));
        Ok(listing.with_total(Some(total as u64)).with_next_cursor((end < total).then(|| end.to_string())))
    }

    async fn get<T>(
        &self,
        cx: &Context,
        request: &GetRequest,
        code: impl Fn(&Purchase) -> &str,
        record: impl Fn(&Purchase) -> T,
    ) -> Result<Answer<T>> {
        self.begin(cx).await?;
        request.check()?;
        match PURCHASES.iter().find(|purchase| code(purchase) == request.code) {
            Some(found) => {
                let (source, as_of) = (Source::new(NAME), as_of());
                Ok(Answer::new(record(found), source, as_of, Route::new(&self.0.info)))
            }
            None => {
                let error = Error::new(ErrorKind::NotFound, "there is no record with this code");
                Err(error.with_sent(Sent::Yes))
            }
        }
    }
}

impl ProcurementClient for Scripted {
    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    async fn tenders(&self, cx: &Context, request: ListRequest) -> Result<Listing<TenderRow>> {
        self.list(cx, &request, Purchase::tender_row).await
    }

    async fn tender(&self, cx: &Context, request: GetRequest) -> Result<Answer<Tender>> {
        self.get(cx, &request, |found| found.tender, Purchase::tender).await
    }

    async fn purchase_orders(&self, cx: &Context, request: ListRequest) -> Result<Listing<PurchaseOrderRow>> {
        self.list(cx, &request, Purchase::order_row).await
    }

    async fn purchase_order(&self, cx: &Context, request: GetRequest) -> Result<Answer<PurchaseOrder>> {
        self.get(cx, &request, |found| found.order, Purchase::order).await
    }

    async fn quick_purchases(&self, cx: &Context, request: ListRequest) -> Result<Listing<QuickPurchaseRow>> {
        self.list(cx, &request, Purchase::quick_row).await
    }

    async fn quick_purchase(&self, cx: &Context, request: GetRequest) -> Result<Answer<QuickPurchase>> {
        self.get(cx, &request, |found| found.quick, Purchase::quick).await
    }

    async fn buyers(&self, cx: &Context, request: ListRequest) -> Result<Listing<Buyer>> {
        self.list(cx, &request, Purchase::buyer).await
    }

    /// Listing costs nothing here.
    async fn plan(&self, cx: &Context, request: PlanRequest) -> Result<Answer<Plan>> {
        self.begin(cx).await?;
        request.list.check()?;
        let plan = Plan { exact: true, ..Plan::default() };
        Ok(Answer::new(plan, Source::new(NAME), as_of(), Route::new(&self.0.info)))
    }

    async fn suppliers(&self, cx: &Context, request: ListRequest) -> Result<Listing<Supplier>> {
        self.list(cx, &request, Purchase::supplier).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Operation;
    use crate::procure::AnyProcurement;

    fn client() -> AnyProcurement {
        AnyProcurement::new(Scripted::default())
    }

    async fn codes(request: ListRequest) -> Vec<String> {
        let listing = client().tenders(&Context::new(), request).await.expect("a listing");
        listing.rows.into_iter().map(|row| row.code).collect()
    }

    #[tokio::test]
    async fn listings_are_filtered_and_sorted() {
        let all = ["9001-3-L126", "9002-7-LR26", "9001-1-LE26"];
        assert_eq!(codes(ListRequest::new()).await, all);
        assert_eq!(codes(ListRequest::new().with_text("AMBULANCIA")).await, ["9002-7-LR26"]);
        assert_eq!(codes(ListRequest::new().with_state("publicada")).await, ["9002-7-LR26"]);
        assert_eq!(codes(ListRequest::new().with_buyer("9001")).await, ["9001-3-L126", "9001-1-LE26"]);
        assert_eq!(codes(ListRequest::new().with_supplier("76.000.003-8")).await, ["9001-3-L126"]);
        assert_eq!(codes(ListRequest::on("2026-01-05".parse().expect("a day"))).await, ["9001-1-LE26"]);
        assert!(codes(ListRequest::new().with_text("submarino")).await.is_empty());
        let oldest = ListRequest { sorting: Sorting::OldestFirst, ..ListRequest::new() };
        assert_eq!(codes(oldest.with_limit(1)).await, ["9001-1-LE26"]);
    }

    #[tokio::test]
    async fn pages_follow_one_another() {
        let first =
            client().tenders(&Context::new(), ListRequest::new().with_limit(2)).await.expect("a page");
        assert_eq!((first.rows.len(), first.total), (2, Some(3)));
        let rest = ListRequest { cursor: first.next_cursor, ..ListRequest::new().with_limit(2) };
        let second = client().tenders(&Context::new(), rest).await.expect("a page");
        assert_eq!((second.rows.len(), second.next_cursor), (1, None));
    }

    #[tokio::test]
    async fn every_code_of_a_listing_can_be_read_in_full() {
        let (client, cx) = (client(), Context::new());
        for row in client.tenders(&cx, ListRequest::new()).await.expect("a listing").rows {
            let answer = client.tender(&cx, GetRequest::new(row.code.as_str())).await.expect("a tender");
            assert_eq!((answer.record.row, answer.source.as_str()), (row, "scripted"));
        }
        for row in client.purchase_orders(&cx, ListRequest::new()).await.expect("a listing").rows {
            let answer = client.purchase_order(&cx, GetRequest::new(row.code.as_str())).await;
            assert_eq!(answer.expect("an order").record.row, row);
        }
        for row in client.quick_purchases(&cx, ListRequest::new()).await.expect("a listing").rows {
            let answer = client.quick_purchase(&cx, GetRequest::new(row.code.as_str())).await;
            assert_eq!(answer.expect("a quick purchase").record.row, row);
        }
        assert_eq!(client.buyers(&cx, ListRequest::new()).await.expect("a listing").rows.len(), 2);
        assert_eq!(client.suppliers(&cx, ListRequest::new()).await.expect("a listing").rows.len(), 3);
    }

    #[tokio::test]
    async fn unknown_codes_are_not_found_and_empty_ones_refused() {
        for (code, kind) in [("1-1-X1", ErrorKind::NotFound), ("", ErrorKind::InvalidRequest)] {
            let error = client().tender(&Context::new(), GetRequest::new(code)).await.expect_err("no record");
            assert_eq!((error.kind(), error.backend()), (kind, Some(NAME)));
            assert_eq!(error.operation(), Some(Operation::GetTender));
        }
        let upside_down =
            ListRequest::between("2026-02-01".parse().expect("a day"), "2026-01-01".parse().expect("a day"));
        let error = client().tenders(&Context::new(), upside_down).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
}
