//! Moments in Chile.
//!
//! The sources write the wall clock of Santiago, mostly without a zone and sometimes with a `Z` that is false.
//! A [`Timestamp`] is that wall clock and the one instant that it stands for. Twice a year that takes a
//! decision: when clocks go back, an hour happens twice, and a reading in it is taken as the *first* of the two,
//! so that a deadline is never later than it may be; when clocks go forward, an hour does not happen, and a
//! reading in it is taken as if they had not gone forward yet. [`Timestamp::reading`] says which it was.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::date::Date;
use crate::error::{Error, ErrorKind, Result};

/// `America/Santiago`, out of the table that is compiled in.
static SANTIAGO: LazyLock<TimeZone> = LazyLock::new(|| {
    TimeZone::get("America/Santiago").unwrap_or_else(|_| TimeZone::fixed(jiff::tz::offset(-4)))
});

/// How a source's `Z` is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ZoneMark {
    /// It is false: the wall clock of Santiago stands before it.
    #[default]
    WallClock,
    /// It is true: UTC stands before it.
    Utc,
}

/// How a reading of the wall clock came to be an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reading {
    /// The wall clock showed this once.
    Once,
    /// The wall clock showed this twice; this is the first time.
    First,
    /// The wall clock showed this twice; this is the second time.
    Second,
    /// The wall clock never showed this; it is read as if clocks had not gone forward yet.
    Skipped,
}

/// A moment in Chile. Written with Santiago's offset at that moment: `2026-10-26T15:30:00-03:00`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timestamp {
    wall: DateTime,
    /// Whether it is the second of two times that the wall clock showed this.
    second: bool,
}

impl Timestamp {
    /// The moment at which the wall clock of Santiago shows `hour:minute:second` of `date`.
    ///
    /// # Errors
    /// `invalid_request` if no clock shows that.
    pub fn at(date: Date, hour: u8, minute: u8, second: u8) -> Result<Self> {
        let narrow = |part: u8| i8::try_from(part).unwrap_or(i8::MAX);
        let time = jiff::civil::Time::new(narrow(hour), narrow(minute), narrow(second), 0)
            .map_err(|_| Error::invalid_request("no clock shows this time"))?;
        Ok(Self { wall: date.civil().to_datetime(time), second: false })
    }

    /// Midnight at the beginning of `date`.
    pub fn start_of(date: Date) -> Self {
        Self { wall: date.civil().to_datetime(jiff::civil::Time::midnight()), second: false }
    }

    /// Reads ISO 8601 as the sources write it: with `T` or a blank, with or without seconds, fraction and zone.
    /// Without a zone it is Santiago's wall clock; an offset is believed; `mark` says what a `Z` is.
    ///
    /// # Errors
    /// `invalid_request` if it is no such text.
    pub fn read(text: &str, mark: ZoneMark) -> Result<Self> {
        scan(text.trim().as_bytes(), mark)
            .ok_or_else(|| Error::invalid_request("not a moment such as 2026-10-26T15:30:00"))
    }

    /// The same, giving `None` for blanks and for the dates of 1900 by which the sources say "none".
    pub(crate) fn read_optional(text: &str, mark: ZoneMark) -> Option<Self> {
        scan(text.trim().as_bytes(), mark).filter(|moment| moment.wall.year() > 1900)
    }

    /// The moment that the system's clock shows.
    pub fn of_system_time(time: SystemTime) -> Self {
        let instant = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        Self::of_instant(instant)
    }

    /// The moment so many milliseconds after the beginning of 1970 in UTC.
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

    /// What the wall clock shows: hour, minute, second.
    pub fn clock(self) -> (u8, u8, u8) {
        let part = |part: i8| part.unsigned_abs();
        (part(self.wall.hour()), part(self.wall.minute()), part(self.wall.second()))
    }

    /// Milliseconds since the beginning of 1970 in UTC.
    pub fn unix_millis(self) -> i64 {
        self.instant().as_millisecond()
    }

    /// How the wall clock was read.
    pub fn reading(self) -> Reading {
        match SANTIAGO.to_ambiguous_timestamp(self.wall).offset() {
            AmbiguousOffset::Unambiguous { .. } => Reading::Once,
            AmbiguousOffset::Gap { .. } => Reading::Skipped,
            AmbiguousOffset::Fold { .. } if self.second => Reading::Second,
            AmbiguousOffset::Fold { .. } => Reading::First,
        }
    }

    /// The time from `now` to this moment; `None` once it has passed.
    pub fn time_left(self, now: Self) -> Option<Duration> {
        Duration::try_from(self.instant().duration_since(now.instant())).ok().filter(|left| !left.is_zero())
    }

    /// This moment, `duration` later.
    pub fn plus(self, duration: Duration) -> Self {
        self.instant().checked_add(duration).map_or(self, Self::of_instant)
    }

    /// This moment, `duration` earlier.
    pub fn minus(self, duration: Duration) -> Self {
        self.instant().checked_sub(duration).map_or(self, Self::of_instant)
    }

    /// The wall clock with the false `Z` that the quick-purchase API compares with.
    pub fn with_false_mark(self) -> String {
        format!("{}Z", self.wall.strftime("%Y-%m-%dT%H:%M:%S"))
    }

    /// The wall clock alone: `2026-10-26T15:30:00`.
    pub fn wall_clock(self) -> String {
        self.wall.to_string()
    }
}

/// Two digits at `at`.
fn two(text: &[u8], at: usize) -> Option<i8> {
    let digit = |at: usize| text.get(at).filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0');
    i8::try_from(digit(at)? * 10 + digit(at + 1)?).ok()
}

/// Whether every moment of a year is an instant that the tables know, with room for any offset.
fn is_placed(year: i16) -> bool {
    (2..=9998).contains(&year)
}

/// Reads `yyyy-mm-dd[( |T)hh:mm[:ss[.f…]]][Z|±hh:mm[:ss]]`.
fn scan(text: &[u8], mark: ZoneMark) -> Option<Timestamp> {
    let separated = text.get(4) == Some(&b'-') && text.get(7) == Some(&b'-');
    let year = i16::from(two(text, 0)?) * 100 + i16::from(two(text, 2)?);
    let date = jiff::civil::Date::new(year, two(text, 5)?, two(text, 8)?)
        .ok()
        .filter(|_| separated && is_placed(year))?;
    let (mut hour, mut minute, mut second, mut nanos, mut at) = (0, 0, 0, 0, 10);
    if matches!(text.get(10), Some(b'T' | b' ' | b't')) {
        (hour, minute) = (two(text, 11)?, (text.get(13) == Some(&b':')).then(|| two(text, 14))??);
        at = 16;
        if text.get(16) == Some(&b':') {
            second = two(text, 17)?;
            (nanos, at) = fraction(text, 19)?;
        }
    }
    let time = jiff::civil::Time::new(hour, minute, second, nanos).ok()?;
    placed(date.to_datetime(time), text.get(at..)?, mark)
}

fn fraction(text: &[u8], at: usize) -> Option<(i32, usize)> {
    if text.get(at) != Some(&b'.') {
        return Some((0, at));
    }
    let digits = text.get(at + 1..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let first_nine = text.get(at + 1..at + 1 + digits.min(9))?;
    let value = first_nine.iter().fold(0_i32, |value, byte| value * 10 + i32::from(byte - b'0'));
    let scale = 10_i32.pow(u32::try_from(9 - digits.min(9)).ok()?);
    (digits > 0).then_some((value * scale, at + 1 + digits))
}

fn placed(wall: DateTime, zone: &[u8], mark: ZoneMark) -> Option<Timestamp> {
    let seconds = match (zone, mark) {
        ([], _) | ([b'Z' | b'z'], ZoneMark::WallClock) => return Some(Timestamp { wall, second: false }),
        ([b'Z' | b'z'], ZoneMark::Utc) => 0,
        ([sign @ (b'+' | b'-'), rest @ ..], _) => {
            let (minutes, seconds) = match (rest.len(), rest.get(2), rest.get(5)) {
                (2, ..) => (0, 0),
                (4, ..) => (two(rest, 2)?, 0),
                (5, Some(b':'), _) => (two(rest, 3)?, 0),
                (8, Some(b':'), Some(b':')) => (two(rest, 3)?, two(rest, 6)?),
                _ => return None,
            };
            if minutes > 59 || seconds > 59 {
                return None;
            }
            let size = i32::from(two(rest, 0)?) * 3600 + i32::from(minutes) * 60 + i32::from(seconds);
            if *sign == b'-' { -size } else { size }
        }
        _ => return None,
    };
    let offset = Offset::from_seconds(seconds).ok()?;
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
        // Before 1910 the offset was that of the sun.
        if size % 60 == 0 { Ok(()) } else { write!(f, ":{:02}", size % 60) }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| serde::de::Error::custom(error.message()))
    }
}

/// Fails where the zone table is not what the rules of this module need.
pub(crate) fn check_zone() -> Result<()> {
    match TimeZone::get("America/Santiago") {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(ErrorKind::Unexpected, "the zone table lacks America/Santiago")),
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
    fn the_dates_of_1900_are_none() {
        for text in ["1900-01-01", "1900-01-03T00:00:00", "", " "] {
            assert_eq!(Timestamp::read_optional(text, ZoneMark::WallClock), None, "{text}");
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
