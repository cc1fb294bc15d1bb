//! The bodies of the quick-purchase API, version 2.

use serde_json::{Value, json};

use super::details::number;
use super::names::{PRODUCTS, REGIONS};
use super::quick::{Quick, QuickState};
use super::v1::JsonReply;
use super::world::{World, pesos};
use ayni::procure::{Timestamp, ZoneMark};

/// The service does not count beyond this.
const MAX_COUNT: usize = 10_000;

/// A failure as v2 writes it.
pub(super) fn failure(status: u16, code: &str, message: &str) -> JsonReply {
    let success = if status >= 500 { "ERROR" } else { "NOK" };
    let errors = json!([{ "codigo": code, "mensaje": message, "detalle": null }]);
    (status, json!({ "success": success, "trace": null, "payload": null, "errors": errors }))
}

pub(super) fn gateway_timeout() -> JsonReply {
    (504, json!({ "message": "Endpoint request timed out" }))
}

fn parameters_invalid() -> JsonReply {
    failure(400, "PARAMETROS_INVALIDOS", "Parámetros de consulta inválidos")
}

fn success(payload: &Value) -> JsonReply {
    (200, json!({ "success": "OK", "trace": null, "payload": payload, "errors": null }))
}

/// The parameters of a request for a page.
#[derive(Debug)]
pub(super) struct PageQuery {
    /// Changed between these wall-clock times, both ends included.
    changed: Option<(Timestamp, Timestamp)>,
    /// Changed within the last so many milliseconds.
    newest_millis: Option<i64>,
    published: (Option<Timestamp>, Option<Timestamp>),
    states: Vec<String>,
    regions: Vec<usize>,
    code: Option<String>,
    words: Option<String>,
    by_publication: bool,
    pub(super) size: u32,
    pub(super) page: u32,
}

impl Default for PageQuery {
    fn default() -> Self {
        Self {
            changed: None,
            newest_millis: None,
            published: (None, None),
            states: Vec::new(),
            regions: Vec::new(),
            code: None,
            words: None,
            by_publication: false,
            size: 15,
            page: 1,
        }
    }
}

/// The service reads a time with a `Z` as Santiago's.
fn moment(text: &str) -> Result<Timestamp, JsonReply> {
    Timestamp::read(text, ZoneMark::WallClock).map_err(|_| parameters_invalid())
}

fn whole<T: std::str::FromStr>(text: &str) -> Result<T, JsonReply> {
    text.trim().parse().map_err(|_| parameters_invalid())
}

impl PageQuery {
    /// # Errors
    /// The answer to unknown parameters and invalid values.
    pub(super) fn read(query: &[(String, String)]) -> Result<Self, JsonReply> {
        let mut asked = Self::default();
        let (mut from, mut until) = (None, None);
        for (name, value) in query {
            match name.as_str() {
                "ttl_cambio_ms" => asked.newest_millis = Some(whole(value)?),
                "cambio_desde" => from = Some(moment(value)?),
                "cambio_hasta" => until = Some(moment(value)?),
                "publicado_desde" => asked.published.0 = Some(moment(value)?),
                "publicado_hasta" => asked.published.1 = Some(moment(value)?),
                "estado" => asked.states.extend(value.split(',').map(|state| state.trim().to_owned())),
                "region" => {
                    for region in value.split(',') {
                        asked.regions.push(whole(region)?);
                    }
                }
                "id" => asked.code = Some(value.clone()),
                "q" => asked.words = Some(value.clone()),
                "tamano_pagina" => asked.size = whole(value)?,
                "numero_pagina" => asked.page = whole(value)?,
                "ordenar_por" if value == "FechaPublicacion" => asked.by_publication = true,
                "ordenar_por" if value == "FechaUltimaModificacion" => {}
                _ => return Err(parameters_invalid()),
            }
        }
        asked.changed = match (from, until) {
            (Some(from), Some(until)) => Some((from, until)),
            (None, None) => None,
            _ => return Err(parameters_invalid()),
        };
        asked.checked()
    }

    fn checked(self) -> Result<Self, JsonReply> {
        let known = ["publicada", "cerrada", "desierta", "cancelada", "proveedor_seleccionado"];
        let filters = self.changed.is_some()
            || self.newest_millis.is_some()
            || self.published != (None, None)
            || !self.states.is_empty()
            || !self.regions.is_empty()
            || self.code.is_some()
            || self.words.is_some();
        let refused = !filters
            || !(10..=50).contains(&self.size)
            || self.page == 0
            || (self.changed.is_some() && self.newest_millis.is_some())
            || (self.code.is_some() && self.words.is_some())
            || self.regions.iter().any(|region| !(1..=16).contains(region))
            // `oc_emitida` is in the official guide, but refused.
            || self.states.iter().any(|state| !known.contains(&state.as_str()));
        if refused { Err(parameters_invalid()) } else { Ok(self) }
    }

    fn keeps(&self, world: &World, quick: &Quick, seen: &Seen, now: Timestamp) -> bool {
        let changed = self.changed.is_none_or(|(from, until)| (from..=until).contains(&seen.stamp));
        // The service compares stamps, which are in Santiago's time, with the real UTC.
        let newest = self.newest_millis.is_none_or(|millis| {
            let as_utc = Timestamp::read(&seen.stamp.with_false_mark(), ZoneMark::Utc);
            as_utc.is_ok_and(|stamp| stamp.unix_millis() >= now.unix_millis() - millis)
        });
        let region = world.bodies[quick.body].region + 1;
        let text = || normalised(&format!("{} {}", quick.name, description(quick)));
        changed
            && newest
            && self.published.0.is_none_or(|from| quick.published >= from)
            && self.published.1.is_none_or(|until| quick.published <= until)
            && (self.states.is_empty() || self.states.iter().any(|state| state == seen.state.code()))
            && (self.regions.is_empty() || self.regions.contains(&region))
            && self.code.as_ref().is_none_or(|code| code.eq_ignore_ascii_case(&quick.code))
            && self
                .words
                .as_ref()
                .is_none_or(|words| words.split_whitespace().all(|word| text().contains(&normalised(word))))
    }
}

/// A text as the service searches it: in lower case, without accents, spaces and punctuation.
fn normalised(text: &str) -> String {
    let plain = |letter: char| match letter {
        'á' => 'a',
        'é' => 'e',
        'í' => 'i',
        'ó' => 'o',
        'ú' | 'ü' => 'u',
        'ñ' => 'n',
        other => other,
    };
    text.chars().flat_map(char::to_lowercase).filter(|letter| letter.is_alphanumeric()).map(plain).collect()
}

/// What can be seen of a quick purchase by now.
struct Seen {
    state: QuickState,
    stamp: Timestamp,
}

fn seen(quick: &Quick, now: Timestamp) -> Option<Seen> {
    quick.seen(now).map(|(step, stamp)| Seen { state: step.state, stamp })
}

/// A page, of a list without its first `skipped` rows.
pub(super) fn list(world: &World, now: Timestamp, asked: &PageQuery, skipped: u32) -> JsonReply {
    let mut found: Vec<(&Quick, Seen)> = world
        .quick
        .iter()
        .filter_map(|quick| Some((quick, seen(quick, now)?)))
        .filter(|(quick, seen)| asked.keeps(world, quick, seen, now))
        .collect();
    found.sort_by_key(|(quick, seen)| {
        let at = if asked.by_publication { quick.published } else { seen.stamp };
        (std::cmp::Reverse(at), quick.code.as_str())
    });
    let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
    let found = found.get(skipped.min(found.len())..).unwrap_or_default();
    let (size, page) = (asked.size as usize, asked.page as usize);
    let total = found.len().min(MAX_COUNT);
    let rows: Vec<Value> = found
        .iter()
        .take(MAX_COUNT)
        .skip((page - 1) * size)
        .take(size)
        .map(|(quick, seen)| row(world, quick, seen, now))
        .collect();
    let paging = json!({
        "total_paginas": total.div_ceil(size),
        "numero_pagina": if total == 0 { 0 } else { page },
        // The number of rows on the page, not the number that was requested.
        "tamano_pagina": rows.len(),
        "total_resultados": total,
    });
    success(&json!({ "items": rows, "paginacion": paging }))
}

fn minutes(moment: Timestamp) -> String {
    moment.with_false_mark().get(..16).unwrap_or_default().replace('T', " ")
}

fn with_millis(moment: Timestamp) -> String {
    let millis = moment.unix_millis().rem_euclid(1000);
    format!("{}.{millis:03}Z", moment.with_false_mark().trim_end_matches('Z'))
}

fn state_of(seen: &Seen) -> Value {
    json!({ "id_estado": seen.state.number(), "codigo": seen.state.code(), "glosa": seen.state.label() })
}

fn reasons(seen: &Seen) -> Value {
    let told = |state: QuickState, why: &str| (seen.state == state).then(|| why.to_owned());
    json!({
        "motivo_cancelacion": told(QuickState::Cancelled, "Error en las especificaciones"),
        "motivo_desierta": told(QuickState::Deserted, "Ofertas inadmisibles"),
        "motivo_seleccion": null,
    })
}

fn body_of(world: &World, quick: &Quick) -> Value {
    let body = &world.bodies[quick.body];
    json!({
        "organismo_comprador": body.name,
        "rut": body.tax_number.map(|number| number.to_string()),
        "unidad_compra": body.unit,
        "region": body.region + 1,
        "nombre_region": REGIONS[body.region].0,
    })
}

fn documents(quick: &Quick) -> Value {
    match quick.chance % 3 {
        0 => json!([]),
        _ => json!([{ "id": 9_900_000 + quick.chance % 90_000, "nombre": "ESPECIFICACIONES TÉCNICAS.pdf" }]),
    }
}

fn call_of(quick: &Quick, now: Timestamp) -> (i64, &'static str) {
    match quick.call(now) {
        1 => (1, "Primer llamado"),
        call => (call, "Segundo llamado"),
    }
}

fn in_pesos(quick: &Quick) -> Value {
    json!(quick.budget * pesos(quick.currency) / 100)
}

/// Offers are counted once the first call is over.
fn offers(quick: &Quick, now: Timestamp) -> usize {
    if now < quick.first_call_closes { 0 } else { quick.quotes.len() }
}

/// A row writes times in two ways.
fn row(world: &World, quick: &Quick, seen: &Seen, now: Timestamp) -> Value {
    let call = call_of(quick, now);
    json!({
        "codigo": quick.code,
        "nombre": quick.name,
        "estado": state_of(seen),
        "convocatoria": { "estado_convocatoria": call.0, "descripcion": call.1 },
        "documentos": documents(quick),
        "fechas": {
            "fecha_publicacion": minutes(quick.published),
            "fecha_cierre": minutes(quick.first_call_closes),
            "fecha_ultimo_cambio": with_millis(seen.stamp),
            "fecha_cierre_primer_llamado": quick.first_call_closes.with_false_mark(),
            "fecha_cierre_segundo_llamado": with_millis(quick.second_call_closes),
        },
        "montos": {
            "moneda": quick.currency,
            "monto_disponible": number(quick.budget),
            "monto_disponible_clp": in_pesos(quick),
        },
        "institucion": body_of(world, quick),
        "resumen": { "total_ofertas_recibidas": offers(quick, now) },
        "motivos": reasons(seen),
        "links": { "detalle": format!("/v2/compra-agil/{}", quick.code) },
    })
}

fn description(quick: &Quick) -> String {
    format!("{} según especificaciones técnicas adjuntas.", quick.name)
}

/// One quick purchase in full.
pub(super) fn detail(world: &World, now: Timestamp, code: &str) -> JsonReply {
    let found = world.quick(code).and_then(|quick| Some((quick, seen(quick, now)?)));
    let Some((quick, seen)) = found else {
        return failure(404, "404", "No existe una Compra Ágil con el código indicado");
    };
    let call = call_of(quick, now);
    let quotes: Vec<Value> = match seen.state {
        // Observed: only deserted ones show their quotes.
        QuickState::Deserted => (0..quick.quotes.len()).map(|place| quote(world, quick, place)).collect(),
        _ => Vec::new(),
    };
    success(&json!({
        "codigo": quick.code,
        "nombre": quick.name,
        "descripcion": description(quick),
        "estado": state_of(&seen),
        "convocatoria": {
            "estado_convocatoria": call.0,
            "descripcion": call.1,
            "fecha_cierre_primer_llamado": minutes(quick.first_call_closes),
            "fecha_cierre_segundo_llamado": minutes(quick.second_call_closes),
        },
        "fechas": {
            "fecha_publicacion": minutes(quick.published),
            "fecha_cierre": minutes(quick.first_call_closes),
            "fecha_ultimo_cambio": minutes(seen.stamp),
            "fecha_cancelacion": (seen.state == QuickState::Cancelled).then(|| minutes(seen.stamp)),
        },
        "entrega": { "direccion_entrega": "Calle Ficticia 456", "plazo_entrega_dias": 2 + quick.chance % 20 },
        "documentos": documents(quick),
        "presupuesto": budget(quick),
        "id_orden_compra": null,
        "institucion": body_of(world, quick),
        "productos_solicitados": quick.lines.iter().map(item).collect::<Vec<_>>(),
        "proveedores_cotizando": quotes,
        "resumen": {
            "multa_sancion": 1,
            "total_ofertas_recibidas": offers(quick, now),
            "total_demandas": 0,
        },
        "motivos": reasons(&seen),
        "flags": {
            "considera_requisitos_medioambientales": false,
            "considera_requisitos_impacto_social_economico": quick.chance.is_multiple_of(5),
        },
    }))
}

fn budget(quick: &Quick) -> Value {
    let foreign = quick.currency != "CLP";
    json!({
        "tipo_presupuesto": if quick.chance.is_multiple_of(2) { "Disponible" } else { "Estimado" },
        "moneda": quick.currency,
        "presupuesto_estimado": number(quick.budget),
        "monto_disponible": number(quick.budget),
        "monto_disponible_clp": in_pesos(quick),
        "valor_cambio_moneda": foreign.then(|| pesos(quick.currency)),
        "fecha_cambio_moneda": foreign.then(|| minutes(quick.published)),
    })
}

fn item(line: &super::world::Line) -> Value {
    let product = PRODUCTS[line.product];
    json!({
        "codigo_producto": product.code,
        "nombre": product.name,
        "descripcion": line.description,
        "cantidad": number(line.quantity),
        "unidad_medida": product.short_unit,
    })
}

fn quote(world: &World, quick: &Quick, place: usize) -> Value {
    let firm = &world.firms[quick.quotes[place]];
    let net = quick.budget * (80 + place as u64 * 3) / 119;
    let taxes = super::order::taxes(net, quick.currency);
    json!({
        "id_cotizacion": 9_980_000 + quick.chance % 10_000 + place as u64,
        "codigo_sucursal_empresa": firm.branch,
        "codigo_empresa": firm.code,
        "es_emt": true,
        "razon_social": firm.name,
        "rut_proveedor": firm.tax_number.map(|number| number.to_string()),
        "descripcion": description(quick),
        "fecha_vigencia": minutes(quick.second_call_closes),
        "fecha_creacion": minutes(quick.published),
        "valor_neto": number(net),
        "total_impuesto": number(taxes),
        "monto_despacho": 0,
        "monto_total": number(net + taxes),
        "proveedor_seleccionado": 0,
        "descripcion_cotizacion": "Oferta según lo solicitado.",
        "productos_cotizados": [],
        "estado": 3,
        "justificacion_inadmisibilidad": null,
        "estado_por_comprador": null,
        "activo": true,
        "id_oc": null,
        "nombre_impuesto": "IVA",
        "porcentaje_impuesto": 19,
    })
}
