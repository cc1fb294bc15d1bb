//! A mixture of experts: many gated layers of which a router chooses a few for each token.

use super::config::wrong;
use super::decoder::Config;
use crate::error::Result;
use crate::local::ops::{Activation, Epilogue, Linear, Tensor, clamped_swiglu};
use crate::local::weights::{Biases, Parameters, gpt_oss_expert};

/// What a mixture is.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpertsConfig {
    /// How many experts there are.
    pub(super) count: usize,
    /// How many work on a token.
    pub(super) used: usize,
    /// The width of an expert.
    pub(super) intermediate_size: usize,
    /// Whether the shares of the chosen ones are made to sum up to one.
    pub(super) normalises: bool,
    /// gpt-oss: what bounds gates and what they gate ([`clamped_swiglu`]). Its routers and experts have biases.
    pub(super) clamped_at: Option<f32>,
}

impl ExpertsConfig {
    /// Checks that there are experts enough.
    ///
    /// # Errors
    /// `model_load` if not.
    pub(super) fn checked(self) -> Result<Self> {
        let Self { count, used, .. } = self;
        match (1..=count).contains(&used) {
            true => Ok(self),
            false => Err(wrong(format_args!("{used} of {count} experts cannot work on a token"))),
        }
    }
}

/// The experts of one layer.
#[derive(Debug)]
pub(super) struct Experts {
    config: ExpertsConfig,
    activation: Activation,
    router: Linear,
    experts: Vec<Expert>,
}

#[derive(Debug)]
struct Expert {
    /// Gated, or where it is clamped, gates and then what they gate.
    gate_up_proj: Linear,
    down_proj: Linear,
}

impl Expert {
    fn new(config: ExpertsConfig, hidden: usize, weights: &Parameters<'_>) -> Result<Self> {
        let inner = config.intermediate_size;
        Ok(Self {
            gate_up_proj: match config.clamped_at {
                None => weights.gated("gate_proj", "up_proj", hidden, inner)?,
                Some(_) => weights.fused(&[("gate_proj", inner), ("up_proj", inner)], hidden)?,
            },
            down_proj: weights.linear("down_proj", inner, hidden)?,
        })
    }
}

impl Experts {
    /// Reads the weights, of one tensor for each expert or of one for all.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(super) fn new(model: &Config, config: ExpertsConfig, weights: &Parameters<'_>) -> Result<Self> {
        let rule = if config.clamped_at.is_some() { Biases::All } else { Biases::None };
        let weights = weights.biased(rule);
        let (hidden, inner) = (model.hidden_size, config.intermediate_size);
        let all = weights.at("experts");
        let expert = |number: usize| {
            let one = all.of_stack(number, config.count);
            if all.has("gate_proj.weight") {
                Expert::new(config, hidden, &one)
            } else if config.clamped_at.is_some() {
                Expert::new(config, hidden, &one.within(&gpt_oss_expert(&one, [hidden, inner])?))
            } else {
                Expert::new(config, hidden, &all.at(number))
            }
        };
        let router = if weights.has("router.weight") { "router" } else { "gate" };
        Ok(Self {
            router: weights.unquantised().linear(router, hidden, config.count)?,
            experts: (0..config.count).map(expert).collect::<Result<_>>()?,
            activation: model.activation,
            config,
        })
    }

    /// The sum of what the chosen experts make of each token, by their shares. A token's sum has the same order in any
    /// batch.
    ///
    /// # Errors
    /// `invalid_request` if the tokens have another width.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let logits = self.router.forward(x)?;
        let mut tokens_of: Vec<(Vec<u32>, Vec<f32>)> = vec![Default::default(); self.experts.len()];
        for (token, logits) in (0..).zip(logits.values()?.chunks_exact(self.experts.len().max(1))) {
            for (expert, share) in self.choose(logits) {
                tokens_of[expert].0.push(token);
                tokens_of[expert].1.push(share);
            }
        }
        let dims = x.dims().to_vec();
        let width = dims.last().copied().unwrap_or_default().max(1);
        let mut sums = vec![0.0; dims.iter().product()];
        for (expert, (tokens, shares)) in self.experts.iter().zip(&tokens_of) {
            if tokens.is_empty() {
                continue;
            }
            let x = x.select_rows(tokens)?;
            let hidden = match self.config.clamped_at {
                Some(limit) => clamped_swiglu(expert.gate_up_proj.forward(x)?, limit)?,
                None => expert.gate_up_proj.forward_with(x, Epilogue::activation(self.activation))?,
            };
            let y = expert.down_proj.forward(hidden)?;
            for ((token, share), y) in tokens.iter().zip(shares).zip(y.values()?.chunks_exact(width)) {
                let to = &mut sums[*token as usize * width..][..width];
                to.iter_mut().zip(y).for_each(|(to, y)| *to += share * y);
            }
        }
        Tensor::from_vec(x.device(), sums, dims)
    }

    /// The experts for a token and their shares: those with the greatest logits.
    fn choose(&self, logits: &[f32]) -> Vec<(usize, f32)> {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f32> = logits.iter().map(|logit| (logit - most).exp()).collect();
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
        order.truncate(self.config.used);
        let total: f32 = match self.config.normalises {
            true => order.iter().map(|expert| weights[*expert]).sum(),
            false => weights.iter().sum(),
        };
        order.into_iter().map(|expert| (expert, weights[expert] / total)).collect()
    }
}
