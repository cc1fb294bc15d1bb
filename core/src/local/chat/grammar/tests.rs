use serde_json::{Value, json};

use super::*;
use crate::chat::{OutputFormat, Tool, ToolChoice};
use crate::local::chat::output::CallSyntax;
use crate::local::tokenizer::testing::byte_level;

const CONTROL: [&str; 10] = [
    "[TOOL_CALLS]",
    "[ARGS]",
    "<|channel|>",
    "<|message|>",
    "<|end|>",
    "<|start|>",
    "<|constrain|>",
    "<|call|>",
    "<|return|>",
    "<|python_tag|>",
];

fn grammars() -> Grammars {
    Grammars::new(Arc::new(byte_level(&CONTROL, "")))
}

fn json_schema(schema: Value) -> ChatRequest {
    ChatRequest::user("x").with_output(OutputFormat::json_schema("s", schema, true))
}

fn constraint(grammars: &Grammars, request: &ChatRequest, dialect: &Dialect, prompt: &str) -> Constraint {
    grammars.constraint(request, dialect, &Prompt::chat(prompt, None)).unwrap().unwrap()
}

/// Whether an answer keeps to the grammar: every token of it, and then its end.
fn takes(grammars: &Grammars, constraint: &Constraint, answer: &str) -> bool {
    let mut constraint = constraint.clone();
    let tokens = grammars.tokenizer.encode(&Prompt::completion(answer)).unwrap();
    for token in tokens {
        if constraint.is_done() || !constraint.mask().unwrap().allows(token) {
            return false;
        }
        constraint.accept(token).unwrap();
    }
    constraint.may_end()
}

fn check(request: &ChatRequest, dialect: &Dialect, prompt: &str, right: &[&str], wrong: &[&str]) {
    let grammars = grammars();
    let constraint = constraint(&grammars, request, dialect, prompt);
    for answer in right {
        assert!(takes(&grammars, &constraint, answer), "refused: {answer}");
    }
    for answer in wrong {
        assert!(!takes(&grammars, &constraint, answer), "taken: {answer}");
    }
}

fn person() -> Value {
    json!({
        "type": "object", "properties": { "name": { "type": "string" }, "age": { "type": "integer", "minimum": 0 } },
        "required": ["name", "age"], "additionalProperties": false,
    })
}

fn tools() -> [Tool; 2] {
    let city = json!({
        "type": "object", "properties": { "city": { "$ref": "#/$defs/city" } }, "required": ["city"],
        "additionalProperties": false, "$defs": { "city": { "type": "string", "enum": ["Lima", "La Paz"] } },
    });
    [Tool::new("weather", "", city), Tool::new("clock", "", json!({}))]
}

fn dialect(calls: CallSyntax) -> Dialect {
    Dialect { calls: Some(calls), thought: Dialect::of_template("</think>").thought }
}

#[test]
fn a_schema_is_kept() {
    check(
        &json_schema(person()),
        &Dialect::default(),
        "",
        &[
            r#"{"name": "Ana", "age": 3}"#,
            r#"{"name":"ñ 漢 \" 😀","age":0}"#,
            "{\n  \"name\": \"a\",\n  \"age\": 12\n}",
        ],
        &[
            "Ana",
            "{}",
            r#"{"name": "Ana"}"#,
            r#"{"name": "Ana", "age": -1}"#,
            r#"{"name": "Ana", "age": 3} "#,
            r#"{"name": "Ana", "age": 3, "x": 1}"#,
        ],
    );
    let request = ChatRequest::user("x").with_output(OutputFormat::Json);
    check(&request, &Dialect::default(), "", &["{}", r#"{"a": [1, {"b": null}]}"#], &["[]", "1", "{} {}"]);
}

#[test]
fn regular_expressions_and_lark_are_kept() {
    let request = ChatRequest::user("x").with_extra("guided_regex", r"\d{2}/\d{2}|nunca");
    check(&request, &Dialect::default(), "", &["12/34", "nunca"], &["1/2", "12/345", "nunc", ""]);
    let request = ChatRequest::user("x")
        .with_extra("guided_grammar", "start: \"a\" rest\nrest: \"b\"* | \"(\" rest \")\"");
    check(&request, &Dialect::default(), "", &["a", "abbb", "a((b))"], &["b", "a(b", "a((b)"]);
}

#[test]
fn thoughts_are_free_and_come_before_the_format() {
    let dialect = Dialect { calls: None, thought: Dialect::of_template("</think>").thought };
    let answer = r#"{"name": "Ana", "age": 3}"#;
    let thought = format!("Well, {{\"name\": 1}}…\n</think>\n\n{answer}");
    check(&json_schema(person()), &dialect, "<think>\n", &[&thought], &[answer, "so</think>\n\nAna"]);
    let whole = format!("<think>{thought}");
    check(&json_schema(person()), &dialect, "", &[answer, &whole], &["<think>so</think>Ana", "so</think>{}"]);
}

#[test]
fn arguments_follow_their_schema_once_a_call_begins() {
    let request = ChatRequest::user("x").with_tools(tools());
    let call = |name: &str, arguments: &str| {
        format!("<tool_call>\n{{\"name\": \"{name}\", \"arguments\": {arguments}}}\n</tool_call>")
    };
    let right = call("weather", r#"{"city": "Lima"}"#);
    let (wrong_city, wrong_tool) = (call("weather", r#"{"city": "Rome"}"#), call("nothing", "{}"));
    let two = format!("I look.\n{right}\n{}\nDone.", call("clock", "{}"));
    check(
        &request,
        &dialect(CallSyntax::Hermes),
        "",
        &["Just words, {\"name\"", "", &right, &two, &format!("<think>hm</think>\n\n{right}")],
        &[
            &wrong_city,
            &wrong_tool,
            &format!("words {wrong_city}"),
            &format!("{right}{wrong_tool}"),
            "<tool_call>",
        ],
    );
    let required = request.clone().with_tool_choice(ToolChoice::Required);
    check(&required, &dialect(CallSyntax::Hermes), "", &[&right], &["Just words", "", &wrong_city]);
    let clock = request.with_tool_choice(ToolChoice::Tool("clock".to_owned()));
    check(&clock, &dialect(CallSyntax::Hermes), "", &[&call("clock", "{}")], &[&right, "x"]);
}

#[test]
fn every_way_to_call_a_tool_is_kept() {
    let request = ChatRequest::user("x").with_tools(tools());
    check(
        &request,
        &dialect(CallSyntax::Bare),
        "",
        &[
            "words",
            "",
            r#"{"name": "weather", "parameters": {"city": "La Paz"}}"#,
            r#"<|python_tag|>{"name": "clock", "parameters": {}}"#,
        ],
        &[r#"{"name": "weather", "parameters": {"city": "x"}}"#, r#"{"a": 1}"#, r#" {"a": 1}"#],
    );
    check(
        &request,
        &dialect(CallSyntax::Mistral),
        "",
        &["words", r#"[TOOL_CALLS]weather[ARGS]{"city": "Lima"}[TOOL_CALLS]clock[ARGS]{}"#],
        &[r#"[TOOL_CALLS]weather[ARGS]{"city": 1}"#, "[TOOL_CALLS]nothing[ARGS]{}"],
    );
    check(
        &request,
        &dialect(CallSyntax::List),
        "",
        &[
            "words",
            r#"<|tool_call|>[{"name": "clock", "arguments": {}}, {"name": "clock", "arguments": {}}]"#,
        ],
        &[r#"<|tool_call|>[{"name": "weather", "arguments": {}}]"#],
    );
    check(
        &request,
        &dialect(CallSyntax::QwenTags),
        "",
        &[
            "words",
            "<tool_call>\n<function=weather>\n<parameter=city>\n\"Lima\"\n</parameter>\n</function>\n</tool_call>",
        ],
        &[
            "<tool_call>\n<function=weather>\n</function>\n</tool_call>",
            "<tool_call>\n<function=x>\n</function>\n</tool_call>",
        ],
    );
    check(
        &request,
        &dialect(CallSyntax::GlmTags),
        "",
        &["words", "<tool_call>clock\n</tool_call>"],
        &["<tool_call>weather\n</tool_call>"],
    );
    let thought = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant";
    check(
        &request,
        &dialect(CallSyntax::Harmony),
        "",
        &[
            "<|channel|>final<|message|>words",
            &format!(
                "{thought}<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{{\"city\": \"Lima\"}}"
            ),
            &format!("{thought} to=functions.clock<|channel|>commentary json<|message|>{{}}"),
        ],
        &[
            "words",
            &format!("{thought}<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{{}}"),
        ],
    );
}

#[test]
fn free_answers_have_no_grammar_and_impossible_ones_are_refused() {
    let grammars = grammars();
    let ask =
        |request: &ChatRequest, dialect: &Dialect| grammars.constraint(request, dialect, &Prompt::default());
    assert!(ask(&ChatRequest::user("x"), &Dialect::default()).unwrap().is_none());
    let free = ChatRequest::user("x").with_tools(tools()).with_tool_choice(ToolChoice::None);
    assert!(ask(&free, &dialect(CallSyntax::Hermes)).unwrap().is_none());
    assert!(grammars.factory.get().is_none(), "nothing is made that nobody needs");
    let required = ChatRequest::user("x").with_tools(tools()).with_tool_choice(ToolChoice::Required);
    assert_eq!(ask(&required, &Dialect::default()).unwrap_err().kind(), ErrorKind::Unsupported);
    for request in [
        ChatRequest::user("x").with_tool_choice(ToolChoice::Required),
        ChatRequest::user("x").with_tools(tools()).with_tool_choice(ToolChoice::Tool("no".to_owned())),
        json_schema(json!({ "type": "nothing" })),
        json_schema(json!({ "type": "string", "x-guidance": { "lenient": true } })),
        json_schema(json!({ "$ref": "https://example.org/schema.json" })),
        json_schema(json!({ "not": { "type": "string" } })),
        json_schema(json!("text")),
        ChatRequest::user("x").with_extra("guided_regex", "(["),
        ChatRequest::user("x").with_extra("guided_regex", 1),
        ChatRequest::user("x").with_extra("guided_grammar", "begin: \"a\""),
        json_schema(person()).with_extra("guided_regex", "a"),
    ] {
        let error = ask(&request, &Dialect::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    }
}

#[test]
fn hostile_grammars_end_in_an_error_or_a_mask_within_their_limits() {
    let mut deep = json!({ "type": "string" });
    for _ in 0..500 {
        deep = json!({ "type": "object", "properties": { "a": deep }, "required": ["a"] });
    }
    let any_of = |count: usize| -> Value {
        (0..count)
            .map(|at| json!({ "properties": { format!("k{at}"): { "type": "string", "minLength": at } } }))
            .collect()
    };
    let schemas = [
        deep,
        json!({ "type": "string", "minLength": 1_000_000_000, "maxLength": 2_000_000_000 }),
        json!({ "type": "string", "pattern": "^((((a{1,99}){1,99}){1,99}){1,99}){1,99}$" }),
        json!({ "type": "string", "pattern": "(a|aa|aaa|aaaa|(b|bb)*)*c(.*d){50}" }),
        json!({ "type": "array", "minItems": 1_000_000_000, "items": { "type": "integer" } }),
        json!({ "enum": (0..200_000).collect::<Vec<_>>() }),
        json!({ "allOf": (0..12).map(|_| json!({ "anyOf": any_of(12) })).collect::<Vec<_>>() }),
        json!({ "$ref": "#" }),
        json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } }),
        json!({ "anyOf": [{ "$ref": "#" }, { "allOf": [{ "$ref": "#" }, { "$ref": "#" }] }] }),
        json!({ "type": "integer", "minimum": -1e300, "maximum": 1e300, "multipleOf": 7 }),
        json!({ "type": "object", "properties": (0..20_000).map(|at| (format!("k{at}"), json!({ "type": "number" }))).collect::<serde_json::Map<_, _>>() }),
    ];
    let grammars = grammars();
    let mut requests: Vec<ChatRequest> = schemas.into_iter().map(json_schema).collect();
    requests.push(ChatRequest::user("x").with_extra("guided_regex", "(x+x+)+y".repeat(200)));
    requests.push(
        ChatRequest::user("x").with_extra(
            "guided_grammar",
            format!("start: {}\"a\"{}", "(".repeat(50_000), ")".repeat(50_000)),
        ),
    );
    requests.push(ChatRequest::user("x").with_extra("guided_grammar", "start: start start | \"a\" | \"\""));
    for (at, request) in requests.iter().enumerate() {
        let started = std::time::Instant::now();
        if let Ok(Some(mut constraint)) =
            grammars.constraint(request, &Dialect::default(), &Prompt::default())
        {
            for _ in 0..20 {
                let Ok(mask) = constraint.mask() else { break };
                let token = mask.tokens().next().expect("a mask is never empty");
                if constraint.is_done() || constraint.accept(token).is_err() {
                    break;
                }
            }
        }
        assert!(started.elapsed().as_secs() < 20, "grammar {at} took {:?}", started.elapsed());
    }
}

#[test]
fn a_grammar_is_compiled_once_and_its_answers_are_apart() {
    let grammars = grammars();
    let request = json_schema(person());
    let mut first = constraint(&grammars, &request, &Dialect::default(), "");
    let brace = grammars.tokenizer.encode(&Prompt::completion("{")).unwrap()[0];
    first.accept(brace).unwrap();
    let mut second = constraint(&grammars, &request, &Dialect::default(), "");
    assert_eq!(grammars.kept.lock().unwrap().len(), 1);
    assert!(second.mask().unwrap().allows(brace) && !first.mask().unwrap().allows(brace));
    for at in 0..2 * MAX_KEPT {
        constraint(&grammars, &json_schema(json!({ "const": at })), &Dialect::default(), "");
    }
    assert_eq!(grammars.kept.lock().unwrap().len(), MAX_KEPT);
}

#[test]
fn a_complete_answer_may_only_end_and_a_wrong_token_is_an_error() {
    let grammars = grammars();
    let mut constraint = constraint(&grammars, &json_schema(json!({ "const": 1 })), &Dialect::default(), "");
    let [one, two] = ["1", "2"].map(|text| grammars.tokenizer.encode(&Prompt::completion(text)).unwrap()[0]);
    assert_eq!(constraint.allowed_prefix(&[one, two]).unwrap(), 1);
    assert!(!constraint.may_end() && !constraint.is_done());
    assert!(constraint.clone().accept(two).is_err());
    constraint.accept(one).unwrap();
    assert!(constraint.may_end() && constraint.is_done());
    let ends: Vec<u32> = constraint.mask().unwrap().tokens().collect();
    assert_eq!(ends, grammars.tokenizer.ends());
    assert!(!constraint.mask().unwrap().allows(u32::MAX));
}
