//! The format of the model's answer, and parsing it.

use serde_json::{Value, json};

use super::clean::visible;
use super::outcome::Verdict;
use super::question::QuestionKind;

pub(super) const SCHEMA_NAME: &str = "tender_analysis";

/// The most claims that are read from an answer; the rest is ignored.
const MAX_CLAIMS_READ: usize = 100;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RawAnswer {
    pub(super) claims: Vec<String>,
    pub(super) verdict: Option<Verdict>,
}

/// Why an answer cannot be parsed. It contains nothing of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MalformedAnswer(pub(super) &'static str);

/// The JSON Schema of an answer, in the subset that every vendor supports: all members required, no others allowed.
pub(super) fn schema(ask: &QuestionKind) -> Value {
    let claim = json!({
        "type": "string",
        "description": "One sentence, with {number} in place of every value of the record."
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

/// Parses an answer: JSON, possibly surrounded by text or in a Markdown code block.
pub(super) fn read(text: &str, ask: &QuestionKind) -> Result<RawAnswer, MalformedAnswer> {
    let answer = find_object(text).ok_or(MalformedAnswer("it is not a JSON object"))?;
    let claims = answer.get("claims").ok_or(MalformedAnswer("`claims` is missing"))?;
    let claims = claims.as_array().ok_or(MalformedAnswer("`claims` is not an array"))?;
    let claim = |claim: &Value| claim.as_str().map(|text| visible(text, false));
    let claims: Option<Vec<String>> = claims.iter().take(MAX_CLAIMS_READ).map(claim).collect();
    let claims = claims.ok_or(MalformedAnswer("a claim is not a text"))?;
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
