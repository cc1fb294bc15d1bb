//! Jinja as transformers sets it up, in minijinja.

use std::cell::Cell;
use std::time::SystemTime;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};

use super::{FUEL, NAME};
use super::{clock, python};

thread_local! {
    /// The time that the template of this thread reads; none for the clock's.
    static NOW: Cell<Option<SystemTime>> = const { Cell::new(None) };
}

/// Runs `work` with that time as the clock's, in this thread.
pub(super) fn with_clock<T>(now: Option<SystemTime>, work: impl FnOnce() -> T) -> T {
    let before = NOW.replace(now);
    let result = work();
    NOW.set(before);
    result
}

/// The time that [`with_clock`] set.
pub(super) fn time() -> Option<SystemTime> {
    NOW.get()
}

/// What a template says with `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

/// An engine with one template in it.
pub(super) fn environment(source: &str) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_formatter(format_value);
    environment.add_filter("tojson", to_json);
    environment.add_filter("string", |value: &Value| python::text(value));
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_template_owned(NAME, without_generation_tags(source))?;
    Ok(environment)
}

/// Values are written as Python writes them: `True`, `None`, `['a']`.
fn format_value(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = match value.as_str() {
        Some(text) => return output.write_str(text).map_err(Error::from),
        None => python::text(value)?,
    };
    state.consume_fuel(text.len() as u64 / 64)?;
    output.write_str(&text).map_err(Error::from)
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Raised(message)))
}

fn to_json(state: &State<'_, '_>, value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let mut json = python::Json {
        indent: indent.map(|spaces| spaces.min(16)),
        ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sorted: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        ..python::Json::default()
    };
    if indent.is_some() {
        json.item_separator = ",".to_owned();
    }
    if let Some([item, key]) = separators.as_deref() {
        (json.item_separator, json.key_separator) = (item.clone(), key.clone());
    }
    options.assert_all_used()?;
    let text = json.write(value)?;
    state.consume_fuel(text.len() as u64 / 8)?;
    Ok(text)
}

/// Python's `datetime.now().strftime(format)`, in UTC.
fn strftime_now(format: &str) -> Result<String, Error> {
    clock::strftime(NOW.get().unwrap_or_else(SystemTime::now), format)
        .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "strftime_now knows no such time format"))
}

/// `{% generation %}` marks what is learnt in training and writes nothing.
fn without_generation_tags(source: &str) -> String {
    let mut rest = source;
    let mut result = String::with_capacity(source.len());
    while let Some((before, after)) = rest.split_once("{%") {
        let Some((tag, after_tag)) = after.split_once("%}") else { break };
        result.push_str(before);
        let name = tag.trim_matches(['-', '+']).trim();
        let replaced = match name {
            "generation" => tag.replacen("generation", "if true", 1),
            "endgeneration" => tag.replacen("endgeneration", "endif", 1),
            _ => {
                result.push_str("{%");
                rest = after;
                continue;
            }
        };
        result.push_str(&format!("{{%{replaced}%}}"));
        rest = after_tag;
    }
    result.push_str(rest);
    result
}

/// What a failure of a template means to whoever asked. Only words that a template raises may hold what was said.
pub(super) fn failure(error: &Error) -> crate::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(Raised(words)) = error.downcast_ref::<Raised>() {
            let words: String =
                words.chars().filter(|c| !crate::local::tokenizer::Prompt::may_guard(*c)).take(500).collect();
            return crate::Error::invalid_request(format!(
                "the model's chat template refuses the conversation: {words}"
            ));
        }
        cause = error.source();
    }
    let line = error.line().map_or_else(String::new, |line| format!(" in line {line}"));
    if error.kind() == ErrorKind::OutOfFuel {
        return crate::Error::invalid_request(format!(
            "the conversation is too long for the model's chat template: it does not end within {FUEL} steps{line}"
        ));
    }
    crate::Error::config(format!("the model's chat template fails{line}: {}", error.kind()))
}
