//! OpenAI's JSON and ayni's requests and responses, in both directions.
//!
//! A server reads a body, calls a handle and writes the response. A body of the wrong form is an
//! `invalid_request` error that names the field; [`error::status`] and [`error::ErrorBody`] make the HTTP
//! response of any error.
//!
//! ```
//! use ayni::backends::scripted::Scripted;
//! use ayni::wire::openai::chat::{Completion, CompletionHead, CompletionRequest};
//! use ayni::wire::openai::error;
//! use ayni::{AnyChat, Context};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let body = br#"{"model": "m", "messages": [{"role": "user", "content": "hola"}]}"#;
//! let asked = CompletionRequest::read(body)?;
//! let response = AnyChat::new(Scripted::default()).chat(&Context::new(), asked.request).await?;
//! let head = CompletionHead::new("chatcmpl-1", 1_700_000_000, "m");
//! let json = serde_json::to_value(Completion::new(&response, &head)).expect("JSON");
//! assert_eq!(json["choices"][0]["message"]["content"], "You asked: hola");
//!
//! let wrong = CompletionRequest::read(br#"{"model": "m", "messages": [{"role": "boss"}]}"#).unwrap_err();
//! assert_eq!(error::status(&wrong), 422);
//! assert!(wrong.message().starts_with("`messages.0.role`: expected one of"));
//! # Ok::<_, ayni::Error>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod body;
pub mod chat;
pub mod embeddings;
pub mod error;
mod fields;
mod form;
pub mod images;
pub mod models;
pub mod responses;
#[cfg(feature = "schema")]
mod schema;
mod served;
mod tokens;

pub use body::{check_body, check_content_type};
#[cfg(feature = "schema")]
pub use schema::request_schemas;
pub use served::{ServedEvents, ServedHandle, ServedRequest};
pub use tokens::TokensRequest;

/// The most characters of a model's name in a request.
const MAX_MODEL_CHARS: usize = 256;
