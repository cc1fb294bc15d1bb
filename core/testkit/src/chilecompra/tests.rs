//! The services without HTTP: what they answer, refuse and count.

use std::sync::Arc;

use serde_json::{Value, json};

use super::services::Services;
use super::*;
use crate::server::Received;
use ayni::procure::{Date, ZoneMark};

const TICKET: &str = "T-1";

fn moment(text: &str) -> Timestamp {
    Timestamp::read(text, ZoneMark::WallClock).expect("a moment")
}

fn day(text: &str) -> Date {
    text.parse().expect("a day")
}

fn services_of(from: &str, to: &str) -> Arc<Services> {
    let spec = WorldSpec::new(7).with_records(8, 12, 30);
    let days = (day(from), day(to));
    let clock = WorldClock::new(moment("2026-10-14T12:00:00"), false);
    Arc::new(Services::new(World::new(&spec, days.0, days.1), days, clock))
}

fn services() -> Arc<Services> {
    services_of("2026-08-20", "2026-11-10")
}

fn request(target: &str, ticket_header: bool) -> Received {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let headers = if ticket_header { vec![("ticket".to_owned(), TICKET.to_owned())] } else { Vec::new() };
    Received {
        host: Host::Main,
        method: "GET".to_owned(),
        path: path.to_owned(),
        query,
        headers,
        body: Vec::new(),
    }
}

async fn asked(services: &Arc<Services>, target: &str) -> (u16, String) {
    let respond = services.answer(&request(target, target.starts_with("/v2/"))).await;
    (respond.status.expect("a status"), respond.text.or(respond.html).expect("a body"))
}

/// What v1 answers under a ticket.
async fn v1(services: &Arc<Services>, target: &str) -> (u16, Value) {
    let joint = if target.contains('?') { '&' } else { '?' };
    let (status, body) =
        asked(services, &format!("/servicios/v1/publico/{target}{joint}ticket={TICKET}")).await;
    (status, serde_json::from_str(&body).expect("JSON"))
}

async fn json_of(services: &Arc<Services>, target: &str) -> (u16, Value) {
    let (status, body) = asked(services, target).await;
    (status, serde_json::from_str(&body).expect("JSON"))
}

fn codes(body: &Value, list: &str, code: &str) -> Vec<String> {
    let rows = body.pointer(list).and_then(Value::as_array).expect("rows");
    rows.iter().map(|row| row[code].as_str().expect("a code").to_owned()).collect()
}

#[tokio::test]
async fn a_seed_makes_one_world_whatever_days_it_has() {
    let (long, short) = (services(), services_of("2026-10-01", "2026-10-20"));
    let target = "licitaciones.json?fecha=14102026&estado=publicada";
    let published = |body: &Value| codes(body, "/Listado", "CodigoExterno");
    let (all, few) = (published(&v1(&long, target).await.1), published(&v1(&short, target).await.1));
    assert!(!few.is_empty() && few.iter().all(|code| all.contains(code)), "{few:?} {all:?}");
    let detail = format!("licitaciones.json?codigo={}", few[0]);
    let listado = |body: Value| body["Listado"].clone();
    assert_eq!(listado(v1(&long, &detail).await.1), listado(v1(&short, &detail).await.1));
}

#[tokio::test]
async fn time_goes_on_and_records_with_it() {
    let services = services();
    let states = async || {
        let mut states = std::collections::BTreeMap::new();
        for tender in &services.world.tenders {
            let (_, body) = v1(&services, &format!("licitaciones.json?codigo={}", tender.code)).await;
            let state = body.pointer("/Listado/0/Estado").map(Value::to_string);
            *states.entry(state).or_insert(0) += 1;
        }
        states
    };
    let before = states().await;
    services.state().clock.advance(Duration::from_secs(20 * 24 * 3600));
    let after = states().await;
    let count = |states: &std::collections::BTreeMap<Option<String>, i32>, state: &str| {
        states.get(&Some(format!("\"{state}\""))).copied().unwrap_or(0)
    };
    assert!(
        before[&None] > after.get(&None).copied().unwrap_or(0),
        "more is published: {before:?} {after:?}"
    );
    assert!(count(&after, "Adjudicada") > count(&before, "Adjudicada"), "{before:?} {after:?}");
    assert!(count(&before, "Publicada") > 0 && count(&before, "Revocada") > 0, "{before:?}");
}

#[tokio::test]
async fn v1_takes_what_is_documented_and_refuses_the_rest() {
    let services = services();
    for (target, status, code) in [
        ("licitaciones.json?fechadesde=01102026", 400, 400),
        ("licitaciones.json?fecha=2026-10-14", 500, 10300),
        ("licitaciones.json?fecha=31022026", 500, 10300),
        ("licitaciones.json?codigo=nada", 500, 10300),
        ("ordenesdecompra.json?estado=recepcionadaparcialmente", 500, 10300),
        ("Empresas/BuscarProveedor", 500, 10300),
    ] {
        let (told, body) = v1(&services, target).await;
        assert_eq!((told, &body["Codigo"]), (status, &json!(code)), "{target}");
    }
    assert_eq!(v1(&services, "OrdenCompra.json?codigo=1-1-SE26").await.0, 404);
    let (status, body) = asked(&services, "/servicios/v1/publico/licitaciones.json").await;
    assert_eq!((status, body.contains("Ticket no válido.")), (203, true));
    let (_, empty) = v1(&services, "licitaciones.json?codigo=1-1-LE26").await;
    assert_eq!((&empty["Cantidad"], &empty["Listado"]), (&json!(0), &json!([])));
    let (_, jsonp) =
        asked(&services, &format!("/servicios/v1/Publico/licitaciones.jsonp?callback=f&Ticket={TICKET}"))
            .await;
    assert!(jsonp.starts_with("f({\"Cantidad\":") && jsonp.ends_with(");"), "{jsonp}");
}

#[tokio::test]
async fn v1_filters_by_body_and_supplier_and_finds_firms_by_tax_number() {
    let services = services();
    let (_, all) = v1(&services, "ordenesdecompra.json?fecha=13102026&estado=todos").await;
    let all = codes(&all, "/Listado", "Codigo");
    let mut of_bodies = Vec::new();
    for body in &services.world.bodies {
        let target = format!("ordenesdecompra.json?fecha=13102026&CodigoOrganismo={}", body.code);
        of_bodies.extend(codes(&v1(&services, &target).await.1, "/Listado", "Codigo"));
    }
    assert_eq!((of_bodies.len(), all.is_empty()), (all.len(), false));
    services.state().behave(Behaviour { filter_loses_one_in: 1, ..Behaviour::default() });
    let lossy =
        format!("ordenesdecompra.json?fecha=13102026&CodigoOrganismo={}", services.world.bodies[0].code);
    assert_eq!(v1(&services, &lossy).await.1["Cantidad"], 0);
    let firm = &services.world.firms[3];
    let rut = firm.tax_number.expect("a RUT");
    for (written, found) in [(rut.to_string(), 1), (rut.compact(), 0)] {
        let (_, body) =
            v1(&services, &format!("Empresas/BuscarProveedor?rutempresaproveedor={written}")).await;
        assert_eq!(body["Cantidad"], found, "{written}");
    }
    let (_, buyers) = v1(&services, "Empresas/BuscarComprador").await;
    assert_eq!(buyers["Cantidad"], services.world.bodies.len());
}

#[tokio::test]
async fn quick_purchases_are_paged_and_checked_as_the_guide_and_the_measurements_say() {
    let services = services();
    for refused in [
        "",
        "estado=oc_emitida",
        "estado=publicada&tamano_pagina=5",
        "estado=publicada&tamano_pagina=51",
        "estado=publicada&fecha=14102026",
        "q=aseo&id=1-1-COT26",
        "ttl_cambio_ms=1&cambio_desde=2026-10-14T00:00:00Z&cambio_hasta=2026-10-14T01:00:00Z",
        "region=17",
    ] {
        let (status, body) = json_of(&services, &format!("/v2/compra-agil?{refused}")).await;
        assert_eq!((status, &body["success"]), (400, &json!("NOK")), "{refused}");
    }
    let window = "cambio_desde=2026-10-12T00:00:00Z&cambio_hasta=2026-10-14T23:59:59Z&tamano_pagina=10";
    let (_, first) = json_of(&services, &format!("/v2/compra-agil?{window}")).await;
    let paging = &first["payload"]["paginacion"];
    let (pages, total) =
        (paging["total_paginas"].as_u64().expect("pages"), paging["total_resultados"].clone());
    let mut found = Vec::new();
    for page in 1..=pages {
        let (_, body) = json_of(&services, &format!("/v2/compra-agil?{window}&numero_pagina={page}")).await;
        found.extend(codes(&body, "/payload/items", "codigo"));
    }
    let different: std::collections::HashSet<&String> = found.iter().collect();
    assert_eq!((json!(different.len()), pages > 2), (total, true));
    // Stamps are Santiago's, and compared with the real UTC: three hours show nothing.
    let (_, recent) = json_of(&services, "/v2/compra-agil?ttl_cambio_ms=10800000").await;
    assert_eq!(recent["payload"]["paginacion"]["total_resultados"], 0);
    let (_, longer) = json_of(&services, "/v2/compra-agil?ttl_cambio_ms=25200000").await;
    assert_ne!(longer["payload"]["paginacion"]["total_resultados"], 0);
    let (status, detail) = json_of(&services, &format!("/v2/compra-agil/{}", found[0])).await;
    assert_eq!((status, &detail["payload"]["codigo"]), (200, &json!(found[0])));
    assert_eq!(json_of(&services, "/v2/compra-agil/1-1-COT26").await.0, 404);
    assert_eq!(services.answer(&request("/v2/compra-agil?estado=publicada", false)).await.status, Some(401));
}

#[tokio::test]
async fn ocds_lags_and_fails_inside_a_success() {
    let services = services();
    let list = |list: &str, month: &str| format!("/APISOCDS/OCDS/{list}/2026/{month}/0/1000");
    for list_name in ["listaOCDSAgnoMes", "listaOCDSAgnoMesTratoDirecto", "listaOCDSAgnoMesConvenio"] {
        let (status, month) = json_of(&services, &list(list_name, "09")).await;
        let codes = codes(&month, "/data", "ocid");
        assert_eq!((status, &month["pagination"]["total"]), (200, &json!(codes.len())), "{list_name}");
        let code = codes[0].trim_start_matches("ocds-70d2nz-");
        let (_, record) = json_of(&services, &format!("/APISOCDS/OCDS/record/{code}")).await;
        assert_eq!(record["records"][0]["ocid"], json!(codes[0]));
        let (_, late) = json_of(&services, &list(list_name, "10")).await;
        assert_eq!(late, json!({"status": 404, "detail": "No se encontraron resultados."}));
    }
    assert_eq!(json_of(&services, "/OCDS/data/listaAnoMes/2026/09/0/10").await.1["statusCode"], 404);
    assert!(json_of(&services, "/OCDS/data/listaA%C3%B1oMes/2026/09/0/10").await.1["data"].is_array());
}

#[tokio::test]
async fn tickets_have_a_quota_a_day_in_santiago_and_can_die() {
    let services = services();
    services.state().clock.set(moment("2026-10-14T23:59:58"));
    services.state().behave(Behaviour { daily_quota: 2, ..Behaviour::default() });
    let ask = async || v1(&services, "licitaciones.json").await;
    for expected in [200, 200, 203] {
        assert_eq!(ask().await.0, expected);
    }
    assert_eq!(json_of(&services, "/v2/compra-agil?estado=publicada").await.0, 429);
    services.state().clock.advance(Duration::from_secs(2));
    assert_eq!(ask().await.0, 200, "a new day");
    let report = control::report(&services);
    assert_eq!(report.spent, [("2026-10-14".to_owned(), 4), ("2026-10-15".to_owned(), 1)].into());
    services.state().behave(Behaviour { ticket_dies_after: Some(1), ..Behaviour::default() });
    assert_eq!(ask().await.1["Version"], "v1");
    assert_eq!(ask().await.1["Mensaje"], "Ticket no válido.");
    services.state().behave(Behaviour { tickets: vec!["other".to_owned()], ..Behaviour::default() });
    assert_eq!(ask().await.1["Mensaje"], "Ticket no válido.");
    assert!(!format!("{:?}", control::report(&services)).contains(TICKET));
}

#[tokio::test]
async fn a_second_request_of_a_ticket_is_refused_while_one_is_in_flight() {
    let services = services();
    services.state().behave(Behaviour { latency_ms: 30, simultaneous_status: 500, ..Behaviour::default() });
    let target = "licitaciones.json?estado=activas";
    let (first, second) = tokio::join!(v1(&services, target), v1(&services, target));
    let mut statuses = [first.0, second.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 500]);
    assert_eq!(v1(&services, target).await.0, 200, "it is over");
    let report = control::report(&services);
    assert_eq!((report.violations, report.most_in_flight, report.requests), (1, 2, 3));
}

#[tokio::test]
async fn the_control_takes_changes_and_refuses_mistakes() {
    let services = services();
    let post = |body: &str| {
        let received = Received {
            method: "POST".to_owned(),
            body: body.as_bytes().to_vec(),
            ..request("/__chilecompra", false)
        };
        let respond = control::answer(&received, &services).expect("for the server itself");
        (respond.status.expect("a status"), respond.json.expect("JSON"))
    };
    let (status, report) = post(
        r#"{"now": "2026-10-14T23:59:50-03:00", "advance_seconds": 20, "running": false,
            "behaviour": {"daily_quota": 5, "faults": [{"at": "fecha=", "what": "html", "times": 1}]}}"#,
    );
    assert_eq!((status, &report["now"]), (200, &json!("2026-10-15T00:00:10-03:00")));
    assert_eq!(report["behaviour"]["daily_quota"], 5);
    assert_eq!(report["behaviour"]["one_in_flight"], true);
    for mistake in ["{", r#"{"nwo": "x"}"#, r#"{"now": "x"}"#, r#"{"behaviour": {"latency": 1}}"#] {
        assert_eq!(post(mistake).0, 400, "{mistake}");
    }
    let bodies: Vec<String> = [
        asked(&services, &format!("/servicios/v1/publico/licitaciones.json?fecha=14102026&ticket={TICKET}"))
            .await
            .1,
        asked(&services, &format!("/servicios/v1/publico/licitaciones.json?fecha=14102026&ticket={TICKET}"))
            .await
            .1,
    ]
    .into();
    assert!(bodies[0].starts_with("<html>") && bodies[1].starts_with('{'), "{bodies:?}");
    assert_eq!(post(r#"{"forget": true}"#).1["requests"], 0);
}
