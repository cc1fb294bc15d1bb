//! The values of the source's tables in words.

use crate::procure::analysis::question::Language;
use crate::procure::{Estimation, PaymentTerm, TenderState, TimeUnit};

pub(in crate::procure) fn state(state: &TenderState, language: Language) -> String {
    let [spanish, english] = match state {
        TenderState::Published => ["Publicada", "Published"],
        TenderState::Closed => ["Cerrada", "Closed"],
        TenderState::Deserted => ["Desierta", "Deserted"],
        TenderState::Awarded => ["Adjudicada", "Awarded"],
        TenderState::Revoked => ["Revocada", "Revoked"],
        TenderState::Suspended => ["Suspendida", "Suspended"],
        other => return super::visible(&other.to_string(), false),
    };
    if language == Language::Spanish { spanish } else { english }.to_owned()
}

pub(in crate::procure) fn estimation(estimation: &Estimation) -> String {
    match estimation {
        Estimation::Budget => "presupuesto disponible".to_owned(),
        Estimation::ReferencePrice => "precio referencial".to_owned(),
        Estimation::NotPossible => "no es posible estimar".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn payment(term: &PaymentTerm) -> String {
    match term {
        PaymentTerm::Days30 => "pago a 30 días".to_owned(),
        PaymentTerm::Days306090 => "pago a 30 días, 60 días y 90 días".to_owned(),
        PaymentTerm::SameDay => "pago al día".to_owned(),
        PaymentTerm::Yearly => "pago anual".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn unit(unit: &TimeUnit, language: Language) -> String {
    let [spanish, english] = match unit {
        TimeUnit::Hours => ["horas", "hours"],
        TimeUnit::Days => ["días", "days"],
        TimeUnit::Weeks => ["semanas", "weeks"],
        TimeUnit::Months => ["meses", "months"],
        TimeUnit::Years => ["años", "years"],
        other => return other.to_string(),
    };
    if language == Language::Spanish { spanish } else { english }.to_owned()
}
