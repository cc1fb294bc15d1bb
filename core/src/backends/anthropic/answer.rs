//! One answer put together from its blocks, which come whole or in pieces.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::turns::BLOCKS;
use super::wire::{Ending, EventIn, MessageIn, UsageIn, finish_reason};
use crate::chat::{
    Annotation, AnnotationKind, ChatEvent, FinishReason, Part, ProviderData, ResponseMetadata, ToolCall,
};
use crate::error::{Error, Result};
use crate::info::{BackendInfo, Route};
use crate::wire::openai::chat::refused;

/// Assembles one answer.
pub(super) struct AnswerBuilder {
    info: BackendInfo,
    request_id: Option<String>,
    id: Option<String>,
    started: bool,
    blocks: Vec<Block>,
    calls: usize,
    /// Characters of the text so far: citations are about blocks of it.
    characters: u64,
    usage: UsageIn,
    ending: Ending,
}

/// A block as it came, and what of it is still to come.
#[derive(Debug, Default)]
struct Block {
    fields: Map<String, Value>,
    /// The input of a tool in pieces.
    input: String,
    /// Which call of the answer it is.
    call: Option<usize>,
    /// Where its text begins among the characters of the answer.
    start: u64,
    citations: Vec<Value>,
    /// Whether its end has been told.
    complete: bool,
}

impl AnswerBuilder {
    pub(super) fn new(info: BackendInfo, request_id: Option<String>) -> Self {
        Self {
            info,
            request_id,
            id: None,
            started: false,
            blocks: Vec::new(),
            calls: 0,
            characters: 0,
            usage: UsageIn::default(),
            ending: Ending::default(),
        }
    }

    /// Whether the answer said why it ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ending.stop_reason.is_some()
    }

    /// Adds the id of the request to an error that has none.
    pub(super) fn identified(&self, error: Error) -> Error {
        match (&self.request_id, error.request_id()) {
            (Some(id), None) => error.with_request_id(id.clone()),
            _ => error,
        }
    }

    /// Reads a whole answer.
    pub(super) fn whole(&mut self, mut message: MessageIn, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        let Some(blocks) = message.content.take() else {
            return Err(Error::response_invalid("the answer holds no `content`"));
        };
        self.start(message, events);
        for (index, block) in blocks.into_iter().enumerate() {
            self.start_block(index, block, events);
            self.stop_block(index, events);
        }
        self.ending.stop_reason.get_or_insert_with(|| "end_turn".to_owned());
        self.end(events)
    }

    /// Reads one event; whether it was the last.
    pub(super) fn event(&mut self, event: EventIn, events: &mut VecDeque<ChatEvent>) -> Result<bool> {
        if let Some(usage) = event.usage {
            self.usage.update(usage);
        }
        match event.r#type.as_str() {
            "message_start" => self.start(event.message.unwrap_or_default(), events),
            "content_block_start" => {
                self.start_block(event.index, event.content_block.unwrap_or_default(), events);
            }
            "content_block_delta" => self.delta(event.index, event.delta, events),
            "content_block_stop" => self.stop_block(event.index, events),
            "message_delta" => self.end_with(Ending::deserialize(event.delta).unwrap_or_default()),
            "message_stop" => {
                self.end(events)?;
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }

    fn start(&mut self, message: MessageIn, events: &mut VecDeque<ChatEvent>) {
        if let Some(usage) = message.usage {
            self.usage.update(usage);
        }
        self.id = message.id;
        self.end_with(message.ending);
        let route = Route::new(&self.info).with_model(message.model.as_deref());
        self.started = true;
        events.push_back(ChatEvent::Started { route: route.with_request_id(self.request_id.clone()) });
    }

    fn end_with(&mut self, ending: Ending) {
        let Ending { stop_reason, stop_sequence, stop_details, container } = ending;
        self.ending.stop_reason = stop_reason.or(self.ending.stop_reason.take());
        self.ending.stop_sequence = stop_sequence.or(self.ending.stop_sequence.take());
        for (kept, new) in
            [(&mut self.ending.stop_details, stop_details), (&mut self.ending.container, container)]
        {
            if !new.is_null() {
                *kept = new;
            }
        }
    }

    fn start_block(&mut self, index: usize, fields: Map<String, Value>, events: &mut VecDeque<ChatEvent>) {
        /// The most blocks of an answer: an index is a number of the server's choice.
        const MOST: usize = 65_536;
        if index >= MOST {
            return;
        }
        if self.blocks.len() <= index {
            self.blocks.resize_with(index + 1, Block::default);
        }
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut block = Block { start: self.characters, ..Block::default() };
        match text("type").as_str() {
            "text" => self.say(text("text"), events),
            "thinking" => reason(text("thinking"), events),
            "tool_use" => {
                let (id, name) = (text("id"), text("name"));
                block.call = Some(self.calls);
                events.push_back(ChatEvent::ToolCallStarted { index: self.calls, id, name });
                self.calls += 1;
            }
            _ => {}
        }
        if let Some(Value::Array(citations)) = fields.get("citations") {
            block.citations.clone_from(citations);
        }
        block.fields = fields;
        if let Some(place) = self.blocks.get_mut(index) {
            *place = block;
        }
    }

    fn say(&mut self, text: String, events: &mut VecDeque<ChatEvent>) {
        if !text.is_empty() {
            self.characters += text.chars().count() as u64;
            events.push_back(ChatEvent::Text(text));
        }
    }

    fn delta(&mut self, index: usize, delta: Value, events: &mut VecDeque<ChatEvent>) {
        let piece = |name: &str| delta.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(block) = self.blocks.get_mut(index) else { return };
        match delta.get("type").and_then(Value::as_str).unwrap_or_default() {
            "text_delta" => {
                let text = piece("text");
                block.append("text", &text);
                self.say(text, events);
            }
            "thinking_delta" => {
                let text = piece("thinking");
                block.append("thinking", &text);
                reason(text, events);
            }
            "signature_delta" => block.append("signature", &piece("signature")),
            "input_json_delta" => {
                let piece = piece("partial_json");
                block.input.push_str(&piece);
                if let Some(index) = block.call.filter(|_| !piece.is_empty()) {
                    events.push_back(ChatEvent::ToolCallArguments { index, piece });
                }
            }
            "citations_delta" => block.citations.extend(delta.get("citation").cloned()),
            _ => {}
        }
    }

    fn stop_block(&mut self, index: usize, events: &mut VecDeque<ChatEvent>) {
        let end = self.characters;
        let Some(block) = self.blocks.get_mut(index).filter(|block| !block.complete) else { return };
        block.complete = true;
        let in_pieces = !block.input.is_empty();
        let whole = block.fields.get("input").cloned().unwrap_or_default();
        let arguments = match in_pieces {
            true => std::mem::take(&mut block.input),
            false if whole.is_object() => whole.to_string(),
            false => "{}".to_owned(),
        };
        if in_pieces && let Ok(input) = serde_json::from_str::<Value>(&arguments) {
            block.fields.insert("input".to_owned(), input);
        }
        let text = |name: &str| block.fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(index) = block.call {
            if !in_pieces {
                events.push_back(ChatEvent::ToolCallArguments { index, piece: arguments.clone() });
            }
            let call = ToolCall::new(text("id"), text("name"), arguments);
            events.push_back(ChatEvent::ToolCall { index, call });
        } else if let Some(part) = server_part(&block.fields) {
            events.push_back(ChatEvent::Part { part });
        }
        if !block.citations.is_empty() {
            block.fields.insert("citations".to_owned(), block.citations.clone().into());
        }
        let citations = block.citations.iter().map(|citation| annotation(citation, block.start, end));
        events.extend(citations.map(|annotation| ChatEvent::Annotation { annotation }));
    }

    /// The last events; none if no reason came, which is an interruption.
    pub(super) fn end(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        let Some(stop_reason) = self.ending.stop_reason.clone() else { return Ok(()) };
        let usage = self.usage.to_usage();
        let reason = finish_reason(&stop_reason);
        let details = &self.ending.stop_details;
        let explanation = details.get("explanation").and_then(Value::as_str).map(str::to_owned);
        let said_nothing = self.characters == 0 && self.calls == 0;
        if reason == FinishReason::ContentFilter && said_nothing {
            return Err(self.identified(refused(explanation.unwrap_or_default(), &usage)));
        }
        let mut metadata = ResponseMetadata {
            id: self.id.take(),
            service_tier: self.usage.service_tier.take(),
            finish_reason: Some(stop_reason),
            finish_message: explanation,
            ..ResponseMetadata::default()
        };
        let further = [
            ("stop_sequence", self.ending.stop_sequence.take().map_or(Value::Null, Value::from)),
            ("stop_details", self.ending.stop_details.take()),
            ("container", self.ending.container.take()),
            ("server_tool_use", self.usage.server_tool_use.take()),
        ];
        let said = further.into_iter().filter(|(_, value)| !value.is_null());
        metadata.further.extend(said.map(|(name, value)| (name.to_owned(), value)));
        events.push_back(ChatEvent::Metadata { metadata });
        events.push_back(ChatEvent::Finish { reason, usage, provider_data: self.kept_blocks() });
        Ok(())
    }

    /// The blocks, where texts and calls alone would not tell them: thinking and its signatures, the provider's tools.
    fn kept_blocks(&mut self) -> ProviderData {
        let blocks = std::mem::take(&mut self.blocks);
        let kind = |block: &Block| block.fields.get("type").and_then(Value::as_str).map(str::to_owned);
        let plain = |block: &Block| {
            matches!(kind(block).as_deref(), Some("text" | "tool_use")) && block.citations.is_empty()
        };
        let calls_first = blocks.windows(2).any(|pair| match pair {
            [a, b] => a.call.is_some() && b.call.is_none(),
            _ => false,
        });
        if blocks.iter().all(plain) && !calls_first {
            return ProviderData::new();
        }
        let blocks = blocks.into_iter().filter(|block| !block.fields.is_empty()).map(|mut block| {
            block.fields.retain(|_, value| !value.is_null());
            Value::Object(block.fields)
        });
        ProviderData::from_iter([(BLOCKS.to_owned(), blocks.collect())])
    }
}

impl Block {
    fn append(&mut self, name: &str, piece: &str) {
        match self.fields.get_mut(name) {
            Some(Value::String(text)) => text.push_str(piece),
            _ => {
                self.fields.insert(name.to_owned(), piece.into());
            }
        }
    }
}

fn reason(text: String, events: &mut VecDeque<ChatEvent>) {
    if !text.is_empty() {
        events.push_back(ChatEvent::Reasoning(text));
    }
}

/// A block that is neither text, thought nor a call of the caller's tools.
fn server_part(fields: &Map<String, Value>) -> Option<Part> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let value = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let kind = text("type");
    match kind.as_str() {
        "" | "text" | "thinking" | "redacted_thinking" => None,
        "server_tool_use" => {
            Some(Part::ServerToolCall { id: text("id"), name: text("name"), arguments: value("input") })
        }
        kind if kind.ends_with("_tool_result") => Some(Part::ServerToolResult {
            id: text("tool_use_id"),
            name: kind.trim_end_matches("_tool_result").to_owned(),
            result: value("content"),
        }),
        _ => Some(Part::Raw { data: Value::Object(fields.clone()) }),
    }
}

/// A citation: the block that it stands on is the part of the answer that it supports.
fn annotation(citation: &Value, start: u64, end: u64) -> Annotation {
    let text = |name: &str| citation.get(name).and_then(Value::as_str).map(str::to_owned);
    let (kind, url) = match text("type").unwrap_or_default().as_str() {
        "web_search_result_location" => (AnnotationKind::Url, text("url")),
        "search_result_location" => (AnnotationKind::Document, text("source")),
        "char_location" | "page_location" | "content_block_location" => (AnnotationKind::Document, None),
        _ => (AnnotationKind::Other, text("url")),
    };
    let annotation = Annotation {
        url,
        title: text("title").or_else(|| text("document_title")),
        file_id: text("file_id"),
        quote: text("cited_text"),
        ..Annotation::new(kind, citation.clone())
    };
    annotation.with_range(Some(start), Some(end))
}
