//! Records as table rows.

use crate::procure::{
    Buyer, Decimal, Money, Origin, PurchaseOrder, PurchaseOrderRow, QuickPurchase, QuickPurchaseRow, Tender,
    TenderCode, TenderRow, Timestamp,
};

/// A record that can be written as a row. There are no columns with personal data. Texts are as the source wrote them.
pub trait Table {
    /// The names of the columns, in Spanish and English.
    const COLUMNS: &'static [[&'static str; 2]];

    /// The cells, one per column.
    fn cells(&self) -> Vec<Cell>;
}

/// The content of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cell {
    /// Empty.
    Empty,
    /// A text of the source.
    Text(String),
    /// A number.
    Number(Decimal),
    /// A time.
    Moment(Timestamp),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        if text.is_empty() { Self::Empty } else { Self::Text(text.to_owned()) }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        if text.is_empty() { Self::Empty } else { Self::Text(text) }
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Number(Decimal::new(i128::from(number), 0))
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::Number(Decimal::new(i128::try_from(number).unwrap_or(i128::MAX), 0))
    }
}

impl From<Timestamp> for Cell {
    fn from(moment: Timestamp) -> Self {
        Self::Moment(moment)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Empty, Into::into)
    }
}

/// Amount and currency.
fn money(money: Option<&Money>) -> [Cell; 2] {
    match money {
        Some(money) => [Cell::Number(money.amount), money.currency.as_str().into()],
        None => [Cell::Empty, Cell::Empty],
    }
}

/// Name, tax number and region.
fn buyer(buyer: Option<&Buyer>) -> [Cell; 3] {
    [
        buyer.map(|buyer| buyer.name.as_str()).into(),
        buyer.and_then(|buyer| buyer.tax_number.as_deref()).into(),
        buyer.and_then(|buyer| buyer.region.as_deref()).into(),
    ]
}

/// Source and time.
fn origin(origin: &Origin) -> [Cell; 2] {
    [origin.source.as_str().into(), origin.as_of.into()]
}

impl Table for TenderRow {
    const COLUMNS: &'static [[&'static str; 2]] = &[
        ["codigo", "code"],
        ["nombre", "name"],
        ["estado", "state"],
        ["cierre", "closes"],
        ["fuente", "source"],
        ["al", "as_of"],
    ];

    fn cells(&self) -> Vec<Cell> {
        let own = [
            self.code.as_str().into(),
            self.name.as_str().into(),
            self.state.to_string().into(),
            self.closes.into(),
        ];
        own.into_iter().chain(origin(&self.origin)).collect()
    }
}

impl Table for Tender {
    const COLUMNS: &'static [[&'static str; 2]] = &[
        ["codigo", "code"],
        ["nombre", "name"],
        ["estado", "state"],
        ["tipo", "kind"],
        ["publicada", "published"],
        ["cierre", "closes"],
        ["monto_estimado", "estimated_amount"],
        ["moneda", "currency"],
        ["comprador", "buyer"],
        ["rut_comprador", "buyer_tax_number"],
        ["region", "region"],
        ["descripcion", "description"],
        ["lineas", "lines"],
        ["oferentes", "bidders"],
        ["pagina", "page"],
        ["fuente", "source"],
        ["al", "as_of"],
        ["fecha_adjudicacion", "awarded"],
        ["adjudicatarios", "winners"],
        ["monto_adjudicado", "awarded_amount"],
        ["moneda_adjudicada", "awarded_currency"],
    ];

    fn cells(&self) -> Vec<Cell> {
        let row = &self.row;
        let mut cells: Vec<Cell> = vec![
            row.code.as_str().into(),
            row.name.as_str().into(),
            row.state.to_string().into(),
            self.kind.as_ref().map(|kind| kind.as_str()).into(),
            self.published.into(),
            row.closes.into(),
        ];
        cells.extend(money(self.estimated_amount.as_ref()));
        cells.extend(buyer(self.buyer.as_ref()));
        cells.push(self.description.as_str().into());
        cells.push(self.items.len().into());
        cells.push(self.bidder_count().into());
        cells.push(row.parsed_code().ok().map(|code: TenderCode| code.public_page()).into());
        cells.extend(origin(&row.origin));
        cells.push(self.award.as_ref().and_then(|award| award.date).or(self.dates.awarded).into());
        let winners = self.winners().into_iter().map(|supplier| match &supplier.tax_number {
            Some(tax_number) => format!("{} ({tax_number})", supplier.name),
            None => supplier.name.clone(),
        });
        cells.push(winners.collect::<Vec<_>>().join(" / ").into());
        cells.extend(money(self.awarded_total().as_ref()));
        cells
    }
}

impl Table for PurchaseOrderRow {
    const COLUMNS: &'static [[&'static str; 2]] =
        &[["codigo", "code"], ["nombre", "name"], ["estado", "state"], ["fuente", "source"], ["al", "as_of"]];

    fn cells(&self) -> Vec<Cell> {
        let own = [self.code.as_str().into(), self.name.as_str().into(), self.state.to_string().into()];
        own.into_iter().chain(origin(&self.origin)).collect()
    }
}

impl Table for PurchaseOrder {
    const COLUMNS: &'static [[&'static str; 2]] = &[
        ["codigo", "code"],
        ["nombre", "name"],
        ["estado", "state"],
        ["licitacion", "tender"],
        ["enviada", "sent"],
        ["neto", "net"],
        ["impuestos", "taxes"],
        ["total", "total"],
        ["moneda", "currency"],
        ["comprador", "buyer"],
        ["rut_comprador", "buyer_tax_number"],
        ["region", "region"],
        ["proveedor", "supplier"],
        ["rut_proveedor", "supplier_tax_number"],
        ["descripcion", "description"],
        ["lineas", "lines"],
        ["fuente", "source"],
        ["al", "as_of"],
    ];

    fn cells(&self) -> Vec<Cell> {
        let row = &self.row;
        let [total, currency] = money(self.total.as_ref().or(self.net.as_ref()));
        let total = if self.total.is_some() { total } else { Cell::Empty };
        let [net, _] = money(self.net.as_ref());
        let [taxes, _] = money(self.taxes.as_ref());
        let mut cells: Vec<Cell> = vec![
            row.code.as_str().into(),
            row.name.as_str().into(),
            row.state.to_string().into(),
            self.tender_code.as_deref().into(),
            self.sent.into(),
        ];
        cells.extend([net, taxes, total, currency]);
        cells.extend(buyer(self.buyer.as_ref()));
        cells.push(self.supplier.as_ref().map(|supplier| supplier.name.as_str()).into());
        cells.push(self.supplier.as_ref().and_then(|supplier| supplier.tax_number.as_deref()).into());
        cells.push(self.description.as_str().into());
        cells.push(self.items.len().into());
        cells.extend(origin(&row.origin));
        cells
    }
}

impl Table for QuickPurchaseRow {
    const COLUMNS: &'static [[&'static str; 2]] = &[
        ["codigo", "code"],
        ["nombre", "name"],
        ["estado", "state"],
        ["publicada", "published"],
        ["cierre", "closes"],
        ["presupuesto", "budget"],
        ["moneda", "currency"],
        ["comprador", "buyer"],
        ["rut_comprador", "buyer_tax_number"],
        ["region", "region"],
        ["ofertas", "offers"],
        ["fuente", "source"],
        ["al", "as_of"],
    ];

    fn cells(&self) -> Vec<Cell> {
        let mut cells: Vec<Cell> = vec![
            self.code.as_str().into(),
            self.name.as_str().into(),
            self.state.to_string().into(),
            self.published.into(),
            self.closes.into(),
        ];
        cells.extend(money(self.budget.as_ref()));
        cells.push(self.buyer_name.as_deref().into());
        cells.push(self.buyer_tax_number.as_deref().into());
        cells.push(self.region.into());
        cells.push(self.offers.into());
        cells.extend(origin(&self.origin));
        cells
    }
}

impl Table for QuickPurchase {
    const COLUMNS: &'static [[&'static str; 2]] = QuickPurchaseRow::COLUMNS;

    fn cells(&self) -> Vec<Cell> {
        self.row.cells()
    }
}
