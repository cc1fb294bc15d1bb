//! The client over a service that behaves as ChileCompra does.

use std::time::Duration;

use futures_util::StreamExt;

use super::testing::{Bench, TICKET, day, range};
use super::*;
use crate::error::{ErrorKind, Persistence};
use crate::procure::store::RecordKind;
use crate::procure::{
    Change, Completeness, GetRequest, ListRequest, ProcurementClient, Sorting, TenderState,
};

const SIMULTANEOUS: &str =
    r#"{"Codigo":10500,"Mensaje":"Lo sentimos. Hemos detectado que existen peticiones simultáneas."}"#;
const SPENT: &str = r#"{"Codigo":203,"Mensaje":"Ticket superó la cuota diaria asignada."}"#;
const REFUSED: &str = r#"{"Codigo":203,"Mensaje":"Ticket no válido."}"#;

/// Three days with a tender each, at noon of the third.
fn three_days() -> Bench {
    let bench = Bench::at("2026-10-14T12:00:00");
    bench.chile.lists("12102026", "1-1-LE26", (8, "2026-10-10T15:00:00"));
    bench.chile.lists("13102026", "1-2-LP26", (5, "2026-10-20T15:00:00"));
    bench.chile.lists("14102026", "1-3-LE26", (5, "2026-10-21T15:00:00"));
    bench.chile.lists("14102026", "1-2-LP26", (5, "2026-10-20T15:00:00"));
    bench
}

async fn planned(client: &MercadoPublico, cx: &crate::Context, list: &ListRequest) -> crate::procure::Plan {
    let request = crate::procure::PlanRequest::new(RecordKind::Tender, list.clone());
    client.plan(cx, request).await.expect("a plan").record
}

#[tokio::test]
async fn a_range_costs_what_was_planned_and_again_only_what_can_have_changed() {
    let bench = three_days();
    let (client, cx) = (bench.client(), bench.cx());
    let request = range("2026-09-15", "2026-10-14");
    let plan = planned(&client, &cx, &request).await;
    assert_eq!((plan.calls, plan.exact, plan.days_asked.len()), (30, true, 30));
    assert!((plan.quota_percent - 0.3).abs() < 1e-9 && plan.least_seconds >= 58.0);
    assert_eq!(bench.chile.calls(), 0, "a plan asks nothing");

    let listing = client.tenders(&cx, request.clone()).await.expect("a listing");
    assert_eq!(bench.chile.calls(), 30);
    assert_eq!(client.quota(&cx).await.expect("read").used, 30);
    let codes: Vec<&str> = listing.rows.iter().map(|row| row.code.as_str()).collect();
    assert_eq!(codes, ["1-3-LE26", "1-2-LP26", "1-1-LE26"], "newest first, each once");
    assert_eq!(listing.days[0].completeness, Completeness::Partial, "today is not over");
    assert!(listing.days[1..].iter().all(|day| day.completeness == Completeness::Complete));

    client.tenders(&cx, request.clone()).await.expect("a listing");
    assert_eq!(bench.chile.calls(), 30, "at once nothing can have changed");
    bench.set("2026-10-14T20:00:00");
    let plan = planned(&client, &cx, &request).await;
    client.tenders(&cx, request).await.expect("a listing");
    let again = &bench.chile.asked()[30..];
    assert_eq!(again.len(), plan.calls as usize);
    assert_eq!(
        again,
        ["14102026", "13102026", "12102026"]
            .map(|day| format!("/servicios/v1/publico/licitaciones.json?fecha={day}"))
    );
}

#[tokio::test]
async fn listings_are_filtered_here_and_go_on_from_their_cursor() {
    let bench = three_days();
    let (client, cx) = (bench.client(), bench.cx());
    let request = range("2026-10-12", "2026-10-14").with_sorting(Sorting::OldestFirst);
    let first = client.tenders(&cx, request.clone().with_limit(2)).await.expect("a page");
    let codes = |listing: &crate::procure::Listing<crate::procure::TenderRow>| -> Vec<String> {
        listing.rows.iter().map(|row| row.code.clone()).collect()
    };
    assert_eq!(codes(&first), ["1-1-LE26", "1-2-LP26"]);
    let cursor = first.next_cursor.expect("more");
    let rest = client.tenders(&cx, request.clone().with_cursor(&cursor)).await.expect("the rest");
    assert!(codes(&rest).contains(&"1-3-LE26".to_owned()) && rest.next_cursor.is_none());
    let other =
        client.tenders(&cx, request.clone().with_text("x").with_cursor(&cursor)).await.expect_err("another");
    assert_eq!(other.kind(), ErrorKind::InvalidRequest);
    for (filtered, expected) in [
        (request.clone().with_kinds(["le"]), vec!["1-1-LE26", "1-3-LE26"]),
        (request.clone().with_state("adjudicada"), vec!["1-1-LE26"]),
        (request.clone().with_text("COMPRA 1-2"), vec!["1-2-LP26"]),
        (request.clone().with_text("ambulancia"), vec![]),
    ] {
        assert_eq!(codes(&client.tenders(&cx, filtered).await.expect("a listing")), expected);
    }
}

#[tokio::test]
async fn region_and_amount_are_decided_by_details() {
    let bench = three_days();
    let maule = r#""Estado":"Publicada","Moneda":"CLP","MontoEstimado":5000.5,"Comprador":{"RegionUnidad":"Región del Maule "}"#;
    bench.chile.details("1-3-LE26", maule);
    bench.chile.details("1-2-LP26", &maule.replace("5000.5", "900"));
    let (client, cx) = (bench.client(), bench.cx());
    let amount = crate::procure::Money::new("1000".parse().expect("number"), crate::procure::Currency::Clp);
    let request = range("2026-10-12", "2026-10-14").with_region("7").with_amount(amount, None);
    let plan = planned(&client, &cx, &request).await;
    assert!(!plan.exact);
    let listing = client.tenders(&cx, request).await.expect("a listing");
    assert_eq!(listing.rows.iter().map(|row| row.code.as_str()).collect::<Vec<_>>(), ["1-3-LE26"]);
}

#[tokio::test]
async fn the_ticket_appears_nowhere_but_in_the_request() {
    let bench = three_days();
    let (client, cx) = (bench.client(), bench.cx());
    bench.chile.next([
        (500, REFUSED),
        (200, "{\"Cantidad\":"),
        (200, "{\"Cantidad\":"),
        (200, "{\"Cantidad\":"),
    ]);
    let request = range("2026-10-14", "2026-10-14");
    for _ in 0..2 {
        let error = client.tenders(&cx, request.clone()).await.expect_err("refused");
        for text in [format!("{error}"), format!("{error:?}"), format!("{:?}", error.response_excerpt())] {
            assert!(!text.contains("CANARY"), "{text}");
        }
    }
    client.tenders(&cx, request).await.expect("a listing");
    assert!(bench.chile.every_request_carries_the_ticket_once());
    assert!(!format!("{client:?} {:?}", bench.store).contains(TICKET));
}

#[tokio::test]
async fn simultaneous_requests_are_waited_for_and_each_attempt_counts() {
    let bench = three_days();
    let (client, cx) = (bench.client(), bench.cx());
    bench.chile.next([(500, SIMULTANEOUS), (429, SIMULTANEOUS), (200, SIMULTANEOUS)]);
    client.tenders(&cx, range("2026-10-14", "2026-10-14")).await.expect("a listing");
    assert_eq!(client.quota(&cx).await.expect("read").used, 4);
    let waits: Vec<u64> =
        bench.clock.slept().iter().map(Duration::as_secs).filter(|wait| *wait >= 3).collect();
    assert_eq!(waits.len(), 3);
    assert!(
        (3..=4).contains(&waits[0]) && (6..=7).contains(&waits[1]) && (12..=13).contains(&waits[2]),
        "{waits:?}"
    );

    bench.chile.next([(200, SIMULTANEOUS); 4]);
    let error = client.tenders(&cx, range("2026-10-13", "2026-10-13")).await.expect_err("given up");
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::RateLimited, Persistence::Exhausted));
}

#[tokio::test]
async fn clones_and_other_clients_of_a_ticket_have_one_request_in_flight() {
    let mut bench = three_days();
    bench.clock = crate::context::ManualClock::new();
    bench.config = bench.config.with_min_gap_seconds(0.0);
    bench.chile.lets_go();
    let cx = bench.cx();
    let clients = [bench.client(), bench.client()];
    let asks = (0..6).map(|index| {
        let (client, cx) = (clients[index % 2].clone(), cx.clone());
        async move { client.tender(&cx, GetRequest::new(format!("{index}-1-LE26"))).await }
    });
    for outcome in futures_util::future::join_all(asks).await {
        assert_eq!(outcome.expect_err("no such tender").kind(), ErrorKind::NotFound);
    }
    assert_eq!((bench.chile.calls(), bench.chile.most_in_flight()), (6, 1));
}

#[tokio::test]
async fn a_spent_quota_stops_everything_until_santiagos_midnight() {
    let bench = three_days();
    let (client, cx) = (bench.client(), bench.cx());
    bench.chile.next([(203, SPENT)]);
    let request = range("2026-10-14", "2026-10-14");
    let error = client.tenders(&cx, request.clone()).await.expect_err("spent");
    assert_eq!(
        (error.kind(), error.retry_after()),
        (ErrorKind::QuotaExceeded, Some(Duration::from_secs(12 * 3600)))
    );
    let error = client.tenders(&cx, request.clone()).await.expect_err("not even asked");
    assert_eq!((error.kind(), bench.chile.calls()), (ErrorKind::QuotaExceeded, 1));
    bench.set("2026-10-15T00:00:01");
    client.tenders(&cx, request).await.expect("a new day");
}

#[tokio::test]
async fn a_range_that_the_quota_cannot_pay_is_refused_before_anything_is_sent() {
    let mut bench = three_days();
    bench.config = bench.config.with_soft_limit(10);
    let (client, cx) = (bench.client(), bench.cx());
    let error = client.tenders(&cx, range("2026-09-15", "2026-10-14")).await.expect_err("too many");
    assert_eq!((error.kind(), bench.chile.calls()), (ErrorKind::QuotaExceeded, 0));
}

#[tokio::test]
async fn a_ticket_that_dies_in_the_middle_leaves_what_was_found_and_a_cursor() {
    let bench = three_days();
    let (client, cx) = (bench.client(), bench.cx());
    let request = range("2026-10-12", "2026-10-14").with_sorting(Sorting::OldestFirst);
    client.tenders(&cx, range("2026-10-12", "2026-10-12")).await.expect("the first day is kept");
    bench.chile.next([(203, REFUSED)]);
    let listing = client.tenders(&cx, request.clone()).await.expect("what was found");
    let states: Vec<Completeness> = listing.days.iter().map(|day| day.completeness).collect();
    assert_eq!((states, listing.rows.len()), (vec![Completeness::Complete, Completeness::Failed], 1));
    let rest = client
        .tenders(&cx, request.with_cursor(listing.next_cursor.expect("a cursor")))
        .await
        .expect("the rest");
    assert_eq!(rest.rows.len(), 2);
}

#[tokio::test]
async fn an_old_answer_is_better_than_none_and_says_so() {
    let bench = three_days();
    let (client, cx) = (bench.client(), bench.cx());
    let request = range("2026-10-14", "2026-10-14");
    client.tenders(&cx, request.clone()).await.expect("fresh");
    bench.set("2026-10-14T18:00:00");
    bench.chile.next([(502, "<html>"), (502, "<html>"), (503, "<html>")]);
    let listing = client.tenders(&cx, request).await.expect("stale");
    assert!(listing.rows.iter().all(|row| row.origin.stale));
    assert_eq!((listing.days[0].completeness, listing.days[0].from_store), (Completeness::Partial, true));
    assert_eq!(listing.as_of.to_string().get(..19), Some("2026-10-14T12:00:00"));
}

#[tokio::test]
async fn what_never_left_costs_no_quota() {
    let bench = three_days();
    let (client, cx) = (bench.client(), bench.cx());
    bench.chile.next([(0, ""), (0, ""), (0, "")]);
    let error = client.tender(&cx, GetRequest::new("1-3-LE26")).await.expect_err("no connection");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(client.quota(&cx).await.expect("read").used, 0);
}

#[tokio::test]
async fn details_that_are_final_are_asked_for_once() {
    let bench = three_days();
    bench.chile.details("1-1-LE26", r#""CodigoEstado":8,"Estado":"Adjudicada""#);
    bench.chile.details("1-3-LE26", r#""CodigoEstado":5,"Estado":"Publicada""#);
    let (client, cx) = (bench.client(), bench.cx());
    for moment in ["2026-10-14T12:00:00", "2027-01-01T12:00:00"] {
        bench.set(moment);
        for code in ["1-1-LE26", "1-3-LE26"] {
            let answer = client.tender(&cx, GetRequest::new(code)).await.expect("a tender");
            assert_eq!(answer.record.row.code, code);
        }
    }
    assert_eq!(bench.chile.calls(), 3, "the open one twice");
}

#[tokio::test]
async fn pages_that_time_out_are_halved_and_no_row_is_lost_or_given_twice() {
    let bench = three_days();
    let codes: Vec<String> = (0..47).map(|index| format!("{index}-1-COT26")).collect();
    bench.chile.quick(codes.clone(), Some(10));
    let (client, cx) = (bench.client(), bench.cx());
    let listing = client.quick_purchases(&cx, range("2026-10-01", "2026-10-14")).await.expect("a listing");
    assert_eq!(listing.rows.iter().map(|row| row.code.clone()).collect::<Vec<_>>(), codes);
    assert_eq!(listing.total, Some(47));
    assert_eq!(bench.chile.calls(), 1 + 5, "one that timed out, then five of ten");
    assert!(bench.chile.every_request_carries_the_ticket_once());
    let asked = &bench.chile.asked()[0];
    assert!(asked.contains("publicado_desde=2026-10-01T00:00:00Z"), "{asked}");
}

#[tokio::test]
async fn a_sync_tells_every_change_once() {
    let bench = three_days();
    bench.chile.opens("1-2-LP26", Some((5, "2026-10-20T15:00:00")));
    bench.chile.opens("1-3-LE26", Some((5, "2026-10-21T15:00:00")));
    let (client, cx) = (bench.client(), bench.cx());
    let request = SyncRequest::new(RecordKind::Tender, day("2026-10-12"));
    let changes = |report: &SyncReport| -> Vec<(String, Change)> {
        report.events.iter().map(|event| (event.code.clone(), event.change)).collect()
    };
    let first = client.sync(&cx, &request).await.expect("synced");
    let told = |code: &str, change| (code.to_owned(), change);
    assert_eq!(
        changes(&first),
        [
            told("1-2-LP26", Change::Opened),
            told("1-3-LE26", Change::Opened),
            told("1-1-LE26", Change::Awarded)
        ]
    );
    assert_eq!(bench.chile.calls(), 1 + 3);
    let again = client.sync(&cx, &request).await.expect("synced");
    assert_eq!((changes(&again), bench.chile.calls()), (vec![], 4 + 2), "what is open, and today");

    bench.set("2026-10-15T12:00:00");
    bench.chile.opens("1-2-LP26", Some((5, "2026-10-25T15:00:00")));
    bench.chile.opens("1-3-LE26", None);
    bench.chile.details(
        "1-3-LE26",
        r#""CodigoEstado":18,"Estado":"Revocada","Fechas":{"FechaCierre":"2026-10-21T15:00:00"}"#,
    );
    bench.chile.lists("13102026", "1-2-LP26", (5, "2026-10-25T15:00:00"));
    bench.chile.lists("14102026", "1-2-LP26", (5, "2026-10-25T15:00:00"));
    bench.chile.lists("14102026", "1-3-LE26", (18, "2026-10-21T15:00:00"));
    let third = client.sync(&cx, &request).await.expect("synced");
    assert_eq!(changes(&third), [told("1-2-LP26", Change::Amended), told("1-3-LE26", Change::Cancelled)]);
    let kept = bench.store.events(0, 100).await.expect("events");
    assert_eq!(kept.len(), 5);
}

#[tokio::test]
async fn a_tender_that_vanished_is_looked_at() {
    let bench = three_days();
    bench.chile.opens("7-7-LE26", Some((5, "2026-10-14T11:00:00")));
    let (client, cx) = (bench.client(), bench.cx());
    let request = SyncRequest::new(RecordKind::Tender, day("2026-10-14"));
    client.sync(&cx, &request).await.expect("synced");
    bench.chile.opens("7-7-LE26", None);
    bench.chile.details(
        "7-7-LE26",
        r#""CodigoEstado":6,"Estado":"Cerrada","Fechas":{"FechaCierre":"2026-10-14T11:00:00"}"#,
    );
    let report = client.sync(&cx, &request).await.expect("synced");
    let told: Vec<_> = report.events.iter().map(|event| (event.code.as_str(), event.change)).collect();
    assert_eq!(told, [("7-7-LE26", Change::Closed)]);
}

#[tokio::test]
async fn windows_of_changes_are_in_santiagos_wall_clock() {
    let bench = Bench::at("2026-10-14T12:00:00");
    bench.chile.quick(["1-1-COT26".to_owned()], None);
    let (client, cx) = (bench.client(), bench.cx());
    let request = SyncRequest::new(RecordKind::QuickPurchase, day("2026-10-14"));
    let report = client.sync(&cx, &request).await.expect("synced");
    assert_eq!(report.events.len(), 1);
    bench.set("2026-10-14T13:00:00");
    client.sync(&cx, &request).await.expect("synced");
    let asked = bench.chile.asked();
    assert!(
        asked[0].contains("cambio_desde=2026-10-14T00:00:00Z&cambio_hasta=2026-10-14T11:58:00Z"),
        "{}",
        asked[0]
    );
    assert!(
        asked[1].contains("cambio_desde=2026-10-14T11:48:00Z&cambio_hasta=2026-10-14T12:58:00Z"),
        "{}",
        asked[1]
    );
}

#[tokio::test]
async fn more_than_the_service_counts_is_synced_in_smaller_windows_and_never_listed_in_part() {
    let mut bench = Bench::at("2026-10-15T00:05:00");
    bench.config.page_size = 50;
    let codes: Vec<String> = (0..10_400).map(|index| format!("{index}-1-COT26")).collect();
    bench.chile.quick(codes.clone(), None);
    bench.chile.changes_over(crate::procure::Timestamp::start_of(day("2026-10-14")));
    let (client, cx) = (bench.client(), bench.cx());
    let error = client.quick_purchases(&cx, range("2026-10-14", "2026-10-14")).await.expect_err("cut");
    assert_eq!((error.kind(), bench.chile.calls()), (ErrorKind::Unsupported, 1));
    let some = range("2026-10-14", "2026-10-14").with_limit(60);
    let some = client.quick_purchases(&cx, some).await.expect("a listing");
    assert_eq!((some.rows.len(), some.total, some.next_cursor.is_some()), (60, None, true));
    let request = SyncRequest::new(RecordKind::QuickPurchase, day("2026-10-14"));
    let report = client.sync(&cx, &request).await.expect("synced");
    assert_eq!(report.events.len(), codes.len());
}

#[tokio::test]
async fn a_stream_gives_a_listing_a_day() {
    let bench = three_days();
    let stream = bench.client().tender_stream(&bench.cx(), range("2026-10-12", "2026-10-14"));
    let listings: Vec<_> = stream.map(|listing| listing.expect("a day")).collect().await;
    assert_eq!(listings.iter().map(|listing| listing.rows.len()).collect::<Vec<_>>(), [2, 0, 1]);
    assert!(listings.iter().flat_map(|listing| &listing.rows).any(|row| row.state == TenderState::Awarded));
}

#[test]
fn configurations_that_cannot_work_are_refused_by_name() {
    let open = |config: MercadoPublicoConfig| config.open(&crate::Environment::empty()).expect_err("refused");
    for (config, field) in [
        (MercadoPublicoConfig { page_size: 9, ..MercadoPublicoConfig::new() }, "page_size"),
        (MercadoPublicoConfig { soft_limit: 0, ..MercadoPublicoConfig::new() }, "soft_limit"),
        (MercadoPublicoConfig { min_gap_seconds: -1.0, ..MercadoPublicoConfig::new() }, "min_gap_seconds"),
        (MercadoPublicoConfig::new().with_store("mysql://x"), "mysql"),
    ] {
        assert!(open(config).message().contains(field), "{field}");
    }
}

#[tokio::test]
async fn without_a_ticket_the_variable_is_named() {
    let client = MercadoPublicoConfig::new()
        .with_lock(false, None)
        .open(&crate::Environment::empty())
        .expect("opened");
    let error =
        client.tender(&crate::Context::new(), GetRequest::new("1-1-LE26")).await.expect_err("no ticket");
    assert!(error.message().contains("MERCADO_PUBLICO_TICKET"), "{error}");
}
