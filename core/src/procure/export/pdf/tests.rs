//! Reading a page back: the texts of its content stream, and where they stand.

use super::*;
use crate::procure::analysis::{Citation, Claim, Question, QuestionKind, RejectedClaim, Rejection, Verdict};
use crate::procure::{
    Award, Buyer, Contact, Currency, Decimal, LineAward, LineItem, Money, Origin, Raw, Source, Supplier,
    TenderRow,
};

/// A text on the page.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    text: String,
    x: f32,
    y: f32,
    size: f32,
}

/// Every text of a page, in the order in which it is written.
fn shown(pdf: &[u8]) -> Vec<Shown> {
    let text = String::from_utf8_lossy(pdf);
    let start = text.find("stream\n").expect("a stream") + 7;
    let content = &text[start..text.find("\nendstream").expect("its end")];
    let (mut found, mut place, mut size) = (Vec::new(), (0.0, 0.0), 0.0);
    for line in content.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<f32>().expect("a number");
        match words.last().copied() {
            Some("Tf") => size = number(1),
            Some("Td") => place = (number(0), number(1)),
            Some("Tj") => found.push(Shown {
                text: decoded(line.trim_end_matches(" Tj")),
                x: place.0,
                y: place.1,
                size,
            }),
            _ => {}
        }
    }
    found
}

/// A string of PDF in Windows-1252.
fn decoded(written: &str) -> String {
    let bytes: Vec<u8> = match written.strip_prefix('<') {
        Some(hex) => {
            let digits = hex.trim_end_matches('>');
            (0..digits.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex"))
                .collect()
        }
        None => written[1..written.len() - 1]
            .replace("\\(", "(")
            .replace("\\)", ")")
            .replace("\\\\", "\\")
            .into_bytes(),
    };
    let character = |byte: u8| match byte {
        0x80 => '€',
        0x85 => '…',
        0x95 => '•',
        0x97 => '—',
        byte => char::from(byte),
    };
    bytes.into_iter().map(character).collect()
}

fn text_of(pdf: &[u8]) -> String {
    shown(pdf).into_iter().map(|shown| shown.text).collect::<Vec<_>>().join("\n")
}

fn tender() -> Tender {
    let as_of = "2026-10-14T10:00:00-03:00".parse().expect("a moment");
    Tender {
        row: TenderRow {
            closes: Some("2026-10-26T15:30:00-03:00".parse().expect("a moment")),
            ..TenderRow::new(
                "990101-12-LE26",
                "Adquisición de señalética (vía pública) en Ñuñoa",
                "publicada",
            )
            .with_origin(Origin::new(Source::V1, as_of, Raw::default()))
        },
        description: "Señalética para niños: € 5 por unidad. Consultas a Ana Muñoz, ana@muni.example"
            .to_owned(),
        buyer: Some(Buyer {
            tax_number: Some("61.900.001-3".to_owned()),
            region: Some("Región de Ñuble".to_owned()),
            contact: Some(Contact { name: Some("Ana Muñoz".to_owned()), ..Contact::default() }),
            ..Buyer::new("1", "Municipalidad de Ejemplo")
        }),
        estimated_amount: Some(Money::new(Decimal::new(4_125_075, 2), Currency::Clf)),
        items: vec![LineItem {
            quantity: Some(Decimal::new(15, 1)),
            unit: Some("Unidad".to_owned()),
            ..LineItem::new("Señal")
        }],
        ..Tender::default()
    }
}

fn claim(text: &str) -> Claim {
    let citation = Citation { path: "/row/closes".to_owned(), value: "2026-10-26 15:30".to_owned() };
    Claim { text: text.to_owned(), citations: vec![citation], opinion: true }
}

fn analysis(claims: Vec<Claim>) -> Analysis {
    let info = crate::info::BackendInfo::new("scripted", "modelo-x");
    let rejected = RejectedClaim { text: "x".to_owned(), citations: Vec::new(), reason: Rejection::Length };
    Analysis {
        code: "990101-12-LE26".to_owned(),
        question: Question::of(QuestionKind::GoNoGo),
        claims,
        rejected: vec![rejected],
        verdict: Some(Verdict::Go),
        left_out: Vec::new(),
        source: Source::V1,
        as_of: "2026-10-14T10:00:00-03:00".parse().expect("a moment"),
        asked: "2026-10-14T11:00:00-03:00".parse().expect("a moment"),
        repaired: false,
        usage: crate::Usage::default(),
        route: crate::info::Route::new(&info),
    }
}

#[test]
fn a_page_holds_the_tender_and_its_analysis_with_all_accents() {
    let analysis = analysis(vec![claim("Cierra el 26-10-2026 a las 15:30; año próximo: ñandú, € 5.")]);
    let pdf = tender_pdf(&tender(), Some(&analysis), &PdfPage::new().with_made_by("Panel de Compras"))
        .expect("a page");
    let text = text_of(&pdf);
    for expected in [
        "LICITACIÓN 990101-12-LE26",
        "Publicada",
        "Adquisición de señalética (vía pública) en Ñuñoa",
        "26-10-2026 15:30",
        "UF 41.250,75",
        "61.900.001-3",
        "Región de Ñuble",
        "Señalética para niños: € 5 por unidad. Consultas a […], […]",
        "1. Señal — 1,5 Unidad",
        "Análisis: ¿Ofertar?",
        "Recomendación: ofertar",
        "Cierra el 26-10-2026 a las 15:30; año próximo: ñandú, € 5.",
        "/row/closes = 2026-10-26 15:30",
        "Sin respaldo en el registro y fuera de esta página: 1 afirmación.",
        "Fuente: Mercado Público (ChileCompra), API v1, al 14-10-2026 10:00.",
        "modelo-x (14-10-2026 11:00)",
        "idlicitacion=990101-12-LE26",
        "Panel de Compras",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in:\n{text}");
    }
    assert!(!text.contains("Muñoz") && !text.contains("ana@"), "{text}");
    let raw = String::from_utf8_lossy(&pdf);
    assert!(raw.starts_with("%PDF-1.") && raw.trim_end().ends_with("%%EOF"));
    assert!(
        raw.contains("/Count 1")
            && raw.contains("/WinAnsiEncoding")
            && raw.contains("/URI (https://www.mercadopublico.cl/")
    );
    assert_eq!(
        pdf,
        tender_pdf(&tender(), Some(&analysis), &PdfPage::new().with_made_by("Panel de Compras"))
            .expect("again")
    );
}

#[test]
fn a_page_says_who_won_which_line_when_and_for_how_much() {
    let mut tender = tender();
    let date = Some("2026-11-08T12:00:00-03:00".parse().expect("a moment"));
    tender.award = Some(Award { date, bidders: Some(4), ..Award::default() });
    let amount = |units| Some(Money::new(Decimal::new(units, 0), Currency::Clf));
    let supplier = Supplier::new("1", "CONSTRUCTORA FICTICIA");
    let quantity = Some(Decimal::new(2, 0));
    tender.items[0].award = Some(LineAward { supplier, quantity, unit_price: amount(10) });
    let text = text_of(&tender_pdf(&tender, None, &PdfPage::new()).expect("a page"));
    for expected in [
        "Adjudicación\n08-11-2026 12:00",
        "Adjudicatarios\nCONSTRUCTORA FICTICIA",
        "Monto adjudicado\nUF 20",
        "Oferentes\n4",
        "1. Señal — 1,5 Unidad — CONSTRUCTORA FICTICIA: UF 10 c/u",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in:\n{text}");
    }
}

#[test]
fn whatever_its_length_a_record_fits_on_one_page_and_says_what_was_cut() {
    let mut long = tender();
    long.row.name = "Título muy largo ".repeat(200);
    long.description = "Descripción interminable ".repeat(5_000);
    long.items = (0..500).map(|at| LineItem::new(format!("Línea {at} {}", "x".repeat(300)))).collect();
    long.buyer = Some(Buyer::new("1", "Organismo ".repeat(100)));
    let claims = (0..60).map(|at| claim(&format!("Afirmación {at} {}", "con muchas palabras ".repeat(20))));
    let many = analysis(claims.collect());
    for analysis in [None, Some(&many)] {
        let pdf = tender_pdf(&long, analysis, &PdfPage::new()).expect("a page");
        let texts = shown(&pdf);
        for shown in &texts {
            assert!(shown.y >= 20.0 && shown.y + shown.size <= 842.0 - 40.0, "{shown:?}");
            assert!(shown.x >= 47.0 && shown.x < 560.0, "{shown:?}");
        }
        let joined = text_of(&pdf);
        assert!(joined.matches("[…]").count() >= 4, "{joined}");
        assert!(joined.contains("Fuente: Mercado Público"));
        if analysis.is_some() {
            let more = texts.iter().find(|shown| shown.text.contains("no caben en esta página"));
            assert!(more.is_some_and(|more| more.text.starts_with("[…] ")), "{joined}");
        }
    }
}

#[test]
fn lines_do_not_stand_on_one_another() {
    let many = analysis((0..60).map(|at| claim(&format!("Afirmación {at}"))).collect());
    let pdf = tender_pdf(&tender(), Some(&many), &PdfPage::new()).expect("a page");
    let mut texts = shown(&pdf);
    texts.retain(|shown| shown.x < 60.0 && shown.text != "•");
    for pair in texts.windows(2) {
        assert!(pair[0].y - pair[1].y >= pair[1].size * 0.9, "{pair:?}");
    }
}

#[test]
fn a_record_without_anything_makes_a_page_too_and_english_is_english() {
    let empty = Tender::default();
    let text =
        text_of(&tender_pdf(&empty, None, &PdfPage::new().with_language(Language::English)).expect("a page"));
    assert!(text.contains("TENDER") && text.contains("Source: Mercado Público"), "{text}");
    let text = text_of(
        &tender_pdf(&tender(), None, &PdfPage::new().with_language(Language::English)).expect("a page"),
    );
    assert!(text.contains("Offers close") && text.contains("Published"), "{text}");
}

#[test]
fn what_cannot_be_a_page_is_refused() {
    let mut other = analysis(Vec::new());
    other.code = "1-1-LE26".to_owned();
    assert!(tender_pdf(&tender(), Some(&other), &PdfPage::new()).is_err());
    for link in ["javascript:alert(1)", "file:///etc/passwd", "no link"] {
        assert!(tender_pdf(&tender(), None, &PdfPage::new().with_link(link)).is_err(), "{link}");
    }
    let page = PdfPage::new().with_link("https://panel.example/t?x=(1)");
    let pdf = tender_pdf(&tender(), None, &page).expect("a page");
    assert!(text_of(&pdf).contains("https://panel.example/t?x=(1)"));
}
