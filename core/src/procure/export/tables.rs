//! Records as table rows.

use crate::procure::{
    Buyer, Decimal, Money, PurchaseOrder, PurchaseOrderRow, QuickPurchase, QuickPurchaseRow, Tender,
    TenderRow, Timestamp,
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

fn amount(money: Option<&Money>) -> Option<Cell> {
    money.map(|money| Cell::Number(money.amount))
}

fn currency(money: Option<&Money>) -> Option<&str> {
    money.map(|money| money.currency.as_str())
}

fn buyer<'a>(buyer: &'a Option<Buyer>, of: impl Fn(&'a Buyer) -> Option<&'a str>) -> Option<&'a str> {
    buyer.as_ref().and_then(of)
}

/// Who won a tender: names and tax numbers.
fn winners(tender: &Tender) -> String {
    let winners = tender.winners().into_iter().map(|supplier| match &supplier.tax_number {
        Some(tax_number) => format!("{} ({tax_number})", supplier.name),
        None => supplier.name.clone(),
    });
    winners.collect::<Vec<_>>().join(" / ")
}

/// The columns of a table: names in Spanish and English, and the cell.
macro_rules! tables {
    ($($record:ident as $it:ident { $($spanish:literal $english:literal = $cell:expr;)+ })+) => {
        $(impl Table for $record {
            const COLUMNS: &'static [[&'static str; 2]] = &[$([$spanish, $english]),+];

            fn cells(&self) -> Vec<Cell> {
                let $it = self;
                vec![$(Cell::from($cell)),+]
            }
        })+
    };
}

tables! {
    TenderRow as row {
        "codigo" "code" = row.code.as_str();
        "nombre" "name" = row.name.as_str();
        "estado" "state" = row.state.to_string();
        "cierre" "closes" = row.closes;
        "fuente" "source" = row.origin.source.as_str();
        "al" "as_of" = row.origin.as_of;
    }

    Tender as tender {
        "codigo" "code" = tender.row.code.as_str();
        "nombre" "name" = tender.row.name.as_str();
        "estado" "state" = tender.row.state.to_string();
        "tipo" "kind" = tender.kind.as_ref().map(|kind| kind.as_str());
        "publicada" "published" = tender.published;
        "cierre" "closes" = tender.row.closes;
        "monto_estimado" "estimated_amount" = amount(tender.estimated_amount.as_ref());
        "moneda" "currency" = currency(tender.estimated_amount.as_ref());
        "comprador" "buyer" = buyer(&tender.buyer, |buyer| Some(&buyer.name));
        "rut_comprador" "buyer_tax_number" = buyer(&tender.buyer, |buyer| buyer.tax_number.as_deref());
        "region" "region" = buyer(&tender.buyer, |buyer| buyer.region.as_deref());
        "descripcion" "description" = tender.description.as_str();
        "lineas" "lines" = tender.items.len();
        "oferentes" "bidders" = tender.bidder_count();
        "pagina" "page" = tender.row.parsed_code().ok().map(|code| code.public_page());
        "fuente" "source" = tender.row.origin.source.as_str();
        "al" "as_of" = tender.row.origin.as_of;
        "fecha_adjudicacion" "awarded" =
            tender.award.as_ref().and_then(|award| award.date).or(tender.dates.awarded);
        "adjudicatarios" "winners" = winners(tender);
        "monto_adjudicado" "awarded_amount" = amount(tender.awarded_total().as_ref());
        "moneda_adjudicada" "awarded_currency" = currency(tender.awarded_total().as_ref());
    }

    PurchaseOrderRow as row {
        "codigo" "code" = row.code.as_str();
        "nombre" "name" = row.name.as_str();
        "estado" "state" = row.state.to_string();
        "fuente" "source" = row.origin.source.as_str();
        "al" "as_of" = row.origin.as_of;
    }

    PurchaseOrder as order {
        "codigo" "code" = order.row.code.as_str();
        "nombre" "name" = order.row.name.as_str();
        "estado" "state" = order.row.state.to_string();
        "licitacion" "tender" = order.tender_code.as_deref();
        "enviada" "sent" = order.sent;
        "neto" "net" = amount(order.net.as_ref());
        "impuestos" "taxes" = amount(order.taxes.as_ref());
        "total" "total" = amount(order.total.as_ref());
        "moneda" "currency" = currency(order.total.as_ref().or(order.net.as_ref()));
        "comprador" "buyer" = buyer(&order.buyer, |buyer| Some(&buyer.name));
        "rut_comprador" "buyer_tax_number" = buyer(&order.buyer, |buyer| buyer.tax_number.as_deref());
        "region" "region" = buyer(&order.buyer, |buyer| buyer.region.as_deref());
        "proveedor" "supplier" = order.supplier.as_ref().map(|supplier| supplier.name.as_str());
        "rut_proveedor" "supplier_tax_number" =
            order.supplier.as_ref().and_then(|supplier| supplier.tax_number.as_deref());
        "descripcion" "description" = order.description.as_str();
        "lineas" "lines" = order.items.len();
        "fuente" "source" = order.row.origin.source.as_str();
        "al" "as_of" = order.row.origin.as_of;
    }

    QuickPurchaseRow as row {
        "codigo" "code" = row.code.as_str();
        "nombre" "name" = row.name.as_str();
        "estado" "state" = row.state.to_string();
        "publicada" "published" = row.published;
        "cierre" "closes" = row.closes;
        "presupuesto" "budget" = amount(row.budget.as_ref());
        "moneda" "currency" = currency(row.budget.as_ref());
        "comprador" "buyer" = row.buyer_name.as_deref();
        "rut_comprador" "buyer_tax_number" = row.buyer_tax_number.as_deref();
        "region" "region" = row.region;
        "ofertas" "offers" = row.offers;
        "fuente" "source" = row.origin.source.as_str();
        "al" "as_of" = row.origin.as_of;
    }
}

impl Table for QuickPurchase {
    const COLUMNS: &'static [[&'static str; 2]] = QuickPurchaseRow::COLUMNS;

    fn cells(&self) -> Vec<Cell> {
        self.row.cells()
    }
}
