//! Chat templates: from a conversation to the text that a model was trained on.
//!
//! The model's own Jinja is rendered as transformers renders it, but bounded: whatever a template does ends in a prompt or
//! an error, within [`FUEL`].

mod builtin;
mod clock;
mod conversation;
mod engine;
mod python;

use std::time::SystemTime;

use minijinja::Environment;
use minijinja::value::Serde;

use super::output::{Dialect, THOUGHTS};
use super::stack::on_large_stack;
use crate::chat::{ChatRequest, Message, ReasoningEffort, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::local::tokenizer::{ChatTokenizer, Guarding, Prompt};
use conversation::Guards;

/// What one rendering may cost: instructions, or 64 bytes of text each.
const FUEL: u64 = 2_000_000;

/// The most bytes of a template's source.
const MAX_SOURCE_BYTES: usize = 256 << 10;

/// The name of a template within its engine.
const NAME: &str = "chat_template";

/// A model's chat template. Shared by all threads.
pub(crate) struct Template {
    main: Source,
    /// The one for conversations with tools, where there is another.
    tool_use: Option<Source>,
    /// Words that texts may not smuggle in: all of the template's, and for the model's own texts those that steer it.
    words: Guarding,
    control_words: Guarding,
    bos: Option<String>,
    eos: Option<String>,
    dialect: Dialect,
}

/// A compiled template.
struct Source {
    text: String,
    engine: Environment<'static>,
}

/// What is not in the request.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub(crate) struct RenderOptions {
    /// The time that the template reads; by default the clock's.
    pub(crate) now: Option<SystemTime>,
    /// Leaves the last message open instead of asking for another one.
    pub(crate) continues_last: bool,
}

impl Template {
    /// The template of a model, or the one called `name`: of those that came with the model, then of ayni's.
    ///
    /// # Errors
    /// `config_invalid` if the model has none, or there is none of that name; `model_load` if it is not valid Jinja.
    pub(crate) fn of_model(tokenizer: &ChatTokenizer, name: Option<&str>) -> Result<Self> {
        let own = tokenizer.templates();
        let named =
            |name: &str| own.named.iter().find(|(own, _)| own == name).map(|(_, source)| source.as_str());
        let source = match name {
            None => own.default.as_deref().ok_or_else(|| {
                let names = builtin::NAMES.join(", ");
                Error::config(format!("the model has no chat template; name one of ayni's: {names}"))
            })?,
            Some(name) => named(name).or_else(|| builtin::source(name)).ok_or_else(|| {
                let own = own.named.iter().map(|(name, _)| name.as_str());
                let names = own.chain(builtin::NAMES.iter().copied()).collect::<Vec<_>>().join(", ");
                Error::config(format!("there is no chat template '{name}'; valid: {names}"))
            })?,
        };
        let tool_use = if name.is_none() { named("tool_use") } else { None };
        Self::new(tokenizer, source, tool_use)
    }

    /// A template from its Jinja source.
    ///
    /// # Errors
    /// `model_load` if it is not valid Jinja, or absurdly long.
    pub(crate) fn new(tokenizer: &ChatTokenizer, source: &str, tool_use: Option<&str>) -> Result<Self> {
        let text_of =
            |id: Option<u32>| id.and_then(|id| String::from_utf8(tokenizer.bytes_of(id).to_vec()).ok());
        let sources = [Some(source), tool_use];
        let mentioned = |word: &str| sources.iter().flatten().any(|source| source.contains(word));
        let added = tokenizer.added();
        let control = || added.iter().filter(|token| token.is_control).map(|token| token.text.as_str());
        let tags = added.iter().filter(|token| {
            !token.is_control && token.text.starts_with(['<', '[']) && mentioned(&token.text)
        });
        let words = control().chain(tags.map(|token| token.text.as_str()));
        Ok(Self {
            main: Source::compile(source)?,
            tool_use: tool_use.map(Source::compile).transpose()?,
            words: Guarding::new(words)?,
            control_words: Guarding::new(control())?,
            bos: text_of(tokenizer.bos()),
            eos: text_of(tokenizer.eos()),
            dialect: Dialect::of_template(tool_use.unwrap_or(source)),
        })
    }

    /// How the model writes thoughts and calls of tools.
    pub(crate) fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// Whether the template shows the model which tools there are.
    pub(crate) fn has_tools(&self) -> bool {
        self.tool_use.is_some() || self.main.text.contains("tools")
    }

    /// The conversation as the model was trained to read it.
    ///
    /// # Errors
    /// `invalid_request` where the template refuses the conversation, in its words; `unsupported` for tools with a template
    /// that has none; `config_invalid` for a template that is broken or does not end.
    pub(crate) fn render(&self, request: &ChatRequest, options: &RenderOptions) -> Result<Prompt> {
        let told = |message: &Message| message.role == Role::Tool || !message.tool_calls.is_empty();
        let needs_tools = !request.tools.is_empty() || request.messages.iter().any(told);
        if needs_tools && !self.has_tools() {
            return Err(Error::unsupported("the model's chat template has no tools"));
        }
        let source = match &self.tool_use {
            Some(tool_use) if !request.tools.is_empty() => tool_use,
            _ => &self.main,
        };
        let guards = Guards::for_request(request, &self.words, &self.control_words)?;
        let mut values = conversation::values(request, &guards, source.wants_short_ids())?;
        values.insert("add_generation_prompt".to_owned(), (!options.continues_last).into());
        for (name, token) in [("bos_token", &self.bos), ("eos_token", &self.eos)] {
            if let Some(token) = token {
                values.insert(name.to_owned(), token.as_str().into());
            }
        }
        let text = engine::with_clock(options.now, || source.render(values))?;
        let mut prompt = Prompt::chat(text, guards.guard());
        if request.reasoning == Some(ReasoningEffort::None) {
            // A template that opens a thought anyway: the thought is empty.
            if let Some(thought) = THOUGHTS.iter().find(|thought| prompt.ends_with(thought.open)) {
                prompt.push(&format!("\n{}\n\n", thought.close));
            }
        }
        Ok(prompt)
    }
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Template({} bytes, {:?})", self.main.text.len(), self.dialect)
    }
}

impl Source {
    fn compile(text: &str) -> Result<Self> {
        if text.len() > MAX_SOURCE_BYTES {
            return Err(Error::new(ErrorKind::ModelLoad, "the model's chat template is longer than 256 KiB"));
        }
        let engine = on_large_stack(|| {
            engine::environment(text).map_err(|error| {
                let line = error.line().map_or_else(String::new, |line| format!(" in line {line}"));
                let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
                Error::new(
                    ErrorKind::ModelLoad,
                    format!("the model's chat template is not valid{line}: {why}"),
                )
            })
        })??;
        Ok(Self { text: text.to_owned(), engine })
    }

    /// Whether calls of tools must have ids of nine characters, as Mistral's templates insist.
    fn wants_short_ids(&self) -> bool {
        let source: String = self.text.chars().filter(|character| !character.is_whitespace()).collect();
        ["|length!=9", "|length==9", "|length<9"].iter().any(|test| source.contains(test))
    }

    fn render(&self, values: serde_json::Map<String, serde_json::Value>) -> Result<String> {
        let now = engine::time();
        // An error may hold the values, so it is read and dropped where there is room for them.
        on_large_stack(|| {
            engine::with_clock(now, || {
                let template = self.engine.get_template(NAME);
                let rendered =
                    template.and_then(|template| template.render(minijinja::Value::from(Serde(values))));
                rendered.map_err(|error| engine::failure(&error))
            })
        })?
    }
}

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod tests;
