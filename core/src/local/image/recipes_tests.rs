//! Which steps a model takes, by its files and names.

use serde_json::json;

use super::super::toy::facts;
use super::*;
use crate::error::ErrorKind;

fn recipe(names: Names, change: impl FnOnce(&mut Facts)) -> Result<Recipe> {
    let mut facts = facts();
    change(&mut facts);
    Recipe::of(&facts, &names)
}

fn of_model(name: &str) -> Recipe {
    recipe(Names { model: name.to_owned(), ..Names::default() }, |_| {}).unwrap()
}

fn of_lora(name: &str) -> Recipe {
    let names = Names {
        model: "stabilityai/stable-diffusion-xl-base-1.0".to_owned(),
        loras: vec![name.to_owned()],
        ..Names::default()
    };
    recipe(names, |_| {}).unwrap()
}

fn steps(count: u32) -> Wanted<'static> {
    Wanted { steps: Some(count), ..Wanted::default() }
}

#[test]
fn names_of_loras_and_unets_say_what_they_were_made_for() {
    for (name, expected, usual) in [
        ("latent-consistency/lcm-lora-sdv1-5", "lcm", 4),
        ("ByteDance/SDXL-Lightning:sdxl_lightning_4step_lora.safetensors", "lightning-4", 4),
        ("loras/sdxl_lightning_8step_lora.safetensors", "lightning-8", 8),
        ("loras/lightning-2-steps.safetensors", "lightning-2", 2),
        ("loras/watercolour.safetensors", "standard", 25),
        ("loras/calcmap.safetensors", "standard", 25),
    ] {
        let found = of_lora(name);
        assert_eq!((found.name.as_str(), found.usual_steps), (expected, usual), "{name}");
    }
    for (name, expected) in [
        ("stabilityai/sdxl-turbo", "turbo"),
        ("SimianLuo/LCM_Dreamshaper_v7", "lcm"),
        ("runwayml/stable-diffusion-v1-5", "standard"),
    ] {
        assert_eq!(of_model(name).name, expected);
    }
}

#[test]
fn files_say_more_than_names() {
    let embedded = recipe(Names::default(), |facts| facts.embeds_guidance = true).unwrap();
    let usual = embedded.steps(Wanted::default()).unwrap();
    assert_eq!((embedded.name.as_str(), usual.guidance, usual.is_guided), ("lcm", 8.5, false));
    let turbo = |facts: &mut Facts| {
        facts.scheduler = SchedulerConfig::from_json(&json!({
            "_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing",
            "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"
        }))
        .unwrap();
        facts.looks_distilled = true;
    };
    let found = recipe(Names { model: "./weights".to_owned(), ..Names::default() }, turbo).unwrap();
    assert_eq!((found.name.as_str(), found.scheduler.kind), ("turbo", SchedulerKind::EulerAncestral));
}

#[test]
fn a_lightning_unet_takes_its_own_steps_and_no_guidance() {
    let names = Names { unet: Some("sdxl_lightning_4step_unet.safetensors".to_owned()), ..Names::default() };
    let recipe = recipe(names, |_| {}).unwrap();
    let usual = recipe.steps(Wanted::default()).unwrap();
    assert_eq!((usual.count, usual.guidance, usual.is_guided), (4, 0.0, false));
    assert_eq!((usual.scheduler.kind, usual.scheduler.spacing), (SchedulerKind::Euler, Spacing::Trailing));
    let error = recipe.steps(steps(8)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    for part in ["`steps` is 8", "lightning-4", "sdxl_lightning_4step_unet.safetensors", "exactly 4"] {
        assert!(error.message().contains(part), "{error}");
    }
    let error = recipe.steps(Wanted { guidance: Some(7.0), ..Wanted::default() }).unwrap_err();
    assert!(error.message().contains("`guidance` is 7") && error.message().contains("0 to 1"), "{error}");
    let error = recipe.steps(Wanted { scheduler: Some("ddim"), ..Wanted::default() }).unwrap_err();
    assert!(error.message().ends_with("which takes euler"), "{error}");
    let error = recipe.steps(Wanted { has_negative_prompt: true, ..Wanted::default() }).unwrap_err();
    assert!(error.message().contains("takes none"), "{error}");
    let one = Names { unet: Some("sdxl_lightning_1step_unet_x0.safetensors".to_owned()), ..Names::default() };
    assert_eq!(Recipe::of(&facts(), &one).unwrap().scheduler.prediction, Prediction::Sample);
}

#[test]
fn numbers_that_make_no_image_are_refused() {
    let recipe = of_model("runwayml/stable-diffusion-v1-5");
    for wanted in [
        steps(0),
        steps(10_000),
        Wanted { guidance: Some(f32::NAN), ..Wanted::default() },
        Wanted { guidance: Some(f32::INFINITY), ..Wanted::default() },
        Wanted { guidance: Some(-1.0), ..Wanted::default() },
        Wanted { temperature: Some(f32::NAN), ..Wanted::default() },
        Wanted { temperature: Some(-0.1), ..Wanted::default() },
        Wanted { scheduler: Some("Euler"), ..Wanted::default() },
        Wanted { scheduler: Some("lcm"), ..Wanted::default() },
    ] {
        assert_eq!(recipe.steps(wanted).unwrap_err().kind(), ErrorKind::InvalidRequest, "{wanted:?}");
    }
    let error = recipe.steps(Wanted { scheduler: Some("Euler"), ..Wanted::default() }).unwrap_err();
    assert!(error.message().contains("euler_ancestral, heun"), "{error}");
}

#[test]
fn a_temperature_is_a_guidance() {
    let recipe = of_model("runwayml/stable-diffusion-v1-5");
    let guidance = |temperature| {
        recipe.steps(Wanted { temperature: Some(temperature), ..Wanted::default() }).unwrap().guidance
    };
    assert_eq!((guidance(0.0), guidance(0.7), guidance(2.0), guidance(9.0)), (12.0, 7.5, 3.0, 3.0));
    assert!(guidance(0.3) > 7.5 && guidance(1.0) < 7.5);
    let lcm = of_lora("latent-consistency/lcm-lora-sdv1-5");
    for temperature in [0.0, 0.7, 2.0] {
        let steps = lcm.steps(Wanted { temperature: Some(temperature), ..Wanted::default() }).unwrap();
        assert_eq!((steps.guidance, steps.is_guided), (1.0, false));
    }
}

#[test]
fn parts_that_were_made_for_different_ways_are_a_wrong_configuration() {
    let lightning = "sdxl_lightning_4step_lora.safetensors".to_owned();
    let two = Names { loras: vec![lightning.clone(), "lcm-lora-sdxl".to_owned()], ..Names::default() };
    let over_turbo =
        Names { model: "stabilityai/sdxl-turbo".to_owned(), loras: vec![lightning], ..Names::default() };
    for names in [two, over_turbo] {
        let error = recipe(names, |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(error.message().contains("sdxl_lightning_4step_lora.safetensors"), "{error}");
    }
    let named = Names { recipe: Some("lightning-4".to_owned()), ..Names::default() };
    assert_eq!(recipe(named, |_| {}).unwrap().name, "lightning-4");
    let unknown = Names { recipe: Some("lightning-3".to_owned()), ..Names::default() };
    assert_eq!(recipe(unknown, |_| {}).unwrap_err().kind(), ErrorKind::ConfigInvalid);
}
