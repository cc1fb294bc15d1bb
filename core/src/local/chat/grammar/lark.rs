//! What a request asks of its answer, as a grammar: thoughts, then calls of tools or an answer in its format.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::schema::json_rule;
use crate::chat::{ChatRequest, OutputFormat, Tool, ToolChoice};
use crate::error::{Error, Result};
use crate::local::chat::output::{CallSyntax, Dialect, THOUGHTS, Thought};
use crate::local::tokenizer::{ChatTokenizer, Prompt};

/// How deep parentheses of a Lark grammar may be nested.
const MAX_DEPTH: usize = 64;

/// Fields of a request, beside its format, that hold a regular expression and a Lark grammar.
const REGEX: &str = "guided_regex";
const LARK: &str = "guided_grammar";

/// Rules of a grammar, as they are collected.
struct Rules<'a> {
    tokenizer: &'a ChatTokenizer,
    text: String,
}

/// The grammar of the answer; nothing where it is free.
///
/// # Errors
/// `invalid_request` for what is no schema or can't be enforced; `unsupported` where tools must be called by a model whose
/// way to call them is not known.
pub(super) fn source(
    request: &ChatRequest,
    dialect: &Dialect,
    prompt: &Prompt,
    tokenizer: &ChatTokenizer,
) -> Result<Option<String>> {
    let format = format(request)?;
    let tools = tools(request)?;
    let must_call = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Tool(_)));
    if must_call && tools.is_empty() {
        return Err(Error::invalid_request("a tool must be called, and there are none"));
    }
    let syntax = dialect.calls.filter(|_| !tools.is_empty());
    if syntax.is_none() && must_call {
        return Err(Error::unsupported("how the model calls tools is not known, so no call can be required"));
    }
    if format.is_none() && syntax.is_none() {
        return Ok(None);
    }
    let mut rules = Rules { tokenizer, text: "%llguidance {}\n".to_owned() };
    if dialect.calls == Some(CallSyntax::Harmony) {
        rules.harmony(format.as_deref(), &tools, must_call)?;
    } else {
        rules.plain(format.as_deref(), syntax, &tools, must_call, dialect, prompt)?;
    }
    rules.text.push_str("TEXT: /(.|\\n)*/\nGAP: /[ \\n\\r\\t]{0,8}/\n");
    Ok(Some(rules.text))
}

/// The tools that may be called.
fn tools(request: &ChatRequest) -> Result<Vec<&Tool>> {
    match &request.tool_choice {
        Some(ToolChoice::None) => Ok(Vec::new()),
        Some(ToolChoice::Tool(name)) => match request.tools.iter().find(|tool| tool.name == *name) {
            Some(tool) => Ok(vec![tool]),
            None => Err(Error::invalid_request(format!("there is no tool '{name}'"))),
        },
        _ => Ok(request.tools.iter().collect()),
    }
}

/// The rule of the answer's format.
fn format(request: &ChatRequest) -> Result<Option<String>> {
    let text_of = |name: &str| match request.extra.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Error::invalid_request(format!("`{name}` is no text"))),
    };
    let schema = match &request.output {
        None | Some(OutputFormat::Text) => None,
        Some(OutputFormat::Json) => Some(json_rule(&json!({ "type": "object" }))?),
        Some(OutputFormat::JsonSchema { schema, .. }) => Some(json_rule(schema)?),
    };
    let regex = text_of(REGEX)?.map(|regex| format!("/{}/", llguidance::regex_to_lark(regex, "")));
    let lark = match text_of(LARK)? {
        None => None,
        Some(grammar) => {
            let open = |open: char, close: char| {
                let depths = grammar.chars().scan(0_usize, |depth, character| {
                    *depth = (*depth + usize::from(character == open))
                        .saturating_sub(usize::from(character == close));
                    Some(*depth)
                });
                depths.max().unwrap_or(0)
            };
            if open('(', ')').max(open('[', ']')) > MAX_DEPTH {
                return Err(Error::invalid_request("the grammar is nested too deep"));
            }
            Some(format!("%lark {{\n{grammar}\n}}"))
        }
    };
    let mut formats = [schema, regex, lark].into_iter().flatten();
    let format = formats.next();
    match formats.next() {
        Some(_) => Err(Error::invalid_request("the answer can have one format only")),
        None => Ok(format),
    }
}

/// A tool's arguments, which are always an object.
fn arguments_rule(tool: &Tool) -> Result<String> {
    let is_free =
        tool.parameters.is_null() || tool.parameters.as_object().is_some_and(serde_json::Map::is_empty);
    if is_free { json_rule(&json!({ "type": "object" })) } else { json_rule(&tool.parameters) }
}

/// Text that is written just so.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

impl Rules<'_> {
    fn add(&mut self, name: &str, body: &str) {
        let _ = writeln!(self.text, "{name}: {body}");
    }

    /// A tag: as its token where it is a control token, else as text.
    fn tag(&self, text: &str) -> String {
        match self.control(text) {
            Some(id) => format!("<[{id}]>"),
            None => literal(text),
        }
    }

    fn control(&self, text: &str) -> Option<u32> {
        let mut control = self.tokenizer.added().iter().filter(|token| token.is_control);
        control.find(|token| token.text == text).map(|token| token.id)
    }

    /// Any text up to a tag, with the tag.
    fn text_up_to(&mut self, name: &str, tag: &str) {
        let written = self.tag(tag);
        match self.control(tag) {
            Some(_) => self.add(name, &format!("TEXT {written}")),
            None => self.add(&format!("{name}[lazy]"), &format!("TEXT {written}")),
        }
    }

    fn plain(
        &mut self,
        format: Option<&str>,
        syntax: Option<CallSyntax>,
        tools: &[&Tool],
        must_call: bool,
        dialect: &Dialect,
        prompt: &Prompt,
    ) -> Result<()> {
        let opened = THOUGHTS.iter().find(|thought| prompt.ends_with(thought.open));
        let thought = self.thought(opened, dialect.thought);
        if let Some(format) = format {
            self.add("formatted", format);
        }
        let answer = match (syntax, format) {
            (None, _) => "formatted".to_owned(),
            (Some(syntax), format) => {
                self.calls(syntax, tools)?;
                match (must_call, format, syntax) {
                    (true, ..) => "calls".to_owned(),
                    (false, Some(_), _) => "( calls | formatted )".to_owned(),
                    (false, None, CallSyntax::Bare) => {
                        self.add("PLAIN", r"/[ \n\r\t]*([^ \n\r\t{](.|\n)*)?/");
                        "( calls | PLAIN )".to_owned()
                    }
                    (false, None, _) => {
                        let mark = syntax.mark();
                        self.text_up_to("announced", mark);
                        "( announced after_mark )* TEXT".to_owned()
                    }
                }
            }
        };
        self.add("start", &format!("{thought}{answer}"));
        Ok(())
    }

    /// The rule of a thought before the answer, ready to be put before it.
    fn thought(&mut self, opened: Option<&'static Thought>, known: Option<&'static Thought>) -> &'static str {
        let Some(thought) = opened.or(known) else { return "" };
        self.text_up_to("thought_end", thought.close);
        if opened.is_some() {
            return "thought_end GAP ";
        }
        let open = self.tag(thought.open);
        self.add("thought", &format!("GAP {open} thought_end GAP"));
        "thought? "
    }

    /// The rules `calls`, one call or several, and `after_mark`, what follows where a call was announced.
    fn calls(&mut self, syntax: CallSyntax, tools: &[&Tool]) -> Result<()> {
        let mark = self.tag(syntax.mark());
        let mut one = Vec::new();
        for (at, tool) in tools.iter().enumerate() {
            let name = format!("tool_{at}");
            let body = self.call(syntax, tool, at)?;
            self.add(&name, &body);
            one.push(name);
        }
        self.add("one_call", &one.join(" | "));
        match syntax {
            CallSyntax::Hermes | CallSyntax::QwenTags | CallSyntax::GlmTags => {
                let end = self.tag("</tool_call>");
                self.add("after_mark", &format!("GAP one_call GAP {end}"));
                self.add("calls", &format!("GAP ( {mark} after_mark GAP )+"));
            }
            CallSyntax::Mistral if self.control("[ARGS]").is_some() => {
                self.add("after_mark", "one_call");
                self.add("calls", &format!("( {mark} after_mark )+"));
            }
            CallSyntax::Mistral | CallSyntax::List => {
                self.add("after_mark", r#"GAP "[" one_call ( ", " one_call )* "]""#);
                let end = self.control("<|/tool_call|>").map_or_else(String::new, |id| format!(" <[{id}]>"));
                self.add("calls", &format!("{mark} after_mark{end}"));
            }
            CallSyntax::Bare => {
                let mark = self.control(syntax.mark()).map_or_else(String::new, |id| format!("<[{id}]>? "));
                self.add("calls", &format!("{mark}one_call"));
            }
            CallSyntax::Harmony => {}
        }
        Ok(())
    }

    /// The rule of one call of a tool.
    fn call(&mut self, syntax: CallSyntax, tool: &Tool, at: usize) -> Result<String> {
        let key = if syntax == CallSyntax::Bare { "parameters" } else { "arguments" };
        match syntax {
            CallSyntax::QwenTags | CallSyntax::GlmTags => self.tagged_call(syntax, tool, at),
            CallSyntax::Mistral if self.control("[ARGS]").is_some() => {
                let arguments = self.tag("[ARGS]");
                Ok(format!("{} {arguments} {}", literal(&tool.name), arguments_rule(tool)?))
            }
            _ => {
                let open = format!("{{\"name\": {}, \"{key}\": ", literal(&tool.name));
                Ok(format!("{} {} \"}}\"", literal(&open), arguments_rule(tool)?))
            }
        }
    }

    /// A call whose arguments are tags: texts as they are, everything else as JSON.
    fn tagged_call(&mut self, syntax: CallSyntax, tool: &Tool, at: usize) -> Result<String> {
        let is_qwen = syntax == CallSyntax::QwenTags;
        let empty = serde_json::Map::new();
        let properties = tool.parameters.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let required = tool.parameters.get("required").and_then(Value::as_array);
        let mut body = literal(&match is_qwen {
            true => format!("<function={}>\n", tool.name),
            false => format!("{}\n", tool.name),
        });
        for (number, (key, schema)) in properties.iter().enumerate() {
            let name = format!("tool_{at}_value_{number}");
            let (open, close) = match is_qwen {
                true => (format!("<parameter={key}>\n"), "\n</parameter>\n"),
                false => (format!("<arg_key>{key}</arg_key>\n<arg_value>"), "</arg_value>\n"),
            };
            let is_free_text = schema.get("type").is_some_and(|kind| kind == "string")
                && schema.as_object().is_some_and(|fields| {
                    fields
                        .keys()
                        .all(|key| ["type", "description", "title", "default"].contains(&key.as_str()))
                });
            let choices = schema.get("enum").and_then(Value::as_array);
            let texts =
                choices.and_then(|choices| choices.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
            match texts {
                Some(texts) => {
                    let texts: Vec<String> = texts.into_iter().map(literal).collect();
                    self.add(&name, &format!("( {} ) {}", texts.join(" | "), literal(close)));
                }
                None if is_free_text => {
                    self.add(&format!("{name}[lazy]"), &format!("TEXT {}", literal(close)))
                }
                None => {
                    let value = self.value_rule(tool, schema)?;
                    self.add(&name, &format!("{value} {}", literal(close)));
                }
            }
            let is_required =
                required.is_some_and(|required| required.iter().any(|required| required == key));
            let _ = match is_required {
                true => write!(body, " {} {name}", literal(&open)),
                false => write!(body, " ( {} {name} )?", literal(&open)),
            };
        }
        if is_qwen {
            body.push_str(&format!(" {}", literal("</function>")));
        }
        Ok(body)
    }

    /// A value of a tool's arguments, with the definitions that its schema may refer to.
    fn value_rule(&self, tool: &Tool, schema: &Value) -> Result<String> {
        let Value::Object(mut schema) = schema.clone() else { return json_rule(schema) };
        for definitions in ["$defs", "definitions"] {
            if let Some(found) = tool.parameters.get(definitions) {
                schema.entry(definitions).or_insert_with(|| found.clone());
            }
        }
        json_rule(&Value::Object(schema))
    }

    /// gpt-oss's messages: thoughts, words before calls, then a call or the answer.
    fn harmony(&mut self, format: Option<&str>, tools: &[&Tool], must_call: bool) -> Result<()> {
        let [channel, message, end, start] =
            ["<|channel|>", "<|message|>", "<|end|>", "<|start|>"].map(|tag| self.tag(tag));
        let kind = self.tag("<|constrain|>");
        self.add("next", &format!("{end} {start} \"assistant\""));
        self.add("thought", &format!("{channel} \"analysis\" {message} TEXT next"));
        self.add("preamble", &format!("{channel} \"commentary\" {message} TEXT next"));
        let mut last = Vec::new();
        if !must_call {
            self.add("formatted", format.unwrap_or("TEXT"));
            let is_json =
                if format.is_some() { format!(" ( \" \" {kind} \"json\" )?") } else { String::new() };
            self.add("final", &format!("{channel} \"final\"{is_json} {message} formatted"));
            last.push("final".to_owned());
        }
        for (at, tool) in tools.iter().enumerate() {
            let to = literal(&format!(" to=functions.{}", tool.name));
            let arguments = arguments_rule(tool)?;
            let body = format!(
                "( {channel} \"commentary\" {to} | {to} {channel} \"commentary\" ) \
                 ( \" \"? {kind} \"json\" | \" json\" )? {message} {arguments}"
            );
            self.add(&format!("call_{at}"), &body);
            last.push(format!("call_{at}"));
        }
        self.add("start", &format!("( thought | preamble )* ( {} )", last.join(" | ")));
        Ok(())
    }
}
