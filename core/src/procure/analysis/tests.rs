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

fn scripted(replies: impl IntoIterator<Item = Json>) -> AnyChat {
    let replies: Vec<String> = replies.into_iter().map(|reply| reply.to_string()).collect();
    AnyChat::new(Scripted::new(ScriptedConfig::default().with_replies(replies)).expect("valid"))
}

async fn judged(tender: &Tender, question: Question, claims: &[&str]) -> Analysis {
    let question = question.with_most_claims(100);
    analyse(&cx(), tender, &question, &scripted([json!({ "claims": claims })])).await.expect("an analysis")
}

fn texts(analysis: &Analysis) -> Vec<&str> {
    analysis.claims.iter().map(|claim| claim.text.as_str()).collect()
}

fn rejected(analysis: &Analysis) -> Vec<(&str, &Rejection)> {
    analysis.rejected.iter().map(|claim| (claim.text.as_str(), &claim.reason)).collect()
}

/// Claims and how they are written: in place of each reference stands what the record says there.
async fn check_written(tender: &Tender, question: Question, claims: &[(&str, &str)]) {
    let raw: Vec<&str> = claims.iter().map(|(raw, _)| *raw).collect();
    let analysis = judged(tender, question, &raw).await;
    assert_eq!(rejected(&analysis), []);
    assert_eq!(texts(&analysis), claims.iter().map(|(_, written)| *written).collect::<Vec<_>>());
    assert!(analysis.claims.iter().all(|claim| !claim.opinion));
}

#[tokio::test]
async fn the_code_writes_the_values_that_claims_reference() {
    let claims = [
        ("Se compran reactivos por {/estimated_amount}.", "Se compran reactivos por $68.900.000."),
        (
            "El monto es {/estimation}: {/estimated_amount}.",
            "El monto es presupuesto disponible: $68.900.000.",
        ),
        ("Cierra el {[4]}.", "Cierra el 26-10-2026 15:30."),
        ("La licitación {1} está {3}.", "La licitación 990101-12-LE26 está Publicada."),
        (
            "Compra {/buyer/name}, RUT {/buyer/tax_number}.",
            "Compra SERVICIO DE SALUD VILLA EJEMPLO, RUT 61.900.001-3.",
        ),
        ("Pide {/items/1/quantity} cajas.", "Pide 1,5 cajas."),
        ("Advierte: {/description: multa del 5% por día}.", ""),
        ("Exige la {/items/0/description: norma iso 9001}.", "Exige la «norma ISO 9001»."),
        ("El contrato dura {/contract_duration}.", "El contrato dura 12 meses."),
        ("Quedan {/derived/days_until_closing}.", "Quedan 12 días."),
        ("La compra es de la {/buyer/region}.", "La compra es de la Región del Maule."),
        ("Compra el Maule: {/buyer/region}.", "Compra el Maule: Región del Maule."),
        ("Multa por día: {/description: MULTA  del 5 %}.", "Multa por día: «Multa del 5 %»."),
    ];
    let (good, bad): (Vec<_>, Vec<_>) = claims.into_iter().partition(|(_, written)| !written.is_empty());
    check_written(&tender(), Question::summary(), &good).await;
    let analysis = judged(&tender(), Question::summary(), &[bad[0].0, "Cierra el {4}."]).await;
    let not = Rejection::NotInFields { written: "multa del 5% por día".to_owned() };
    assert_eq!(rejected(&analysis), [(bad[0].0, &not)], "an excerpt is copied, not told");
    let citation = &analysis.claims[0].citations[0];
    assert_eq!((citation.path.as_str(), citation.value.as_str()), ("/row/closes", "2026-10-26 15:30"));
}

#[tokio::test]
async fn english_claims_have_english_values() {
    let claims = [
        ("The budget is {/estimated_amount}.", "The budget is CLP 68,900,000."),
        ("Offers close on {/row/closes}.", "Offers close on 2026-10-26 15:30."),
        ("It asks for {/items/1/quantity} boxes.", "It asks for 1.5 boxes."),
        ("The tender is {/row/state}.", "The tender is Published."),
        ("It lasts {/contract_duration}.", "It lasts 12 months."),
        ("It wants {/items/0/description: norma ISO 9001}.", "It wants “norma ISO 9001”."),
    ];
    check_written(&tender(), Question::summary().with_language(Language::English), &claims).await;
}

/// Sentences that are false, in digits and in plain words, with the part that gives each away.
#[tokio::test]
async fn claims_that_say_more_than_their_fields_are_dropped_and_listed() {
    let not = |written: &str| Rejection::NotInFields { written: written.to_owned() };
    let unclear = |written: &str| Rejection::Unclear { written: written.to_owned() };
    let cases: Vec<(&str, Rejection)> = vec![
        ("Cuesta $69.000.000.", not("$69.000.000")),
        ("Cuesta UF {/estimated_amount}.", not("UF")),
        ("Cuesta {/estimated_amount} millones.", not("millones")),
        ("Cuesta sesenta y nueve millones de pesos.", not("sesenta")),
        ("Cuesta ６９ pesos.", not("６９")),
        ("Cierra el {4}, es decir, el 27-10-2026.", not("27-10-2026")),
        ("Cierra el lunes {4}.", not("lunes")),
        ("Cierra en octubre.", not("octubre")),
        ("Cierra mañana.", not("mañana")),
        ("Compra el 61.900.001-4.", not("61.900.001-4")),
        ("Es una licitación privada: {/kind}.", Rejection::UnknownField { field: "/kind".to_owned() }),
        ("Es una licitación privada.", not("privada")),
        ("La licitación está adjudicada.", not("adjudicada")),
        ("La licitación {1} está cerrada.", not("cerrada")),
        ("El ganador es {/buyer/name}.", not("ganador")),
        ("El adjudicatario es una empresa conocida.", not("adjudicatario")),
        ("Compra la Región del Biobío.", not("Biobío")),
        ("Compra Los Lagos: {/buyer/region}.", not("LosLagos")),
        ("La licitación no está {3}.", unclear("no")),
        ("El contrato dura {/items/0/quantity} meses.", not("meses")),
        ("Pide dos líneas.", not("dos")),
        ("La multa es del cinco por ciento.", not("cinco")),
        ("Más en https://otra.example/x.", not("https://otra.example/x")),
        ("Escriba a x@otra.example.", not("x@otra.example")),
        ("Dicen «sin garantía alguna».", not("«sin")),
        ("Dicen {/description: sin garantía alguna}.", not("sin garantía alguna")),
        ("Multa del {/description: 5} al {/description}.", not("5")),
        ("Cierra el {4.", unclear("4.")),
        ("Cierra el 4}.", not("4}")),
        ("Son {/secret}.", Rejection::UnknownField { field: "/secret".to_owned() }),
        ("Son {9999}.", Rejection::UnknownField { field: "9999".to_owned() }),
        ("", Rejection::Length),
    ];
    let claims: Vec<&str> = cases.iter().map(|(text, _)| *text).collect();
    let analysis = judged(&tender(), Question::risks(), &claims).await;
    assert_eq!(texts(&analysis), Vec::<&str>::new());
    let expected: Vec<(&str, &Rejection)> = cases.iter().map(|(text, reason)| (*text, reason)).collect();
    assert_eq!(rejected(&analysis), expected);
}

#[tokio::test]
async fn what_no_field_bears_out_is_marked_as_an_opinion() {
    let claims = ["Es poco exigente.", "La {/row/code} conviene.", "Compra {/buyer/name}."];
    let analysis = judged(&tender(), Question::summary(), &claims).await;
    assert_eq!(analysis.claims.iter().map(|claim| claim.opinion).collect::<Vec<_>>(), [true, true, false]);
}

#[tokio::test]
async fn an_award_is_written_from_its_line() {
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
    let claims = [
        (
            "La licitación está {3} a {/items/0/award/supplier/name} por {/items/0/award/unit_price}.",
            "La licitación está Adjudicada a CONSTRUCTORA FICTICIA por UF 38.999,5.",
        ),
        ("Hubo {/award/bidders} oferentes.", "Hubo 4 oferentes."),
    ];
    check_written(&tender, Question::summary(), &claims).await;
}

#[tokio::test]
async fn repeated_and_superfluous_claims_are_listed_too() {
    let question = Question::summary().with_most_claims(1);
    let long = "x".repeat(801);
    let claims = ["Es una compra.", "es una COMPRA", "Es otra cosa.", " ", &long];
    let analysis = analyse(&cx(), &tender(), &question, &scripted([json!({ "claims": claims })])).await;
    let analysis = analysis.expect("an analysis");
    assert_eq!(analysis.claims.len(), 1);
    let reasons: Vec<_> = analysis.rejected.iter().map(|claim| claim.reason.clone()).collect();
    assert_eq!(reasons, [Rejection::Repeated, Rejection::TooMany, Rejection::Length, Rejection::Length]);
}

#[tokio::test]
async fn advice_needs_a_claim_and_a_tender_that_takes_offers() {
    let answer = |verdict: &str, claims: Json| json!({ "claims": claims, "verdict": verdict });
    let good = json!(["Son {/contract_duration}."]);
    let opinion = json!(["Conviene poco y es muy exigente.", "La {/row/code} tiene riesgos."]);
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
    let good = json!({ "claims": ["Son {/contract_duration}."] }).to_string();
    for bad in [
        "Claro, con gusto.",
        "",
        "{\"claims\": 5}",
        "{\"claims\": [{\"text\": \"x\"}]}",
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
        let mut good = json!({ "claims": ["x"] });
        if ask == QuestionKind::GoNoGo {
            good["verdict"] = json!("no_go");
        }
        assert!(jsonschema::is_valid(&schema, &good));
        assert!(!jsonschema::is_valid(&schema, &json!({ "claims": [5] })));
        assert!(!jsonschema::is_valid(&schema, &json!({ "claims": [], "verdict": "maybe" })));
    }
}
