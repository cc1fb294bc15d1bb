//! What goes over the wire: the request as OpenAI's protocol writes it, and the answer read as leniently as
//! the many servers that "speak" the protocol make necessary.

mod answer;
mod calls;
mod piece;
mod request;

pub(super) use answer::Answer;
pub(super) use calls::{Calls, merge};
pub(super) use request::{Streaming, body};
