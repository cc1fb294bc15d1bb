//! JSON that several backends and servers share.
//!
//! [`openai`] reads and writes OpenAI's protocol in both directions: as a client, for the backends that speak
//! it, and as a server, for everything that offers it.

pub(crate) mod numbers;
pub mod openai;
