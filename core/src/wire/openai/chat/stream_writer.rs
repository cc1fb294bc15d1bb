//! A streamed response, as a server writes it: server-sent events with one chunk each.

use serde::Serialize;

use super::completion::{AnnotationJson, CompletionHead, ImageJson};
use super::message::ToolType;
use super::usage::{LogprobsJson, UsageJson};
use crate::chat::ChatEvent;
use crate::error::Error;
use crate::info::Usage;
use crate::wire::openai::error::ErrorBody;

/// Writes the events of a streamed response as server-sent events.
///
/// ```
/// use ayni::ChatEvent;
/// use ayni::wire::openai::chat::{ChunkWriter, CompletionHead};
///
/// let writer = ChunkWriter::new(CompletionHead::new("chatcmpl-1", 0, "m"), false);
/// assert!(writer.start().starts_with("data: {\"id\":\"chatcmpl-1\""));
/// assert!(writer.event(&ChatEvent::Text("hola".into())).contains("{\"content\":\"hola\"}"));
/// ```
#[derive(Clone, Debug)]
pub struct ChunkWriter {
    head: CompletionHead,
    include_usage: bool,
}

/// The JSON of a chunk.
#[derive(Serialize)]
struct ChunkJson<'a> {
    #[serde(flatten)]
    head: &'a CompletionHead,
    object: &'static str,
    choices: &'a [ChunkChoiceJson<'a>],
    /// Where usage was asked for it stands in every chunk, null but in the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageJson>>,
    /// The fields of the request that counted for nothing; in the first chunk.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    ignored: &'a [String],
}

#[derive(Default, Serialize)]
struct ChunkChoiceJson<'a> {
    index: usize,
    delta: DeltaJson<'a>,
    finish_reason: Option<&'a str>,
    logprobs: Option<LogprobsJson<'a>>,
}

#[derive(Default, Serialize)]
struct DeltaJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolCallDeltaJson<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<[AnnotationJson<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<[ImageJson; 1]>,
}

#[derive(Serialize)]
struct ToolCallDeltaJson<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<ToolType>,
    function: FunctionDeltaJson<'a>,
}

#[derive(Serialize)]
struct FunctionDeltaJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

/// An error in the middle of a stream: its status can no longer be the response's.
#[derive(Serialize)]
struct ErrorEventJson<'a> {
    #[serde(flatten)]
    body: ErrorBody<'a>,
    status: u16,
}

impl ChunkWriter {
    /// A writer. Where `include_usage` is set, a last chunk says what was used.
    pub fn new(head: CompletionHead, include_usage: bool) -> Self {
        Self { head, include_usage }
    }

    /// What comes before the first event: who speaks.
    pub fn start(&self) -> String {
        self.start_of(0, &[])
    }

    /// What comes before the first event of one of several answers; `ignored` names fields of the request.
    pub(super) fn start_of(&self, index: usize, ignored: &[String]) -> String {
        let delta = DeltaJson { role: Some("assistant"), content: Some(""), ..DeltaJson::default() };
        self.written(&[ChunkChoiceJson { index, delta, ..ChunkChoiceJson::default() }], None, ignored)
    }

    /// An event; nothing for what the protocol does not tell. With the last event the stream is complete.
    pub fn event(&self, event: &ChatEvent) -> String {
        match event {
            ChatEvent::Finish { usage, .. } => self.event_of(0, event) + &self.end(usage),
            event => self.event_of(0, event),
        }
    }

    /// The end of the stream, after the last event of every answer.
    pub(super) fn end(&self, usage: &Usage) -> String {
        let usage = self.include_usage.then(|| self.written(&[], UsageJson::write(usage), &[]));
        usage.unwrap_or_default() + "data: [DONE]\n\n"
    }

    /// An event of one of several answers.
    pub(super) fn event_of(&self, index: usize, event: &ChatEvent) -> String {
        let delta = |delta| self.chunk(ChunkChoiceJson { index, delta, ..ChunkChoiceJson::default() });
        let tool_call = |call| delta(DeltaJson { tool_calls: Some([call]), ..DeltaJson::default() });
        match event {
            ChatEvent::Text(text) => delta(DeltaJson { content: Some(text), ..DeltaJson::default() }),
            ChatEvent::Reasoning(text) => {
                delta(DeltaJson { reasoning_content: Some(text), ..DeltaJson::default() })
            }
            ChatEvent::ToolCallStarted { index, id, name } => tool_call(ToolCallDeltaJson {
                index: *index,
                id: Some(id),
                r#type: Some(ToolType::Function),
                function: FunctionDeltaJson { name: Some(name), arguments: "" },
            }),
            ChatEvent::ToolCallArguments { index, piece } => tool_call(ToolCallDeltaJson {
                index: *index,
                id: None,
                r#type: None,
                function: FunctionDeltaJson { name: None, arguments: piece },
            }),
            ChatEvent::Logprobs(tokens) => self.chunk(ChunkChoiceJson {
                index,
                logprobs: LogprobsJson::write(tokens),
                ..ChunkChoiceJson::default()
            }),
            ChatEvent::Finish { reason, .. } => {
                let finish_reason = Some(reason.as_str());
                self.chunk(ChunkChoiceJson { index, finish_reason, ..ChunkChoiceJson::default() })
            }
            ChatEvent::Annotation { annotation } => delta(DeltaJson {
                annotations: Some([AnnotationJson::write(annotation)]),
                ..DeltaJson::default()
            }),
            ChatEvent::Part { part } => match ImageJson::write(part) {
                Some(image) => delta(DeltaJson { images: Some([image]), ..DeltaJson::default() }),
                None => String::new(),
            },
            ChatEvent::Started { .. } | ChatEvent::ToolCall { .. } | ChatEvent::Metadata { .. } => {
                String::new()
            }
        }
    }

    /// An error that ends the stream: OpenAI's clients raise it.
    pub fn error(&self, error: &Error, request_id: Option<&str>) -> String {
        let body = ErrorBody::new(error, request_id);
        server_sent(&ErrorEventJson { status: body.status(), body })
    }

    fn chunk(&self, choice: ChunkChoiceJson<'_>) -> String {
        self.written(&[choice], None, &[])
    }

    fn written(
        &self,
        choices: &[ChunkChoiceJson<'_>],
        usage: Option<UsageJson>,
        ignored: &[String],
    ) -> String {
        let usage = self.include_usage.then_some(usage);
        server_sent(&ChunkJson { head: &self.head, object: "chat.completion.chunk", choices, usage, ignored })
    }
}

pub(in crate::wire::openai) fn server_sent(data: &impl Serialize) -> String {
    // Structs of texts and numbers always have a JSON form.
    let json = serde_json::to_string(data).unwrap_or_default();
    format!("data: {json}\n\n")
}
