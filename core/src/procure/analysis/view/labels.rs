//! The values of the source's tables in words.

use crate::procure::analysis::question::Language;
use crate::procure::{Estimation, PaymentTerm, TenderState, TimeUnit};

/// The state in words.
pub(in crate::procure) fn state(state: &TenderState, language: Language) -> String {
    let words = match (state, language) {
        (TenderState::Published, Language::Spanish) => "Publicada",
        (TenderState::Published, Language::English) => "Published",
        (TenderState::Closed, Language::Spanish) => "Cerrada",
        (TenderState::Closed, Language::English) => "Closed",
        (TenderState::Deserted, Language::Spanish) => "Desierta",
        (TenderState::Deserted, Language::English) => "Deserted",
        (TenderState::Awarded, Language::Spanish) => "Adjudicada",
        (TenderState::Awarded, Language::English) => "Awarded",
        (TenderState::Revoked, Language::Spanish) => "Revocada",
        (TenderState::Revoked, Language::English) => "Revoked",
        (TenderState::Suspended, Language::Spanish) => "Suspendida",
        (TenderState::Suspended, Language::English) => "Suspended",
        (other, _) => return super::visible(&other.to_string(), false),
    };
    words.to_owned()
}

/// The basis of the estimated amount, in words.
pub(in crate::procure) fn estimation(estimation: &Estimation) -> String {
    match estimation {
        Estimation::Budget => "presupuesto disponible".to_owned(),
        Estimation::ReferencePrice => "precio referencial".to_owned(),
        Estimation::NotPossible => "no es posible estimar".to_owned(),
        other => other.to_string(),
    }
}

/// The payment term in words.
pub(super) fn payment(term: &PaymentTerm) -> String {
    match term {
        PaymentTerm::Days30 => "pago a 30 días".to_owned(),
        PaymentTerm::Days306090 => "pago a 30 días, 60 días y 90 días".to_owned(),
        PaymentTerm::SameDay => "pago al día".to_owned(),
        PaymentTerm::Yearly => "pago anual".to_owned(),
        other => other.to_string(),
    }
}

/// A unit of time in words.
pub(super) fn unit(unit: &TimeUnit) -> String {
    match unit {
        TimeUnit::Hours => "horas".to_owned(),
        TimeUnit::Days => "días".to_owned(),
        TimeUnit::Weeks => "semanas".to_owned(),
        TimeUnit::Months => "meses".to_owned(),
        TimeUnit::Years => "años".to_owned(),
        other => other.to_string(),
    }
}
