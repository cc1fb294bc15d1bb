//! What an answer's text says: the answer, thoughts, and calls of tools, told apart as they come.

mod calls;
mod dialect;
mod harmony;
mod json;
mod stop;
mod tagged;

use crate::chat::{ChatEvent, ChatRequest, Tool, ToolCall, ToolChoice};
use crate::local::tokenizer::Prompt;

pub(crate) use dialect::{CallSyntax, Dialect, THOUGHTS, Thought};

use calls::Region;
use harmony::Message;
use stop::StopFilter;

/// Reads an answer that comes in pieces, cut anywhere between characters.
#[derive(Debug)]
pub(crate) struct OutputReader {
    dialect: Dialect,
    /// The tools that may be called; none where calls are text like any other.
    tools: Vec<Tool>,
    mode: Mode,
    /// What has come and can't be told yet.
    held: String,
    stops: StopFilter,
    calls: usize,
    /// What the ids of this answer's calls are made of.
    seed: u64,
    /// Whether the thought has begun: white space before it belongs to nothing.
    has_thought: bool,
    /// Whether the answer has begun: white space after a call separates its parts.
    has_text: bool,
    events: Vec<ChatEvent>,
}

/// Where in the answer the reader is.
#[derive(Debug)]
enum Mode {
    /// Nothing but white space so far.
    Start,
    /// In a thought, up to its closing tag.
    Thought(&'static Thought),
    /// In white space after a thought or a call.
    Gap,
    /// In the answer.
    Text,
    /// In calls of tools.
    Calls(Region),
    /// In one of gpt-oss's messages.
    Harmony(Message),
}

impl OutputReader {
    /// A reader of the answer to `request`, which the model was asked with `prompt`.
    pub(crate) fn new(dialect: &Dialect, prompt: &Prompt, request: &ChatRequest) -> Self {
        let opened = THOUGHTS.iter().find(|thought| prompt.ends_with(thought.open));
        let mode = match opened {
            _ if dialect.calls == Some(CallSyntax::Harmony) => Mode::Harmony(Message::default()),
            Some(thought) => Mode::Thought(thought),
            None => Mode::Start,
        };
        let tools = match request.tool_choice {
            Some(ToolChoice::None) => Vec::new(),
            _ => request.tools.clone(),
        };
        Self {
            dialect: dialect.clone(),
            tools,
            mode,
            held: String::new(),
            stops: StopFilter::new(&request.stop),
            calls: 0,
            seed: hash(prompt.to_text().as_bytes()),
            has_thought: false,
            has_text: false,
            events: Vec::new(),
        }
    }

    /// What is certain after one more piece. Nothing comes after a stop sequence.
    pub(crate) fn push(&mut self, piece: &str) -> Vec<ChatEvent> {
        if !self.is_stopped() {
            self.held.push_str(piece);
            while !self.is_stopped() && self.step() {}
        }
        std::mem::take(&mut self.events)
    }

    /// What is left at the end of the answer. Calls that were cut off come as far as they were written.
    pub(crate) fn finish(&mut self) -> Vec<ChatEvent> {
        if !self.is_stopped() {
            let held = std::mem::take(&mut self.held);
            match std::mem::replace(&mut self.mode, Mode::Text) {
                Mode::Thought(_) => self.think(held.trim_end()),
                Mode::Gap => {}
                Mode::Start | Mode::Text => self.say(&held),
                Mode::Calls(region) => self.end_region(region, &held),
                Mode::Harmony(message) => self.end_message(message, &held),
            }
            let rest = self.stops.finish();
            self.tell(rest);
        }
        std::mem::take(&mut self.events)
    }

    /// Whether a stop sequence has come: the answer is complete.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stops.is_stopped()
    }

    /// Whether the model is thinking, so that the tokens count as reasoning.
    pub(crate) fn is_thinking(&self) -> bool {
        match &self.mode {
            Mode::Thought(_) => true,
            Mode::Harmony(message) => message.is_thought(),
            _ => false,
        }
    }

    /// What ends the thought that the model is in, if its budget is spent: text to go on from as if the model had
    /// written it.
    pub(crate) fn thought_end(&self) -> Option<String> {
        match &self.mode {
            Mode::Thought(thought) => Some(format!("\n{}\n\n", thought.close)),
            Mode::Harmony(message) if message.is_thought() => Some(harmony::THOUGHT_END.to_owned()),
            _ => None,
        }
    }

    /// How many tools were called.
    pub(crate) fn calls(&self) -> usize {
        self.calls
    }

    /// Goes one step further in what is held; says whether there may be another one.
    fn step(&mut self) -> bool {
        match std::mem::replace(&mut self.mode, Mode::Text) {
            Mode::Start => self.start(),
            Mode::Thought(thought) => self.thought(thought),
            Mode::Gap => {
                let is_over = !self.held.trim_start().is_empty();
                if is_over && !self.has_text {
                    self.held = self.held.trim_start().to_owned();
                }
                self.mode = if is_over { Mode::Text } else { Mode::Gap };
                // Llama's calls may follow a thought.
                if is_over && self.is_bare_call() {
                    self.mode = Mode::Calls(Region::new(None));
                }
                is_over
            }
            Mode::Text => self.text(),
            Mode::Calls(region) => self.region(region),
            Mode::Harmony(message) => self.message(message),
        }
    }

    fn start(&mut self) -> bool {
        let begin = self.held.trim_start();
        if let Some((thought, rest)) =
            THOUGHTS.iter().find_map(|thought| Some((thought, begin.strip_prefix(thought.open)?)))
        {
            self.held = rest.to_owned();
            self.mode = Mode::Thought(thought);
            return true;
        }
        if begin.is_empty() || THOUGHTS.iter().any(|thought| thought.open.starts_with(begin)) {
            self.mode = Mode::Start;
            return false;
        }
        if self.is_bare_call() {
            self.mode = Mode::Calls(Region::new(None));
        }
        true
    }

    /// Whether what is held begins with a call that no tag announces.
    fn is_bare_call(&self) -> bool {
        !self.tools.is_empty()
            && self.dialect.calls == Some(CallSyntax::Bare)
            && self.held.trim_start().starts_with('{')
    }

    fn thought(&mut self, thought: &'static Thought) -> bool {
        if let Some((before, rest)) = self.held.split_once(thought.close) {
            let (before, rest) = (before.trim_end().to_owned(), rest.to_owned());
            self.think(&before);
            self.held = rest;
            self.mode = Mode::Gap;
            return true;
        }
        let certain =
            self.held[..self.held.len() - partial_end(&self.held, &[thought.close])].trim_end().len();
        let rest = self.held.split_off(certain);
        let certain = std::mem::replace(&mut self.held, rest);
        self.think(&certain);
        self.mode = Mode::Thought(thought);
        false
    }

    fn text(&mut self) -> bool {
        let Some(mark) = self.dialect.mark().filter(|_| !self.tools.is_empty()) else {
            let held = std::mem::take(&mut self.held);
            self.say(&held);
            return false;
        };
        if let Some((before, rest)) = self.held.split_once(mark) {
            let (before, rest) = (before.trim_end().to_owned(), rest.to_owned());
            self.say(&before);
            let waiting = self.stops.finish();
            self.tell(waiting);
            self.held = rest;
            self.mode = Mode::Calls(Region::new(Some(mark)));
            return true;
        }
        let certain = self.held[..self.held.len() - partial_end(&self.held, &[mark])].trim_end().len();
        let rest = self.held.split_off(certain);
        let certain = std::mem::replace(&mut self.held, rest);
        self.say(&certain);
        false
    }

    /// Text of the answer.
    fn say(&mut self, text: &str) {
        let text = self.stops.push(text);
        self.tell(text);
    }

    fn tell(&mut self, text: String) {
        if !text.is_empty() {
            self.has_text = true;
            self.events.push(ChatEvent::Text(text));
        }
    }

    fn think(&mut self, text: &str) {
        let text = if self.has_thought { text } else { text.trim_start() };
        if !text.is_empty() {
            self.has_thought = true;
            self.events.push(ChatEvent::Reasoning(text.to_owned()));
        }
    }

    /// Starts a call; gives its index and id.
    fn start_call(&mut self, name: &str) -> (usize, String) {
        let index = self.calls;
        self.calls += 1;
        let id = call_id(self.seed, index);
        self.events.push(ChatEvent::ToolCallStarted { index, id: id.clone(), name: name.to_owned() });
        (index, id)
    }

    fn argue(&mut self, index: usize, piece: &str) {
        if !piece.is_empty() {
            self.events.push(ChatEvent::ToolCallArguments { index, piece: piece.to_owned() });
        }
    }

    fn end_call(&mut self, index: usize, id: &str, name: &str, arguments: &str) {
        let call = ToolCall::new(id, name, arguments);
        self.events.push(ChatEvent::ToolCall { index, call });
    }
}

/// How many bytes at the end of `text` may begin one of `words`.
fn partial_end(text: &str, words: &[&str]) -> usize {
    let longest = |word: &&str| {
        (1..word.len()).rev().find(|length| word.get(..*length).is_some_and(|begin| text.ends_with(begin)))
    };
    words.iter().filter_map(longest).max().unwrap_or(0)
}

/// FNV-1a: no secret, only the same result everywhere.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The id of a call: nine letters and digits, as Mistral's templates want them; others take any.
fn call_id(seed: u64, index: usize) -> String {
    const CHARACTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = hash(format!("{seed:x}/{index}").as_bytes());
    let mut id = String::new();
    for _ in 0..9 {
        id.push(char::from(CHARACTERS[usize::try_from(rest % 62).unwrap_or_default()]));
        rest /= 62;
    }
    id
}

#[cfg(test)]
mod tests;
