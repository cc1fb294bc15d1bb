//! The stretch of an answer in which tools are called.

use super::json::{ObjectReader, State};
use super::{CallSyntax, Mode, OutputReader, tagged};

/// A stretch of calls, from its mark on.
#[derive(Debug, Default)]
pub(super) struct Region {
    /// What announced it: shown as text if no call follows.
    mark: Option<&'static str>,
    call: Call,
    /// Whether a call was read in it.
    is_used: bool,
}

#[derive(Debug, Default)]
enum Call {
    /// Between calls.
    #[default]
    None,
    /// In a JSON object, with index and id once the call has started.
    Object(Box<ObjectReader>, Option<(usize, String)>),
}

impl Region {
    pub(super) fn new(mark: Option<&'static str>) -> Self {
        Self { mark, ..Self::default() }
    }
}

impl OutputReader {
    /// One step within a region; says whether there may be another one.
    pub(super) fn region(&mut self, mut region: Region) -> bool {
        match std::mem::take(&mut region.call) {
            Call::Object(object, started) => self.object(region, object, started),
            Call::None => match self.dialect.calls {
                Some(CallSyntax::QwenTags | CallSyntax::GlmTags) => self.tagged(region),
                Some(CallSyntax::Mistral) => self.mistral(region),
                _ => self.between(region),
            },
        }
    }

    /// What is left of a region when the answer ends.
    pub(super) fn end_region(&mut self, region: Region, held: &str) {
        match region.call {
            Call::Object(mut object, started)
                if object.name.as_deref().is_some_and(|name| self.may_call(name)) =>
            {
                self.show_arguments(&mut object, started, true);
            }
            Call::Object(object, _) => self.give_back(region.mark.filter(|_| !region.is_used), object.raw()),
            Call::None if region.is_used => {}
            Call::None => self.give_back(region.mark, held),
        }
    }

    /// Whether an object of that name is a call. Where nothing but its form says so, the tool must exist.
    fn may_call(&self, name: &str) -> bool {
        self.dialect.calls != Some(CallSyntax::Bare) || self.tools.iter().any(|tool| tool.name == name)
    }

    /// What was taken for calls is text.
    fn give_back(&mut self, mark: Option<&'static str>, text: &str) {
        self.say(mark.unwrap_or_default());
        self.say(text);
    }

    /// Between JSON objects: white space and what separates the items of a list.
    fn between(&mut self, mut region: Region) -> bool {
        let end = self.dialect.end_mark();
        let mark = self.dialect.mark();
        // A mark may begin with what separates items.
        let spaced = self.held.trim_start();
        if region.is_used && mark.is_some_and(|mark| spaced.starts_with(mark)) {
            self.held = spaced.to_owned();
            return self.leave(region);
        }
        if mark.is_some_and(|mark| mark.starts_with(spaced)) {
            self.mode = Mode::Calls(region);
            return false;
        }
        let rest =
            spaced.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '[' | ']' | ',' | ';'));
        if rest.starts_with('{') {
            self.held = rest.to_owned();
            region.call = Call::Object(Box::default(), None);
            self.mode = Mode::Calls(region);
            return true;
        }
        if let Some(after) = end.and_then(|end| rest.strip_prefix(end)) {
            self.held = after.to_owned();
            return self.leave(region);
        }
        if rest.is_empty() || end.is_some_and(|end| end.starts_with(rest)) {
            self.mode = Mode::Calls(region);
            return false;
        }
        if region.is_used {
            self.held = rest.to_owned();
            return self.leave(region);
        }
        let held = std::mem::take(&mut self.held);
        self.give_back(region.mark, &held);
        self.mode = Mode::Text;
        true
    }

    /// Goes on with what follows calls.
    fn leave(&mut self, region: Region) -> bool {
        if !region.is_used {
            self.give_back(region.mark, "");
        }
        self.mode = Mode::Gap;
        true
    }

    fn object(
        &mut self,
        mut region: Region,
        mut object: Box<ObjectReader>,
        started: Option<(usize, String)>,
    ) -> bool {
        let held = std::mem::take(&mut self.held);
        let rest = object.push(&held);
        self.held = rest.to_owned();
        let is_call = object.name.as_deref().is_some_and(|name| self.may_call(name));
        match object.state() {
            State::Complete | State::Broken if started.is_none() && !is_call => {
                self.give_back(region.mark.filter(|_| !region.is_used), object.raw());
                self.mode = Mode::Text;
                return true;
            }
            State::Open if !is_call => region.call = Call::Object(object, started),
            State::Open => {
                let started = self.show_arguments(&mut object, started, false);
                region.call = Call::Object(object, started);
            }
            State::Complete | State::Broken => {
                self.show_arguments(&mut object, started, true);
                region.is_used = true;
            }
        }
        let is_over = matches!(region.call, Call::None);
        self.mode = Mode::Calls(region);
        is_over
    }

    /// Tells what is new about a call, and its end.
    fn show_arguments(
        &mut self,
        object: &mut ObjectReader,
        started: Option<(usize, String)>,
        is_over: bool,
    ) -> Option<(usize, String)> {
        let name = object.name.clone()?;
        let (index, id) = started.unwrap_or_else(|| self.start_call(&name));
        let piece = object.next_arguments();
        self.argue(index, &piece);
        if is_over {
            self.end_call(index, &id, &name, &object.arguments());
        }
        Some((index, id))
    }

    /// After `[TOOL_CALLS]`: JSON, or names with `[ARGS]` and an object each.
    fn mistral(&mut self, mut region: Region) -> bool {
        const ARGUMENTS: &str = "[ARGS]";
        let mark = self.dialect.mark().unwrap_or_default();
        let rest = self.held.trim_start();
        let is_name = rest.starts_with(|character: char| character.is_alphanumeric() || character == '_');
        if !is_name {
            if rest.is_empty() || (rest.len() < mark.len() && mark.starts_with(rest)) {
                self.mode = Mode::Calls(region);
                return false;
            }
            return self.between(region);
        }
        match rest
            .find(ARGUMENTS)
            .map(|at| (at, at + ARGUMENTS.len()))
            .or_else(|| rest.find('{').map(|at| (at, at)))
        {
            Some((end, start)) => {
                let name = rest[..end].split("[CALL_ID]").next().unwrap_or_default().trim().to_owned();
                self.held = rest[start..].to_owned();
                region.call = Call::Object(Box::new(ObjectReader::of_arguments(name)), None);
                self.mode = Mode::Calls(region);
                true
            }
            // A name is short; text after a call is not.
            None if region.is_used && rest.len() > 200 => {
                self.held = rest.to_owned();
                self.leave(region)
            }
            None => {
                self.mode = Mode::Calls(region);
                false
            }
        }
    }

    /// Calls written as tags are read when they are complete.
    fn tagged(&mut self, mut region: Region) -> bool {
        let end = self.dialect.end_mark().unwrap_or_default();
        let Some((written, rest)) = self.held.split_once(end) else {
            self.mode = Mode::Calls(region);
            return false;
        };
        let (written, rest) = (written.to_owned(), rest.to_owned());
        self.held = rest;
        match tagged::read(&written, &self.tools) {
            Some((name, arguments)) => {
                let (index, id) = self.start_call(&name);
                self.argue(index, &arguments);
                self.end_call(index, &id, &name, &arguments);
                region.is_used = true;
                self.leave(region)
            }
            None => {
                self.give_back(region.mark, &written);
                self.say(end);
                self.mode = Mode::Text;
                true
            }
        }
    }
}
