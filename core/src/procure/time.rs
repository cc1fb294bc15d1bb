//! Times in Chile.
//!
//! The sources write Santiago's local time, mostly without a zone and sometimes with a `Z` although it is not UTC. A
//! [`Timestamp`] is a local time and its instant. Twice a year that needs a rule. When clocks go back, an hour happens
//! twice: a time in it means the *first* one, so that a deadline is never too late. When clocks go forward, an hour is
//! skipped: a time in it is read as if clocks had not changed yet. [`Timestamp::reading`] says which case it was.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use jiff::civil::DateTime;
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::tz::{AmbiguousOffset, TimeZone};
use serde::{Deserialize, Serialize};

use super::date::Date;
use crate::error::{Error, ErrorKind, Result};

/// `America/Santiago`, from the time zone database that is compiled in.
static SANTIAGO: LazyLock<TimeZone> = LazyLock::new(|| {
    TimeZone::get("America/Santiago").unwrap_or_else(|_| TimeZone::fixed(jiff::tz::offset(-4)))
});

/// How to read a `Z` that a source writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ZoneMark {
    /// The time is Santiago's local time, and the `Z` is wrong.
    #[default]
    WallClock,
    /// The time is UTC.
    Utc,
}

/// How a local time was converted to an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reading {
    /// The local time is unique.
    Once,
    /// The local time happened twice; this is the first.
    First,
    /// The local time happened twice; this is the second.
    Second,
    /// The local time was skipped; it is read as if clocks had not gone forward yet.
    Skipped,
}

/// A time in Chile. It is written with Santiago's offset at that time: `2026-10-26T15:30:00-03:00`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timestamp {
    wall: DateTime,
    /// Whether it is the second of two equal local times.
    second: bool,
}

impl Timestamp {
    /// The time at `hour:minute:second` on `date`, in Santiago's local time.
    ///
    /// # Errors
    /// `invalid_request` for a time that does not exist on a clock.
    pub fn at(date: Date, hour: u8, minute: u8, second: u8) -> Result<Self> {
        let narrow = |part: u8| i8::try_from(part).unwrap_or(i8::MAX);
        let time = jiff::civil::Time::new(narrow(hour), narrow(minute), narrow(second), 0)
            .map_err(|_| Error::invalid_request("the time of day is invalid"))?;
        Ok(Self { wall: date.civil().to_datetime(time), second: false })
    }

    /// The midnight at the start of `date`.
    pub fn start_of(date: Date) -> Self {
        Self { wall: date.civil().to_datetime(jiff::civil::Time::midnight()), second: false }
    }

    /// Parses ISO 8601 as the sources write it: with `T` or a blank, with or without seconds, fraction and zone. Without a
    /// zone it is Santiago's local time. An offset is used as it is. `mark` says how to read a `Z`.
    ///
    /// # Errors
    /// `invalid_request` for any other text.
    pub fn read(text: &str, mark: ZoneMark) -> Result<Self> {
        parse(text, mark).ok_or_else(|| Error::invalid_request("not a time such as 2026-10-26T15:30:00"))
    }

    /// Whether it is none of the dates of 1900 that the sources write for "none".
    pub(crate) fn is_given(self) -> bool {
        self.wall.year() > 1900
    }

    /// The time of the system's clock.
    pub fn of_system_time(time: SystemTime) -> Self {
        let instant = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        Self::of_instant(instant)
    }

    /// The time this many milliseconds after the Unix epoch.
    pub fn of_unix_millis(millis: i64) -> Self {
        Self::of_instant(jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }

    fn of_instant(instant: jiff::Timestamp) -> Self {
        let offset = SANTIAGO.to_offset(instant);
        let wall = offset.to_datetime(instant);
        let second = matches!(
            SANTIAGO.to_ambiguous_timestamp(wall).offset(),
            AmbiguousOffset::Fold { after, .. } if after == offset
        );
        Self { wall, second }
    }

    fn instant(self) -> jiff::Timestamp {
        let ambiguous = SANTIAGO.to_ambiguous_timestamp(self.wall);
        let instant = if self.second { ambiguous.later() } else { ambiguous.compatible() };
        instant.unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// The day in Santiago.
    pub fn date(self) -> Date {
        Date::from_civil(self.wall.date())
    }

    /// The local time of day: hour, minute, second.
    pub fn clock(self) -> (u8, u8, u8) {
        let part = |part: i8| part.unsigned_abs();
        (part(self.wall.hour()), part(self.wall.minute()), part(self.wall.second()))
    }

    /// Milliseconds since the Unix epoch.
    pub fn unix_millis(self) -> i64 {
        self.instant().as_millisecond()
    }

    /// How the local time was read.
    pub fn reading(self) -> Reading {
        match SANTIAGO.to_ambiguous_timestamp(self.wall).offset() {
            AmbiguousOffset::Unambiguous { .. } => Reading::Once,
            AmbiguousOffset::Gap { .. } => Reading::Skipped,
            AmbiguousOffset::Fold { .. } if self.second => Reading::Second,
            AmbiguousOffset::Fold { .. } => Reading::First,
        }
    }

    /// The time left from `now`; `None` if it has passed.
    pub fn time_left(self, now: Self) -> Option<Duration> {
        Duration::try_from(self.instant().duration_since(now.instant())).ok().filter(|left| !left.is_zero())
    }

    /// The time `duration` later.
    pub fn plus(self, duration: Duration) -> Self {
        self.instant().checked_add(duration).map_or(self, Self::of_instant)
    }

    /// The time `duration` earlier.
    pub fn minus(self, duration: Duration) -> Self {
        self.instant().checked_sub(duration).map_or(self, Self::of_instant)
    }

    /// The local time with a wrong `Z`, as the quick-purchase API compares it.
    pub fn with_false_mark(self) -> String {
        format!("{}Z", self.wall.strftime("%Y-%m-%dT%H:%M:%S"))
    }

    /// The local time without an offset: `2026-10-26T15:30:00`.
    pub fn wall_clock(self) -> String {
        self.wall.to_string()
    }
}

/// Whether all times of a year are in the range of instants, with room for any offset.
fn is_supported_year(year: i16) -> bool {
    (2..=9998).contains(&year)
}

/// Parses `yyyy-mm-dd[( |T)hh[:mm[:ss[.f…]]]][Z|±hh[:mm[:ss]]]`.
fn parse(text: &str, mark: ZoneMark) -> Option<Timestamp> {
    let pieces = Pieces::parse(text.trim()).ok().filter(|pieces| pieces.time_zone_annotation().is_none())?;
    let date = Some(pieces.date()).filter(|date| is_supported_year(date.year()))?;
    let wall = date.to_datetime(pieces.time().unwrap_or_else(jiff::civil::Time::midnight));
    let offset = match (pieces.offset(), mark) {
        (None, _) | (Some(PiecesOffset::Zulu), ZoneMark::WallClock) => {
            return Some(Timestamp { wall, second: false });
        }
        (Some(offset), _) => offset.to_numeric_offset(),
    };
    offset.to_timestamp(wall).ok().map(Timestamp::of_instant)
}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        self.instant().cmp(&other.instant()).then_with(|| self.wall.cmp(&other.wall))
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::read(text, ZoneMark::Utc)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ambiguous = SANTIAGO.to_ambiguous_timestamp(self.wall).offset();
        let offset = match ambiguous {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { before, .. } => before,
            AmbiguousOffset::Fold { after, .. } if self.second => after,
            AmbiguousOffset::Fold { before, .. } => before,
        };
        let (sign, size) =
            if offset.is_negative() { ('-', -offset.seconds()) } else { ('+', offset.seconds()) };
        write!(f, "{}{sign}{:02}:{:02}", self.wall, size / 3600, size / 60 % 60)?;
        // Before 1910 the offset was Santiago's solar time.
        if size % 60 == 0 { Ok(()) } else { write!(f, ":{:02}", size % 60) }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(crate) fn check_zone() -> Result<()> {
    match TimeZone::get("America/Santiago") {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(ErrorKind::Unexpected, "the time zone database lacks America/Santiago")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moment(text: &str) -> Timestamp {
        Timestamp::read(text, ZoneMark::WallClock).expect(text)
    }

    #[test]
    fn the_zone_table_is_there() {
        check_zone().expect("the compiled-in zone");
    }

    #[test]
    fn every_form_that_the_sources_write_is_read() {
        for (text, mark, expected) in [
            ("2026-10-26T15:30:00", ZoneMark::WallClock, "2026-10-26T15:30:00-03:00"),
            ("2026-07-01T15:30:00", ZoneMark::WallClock, "2026-07-01T15:30:00-04:00"),
            ("2026-09-28T07:43:50.77", ZoneMark::WallClock, "2026-09-28T07:43:50.77-03:00"),
            ("2026-10-14 09:14", ZoneMark::WallClock, "2026-10-14T09:14:00-03:00"),
            ("2026-10-14T09:15:00.380Z", ZoneMark::WallClock, "2026-10-14T09:15:00.38-03:00"),
            ("2026-10-14T12:15:00.380Z", ZoneMark::Utc, "2026-10-14T09:15:00.38-03:00"),
            ("2026-04-17T00:20:15.4377723Z", ZoneMark::Utc, "2026-04-16T20:20:15.4377723-04:00"),
            ("2026-07-03T08:12:19.2340084-04:00", ZoneMark::WallClock, "2026-07-03T08:12:19.2340084-04:00"),
            ("2026-10-14", ZoneMark::WallClock, "2026-10-14T00:00:00-03:00"),
        ] {
            assert_eq!(Timestamp::read(text, mark).expect(text).to_string(), expected);
        }
        for text in [
            "",
            " ",
            "hoy",
            "2026-13-01T00:00",
            "2026-1-01",
            "2026-10-14T25:00",
            "2026-10-14T10:00:00.Z",
            "2026-10-14T10:00X",
        ] {
            assert!(Timestamp::read(text, ZoneMark::WallClock).is_err(), "{text}");
        }
    }

    #[test]
    fn the_hour_that_happens_twice_is_the_first_of_the_two() {
        // Clocks went back from 24:00 to 23:00 at the end of 2026-04-04.
        let first = moment("2026-04-04T23:30:00");
        assert_eq!(
            (first.reading(), first.to_string().as_str()),
            (Reading::First, "2026-04-04T23:30:00-03:00")
        );
        let second = first.plus(Duration::from_secs(3600));
        assert_eq!(
            (second.reading(), second.to_string().as_str()),
            (Reading::Second, "2026-04-04T23:30:00-04:00")
        );
        assert!(first < second);
        assert_eq!(second.to_string().parse::<Timestamp>().expect("read back"), second);
    }

    #[test]
    fn the_hour_that_does_not_happen_is_read_as_before_the_change() {
        // Clocks went forward from 24:00 of 2026-09-05 to 01:00.
        let skipped = moment("2026-09-06T00:30:00");
        assert_eq!(skipped.reading(), Reading::Skipped);
        assert_eq!(skipped.unix_millis(), moment("2026-09-06T01:30:00").unix_millis());
    }

    #[test]
    fn the_time_left_counts_real_hours_across_a_change() {
        let (before, deadline) = (moment("2026-04-04T12:00:00"), moment("2026-04-05T12:00:00"));
        assert_eq!(deadline.time_left(before), Some(Duration::from_secs(25 * 3600)));
        assert_eq!(before.time_left(deadline), None);
        assert_eq!(deadline.time_left(deadline), None);
    }

    #[test]
    fn offsets_of_the_sun_read_back_and_years_beyond_the_tables_are_refused() {
        let old = moment("1905-06-01T00:00:00");
        assert_eq!(old.to_string(), "1905-06-01T00:00:00-04:42:45");
        assert_eq!(old.to_string().parse::<Timestamp>().expect("read back"), old);
        for text in
            ["0001-01-01", "9999-12-31T23:59:59", "2026-10-14T12:00:00-03:99", "2026-10-14T12:00:00-0300:"]
        {
            assert!(Timestamp::read(text, ZoneMark::WallClock).is_err(), "{text}");
        }
    }

    #[test]
    fn a_false_mark_is_written_as_it_is_read() {
        let moment = moment("2026-10-14T09:15:00.380Z");
        assert_eq!(moment.with_false_mark(), "2026-10-14T09:15:00Z");
    }

    proptest! {
        #[test]
        fn every_instant_reads_back(millis in 0_i64..4_102_444_800_000) {
            let moment = Timestamp::of_unix_millis(millis);
            prop_assert_eq!(moment.unix_millis(), millis);
            prop_assert_eq!(moment.to_string().parse::<Timestamp>().expect("read back"), moment);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = Timestamp::read(&text, ZoneMark::WallClock);
        }

        #[test]
        fn moments_sort_as_they_happen(a in 0_i64..4_102_444_800_000, b in 0_i64..4_102_444_800_000) {
            prop_assert_eq!(Timestamp::of_unix_millis(a).cmp(&Timestamp::of_unix_millis(b)), a.cmp(&b));
        }
    }
}
