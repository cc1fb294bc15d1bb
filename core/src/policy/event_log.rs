//! Keeps this crate's `tracing` events for a program that has no subscriber of its own: the bindings hand them to the logging of
//! their language.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The most events that wait; more are dropped and counted.
const MAX_WAITING: usize = 1000;

/// The events that wait for somebody to take them.
#[derive(Debug, Default)]
pub struct EventLog {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Map<String, Value>>,
    dropped: u64,
}

impl EventLog {
    /// The log of this process. The first call makes it the subscriber of all threads; nothing where there is another one, whose
    /// events stay there.
    pub fn global() -> Option<&'static Self> {
        static LOG: OnceLock<Option<&'static EventLog>> = OnceLock::new();
        *LOG.get_or_init(|| {
            let log: &'static Self = Box::leak(Box::default());
            tracing::subscriber::set_global_default(Forwarding(log)).is_ok().then_some(log)
        })
    }

    /// The events since the last call, as soon as there are some, else after `timeout`: objects with `level`, `target`, `message`
    /// and the event's own fields.
    pub fn next(&self, timeout: Duration) -> Vec<Map<String, Value>> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.arrived.wait_timeout_while(waiting, timeout, |waiting| waiting.events.is_empty());
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut events: Vec<_> = waiting.events.drain(..).collect();
        let dropped = std::mem::take(&mut waiting.dropped);
        if let (Some(last), true) = (events.last_mut(), dropped > 0) {
            last.insert("events_dropped".to_owned(), dropped.into());
        }
        events
    }

    fn push(&self, event: Map<String, Value>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.events.len() < MAX_WAITING {
            waiting.events.push_back(event);
            self.arrived.notify_one();
        } else {
            waiting.dropped += 1;
        }
    }
}

/// The subscriber: events of this crate from `info` up. Spans are counted and nothing else.
struct Forwarding(&'static EventLog);

impl Subscriber for Forwarding {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::INFO && metadata.target().starts_with("ayni")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Id::from_u64(NEXT.fetch_add(1, Ordering::Relaxed).max(1))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut fields = Fields(Map::new());
        fields.0.insert("level".to_owned(), metadata.level().as_str().into());
        fields.0.insert("target".to_owned(), metadata.target().into());
        event.record(&mut fields);
        self.0.push(fields.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_wait_until_they_are_taken_and_are_counted_when_there_are_too_many() {
        let log: &'static EventLog = Box::leak(Box::default());
        tracing::subscriber::with_default(Forwarding(log), || {
            tracing::info!(target: "ayni::call", attempt = 2_u64, kind = "rate_limited", "waiting");
            tracing::debug!(target: "ayni::call", "too fine");
            tracing::warn!(target: "hyper", "another's");
        });
        let events = log.next(Duration::ZERO);
        let expected = serde_json::json!([
            { "level": "INFO", "target": "ayni::call", "message": "waiting", "attempt": 2, "kind": "rate_limited" },
        ]);
        assert_eq!(serde_json::to_value(events).unwrap(), expected);
        for _ in 0..MAX_WAITING + 3 {
            log.push(Map::new());
        }
        let events = log.next(Duration::ZERO);
        assert_eq!(
            (events.len(), events[MAX_WAITING - 1]["events_dropped"].as_u64()),
            (MAX_WAITING, Some(3))
        );
        assert!(log.next(Duration::from_millis(1)).is_empty());
    }
}
