//! Chat with models in this process: templates, grammars, and what an answer's text says.

pub(crate) mod grammar;
pub(crate) mod output;
pub(crate) mod template;
