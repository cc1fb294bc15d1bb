//! What the vendors' failures mean where the common table of statuses is wrong.

use crate::error::ErrorKind;
use crate::http::status::{Failure, Verdict};

/// Nothing special.
pub(super) fn none(_: &Failure<'_>) -> Option<Verdict> {
    None
}

/// OpenAI: an option that the model does not take is `unsupported`, not a wrong request.
pub(super) fn openai(failure: &Failure<'_>) -> Option<Verdict> {
    let code = failure.body.code.as_deref()?;
    matches!(code, "unsupported_parameter" | "unsupported_value").then(|| {
        let option = failure.body.param.as_deref().filter(|param| is_option_name(param));
        let option = option.map(|option| format!(" ({option})")).unwrap_or_default();
        Verdict::new(
            ErrorKind::Unsupported,
            format!("this model does not take one of the request's options{option}"),
        )
    })
}

/// The Hugging Face router: each failure says where to fix it.
pub(super) fn hf_router(failure: &Failure<'_>) -> Option<Verdict> {
    let message = lower(failure.body.message.as_deref());
    let code = failure.body.code.as_deref().unwrap_or_default();
    let not_served = code == "model_not_supported" || message.contains("not supported by");
    let (kind, sentence) = match told_status(failure) {
        200 | 400 | 404 | 422 if not_served => (
            ErrorKind::NotFound,
            "model not available from this provider: name another provider or model, or enable a provider that serves it at https://hf.co/settings/inference-providers",
        ),
        404 => (
            ErrorKind::NotFound,
            "model not available from this provider: check the model's id and the provider after its colon",
        ),
        401 => (
            ErrorKind::Unauthenticated,
            "the Hugging Face token is missing or not accepted: check HF_API_TOKEN",
        ),
        402 => (
            ErrorKind::CreditsExhausted,
            "the account's Inference Providers credits are spent: buy credits, bill an organisation (`bill_to`) or use another account",
        ),
        403 if message.contains("permission") => (
            ErrorKind::PermissionDenied,
            "the token may not do this: give the fine-grained token the permission \"Make calls to Inference Providers\"",
        ),
        _ => return None,
    };
    Some(Verdict::new(kind, sentence))
}

/// Google answers 400 to an unknown key.
pub(super) fn gemini(failure: &Failure<'_>) -> Option<Verdict> {
    let message = lower(failure.body.message.as_deref());
    (told_status(failure) == 400 && message.contains("api key not valid")).then(|| {
        Verdict::new(
            ErrorKind::Unauthenticated,
            "the credential is missing or not accepted: check the key or token",
        )
    })
}

/// Featherless answers 400 while a model is cold, and also to a wrong request: the message tells which.
pub(super) fn featherless(failure: &Failure<'_>) -> Option<Verdict> {
    const COLD: [&str; 8] =
        ["cold", "warm", "loading", "not loaded", "not ready", "not yet ready", "starting", "being deployed"];
    if told_status(failure) != 400 {
        return None;
    }
    let body = failure.body;
    let message = lower(body.message.as_deref());
    let names = [lower(body.code.as_deref()), lower(body.error_type.as_deref())];
    let says_cold =
        |text: &String| COLD.iter().any(|word| text.contains(word) || text.contains(&word.replace(' ', "_")));
    let bare = message.is_empty() && body.param.is_none() && names.iter().all(String::is_empty);
    (bare || says_cold(&message) || names.iter().any(says_cold)).then(|| {
        Verdict::new(
            ErrorKind::ColdStart,
            "the model is cold and being loaded, which takes minutes: wait and try again",
        )
    })
}

/// Nscale answers 429 when the account has no credit.
pub(super) fn nscale(failure: &Failure<'_>) -> Option<Verdict> {
    (told_status(failure) == 429).then(|| {
        Verdict::new(
            ErrorKind::CreditsExhausted,
            "the account's credits are spent: add credits or use another account",
        )
    })
}

/// The status, or the numeric code in the body of an error that came with a success status.
fn told_status(failure: &Failure<'_>) -> u16 {
    let code = failure.body.code.as_deref().and_then(|code| code.parse().ok());
    match code.filter(|code| (400..600).contains(code)) {
        Some(code) if (200..300).contains(&failure.status) => code,
        _ => failure.status,
    }
}

fn lower(text: Option<&str>) -> String {
    // Only the beginning counts; what follows may be the caller's own text.
    text.unwrap_or_default().chars().take(400).collect::<String>().to_ascii_lowercase()
}

fn is_option_name(text: &str) -> bool {
    text.len() <= 40 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.[]".contains(c))
}
