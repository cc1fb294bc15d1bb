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
