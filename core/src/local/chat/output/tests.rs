use serde_json::json;

use super::*;

/// What a whole answer says: text, reasoning, and calls as `name(arguments)`.
#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    reasoning: String,
    calls: Vec<String>,
}

fn request() -> ChatRequest {
    let city = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    ChatRequest::user("x").with_tools([Tool::new("weather", "", city), Tool::new("clock", "", json!({}))])
}

fn dialect(calls: CallSyntax) -> Dialect {
    Dialect { calls: Some(calls), thought: None }
}

/// Reads an answer in pieces of so many characters, and checks what holds for every stream of events.
fn read_by(size: usize, dialect: &Dialect, prompt: &Prompt, request: &ChatRequest, answer: &str) -> Said {
    let mut reader = OutputReader::new(dialect, prompt, request);
    let characters: Vec<char> = answer.chars().collect();
    let mut events = Vec::new();
    for piece in characters.chunks(size) {
        events.extend(reader.push(&piece.iter().collect::<String>()));
    }
    events.extend(reader.finish());
    assert!(reader.finish().is_empty());
    let (mut said, mut open) = (Said::default(), Vec::<(String, String, String)>::new());
    for event in events {
        match event {
            ChatEvent::Text(piece) => said.text.push_str(&piece),
            ChatEvent::Reasoning(piece) => said.reasoning.push_str(&piece),
            ChatEvent::ToolCallStarted { index, id, name } => {
                assert_eq!((index, id.len()), (open.len(), 9));
                open.push((id, name, String::new()));
            }
            ChatEvent::ToolCallArguments { index, piece } => open[index].2.push_str(&piece),
            ChatEvent::ToolCall { index, call } => {
                assert_eq!(open[index], (call.id, call.name.clone(), call.arguments.clone()));
                said.calls.push(format!("{}({})", call.name, call.arguments));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((open.len(), reader.calls()), (said.calls.len(), said.calls.len()));
    said
}

/// Reads an answer cut in every way: the result is always the same.
fn read(dialect: &Dialect, prompt: &str, request: &ChatRequest, answer: &str) -> Said {
    let prompt = Prompt::chat(prompt, None);
    let whole = read_by(usize::MAX, dialect, &prompt, request, answer);
    for size in 1..12 {
        assert_eq!(read_by(size, dialect, &prompt, request, answer), whole, "by {size}: {answer}");
    }
    whole
}

fn said(text: &str, reasoning: &str, calls: &[&str]) -> Said {
    let calls = calls.iter().map(|call| (*call).to_owned()).collect();
    Said { text: text.to_owned(), reasoning: reasoning.to_owned(), calls }
}

#[test]
fn plain_text_is_the_answer() {
    for text in
        ["", " ", "Hola, ¿qué tal?\n", "a < b <thin", "I <think> so</think>", "{\"name\": 1}", "</think>x"]
    {
        assert_eq!(read(&Dialect::default(), "", &ChatRequest::user("x"), text), said(text, "", &[]));
    }
}

#[test]
fn thoughts_are_kept_apart_whoever_opened_them() {
    let dialect = Dialect::default();
    let request = ChatRequest::user("x");
    let expected = said("The answer, with <think> in it.\n", "Not a </thin>, ñ\n\nbecause", &[]);
    let answer = "\n\nNot a </thin>, ñ\n\nbecause \n</think>\n\nThe answer, with <think> in it.\n";
    assert_eq!(read(&dialect, "…<think>\n", &request, answer), expected);
    assert_eq!(read(&dialect, "", &request, &format!("\n<think>{answer}")), expected);
    assert_eq!(read(&dialect, "", &request, "<think>\n\n</think>\n\nyes"), said("yes", "", &[]));
    assert_eq!(read(&dialect, "", &request, "<think>cut of"), said("", "cut of", &[]));
    assert_eq!(read(&dialect, "", &request, "[THINK]a[/THINK]b"), said("b", "a", &[]));
    assert_eq!(read(&dialect, "x[THINK]", &request, "a</think>[/THINK]b"), said("b", "a</think>", &[]));
}

#[test]
fn calls_within_tags_are_read() {
    let hermes = dialect(CallSyntax::Hermes);
    let one =
        "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Vi\\u00f1a \\\"}\"}}\n</tool_call>";
    let call = "weather({\"city\": \"Vi\\u00f1a \\\"}\"})";
    assert_eq!(read(&hermes, "", &request(), one), said("", "", &[call]));
    let two = format!(
        "Let me see.\n\n{one}\n<tool_call>{{\"arguments\": {{}}, \"name\": \"clock\"}}</tool_call>\nDone"
    );
    assert_eq!(read(&hermes, "", &request(), &two), said("Let me see.\nDone", "", &[call, "clock({})"]));
    let thought = format!("<think>hm</think>\n\n{one}");
    assert_eq!(read(&hermes, "", &request(), &thought), said("", "hm", &[call]));
    let encoded = "<tool_call>{\"name\": \"clock\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>";
    assert_eq!(read(&hermes, "", &request(), encoded), said("", "", &["clock({\"a\": 1})"]));
    let list = "<tool_call>[{\"name\": \"clock\", \"arguments\": {}}, {\"name\": \"clock\", \"arguments\": {}}]</tool_call>";
    assert_eq!(read(&hermes, "", &request(), list), said("", "", &["clock({})", "clock({})"]));
}

#[test]
fn what_is_no_call_stays_text() {
    let hermes = dialect(CallSyntax::Hermes);
    for text in [
        "The tag <tool_call> starts a call",
        "<tool_call>{\"nam\": \"x\"}</tool_call>",
        "<tool_call>{oops}</tool_call>",
        "<tool_call>",
        "a <tool_cal",
        "<tool_call>{\"name\"",
    ] {
        let found = read(&hermes, "", &request(), text);
        assert_eq!(found.calls, Vec::<String>::new(), "{text}");
        let squeezed = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(squeezed(&found.text), squeezed(text));
    }
    let untouched = "<tool_call>{\"name\": \"clock\", \"arguments\": {}}</tool_call>";
    assert_eq!(read(&hermes, "", &ChatRequest::user("x"), untouched), said(untouched, "", &[]));
    let none = request().with_tool_choice(ToolChoice::None);
    assert_eq!(read(&hermes, "", &none, untouched), said(untouched, "", &[]));
}

#[test]
fn a_call_that_is_cut_off_comes_as_far_as_it_was_written() {
    let hermes = dialect(CallSyntax::Hermes);
    let cut = "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Val";
    assert_eq!(read(&hermes, "", &request(), cut), said("", "", &["weather({\"city\": \"Val)"]));
}

#[test]
fn llamas_calls_are_answers_of_nothing_but_json() {
    let bare = dialect(CallSyntax::Bare);
    let call = "{\"name\": \"weather\", \"parameters\": {\"city\": \"Lima\"}}";
    let expected = said("", "", &["weather({\"city\": \"Lima\"})"]);
    assert_eq!(read(&bare, "", &request(), call), expected);
    assert_eq!(read(&bare, "", &request(), &format!("<|python_tag|>{call}")), expected);
    let two = format!("{call}; {call}");
    assert_eq!(read(&bare, "", &request(), &two).calls.len(), 2);
    for text in ["{\"name\": \"Ana\", \"age\": 3}", "{\"a\": 1}", "Use {\"name\": \"weather\"}", "{", "{}"] {
        assert_eq!(read(&bare, "", &request(), text), said(text, "", &[]));
    }
}

#[test]
fn mistrals_calls_are_read_in_both_forms() {
    let mistral = dialect(CallSyntax::Mistral);
    let list = "[TOOL_CALLS][{\"name\": \"weather\", \"arguments\": {\"city\": \"A\"}, \"id\": \"abcdefghi\"}, \
                {\"name\": \"clock\", \"arguments\": {}}]";
    let expected = said("", "", &["weather({\"city\": \"A\"})", "clock({})"]);
    assert_eq!(read(&mistral, "", &request(), list), expected);
    let named = "[TOOL_CALLS]weather[ARGS]{\"city\": \"A\"}[TOOL_CALLS]clock[ARGS]{}";
    assert_eq!(read(&mistral, "", &request(), named), expected);
    let ids = "[TOOL_CALLS]weather[CALL_ID]123456789[ARGS]{\"city\": \"A\"}[TOOL_CALLS]clock{}";
    assert_eq!(read(&mistral, "", &request(), ids), expected);
}

#[test]
fn lists_after_a_mark_are_read() {
    let list = dialect(CallSyntax::List);
    for end in ["", "<|/tool_call|>"] {
        let answer = format!("<|tool_call|>[{{\"name\": \"clock\", \"arguments\": {{}}}}]{end}");
        assert_eq!(read(&list, "", &request(), &answer), said("", "", &["clock({})"]));
    }
}

#[test]
fn calls_of_tags_are_read() {
    let qwen = dialect(CallSyntax::QwenTags);
    let answer =
        "Hm\n<tool_call>\n<function=weather>\n<parameter=city>\n12\n</parameter>\n</function>\n</tool_call>";
    assert_eq!(read(&qwen, "", &request(), answer), said("Hm", "", &["weather({\"city\":\"12\"})"]));
    let glm = dialect(CallSyntax::GlmTags);
    let answer = "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>12</arg_value>\n</tool_call>";
    assert_eq!(read(&glm, "", &request(), answer), said("", "", &["weather({\"city\":\"12\"})"]));
}

#[test]
fn messages_of_gpt_oss_are_told_apart() {
    let harmony = dialect(CallSyntax::Harmony);
    let thought = "<|channel|>analysis<|message|>Let me <think>.<|end|><|start|>assistant";
    let answer = format!("{thought}<|channel|>final<|message|>It is < 5.");
    assert_eq!(read(&harmony, "", &request(), &answer), said("It is < 5.", "Let me <think>.", &[]));
    let calls = [
        "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\": \"A\"}<|call|>",
        " to=functions.weather<|channel|>commentary json<|message|>{\"city\": \"A\"}",
    ];
    for call in calls {
        let expected = said("", "Let me <think>.", &["weather({\"city\": \"A\"})"]);
        assert_eq!(read(&harmony, "", &request(), &format!("{thought}{call}")), expected);
    }
    assert_eq!(read(&harmony, "", &request(), "Plain words."), said("Plain words.", "", &[]));
}

#[test]
fn stop_sequences_end_the_answer_and_not_the_thought() {
    let request = ChatRequest::user("x").with_stop(["STOP", "\n\n"]);
    let answer = "<think>STOP\n\nhere</think>\n\nThe answer STOPS here";
    assert_eq!(read(&Dialect::default(), "", &request, answer), said("The answer ", "STOP\n\nhere", &[]));
    let mut reader = OutputReader::new(&Dialect::default(), &Prompt::default(), &request);
    assert!(!reader.push("one S").is_empty() && !reader.is_stopped());
    assert!(reader.push("TOP").is_empty() && reader.is_stopped());
    assert!(reader.push("more").is_empty());
}

#[test]
fn a_thought_can_be_ended_from_outside() {
    let request = ChatRequest::user("x");
    let mut reader = OutputReader::new(&Dialect::default(), &Prompt::chat("<think>\n", None), &request);
    assert!(reader.is_thinking());
    reader.push("so long");
    let end = reader.thought_end().unwrap();
    reader.push(&end);
    assert!(!reader.is_thinking() && reader.thought_end().is_none());
    let events = [reader.push("Answer"), reader.finish()].concat();
    assert_eq!(events, [ChatEvent::Text("Answer".to_owned())]);
    let mut reader = OutputReader::new(&dialect(CallSyntax::Harmony), &Prompt::default(), &request);
    reader.push("<|channel|>analysis<|message|>so long");
    let end = reader.thought_end().unwrap();
    let events = [reader.push(&end), reader.push("Answer"), reader.finish()].concat();
    assert_eq!(events, [ChatEvent::Text("Answer".to_owned())]);
}

#[test]
fn dialects_are_known_by_the_templates_of_published_models() {
    use crate::local::tokenizer::testing::golden;
    for (name, calls) in [
        ("Qwen-Qwen3-0.6B", Some(CallSyntax::Hermes)),
        ("ibm-granite-granite-4.0", Some(CallSyntax::Hermes)),
        ("Qwen3-Coder", Some(CallSyntax::QwenTags)),
        ("Qwen3.5-4B", Some(CallSyntax::QwenTags)),
        ("GLM-4.6", Some(CallSyntax::GlmTags)),
        ("mistralai-Mistral-Nemo-Instruct-2407", Some(CallSyntax::Mistral)),
        ("Mistral-Small-3.2-24B-Instruct-2506", Some(CallSyntax::Mistral)),
        ("ibm-granite-granite-3.3-2B-Instruct", Some(CallSyntax::List)),
        ("openai-gpt-oss-120b", Some(CallSyntax::Harmony)),
        ("microsoft-Phi-3.5-mini-instruct", None),
    ] {
        let source = std::fs::read_to_string(golden("templates").join(format!("{name}.jinja"))).unwrap();
        assert_eq!(Dialect::of_template(&source).calls, calls, "{name}");
    }
}
