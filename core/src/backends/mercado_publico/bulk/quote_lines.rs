//! Quotes for quick purchases (Compra Ágil), including those that lost.

use serde::Serialize;

use super::cells::Cells;
use super::columns::columns;
use super::rows::BulkRow;
use super::sealed::ReadRow;
use crate::procure::store::StoredLine;
use crate::procure::{
    Buyer, Contact, LineItem, Origin, QuickPurchase, QuickPurchaseRow, QuickPurchaseState, Quote, Region,
    Supplier, Timestamp,
};

columns! {
    Column {
        BodyName = "NombreOOPP";
        LegalName = "RazonSocialUnidaddeCompra";
        UnitName = "NombreUnidaddeCompra";
        BuyerTaxNumber = "RUTUnidaddeCompra", needed;
        UnitCode = "CodigoUnidaddeCompra";
        Code = "CodigoCotizacion", needed;
        Name = "NombreCotizacion", needed;
        Description = "DescripcionCotizacion";
        Address = "DireccionEntrega";
        Region = "Region";
        Published = "FechaPublicacionParaCotizar", needed;
        Closes = "FechaCierreParaCotizar";
        Days = "PlazoEntrega";
        Budget = "MontoTotalDisponble" | "MontoTotalDisponible", needed;
        ItemDescription = "ProductoCotizado";
        Product = "CodigoProducto", needed;
        ProductName = "NombreProductoGenerico";
        Quantity = "CantidadSolicitada", needed;
        State = "Estado", needed;
        ContactName = "NOMBRECONTACTO";
        SupplierName = "RazonSocialProveedor";
        SupplierTaxNumber = "RUTProveedor", needed;
        Size = "Tamano" | "Tamaño";
        QuoteDescription = "DetalleCotizacion";
        Chosen = "ProveedorSeleccionado", needed;
        Currency = "moneda", needed;
        Total = "MontoTotal", needed;
        Criterion = "NombreCriterio";
        OrderCode = "CodigoOC";
        OrderState = "EstadoOC";
        OrderAccepted = "FechaAceptacionOCProveedor";
        CancelReason = "MotivoCancelacion";
    } kept ["ConsideraRequisitosMedioambientales", "ConsideraRequisitosImpactoSocialEconomico"] personal ["NOMBRECONTACTO"]
}

/// A supplier's quote for a product of a quick purchase, or a product without quotes, from a monthly file. The files have
/// days without times; a day is read as the midnight at its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QuoteLine {
    /// The purchase, without its lines and quotes. `raw` is the whole row of the file.
    pub purchase: QuickPurchase,
    /// The product.
    pub item: LineItem,
    /// The quote, if the row has one. Its total is for the whole purchase.
    pub quote: Option<Quote>,
    /// The supplier's size, in the source's words: `MiPyme`.
    pub supplier_size: Option<String>,
    /// Why the supplier was chosen, in the buyer's words.
    pub criterion: Option<String>,
    /// The state of the resulting order, in the source's words.
    pub order_state: Option<String>,
    /// When the supplier accepted that order.
    pub order_accepted: Option<Timestamp>,
    /// Why the purchase was cancelled.
    pub cancel_reason: Option<String>,
    /// The columns that could not be parsed; `raw` has their content.
    pub unread: Vec<&'static str>,
}

impl BulkRow for QuoteLine {}

impl ReadRow for QuoteLine {
    type Column = Column;

    fn read(cells: &mut Cells<'_>, origin: Origin) -> Self {
        Self {
            purchase: purchase(cells, origin),
            item: LineItem {
                description: cells.text(Column::ItemDescription),
                product_code: cells.code(Column::Product),
                quantity: cells.decimal(Column::Quantity),
                ..LineItem::new(cells.text_or_empty(Column::ProductName))
            },
            quote: quote(cells),
            supplier_size: cells.text(Column::Size),
            criterion: cells.text(Column::Criterion),
            order_state: cells.text(Column::OrderState),
            order_accepted: cells.time(Column::OrderAccepted),
            cancel_reason: cells.text(Column::CancelReason),
            unread: std::mem::take(&mut cells.unread),
        }
    }

    fn stored(cells: &mut Cells<'_>) -> StoredLine {
        let currency = cells.currency(Column::Currency);
        StoredLine {
            code: cells.text_or_empty(Column::Code),
            day: cells.time(Column::Published).map(Timestamp::date),
            state: state(cells).to_string(),
            buyer: cells.text(Column::BuyerTaxNumber),
            supplier: cells.text(Column::SupplierTaxNumber),
            supplier_name: cells.text(Column::SupplierName),
            product: cells.code(Column::Product),
            name: cells.text_or_empty(Column::ProductName),
            description: cells.text(Column::ItemDescription),
            quantity: cells.decimal(Column::Quantity),
            total: cells.money(Column::Total, currency.as_ref()),
            chosen: cells.boolean(Column::Chosen),
            ..StoredLine::default()
        }
    }
}

fn state(cells: &Cells<'_>) -> QuickPurchaseState {
    cells.text(Column::State).map(|state| QuickPurchaseState::from(state.as_str())).unwrap_or_default()
}

fn purchase(cells: &mut Cells<'_>, origin: Origin) -> QuickPurchase {
    let region = cells.text(Column::Region);
    let name = cells.text(Column::BodyName).or_else(|| cells.text(Column::LegalName));
    let tax_number = cells.text(Column::BuyerTaxNumber);
    let contact = cells.text(Column::ContactName);
    let currency = cells.currency(Column::Currency);
    QuickPurchase {
        row: QuickPurchaseRow {
            published: cells.time(Column::Published),
            closes: cells.time(Column::Closes),
            // The one column of currencies stands for both amounts of the row.
            budget: cells.money(Column::Budget, currency.as_ref()),
            buyer_name: name.clone(),
            buyer_tax_number: tax_number.clone(),
            region: region.as_deref().and_then(|name| Region::from(name).numbers().first().copied()),
            ..QuickPurchaseRow::new(
                cells.text_or_empty(Column::Code),
                cells.text_or_empty(Column::Name),
                state(cells),
            )
        }
        .with_origin(origin),
        description: cells.text_or_empty(Column::Description),
        buyer: Some(Buyer {
            tax_number,
            unit_code: cells.code(Column::UnitCode),
            unit_name: cells.text(Column::UnitName),
            region,
            contact: contact.map(|name| Contact { name: Some(name), ..Contact::default() }),
            ..Buyer::new("", name.unwrap_or_default())
        }),
        delivery_address: cells.text(Column::Address),
        delivery_days: cells.integer(Column::Days),
        order_code: cells.text(Column::OrderCode),
        ..QuickPurchase::default()
    }
}

fn quote(cells: &mut Cells<'_>) -> Option<Quote> {
    let tax_number = cells.text(Column::SupplierTaxNumber);
    let name = cells.text(Column::SupplierName);
    if tax_number.is_none() && name.is_none() {
        return None;
    }
    let currency = cells.currency(Column::Currency);
    Some(Quote {
        supplier: Supplier { tax_number, ..Supplier::new("", name.unwrap_or_default()) },
        description: cells.text(Column::QuoteDescription),
        total: cells.money(Column::Total, currency.as_ref()),
        chosen: cells.boolean(Column::Chosen),
        ..Quote::default()
    })
}
