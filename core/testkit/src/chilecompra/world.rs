//! The invented world: public bodies, suppliers, and every record with its whole life, generated once from the
//! seed. What the services show of it depends on the clock alone.

use std::collections::HashMap;

use super::names::{BODIES, FIRMS, FORMS, REGIONS, UNITS};
use super::order::{self, Order};
use super::quick::{self, Quick};
use super::settings::WorldSpec;
use super::tender::{self, Tender};
use crate::random::Random;
use ayni::procure::{Date, Rut, Timestamp};

/// A public body and its buying unit.
#[derive(Clone, Debug)]
pub(super) struct PublicBody {
    pub(super) code: u64,
    pub(super) name: String,
    pub(super) tax_number: Option<Rut>,
    pub(super) unit_code: u64,
    pub(super) unit: &'static str,
    /// The first number of its records' codes. It is not the unit's code.
    pub(super) prefix: u64,
    /// Index into [`REGIONS`].
    pub(super) region: usize,
}

/// A supplier and its branch.
#[derive(Clone, Debug)]
pub(super) struct Firm {
    pub(super) code: u64,
    pub(super) branch: u64,
    pub(super) name: String,
    pub(super) tax_number: Option<Rut>,
    pub(super) region: usize,
}

/// A change of a record's state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<S> {
    pub(super) at: Timestamp,
    pub(super) state: S,
    /// The closing time of offers from then on.
    pub(super) closes: Option<Timestamp>,
}

/// The last of these steps that has happened.
pub(super) fn latest<S>(steps: &[Step<S>], now: Timestamp) -> Option<&Step<S>> {
    steps.iter().take_while(|step| step.at <= now).last()
}

/// Whether one of these steps has happened on this day.
pub(super) fn changed_on<S>(steps: &[Step<S>], day: Date, now: Timestamp) -> bool {
    steps.iter().take_while(|step| step.at <= now).any(|step| step.at.date() == day)
}

/// A line of a record. Quantities and prices are in hundredths.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Index into [`PRODUCTS`](super::names::PRODUCTS).
    pub(super) product: usize,
    pub(super) description: String,
    pub(super) quantity: u64,
    pub(super) price: u64,
    /// Index into the bidders, if the line was awarded.
    pub(super) winner: Option<usize>,
}

/// Everything that exists.
#[derive(Debug)]
pub(super) struct World {
    pub(super) bodies: Vec<PublicBody>,
    pub(super) firms: Vec<Firm>,
    pub(super) tenders: Vec<Tender>,
    pub(super) orders: Vec<Order>,
    pub(super) quick: Vec<Quick>,
    index_by_code: HashMap<String, usize>,
}

/// A Monday.
const MONDAY: (u16, u8, u8) = (2000, 1, 3);

/// The running number of a day, and whether it is a working day.
pub(super) fn day_number(day: Date) -> (u64, bool) {
    let (year, month, date) = MONDAY;
    let days = Date::new(year, month, date).map_or(0, |monday| monday.days_until(day));
    (u64::try_from(days).unwrap_or(0), days.rem_euclid(7) < 5)
}

/// A moment of a day between two hours.
pub(super) fn moment(random: &mut Random, day: Date, hours: (u64, u64)) -> Timestamp {
    let seconds = random.between(hours.0 * 3600, hours.1 * 3600 - 1);
    let millis = random.below(100) * 10;
    Timestamp::start_of(day).plus(std::time::Duration::from_millis(seconds * 1000 + millis))
}

/// A full hour, or half of one, of a day.
pub(super) fn hour<const N: usize>(random: &mut Random, day: Date, hours: &[u8; N]) -> Timestamp {
    let (hour, minute) = (random.pick(hours), random.pick(&[0, 0, 30]));
    Timestamp::at(day, hour, minute, 0).unwrap_or_else(|_| Timestamp::start_of(day))
}

/// The day so many days later.
pub(super) fn days_later(day: Date, days: u64) -> Date {
    day.plus_days(i32::try_from(days).unwrap_or(0))
}

/// About how many pesos a unit of a currency is.
pub(super) const fn pesos(currency: &str) -> u64 {
    match currency.as_bytes() {
        b"CLF" => 39_000,
        b"UTM" => 69_000,
        b"USD" => 950,
        _ => 1,
    }
}

/// Pesos in a currency, in hundredths of its unit.
pub(super) fn hundredths(amount: u64, currency: &str) -> u64 {
    (amount * 100 / pesos(currency)).max(1)
}

/// The currency of a record: pesos mostly.
pub(super) fn currency(random: &mut Random) -> &'static str {
    match random.below(100) {
        0..=84 => "CLP",
        85..=90 => "CLF",
        91..=95 => "UTM",
        _ => "USD",
    }
}

/// Part of the seed of a record, so that kinds differ.
pub(super) mod kinds {
    pub(crate) const BODY: u64 = 1;
    pub(crate) const FIRM: u64 = 2;
    pub(crate) const TENDER: u64 = 3;
    pub(crate) const ORDER: u64 = 4;
    pub(crate) const QUICK: u64 = 5;
    pub(crate) const COUNT: u64 = 6;
}

impl World {
    pub(super) fn new(spec: &WorldSpec, from: Date, to: Date) -> Self {
        let bodies = (0..u64::from(spec.bodies)).map(|number| public_body(spec.seed, number)).collect();
        let firms = (0..u64::from(spec.suppliers)).map(|number| firm(spec.seed, number)).collect();
        let (tenders, orders, quick, index_by_code) = (Vec::new(), Vec::new(), Vec::new(), HashMap::new());
        let mut world = Self { bodies, firms, tenders, orders, quick, index_by_code };
        for day in from.through(to) {
            for number in 0..count(spec, day, kinds::TENDER, spec.tenders) {
                let tender = tender::generate(&world, spec.seed, day, number);
                world.tenders.push(tender);
            }
            for number in 0..count(spec, day, kinds::QUICK, spec.quick_purchases) {
                let quick = quick::generate(&world, spec.seed, day, number);
                world.quick.push(quick);
            }
        }
        for day in from.through(to) {
            for number in 0..count(spec, day, kinds::ORDER, spec.orders) {
                let order = order::generate(&world, spec.seed, day, number);
                world.orders.push(order);
            }
        }
        let codes = |codes: Vec<&String>| -> Vec<(String, usize)> {
            codes.into_iter().enumerate().map(|(index, code)| (code.to_ascii_uppercase(), index)).collect()
        };
        let all = [
            codes(world.tenders.iter().map(|tender| &tender.code).collect()),
            codes(world.orders.iter().map(|order| &order.code).collect()),
            codes(world.quick.iter().map(|quick| &quick.code).collect()),
        ];
        world.index_by_code = all.into_iter().flatten().collect();
        world
    }

    fn index(&self, code: &str) -> Option<usize> {
        self.index_by_code.get(&code.trim().to_ascii_uppercase()).copied()
    }

    pub(super) fn tender(&self, code: &str) -> Option<&Tender> {
        let found = self.tenders.get(self.index(code)?)?;
        found.code.eq_ignore_ascii_case(code.trim()).then_some(found)
    }

    pub(super) fn order(&self, code: &str) -> Option<&Order> {
        let found = self.orders.get(self.index(code)?)?;
        found.code.eq_ignore_ascii_case(code.trim()).then_some(found)
    }

    pub(super) fn quick(&self, code: &str) -> Option<&Quick> {
        let found = self.quick.get(self.index(code)?)?;
        found.code.eq_ignore_ascii_case(code.trim()).then_some(found)
    }
}

fn count(spec: &WorldSpec, day: Date, kind: u64, usual: u32) -> u64 {
    let (number, works) = day_number(day);
    let usual = if works { u64::from(usual) } else { u64::from(usual) / 6 };
    let mut random = Random::from_parts(&[spec.seed, kinds::COUNT, kind, number]);
    usual - usual / 5 + random.below(2 * (usual / 5) + 1)
}

/// The running number of a record of a day, the same whatever days the world has.
pub(super) fn sequence(day: Date, number: u64) -> u64 {
    let new_year = Date::new(day.year(), 1, 1).unwrap_or(day);
    u64::try_from(new_year.days_until(day)).unwrap_or(0) * 5000 + number
}

fn rut(first: u64, random: &mut Random) -> Option<Rut> {
    u32::try_from(first + random.below(899_999)).ok().and_then(|number| Rut::new(number).ok())
}

fn public_body(seed: u64, number: u64) -> PublicBody {
    let mut random = Random::from_parts(&[seed, kinds::BODY, number]);
    let region = random.index(REGIONS.len());
    let kind = random.pick(&BODIES);
    let commune = REGIONS[region].1;
    // The number makes the names of two bodies of one kind in one commune differ.
    let name = format!("{kind} {} {}", commune.to_uppercase(), roman(number));
    PublicBody {
        code: 990_100 + number,
        name,
        tax_number: rut(61_100_000 + number * 1_000, &mut random),
        unit_code: 992_000 + number * 3 + random.below(3),
        unit: random.pick(&UNITS),
        prefix: 1_000 + number * 37 + random.below(37),
        region,
    }
}

fn roman(number: u64) -> String {
    let tens = "X".repeat(usize::try_from(number / 10).unwrap_or(0));
    let ones = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"];
    format!("{tens}{}", ones[usize::try_from(number % 10).unwrap_or(0)]).trim().to_owned()
}

fn firm(seed: u64, number: u64) -> Firm {
    let mut random = Random::from_parts(&[seed, kinds::FIRM, number]);
    let name = FIRMS[usize::try_from(number).unwrap_or(0) % FIRMS.len()];
    Firm {
        code: 9_916_000 + number,
        branch: 9_927_000 + number * 2,
        name: format!("{name} {} {}", number / FIRMS.len() as u64 + 1, random.pick(&FORMS)),
        tax_number: rut(76_000_000, &mut random),
        region: random.index(REGIONS.len()),
    }
}
