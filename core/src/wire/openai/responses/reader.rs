//! An answer, as a client reads it: items, whole or in the events of a stream, become chat events.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use super::{OUTPUT, RESPONSE_ID};
use crate::chat::{ChatEvent, FinishReason, Part, ProviderData, ResponseMetadata, ToolCall};
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::info::{Route, Usage};
use crate::media::ImageData;
use crate::wire::openai::chat::{read_annotation, read_logprobs, read_usage, refused};

/// Reads one answer.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    /// Who serves, before the caller has been told.
    unannounced: Option<Route>,
    request_id: Option<String>,
    /// The items as they came.
    items: Vec<Value>,
    /// The items of which pieces were told, by their place in the answer.
    told: Vec<u64>,
    /// The calls: their place in the answer.
    calls: Vec<u64>,
    /// The place of the last summary of reasoning, and its number.
    summary: Option<(u64, u64)>,
    has_text: bool,
    refusal: String,
    response: Map<String, Value>,
    ended: bool,
}

impl ResponseReader {
    /// A reader that knows who serves as far as the answer itself does not say.
    pub(crate) fn new(route: Route) -> Self {
        Self {
            request_id: route.request_id.clone(),
            unannounced: Some(route),
            items: Vec::new(),
            told: Vec::new(),
            calls: Vec::new(),
            summary: None,
            has_text: false,
            refusal: String::new(),
            response: Map::new(),
            ended: false,
        }
    }

    /// Whether the answer said that it is complete.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Adds the backend's id of the request to an error that has none.
    pub(crate) fn identified(&self, error: Error) -> Error {
        match (&self.request_id, error.request_id()) {
            (Some(id), None) => error.with_request_id(id.clone()),
            _ => error,
        }
    }

    /// Reads a whole answer.
    ///
    /// # Errors
    /// `response_invalid` where it is none; `content_rejected` for a refusal; `interrupted` where it is not complete.
    pub(crate) fn whole(&mut self, response: Value, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        let Value::Object(mut fields) = response else { return Err(wrong_shape()) };
        let Some(Value::Array(items)) = fields.remove("output") else { return Err(wrong_shape()) };
        self.response = fields;
        self.announce(events);
        for (place, item) in items.into_iter().enumerate() {
            self.item_done(place as u64, item, events);
        }
        self.finish(events)
    }

    /// Reads one event of a stream. An event that reports a failure gives the object that describes it.
    ///
    /// # Errors
    /// Those of [`whole`](Self::whole).
    pub(crate) fn event(
        &mut self,
        mut event: Value,
        events: &mut VecDeque<ChatEvent>,
    ) -> Result<Option<Value>> {
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let place = event.get("output_index").and_then(Value::as_u64).unwrap_or_default();
        let mut take = |name: &str| event.get_mut(name).map(Value::take).unwrap_or_default();
        match kind.as_str() {
            "response.created" | "response.in_progress" | "response.queued" => {
                if let Value::Object(response) = take("response") {
                    self.response = response;
                }
                self.announce(events);
            }
            "response.output_item.added" => self.item_added(place, &take("item"), events),
            "response.output_text.delta" => {
                let logprobs = read_logprobs(&serde_json::json!({ "content": take("logprobs") }));
                self.text(place, take("delta"), events);
                if !logprobs.is_empty() {
                    events.push_back(ChatEvent::Logprobs(logprobs));
                }
            }
            "response.refusal.delta" => self.refusal.push_str(take("delta").as_str().unwrap_or_default()),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                let part = take("summary_index").as_u64().or(take("content_index").as_u64());
                self.reasoning(place, part.unwrap_or_default(), take("delta"), events);
            }
            "response.function_call_arguments.delta" => {
                if let (Some(index), Value::String(piece)) = (self.index_of(place), take("delta")) {
                    self.tell(place);
                    events.push_back(ChatEvent::ToolCallArguments { index, piece });
                }
            }
            "response.output_text.annotation.added" => {
                self.announce(events);
                events.push_back(ChatEvent::Annotation { annotation: read_annotation(take("annotation")) });
            }
            "response.output_item.done" => self.item_done(place, take("item"), events),
            "response.completed" | "response.incomplete" => {
                if let Value::Object(response) = take("response") {
                    self.response = response;
                }
                self.finish(events)?;
            }
            "response.failed" => return Ok(Some(take("response"))),
            "error" => return Ok(Some(event)),
            _ => {}
        }
        Ok(None)
    }

    /// Tells who serves, before anything else is told.
    fn announce(&mut self, events: &mut VecDeque<ChatEvent>) {
        if let Some(route) = self.unannounced.take() {
            let model = self.response.get("model").and_then(Value::as_str);
            events.push_back(ChatEvent::Started { route: route.with_model(model) });
        }
    }

    fn tell(&mut self, place: u64) {
        if !self.told.contains(&place) {
            self.told.push(place);
        }
    }

    fn text(&mut self, place: u64, piece: Value, events: &mut VecDeque<ChatEvent>) {
        if let Value::String(text) = piece
            && !text.is_empty()
        {
            self.announce(events);
            self.tell(place);
            self.has_text = true;
            events.push_back(ChatEvent::Text(text));
        }
    }

    /// A piece of a summary; the parts of summaries are told apart by an empty line.
    fn reasoning(&mut self, place: u64, part: u64, piece: Value, events: &mut VecDeque<ChatEvent>) {
        let Value::String(text) = piece else { return };
        self.announce(events);
        self.tell(place);
        if self.summary.is_some_and(|last| last != (place, part)) {
            events.push_back(ChatEvent::Reasoning("\n\n".to_owned()));
        }
        self.summary = Some((place, part));
        events.push_back(ChatEvent::Reasoning(text));
    }

    fn index_of(&self, place: u64) -> Option<usize> {
        self.calls.iter().position(|call| *call == place)
    }

    fn item_added(&mut self, place: u64, item: &Value, events: &mut VecDeque<ChatEvent>) {
        if item.get("type").and_then(Value::as_str) != Some("function_call") || self.index_of(place).is_some()
        {
            return;
        }
        self.announce(events);
        let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        self.calls.push(place);
        let index = self.calls.len() - 1;
        events.push_back(ChatEvent::ToolCallStarted { index, id: text("call_id"), name: text("name") });
    }

    /// An item that is complete. What its pieces have told already is not told again.
    fn item_done(&mut self, place: u64, item: Value, events: &mut VecDeque<ChatEvent>) {
        self.announce(events);
        let told = self.told.contains(&place);
        let kind = item.get("type").and_then(Value::as_str).unwrap_or_default();
        match kind {
            "message" if !told => self.whole_message(place, &item, events),
            "reasoning" if !told => self.whole_reasoning(place, &item, events),
            "message" | "reasoning" => {}
            "function_call" => {
                self.item_added(place, &item, events);
                self.call_done(place, &item, told, events);
            }
            kind => events.extend(server_part(kind, &item).map(|part| ChatEvent::Part { part })),
        }
        self.items.push(item);
    }

    fn whole_message(&mut self, place: u64, item: &Value, events: &mut VecDeque<ChatEvent>) {
        for part in item.get("content").and_then(Value::as_array).into_iter().flatten() {
            if let Some(refusal) = part.get("refusal").and_then(Value::as_str) {
                // In a stream the pieces of a refusal were read already.
                if self.refusal.is_empty() {
                    self.refusal.push_str(refusal);
                }
                continue;
            }
            self.text(place, part.get("text").cloned().unwrap_or_default(), events);
            let annotations = part.get("annotations").and_then(Value::as_array).into_iter().flatten();
            events.extend(
                annotations.map(|one| ChatEvent::Annotation { annotation: read_annotation(one.clone()) }),
            );
            let logprobs = read_logprobs(&serde_json::json!({ "content": part.get("logprobs") }));
            if !logprobs.is_empty() {
                events.push_back(ChatEvent::Logprobs(logprobs));
            }
        }
    }

    fn whole_reasoning(&mut self, place: u64, item: &Value, events: &mut VecDeque<ChatEvent>) {
        for list in ["summary", "content"] {
            let parts = item.get(list).and_then(Value::as_array).into_iter().flatten();
            let texts: Vec<Value> = parts.filter_map(|part| part.get("text").cloned()).collect();
            for (number, text) in texts.into_iter().enumerate() {
                self.reasoning(place, number as u64, text, events);
            }
        }
    }

    fn call_done(&mut self, place: u64, item: &Value, told: bool, events: &mut VecDeque<ChatEvent>) {
        let Some(index) = self.index_of(place) else { return };
        let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let call = ToolCall::new(text("call_id"), text("name"), text("arguments"));
        if !told {
            events.push_back(ChatEvent::ToolCallArguments { index, piece: call.arguments.clone() });
        }
        events.push_back(ChatEvent::ToolCall { index, call });
    }

    /// The last events.
    fn finish(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        self.ended = true;
        self.announce(events);
        let usage = self.response.get("usage").map_or_else(Usage::default, read_usage);
        let reason = self.finish_reason()?;
        let mut metadata = self.metadata();
        if !self.refusal.is_empty() {
            let refusal = std::mem::take(&mut self.refusal);
            if !self.has_text && self.calls.is_empty() {
                return Err(self.identified(refused(refusal, &usage)));
            }
            metadata.finish_message = Some(refusal);
        }
        let mut provider_data = ProviderData::new();
        if let Some(id) = &metadata.id {
            provider_data.insert(RESPONSE_ID.to_owned(), id.as_str().into());
        }
        let plain = |item: &Value| item.get("type").and_then(Value::as_str) == Some("message");
        let items = std::mem::take(&mut self.items);
        if !items.iter().all(plain) {
            provider_data.insert(OUTPUT.to_owned(), items.into());
        }
        events.push_back(ChatEvent::Metadata { metadata });
        events.push_back(ChatEvent::Finish { reason, usage, provider_data });
        Ok(())
    }

    fn finish_reason(&self) -> Result<FinishReason> {
        let status = self.response.get("status").and_then(Value::as_str).unwrap_or("completed");
        let details = self.response.get("incomplete_details");
        let why = details.and_then(|details| details.get("reason")?.as_str());
        Ok(match (status, why) {
            ("completed", _) if !self.calls.is_empty() => FinishReason::ToolCalls,
            ("completed", _) => FinishReason::Stop,
            ("incomplete", Some("max_output_tokens")) => FinishReason::Length,
            ("incomplete", Some("content_filter")) => FinishReason::ContentFilter,
            ("incomplete", Some(other)) => FinishReason::Other(other.to_owned()),
            (status, _) => {
                let message = format!("the answer is not complete: its status is '{status}'");
                return Err(Error::new(ErrorKind::Interrupted, message).with_sent(Sent::Yes));
            }
        })
    }

    fn metadata(&mut self) -> ResponseMetadata {
        /// What is told of an answer; the rest repeats the request.
        const TOLD: [&str; 6] = [
            "incomplete_details",
            "moderation",
            "tool_usage",
            "conversation",
            "prompt_cache_diagnostics",
            "completed_at",
        ];
        let text = |name: &str| self.response.get(name).and_then(Value::as_str).map(str::to_owned);
        let further = TOLD.iter().filter_map(|name| {
            let value = self.response.get(*name).filter(|value| !value.is_null())?;
            Some(((*name).to_owned(), value.clone()))
        });
        ResponseMetadata {
            id: text("id"),
            service_tier: text("service_tier"),
            finish_reason: text("status"),
            further: further.collect(),
            ..ResponseMetadata::default()
        }
    }
}

/// An item that is neither text, reasoning nor a call of the caller's tools.
fn server_part(kind: &str, item: &Value) -> Option<Part> {
    if kind.is_empty() {
        return None;
    }
    if kind == "image_generation_call"
        && let Some(image) = item.get("result").and_then(Value::as_str)
        && let Ok(image) = ImageData::from_base64(image)
    {
        return Some(Part::image(image));
    }
    match kind.strip_suffix("_call") {
        Some(name) => {
            let id = item.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            Some(Part::ServerToolCall { id, name: name.to_owned(), arguments: item.clone() })
        }
        None => Some(Part::Raw { data: item.clone() }),
    }
}

fn wrong_shape() -> Error {
    Error::response_invalid("the answer is JSON, but not of the shape that the API `responses` promises")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::input::message_text;
    use super::*;
    use crate::info::BackendInfo;

    #[test]
    fn the_text_of_a_message_is_that_of_its_parts() {
        let item =
            json!({ "type": "message", "content": [{ "text": "a" }, { "refusal": "no" }, { "text": "b" }] });
        assert_eq!(message_text(&item), "ab");
    }

    #[test]
    fn an_answer_that_still_runs_is_interrupted() {
        let mut reader = ResponseReader::new(Route::new(&BackendInfo::new("openai", "m")));
        let queued = json!({ "status": "queued", "output": [] });
        let error = reader.whole(queued, &mut VecDeque::new()).expect_err("not complete");
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    }
}
