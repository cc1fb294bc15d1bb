//! Lines of purchase orders.

use serde::Serialize;

use super::cells::Cells;
use super::columns::{ColumnNames, column_number};
use super::rows::BulkRow;
use super::sealed::ReadRow;
use crate::procure::store::StoredLine;
use crate::procure::{
    Buyer, Currency, Dispatch, LineItem, Money, OrderPayment, OrderState, OrderType, Origin, PurchaseOrder,
    PurchaseOrderRow, Supplier, Timestamp,
};

#[rustfmt::skip]
const COLUMNS: ColumnNames = &[
    "Codigo!", "Nombre!", "Descripcion/Obervaciones|Descripcion/Observaciones|Descripcion",
    "CodigoAbreviadoTipoOC|Tipo", "CodigoTipo", "codigoEstado!", "Estado", "EsTratoDirecto",
    "EsCompraAgil", "ProcedenciaOC", "FechaCreacion!", "FechaEnvio", "FechaAceptacion",
    "FechaCancelacion", "fechaUltimaModificacion", "MontoTotalOC!", "TipoMonedaOC!",
    "MontoTotalOC_PesosChilenos", "TotalNetoOC", "Impuestos|ImpuestosOC", "PorcentajeIva", "Descuentos",
    "Cargos", "FormaPago", "TipoDespacho", "CodigoLicitacion", "Codigo_ConvenioMarco",
    "CodigoOrganismoPublico!", "OrganismoPublico", "RutUnidadCompra!", "CodigoUnidadCompra",
    "UnidadCompra", "sector", "CiudadUnidadCompra", "RegionUnidadCompra", "CodigoProveedor!",
    "NombreProveedor", "RutSucursal!", "CodigoSucursal", "ComunaProveedor", "RegionProveedor",
    "IDItem!", "codigoProductoONU!", "NombreroductoGenerico|NombreProductoGenerico", "codigoCategoria",
    "Categoria", "EspecificacionComprador", "EspecificacionProveedor", "cantidad!", "UnidadMedida",
    "monedaItem!", "precioNeto!", "totalLineaNeto!", "ID", "Link", "Tipo", "DescripcionTipoOC",
    "codigoEstadoProveedor", "EstadoProveedor", "FechaSolicitudCancelacion", "tieneItems",
    "PromedioCalificacion", "CantidadEvaluacion", "TipoImpuesto", "Financiamiento", "Pais",
    "Forma de Pago", "PaisUnidadCompra", "ActividadComprador", "Sucursal", "ActividadProveedor",
    "PaisProveedor", "RubroN1", "RubroN2", "RubroN3", "totalCargos", "totalDescuentos",
    "totalImpuestos", "idPlanDeCompra", "Descripcion",
];

const PERSONAL: ColumnNames = &[];

macro_rules! column {
    ($name:literal) => {
        const { column_number(COLUMNS, $name) }
    };
}

/// A line of a purchase order, from a monthly file. The files have days without times; a day is read as the midnight at
/// its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OrderLine {
    /// The order, without its lines. `raw` is the whole row of the file.
    pub order: PurchaseOrder,
    /// The order's total in pesos, as the source converted it. Lines are not converted.
    pub total_in_pesos: Option<Money>,
    /// Whether it was awarded without a tender.
    pub direct_award: Option<bool>,
    /// Whether it comes from a quick purchase (Compra Ágil).
    pub quick_purchase: Option<bool>,
    /// The procedure, in the source's words.
    pub procedure: Option<String>,
    /// The framework agreement.
    pub agreement_code: Option<String>,
    /// The buyer's sector of the state.
    pub sector: Option<String>,
    /// The source's number of the line.
    pub line_id: Option<i64>,
    /// The line. Its currency may differ from the order's.
    pub item: LineItem,
    /// The columns that could not be parsed; `raw` has their content.
    pub unread: Vec<&'static str>,
}

impl BulkRow for OrderLine {}

impl ReadRow for OrderLine {
    const COLUMNS: ColumnNames = COLUMNS;
    const PERSONAL: ColumnNames = PERSONAL;

    fn read(cells: &mut Cells<'_>, origin: Origin) -> Self {
        let item_currency = cells.currency(column!("monedaItem"));
        Self {
            order: order(cells, origin),
            total_in_pesos: cells.money(column!("MontoTotalOC_PesosChilenos"), Some(&Currency::Clp)),
            direct_award: cells.boolean(column!("EsTratoDirecto")),
            quick_purchase: cells.boolean(column!("EsCompraAgil")),
            procedure: cells.text(column!("ProcedenciaOC")),
            agreement_code: cells.text(column!("Codigo_ConvenioMarco")),
            sector: cells.text(column!("sector")),
            line_id: cells.integer(column!("IDItem")),
            item: item(cells, item_currency.as_ref()),
            unread: std::mem::take(&mut cells.unread),
        }
    }

    fn stored(cells: &mut Cells<'_>) -> StoredLine {
        let currency = cells.currency(column!("monedaItem"));
        let sent = cells.time(column!("FechaEnvio")).or_else(|| cells.time(column!("FechaCreacion")));
        StoredLine {
            code: cells.text_or_empty(column!("Codigo")),
            line_id: cells.integer(column!("IDItem")),
            day: sent.map(Timestamp::date),
            state: state(cells).to_string(),
            buyer: cells.code(column!("CodigoOrganismoPublico")),
            supplier: cells.text(column!("RutSucursal")),
            supplier_name: cells.text(column!("NombreProveedor")),
            product: cells.code(column!("codigoProductoONU")),
            name: cells.text_or_empty(column!("NombreroductoGenerico")),
            description: cells.text(column!("EspecificacionComprador")),
            quantity: cells.decimal(column!("cantidad")),
            unit: cells.text(column!("UnidadMedida")),
            unit_price: cells.money(column!("precioNeto"), currency.as_ref()),
            total: cells.money(column!("totalLineaNeto"), currency.as_ref()),
            ..StoredLine::default()
        }
    }
}

fn state(cells: &mut Cells<'_>) -> OrderState {
    let number = cells.integer(column!("codigoEstado")).map(OrderState::from_number);
    let known = number.clone().filter(|state| !matches!(state, OrderState::Unknown(_)));
    let name = || cells.text(column!("Estado")).map(|name| OrderState::from(name.as_str()));
    known.or_else(name).or(number).unwrap_or_default()
}

fn order(cells: &mut Cells<'_>, origin: Origin) -> PurchaseOrder {
    let currency = cells.currency(column!("TipoMonedaOC"));
    let currency = currency.as_ref();
    let state = state(cells);
    let row = PurchaseOrderRow::new(
        cells.text_or_empty(column!("Codigo")),
        cells.text_or_empty(column!("Nombre")),
        state,
    );
    let kind = cells.text(column!("CodigoAbreviadoTipoOC")).map(|kind| OrderType::from(kind.as_str()));
    PurchaseOrder {
        row: row.with_origin(origin),
        description: cells.text_or_empty(column!("Descripcion/Obervaciones")),
        kind: kind.or_else(|| cells.integer(column!("CodigoTipo")).map(OrderType::from_number)),
        tender_code: cells.text(column!("CodigoLicitacion")),
        buyer: Some(buyer(cells)),
        supplier: Some(supplier(cells)),
        net: cells.money(column!("TotalNetoOC"), currency),
        taxes: cells.money(column!("Impuestos"), currency),
        tax_percent: cells.decimal(column!("PorcentajeIva")),
        discounts: cells.money(column!("Descuentos"), currency),
        charges: cells.money(column!("Cargos"), currency),
        total: cells.money(column!("MontoTotalOC"), currency),
        payment: cells.integer(column!("FormaPago")).map(OrderPayment::from_number),
        dispatch: cells.integer(column!("TipoDespacho")).map(Dispatch::from_number),
        created: cells.time(column!("FechaCreacion")),
        sent: cells.time(column!("FechaEnvio")),
        accepted: cells.time(column!("FechaAceptacion")),
        cancelled: cells.time(column!("FechaCancelacion")),
        changed: cells.time(column!("fechaUltimaModificacion")),
        items: Vec::new(),
    }
}

fn buyer(cells: &Cells<'_>) -> Buyer {
    Buyer {
        tax_number: cells.text(column!("RutUnidadCompra")),
        unit_code: cells.code(column!("CodigoUnidadCompra")),
        unit_name: cells.text(column!("UnidadCompra")),
        commune: cells.text(column!("CiudadUnidadCompra")),
        region: cells.text(column!("RegionUnidadCompra")),
        ..Buyer::new(
            cells.code(column!("CodigoOrganismoPublico")).unwrap_or_default(),
            cells.text_or_empty(column!("OrganismoPublico")),
        )
    }
}

fn supplier(cells: &Cells<'_>) -> Supplier {
    let code = cells.code(column!("CodigoProveedor")).unwrap_or_default();
    Supplier {
        tax_number: cells.text(column!("RutSucursal")),
        branch_code: cells.code(column!("CodigoSucursal")),
        commune: cells.text(column!("ComunaProveedor")),
        region: cells.text(column!("RegionProveedor")),
        ..Supplier::new(code, cells.text_or_empty(column!("NombreProveedor")))
    }
}

fn item(cells: &mut Cells<'_>, currency: Option<&Currency>) -> LineItem {
    LineItem {
        description: cells.text(column!("EspecificacionComprador")),
        supplier_description: cells.text(column!("EspecificacionProveedor")),
        product_code: cells.code(column!("codigoProductoONU")),
        category_code: cells.code(column!("codigoCategoria")),
        category: cells.text(column!("Categoria")),
        quantity: cells.decimal(column!("cantidad")),
        unit: cells.text(column!("UnidadMedida")),
        unit_price: cells.money(column!("precioNeto"), currency),
        total: cells.money(column!("totalLineaNeto"), currency),
        ..LineItem::new(cells.text_or_empty(column!("NombreroductoGenerico")))
    }
}
