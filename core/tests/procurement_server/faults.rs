//! What goes wrong on the way, and that no record is lost by it.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use ayni::ErrorKind;
use ayni::context::PhaseTimeouts;
use ayni::procure::{Completeness, Sorting};
use ayni::procure::{GetRequest, ListRequest, ProcurementClient};
use ayni_testkit::chilecompra::{Fault, FaultKind};

use crate::bench::{Bench, range};
use crate::{TENDERS, codes, facts, states};

#[tokio::test]
async fn answers_that_break_off_or_are_none_are_asked_for_again_and_the_rows_are_the_same() {
    let bench = Bench::at("2026-10-14T12:00:00").await;
    let request = range("2026-10-13", "2026-10-13");
    let clean = bench.fresh_client().tenders(&bench.cx(), request.clone()).await.expect("a listing");
    assert!(clean.rows.len() > 2);
    for (what, times, calls) in [
        (FaultKind::NulBytes, 1, 1),
        (FaultKind::DriftingTypes, 1, 1),
        (FaultKind::Html, 1, 2),
        (FaultKind::Html, 2, 3),
        (FaultKind::Truncated, 2, 3),
        (FaultKind::Unavailable, 2, 3),
        (FaultKind::GatewayTimeout, 2, 3),
        (FaultKind::Reset, 2, 3),
        (FaultKind::Simultaneous, 3, 4),
    ] {
        for status in [200, 429, 500] {
            bench.server.forget();
            bench.behave(|behaviour| {
                behaviour.simultaneous_status = status;
                behaviour.faults = vec![Fault::new("fecha=13102026", what, times)];
            });
            let found = bench.fresh_client().tenders(&bench.cx(), request.clone()).await;
            let found = found.unwrap_or_else(|error| panic!("{what:?}: {error}"));
            assert_eq!(facts(&found.rows), facts(&clean.rows), "{what:?}");
            assert_eq!(bench.calls(TENDERS), calls, "{what:?}");
        }
    }
}

#[tokio::test]
async fn faults_that_stay_fail_their_day_alone_and_say_why() {
    let bench = Bench::at("2026-10-14T12:00:00").await;
    let request = range("2026-10-12", "2026-10-14").with_sorting(Sorting::OldestFirst);
    for (what, kind) in [
        (FaultKind::Html, ErrorKind::ResponseInvalid),
        (FaultKind::Truncated, ErrorKind::ResponseInvalid),
        (FaultKind::Unavailable, ErrorKind::Unavailable),
        (FaultKind::GatewayTimeout, ErrorKind::Timeout),
    ] {
        bench.behave(|behaviour| behaviour.faults = vec![Fault::new("fecha=13102026", what, None)]);
        let found = bench.fresh_client().tenders(&bench.cx(), request.clone()).await.expect("a listing");
        assert_eq!(
            states(&found),
            [Completeness::Complete, Completeness::Failed, Completeness::Partial],
            "{what:?}"
        );
        assert!(found.days[1].problem.is_some() && found.rows.len() > 2, "{what:?}");
        let alone = bench.fresh_client().tenders(&bench.cx(), range("2026-10-13", "2026-10-13")).await;
        let error = alone.expect_err("failed");
        assert_eq!((error.kind(), error.is_temporary()), (kind, false), "{what:?}: policy repeats no more");
    }
}

#[tokio::test]
async fn every_kind_of_record_survives_drifting_types_and_nul_bytes() {
    let bench = Bench::at("2026-10-14T12:00:00").await;
    let cx = bench.cx();
    let client = bench.client();
    let tender = client.tenders(&cx, range("2026-09-20", "2026-10-14").with_state("adjudicada")).await;
    let tender = GetRequest::new(&tender.expect("a listing").rows[0].code);
    let order = client.purchase_orders(&cx, range("2026-10-12", "2026-10-13")).await.expect("a listing");
    let order = GetRequest::new(&order.rows[0].code);
    let quick = range("2026-09-25", "2026-10-14").with_state("desierta");
    let quotes = client.quick_purchases(&cx, quick.clone()).await.expect("a listing");
    let purchase = GetRequest::new(&quotes.rows[0].code);
    let everything = async || {
        let client = bench.fresh_client();
        [
            facts(&client.tender(&cx, tender.clone()).await.expect("a tender").record),
            facts(&client.tender(&cx, tender.clone().with_source("ocds")).await.expect("a record").record),
            facts(&client.purchase_order(&cx, order.clone()).await.expect("an order").record),
            facts(&client.quick_purchase(&cx, purchase.clone()).await.expect("a purchase").record),
            facts(&client.quick_purchases(&cx, quick.clone()).await.expect("a listing").rows),
            facts(&client.buyers(&cx, ListRequest::new()).await.expect("bodies").rows),
        ]
    };
    let clean = everything().await;
    assert_eq!(clean[0]["row"]["state"], "adjudicada");
    for what in [FaultKind::DriftingTypes, FaultKind::NulBytes] {
        bench.behave(|behaviour| behaviour.faults = vec![Fault::new("", what, None)]);
        for (clean, drifted) in clean.iter().zip(everything().await) {
            assert_eq!(*clean, drifted, "{what:?}");
        }
    }
}

#[tokio::test]
async fn pages_that_time_out_are_halved_and_every_row_is_given_once() {
    let bench = Bench::at("2026-10-14T12:00:00").await;
    let request = range("2026-10-01", "2026-10-14");
    let all = bench.fresh_client().quick_purchases(&bench.cx(), request.clone()).await.expect("a listing");
    assert!(all.rows.len() > 60 && all.total == Some(all.rows.len() as u64));
    bench.behave(|behaviour| behaviour.most_rows = Some(10));
    bench.server.forget();
    let halved = bench.fresh_client().quick_purchases(&bench.cx(), request).await.expect("a listing");
    assert_eq!(facts(&halved.rows), facts(&all.rows));
    assert_eq!(bench.calls("v2/compra-agil"), 1 + (all.rows.len() as u64).div_ceil(10));
}

#[tokio::test]
async fn rows_that_appear_or_drop_out_between_pages_cost_no_other_row() {
    let bench = Bench::at("2026-10-14T12:00:00").await;
    let request = range("2026-10-01", "2026-10-14");
    let list = async || {
        let found = bench.fresh_client().quick_purchases(&bench.cx(), request.clone()).await;
        let found: Vec<String> = found.expect("a listing").rows.into_iter().map(|row| row.code).collect();
        let different: HashSet<&String> = found.iter().collect();
        assert_eq!(different.len(), found.len(), "none twice");
        found
    };
    let all = list().await;
    bench.behave(|behaviour| behaviour.appearing_rows = 3);
    assert_eq!(list().await, all[3..], "those that appeared stand on pages that were read");
    bench.server.forget();
    bench.behave(|behaviour| behaviour.vanishing_rows = 3);
    let rest = list().await;
    assert_eq!(rest.iter().collect::<BTreeSet<_>>(), all.iter().collect::<BTreeSet<_>>());
    let pages = (all.len() as u64).div_ceil(20);
    assert!(bench.calls("v2/compra-agil") > pages, "pages were read again");
}

#[tokio::test]
async fn silence_is_waited_out_and_counted() {
    let bench = Bench::at("2026-10-14T12:00:00").await;
    bench.behave(|behaviour| behaviour.faults = vec![Fault::new("codigo", FaultKind::Silence, 1)]);
    let (client, mut phases) = (bench.client(), PhaseTimeouts::default());
    phases.first_byte = Some(Duration::from_secs(30));
    let cx = bench.cx();
    let code =
        client.tenders(&cx, range("2026-10-13", "2026-10-13")).await.expect("a listing").rows[0].code.clone();
    let tender = client.tender(&bench.cx().with_phase_timeouts(phases), GetRequest::new(&code)).await;
    assert_eq!(tender.expect("a tender").record.row.code, code);
    assert_eq!(client.quota(&cx).await.expect("read").used, 3, "the list, the silence and the answer");
}

#[tokio::test]
async fn whoever_cancels_leaves_the_ticket_free() {
    let bench = Bench::at("2026-10-14T12:00:00").await;
    bench.behave(|behaviour| behaviour.faults = vec![Fault::new("fecha=13102026", FaultKind::Silence, 1)]);
    let client = bench.client();
    let cancellation = ayni::Cancellation::new();
    let cx = bench.cx().with_cancellation(cancellation.clone());
    let cancel = async {
        while bench.server.report().requests == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cancellation.cancel();
    };
    let (outcome, ()) = tokio::join!(client.tenders(&cx, range("2026-10-13", "2026-10-13")), cancel);
    assert_eq!(outcome.expect_err("cancelled").kind(), ErrorKind::Cancelled);
    client.tenders(&bench.cx(), range("2026-10-13", "2026-10-13")).await.expect("a listing");
    assert_eq!(client.quota(&bench.cx()).await.expect("read").used, 2);
}

#[tokio::test]
async fn an_old_answer_is_given_and_marked_while_the_service_is_down() {
    let bench = Bench::at("2026-10-14T12:00:00").await;
    let (client, cx) = (bench.client(), bench.cx());
    let request = range("2026-10-14", "2026-10-14");
    let fresh = client.tenders(&cx, request.clone()).await.expect("a listing");
    bench.set("2026-10-14T19:00:00");
    bench.behave(|behaviour| behaviour.faults = vec![Fault::new("", FaultKind::Unavailable, None)]);
    let stale = client.tenders(&cx, request).await.expect("the old one");
    assert_eq!((codes(&stale), stale.as_of), (codes(&fresh), fresh.as_of));
    assert!(stale.rows.iter().all(|row| row.origin.stale) && stale.days[0].from_store);
    let error = client.tender(&cx, GetRequest::new("1-1-LE26")).await.expect_err("never asked for before");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn slow_pages_are_halved_until_they_come_in_time() {
    let mut bench = Bench::at("2026-10-14T12:00:00").await;
    bench.config.page_size = 40;
    let request = range("2026-10-05", "2026-10-14");
    let all = bench.fresh_client().quick_purchases(&bench.cx(), request.clone()).await.expect("a listing");
    bench.behave(|behaviour| behaviour.row_ms = 20);
    let mut phases = PhaseTimeouts::default();
    // From 0.3 real seconds to about 0.5; a page of forty takes 0.8, one of ten 0.2.
    phases.first_byte = Some(Duration::from_secs(30));
    let cx = bench.cx().with_phase_timeouts(phases);
    let slow = bench.fresh_client().quick_purchases(&cx, request).await.expect("a listing");
    assert_eq!(facts(&slow.rows), facts(&all.rows));
    let sizes: Vec<String> = bench.server.report().last;
    assert!(sizes.last().is_some_and(|line| !line.contains("tamano_pagina=40")), "{sizes:?}");
}
