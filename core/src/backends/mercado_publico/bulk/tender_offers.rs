//! Offers for the lines of tenders, including those that lost.

use serde::Serialize;

use super::cells::Cells;
use super::columns::{ColumnNames, column_number};
use super::rows::BulkRow;
use super::sealed::ReadRow;
use crate::procure::store::StoredLine;
use crate::procure::tables::folded;
use crate::procure::{
    Award, Buyer, Contact, Currency, Decimal, Estimation, LineItem, Money, Origin, PaymentTerm, Supplier,
    Tender, TenderDates, TenderRow, TenderState, TenderType, TimeUnit, Timestamp,
};

#[rustfmt::skip]
const COLUMNS: ColumnNames = &[
    "CodigoExterno!", "Nombre!", "Descripcion", "CodigoEstado!", "Estado", "Tipo", "CodigoOrganismo!",
    "NombreOrganismo", "sector", "RutUnidad!", "CodigoUnidad", "NombreUnidad", "DireccionUnidad",
    "ComunaUnidad", "RegionUnidad", "CodigoMoneda!", "MontoEstimado", "Estimacion", "Modalidad",
    "TiempoDuracionContrato", "UnidadTiempoDuracionContrato", "CriteriosEvaluacion", "NumeroOferentes",
    "NumeroAprobacion", "FechaAprobacion", "FechaCreacion", "FechaCierre!", "FechaInicio", "FechaFinal",
    "FechaPubRespuestas", "FechaActoAperturaTecnica", "FechaActoAperturaEconomica", "FechaPublicacion!",
    "FechaAdjudicacion", "FechaEstimadaAdjudicacion", "FechaEstimadaFirma", "FechaVisitaTerreno",
    "Codigoitem!", "Correlativo", "CodigoProductoONU!",
    "Nombre producto genrico|Nombre producto genérico", "Rubro1", "Rubro2", "Rubro3",
    "Nombre linea Adquisicion", "Descripcion linea Adquisicion", "UnidadMedida", "Cantidad!",
    "CodigoProveedor", "CodigoSucursalProveedor", "RutProveedor!", "NombreProveedor",
    "RazonSocialProveedor", "Nombre de la Oferta", "DescripcionProveedor", "Estado Oferta",
    "Cantidad Ofertada", "Moneda de la Oferta", "MontoUnitarioOferta!", "Valor Total Ofertado",
    "CantidadAdjudicada", "MontoLineaAdjudica", "FechaEnvioOferta",
    "Oferta seleccionada|Estado final Oferta!", "Codigo", "Link", "Tipo de Adquisicion", "Informada",
    "CodigoTipo", "TipoConvocatoria", "Moneda Adquisicion", "Etapas", "EstadoEtapas", "TomaRazon",
    "EstadoPublicidadOfertas", "JustificacionPublicidad", "EstadoCS", "Contrato", "Obras",
    "CantidadReclamos", "FechaSoporteFisico", "FechaTiempoEvaluacion", "UnidadTiempoEvaluacion",
    "FechasUsuario", "DireccionVisita", "FechaEntregaAntecedentes", "DireccionEntrega",
    "FuenteFinanciamiento", "VisibilidadMonto", "Tiempo", "UnidadTiempo", "TipoPago",
    "ProhibicionContratacion", "SubContratacion", "TipoDuracionContrato", "JustificacionMontoEstimado",
    "ObservacionContrato", "ObservacionContract", "ExtensionPlazo", "EsBaseTipo",
    "UnidadTiempoContratoLicitacion", "ValorTiempoRenovacion", "PeriodoTiempoRenovacion", "EsRenovable",
    "TipoAprobacion", "CodigoEstadoLicitacion", "Monto Estimado Adjudicado", "UnidadMedida.1",
    "Estado final Oferta", "CriteriosRequisitosAmbientales",
    "DescripcionCriteriosRequisitosAmbientales", "CriteriosRequisitosSociales",
    "DescripcionCriteriosRequisitosSociales", "DescripcionCriteriosRequisitosSociales.1", "CodigoBIP",
    "RutUsuario", "CodigoUsuario", "NombreUsuario", "CargoUsuario", "NombreResponsablePago",
    "EmailResponsablePago", "NombreResponsableContrato", "EmailResponsableContrato",
    "FonoResponsableContrato",
];

#[rustfmt::skip]
const PERSONAL: ColumnNames = &[
    "RutUsuario", "CodigoUsuario", "NombreUsuario", "CargoUsuario", "NombreResponsablePago",
    "EmailResponsablePago", "NombreResponsableContrato", "EmailResponsableContrato",
    "FonoResponsableContrato",
];

macro_rules! column {
    ($name:literal) => {
        const { column_number(COLUMNS, $name) }
    };
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
    const COLUMNS: ColumnNames = COLUMNS;
    const PERSONAL: ColumnNames = PERSONAL;

    fn read(cells: &mut Cells<'_>, origin: Origin) -> Self {
        Self {
            tender: tender(cells, origin),
            sector: cells.text(column!("sector")),
            criteria: cells.text(column!("CriteriosEvaluacion")),
            line_id: cells.integer(column!("Codigoitem")),
            item: item(cells),
            offer: offer(cells),
            unread: std::mem::take(&mut cells.unread),
        }
    }

    fn stored(cells: &mut Cells<'_>) -> StoredLine {
        let currency = offer_currency(cells);
        StoredLine {
            code: cells.text_or_empty(column!("CodigoExterno")),
            line_id: cells.integer(column!("Codigoitem")),
            day: cells.time(column!("FechaPublicacion")).map(Timestamp::date),
            state: state(cells).to_string(),
            buyer: cells.code(column!("CodigoOrganismo")),
            supplier: cells.text(column!("RutProveedor")),
            supplier_name: cells.text(column!("NombreProveedor")),
            product: cells.code(column!("CodigoProductoONU")),
            name: name(cells),
            description: cells.text(column!("Descripcion linea Adquisicion")),
            quantity: cells.decimal(column!("Cantidad")),
            unit: cells.text(column!("UnidadMedida")),
            unit_price: cells.money(column!("MontoUnitarioOferta"), currency.as_ref()),
            total: cells.money(column!("Valor Total Ofertado"), currency.as_ref()),
            chosen: chosen(cells),
            ..StoredLine::default()
        }
    }
}

fn state(cells: &mut Cells<'_>) -> TenderState {
    let number = cells.integer(column!("CodigoEstado")).map(TenderState::from_number);
    let known = number.clone().filter(|state| !matches!(state, TenderState::Unknown(_)));
    let name = || cells.text(column!("Estado")).map(|name| TenderState::from(name.as_str()));
    known.or_else(name).or(number).unwrap_or_default()
}

fn offer_currency(cells: &Cells<'_>) -> Option<Currency> {
    cells.currency(column!("Moneda de la Oferta")).or_else(|| cells.currency(column!("CodigoMoneda")))
}

/// The name of the line, else of its product.
fn name(cells: &Cells<'_>) -> String {
    cells
        .text(column!("Nombre linea Adquisicion"))
        .or_else(|| cells.text(column!("Nombre producto genrico")))
        .unwrap_or_default()
}

fn chosen(cells: &Cells<'_>) -> Option<bool> {
    selected(&cells.text(column!("Oferta seleccionada"))?)
}

fn tender(cells: &mut Cells<'_>, origin: Origin) -> Tender {
    let state = state(cells);
    let decided = matches!(state, TenderState::Awarded | TenderState::Deserted);
    let currency = cells.currency(column!("CodigoMoneda"));
    let duration = cells.decimal(column!("TiempoDuracionContrato")).zip(time_unit(cells));
    Tender {
        row: TenderRow {
            closes: cells.time(column!("FechaCierre")),
            origin,
            ..TenderRow::new(
                cells.text_or_empty(column!("CodigoExterno")),
                cells.text_or_empty(column!("Nombre")),
                state,
            )
        },
        description: cells.text_or_empty(column!("Descripcion")),
        kind: cells.text(column!("Tipo")).map(|kind| TenderType::from(kind.as_str())),
        buyer: Some(buyer(cells)),
        estimated_amount: cells.money(column!("MontoEstimado"), currency.as_ref()),
        estimation: cells.integer(column!("Estimacion")).map(Estimation::from_number),
        payment: cells.text(column!("Modalidad")).map(|term| payment(&term)),
        contract_duration: duration,
        renewable: cells.boolean(column!("EsRenovable")),
        subcontracting: cells.boolean(column!("SubContratacion")),
        payment_contact: contact([
            cells.text(column!("NombreResponsablePago")),
            None,
            None,
            cells.text(column!("EmailResponsablePago")),
        ]),
        contract_contact: contact([
            cells.text(column!("NombreResponsableContrato")),
            None,
            cells.text(column!("FonoResponsableContrato")),
            cells.text(column!("EmailResponsableContrato")),
        ]),
        published: cells.time(column!("FechaPublicacion")),
        dates: dates(cells, decided),
        award: decided.then(|| award(cells)),
        ..Tender::default()
    }
}

/// The unit is a number in some years and a name in others.
fn time_unit(cells: &Cells<'_>) -> Option<TimeUnit> {
    let unit = cells.code(column!("UnidadTiempoDuracionContrato"))?;
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
        tax_number: cells.text(column!("RutUnidad")),
        unit_code: cells.code(column!("CodigoUnidad")),
        unit_name: cells.text(column!("NombreUnidad")),
        address: cells.text(column!("DireccionUnidad")),
        commune: cells.text(column!("ComunaUnidad")),
        region: cells.text(column!("RegionUnidad")),
        contact: contact([
            cells.text(column!("NombreUsuario")),
            cells.text(column!("CargoUsuario")),
            None,
            None,
        ]),
        ..Buyer::new(
            cells.code(column!("CodigoOrganismo")).unwrap_or_default(),
            cells.text_or_empty(column!("NombreOrganismo")),
        )
    }
}

fn contact([name, role, telephone, mail]: [Option<String>; 4]) -> Option<Contact> {
    let contact = Contact { name, role, telephone, mail };
    (contact != Contact::default()).then_some(contact)
}

/// The dates. While a tender is open, its date of award only repeats the expected one.
fn dates(cells: &mut Cells<'_>, decided: bool) -> TenderDates {
    TenderDates {
        created: cells.time(column!("FechaCreacion")),
        questions_from: cells.time(column!("FechaInicio")),
        questions_until: cells.time(column!("FechaFinal")),
        answers: cells.time(column!("FechaPubRespuestas")),
        technical_opening: cells.time(column!("FechaActoAperturaTecnica")),
        economic_opening: cells.time(column!("FechaActoAperturaEconomica")),
        expected_award: cells.time(column!("FechaEstimadaAdjudicacion")),
        awarded: cells.time(column!("FechaAdjudicacion")).filter(|_| decided),
        site_visit: cells.time(column!("FechaVisitaTerreno")),
        expected_signature: cells.time(column!("FechaEstimadaFirma")),
    }
}

fn award(cells: &mut Cells<'_>) -> Award {
    Award {
        number: cells.text(column!("NumeroAprobacion")),
        date: cells.time(column!("FechaAprobacion")),
        bidders: cells.integer(column!("NumeroOferentes")),
        ..Award::default()
    }
}

fn item(cells: &mut Cells<'_>) -> LineItem {
    let levels = [column!("Rubro1"), column!("Rubro2"), column!("Rubro3")].map(|level| cells.text(level));
    let levels: Vec<String> = levels.into_iter().flatten().collect();
    LineItem {
        number: cells.integer(column!("Correlativo")),
        description: cells.text(column!("Descripcion linea Adquisicion")),
        product_code: cells.code(column!("CodigoProductoONU")),
        category: (!levels.is_empty()).then(|| levels.join(" / ")),
        quantity: cells.decimal(column!("Cantidad")),
        unit: cells.text(column!("UnidadMedida")),
        ..LineItem::new(name(cells))
    }
}

/// The offer, if the row has one.
fn offer(cells: &mut Cells<'_>) -> Option<Offer> {
    let tax_number = cells.text(column!("RutProveedor"));
    let name = cells.text(column!("NombreProveedor"));
    if tax_number.is_none() && name.is_none() {
        return None;
    }
    let currency = offer_currency(cells);
    let currency = currency.as_ref();
    let code = cells.code(column!("CodigoProveedor")).unwrap_or_default();
    Some(Offer {
        supplier: Supplier {
            tax_number,
            branch_code: cells.code(column!("CodigoSucursalProveedor")),
            ..Supplier::new(code, name.unwrap_or_default())
        },
        legal_name: cells.text(column!("RazonSocialProveedor")),
        name: cells.text(column!("Nombre de la Oferta")),
        description: cells.text(column!("DescripcionProveedor")),
        state: cells.text(column!("Estado Oferta")),
        quantity: cells.decimal(column!("Cantidad Ofertada")),
        unit_price: cells.money(column!("MontoUnitarioOferta"), currency),
        total: cells.money(column!("Valor Total Ofertado"), currency),
        selected: chosen(cells),
        awarded_quantity: cells.decimal(column!("CantidadAdjudicada")),
        awarded_total: cells.money(column!("MontoLineaAdjudica"), currency),
        sent: cells.time(column!("FechaEnvioOferta")),
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
