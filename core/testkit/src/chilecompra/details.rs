//! Details of v1, with the members, types and pitfalls of recorded ones.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::names::{PERSONS, PRODUCTS, REGIONS};
use super::order::{Order, taxes};
use super::tender::{Tender, state};
use super::world::{PublicBody, Step, World, latest};
use ayni::procure::Timestamp;

/// An amount in hundredths as a JSON number with a decimal point.
pub(super) fn number(hundredths: u64) -> Value {
    // Exact: no amount of the world has more than fifteen digits.
    json!(hundredths as f64 / 100.0)
}

fn person(chance: u64) -> &'static str {
    PERSONS[usize::try_from(chance % PERSONS.len() as u64).unwrap_or(0)]
}

fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 3600)
}

fn merged(parts: impl IntoIterator<Item = Value>) -> Value {
    let members = parts.into_iter().filter_map(|part| match part {
        Value::Object(members) => Some(members),
        _ => None,
    });
    Value::Object(members.flatten().collect::<Map<String, Value>>())
}

/// A tender as `codigo` gives it.
pub(super) fn tender(world: &World, tender: &Tender, now: Timestamp) -> Value {
    let Some(step) = latest(&tender.steps, now) else { return Value::Null };
    merged([
        head(world, tender, step),
        json!({ "Fechas": dates(tender, step) }),
        contract(tender),
        json!({
            "Adjudicacion": award(tender, step),
            "Items": {
                "Cantidad": tender.lines.len(),
                "Listado": (0..tender.lines.len()).map(|line| tender_line(world, tender, step, line)).collect::<Vec<_>>(),
            },
        }),
    ])
}

fn head(world: &World, tender: &Tender, step: &Step<i64>) -> Value {
    let label = match step.state {
        state::PUBLISHED => "Publicada",
        state::CLOSED => "Cerrada",
        state::DESERTED => "Desierta",
        state::AWARDED => "Adjudicada",
        state::REVOKED => "Revocada",
        _ => "Suspendida",
    };
    let left = step.closes.map_or(0, |closes| step.at.date().days_until(closes.date()).max(0));
    json!({
        "CodigoExterno": tender.code,
        "Nombre": tender.name,
        "CodigoEstado": step.state,
        "Descripcion": tender.description,
        // Null in every recorded detail: the time is in `Fechas`.
        "FechaCierre": null,
        "Estado": label,
        "Comprador": buyer(&world.bodies[tender.body], tender.chance),
        "DiasCierreLicitacion": if step.state == state::PUBLISHED { left.to_string() } else { "0".to_owned() },
        "Informada": 0,
        "CodigoTipo": if ["E2", "CO", "B2", "H2", "I2"].contains(&tender.kind) { 2 } else { 1 },
        "Tipo": tender.kind,
        "TipoConvocatoria": "1",
        "Moneda": tender.currency,
        "Etapas": 1 + tender.chance % 2,
        "EstadoEtapas": "0",
        "TomaRazon": "0",
        "EstadoPublicidadOfertas": 1,
        "JustificacionPublicidad": "",
        "Contrato": "1",
        "Obras": if tender.name.contains("Construcción") { "2" } else { "0" },
        // Of the body, not of the tender.
        "CantidadReclamos": 200 + tender.body,
    })
}

fn buyer(body: &PublicBody, chance: u64) -> Value {
    let (region, commune) = REGIONS[body.region];
    json!({
        "CodigoOrganismo": body.code.to_string(),
        "NombreOrganismo": body.name,
        "RutUnidad": body.tax_number.map(|number| number.to_string()).unwrap_or_default(),
        "CodigoUnidad": body.unit_code.to_string(),
        "NombreUnidad": body.unit,
        "DireccionUnidad": "Calle Ficticia N°123",
        "ComunaUnidad": commune,
        "RegionUnidad": region,
        "RutUsuario": "",
        "CodigoUsuario": (990_300 + chance % 400).to_string(),
        "NombreUsuario": person(chance),
        "CargoUsuario": "Encargada de Compras ",
    })
}

fn dates(tender: &Tender, step: &Step<i64>) -> Value {
    let published = tender.published();
    let closes = step.closes.unwrap_or(published);
    let expected = closes.plus(days(20));
    let at = |moment: Timestamp| moment.wall_clock();
    // While a tender is open this repeats the estimate.
    let awarded = if step.state == state::AWARDED { step.at } else { expected };
    json!({
        "FechaCreacion": at(tender.created),
        "FechaCierre": at(closes),
        "FechaInicio": at(published.plus(Duration::from_secs(3600))),
        "FechaFinal": at(published.plus(days(3))),
        "FechaPubRespuestas": at(published.plus(days(4))),
        "FechaActoAperturaTecnica": at(closes.plus(Duration::from_secs(60))),
        "FechaActoAperturaEconomica": at(closes.plus(Duration::from_secs(60))),
        "FechaPublicacion": at(published),
        "FechaAdjudicacion": at(awarded),
        "FechaEstimadaAdjudicacion": at(expected),
        "FechaSoporteFisico": null,
        "FechaTiempoEvaluacion": null,
        "FechaEstimadaFirma": null,
        "FechasUsuario": if tender.chance.is_multiple_of(3) { json!("1900-01-03T00:00:00") } else { Value::Null },
        "FechaVisitaTerreno": null,
        "FechaEntregaAntecedentes": null,
    })
}

fn contract(tender: &Tender) -> Value {
    let money = merged([json!({
        "UnidadTiempoEvaluacion": 1,
        "DireccionVisita": "",
        "DireccionEntrega": "",
        "Estimacion": 1 + tender.chance % 2,
        "FuenteFinanciamiento": "",
        "VisibilidadMonto": i32::from(tender.shows_amount),
        "MontoEstimado": if tender.shows_amount { number(tender.amount) } else { Value::Null },
        "Tiempo": "12",
        "UnidadTiempo": "1",
        "Modalidad": 1 + tender.chance % 10,
        "TipoPago": "1",
        "NombreResponsablePago": person(tender.chance / 7),
        "EmailResponsablePago": "",
        "NombreResponsableContrato": person(tender.chance / 11),
        "EmailResponsableContrato": "contrato@example.invalid",
        "FonoResponsableContrato": "56-9-00000000-",
    })]);
    let terms = json!({
        "ProhibicionContratacion": "",
        "SubContratacion": "0",
        "UnidadTiempoDuracionContrato": 4,
        "TiempoDuracionContrato": (1 + tender.chance % 24).to_string(),
        "TipoDuracionContrato": " ",
        "JustificacionMontoEstimado": "",
        "ObservacionContract": null,
        "ExtensionPlazo": 0,
        "EsBaseTipo": 0,
        "UnidadTiempoContratoLicitacion": "2",
        "ValorTiempoRenovacion": "0",
        "PeriodoTiempoRenovacion": " ",
        "EsRenovable": 0,
        "CodigoBIP": null,
    });
    merged([money, terms])
}

fn award(tender: &Tender, step: &Step<i64>) -> Value {
    if step.state != state::AWARDED {
        return Value::Null;
    }
    json!({
        "Tipo": 1 + tender.chance % 2,
        "Fecha": ayni::procure::Timestamp::start_of(step.at.date()).wall_clock(),
        "Numero": (100 + tender.chance % 3000).to_string(),
        "NumeroOferentes": tender.bidders.len(),
        "UrlActa": "http://www.mercadopublico.cl/Procurement/Modules/RFB/StepsProcessAward/PreviewAwardAct.aspx?qs=FICTICIO",
    })
}

fn tender_line(world: &World, tender: &Tender, step: &Step<i64>, place: usize) -> Value {
    let line = &tender.lines[place];
    let product = PRODUCTS[line.product];
    let winner = line.winner.filter(|_| step.state == state::AWARDED);
    let winner = winner.and_then(|bidder| tender.bidders.get(bidder)).map(|firm| &world.firms[*firm]);
    json!({
        "Correlativo": place + 1,
        "CodigoProducto": product.code,
        "CodigoCategoria": (product.code / 100 * 100).to_string(),
        "Categoria": product.category,
        "NombreProducto": product.name,
        "Descripcion": line.description,
        "UnidadMedida": product.unit,
        "Cantidad": number(line.quantity),
        "Adjudicacion": winner.map(|firm| json!({
            "RutProveedor": firm.tax_number.map(|number| number.to_string()),
            "NombreProveedor": firm.name,
            "Cantidad": number(line.quantity),
            "MontoUnitario": number(line.price),
        })),
    })
}

/// An order as `codigo` gives it.
pub(super) fn order(world: &World, order: &Order, now: Timestamp) -> Value {
    let Some(step) = latest(&order.steps, now) else { return Value::Null };
    merged([
        order_head(order, step),
        json!({ "Fechas": order_dates(order, step, now) }),
        order_money(order),
        json!({
            "Comprador": order_buyer(&world.bodies[order.body], order.chance),
            "Proveedor": order_supplier(world, order),
            "Items": {
                "Cantidad": order.lines.len(),
                "Listado": (0..order.lines.len()).map(|line| order_line(order, line)).collect::<Vec<_>>(),
            },
        }),
    ])
}

fn order_head(order: &Order, step: &Step<i64>) -> Value {
    let label = match step.state {
        4 => "Enviada a proveedor",
        6 => "Aceptada",
        9 => "Cancelada",
        12 => "Recepción Conforme",
        13 => "Pendiente de Recepcionar",
        14 => "Recepcionada Parcialmente",
        _ => "Recepción Conforme Incompleta",
    };
    json!({
        "Codigo": order.code,
        "Nombre": order.name,
        "CodigoEstado": step.state,
        "Estado": label,
        "CodigoLicitacion": order.tender.as_deref().unwrap_or_default(),
        "Descripcion": format!("{}\r\nEntrega única", order.name),
        "CodigoTipo": order.kind_number,
        "Tipo": order.kind,
        "TipoMoneda": order.currency,
        "CodigoEstadoProveedor": 4,
        "EstadoProveedor": "Aceptada",
    })
}

fn order_dates(order: &Order, step: &Step<i64>, now: Timestamp) -> Value {
    let at = |states: &[i64]| order.reached(states, now).map(Timestamp::wall_clock);
    json!({
        "FechaCreacion": order.created.wall_clock(),
        "FechaEnvio": at(&[4]),
        "FechaAceptacion": at(&[6]),
        "FechaCancelacion": at(&[9]),
        // It can be earlier than the sending.
        "FechaUltimaModificacion": if step.state == 4 { order.created } else { step.at }.wall_clock(),
    })
}

fn order_money(order: &Order) -> Value {
    let net = order.net();
    let taxes = taxes(net, order.currency);
    json!({
        "TieneItems": "1",
        "PromedioCalificacion": if order.chance.is_multiple_of(4) { json!(3.933_333_333_333_333) } else { json!(0.0) },
        "CantidadEvaluacion": order.chance % 7,
        "Descuentos": 0.0,
        "Cargos": 0.0,
        "TotalNeto": number(net),
        "PorcentajeIva": 19.0,
        "Impuestos": number(taxes),
        "Total": number(net + taxes),
        "Financiamiento": "",
        "Pais": "CL",
        "TipoDespacho": "7",
        "FormaPago": if order.chance.is_multiple_of(2) { "2" } else { "1" },
    })
}

fn order_buyer(body: &PublicBody, chance: u64) -> Value {
    let (region, commune) = REGIONS[body.region];
    json!({
        "CodigoOrganismo": body.code.to_string(),
        "NombreOrganismo": body.name,
        "RutUnidad": body.tax_number.map(|number| number.to_string()).unwrap_or_default(),
        "CodigoUnidad": body.unit_code.to_string(),
        "NombreUnidad": body.unit,
        "Actividad": "",
        "DireccionUnidad": "Avenida Inventada S/N",
        "ComunaUnidad": commune,
        "RegionUnidad": region,
        "Pais": "CL",
        "NombreContacto": person(chance),
        "CargoContacto": "Administrativa",
        "FonoContacto": "56-00-0000000",
        "MailContacto": "",
    })
}

fn order_supplier(world: &World, order: &Order) -> Value {
    let firm = &world.firms[order.firm];
    let (region, commune) = REGIONS[firm.region];
    json!({
        "Codigo": firm.code.to_string(),
        "Nombre": firm.name,
        "Actividad": "VENTA AL POR MAYOR DE OTROS PRODUCTOS N.C.P.| VENT",
        "CodigoSucursal": firm.branch.to_string(),
        "NombreSucursal": firm.name,
        "RutSucursal": firm.tax_number.map(|number| number.to_string()),
        "Direccion": "Pasaje Inexistente 1",
        "Comuna": commune,
        "Region": region,
        "Pais": "CL",
        "NombreContacto": person(order.chance / 5),
        "CargoContacto": "",
        "FonoContacto": "",
        "MailContacto": "contacto@example.invalid",
    })
}

/// Under a framework agreement, category and product are empty.
fn order_line(order: &Order, place: usize) -> Value {
    let line = &order.lines[place];
    let product = PRODUCTS[line.product];
    let total = line.price * line.quantity / 100;
    let framework = order.kind == "CM";
    let wanted = match framework {
        true => format!("({}) {}", 1_200_000 + order.chance % 90_000, line.description),
        false => line.description.clone(),
    };
    json!({
        "Correlativo": place + 1,
        "CodigoCategoria": if framework { json!(0) } else { json!(product.code / 100 * 100) },
        "Categoria": if framework { "" } else { product.category },
        "CodigoProducto": if framework { json!(0) } else { json!(product.code) },
        "Producto": if framework { "" } else { product.name },
        "EspecificacionComprador": wanted,
        "EspecificacionProveedor": if order.chance.is_multiple_of(2) { json!(" Según lo ofertado.") } else { Value::Null },
        "Cantidad": number(line.quantity),
        "Unidad": if order.chance.is_multiple_of(3) { Value::Null } else { json!(product.unit) },
        "Moneda": order.currency,
        "PrecioNeto": number(line.price),
        "TotalCargos": 0.0,
        "TotalDescuentos": 0.0,
        "TotalImpuestos": 0.0,
        "Total": number(total),
    })
}
