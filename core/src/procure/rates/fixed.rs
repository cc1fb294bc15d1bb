//! Rates from a table.

use std::collections::BTreeMap;

use futures_util::future::ready;

use super::{Rate, RateProvider, identity, none, published};
use crate::context::{BoxFuture, Context};
use crate::error::Result;
use crate::procure::{Currency, Date, Decimal, Source};

/// Rates from a table. It has only the days that were added.
#[derive(Clone, Debug, Default)]
pub struct FixedRates(BTreeMap<(String, Date), Rate>);

impl FixedRates {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rate, and replaces one of the same currency and day (for the UTM, of the same month).
    ///
    /// # Errors
    /// `invalid_request` for an invalid rate.
    pub fn with_rate(mut self, currency: Currency, date: Date, pesos: Decimal) -> Result<Self> {
        let rate = Rate::new(currency, date, pesos, Source::new("fixed"))?;
        self.0.insert((rate.currency.as_str().to_owned(), rate.date), rate);
        Ok(self)
    }

    fn find(&self, currency: &Currency, date: Date) -> Result<Rate> {
        let key = (currency.as_str().to_owned(), published(currency, date));
        let known = self.0.get(&key).cloned().or_else(|| identity(currency, date));
        known.ok_or_else(|| none(currency, date))
    }
}

impl RateProvider for FixedRates {
    fn rate<'a>(&'a self, _: &'a Context, currency: &'a Currency, date: Date) -> BoxFuture<'a, Result<Rate>> {
        Box::pin(ready(self.find(currency, date)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn a_day_without_a_rate_is_not_found_and_an_earlier_one_is_given_only_if_asked_for() {
        let day = |text: &str| text.parse::<Date>().expect("a day");
        let pesos: Decimal = "931.27".parse().expect("a number");
        let friday = day("2026-11-20");
        let rates = FixedRates::new()
            .with_rate(Currency::Usd, friday, pesos)
            .and_then(|rates| rates.with_rate(Currency::Utm, friday, Decimal::new(69_000, 0)))
            .expect("rates");
        let (cx, sunday) = (Context::new(), day("2026-11-22"));
        let error = rates.rate(&cx, &Currency::Usd, sunday).await.expect_err("none on Sundays");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("USD for 2026-11-22"), "{error}");
        let found = rates.rate_or_earlier(&cx, &Currency::Usd, sunday, 3).await.expect("Friday's");
        assert_eq!((found.date, found.pesos), (friday, pesos));
        assert!(rates.rate_or_earlier(&cx, &Currency::Usd, sunday, 1).await.is_err());
        assert_eq!(
            rates.rate(&cx, &Currency::Utm, sunday).await.expect("the month's").date,
            day("2026-11-01")
        );
        assert_eq!(rates.rate(&cx, &Currency::Clp, sunday).await.expect("always").pesos, Decimal::new(1, 0));
        assert!(rates.rate(&cx, &Currency::Other("GBP".to_owned()), friday).await.is_err());
    }
}
