//! Every parser of what the sources write, on mutated inputs: `make fuzz` runs it for longer, with another seed.

// What a long run has done is for whoever waits for it.
#![allow(clippy::print_stdout)]

use std::fmt::Debug;
use std::io::Cursor;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ayni_testkit::bulk as monthly;
use ayni_testkit::fuzz::{FuzzOptions, InputKind, Target, fuzz};
use bytes::Bytes;
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::bulk::{Archive, BulkRow, OrderLine, QuoteLine, ReadOptions, Rows, TenderOffer};
use super::wire::v1::V1;
use super::wire::{Body, FromSource, compra_agil, ocds, order, privacy, tender, v1};
use crate::backends::mindicador::read as read_mindicador;
use crate::error::Error;
use crate::procure::json::{parse_decimal, prepared};
use crate::procure::{
    Currency, Date, Decimal, Money, OrderCode, QuickPurchaseCode, Raw, Rut, Source, TenderCode, Timestamp,
    ZoneMark,
};

type Outcome = Result<String, String>;

/// A check as the fuzzer calls it.
macro_rules! told {
    ($check:expr) => {
        |input| match $check(input) {
            Ok(outcome) => Ok(outcome),
            Err(Stop::Refused(error)) => Ok(refused(&error)),
            Err(Stop::Broken(finding)) => Err(finding),
        }
    };
}

/// Where a run of the tests starts.
const SEED: u64 = 20_261_121;

#[test]
fn no_input_makes_a_parser_panic_or_hang_or_break_its_word() {
    let findings = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/fuzz");
    let options = FuzzOptions::new(SEED, Duration::from_secs(300), findings).with_inputs(1500);
    let options = options.with_env().expect("numbers");
    match fuzz(targets(), &options) {
        Ok(report) => println!("{report}"),
        Err(finding) => panic!("{finding}"),
    }
}

fn targets() -> Vec<Target> {
    let json =
        |name, begins: &str, check| Target { name, seeds: recorded(begins), kind: InputKind::Json, check };
    let text = |name, seeds: &[&str], check| {
        let seeds = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
        Target { name, seeds, kind: InputKind::Text, check }
    };
    let file = |name, seed, check| Target { name, seeds: vec![seed], kind: InputKind::Text, check };
    vec![
        json("v1-tenders", "v1-tender-list", told!(|input| v1_list(input, v1::tenders))),
        json("v1-orders", "v1-po-list", told!(|input| v1_list(input, v1::orders))),
        json("v1-buyers", "v1-buyers", told!(|input| v1_list(input, v1::buyers))),
        json("v1-suppliers", "v1-supplier", told!(|input| v1_list(input, v1::suppliers))),
        json("v1-tender", "v1-tender-detail", told!(|input| v1_list(input, tender::read))),
        json("v1-order", "v1-po-detail", told!(|input| v1_list(input, order::read))),
        json("v1-failure", "v1-error", told!(|input| v1_list(input, v1::tenders))),
        json("quick-page", "v2-", told!(quick_page)),
        json("quick-detail", "v2-compra-agil-detail", told!(quick_detail)),
        json("ocds-index", "ocds-", told!(ocds_index)),
        json("ocds-package", "ocds-re", told!(ocds_package)),
        json("privacy", "", told!(scrubbed)),
        Target {
            name: "mindicador",
            seeds: vec![br#"{"codigo":"uf","unidad_medida":"Pesos","serie":[{"fecha":"2026-11-20T03:00:00.000Z","valor":39643.59}]}"#.to_vec()],
            kind: InputKind::Json,
            check: told!(mindicador),
        },
        file("bulk-orders", monthly::order_lines(1).with_rows(3).csv(), told!(bulk::<OrderLine>)),
        file("bulk-offers", monthly::tender_offers(1).with_rows(3).csv(), told!(bulk::<TenderOffer>)),
        file("bulk-quotes", monthly::quotes(1).with_rows(3).csv(), told!(bulk::<QuoteLine>)),
        Target {
            name: "bulk-archive",
            seeds: vec![monthly::zip(&[("a.csv", &monthly::quotes(1).with_rows(3).csv()), ("b.txt", b"x")])],
            kind: InputKind::Bytes,
            check: told!(archive),
        },
        text("codes", &["1509-5-L114", "2097-241-SE14", "990301-330-COT26", "1-1-TD99"], codes),
        text("rut", &["76.990.011-K", "769900446", "1-9", "61.900.001-3"], round::<Rut>),
        text("decimal", &["16100000.50", "-0.001", "3.3e+08", "12345678901234567890.12"], decimal),
        text("money", &["1.234.567,89", "3,3e+08", "-1", "0,5"], money),
        text("date", &["2026-11-20", "2024-02-29", "0001-01-01"], round::<Date>),
        text(
            "moment",
            &["2026-10-26T15:30:00", "2026-09-28T07:43:50.77", "2026-10-14 09:14", "2026-04-17T00:20:15.4377723Z",
              "2026-07-03T08:12:19.2340084-04:00", "2026-04-04T23:30:00", "1905-06-01T00:00:00", "9999-12-30"],
            moment,
        ),
    ]
}

/// The recorded bodies whose names begin so.
fn recorded(begins: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conformance/recorded/mercado_publico");
    let entries = std::fs::read_dir(&folder).expect("the recorded bodies");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    // The order of a folder is no order.
    paths.sort();
    let wanted = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        name.starts_with(begins) && name != "manifest.json"
    };
    let found: Vec<_> =
        paths.into_iter().filter(wanted).map(|path| std::fs::read(path).expect("a body")).collect();
    assert!(!found.is_empty(), "no recorded body begins with '{begins}'");
    found
}

/// What an error says, without what differs from input to input.
fn refused(error: &Error) -> String {
    let message: String = error.message().chars().filter(|character| !character.is_ascii_digit()).collect();
    format!("{} {message}", error.kind())
}

/// Why a parser gave nothing: it refused the input, as it may, or it broke its word.
enum Stop {
    Refused(Error),
    Broken(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<String> for Stop {
    fn from(told: String) -> Self {
        Self::Broken(told)
    }
}

type Checked = Result<String, Stop>;

fn hold(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// A body as the client makes one of an answer.
fn body(input: &[u8], mark: ZoneMark) -> Result<Body, Error> {
    let bytes = prepared(Bytes::copy_from_slice(input))?;
    Ok(Body { mark, ..Body::new(bytes, Source::V1, Timestamp::of_unix_millis(1_792_000_000_000)) })
}

/// A record that a parser gives.
trait Read: FromSource + Serialize + Debug + PartialEq + Clone {
    fn raw(&self) -> Raw {
        self.clone().origin_mut().raw.clone()
    }
}

impl<T: FromSource + Serialize + Debug + PartialEq + Clone> Read for T {}

/// What has to hold of any record.
fn sound<T: Read>(record: &T, whole: &Bytes) -> Result<(), String> {
    let raw = record.raw();
    hold(serde_json::from_str::<IgnoredAny>(raw.as_str()).is_ok(), "the raw text of a record is no JSON")?;
    let place = raw.as_bytes().as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
    hold(place <= whole.len(), "the raw text of a record is no slice of the answer")?;
    let written =
        serde_json::to_string(record).map_err(|error| format!("a record cannot be written: {error}"))?;
    hold(serde_json::from_str::<IgnoredAny>(&written).is_ok(), "a record is written as no JSON")?;
    // The raw text may hold what no value does: 1e400, or half a character.
    let Ok(mut value) = serde_json::from_str::<Value>(&written) else { return Ok(()) };
    drop_raw(&mut value);
    hold(!value.to_string().contains("\\u0000"), "a text has a NUL, which databases refuse")
}

fn drop_raw(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("raw");
            members.values_mut().for_each(drop_raw);
        }
        Value::Array(elements) => elements.iter_mut().for_each(drop_raw),
        _ => {}
    }
}

/// Whether somebody is named in a record: a member `contact`, `payment_contact` … with anything in it.
fn names_somebody(value: &Value) -> bool {
    let is_filled = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    match value {
        Value::Object(members) => members.iter().any(|(name, member)| {
            let person = member.as_object().filter(|_| name.ends_with("contact"));
            person.is_some_and(|person| person.values().any(is_filled)) || names_somebody(member)
        }),
        Value::Array(elements) => elements.iter().any(names_somebody),
        _ => false,
    }
}

fn many(count: usize) -> &'static str {
    ["none", "one", "two", "some", "many"][count.min(64).next_power_of_two().trailing_zeros().min(4) as usize]
}

fn v1_list<T: Read>(input: &[u8], read: fn(&Body) -> Result<V1<T>, Error>) -> Checked {
    let body = body(input, ZoneMark::WallClock)?;
    let rows = match read(&body)? {
        V1::Failure(failure) => return Ok(format!("failure {:?}", failure.code.map(|code| code.signum()))),
        V1::List { rows, .. } => rows,
    };
    hold(serde_json::from_slice::<IgnoredAny>(&body.bytes).is_ok(), "what is no JSON was read")?;
    rows.iter().try_for_each(|row| sound(row, &body.bytes))?;
    // The raw texts alone give the same rows.
    let texts: Vec<String> = rows.iter().map(|row| row.raw().as_str().to_owned()).collect();
    let again = Body { bytes: format!("{{\"Listado\":[{}]}}", texts.join(",")).into(), ..body.clone() };
    match read(&again) {
        Ok(V1::List { rows: same, .. }) => hold(same == rows, "the raw texts give other rows")?,
        other => return Err(Stop::Broken(format!("the raw texts cannot be read: {other:?}"))),
    }
    let clean = Body { bytes: privacy::scrubbed(&body.bytes)?, ..body };
    if let Ok(V1::List { rows, .. }) = read(&clean) {
        let mut written = serde_json::to_value(&rows).unwrap_or_default();
        drop_raw(&mut written);
        hold(!names_somebody(&written), "a person is known although personal data was dropped")?;
    }
    Ok(format!("{} rows", many(rows.len())))
}

fn quick_page(input: &[u8]) -> Checked {
    let body = body(input, ZoneMark::Utc)?;
    let payload = match compra_agil::payload(&body.bytes)? {
        Err(failures) => return Ok(format!("{} failures", many(failures.0.len()))),
        Ok(payload) => payload,
    };
    let page = compra_agil::page(&body, payload)?;
    page.rows.iter().try_for_each(|row| sound(row, &body.bytes))?;
    Ok(format!("{} rows, total {:?}", many(page.rows.len()), page.total.map(i64::signum)))
}

fn quick_detail(input: &[u8]) -> Checked {
    let body = body(input, ZoneMark::WallClock)?;
    let payload = match compra_agil::payload(&body.bytes)? {
        Err(failures) => return Ok(format!("{} failures", many(failures.0.len()))),
        Ok(payload) => payload,
    };
    let detail = compra_agil::detail(&body, payload)?;
    sound(&detail, &body.bytes)?;
    Ok(format!("{} items, {} quotes", many(detail.items.len()), many(detail.quotes.len())))
}

fn ocds_index(input: &[u8]) -> Checked {
    let index = ocds::index(&body(input, ZoneMark::WallClock)?)?;
    Ok(format!("{} codes", many(index.codes.len())))
}

fn ocds_package(input: &[u8]) -> Checked {
    let body = body(input, ZoneMark::WallClock)?;
    let tenders = ocds::tenders(&body)?;
    tenders.iter().try_for_each(|tender| sound(tender, &body.bytes))?;
    let bidders = tenders.iter().map(|tender| tender.bidders.len()).sum();
    Ok(format!("{} tenders, {} bidders", many(tenders.len()), many(bidders)))
}

fn scrubbed(input: &[u8]) -> Checked {
    let body = body(input, ZoneMark::WallClock)?;
    let clean = privacy::scrubbed(&body.bytes)?;
    let is_json = |bytes: &[u8]| serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    hold(is_json(&body.bytes) == is_json(&clean), "dropping made another kind of text of it")?;
    let again = privacy::scrubbed(&clean).map_err(|error| error.to_string())?;
    hold(again == clean, "dropping twice drops more")?;
    Ok(format!("dropped {}", clean != body.bytes))
}

fn mindicador(input: &[u8]) -> Checked {
    let day = Date::new(2026, 11, 20).expect("a day");
    let Some(rate) = read_mindicador(&body(input, ZoneMark::Utc)?.bytes, "uf", &Currency::Clf, day)? else {
        return Ok("none".to_owned());
    };
    hold(rate.pesos > Decimal::new(0, 0) && rate.holds_on(day), "a rate that is none")?;
    Ok("a rate".to_owned())
}

fn rows<T: BulkRow + Serialize>(rows: Rows<T>) -> Checked {
    let mut count = 0;
    for row in rows {
        let row = match row {
            Ok(row) => row,
            Err(error) => return Ok(format!("{} rows, then {}", many(count), refused(&error))),
        };
        let written =
            serde_json::to_string(&row).map_err(|error| format!("a row cannot be written: {error}"))?;
        hold(serde_json::from_str::<Value>(&written).is_ok(), "a row is written as no JSON")?;
        count += 1;
    }
    Ok(format!("{} rows", many(count)))
}

fn bulk<T: BulkRow + Serialize>(input: &[u8]) -> Checked {
    rows(Rows::<T>::csv("x.csv", Cursor::new(input.to_vec()), ReadOptions::default())?)
}

fn archive(input: &[u8]) -> Checked {
    let archive = Archive::of(Cursor::new(input.to_vec()), ReadOptions::default().limits)?;
    rows(Rows::<QuoteLine>::archive(archive, ReadOptions::default())?)
}

/// What is read and written reads back as the same.
fn round<T: FromStr<Err = Error> + ToString + PartialEq + Debug>(input: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(input) else { return Ok("no text".to_owned()) };
    let Ok(read) = text.parse::<T>() else { return Ok("refused".to_owned()) };
    let written = read.to_string();
    match written.parse::<T>() {
        Ok(again) => hold(again == read, &format!("{written} reads back as {again:?}"))?,
        Err(error) => return Err(format!("{written} does not read back: {error}")),
    }
    Ok(format!("{} characters", many(written.len())))
}

fn codes(input: &[u8]) -> Outcome {
    let outcomes =
        [round::<TenderCode>(input)?, round::<OrderCode>(input)?, round::<QuickPurchaseCode>(input)?];
    let text = String::from_utf8_lossy(input);
    let is_both = text.parse::<TenderCode>().is_ok() && text.parse::<QuickPurchaseCode>().is_ok();
    hold(!is_both, "a code is a tender's and a quick purchase's")?;
    if let Ok(code) = text.parse::<QuickPurchaseCode>() {
        let page = url::Url::parse(&code.public_page()).map_err(|error| error.to_string())?;
        hold(page.query_pairs().count() == 1, "a code leaves its parameter")?;
    }
    Ok(outcomes.join(", "))
}

fn decimal(input: &[u8]) -> Outcome {
    let outcome = round::<Decimal>(input)?;
    if let Some(number) = std::str::from_utf8(input).ok().and_then(|text| text.parse::<Decimal>().ok()) {
        hold(number.scale() <= 38, "more than 38 digits behind the point")?;
        hold(number.rounded(0).scale() == 0, "rounded to something else")?;
    }
    Ok(outcome)
}

fn money(input: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(input) else { return Ok("no text".to_owned()) };
    let Some(amount) = parse_decimal(text) else { return Ok("refused".to_owned()) };
    let money = Money::new(amount, Currency::from(text));
    let written = serde_json::to_string(&money).map_err(|error| error.to_string())?;
    let read: Money = serde_json::from_str(&written).map_err(|error| error.to_string())?;
    hold(read == money, "an amount reads back as another")?;
    Ok(format!("{} characters", many(text.len())))
}

fn moment(input: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(input) else { return Ok("no text".to_owned()) };
    let mut told = String::new();
    for mark in [ZoneMark::WallClock, ZoneMark::Utc] {
        let Ok(read) = Timestamp::read(text, mark) else { continue };
        let written = read.to_string();
        match written.parse::<Timestamp>() {
            Ok(again) => hold(
                again.unix_millis() == read.unix_millis() && again.date() == read.date(),
                &format!("{written} reads back as {again}"),
            )?,
            Err(error) => return Err(format!("{written} does not read back: {error}")),
        }
        let hour = std::time::Duration::from_secs(3600);
        hold(
            read.plus(hour) > read && read.minus(hour) < read,
            &format!("an hour later than {written} is not later"),
        )?;
        hold(
            read.plus(hour).time_left(read) == Some(hour),
            &format!("no hour from {written} to an hour later"),
        )?;
        told.push_str(&format!("{:?} {} ", read.reading(), many(written.len() - 20)));
    }
    Ok(told)
}
