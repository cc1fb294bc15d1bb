//! How a model writes thoughts and calls of tools, known by its template.

/// The tags around a thought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Thought {
    pub(crate) open: &'static str,
    pub(crate) close: &'static str,
}

/// The tags that models put around thoughts.
pub(crate) const THOUGHTS: &[Thought] = &[
    Thought { open: "<think>", close: "</think>" },
    Thought { open: "[THINK]", close: "[/THINK]" },
    Thought { open: "<seed:think>", close: "</seed:think>" },
    Thought { open: "<|begin_of_thought|>", close: "<|end_of_thought|>" },
];

/// How calls of tools are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallSyntax {
    /// JSON objects with name and arguments, each within `<tool_call>` and `</tool_call>`: Hermes, Qwen, SmolLM3, Granite 4.
    Hermes,
    /// Functions and parameters as tags within `<tool_call>`: Qwen3-Coder, Qwen3.5.
    QwenTags,
    /// The name, then keys and values as tags, within `<tool_call>`: GLM.
    GlmTags,
    /// A JSON list after `[TOOL_CALLS]`, or a name and `[ARGS]` after it: Mistral.
    Mistral,
    /// A JSON list after `<|tool_call|>`: Granite 3, Phi-4-mini.
    List,
    /// An answer that is nothing but a JSON object, perhaps after `<|python_tag|>`: Llama 3.
    Bare,
    /// Messages to `functions.NAME`: gpt-oss.
    Harmony,
}

/// How a model writes what is not plain text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// How it calls tools, where the template shows one of the known ways.
    pub(crate) calls: Option<CallSyntax>,
    /// The tags around its thoughts, where the template shows them.
    pub(crate) thought: Option<&'static Thought>,
}

impl Dialect {
    /// The dialect that a chat template shows.
    pub(crate) fn of_template(source: &str) -> Self {
        let has = |text: &str| source.contains(text);
        let calls = if has("<|channel|>") && has("<|message|>") {
            Some(CallSyntax::Harmony)
        } else if has("<tool_call>") && has("<function=") {
            Some(CallSyntax::QwenTags)
        } else if has("<tool_call>") && has("<arg_key>") {
            Some(CallSyntax::GlmTags)
        } else if has("<tool_call>") {
            Some(CallSyntax::Hermes)
        } else if has("[TOOL_CALLS]") {
            Some(CallSyntax::Mistral)
        } else if has("<|tool_call|>") {
            Some(CallSyntax::List)
        } else if has("<|python_tag|>") || has("ipython") || has("\"parameters\":") && has("tools") {
            Some(CallSyntax::Bare)
        } else {
            None
        };
        Self { calls, thought: THOUGHTS.iter().find(|thought| has(thought.close)) }
    }

    /// What announces a call, where something does.
    pub(super) fn mark(&self) -> Option<&'static str> {
        self.calls.map(CallSyntax::mark).filter(|mark| !mark.is_empty())
    }

    /// What ends a call, where something does.
    pub(super) fn end_mark(&self) -> Option<&'static str> {
        match self.calls? {
            CallSyntax::Hermes | CallSyntax::QwenTags | CallSyntax::GlmTags => Some("</tool_call>"),
            CallSyntax::List => Some("<|/tool_call|>"),
            CallSyntax::Mistral | CallSyntax::Bare | CallSyntax::Harmony => None,
        }
    }
}

impl CallSyntax {
    /// What announces a call; empty where nothing does.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::Hermes | Self::QwenTags | Self::GlmTags => "<tool_call>",
            Self::Mistral => "[TOOL_CALLS]",
            Self::List => "<|tool_call|>",
            Self::Bare => "<|python_tag|>",
            Self::Harmony => "",
        }
    }
}
