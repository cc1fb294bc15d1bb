//! Rates of mindicador.cl, which republishes those of Chile's central bank.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{Rate, RateProvider, identity, none, published};
use crate::backends::mercado_publico::wire::fields::Fields;
use crate::backends::mercado_publico::wire::walk;
use crate::context::{BoxFuture, Context};
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::http::client::ApiClient;
use crate::procure::{Currency, Date, Source, ZoneMark};

/// The provider's name.
const NAME: &str = "mindicador";
/// One day of one indicator takes less than a kilobyte.
const MOST_BYTES: usize = 64 << 10;

/// Where the rates of mindicador.cl are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct MindicadorConfig {
    /// Where the API is.
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

    /// Another server that answers as mindicador.cl does.
    pub fn with_base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = url.into();
        self
    }

    /// Opens the provider. Nothing is sent yet.
    ///
    /// # Errors
    /// `config_invalid` if the URL is none.
    pub fn open(&self) -> Result<Mindicador> {
        let api = ApiClient::new(NAME, &self.base_url)?;
        Ok(Mindicador { api, known: Mutex::default() })
    }
}

/// Rates of the UF, the UTM, the dollar and the euro, from mindicador.cl. A rate that was given once is not asked
/// for again; one call is in flight at a time.
#[derive(Debug)]
pub struct Mindicador {
    api: ApiClient,
    known: Mutex<HashMap<(&'static str, Date), Rate>>,
}

/// What the service calls a currency.
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
        let mut known = cx.guard(async { Ok(self.known.lock().await) }).await?;
        if let Some(rate) = known.get(&(indicator, day)) {
            return Ok(rate.clone());
        }
        let path = format!("/{indicator}/{:02}-{:02}-{:04}", day.day(), day.month(), day.year());
        let reply = self.api.get(&path).max_body(MOST_BYTES).bytes_reply(cx).await?;
        let body = walk::prepared(reply.value)?;
        let rate = read(&body, indicator, currency, day)?.ok_or_else(|| none(currency, date))?;
        known.insert((indicator, day), rate.clone());
        Ok(rate)
    }
}

/// The rate that an answer holds; `None` if it says that there is none.
///
/// # Errors
/// `response_invalid` for an answer about another indicator, unit or day.
pub(crate) fn read(body: &[u8], indicator: &str, currency: &Currency, day: Date) -> Result<Option<Rate>> {
    let strange = |what: &str| Error::response_invalid(format!("the answer of mindicador.cl {what}"));
    let fields: Fields<'_> = walk::whole(body)?;
    if fields.text("codigo").is_some_and(|code| code != indicator) {
        return Err(strange("is about another indicator"));
    }
    if fields.text("unidad_medida").is_some_and(|unit| !unit.eq_ignore_ascii_case("pesos")) {
        return Err(strange("is not in pesos"));
    }
    if fields.written("serie").is_none_or(|series| !series.starts_with('[')) {
        return Err(strange("has no series"));
    }
    let entries = fields.objects("serie");
    if entries.is_empty() {
        return Ok(None);
    }
    // Here the `Z` is true: a day begins at 03:00 or 04:00 of it.
    let of_day = |entry: &&Fields<'_>| {
        entry.time("fecha", ZoneMark::Utc).is_some_and(|moment| published(currency, moment.date()) == day)
    };
    let entry = entries.iter().find(of_day).ok_or_else(|| strange("is about another day"))?;
    let value = entry.decimal("valor").ok_or_else(|| strange("holds no number"))?;
    let rate = Rate::new(currency.clone(), day, value, Source::new(NAME));
    rate.map(Some).map_err(|_| strange("holds what is no rate"))
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
                // The service answers 404 for some of the days that it has not.
                ErrorKind::NotFound => none(currency, date).with_sent(error.sent()),
                _ => error,
            });
            found.map_err(|error| error.with_backend(NAME).with_operation(Operation::GetRate))
        })
    }
}
