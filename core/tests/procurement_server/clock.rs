//! Moments and clocks that tests move.

use std::time::{Duration, UNIX_EPOCH};

use ayni::Context;
use ayni::context::Clock;
use ayni::context::{ManualClock, PhaseTimeouts};
use ayni::procure::{Date, Timestamp, ZoneMark};

/// A moment of Santiago's wall clock.
pub(crate) fn moment(text: &str) -> Timestamp {
    Timestamp::read(text, ZoneMark::WallClock).expect("a moment")
}

pub(crate) fn day(text: &str) -> Date {
    text.parse().expect("a day")
}

/// A clock whose calendar stands at a moment while its sleeps are over a hundred times as fast.
pub(crate) fn clock_at(now: Timestamp) -> ManualClock {
    let clock = ManualClock::new();
    set_calendar(&clock, now);
    clock
}

pub(crate) fn set_calendar(clock: &ManualClock, now: Timestamp) {
    let millis = u64::try_from(now.unix_millis()).expect("after 1970");
    clock.set_system_time(UNIX_EPOCH + Duration::from_millis(millis));
}

/// Has the sleeps of a clock pass, a hundred times as fast as real ones. Its calendar stays where it is.
pub(crate) async fn let_sleeps_pass(clock: ManualClock) {
    loop {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let calendar = clock.system_time();
        clock.advance(Duration::from_millis(200));
        clock.set_system_time(calendar);
    }
}

/// A call by this clock. Time-outs are far longer than any test, unless a test is about them.
pub(crate) fn context(clock: &ManualClock) -> Context {
    let long = Some(Duration::from_secs(24 * 3600));
    let mut phases = PhaseTimeouts::default();
    (phases.connect, phases.first_byte, phases.idle) = (long, long, long);
    Context::new().with_clock(Clock::from(clock.clone())).with_phase_timeouts(phases)
}
