//! An error as data: the form in which bindings, servers and the behaviour suite see it.

use std::time::Duration;

use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Serialize, Serializer};

use super::Error;

/// Every field by name, those without a value as null. The causes are left out. The response excerpt is masked, but a
/// backend may repeat the prompt in it: what shows errors to strangers writes
/// [`ErrorBody`](crate::wire::openai::error::ErrorBody) instead.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Error", 14)?;
        fields.serialize_field("kind", &self.kind())?;
        fields.serialize_field("message", self.message())?;
        fields.serialize_field("persistence", &self.persistence())?;
        fields.serialize_field("retryable", &self.is_temporary())?;
        fields.serialize_field("retry_after_ms", &self.retry_after().map(milliseconds))?;
        fields.serialize_field("operation", &self.operation())?;
        fields.serialize_field("backend", &self.backend())?;
        fields.serialize_field("http_status", &self.http_status())?;
        fields.serialize_field("request_id", &self.request_id())?;
        fields.serialize_field("sent", &self.sent())?;
        fields.serialize_field("context", &Facts(self.context()))?;
        fields.serialize_field("partial_text", &self.partial_text())?;
        fields.serialize_field("response_excerpt", &self.response_excerpt())?;
        fields.serialize_field("failed", self.failed())?;
        fields.end()
    }
}

/// Writes a duration as whole milliseconds, as every answer does.
pub(crate) fn as_milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(milliseconds(*duration))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Named facts as an object. Where a name comes twice, the first one counts: it was added nearest to the failure.
struct Facts<'a>(&'a [(&'static str, String)]);

impl Serialize for Facts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (index, (name, value)) in self.0.iter().enumerate() {
            if !self.0[..index].iter().any(|(earlier, _)| earlier == name) {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::{ErrorKind, Operation, Persistence, Sent};

    #[test]
    fn an_error_is_written_with_every_field_but_its_causes() {
        let error = Error::new(ErrorKind::RateLimited, "slow down")
            .with_operation(Operation::ChatStream)
            .with_backend("groq")
            .with_http_status(429)
            .with_retry_after(Duration::from_millis(1500))
            .with_context("limit", "tokens")
            .with_context("limit", "later")
            .with_partial_text("ho")
            .with_response_excerpt("the backend's masked words")
            .with_source(Error::config("a cause"));
        assert_eq!(
            serde_json::to_value(&error).expect("JSON"),
            json!({
                "kind": "rate_limited", "message": "slow down",
                "persistence": "temporary", "retryable": true, "retry_after_ms": 1500,
                "operation": "chat_stream", "backend": "groq",
                "http_status": 429, "request_id": null, "sent": "yes",
                "context": {"limit": "tokens"}, "partial_text": "ho",
                "response_excerpt": "the backend's masked words", "failed": [],
            })
        );
    }

    #[test]
    fn what_an_error_names_is_spelt_as_in_its_text() {
        for operation in Operation::ALL {
            assert_eq!(json!(operation), operation.as_str());
        }
        for persistence in [Persistence::Permanent, Persistence::Temporary, Persistence::Exhausted] {
            assert_eq!(json!(persistence), persistence.as_str());
        }
        for sent in [Sent::No, Sent::Maybe, Sent::Yes] {
            assert_eq!(json!(sent), sent.as_str());
        }
    }
}
