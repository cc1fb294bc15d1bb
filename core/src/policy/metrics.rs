//! Counters, and their text for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::error::ErrorKind;
use crate::error::Operation;
use crate::info::{BackendInfo, Usage};

/// Counters of calls by backend, model and operation. Clones share them.
///
/// Model names come from the configuration, so there is one series per configured backend and operation, whatever callers
/// request.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<BTreeMap<Labels, Arc<Series>>>>);

/// Backend, model, operation.
type Labels = (Arc<str>, Arc<str>, &'static str);

impl Metrics {
    /// New counters.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counters of policies that are given no others.
    pub fn global() -> Self {
        static GLOBAL: OnceLock<Metrics> = OnceLock::new();
        GLOBAL.get_or_init(Self::new).clone()
    }

    pub(super) fn series(&self, info: &BackendInfo, operation: Operation) -> Arc<Series> {
        let labels = (Arc::clone(&info.backend), Arc::clone(&info.model), operation.as_str());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(labels).or_default())
    }

    /// All counters in Prometheus' text format, without series that never counted anything.
    pub fn prometheus_text(&self) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used: Vec<(String, &Series)> =
            all.iter().filter(|(_, series)| series.is_used()).map(|(l, s)| (labels_text(l), &**s)).collect();
        let mut text = String::with_capacity(1024 + 2048 * used.len());
        requests_text(&mut text, &used);
        durations_text(&mut text, &used);
        counter(&mut text, &used, "ayni_tokens_total", "Tokens used, where backends say so.", |series| {
            vec![
                (r#",direction="input""#.to_owned(), load(&series.input_tokens)),
                (r#",direction="output""#.to_owned(), load(&series.output_tokens)),
            ]
        });
        counter(&mut text, &used, "ayni_retries_total", "Retries of requests.", |series| {
            vec![(String::new(), load(&series.retries))]
        });
        let help = "Requests handed to another backend, by the one that failed.";
        counter(&mut text, &used, "ayni_fallbacks_total", help, |series| {
            vec![(String::new(), load(&series.fallbacks))]
        });
        counter(&mut text, &used, "ayni_cache_hits_total", "Answers from the cache.", |series| {
            vec![(String::new(), load(&series.cache_hits))]
        });
        text
    }
}

impl PartialEq for Metrics {
    /// Whether both share their counters.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// `ok`, then every kind of failure.
const OUTCOMES: usize = 1 + ErrorKind::ALL.len();

/// Upper bounds of the latency buckets, in milliseconds.
const BUCKETS_MS: [u64; 14] =
    [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000];

/// The counters of one backend, model and operation.
#[derive(Debug)]
pub(super) struct Series {
    outcomes: [AtomicU64; OUTCOMES],
    /// The last one counts calls that took longer than every bound.
    buckets: [AtomicU64; BUCKETS_MS.len() + 1],
    total_nanos: AtomicU64,
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
    retries: AtomicU64,
    fallbacks: AtomicU64,
    cache_hits: AtomicU64,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            outcomes: std::array::from_fn(|_| AtomicU64::new(0)),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            total_nanos: AtomicU64::new(0),
            input_tokens: AtomicU64::new(0),
            output_tokens: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            fallbacks: AtomicU64::new(0),
            cache_hits: AtomicU64::new(0),
        }
    }
}

impl Series {
    pub(super) fn retried(&self) {
        add(&self.retries, 1);
    }

    pub(super) fn fell_back(&self) {
        add(&self.fallbacks, 1);
    }

    /// Counts a call that ended, with `None` for success.
    pub(super) fn ended(&self, failure: Option<ErrorKind>, took: Duration) {
        let outcome = failure.map_or(0, |kind| 1 + kind as usize);
        if let Some(counter) = self.outcomes.get(outcome) {
            add(counter, 1);
        }
        let bucket = BUCKETS_MS.partition_point(|bound| Duration::from_millis(*bound) < took);
        if let Some(counter) = self.buckets.get(bucket) {
            add(counter, 1);
        }
        add(&self.total_nanos, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts the tokens of an answer; one from the cache cost none.
    pub(super) fn answered(&self, usage: Usage, cached: bool) {
        if cached {
            add(&self.cache_hits, 1);
            return;
        }
        add(&self.input_tokens, usage.input_tokens.unwrap_or(0));
        add(&self.output_tokens, usage.output_tokens.unwrap_or(0));
    }

    fn is_used(&self) -> bool {
        self.outcomes.iter().chain([&self.retries, &self.fallbacks]).any(|counter| load(counter) > 0)
    }
}

fn add(counter: &AtomicU64, by: u64) {
    if by > 0 {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn labels_text((backend, model, operation): &Labels) -> String {
    format!(r#"backend="{}",model="{}",operation="{}""#, escaped(backend), escaped(model), escaped(operation))
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

// Writing to a String cannot fail, hence the ignored results below.

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A counter; `values` gives further labels and the value.
fn counter(
    text: &mut String,
    all: &[(String, &Series)],
    name: &str,
    help: &str,
    values: impl Fn(&Series) -> Vec<(String, u64)>,
) {
    head(text, name, "counter", help);
    for (labels, series) in all {
        for (more, value) in values(series) {
            let _ = writeln!(text, "{name}{{{labels}{more}}} {value}");
        }
    }
}

fn requests_text(text: &mut String, all: &[(String, &Series)]) {
    let help = "Calls that ended, by outcome: ok or the kind of failure.";
    counter(text, all, "ayni_requests_total", help, |series| {
        let names = std::iter::once("ok").chain(ErrorKind::ALL.iter().map(|kind| kind.as_str()));
        let counted = names.zip(&series.outcomes).map(|(name, counter)| (name, load(counter)));
        counted
            .filter(|(_, value)| *value > 0)
            .map(|(name, value)| (format!(r#",outcome="{name}""#), value))
            .collect()
    });
}

fn durations_text(text: &mut String, all: &[(String, &Series)]) {
    let name = "ayni_request_duration_seconds";
    head(text, name, "histogram", "How long calls took, retries and fallbacks included.");
    for (labels, series) in all {
        let mut below = 0;
        for (index, counter) in series.buckets.iter().enumerate() {
            below += load(counter);
            let bound = match BUCKETS_MS.get(index) {
                Some(bound) => Duration::from_millis(*bound).as_secs_f64().to_string(),
                None => "+Inf".to_owned(),
            };
            let _ = writeln!(text, r#"{name}_bucket{{{labels},le="{bound}"}} {below}"#);
        }
        let sum = Duration::from_nanos(load(&series.total_nanos)).as_secs_f64();
        let _ = writeln!(text, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {below}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let metrics = Metrics::new();
        let series = metrics.series(&BackendInfo::new("groq", "a\"b\\c\nd"), Operation::Chat);
        metrics.series(&BackendInfo::new("groq", "never asked"), Operation::Chat);
        series.ended(None, Duration::from_millis(10));
        series.ended(Some(ErrorKind::RateLimited), Duration::from_secs(301));
        series.answered(Usage::new(7, None), false);
        series.answered(Usage::new(7, 3), true);
        series.retried();
        series.fell_back();
        let text = metrics.prometheus_text();
        let labels = r#"backend="groq",model="a\"b\\c\nd",operation="chat""#;
        for line in [
            "# TYPE ayni_requests_total counter".to_owned(),
            format!(r#"ayni_requests_total{{{labels},outcome="ok"}} 1"#),
            format!(r#"ayni_requests_total{{{labels},outcome="rate_limited"}} 1"#),
            "# TYPE ayni_request_duration_seconds histogram".to_owned(),
            format!(r#"ayni_request_duration_seconds_bucket{{{labels},le="0.01"}} 1"#),
            format!(r#"ayni_request_duration_seconds_bucket{{{labels},le="300"}} 1"#),
            format!(r#"ayni_request_duration_seconds_bucket{{{labels},le="+Inf"}} 2"#),
            format!("ayni_request_duration_seconds_sum{{{labels}}} 301.01"),
            format!("ayni_request_duration_seconds_count{{{labels}}} 2"),
            format!(r#"ayni_tokens_total{{{labels},direction="input"}} 7"#),
            format!(r#"ayni_tokens_total{{{labels},direction="output"}} 0"#),
            format!("ayni_retries_total{{{labels}}} 1"),
            format!("ayni_fallbacks_total{{{labels}}} 1"),
            format!("ayni_cache_hits_total{{{labels}}} 1"),
        ] {
            assert!(text.lines().any(|other| other == line), "no line {line} in\n{text}");
        }
        assert!(!text.contains("never asked"));
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn every_kind_has_a_counter() {
        let series = Series::default();
        for kind in ErrorKind::ALL {
            series.ended(Some(*kind), Duration::ZERO);
        }
        assert!(series.outcomes.iter().skip(1).all(|counter| load(counter) == 1));
    }

    #[test]
    fn clones_count_together() {
        let metrics = Metrics::new();
        let info = BackendInfo::new("b", "m");
        metrics.clone().series(&info, Operation::Embed).retried();
        assert!(metrics.prometheus_text().contains("ayni_retries_total{"));
        assert_eq!(metrics, metrics.clone());
        assert_ne!(metrics, Metrics::new());
        assert_eq!(Metrics::global(), Metrics::global());
    }
}
