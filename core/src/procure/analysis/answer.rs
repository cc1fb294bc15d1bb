//! The form of an answer, and reading it.

use serde_json::{Value, json};

use super::check::Made;
use super::clean::visible;
use super::outcome::Verdict;
use super::question::Ask;
use super::view::View;

/// The name of the schema.
pub(super) const NAME: &str = "tender_analysis";

/// The most claims that are read of an answer; the rest is not looked at.
const MOST_READ: usize = 100;

/// What a model answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) claims: Vec<Made>,
    pub(super) verdict: Option<Verdict>,
}

/// Why an answer cannot be read. Never holds a word of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// The JSON Schema of an answer, in the subset that every vendor takes: everything is required, nothing is added.
pub(super) fn schema(ask: &Ask) -> Value {
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
    if *ask == Ask::GoNoGo {
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

/// Reads an answer: JSON, perhaps between words or in a fence of Markdown. Fields may be named by number or place.
pub(super) fn read(text: &str, ask: &Ask, view: &View) -> Result<Answered, Malformed> {
    let answer = object_in(text).ok_or(Malformed("it is not a JSON object"))?;
    let claims = answer.get("claims").ok_or(Malformed("`claims` is missing"))?;
    let claims = claims.as_array().ok_or(Malformed("`claims` is not an array"))?;
    let claims = claims.iter().take(MOST_READ).map(|claim| made(claim, view)).collect::<Result<_, _>>()?;
    let verdict = match (ask, answer.get("verdict")) {
        (Ask::GoNoGo, Some(Value::String(verdict))) => Some(
            Verdict::parse(verdict)
                .ok_or(Malformed("`verdict` is none of \"go\", \"no_go\" and \"unclear\""))?,
        ),
        (Ask::GoNoGo, _) => return Err(Malformed("`verdict` is missing")),
        _ => None,
    };
    Ok(Answered { claims, verdict })
}

fn object_in(text: &str) -> Option<Value> {
    let object = |text: &str| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    object(text.trim()).or_else(|| {
        let (start, end) = (text.find('{')?, text.rfind('}')?);
        object(text.get(start..=end)?)
    })
}

fn made(claim: &Value, view: &View) -> Result<Made, Malformed> {
    let text = claim.get("text").and_then(Value::as_str).ok_or(Malformed("a claim has no `text`"))?;
    let fields =
        claim.get("fields").and_then(Value::as_array).ok_or(Malformed("a claim has no array `fields`"))?;
    let text = visible(text, false).split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Made { text, cites: fields.iter().map(|field| cited(field, view)).collect() })
}

/// The number of a field that is named by it, in digits or brackets, or by its place.
fn cited(field: &Value, view: &View) -> Result<usize, String> {
    let written = match field {
        Value::String(written) => visible(written, false),
        other => other.to_string(),
    };
    let bare = written.trim().trim_matches(['[', ']']);
    let by_place = || view.fields.iter().find(|field| field.path == bare).map(|field| field.number);
    bare.parse().ok().or_else(by_place).ok_or_else(|| written.chars().take(60).collect())
}
