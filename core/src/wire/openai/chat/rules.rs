//! How a vendor's messages depart from OpenAI's: what goes back to it, and how it takes files.

/// How one vendor takes messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageRules {
    /// Whether the role `developer` is known; elsewhere it is sent as `system`.
    pub(crate) developer_role: bool,
    /// How the reasoning of earlier answers goes back.
    pub(crate) reasoning: ReasoningReturn,
    /// The provider data of a message that goes back. Everything else stays here: some vendors refuse unknown fields.
    pub(crate) message_data: &'static [&'static str],
    /// The provider data of a tool call that goes back.
    pub(crate) call_data: &'static [&'static str],
    /// How documents, sound and video are sent.
    pub(crate) files: FileDialect,
    /// Whether a tool's answer may hold images and files.
    pub(crate) tool_media: bool,
    /// Whether a part may end what is worth keeping in the prompt cache (`cache_control`).
    pub(crate) cache_points: bool,
}

impl MessageRules {
    /// OpenAI's own rules: none of an answer's unknown fields goes back.
    pub(crate) const OPENAI: Self = Self {
        developer_role: true,
        reasoning: ReasoningReturn::Never,
        message_data: &["audio"],
        call_data: &[],
        files: FileDialect::OpenAi,
        tool_media: false,
        cache_points: false,
    };
}

/// How the reasoning of earlier answers goes back to a vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReasoningReturn {
    /// Not at all.
    Never,
    /// In this field of the message.
    Field(&'static str),
    /// In this field, with messages that call tools only: the vendor wants it there and refuses it elsewhere.
    WithToolCalls(&'static str),
    /// As a part of the content, of the type `thinking`.
    ThinkingPart,
}

/// How documents, sound and video are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileDialect {
    /// OpenAI's: `file` with data or id, `input_audio` with WAV or MP3; nothing is fetched.
    OpenAi,
    /// OpenRouter's: as OpenAI's, and `file` and `video_url` with URLs.
    OpenRouter,
    /// vLLM's: `audio_url` and `video_url`, with data or URLs; no documents.
    MediaUrls,
    /// Mistral's: `document_url`, and `input_audio` as a text.
    Mistral,
}

/// How the messages of one request are written: the vendor's rules, and what the configuration says instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageStyle<'a> {
    /// The vendor's name, for errors.
    pub(crate) vendor: &'a str,
    /// The vendor's rules.
    pub(crate) rules: &'a MessageRules,
    /// The field in which all reasoning goes back, where the configuration names one.
    pub(crate) reasoning_field: Option<&'a str>,
    /// Further fields of messages and tool calls that go back.
    pub(crate) returned_fields: &'a [String],
}

impl MessageStyle<'_> {
    /// Whether a field of a message goes back.
    pub(super) fn returns_message_field(&self, name: &str) -> bool {
        self.rules.message_data.contains(&name) || self.returned_fields.iter().any(|field| field == name)
    }

    /// Whether a field of a tool call goes back.
    pub(super) fn returns_call_field(&self, name: &str) -> bool {
        self.rules.call_data.contains(&name) || self.returned_fields.iter().any(|field| field == name)
    }

    /// The field in which the reasoning of a message goes back, if there is one.
    pub(super) fn reasoning_field(&self, calls_tools: bool) -> Option<&str> {
        match (self.reasoning_field, self.rules.reasoning) {
            (Some(field), _) => Some(field),
            (None, ReasoningReturn::Field(field)) => Some(field),
            (None, ReasoningReturn::WithToolCalls(field)) if calls_tools => Some(field),
            _ => None,
        }
    }

    /// Whether reasoning goes back as a part of the content.
    pub(super) fn has_thinking_parts(&self) -> bool {
        self.reasoning_field.is_none() && self.rules.reasoning == ReasoningReturn::ThinkingPart
    }
}
