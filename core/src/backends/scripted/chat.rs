//! Answers built from the question.

use std::fmt::Write as _;

use futures_util::stream;
use serde_json::json;

use super::{Scripted, ScriptedReply, schema};
use crate::chat::{
    ChatBackend, ChatEvent, ChatRequest, ChatResponse, ChatStream, FinishReason, Message, OutputFormat, Part,
    ReasoningEffort, Role, TokenLogprob, Tool, ToolCall, ToolChoice,
};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::info::{BackendInfo, Route, Usage};

impl ChatBackend for Scripted {
    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        self.begin(cx).await?;
        self.answer(&request)
    }

    async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
        self.begin(cx).await?;
        let answer = self.answer(&request)?;
        Ok(ChatStream::new(stream::iter(WordEvents::new(answer).map(Ok))))
    }
}

impl Scripted {
    fn answer(&self, request: &ChatRequest) -> Result<ChatResponse> {
        request.check()?;
        let reply = match self.next_reply() {
            Some(reply) => reply.clone(),
            None => built_reply(request)?,
        };
        let mut response = ChatResponse::new(reply.text, Route::new(&self.0.info));
        response.reasoning = reply.reasoning;
        if !reply.tool_calls.is_empty() {
            response.finish = FinishReason::ToolCalls;
            response.tool_calls = reply.tool_calls;
        }
        cut(&mut response, request);
        if let Some(alternatives) = request.logprobs {
            response.logprobs = words(&response.text).map(|word| certain(word, alternatives)).collect();
        }
        let input = request.messages.iter().flat_map(texts).map(count_words).sum::<u64>();
        response.usage = Usage::new(input, count_words(&response.text));
        Ok(response)
    }
}

fn built_reply(request: &ChatRequest) -> Result<ScriptedReply> {
    let reasoning = request.reasoning.is_some_and(|effort| effort != ReasoningEffort::None);
    let reply = ScriptedReply {
        reasoning: reasoning.then(|| format!("The script has {} messages.", request.messages.len())),
        ..ScriptedReply::default()
    };
    if let Some(tool) = chosen_tool(request)? {
        let arguments = schema::instance(&tool.parameters, &question(request)).to_string();
        return Ok(reply.with_tool_calls([ToolCall::new("call_0", tool.name.as_str(), arguments)]));
    }
    let text = match &request.output {
        Some(OutputFormat::Json) => json!({ "answer": answer_text(request) }).to_string(),
        Some(OutputFormat::JsonSchema { schema, .. }) => {
            schema::instance(schema, &question(request)).to_string()
        }
        _ => answer_text(request),
    };
    Ok(ScriptedReply { text, ..reply })
}

/// The tool that must be called, if any.
fn chosen_tool(request: &ChatRequest) -> Result<Option<&Tool>> {
    let tool = match &request.tool_choice {
        Some(ToolChoice::Required) => request.tools.first(),
        Some(ToolChoice::Tool(name)) => request.tools.iter().find(|tool| tool.name == *name),
        _ => return Ok(None),
    };
    match tool {
        Some(tool) => Ok(Some(tool)),
        None => Err(Error::invalid_request("the tool that must be called is not among the tools offered")),
    }
}

/// The texts of a message.
fn texts(message: &Message) -> impl Iterator<Item = &str> {
    message.content.parts().iter().filter_map(|part| match part {
        Part::Text { text } => Some(text.as_str()),
        _ => None,
    })
}

/// The last message that asks something.
fn asked(request: &ChatRequest) -> Option<&Message> {
    let mut newest_first = request.messages.iter().rev();
    newest_first.find(|message| matches!(message.role, Role::User | Role::Tool))
}

fn question(request: &ChatRequest) -> String {
    asked(request).map(|message| message.content.to_text()).unwrap_or_default()
}

/// The question, the system messages, and the number of images.
fn answer_text(request: &ChatRequest) -> String {
    let mut answer = String::with_capacity(64);
    answer.push_str("You asked:");
    if let Some(message) = asked(request) {
        for text in texts(message) {
            answer.push(' ');
            answer.push_str(text);
        }
        let images = message.content.parts().len() - texts(message).count();
        if images > 0 {
            // Writing to a String cannot fail.
            let _ = write!(answer, " (with {images} images)");
        }
    }
    for system in request.messages.iter().filter(|message| message.role.instructs()) {
        for text in texts(system) {
            answer.push_str("\nI was told: ");
            answer.push_str(text);
        }
    }
    answer
}

/// Truncates the text at stop sequences and at `max_tokens`.
fn cut(response: &mut ChatResponse, request: &ChatRequest) {
    let stops = request.stop.iter().filter(|stop| !stop.is_empty());
    if let Some(at) = stops.filter_map(|stop| response.text.find(stop.as_str())).min() {
        response.text.truncate(at);
    }
    let Some(most) = request.max_tokens else { return };
    let kept: usize = words(&response.text).take(most as usize).map(str::len).sum();
    if kept < response.text.len() {
        response.text.truncate(kept);
        response.finish = FinishReason::Length;
    }
}

/// The pieces of a text: words with the white space after them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(char::is_whitespace)
}

fn count_words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// A deterministic token has probability one.
fn certain(word: &str, alternatives: u8) -> TokenLogprob {
    let top = if alternatives > 0 { vec![(word.to_owned(), 0.0)] } else { Vec::new() };
    TokenLogprob::new(word, 0.0).with_top(top)
}

/// The events of an answer, word by word.
struct WordEvents {
    started: Option<Route>,
    reasoning: Option<String>,
    text: String,
    said: usize,
    calls: std::vec::IntoIter<ChatEvent>,
    logprobs: Vec<TokenLogprob>,
    finish: Option<ChatEvent>,
}

impl WordEvents {
    fn new(answer: ChatResponse) -> Self {
        let mut calls = Vec::new();
        for (index, call) in answer.tool_calls.into_iter().enumerate() {
            calls.push(ChatEvent::ToolCallStarted { index, id: call.id.clone(), name: call.name.clone() });
            calls.push(ChatEvent::ToolCallArguments { index, piece: call.arguments.clone() });
            calls.push(ChatEvent::ToolCall { index, call });
        }
        Self {
            started: Some(answer.route),
            reasoning: answer.reasoning,
            text: answer.text,
            said: 0,
            calls: calls.into_iter(),
            logprobs: answer.logprobs,
            finish: Some(ChatEvent::finish(answer.finish, answer.usage)),
        }
    }

    fn next_word(&mut self) -> Option<ChatEvent> {
        let word = words(self.text.get(self.said..)?).next()?.to_owned();
        self.said += word.len();
        Some(ChatEvent::Text(word))
    }

    fn take_logprobs(&mut self) -> Option<ChatEvent> {
        let logprobs = std::mem::take(&mut self.logprobs);
        (!logprobs.is_empty()).then_some(ChatEvent::Logprobs(logprobs))
    }
}

impl Iterator for WordEvents {
    type Item = ChatEvent;

    fn next(&mut self) -> Option<ChatEvent> {
        if let Some(route) = self.started.take() {
            return Some(ChatEvent::Started { route });
        }
        if let Some(reasoning) = self.reasoning.take() {
            return Some(ChatEvent::Reasoning(reasoning));
        }
        self.next_word()
            .or_else(|| self.calls.next())
            .or_else(|| self.take_logprobs())
            .or_else(|| self.finish.take())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use serde_json::json;

    use super::super::{NAME, ScriptedConfig};
    use super::*;
    use crate::{AnyChat, ErrorKind};

    async fn chat(request: ChatRequest) -> Result<ChatResponse> {
        AnyChat::new(Scripted::default()).chat(&Context::new(), request).await
    }

    #[tokio::test]
    async fn the_answer_is_built_from_the_question_and_the_instruction() {
        let request = ChatRequest::user("¿Qué tomo?").with_system("Paciente con alergia");
        let response = chat(request.clone()).await.expect("an answer");
        assert_eq!(response.text, "You asked: ¿Qué tomo?\nI was told: Paciente con alergia");
        assert_eq!(chat(request).await.expect("an answer"), response);
        assert_eq!(response.usage, Usage::new(5, 10));
    }

    #[tokio::test]
    async fn a_stream_says_the_same_as_the_answer_in_one_piece() {
        let backend = AnyChat::new(Scripted::default());
        let request = ChatRequest::user("uno dos tres")
            .with_reasoning(ReasoningEffort::Low)
            .with_logprobs(1)
            .with_tools([Tool::new("look", "", json!({"type": "object"}))])
            .with_tool_choice(ToolChoice::Auto);
        let whole = backend.chat(&Context::new(), request.clone()).await.expect("an answer");
        let events = backend.stream(&Context::new(), request.clone()).await.expect("a stream");
        let texts = events.filter(|event| std::future::ready(matches!(event, Ok(ChatEvent::Text(_)))));
        assert_eq!(texts.count().await, 5);
        let events = backend.stream(&Context::new(), request).await.expect("a stream");
        assert_eq!(events.collect_response(backend.info()).await.expect("complete"), whole);
    }

    #[tokio::test]
    async fn max_tokens_counts_words_and_says_so() {
        let response = chat(ChatRequest::user("uno dos tres").with_max_tokens(3)).await.expect("an answer");
        assert_eq!((response.text.as_str(), response.finish), ("You asked: uno ", FinishReason::Length));
        let response = chat(ChatRequest::user("uno").with_max_tokens(3)).await.expect("an answer");
        assert_eq!(response.finish, FinishReason::Stop);
    }

    #[tokio::test]
    async fn a_stop_text_ends_the_answer_before_it() {
        let response = chat(ChatRequest::user("uno dos tres").with_stop(["tres", "dos"])).await;
        assert_eq!(response.expect("an answer").text, "You asked: uno ");
    }

    #[tokio::test]
    async fn a_required_tool_is_called_with_arguments_that_its_schema_takes() {
        let schema =
            json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}});
        let request = ChatRequest::user("Arica")
            .with_tools([Tool::new("weather", "", schema.clone()), Tool::new("time", "", json!({}))])
            .with_tool_choice(ToolChoice::Required);
        let response = chat(request.clone()).await.expect("an answer");
        assert_eq!((response.text.as_str(), response.finish), ("", FinishReason::ToolCalls));
        let arguments = response.tool_calls[0].parse_arguments().expect("JSON");
        assert!(jsonschema::is_valid(&schema, &arguments));
        assert_eq!(arguments, json!({"city": "Arica"}));
        let other = chat(request.with_tool_choice(ToolChoice::Tool("nobody".into()))).await;
        assert_eq!(other.expect_err("refused").kind(), ErrorKind::InvalidRequest);
    }

    #[tokio::test]
    async fn json_is_what_was_asked_for() {
        let any = chat(ChatRequest::user("uno").with_output(OutputFormat::Json)).await.expect("an answer");
        assert_eq!(any.text, r#"{"answer":"You asked: uno"}"#);
        let schema = json!({"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}});
        let output = OutputFormat::json_schema("s", schema, true);
        let shaped = chat(ChatRequest::user("uno").with_output(output)).await.expect("an answer");
        assert_eq!(shaped.text, r#"{"ok":false}"#);
    }

    #[tokio::test]
    async fn replies_come_first_in_their_order() {
        let replies = [ScriptedReply::new("si").with_reasoning("hm"), ScriptedReply::new("no")];
        let config = ScriptedConfig::default().with_replies(replies);
        let backend = AnyChat::new(Scripted::new(config).expect("valid"));
        let first = backend.chat(&Context::new(), ChatRequest::user("?")).await.expect("an answer");
        assert_eq!((first.text.as_str(), first.reasoning.as_deref()), ("si", Some("hm")));
        assert_eq!(backend.ask(&Context::new(), "?").await.expect("an answer"), "no");
        assert_eq!(backend.ask(&Context::new(), "?").await.expect("an answer"), "You asked: ?");
    }

    #[tokio::test]
    async fn an_empty_conversation_is_refused() {
        for request in [ChatRequest::default(), ChatRequest::user("")] {
            let error = chat(request).await.expect_err("refused");
            assert_eq!((error.kind(), error.backend()), (ErrorKind::InvalidRequest, Some(NAME)));
        }
    }
}
