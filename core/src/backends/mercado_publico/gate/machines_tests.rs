//! The lock and the quota of an account, between machines that share a database.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::account_lock::AccountQueue;
use super::ledger::Ledger;
use super::store_lease::StoreLease;
use crate::context::Context;
use crate::procure::store::{PostgresStore, SharedStore, StoreAddress, database};
use crate::procure::{Timestamp, ZoneMark};

async fn opened(address: &StoreAddress) -> SharedStore {
    Arc::new(PostgresStore::open(address.clone()).await.expect("opened"))
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_alternate_and_keep_the_gap() {
    let (address, gap) = (database().await, Duration::from_millis(120));
    let order = Arc::new(Mutex::new(Vec::new()));
    let machine = |who: usize| {
        // Different account names stand for different machines: they share only the database.
        let queue = AccountQueue::of(&format!("machine-{who}-{}", std::process::id()), gap, None);
        let (address, order) = (address.clone(), Arc::clone(&order));
        tokio::spawn(async move {
            let lease = StoreLease::new(opened(&address).await, "x");
            for _ in 0..5 {
                let lock = queue.lock(&Context::new(), Some(&lease)).await.expect("locked");
                let begun = Instant::now();
                tokio::time::sleep(Duration::from_millis(10)).await;
                order.lock().unwrap_or_else(PoisonError::into_inner).push((who, begun, Instant::now()));
                lock.release().await;
            }
        })
    };
    let machines: Vec<_> = (0..3).map(machine).collect();
    futures_util::future::join_all(machines).await.into_iter().for_each(|machine| machine.expect("joined"));
    let order = order.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(order.len(), 15);
    for pair in order.windows(2) {
        let between = pair[1].1.checked_duration_since(pair[0].2).expect("one after the other");
        assert!(between >= gap - Duration::from_millis(5), "{order:?}");
    }
    let alternations = order.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
    assert!(alternations >= 6, "none starves: {order:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quota_of_machines_is_counted_exactly_and_ends_for_all() {
    let address = database().await;
    let now = Timestamp::read("2026-10-14T10:00:00", ZoneMark::WallClock).expect("a moment");
    let machine = |_| {
        let address = address.clone();
        tokio::spawn(async move {
            let ledger = Ledger::new(opened(&address).await, "x", 100);
            let mut spent = 0;
            for _ in 0..40 {
                spent += u32::from(ledger.spend(now, None).await.is_ok());
            }
            spent
        })
    };
    let machines: Vec<_> = (0..4).map(machine).collect();
    let spent =
        futures_util::future::join_all(machines).await.into_iter().map(|spent| spent.expect("joined"));
    assert_eq!(spent.sum::<u32>(), 100, "160 were wanted");
    let quota = Ledger::new(opened(&address).await, "x", 100).quota(now).await.expect("read");
    assert_eq!((quota.used, quota.left()), (100, 0));
}
