//! Against Pillow, transformers and open_clip, by the files that `core/tests/golden/make/images.py` wrote.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;
use crate::local::testing::cpus;
use crate::media::ImageData;
use ayni_kernels::{Cpu, Isa};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/images"))
}

/// The bytes of a file; its media type is never what it says.
pub(super) fn file(name: &str) -> ImageData {
    let bytes = std::fs::read(folder().join(name)).unwrap();
    ImageData::with_media_type(Bytes::from(bytes), "image/wrong")
}

pub(super) fn cases(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number(case: &Value, pointer: &str) -> usize {
    usize::try_from(case.pointer(pointer).and_then(Value::as_u64).unwrap()).unwrap()
}

fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap()
}

/// The pixels that the script makes by the same rule.
pub(super) fn pattern(width: usize, height: usize) -> RgbImage {
    let mut rgb = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            for c in 0..3 {
                let fine = (x * 7 + y * 13 + c * 29) ^ ((x * y) >> 3);
                let coarse = ((x >> 4) + (y >> 3) + c) % 3 * 127;
                rgb.push(if (x + y) / 24 % 2 == 0 { fine as u8 } else { coarse as u8 });
            }
        }
    }
    RgbImage::new(width, height, rgb).unwrap()
}

#[test]
fn files_with_one_right_decoding_have_the_pixels_of_pillow() {
    let mut checked = 0;
    for case in cases("decode.json").iter().filter(|case| case["sha256"].is_string()) {
        let name = text(case, "file");
        let image =
            decode(&file(name), &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(
            (image.width(), image.height()),
            (number(case, "/width"), number(case, "/height")),
            "{name}"
        );
        assert_eq!(digest(image.rgb()), text(case, "sha256"), "{name}: {:?}", &image.rgb()[..12]);
        checked += 1;
    }
    assert!(checked >= 30, "only {checked} files");
}

/// Decoders round differently, and CMYK is turned into RGB before or after.
#[test]
fn lossy_files_are_near_what_pillow_decodes() {
    let mut checked = 0;
    for case in cases("decode.json").iter().filter(|case| case["near"].is_string()) {
        let name = text(case, "file");
        let found =
            decode(&file(name), &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let expected = decode(&file(text(case, "near")), &Limits::default()).unwrap();
        assert_eq!((found.width(), found.height()), (expected.width(), expected.height()), "{name}");
        let apart = found.rgb().iter().zip(expected.rgb()).map(|(a, b)| u64::from(a.abs_diff(*b)));
        let (most, sum) = apart.fold((0, 0), |(most, sum), apart| (apart.max(most), sum + apart));
        let mean = sum as f64 / found.rgb().len() as f64;
        assert!(most <= 6 && mean <= 0.6, "{name}: at most {most}, {mean} on average");
        checked += 1;
    }
    assert!(checked >= 17, "only {checked} files");
}

#[test]
fn resized_pictures_have_the_bits_of_pillow_on_every_instruction_set() {
    let cases = cases("resize.json");
    assert!(cases.len() > 300, "only {} cases", cases.len());
    for case in &cases {
        let from = pattern(number(case, "/from/0"), number(case, "/from/1"));
        let (width, height) = (number(case, "/to/0"), number(case, "/to/1"));
        let filter = Filter::named(text(case, "filter")).unwrap();
        // Large ones once; that every set does the same is the kernel's own test.
        let all = if from.width().max(width) < 240 {
            cpus()
        } else {
            vec![Cpu::new(*Isa::available().last().unwrap(), 2)]
        };
        for cpu in all {
            let found = resize(&cpu, &from, width, height, filter).unwrap();
            assert_eq!(digest(found.rgb()), text(case, "sha256"), "{cpu:?}: {case}");
        }
    }
}

#[test]
fn prepared_pictures_have_the_bits_of_the_reference_libraries() {
    let cases = cases("prepare.json");
    assert!(cases.len() > 80, "only {} cases", cases.len());
    let cpu = Cpu::new(*Isa::available().last().unwrap(), 2);
    for case in &cases {
        let config = case["config"].to_string();
        let preprocessor = match text(case, "kind") {
            "transformers" => Preprocessor::from_transformers(&config),
            "open_clip" => Preprocessor::from_open_clip(&config),
            other => panic!("{other} is no kind"),
        }
        .unwrap();
        let image = pattern(number(case, "/from/0"), number(case, "/from/1"));
        let found = preprocessor.prepare(&cpu, &image).unwrap();
        let what = format!("{}: {}", text(case, "name"), case["from"]);
        assert_eq!((found.height, found.width), (number(case, "/height"), number(case, "/width")), "{what}");
        let bytes: Vec<u8> = found.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(
            digest(&bytes),
            text(case, "sha256"),
            "{what}: {:?}, not {}",
            &found.values[..3],
            case["first"]
        );
    }
}
