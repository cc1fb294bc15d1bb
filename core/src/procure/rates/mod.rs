//! Exchange rates: the value of currencies and units of account in pesos, by day.
//!
//! ayni never converts amounts by itself. To get pesos, ask a [`RateProvider`] for the rate of a day and convert with it.
//!
//! ```
//! use ayni::procure::rates::{FixedRates, RateProvider};
//! use ayni::procure::{Currency, Date, Money};
//! use ayni::Context;
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let day: Date = "2026-11-20".parse()?;
//! let rates = FixedRates::new().with_rate(Currency::Clf, day, "39643.59".parse()?)?;
//! let rate = rates.rate(&Context::new(), &Currency::Clf, day).await?;
//! let price = Money::new("12.5".parse()?, Currency::Clf);
//! assert_eq!(price.convert(&rate, day)?.to_string(), "495544.875 CLP");
//! assert!(price.convert(&rate, day.plus_days(1)).is_err());
//! # Ok::<_, ayni::Error>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use serde::Serialize;

use super::date::Date;
use super::money::{Currency, Decimal, Money};
use super::record::Source;
use crate::context::{BoxFuture, Context};
use crate::error::{Error, ErrorKind, Result};

mod fixed;

pub use fixed::FixedRates;

/// The value of one unit of a currency on a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Rate {
    /// The currency or unit of account.
    pub currency: Currency,
    /// The day; for the UTM, whose rate is monthly, the first of the month.
    pub date: Date,
    /// The value of one unit in pesos.
    pub pesos: Decimal,
    /// The source of the rate.
    pub source: Source,
}

/// An amount in pesos, and the rate by which it was converted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Converted {
    /// The amount.
    pub pesos: Money,
    /// The rate, with its day.
    pub rate: Rate,
}

impl Rate {
    /// A rate.
    ///
    /// # Errors
    /// `invalid_request` unless it is above zero, and one for pesos.
    pub fn new(currency: Currency, date: Date, pesos: Decimal, source: Source) -> Result<Self> {
        let one = Decimal::new(1, 0);
        if pesos <= Decimal::new(0, 0) || (currency == Currency::Clp && pesos != one) {
            return Err(Error::invalid_request(format!(
                "'{pesos}' is not a valid rate of {}",
                currency.as_str()
            )));
        }
        Ok(Self { date: published(&currency, date), currency, pesos, source })
    }

    /// Whether it is the rate of this day.
    pub fn holds_on(&self, date: Date) -> bool {
        self.date == published(&self.currency, date)
    }
}

/// The day under which the rate of `date` is published.
pub(crate) fn published(currency: &Currency, date: Date) -> Date {
    match currency {
        Currency::Utm => Date::new(date.year(), date.month(), 1).unwrap_or(date),
        _ => date,
    }
}

/// Provides rates by day.
///
/// Contract:
/// - a rate is that of the requested day, never of another one; for the UTM it is that of the day's month;
/// - a day without a rate is `not_found`: the dollar and the euro have none on weekends and holidays;
/// - one peso is one peso on every day.
pub trait RateProvider: Send + Sync + fmt::Debug + 'static {
    /// The rate of `currency` on `date`.
    fn rate<'a>(&'a self, cx: &'a Context, currency: &'a Currency, date: Date)
    -> BoxFuture<'a, Result<Rate>>;

    /// The rate of `date`, or else the latest one in the `days` before it. The rate has its day.
    fn rate_or_earlier<'a>(
        &'a self,
        cx: &'a Context,
        currency: &'a Currency,
        date: Date,
        days: u16,
    ) -> BoxFuture<'a, Result<Rate>> {
        Box::pin(async move {
            let mut back = 0;
            loop {
                match self.rate(cx, currency, date.plus_days(-i32::from(back))).await {
                    Err(error) if error.kind() == ErrorKind::NotFound && back < days => back += 1,
                    outcome => return outcome,
                }
            }
        })
    }
}

/// The error for a day without a rate.
pub(crate) fn none(currency: &Currency, date: Date) -> Error {
    Error::new(ErrorKind::NotFound, format!("no rate of {} for {date}", currency.as_str()))
}

/// The rate of pesos.
pub(crate) fn identity(currency: &Currency, date: Date) -> Option<Rate> {
    let rate = || Rate::new(Currency::Clp, date, Decimal::new(1, 0), Source::new("identity"));
    if *currency == Currency::Clp { rate().ok() } else { None }
}

impl Money {
    /// This amount in pesos at the rate of `date`, exact and without rounding.
    ///
    /// # Errors
    /// `invalid_request` if the rate is of another currency or day, or the product has more than 38 digits.
    pub fn convert(&self, rate: &Rate, date: Date) -> Result<Self> {
        if rate.currency != self.currency {
            return Err(Error::invalid_request(format!(
                "a rate of {} cannot convert {}",
                rate.currency.as_str(),
                self.currency.as_str()
            )));
        }
        if !rate.holds_on(date) {
            return Err(Error::invalid_request(format!("the rate is of {}, not of {date}", rate.date)));
        }
        let amount = self.amount.checked_mul(rate.pesos);
        let amount = amount.ok_or_else(|| Error::invalid_request("the product has more than 38 digits"))?;
        Ok(Self::new(amount, Currency::Clp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().expect("a day")
    }

    fn decimal(text: &str) -> Decimal {
        text.parse().expect("a number")
    }

    fn rate(currency: Currency, date: &str, pesos: &str) -> Rate {
        Rate::new(currency, day(date), decimal(pesos), Source::new("test")).expect("a rate")
    }

    #[test]
    fn amounts_are_converted_exactly() {
        for (amount, pesos, expected) in [
            ("41250.75", "39643.59", "1635327820.1925"),
            ("-0.01", "39643.59", "-396.4359"),
            ("12345678901234567890", "1000000000000000000", "12345678901234567890000000000000000000"),
        ] {
            let rate = rate(Currency::Clf, "2026-11-20", pesos);
            let converted = Money::new(decimal(amount), Currency::Clf).convert(&rate, day("2026-11-20"));
            assert_eq!(converted.expect(amount), Money::new(decimal(expected), Currency::Clp));
        }
        let rate = rate(Currency::Clf, "2026-11-20", "39643.59");
        let huge = Money::new(decimal(&"9".repeat(38)), Currency::Clf);
        assert!(huge.convert(&rate, day("2026-11-20")).is_err(), "it would have to be rounded");
    }

    #[test]
    fn a_rate_converts_its_own_currency_on_its_own_day_only() {
        let dollars = Money::new(decimal("10"), Currency::Usd);
        let rate_of = |currency| rate(currency, "2026-11-20", "900");
        assert!(dollars.convert(&rate_of(Currency::Eur), day("2026-11-20")).is_err());
        assert!(dollars.convert(&rate_of(Currency::Usd), day("2026-11-21")).is_err());
        let utm = Money::new(decimal("3"), Currency::Utm);
        assert!(utm.convert(&rate_of(Currency::Utm), day("2026-11-01")).is_ok(), "it holds for the month");
        assert!(utm.convert(&rate_of(Currency::Utm), day("2026-12-01")).is_err());
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for (currency, pesos) in [(Currency::Usd, "0"), (Currency::Usd, "-1"), (Currency::Clp, "2")] {
            assert!(Rate::new(currency, day("2026-11-20"), decimal(pesos), Source::new("test")).is_err());
        }
    }
}
