//! Quotes for quick purchases (Compra Ágil), including those that lost.

use serde::Serialize;

use super::cells::Cells;
use super::columns::{ColumnNames, column_number};
use super::rows::BulkRow;
use super::sealed::ReadRow;
use crate::procure::store::StoredLine;
use crate::procure::{
    Buyer, Contact, LineItem, Origin, QuickPurchase, QuickPurchaseRow, QuickPurchaseState, Quote, Region,
    Supplier, Timestamp,
};

#[rustfmt::skip]
const COLUMNS: ColumnNames = &[
    "NombreOOPP", "RazonSocialUnidaddeCompra", "NombreUnidaddeCompra", "RUTUnidaddeCompra!",
    "CodigoUnidaddeCompra", "CodigoCotizacion!", "NombreCotizacion!", "DescripcionCotizacion",
    "DireccionEntrega", "Region", "FechaPublicacionParaCotizar!", "FechaCierreParaCotizar",
    "PlazoEntrega", "MontoTotalDisponble|MontoTotalDisponible!", "ProductoCotizado", "CodigoProducto!",
    "NombreProductoGenerico", "CantidadSolicitada!", "Estado!", "NOMBRECONTACTO",
    "RazonSocialProveedor", "RUTProveedor!", "Tamano|Tamaño", "DetalleCotizacion",
    "ProveedorSeleccionado!", "moneda!", "MontoTotal!", "NombreCriterio", "CodigoOC", "EstadoOC",
    "FechaAceptacionOCProveedor", "MotivoCancelacion", "ConsideraRequisitosMedioambientales",
    "ConsideraRequisitosImpactoSocialEconomico",
];

#[rustfmt::skip]
const PERSONAL: ColumnNames = &["NOMBRECONTACTO"];

macro_rules! column {
    ($name:literal) => {
        const { column_number(COLUMNS, $name) }
    };
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
    const COLUMNS: ColumnNames = COLUMNS;
    const PERSONAL: ColumnNames = PERSONAL;

    fn read(cells: &mut Cells<'_>, origin: Origin) -> Self {
        Self {
            purchase: purchase(cells, origin),
            item: LineItem {
                description: cells.text(column!("ProductoCotizado")),
                product_code: cells.code(column!("CodigoProducto")),
                quantity: cells.decimal(column!("CantidadSolicitada")),
                ..LineItem::new(cells.text_or_empty(column!("NombreProductoGenerico")))
            },
            quote: quote(cells),
            supplier_size: cells.text(column!("Tamano")),
            criterion: cells.text(column!("NombreCriterio")),
            order_state: cells.text(column!("EstadoOC")),
            order_accepted: cells.time(column!("FechaAceptacionOCProveedor")),
            cancel_reason: cells.text(column!("MotivoCancelacion")),
            unread: std::mem::take(&mut cells.unread),
        }
    }

    fn stored(cells: &mut Cells<'_>) -> StoredLine {
        let currency = cells.currency(column!("moneda"));
        StoredLine {
            code: cells.text_or_empty(column!("CodigoCotizacion")),
            day: cells.time(column!("FechaPublicacionParaCotizar")).map(Timestamp::date),
            state: state(cells).to_string(),
            buyer: cells.text(column!("RUTUnidaddeCompra")),
            supplier: cells.text(column!("RUTProveedor")),
            supplier_name: cells.text(column!("RazonSocialProveedor")),
            product: cells.code(column!("CodigoProducto")),
            name: cells.text_or_empty(column!("NombreProductoGenerico")),
            description: cells.text(column!("ProductoCotizado")),
            quantity: cells.decimal(column!("CantidadSolicitada")),
            total: cells.money(column!("MontoTotal"), currency.as_ref()),
            chosen: cells.boolean(column!("ProveedorSeleccionado")),
            ..StoredLine::default()
        }
    }
}

fn state(cells: &Cells<'_>) -> QuickPurchaseState {
    cells.text(column!("Estado")).map(|state| QuickPurchaseState::from(state.as_str())).unwrap_or_default()
}

fn purchase(cells: &mut Cells<'_>, origin: Origin) -> QuickPurchase {
    let region = cells.text(column!("Region"));
    let name = cells.text(column!("NombreOOPP")).or_else(|| cells.text(column!("RazonSocialUnidaddeCompra")));
    let tax_number = cells.text(column!("RUTUnidaddeCompra"));
    let contact = cells.text(column!("NOMBRECONTACTO"));
    let currency = cells.currency(column!("moneda"));
    QuickPurchase {
        row: QuickPurchaseRow {
            published: cells.time(column!("FechaPublicacionParaCotizar")),
            closes: cells.time(column!("FechaCierreParaCotizar")),
            // The one column of currencies stands for both amounts of the row.
            budget: cells.money(column!("MontoTotalDisponble"), currency.as_ref()),
            buyer_name: name.clone(),
            buyer_tax_number: tax_number.clone(),
            region: region.as_deref().and_then(|name| Region::from(name).numbers().first().copied()),
            ..QuickPurchaseRow::new(
                cells.text_or_empty(column!("CodigoCotizacion")),
                cells.text_or_empty(column!("NombreCotizacion")),
                state(cells),
            )
        }
        .with_origin(origin),
        description: cells.text_or_empty(column!("DescripcionCotizacion")),
        buyer: Some(Buyer {
            tax_number,
            unit_code: cells.code(column!("CodigoUnidaddeCompra")),
            unit_name: cells.text(column!("NombreUnidaddeCompra")),
            region,
            contact: contact.map(|name| Contact { name: Some(name), ..Contact::default() }),
            ..Buyer::new("", name.unwrap_or_default())
        }),
        delivery_address: cells.text(column!("DireccionEntrega")),
        delivery_days: cells.integer(column!("PlazoEntrega")),
        order_code: cells.text(column!("CodigoOC")),
        environmental_requirements: cells.boolean(column!("ConsideraRequisitosMedioambientales")),
        social_requirements: cells.boolean(column!("ConsideraRequisitosImpactoSocialEconomico")),
        cancel_reason: cells.text(column!("MotivoCancelacion")),
        ..QuickPurchase::default()
    }
}

fn quote(cells: &mut Cells<'_>) -> Option<Quote> {
    let tax_number = cells.text(column!("RUTProveedor"));
    let name = cells.text(column!("RazonSocialProveedor"));
    if tax_number.is_none() && name.is_none() {
        return None;
    }
    let currency = cells.currency(column!("moneda"));
    Some(Quote {
        supplier: Supplier { tax_number, ..Supplier::new("", name.unwrap_or_default()) },
        description: cells.text(column!("DetalleCotizacion")),
        total: cells.money(column!("MontoTotal"), currency.as_ref()),
        chosen: cells.boolean(column!("ProveedorSeleccionado")),
        ..Quote::default()
    })
}
