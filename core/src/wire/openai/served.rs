//! A request to any of OpenAI's routes, for servers that hand bodies through.

use serde::Serialize;

use super::chat::{
    Completion, CompletionEvents, CompletionHead, CompletionRequest, EventsPiece, TextCompletionRequest, ask,
    ask_streams,
};
use super::check_content_type;
use super::embeddings::{EmbeddingList, EmbeddingsRequest};
use super::images::{EditsRequest, ImageList, ImagesRequest};
use super::responses::{ResponseEvents, ResponsesRequest, response_body};
use super::tokens::{TokenCount, TokensRequest};
use crate::chat::AnyChat;
use crate::context::Context;
use crate::embed::AnyEmbedder;
use crate::error::{Error, ErrorKind, Result};
use crate::image::AnyImageGenerator;

/// A request body of one of the routes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServedRequest {
    /// `/chat/completions`.
    Chat(CompletionRequest),
    /// `/completions`.
    Text(TextCompletionRequest),
    /// `/responses`.
    Responses(ResponsesRequest),
    /// `/embeddings`.
    Embeddings(EmbeddingsRequest),
    /// `/images/generations`.
    Images(ImagesRequest),
    /// `/images/edits`.
    Edits(EditsRequest),
    /// `/tokenize`, which is no route of OpenAI's but of servers that speak its protocol.
    Tokens(TokensRequest),
}

/// What answers a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServedHandle {
    /// For [`ServedRequest::Chat`], [`ServedRequest::Text`], [`ServedRequest::Responses`] and [`ServedRequest::Tokens`].
    Chat(AnyChat),
    /// For [`ServedRequest::Embeddings`] and [`ServedRequest::Tokens`].
    Embedder(AnyEmbedder),
    /// For [`ServedRequest::Images`] and [`ServedRequest::Edits`].
    Images(AnyImageGenerator),
}

impl ServedRequest {
    /// Reads a body of the route `chat`, `completions`, `responses`, `embeddings`, `images`, `edits` or `tokens`.
    ///
    /// # Errors
    /// `invalid_request` for a body of the wrong form, naming the field; `not_found` for another route.
    pub fn read(route: &str, content_type: Option<&str>, body: &[u8]) -> Result<Self> {
        if route == "edits" {
            return EditsRequest::read(content_type, body).map(Self::Edits);
        }
        check_content_type(content_type)?;
        match route {
            "chat" => CompletionRequest::read(body).map(Self::Chat),
            "completions" => TextCompletionRequest::read(body).map(Self::Text),
            "responses" => ResponsesRequest::read(body).map(Self::Responses),
            "embeddings" => EmbeddingsRequest::read(body).map(Self::Embeddings),
            "images" => ImagesRequest::read(body).map(Self::Images),
            "tokens" => TokensRequest::read(body).map(Self::Tokens),
            other => Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "there is no route '{other}'; valid: chat, completions, responses, embeddings, images, edits, tokens"
                ),
            )),
        }
    }

    /// The model that is asked for; only a request for images may name none.
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Chat(asked) => Some(&asked.model),
            Self::Text(asked) => Some(&asked.model),
            Self::Responses(asked) => Some(&asked.model),
            Self::Embeddings(asked) => Some(&asked.model),
            Self::Tokens(asked) => Some(&asked.model),
            Self::Images(asked) => asked.model.as_deref(),
            Self::Edits(asked) => asked.model.as_deref(),
        }
    }

    /// Whether the answer is to come as [`events`](Self::events).
    pub fn streams(&self) -> bool {
        match self {
            Self::Chat(asked) => asked.stream,
            Self::Responses(asked) => asked.stream,
            _ => false,
        }
    }

    /// The JSON of the whole response. `id` and `created` are those of the response; `created` is in seconds since 1970.
    ///
    /// # Errors
    /// Those of the handle; `unsupported` for a handle of another capability.
    pub async fn answer(self, cx: &Context, handle: &ServedHandle, id: &str, created: u64) -> Result<String> {
        match (self, handle) {
            (Self::Chat(mut asked), ServedHandle::Chat(chat)) => {
                let head = CompletionHead::new(id, created, asked.model);
                let response = ask(chat, cx, asked.request, &mut asked.ignored).await?;
                json_text(&Completion::new(&response, &head).with_ignored(&asked.ignored))
            }
            (Self::Text(asked), ServedHandle::Chat(chat)) => {
                let head = CompletionHead::new(id, created, &asked.model);
                json_text(&asked.answer(cx, chat, &head).await?)
            }
            (Self::Responses(asked), ServedHandle::Chat(chat)) => {
                let head = CompletionHead::new(id, created, asked.model.as_str());
                let mut ignored = asked.ignored.clone();
                let response = ask(chat, cx, asked.request.clone(), &mut ignored).await?;
                json_text(&response_body(&response, head, &asked, ignored))
            }
            (Self::Embeddings(mut asked), ServedHandle::Embedder(embedder)) => {
                let (model, encoding) = (asked.model.clone(), asked.encoding_format);
                let ignored = std::mem::take(&mut asked.ignored);
                let response = embedder.embed(cx, asked.request_for(embedder)?).await?;
                json_text(&EmbeddingList::new(&response, &model, encoding).with_ignored(&ignored))
            }
            (Self::Images(asked), ServedHandle::Images(images)) => {
                let response = images.generate(cx, asked.request).await?;
                json_text(&ImageList::new(&response, created).with_ignored(&asked.ignored))
            }
            (Self::Edits(asked), ServedHandle::Images(images)) => {
                let response = images.refine(cx, asked.request).await?;
                json_text(&ImageList::new(&response, created).with_ignored(&asked.ignored))
            }
            (Self::Tokens(asked), handle) => json_text(&TokenCount::of(&asked, handle)?),
            _ => Err(another_capability()),
        }
    }

    /// The response of a chat as server-sent events, opened once the first one is there: a failure before it can still set
    /// the status. `request_id` is the server's own id of the request.
    ///
    /// # Errors
    /// As [`answer`](Self::answer), and `unsupported` for what is no chat.
    pub async fn events(
        self,
        cx: &Context,
        handle: &ServedHandle,
        (id, created): (&str, u64),
        request_id: Option<String>,
    ) -> Result<ServedEvents> {
        match (self, handle) {
            (Self::Chat(mut asked), ServedHandle::Chat(chat)) => {
                let head = CompletionHead::new(id, created, asked.model);
                let streams = ask_streams(chat, cx, asked.request, &mut asked.ignored).await?;
                CompletionEvents::open_all(streams, head, asked.include_usage, request_id, &asked.ignored)
                    .await
                    .map(ServedEvents::Completion)
            }
            (Self::Responses(asked), ServedHandle::Chat(chat)) => {
                let head = CompletionHead::new(id, created, asked.model.as_str());
                let mut ignored = asked.ignored.clone();
                let mut streams = ask_streams(chat, cx, asked.request.clone(), &mut ignored).await?;
                let stream = streams.pop().ok_or_else(another_capability)?;
                ResponseEvents::open(stream, head, &asked, ignored, request_id)
                    .await
                    .map(ServedEvents::Response)
            }
            _ => Err(another_capability()),
        }
    }
}

/// The server-sent events of a streamed answer. Dropping it stops the work.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServedEvents {
    /// Of `/chat/completions`.
    Completion(CompletionEvents),
    /// Of `/responses`.
    Response(ResponseEvents),
}

impl ServedEvents {
    /// Waits for the next event and adds those that have arrived; `None` at the end.
    pub async fn next(&mut self) -> Option<EventsPiece> {
        match self {
            Self::Completion(events) => events.next().await,
            Self::Response(events) => events.next().await,
        }
    }
}

fn another_capability() -> Error {
    Error::unsupported("this handle cannot answer a request of this route")
}

fn json_text<T: Serialize>(body: &T) -> Result<String> {
    serde_json::to_string(body).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the answer cannot be written as JSON").with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::scripted::Scripted;

    fn read(route: &str, body: &str) -> Result<ServedRequest> {
        ServedRequest::read(route, Some("application/json"), body.as_bytes())
    }

    #[tokio::test]
    async fn every_route_is_answered_by_its_own_capability() {
        let chat = ServedHandle::Chat(AnyChat::new(Scripted::default()));
        let embedder = ServedHandle::Embedder(AnyEmbedder::new(Scripted::default()));
        let images = ServedHandle::Images(AnyImageGenerator::new(Scripted::default()));
        for (route, body, handle, other) in [
            ("chat", r#"{"model": "m", "messages": [{"role": "user", "content": "a"}]}"#, &chat, &images),
            ("embeddings", r#"{"model": "m", "input": "a"}"#, &embedder, &chat),
            ("images", r#"{"model": "m", "prompt": "a"}"#, &images, &embedder),
        ] {
            let asked = read(route, body).unwrap();
            assert_eq!((asked.model(), asked.streams()), (Some("m"), false), "{route}");
            let text = asked.clone().answer(&Context::new(), handle, "id-1", 7).await.unwrap();
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(json.is_object(), "{route}: {text}");
            let wrong = asked.answer(&Context::new(), other, "id-1", 7).await.unwrap_err();
            assert_eq!(wrong.kind(), ErrorKind::Unsupported, "{route}");
        }
        let streamed =
            read("chat", r#"{"model": "m", "stream": true, "messages": [{"role": "user", "content": "a"}]}"#)
                .unwrap();
        assert!(streamed.streams());
        let mut events = streamed.events(&Context::new(), &chat, ("id-1", 7), None).await.unwrap();
        assert!(events.next().await.unwrap().text.contains("id-1"));
        assert_eq!(read("audio", "{}").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(read("chat", "{}").unwrap_err().kind(), ErrorKind::InvalidRequest);
    }
}
