//! What is written reads back.

use futures_util::TryStreamExt;
use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::backends::mercado_publico::wire::{self, ocds as reader, tender as v1_reader, v1::V1};
use crate::procure::analysis::Language;
use crate::procure::json::prepared;
use crate::procure::{
    Currency, Decimal, Money, PurchaseOrder, PurchaseOrderRow, QuickPurchaseRow, Source, Tender, TenderRow,
    TenderState, Timestamp,
};

fn moment(text: &str) -> Timestamp {
    text.parse().expect("a moment")
}

async fn file(pieces: impl Stream<Item = Result<Bytes>>) -> String {
    String::from_utf8(pieces.try_collect::<Vec<_>>().await.expect("written").concat()).expect("UTF-8")
}

fn records<T: Send + 'static>(records: Vec<T>) -> impl Stream<Item = Result<T>> + Send {
    stream::iter(records.into_iter().map(Ok))
}

/// The recorded tenders of both forms.
fn recorded() -> Vec<Tender> {
    let body = |name: &str, source| {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/recorded/mercado_publico");
        let bytes = std::fs::read(folder.join(name)).expect(name);
        let as_of = moment("2026-10-14T10:00:00-03:00");
        wire::Body::new(prepared(bytes.into()).expect("prepared"), source, as_of)
    };
    let mut tenders = Vec::new();
    for name in ["v1-tender-detail-published.json", "v1-tender-detail-awarded-clf.json"] {
        match v1_reader::read(&body(name, Source::V1)).expect(name) {
            V1::List { rows, .. } => tenders.extend(rows),
            V1::Failure(failure) => panic!("{failure:?}"),
        }
    }
    let package = body("ocds-record-package.json", Source::OCDS);
    tenders.extend(reader::tenders(&package).expect("a package"));
    tenders
}

/// The cells of a CSV file, by the rules of RFC 4180 and nothing else.
fn read_csv(file: &str, separator: char) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = file.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            c if c == separator && !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {
                assert_eq!(characters.next(), Some('\n'));
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(!quoted && cell.is_empty() && row.is_empty());
    rows
}

fn row(name: &str) -> TenderRow {
    TenderRow {
        closes: Some(moment("2026-10-26T15:30:00-03:00")),
        ..TenderRow::new("1-1-LE26", name, TenderState::Published)
    }
}

#[tokio::test]
async fn tables_read_back_cell_for_cell() {
    let tenders = recorded();
    for (separator, mark) in [(Separator::Semicolon, ';'), (Separator::Comma, ',')] {
        let format = CsvFormat::new().with_separator(separator);
        let file = file(csv(records(tenders.clone()), format)).await;
        let rows = read_csv(file.strip_prefix('\u{FEFF}').expect("a mark"), mark);
        assert_eq!(rows.len(), tenders.len() + 1);
        assert!(rows.iter().all(|row| row.len() == Tender::COLUMNS.len()));
        assert_eq!(rows[0][6], "monto_estimado");
        assert_eq!(rows[1][11], "Compra de reactivos.\r\nEntrega parcializada según programa.");
        let amount = if mark == ';' { "41250,75" } else { "41250.75" };
        assert_eq!((rows[2][6].as_str(), rows[2][7].as_str()), (amount, "CLF"));
        assert_eq!(rows[1][5], "2026-10-26 15:30:00");
        assert!(rows[1][14].ends_with("idlicitacion=990101-12-LE26"));
        // Who won, when, for how much, and of how many.
        let price = if mark == ';' { "38999,5" } else { "38999.5" };
        for (name, begin) in [
            ("oferentes", "4"),
            ("fecha_adjudicacion", "2026-09-08"),
            ("adjudicatarios", "CONSTRUCTORA FICTICIA SPA"),
            ("monto_adjudicado", price),
            ("moneda_adjudicada", "CLF"),
        ] {
            let column = rows[0].iter().position(|column| column == name).expect(name);
            assert!(rows[2][column].starts_with(begin), "{name}: {}", rows[2][column]);
        }
    }
    let plain = CsvFormat::new().with_byte_order_mark(false).with_language(Language::English);
    let file = file(csv(records(vec![row("a")]), plain)).await;
    assert!(file.starts_with("code;name;state;closes;source;as_of\r\n"), "{file}");
}

#[tokio::test]
async fn orders_and_quick_purchases_are_tables_too() {
    let order = PurchaseOrder {
        row: PurchaseOrderRow::new("1-1-SE26", "Orden", "aceptada"),
        net: Some(Money::new(Decimal::new(-100, 0), Currency::Clp)),
        ..PurchaseOrder::default()
    };
    let file_of_orders = file(csv(records(vec![order.clone()]), CsvFormat::new())).await;
    let rows = read_csv(file_of_orders.trim_start_matches('\u{FEFF}'), ';');
    assert_eq!(
        (rows[1].len(), rows[1][5].as_str(), rows[1][7].as_str()),
        (PurchaseOrder::COLUMNS.len(), "-100", "")
    );
    assert_eq!(rows[1][8], "CLP");
    for columns in [PurchaseOrderRow::COLUMNS.len(), QuickPurchaseRow::COLUMNS.len()] {
        assert!(columns > 4);
    }
    assert_eq!(order.row.cells().len(), PurchaseOrderRow::COLUMNS.len());
    assert_eq!(QuickPurchaseRow::default().cells().len(), QuickPurchaseRow::COLUMNS.len());
}

#[tokio::test]
async fn no_text_becomes_a_formula() {
    for (name, written) in [
        ("=1+1", "'=1+1"),
        ("+56 9", "'+56 9"),
        ("-5", "'-5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1+1", "'  =1+1"),
        ("\t=1+1", "'\t'=1+1"),
        ("\r\n=1+1", "'\r\n=1+1"),
        ("\u{FEFF}=1", "\u{FEFF}=1"),
        ("＝1+1", "'＝1+1"),
        ("a=1", "a=1"),
        ("Toner, =1+1", "Toner,' =1+1"),
        ("x\t@SUM(A1);-2|+3", "x\t'@SUM(A1);'-2|'+3"),
        ("\0=1+1", "'=1+1"),
    ] {
        let file = file(csv(records(vec![row(name)]), CsvFormat::new().with_byte_order_mark(false))).await;
        assert_eq!(read_csv(&file, ';')[1][1], written, "{name:?}");
    }
}

#[tokio::test]
async fn lines_of_json_are_one_record_each() {
    let tenders = recorded();
    let whole = file(json_lines(records(tenders.clone()), JsonLinesFormat::whole())).await;
    assert_eq!(
        whole.lines().count(),
        tenders.len(),
        "the recorded bodies have line breaks, the lines have not"
    );
    for (line, tender) in whole.lines().zip(&tenders) {
        let read: Json = serde_json::from_str(line).expect("json");
        assert_eq!(read, serde_json::to_value(tender).expect("json"));
        assert_eq!(read.pointer("/row/origin/raw").expect("raw"), &tender.row.origin.raw.to_json());
    }
    assert!(whole.contains("Persona De Prueba"));
    for format in [JsonLinesFormat::new(), JsonLinesFormat::new().with_raw(true)] {
        let file = file(json_lines(records(tenders.clone()), format)).await;
        assert!(!file.contains("Persona De Prueba") && !file.contains("\"raw\""), "{file}");
        let read: Json = serde_json::from_str(file.lines().next().expect("a line")).expect("json");
        assert_eq!(read.pointer("/buyer/tax_number"), Some(&Json::from("61.900.001-3")));
    }
    let rows: Vec<TenderRow> = tenders.into_iter().map(|tender| tender.row).collect();
    let file = file(json_lines(records(rows), JsonLinesFormat::new())).await;
    assert_eq!(file.lines().count(), 3);
}

fn package() -> OcdsPackage {
    let published = moment("2026-10-14T12:00:00-03:00");
    OcdsPackage::new("https://panel.example/ocds/1.json", "Panel de Compras", published).expect("a package")
}

fn read_ocds(file: &str) -> Vec<Tender> {
    let as_of = moment("2026-10-14T10:00:00-03:00");
    let body = wire::Body::new(Bytes::from(file.to_owned()), Source::OCDS, as_of);
    reader::tenders(&body).expect("our own package")
}

#[tokio::test]
async fn our_packages_are_valid_and_our_reader_reads_them() {
    let mut tenders = recorded();
    for state in [TenderState::Closed, TenderState::Suspended, TenderState::Revoked, TenderState::Unknown(77)]
    {
        let mut tender = tenders[0].clone();
        tender.row.state = state;
        tender.estimated_amount =
            Some(Money::new("12345678901234567.89".parse().expect("a number"), Currency::Clp));
        tenders.push(tender);
    }
    tenders[3].estimated_amount = Some(Money::new(Decimal::new(500, 0), Currency::Utm));
    tenders.push(Tender { row: TenderRow::new("1-1-LE26", "sin nada", "publicada"), ..Tender::default() });
    let file = file(ocds(records(tenders.clone()), package())).await;
    let json: Json = serde_json::from_str(&file).expect("json");
    let schema: Json = serde_json::from_str(include_str!("ocds_schema.json")).expect("a schema");
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema");
    let faults: Vec<String> =
        validator.iter_errors(&json).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert_eq!(faults, Vec::<String>::new());
    assert!(file.contains("\"amount\":12345678901234567.89"), "digit for digit");
    assert_eq!(json.pointer("/records/3/compiledRelease/tender/amountDetails"), Some(&Json::from("500 UTM")));
    assert!(!file.contains("Persona De Prueba"));

    let read = read_ocds(&file);
    assert_eq!(read.len(), tenders.len());
    for (read, own) in read.iter().zip(&tenders) {
        let same = |tender: &Tender| {
            (tender.row.code.clone(), tender.row.name.clone(), tender.row.state.clone(), tender.row.closes)
        };
        assert_eq!(same(read), same(own));
        assert_eq!((&read.description, read.published), (&own.description, own.published));
        let utm = own.estimated_amount.as_ref().is_some_and(|money| money.currency == Currency::Utm);
        assert_eq!(read.estimated_amount, own.estimated_amount.clone().filter(|_| !utm));
        let lines = |tender: &Tender| {
            tender
                .items
                .iter()
                .map(|item| (item.name.clone(), item.quantity, item.unit.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(read), lines(own));
        let name = |tender: &Tender| {
            tender
                .buyer
                .as_ref()
                .map(|buyer| (buyer.name.clone(), buyer.unit_name.clone(), buyer.region.clone()))
        };
        assert_eq!(name(read), name(own));
    }
    // A package of theirs, written by us, says the same.
    let (theirs, ours) = (&tenders[2], &read[2]);
    assert_eq!(ours.bidders.len(), theirs.bidders.len());
    let award = |tender: &Tender| {
        tender.award.as_ref().map(|award| (award.number.clone(), award.value.clone(), award.date))
    };
    assert_eq!(award(ours), award(theirs));
}

#[tokio::test]
async fn lines_won_by_several_make_an_award_each() {
    let mut tender = recorded().remove(1);
    let other = crate::procure::Supplier {
        tax_number: Some("76.990.044-6".to_owned()),
        ..crate::procure::Supplier::new("", "OTRA")
    };
    tender.items[1].award = Some(crate::procure::LineAward { supplier: other, ..Default::default() });
    let file = file(ocds(records(vec![tender]), package())).await;
    let json: Json = serde_json::from_str(&file).expect("json");
    let release = json.pointer("/records/0/releases/0").expect("a release");
    let awards = release["awards"].as_array().expect("awards");
    assert_eq!(awards.len(), 2);
    assert_eq!((&awards[0]["id"], &awards[1]["id"]), (&Json::from("1542"), &Json::from("1542-2")));
    assert_eq!(awards[0].pointer("/items/0/unit/value/amount"), Some(&Json::from(38999.5)));
    let total: f64 = awards[0]["items"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| {
            let number = |at: &str| line.pointer(at).and_then(Json::as_f64).expect("a number");
            number("/quantity") * number("/unit/value/amount")
        })
        .sum();
    let value = awards[0].pointer("/value/amount").and_then(Json::as_f64).expect("a value");
    assert!(total > 0.0 && (value - total).abs() < 1e-6, "{value} {total}");
    assert_eq!(awards[0].pointer("/suppliers/0/id"), Some(&Json::from("CL-RUT-76990011K")));
    let roles: Vec<_> =
        release["parties"].as_array().expect("parties").iter().map(|party| &party["roles"][0]).collect();
    assert_eq!(roles, ["buyer", "supplier", "supplier"]);
}

#[tokio::test]
async fn what_cannot_be_a_package_is_refused() {
    let published = moment("2026-10-14T12:00:00-03:00");
    assert!(OcdsPackage::new("no uri", "x", published).is_err());
    assert!(OcdsPackage::new("https://x.example", " ", published).is_err());
    let none: Result<Vec<Bytes>> = ocds(records(Vec::new()), package()).try_collect().await;
    assert_eq!(none.expect_err("no record").kind(), ErrorKind::InvalidRequest);
    let nameless: Result<Vec<Bytes>> = ocds(records(vec![Tender::default()]), package()).try_collect().await;
    assert_eq!(nameless.expect_err("no code").kind(), ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn an_error_of_the_records_is_the_last_piece() {
    let failing = stream::iter([Ok(row("a")), Err(Error::new(ErrorKind::Unavailable, "gone")), Ok(row("b"))]);
    let pieces: Vec<Result<Bytes>> = csv(failing, CsvFormat::new()).collect().await;
    assert_eq!(pieces.last().expect("an end").as_ref().expect_err("gone").kind(), ErrorKind::Unavailable);
    assert_eq!(pieces.len(), 2, "the header, and the error");
}

#[tokio::test]
async fn pieces_come_while_records_still_do() {
    let endless = stream::iter(std::iter::repeat_with(|| Ok(row("a"))));
    let some: Vec<Bytes> = csv(endless, CsvFormat::new()).take(4).try_collect().await.expect("pieces");
    assert!(some.iter().all(|piece| piece.len() < 64 * 1024));
}

proptest! {
    #[test]
    fn any_text_survives_a_table(name in "\\PC{0,40}|[=+@;,\"'\r\n\t a-]{0,20}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let format = CsvFormat::new().with_byte_order_mark(false);
        let file = runtime.block_on(file(csv(records(vec![row(&name)]), format)));
        let rows = read_csv(&file, ';');
        let read = rows[1][1].as_str();
        // Nothing is lost, and nothing but apostrophes is added.
        prop_assert_eq!(read.replace('\'', ""), name.replace('\'', ""));
        for part in read.split([';', ',', '\t', '|']) {
            prop_assert!(!part.trim_start().starts_with(['=', '+', '-', '@']), "{:?}", read);
        }
    }
}
