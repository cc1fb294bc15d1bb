//! An answer of the API `responses`, as a server writes it: whole, or as the events of a stream.

use futures_util::{FutureExt, StreamExt};
use serde_json::{Map, Value, json};

use super::served::ResponsesRequest;
use crate::chat::{ChatEvent, ChatResponse, ChatStream, FinishReason, ToolCall};
use crate::error::{Error, Result};
use crate::info::Usage;
use crate::wire::openai::chat::{CompletionHead, EventsPiece};
use crate::wire::openai::error::ErrorBody;

/// How much text one piece collects from events that have arrived already.
const MAX_PIECE_BYTES: usize = 16 * 1024;

/// What a response and the events of its stream have in common.
#[derive(Clone, Debug)]
struct Frame {
    head: CompletionHead,
    echo: Map<String, Value>,
    ignored: Vec<String>,
}

impl Frame {
    fn new(head: CompletionHead, asked: &ResponsesRequest, ignored: Vec<String>) -> Self {
        Self { head, echo: asked.echo.clone(), ignored }
    }

    fn item_id(&self, kind: &str, index: usize) -> String {
        format!("{kind}_{}_{index}", self.head.id.trim_start_matches("resp_"))
    }

    fn response(&self, status: &str, output: &[Value], usage: Option<&Usage>) -> Value {
        let incomplete = (status == "incomplete").then(|| json!({ "reason": "max_output_tokens" }));
        let mut response = Map::new();
        let mut set = |name: &str, value: Value| drop(response.insert(name.to_owned(), value));
        set("id", self.head.id.as_str().into());
        set("object", "response".into());
        set("created_at", self.head.created.into());
        set("status", status.into());
        set("error", Value::Null);
        set("incomplete_details", incomplete.unwrap_or_default());
        set("model", self.head.model.as_str().into());
        set("output", output.into());
        set("parallel_tool_calls", true.into());
        set("previous_response_id", Value::Null);
        set("store", false.into());
        set("truncation", "disabled".into());
        set("usage", usage.map(usage_json).unwrap_or_default());
        response.extend(self.echo.clone());
        if !self.ignored.is_empty() {
            response.insert("ignored".to_owned(), json!(self.ignored));
        }
        Value::Object(response)
    }
}

fn usage_json(usage: &Usage) -> Value {
    let (input, output) = (usage.input_tokens.unwrap_or(0), usage.output_tokens.unwrap_or(0));
    json!({
        "input_tokens": input,
        "input_tokens_details": { "cached_tokens": usage.cached_tokens.unwrap_or(0) },
        "output_tokens": output,
        "output_tokens_details": { "reasoning_tokens": usage.reasoning_tokens.unwrap_or(0) },
        "total_tokens": input.saturating_add(output),
    })
}

fn status_of(finish: &FinishReason) -> &'static str {
    if *finish == FinishReason::Length { "incomplete" } else { "completed" }
}

fn text_part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn message_item(id: &str, status: &str, content: &[Value]) -> Value {
    json!({ "id": id, "type": "message", "status": status, "role": "assistant", "content": content })
}

fn reasoning_item(id: &str, status: &str, text: &str) -> Value {
    let content =
        if text.is_empty() { json!([]) } else { json!([{ "type": "reasoning_text", "text": text }]) };
    json!({ "id": id, "type": "reasoning", "status": status, "summary": [], "content": content })
}

fn call_item(id: &str, status: &str, call: &ToolCall) -> Value {
    json!({
        "id": id, "type": "function_call", "status": status,
        "call_id": call.id, "name": call.name, "arguments": call.arguments,
    })
}

/// The body that answers `POST /responses`. `head.id` begins with `resp_`.
pub(crate) fn response_body(
    answer: &ChatResponse,
    head: CompletionHead,
    asked: &ResponsesRequest,
    ignored: Vec<String>,
) -> Value {
    let head = CompletionHead { model: answer.route.model.to_string(), ..head };
    let frame = Frame::new(head, asked, ignored);
    let mut output = Vec::new();
    if let Some(reasoning) = &answer.reasoning {
        output.push(reasoning_item(&frame.item_id("rs", output.len()), "completed", reasoning));
    }
    if !answer.text.is_empty() || answer.tool_calls.is_empty() {
        let id = frame.item_id("msg", output.len());
        output.push(message_item(&id, status_of(&answer.finish), &[text_part(&answer.text)]));
    }
    for call in &answer.tool_calls {
        output.push(call_item(&frame.item_id("fc", output.len()), "completed", call));
    }
    frame.response(status_of(&answer.finish), &output, Some(&answer.usage))
}

/// The item that is being written.
#[derive(Debug)]
enum Open {
    Nothing,
    Text(String),
    Reasoning(String),
    Call(ToolCall),
}

/// The server-sent events of a streamed answer. Dropping it stops the work.
#[derive(Debug)]
pub struct ResponseEvents {
    /// `None` after the last event.
    stream: Option<ChatStream>,
    frame: Frame,
    open: Open,
    output: Vec<Value>,
    sequence: u64,
    written: String,
    request_id: Option<String>,
}

impl ResponseEvents {
    /// Waits for the first event: a failure before it can still set the status of the response.
    ///
    /// # Errors
    /// That of the stream, if it begins with one.
    pub(crate) async fn open(
        mut stream: ChatStream,
        head: CompletionHead,
        asked: &ResponsesRequest,
        ignored: Vec<String>,
        request_id: Option<String>,
    ) -> Result<Self> {
        let frame = Frame::new(head, asked, ignored);
        let first = stream.next().await.transpose()?;
        let mut events = Self {
            stream: Some(stream),
            frame,
            open: Open::Nothing,
            output: Vec::new(),
            sequence: 0,
            written: String::new(),
            request_id,
        };
        if let Some(ChatEvent::Started { route }) = &first {
            events.frame.head.model = route.model.to_string();
        }
        let response = events.frame.response("in_progress", &[], None);
        events.send("response.created", json!({ "response": response }));
        events.send("response.in_progress", json!({ "response": response }));
        if let Some(first) = first {
            events.write(first);
        }
        Ok(events)
    }

    /// Waits for the next event and adds those that have arrived; `None` at the end.
    pub async fn next(&mut self) -> Option<EventsPiece> {
        let mut error = None;
        while let Some(stream) = &mut self.stream {
            let next = match self.written.len() {
                0 => stream.next().await,
                MAX_PIECE_BYTES.. => break,
                _ => match stream.next().now_or_never() {
                    Some(next) => next,
                    None => break,
                },
            };
            match next {
                Some(Ok(event)) => self.write(event),
                Some(Err(failure)) => {
                    self.fail(&failure);
                    error = Some(failure.kind());
                }
                None => self.stream = None,
            }
        }
        let text = std::mem::take(&mut self.written);
        (!text.is_empty()).then_some(EventsPiece { text, error })
    }

    fn fail(&mut self, failure: &Error) {
        self.stream = None;
        let body =
            serde_json::to_value(ErrorBody::new(failure, self.request_id.as_deref())).unwrap_or_default();
        let fields = body.get("error").cloned().unwrap_or_default();
        let code = failure.kind().as_str();
        self.send(
            "error",
            json!({ "code": code, "message": failure.message(), "param": null, "error": fields }),
        );
    }

    fn send(&mut self, kind: &str, mut fields: Value) {
        if let Value::Object(fields) = &mut fields {
            fields.insert("type".to_owned(), kind.into());
            fields.insert("sequence_number".to_owned(), self.sequence.into());
        }
        self.sequence += 1;
        self.written += &format!("event: {kind}\ndata: {fields}\n\n");
    }

    fn write(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Text(piece) => self.text(&piece),
            ChatEvent::Reasoning(piece) => self.reasoning(&piece),
            ChatEvent::ToolCallStarted { id, name, .. } => {
                self.close();
                let call = ToolCall::new(id, name, "");
                let item = call_item(&self.id("fc"), "in_progress", &call);
                self.add(item);
                self.open = Open::Call(call);
            }
            ChatEvent::ToolCallArguments { piece, .. } => {
                if let Open::Call(call) = &mut self.open {
                    call.arguments.push_str(&piece);
                    let (id, index) = (self.id("fc"), self.output.len());
                    let fields = json!({ "item_id": id, "output_index": index, "delta": piece });
                    self.send("response.function_call_arguments.delta", fields);
                }
            }
            ChatEvent::Finish { reason, usage, .. } => {
                if matches!(self.open, Open::Nothing) && self.output.is_empty() {
                    self.text("");
                }
                self.close();
                let status = status_of(&reason);
                let response = self.frame.response(status, &self.output, Some(&usage));
                self.send(&format!("response.{status}"), json!({ "response": response }));
                self.stream = None;
            }
            _ => {}
        }
    }

    /// The id of the item that is being written.
    fn id(&self, kind: &str) -> String {
        self.frame.item_id(kind, self.output.len())
    }

    fn add(&mut self, item: Value) {
        let index = self.output.len();
        self.send("response.output_item.added", json!({ "output_index": index, "item": item }));
    }

    fn text(&mut self, piece: &str) {
        let (id, index) = (self.id("msg"), self.output.len());
        if !matches!(self.open, Open::Text(_)) {
            self.close();
            let (id, index) = (self.id("msg"), self.output.len());
            self.add(message_item(&id, "in_progress", &[]));
            let part =
                json!({ "item_id": id, "output_index": index, "content_index": 0, "part": text_part("") });
            self.send("response.content_part.added", part);
            self.open = Open::Text(String::new());
            return self.text(piece);
        }
        if let Open::Text(text) = &mut self.open {
            text.push_str(piece);
        }
        if !piece.is_empty() {
            let delta = json!({ "item_id": id, "output_index": index, "content_index": 0, "delta": piece, "logprobs": [] });
            self.send("response.output_text.delta", delta);
        }
    }

    fn reasoning(&mut self, piece: &str) {
        if !matches!(self.open, Open::Reasoning(_)) {
            self.close();
            self.add(reasoning_item(&self.id("rs"), "in_progress", ""));
            self.open = Open::Reasoning(String::new());
        }
        if let Open::Reasoning(text) = &mut self.open {
            text.push_str(piece);
        }
        let (id, index) = (self.id("rs"), self.output.len());
        let delta = json!({ "item_id": id, "output_index": index, "content_index": 0, "delta": piece });
        self.send("response.reasoning_text.delta", delta);
    }

    /// Completes the item that is being written.
    fn close(&mut self) {
        let index = self.output.len();
        let item = match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => return,
            Open::Text(text) => {
                let id = self.id("msg");
                let text_done = json!({
                    "item_id": id, "output_index": index, "content_index": 0, "text": text, "logprobs": [],
                });
                let part_done = json!({
                    "item_id": id, "output_index": index, "content_index": 0, "part": text_part(&text),
                });
                self.send("response.output_text.done", text_done);
                self.send("response.content_part.done", part_done);
                message_item(&id, "completed", &[text_part(&text)])
            }
            Open::Reasoning(text) => {
                let id = self.id("rs");
                let done = json!({ "item_id": id, "output_index": index, "content_index": 0, "text": text });
                self.send("response.reasoning_text.done", done);
                reasoning_item(&id, "completed", &text)
            }
            Open::Call(call) => {
                let id = self.id("fc");
                let done = json!({
                    "item_id": id, "output_index": index, "name": call.name, "arguments": call.arguments,
                });
                self.send("response.function_call_arguments.done", done);
                call_item(&id, "completed", &call)
            }
        };
        self.send("response.output_item.done", json!({ "output_index": index, "item": item }));
        self.output.push(item);
    }
}
