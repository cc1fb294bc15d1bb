//! Conversations side by side over the real SmolLM2-135M, of which one breaks the model. `make models` fetches it.

use ayni_testkit::real_models::smollm2;
use futures_util::future::join_all;

use super::*;
use crate::chat::{ChatBackend, ChatRequest, ChatResponse};
use crate::context::Context;
use crate::env::Environment;
use crate::local::LocalChatConfig;
use crate::local::chat::LocalChat;
use crate::local::models::{Cached, CausalLm, Tokens};
use crate::local::ops::Tensor;
use crate::local::runtime::thread_lost;

/// What a model does with texts that hold a certain token.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Panic,
    Error,
    NotANumber,
}

/// A model that fails where a text holds a token.
#[derive(Debug)]
struct Faulty {
    model: Box<dyn CausalLm>,
    token: u32,
    fault: Fault,
}

impl CausalLm for Faulty {
    fn vocab_size(&self) -> usize {
        self.model.vocab_size()
    }

    fn window(&self) -> usize {
        self.model.window()
    }

    fn cache_bytes_per_token(&self) -> usize {
        self.model.cache_bytes_per_token()
    }

    fn cache_bytes(&self) -> usize {
        self.model.cache_bytes()
    }

    fn is_paged(&self) -> bool {
        self.model.is_paged()
    }

    fn reuses(&self) -> bool {
        self.model.reuses()
    }

    fn new_cache(&self, capacity: usize) -> Result<TextCache> {
        self.model.new_cache(capacity)
    }

    fn is_long(&self, capacity: usize) -> bool {
        self.model.is_long(capacity)
    }

    fn logits(&self, tokens: &Tokens, cached: Option<Cached<'_, '_>>, rows: &[u32]) -> Result<Tensor> {
        // The caches are changed before the failure shows, as in a layer in the middle.
        let logits = self.model.logits(tokens, cached, rows)?;
        let bad = tokens.texts().position(|text| text.contains(&self.token));
        let Some(text) = bad else { return Ok(logits) };
        match self.fault {
            Fault::Panic => panic!("a text broke the model"),
            Fault::Error => Err(Error::new(ErrorKind::OutOfMemory, "a text was too much")),
            Fault::NotANumber => {
                let end = u32::try_from(tokens.starts()[text + 1]).unwrap();
                let width = self.vocab_size();
                let mut values = logits.values()?.into_owned();
                if let Some(row) = rows.iter().position(|row| row + 1 == end) {
                    values[row * width..(row + 1) * width].fill(f32::NAN);
                }
                Tensor::from_vec(logits.device(), values, logits.dims())
            }
        }
    }
}

fn open(fault: Option<Fault>) -> LocalChat {
    let config = LocalChatConfig::new(smollm2().to_str().unwrap()).with_device("cpu");
    LocalChat::open_with(&config, &Environment::empty(), move |mut model| {
        if let Some(fault) = fault {
            let token = model.tokenizer.encode_fragment(" tiger").unwrap()[0];
            let whole = std::mem::replace(&mut model.model, Box::new(Nothing));
            model.model = Box::new(Faulty { model: whole, token, fault });
        }
        model
    })
    .unwrap()
}

/// Stands in while a model is wrapped.
#[derive(Debug)]
struct Nothing;

impl CausalLm for Nothing {
    fn vocab_size(&self) -> usize {
        0
    }

    fn window(&self) -> usize {
        0
    }

    fn cache_bytes_per_token(&self) -> usize {
        0
    }

    fn cache_bytes(&self) -> usize {
        0
    }

    fn is_paged(&self) -> bool {
        false
    }

    fn reuses(&self) -> bool {
        false
    }

    fn new_cache(&self, _: usize) -> Result<TextCache> {
        Err(thread_lost())
    }

    fn is_long(&self, _: usize) -> bool {
        false
    }

    fn logits(&self, _: &Tokens, _: Option<Cached<'_, '_>>, _: &[u32]) -> Result<Tensor> {
        Err(thread_lost())
    }
}

const QUESTIONS: [&str; 3] = ["Name a colour.", "Tell me about the tiger of Bengal.", "Count to four."];

async fn answers(chat: &LocalChat) -> Vec<Result<ChatResponse>> {
    join_all(QUESTIONS.map(|question| {
        let request = ChatRequest::user(question).with_temperature(0.0).with_max_tokens(12);
        async move { chat.chat(&Context::new(), request).await }
    }))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_model_ends_its_own_conversation_and_no_other() {
    let truth = answers(&open(None)).await;
    let text = |answers: &[Result<ChatResponse>], index: usize| answers[index].as_ref().unwrap().text.clone();
    for (fault, kind) in [
        (Fault::Panic, ErrorKind::Unexpected),
        (Fault::Error, ErrorKind::OutOfMemory),
        (Fault::NotANumber, ErrorKind::ResponseInvalid),
    ] {
        let chat = open(Some(fault));
        // Again, to see that nothing is left of it.
        for _ in 0..2 {
            let found = answers(&chat).await;
            assert_eq!(found[1].as_ref().unwrap_err().kind(), kind, "{fault:?}");
            for other in [0, 2] {
                assert_eq!(text(&found, other), text(&truth, other), "{fault:?}");
            }
        }
    }
}
