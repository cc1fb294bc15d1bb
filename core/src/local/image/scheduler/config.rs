//! `scheduler_config.json`.

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};

/// `scheduler_config.json` of diffusers, or made by a recipe. Fields are those of diffusers; what is missing in the file
/// is the default of its `_class_name`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SchedulerConfig {
    pub(crate) kind: SchedulerKind,
    pub(crate) prediction: Prediction,
    pub(crate) spacing: Spacing,
    pub(crate) steps_offset: usize,
    /// Karras' sigmas, where the kind takes them.
    pub(crate) karras: bool,
    /// Sigmas evenly spaced in their logarithm, where the kind takes them.
    pub(crate) exponential: bool,
    /// Betas are rescaled so that the last step has no signal.
    pub(crate) rescale_zero_snr: bool,
    pub(crate) train_steps: usize,
    pub(crate) beta_start: f64,
    pub(crate) beta_end: f64,
    pub(crate) beta_schedule: BetaSchedule,
    pub(crate) trained_betas: Option<Vec<f32>>,
    /// The range that the predicted image is clipped to, if it is.
    pub(crate) clip: Option<f64>,
    /// Whether it is clipped, as far as the file or its scheduler says: another scheduler may do so by default.
    pub(crate) clips: Option<bool>,
    /// Whether what follows the last step has no noise at all.
    pub(crate) set_alpha_to_one: bool,
    /// Whether PNDM begins without its Runge-Kutta steps.
    pub(crate) skip_prk_steps: bool,
    /// Whether the sigma after the last step is zero, and not the smallest of training.
    pub(crate) final_sigma_zero: bool,
    pub(crate) sigma_min: Option<f64>,
    pub(crate) sigma_max: Option<f64>,
    /// The multistep solver's variant.
    pub(crate) solver: Solver,
    pub(crate) solver_order: usize,
    pub(crate) lower_order_final: bool,
    pub(crate) euler_at_final: bool,
    /// How many steps a consistency model was distilled with.
    pub(crate) original_steps: usize,
    pub(crate) timestep_scaling: f64,
    /// How much noise DDIM (η) and TCD (γ) add: 0 for none.
    pub(crate) eta: f64,
    /// DDPM's variance is that of the forward process.
    pub(crate) large_variance: bool,
    /// The shift of flow matching.
    pub(crate) flow_shift: f64,
}

/// A scheduler by its class in diffusers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SchedulerKind {
    Ddim,
    Ddpm,
    Pndm,
    Euler,
    EulerAncestral,
    Heun,
    /// `DPMSolverMultistepScheduler`: DPM++ 2M and its SDE form, by [`Solver`].
    DpmMultistep,
    UniPc,
    Lcm,
    Tcd,
    FlowMatchEuler,
}

impl SchedulerKind {
    /// The kinds, and how diffusers calls each.
    pub(crate) const ALL: [(Self, &'static str); 11] = [
        (Self::Ddim, "DDIMScheduler"),
        (Self::Ddpm, "DDPMScheduler"),
        (Self::Pndm, "PNDMScheduler"),
        (Self::Euler, "EulerDiscreteScheduler"),
        (Self::EulerAncestral, "EulerAncestralDiscreteScheduler"),
        (Self::Heun, "HeunDiscreteScheduler"),
        (Self::DpmMultistep, "DPMSolverMultistepScheduler"),
        (Self::UniPc, "UniPCMultistepScheduler"),
        (Self::Lcm, "LCMScheduler"),
        (Self::Tcd, "TCDScheduler"),
        (Self::FlowMatchEuler, "FlowMatchEulerDiscreteScheduler"),
    ];

    /// How diffusers calls it.
    pub(crate) fn class_name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// Whether it counts by sigmas, of which none may be infinite.
    pub(super) fn uses_sigmas(self) -> bool {
        matches!(self, Self::Euler | Self::EulerAncestral | Self::Heun | Self::DpmMultistep | Self::UniPc)
    }
}

/// What the model predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names, reason = "diffusers' own name")]
pub(crate) enum Prediction {
    Epsilon,
    VPrediction,
    Sample,
    /// Of flow matching.
    #[serde(rename = "flow_prediction")]
    Flow,
}

/// Which timesteps are taken of those of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Spacing {
    Linspace,
    Leading,
    Trailing,
}

/// How betas grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BetaSchedule {
    Linear,
    ScaledLinear,
    SquaredcosCapV2,
}

/// The variant of a multistep solver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Solver {
    /// `dpmsolver++` with the midpoint rule, or with Heun's; `sde` adds noise.
    Dpm { heun: bool, sde: bool },
    /// UniPC's `bh1` or `bh2`.
    UniPc { bh1: bool },
}

/// The file, with diffusers' names. `null` is as if it were not there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    num_train_timesteps: Option<usize>,
    beta_start: Option<f64>,
    beta_end: Option<f64>,
    beta_schedule: Option<BetaSchedule>,
    trained_betas: Option<Vec<f32>>,
    prediction_type: Option<Prediction>,
    timestep_spacing: Option<Spacing>,
    steps_offset: Option<usize>,
    use_karras_sigmas: Option<bool>,
    use_exponential_sigmas: Option<bool>,
    rescale_betas_zero_snr: Option<bool>,
    clip_sample: Option<bool>,
    clip_sample_range: Option<f64>,
    set_alpha_to_one: Option<bool>,
    skip_prk_steps: Option<bool>,
    final_sigmas_type: Option<String>,
    sigma_min: Option<f64>,
    sigma_max: Option<f64>,
    algorithm_type: Option<String>,
    solver_type: Option<String>,
    solver_order: Option<usize>,
    lower_order_final: Option<bool>,
    euler_at_final: Option<bool>,
    original_inference_steps: Option<usize>,
    timestep_scaling: Option<f64>,
    variance_type: Option<String>,
    shift: Option<f64>,
}

/// Settings that would change the numbers, and the one value of each that is supported.
const ONLY: [(&str, Value); 11] = [
    ("thresholding", Value::Bool(false)),
    ("use_beta_sigmas", Value::Bool(false)),
    ("use_lu_lambdas", Value::Bool(false)),
    ("use_flow_sigmas", Value::Bool(false)),
    ("use_dynamic_shifting", Value::Bool(false)),
    ("invert_sigmas", Value::Bool(false)),
    ("stochastic_sampling", Value::Bool(false)),
    ("shift_terminal", Value::Null),
    ("solver_p", Value::Null),
    ("lambda_min_clipped", Value::Null),
    ("predict_x0", Value::Bool(true)),
];

impl SchedulerConfig {
    /// The configuration of a scheduler's file.
    ///
    /// # Errors
    /// `unsupported` for a class or value that is not computed here; `model_load` for a file that is not as expected.
    pub(crate) fn from_json(config: &Value) -> Result<Self> {
        let class = config.get("_class_name").and_then(Value::as_str).unwrap_or_default();
        let kind = SchedulerKind::ALL.iter().find(|(_, name)| *name == class).map(|(kind, _)| *kind);
        let kind = kind.ok_or_else(|| {
            let valid: Vec<&str> = SchedulerKind::ALL.iter().map(|(_, name)| *name).collect();
            Error::unsupported(format!(
                "the scheduler '{class}' is not supported; valid: {}",
                valid.join(", ")
            ))
        })?;
        Self::of_kind(kind, config)
    }

    /// A file's betas and settings with another scheduler, and that one's defaults for what the file doesn't say: what
    /// `OtherScheduler.from_config(pipe.scheduler.config)` does.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    pub(crate) fn of_kind(kind: SchedulerKind, config: &Value) -> Result<Self> {
        let wrong = |why: String| Error::new(ErrorKind::ModelLoad, format!("scheduler_config.json {why}"));
        for (key, supported) in &ONLY {
            match config.get(key) {
                None | Some(Value::Null) => {}
                Some(value) if value == supported => {}
                Some(value) => return Err(unsupported(key, value)),
            }
        }
        let file =
            File::deserialize(config).map_err(|error| wrong(format!("is not as expected: {error}")))?;
        for (key, found, valid) in [
            ("final_sigmas_type", &file.final_sigmas_type, &["zero", "sigma_min"][..]),
            ("algorithm_type", &file.algorithm_type, &["dpmsolver++", "sde-dpmsolver++", "deis"]),
            ("variance_type", &file.variance_type, &["fixed_small", "fixed_large"]),
        ] {
            if let Some(found) = found.as_ref().filter(|found| !valid.contains(&found.as_str())) {
                return Err(unsupported(key, found));
            }
        }
        for (key, only) in [("interpolation_type", "linear"), ("timestep_type", "discrete")] {
            if let Some(found) = config.get(key).and_then(Value::as_str).filter(|found| *found != only) {
                return Err(unsupported(key, found));
            }
        }
        let built = Self::of_file(kind, file);
        if !(10..=100_000).contains(&built.train_steps)
            || built.trained_betas.as_ref().is_some_and(|betas| betas.len() != built.train_steps)
            || !(1..=built.train_steps).contains(&built.original_steps)
            || !(1..=3).contains(&built.solver_order)
            || built.steps_offset >= built.train_steps
        {
            return Err(wrong("has numbers of steps that make no sense".to_owned()));
        }
        let numbers = [built.beta_start, built.beta_end, built.timestep_scaling, built.flow_shift];
        if !numbers.iter().all(|number| number.is_finite() && *number > 0.0) || built.beta_end >= 1.0 {
            return Err(wrong("has betas or scales that make no sense".to_owned()));
        }
        Ok(built)
    }

    fn of_file(kind: SchedulerKind, file: File) -> Self {
        let is_consistency = matches!(kind, SchedulerKind::Lcm | SchedulerKind::Tcd);
        let has_own_betas = is_consistency || kind == SchedulerKind::Heun;
        let is_leading =
            is_consistency || matches!(kind, SchedulerKind::Ddim | SchedulerKind::Ddpm | SchedulerKind::Pndm);
        let schedule = if is_consistency { BetaSchedule::ScaledLinear } else { BetaSchedule::Linear };
        let clips = file.clip_sample.or(match kind {
            SchedulerKind::Ddim | SchedulerKind::Ddpm => Some(true),
            SchedulerKind::Lcm | SchedulerKind::Tcd | SchedulerKind::Heun => Some(false),
            _ => None,
        });
        let is_flow = kind == SchedulerKind::FlowMatchEuler;
        let default = if is_flow { Prediction::Flow } else { Prediction::Epsilon };
        let takes_karras = kind.uses_sigmas() && kind != SchedulerKind::EulerAncestral;
        let solver_type = file.solver_type.as_deref();
        Self {
            kind,
            prediction: if is_flow { default } else { file.prediction_type.unwrap_or(default) },
            spacing: file.timestep_spacing.unwrap_or(match is_leading {
                true => Spacing::Leading,
                false => Spacing::Linspace,
            }),
            steps_offset: file.steps_offset.unwrap_or(0),
            karras: takes_karras && file.use_karras_sigmas.unwrap_or(false),
            exponential: takes_karras && file.use_exponential_sigmas.unwrap_or(false),
            rescale_zero_snr: kind != SchedulerKind::Pndm
                && kind != SchedulerKind::Heun
                && file.rescale_betas_zero_snr.unwrap_or(false),
            train_steps: file.num_train_timesteps.unwrap_or(1000),
            beta_start: file.beta_start.unwrap_or(if has_own_betas { 0.00085 } else { 0.0001 }),
            beta_end: file.beta_end.unwrap_or(if has_own_betas { 0.012 } else { 0.02 }),
            beta_schedule: file.beta_schedule.unwrap_or(schedule),
            trained_betas: file.trained_betas,
            clip: (clips == Some(true)).then(|| file.clip_sample_range.unwrap_or(1.0)),
            clips,
            set_alpha_to_one: file.set_alpha_to_one.unwrap_or(kind != SchedulerKind::Pndm),
            skip_prk_steps: file.skip_prk_steps.unwrap_or(false),
            final_sigma_zero: file.final_sigmas_type.as_deref() != Some("sigma_min"),
            sigma_min: file.sigma_min,
            sigma_max: file.sigma_max,
            solver: match kind {
                SchedulerKind::UniPc => Solver::UniPc { bh1: solver_type == Some("bh1") },
                _ => Solver::Dpm {
                    heun: solver_type == Some("heun"),
                    sde: file.algorithm_type.as_deref() == Some("sde-dpmsolver++"),
                },
            },
            solver_order: file.solver_order.unwrap_or(2),
            lower_order_final: file.lower_order_final.unwrap_or(true),
            euler_at_final: file.euler_at_final.unwrap_or(false),
            original_steps: file.original_inference_steps.unwrap_or(50),
            timestep_scaling: file.timestep_scaling.unwrap_or(10.0),
            eta: if kind == SchedulerKind::Tcd { 0.3 } else { 0.0 },
            large_variance: file.variance_type.as_deref() == Some("fixed_large"),
            flow_shift: file.shift.unwrap_or(1.0),
        }
    }

    /// The same betas and prediction with another scheduler.
    pub(crate) fn with_kind(&self, kind: SchedulerKind) -> Self {
        let file = File {
            num_train_timesteps: Some(self.train_steps),
            beta_start: Some(self.beta_start),
            beta_end: Some(self.beta_end),
            beta_schedule: Some(self.beta_schedule),
            trained_betas: self.trained_betas.clone(),
            prediction_type: Some(self.prediction),
            timestep_spacing: Some(self.spacing),
            steps_offset: Some(self.steps_offset),
            rescale_betas_zero_snr: Some(self.rescale_zero_snr),
            clip_sample: self.clips,
            clip_sample_range: self.clip,
            set_alpha_to_one: Some(self.set_alpha_to_one),
            skip_prk_steps: Some(self.skip_prk_steps),
            use_karras_sigmas: Some(self.karras),
            ..File::default()
        };
        Self::of_file(kind, file)
    }
}

fn unsupported(key: &str, value: impl std::fmt::Display) -> Error {
    Error::unsupported(format!("`{key}` is {value} in scheduler_config.json, which is not supported"))
}
