//! Offers for the lines of tenders, including those that lost.

use serde::Serialize;

use super::cells::Cells;
use super::columns::columns;
use super::rows::BulkRow;
use super::sealed::ReadRow;
use crate::procure::store::StoredLine;
use crate::procure::tables::folded;
use crate::procure::{
    Award, Buyer, Currency, Decimal, Estimation, LineItem, Money, Origin, PaymentTerm, Supplier, Tender,
    TenderDates, TenderRow, TenderState, TenderType, TimeUnit, Timestamp,
};

columns! {
    Column {
        Code = "CodigoExterno", needed;
        Name = "Nombre", needed;
        Description = "Descripcion";
        State = "CodigoEstado", needed;
        StateName = "Estado";
        Kind = "Tipo";
        BuyerCode = "CodigoOrganismo", needed;
        BuyerName = "NombreOrganismo";
        Sector = "sector";
        BuyerTaxNumber = "RutUnidad", needed;
        UnitCode = "CodigoUnidad";
        UnitName = "NombreUnidad";
        BuyerAddress = "DireccionUnidad";
        BuyerCommune = "ComunaUnidad";
        BuyerRegion = "RegionUnidad";
        Currency = "CodigoMoneda", needed;
        EstimatedAmount = "MontoEstimado";
        Estimation = "Estimacion";
        Payment = "Modalidad";
        Duration = "TiempoDuracionContrato";
        DurationUnit = "UnidadTiempoDuracionContrato";
        Criteria = "CriteriosEvaluacion";
        Bidders = "NumeroOferentes";
        ActNumber = "NumeroAprobacion";
        ActDate = "FechaAprobacion";
        Created = "FechaCreacion";
        Closes = "FechaCierre", needed;
        QuestionsFrom = "FechaInicio";
        QuestionsUntil = "FechaFinal";
        Answers = "FechaPubRespuestas";
        TechnicalOpening = "FechaActoAperturaTecnica";
        EconomicOpening = "FechaActoAperturaEconomica";
        Published = "FechaPublicacion", needed;
        Awarded = "FechaAdjudicacion";
        ExpectedAward = "FechaEstimadaAdjudicacion";
        ExpectedSignature = "FechaEstimadaFirma";
        SiteVisit = "FechaVisitaTerreno";
        LineId = "Codigoitem", needed;
        LineNumber = "Correlativo";
        Product = "CodigoProductoONU", needed;
        ProductName = "Nombre producto genrico" | "Nombre producto genérico";
        Category1 = "Rubro1";
        Category2 = "Rubro2";
        Category3 = "Rubro3";
        LineName = "Nombre linea Adquisicion";
        LineDescription = "Descripcion linea Adquisicion";
        Unit = "UnidadMedida";
        Quantity = "Cantidad", needed;
        SupplierCode = "CodigoProveedor";
        BranchCode = "CodigoSucursalProveedor";
        SupplierTaxNumber = "RutProveedor", needed;
        SupplierName = "NombreProveedor";
        LegalName = "RazonSocialProveedor";
        OfferName = "Nombre de la Oferta";
        OfferDescription = "DescripcionProveedor";
        OfferState = "Estado Oferta";
        OfferedQuantity = "Cantidad Ofertada";
        OfferCurrency = "Moneda de la Oferta";
        OfferPrice = "MontoUnitarioOferta", needed;
        OfferTotal = "Valor Total Ofertado";
        AwardedQuantity = "CantidadAdjudicada";
        AwardedTotal = "MontoLineaAdjudica";
        OfferSent = "FechaEnvioOferta";
        Selected = "Oferta seleccionada" | "Estado final Oferta", needed;
    } kept [
            "Codigo", "Link", "Tipo de Adquisicion", "Informada", "CodigoTipo", "TipoConvocatoria",
            "Moneda Adquisicion", "Etapas", "EstadoEtapas", "TomaRazon", "EstadoPublicidadOfertas",
            "JustificacionPublicidad", "EstadoCS", "Contrato", "Obras", "CantidadReclamos", "FechaSoporteFisico",
            "FechaTiempoEvaluacion", "UnidadTiempoEvaluacion", "FechasUsuario", "DireccionVisita",
            "FechaEntregaAntecedentes", "DireccionEntrega", "FuenteFinanciamiento", "VisibilidadMonto", "Tiempo",
            "UnidadTiempo", "TipoPago", "ProhibicionContratacion", "SubContratacion", "TipoDuracionContrato",
            "JustificacionMontoEstimado", "ObservacionContrato", "ObservacionContract", "ExtensionPlazo", "EsBaseTipo",
            "UnidadTiempoContratoLicitacion", "ValorTiempoRenovacion", "PeriodoTiempoRenovacion", "EsRenovable",
            "TipoAprobacion", "CodigoEstadoLicitacion", "Monto Estimado Adjudicado", "UnidadMedida.1",
            "Estado final Oferta", "CriteriosRequisitosAmbientales", "DescripcionCriteriosRequisitosAmbientales",
            "CriteriosRequisitosSociales", "DescripcionCriteriosRequisitosSociales",
            "DescripcionCriteriosRequisitosSociales.1", "CodigoBIP", "RutUsuario", "CodigoUsuario", "NombreUsuario",
            "CargoUsuario", "NombreResponsablePago", "EmailResponsablePago", "NombreResponsableContrato",
            "EmailResponsableContrato", "FonoResponsableContrato",
        ] personal [
            "RutUsuario", "CodigoUsuario", "NombreUsuario", "CargoUsuario", "NombreResponsablePago",
            "EmailResponsablePago", "NombreResponsableContrato", "EmailResponsableContrato", "FonoResponsableContrato",
        ]
}

/// An offer for a line of a tender, or a line without offers, from a monthly file. The files have days without times; a
/// day is read as the midnight at its start, so that a deadline is never too late.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TenderOffer {
    /// The tender, without its lines. `raw` is the whole row of the file.
    pub tender: Tender,
    /// The buyer's sector of the state.
    pub sector: Option<String>,
    /// The criteria for offers, in the buyer's words.
    pub criteria: Option<String>,
    /// The source's number of the line.
    pub line_id: Option<i64>,
    /// The line.
    pub item: LineItem,
    /// The offer, if the row has one.
    pub offer: Option<Offer>,
    /// The columns that could not be parsed; `raw` has their content.
    pub unread: Vec<&'static str>,
}

/// An offer for a line.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Offer {
    /// The supplier.
    pub supplier: Supplier,
    /// The supplier's legal name, which may differ from the name of its branch.
    pub legal_name: Option<String>,
    /// The offer's name.
    pub name: Option<String>,
    /// The offer's description.
    pub description: Option<String>,
    /// The state of the offer, in the source's words.
    pub state: Option<String>,
    /// The offered quantity.
    pub quantity: Option<Decimal>,
    /// The price per unit.
    pub unit_price: Option<Money>,
    /// The price of the line.
    pub total: Option<Money>,
    /// Whether it was chosen.
    pub selected: Option<bool>,
    /// The awarded quantity.
    pub awarded_quantity: Option<Decimal>,
    /// The awarded amount.
    pub awarded_total: Option<Money>,
    /// When it was sent.
    pub sent: Option<Timestamp>,
}

impl BulkRow for TenderOffer {}

impl ReadRow for TenderOffer {
    type Column = Column;

    fn read(cells: &mut Cells<'_>, origin: Origin) -> Self {
        Self {
            tender: tender(cells, origin),
            sector: cells.text(Column::Sector),
            criteria: cells.text(Column::Criteria),
            line_id: cells.integer(Column::LineId),
            item: item(cells),
            offer: offer(cells),
            unread: std::mem::take(&mut cells.unread),
        }
    }

    fn stored(cells: &mut Cells<'_>) -> StoredLine {
        let currency = offer_currency(cells);
        StoredLine {
            code: cells.text_or_empty(Column::Code),
            line_id: cells.integer(Column::LineId),
            day: cells.time(Column::Published).map(Timestamp::date),
            state: state(cells).to_string(),
            buyer: cells.code(Column::BuyerCode),
            supplier: cells.text(Column::SupplierTaxNumber),
            supplier_name: cells.text(Column::SupplierName),
            product: cells.code(Column::Product),
            name: name(cells),
            description: cells.text(Column::LineDescription),
            quantity: cells.decimal(Column::Quantity),
            unit: cells.text(Column::Unit),
            unit_price: cells.money(Column::OfferPrice, currency.as_ref()),
            total: cells.money(Column::OfferTotal, currency.as_ref()),
            chosen: chosen(cells),
            ..StoredLine::default()
        }
    }
}

fn state(cells: &mut Cells<'_>) -> TenderState {
    let number = cells.integer(Column::State).map(TenderState::from_number);
    let known = number.clone().filter(|state| !matches!(state, TenderState::Unknown(_)));
    let name = || cells.text(Column::StateName).map(|name| TenderState::from(name.as_str()));
    known.or_else(name).or(number).unwrap_or_default()
}

fn offer_currency(cells: &Cells<'_>) -> Option<Currency> {
    cells.currency(Column::OfferCurrency).or_else(|| cells.currency(Column::Currency))
}

/// The name of the line, else of its product.
fn name(cells: &Cells<'_>) -> String {
    cells.text(Column::LineName).or_else(|| cells.text(Column::ProductName)).unwrap_or_default()
}

fn chosen(cells: &Cells<'_>) -> Option<bool> {
    selected(&cells.text(Column::Selected)?)
}

fn tender(cells: &mut Cells<'_>, origin: Origin) -> Tender {
    let state = state(cells);
    let decided = matches!(state, TenderState::Awarded | TenderState::Deserted);
    let currency = cells.currency(Column::Currency);
    let duration = cells.decimal(Column::Duration).zip(time_unit(cells));
    Tender {
        row: TenderRow {
            closes: cells.time(Column::Closes),
            origin,
            ..TenderRow::new(cells.text_or_empty(Column::Code), cells.text_or_empty(Column::Name), state)
        },
        description: cells.text_or_empty(Column::Description),
        kind: cells.text(Column::Kind).map(|kind| TenderType::from(kind.as_str())),
        buyer: Some(buyer(cells)),
        estimated_amount: cells.money(Column::EstimatedAmount, currency.as_ref()),
        estimation: cells.integer(Column::Estimation).map(Estimation::from_number),
        payment: cells.text(Column::Payment).map(|term| payment(&term)),
        contract_duration: duration,
        published: cells.time(Column::Published),
        dates: dates(cells, decided),
        award: decided.then(|| award(cells)),
        ..Tender::default()
    }
}

/// The unit is a number in some years and a name in others.
fn time_unit(cells: &Cells<'_>) -> Option<TimeUnit> {
    let unit = cells.code(Column::DurationUnit)?;
    Some(match unit.as_str() {
        "RFB_TIME_PERIOD_HOURS" => TimeUnit::Hours,
        "RFB_TIME_PERIOD_DAYS" => TimeUnit::Days,
        "RFB_TIME_PERIOD_WEEKS" => TimeUnit::Weeks,
        "RFB_TIME_PERIOD_MONTHS" => TimeUnit::Months,
        "RFB_TIME_PERIOD_YEARS" => TimeUnit::Years,
        other => TimeUnit::from(other),
    })
}

fn payment(term: &str) -> PaymentTerm {
    match term {
        "RFB_CONTRACT_PAYMENT_METHOD_30_DAYS" => PaymentTerm::Days30,
        other => PaymentTerm::from(other),
    }
}

fn buyer(cells: &Cells<'_>) -> Buyer {
    Buyer {
        tax_number: cells.text(Column::BuyerTaxNumber),
        unit_code: cells.code(Column::UnitCode),
        unit_name: cells.text(Column::UnitName),
        address: cells.text(Column::BuyerAddress),
        commune: cells.text(Column::BuyerCommune),
        region: cells.text(Column::BuyerRegion),
        ..Buyer::new(
            cells.code(Column::BuyerCode).unwrap_or_default(),
            cells.text_or_empty(Column::BuyerName),
        )
    }
}

/// The dates. While a tender is open, its date of award only repeats the expected one.
fn dates(cells: &mut Cells<'_>, decided: bool) -> TenderDates {
    TenderDates {
        created: cells.time(Column::Created),
        questions_from: cells.time(Column::QuestionsFrom),
        questions_until: cells.time(Column::QuestionsUntil),
        answers: cells.time(Column::Answers),
        technical_opening: cells.time(Column::TechnicalOpening),
        economic_opening: cells.time(Column::EconomicOpening),
        expected_award: cells.time(Column::ExpectedAward),
        awarded: cells.time(Column::Awarded).filter(|_| decided),
        site_visit: cells.time(Column::SiteVisit),
        expected_signature: cells.time(Column::ExpectedSignature),
    }
}

fn award(cells: &mut Cells<'_>) -> Award {
    Award {
        number: cells.text(Column::ActNumber),
        date: cells.time(Column::ActDate),
        bidders: cells.integer(Column::Bidders),
        ..Award::default()
    }
}

fn item(cells: &mut Cells<'_>) -> LineItem {
    let levels = [Column::Category1, Column::Category2, Column::Category3].map(|level| cells.text(level));
    let levels: Vec<String> = levels.into_iter().flatten().collect();
    LineItem {
        number: cells.integer(Column::LineNumber),
        description: cells.text(Column::LineDescription),
        product_code: cells.code(Column::Product),
        category: (!levels.is_empty()).then(|| levels.join(" / ")),
        quantity: cells.decimal(Column::Quantity),
        unit: cells.text(Column::Unit),
        ..LineItem::new(name(cells))
    }
}

/// The offer, if the row has one.
fn offer(cells: &mut Cells<'_>) -> Option<Offer> {
    let tax_number = cells.text(Column::SupplierTaxNumber);
    let name = cells.text(Column::SupplierName);
    if tax_number.is_none() && name.is_none() {
        return None;
    }
    let currency = offer_currency(cells);
    let currency = currency.as_ref();
    let code = cells.code(Column::SupplierCode).unwrap_or_default();
    Some(Offer {
        supplier: Supplier {
            tax_number,
            branch_code: cells.code(Column::BranchCode),
            ..Supplier::new(code, name.unwrap_or_default())
        },
        legal_name: cells.text(Column::LegalName),
        name: cells.text(Column::OfferName),
        description: cells.text(Column::OfferDescription),
        state: cells.text(Column::OfferState),
        quantity: cells.decimal(Column::OfferedQuantity),
        unit_price: cells.money(Column::OfferPrice, currency),
        total: cells.money(Column::OfferTotal, currency),
        selected: chosen(cells),
        awarded_quantity: cells.decimal(Column::AwardedQuantity),
        awarded_total: cells.money(Column::AwardedTotal, currency),
        sent: cells.time(Column::OfferSent),
    })
}

/// Whether a state means that the offer was selected, in the spellings of all years, including misspelt ones.
fn selected(state: &str) -> Option<bool> {
    match folded(state).as_str() {
        "seleccionada" | "ganadora" | "adjudicada" | "si" | "1" => Some(true),
        "noseleccionada" | "nosleccionada" | "perdedora" | "noadjudicada" | "no" | "0" => Some(false),
        _ => None,
    }
}
