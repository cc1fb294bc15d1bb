use proptest::prelude::*;

use super::*;

fn values(text: &str, language: Language) -> Vec<Value> {
    scan(text, language).into_iter().map(|found| found.value).collect()
}

fn spanish(text: &str) -> Vec<Value> {
    values(text, Language::Spanish)
}

fn english(text: &str) -> Vec<Value> {
    values(text, Language::English)
}

fn number(text: &str) -> Decimal {
    text.parse().expect("a number")
}

fn money(text: &str, currency: Currency) -> Vec<Value> {
    vec![Value::Money(number(text), currency)]
}

fn day(year: Option<u16>, month: u8, day: Option<u8>) -> Day {
    Day { year, month, day, ..Day::default() }
}

#[test]
fn amounts_are_read_exactly_however_they_are_written() {
    for (text, amount, currency) in [
        ("$ 1.250.000", "1250000", Currency::Clp),
        ("$1.250.000,50", "1250000.50", Currency::Clp),
        ("$68.900.000.-", "68900000", Currency::Clp),
        ("CLP 68900000", "68900000", Currency::Clp),
        ("68.900.000 pesos", "68900000", Currency::Clp),
        ("68,9 millones de pesos", "68900000", Currency::Clp),
        ("$ 68,9 millones", "68900000", Currency::Clp),
        ("MM$ 68,9", "68900000", Currency::Clp),
        ("M$ 68.900", "68900000", Currency::Clp),
        ("UF 41.250,75", "41250.75", Currency::Clf),
        ("41.250,75 UF", "41250.75", Currency::Clf),
        ("41250.75 CLF", "41250.75", Currency::Clf),
        ("41.250,75 unidades de fomento", "41250.75", Currency::Clf),
        ("500 UTM", "500", Currency::Utm),
        ("US$ 1.000,5", "1000.5", Currency::Usd),
        ("USD 1.000", "1000", Currency::Usd),
        ("1.000 dólares", "1000", Currency::Usd),
        ("€ 99,90", "99.90", Currency::Eur),
        ("99,90 €", "99.90", Currency::Eur),
        ("GBP 12", "12", Currency::Other("GBP".to_owned())),
    ] {
        assert_eq!(spanish(text), money(amount, currency), "{text}");
    }
}

#[test]
fn marks_of_thousands_and_decimals_follow_the_language() {
    assert_eq!(english("$1,250,000.50"), money("1250000.50", Currency::Clp));
    assert_eq!(english("USD 1,250"), money("1250", Currency::Usd));
    assert_eq!(english("68.9 million pesos"), money("68900000", Currency::Clp));
    assert_eq!(english("41,250.75 UF"), money("41250.75", Currency::Clf));
    // Several groups of three can be nothing else.
    assert_eq!(english("$1.250.000"), money("1250000", Currency::Clp));
    assert_eq!(spanish("1.500"), [Value::Number(number("1500"))]);
    assert_eq!(english("1.500"), [Value::Number(number("1.5"))]);
    assert_eq!(spanish("1,5"), [Value::Number(number("1.5"))]);
    assert_eq!(spanish("0.125"), [Value::Number(number("0.125"))]);
}

#[test]
fn amounts_in_words_are_unclear_and_small_counts_are_not() {
    for text in [
        "dos millones de pesos",
        "doscientos mil pesos",
        "un millón de pesos",
        "treinta y dos millones",
        "mil pesos",
    ] {
        assert!(matches!(spanish(text)[..], [Value::Unclear(_)]), "{text}: {:?}", spanish(text));
    }
    assert_eq!(spanish("dos líneas"), [Value::Number(number("2"))]);
    assert_eq!(spanish("mil resmas"), [Value::Number(number("1000"))]);
    assert_eq!(english("twenty lines"), [Value::Number(number("20"))]);
    assert_eq!(english("once more"), []);
    assert_eq!(spanish("una ambulancia, el medio ambiente y miles de gracias"), []);
    assert!(matches!(spanish("medio millón de pesos")[..], [Value::Unclear(_)]));
}

#[test]
fn lengths_of_time_keep_their_unit() {
    for (text, length, unit) in [
        ("30 días corridos", "30", SpanUnit::Days),
        ("dos meses", "2", SpanUnit::Months),
        ("1,5 años", "1.5", SpanUnit::Years),
        ("24hrs", "24", SpanUnit::Hours),
        ("a 30-day term", "30", SpanUnit::Days),
        ("6 weeks", "6", SpanUnit::Weeks),
        ("45 minutos", "45", SpanUnit::Minutes),
    ] {
        assert_eq!(spanish(text), [Value::Span(number(length), unit)], "{text}");
    }
}

#[test]
fn digits_of_other_scripts_are_never_taken_for_words() {
    for text in ["＄６９", "٥ cajas", "½ caja", "Ⅻ"] {
        assert!(spanish(text).iter().all(|value| matches!(value, Value::Unclear(_))), "{text}");
        assert!(!spanish(text).is_empty(), "{text}");
    }
    assert_eq!(spanish("por m²"), []);
}

#[test]
fn days_are_read_in_every_usual_form() {
    let october = day(Some(2026), 10, Some(26));
    for text in [
        "2026-10-26",
        "2026/10/26",
        "26-10-2026",
        "26/10/2026",
        "26.10.2026",
        "26/10/26",
        "26 de octubre de 2026",
        "26 de octubre del 2026",
        "26 oct. 2026",
        "October 26, 2026",
        "26th of October 2026",
        "Oct 26th, 2026",
    ] {
        assert_eq!(spanish(text), [Value::Day(october)], "{text}");
    }
    assert_eq!(spanish("1º de marzo"), [Value::Day(day(None, 3, Some(1)))]);
    assert_eq!(spanish("en octubre de 2026"), [Value::Day(day(Some(2026), 10, None))]);
    assert_eq!(english("10/26/2026"), [Value::Day(october)]);
    assert_eq!(spanish("2026-02-30"), [2026, -2, -30].map(|part: i32| number_of(part)).to_vec());
}

/// What is no day is a row of numbers.
fn number_of(part: i32) -> Value {
    Value::Number(Decimal::new(i128::from(part.unsigned_abs()), 0))
}

#[test]
fn times_belong_to_the_day_before_them() {
    let closes = Day { clock: Some((15, 30)), ..day(Some(2026), 10, Some(26)) };
    for text in [
        "26-10-2026 15:30",
        "26-10-2026 a las 15:30 horas",
        "26 de octubre de 2026, a las 15:30:00",
        "2026-10-26 at 3:30 pm",
        "26-10-2026 (15:30 hrs)",
        "26-10-2026, 15.30 hrs.",
    ] {
        assert_eq!(spanish(text), [Value::Day(closes)], "{text}");
    }
    let exact = spanish("2026-10-26T15:30:00-03:00");
    assert!(
        matches!(&exact[..], [Value::Day(Day { clock: Some((15, 30)), instant: Some(_), .. })]),
        "{exact:?}"
    );
    assert_eq!(spanish("a las 15:30"), [Value::Clock(15, 30)]);
    assert_eq!(spanish("a las 15 horas"), [Value::Clock(15, 0)]);
    assert_eq!(english("at 3 pm"), [Value::Clock(15, 0)]);
    assert_eq!(spanish("15 horas"), [Value::Span(number("15"), SpanUnit::Hours)]);
}

#[test]
fn both_ends_of_a_range_are_days() {
    let ends = [12, 16].map(|end| Value::Day(day(Some(2026), 10, Some(end))));
    assert_eq!(spanish("Del 12 al 16 de octubre de 2026"), ends);
}

#[test]
fn tax_numbers_codes_and_labels_are_told_apart() {
    for text in ["76.990.011-K", "76990011-k", "RUT: 76.990.011-K,"] {
        assert_eq!(spanish(text), [Value::Rut("76990011K".to_owned())], "{text}");
    }
    for text in ["990101-12-LE26", "(990101-12-le26)", "990101-12-LE26."] {
        assert_eq!(spanish(text), [Value::Code("990101-12-LE26".to_owned())], "{text}");
    }
    assert_eq!(spanish("990301-330-COT26"), [Value::Code("990301-330-COT26".to_owned())]);
    assert_eq!(spanish("norma ISO9001, 4x4"), ["iso9001", "4x4"].map(|label| Value::Label(label.to_owned())));
    assert_eq!(spanish("5kg"), [Value::Number(number("5"))]);
    assert_eq!(spanish("línea 3"), [Value::Ordinal(number("3"))]);
}

#[test]
fn percentages_links_and_quotations_are_found() {
    for text in ["19 %", "19%", "19 por ciento", "19 per cent", "(19%)"] {
        assert_eq!(spanish(text), [Value::Percent(number("19"))], "{text}");
    }
    for (text, link) in [
        ("vea https://evil.example/pay?x=1.", "https://evil.example/pay?x=1"),
        ("escriba a Compras@Muni.cl,", "compras@muni.cl"),
        ("en www.evil.example", "www.evil.example"),
        ("en evil.com/x", "evil.com/x"),
        ("en Evil.COM.", "evil.com"),
        ("en pagos-chile.shop!", "pagos-chile.shop"),
        ("abra javascript:alert(1)", "javascript:alert(1"),
        ("anexo bases.docx", "bases.docx"),
    ] {
        assert_eq!(spanish(text), [Value::Link(link.to_owned())], "{text}");
    }
    assert_eq!(spanish("Fin.La norma de S.A. y etc.Otro"), []);
    assert_eq!(spanish("pide «Entrega parcializada»"), [Value::Quotation("entregaparcializada".to_owned())]);
}

#[test]
fn a_state_is_one_only_where_it_is_said_of_the_tender() {
    let state = |state: TenderState, holds| vec![Value::State(state, holds)];
    assert_eq!(spanish("La licitación está cerrada."), state(TenderState::Closed, true));
    assert_eq!(spanish("El estado es Publicada"), state(TenderState::Published, true));
    assert_eq!(spanish("La licitación aún no está adjudicada"), state(TenderState::Awarded, false));
    assert_eq!(english("The tender is still open."), state(TenderState::Published, true));
    assert_eq!(spanish("La licitación fue anulada."), state(TenderState::Revoked, true));
    assert_eq!(spanish("El proceso está terminado."), state(TenderState::Published, false));
    assert_eq!(spanish("El proceso no está terminado."), state(TenderState::Published, true));
    for text in [
        "Una caja cerrada de reactivos",
        "La licitación será adjudicada más adelante",
        "La licitación fue publicada el",
        "La licitación publicada por el municipio",
        "adjudicación simple",
    ] {
        assert_eq!(spanish(text), [], "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_scanned_to_its_end(text in "\\PC{0,80}") {
        let _ = spanish(&text);
        let _ = english(&text);
    }

    #[test]
    fn texts_of_digits_and_marks_are_scanned_to_their_end(text in "[0-9.,:/$%kK a-e-]{0,60}") {
        let _ = spanish(&text);
    }

    #[test]
    fn every_amount_reads_back_as_chile_writes_it(whole in 0_u64..999_999_999_999, cents in 0_u8..100) {
        let groups = whole.to_string().as_bytes().rchunks(3).rev()
            .map(|group| String::from_utf8_lossy(group).into_owned()).collect::<Vec<_>>().join(".");
        let amount = Value::Money(number(&format!("{whole}.{cents:02}")), Currency::Clf);
        prop_assert_eq!(spanish(&format!("UF {groups},{cents:02}")), vec![amount]);
    }
}
