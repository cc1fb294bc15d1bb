//! A call of a tool as a JSON object, read while it comes.

use std::ops::Range;

/// What the values of a call are called.
const NAME_KEYS: [&str; 3] = ["name", "function", "tool_name"];
const ARGUMENT_KEYS: [&str; 4] = ["arguments", "parameters", "args", "input"];

/// How deep values may lie in values.
const MAX_DEPTH: usize = 1000;

/// Follows a JSON object through text that comes in pieces, without building its values.
#[derive(Debug, Default)]
pub(super) struct ObjectReader {
    raw: String,
    /// How far `raw` has been read.
    position: usize,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// Where the string at the top level that is being read, or was last, lies.
    string: Range<usize>,
    key: Option<String>,
    /// Where the value of `key` begins.
    value_start: Option<usize>,
    pub(super) name: Option<String>,
    arguments: Option<Range<usize>>,
    /// How much of the arguments has been given out.
    given: usize,
    state: State,
}

/// How far an object has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Open,
    Complete,
    /// It can't become one.
    Broken,
}

impl ObjectReader {
    /// A reader of a value that is itself the arguments.
    pub(super) fn of_arguments(name: String) -> Self {
        Self { name: Some(name), arguments: Some(0..usize::MAX), ..Self::default() }
    }

    /// Reads on in `text`, up to the object's end; gives what is left.
    pub(super) fn push<'a>(&mut self, text: &'a str) -> &'a str {
        self.raw.push_str(text);
        while self.state == State::Open {
            let Some(character) = self.raw[self.position..].chars().next() else { return "" };
            let at = self.position;
            self.position += character.len_utf8();
            self.read(at, character);
        }
        let rest = self.raw.len() - self.position;
        self.raw.truncate(self.position);
        &text[text.len() - rest..]
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// The text so far.
    pub(super) fn raw(&self) -> &str {
        &self.raw
    }

    fn read(&mut self, at: usize, character: char) {
        if self.in_string {
            match character {
                _ if self.is_escaped => self.is_escaped = false,
                '\\' => self.is_escaped = true,
                '"' => {
                    self.in_string = false;
                    self.string.end = self.position;
                    if self.depth == 1 && self.value_start.is_some() {
                        self.end_value(self.position);
                    }
                }
                _ => {}
            }
            return;
        }
        match character {
            '"' if self.depth > 0 => {
                self.in_string = true;
                if self.depth == 1 {
                    self.string = at..at;
                    if self.key.is_some() {
                        self.value_start.get_or_insert(at);
                    }
                }
            }
            '{' | '[' => {
                if self.depth == 0 && character == '[' || self.depth >= MAX_DEPTH {
                    self.state = State::Broken;
                    return;
                }
                if self.depth == 1 && self.key.is_some() {
                    self.value_start.get_or_insert(at);
                }
                self.depth += 1;
            }
            '}' | ']' => {
                self.depth = self.depth.saturating_sub(1);
                match self.depth {
                    0 => {
                        self.end_value(at);
                        self.state = State::Complete;
                        if let Some(arguments) =
                            self.arguments.as_mut().filter(|range| range.end == usize::MAX)
                        {
                            arguments.end = self.position;
                        }
                    }
                    1 => self.end_value(self.position),
                    _ => {}
                }
            }
            ':' if self.depth == 1 && self.key.is_none() => {
                self.key = serde_json::from_str(&self.raw[self.string.clone()]).ok();
                if self.key.is_none() {
                    self.state = State::Broken;
                }
            }
            ',' if self.depth == 1 => {
                self.end_value(at);
                self.key = None;
            }
            character if character.is_whitespace() || self.depth > 1 => {}
            _ if self.depth == 1 && self.key.is_some() => {
                self.value_start.get_or_insert(at);
            }
            _ => self.state = State::Broken,
        }
        if let (1.., Some(start), None) = (self.depth, self.value_start, &self.arguments)
            && self.key.as_deref().is_some_and(|key| ARGUMENT_KEYS.contains(&key))
        {
            self.arguments = Some(start..usize::MAX);
        }
    }

    fn end_value(&mut self, end: usize) {
        let Some(start) = self.value_start.take() else { return };
        match self.key.as_deref() {
            Some(key) if NAME_KEYS.contains(&key) && self.name.is_none() => {
                self.name = serde_json::from_str(&self.raw[start..end]).ok();
            }
            Some(key) if ARGUMENT_KEYS.contains(&key) => {
                if let Some(range) = self.arguments.as_mut().filter(|range| range.start == start) {
                    range.end = end;
                }
            }
            _ => {}
        }
    }

    /// The arguments that have come since the last time, once the name is known. Arguments that are written as a string
    /// of JSON come when they are complete.
    pub(super) fn next_arguments(&mut self) -> String {
        let all = self.arguments();
        let next = all.get(self.given..).unwrap_or_default().to_owned();
        self.given = all.len();
        next
    }

    /// The arguments so far.
    pub(super) fn arguments(&self) -> String {
        let Some(range) = &self.arguments else { return String::new() };
        // White space around a value belongs to nothing.
        let written = self.raw[range.start..range.end.min(self.raw.len())].trim();
        if !written.starts_with('"') {
            return written.to_owned();
        }
        if range.end == usize::MAX {
            String::new()
        } else {
            serde_json::from_str(written).unwrap_or_default()
        }
    }
}
