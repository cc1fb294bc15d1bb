//! Purchase orders: generates them with their whole life.

use super::names::PRODUCTS;
use super::tender::generate_lines;
use super::world::{
    Line, Step, World, currency, day_number, days_later, hundredths, kinds, moment, sequence,
};
use crate::random::Random;
use ayni::procure::{Date, Timestamp};

/// A purchase order and its whole life.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) code: String,
    pub(super) name: String,
    /// The letters of its procurement mechanism.
    pub(super) kind: &'static str,
    /// The mechanism's number; empty for letters beyond the tables.
    pub(super) kind_number: &'static str,
    /// Index into `World::bodies`.
    pub(super) body: usize,
    /// Index into `World::firms`.
    pub(super) firm: usize,
    /// The tender that it results from.
    pub(super) tender: Option<String>,
    pub(super) created: Timestamp,
    pub(super) steps: Vec<Step<i64>>,
    pub(super) currency: &'static str,
    pub(super) lines: Vec<Line>,
    /// A random number that further facts depend on.
    pub(super) chance: u64,
}

impl Order {
    /// The total before taxes, in hundredths.
    pub(super) fn net(&self) -> u64 {
        self.lines.iter().map(|line| line.price * line.quantity / 100).sum()
    }

    /// When the first of these states was reached, if it was by now.
    pub(super) fn reached(&self, states: &[i64], now: Timestamp) -> Option<Timestamp> {
        self.steps.iter().find(|step| step.at <= now && states.contains(&step.state)).map(|step| step.at)
    }
}

/// Letters and numbers of mechanisms, about as frequent as on one day of August 2026.
const MECHANISMS: [(&str, &str); 10] = [
    ("SE", "8"),
    ("SE", "8"),
    ("SE", "8"),
    ("SE", "8"),
    ("AG", "13"),
    ("AG", "13"),
    ("AG", "13"),
    ("CM", "9"),
    ("TD", ""),
    ("CC", "14"),
];

/// The `number`th order of a day.
pub(super) fn generate(world: &World, seed: u64, day: Date, number: u64) -> Order {
    let mut random = Random::from_parts(&[seed, kinds::ORDER, day_number(day).0, number]);
    let (kind, kind_number) = random.pick(&MECHANISMS);
    let sent = moment(&mut random, day, (8, 20));
    let tender = (kind == "SE").then(|| awarded_tender(world, &mut random, sent)).flatten();
    let (mut body, mut firm) = (random.index(world.bodies.len()), random.index(world.firms.len()));
    let product = random.index(PRODUCTS.len());
    let mut money = currency(&mut random);
    let mut lines = generate_lines(&mut random, product, money);
    if let Some(tender) = tender {
        (body, firm, money) = (tender.body, tender.winner().unwrap_or(firm), tender.currency);
        lines = tender.lines.iter().filter(|line| line.winner.is_some()).cloned().collect();
    }
    let title = PRODUCTS[lines.first().map_or(product, |line| line.product)].title;
    let prefix = world.bodies[body].prefix;
    let code = format!("{prefix}-{}-{kind}{:02}", sequence(day, number), day.year() % 100);
    Order {
        name: match &tender {
            Some(tender) => format!("Orden desde {}", tender.code),
            None if kind == "AG" => format!("Compra ágil: {title}"),
            None => title.to_owned(),
        },
        code,
        kind,
        kind_number,
        body,
        firm,
        tender: tender.map(|tender| tender.code.clone()),
        created: sent.minus(std::time::Duration::from_secs(60 * random.between(3, 900))),
        steps: life(&mut random, day, sent),
        currency: money,
        lines,
        chance: random.next(),
    }
}

/// A tender that was awarded before this moment.
fn awarded_tender<'w>(
    world: &'w World,
    random: &mut Random,
    before: Timestamp,
) -> Option<&'w super::tender::Tender> {
    // A few tries: early in the world nothing is decided yet.
    (0..6).find_map(|_| {
        let tender = world.tenders.get(random.index(world.tenders.len()))?;
        let award = tender.award()?;
        (award.at < before && tender.winner().is_some()).then_some(tender)
    })
}

/// Sent, accepted, received; or cancelled.
fn life(random: &mut Random, day: Date, sent: Timestamp) -> Vec<Step<i64>> {
    let step = |at: Timestamp, state: i64| Step { at, state, closes: None };
    let mut steps = vec![step(sent, 4)];
    let accepted = days_later(day, random.between(1, 3));
    if random.percent(8) {
        steps.push(step(moment(random, accepted, (9, 18)), 9));
        return steps;
    }
    steps.push(step(moment(random, accepted, (8, 24)), 6));
    let received = days_later(accepted, random.between(3, 15));
    match random.below(100) {
        0..=59 => steps.push(step(moment(random, received, (9, 18)), 12)),
        60..=69 => {
            steps.push(step(moment(random, received, (9, 13)), 13));
            steps.push(step(moment(random, received, (14, 18)), 12));
        }
        70..=79 => {
            steps.push(step(moment(random, received, (9, 13)), 14));
            steps.push(step(moment(random, days_later(received, 4), (9, 18)), 12));
        }
        80..=84 => steps.push(step(moment(random, received, (9, 18)), 15)),
        _ => {}
    }
    steps
}

/// Taxes of 19 per cent, in hundredths; pesos have no smaller unit.
pub(super) fn taxes(net: u64, currency: &str) -> u64 {
    let taxes = net * 19 / 100;
    if currency == "CLP" { taxes / hundredths(1, "CLP") * hundredths(1, "CLP") } else { taxes }
}
