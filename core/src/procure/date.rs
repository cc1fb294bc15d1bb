//! Calendar days.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A calendar day of the years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(jiff::civil::Date);

const FIRST: jiff::civil::Date = jiff::civil::date(1, 1, 1);
const LAST: jiff::civil::Date = jiff::civil::date(9999, 12, 31);

impl Date {
    /// A day of the Gregorian calendar.
    ///
    /// # Errors
    /// `invalid_request` if the day does not exist.
    pub fn new(year: u16, month: u8, day: u8) -> Result<Self> {
        let parts = (i16::try_from(year), i8::try_from(month), i8::try_from(day));
        let date = match parts {
            (Ok(year @ 1..), Ok(month), Ok(day)) => jiff::civil::Date::new(year, month, day).ok(),
            _ => None,
        };
        date.map(Self).ok_or_else(|| {
            Error::invalid_request(format!("the day {year:04}-{month:02}-{day:02} does not exist"))
        })
    }

    /// The year.
    pub fn year(self) -> u16 {
        self.0.year().unsigned_abs()
    }

    /// The month, from 1.
    pub fn month(self) -> u8 {
        self.0.month().unsigned_abs()
    }

    /// The day of the month, from 1.
    pub fn day(self) -> u8 {
        self.0.day().unsigned_abs()
    }

    /// The day `days` later, or earlier if negative. Stops at the first and last day of the calendar.
    pub fn plus_days(self, days: i32) -> Self {
        let moved = jiff::Span::new().try_days(days).and_then(|span| self.0.checked_add(span)).ok();
        Self(moved.filter(|date| *date >= FIRST).unwrap_or(if days < 0 { FIRST } else { LAST }))
    }

    /// The first day of its month.
    pub fn month_start(self) -> Self {
        Self(self.0.first_of_month())
    }

    /// The last day of its month.
    pub fn month_end(self) -> Self {
        Self(self.0.last_of_month())
    }

    /// The number of days to `other`; negative if it is earlier.
    pub fn days_until(self, other: Self) -> i32 {
        self.0.until(other.0).map_or(0, |span| span.get_days())
    }

    /// All days from this one to `last`, both included; empty if `last` is earlier.
    pub fn through(self, last: Self) -> impl DoubleEndedIterator<Item = Self> + Clone {
        (0..=self.days_until(last)).map(move |days| self.plus_days(days))
    }

    pub(super) fn civil(self) -> jiff::civil::Date {
        self.0
    }

    pub(super) fn from_civil(date: jiff::civil::Date) -> Self {
        Self(date.max(FIRST))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Date {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split('-');
        let digits = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
        let mut number = || parts.next().filter(digits).and_then(|part| part.parse::<u16>().ok());
        let (year, month, day) = (number(), number(), number());
        let narrow = |part: Option<u16>| part.and_then(|number| u8::try_from(number).ok());
        match (year, narrow(month), narrow(day), parts.next()) {
            (Some(year), Some(month), Some(day), None) => Self::new(year, month, day),
            _ => Err(Error::invalid_request(format!("'{text}' is not a day such as 2026-11-20"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for text in [
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-11-31",
            "2026-11",
            "2026-11-20-1",
            "hoy",
            "+2026-1-1",
        ] {
            assert!(text.parse::<Date>().is_err(), "{text}");
        }
        assert_eq!("2024-02-29".parse::<Date>().expect("a leap day").to_string(), "2024-02-29");
    }

    #[test]
    fn days_sort_by_time() {
        let day = |text: &str| text.parse::<Date>().expect("a day");
        assert!(day("2025-12-31") < day("2026-01-01"));
    }

    #[test]
    fn days_are_counted_across_months_and_years() {
        let day = |text: &str| text.parse::<Date>().expect("a day");
        assert_eq!(day("2024-02-28").plus_days(2), day("2024-03-01"));
        assert_eq!(day("2026-01-01").plus_days(-1), day("2025-12-31"));
        assert_eq!(day("2026-01-01").days_until(day("2027-01-01")), 365);
        assert_eq!(day("2026-01-30").through(day("2026-02-02")).count(), 4);
        assert_eq!(day("2026-02-02").through(day("2026-01-30")).count(), 0);
        assert_eq!(day("9999-12-31").plus_days(5), day("9999-12-31"));
    }

    proptest! {
        #[test]
        fn days_read_back_and_are_counted_both_ways(from in 0_i32..3_652_058, days in -4_000_i32..4_000) {
            let from = Date::new(1, 1, 1).expect("the first day").plus_days(from);
            prop_assert_eq!(from.to_string().parse::<Date>().expect("read back"), from);
            let moved = from.plus_days(days);
            prop_assume!(moved > Date::new(1, 1, 1).expect("a day") && moved < Date::new(9999, 12, 31).expect("a day"));
            prop_assert_eq!(from.days_until(moved), days);
            prop_assert_eq!(from.cmp(&moved), 0.cmp(&days));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,20}") {
            if let Ok(day) = text.parse::<Date>() {
                prop_assert_eq!(day.to_string().parse::<Date>().expect("read back"), day);
            }
        }
    }
}
