//! The detail of a tender in v1.

use super::Body;
use super::v1::{self, V1};
use crate::error::Result;
use crate::procure::json::Fields;
use crate::procure::{
    Award, AwardAct, Buyer, Contact, Currency, Estimation, LineAward, LineItem, PaymentTerm, Supplier,
    Tender, TenderDates, TenderRow, TenderState, TenderType, TimeUnit, ZoneMark,
};

/// Reads a detail answer: a list of one tender, or an empty one.
pub(crate) fn read(body: &Body) -> Result<V1<Tender>> {
    v1::read(body, |fields| tender(fields, body.mark))
}

fn tender(fields: &Fields<'_>, mark: ZoneMark) -> Tender {
    let times = fields.object("Fechas").unwrap_or_default();
    let state = state(fields);
    let currency = fields.currency("Moneda");
    let award = fields.object("Adjudicacion");
    let decided = matches!(state, TenderState::Awarded | TenderState::Deserted) || award.is_some();
    let duration = fields.decimal("TiempoDuracionContrato").zip(fields.whole("UnidadTiempoDuracionContrato"));
    Tender {
        row: TenderRow {
            // The closing date at the root is null in every detail seen so far.
            closes: times.time("FechaCierre", mark).or_else(|| fields.time("FechaCierre", mark)),
            ..TenderRow::new(fields.text_or_empty("CodigoExterno"), fields.text_or_empty("Nombre"), state)
        },
        description: fields.text_or_empty("Descripcion"),
        kind: fields.text("Tipo").map(|kind| TenderType::from(kind.as_str())),
        buyer: fields.object("Comprador").map(|buyer| self::buyer(&buyer)),
        estimated_amount: fields.money("MontoEstimado", currency.as_ref()),
        estimation: fields.whole("Estimacion").map(Estimation::from_number),
        payment: fields.whole("Modalidad").map(PaymentTerm::from_number),
        contract_duration: duration.map(|(length, unit)| (length, TimeUnit::from_number(unit))),
        renewable: fields.flag("EsRenovable"),
        subcontracting: fields.flag("SubContratacion"),
        payment_contact: contact(
            fields,
            [Some("NombreResponsablePago"), None, None, Some("EmailResponsablePago")],
        ),
        contract_contact: contact(
            fields,
            [
                Some("NombreResponsableContrato"),
                None,
                Some("FonoResponsableContrato"),
                Some("EmailResponsableContrato"),
            ],
        ),
        published: times.time("FechaPublicacion", mark),
        dates: dates(&times, mark, decided),
        award: award.map(|award| self::award(&award, mark)),
        items: lines(fields, |line| item(line, currency.as_ref())),
        ..Tender::default()
    }
}

/// The lines of a tender or an order.
pub(super) fn lines(fields: &Fields<'_>, line: impl Fn(&Fields<'_>) -> LineItem) -> Vec<LineItem> {
    let items = fields.object("Items").unwrap_or_default();
    items.objects("Listado").iter().map(line).collect()
}

/// The state. Where the sources disagree on a number, the text decides.
fn state(fields: &Fields<'_>) -> TenderState {
    let number = fields.whole("CodigoEstado").map(TenderState::from_number);
    let name = fields.text("Estado").map(|name| TenderState::from(name.as_str()));
    match (name, number) {
        (Some(name), Some(number)) if matches!(name, TenderState::Named(_)) => match number {
            TenderState::Unknown(_) => name,
            known => known,
        },
        (Some(name), _) => name,
        (None, number) => number.unwrap_or_default(),
    }
}

/// The date of award. While a tender is open, the field only repeats the expected date.
fn dates(times: &Fields<'_>, mark: ZoneMark, decided: bool) -> TenderDates {
    let time = |name| times.time(name, mark);
    TenderDates {
        created: time("FechaCreacion"),
        questions_from: time("FechaInicio"),
        questions_until: time("FechaFinal"),
        answers: time("FechaPubRespuestas"),
        technical_opening: time("FechaActoAperturaTecnica"),
        economic_opening: time("FechaActoAperturaEconomica"),
        expected_award: time("FechaEstimadaAdjudicacion"),
        awarded: time("FechaAdjudicacion").filter(|_| decided),
        site_visit: time("FechaVisitaTerreno"),
        expected_signature: time("FechaEstimadaFirma"),
    }
}

fn award(fields: &Fields<'_>, mark: ZoneMark) -> Award {
    Award {
        act: fields.whole("Tipo").map(AwardAct::from_number),
        number: fields.text("Numero"),
        date: fields.time("Fecha", mark),
        bidders: fields.whole("NumeroOferentes"),
        page: fields.text("UrlActa"),
        ..Award::default()
    }
}

fn item(fields: &Fields<'_>, currency: Option<&Currency>) -> LineItem {
    LineItem {
        number: fields.whole("Correlativo"),
        description: fields.text("Descripcion"),
        product_code: code(fields, "CodigoProducto"),
        category_code: code(fields, "CodigoCategoria"),
        category: fields.text("Categoria"),
        quantity: fields.decimal("Cantidad"),
        unit: fields.text("UnidadMedida"),
        award: fields.object("Adjudicacion").map(|award| LineAward {
            supplier: Supplier {
                tax_number: award.text("RutProveedor"),
                ..Supplier::new("", award.text_or_empty("NombreProveedor"))
            },
            // Every recorded answer has the first name; the official dictionary has the second.
            quantity: award.decimal("Cantidad").or_else(|| award.decimal("CantidadAdjudicada")),
            unit_price: award.money("MontoUnitario", currency),
        }),
        ..LineItem::new(fields.text_or_empty("NombreProducto"))
    }
}

/// A code of the classification; 0 means none.
pub(super) fn code(fields: &Fields<'_>, name: &'static str) -> Option<String> {
    fields.text(name).filter(|code| code != "0")
}

/// The buyer, as the details of tenders and orders have it.
pub(super) fn buyer(fields: &Fields<'_>) -> Buyer {
    Buyer {
        tax_number: fields.text("RutUnidad"),
        unit_code: fields.text("CodigoUnidad"),
        unit_name: fields.text("NombreUnidad"),
        address: fields.text("DireccionUnidad"),
        commune: fields.text("ComunaUnidad"),
        region: fields.text("RegionUnidad"),
        contact: contact(fields, [Some("NombreUsuario"), Some("CargoUsuario"), None, None])
            .or_else(|| contact(fields, CONTACT)),
        ..Buyer::new(fields.text_or_empty("CodigoOrganismo"), fields.text_or_empty("NombreOrganismo"))
    }
}

pub(super) const CONTACT: [Option<&str>; 4] =
    [Some("NombreContacto"), Some("CargoContacto"), Some("FonoContacto"), Some("MailContacto")];

/// The contact person, if the detail names one: the members of name, role, telephone and mail, where there are such.
pub(super) fn contact(fields: &Fields<'_>, members: [Option<&'static str>; 4]) -> Option<Contact> {
    let [name, role, telephone, mail] = members.map(|member| member.and_then(|member| fields.text(member)));
    let contact = Contact { name, role, telephone, mail };
    (contact != Contact::default()).then_some(contact)
}
