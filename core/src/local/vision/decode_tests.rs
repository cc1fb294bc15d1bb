//! Limits, and files that are damaged in every way; the pixels are checked against Pillow in `goldens`.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::goldens::{cases, file};
use super::*;
use crate::error::ErrorKind;
use ayni_kernels::Isa;

fn image(bytes: impl Into<Bytes>) -> ImageData {
    ImageData::with_media_type(bytes, "image/png")
}

fn golden_names() -> Vec<String> {
    cases("decode.json").iter().map(|case| case["file"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn refused(bytes: impl Into<Bytes>, limits: &Limits) -> Error {
    let error = decode(&image(bytes), limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    assert!(!error.message().contains('\n') && !error.message().contains(". "), "one sentence: {error}");
    error
}

#[test]
fn a_limit_that_is_exceeded_is_named() {
    let png = file("rgb.png").bytes().clone();
    let bytes = refused(png.clone(), &Limits { max_bytes: 50, ..Limits::default() });
    assert!(bytes.message().contains("limit of 50"), "{bytes}");
    let pixels = refused(png.clone(), &Limits { max_pixels: 383, ..Limits::default() });
    assert!(
        pixels.message().contains("24×16") && pixels.message().contains("limit of 383 pixels"),
        "{pixels}"
    );
    let side = refused(png.clone(), &Limits { max_side: 23, ..Limits::default() });
    assert!(side.message().contains("limit of 23 along a side"), "{side}");
    let exactly = Limits { max_bytes: png.len(), max_pixels: 384, max_side: 24 };
    assert!(decode(&image(png), &exactly).is_ok());
}

/// Writes a size into the header of a file of each format.
fn with_declared_size(name: &str, width: u32, height: u32) -> Vec<u8> {
    let mut bytes = file(name).bytes().to_vec();
    #[allow(clippy::cast_possible_truncation)]
    let short = [width as u16, height as u16];
    let find = |marker: &[u8]| bytes.windows(marker.len()).position(|window| window == marker).unwrap();
    match name.rsplit('.').next().unwrap() {
        "png" => {
            bytes[16..20].copy_from_slice(&width.to_be_bytes());
            bytes[20..24].copy_from_slice(&height.to_be_bytes());
        }
        "gif" => {
            bytes[6..8].copy_from_slice(&short[0].to_le_bytes());
            bytes[8..10].copy_from_slice(&short[1].to_le_bytes());
        }
        "bmp" => {
            bytes[18..22].copy_from_slice(&width.to_le_bytes());
            bytes[22..26].copy_from_slice(&height.to_le_bytes());
        }
        "jpg" => {
            let at = find(&[0xff, 0xc0, 0, 17]) + 5;
            bytes[at..at + 2].copy_from_slice(&short[1].to_be_bytes());
            bytes[at + 2..at + 4].copy_from_slice(&short[0].to_be_bytes());
        }
        "webp" => {
            let at = find(b"VP8L") + 9;
            let packed = (width - 1) & 0x3fff | ((height - 1) & 0x3fff) << 14;
            bytes[at..at + 4].copy_from_slice(&packed.to_le_bytes());
        }
        other => panic!("{other}"),
    }
    bytes
}

#[test]
fn a_huge_declared_size_is_refused_from_the_header() {
    for name in ["rgb.png", "rgba.png", "palette.gif", "rgb.bmp", "chroma_420.jpg", "lossless.webp"] {
        let error = refused(with_declared_size(name, 16_000, 16_000), &Limits::default());
        assert!(
            error.message().contains("16000×16000") && error.message().contains("limit"),
            "{name}: {error}"
        );
    }
    for (name, width, height) in [
        ("rgb.png", u32::MAX, u32::MAX),
        ("rgb.png", 1, 70_000),
        ("rgb.bmp", 0x7fff_ffff, 1),
        ("rgb.bmp", 9, 1 << 31),
    ] {
        let error = refused(with_declared_size(name, width, height), &Limits::default());
        assert!(error.message().contains("limit"), "{name}: {error}");
    }
}

#[test]
fn a_declared_size_within_the_limits_but_without_the_data_is_an_error() {
    for name in ["rgb.png", "rgb.bmp", "lossless.webp"] {
        refused(with_declared_size(name, 3000, 2000), &Limits::default());
    }
    for name in ["rgb.png", "palette.gif", "rgb.bmp", "chroma_420.jpg"] {
        refused(with_declared_size(name, 0, 0), &Limits::default());
    }
}

/// A GIF's frame may be smaller than its screen.
#[test]
fn what_a_frame_does_not_cover_is_white() {
    let whole = decode(&file("palette.gif"), &Limits::default()).unwrap();
    let wide = decode(&image(with_declared_size("palette.gif", 30, 20)), &Limits::default()).unwrap();
    assert_eq!((wide.width(), wide.height()), (30, 20));
    for (y, row) in wide.rgb().chunks_exact(3 * 30).enumerate() {
        let inside = if y < 16 { 3 * 24 } else { 0 };
        assert_eq!(row[..inside], whole.rgb()[3 * 24 * y.min(15)..][..inside]);
        assert!(row[inside..].iter().all(|byte| *byte == 255));
    }
}

/// Of a GIF, what follows the first frame is not looked at: cut there, it decodes as before.
#[test]
fn a_file_cut_anywhere_is_an_error() {
    for name in golden_names() {
        if name == "every_grey_and_alpha.png" {
            continue;
        }
        let whole = file(&name).bytes().clone();
        let whole_image = decode(&image(whole.clone()), &Limits::default()).unwrap();
        for length in 0..whole.len() {
            match decode(&image(whole.slice(..length)), &Limits::default()) {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{name}: {length}: {error}")
                }
                Ok(cut) if name.ends_with(".gif") => assert_eq!(cut, whole_image, "{name}: {length}"),
                Ok(_) => panic!("{name}: {length} bytes of {} were enough", whole.len()),
            }
        }
    }
}

#[test]
fn other_formats_and_no_bytes_at_all_are_refused() {
    for bytes in
        [&b""[..], b"\x89PNG", b"\xff\xd8", b"GIF", b"BM", b"\0\0\0\x1cftypavif", b"<svg/>", b"%PDF-1.7"]
    {
        refused(bytes, &Limits::default());
    }
    let error = refused(&b"II*\0"[..], &Limits::default());
    assert!(error.message().contains("JPEG, PNG, WebP, GIF or BMP"), "{error}");
}

#[test]
fn several_images_are_decoded_in_order_each_with_its_own_result() {
    let cpu = Cpu::new(Isa::PORTABLE, 3);
    let names = golden_names();
    let mut images: Vec<ImageData> = names.iter().map(|name| file(name)).collect();
    images.insert(1, image(&b"nothing"[..]));
    let results = decode_all(&cpu, &images, &Limits::default());
    assert_eq!(results.len(), images.len());
    for (number, (image, result)) in images.iter().zip(results).enumerate() {
        match result {
            Ok(found) => assert_eq!(found, decode(image, &Limits::default()).unwrap()),
            Err(_) => assert_eq!(number, 1),
        }
    }
}

/// Small enough that a decoder which believed a damaged header would not get far.
const NARROW: Limits = Limits { max_bytes: 1 << 20, max_pixels: 1 << 20, max_side: 4096 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 2000 } else { 20_000 }))]

    #[test]
    fn damaged_bytes_are_an_error_or_a_picture_but_never_a_panic(
        number in 0_usize..1000, damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let names = golden_names();
        let mut bytes = file(&names[number % names.len()]).bytes().to_vec();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Err(error) = decode(&image(bytes), &NARROW) {
            prop_assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        }
    }

    #[test]
    fn random_bytes_behind_a_signature_are_an_error_or_a_picture(
        start in 0_usize..6, noise in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let starts: [&[u8]; 6] =
            [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"\xff\xd8\xff", b"GIF89a", b"BM", b"RIFF\xff\0\0\0WEBPVP8 ", b""];
        let bytes = [starts[start], &noise].concat();
        if let Err(error) = decode(&image(bytes), &NARROW) {
            prop_assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        }
    }
}
