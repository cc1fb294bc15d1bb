//! A sync never loses and never sticks.

use super::testing::{Bench, day};
use super::*;
use crate::error::ErrorKind;
use crate::procure::store::{Batch, RecordKind};
use crate::procure::{Change, Completeness, ListRequest, ProcurementClient};

fn tenders_since(text: &str) -> SyncRequest {
    SyncRequest::new(RecordKind::Tender, day(text))
}

fn changes(report: &SyncReport) -> Vec<(&str, Change)> {
    report.events.iter().map(|event| (event.code.as_str(), event.change)).collect()
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_reported_and_not_in_the_way_of_others() {
    let bench = Bench::at("2026-10-14T12:00:00");
    let codes = ["1-1-LE26", "1-2-LE26", "1-3-LE26"];
    for code in codes {
        bench.chile.opens(code, Some((5, "2026-10-14T11:00:00")));
        bench.chile.details(
            code,
            r#""CodigoEstado":6,"Estado":"Cerrada","Fechas":{"FechaCierre":"2026-10-14T11:00:00"}"#,
        );
    }
    let (client, cx) = (bench.client(), bench.cx());
    client.sync(&cx, &tenders_since("2026-10-14")).await.expect("synced");
    codes.iter().for_each(|code| bench.chile.opens(code, None));
    bench.chile.refuses("1-1-LE26", true);
    // One detail a sync: the one that fails must not be tried over and over.
    let one = tenders_since("2026-10-14").with_max_details(1);
    let mut told = Vec::new();
    for _ in 0..3 {
        let report = client.sync(&cx, &one).await.expect("synced");
        assert_eq!(report.failed.iter().map(|failed| failed.name.as_str()).collect::<Vec<_>>(), ["1-1-LE26"]);
        assert!(report.failed[0].problem.contains("parameters"), "{:?}", report.failed);
        told.extend(changes(&report).into_iter().map(|(code, change)| (code.to_owned(), change)));
    }
    assert_eq!(told, [("1-2-LE26".to_owned(), Change::Closed), ("1-3-LE26".to_owned(), Change::Closed)]);
    bench.chile.refuses("1-1-LE26", false);
    bench.set("2026-10-14T14:00:00");
    let report = client.sync(&cx, &one).await.expect("synced");
    assert_eq!((changes(&report), report.failed.len()), (vec![("1-1-LE26", Change::Closed)], 0));
}

/// Three days with a tender each.
fn three_days() -> Bench {
    let bench = Bench::at("2026-10-14T12:00:00");
    for (day, code) in [("12102026", "1-1-LE26"), ("13102026", "1-2-LE26"), ("14102026", "1-3-LE26")] {
        bench.chile.lists(day, code, (8, "2026-10-10T15:00:00"));
    }
    bench
}

#[tokio::test]
async fn a_day_that_cannot_be_read_is_read_later() {
    let bench = three_days();
    bench.chile.refuses("13102026", true);
    let (client, cx) = (bench.client(), bench.cx());
    let report = client.sync(&cx, &tenders_since("2026-10-12")).await.expect("synced");
    assert_eq!(changes(&report), [("1-1-LE26", Change::Awarded), ("1-3-LE26", Change::Awarded)]);
    assert_eq!(report.failed.iter().map(|failed| failed.name.as_str()).collect::<Vec<_>>(), ["2026-10-13"]);
    bench.chile.refuses("13102026", false);
    // Long after the days that every sync reads again.
    bench.set("2026-10-24T12:00:00");
    let report = client.sync(&cx, &tenders_since("2026-10-12")).await.expect("synced");
    assert_eq!((changes(&report), report.failed.len()), (vec![("1-2-LE26", Change::Awarded)], 0));
}

#[tokio::test]
async fn the_events_of_a_sync_that_failed_can_be_read() {
    let bench = three_days();
    bench.chile.refuses("14102026", true);
    let (client, cx) = (bench.client(), bench.cx());
    let error = client.sync(&cx, &tenders_since("2026-10-12")).await.expect_err("today cannot be read");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    let page = client.events(&cx, &EventRequest::after(0).with_limit(1)).await.expect("events");
    assert_eq!((page.events.len(), page.events[0].code.as_str()), (1, "1-1-LE26"));
    let rest = client.events(&cx, &EventRequest::after(page.position)).await.expect("events");
    assert_eq!(rest.events.iter().map(|event| event.code.as_str()).collect::<Vec<_>>(), ["1-2-LE26"]);
    let end = client.events(&cx, &EventRequest::after(rest.position)).await.expect("events");
    assert_eq!((end.events.len(), end.position), (0, rest.position));
}

#[tokio::test]
async fn a_clock_that_is_wrong_freezes_no_day_and_moves_no_sync() {
    let bench = three_days();
    let (client, cx) = (bench.client(), bench.cx());
    // This machine takes the 14th as over; the service's clock still shows its noon.
    bench.set("2026-10-20T12:00:00");
    bench.chile.tells_time("2026-10-14T12:00:00");
    let request = ListRequest::on(day("2026-10-14"));
    let listing = client.tenders(&cx, request.clone()).await.expect("a listing");
    assert_eq!(listing.days[0].completeness, Completeness::Partial);
    let error = client.sync(&cx, &tenders_since("2026-10-12")).await.expect_err("a wrong clock");
    assert!(error.kind() == ErrorKind::ConfigInvalid && error.message().contains("clock"), "{error}");
    assert!(bench.store.document("sync/tender").await.expect("read").is_none());
    bench.set("2026-10-15T12:00:00");
    bench.chile.tells_time("2026-10-15T12:00:00");
    bench.chile.lists("14102026", "1-4-LE26", (8, "2026-10-10T15:00:00"));
    let listing = client.tenders(&cx, request).await.expect("a listing");
    assert_eq!((listing.rows.len(), listing.days[0].completeness), (2, Completeness::Complete));
}

#[tokio::test]
async fn a_checkpoint_or_an_answer_from_the_future_is_not_believed() {
    let bench = three_days();
    let (client, cx) = (bench.client(), bench.cx());
    let future = Batch::new().with_document("sync/tender", 0, &br#"{"day":"2027-01-01","until":null}"#[..]);
    assert!(bench.store.apply(future).await.expect("written"));
    let report = client.sync(&cx, &tenders_since("2026-10-12")).await.expect("synced");
    assert_eq!(report.events.len(), 3);
    // Stored by a machine that took the 14th as long over.
    bench.set("2027-03-01T12:00:00");
    client.tenders(&cx, ListRequest::on(day("2026-10-14"))).await.expect("a listing");
    bench.set("2026-10-14T13:00:00");
    bench.chile.lists("14102026", "1-4-LE26", (8, "2026-10-10T15:00:00"));
    let listing = client.tenders(&cx, ListRequest::on(day("2026-10-14"))).await.expect("a listing");
    assert_eq!(listing.rows.len(), 2);
}

#[tokio::test]
async fn a_value_that_cannot_be_read_is_counted_and_named() {
    let bench = Bench::at("2026-10-14T12:00:00");
    for (code, closes) in [("1-1-LE26", "pronto"), ("1-2-LE26", "2026-10-10T15:00:00")] {
        bench.chile.lists("14102026", code, (8, closes));
    }
    let (client, cx) = (bench.client(), bench.cx());
    let listing = client.tenders(&cx, ListRequest::on(day("2026-10-14"))).await.expect("a listing");
    let unread: Vec<_> = listing.rows.iter().map(|row| (&*row.code, row.origin.unread.join(" "))).collect();
    assert_eq!(unread, [("1-2-LE26", String::new()), ("1-1-LE26", "FechaCierre".to_owned())]);
    assert_eq!(listing.unread.into_iter().collect::<Vec<_>>(), [("FechaCierre", 1)]);
    let report = client.sync(&cx, &tenders_since("2026-10-14")).await.expect("synced");
    assert_eq!(report.unread.into_iter().collect::<Vec<_>>(), [("FechaCierre", 1)]);
}
