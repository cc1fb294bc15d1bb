//! How much of the day's quota is used. Requests are counted in the store before they are sent, so that the count
//! survives restarts and covers all processes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result, Sent};
use crate::procure::store::{SharedStore, document_body, read_document, update_document};
use crate::procure::{Date, Timestamp};

const LEDGER: &str = "the quota ledger";

/// A reservation expires after this time without a request: its process has probably died.
const RESERVATION_EXPIRY: Duration = Duration::from_secs(600);

#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    store: SharedStore,
    account: String,
    limit: u32,
}

/// How much of a day's quota is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Quota {
    /// The day, in Santiago.
    pub day: Date,
    /// Requests that were sent, or are about to be.
    pub used: u32,
    /// Requests that are reserved and not sent yet.
    pub reserved: u32,
    /// The most requests that ayni sends: the soft limit.
    pub limit: u32,
    /// Whether the service has said that the quota is used up.
    pub spent: bool,
    /// When the count starts again: Santiago's midnight.
    pub resets_at: Timestamp,
}

impl Quota {
    /// The requests left for callers without a reservation.
    pub fn left(&self) -> u32 {
        if self.spent { 0 } else { self.limit.saturating_sub(self.used).saturating_sub(self.reserved) }
    }
}

/// Requests of a day that are set aside for one caller. What was not used is given back when it is released or dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    ledger: Ledger,
    holder: String,
    reserved_at: Timestamp,
    /// Where to give it back when the caller leaves.
    runtime: Option<tokio::runtime::Handle>,
    held: bool,
}

impl Reservation {
    fn day(&self) -> Date {
        self.reserved_at.date()
    }

    /// Gives back what was not used.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn release(mut self) -> Result<()> {
        self.ledger.forget(self.reserved_at, &self.holder).await?;
        self.held = false;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take().filter(|_| self.held) else { return };
        let (ledger, holder, reserved_at) = (self.ledger.clone(), self.holder.clone(), self.reserved_at);
        drop(runtime.spawn(async move {
            if let Err(error) = ledger.forget(reserved_at, &holder).await {
                tracing::warn!(error = %error, "a reservation of the quota was not given back; it expires by itself");
            }
        }));
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct QuotaDocument {
    used: u32,
    #[serde(default)]
    spent: bool,
    #[serde(default)]
    reserved: BTreeMap<String, ReservedCalls>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ReservedCalls {
    left: u32,
    until: i64,
}

impl QuotaDocument {
    fn reserved_by_others(&self, own: Option<&str>) -> u32 {
        let others = self.reserved.iter().filter(|(holder, _)| own != Some(holder.as_str()));
        others.fold(0, |sum, (_, reserved)| sum.saturating_add(reserved.left))
    }
}

impl Ledger {
    pub(crate) fn new(store: SharedStore, account: impl Into<String>, limit: u32) -> Self {
        Self { store, account: account.into(), limit }
    }

    async fn change<T>(&self, now: Timestamp, change: impl Fn(&mut QuotaDocument) -> Result<T>) -> Result<T> {
        let name = format!("quota/{}/{}", self.account, now.date());
        update_document(&*self.store, &name, |body| {
            let mut document = read_document::<QuotaDocument>(LEDGER, body)?;
            document.reserved.retain(|_, reserved| reserved.until > now.unix_millis());
            let outcome = change(&mut document)?;
            Ok((Some(document_body(&document)?), outcome))
        })
        .await
    }

    /// Counts one request that is about to be sent.
    ///
    /// # Errors
    /// `quota_exceeded` if none is left.
    pub(crate) async fn spend(&self, now: Timestamp, under: Option<&Reservation>) -> Result<()> {
        let own = under.filter(|reservation| reservation.day() == now.date()).map(|own| own.holder.as_str());
        self.change(now, |document| {
            let by_others = document.reserved_by_others(own);
            let reserved =
                own.and_then(|own| document.reserved.get_mut(own)).filter(|reserved| reserved.left > 0);
            match reserved {
                Some(reserved) if !document.spent => {
                    reserved.left -= 1;
                    reserved.until = now.plus(RESERVATION_EXPIRY).unix_millis();
                }
                _ if document.spent || document.used.saturating_add(by_others) >= self.limit => {
                    return Err(self.exceeded(now, document.spent));
                }
                _ => {}
            }
            document.used = document.used.saturating_add(1);
            Ok(())
        })
        .await
    }

    /// Uncounts a request that was certainly not sent.
    pub(crate) async fn refund(&self, at: Timestamp) -> Result<()> {
        self.change(at, |document| {
            document.used = document.used.saturating_sub(1);
            Ok(())
        })
        .await
    }

    pub(crate) async fn exhaust(&self, now: Timestamp) -> Result<()> {
        self.change(now, |document| {
            document.spent = true;
            Ok(())
        })
        .await
    }

    /// Sets `calls` requests of the day aside for one caller.
    ///
    /// # Errors
    /// `quota_exceeded` if fewer are left.
    pub(crate) async fn reserve(&self, now: Timestamp, holder: &str, calls: u32) -> Result<Reservation> {
        // It is there before anything is written, so that a caller who leaves meanwhile gives it back too.
        let reservation = Reservation {
            ledger: self.clone(),
            holder: holder.to_owned(),
            reserved_at: now,
            runtime: tokio::runtime::Handle::try_current().ok(),
            held: true,
        };
        self.change(now, |document| {
            let taken = document.used.saturating_add(document.reserved_by_others(Some(holder)));
            if document.spent || taken.saturating_add(calls) > self.limit {
                return Err(self.exceeded(now, document.spent));
            }
            let until = now.plus(RESERVATION_EXPIRY).unix_millis();
            document.reserved.insert(holder.to_owned(), ReservedCalls { left: calls, until });
            Ok(())
        })
        .await?;
        Ok(reservation)
    }

    /// Frees what a caller has reserved and not used.
    async fn forget(&self, at: Timestamp, holder: &str) -> Result<()> {
        self.change(at, |document| {
            document.reserved.remove(holder);
            Ok(())
        })
        .await
    }

    pub(crate) async fn quota(&self, now: Timestamp) -> Result<Quota> {
        let name = format!("quota/{}/{}", self.account, now.date());
        let stored = self.store.document(&name).await?;
        let body = stored.as_ref().map(|stored| &*stored.body);
        let mut document = read_document::<QuotaDocument>(LEDGER, body)?;
        document.reserved.retain(|_, reserved| reserved.until > now.unix_millis());
        Ok(Quota {
            day: now.date(),
            used: document.used,
            reserved: document.reserved_by_others(None),
            limit: self.limit,
            spent: document.spent,
            resets_at: resets_at(now),
        })
    }

    fn exceeded(&self, now: Timestamp, by_service: bool) -> Error {
        let message = match by_service {
            true => "the service says that the ticket's daily quota is used up".to_owned(),
            false => format!("the ticket's daily quota is used up: `soft_limit` is {}", self.limit),
        };
        quota_exceeded(now, message).with_sent(Sent::No)
    }
}

fn resets_at(now: Timestamp) -> Timestamp {
    Timestamp::start_of(now.date().plus_days(1))
}

/// The error, with the time at which the count starts again.
pub(crate) fn quota_exceeded(now: Timestamp, message: impl Into<String>) -> Error {
    let reset = resets_at(now);
    Error::new(ErrorKind::QuotaExceeded, message)
        .with_context("resets_at", reset.to_string())
        .with_retry_after(reset.time_left(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::procure::ZoneMark;
    use crate::procure::store::MemoryStore;

    fn at(text: &str) -> Timestamp {
        Timestamp::read(text, ZoneMark::WallClock).expect("a moment")
    }

    fn ledger(limit: u32) -> Ledger {
        Ledger::new(Arc::new(MemoryStore::new()), "account", limit)
    }

    #[tokio::test]
    async fn the_quota_ends_at_the_soft_limit_and_begins_anew_at_santiagos_midnight() {
        let ledger = ledger(2);
        let evening = at("2026-10-14T23:59:59");
        for _ in 0..2 {
            ledger.spend(evening, None).await.expect("left");
        }
        let error = ledger.spend(evening, None).await.expect_err("used up");
        assert_eq!(
            (error.kind(), error.retry_after()),
            (ErrorKind::QuotaExceeded, Some(Duration::from_secs(1)))
        );
        assert!(error.context().contains(&("resets_at", "2026-10-15T00:00:00-03:00".to_owned())));
        let morning = evening.plus(Duration::from_secs(1));
        ledger.spend(morning, None).await.expect("a new day");
        assert_eq!(ledger.quota(morning).await.expect("read").used, 1);
        assert_eq!(ledger.quota(evening).await.expect("read").left(), 0);
    }

    #[tokio::test]
    async fn what_a_job_has_reserved_is_not_used_by_others() {
        let (ledger, now) = (ledger(10), at("2026-10-14T10:00:00"));
        let job = ledger.reserve(now, "job", 8).await.expect("reserved");
        assert!(ledger.reserve(now, "greedy", 3).await.is_err());
        for _ in 0..2 {
            ledger.spend(now, None).await.expect("not reserved");
        }
        assert!(ledger.spend(now, None).await.is_err());
        for _ in 0..8 {
            ledger.spend(now, Some(&job)).await.expect("reserved");
        }
        assert!(ledger.spend(now, Some(&job)).await.is_err(), "no more than the limit");
        assert_eq!(ledger.quota(now).await.expect("read").used, 10);
    }

    #[tokio::test]
    async fn reservations_are_given_back_or_forgotten() {
        let (ledger, now) = (ledger(10), at("2026-10-14T10:00:00"));
        let job = ledger.reserve(now, "job", 8).await.expect("reserved");
        job.release().await.expect("released");
        let mut killed = ledger.reserve(now, "killed", 9).await.expect("reserved");
        killed.held = false;
        drop(killed);
        assert_eq!(ledger.quota(now).await.expect("read").left(), 1);
        let later = now.plus(RESERVATION_EXPIRY);
        assert_eq!(ledger.quota(later).await.expect("read").left(), 10);
        ledger.reserve(later, "next", 10).await.expect("free again");
    }

    #[tokio::test]
    async fn a_caller_who_leaves_gives_its_reservation_back() {
        let (ledger, now) = (ledger(10), at("2026-10-14T10:00:00"));
        let left = ledger.reserve(now, "abandoned", 9).await.expect("reserved");
        assert_eq!(ledger.quota(now).await.expect("read").left(), 1);
        drop(left);
        tokio::task::yield_now().await;
        assert_eq!(ledger.quota(now).await.expect("read").left(), 10);
    }

    #[tokio::test]
    async fn once_the_service_says_spent_nothing_leaves_until_midnight() {
        let (ledger, now) = (ledger(10), at("2026-10-14T10:00:00"));
        let job = ledger.reserve(now, "job", 5).await.expect("reserved");
        ledger.exhaust(now).await.expect("written");
        assert!(ledger.spend(now, Some(&job)).await.is_err());
        assert_eq!(ledger.quota(now).await.expect("read").left(), 0);
        ledger.spend(at("2026-10-15T00:00:00"), None).await.expect("a new day");
    }

    #[tokio::test]
    async fn what_never_left_is_taken_back() {
        let (ledger, now) = (ledger(1), at("2026-10-14T10:00:00"));
        ledger.spend(now, None).await.expect("left");
        ledger.refund(now).await.expect("written");
        ledger.spend(now, None).await.expect("left again");
    }
}
