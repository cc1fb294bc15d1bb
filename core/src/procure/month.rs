//! Calendar months.

use std::fmt;
use std::str::FromStr;

use super::date::Date;
use crate::error::{Error, Result};

/// A calendar month: `2026-06`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: u16,
    month: u8,
}

impl Month {
    /// A month of the Gregorian calendar.
    ///
    /// # Errors
    /// `invalid_request` if the month does not exist.
    pub fn new(year: u16, month: u8) -> Result<Self> {
        Date::new(year, month, 1).map(Self::of)
    }

    /// The month of a day.
    pub fn of(day: Date) -> Self {
        Self { year: day.year(), month: day.month() }
    }

    /// The year.
    pub fn year(self) -> u16 {
        self.year
    }

    /// The month of the year, from 1.
    pub fn month(self) -> u8 {
        self.month
    }

    /// The next month. The last one of the calendar stays the same.
    pub fn next(self) -> Self {
        match (self.year, self.month) {
            (9999, 12) => self,
            (year, 12) => Self { year: year + 1, month: 1 },
            (year, month) => Self { year, month: month + 1 },
        }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        format!("{text}-01")
            .parse::<Date>()
            .map(Self::of)
            .map_err(|_| Error::invalid_request(format!("'{text}' is not a month such as 2026-06")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_read_back_and_follow_one_another() {
        let month = |text: &str| text.parse::<Month>().expect("a month");
        assert_eq!(month("2026-6").to_string(), "2026-06");
        assert_eq!(month("2025-12").next(), month("2026-01"));
        assert_eq!(month("2026-01").next(), month("2026-02"));
        assert!(month("2025-12") < month("2026-01"));
        for text in ["", "2026", "2026-13", "2026-00", "2026-06-01", "junio"] {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
    }
}
