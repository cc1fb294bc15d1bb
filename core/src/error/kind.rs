//! What can go wrong: the kinds of errors, spelt the same in every language.

use std::fmt;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $nature:ident, falls_back: $falls_back:literal;)+) => {
        /// What went wrong. The set grows; match with a wildcard arm.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ErrorKind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The kind's name as it is spelt in every language and on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Whether another attempt may help, unless the error itself knows better.
            pub const fn is_temporary(self) -> bool {
                match self { $(Self::$name => kinds!(@$nature),)+ }
            }

            /// Whether a fallback moves on to the next handle after this kind, by default.
            pub const fn falls_back(self) -> bool {
                match self { $(Self::$name => $falls_back,)+ }
            }

            /// One sentence saying what the kind means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
    (@temporary) => { true };
    (@permanent) => { false };
}

kinds! {
    /// A configuration value is missing, misspelt or contradicts another.
    ConfigInvalid = "config_invalid", permanent, falls_back: false;
    /// The request itself is wrong; sending it again cannot help.
    InvalidRequest = "invalid_request", permanent, falls_back: false;
    /// The input is longer than the model's context window.
    ContextTooLong = "context_too_long", permanent, falls_back: false;
    /// No credential was sent, or the backend does not accept it.
    Unauthenticated = "unauthenticated", permanent, falls_back: false;
    /// The credential is known but may not do this.
    PermissionDenied = "permission_denied", permanent, falls_back: false;
    /// The account's money or credits are spent.
    CreditsExhausted = "credits_exhausted", permanent, falls_back: true;
    /// The model, record or route does not exist at this backend.
    NotFound = "not_found", permanent, falls_back: true;
    /// The request contradicts the current state of the resource.
    Conflict = "conflict", permanent, falls_back: false;
    /// The backend does not offer this operation, or was compiled without it.
    Unsupported = "unsupported", permanent, falls_back: true;
    /// A safety filter refused the prompt or the answer.
    ContentRejected = "content_rejected", permanent, falls_back: false;
    /// Too many requests for the moment.
    RateLimited = "rate_limited", temporary, falls_back: true;
    /// A quota is used up until a known or distant time; waiting a little does not help.
    QuotaExceeded = "quota_exceeded", permanent, falls_back: true;
    /// A phase of the call, or the whole call, took too long.
    Timeout = "timeout", temporary, falls_back: true;
    /// The backend cannot be reached or cannot serve now.
    Unavailable = "unavailable", temporary, falls_back: true;
    /// The model or Space is waking up or loading.
    ColdStart = "cold_start", temporary, falls_back: true;
    /// The answer broke off before its end.
    Interrupted = "interrupted", temporary, falls_back: true;
    /// The answer arrived but is not what the protocol promises.
    ResponseInvalid = "response_invalid", permanent, falls_back: true;
    /// Local weights are missing, damaged or of an unknown architecture.
    ModelLoad = "model_load", permanent, falls_back: true;
    /// The requested device does not exist or does not work.
    DeviceUnavailable = "device_unavailable", permanent, falls_back: true;
    /// The work does not fit into the device's memory.
    OutOfMemory = "out_of_memory", permanent, falls_back: true;
    /// The caller cancelled the work.
    Cancelled = "cancelled", permanent, falls_back: false;
    /// The network is needed but offline mode is on.
    Offline = "offline", permanent, falls_back: true;
    /// A defect in ayni; please report it.
    Unexpected = "unexpected", permanent, falls_back: false;
}

impl ErrorKind {
    /// The kind spelt `text`, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for ErrorKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ErrorKind {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ErrorKind".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
        schemars::json_schema!({ "type": "string", "enum": names })
    }
}

impl<'de> serde::Deserialize<'de> for ErrorKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("unknown error kind '{text}'")))
    }
}
