//! candle-transformers' own quantised models, as they come: token ids in, the likeliest token out.

use std::fs::File;
use std::io::BufReader;
use std::time::{Duration, Instant};

use ayni::{Error, ErrorKind};
use candle_core::quantized::gguf_file::Content;
use candle_core::{D, Device, Result, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2};

use super::Side;

enum Model {
    Llama(quantized_llama::ModelWeights),
    Qwen2(quantized_qwen2::ModelWeights),
}

/// A model of candle-transformers.
pub(super) struct Stock {
    model: Model,
    /// So that no prompt begins like an earlier one.
    state: u64,
}

impl Stock {
    pub(super) fn open(file: &str) -> std::result::Result<Self, Error> {
        let mut file = BufReader::new(File::open(file).map_err(|error| Error::config(error.to_string()))?);
        let content = Content::read(&mut file).map_err(of_candle)?;
        let architecture =
            content.metadata.get("general.architecture").and_then(|name| name.to_string().ok());
        let model = match architecture.map(String::as_str) {
            Some("qwen2") => {
                quantized_qwen2::ModelWeights::from_gguf(content, &mut file, &Device::Cpu).map(Model::Qwen2)
            }
            _ => quantized_llama::ModelWeights::from_gguf(content, &mut file, &Device::Cpu).map(Model::Llama),
        };
        let mut stock = Self { model: model.map_err(of_candle)?, state: 1 };
        stock.decode(16, 2)?;
        Ok(stock)
    }

    /// Prompts of `context` tokens each.
    fn prompts(&mut self, count: usize, context: usize) -> Result<Tensor> {
        let ids: Vec<u32> = (0..count * context)
            .map(|_| {
                self.state = self
                    .state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                300 + u32::try_from(self.state >> 33).unwrap_or_default() % 48_000
            })
            .collect();
        Tensor::from_vec(ids, (count, context), &Device::Cpu)
    }

    /// The next token of each text, `[text, 1]`.
    fn next(&mut self, tokens: &Tensor, place: usize) -> Result<Tensor> {
        let logits = match &mut self.model {
            Model::Llama(model) => model.forward(tokens, place),
            Model::Qwen2(model) => model.forward(tokens, place),
        }?;
        logits.argmax(D::Minus1)?.reshape((tokens.dims()[0], 1))
    }

    /// The time of the prompts, and that of `rest` further tokens of each answer.
    fn answer(&mut self, count: usize, context: usize, rest: usize) -> Result<[Duration; 2]> {
        let prompts = self.prompts(count, context)?;
        let start = Instant::now();
        let mut tokens = self.next(&prompts, 0)?;
        let first = start.elapsed();
        for number in 0..rest {
            tokens = self.next(&tokens, context + number)?;
        }
        Ok([first, start.elapsed() - first])
    }
}

impl Side for Stock {
    fn prefill(&mut self, tokens: usize) -> std::result::Result<(Duration, u64), Error> {
        let [first, _] = self.answer(1, tokens, 0).map_err(of_candle)?;
        Ok((first, tokens as u64))
    }

    fn decode(&mut self, context: usize, tokens: u32) -> std::result::Result<(Duration, u64), Error> {
        let [_, rest] = self.answer(1, context, tokens as usize).map_err(of_candle)?;
        Ok((rest, u64::from(tokens)))
    }

    fn users(
        &mut self,
        count: usize,
        context: usize,
        tokens: u32,
    ) -> std::result::Result<(Duration, u64), Error> {
        let [first, rest] = self.answer(count, context, tokens as usize - 1).map_err(of_candle)?;
        Ok((first + rest, count as u64 * u64::from(tokens)))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn of_candle(error: candle_core::Error) -> Error {
    Error::new(ErrorKind::Unexpected, error.to_string())
}
