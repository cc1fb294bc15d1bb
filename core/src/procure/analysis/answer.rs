//! The format of the model's answer, and parsing it.

use serde_json::{Value, json};

use super::check::RawClaim;
use super::clean::visible;
use super::outcome::Verdict;
use super::question::QuestionKind;
use super::view::View;

/// The name of the JSON Schema.
pub(super) const SCHEMA_NAME: &str = "tender_analysis";

/// The most claims that are read from an answer; the rest is ignored.
const MAX_CLAIMS_READ: usize = 100;

/// The parsed answer of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RawAnswer {
    pub(super) claims: Vec<RawClaim>,
    pub(super) verdict: Option<Verdict>,
}

/// Why an answer cannot be parsed. It contains nothing of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MalformedAnswer(pub(super) &'static str);

/// The JSON Schema of an answer, in the subset that every vendor supports: all members required, no others allowed.
pub(super) fn schema(ask: &QuestionKind) -> Value {
    let claim = json!({
        "type": "object",
        "properties": {
            "text": { "type": "string", "description": "One sentence, figures and dates in digits." },
            "fields": {
                "type": "array",
                "items": { "type": "integer" },
                "description": "The numbers of the fields that the sentence stands on."
            }
        },
        "required": ["text", "fields"],
        "additionalProperties": false
    });
    let mut properties = json!({ "claims": { "type": "array", "items": claim } });
    let mut required = vec!["claims"];
    if *ask == QuestionKind::GoNoGo {
        properties["verdict"] = json!({ "type": "string", "enum": ["unclear", "go", "no_go"] });
        required.push("verdict");
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false
    })
}

/// Parses an answer: JSON, possibly surrounded by text or in a Markdown code block. Fields may be cited by number or path.
pub(super) fn read(text: &str, ask: &QuestionKind, view: &View) -> Result<RawAnswer, MalformedAnswer> {
    let answer = find_object(text).ok_or(MalformedAnswer("it is not a JSON object"))?;
    let claims = answer.get("claims").ok_or(MalformedAnswer("`claims` is missing"))?;
    let claims = claims.as_array().ok_or(MalformedAnswer("`claims` is not an array"))?;
    let claims =
        claims.iter().take(MAX_CLAIMS_READ).map(|claim| read_claim(claim, view)).collect::<Result<_, _>>()?;
    let verdict = match (ask, answer.get("verdict")) {
        (QuestionKind::GoNoGo, Some(Value::String(verdict))) => Some(
            Verdict::parse(verdict)
                .ok_or(MalformedAnswer("`verdict` is none of \"go\", \"no_go\" and \"unclear\""))?,
        ),
        (QuestionKind::GoNoGo, _) => return Err(MalformedAnswer("`verdict` is missing")),
        _ => None,
    };
    Ok(RawAnswer { claims, verdict })
}

fn find_object(text: &str) -> Option<Value> {
    let object = |text: &str| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    object(text.trim()).or_else(|| {
        let (start, end) = (text.find('{')?, text.rfind('}')?);
        object(text.get(start..=end)?)
    })
}

fn read_claim(claim: &Value, view: &View) -> Result<RawClaim, MalformedAnswer> {
    let text = claim.get("text").and_then(Value::as_str).ok_or(MalformedAnswer("a claim has no `text`"))?;
    let fields = claim
        .get("fields")
        .and_then(Value::as_array)
        .ok_or(MalformedAnswer("a claim has no array `fields`"))?;
    let text = visible(text, false).split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(RawClaim { text, cites: fields.iter().map(|field| field_number(field, view)).collect() })
}

/// The number of a cited field. It is cited by number, also in brackets, or by path.
fn field_number(field: &Value, view: &View) -> Result<usize, String> {
    let written = match field {
        Value::String(written) => visible(written, false),
        other => other.to_string(),
    };
    let bare = written.trim().trim_matches(['[', ']']);
    let by_place = || view.fields.iter().find(|field| field.path == bare).map(|field| field.number);
    bare.parse().ok().or_else(by_place).ok_or_else(|| written.chars().take(60).collect())
}
