use serde_json::{Value as Json, json};

use super::*;
use crate::backends::scripted::{Scripted, ScriptedConfig};
use crate::chat::AnyChat;
use crate::context::ManualClock;
use crate::procure::{
    Award, Buyer, Contact, Currency, Decimal, Estimation, LineAward, LineItem, Money, Origin, Raw, Source,
    Supplier, TenderDates, TenderRow, TimeUnit,
};

pub(super) fn moment(text: &str) -> Timestamp {
    text.parse().expect("a moment")
}

/// An invented tender that is open, in pesos, with two lines.
pub(super) fn tender() -> Tender {
    let origin = Origin::new(Source::V1, moment("2026-10-14T10:00:00-03:00"), Raw::default());
    let item = |name: &str, quantity: i128, scale: u8| LineItem {
        number: Some(if scale == 0 { 1 } else { 2 }),
        quantity: Some(Decimal::new(quantity, scale)),
        unit: Some("Caja".to_owned()),
        description: Some("Reactivo tipo A, caja de 100 determinaciones, norma ISO 9001".to_owned()),
        ..LineItem::new(name)
    };
    Tender {
        row: TenderRow {
            closes: Some(moment("2026-10-26T15:30:00-03:00")),
            ..TenderRow::new("990101-12-LE26", "Suministro de reactivos de laboratorio", "publicada")
                .with_origin(origin)
        },
        description:
            "Compra de reactivos.\r\nMulta del 5 % por día de atraso. Consultas: maria.soto@muni.example"
                .to_owned(),
        buyer: Some(Buyer {
            tax_number: Some("61.900.001-3".to_owned()),
            region: Some("Región del Maule".to_owned()),
            contact: Some(Contact { name: Some("María Soto Prueba".to_owned()), ..Contact::default() }),
            ..Buyer::new("990100", "SERVICIO DE SALUD VILLA EJEMPLO")
        }),
        estimated_amount: Some(Money::new(Decimal::new(68_900_000, 0), Currency::Clp)),
        estimation: Some(Estimation::Budget),
        contract_duration: Some((Decimal::new(12, 0), TimeUnit::Months)),
        published: Some(moment("2026-10-12T10:56:06-03:00")),
        dates: TenderDates {
            questions_until: Some(moment("2026-10-16T18:00:00-03:00")),
            site_visit: Some(moment("2026-10-20T09:00:00-03:00")),
            ..TenderDates::default()
        },
        items: vec![item("Reactivos de análisis", 240, 0), item("Reactivos de control", 15, 1)],
        ..Tender::default()
    }
}

pub(super) fn cx() -> Context {
    let clock = ManualClock::new();
    clock.set_system_time(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_792_000_000));
    Context::new().with_clock(clock.into())
}

/// The numbers of the fields at these places.
fn fields(tender: &Tender, question: &Question, paths: &[&str]) -> Vec<usize> {
    let view = View::of(tender, question, Timestamp::of_system_time(cx().clock().system_time()));
    let number = |path: &&str| {
        view.fields
            .iter()
            .find(|field| field.path == **path)
            .unwrap_or_else(|| panic!("no field {path}"))
            .number
    };
    paths.iter().map(number).collect()
}

fn scripted(replies: impl IntoIterator<Item = Json>) -> AnyChat {
    let replies: Vec<String> = replies.into_iter().map(|reply| reply.to_string()).collect();
    AnyChat::new(Scripted::new(ScriptedConfig::default().with_replies(replies)).expect("valid"))
}

/// What becomes of claims, each with the places that it names.
async fn judged(tender: &Tender, question: Question, claims: &[(&str, &[&str])]) -> Analysis {
    let claims: Vec<Json> = claims
        .iter()
        .map(|(text, paths)| json!({ "text": text, "fields": fields(tender, &question, paths) }))
        .collect();
    let question = question.with_most_claims(100);
    analyse(&cx(), tender, &question, &scripted([json!({ "claims": claims })])).await.expect("an analysis")
}

fn rejected(analysis: &Analysis) -> Vec<(&str, &Rejection)> {
    analysis.rejected.iter().map(|claim| (claim.text.as_str(), &claim.reason)).collect()
}

#[tokio::test]
async fn claims_that_the_record_bears_out_are_kept_with_their_fields() {
    let claims: &[(&str, &[&str])] = &[
        ("Se compran reactivos por $68.900.000.", &["/estimated_amount"]),
        ("El presupuesto disponible es de 68,9 millones de pesos.", &["/estimated_amount", "/estimation"]),
        ("Cierra el 26 de octubre de 2026 a las 15:30 horas.", &["/row/closes"]),
        ("La licitación 990101-12-LE26 está publicada.", &["/row/code", "/row/state"]),
        ("Compra el Servicio de Salud (RUT 61900001-3).", &["/buyer/name", "/buyer/tax_number"]),
        ("Pide 2 líneas: 240 cajas en la línea 1.", &["/derived/items", "/items/0/quantity"]),
        ("La línea 2 pide 1,5 cajas.", &["/items/1/quantity"]),
        ("Multa del 5% por día de atraso.", &["/description"]),
        ("Exige la norma ISO 9001.", &["/items/0/description"]),
        ("El contrato dura 12 meses.", &["/contract_duration"]),
        ("Quedan 12 días para el cierre.", &["/derived/days_until_closing"]),
        ("Fue publicada el 12-10-2026.", &["/published"]),
        ("Las bases dicen «multa del 5 % por día».", &["/description"]),
    ];
    let analysis = judged(&tender(), Question::summary(), claims).await;
    assert_eq!(rejected(&analysis), []);
    assert_eq!(analysis.claims.len(), claims.len());
    for (claim, (text, paths)) in analysis.claims.iter().zip(claims) {
        let cited: Vec<_> = claim.citations.iter().map(|citation| citation.path.as_str()).collect();
        assert_eq!((claim.text.as_str(), &cited[..]), (*text, *paths));
    }
    let checked = &analysis.claims[2].checked;
    assert_eq!((checked[0].kind, checked[0].path.as_str()), (CheckKind::Date, "/row/closes"));
    assert_eq!(checked[0].written, "26 de octubre de 2026 a las 15:30 horas");
    assert_eq!(analysis.claims[0].citations[0].value, "68900000 CLP");
}

#[tokio::test]
async fn claims_that_differ_from_their_fields_are_dropped_and_listed() {
    let not = |what, written: &str| Rejection::NotInFields { what, written: written.to_owned() };
    let cases: Vec<(&str, &[&str], Rejection)> = vec![
        ("Cuesta $69.000.000.", &["/estimated_amount"], not(CheckKind::Amount, "$69.000.000")),
        ("Cuesta UF 68.900.000.", &["/estimated_amount"], not(CheckKind::Amount, "UF 68.900.000")),
        (
            "Cuesta cerca de 69 millones de pesos.",
            &["/estimated_amount"],
            not(CheckKind::Amount, "69 millones de pesos"),
        ),
        ("Cierra el 27-10-2026.", &["/row/closes"], not(CheckKind::Date, "27-10-2026")),
        (
            "Cierra el 26-10-2026 a las 12:30.",
            &["/row/closes"],
            not(CheckKind::Date, "26-10-2026 a las 12:30"),
        ),
        ("Cierra el 26-10-2026.", &["/published"], not(CheckKind::Date, "26-10-2026")),
        ("Compra 61.900.001-4.", &["/buyer/tax_number"], not(CheckKind::Rut, "61.900.001-4")),
        ("Es la 990101-13-LE26.", &["/row/code"], not(CheckKind::Code, "990101-13-LE26")),
        ("La licitación está adjudicada.", &["/row/state"], not(CheckKind::State, "adjudicada")),
        ("La licitación no está publicada.", &["/row/state"], not(CheckKind::State, "publicada")),
        ("Pide 241 cajas.", &["/items/0/quantity"], not(CheckKind::Number, "241")),
        ("La línea 3 pide 240 cajas.", &["/items/0/quantity"], not(CheckKind::Number, "3")),
        ("El contrato dura 12 días.", &["/contract_duration"], not(CheckKind::Number, "12 días")),
        ("Cuesta ６９ pesos.", &["/estimated_amount"], Rejection::Unclear { written: "６".to_owned() }),
        ("Multa del 6 %.", &["/description"], not(CheckKind::Percentage, "6 %")),
        ("Exige la norma ISO 14001.", &["/items/0/description"], not(CheckKind::Number, "14001")),
        ("Exige un vehículo 4x4.", &["/items/0/description"], not(CheckKind::Code, "4x4")),
        ("Más en https://otra.example/x.", &["/description"], not(CheckKind::Link, "https://otra.example/x")),
        ("Dicen «sin garantía alguna».", &["/description"], not(CheckKind::Quotation, "sin garantía alguna")),
        (
            "Cuesta sesenta y nueve millones de pesos.",
            &["/estimated_amount"],
            Rejection::Unclear { written: "sesenta y nueve millones de pesos".to_owned() },
        ),
        ("Se compra algo.", &[], Rejection::NoCitation),
    ];
    let claims: Vec<(&str, &[&str])> = cases.iter().map(|(text, paths, _)| (*text, *paths)).collect();
    let analysis = judged(&tender(), Question::risks(), &claims).await;
    assert_eq!(analysis.claims, []);
    let expected: Vec<(&str, &Rejection)> = cases.iter().map(|(text, _, reason)| (*text, reason)).collect();
    assert_eq!(rejected(&analysis), expected);
}

#[tokio::test]
async fn english_claims_are_read_as_english_writes_numbers() {
    let question = Question::summary().with_language(Language::English);
    let claims: &[(&str, &[&str])] = &[
        ("The budget is CLP 68,900,000.", &["/estimated_amount"]),
        ("The budget is 68.9 million pesos.", &["/estimated_amount"]),
        ("Offers close on October 26, 2026 at 3:30 pm.", &["/row/closes"]),
        ("Line 2 asks for 1.5 boxes.", &["/items/1/quantity"]),
        ("The tender is open.", &["/row/state"]),
    ];
    let analysis = judged(&tender(), question.clone(), claims).await;
    assert_eq!((analysis.claims.len(), rejected(&analysis)), (claims.len(), vec![]));
    let wrong = judged(&tender(), question, &[("The budget is CLP 68,900.", &["/estimated_amount"])]).await;
    assert_eq!(wrong.claims, []);
}

#[tokio::test]
async fn an_award_is_held_against_who_won() {
    let mut tender = tender();
    tender.row.state = TenderState::Awarded;
    tender.award = Some(Award { bidders: Some(4), ..Award::default() });
    tender.items[0].award = Some(LineAward {
        supplier: Supplier {
            tax_number: Some("76.990.011-K".to_owned()),
            ..Supplier::new("1", "CONSTRUCTORA FICTICIA")
        },
        quantity: Some(Decimal::new(240, 0)),
        unit_price: Some(Money::new(Decimal::new(3_899_950, 2), Currency::Clf)),
    });
    let claims: &[(&str, &[&str])] = &[
        (
            "La licitación fue adjudicada a 76990011-K por UF 38.999,5.",
            &["/items/0/award/supplier/tax_number", "/items/0/award/unit_price"],
        ),
        ("Hubo 4 oferentes.", &["/award/bidders"]),
        ("Costó $38.999,5.", &["/items/0/award/unit_price"]),
    ];
    let analysis = judged(&tender, Question::summary(), claims).await;
    assert_eq!(analysis.claims.len(), 2);
    assert_eq!(rejected(&analysis)[0].0, "Costó $38.999,5.");
}

#[tokio::test]
async fn fields_may_be_named_by_place_and_unknown_ones_are_told() {
    let answer = json!({ "claims": [
        { "text": "Son 12 meses.", "fields": ["/contract_duration"] },
        { "text": "Son 12 meses de contrato.", "fields": ["[9999]"] },
        { "text": "Son doce meses.", "fields": ["/secret"] },
    ]});
    let analysis =
        analyse(&cx(), &tender(), &Question::summary(), &scripted([answer])).await.expect("an analysis");
    assert_eq!(analysis.claims.len(), 1);
    let unknown = |field: &str| Rejection::UnknownField { field: field.to_owned() };
    let reasons: Vec<_> = analysis.rejected.iter().map(|claim| claim.reason.clone()).collect();
    assert_eq!(reasons, [unknown("9999"), unknown("/secret")]);
}

#[tokio::test]
async fn repeated_and_superfluous_claims_are_listed_too() {
    let question = Question::summary().with_most_claims(1);
    let text = |text: &str| json!({ "text": text, "fields": [1] });
    let claims = [
        text("Es una compra."),
        text("es una COMPRA"),
        text("Es otra cosa."),
        text(""),
        text(&"x".repeat(801)),
    ];
    let analysis = analyse(&cx(), &tender(), &question, &scripted([json!({ "claims": claims })])).await;
    let analysis = analysis.expect("an analysis");
    assert_eq!(analysis.claims.len(), 1);
    let reasons: Vec<_> = analysis.rejected.iter().map(|claim| claim.reason.clone()).collect();
    assert_eq!(reasons, [Rejection::Repeated, Rejection::TooMany, Rejection::Length, Rejection::Length]);
}

#[tokio::test]
async fn advice_needs_a_claim_and_a_tender_that_takes_offers() {
    let answer = |verdict: &str, claims: Json| json!({ "claims": claims, "verdict": verdict });
    let good = json!([{ "text": "Son 12 meses.", "fields": ["/contract_duration"] }]);
    let opinion = json!([{ "text": "Conviene poco y es muy exigente.", "fields": ["/contract_duration"] }]);
    let mut closed = tender();
    closed.row.state = TenderState::Closed;
    let mut late = tender();
    late.row.closes = Some(moment("2026-10-01T15:30:00-03:00"));
    for (tender, verdict, claims, expected) in [
        (&tender(), "go", &good, Ok(Verdict::Go)),
        (&tender(), "no_go", &json!([]), Err(Rejection::NothingLeft)),
        (&tender(), "no_go", &opinion, Err(Rejection::NothingLeft)),
        (&tender(), "unclear", &json!([]), Ok(Verdict::Unclear)),
        (&closed, "go", &good, Err(Rejection::TakesNoOffers)),
        (&late, "go", &good, Err(Rejection::TakesNoOffers)),
        (&late, "no_go", &good, Ok(Verdict::NoGo)),
    ] {
        let chat = scripted([answer(verdict, claims.clone())]);
        let analysis = analyse(&cx(), tender, &Question::go_no_go(), &chat).await.expect("an analysis");
        let reason = analysis.rejected.last().map(|claim| claim.reason.clone());
        assert_eq!(analysis.verdict.ok_or(reason), expected.map_err(Some), "{verdict}");
    }
}

#[tokio::test]
async fn a_malformed_answer_is_asked_for_once_more() {
    let good =
        json!({ "claims": [{ "text": "Son 12 meses.", "fields": ["/contract_duration"] }] }).to_string();
    for bad in [
        "Claro, con gusto.",
        "",
        "{\"claims\": 5}",
        "{\"claims\": [{\"fields\": []}]}",
        "[1]",
        "{\"claims\": [",
    ] {
        let scripted = Scripted::new(ScriptedConfig::default().with_replies([bad, &good])).expect("valid");
        let chat = AnyChat::new(scripted.clone());
        let analysis = analyse(&cx(), &tender(), &Question::summary(), &chat).await.expect(bad);
        assert_eq!((analysis.claims.len(), analysis.repaired, scripted.calls()), (1, true, 2), "{bad}");
    }
    let fenced = format!("Aquí está:\n```json\n{good}\n```");
    let scripted = Scripted::new(ScriptedConfig::default().with_replies([fenced])).expect("valid");
    let analysis = analyse(&cx(), &tender(), &Question::summary(), &scripted).await.expect("an analysis");
    assert_eq!((analysis.claims.len(), analysis.repaired), (1, false));
}

#[tokio::test]
async fn two_malformed_answers_are_an_error_that_tells_nothing_of_them() {
    let replies = ["secreto uno", "{\"claims\": \"secreto dos\"}"];
    let scripted = Scripted::new(ScriptedConfig::default().with_replies(replies)).expect("valid");
    let error =
        analyse(&cx(), &tender(), &Question::free("¿secreto tres?"), &scripted).await.expect_err("twice");
    assert_eq!(
        (error.kind(), error.backend(), scripted.calls()),
        (ErrorKind::ResponseInvalid, Some("scripted"), 2)
    );
    assert!(error.message().contains("`claims` is not an array"), "{error}");
    assert!(!format!("{error:?}").contains("secreto"), "{error:?}");
}

#[tokio::test]
async fn backends_without_schemas_are_asked_in_weaker_forms() {
    let config = ScriptedConfig::default()
        .with_failures([ErrorKind::Unsupported, ErrorKind::Unsupported])
        .with_replies([r#"{"claims": []}"#]);
    let scripted = Scripted::new(config).expect("valid");
    let analysis = analyse(&cx(), &tender(), &Question::summary(), &scripted).await.expect("an analysis");
    assert_eq!((analysis.claims.len(), scripted.calls()), (0, 3));
    let never =
        Scripted::new(ScriptedConfig::default().with_failures([ErrorKind::Unsupported; 3])).expect("valid");
    let error = analyse(&cx(), &tender(), &Question::summary(), &never).await.expect_err("never");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_before_anything_is_sent() {
    let scripted = Scripted::default();
    for question in [
        Question::free(" "),
        Question::free("x".repeat(4_001)),
        Question::summary().with_most_characters(100),
        Question::summary().with_most_claims(0),
        Question::summary().with_most_tokens(0),
    ] {
        let error = analyse(&cx(), &tender(), &question, &scripted).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
    assert_eq!(scripted.calls(), 0);
}

#[test]
fn every_place_is_one_of_the_records_own_json() {
    let tender = tender();
    let question = Question::summary().with_personal_data(true);
    let json = serde_json::to_value(&tender).expect("json");
    let view = View::of(&tender, &question, moment("2026-10-14T10:00:00-03:00"));
    for field in &view.fields {
        let derived = field.path.starts_with("/derived/");
        assert!(derived || json.pointer(&field.path).is_some_and(|value| !value.is_null()), "{}", field.path);
    }
    assert_eq!(view.left_out, Vec::<String>::new());
}

#[test]
fn the_schema_takes_what_is_read_and_nothing_else() {
    for ask in [QuestionKind::Summary, QuestionKind::GoNoGo] {
        let schema = answer::schema(&ask);
        let mut good = json!({ "claims": [{ "text": "x", "fields": [1] }] });
        if ask == QuestionKind::GoNoGo {
            good["verdict"] = json!("no_go");
        }
        assert!(jsonschema::is_valid(&schema, &good));
        assert!(!jsonschema::is_valid(&schema, &json!({ "claims": [{ "text": "x" }] })));
        assert!(!jsonschema::is_valid(&schema, &json!({ "claims": [], "verdict": "maybe" })));
    }
}
