//! Images side by side, over a model of a few numbers that can be made to fail.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::super::LocalImage;
use super::super::encode::Format;
use super::super::pipeline::LoraFacts;
use super::super::receipt::ImageReceipt;
use super::super::replay::ImageReplay;
use super::super::toy::{FAULTY, Fault, Toy, facts, local, toy};
use crate::context::{Cancellation, Context, Progress};
use crate::error::{Error, ErrorKind};
use crate::image::{GenerateRequest, ImageGenerator, ImageResponse, ImageSafety, RefineRequest};
use crate::local::models::ConceptScores;
use crate::local::vision::{Limits, RgbImage, decode};
use crate::local::{LocalImageConfig, SafetyMode};
use crate::media::ImageData;

fn request(prompt: &str) -> GenerateRequest {
    GenerateRequest::new(prompt).with_seed(11).with_steps(6)
}

/// Requests of all kinds: steps, guidance, schedulers, sizes, negative prompts, several images.
fn mixed() -> Vec<GenerateRequest> {
    vec![
        request("a fox"),
        request("a hare").with_steps(3).with_guidance(1.0),
        request("a lighthouse").with_scheduler("euler_ancestral").with_negative_prompt("fog"),
        request("a harbour").with_size(64, 96).with_scheduler("dpmpp_2m_karras"),
        request("hills").with_count(3).with_seed(5),
        request("a tower").with_size(64, 96).with_scheduler("heun").with_steps(4),
    ]
}

async fn made(image: &LocalImage, request: GenerateRequest) -> Result<ImageResponse, Error> {
    image.generate(&Context::new(), request).await
}

fn png(width: usize, height: usize) -> ImageData {
    let rgb = (0..width * height).flat_map(|index| [(index % 251) as u8, 90, 7]).collect();
    Format::Png.encode(&RgbImage::new(width, height, rgb).unwrap(), None).unwrap()
}

#[tokio::test]
async fn an_image_has_the_same_bits_alone_and_beside_others() {
    let (alone, image) = toy();
    let mut expected = Vec::new();
    for request in mixed() {
        expected.push(made(&image, request).await.unwrap());
    }
    assert!(alone.steps.lock().unwrap().iter().all(|rows| *rows <= 6));
    let together = Arc::new(Toy { step_time: Duration::from_millis(2), ..Toy::new(facts()) });
    let image = local(&together, LocalImageConfig::new("toy").with_max_batch(8));
    let found = join_all(mixed().into_iter().map(|request| made(&image, request))).await;
    for (found, expected) in found.into_iter().zip(expected) {
        assert_eq!(found.unwrap(), expected);
    }
    assert!(together.steps.lock().unwrap().iter().any(|rows| *rows >= 8), "they were computed together");
}

#[tokio::test]
async fn a_short_request_joins_a_long_one_and_leaves_before_it() {
    let slow = Arc::new(Toy { step_time: Duration::from_millis(5), ..Toy::new(facts()) });
    let image = local(&slow, LocalImageConfig::new("toy"));
    let order = Mutex::new(Vec::new());
    let named = async |name: &'static str, request: GenerateRequest| {
        made(&image, request).await.unwrap();
        order.lock().unwrap().push(name);
    };
    tokio::join!(named("long", request("a").with_steps(60)), async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        named("short", request("b").with_steps(2)).await;
    });
    assert_eq!(*order.lock().unwrap(), ["short", "long"]);
}

#[tokio::test]
async fn whoever_breaks_the_model_ends_alone() {
    let (_, sound) = toy();
    let expected =
        [made(&sound, request("a fox")).await.unwrap(), made(&sound, request("a hare")).await.unwrap()];
    for (fault, kind) in [
        (Fault::Panic, ErrorKind::Unexpected),
        (Fault::Error, ErrorKind::OutOfMemory),
        (Fault::NotANumber, ErrorKind::ResponseInvalid),
    ] {
        let broken = Toy { fault: Some(fault), step_time: Duration::from_millis(2), ..Toy::new(facts()) };
        let image = local(&Arc::new(broken), LocalImageConfig::new("toy"));
        let (fox, bad, hare) = tokio::join!(
            made(&image, request("a fox")),
            made(&image, request(FAULTY)),
            made(&image, request("a hare"))
        );
        assert_eq!(bad.unwrap_err().kind(), kind, "{fault:?}");
        assert_eq!([fox.unwrap(), hare.unwrap()], expected, "{fault:?}");
        assert_eq!(made(&image, request("a fox")).await.unwrap(), expected[0], "{fault:?}");
    }
}

#[tokio::test]
async fn who_finds_no_room_is_told_when_to_come_back() {
    let slow = Arc::new(Toy { step_time: Duration::from_millis(5), ..Toy::new(facts()) });
    let image = local(&slow, LocalImageConfig::new("toy").with_max_batch(1).with_max_queued(1));
    let outcomes = join_all((0..4).map(|_| made(&image, request("a fox")))).await;
    let (made, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (2, 2));
    for error in refused.into_iter().map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        assert!(error.retry_after().is_some_and(|wait| wait >= Duration::from_secs(1)));
    }
}

#[tokio::test]
async fn a_cancelled_request_stops_within_a_step() {
    let slow = Arc::new(Toy { step_time: Duration::from_millis(10), ..Toy::new(facts()) });
    let image = local(&slow, LocalImageConfig::new("toy"));
    let cancellation = Cancellation::new();
    let stop = cancellation.clone();
    let cx = Context::new().with_cancellation(cancellation).with_progress(move |event| {
        if matches!(event, Progress::ImageStep { step: 3, .. }) {
            stop.cancel();
        }
    });
    let error = image.generate(&cx, request("a fox").with_steps(200)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    made(&image, request("a hare").with_steps(1)).await.unwrap();
    assert!(slow.steps.lock().unwrap().len() <= 5, "three steps, perhaps one more, and the last request's");
    let late = Context::new().with_timeout(Duration::from_millis(25));
    assert_eq!(
        image.generate(&late, request("a").with_steps(200)).await.unwrap_err().kind(),
        ErrorKind::Timeout
    );
}

#[tokio::test]
async fn urgent_requests_go_first() {
    let slow = Arc::new(Toy { step_time: Duration::from_millis(5), ..Toy::new(facts()) });
    let image = local(&slow, LocalImageConfig::new("toy").with_max_batch(1));
    let order = Mutex::new(Vec::new());
    let named = async |name: &'static str| {
        made(&image, request("a").with_extra("priority", name)).await.unwrap();
        order.lock().unwrap().push(name);
    };
    image.ready(&Context::new()).await.unwrap();
    tokio::join!(named("normal"), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        tokio::join!(named("low"), named("high"));
    });
    assert_eq!(*order.lock().unwrap(), ["normal", "high", "low"]);
}

#[tokio::test]
async fn every_step_is_told_with_a_preview_if_asked_for() {
    let (_, image) = toy();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let cx = Context::new().with_progress(move |event| {
        if let Progress::ImageStep { step, of, preview } = event {
            sink.lock().unwrap().push((step, of, preview.map(|bytes| ImageData::new(bytes).unwrap())));
        }
    });
    let two = request("a fox").with_count(2).with_steps(3).with_scheduler("euler");
    image.generate(&cx, two.with_extra("previews", true)).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(
        seen.iter().map(|(step, of, _)| (*step, *of)).collect::<Vec<_>>(),
        (1..=6).map(|step| (step, 6)).collect::<Vec<_>>()
    );
    assert!(seen.iter().all(|(_, _, preview)| preview.as_ref().unwrap().dimensions() == Some((16, 16))));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_it_begins_and_the_next_one_is_served() {
    let toy = Arc::new(Toy::new(facts()));
    let image = local(&toy, LocalImageConfig::new("toy").with_memory_bytes(60 << 20));
    let error = made(&image, request("a fox").with_size(4096, 4096)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(toy.steps.lock().unwrap().is_empty());
    assert!(error.message().ends_with("128×128 would fit"), "{error}");
    assert_eq!(made(&image, request("a fox").with_size(128, 128)).await.unwrap().size, Some((128, 128)));
    let small = local(&toy, LocalImageConfig::new("toy").with_memory_bytes(3 << 20));
    let error = small.ready(&Context::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(error.message().contains("the weights take 6 MB"), "{error}");
}

#[tokio::test]
async fn garbage_is_refused_by_name_and_the_engine_lives_on() {
    let (toy, image) = toy();
    let prompt = || GenerateRequest::new("p");
    for (request, part) in [
        (GenerateRequest::new("a".repeat(1 << 20)), "1048576 bytes"),
        (prompt().with_steps(0), "`steps` is 0"),
        (prompt().with_steps(10_000), "`steps` is 10000"),
        (prompt().with_guidance(f32::NAN), "`guidance` is NaN"),
        (prompt().with_size(0, 0), "16×16"),
        (prompt().with_size(u32::MAX, 16), "8192×16"),
        (prompt().with_size(130, 128), "128×128"),
        (prompt().with_count(17), "17 images"),
        (prompt().with_scheduler("best"), "valid: ddim"),
        (prompt().with_extra("format", "gif"), "png, jpeg, webp"),
        (prompt().with_extra("noise", "white"), "torch_cpu"),
        (prompt().with_extra("clip_skip", "two"), "`extra`"),
    ] {
        let error = made(&image, request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        assert!(error.message().contains(part), "{part}: {error}");
    }
    let error = made(&image, prompt().with_extra("sharpness", 3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(toy.steps.lock().unwrap().is_empty());
    made(&image, request("a fox")).await.unwrap();
}

#[tokio::test]
async fn images_of_any_size_are_refined_each_in_its_own() {
    let (_, image) = toy();
    let inputs = [png(50, 33), png(300, 200), png(16, 16)];
    let request = RefineRequest::new("at night", inputs).with_seed(3).with_steps(4);
    let refined = image.refine(&Context::new(), request.clone()).await.unwrap();
    let sizes: Vec<_> = refined.images.iter().map(|image| image.dimensions().unwrap()).collect();
    assert_eq!(sizes, [(50, 33), (300, 200), (16, 16)]);
    let larger = ImageReceipt::of(&refined.images[1]).unwrap();
    assert_eq!((larger.width, larger.drawn_size), (300, Some((157, 105))));
    let alone = RefineRequest::new("at night", [png(50, 33)]).with_seed(3).with_steps(4);
    let alone = image.refine(&Context::new(), alone).await.unwrap();
    assert_eq!(alone.images[0], refined.images[0], "alone as beside others");
    let receipt = ImageReceipt::of(&refined.images[1]).unwrap();
    assert_eq!((receipt.operation.as_str(), receipt.seed, receipt.strength), ("refine", 4, Some(0.5)));
    let other = image.refine(&Context::new(), request.with_strength(1.0)).await.unwrap();
    assert_ne!(other.images[0], refined.images[0]);
}

#[tokio::test]
async fn a_mask_says_what_may_change() {
    let (_, image) = toy();
    let input = png(64, 32);
    let left = RgbImage::new(
        64,
        32,
        (0..64 * 32).flat_map(|index| [if index % 64 < 32 { 255 } else { 0 }; 3]).collect(),
    );
    let mask = Format::Png.encode(&left.unwrap(), None).unwrap();
    let request = RefineRequest::new("a door", [input.clone()]).with_mask(mask).with_seed(3);
    let refined = image.refine(&Context::new(), request.clone()).await.unwrap();
    let (before, after) = (
        decode(&input, &Limits::default()).unwrap(),
        decode(&refined.images[0], &Limits::default()).unwrap(),
    );
    let changed: Vec<bool> =
        before.rgb().chunks(3).zip(after.rgb().chunks(3)).map(|(one, other)| one != other).collect();
    assert!(changed.iter().enumerate().all(|(index, changed)| !changed || index % 64 < 32));
    assert!(changed.iter().filter(|changed| **changed).count() > 900);
    let error = image.refine(&Context::new(), request.with_mask(png(8, 8))).await.unwrap_err();
    assert!(error.message().contains("the mask has 8×8 pixels and the image 64×32"), "{error}");
}

#[tokio::test]
async fn inputs_that_are_no_images_are_named() {
    let (_, image) = toy();
    let whole = png(64, 64);
    let cut = ImageData::with_media_type(whole.bytes().slice(..whole.bytes().len() / 2), "image/png");
    let text = ImageData::with_media_type("no image at all", "image/png");
    // The header of a PNG of 200 megapixels.
    let mut huge = whole.bytes().to_vec();
    huge[16..24].copy_from_slice(&[0, 0, 0x3a, 0x98, 0, 0, 0x34, 0xbc]);
    for (bad, part) in
        [(cut, "cut off"), (text, "not an image"), (ImageData::with_media_type(huge, "image/png"), "pixels")]
    {
        let error =
            image.refine(&Context::new(), RefineRequest::new("p", [whole.clone(), bad])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        assert!(error.message().contains(part), "{part}: {error}");
        assert_eq!(error.input(), Some(1), "{error}");
    }
    for strength in [0.0, -1.0, 1.5, f32::NAN] {
        let request = RefineRequest::new("p", [whole.clone()]).with_strength(strength);
        assert_eq!(
            image.refine(&Context::new(), request).await.unwrap_err().kind(),
            ErrorKind::InvalidRequest
        );
    }
    let request = RefineRequest::new("p", [whole]).with_strength(0.1).with_steps(4);
    let error = image.refine(&Context::new(), request).await.unwrap_err();
    assert!(error.message().contains("0.25"), "{error}");
}

#[tokio::test]
async fn an_inpainting_model_needs_an_image() {
    let mut facts = facts();
    facts.is_inpaint = true;
    let image = local(&Arc::new(Toy::new(facts)), LocalImageConfig::new("toy"));
    assert_eq!(made(&image, request("a")).await.unwrap_err().kind(), ErrorKind::Unsupported);
    let request = RefineRequest::new("a door", [png(32, 32)]).with_mask(png(32, 32));
    assert_eq!(image.refine(&Context::new(), request).await.unwrap().size, Some((32, 32)));
}

#[tokio::test]
async fn an_image_is_drawn_again_by_its_receipt() {
    let (_, image) = toy();
    let response =
        made(&image, request("un faro, 漢字").with_count(2).with_scheduler("euler_ancestral")).await.unwrap();
    assert_eq!(
        (response.seed, response.steps, response.scheduler.as_deref()),
        (Some(11), Some(6), Some("euler_ancestral"))
    );
    let replay = ImageReplay::of(&image, &Context::new(), &response.images[1], &[]).await.unwrap();
    assert_eq!((replay.receipt.seed, replay.max_difference), (12, 0));
    assert_eq!(replay.image, response.images[1]);
    let mut facts = facts();
    facts.weight_files.push("no-such-file".into());
    let other = local(&Arc::new(Toy::new(facts)), LocalImageConfig::new("toy"));
    let error = ImageReplay::of(&other, &Context::new(), &response.images[0], &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let bare = local(
        &Arc::new(Toy::new(super::super::toy::facts())),
        LocalImageConfig::new("toy").with_receipts(false),
    );
    let without = made(&bare, request("secret")).await.unwrap();
    assert!(ImageReceipt::of(&without.images[0]).is_err());
    assert!(!without.images[0].bytes().windows(6).any(|bytes| bytes == b"secret"));
}

#[tokio::test]
async fn an_image_that_was_refined_is_drawn_again_of_what_it_was_made_from() {
    let (_, image) = toy();
    let cx = Context::new();
    let (input, mask) = (png(64, 32), png(64, 32));
    let plain = RefineRequest::new("a door", [png(300, 200), input.clone()]).with_seed(3).with_steps(4);
    let masked = RefineRequest::new("a door", [input.clone()]).with_mask(mask.clone()).with_strength(0.9);
    let resized = RefineRequest { size: Some((32, 48)), ..RefineRequest::new("a door", [input.clone()]) };
    for request in [plain, masked, resized] {
        let refined = image.refine(&cx, request).await.unwrap();
        for first in &refined.images {
            let sources = [png(300, 200), png(8, 8), input.clone(), mask.clone()];
            let replay = ImageReplay::of(&image, &cx, first, &sources).await.unwrap();
            // Which of several images it was is not known, so its seed is that of the receipt.
            assert_eq!((replay.max_difference, &replay.image), (0, first));
        }
        let error = ImageReplay::of(&image, &cx, &refined.images[0], &[png(8, 8)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains("give the image that it was made from"), "{error}");
    }
}

/// A model with two LoRAs, of which the first applies where a request does not say.
fn with_loras() -> super::super::pipeline::Facts {
    let mut facts = facts();
    for (name, scale) in [("ink", 0.5), ("lcm-lora", 0.0)] {
        facts.loras.push(LoraFacts {
            reference: format!("loras/{name}"),
            name: format!("{name}.safetensors"),
            scale,
            layers: 1,
            rank: 4,
            sha256: format!("{name}-hash"),
        });
    }
    facts
}

#[tokio::test]
async fn requests_choose_their_loras_and_those_of_one_group_are_drawn_together() {
    let slow = Arc::new(Toy { step_time: Duration::from_millis(2), ..Toy::new(with_loras()) });
    let image = local(&slow, LocalImageConfig::new("toy").with_max_batch(8));
    let choose = |loras: serde_json::Value| request("a fox").with_steps(4).with_extra("loras", loras);
    let requests = || {
        vec![
            request("a fox").with_steps(4),
            choose(json!([])),
            choose(json!([{ "model": "ink.safetensors" }])),
            choose(json!([{ "model": "loras/lcm-lora" }, { "model": "loras/ink", "weight": 0.25 }])),
        ]
    };
    let mut alone = Vec::new();
    for request in requests() {
        alone.push(made(&image, request).await.unwrap());
    }
    let together = join_all(requests().into_iter().map(|request| made(&image, request))).await;
    assert!(together.into_iter().map(Result::unwrap).eq(alone.iter().cloned()));
    assert_eq!(alone[0].images, alone[2].images, "the usual one by name");
    assert_ne!(alone[0].images, alone[1].images);
    let receipt = |number: usize| ImageReceipt::of(&alone[number].images[0]).unwrap();
    let named = |number: usize| -> Vec<(String, f32)> {
        receipt(number).loras.into_iter().map(|lora| (lora.name, lora.weight)).collect()
    };
    assert_eq!(named(0), [("ink.safetensors".to_owned(), 0.5)]);
    assert_eq!(named(1), []);
    let both = [("ink.safetensors".to_owned(), 0.25), ("lcm-lora.safetensors".to_owned(), 1.0)];
    assert_eq!(named(3), both);
    // A LoRA brings its recipe.
    assert_eq!((receipt(0).recipe.as_str(), receipt(3).recipe.as_str()), ("standard", "lcm"));
    assert_eq!((receipt(3).scheduler.as_str(), receipt(3).guidance), ("lcm", 1.0));
    let replay = ImageReplay::of(&image, &Context::new(), &alone[3].images[0], &[]).await.unwrap();
    assert_eq!(replay.max_difference, 0);
    for (loras, part) in [
        (json!([{ "model": "oil" }]), "valid: ink.safetensors, lcm-lora.safetensors"),
        (json!([{ "model": "loras/ink" }, { "model": "ink-hash" }]), "named twice"),
        (json!([{ "model": "loras/ink", "strength": 1 }]), "strength"),
        (json!("ink"), "`extra`"),
    ] {
        let error = made(&image, choose(loras)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        assert!(error.message().contains(part), "{part}: {error}");
    }
    let many = made(&image, choose(json!([{ "model": "loras/lcm-lora" }])).with_steps(25)).await.unwrap_err();
    assert!(many.message().contains("`lcm` (the LoRA lcm-lora is made so)"), "{many}");
}

#[tokio::test]
async fn what_the_safety_checker_finds_is_told_or_hidden_or_refused() {
    let of_mode = |mode, second| {
        let scores = ConceptScores { special_care: Vec::new(), concepts: vec![-0.5, second] };
        let toy = Arc::new(Toy { safety: Some(scores), ..Toy::new(facts()) });
        local(&toy, LocalImageConfig::new("toy").with_safety(mode))
    };
    let plain = made(&toy().1, request("a fox")).await.unwrap();
    assert!(plain.safety.is_empty());
    let harmless = made(&of_mode(SafetyMode::Refuse, -0.25), request("a fox")).await.unwrap();
    assert_eq!(
        (&harmless.safety[..], harmless.images == plain.images),
        (&[ImageSafety::default()][..], true)
    );
    let (marked, blanked) = (of_mode(SafetyMode::Mark, 0.25), of_mode(SafetyMode::Blank, 0.25));
    let mut receipts = Vec::new();
    for (image, is_blanked) in [(&marked, false), (&blanked, true)] {
        let answer = made(image, request("a fox").with_count(2)).await.unwrap();
        assert_eq!(answer.safety, vec![ImageSafety::new([(1, 0.25)]).with_blanked(is_blanked); 2]);
        let pixels = decode(&answer.images[1], &Limits::default()).unwrap();
        assert_eq!(pixels.rgb().iter().all(|byte| *byte == 0), is_blanked);
        let receipt = ImageReceipt::of(&answer.images[0]).unwrap();
        receipts.push((receipt.is_flagged, receipt.is_blanked));
    }
    assert_eq!(receipts, [(true, false), (true, true)]);
    let error = made(&of_mode(SafetyMode::Refuse, 0.25), request("a fox")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContentRejected, "{error}");
    let previews = || request("a fox").with_extra("previews", true);
    assert_eq!(made(&blanked, previews()).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(made(&marked, previews()).await.is_ok());
}

#[tokio::test]
async fn a_seed_that_is_not_given_is_told_and_repeats_the_image() {
    let (_, image) = toy();
    let first = made(&image, GenerateRequest::new("a fox").with_steps(2)).await.unwrap();
    let again = GenerateRequest::new("a fox").with_steps(2).with_seed(first.seed.unwrap());
    assert_eq!(made(&image, again).await.unwrap(), first);
    let other = made(&image, GenerateRequest::new("a fox").with_steps(2)).await.unwrap();
    assert_ne!(other.seed, first.seed);
}
