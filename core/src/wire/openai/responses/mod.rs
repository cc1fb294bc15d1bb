//! OpenAI's API `responses`: a conversation as items, and an answer as items.

mod input;
mod reader;
mod request;

pub(crate) use reader::ResponseReader;
pub(crate) use request::{ResponsesStyle, responses_body};

/// The key of an answer's items, as they came, in a message's provider data.
const OUTPUT: &str = "output";
/// The key of a stored answer's id in a message's provider data.
const RESPONSE_ID: &str = "response_id";
