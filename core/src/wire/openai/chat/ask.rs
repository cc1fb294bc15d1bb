//! How a server asks a backend what its client asked: what the backend lacks and does not decide the answer is left out and
//! named, and several answers are asked for one by one where the backend gives one a call.

use futures_util::future::try_join_all;
use url::Url;

use super::request::field_name;
use crate::chat::{AnyChat, ChatRequest, ChatResponse, ChatStream, Part};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::http::address::is_public_url;
use crate::info::Usage;
use crate::wire::openai::body::about;

/// Asks for whole answers; adds to `ignored` what was left out.
pub(crate) async fn ask(
    chat: &AnyChat,
    cx: &Context,
    mut request: ChatRequest,
    ignored: &mut Vec<String>,
) -> Result<ChatResponse> {
    loop {
        let error = match chat.chat(cx, request.clone()).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        match lacking(&error) {
            Some("choices") if request.choices.is_some_and(|count| count > 1) => {
                return one_by_one(chat, cx, &request).await;
            }
            Some(option) if leave_out(&mut request, option) => ignored.push(field_name(option)),
            _ => return Err(error),
        }
    }
}

/// Asks for streams, one an answer; adds to `ignored` what was left out.
pub(crate) async fn ask_streams(
    chat: &AnyChat,
    cx: &Context,
    mut request: ChatRequest,
    ignored: &mut Vec<String>,
) -> Result<Vec<ChatStream>> {
    let count = request.choices.take().unwrap_or(1);
    loop {
        let streams = (0..count).map(|number| chat.stream(cx, nth(&request, number)));
        let error = match try_join_all(streams).await {
            Ok(streams) => return Ok(streams),
            Err(error) => error,
        };
        match lacking(&error) {
            Some(option) if leave_out(&mut request, option) => ignored.push(field_name(option)),
            _ => return Err(error),
        }
    }
}

/// The option that the backend does not have. Nothing has been sent then.
fn lacking(error: &Error) -> Option<&str> {
    let is_refused = error.kind() == ErrorKind::Unsupported && error.sent() == Sent::No;
    let option = error.context().iter().find(|(name, _)| *name == "option").filter(|_| is_refused);
    option.map(|(_, option)| option.as_str())
}

/// Leaves an option out that tunes the answer. What decides its form or content (tools, formats, log-probabilities) stays.
fn leave_out(request: &mut ChatRequest, option: &str) -> bool {
    match option {
        "temperature" => request.temperature.take().is_some(),
        "top_p" => request.top_p.take().is_some(),
        "top_k" => request.top_k.take().is_some(),
        "frequency_penalty" => request.frequency_penalty.take().is_some(),
        "presence_penalty" => request.presence_penalty.take().is_some(),
        "seed" => request.seed.take().is_some(),
        "reasoning" | "reasoning_effort" => request.reasoning.take().is_some(),
        "logit_bias" | "guided_grammar" | "guided_regex" => false,
        other => request.extra.shift_remove(other).is_some(),
    }
}

async fn one_by_one(chat: &AnyChat, cx: &Context, request: &ChatRequest) -> Result<ChatResponse> {
    let count = request.choices.unwrap_or(1);
    let answers = (0..count).map(|number| chat.chat(cx, nth(request, number)));
    let mut answers = try_join_all(answers).await?.into_iter();
    let mut first = answers.next().ok_or_else(|| Error::response_invalid("there is no answer"))?;
    for other in answers {
        first.usage = first.usage.plus(Usage { input_tokens: None, cached_tokens: None, ..other.usage });
        first.alternatives.push(other.into());
    }
    Ok(first)
}

/// The request for one of several answers, with draws of its own.
fn nth(request: &ChatRequest, number: u32) -> ChatRequest {
    let seed = request.seed.map(|seed| seed.wrapping_add(u64::from(number)));
    ChatRequest { choices: None, seed, ..request.clone() }
}

/// Refuses addresses that the backend would fetch for a stranger from its own machine or network.
///
/// # Errors
/// `invalid_request` naming the message.
pub(crate) fn check_addresses(request: &ChatRequest) -> Result<()> {
    for (index, message) in request.messages.iter().enumerate() {
        for part in message.content.parts() {
            let (Part::ImageUrl { url, .. } | Part::FileUrl { url, .. }) = part else { continue };
            if !Url::parse(url).is_ok_and(|url| is_public_url(&url)) {
                let field = format!("messages.{index}.content");
                let message = format!(
                    "`{field}`: an address must begin with https:// or http:// and name a public host"
                );
                return Err(about(&field, Error::invalid_request(message)));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use serde_json::json;

    use super::*;
    use crate::chat::{ChatBackend, ChatEvent, FinishReason};
    use crate::info::{BackendInfo, Route};

    /// Gives one answer a call, and has neither seeds nor `min_p`.
    #[derive(Debug)]
    struct Picky(BackendInfo);

    impl Picky {
        fn check(&self, request: &ChatRequest) -> Result<()> {
            request.check()?;
            let refused =
                |option: &str| Err(Error::unsupported_option(option, format!("no `{option}` here")));
            match () {
                () if request.seed.is_some() => refused("seed"),
                () if request.extra.contains_key("min_p") => refused("min_p"),
                () if !request.tools.is_empty() => refused("tools"),
                () => Ok(()),
            }
        }
    }

    impl ChatBackend for Picky {
        fn info(&self) -> &BackendInfo {
            &self.0
        }

        async fn chat(&self, _: &Context, request: ChatRequest) -> Result<ChatResponse> {
            self.check(&request)?;
            Ok(ChatResponse::new("yes", Route::new(&self.0)))
        }

        async fn stream(&self, _: &Context, request: ChatRequest) -> Result<ChatStream> {
            self.check(&request)?;
            Ok(ChatStream::from_response(ChatResponse::new("yes", Route::new(&self.0))))
        }
    }

    fn picky() -> AnyChat {
        AnyChat::new(Picky(BackendInfo::new("picky", "m")))
    }

    #[tokio::test]
    async fn what_the_backend_lacks_is_left_out_and_named_and_several_answers_are_asked_for_one_by_one() {
        let cx = Context::new();
        let request = ChatRequest::user("x").with_seed(7).with_extra("min_p", 0.1).with_choices(3);
        let mut ignored = Vec::new();
        let answer = ask(&picky(), &cx, request.clone(), &mut ignored).await.unwrap();
        assert_eq!((answer.text.as_str(), answer.alternatives.len()), ("yes", 2));
        assert_eq!(ignored, ["seed", "min_p"]);
        let mut ignored = Vec::new();
        let streams = ask_streams(&picky(), &cx, request, &mut ignored).await.unwrap();
        assert_eq!((streams.len(), ignored.as_slice()), (3, &["seed".to_owned(), "min_p".to_owned()][..]));
        for mut stream in streams {
            let mut finish = None;
            while let Some(event) = stream.next().await {
                if let ChatEvent::Finish { reason, .. } = event.unwrap() {
                    finish = Some(reason);
                }
            }
            assert_eq!(finish, Some(FinishReason::Stop));
        }
    }

    #[tokio::test]
    async fn what_decides_the_answer_is_not_left_out() {
        let tool = crate::chat::Tool::new("look", "", json!({ "type": "object" }));
        let request = ChatRequest::user("x").with_tools([tool]);
        let mut ignored = Vec::new();
        let error = ask(&picky(), &Context::new(), request, &mut ignored).await.unwrap_err();
        assert_eq!((error.kind(), ignored.len()), (ErrorKind::Unsupported, 0));
    }
}
