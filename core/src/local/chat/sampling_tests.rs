use serde_json::json;

use super::*;
use crate::error::ErrorKind;

const LOGITS: [f32; 6] = [1.0, 3.0, -1.0, 3.0, 2.0, f32::NEG_INFINITY];

fn options() -> SamplingOptions {
    SamplingOptions { seed: Some(7), ..SamplingOptions::default() }
}

fn sampler_of(options: SamplingOptions, prompt: &[u32]) -> Sampler {
    Sampler::new(options, prompt, None, Isa::choose(None).unwrap())
}

fn one(options: SamplingOptions, logits: &[f32]) -> u32 {
    sampler_of(options, &[]).sample(logits, None).unwrap()
}

/// The share of draws of each token.
fn shares(options: &SamplingOptions, logits: &[f32]) -> Vec<f64> {
    const DRAWS: u32 = 20_000;
    let mut sampler = sampler_of(options.clone(), &[]);
    let mut counts = vec![0_u32; logits.len()];
    for _ in 0..DRAWS {
        counts[sampler.sample(logits, None).unwrap() as usize] += 1;
    }
    counts.into_iter().map(|count| f64::from(count) / f64::from(DRAWS)).collect()
}

fn assert_shares(found: &[f64], truth: &[f64]) {
    let near = found.iter().zip(truth).all(|(found, truth)| {
        // Nothing is drawn that may not be.
        (found - truth).abs() < 0.02 && (*truth > 0.0 || *found == 0.0)
    });
    assert!(near && found.len() == truth.len(), "{found:?} are not about {truth:?}");
}

/// Weights as shares of their sum.
fn normal(weights: &[f64]) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

#[test]
fn temperature_zero_takes_the_first_of_the_likeliest() {
    assert_eq!(one(SamplingOptions { temperature: 0.0, ..options() }, &LOGITS), 1);
}

#[test]
fn draws_follow_the_probabilities_at_a_temperature() {
    for temperature in [0.5, 1.0, 2.0] {
        let weights = LOGITS.map(|logit| (f64::from(logit) / f64::from(temperature)).exp());
        let found = shares(&SamplingOptions { temperature, ..options() }, &LOGITS);
        assert_shares(&found, &normal(&weights));
    }
}

#[test]
fn filters_keep_what_their_definition_says() {
    let e = |logit: f64| logit.exp();
    let with = |change: fn(&mut SamplingOptions)| {
        let mut options = options();
        change(&mut options);
        shares(&options, &LOGITS)
    };
    assert_shares(&with(|o| o.top_k = Some(2)), &normal(&[0.0, e(3.0), 0.0, e(3.0), 0.0, 0.0]));
    assert_shares(&with(|o| o.top_k = Some(1)), &[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    assert_shares(&with(|o| o.top_k = Some(50)), &normal(&LOGITS.map(|logit| e(f64::from(logit)))));
    // The two likeliest have 0.80 together, the third 0.15.
    assert_shares(&with(|o| o.top_p = 0.7), &normal(&[0.0, e(3.0), 0.0, e(3.0), 0.0, 0.0]));
    assert_shares(&with(|o| o.top_p = 0.9), &normal(&[0.0, e(3.0), 0.0, e(3.0), e(2.0), 0.0]));
    assert_shares(&with(|o| o.top_p = 0.0), &[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    assert_shares(&with(|o| o.min_p = 0.3), &normal(&[0.0, e(3.0), 0.0, e(3.0), e(2.0), 0.0]));
    // Of the likely tokens only the least likely stays, and what is not likely.
    let xtc = with(|o| (o.xtc_probability, o.xtc_threshold) = (1.0, 0.1));
    assert_shares(&xtc, &normal(&[e(1.0), 0.0, e(-1.0), 0.0, e(2.0), 0.0]));
    // A surprise of 0.93 nats is nearest to the expected one of 1.07: tokens 1 and 3.
    assert_shares(&with(|o| o.typical_p = 0.5), &normal(&[0.0, e(3.0), 0.0, e(3.0), 0.0, 0.0]));
}

#[test]
fn filters_of_a_large_vocabulary_keep_what_a_full_sort_does() {
    let mut random = Random(3);
    #[allow(clippy::cast_possible_truncation)]
    let mut weights: Vec<f32> = (0..5000).map(|_| (random.next() * 4.0).exp() as f32).collect();
    // Many of the same weight, and some that may not be drawn.
    for (index, weight) in weights.iter_mut().enumerate() {
        match index % 7 {
            0 => *weight = 20.0,
            3 => *weight = 0.0,
            _ => {}
        }
    }
    let mut sorted: Vec<(u32, f64)> =
        (0..).zip(&weights).filter(|(_, w)| **w > 0.0).map(|(token, w)| (token, f64::from(*w))).collect();
    sorted.sort_by(by_weight);
    let nucleus = |sorted: &[(u32, f64)], probability: f32| {
        let wanted = f64::from(probability) * sorted.iter().map(|(_, weight)| weight).sum::<f64>();
        let mut sum = 0.0;
        let before = sorted.iter().take_while(|(_, weight)| {
            sum += weight;
            sum < wanted
        });
        sorted[..before.count() + 1].to_vec()
    };
    for top_p in [0.0, 0.01, 0.3, 0.999] {
        let found = Candidates::new(&weights, &SamplingOptions { top_p, ..options() });
        assert_eq!(found.all, nucleus(&sorted, top_p), "{top_p}");
    }
    for count in [1, 40, 700, 5000, usize::MAX] {
        let found = Candidates::new(&weights, &SamplingOptions { top_k: Some(count), ..options() });
        assert_eq!(found.all, sorted[..count.min(sorted.len())], "{count}");
        let both = SamplingOptions { top_k: Some(count), top_p: 0.5, ..options() };
        assert_eq!(Candidates::new(&weights, &both).all, nucleus(&found.all, 0.5), "{count}");
    }
}

#[test]
fn without_filters_every_place_has_its_token() {
    let mut weights = vec![0.0_f32; 3000];
    for (token, weight) in [(1, 1.0), (1023, 2.0), (1024, 1.0), (2999, 4.0)] {
        weights[token] = weight;
    }
    for (place, token) in
        [(0.0, 1), (0.124, 1), (0.126, 1023), (0.374, 1023), (0.376, 1024), (0.51, 2999), (1.0, 2999)]
    {
        assert_eq!(draw_of_all(&weights, place), Some(token), "{place}");
    }
    weights[2999] = 0.0;
    assert_eq!(draw_of_all(&weights, 1.0), Some(1024));
    assert_eq!(draw_of_all(&[0.0; 9], 0.5), None);
}

#[test]
fn penalties_and_biases_change_logits_as_defined() {
    let greedy = |change: fn(&mut SamplingOptions)| {
        let mut options = SamplingOptions { temperature: 0.0, ..options() };
        change(&mut options);
        options
    };
    let tokens = |options: SamplingOptions, prompt: &[u32], count: usize| {
        let mut sampler = sampler_of(options, prompt);
        let mut next = || {
            let token = sampler.sample(&LOGITS, None).unwrap();
            sampler.accept(token, None);
            token
        };
        (0..count).map(|_| next()).collect::<Vec<_>>()
    };
    // 1 and 3 fall to 1.5 and then 1; 4 has 2.
    assert_eq!(tokens(greedy(|o| o.repetition_penalty = 2.0), &[1], 3), [3, 4, 1]);
    assert_eq!(tokens(greedy(|o| o.presence_penalty = 0.6), &[1], 4), [1, 3, 1, 1]);
    assert_eq!(tokens(greedy(|o| o.frequency_penalty = 0.6), &[1], 4), [1, 3, 1, 3]);
    assert_eq!(tokens(greedy(|o| o.logit_bias = vec![(2, 9.0)]), &[], 1), [2]);
}

#[test]
fn repetitions_are_avoided_the_more_the_longer_they_are() {
    // What went on: 7 8 9 4 and 8 9 5; now 7 8 9 again.
    let history = [7, 8, 9, 4, 1, 8, 9, 5, 2, 7, 8, 9];
    let sampler = |multiplier, allowed| {
        let options = SamplingOptions {
            dry_multiplier: multiplier,
            dry_allowed_length: allowed,
            dry_base: 2.0,
            temperature: 0.0,
            ..options()
        };
        sampler_of(options, &history)
    };
    assert_eq!(sampler(0.5, 2.0).repetitions(), HashMap::from([(4, 3), (5, 2)]));
    let mut logits = [0.0; 10];
    sampler(0.5, 2.0).change(&mut logits);
    assert_eq!((logits[4], logits[5], logits[6]), (-1.0, -0.5, 0.0));
    let mut logits = [0.0; 10];
    sampler(0.5, 3.0).change(&mut logits);
    assert_eq!((logits[4], logits[5]), (-0.5, 0.0));
    assert!(sampler(0.0, 2.0).repetitions().is_empty());
}

#[test]
fn only_allowed_tokens_are_chosen() {
    let mut sampler = sampler_of(options(), &[]);
    for _ in 0..100 {
        assert!([2, 4].contains(&sampler.sample(&LOGITS, Some(&[0b010100])).unwrap()));
    }
    let error = sampler.sample(&LOGITS, Some(&[])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResponseInvalid);
    let error = sampler.sample(&[1.0, f32::NAN], None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResponseInvalid);
}

#[test]
fn a_seed_repeats_the_draws() {
    let tokens = |seed: Option<u64>| {
        let mut sampler = sampler_of(SamplingOptions { seed, ..options() }, &[]);
        (0..60).map(|_| sampler.sample(&[0.0; 50], None).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(tokens(Some(5)), tokens(Some(5)));
    assert_ne!(tokens(Some(5)), tokens(Some(6)));
    assert_ne!(tokens(None), tokens(None));
}

#[test]
fn options_come_from_the_request_then_from_the_model() {
    let of_model = SamplingOptions { temperature: 0.6, top_k: Some(20), ..SamplingOptions::default() };
    let request = ChatRequest::user("hi").with_temperature(0.2).with_extra("min_p", 0.05);
    let found = SamplingOptions::of_request(&request, &of_model, 10).unwrap();
    assert_eq!((found.temperature, found.min_p, found.top_k), (0.2, 0.05, Some(20)));
    let request = ChatRequest::user("hi").with_extra("logit_bias", json!({"3": -100, "4": 2.5}));
    let found = SamplingOptions::of_request(&request, &of_model, 10).unwrap();
    assert_eq!(found.logit_bias, [(3, -100.0), (4, 2.5)]);
    for (request, name) in [
        (ChatRequest::user("hi").with_temperature(-1.0), "temperature"),
        (ChatRequest::user("hi").with_temperature(f32::NAN), "temperature"),
        (ChatRequest::user("hi").with_top_p(1.5), "top_p"),
        (ChatRequest::user("hi").with_extra("min_p", "x"), "min_p"),
        (ChatRequest::user("hi").with_extra("repetition_penalty", 0), "repetition_penalty"),
        (ChatRequest::user("hi").with_extra("logit_bias", json!({"10": 1})), "logit_bias"),
        (ChatRequest::user("hi").with_extra("logit_bias", json!({"a": 1})), "logit_bias"),
    ] {
        let error = SamplingOptions::of_request(&request, &of_model, 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains(name), "{error}");
    }
}

#[test]
fn log_probabilities_are_of_the_models_own_logits() {
    let (own, top) = log_probabilities(&[0.0, 0.0, (2.0_f32).ln()], 0, 2);
    assert!((own - (0.25_f64).ln()).abs() < 1e-6);
    assert_eq!(top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [2, 0]);
    assert!((top[0].1 - (0.5_f64).ln()).abs() < 1e-6);
    assert!(log_probabilities(&[0.0, 1.0], 1, 0).1.is_empty());
}
