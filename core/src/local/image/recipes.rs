//! Recipes: what a checkpoint or a LoRA was made for, and so which steps, guidance and schedulers make an image of it.
//!
//! | recipe | known by | steps | guidance | scheduler |
//! | --- | --- | --- | --- | --- |
//! | `standard` | nothing else | 1–200 (25) | 0–30 (7.5; SDXL 5) | any but `lcm` and `tcd` (the repository's own) |
//! | `lcm` | a LoRA or a model of that name, or an LCM scheduler in the files | 1–8 (4) | 0–2 (1: none) | `lcm` |
//! | `lcm`, guidance embedded | the UNet's `time_cond_proj_dim` | 1–8 (4) | 1–14 (8.5) | `lcm` |
//! | `turbo` | an Euler scheduler with trailing spacing in the files, or the name | 1–4 (1) | 0–1 (0) | `euler`, `euler_ancestral` |
//! | `lightning-N` | the name of the UNet or LoRA | N | 0–1 (0) | `euler`, trailing; for one step the UNet predicts the image |
//!
//! Guidance of 1 and less is none: the negative prompt is not computed, and a step takes half the time.

use std::ops::RangeInclusive;

use super::loras::LoraGroup;
use super::pipeline::{Facts, Family};
use super::scheduler::{Prediction, SchedulerConfig, SchedulerKind, Solver, Spacing};
use crate::error::{Error, Result};

/// A scheduler's name in requests and answers, and the one that Automatic1111's users know it by.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: &'static str,
    /// As A1111 writes it into its images.
    pub(crate) label: &'static str,
    kind: SchedulerKind,
    karras: bool,
    /// Of DPM-Solver++: whether it adds noise.
    sde: bool,
}

const fn named(name: &'static str, label: &'static str, kind: SchedulerKind) -> Named {
    Named { name, label, kind, karras: false, sde: false }
}

const fn variant(
    name: &'static str,
    label: &'static str,
    kind: SchedulerKind,
    karras: bool,
    sde: bool,
) -> Named {
    Named { name, label, kind, karras, sde }
}

const SCHEDULERS: [Named; 14] = [
    named("ddim", "DDIM", SchedulerKind::Ddim),
    named("ddpm", "DDPM", SchedulerKind::Ddpm),
    named("pndm", "PLMS", SchedulerKind::Pndm),
    named("euler", "Euler", SchedulerKind::Euler),
    variant("euler_karras", "Euler Karras", SchedulerKind::Euler, true, false),
    named("euler_ancestral", "Euler a", SchedulerKind::EulerAncestral),
    named("heun", "Heun", SchedulerKind::Heun),
    named("dpmpp_2m", "DPM++ 2M", SchedulerKind::DpmMultistep),
    variant("dpmpp_2m_karras", "DPM++ 2M Karras", SchedulerKind::DpmMultistep, true, false),
    variant("dpmpp_2m_sde", "DPM++ 2M SDE", SchedulerKind::DpmMultistep, false, true),
    variant("dpmpp_2m_sde_karras", "DPM++ 2M SDE Karras", SchedulerKind::DpmMultistep, true, true),
    named("unipc", "UniPC", SchedulerKind::UniPc),
    named("lcm", "LCM", SchedulerKind::Lcm),
    named("tcd", "TCD", SchedulerKind::Tcd),
];

/// What flow matching is called, which no request can choose.
static FLOW: Named = named("flow_match_euler", "Euler", SchedulerKind::FlowMatchEuler);

impl Named {
    /// The name of a configuration's scheduler.
    pub(crate) fn of(config: &SchedulerConfig) -> &'static Self {
        let sde = matches!(config.solver, Solver::Dpm { sde: true, .. })
            && config.kind == SchedulerKind::DpmMultistep;
        let of_kind = || SCHEDULERS.iter().filter(|named| named.kind == config.kind && named.sde == sde);
        let exact = of_kind().find(|named| named.karras == config.karras);
        exact.or_else(|| of_kind().next()).unwrap_or(&FLOW)
    }

    /// A configuration with this scheduler's ways.
    fn applied(&self, config: SchedulerConfig) -> SchedulerConfig {
        let solver = match config.kind {
            SchedulerKind::DpmMultistep => Solver::Dpm { heun: false, sde: self.sde },
            _ => config.solver,
        };
        SchedulerConfig { karras: self.karras, solver, ..config }
    }

    /// # Errors
    /// `config_invalid` naming the valid ones if there is no scheduler of this name.
    pub(crate) fn check(name: &str) -> Result<()> {
        let names = || SCHEDULERS.iter().map(|named| named.name).collect::<Vec<_>>().join(", ");
        let unknown = || Error::config(format!("scheduler '{name}' is unknown; valid: {}", names()));
        Self::find(name).map(|_| ()).ok_or_else(unknown)
    }

    fn find(name: &str) -> Option<&'static Self> {
        SCHEDULERS.iter().find(|named| named.name == name)
    }
}

/// Guidance that is none: the model is asked once a step.
pub(crate) const NO_GUIDANCE: f32 = 1.0;

/// The temperature that means a recipe's usual guidance, and the one from which on it means the least.
const USUAL_TEMPERATURE: f32 = 0.7;
const HIGH_TEMPERATURE: f32 = 2.0;

/// What a model was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Standard,
    Lcm,
    Turbo,
    /// For so many steps; two to eight where the name does not say.
    Lightning(Option<u32>),
}

impl Made {
    /// What a name says.
    fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let words = || name.split(|letter: char| !letter.is_ascii_alphanumeric());
        if let Some((_, rest)) = name.split_once("lightning") {
            return Some(Self::Lightning(steps_in(rest)));
        }
        if words().any(|word| word == "lcm") {
            return Some(Self::Lcm);
        }
        words().any(|word| word.ends_with("turbo")).then_some(Self::Turbo)
    }

    /// What a configuration's `recipe` names.
    fn of_recipe(name: &str) -> Result<Self> {
        let steps = name.strip_prefix("lightning-").and_then(|steps| steps.parse().ok());
        match (name, steps) {
            ("standard", _) => Ok(Self::Standard),
            ("lcm", _) => Ok(Self::Lcm),
            ("turbo", _) => Ok(Self::Turbo),
            (_, Some(steps @ (1 | 2 | 4 | 8))) => Ok(Self::Lightning(Some(steps))),
            _ => Err(Error::config(format!(
                "recipe '{name}' is unknown; valid: standard, lcm, turbo, lightning-1, lightning-2, lightning-4, lightning-8"
            ))),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Standard => "standard".to_owned(),
            Self::Lcm => "lcm".to_owned(),
            Self::Turbo => "turbo".to_owned(),
            Self::Lightning(Some(steps)) => format!("lightning-{steps}"),
            Self::Lightning(None) => "lightning".to_owned(),
        }
    }
}

/// The number before `step` in the rest of a name: `_4step_unet`, `-8steps`.
fn steps_in(name: &str) -> Option<u32> {
    let (before, _) = name.split_once("step")?;
    let before = before.trim_end_matches(['-', '_', ' ']);
    let digits = before.len() - before.trim_end_matches(|letter: char| letter.is_ascii_digit()).len();
    before[before.len() - digits..].parse().ok().filter(|steps| [1, 2, 4, 8].contains(steps))
}

/// The names under which a model's parts are known: the second source, after the files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// The model's reference.
    pub(crate) model: String,
    /// The file of another UNet.
    pub(crate) unet: Option<String>,
    /// The references of the LoRAs that apply.
    pub(crate) loras: Vec<String>,
    /// The configuration's `recipe`.
    pub(crate) recipe: Option<String>,
}

/// What a model was made for, and what follows from it.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// `standard`, `lcm`, `turbo`, `lightning-4`.
    pub(crate) name: String,
    /// Where that is known from.
    why: String,
    steps: RangeInclusive<u32>,
    pub(crate) usual_steps: u32,
    guidance: RangeInclusive<f32>,
    pub(crate) usual_guidance: f32,
    /// The guidance of a temperature of 2, and of 0.
    useful_guidance: (f32, f32),
    /// The legal schedulers; every one that suits the model where there are none.
    schedulers: &'static [SchedulerKind],
    pub(crate) scheduler: SchedulerConfig,
    /// Whether the guidance is an input of the UNet.
    embeds_guidance: bool,
}

/// What a request says about the steps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) steps: Option<u32>,
    pub(crate) guidance: Option<f32>,
    pub(crate) temperature: Option<f32>,
    pub(crate) scheduler: Option<&'a str>,
    pub(crate) has_negative_prompt: bool,
}

/// The steps of an image, as the recipe allows them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Steps {
    pub(crate) count: u32,
    pub(crate) guidance: f32,
    pub(crate) scheduler: SchedulerConfig,
    /// Whether each step asks the model twice, with and without the prompt.
    pub(crate) is_guided: bool,
}

/// The recipe of a model with its usual LoRAs, and what those of others follow from.
#[derive(Debug)]
pub(crate) struct Recipes {
    names: Names,
    pub(crate) usual: Recipe,
}

impl Recipes {
    /// `scheduler` is that of requests without one.
    ///
    /// # Errors
    /// As [`Recipe::of`] and [`Recipe::with_scheduler`].
    pub(crate) fn new(facts: &Facts, names: Names, scheduler: Option<&str>) -> Result<Self> {
        let recipe = Recipe::of(facts, &names.with(&LoraGroup::usual(&facts.loras), facts))?;
        let usual = match scheduler {
            Some(name) => recipe.with_scheduler(name)?,
            None => recipe,
        };
        Ok(Self { names, usual })
    }

    /// The recipe of a group of LoRAs. Where they are not the usual ones, requests without a scheduler get the recipe's.
    ///
    /// # Errors
    /// `invalid_request` for a LoRA that is distilled over a model that is distilled otherwise.
    pub(crate) fn of(&self, facts: &Facts, loras: &LoraGroup) -> Result<Recipe> {
        if *loras == LoraGroup::usual(&facts.loras) {
            return Ok(self.usual.clone());
        }
        let recipe = Recipe::of(facts, &self.names.with(loras, facts));
        recipe.map_err(|error| Error::invalid_request(error.message()))
    }
}

impl Names {
    /// With the LoRAs that apply.
    fn with(&self, loras: &LoraGroup, facts: &Facts) -> Self {
        let names = loras.members().filter_map(|(place, _)| facts.loras.get(place));
        Self { loras: names.map(|lora| lora.reference.clone()).collect(), ..self.clone() }
    }
}

impl Recipe {
    /// # Errors
    /// `config_invalid` naming the valid ones if there is no recipe of this name.
    pub(crate) fn check_name(name: &str) -> Result<()> {
        Made::of_recipe(name).map(|_| ())
    }

    /// The recipe of a model: what the configuration says, else its LoRAs, its UNet, its files, its name.
    ///
    /// # Errors
    /// `config_invalid` for an unknown recipe, and for a LoRA or UNet that is distilled over a model that is distilled
    /// otherwise.
    pub(crate) fn of(facts: &Facts, names: &Names) -> Result<Self> {
        if let Some(name) = &names.recipe {
            let made = Made::of_recipe(name)?;
            return Ok(Self::new(made, "the configuration says so".to_owned(), facts));
        }
        let parts =
            names.loras.iter().map(|name| ("LoRA", name)).chain(names.unet.iter().map(|name| ("UNet", name)));
        let mut found: Option<(Made, String)> = None;
        for (part, name) in parts {
            let Some(made) = Made::of_name(name) else { continue };
            let why = format!("the {part} {} is made so", file_of(name));
            match &found {
                Some((other, other_why)) if *other != made => return Err(contradiction(other_why, &why)),
                _ => found = Some((made, why)),
            }
        }
        let base = Self::of_base(facts, &names.model);
        let (made, why) = match (found, base) {
            (Some((made, why)), Some((base, base_why))) if made != base => {
                return Err(contradiction(&base_why, &why));
            }
            (Some(found), _) | (None, Some(found)) => found,
            (None, None) => {
                (Made::Standard, "neither its files nor its name say that it is distilled".to_owned())
            }
        };
        Ok(Self::new(made, why, facts))
    }

    /// What the files of a checkpoint say, else its name.
    fn of_base(facts: &Facts, name: &str) -> Option<(Made, String)> {
        use SchedulerKind::{Euler, EulerAncestral, Lcm};
        if facts.embeds_guidance {
            return Some((Made::Lcm, "its UNet takes the guidance as an input".to_owned()));
        }
        let scheduler = &facts.scheduler;
        match scheduler.kind {
            Lcm => return Some((Made::Lcm, "its scheduler_config.json names LCMScheduler".to_owned())),
            // Models of zero terminal SNR have trailing spacing too, and any number of steps.
            Euler | EulerAncestral if facts.looks_distilled && !scheduler.rescale_zero_snr => {
                let why = "its scheduler_config.json has trailing timesteps of an Euler scheduler";
                return Some((Made::of_name(name).unwrap_or(Made::Turbo), why.to_owned()));
            }
            _ => {}
        }
        Made::of_name(name).map(|made| (made, format!("the name {} says so", file_of(name))))
    }

    fn new(made: Made, why: String, facts: &Facts) -> Self {
        use SchedulerKind::{Euler, EulerAncestral, Lcm};
        let own = &facts.scheduler;
        let trailing =
            |kind| SchedulerConfig { spacing: Spacing::Trailing, karras: false, ..own.with_kind(kind) };
        let usual = if facts.family == Family::Sdxl { (5.0, (2.0, 9.0)) } else { (7.5, (3.0, 12.0)) };
        let none = (0.0..=NO_GUIDANCE, 0.0, (0.0, 0.0));
        let (steps, usual_steps, guidance, schedulers, scheduler): (_, _, _, &'static [SchedulerKind], _) =
            match made {
                Made::Standard => (1..=200, 25, (0.0..=30.0, usual.0, usual.1), &[], own.clone()),
                Made::Lcm => {
                    let guidance = if facts.embeds_guidance {
                        (1.0..=14.0, 8.5, (6.0, 11.0))
                    } else {
                        (0.0..=2.0, NO_GUIDANCE, (NO_GUIDANCE, NO_GUIDANCE))
                    };
                    let is_own = own.kind == Lcm;
                    (1..=8, 4, guidance, &[Lcm], if is_own { own.clone() } else { own.with_kind(Lcm) })
                }
                Made::Turbo => {
                    let is_own =
                        matches!(own.kind, Euler | EulerAncestral) && own.spacing == Spacing::Trailing;
                    let scheduler = if is_own { own.clone() } else { trailing(EulerAncestral) };
                    (1..=4, 1, none, &[Euler, EulerAncestral], scheduler)
                }
                Made::Lightning(count) => {
                    let mut scheduler = trailing(Euler);
                    if count == Some(1) {
                        scheduler.prediction = Prediction::Sample;
                    }
                    let steps = count.map_or(2..=8, |count| count..=count);
                    (steps, count.unwrap_or(4), none, &[Euler], scheduler)
                }
            };
        let (guidance, usual_guidance, useful_guidance) = guidance;
        let embeds_guidance = facts.embeds_guidance;
        Self {
            name: made.name(),
            why,
            steps,
            usual_steps,
            guidance,
            usual_guidance,
            useful_guidance,
            schedulers,
            scheduler,
            embeds_guidance,
        }
    }

    /// The same with another scheduler for requests without one.
    ///
    /// # Errors
    /// `config_invalid` if it is unknown or does not suit the model.
    pub(crate) fn with_scheduler(mut self, name: &str) -> Result<Self> {
        self.scheduler = self.scheduler_of(name).map_err(|error| Error::config(error.message()))?;
        Ok(self)
    }

    /// The steps of a request.
    ///
    /// # Errors
    /// `invalid_request` saying what would be right.
    pub(crate) fn steps(&self, wanted: Wanted<'_>) -> Result<Steps> {
        let count = wanted.steps.unwrap_or(self.usual_steps);
        if !self.steps.contains(&count) {
            let (from, to) = self.steps.clone().into_inner();
            let range = if from == to { format!("exactly {from}") } else { format!("{from} to {to}") };
            return Err(self.refused("steps", &count, &range));
        }
        let guidance = match (wanted.guidance, wanted.temperature) {
            (Some(guidance), _) => guidance,
            (None, Some(temperature)) => self.guidance_of(temperature)?,
            (None, None) => self.usual_guidance,
        };
        if !self.guidance.contains(&guidance) {
            let (from, to) = (self.guidance.start(), self.guidance.end());
            return Err(self.refused("guidance", &guidance, &format!("{from} to {to}")));
        }
        let is_guided = guidance > NO_GUIDANCE && !self.embeds_guidance;
        if wanted.has_negative_prompt && !is_guided {
            let advice = match *self.guidance.end() > NO_GUIDANCE && !self.embeds_guidance {
                true => format!("raise `guidance`, which is {guidance}, above {NO_GUIDANCE}"),
                false => format!("this model is `{}`, which takes none: {}", self.name, self.why),
            };
            return Err(Error::invalid_request(format!(
                "a negative prompt works by guidance only; {advice}"
            )));
        }
        let scheduler = match wanted.scheduler {
            Some(name) => self.scheduler_of(name)?,
            None => self.scheduler.clone(),
        };
        Ok(Steps { count, guidance, scheduler, is_guided })
    }

    /// The steps of an image that is refined, of which a part is done: two where the recipe allows more than one.
    pub(crate) fn usual_refine_steps(&self) -> u32 {
        self.usual_steps.max(2).min(*self.steps.end())
    }

    /// The guidance of a temperature: the usual one at 0.7, the most useful at 0, the least from 2 on.
    fn guidance_of(&self, temperature: f32) -> Result<f32> {
        if !temperature.is_finite() || temperature < 0.0 {
            return Err(Error::invalid_request(format!(
                "`temperature` is {temperature}; it must be 0 or more"
            )));
        }
        let (least, most) = self.useful_guidance;
        let between = |from: f32, to: f32, share: f32| from + (to - from) * share;
        Ok(if temperature <= USUAL_TEMPERATURE {
            between(most, self.usual_guidance, temperature / USUAL_TEMPERATURE)
        } else {
            let share = (temperature - USUAL_TEMPERATURE) / (HIGH_TEMPERATURE - USUAL_TEMPERATURE);
            between(self.usual_guidance, least, share.min(1.0))
        })
    }

    fn scheduler_of(&self, name: &str) -> Result<SchedulerConfig> {
        let valid = || SCHEDULERS.iter().filter(|named| self.allows(named));
        let names = || valid().map(|named| named.name).collect::<Vec<_>>().join(", ");
        let Some(named) = Named::find(name) else {
            return Err(Error::invalid_request(format!("scheduler '{name}' is unknown; valid: {}", names())));
        };
        if !self.allows(named) {
            return Err(self.refused("scheduler", &name, &names()));
        }
        let config = match named.kind == self.scheduler.kind {
            true => self.scheduler.clone(),
            false => self.scheduler.with_kind(named.kind),
        };
        // Distilled models keep the timesteps that they were made for.
        let spacing = if self.schedulers.is_empty() { config.spacing } else { self.scheduler.spacing };
        Ok(named.applied(SchedulerConfig { spacing, ..config }))
    }

    fn allows(&self, named: &Named) -> bool {
        let is_flow = self.scheduler.prediction == Prediction::Flow;
        match self.schedulers {
            [] => !is_flow && !matches!(named.kind, SchedulerKind::Lcm | SchedulerKind::Tcd),
            some => some.contains(&named.kind) && !named.karras,
        }
    }

    fn refused(&self, field: &str, given: &dyn std::fmt::Display, right: &str) -> Error {
        let (name, why) = (&self.name, &self.why);
        Error::invalid_request(format!(
            "`{field}` is {given}; this model is `{name}` ({why}), which takes {right}"
        ))
    }
}

/// The last part of a reference, for messages.
fn file_of(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

fn contradiction(one: &str, other: &str) -> Error {
    Error::config(format!(
        "the parts were made for different ways of drawing: {one}, and {other}; leave one out, or set `recipe`"
    ))
}

#[cfg(test)]
#[path = "recipes_tests.rs"]
mod tests;
