//! Exchange rates from mindicador.cl, which republishes those of Chile's central bank.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::context::{BoxFuture, Context};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::http::client::ApiClient;
use crate::procure::json::{Fields, prepared};
use crate::procure::rates::{Rate, RateProvider, identity, none, published};
use crate::procure::{Currency, Date, Source, ZoneMark};

/// The provider's name.
const NAME: &str = "mindicador";
/// The answer for one day of one indicator is less than a kilobyte.
const MOST_BYTES: usize = 64 << 10;

/// Configuration of [`Mindicador`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct MindicadorConfig {
    /// The URL of the API.
    pub base_url: String,
}

impl Default for MindicadorConfig {
    fn default() -> Self {
        Self { base_url: "https://mindicador.cl/api".to_owned() }
    }
}

impl MindicadorConfig {
    /// The public service.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the URL of another server with the same API.
    pub fn with_base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = url.into();
        self
    }

    /// Opens the provider. This sends nothing yet.
    ///
    /// # Errors
    /// `config_invalid` for an invalid URL.
    pub fn open(&self) -> Result<Mindicador> {
        let api = ApiClient::new(NAME, &self.base_url)?;
        Ok(Mindicador { api, cache: Mutex::default() })
    }
}

/// Rates of the UF, the UTM, the dollar and the euro from mindicador.cl. Each rate is requested only once, and one request
/// is in flight at a time.
#[derive(Debug)]
pub struct Mindicador {
    api: ApiClient,
    cache: Mutex<HashMap<(&'static str, Date), Rate>>,
}

/// The service's name of a currency.
fn indicator(currency: &Currency) -> Result<&'static str> {
    match currency {
        Currency::Clf => Ok("uf"),
        Currency::Utm => Ok("utm"),
        Currency::Usd => Ok("dolar"),
        Currency::Eur => Ok("euro"),
        Currency::Clp | Currency::Other(_) => {
            Err(Error::unsupported(format!("mindicador.cl has no rates of {}", currency.as_str())))
        }
    }
}

impl Mindicador {
    async fn find(&self, cx: &Context, currency: &Currency, date: Date) -> Result<Rate> {
        if let Some(rate) = identity(currency, date) {
            return Ok(rate);
        }
        let (indicator, day) = (indicator(currency)?, published(currency, date));
        let mut cache = cx.guard(async { Ok(self.cache.lock().await) }).await?;
        if let Some(rate) = cache.get(&(indicator, day)) {
            return Ok(rate.clone());
        }
        let path = format!("/{indicator}/{:02}-{:02}-{:04}", day.day(), day.month(), day.year());
        let reply = self.api.get(&path).max_body(MOST_BYTES).bytes_reply(cx).await?;
        let body = prepared(reply.value)?;
        let rate = read(&body, indicator, currency, day)?.ok_or_else(|| none(currency, date))?;
        cache.insert((indicator, day), rate.clone());
        Ok(rate)
    }
}

/// The rate in an answer; `None` if it says that there is none.
///
/// # Errors
/// `response_invalid` for an answer about another indicator, unit or day.
pub(crate) fn read(body: &[u8], indicator: &str, currency: &Currency, day: Date) -> Result<Option<Rate>> {
    let unexpected = |what: &str| Error::response_invalid(format!("the answer of mindicador.cl {what}"));
    let fields = Fields::of_body(body)?;
    if fields.text("codigo").is_some_and(|code| code != indicator) {
        return Err(unexpected("is about another indicator"));
    }
    if fields.text("unidad_medida").is_some_and(|unit| !unit.eq_ignore_ascii_case("pesos")) {
        return Err(unexpected("is not in pesos"));
    }
    if fields.raw("serie").is_none_or(|series| !series.starts_with('[')) {
        return Err(unexpected("has no series"));
    }
    let entries = fields.objects("serie");
    if entries.is_empty() {
        return Ok(None);
    }
    // Here the `Z` really is UTC: a Chilean day begins at 03:00 or 04:00.
    let of_day = |entry: &&Fields<'_>| {
        entry.time("fecha", ZoneMark::Utc).is_some_and(|moment| published(currency, moment.date()) == day)
    };
    let entry = entries.iter().find(of_day).ok_or_else(|| unexpected("is about another day"))?;
    let value = entry.decimal("valor").ok_or_else(|| unexpected("has no number"))?;
    let rate = Rate::new(currency.clone(), day, value, Source::new(NAME));
    rate.map(Some).map_err(|_| unexpected("has an invalid rate"))
}

impl RateProvider for Mindicador {
    fn rate<'a>(
        &'a self,
        cx: &'a Context,
        currency: &'a Currency,
        date: Date,
    ) -> BoxFuture<'a, Result<Rate>> {
        Box::pin(async move {
            let found = self.find(cx, currency, date).await.map_err(|error| match error.kind() {
                // For some days without a rate the service answers 404.
                ErrorKind::NotFound => none(currency, date).with_sent(error.sent()),
                _ => error,
            });
            found.map_err(|error| error.with_backend(NAME).with_operation(Operation::GetRate))
        })
    }
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    /// Answers each request with what `answer` gives for its path, and remembers the paths. It ends with the process.
    fn serve(answer: fn(&str) -> (u16, String)) -> (Mindicador, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/api/", listener.local_addr().expect("bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let paths = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().expect("cloned")).lines();
                let first = lines.next().and_then(Result::ok).unwrap_or_default();
                while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                let (status, body) = answer(&path);
                paths.lock().unwrap_or_else(PoisonError::into_inner).push(path);
                let head =
                    format!("HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nConnection: close");
                drop(write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
            }
        });
        (MindicadorConfig::new().with_base_url(url).open().expect("opened"), asked)
    }

    fn day(text: &str) -> Date {
        text.parse().expect("a day")
    }

    fn series(indicator: &str, entries: &str) -> String {
        format!(
            r#"{{"version":"1.7.0","autor":"mindicador.cl","codigo":"{indicator}","nombre":"x","unidad_medida":"Pesos","serie":[{entries}]}}"#
        )
    }

    #[tokio::test]
    async fn rates_are_exact_requested_once_and_of_the_right_day() {
        let (rates, asked) = serve(|path| match path {
            "/api/uf/20-11-2026" => {
                (200, series("uf", r#"{"fecha":"2026-11-20T03:00:00.000Z","valor":39643.5900000000000001}"#))
            }
            "/api/utm/01-07-2026" => {
                (200, series("utm", r#"{"fecha":"2026-07-01T04:00:00.000Z","valor":68923}"#))
            }
            "/api/dolar/22-11-2026" => (200, series("dolar", "")),
            "/api/dolar/21-11-2026" => (404, "{\"error\":\"Not Found\"}".to_owned()),
            "/api/dolar/20-11-2026" => {
                (200, series("dolar", r#"{"fecha":"2026-11-20T03:00:00.000Z","valor":931.27}"#))
            }
            _ => (500, "{}".to_owned()),
        });
        let cx = Context::new();
        for _ in 0..2 {
            let rate = rates.rate(&cx, &Currency::Clf, day("2026-11-20")).await.expect("a rate");
            assert_eq!(rate.pesos.to_string(), "39643.5900000000000001");
            assert_eq!(rate.source.as_str(), "mindicador");
        }
        let rate = rates.rate(&cx, &Currency::Utm, day("2026-07-29")).await.expect("the month's");
        assert_eq!((rate.pesos.to_string().as_str(), rate.date), ("68923", day("2026-07-01")));
        let error = rates.rate(&cx, &Currency::Usd, day("2026-11-22")).await.expect_err("a Sunday");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("USD for 2026-11-22"), "{error}");
        let friday =
            rates.rate_or_earlier(&cx, &Currency::Usd, day("2026-11-22"), 3).await.expect("Friday's");
        assert_eq!(friday.date, day("2026-11-20"));
        assert!(rates.rate(&cx, &Currency::Clp, day("2026-11-20")).await.is_ok());
        let error = rates.rate(&cx, &Currency::from("GBP"), day("2026-11-20")).await.expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let error = rates.rate(&cx, &Currency::Eur, day("2026-11-20")).await.expect_err("a failure");
        assert_eq!((error.kind(), error.backend()), (ErrorKind::Unavailable, Some("mindicador")));
        let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        let times = |path: &str| asked.iter().filter(|asked| *asked == path).count();
        assert_eq!(
            (times("/api/uf/20-11-2026"), times("/api/dolar/22-11-2026")),
            (1, 2),
            "a missing rate may be published later"
        );
    }

    #[test]
    fn answers_about_something_else_are_refused() {
        let read = |body: &str| super::read(body.as_bytes(), "uf", &Currency::Clf, day("2026-11-20"));
        let entry = r#"{"fecha":"2026-11-20T03:00:00.000Z","valor":39643.59}"#;
        assert!(read(&series("uf", entry)).expect("read").is_some());
        for (body, says) in [
            (series("dolar", entry), "another indicator"),
            (series("uf", entry).replace("Pesos", "Porcentaje"), "not in pesos"),
            (series("uf", &entry.replace("2026-11-20", "2026-11-19")), "another day"),
            (series("uf", &entry.replace("39643.59", "\"\"")), "no number"),
            (series("uf", &entry.replace("39643.59", "-1")), "invalid rate"),
            ("{}".to_owned(), "no series"),
            (series("uf", entry).replace("\"serie\"", "serie"), "not the expected JSON"),
            (series("uf", entry).split_at(120).0.to_owned(), "truncated"),
        ] {
            let error = read(&body).expect_err(says);
            assert_eq!(error.kind(), ErrorKind::ResponseInvalid, "{says}");
            assert!(error.message().contains(says), "{error}");
        }
    }
}
