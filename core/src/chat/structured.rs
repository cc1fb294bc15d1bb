//! Answers as values of the caller's own type.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{AnyChat, ChatRequest, ChatResponse, FinishReason, OutputFormat};
use crate::context::Context;
use crate::error::{Error, Result};

/// An answer that was read as a value, and how its form was enforced.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Structured<T> {
    /// The value.
    pub value: T,
    /// What made the answer keep to its format.
    pub enforcement: Enforcement,
    /// The answer itself.
    pub response: ChatResponse,
}

/// What made an answer keep to its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Enforcement {
    /// A grammar in this process: no token that leaves the format could be chosen.
    Grammar,
    /// The service was asked for the format. How it keeps to that is its own affair; the answer was read here.
    Service,
}

impl AnyChat {
    /// Asks for JSON and reads the answer as a `T`. The request says in which format:
    /// [`OutputFormat::JsonSchema`], or [`OutputFormat::Json`].
    ///
    /// ```
    /// use ayni::backends::scripted::Scripted;
    /// use ayni::{AnyChat, ChatRequest, Context, OutputFormat};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Reply {
    ///     answer: String,
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let chat = AnyChat::new(Scripted::default());
    /// let request = ChatRequest::user("hola").with_output(OutputFormat::Json);
    /// let reply = chat.structured::<Reply>(&Context::new(), request).await?;
    /// assert!(reply.value.answer.contains("hola"));
    /// # Ok::<_, ayni::Error>(())
    /// # })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `invalid_request` if the request asks for no JSON; `response_invalid` if the answer was cut off or is no `T`; those of
    /// the backend.
    pub async fn structured<T: DeserializeOwned>(
        &self,
        cx: &Context,
        request: ChatRequest,
    ) -> Result<Structured<T>> {
        if matches!(request.output, None | Some(OutputFormat::Text)) {
            return Err(Error::invalid_request(
                "`output` is not set: a structured answer needs a JSON format",
            ));
        }
        let response = self.chat(cx, request).await?;
        if response.finish == FinishReason::Length {
            return Err(Error::response_invalid(
                "the answer reached the limit of its tokens before its JSON was complete",
            ));
        }
        let value = serde_json::from_str(&response.text).map_err(|error| {
            Error::response_invalid(format!(
                "the answer is not of the type that was asked for (line {}, column {})",
                error.line(),
                error.column()
            ))
        })?;
        let enforcement = match &*response.route.backend {
            "local" => Enforcement::Grammar,
            _ => Enforcement::Service,
        };
        Ok(Structured { value, enforcement, response })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ChatBackend, ChatStream};
    use super::*;
    use crate::error::ErrorKind;
    use crate::info::{BackendInfo, Route};

    /// Answers with one text, as the backend that it says it is.
    #[derive(Debug)]
    struct Says(BackendInfo, &'static str, FinishReason);

    impl ChatBackend for Says {
        fn info(&self) -> &BackendInfo {
            &self.0
        }

        async fn chat(&self, _: &Context, _: ChatRequest) -> Result<ChatResponse> {
            let mut response = ChatResponse::new(self.1, Route::new(&self.0));
            response.finish = self.2.clone();
            Ok(response)
        }

        async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
            self.chat(cx, request).await.map(ChatStream::from_response)
        }
    }

    async fn ask(backend: &str, says: &'static str, finish: FinishReason) -> Result<Structured<Vec<u8>>> {
        let chat = AnyChat::new(Says(BackendInfo::new(backend, "m"), says, finish));
        chat.structured(&Context::new(), ChatRequest::user("x").with_output(OutputFormat::Json)).await
    }

    #[tokio::test]
    async fn an_answer_is_read_and_says_what_enforced_it() {
        let found = ask("local", "[1, 2]", FinishReason::Stop).await.expect("a value");
        assert_eq!((found.value, found.enforcement), (vec![1, 2], Enforcement::Grammar));
        let found = ask("openai", "[3]", FinishReason::Stop).await.expect("a value");
        assert_eq!(
            (found.value, found.enforcement, found.response.text.as_str()),
            (vec![3], Enforcement::Service, "[3]")
        );
    }

    #[tokio::test]
    async fn answers_of_another_form_are_errors_that_do_not_repeat_them() {
        for (says, finish) in
            [("secret", FinishReason::Stop), ("[1, 2", FinishReason::Length), ("{}", FinishReason::Stop)]
        {
            let error = ask("openai", says, finish).await.expect_err("no list");
            assert_eq!(error.kind(), ErrorKind::ResponseInvalid);
            assert!(!error.to_string().contains("secret"));
        }
        let chat = AnyChat::new(Says(BackendInfo::new("m", "m"), "[]", FinishReason::Stop));
        let error =
            chat.structured::<Vec<u8>>(&Context::new(), ChatRequest::user("x")).await.expect_err("no format");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
}
