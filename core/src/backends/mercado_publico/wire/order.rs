//! The detail of a purchase order in v1.

use super::Body;
use super::tender::{CONTACT, buyer, code, contact, lines};
use super::v1::{self, V1};
use crate::error::Result;
use crate::procure::json::Fields;
use crate::procure::{
    Currency, Dispatch, LineItem, OrderPayment, OrderState, OrderType, PurchaseOrder, PurchaseOrderRow,
    Supplier,
};

/// Reads a detail answer: a list of one order, or an empty one.
pub(crate) fn read(body: &Body) -> Result<V1<PurchaseOrder>> {
    v1::read(body, |fields| order(body, fields))
}

fn order(body: &Body, fields: &Fields<'_>) -> PurchaseOrder {
    let times = fields.object("Fechas").unwrap_or_default();
    let time = |name| times.time(name, body.mark);
    let currency = fields.currency("TipoMoneda");
    let money = |name| fields.money(name, currency.as_ref());
    let number = fields.whole("CodigoEstado").map(OrderState::from_number);
    let name = fields.text("Estado").map(|name| OrderState::from(name.as_str()));
    let state = number.filter(|state| !matches!(state, OrderState::Unknown(_))).or(name).unwrap_or_default();
    PurchaseOrder {
        row: PurchaseOrderRow::new(fields.text_or_empty("Codigo"), fields.text_or_empty("Nombre"), state),
        description: fields.text_or_empty("Descripcion"),
        kind: fields
            .text("Tipo")
            .map(|kind| OrderType::from(kind.as_str()))
            .or_else(|| fields.whole("CodigoTipo").map(OrderType::from_number)),
        tender_code: fields.text("CodigoLicitacion"),
        buyer: fields.object("Comprador").map(|fields| buyer(&fields)),
        supplier: fields.object("Proveedor").map(|fields| supplier(&fields)),
        net: money("TotalNeto"),
        taxes: money("Impuestos"),
        tax_percent: fields.decimal("PorcentajeIva"),
        discounts: money("Descuentos"),
        charges: money("Cargos"),
        total: money("Total"),
        payment: fields.whole("FormaPago").map(OrderPayment::from_number),
        dispatch: fields.whole("TipoDespacho").map(Dispatch::from_number),
        created: time("FechaCreacion"),
        sent: time("FechaEnvio"),
        accepted: time("FechaAceptacion"),
        cancelled: time("FechaCancelacion"),
        changed: time("FechaUltimaModificacion"),
        items: lines(fields, |line| item(line, currency.as_ref())),
    }
}

/// The tax number is that of the branch; `Codigo` is an internal number.
fn supplier(fields: &Fields<'_>) -> Supplier {
    Supplier {
        tax_number: fields.text("RutSucursal"),
        branch_code: fields.text("CodigoSucursal"),
        commune: fields.text("Comuna"),
        region: fields.text("Region"),
        contact: contact(fields, CONTACT),
        ..Supplier::new(fields.text_or_empty("Codigo"), fields.text_or_empty("Nombre"))
    }
}

/// A line has its own currency. Under a framework agreement, product and category are empty.
fn item(fields: &Fields<'_>, of_order: Option<&Currency>) -> LineItem {
    let own = fields.currency("Moneda");
    let currency = own.as_ref().or(of_order);
    LineItem {
        number: fields.whole("Correlativo"),
        description: fields.text("EspecificacionComprador"),
        supplier_description: fields.text("EspecificacionProveedor"),
        product_code: code(fields, "CodigoProducto"),
        category_code: code(fields, "CodigoCategoria"),
        category: fields.text("Categoria"),
        quantity: fields.decimal("Cantidad"),
        unit: fields.text("Unidad"),
        unit_price: fields.money("PrecioNeto", currency),
        total: fields.money("Total", currency),
        ..LineItem::new(fields.text_or_empty("Producto"))
    }
}
