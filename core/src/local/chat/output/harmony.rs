//! gpt-oss's messages: a header that names the channel and whom it is for, then the text.

use super::{Mode, OutputReader, partial_end};

const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";

/// What ends a message.
const ENDS: [&str; 4] = ["<|end|>", "<|return|>", "<|call|>", "<|start|>"];

/// What ends a thought and begins the answer.
pub(super) const THOUGHT_END: &str = "<|end|><|start|>assistant<|channel|>final<|message|>";

/// One message.
#[derive(Debug, Default)]
pub(super) enum Message {
    /// In its header.
    #[default]
    Header,
    Thought,
    Answer,
    /// A call, with what has come of its arguments.
    Call {
        index: usize,
        id: String,
        name: String,
        arguments: String,
    },
}

impl Message {
    pub(super) fn is_thought(&self) -> bool {
        matches!(self, Self::Thought)
    }
}

impl OutputReader {
    /// One step within a message; says whether there may be another one.
    pub(super) fn message(&mut self, message: Message) -> bool {
        if let Message::Header = message {
            let Some((header, rest)) = self.held.split_once(MESSAGE) else {
                let is_text = self.is_plain_text();
                self.mode = if is_text { Mode::Text } else { Mode::Harmony(message) };
                return is_text;
            };
            let (header, rest) = (header.to_owned(), rest.to_owned());
            self.held = rest;
            let message = self.begin_message(&header);
            self.mode = Mode::Harmony(message);
            return true;
        }
        let found = ENDS.iter().filter_map(|end| self.held.find(end).map(|at| (at, *end))).min();
        if let Some((at, end)) = found {
            let rest = self.held[at + end.len()..].to_owned();
            self.held.truncate(at);
            let text = std::mem::replace(&mut self.held, rest);
            self.end_message(message, &text);
            self.mode = Mode::Harmony(Message::Header);
            return true;
        }
        let rest = self.held.split_off(self.held.len() - partial_end(&self.held, &ENDS));
        let certain = std::mem::replace(&mut self.held, rest);
        let message = self.go_on(message, &certain);
        self.mode = Mode::Harmony(message);
        false
    }

    /// Whether what is held can't be a header: an answer without any.
    fn is_plain_text(&self) -> bool {
        let held = self.held.trim_start();
        let begins = ["assistant", "to=", CHANNEL, "<|start|>", "<|constrain|>"];
        !held.is_empty() && !begins.iter().any(|begin| begin.starts_with(held) || held.starts_with(begin))
    }

    /// What follows a header like `assistant to=functions.NAME<|channel|>commentary <|constrain|>json`.
    fn begin_message(&mut self, header: &str) -> Message {
        let recipient = header.split_once("to=").map(|(_, rest)| {
            rest.split(|character: char| character.is_whitespace() || character == '<')
                .next()
                .unwrap_or_default()
        });
        if let Some(name) = recipient.filter(|_| !self.tools.is_empty()) {
            let name = name.strip_prefix("functions.").unwrap_or(name).to_owned();
            let (index, id) = self.start_call(&name);
            return Message::Call { index, id, name, arguments: String::new() };
        }
        let channel = header.split_once(CHANNEL).map_or("", |(_, channel)| channel.trim_start());
        if channel.starts_with("analysis") { Message::Thought } else { Message::Answer }
    }

    fn go_on(&mut self, message: Message, text: &str) -> Message {
        match message {
            Message::Header => Message::Header,
            Message::Thought => {
                self.think(text);
                Message::Thought
            }
            Message::Answer => {
                self.say(text);
                Message::Answer
            }
            Message::Call { index, id, name, mut arguments } => {
                self.argue(index, text);
                arguments.push_str(text);
                Message::Call { index, id, name, arguments }
            }
        }
    }

    /// What is left of a message at its end.
    pub(super) fn end_message(&mut self, message: Message, text: &str) {
        if let Message::Call { index, id, name, arguments } = self.go_on(message, text) {
            self.end_call(index, &id, &name, &arguments);
        }
    }
}
