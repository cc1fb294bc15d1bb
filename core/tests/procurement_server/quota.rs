//! What a range costs, and who may ask when.

use std::collections::BTreeSet;
use std::time::Duration;

use ayni::backends::mercado_publico::MercadoPublico;
use ayni::procure::store::RecordKind;
use ayni::procure::{Completeness, Plan, Sorting};
use ayni::procure::{ListRequest, PlanRequest, ProcurementClient};
use ayni::{Environment, ErrorKind, Persistence};

use crate::bench::{Bench, TICKET, range};
use crate::clock::{day, moment, set_calendar};
use crate::{TENDERS, codes, states};

/// What lists of orders are counted as.
const ORDERS: &str = "v1/ordenesdecompra.json";

async fn planned(bench: &Bench, kind: RecordKind, list: &ListRequest) -> Plan {
    let request = PlanRequest::new(kind, list.clone());
    bench.client().plan(&bench.cx(), request).await.expect("a plan").record
}

#[tokio::test]
async fn thirty_days_cost_what_was_planned_and_again_only_what_can_have_changed() {
    let bench = Bench::at("2026-10-14T12:00:00").await;
    let (client, cx) = (bench.client(), bench.cx());
    let request = range("2026-09-15", "2026-10-14");
    for (kind, call) in [(RecordKind::Tender, TENDERS), (RecordKind::PurchaseOrder, ORDERS)] {
        bench.set("2026-10-14T12:00:00");
        let plan = planned(&bench, kind, &request).await;
        assert_eq!((plan.calls, plan.exact, bench.calls(call)), (30, true, 0));
        let list = async || match kind {
            RecordKind::Tender => client.tenders(&cx, request.clone()).await.map(|found| found.rows.len()),
            _ => client.purchase_orders(&cx, request.clone()).await.map(|found| found.rows.len()),
        };
        let rows = list().await.expect("a listing");
        assert!(rows > 100, "{rows}");
        assert_eq!(bench.calls(call), 30, "exactly the plan");
        assert_eq!(planned(&bench, kind, &request).await.calls, 0);
        list().await.expect("a listing");
        assert_eq!(bench.calls(call), 30, "at once nothing can have changed");
        bench.set("2026-10-14T20:00:00");
        let again = planned(&bench, kind, &request).await;
        list().await.expect("a listing");
        assert_eq!((again.calls, bench.calls(call)), (3, 33));
        let last = bench.server.report().last;
        let asked: Vec<&str> = last[last.len() - 3..].iter().map(|line| line.as_str()).collect();
        for (line, day) in asked.iter().zip(["14102026", "13102026", "12102026"]) {
            assert!(line.contains(&format!("fecha={day}")), "{asked:?}");
        }
    }
    let report = bench.server.report();
    assert_eq!((report.requests, report.violations), (66, 0));
    assert_eq!(u64::from(client.quota(&cx).await.expect("read").used), report.spent["2026-10-14"]);
}

#[tokio::test]
async fn clients_that_do_not_know_of_each_other_wait_until_the_ticket_is_free() {
    let bench = Bench::at("2026-10-14T12:00:00").await;
    bench.behave(|behaviour| behaviour.latency_ms = 40);
    // Another name of the host is another account to ayni, and the same ticket to the server.
    let other = bench.server.base_url().replace("127.0.0.1", "localhost");
    let stranger = bench.config.clone().with_server(other).open(&Environment::empty()).expect("opened");
    let (client, cx) = (bench.client(), bench.cx());
    let asks = async |who: &MercadoPublico| {
        for day in ["2026-10-10", "2026-10-11", "2026-10-12", "2026-10-13"] {
            who.tenders(&cx, range(day, day)).await.expect("a listing");
        }
    };
    tokio::join!(asks(&client), asks(&stranger));
    let report = bench.server.report();
    assert!(report.violations > 0, "they did meet");
    assert_eq!(report.requests, 8 + report.violations, "each refusal cost one request, no more");
}

#[tokio::test]
async fn clones_of_a_client_never_meet() {
    let bench = Bench::at("2026-10-14T12:00:00").await;
    bench.behave(|behaviour| behaviour.latency_ms = 5);
    let clients = [bench.client(), bench.fresh_client()];
    let cx = bench.cx();
    let asks = (0..12).map(|index| {
        let client = clients[index % 2].clone();
        let day = day("2026-09-20").plus_days(i32::try_from(index).expect("small"));
        let cx = cx.clone();
        tokio::spawn(async move { client.purchase_orders(&cx, ListRequest::on(day)).await.map(drop) })
    });
    for outcome in futures_util::future::join_all(asks).await {
        outcome.expect("joined").expect("a listing");
    }
    let report = bench.server.report();
    assert_eq!((report.requests, report.violations, report.most_in_flight), (12, 0, 1));
}

#[tokio::test]
async fn a_quota_that_ends_leaves_what_was_found_and_the_rest_comes_after_midnight() {
    let bench = Bench::at("2026-10-14T18:00:00").await;
    bench.behave(|behaviour| behaviour.daily_quota = 5);
    let (client, cx) = (bench.client(), bench.cx());
    let request = range("2026-10-05", "2026-10-13").with_sorting(Sorting::OldestFirst);
    let first = client.tenders(&cx, request.clone()).await.expect("what was found");
    assert_eq!(states(&first)[..5], [Completeness::Complete; 5]);
    assert_eq!((first.days.len(), first.days[5].completeness), (6, Completeness::Failed));
    let request = request.with_cursor(first.next_cursor.as_deref().expect("a cursor"));
    let error = client.tenders(&cx, request.clone()).await.expect_err("spent");
    assert_eq!((error.kind(), bench.calls(TENDERS)), (ErrorKind::QuotaExceeded, 6), "not asked again");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(6 * 3600)));
    bench.set("2026-10-15T00:00:01");
    let rest = client.tenders(&cx, request).await.expect("a new day");
    assert_eq!(states(&rest), [Completeness::Complete; 4]);
    bench.behave(|_| {});
    let whole =
        bench.fresh_client().tenders(&cx, range("2026-10-05", "2026-10-13")).await.expect("a listing");
    let found: BTreeSet<String> = codes(&first).into_iter().chain(codes(&rest)).collect();
    assert_eq!(found, codes(&whole).into_iter().collect());
}

#[tokio::test]
async fn a_list_that_was_asked_for_before_midnight_is_not_the_whole_day() {
    let bench = Bench::at("2026-10-14T23:59:59").await;
    bench.behave(|behaviour| behaviour.latency_ms = 60);
    let (client, cx) = (bench.client(), bench.cx());
    let request = range("2026-10-14", "2026-10-14");
    let midnight = async {
        while bench.server.report().requests == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        set_calendar(&bench.clock, moment("2026-10-15T00:00:01"));
    };
    let (listing, ()) = tokio::join!(client.tenders(&cx, request.clone()), midnight);
    assert_eq!(states(&listing.expect("a listing")), [Completeness::Partial]);
    bench.set("2026-10-15T00:00:02");
    let again = client.tenders(&cx, request.clone()).await.expect("a listing");
    assert_eq!((states(&again), bench.calls(TENDERS)), (vec![Completeness::Complete], 2));
    assert_eq!(client.quota(&cx).await.expect("read").used, 1, "the first counts for the day before");
}

#[tokio::test]
async fn a_ticket_that_dies_in_a_range_is_named_and_another_goes_on() {
    let mut bench = Bench::at("2026-10-14T12:00:00").await;
    bench.behave(|behaviour| behaviour.ticket_dies_after = Some(3));
    let cx = bench.cx();
    let request = range("2026-10-05", "2026-10-14").with_sorting(Sorting::OldestFirst);
    let first = bench.client().tenders(&cx, request.clone()).await.expect("what was found");
    assert_eq!((first.days.len(), first.days[3].completeness), (4, Completeness::Failed));
    let request = request.with_cursor(first.next_cursor.as_deref().expect("a cursor"));
    let error = bench.client().tenders(&cx, request.clone()).await.expect_err("refused");
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Unauthenticated, Persistence::Permanent));
    assert!(error.message().contains("MERCADO_PUBLICO_TICKET") && !format!("{error:?}").contains("CANARY"));
    bench.behave(|behaviour| behaviour.tickets = vec!["T-2".to_owned()]);
    bench.config = bench.config.clone().with_ticket("T-2");
    let rest = bench.client().tenders(&cx, request).await.expect("the rest");
    assert_eq!(rest.days.len(), 7);
    assert!(!format!("{:?} {:?}", bench.server.report(), bench.client()).contains(TICKET));
}
