//! What is measured of a chat model: each work gives the time that it took, and for how many tokens.

use std::time::{Duration, Instant};

use ayni::local::LocalChatConfig;
use ayni::{AnyChat, ChatEvent, ChatRequest, Context, Environment, Error, Message, OutputFormat};
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::Side;

/// How often a prompt is asked for until its answer is long enough.
const MOST_TRIES: usize = 40;

/// Words that most tokenizers have a token for each of.
const WORDS: [&str; 24] = [
    "river", "house", "green", "music", "paper", "stone", "light", "water", "night", "table", "garden",
    "summer", "letter", "window", "street", "morning", "market", "island", "winter", "silver", "bridge",
    "forest", "doctor", "school",
];

/// An answer, as it came.
#[derive(Clone, Debug)]
struct Timed {
    /// From the request to the first text.
    first: Duration,
    /// From there to the end.
    rest: Duration,
    input_tokens: u64,
    output_tokens: u64,
    text: String,
}

/// A model, and the runtime that asks it.
pub(super) struct Chat {
    runtime: Runtime,
    chat: AnyChat,
    /// So that no prompt begins like an earlier one.
    asked: u64,
}

impl Chat {
    /// Loads a model, and computes a first token.
    pub(super) fn open(file: &str) -> Result<Self, Error> {
        // The small model repeats itself at temperature 0, and guesses would make that look like speed.
        let config =
            LocalChatConfig::new(file).with_device("cpu").with_max_running(8).with_speculation(false);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::config(format!("no runtime: {error}")))?;
        let chat = config.open(&Environment::process())?;
        let mut chat = Self { runtime, chat, asked: 0 };
        chat.runtime.block_on(chat.chat.ready(&Context::new()))?;
        chat.prefill(16)?;
        Ok(chat)
    }

    fn ask(&self, request: ChatRequest) -> Result<Timed, Error> {
        self.runtime.block_on(timed(&self.chat, request))
    }

    /// A request whose prompt has about so many tokens, and begins like no other.
    fn request(&mut self, tokens: usize) -> Result<ChatRequest, Error> {
        self.asked += 1;
        let start = format!("Number {}: write a very long story about", self.asked * 7919);
        let mut seed = self.asked;
        let mut text = start.clone();
        let empty = self.chat.count_tokens(&ChatRequest::user(start.as_str()))?;
        for _ in empty..tokens {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push(' ');
            text.push_str(WORDS[usize::try_from(seed >> 33).unwrap_or_default() % WORDS.len()]);
        }
        // An answer of another length would be other work than the peers'.
        Ok(ChatRequest::user(text).with_temperature(0.0).with_extra("ignore_eos", true))
    }
}

impl Side for Chat {
    fn prefill(&mut self, tokens: usize) -> Result<(Duration, u64), Error> {
        let request = self.request(tokens)?.with_max_tokens(1);
        let timed = self.ask(request)?;
        Ok((timed.first + timed.rest, timed.input_tokens))
    }

    fn decode(&mut self, context: usize, tokens: u32) -> Result<(Duration, u64), Error> {
        let request = self.request(context)?.with_max_tokens(tokens);
        let timed = self.ask(request)?;
        Ok((timed.rest, timed.output_tokens - 1))
    }

    fn users(&mut self, count: usize, context: usize, tokens: u32) -> Result<(Duration, u64), Error> {
        let requests = (0..count).map(|_| Ok(self.request(context)?.with_max_tokens(tokens)));
        let requests = requests.collect::<Result<Vec<_>, Error>>()?;
        let start = Instant::now();
        let answers = requests.into_iter().map(|request| timed(&self.chat, request));
        let answers = self.runtime.block_on(try_join_all(answers))?;
        Ok((start.elapsed(), answers.iter().map(|answer| answer.output_tokens).sum()))
    }
}

impl Chat {
    /// The times to the first token of a conversation of about so many tokens, and of its second turn.
    pub(super) fn turns(&mut self, tokens: usize) -> Result<[Duration; 2], Error> {
        let first = self.request(tokens)?.with_max_tokens(24);
        let answer = self.ask(first.clone())?;
        let second = first
            .with_message(Message::assistant(answer.text.clone()))
            .with_message(Message::user("And what happened then?"))
            .with_max_tokens(1);
        Ok([answer.first, self.ask(second)?.first])
    }

    /// What a token takes that is the likeliest, and one that is drawn.
    pub(super) fn sampled(&mut self, tokens: u32) -> Result<[(Duration, u64); 2], Error> {
        let greedy = self.request(32)?.with_max_tokens(tokens);
        let sampled = greedy.clone().with_temperature(0.8).with_top_p(0.95);
        let both = [self.ask(greedy)?, self.ask(sampled)?];
        Ok(both.map(|timed| (timed.rest, timed.output_tokens - 1)))
    }

    /// What a token takes without a schema and with one, both times sampled from the same prompt.
    pub(super) fn json(&mut self, tokens: u32) -> Result<[(Duration, u64); 2], Error> {
        let schema = json!({
            "type": "object",
            "properties": {
                "title": {"type": "string"},
                "events": {"type": "array", "minItems": 40, "items": {
                    "type": "object",
                    "properties": {"year": {"type": "integer"}, "text": {"type": "string"}},
                    "required": ["year", "text"],
                    "additionalProperties": false,
                }},
            },
            "required": ["title", "events"],
            "additionalProperties": false,
        });
        // Some answers are short.
        let mut both = Err(Error::response_invalid("no answer"));
        for _ in 0..MOST_TRIES {
            let request = self.request(48)?.with_max_tokens(tokens).with_extra("ignore_eos", false);
            let free = self.ask(request.clone())?;
            let format = OutputFormat::json_schema("story", schema.clone(), true);
            let bound = self.ask(request.with_output(format))?;
            both = after_first(&free, tokens).and_then(|free| Ok([free, after_first(&bound, tokens)?]));
            if both.is_ok() {
                break;
            }
        }
        both
    }
}

/// An answer that ended long before it should measures something else.
fn after_first(timed: &Timed, wanted: u32) -> Result<(Duration, u64), Error> {
    if timed.output_tokens * 2 < u64::from(wanted) {
        let text = format!("the answer ended after {} of {wanted} tokens", timed.output_tokens);
        return Err(Error::response_invalid(text));
    }
    Ok((timed.rest, timed.output_tokens - 1))
}

async fn timed(chat: &AnyChat, request: ChatRequest) -> Result<Timed, Error> {
    let start = Instant::now();
    let mut first = None;
    let stream = chat.stream(&Context::new(), request).await?;
    let mut stream = Box::pin(stream);
    let (mut text, mut usage) = (String::new(), None);
    while let Some(event) = stream.next().await {
        match event? {
            ChatEvent::Text(piece) => {
                first.get_or_insert_with(|| start.elapsed());
                text.push_str(&piece);
            }
            ChatEvent::Finish { usage: at_end, .. } => usage = Some(at_end),
            _ => {}
        }
    }
    let total = start.elapsed();
    let usage = usage.ok_or_else(|| Error::response_invalid("the stream has no end"))?;
    let (input, output) = (usage.input_tokens, usage.output_tokens);
    let first = first.unwrap_or(total);
    let count = |tokens: Option<u64>| tokens.ok_or_else(|| Error::response_invalid("no usage"));
    Ok(Timed {
        first,
        rest: total.saturating_sub(first),
        input_tokens: count(input)?,
        output_tokens: count(output)?,
        text,
    })
}
