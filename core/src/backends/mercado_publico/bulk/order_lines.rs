//! Lines of purchase orders.

use serde::Serialize;

use super::cells::Cells;
use super::columns::columns;
use super::rows::BulkRow;
use super::sealed::ReadRow;
use crate::procure::store::StoredLine;
use crate::procure::{
    Buyer, Currency, Dispatch, LineItem, Money, OrderPayment, OrderState, OrderType, Origin, PurchaseOrder,
    PurchaseOrderRow, Supplier, Timestamp,
};

columns! {
    Column {
        Code = "Codigo", needed;
        Name = "Nombre", needed;
        Description = "Descripcion/Obervaciones" | "Descripcion/Observaciones" | "Descripcion";
        Kind = "CodigoAbreviadoTipoOC" | "Tipo";
        KindNumber = "CodigoTipo";
        State = "codigoEstado", needed;
        StateName = "Estado";
        DirectAward = "EsTratoDirecto";
        QuickPurchase = "EsCompraAgil";
        Procedure = "ProcedenciaOC";
        Created = "FechaCreacion", needed;
        Sent = "FechaEnvio";
        Accepted = "FechaAceptacion";
        Cancelled = "FechaCancelacion";
        Changed = "fechaUltimaModificacion";
        Total = "MontoTotalOC", needed;
        Currency = "TipoMonedaOC", needed;
        TotalInPesos = "MontoTotalOC_PesosChilenos";
        Net = "TotalNetoOC";
        Taxes = "Impuestos" | "ImpuestosOC";
        TaxPercent = "PorcentajeIva";
        Discounts = "Descuentos";
        Charges = "Cargos";
        Payment = "FormaPago";
        Dispatch = "TipoDespacho";
        TenderCode = "CodigoLicitacion";
        // Until 2019 the files have the number of a purchase plan in its place.
        AgreementCode = "Codigo_ConvenioMarco";
        BuyerCode = "CodigoOrganismoPublico", needed;
        BuyerName = "OrganismoPublico";
        BuyerTaxNumber = "RutUnidadCompra", needed;
        UnitCode = "CodigoUnidadCompra";
        UnitName = "UnidadCompra";
        Sector = "sector";
        BuyerCommune = "CiudadUnidadCompra";
        BuyerRegion = "RegionUnidadCompra";
        SupplierCode = "CodigoProveedor", needed;
        SupplierName = "NombreProveedor";
        SupplierTaxNumber = "RutSucursal", needed;
        BranchCode = "CodigoSucursal";
        SupplierCommune = "ComunaProveedor";
        SupplierRegion = "RegionProveedor";
        LineId = "IDItem", needed;
        Product = "codigoProductoONU", needed;
        ProductName = "NombreroductoGenerico" | "NombreProductoGenerico";
        Category = "codigoCategoria";
        CategoryName = "Categoria";
        FromBuyer = "EspecificacionComprador";
        FromSupplier = "EspecificacionProveedor";
        Quantity = "cantidad", needed;
        Unit = "UnidadMedida";
        ItemCurrency = "monedaItem", needed;
        Price = "precioNeto", needed;
        LineTotal = "totalLineaNeto", needed;
    } kept [
            "ID", "Link", "Tipo", "DescripcionTipoOC", "codigoEstadoProveedor", "EstadoProveedor",
            "FechaSolicitudCancelacion", "tieneItems", "PromedioCalificacion", "CantidadEvaluacion", "TipoImpuesto",
            "Financiamiento", "Pais", "Forma de Pago", "PaisUnidadCompra", "ActividadComprador", "Sucursal",
            "ActividadProveedor", "PaisProveedor", "RubroN1", "RubroN2", "RubroN3", "totalCargos", "totalDescuentos",
            "totalImpuestos", "idPlanDeCompra", "Descripcion",
        ] personal []
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
    type Column = Column;

    fn read(cells: &mut Cells<'_>, origin: Origin) -> Self {
        let item_currency = cells.currency(Column::ItemCurrency);
        Self {
            order: order(cells, origin),
            total_in_pesos: cells.money(Column::TotalInPesos, Some(&Currency::Clp)),
            direct_award: cells.boolean(Column::DirectAward),
            quick_purchase: cells.boolean(Column::QuickPurchase),
            procedure: cells.text(Column::Procedure),
            agreement_code: cells.text(Column::AgreementCode),
            sector: cells.text(Column::Sector),
            line_id: cells.integer(Column::LineId),
            item: item(cells, item_currency.as_ref()),
            unread: std::mem::take(&mut cells.unread),
        }
    }

    fn stored(cells: &mut Cells<'_>) -> StoredLine {
        let currency = cells.currency(Column::ItemCurrency);
        let sent = cells.time(Column::Sent).or_else(|| cells.time(Column::Created));
        StoredLine {
            code: cells.text_or_empty(Column::Code),
            line_id: cells.integer(Column::LineId),
            day: sent.map(Timestamp::date),
            state: state(cells).to_string(),
            buyer: cells.code(Column::BuyerCode),
            supplier: cells.text(Column::SupplierTaxNumber),
            supplier_name: cells.text(Column::SupplierName),
            product: cells.code(Column::Product),
            name: cells.text_or_empty(Column::ProductName),
            description: cells.text(Column::FromBuyer),
            quantity: cells.decimal(Column::Quantity),
            unit: cells.text(Column::Unit),
            unit_price: cells.money(Column::Price, currency.as_ref()),
            total: cells.money(Column::LineTotal, currency.as_ref()),
            ..StoredLine::default()
        }
    }
}

fn state(cells: &mut Cells<'_>) -> OrderState {
    let number = cells.integer(Column::State).map(OrderState::from_number);
    let known = number.clone().filter(|state| !matches!(state, OrderState::Unknown(_)));
    let name = || cells.text(Column::StateName).map(|name| OrderState::from(name.as_str()));
    known.or_else(name).or(number).unwrap_or_default()
}

fn order(cells: &mut Cells<'_>, origin: Origin) -> PurchaseOrder {
    let currency = cells.currency(Column::Currency);
    let currency = currency.as_ref();
    let state = state(cells);
    let row =
        PurchaseOrderRow::new(cells.text_or_empty(Column::Code), cells.text_or_empty(Column::Name), state);
    let kind = cells.text(Column::Kind).map(|kind| OrderType::from(kind.as_str()));
    PurchaseOrder {
        row: row.with_origin(origin),
        description: cells.text_or_empty(Column::Description),
        kind: kind.or_else(|| cells.integer(Column::KindNumber).map(OrderType::from_number)),
        tender_code: cells.text(Column::TenderCode),
        buyer: Some(buyer(cells)),
        supplier: Some(supplier(cells)),
        net: cells.money(Column::Net, currency),
        taxes: cells.money(Column::Taxes, currency),
        tax_percent: cells.decimal(Column::TaxPercent),
        discounts: cells.money(Column::Discounts, currency),
        charges: cells.money(Column::Charges, currency),
        total: cells.money(Column::Total, currency),
        payment: cells.integer(Column::Payment).map(OrderPayment::from_number),
        dispatch: cells.integer(Column::Dispatch).map(Dispatch::from_number),
        created: cells.time(Column::Created),
        sent: cells.time(Column::Sent),
        accepted: cells.time(Column::Accepted),
        cancelled: cells.time(Column::Cancelled),
        changed: cells.time(Column::Changed),
        items: Vec::new(),
    }
}

fn buyer(cells: &Cells<'_>) -> Buyer {
    Buyer {
        tax_number: cells.text(Column::BuyerTaxNumber),
        unit_code: cells.code(Column::UnitCode),
        unit_name: cells.text(Column::UnitName),
        commune: cells.text(Column::BuyerCommune),
        region: cells.text(Column::BuyerRegion),
        ..Buyer::new(
            cells.code(Column::BuyerCode).unwrap_or_default(),
            cells.text_or_empty(Column::BuyerName),
        )
    }
}

fn supplier(cells: &Cells<'_>) -> Supplier {
    let code = cells.code(Column::SupplierCode).unwrap_or_default();
    Supplier {
        tax_number: cells.text(Column::SupplierTaxNumber),
        branch_code: cells.code(Column::BranchCode),
        commune: cells.text(Column::SupplierCommune),
        region: cells.text(Column::SupplierRegion),
        ..Supplier::new(code, cells.text_or_empty(Column::SupplierName))
    }
}

fn item(cells: &mut Cells<'_>, currency: Option<&Currency>) -> LineItem {
    LineItem {
        description: cells.text(Column::FromBuyer),
        supplier_description: cells.text(Column::FromSupplier),
        product_code: cells.code(Column::Product),
        category_code: cells.code(Column::Category),
        category: cells.text(Column::CategoryName),
        quantity: cells.decimal(Column::Quantity),
        unit: cells.text(Column::Unit),
        unit_price: cells.money(Column::Price, currency),
        total: cells.money(Column::LineTotal, currency),
        ..LineItem::new(cells.text_or_empty(Column::ProductName))
    }
}
