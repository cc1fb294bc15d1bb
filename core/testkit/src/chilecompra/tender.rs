//! Tenders: generates them with their whole life.

use super::names::PRODUCTS;
use super::world::{
    Line, Step, World, currency, day_number, days_later, hour, hundredths, kinds, moment, pesos, sequence,
};
use crate::random::Random;
use ayni::procure::{Date, Timestamp};

/// The states by v1's numbers.
pub(super) mod state {
    pub(crate) const PUBLISHED: i64 = 5;
    pub(crate) const CLOSED: i64 = 6;
    pub(crate) const DESERTED: i64 = 7;
    pub(crate) const AWARDED: i64 = 8;
    pub(crate) const REVOKED: i64 = 18;
    pub(crate) const SUSPENDED: i64 = 19;
}

/// A tender and its whole life.
#[derive(Clone, Debug)]
pub(super) struct Tender {
    pub(super) code: String,
    pub(super) name: String,
    pub(super) description: String,
    /// The letters of its type.
    pub(super) kind: &'static str,
    /// Index into `World::bodies`.
    pub(super) body: usize,
    pub(super) created: Timestamp,
    pub(super) steps: Vec<Step<i64>>,
    pub(super) currency: &'static str,
    /// In hundredths of the currency.
    pub(super) amount: u64,
    pub(super) shows_amount: bool,
    /// Indices into `World::firms`, without repetition.
    pub(super) bidders: Vec<usize>,
    pub(super) lines: Vec<Line>,
    /// A random number that further facts depend on.
    pub(super) chance: u64,
}

impl Tender {
    pub(super) fn published(&self) -> Timestamp {
        self.steps.first().map_or(self.created, |step| step.at)
    }

    /// The award, even if it is in the future.
    pub(super) fn award(&self) -> Option<&Step<i64>> {
        self.steps.iter().find(|step| step.state == state::AWARDED)
    }

    /// The supplier that won the first awarded line.
    pub(super) fn winner(&self) -> Option<usize> {
        self.lines.iter().find_map(|line| line.winner).and_then(|bidder| self.bidders.get(bidder).copied())
    }
}

/// The `number`th tender of a day.
pub(super) fn generate(world: &World, seed: u64, day: Date, number: u64) -> Tender {
    let mut random = Random::from_parts(&[seed, kinds::TENDER, day_number(day).0, number]);
    let body = random.index(world.bodies.len());
    let product = random.index(PRODUCTS.len());
    let currency = currency(&mut random);
    let mut lines = generate_lines(&mut random, product, currency);
    let amount: u64 = lines.iter().map(|line| line.price * line.quantity / 100).sum();
    let kind = kind(&mut random, amount * pesos(currency) / 100);
    let steps = life(&mut random, day);
    let bidders = generate_bidders(&mut random, world.firms.len());
    let decided = steps.iter().any(|step| step.state == state::AWARDED);
    for (index, line) in lines.iter_mut().enumerate() {
        let won = decided && !bidders.is_empty() && (index == 0 || random.percent(85));
        line.winner = won.then(|| random.index(bidders.len().min(2)));
    }
    let title = PRODUCTS[product].title;
    let body_name = &world.bodies[body].name;
    let prefix = world.bodies[body].prefix;
    Tender {
        code: format!("{prefix}-{}-{kind}{:02}", sequence(day, number), day.year() % 100),
        name: named(&mut random, title),
        description: format!(
            "{title} para {body_name}.\r\nEntrega parcializada según programa; ver bases &amp; anexos."
        ),
        kind,
        body,
        created: moment(&mut random, day.plus_days(-9), (8, 19)),
        steps,
        currency,
        amount,
        shows_amount: random.percent(60),
        bidders,
        lines,
        chance: random.next(),
    }
}

/// Some titles have spaces around them, or are in capitals.
fn named(random: &mut Random, title: &str) -> String {
    match random.below(10) {
        0 => format!("  {} ", title.to_uppercase()),
        1 => format!("{title} \"EDIFICIO NORTE\""),
        _ => title.to_owned(),
    }
}

pub(super) fn generate_lines(random: &mut Random, product: usize, currency: &str) -> Vec<Line> {
    let count = 1 + random.below(4);
    let line = |number: u64, random: &mut Random| {
        let price = PRODUCTS[product].price;
        let price = price - price / 10 + random.below(price / 5 + 1);
        let whole = match price {
            0..=99_999 => random.between(1, 400),
            100_000..=999_999 => random.between(1, 40),
            _ => random.between(1, 3),
        };
        let half = if price < 100_000 && random.percent(5) { 50 } else { 0 };
        Line {
            product,
            description: format!("{}, línea {}", PRODUCTS[product].name, number + 1),
            quantity: whole * 100 + half,
            price: hundredths(price, currency),
            winner: None,
        }
    };
    (0..count).map(|number| line(number, random)).collect()
}

fn generate_bidders(random: &mut Random, firms: usize) -> Vec<usize> {
    let first = random.index(firms);
    let count = random.index(5).min(firms.saturating_sub(1)) + 1;
    (0..count).map(|step| (first + step * 7) % firms).fold(Vec::new(), |mut bidders, firm| {
        if !bidders.contains(&firm) {
            bidders.push(firm);
        }
        bidders
    })
}

/// The type by the amount, in units of about 69,000 pesos.
fn kind(random: &mut Random, pesos: u64) -> &'static str {
    let size = match pesos / 69_000 {
        0..=99 => 0,
        100..=999 => 1,
        1000..=1999 => 2,
        2000..=4999 => 3,
        _ => 4,
    };
    match random.below(50) {
        0 => ["E2", "CO", "B2", "H2", "I2"][size],
        1 => "LS",
        _ => ["L1", "LE", "LP", "LQ", "LR"][size],
    }
}

/// Published, perhaps amended or revoked, closed, decided.
fn life(random: &mut Random, day: Date) -> Vec<Step<i64>> {
    let published = moment(random, day, (8, 19));
    let closing = days_later(day, random.between(5, 25));
    let mut closes = hour(random, closing, &[12, 15, 15, 16, 17, 23]);
    let mut steps = vec![Step { at: published, state: state::PUBLISHED, closes: Some(closes) }];
    let before = |random: &mut Random| moment(random, closing.plus_days(-2), (9, 18));
    match random.below(100) {
        // The closing time is postponed.
        0..=19 => {
            let at = before(random);
            let to = days_later(closing, random.between(2, 7));
            closes = hour(random, to, &[15, 16, 17]);
            steps.push(Step { at, state: state::PUBLISHED, closes: Some(closes) });
        }
        20..=22 => {
            let at = before(random);
            steps.push(Step { at, state: state::REVOKED, closes: Some(closes) });
            return steps;
        }
        23..=25 => {
            let at = before(random);
            steps.push(Step { at, state: state::SUSPENDED, closes: Some(closes) });
            let later = moment(random, days_later(closing, 6), (9, 18));
            steps.push(Step { at: later, state: state::REVOKED, closes: Some(closes) });
            return steps;
        }
        _ => {}
    }
    steps.push(Step { at: closes, state: state::CLOSED, closes: Some(closes) });
    let decided = days_later(closes.date(), random.between(2, 20));
    let end = match random.below(100) {
        0..=74 => state::AWARDED,
        75..=94 => state::DESERTED,
        _ => state::REVOKED,
    };
    steps.push(Step { at: moment(random, decided, (9, 19)), state: end, closes: Some(closes) });
    steps
}
