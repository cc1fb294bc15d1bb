//! The vectors, and where they came from.

use super::vectors::Vectors;
use crate::error::{Error, Result};
use crate::info::{Route, Usage};

/// The vectors, and where they came from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EmbedResponse {
    /// One vector an input, in the order of the inputs.
    pub vectors: Vectors,
    /// The positions of the inputs that were cut to the model's window, as far as the backend says so.
    pub truncated: Vec<usize>,
    /// Tokens used, where the backend says so.
    pub usage: Usage,
    /// Who served.
    pub route: Route,
}

impl EmbedResponse {
    /// A response in which nothing was cut and no usage is known.
    pub fn new(vectors: Vectors, route: Route) -> Self {
        Self { vectors, truncated: Vec::new(), usage: Usage::default(), route }
    }

    /// Names the inputs that were cut.
    pub fn with_truncated(mut self, truncated: Vec<usize>) -> Self {
        self.truncated = truncated;
        self
    }

    /// Sets the usage.
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// Fails unless there is one vector an input, as wide as the space (or the request) says.
    ///
    /// # Errors
    /// `response_invalid`.
    pub fn check(self, inputs: usize, dimensions: Option<usize>) -> Result<Self> {
        if self.vectors.len() != inputs {
            return Err(Error::response_invalid(format!(
                "{} vectors came back for {inputs} inputs",
                self.vectors.len()
            )));
        }
        match dimensions {
            Some(width) if width != self.vectors.width() => Err(Error::response_invalid(format!(
                "vectors of {} numbers came back where the space has {width}",
                self.vectors.width()
            ))),
            _ => Ok(self),
        }
    }
}
