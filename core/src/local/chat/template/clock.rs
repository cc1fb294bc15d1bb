//! The time as templates write it: Python's `strftime` in UTC.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The time in that format; nothing for a directive that is not known, or a time before 1970.
pub(super) fn strftime(time: SystemTime, format: &str) -> Option<String> {
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days)?;
    let [hour, minute] = [second / 3600, second / 60 % 60];
    let weekday = DAYS[usize::try_from((days + 3) % 7).ok()?];
    let month_name = MONTHS[usize::try_from(month - 1).ok()?];
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let mut directive = characters.next()?;
        // `%-d`: without a leading zero.
        let width = if directive == '-' { 1 } else { 2 };
        if directive == '-' {
            directive = characters.next()?;
        }
        let number = match directive {
            'd' => day,
            'm' => month,
            'y' => year % 100,
            'H' => hour,
            'I' => (hour + 11) % 12 + 1,
            'M' => minute,
            'S' => second % 60,
            other => {
                match other {
                    'Y' => write!(text, "{year:04}").ok()?,
                    'B' => text.push_str(month_name),
                    'b' | 'h' => text.push_str(&month_name[..3]),
                    'A' => text.push_str(weekday),
                    'a' => text.push_str(&weekday[..3]),
                    'p' => text.push_str(if hour < 12 { "AM" } else { "PM" }),
                    'e' => write!(text, "{day:2}").ok()?,
                    'j' => write!(text, "{:03}", days - first_day(year) + 1).ok()?,
                    'F' => write!(text, "{year:04}-{month:02}-{day:02}").ok()?,
                    'T' => write!(text, "{hour:02}:{minute:02}:{:02}", second % 60).ok()?,
                    // What Python writes for a time without a zone.
                    'Z' | 'z' => {}
                    '%' => text.push('%'),
                    _ => return None,
                }
                continue;
            }
        };
        write!(text, "{number:0width$}").ok()?;
    }
    Some(text)
}

/// Days from 1970-01-01 to the first day of a year.
fn first_day(year: u64) -> u64 {
    let before = year - 1;
    365 * (year - 1970) + (before / 4 - 1969 / 4) - (before / 100 - 1969 / 100) + (before / 400 - 1969 / 400)
}

/// Year, month and day of a day after 1970-01-01; nothing after the year 9999.
fn civil(days: u64) -> Option<(u64, u64, u64)> {
    let mut year = 1970 + days / 366;
    while year < 10_000 && first_day(year + 1) <= days {
        year += 1;
    }
    if year >= 10_000 {
        return None;
    }
    let is_leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut day = days - first_day(year);
    let mut month = 1;
    for length in lengths {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    Some((year, month, day + 1))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_as_python_writes_them() {
        // `datetime.fromtimestamp(s, timezone.utc).strftime(…)`
        let all = "%Y-%m-%d %H:%M:%S %y %I %p %B %b %A %a %e %j %F %T %-d %-m %-H %%";
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 70 12 AM January Jan Thursday Thu  1 001 1970-01-01 00:00:00 1 1 0 %"),
            (
                951_782_400,
                "2000-02-29 00:00:00 00 12 AM February Feb Tuesday Tue 29 060 2000-02-29 00:00:00 29 2 0 %",
            ),
            (
                1_767_323_045,
                "2026-01-02 03:04:05 26 03 AM January Jan Friday Fri  2 002 2026-01-02 03:04:05 2 1 3 %",
            ),
            (
                4_107_542_399,
                "2100-02-28 23:59:59 00 11 PM February Feb Sunday Sun 28 059 2100-02-28 23:59:59 28 2 23 %",
            ),
            (
                4_107_542_400,
                "2100-03-01 00:00:00 00 12 AM March Mar Monday Mon  1 060 2100-03-01 00:00:00 1 3 0 %",
            ),
            (
                253_402_300_799,
                "9999-12-31 23:59:59 99 11 PM December Dec Friday Fri 31 365 9999-12-31 23:59:59 31 12 23 %",
            ),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(strftime(time, all).unwrap(), expected);
        }
        for (seconds, format) in [(0, "%"), (0, "%Q"), (0, "%-"), (253_402_300_800, "%Y")] {
            assert_eq!(strftime(UNIX_EPOCH + Duration::from_secs(seconds), format), None, "{format}");
        }
    }
}
