//! What the sources say of the same records, and what is kept of them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use ayni::ErrorKind;
use ayni::backends::mercado_publico::SyncRequest;
use ayni::procure::TenderState;
use ayni::procure::store::{Form, RecordKind, RecordQuery};
use ayni::procure::{GetRequest, Listing, ProcurementClient, TenderRow};
use ayni_testkit::chilecompra::WorldSpec;
use futures_util::StreamExt;

use crate::bench::{Bench, range};
use crate::clock::{day, moment, set_calendar};
use crate::codes;

#[tokio::test]
async fn what_the_feed_of_ocds_knows_agrees_with_v1_and_names_losing_bidders() {
    let spec = WorldSpec::new(5).with_records(6, 10, 2).standing_at(moment("2026-10-14T12:00:00"));
    let bench = Bench::over(spec.with_days(day("2026-08-15"), day("2026-10-20"))).await;
    let (client, cx) = (bench.client(), bench.cx());
    let september = |source: &str| range("2026-09-01", "2026-09-30").with_source(source);
    let listed = client.tenders(&cx, september("ocds")).await.expect("a month");
    assert_eq!(listed.total, Some(listed.rows.len() as u64));
    let (mut decided, mut losers) = (0, 0);
    for code in codes(&listed).into_iter().take(60) {
        let ours = client.tender(&cx, GetRequest::new(&code)).await.expect("v1").record;
        let feed = client.tender(&cx, GetRequest::new(&code).with_source("ocds")).await.expect("OCDS").record;
        let open = matches!(ours.row.state, TenderState::Closed | TenderState::Published);
        let same = ours.row.state == feed.row.state || (open && feed.row.state == TenderState::Published);
        assert!(same && feed.row.closes.is_some(), "{code}");
        let Some(award) = feed.award else { continue };
        decided += 1;
        let won = |items: &[ayni::procure::LineItem]| -> Vec<Option<(String, String)>> {
            let price = |award: &ayni::procure::LineAward| award.unit_price.as_ref().map(ToString::to_string);
            let winner =
                |award: &ayni::procure::LineAward| Some((award.supplier.name.clone(), price(award)?));
            items.iter().map(|item| item.award.as_ref().and_then(winner)).collect()
        };
        assert_eq!(won(&feed.items), won(&ours.items), "{code}");
        let winners: HashSet<&String> = award.suppliers.iter().map(|supplier| &supplier.name).collect();
        losers += feed.bidders.iter().filter(|bidder| !winners.contains(&bidder.name)).count();
        assert!(award.value.is_some_and(|value| value.amount.digits() > 0), "{code}");
    }
    assert!(decided > 3 && losers > 0, "{decided} {losers}");
    for source in ["ocds_direct", "ocds_framework"] {
        let listed = client.tenders(&cx, september(source)).await.expect("a month");
        let code = &listed.rows.first().expect("one").code;
        let direct =
            client.tender(&cx, GetRequest::new(code).with_source(source)).await.expect("a record").record;
        let order = client.purchase_order(&cx, GetRequest::new(code)).await.expect("the order").record;
        assert_eq!((direct.row.state, direct.items.len()), (TenderState::Awarded, order.items.len()));
        let value = direct.award.and_then(|award| award.value).expect("a value");
        assert_eq!(value, order.net.expect("a net amount"));
    }
    let october = range("2026-10-01", "2026-10-31").with_source("ocds");
    let error = client.tenders(&cx, october).await.expect_err("the feed has not come so far");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_stream_goes_on_from_the_cursor_of_any_of_its_listings() {
    let bench = Bench::at("2026-10-14T12:00:00").await;
    let request = range("2026-10-06", "2026-10-14");
    let client = bench.client();
    let all: Vec<Listing<TenderRow>> = client
        .tender_stream(&bench.cx(), request.clone())
        .map(|listing| listing.expect("a day"))
        .collect()
        .await;
    assert_eq!((all.len(), all[8].next_cursor.is_none()), (9, true));
    let cursor = all[3].next_cursor.as_deref().expect("more");
    let rest: Vec<Listing<TenderRow>> = bench
        .fresh_client()
        .tender_stream(&bench.cx(), request.clone().with_cursor(cursor))
        .map(|listing| listing.expect("a day"))
        .collect()
        .await;
    let days = |listings: &[Listing<TenderRow>]| -> Vec<_> {
        listings.iter().map(|listing| listing.days[0].day).collect()
    };
    assert_eq!(days(&rest), days(&all[4..]));
    let mut strange = Box::pin(client.tender_stream(&bench.cx(), request.with_cursor("x")));
    assert_eq!(
        strange.next().await.expect("an answer").expect_err("no cursor").kind(),
        ErrorKind::InvalidRequest
    );
}

#[tokio::test]
async fn personal_data_is_kept_out_of_the_store_when_it_is_not_wanted() {
    let mut bench = Bench::at("2026-10-14T12:00:00").await;
    bench.config = bench.config.clone().with_personal_data(false);
    let (client, cx) = (bench.client(), bench.cx());
    let tender =
        client.tenders(&cx, range("2026-10-13", "2026-10-13")).await.expect("a listing").rows[0].code.clone();
    let order = client.purchase_orders(&cx, range("2026-10-13", "2026-10-13")).await.expect("a listing");
    let order = GetRequest::new(&order.rows[0].code);
    let bodies = [
        client.tender(&cx, GetRequest::new(&tender)).await.expect("a tender").record.row.origin.raw,
        client
            .tender(&cx, GetRequest::new(&tender).with_source("ocds"))
            .await
            .expect("a record")
            .record
            .row
            .origin
            .raw,
        client.purchase_order(&cx, order).await.expect("an order").record.row.origin.raw,
    ];
    for raw in bodies {
        for personal in
            ["Núñez", "Peña Fic", "De Prueba", "Güiñez", "Ibáñez Im", "Ñancucheo", "example.invalid"]
        {
            assert!(!raw.as_str().contains(personal), "{personal} in {}", raw.as_str());
        }
    }
}

/// Everything that a store knows of a kind: state, closing time and how often it changed.
async fn kept(bench: &Bench, kind: RecordKind) -> HashMap<String, (String, String)> {
    let query = RecordQuery::new(kind, Form::Row).with_limit(100_000);
    let records = bench.store.records(query).await.expect("records");
    let closes = |record: &ayni::procure::store::StoredRecord| record.closes.map(|closes| closes.to_string());
    records
        .into_iter()
        .map(|record| (record.code.clone(), (record.state.clone(), closes(&record).unwrap_or_default())))
        .collect()
}

#[tokio::test]
async fn a_sync_follows_the_world_for_days_and_tells_every_change_once() {
    let bench = Bench::at("2026-10-05T09:00:00").await;
    let cx = bench.cx();
    let kinds = [RecordKind::Tender, RecordKind::PurchaseOrder, RecordKind::QuickPurchase];
    let mut told: HashMap<(RecordKind, String), Vec<String>> = HashMap::new();
    for step in 0..12 {
        bench.server.advance(Duration::from_secs(step * 7 * 3600));
        set_calendar(&bench.clock, bench.server.now());
        for kind in kinds {
            let request = SyncRequest::new(kind, day("2026-10-01")).with_max_details(1000);
            for event in bench.client().sync(&cx, &request).await.expect("synced").events {
                told.entry((kind, event.code)).or_default().push(event.fingerprint);
            }
        }
    }
    for changes in told.values() {
        assert!(changes.windows(2).all(|pair| pair[0] != pair[1]), "nothing is told twice: {changes:?}");
    }
    // What was followed step by step is what one look at the end says.
    let (followed, at_once) = (&bench, Bench::at("2026-10-05T09:00:00").await);
    at_once.server.set_now(bench.server.now());
    set_calendar(&at_once.clock, bench.server.now());
    for kind in kinds {
        let request = SyncRequest::new(kind, day("2026-10-01")).with_max_details(1000);
        at_once.client().sync(&at_once.cx(), &request).await.expect("synced");
        let (step_by_step, once) = (kept(followed, kind).await, kept(&at_once, kind).await);
        for (code, known) in &once {
            assert_eq!(step_by_step.get(code), Some(known), "{kind:?} {code}");
        }
        for (code, (state, closes)) in &step_by_step {
            let last = told.get(&(kind, code.clone())).and_then(|changes| changes.last());
            let fingerprint = if closes.is_empty() { state.clone() } else { format!("{state} {closes}") };
            assert_eq!(last, Some(&fingerprint), "{kind:?} {code}");
        }
    }
    let without_day = RecordQuery::new(RecordKind::Tender, Form::Row).with_limit(100_000);
    let listed =
        followed.store.records(without_day.clone().with_days(day("2026-10-01"), day("2027-01-01"))).await;
    let known = followed.store.records(without_day).await.expect("records");
    let listed = listed.expect("records").len();
    assert!(
        listed > 30 && known.iter().filter(|record| record.day.is_none()).all(|record| record.open),
        "{listed}"
    );
}
