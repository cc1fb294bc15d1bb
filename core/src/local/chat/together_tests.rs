//! Eight conversations together give exactly what each gives alone, over the real SmolLM2-135M: with sampling of their own,
//! prompts in pieces, shared beginnings, too little memory for all of them, and guesses. `make models` fetches the model.

use std::sync::atomic::Ordering;

use ayni_testkit::real_models::smollm2;
use futures_util::future::join_all;

use super::LocalChat;
use super::prefix::PrefixStore;
use super::speculation::Speculate;
use crate::chat::{ChatBackend, ChatRequest, ChatResponse, FinishReason, OutputFormat};
use crate::context::Context;
use crate::env::Environment;
use crate::local::LocalChatConfig;

/// Memory for fewer pages than eight conversations need: bytes of a page of SmolLM2-135M in f16.
const PAGE_BYTES: u64 = 30 * 2 * 3 * 64 * 2 * 64;

fn config() -> LocalChatConfig {
    LocalChatConfig::new(smollm2().to_str().unwrap()).with_device("cpu")
}

fn open(config: &LocalChatConfig, speculate: Speculate) -> LocalChat {
    LocalChat::open_with(config, &Environment::empty(), move |mut model| {
        model.speculate = speculate;
        model
    })
    .unwrap()
}

/// Eight requests, each with its own way to choose tokens. Some begin alike; one is longer than a piece of a prompt. Answers take
/// pages that nobody knew of when they were let in.
fn requests() -> Vec<ChatRequest> {
    let rules = "You answer questions about the sea and its fish, its ships and its people, in plain words, and nothing else.";
    let long = "The harbour was quiet, and the boats lay side by side in the morning light. ".repeat(20);
    let repeat = "Write this list again, twice: red, green, blue, red, green, blue, red, green, blue.";
    let schema = serde_json::json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "legs": {"type": "integer"}, "wild": {"type": "boolean"}},
        "required": ["name", "legs", "wild"],
        "additionalProperties": false,
    });
    let base =
        |text: &str, seed: u64| ChatRequest::user(text).with_seed(seed).with_max_tokens(100).with_logprobs(3);
    vec![
        base("Which fish is the largest?", 1).with_system(rules).with_temperature(0.0),
        base("Which fish can fly?", 2).with_system(rules).with_temperature(0.9),
        base("Name three ships.", 3).with_system(rules).with_temperature(1.1).with_top_p(0.8),
        base(repeat, 4).with_temperature(0.0),
        base(repeat, 5).with_temperature(0.7).with_extra("min_p", 0.1).with_extra("repetition_penalty", 1.1),
        base("Describe a horse.", 7)
            .with_temperature(0.6)
            .with_output(OutputFormat::json_schema("animal", schema, true)),
        base("Count to nine.", 8)
            .with_temperature(1.0)
            .with_extra("xtc_probability", 0.5)
            .with_extra("typical_p", 0.9),
        base(&format!("{long}What was quiet?"), 6).with_temperature(0.8).with_extra("dry_multiplier", 0.8),
    ]
}

/// What must be alike: the text, and how likely each token was, to the last bit.
fn outcome(response: ChatResponse) -> String {
    format!("{:?} {} {:?}", response.finish, response.text, response.logprobs)
}

/// Each by itself. Without `reuse`, nothing is left of the one before.
async fn alone(chat: &LocalChat, reuse: bool) -> Vec<String> {
    chat.ready(&Context::new()).await.unwrap();
    let mut all = Vec::new();
    for request in requests() {
        if !reuse {
            *chat.worker.loaded().unwrap().prefixes.lock().unwrap() = PrefixStore::default();
        }
        all.push(outcome(chat.chat(&Context::new(), request).await.unwrap()));
    }
    all
}

async fn together(chat: &LocalChat) -> Vec<String> {
    let cx = Context::new();
    let answers = join_all(requests().into_iter().map(|request| chat.chat(&cx, request))).await;
    answers.into_iter().map(|answer| outcome(answer.unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_together_are_what_each_is_alone() {
    let truth = alone(&open(&config(), Speculate::Never), false).await;
    let folder = tempfile::tempdir().unwrap();
    let spilling = config().with_spill(folder.path().to_str().unwrap());
    let pages = |config: LocalChatConfig, pages: u64| config.with_cache_bytes(pages * PAGE_BYTES);
    let mut interrupted = 0;
    for (speculate, config, is_short) in [
        (Speculate::Never, config(), false),
        (Speculate::Always, config(), false),
        // How long the answers are depends on the CPU's last bits, so who is in whose way is tried with more than one size.
        (Speculate::Never, pages(config(), 9), true),
        (Speculate::Never, pages(config(), 11), true),
        (Speculate::Never, pages(config(), 12), true),
        (Speculate::Always, pages(spilling, 10), true),
    ] {
        let what = format!("{speculate:?} {config:?}");
        let chat = open(&config, speculate);
        let happened = || {
            let model = chat.worker.loaded().unwrap();
            let guessed = model.counts.guessed.load(Ordering::Relaxed) > 0;
            [guessed, model.prefixes.lock().unwrap().read_back > 0]
        };
        let expected = [speculate == Speculate::Always, config.spill.is_some()];
        // From the second time on with beginnings that were left. Those on disk may need some more rounds.
        for round in 0..12 {
            for (found, truth) in together(&chat).await.into_iter().zip(&truth) {
                assert_eq!(&found, truth, "round {round}, {what}");
            }
            if round > 0 && happened() == expected {
                break;
            }
        }
        if is_short {
            assert_eq!(alone(&chat, true).await, truth, "{what}");
        }
        assert_eq!(happened(), expected, "guessed, read back: {what}");
        let model = chat.worker.loaded().unwrap();
        let of_this = model.counts.interrupted.load(Ordering::Relaxed);
        if is_short {
            assert!(model.model.cache_bytes() <= model.limits.cache_bytes, "{what}");
            interrupted += of_this;
        } else {
            assert_eq!(of_this, 0, "{what}");
        }
    }
    assert!(interrupted > 0, "memory was never short");
    // Nothing stays in the folder.
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dtype_of_keys_and_values_gives_an_answer_and_the_same_one_again() {
    let question =
        || ChatRequest::user("What is the capital of France?").with_temperature(0.0).with_max_tokens(24);
    let mut texts = Vec::new();
    for kv in ["f32", "f16", "bf16", "int8"] {
        let chat = open(&config().with_kv(kv), Speculate::Always);
        let cx = Context::new();
        let first = chat.chat(&cx, question()).await.unwrap();
        let second = chat.chat(&cx, question()).await.unwrap();
        assert_eq!(first.text, second.text);
        assert!(first.text.len() > 10, "{kv}: {}", first.text);
        let reason = chat.info.precision_reason.as_deref().unwrap().to_owned();
        assert!(reason.ends_with(&format!("keys and values are {kv}")), "{reason}");
        let model = chat.worker.loaded().unwrap();
        texts.push((model.model.cache_bytes_per_token(), first.text));
    }
    assert_eq!(texts[0].1, texts[1].1, "f16 chooses other tokens than f32");
    let sizes: Vec<usize> = texts.iter().map(|(bytes, _)| *bytes).collect();
    let heads = 30 * 2 * 3;
    assert_eq!(sizes, [heads * 256, heads * 128, heads * 128, heads * 68]);
    let error = config().with_kv("int4").open(&Environment::empty()).unwrap_err();
    assert!(error.message().contains("valid: auto, f32, f16, bf16, int8"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_more_urgent_go_first() {
    let chat = open(&config().with_max_running(1), Speculate::Never);
    chat.ready(&Context::new()).await.unwrap();
    let done = std::sync::Mutex::new(Vec::new());
    let ask = async |name: &'static str, priority: i64, tokens: u32| {
        let request = ChatRequest::user("Count to a hundred.").with_max_tokens(tokens);
        let request = request.with_extra("priority", priority).with_temperature(0.0);
        chat.chat(&Context::new(), request).await.unwrap();
        done.lock().unwrap().push(name);
    };
    // All three wait behind the first.
    tokio::join!(ask("first", 0, 60), ask("later", 5, 2), ask("usual", 0, 2), ask("urgent", -1, 2));
    assert_eq!(*done.lock().unwrap(), ["first", "urgent", "usual", "later"]);
    let wrong = ChatRequest::user("hi").with_extra("priority", "high");
    let error = chat.chat(&Context::new(), wrong).await.unwrap_err();
    assert!(error.message().contains("smaller ones come first"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_goes_on_past_its_end_where_that_is_asked_for() {
    let chat = open(&config(), Speculate::Never);
    let cx = Context::new();
    let short = ChatRequest::user("Which fish can fly?").with_temperature(0.0).with_max_tokens(120);
    let ended = chat.chat(&cx, short.clone()).await.unwrap();
    assert_eq!(ended.finish, FinishReason::Stop);
    let whole = chat.chat(&cx, short.clone().with_extra("ignore_eos", true)).await.unwrap();
    assert_eq!((whole.finish, whole.usage.output_tokens), (FinishReason::Length, Some(120)));
    assert!(whole.text.starts_with(&ended.text), "{}", whole.text);
    let wrong = chat.chat(&cx, short.clone().with_extra("ignore_eos", "yes")).await.unwrap_err();
    assert!(wrong.message().contains("true or false"), "{wrong}");
    let bound = short.with_extra("ignore_eos", true).with_output(OutputFormat::Json);
    let error = chat.chat(&cx, bound).await.unwrap_err();
    assert!(error.message().contains("does not go with an answer in a format"), "{error}");
}
