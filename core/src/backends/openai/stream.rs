//! The events of a streamed answer.
