//! OpenAI's API `responses`: a conversation as items, and an answer as items.

mod answer;
mod input;
mod reader;
mod request;
mod served;

pub use answer::ResponseEvents;
pub use served::ResponsesRequest;

pub(crate) use answer::response_body;
pub(crate) use reader::ResponseReader;
pub(crate) use request::{ResponsesStyle, responses_body};
#[cfg(feature = "schema")]
pub(crate) use served::ResponsesBody;

/// The key of an answer's items, as they came, in a message's provider data.
const OUTPUT: &str = "output";
/// The key of a stored answer's id in a message's provider data.
const RESPONSE_ID: &str = "response_id";
