//! The case format. `core/conformance/README.md` explains it; `core/conformance/schema.json` is its JSON Schema.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use ayni::{Error, ErrorKind, Result};

/// One case: what a server does, what is called, and what must be the result.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Case {
    /// The file's stem: words joined by hyphens, unique in the suite.
    pub name: String,
    /// The real behaviour that the case represents, in one sentence.
    pub why: String,
    /// What is opened.
    pub capability: Capability,
    /// The flat form of a setup.
    #[serde(default)]
    pub config: Option<Value>,
    /// Exactly the environment variables that are set; without `config` they alone say what is opened.
    #[serde(default)]
    pub env: Option<BTreeMap<String, String>>,
    /// Time-outs and cancellation.
    #[serde(default)]
    pub context: ContextSpec,
    /// The one call.
    #[serde(default)]
    pub call: Option<Call>,
    /// Instead of `call`: several, one after the other, on one handle.
    #[serde(default)]
    pub calls: Vec<Call>,
    /// What the server expects and answers.
    #[serde(default)]
    pub server: Vec<Exchange>,
    /// The expected result of the one call.
    #[serde(default)]
    pub expect: Option<Expect>,
    /// Instead of `expect`: the error with which opening fails.
    #[serde(default)]
    pub open_error: Option<Map<String, Value>>,
    /// Matchers of progress events that come in this order; others may come in between.
    #[serde(default)]
    pub progress: Vec<Value>,
    /// How many requests reached the server.
    #[serde(default)]
    pub requests_seen: Option<usize>,
    /// Only in a must-fail case: a text in the report of its failure.
    #[serde(default)]
    pub fails_with: Option<String>,
}

/// What a case opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Capability {
    /// An embedder.
    Embed,
    /// A chat backend.
    Chat,
    /// An image generator.
    Image,
    /// A procurement client.
    Procure,
    /// The chat modes of an environment.
    Modes,
    /// The list of a vendor's models.
    Models,
    /// The state of a backend.
    Health,
}

impl Capability {
    /// The capability as cases and folders spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Chat => "chat",
            Self::Image => "image",
            Self::Procure => "procure",
            Self::Modes => "modes",
            Self::Models => "models",
            Self::Health => "health",
        }
    }
}

/// Time-outs and cancellation of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ContextSpec {
    /// The deadline of the whole call.
    pub timeout_ms: Option<u64>,
    /// The time-out for connecting.
    pub connect_ms: Option<u64>,
    /// The time-out until the status line.
    pub first_byte_ms: Option<u64>,
    /// The time-out between two pieces of data.
    pub idle_ms: Option<u64>,
    /// Cancels once the server has read so many requests.
    pub cancel_after_requests: Option<usize>,
    /// Cancels once a stream has delivered so many events.
    pub cancel_after_events: Option<usize>,
}

/// One call.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Call {
    /// The operation: `chat`, `stream`, `embed`, `generate`, `refine`, `tenders` …
    pub operation: String,
    /// The request, in the JSON form of its request type.
    #[serde(default)]
    pub request: Value,
    /// For `modes`: the mode's name; the default mode without it.
    #[serde(default)]
    pub mode: Option<String>,
    /// For one of several calls: its expected result.
    #[serde(default)]
    pub expect: Option<Expect>,
}

/// The expected result of a call.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Expect {
    /// Success, with a result that matches this.
    Ok(Value),
    /// An error with these fields.
    Error(Map<String, Value>),
}

/// A request that the server expects, and its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Exchange {
    /// The request.
    pub request: RequestSpec,
    /// The answer.
    pub respond: Respond,
    /// How many times; once by default.
    #[serde(default = "once")]
    pub times: usize,
    /// Adjacent unordered exchanges may be used in any order.
    #[serde(default)]
    pub unordered: bool,
}

fn once() -> usize {
    1
}

/// Which of the server's two addresses a request is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Host {
    /// `{{base_url}}`.
    #[default]
    Main,
    /// `{{other_url}}`, another origin.
    Other,
}

impl Host {
    /// `main` or `other`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Other => "other",
        }
    }
}

/// What a request must be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RequestSpec {
    /// The address it comes to.
    #[serde(default)]
    pub host: Host,
    /// The method.
    pub method: String,
    /// The path, without query.
    pub path: String,
    /// All parameters of the query.
    #[serde(default)]
    pub query: BTreeMap<String, Value>,
    /// Some header fields; null for one that must be absent.
    #[serde(default)]
    pub headers: BTreeMap<String, Value>,
    /// A matcher for a JSON body.
    #[serde(default)]
    pub json: Option<Value>,
    /// The whole JSON body, no field more.
    #[serde(default)]
    pub json_equals: Option<Value>,
    /// How the body starts.
    #[serde(default)]
    pub body_starts_with: Option<String>,
    /// Texts that the body contains.
    #[serde(default)]
    pub body_contains: Vec<String>,
    /// The body's bytes.
    #[serde(default)]
    pub body_base64: Option<String>,
    /// Fields of a multipart form.
    #[serde(default)]
    pub form: Option<BTreeMap<String, Value>>,
}

/// What the server answers: at most one kind of body, or a drop.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Respond {
    /// Instead of an answer.
    pub drop: Option<DropPoint>,
    /// The status; 200 by default.
    pub status: Option<u16>,
    /// Header fields: a text, several, or null to omit a usual one.
    pub headers: BTreeMap<String, Value>,
    /// A JSON body.
    pub json: Option<Value>,
    /// A text body.
    pub text: Option<String>,
    /// An HTML body.
    pub html: Option<String>,
    /// A body of arbitrary bytes.
    pub base64: Option<String>,
    /// A long body.
    pub repeat: Option<Repeat>,
    /// A long body, compressed with gzip.
    pub gzip_repeat: Option<Repeat>,
    /// Server-sent events.
    pub sse: Option<Vec<Frame>>,
    /// Lines of JSON.
    pub ndjson: Option<Vec<Value>>,
    /// What ends the lines of `sse` and `ndjson`; `\n` by default.
    pub line_end: Option<String>,
    /// Where the body is cut into pieces that are sent one by one.
    pub chunks: Option<Chunks>,
    /// The pause between two pieces.
    pub chunk_delay_ms: u64,
    /// The pause before the status line.
    pub delay_ms: u64,
    /// The pause between head and body.
    pub body_delay_ms: u64,
    /// How the answer ends.
    pub end: End,
    /// A content length, true or not.
    pub content_length: Option<u64>,
}

/// What happens instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DropPoint {
    /// The connection is reset before the request is read.
    OnAccept,
    /// The connection is reset once the request is read.
    AfterRequest,
    /// The request is read and nothing more happens.
    NeverAnswer,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum End {
    /// As HTTP requires.
    #[default]
    Normal,
    /// The connection is closed before the body's end.
    Disconnect,
    /// The connection is reset before the body's end.
    Reset,
    /// The body never ends.
    Hang,
}

/// A repeated text.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Repeat {
    /// The text.
    pub text: String,
    /// How many times.
    pub count: usize,
    /// What comes before it.
    #[serde(default)]
    pub prefix: String,
    /// What comes after it.
    #[serde(default)]
    pub suffix: String,
}

/// A piece of an event stream.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Frame {
    /// An event.
    Event(EventFrame),
    /// Text that is sent unchanged.
    Raw(RawFrame),
    /// A pause.
    Pause(PauseFrame),
}

/// A server-sent event.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EventFrame {
    /// The data: a text unchanged, anything else as JSON.
    pub data: Value,
    /// The event's name.
    #[serde(default)]
    pub event: Option<String>,
}

/// Text that is sent unchanged.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RawFrame {
    /// The text.
    pub raw: String,
}

/// A pause between frames.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PauseFrame {
    /// How long.
    pub pause_ms: u64,
}

/// Where a body is cut.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Chunks {
    /// Before these bytes, counted from 0.
    CutAt(Vec<usize>),
    /// Every so many bytes.
    Every(usize),
}

impl Case {
    /// The calls, one or several, each with its expected result.
    pub fn calls(&self) -> impl Iterator<Item = (&Call, Option<&Expect>)> {
        let one = self.call.iter().map(|call| (call, self.expect.as_ref()));
        one.chain(self.calls.iter().map(|call| (call, call.expect.as_ref())))
    }

    /// Refuses contradictions that the types allow.
    ///
    /// # Errors
    /// `config_invalid`, naming the case.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::config(format!("case '{}': {what}", self.name)));
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(kebab) {
            return wrong("the name is not words in lower case joined by hyphens");
        }
        if self.why.trim().is_empty() {
            return wrong("`why` is empty");
        }
        if self.config.is_none() && self.env.is_none() {
            return wrong("give `config`, `env` or both");
        }
        match (&self.open_error, &self.call, self.calls.is_empty()) {
            (Some(_), None, true) if self.expect.is_none() => {}
            (Some(_), _, _) => return wrong("`open_error` goes without call and `expect`"),
            (None, Some(_), true) if self.expect.is_some() => {}
            (None, None, false) if self.expect.is_none() => {}
            (None, _, _) => return wrong("give `call` and `expect`, or `calls` that hold their own"),
        }
        if self.calls().any(|(_, expect)| expect.is_none()) {
            return wrong("a call lacks its `expect`");
        }
        self.errors().try_for_each(|error| check_error(error).or_else(|what| wrong(&what)))?;
        self.server.iter().try_for_each(|exchange| exchange.check().or_else(|what| wrong(&what)))
    }

    fn errors(&self) -> impl Iterator<Item = &Map<String, Value>> {
        let of_calls = self.calls().filter_map(|(_, expect)| match expect {
            Some(Expect::Error(error)) => Some(error),
            _ => None,
        });
        self.open_error.iter().chain(of_calls)
    }
}

/// The fields that an expected error may have.
const ERROR_FIELDS: [&str; 14] = [
    "kind",
    "persistence",
    "http_status",
    "retry_after_ms",
    "request_id",
    "sent",
    "operation",
    "backend",
    "message",
    "message_contains",
    "context",
    "partial_text",
    "response_excerpt",
    "events",
];

fn check_error(error: &Map<String, Value>) -> Result<(), String> {
    if let Some(name) = error.keys().find(|name| !ERROR_FIELDS.contains(&name.as_str())) {
        return Err(format!("an error has no field '{name}'"));
    }
    match error.get("kind").and_then(Value::as_str).map(ErrorKind::parse) {
        Some(Some(_)) => Ok(()),
        Some(None) => Err("the expected error's kind is unknown".to_owned()),
        None => Err("the expected error has no kind".to_owned()),
    }
}

impl Exchange {
    fn check(&self) -> Result<(), String> {
        let respond = &self.respond;
        let bodies = [
            respond.json.is_some(),
            respond.text.is_some(),
            respond.html.is_some(),
            respond.base64.is_some(),
            respond.repeat.is_some(),
            respond.gzip_repeat.is_some(),
            respond.sse.is_some(),
            respond.ndjson.is_some(),
        ];
        let bodies = bodies.iter().filter(|given| **given).count();
        match respond.drop {
            Some(_) if bodies > 0 || respond.status.is_some() => {
                return Err("a drop has neither status nor body".to_owned());
            }
            None if bodies > 1 => return Err("an answer has two bodies".to_owned()),
            _ => {}
        }
        let paused = |frames: &Vec<Frame>| frames.iter().any(|frame| matches!(frame, Frame::Pause(_)));
        if respond.chunks.is_some() && respond.sse.as_ref().is_some_and(paused) {
            return Err("`chunks` and `pause_ms` exclude each other".to_owned());
        }
        if matches!(respond.chunks, Some(Chunks::Every(0))) {
            return Err("pieces of no bytes".to_owned());
        }
        if respond.line_end.as_deref().is_some_and(|end| !["\n", "\r\n", "\r"].contains(&end)) {
            return Err("`line_end` is none of \\n, \\r\\n, \\r".to_owned());
        }
        if self.times == 0 {
            return Err("an exchange that happens no times".to_owned());
        }
        Ok(())
    }
}

impl ContextSpec {
    /// A number of milliseconds as a duration.
    pub(crate) fn duration(milliseconds: Option<u64>) -> Option<Duration> {
        milliseconds.map(Duration::from_millis)
    }
}
