//! How long a backend asks to wait, in every place where backends say so.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::HeaderText;
use super::headers::as_text;

/// What a failed response says about another attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WaitHint {
    /// How long to wait before it.
    pub(crate) wait: Option<Duration>,
    /// Whether to make it, where the backend says so.
    pub(crate) should_retry: Option<bool>,
}

/// The longest estimate of a cold start that is believed; they are unreliable.
const LONGEST_ESTIMATE: Duration = Duration::from_secs(120);

/// The longest wait. More than a year is a way of saying never.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads every place in which a backend may say how long to wait; the most exact one wins.
pub(crate) fn wait_from(headers: &HeaderMap, body: Option<&Value>, now: SystemTime) -> WaitHint {
    let wait = retry_after_ms(headers)
        .or_else(|| retry_after(headers, now))
        .or_else(|| rate_limit_field(headers))
        .or_else(|| body.and_then(retry_info))
        .or_else(|| spent_limit_reset(headers, now))
        .or_else(|| body.and_then(estimated_time));
    WaitHint { wait, should_retry: should_retry(headers) }
}

fn should_retry(headers: &HeaderMap) -> Option<bool> {
    let value = headers.text("x-should-retry")?.trim();
    match value {
        _ if value.eq_ignore_ascii_case("true") => Some(true),
        _ if value.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn retry_after_ms(headers: &HeaderMap) -> Option<Duration> {
    seconds(headers.text("retry-after-ms")?.trim().parse::<f64>().ok()? / 1000.0)
}

fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.text("retry-after")?.trim();
    match value.parse::<f64>() {
        Ok(number) => seconds(number),
        Err(_) => httpdate::parse_http_date(value).ok().map(|date| until(date, now)),
    }
}

/// `RateLimit: "api";r=0;t=55`, or the older `limit=100, remaining=0, reset=55`. A second is added because
/// the window ends inside the last one.
fn rate_limit_field(headers: &HeaderMap) -> Option<Duration> {
    let field = headers.text("ratelimit")?;
    let newer = field.split(',').filter_map(|item| spent_until(item.split(';'), "r", "t")).max();
    let reset = newer.or_else(|| spent_until(field.split([',', ';']), "remaining", "reset"))?;
    Some((reset + Duration::from_secs(1)).min(LONGEST_WAIT))
}

fn spent_until<'a>(pairs: impl Iterator<Item = &'a str>, left: &str, reset: &str) -> Option<Duration> {
    let mut spent = false;
    let mut wait = None;
    for (name, value) in pairs.filter_map(|pair| pair.split_once('=')) {
        match name.trim() {
            name if name.eq_ignore_ascii_case(left) => spent = is_zero(value),
            name if name.eq_ignore_ascii_case(reset) => wait = parse_duration(value),
            _ => {}
        }
    }
    wait.filter(|_| spent)
}

/// `retryDelay` of the `google.rpc.RetryInfo` among the details of an error, also inside an array.
fn retry_info(body: &Value) -> Option<Duration> {
    let details = error_of(body).get("details")?.as_array()?;
    let is_retry_info = |detail: &&Value| {
        detail.get("@type").and_then(Value::as_str).is_some_and(|name| name.ends_with("google.rpc.RetryInfo"))
    };
    let delay = details.iter().find(is_retry_info)?.get("retryDelay")?;
    match delay {
        Value::Object(parts) => {
            let part = |name: &str| parts.get(name).and_then(number).unwrap_or(0.0);
            seconds(part("seconds") + part("nanos") / 1e9)
        }
        other => duration_in(other),
    }
}

/// The reset of whichever limit has nothing left; the later one when several are spent.
fn spent_limit_reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    const REMAINING: &str = "ratelimit-remaining";
    let reset_of = |(name, value): (&HeaderName, &HeaderValue)| {
        let name = name.as_str();
        if !as_text(value).is_some_and(is_zero) {
            return None;
        }
        let reset = match name.find(REMAINING) {
            Some(at) => {
                let (before, after) = (name.get(..at)?, name.get(at + REMAINING.len()..)?);
                format!("{before}ratelimit-reset{after}")
            }
            // Anthropic: `anthropic-ratelimit-requests-remaining`.
            None => {
                let limit = name.strip_suffix("-remaining").filter(|limit| limit.contains("ratelimit-"))?;
                format!("{limit}-reset")
            }
        };
        moment_or_duration(headers.text(&reset)?, now)
    };
    headers.iter().filter_map(reset_of).max()
}

/// A duration; or, where the number is too large for one, a moment in seconds or milliseconds since 1970.
fn moment_or_duration(text: &str, now: SystemTime) -> Option<Duration> {
    const SECONDS_SINCE_1970: f64 = 1e9;
    const MILLISECONDS_SINCE_1970: f64 = 1e12;
    match text.trim().parse::<f64>() {
        Ok(number) if number >= SECONDS_SINCE_1970 => {
            let scale = if number >= MILLISECONDS_SINCE_1970 { 1000.0 } else { 1.0 };
            let since = Duration::try_from_secs_f64(number / scale).ok()?;
            Some(UNIX_EPOCH.checked_add(since).map_or(LONGEST_WAIT, |moment| until(moment, now)))
        }
        _ => parse_duration(text).or_else(|| timestamp(text.trim()).map(|moment| until(moment, now))),
    }
}

/// A moment as RFC 3339 writes it in UTC: `2026-11-29T13:44:37Z`.
fn timestamp(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(str::parse::<i64>);
    let [year, month, day] = [date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?];
    let mut time = time.split(':').map(str::parse::<f64>);
    let [hour, minute, second] = [time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?];
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March end with the leap day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    let seconds = seconds(hour * 3600.0 + minute * 60.0 + second)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(days).ok()? * 86_400) + seconds)
}

fn estimated_time(body: &Value) -> Option<Duration> {
    let error = error_of(body);
    let estimate = body.get("estimated_time").or_else(|| error.get("estimated_time"))?;
    duration_in(estimate).map(|wait| wait.min(LONGEST_ESTIMATE))
}

/// The part of a body that describes the error: its `error`, or the body; the first of an array.
fn error_of(body: &Value) -> &Value {
    let body = body.get(0).unwrap_or(body);
    body.get("error").filter(|error| error.is_object()).unwrap_or(body)
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn duration_in(value: &Value) -> Option<Duration> {
    match value {
        Value::String(text) => parse_duration(text),
        other => seconds(other.as_f64()?),
    }
}

fn is_zero(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok_and(|left| left <= 0.0)
}

/// `7.66s`, `1h2m3.5s`, `6m0s`, `20ms`, or a plain number of seconds.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim().trim_matches('"');
    if let Ok(plain) = rest.parse::<f64>() {
        return seconds(plain);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (amount, tail) = rest.split_at_checked(unit_at)?;
        let next = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, after) = tail.split_at_checked(next)?;
        total += amount.parse::<f64>().ok()? * seconds_in(unit.trim())?;
        rest = after;
    }
    seconds(total).filter(|_| !text.trim().is_empty())
}

fn seconds_in(unit: &str) -> Option<f64> {
    match unit {
        "d" => Some(86_400.0),
        "h" => Some(3600.0),
        "m" => Some(60.0),
        "s" => Some(1.0),
        "ms" => Some(1e-3),
        "us" | "µs" => Some(1e-6),
        "ns" => Some(1e-9),
        _ => None,
    }
}

fn until(moment: SystemTime, now: SystemTime) -> Duration {
    moment.duration_since(now).unwrap_or(Duration::ZERO).min(LONGEST_WAIT)
}

/// `None` for a number that is not a duration; the longest wait for one that is too long.
fn seconds(number: f64) -> Option<Duration> {
    let sensible = number.is_finite() && number >= 0.0;
    sensible.then(|| Duration::try_from_secs_f64(number).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::http::header_map as headers;

    const NOW: SystemTime = UNIX_EPOCH;

    fn wait(fields: &[(&str, &str)], body: &Value) -> Option<f64> {
        wait_from(&headers(fields), Some(body), NOW).wait.map(|wait| wait.as_secs_f64())
    }

    fn header_wait(name: &str, value: &str) -> Option<f64> {
        wait(&[(name, value)], &Value::Null)
    }

    #[test]
    fn the_backend_may_decide_whether_to_retry() {
        let decision = |value| wait_from(&headers(&[("X-Should-Retry", value)]), None, NOW).should_retry;
        assert_eq!(decision("true"), Some(true));
        assert_eq!(decision("False"), Some(false));
        assert_eq!(decision("perhaps"), None);
    }

    #[test]
    fn the_moment_at_which_a_spent_limit_begins_anew_is_waited_for() {
        let limits = |left, reset| {
            [("anthropic-ratelimit-requests-remaining", left), ("anthropic-ratelimit-requests-reset", reset)]
        };
        assert_eq!(wait(&limits("0", "1970-01-01T00:01:00Z"), &Value::Null), Some(60.0));
        assert_eq!(wait(&limits("0", "1970-03-01T00:00:00.5Z"), &Value::Null), Some(59.0 * 86_400.0 + 0.5));
        assert_eq!(wait(&limits("1", "1970-01-01T00:01:00Z"), &Value::Null), None);
        for wrong in ["1970-13-01T00:00:00Z", "1970-01-01", "soon", "1969-01-01T00:00:00Z"] {
            assert_eq!(wait(&limits("0", wrong), &Value::Null), None, "{wrong}");
        }
        let day = |text| timestamp(text).and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
        assert_eq!(day("2026-11-29T13:44:37Z"), Some(Duration::from_secs(1_795_959_877)));
        assert_eq!(day("2000-02-29T00:00:00Z"), Some(Duration::from_secs(951_782_400)));
    }

    #[test]
    fn retry_after_takes_fractions_and_dates() {
        assert_eq!(header_wait("retry-after-ms", "1500.5"), Some(1.5005));
        assert_eq!(header_wait("Retry-After", "2.5"), Some(2.5));
        assert_eq!(header_wait("retry-after", "Thu, 01 Jan 1970 00:01:00 GMT"), Some(60.0));
        assert_eq!(header_wait("retry-after", "soon"), None);
        let later = UNIX_EPOCH + Duration::from_secs(3600);
        let past = headers(&[("retry-after", "Thu, 01 Jan 1970 00:01:00 GMT")]);
        assert_eq!(wait_from(&past, None, later).wait, Some(Duration::ZERO));
    }

    #[test]
    fn a_spent_window_of_the_rate_limit_field_adds_a_second() {
        assert_eq!(header_wait("RateLimit", r#""api";r=0;t=55"#), Some(56.0));
        assert_eq!(header_wait("ratelimit", r#""api";r=3;t=55"#), None);
        assert_eq!(header_wait("ratelimit", r#""api";r=3;t=55, "resolvers"; r=0; t=7"#), Some(8.0));
        assert_eq!(header_wait("ratelimit", "limit=100, remaining=0, reset=9"), Some(10.0));
        assert_eq!(header_wait("ratelimit", "limit=100, remaining=1, reset=9"), None);
    }

    #[test]
    fn the_delay_of_google_bodies_is_found_inside_an_array_too() {
        let error = json!({"error": {"code": 429, "details": [
            {"@type": "type.googleapis.com/google.rpc.Help"},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "45.837906927s"},
        ]}});
        assert_eq!(wait(&[], &error), Some(45.837_906_927));
        assert_eq!(wait(&[], &json!([error])), Some(45.837_906_927));
        let parts = json!({"error": {"details": [
            {"@type": "google.rpc.RetryInfo", "retryDelay": {"seconds": "3", "nanos": 500_000_000}},
        ]}});
        assert_eq!(wait(&[], &parts), Some(3.5));
    }

    #[test]
    fn the_reset_of_the_spent_limit_counts_and_no_other() {
        let both = [
            ("x-ratelimit-remaining-requests", "14399"),
            ("x-ratelimit-reset-requests", "2m59.56s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "7.66s"),
        ];
        assert_eq!(wait(&both, &Value::Null), Some(7.66));
        for (text, expected) in [
            ("1h2m3.5s", Some(3723.5)),
            ("20ms", Some(0.02)),
            ("6m0s", Some(360.0)),
            ("12", Some(12.0)),
            ("", None),
            ("later", None),
            ("5 parsecs", None),
        ] {
            let fields = [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", text)];
            assert_eq!(wait(&fields, &Value::Null), expected, "{text}");
        }
    }

    #[test]
    fn a_reset_may_be_a_moment() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for reset in ["1800000030", "1800000030000"] {
            let fields = headers(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)]);
            assert_eq!(wait_from(&fields, None, now).wait, Some(Duration::from_secs(30)));
        }
    }

    #[test]
    fn estimates_of_a_cold_start_are_clamped() {
        assert_eq!(wait(&[], &json!({"error": "loading", "estimated_time": 20.0})), Some(20.0));
        assert_eq!(wait(&[], &json!({"estimated_time": 4000})), Some(120.0));
    }

    #[test]
    fn the_more_exact_source_wins() {
        let body = json!({
            "error": {"details": [{"@type": "google.rpc.RetryInfo", "retryDelay": "5s"}]},
            "estimated_time": 7,
        });
        let all = [
            ("retry-after-ms", "1000"),
            ("retry-after", "2"),
            ("ratelimit", r#""api";r=0;t=3"#),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "6s"),
        ];
        assert_eq!(wait(&all, &body), Some(1.0));
        assert_eq!(wait(&all[1..], &body), Some(2.0));
        assert_eq!(wait(&all[2..], &body), Some(4.0));
        assert_eq!(wait(&all[3..], &body), Some(5.0));
        assert_eq!(wait(&all[3..], &json!({"estimated_time": 7})), Some(6.0));
        assert_eq!(wait(&[], &json!({"estimated_time": 7})), Some(7.0));
    }

    #[test]
    fn absurd_numbers_neither_panic_nor_wait_backwards() {
        for name in ["retry-after", "retry-after-ms"] {
            assert_eq!(header_wait(name, "1e300"), Some(LONGEST_WAIT.as_secs_f64()));
            for absurd in ["-5", "NaN", "inf", "-inf"] {
                assert_eq!(header_wait(name, absurd), None, "{absurd}");
            }
        }
        assert_eq!(header_wait("ratelimit", r#""a";r=0;t=1e300"#), Some(LONGEST_WAIT.as_secs_f64()));
        let moment = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1e300")];
        assert_eq!(wait(&moment, &Value::Null), None);
        assert_eq!(wait(&[], &json!({"estimated_time": -3})), None);
    }

    proptest! {
        #[test]
        fn any_header_text_can_be_read(text in "\\PC{0,40}") {
            for name in ["retry-after", "retry-after-ms", "ratelimit", "x-ratelimit-reset"] {
                let fields = headers(&[(name, &text), ("x-ratelimit-remaining", "0")]);
                if let Some(wait) = wait_from(&fields, None, NOW).wait {
                    prop_assert!(wait <= LONGEST_WAIT);
                }
            }
        }
    }
}
