//! Lists end only when they end, filters are applied or refused, and nothing is spent in vain.

use std::collections::BTreeSet;

use super::testing::{Bench, day, range};
use crate::error::ErrorKind;
use crate::procure::store::RecordKind;
use crate::procure::{
    Currency, ListRequest, Listing, Money, Plan, PlanRequest, ProcurementClient, TenderRow,
};

/// Many tenders that are open for offers, all of Santiago.
fn many_open(count: usize) -> (Bench, BTreeSet<String>) {
    let bench = Bench::at("2026-10-14T12:00:00");
    let codes: BTreeSet<String> = (0..count).map(|index| format!("{index}-1-LE26")).collect();
    for code in &codes {
        bench.chile.opens(code.clone().leak(), Some((5, "2026-10-20T15:00:00")));
        bench.chile.details(
            code,
            r#""Estado":"Publicada","Comprador":{"RegionUnidad":"Región Metropolitana de Santiago"}"#,
        );
    }
    (bench, codes)
}

fn codes(listing: &Listing<TenderRow>) -> Vec<String> {
    listing.rows.iter().map(|row| row.code.clone()).collect()
}

/// All pages of a list, and how many there were.
async fn all_pages(bench: &Bench, request: &ListRequest) -> (Vec<Listing<TenderRow>>, BTreeSet<String>) {
    let (client, cx) = (bench.client(), bench.cx());
    let (mut pages, mut found) = (Vec::new(), BTreeSet::new());
    let mut request = request.clone();
    loop {
        let page = client.tenders(&cx, request.clone()).await.expect("a page");
        for code in codes(&page) {
            assert!(found.insert(code), "twice");
        }
        request.cursor = page.next_cursor.clone();
        pages.push(page);
        if request.cursor.is_none() {
            return (pages, found);
        }
        assert!(pages.len() < 1000, "no end");
    }
}

async fn plan(bench: &Bench, kind: RecordKind, request: &ListRequest) -> Plan {
    let request = PlanRequest::new(kind, request.clone());
    bench.client().plan(&bench.cx(), request).await.expect("a plan").record
}

#[tokio::test]
async fn open_tenders_have_a_cursor_until_all_are_listed() {
    let (bench, expected) = many_open(142);
    let (pages, found) = all_pages(&bench, &ListRequest::new().with_limit(50)).await;
    assert_eq!(pages.iter().map(|page| page.rows.len()).collect::<Vec<_>>(), [50, 50, 42]);
    assert_eq!(found, expected);
    assert_eq!(bench.chile.calls(), 1);
}

#[tokio::test]
async fn buyers_have_a_cursor_until_all_are_listed() {
    let bench = Bench::at("2026-10-14T12:00:00");
    let buyers: Vec<String> = (0..142)
        .map(|index| format!("{{\"CodigoEmpresa\":\"{index}\",\"NombreEmpresa\":\"Comuna {index}\"}}"))
        .collect();
    let body = format!("{{\"Cantidad\":142,\"listaEmpresas\":[{}]}}", buyers.join(","));
    bench.chile.next([(200, &*body.leak())]);
    let (client, cx) = (bench.client(), bench.cx());
    let (mut request, mut found) = (ListRequest::new().with_limit(50), BTreeSet::new());
    loop {
        let page = client.buyers(&cx, request.clone()).await.expect("a page");
        assert!(page.rows.len() <= 50 && page.total == Some(142));
        found.extend(page.rows.into_iter().map(|buyer| buyer.code));
        match page.next_cursor {
            Some(cursor) => request.cursor = Some(cursor),
            None => break,
        }
    }
    assert_eq!((found.len(), bench.chile.calls()), (142, 1));
    let other = ListRequest { text: Some("x".to_owned()), ..request };
    assert_eq!(client.buyers(&cx, other).await.expect_err("another").kind(), ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn a_listing_ends_at_its_ceiling_of_calls_and_goes_on_from_there() {
    let (bench, expected) = many_open(70);
    let request = ListRequest::new().with_region("13").with_max_calls(20);
    let planned = plan(&bench, RecordKind::Tender, &request).await;
    assert_eq!((planned.calls, planned.exact, planned.max_calls), (20, false, 20));
    let (pages, found) = all_pages(&bench, &request).await;
    assert_eq!(found, expected);
    assert!(pages.len() >= 4);
    for page in &pages {
        let calls = page.calls.expect("counted");
        assert!(calls.made <= 20 && calls.max == 20, "{calls:?}");
    }
    let by_default =
        plan(&bench, RecordKind::Tender, &ListRequest::new().with_region("rm").with_state("Publicada")).await;
    assert!(by_default.calls <= 50, "{by_default:?}");
    assert_eq!(bench.client().quota(&bench.cx()).await.expect("read").reserved, 0);
}

#[tokio::test]
async fn no_range_is_longer_than_ten_years() {
    let bench = Bench::at("2026-10-14T12:00:00");
    for request in [
        range("0001-01-01", "2026-10-14"),
        ListRequest { from: Some(day("0001-01-01")), ..ListRequest::new() },
    ] {
        let error = bench.client().tenders(&bench.cx(), request).await.expect_err("too long");
        assert_eq!((error.kind(), bench.chile.calls()), (ErrorKind::InvalidRequest, 0));
        assert!(error.message().contains("days"), "{error}");
    }
}

#[tokio::test]
async fn a_long_range_is_read_in_parts() {
    let bench = Bench::at("2026-10-14T12:00:00");
    let request = range("2026-07-01", "2026-10-14");
    let planned = plan(&bench, RecordKind::Tender, &request).await;
    assert_eq!((planned.calls, planned.total_calls), (50, Some(106)));
    let (pages, _) = all_pages(&bench, &request).await;
    assert_eq!(pages.iter().map(|page| page.days.len()).collect::<Vec<_>>(), [50, 50, 6]);
}

#[tokio::test]
async fn what_a_source_cannot_filter_by_is_refused_before_anything_is_sent() {
    let bench = Bench::at("2026-10-14T12:00:00");
    let (client, cx) = (bench.client(), bench.cx());
    let money = || Money::new("1000".parse().expect("number"), Currency::Clp);
    let october = || range("2026-10-01", "2026-10-31").with_source("ocds");
    for request in [
        october().with_amount(money(), None),
        october().with_amount(None, money()),
        october().with_supplier("76.000.001-1"),
        october().with_kinds(["LE"]),
        range("2026-10-05", "2026-10-06").with_source("ocds"),
    ] {
        let error = client.tenders(&cx, request).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    let error =
        client.quick_purchases(&cx, ListRequest::new().with_supplier("1")).await.expect_err("refused");
    assert!(error.kind() == ErrorKind::Unsupported && error.message().contains("`supplier`"), "{error}");
    let error = client.buyers(&cx, ListRequest::new().with_region("13")).await.expect_err("refused");
    assert!(error.kind() == ErrorKind::Unsupported && error.message().contains("`region`"), "{error}");
    for (request, names) in [
        (ListRequest::new().with_region("99"), "metropolitana"),
        (ListRequest::new().with_region("Narnia"), "metropolitana"),
        (ListRequest::new().with_state("abierta"), "publicada"),
        (ListRequest::new().with_kinds(["L E"]), "kinds"),
        (ListRequest::new().with_buyer("Municipalidad"), "buyer"),
        (ListRequest::new().with_source("v3"), "ocds_direct"),
    ] {
        let error = client.tenders(&cx, request).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        assert!(error.message().contains(names), "{error}");
    }
    let error =
        client.purchase_orders(&cx, ListRequest::new().with_source("ocds")).await.expect_err("refused");
    assert_eq!((error.kind(), bench.chile.calls()), (ErrorKind::InvalidRequest, 0));
}

#[tokio::test]
async fn states_and_regions_are_known_however_they_are_written() {
    let (bench, expected) = many_open(3);
    for (state, region) in [
        ("Publicada", "RM"),
        ("PUBLICADA", "13"),
        ("5", "Metropolitana"),
        ("activas", "Región Metropolitana"),
    ] {
        let request = ListRequest::new().with_state(state).with_region(region);
        let (_, found) = all_pages(&bench, &request).await;
        assert_eq!(found, expected, "{state} {region}");
    }
    let (_, found) = all_pages(&bench, &ListRequest::new().with_region("Maule")).await;
    assert!(found.is_empty());
    bench.chile.quick(["1-1-COT26".to_owned()], None);
    let (client, cx) = (bench.client(), bench.cx());
    let request = range("2026-10-01", "2026-10-14");
    let states = request.clone().with_state("Proveedor Seleccionado").with_region("ñuble");
    client.quick_purchases(&cx, states).await.expect("a listing");
    let asked = bench.chile.asked().pop().expect("asked");
    assert!(asked.contains("estado=proveedor_seleccionado&region=16"), "{asked}");
    let of_kind = client.quick_purchases(&cx, request.with_kinds(["LE"])).await.expect("a listing");
    assert!(of_kind.rows.is_empty());
}

#[tokio::test]
async fn equal_requests_at_once_are_one_call() {
    let mut bench = Bench::at("2026-10-14T12:00:00");
    bench.clock = crate::context::ManualClock::new();
    bench.set("2026-10-14T12:00:00");
    bench.config = bench.config.with_min_gap_seconds(0.0);
    bench.chile.lets_go();
    bench.chile.lists("14102026", "1-1-LE26", (5, "2026-10-20T15:00:00"));
    bench.chile.quick(["1-1-COT26".to_owned()], None);
    let (clients, cx) = ([bench.client(), bench.client()], bench.cx());
    let today = range("2026-10-14", "2026-10-14");
    let tenders = (0..4).map(|index| clients[index % 2].tenders(&cx, today.clone()));
    for listing in futures_util::future::join_all(tenders).await {
        assert_eq!(listing.expect("a listing").rows.len(), 1);
    }
    assert_eq!(bench.chile.calls(), 1);
    let quick = (0..4).map(|index| clients[index % 2].quick_purchases(&cx, today.clone()));
    for listing in futures_util::future::join_all(quick).await {
        assert_eq!(listing.expect("a listing").rows.len(), 1);
    }
    assert_eq!(bench.chile.calls(), 2);
}

#[tokio::test]
async fn a_caller_who_leaves_takes_no_quota_from_the_others() {
    let mut bench = Bench::at("2026-10-14T12:00:00");
    bench.config = bench.config.with_soft_limit(40);
    bench.chile.lets_go();
    let (client, cx) = (bench.client(), bench.cx());
    let mut abandoned = Box::pin(client.tenders(&cx, range("2026-09-10", "2026-10-14")));
    assert!(futures_util::FutureExt::now_or_never(&mut abandoned).is_none());
    assert!(client.quota(&cx).await.expect("read").reserved > 30);
    drop(abandoned);
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.quota(&cx).await.expect("read").reserved, 0);
}

#[tokio::test]
async fn a_list_of_which_the_service_repeats_a_page_ends_there() {
    let bench = Bench::at("2026-10-14T12:00:00");
    let rows: Vec<String> = (0..20)
        .map(|index| {
            format!(
                "{{\"codigo\":\"{index}-1-COT26\",\"nombre\":\"x\",\"estado\":{{\"codigo\":\"publicada\"}},\
                 \"fechas\":{{\"fecha_publicacion\":\"2026-10-10T10:00:00Z\"}}}}"
            )
        })
        .collect();
    let body = format!(
        "{{\"success\":\"OK\",\"payload\":{{\"items\":[{}],\"paginacion\":{{\"total_paginas\":500,\"numero_pagina\":1,\
         \"tamano_pagina\":20,\"total_resultados\":10000}}}}}}",
        rows.join(",")
    );
    let body: &'static str = body.leak();
    bench.chile.next([(200, body); 3]);
    let request = range("2026-10-01", "2026-10-14").with_limit(60);
    let listing = bench.client().quick_purchases(&bench.cx(), request).await.expect("a part");
    assert_eq!((listing.rows.len(), bench.chile.calls()), (20, 2));
    assert!(listing.next_cursor.is_some(), "it is not all");
}

#[tokio::test]
async fn the_store_forgets_old_answers_by_itself() {
    let mut bench = Bench::at("2026-10-14T12:00:00");
    (bench.config.answers_max_days, bench.config.answers_max_megabytes) = (30, 1);
    let (client, cx) = (bench.client(), bench.cx());
    let large: &'static str =
        format!("{{\"Cantidad\":0,\"Listado\":[],\"x\":\"{}\"}}", "x".repeat(100_000)).leak();
    let ask = async |first: i32, days: i32| {
        bench.chile.next((0..days).map(|_| (200, large)));
        let from = day("2026-06-01").plus_days(first);
        let request = ListRequest::between(from, from.plus_days(days - 1)).with_max_calls(200);
        client.tenders(&cx, request).await.expect("a listing");
    };
    let asked_again = async |first: i32| {
        let before = bench.chile.calls();
        client.tenders(&cx, ListRequest::on(day("2026-06-01").plus_days(first))).await.expect("a listing");
        bench.chile.calls() > before
    };
    // Thirteen megabytes, of which the newest one is kept: days that are over, and otherwise fresh for ever.
    ask(0, 100).await;
    ask(100, 29).await;
    assert!(asked_again(0).await && !asked_again(100).await);
    // A month later the whole is too old.
    bench.set("2026-11-20T12:00:00");
    bench.chile.next((0..64).map(|_| (200, "{\"Cantidad\":0,\"Listado\":[]}")));
    client
        .tenders(&cx, ListRequest::between(day("2025-01-01"), day("2025-03-05")).with_max_calls(64))
        .await
        .expect("a listing");
    assert!(asked_again(100).await);
}
