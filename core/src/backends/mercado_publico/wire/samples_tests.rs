//! The recorded bodies: each decodes, nothing of it is lost, and it survives what the services do to it.

use std::path::PathBuf;

use serde_json::Value;

use super::v1::V1;
use super::*;
use crate::procure::json::prepared;
use crate::procure::{
    Currency, Estimation, OrderState, OrderType, PaymentTerm, QuickPurchaseState, Raw, TenderState,
    TenderType,
};

fn sample(name: &str) -> Body {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conformance/recorded/mercado_publico");
    let bytes = std::fs::read(folder.join(format!("{name}.json"))).expect(name);
    body(bytes, name)
}

fn body(bytes: Vec<u8>, name: &str) -> Body {
    let source = match name.get(..2) {
        Some("v1") => Source::V1,
        Some("v2") => Source::COMPRA_AGIL,
        _ => Source::OCDS,
    };
    let bytes = prepared(bytes.into()).expect("prepared");
    Body::new(bytes, source, Timestamp::of_unix_millis(1_792_000_000_000))
}

fn listed<T: std::fmt::Debug>(answer: V1<T>) -> Vec<T> {
    match answer {
        V1::List { rows, .. } => rows,
        V1::Failure(failure) => panic!("{failure:?}"),
    }
}

fn decimal(text: &str) -> crate::procure::Decimal {
    text.parse().expect("a number")
}

/// The raw text is the element of the body at `pointer`, value for value.
fn assert_nothing_lost(body: &Body, pointer: &str, raw: &Raw) {
    let whole: Value = serde_json::from_slice(&body.bytes).expect("json");
    let expected = whole.pointer(pointer).expect(pointer);
    assert_eq!(&raw.to_json(), expected, "{pointer}");
    assert!(
        String::from_utf8_lossy(&body.bytes).contains(raw.as_str()),
        "the text itself is a slice of the body"
    );
}

#[test]
fn a_list_of_tenders_is_read_whole() {
    let body = sample("v1-tender-list");
    let rows = listed(v1::tenders(&body).expect("read"));
    let states: Vec<_> = rows.iter().map(|row| row.state.clone()).collect();
    assert_eq!(
        states,
        [TenderState::Published, TenderState::Closed, TenderState::Awarded, TenderState::Revoked]
    );
    assert_eq!(rows[1].name, "MANTENCIÓN DE ASCENSORES \"EDIFICIO NORTE\"");
    assert_eq!(rows[0].closes.expect("closes").to_string(), "2026-10-26T15:30:00-03:00");
    assert_eq!(rows[3].closes, None);
    for (index, row) in rows.iter().enumerate() {
        assert_nothing_lost(&body, &format!("/Listado/{index}"), &row.origin.raw);
        assert!(row.parsed_code().is_ok() && row.origin.source == Source::V1);
    }
    assert!(listed(v1::tenders(&sample("v1-tender-list-empty")).expect("read")).is_empty());
}

#[test]
fn an_open_tender_is_read_whole_and_is_not_awarded() {
    let body = sample("v1-tender-detail-published");
    let tender = listed(tender::read(&body).expect("read")).remove(0);
    assert_eq!(tender.deadline().expect("closes").to_string(), "2026-10-26T15:30:00-03:00");
    assert_eq!((tender.award.as_ref(), tender.dates.awarded), (None, None));
    assert_eq!(tender.dates.expected_award.expect("expected").to_string(), "2026-12-01T18:00:00-03:00");
    assert_eq!((tender.kind, tender.estimation), (Some(TenderType::Le), Some(Estimation::Budget)));
    assert_eq!(tender.estimated_amount, None, "an amount that is not shown is not zero");
    assert_eq!(tender.items[1].quantity, Some(decimal("1.5")));
    let buyer = tender.buyer.expect("a buyer");
    assert_eq!(buyer.region.as_deref(), Some("Región del Maule"));
    assert!(buyer.tax_number.expect("a RUT").parse::<crate::procure::Rut>().is_ok());
    assert_nothing_lost(&body, "/Listado/0", &tender.row.origin.raw);
}

#[test]
fn an_awarded_tender_says_who_won_which_line() {
    let body = sample("v1-tender-detail-awarded-clf");
    let tender = listed(tender::read(&body).expect("read")).remove(0);
    let amount = tender.estimated_amount.expect("an amount");
    assert_eq!((amount.amount, amount.currency), (decimal("41250.75"), Currency::Clf));
    let award = tender.award.expect("awarded");
    assert_eq!((award.number.as_deref(), award.bidders), (Some("1542"), Some(4)));
    let won = tender.items[0].award.as_ref().expect("a winner");
    assert_eq!(won.unit_price.as_ref().expect("a price").to_string(), "38999.5 CLF");
    assert_eq!(tender.items[1].award, None);
    assert_eq!(tender.payment, Some(PaymentTerm::Unknown(8)), "its label is disputed");
    assert_nothing_lost(&body, "/Listado/0", &tender.row.origin.raw);
}

#[test]
fn orders_are_read_whole() {
    let rows = listed(v1::orders(&sample("v1-po-list")).expect("read"));
    assert_eq!(rows[2].state, OrderState::Received);
    assert_eq!(rows[3].parsed_code().expect("a code").kind(), &OrderType::Other("TD".to_owned()));
    let body = sample("v1-po-detail");
    let order = listed(order::read(&body).expect("read")).remove(0);
    assert_eq!(order.total.expect("a total").to_string(), "41650.0 CLP");
    assert_eq!((order.kind, order.tender_code.as_deref()), (Some(OrderType::Se), Some("990101-9-LE26")));
    let supplier = order.supplier.expect("a supplier");
    assert_eq!(supplier.tax_number.as_deref(), Some("76.990.022-5"));
    assert_eq!(supplier.contact.expect("a contact").mail.as_deref(), Some("contacto@example.invalid"));
    assert!(order.row.origin.raw.as_str().contains("3.933333333333333"));
    assert_nothing_lost(&body, "/Listado/0", &order.row.origin.raw);
}

#[test]
fn buyers_and_suppliers_are_read_whole() {
    let body = sample("v1-buyers");
    let buyers = listed(v1::buyers(&body).expect("read"));
    assert_eq!((buyers.len(), buyers[2].name.as_str()), (3, "Dirección Ficticia de Obras"));
    assert_nothing_lost(&body, "/listaEmpresas/2", &buyers[2].origin.as_ref().expect("an origin").raw);
    assert_eq!(listed(v1::suppliers(&sample("v1-supplier-search")).expect("read"))[0].code, "9917793");
    assert!(listed(v1::suppliers(&sample("v1-supplier-search-empty")).expect("read")).is_empty());
}

#[test]
fn quick_purchases_are_read_whole_and_their_mark_is_false() {
    let body = sample("v2-compra-agil-list");
    let payload = compra_agil::payload(&body.bytes).expect("read").expect("a success");
    let page = compra_agil::page(&body, payload).expect("a page");
    assert_eq!((page.pages, page.total, page.rows.len()), (1, Some(2), 2));
    let [first, second] = &page.rows[..] else { panic!("two rows") };
    assert_eq!(first.changed.expect("changed").to_string(), "2026-10-14T09:15:00.38-03:00");
    assert_eq!(second.budget.as_ref().expect("a budget").to_string(), "1850.5 USD");
    assert_eq!((first.region, second.region), (Some(3), None));
    assert_nothing_lost(&body, "/payload/items/1", &second.origin.raw);

    let utc = Body { mark: ZoneMark::Utc, ..body.clone() };
    let repaired = compra_agil::page(&utc, payload).expect("a page");
    assert_eq!(repaired.rows[0].changed.expect("changed").to_string(), "2026-10-14T06:15:00.38-03:00");

    let body = sample("v2-compra-agil-detail-published");
    let payload = compra_agil::payload(&body.bytes).expect("read").expect("a success");
    let detail = compra_agil::detail(&body, payload).expect("a detail");
    assert_eq!((&detail.row.state, detail.delivery_days), (&QuickPurchaseState::Published, Some(4)));
    assert_eq!((detail.items[0].unit.as_deref(), detail.documents.len()), (Some("EA"), 1));
    assert_eq!(detail.second_call_closes.expect("closes").to_string(), "2026-10-16T17:45:00-03:00");
    assert_nothing_lost(&body, "/payload", &detail.row.origin.raw);
    let empty = sample("v2-compra-agil-list-empty");
    let payload = compra_agil::payload(&empty.bytes).expect("read").expect("a success");
    assert!(compra_agil::page(&empty, payload).expect("a page").rows.is_empty());
}

#[test]
fn ocds_packages_name_losing_bidders() {
    let body = sample("ocds-record-package");
    let tender = ocds::tenders(&body).expect("read").remove(0);
    assert_eq!((tender.row.code.as_str(), &tender.row.state), ("990103-77-LR26", &TenderState::Awarded));
    assert_eq!(tender.bidders.len(), 2);
    assert_eq!(tender.bidders[1].tax_number.as_deref(), Some("769900446"));
    assert_eq!(tender.award.expect("an award").value.expect("a value").to_string(), "38999.5 CLF");
    let won = tender.items[0].award.as_ref().expect("a winner");
    assert_eq!(won.unit_price.as_ref().expect("a price").to_string(), "38999.5 CLF");
    assert_eq!(tender.row.closes.expect("closes").to_string(), "2026-07-02T15:00:00-04:00");
    assert_nothing_lost(&body, "/records/0/compiledRelease", &tender.row.origin.raw);
    for name in ["ocds-release-package-tender", "ocds-release-package-award"] {
        let body = sample(name);
        let tender = ocds::tenders(&body).expect(name).remove(0);
        assert_eq!(tender.row.code, "990103-77-LR26", "{name}");
        assert_nothing_lost(&body, "/releases/0", &tender.row.origin.raw);
    }
    let index = ocds::index(&sample("ocds-index-page")).expect("an index");
    assert_eq!((index.codes[0].as_str(), index.total), ("990101-12-LE26", Some(2)));
}

/// What no recorded body has: the lines and reasons of quotes, contacts and related processes in OCDS.
#[test]
fn quotes_reasons_contacts_and_related_processes_are_typed() {
    let quick = br#"{"success":"OK","payload":{"codigo":"1-1-COT26","presupuesto":{"moneda":"CLP"},
        "motivos":{"motivo_cancelacion":null,"motivo_seleccion":"Menor precio"},"proveedores_cotizando":[{
        "razon_social":"UNO","valor_neto":100,"total_impuesto":"19","monto_despacho":5,"monto_total":124,
        "fecha_vigencia":"2026-11-01 10:00","justificacion_inadmisibilidad":" ","proveedor_seleccionado":1,
        "productos_cotizados":[{"codigo_producto":42132205,"nombre":"Guantes","cantidad":2,"precio_unitario":50}]}]}}"#;
    let body = body(quick.to_vec(), "v2");
    let payload = compra_agil::payload(&body.bytes).expect("read").expect("a success");
    let detail = compra_agil::detail(&body, payload).expect("a detail");
    assert_eq!((detail.choice_reason.as_deref(), detail.cancel_reason), (Some("Menor precio"), None));
    let quote = &detail.quotes[0];
    let written = |money: &Option<crate::procure::Money>| money.as_ref().map(ToString::to_string);
    assert_eq!(
        (written(&quote.taxes).as_deref(), written(&quote.shipping).as_deref()),
        (Some("19 CLP"), Some("5 CLP"))
    );
    assert_eq!(
        (quote.inadmissible.as_deref(), quote.items[0].product_code.as_deref()),
        (None, Some("42132205"))
    );
    assert_eq!(written(&quote.items[0].unit_price).as_deref(), Some("50 CLP"));
    assert_eq!(quote.valid_until.expect("a time").to_string(), "2026-11-01T10:00:00-03:00");

    let release = r#"{"releases":[{"ocid":"ocds-70d2nz-1-1-CM26","tender":{"id":"1-1-CM26","procuringEntity":{"id":"a"}},
        "parties":[{"id":"a","name":"Uno","roles":["buyer"],"contactPoint":{"name":"Ana","email":"a@x.example"}}],
        "relatedProcesses":[{"id":"1","relationship":["framework"],"identifier":"2239-9-LR22"}]}]}"#;
    let tender = ocds::tenders(&self::body(release.into(), "ocds")).expect("read").remove(0);
    let contact = tender.buyer.expect("a buyer").contact.expect("a contact");
    assert_eq!((contact.name.as_deref(), contact.mail.as_deref()), (Some("Ana"), Some("a@x.example")));
    let related = &tender.related[0];
    assert_eq!(
        (related.identifier.as_deref(), &related.relationships[..]),
        (Some("2239-9-LR22"), &["framework".to_owned()][..])
    );
}

#[test]
fn failures_inside_a_success_are_failures() {
    for (name, code, says) in [
        ("v1-error-ticket-invalid", 203, "Ticket no"),
        ("v1-error-daily-quota", 203, "cuota"),
        ("v1-error-simultaneous", 10500, "simult"),
        ("v1-error-unknown-param", 400, "parametro"),
    ] {
        let V1::Failure(failure) = v1::envelope(&sample(name).bytes).expect(name) else { panic!("{name}") };
        assert_eq!(failure.code, Some(code));
        assert!(failure.message.contains(says), "{name}");
    }
    for name in ["v2-error-400", "v2-error-401", "v2-error-404", "v2-error-429", "v2-error-500"] {
        let failures = compra_agil::payload(&sample(name).bytes).expect("read").expect_err(name);
        assert_eq!(failures.0.len(), 1, "{name}");
    }
    let kind = |name: &str| ocds::index(&sample(name)).expect_err(name).kind();
    assert_eq!(kind("ocds-index-no-results"), crate::ErrorKind::NotFound);
    assert_eq!(kind("ocds-route-not-found"), crate::ErrorKind::ResponseInvalid);
}

/// Every recorded body, by what reads it.
fn read_any(name: &str, body: &Body) -> Result<(), crate::Error> {
    match name {
        "v1-tender-list" | "v1-tender-list-empty" => v1::tenders(body).map(drop),
        "v1-po-list" => v1::orders(body).map(drop),
        "v1-buyers" => v1::buyers(body).map(drop),
        "v1-po-detail" => order::read(body).map(drop),
        name if name.starts_with("v1-tender-detail") => tender::read(body).map(drop),
        name if name.starts_with("v1") => v1::suppliers(body).map(drop),
        name if name.starts_with("v2") => match compra_agil::payload(&body.bytes)? {
            Ok(payload) if name.contains("detail") => compra_agil::detail(body, payload).map(drop),
            Ok(payload) => compra_agil::page(body, payload).map(drop),
            Err(_) => Ok(()),
        },
        _ => ocds::tenders(body).map(drop),
    }
}

const BODIES: &str = "v1-tender-list v1-po-list v1-buyers v1-tender-detail-published v1-tender-detail-awarded-clf \
    v1-po-detail v2-compra-agil-list v2-compra-agil-detail-published ocds-record-package";

/// A body whose every leaf is of another type: numbers as text, texts blank, anything null.
fn drifted(value: &Value, how: usize) -> Value {
    match (value, how) {
        (Value::Array(list), _) => list.iter().map(|value| drifted(value, how)).collect(),
        (Value::Object(map), _) => {
            let keep = ["success", "codigo", "CodigoExterno", "Codigo", "CodigoEmpresa", "ocid", "id"];
            let changed = |(name, value): (&String, &Value)| {
                let value = if keep.contains(&name.as_str()) { value.clone() } else { drifted(value, how) };
                (name.clone(), value)
            };
            Value::Object(map.iter().map(changed).collect())
        }
        (Value::Number(number), 0) => Value::String(number.to_string()),
        (Value::String(_), 1) => Value::String(" ".to_owned()),
        (Value::String(text), 2) if text.parse::<i64>().is_ok() => {
            text.parse::<i64>().expect("a number").into()
        }
        (Value::Number(_) | Value::String(_), 3) => Value::Null,
        (other, _) => other.clone(),
    }
}

#[test]
fn every_body_survives_drifting_types_and_null_bytes() {
    for name in BODIES.split(' ') {
        let whole: Value = serde_json::from_slice(&sample(name).bytes).expect("json");
        for how in 0..4 {
            let text = serde_json::to_string(&drifted(&whole, how)).expect("json").replace(',', ",\0");
            read_any(name, &body(text.into_bytes(), name))
                .unwrap_or_else(|error| panic!("{name} {how}: {error}"));
        }
    }
}

#[test]
fn every_truncated_body_is_refused_as_one() {
    for name in BODIES.split(' ') {
        let whole = sample(name).bytes.trim_ascii_end().to_vec();
        for end in (1..whole.len()).step_by(7).filter(|end| std::str::from_utf8(&whole[..*end]).is_ok()) {
            let error = read_any(name, &body(whole[..end].to_vec(), name)).expect_err(name);
            assert!(error.message().contains("truncated"), "{name} {end}: {error}");
        }
    }
}

#[test]
fn personal_data_can_be_dropped_from_every_body() {
    for name in BODIES.split(' ') {
        let body = sample(name);
        let clean = Body { bytes: privacy::scrubbed(&body.bytes).expect(name), ..body };
        read_any(name, &clean).expect(name);
        let text = String::from_utf8(clean.bytes.to_vec()).expect("text");
        for personal in
            ["Persona De Prueba", "Contacto Ficticio", "contacto@example.invalid", "Encargada de Compras"]
        {
            assert!(!text.contains(personal), "{name}");
        }
    }
}

#[test]
fn a_member_without_a_name_is_nobodys_contact() {
    let nameless = br#"{"Listado":[{"CodigoExterno":"1-1-LE26","":"Ana","Comprador":{"":"Ana"}}]}"#;
    let tender = listed(tender::read(&body(nameless.to_vec(), "v1")).expect("read")).remove(0);
    assert_eq!((tender.payment_contact, tender.contract_contact), (None, None));
    assert_eq!(tender.buyer.expect("a buyer").contact, None);
}
