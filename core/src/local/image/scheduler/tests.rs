//! Every scheduler against diffusers: timesteps and sigmas for 1 to 50 steps, and trajectories.

use std::collections::HashMap;

use candle_core::Tensor;
use serde_json::{Value, json};

use super::*;
use crate::local::image::testing::{goldens, normal};

/// Timesteps and sigmas may be off by so much, of their size.
const NUMBERS: f32 = 1e-6;

/// A trajectory by so much, of its greatest number.
const TRAJECTORY: f32 = 2e-5;

struct Golden {
    key: String,
    config: SchedulerConfig,
}

fn all() -> (Vec<Golden>, HashMap<String, Tensor>) {
    let described: Vec<Value> =
        serde_json::from_slice(&std::fs::read(goldens().join("schedulers.json")).unwrap()).unwrap();
    let golden = |value: &Value| Golden {
        key: value["key"].as_str().unwrap().to_owned(),
        config: SchedulerConfig::from_json(&value["config"]).unwrap(),
    };
    let path = goldens().join("schedulers.safetensors");
    let truth = candle_core::safetensors::load(path, &candle_core::Device::Cpu).unwrap();
    (described.iter().map(golden).collect(), truth)
}

fn numbers(truth: &HashMap<String, Tensor>, key: &str) -> Option<Vec<f32>> {
    Some(truth.get(key)?.flatten_all().unwrap().to_vec1().unwrap())
}

#[track_caller]
fn assert_numbers(found: &[f32], truth: &[f32], error: f32, what: &str) {
    assert_eq!(found.len(), truth.len(), "{what}");
    for (index, (found, truth)) in found.iter().zip(truth).enumerate() {
        let near = (found - truth).abs() <= error * truth.abs().max(1.0);
        assert!(near, "{what}: number {index}: {found}, not {truth}");
    }
}

impl Golden {
    fn steps(&self) -> std::ops::RangeInclusive<usize> {
        let is_runge_kutta = self.config.kind == SchedulerKind::Pndm && !self.config.skip_prk_steps;
        if is_runge_kutta { 4..=50 } else { 1..=50 }
    }
}

#[test]
fn timesteps_and_sigmas_are_those_of_diffusers() {
    let (goldens, truth) = all();
    assert!(goldens.len() > 60);
    for golden in goldens {
        let Golden { key, config } = &golden;
        let (mut timesteps, mut sigmas, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        for steps in golden.steps() {
            let schedule = config.schedule(steps, 1.0).unwrap();
            timesteps.extend_from_slice(schedule.timesteps());
            starts.push(schedule.init_noise_sigma());
            sigmas.extend(match config.kind {
                SchedulerKind::DpmMultistep | SchedulerKind::UniPc => {
                    multistep::MultistepScheduler::new(config, steps, 0).sigmas
                }
                kind if kind.uses_sigmas() || kind == SchedulerKind::FlowMatchEuler => {
                    sigma::SigmaScheduler::new(config, steps, 0).sigmas
                }
                _ => Vec::new(),
            });
        }
        assert_numbers(
            &timesteps,
            &numbers(&truth, &format!("{key}/timesteps")).unwrap(),
            NUMBERS,
            &format!("{key} {config:?}: timesteps"),
        );
        assert_numbers(
            &starts,
            &numbers(&truth, &format!("{key}/init")).unwrap(),
            NUMBERS,
            &format!("{key}: first noise"),
        );
        if let Some(truth) = numbers(&truth, &format!("{key}/sigmas")) {
            assert_numbers(&sigmas, &truth, NUMBERS, &format!("{key} {config:?}: sigmas"));
        }
    }
}

#[test]
fn trajectories_are_those_of_diffusers() {
    let (goldens, truth) = all();
    for Golden { key, config } in goldens {
        for steps in [5, 20] {
            let mut schedule = config.schedule(steps, 1.0).unwrap();
            let start = schedule.init_noise_sigma();
            let mut sample: Vec<f32> = normal("sample", 8).into_iter().map(|x| x * start).collect();
            // With no signal at the start, sigmas are in the thousands, and so are the numbers that torch subtracts in f32.
            let first = sample.iter().fold(1.0_f32, |most, x| most.max(x.abs()));
            let (mut found, mut draws) = (Vec::new(), 0);
            for step in 0..schedule.timesteps().len() {
                let scaled = schedule.scale_input(step, &sample);
                let output = normal(&format!("output/{step}"), 8);
                let output: Vec<f32> =
                    output.iter().zip(&scaled).map(|(o, x)| 0.5 * o + 0.5 * x.sin()).collect();
                let noise = schedule.needs_noise(step).then(|| {
                    draws += 1;
                    normal(&format!("{key}/{steps}/{}", draws - 1), 8)
                });
                schedule.step(step, &output, &mut sample, noise.as_deref()).unwrap();
                found.extend_from_slice(&sample);
            }
            let truth_of = |name: &str| numbers(&truth, &format!("{key}/{name}{steps}")).unwrap();
            let trajectory = truth_of("trajectory");
            let greatest = trajectory.iter().fold(first, |most, x| most.max(x.abs()));
            assert_eq!(found.len(), trajectory.len(), "{key}");
            for (index, (found, truth)) in found.iter().zip(&trajectory).enumerate() {
                let off = (found - truth).abs();
                assert!(
                    off <= TRAJECTORY * greatest,
                    "{key} {config:?} in {steps}: step {}: {found}, not {truth}",
                    index / 8
                );
            }
            let noised = schedule.add_noise(steps / 2, &normal("original", 8), &normal("noise", 8));
            assert_numbers(&noised, &truth_of("noised"), 2e-5, &format!("{key}: noised"));
        }
    }
}

#[test]
fn strength_leaves_out_the_first_steps() {
    let config = SchedulerConfig::of_kind(SchedulerKind::Euler, &serde_json::json!({})).unwrap();
    let whole = config.schedule(10, 1.0).unwrap();
    for (strength, done) in [(0.3, 3), (0.7, 7), (0.55, 5), (1.0, 10)] {
        let part = config.schedule(10, strength).unwrap();
        assert_eq!(part.timesteps(), &whole.timesteps()[10 - done..], "{strength}");
        assert_eq!(part.add_noise(0, &[1.0], &[2.0]), whole.add_noise(10 - done, &[1.0], &[2.0]));
    }
    let heun = config.with_kind(SchedulerKind::Heun);
    assert_eq!(heun.schedule(10, 0.3).unwrap().timesteps().len(), 5);
}

#[test]
fn steps_and_strengths_without_sense_are_errors() {
    let config = SchedulerConfig::of_kind(SchedulerKind::Lcm, &serde_json::json!({})).unwrap();
    for (steps, strength) in [(0, 1.0), (10_000, 1.0), (51, 1.0), (4, 0.1), (4, f32::NAN), (4, 1.5), (4, 0.0)]
    {
        let error = config.schedule(steps, strength).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{steps} {strength}");
    }
    let mut schedule = config.schedule(2, 1.0).unwrap();
    assert!(schedule.step(0, &[0.0; 4], &mut [0.0; 4], None).is_err(), "noise is missing");
    assert!(schedule.step(0, &[0.0; 3], &mut [0.0; 4], Some(&[0.0; 4])).is_err());
    assert!(schedule.step(7, &[0.0; 4], &mut [0.0; 4], Some(&[0.0; 4])).is_err());
}

#[test]
fn what_is_not_computed_is_named() {
    for config in [
        serde_json::json!({ "_class_name": "KDPM2DiscreteScheduler" }),
        serde_json::json!({ "_class_name": "DDIMScheduler", "thresholding": true }),
        serde_json::json!({ "_class_name": "EulerDiscreteScheduler", "use_beta_sigmas": true }),
        serde_json::json!({ "_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver" }),
        serde_json::json!({ "_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous" }),
    ] {
        assert_eq!(
            SchedulerConfig::from_json(&config).unwrap_err().kind(),
            ErrorKind::Unsupported,
            "{config}"
        );
    }
    for config in [
        serde_json::json!({ "_class_name": "DDIMScheduler", "num_train_timesteps": 0 }),
        serde_json::json!({ "_class_name": "DDIMScheduler", "beta_end": 2.0 }),
        serde_json::json!({ "_class_name": "DDIMScheduler", "trained_betas": [0.1] }),
        serde_json::json!({ "_class_name": "LCMScheduler", "original_inference_steps": 0 }),
        serde_json::json!({ "_class_name": "DDIMScheduler", "prediction_type": "noise" }),
    ] {
        assert_eq!(SchedulerConfig::from_json(&config).unwrap_err().kind(), ErrorKind::ModelLoad, "{config}");
    }
    let zero = serde_json::json!({ "_class_name": "DDIMScheduler", "rescale_betas_zero_snr": true });
    let error = SchedulerConfig::from_json(&zero).unwrap().schedule(4, 1.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[test]
fn a_scheduler_over_another_s_file_clips_as_diffusers_does() {
    let clip =
        |config: serde_json::Value, kind| SchedulerConfig::from_json(&config).unwrap().with_kind(kind).clip;
    let file = |class: &str| json!({ "_class_name": class });
    // PNDM and Euler do not know the setting, so DDIM's own default holds.
    for class in ["PNDMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"] {
        assert_eq!(clip(file(class), SchedulerKind::Ddim), Some(1.0), "{class}");
        assert_eq!(clip(file(class), SchedulerKind::Lcm), None, "{class}");
    }
    assert_eq!(clip(file("LCMScheduler"), SchedulerKind::Ddim), None);
    let mut said = file("PNDMScheduler");
    said["clip_sample"] = json!(false);
    assert_eq!(clip(said, SchedulerKind::Ddim), None);
}
