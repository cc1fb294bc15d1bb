//! The fixed texts of a page, in two languages.

use crate::procure::Source;
use crate::procure::analysis::{Language, QuestionKind, Verdict};

pub(super) fn say(language: Language, spanish: &'static str, english: &'static str) -> &'static str {
    match language {
        Language::Spanish => spanish,
        Language::English => english,
    }
}

pub(super) fn asked(ask: &QuestionKind, language: Language) -> String {
    match ask {
        QuestionKind::Summary => say(language, "Resumen", "Summary").to_owned(),
        QuestionKind::Requirements => say(language, "Requisitos", "Requirements").to_owned(),
        QuestionKind::Risks => say(language, "Riesgos", "Risks").to_owned(),
        QuestionKind::GoNoGo => say(language, "¿Ofertar?", "Make an offer?").to_owned(),
        QuestionKind::Deadlines => say(language, "Plazos", "Deadlines").to_owned(),
        QuestionKind::Free(question) => question.clone(),
    }
}

pub(super) fn verdict(verdict: Verdict, language: Language) -> &'static str {
    match verdict {
        Verdict::Go => say(language, "Recomendación: ofertar", "Advice: make an offer"),
        Verdict::NoGo => say(language, "Recomendación: no ofertar", "Advice: make no offer"),
        Verdict::Unclear => say(language, "Recomendación: no es claro", "Advice: unclear"),
    }
}

pub(super) fn source(source: &Source) -> String {
    let name = match source.as_str() {
        "v1" => "API v1",
        "ocds" => "OCDS",
        "bulk" => "datos abiertos",
        "" => return "Mercado Público (ChileCompra)".to_owned(),
        other => other,
    };
    format!("Mercado Público (ChileCompra), {name}")
}

/// `1 afirmación`, `2 afirmaciones`.
pub(super) fn claims(count: usize, language: Language) -> String {
    let noun = match (count, language) {
        (1, Language::Spanish) => "afirmación",
        (_, Language::Spanish) => "afirmaciones",
        (1, Language::English) => "claim",
        (_, Language::English) => "claims",
    };
    format!("{count} {noun}")
}
