//! Quick purchases: generates them with their whole life.

use std::time::Duration;

use super::names::PRODUCTS;
use super::tender::generate_lines;
use super::world::{
    Line, Step, World, currency, day_number, days_later, hour, hundredths, kinds, moment, sequence,
};
use crate::random::Random;
use ayni::procure::{Date, Timestamp};

/// A quick purchase and its whole life.
#[derive(Clone, Debug)]
pub(super) struct Quick {
    pub(super) code: String,
    pub(super) name: String,
    /// Index into `World::bodies`.
    pub(super) body: usize,
    pub(super) published: Timestamp,
    pub(super) first_call_closes: Timestamp,
    pub(super) second_call_closes: Timestamp,
    pub(super) steps: Vec<Step<QuickState>>,
    pub(super) currency: &'static str,
    /// In hundredths of the currency.
    pub(super) budget: u64,
    pub(super) lines: Vec<Line>,
    /// Indices into `World::firms`.
    pub(super) quotes: Vec<usize>,
    /// A random number that further facts depend on.
    pub(super) chance: u64,
}

/// The states that have been observed; "supplier chosen" and "order issued" never were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuickState {
    Published,
    Closed,
    Deserted,
    Cancelled,
}

impl QuickState {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Published => "publicada",
            Self::Closed => "cerrada",
            Self::Deserted => "desierta",
            Self::Cancelled => "cancelada",
        }
    }

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Published => "Publicada",
            Self::Closed => "Cerrada",
            Self::Deserted => "Desierta",
            Self::Cancelled => "Cancelada",
        }
    }

    /// 2 has been observed; the others are invented.
    pub(super) const fn number(self) -> i64 {
        match self {
            Self::Published => 2,
            Self::Closed => 3,
            Self::Deserted => 4,
            Self::Cancelled => 5,
        }
    }
}

/// The service stamps changes in batches of five minutes.
const BATCH_MILLIS: i64 = 300_000;

/// The stamp of a change: the end of its batch, and a fraction of a second.
pub(super) fn stamp(at: Timestamp, chance: u64) -> Timestamp {
    let batch = (at.unix_millis() + BATCH_MILLIS - 1) / BATCH_MILLIS * BATCH_MILLIS;
    Timestamp::of_unix_millis(batch + i64::try_from(chance % 1000).unwrap_or(0))
}

impl Quick {
    /// The last visible change. A batch becomes visible piece by piece, within two minutes of its stamp.
    pub(super) fn seen(&self, now: Timestamp) -> Option<(&Step<QuickState>, Timestamp)> {
        let late = Duration::from_secs(self.chance % 110);
        let stamped = |step: &Step<QuickState>| stamp(step.at, self.chance);
        let seen = self.steps.iter().take_while(|step| stamped(step).plus(late) <= now).last()?;
        Some((seen, stamped(seen)))
    }

    /// The number of the current call for quotes.
    pub(super) fn call(&self, now: Timestamp) -> i64 {
        if now < self.first_call_closes { 1 } else { 2 }
    }
}

/// The `number`th quick purchase of a day.
pub(super) fn generate(world: &World, seed: u64, day: Date, number: u64) -> Quick {
    let mut random = Random::from_parts(&[seed, kinds::QUICK, day_number(day).0, number]);
    let body = random.index(world.bodies.len());
    let product = random.index(PRODUCTS.len());
    let currency = if random.percent(95) { "CLP" } else { currency(&mut random) };
    let mut lines = generate_lines(&mut random, product, currency);
    lines.truncate(2);
    // The legal limit: 100 monthly tax units.
    let cap = hundredths(6_900_000, currency);
    let budget = lines.iter().map(|line| line.price * line.quantity / 100).sum::<u64>().min(cap);
    let published = moment(&mut random, day, (8, 18));
    let first_day = days_later(day, random.between(1, 3));
    let first_call_closes = hour(&mut random, first_day, &[12, 15, 16, 17]);
    let second_call_closes = hour(&mut random, days_later(first_day, 1), &[12, 15, 17]);
    let firms = world.firms.len();
    let quotes = (0..random.index(4)).map(|_| random.index(firms)).collect();
    let year = day.year() % 100;
    Quick {
        code: format!("{}-{}-COT{year:02}", world.bodies[body].prefix, sequence(day, number)),
        name: PRODUCTS[product].title.to_owned(),
        body,
        published,
        first_call_closes,
        second_call_closes,
        steps: life(&mut random, published, second_call_closes),
        currency,
        budget,
        lines,
        quotes,
        chance: random.next(),
    }
}

/// Published, closed, perhaps deserted; or cancelled before.
fn life(random: &mut Random, published: Timestamp, closes: Timestamp) -> Vec<Step<QuickState>> {
    let step = |at: Timestamp, state: QuickState| Step { at, state, closes: Some(closes) };
    let mut steps = vec![step(published, QuickState::Published)];
    if random.percent(8) {
        steps.push(step(
            published.plus(Duration::from_secs(3600 * random.between(2, 18))),
            QuickState::Cancelled,
        ));
        return steps;
    }
    // The state lags behind the clock.
    let lag = Duration::from_secs(60 * random.between(1, 90));
    steps.push(step(closes.plus(lag), QuickState::Closed));
    if random.percent(25) {
        let days = i32::try_from(random.between(1, 6)).unwrap_or(1);
        steps.push(step(moment(random, closes.date().plus_days(days), (9, 18)), QuickState::Deserted));
    }
    steps
}
