//! Reasoning that stands in the text, between `<think>` and `</think>`.

use serde::{Deserialize, Serialize};

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// Where reasoning stands in an answer's text if the server does not keep it apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InlineReasoning {
    /// As the vendor's models write it: `tagged` where open models are served, else `off`.
    #[default]
    Auto,
    /// The text is the answer, whatever it holds.
    Off,
    /// A text that begins with `<think>` is reasoning up to `</think>`.
    Tagged,
    /// A text is reasoning from its beginning up to `</think>`: the model's template has opened it.
    Open,
}

/// Separates reasoning from the answer in a text that comes in pieces, cut anywhere.
///
/// Only a text that begins with the tag is split: one that mentions it later is the answer.
#[derive(Debug)]
pub(super) struct ThinkSplitter {
    state: SplitState,
    held: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SplitState {
    /// Only white space or a part of the tag so far.
    Start {
        opened: bool,
    },
    Reasoning,
    /// After the closing tag, before the answer's first character.
    Between,
    Answer,
}

/// What a piece of text turned out to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) reasoning: String,
    pub(super) text: String,
}

impl ThinkSplitter {
    pub(super) fn new(inline: InlineReasoning) -> Self {
        let state = match inline {
            InlineReasoning::Tagged => SplitState::Start { opened: false },
            InlineReasoning::Open => SplitState::Start { opened: true },
            InlineReasoning::Auto | InlineReasoning::Off => SplitState::Answer,
        };
        Self { state, held: String::new() }
    }

    /// Adds a piece and returns what is certain by now.
    pub(super) fn push(&mut self, piece: String) -> Split {
        if self.state == SplitState::Answer {
            return Split { reasoning: String::new(), text: piece };
        }
        self.held.push_str(&piece);
        let mut split = Split::default();
        while self.step(&mut split) {}
        split
    }

    /// Returns what was held back, at the end of the text.
    pub(super) fn finish(&mut self) -> Split {
        let held = std::mem::take(&mut self.held);
        match self.state {
            SplitState::Reasoning | SplitState::Start { opened: true } => {
                Split { reasoning: held.trim_end().to_owned(), text: String::new() }
            }
            SplitState::Start { .. } | SplitState::Answer => Split { reasoning: String::new(), text: held },
            SplitState::Between => Split::default(),
        }
    }

    /// Moves to the next state if the text held back decides it.
    fn step(&mut self, split: &mut Split) -> bool {
        let held = std::mem::take(&mut self.held);
        match self.state {
            SplitState::Start { opened } => self.start(held, opened),
            SplitState::Reasoning => self.reason(&held, split),
            SplitState::Between => {
                let answer = held.trim_start();
                if !answer.is_empty() {
                    split.text.push_str(answer);
                    self.state = SplitState::Answer;
                }
                false
            }
            SplitState::Answer => {
                split.text.push_str(&held);
                false
            }
        }
    }

    fn start(&mut self, held: String, opened: bool) -> bool {
        let begin = held.trim_start();
        if let Some(rest) = begin.strip_prefix(OPEN) {
            self.held = rest.trim_start().to_owned();
            // White space after the tag belongs to neither.
            self.state =
                if self.held.is_empty() { SplitState::Start { opened: true } } else { SplitState::Reasoning };
            return self.state == SplitState::Reasoning;
        }
        if OPEN.starts_with(begin) {
            self.held = held;
            return false;
        }
        self.state = if opened { SplitState::Reasoning } else { SplitState::Answer };
        self.held = if opened { begin.to_owned() } else { held };
        true
    }

    fn reason(&mut self, held: &str, split: &mut Split) -> bool {
        if let Some((reasoning, rest)) = held.split_once(CLOSE) {
            split.reasoning.push_str(reasoning.trim_end());
            self.held = rest.to_owned();
            self.state = SplitState::Between;
            return true;
        }
        let partial =
            (1..CLOSE.len()).rev().find(|length| CLOSE.get(..*length).is_some_and(|tag| held.ends_with(tag)));
        let certain = held.get(..held.len() - partial.unwrap_or(0)).unwrap_or_default().trim_end();
        split.reasoning.push_str(certain);
        self.held = held.get(certain.len()..).unwrap_or_default().to_owned();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(inline: InlineReasoning, pieces: &[&str]) -> (String, String) {
        let mut splitter = ThinkSplitter::new(inline);
        let mut whole = Split::default();
        let mut add = |split: Split| {
            whole.reasoning.push_str(&split.reasoning);
            whole.text.push_str(&split.text);
        };
        for piece in pieces {
            add(splitter.push((*piece).to_owned()));
        }
        add(splitter.finish());
        (whole.reasoning, whole.text)
    }

    #[test]
    fn the_split_does_not_depend_on_where_the_text_is_cut() {
        let text = "\n<think>\nNot a </thin>, ñ \n\n</think>\n\nThe answer, with <think> in it.";
        let whole = ("Not a </thin>, ñ".to_owned(), "The answer, with <think> in it.".to_owned());
        assert_eq!(split(InlineReasoning::Tagged, &[text]), whole);
        let letters: Vec<String> = text.chars().map(String::from).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        assert_eq!(split(InlineReasoning::Tagged, &letters), whole);
        for (at, _) in text.char_indices() {
            let (a, b) = text.split_at(at);
            assert_eq!(split(InlineReasoning::Tagged, &[a, b]), whole, "cut at {at}");
        }
    }

    #[test]
    fn a_text_that_does_not_begin_with_the_tag_stays_as_it_is() {
        for text in ["  <thing>", "I <think> so</think>", "<thi", " ", "", "</think>x"] {
            assert_eq!(split(InlineReasoning::Tagged, &[text]), (String::new(), text.to_owned()));
        }
        let tagged = "<think>a</think>b";
        assert_eq!(split(InlineReasoning::Off, &[tagged]), (String::new(), tagged.to_owned()));
    }

    #[test]
    fn a_template_that_opened_the_reasoning_is_believed() {
        let expected = ("because".to_owned(), "yes".to_owned());
        assert_eq!(split(InlineReasoning::Open, &["beca", "use\n</th", "ink>\n", "\nyes"]), expected);
        assert_eq!(split(InlineReasoning::Open, &["<think>because</think>yes"]), expected);
    }

    #[test]
    fn reasoning_that_is_cut_off_or_empty_is_no_answer() {
        assert_eq!(split(InlineReasoning::Tagged, &["<think>cut of"]), ("cut of".to_owned(), String::new()));
        assert_eq!(
            split(InlineReasoning::Tagged, &["<think>\n\n</think>\n\nyes"]),
            (String::new(), "yes".to_owned())
        );
        assert_eq!(split(InlineReasoning::Tagged, &["<think>"]), (String::new(), String::new()));
    }
}
