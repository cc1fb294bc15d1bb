//! Configurations, crops and batches; the bits are checked against the reference libraries in `goldens`.

use super::super::goldens::{file, pattern};
use super::super::resize;
use super::*;
use crate::error::ErrorKind;
use ayni_kernels::Isa;

const CLIP: &str = r#"{"image_processor_type": "CLIPImageProcessor"}"#;

fn cpu() -> Cpu {
    Cpu::new(Isa::PORTABLE, 2)
}

#[test]
fn a_middle_of_odd_leftovers_is_each_librarys_own() {
    // Expected: by Python's `(image - crop) // 2`, and by torchvision's `int(round(...))` and its padding.
    let cases = [
        (10, 4, 3, 3),
        (9, 4, 2, 2),
        (11, 4, 3, 4),
        (4, 4, 0, 0),
        (3, 4, -1, 0),
        (1, 4, -2, -1),
        (2, 4, -1, -1),
    ];
    for (image, crop, floor, torchvision) in cases {
        assert_eq!(Centre::Floor.start(image, crop), floor, "{image} {crop}");
        assert_eq!(Centre::Torchvision.start(image, crop), torchvision, "{image} {crop}");
    }
}

#[test]
fn the_size_that_comes_out_is_known_where_it_is_fixed() {
    let fixed = |json: &str| Preprocessor::from_transformers(json).unwrap().fixed_size();
    assert_eq!(fixed(CLIP), Some((224, 224)));
    assert_eq!(
        fixed(r#"{"image_processor_type": "SiglipImageProcessor", "size": {"height": 2, "width": 3}}"#),
        Some((2, 3))
    );
    assert_eq!(fixed(r#"{"do_center_crop": false}"#), None);
    assert_eq!(fixed(r#"{"do_resize": false, "do_center_crop": false}"#), None);
}

#[test]
fn a_wrong_configuration_names_the_entry() {
    let cases = [
        ("[]", "not a JSON object"),
        ("{", "not JSON"),
        (r#"{"size": 0}"#, "`size`"),
        (r#"{"size": "224"}"#, "`size`"),
        (r#"{"size": {"shortest_edge": 100000}}"#, "`size`"),
        (r#"{"size": {"shortest_edge": 2, "longest_edge": 3}}"#, "longest edge"),
        (r#"{"size": {"max_height": 2, "max_width": 3}}"#, "`size`"),
        (r#"{"crop_size": {"height": 3}}"#, "`crop_size`"),
        (r#"{"do_resize": "yes"}"#, "`do_resize`"),
        (r#"{"do_pad": true}"#, "`do_pad`"),
        (r#"{"resample": 9}"#, "`resample`"),
        (r#"{"image_mean": [1, 2]}"#, "`image_mean`"),
        (r#"{"image_std": [1, 0, 1]}"#, "`image_std`"),
        (r#"{"rescale_factor": "x"}"#, "`rescale_factor`"),
        (r#"{"image_processor_type": "Siglip2ImageProcessor"}"#, "NaFlex"),
        (r#"{"image_processor_type": "ViTImageProcessor"}"#, "`size` is missing"),
        (r#"{"image_processor_type": "ViTImageProcessor", "size": 3}"#, "`resample` is missing"),
        (
            r#"{"image_processor_type": "ViTImageProcessor", "size": 3, "resample": 2}"#,
            "`image_mean` is missing",
        ),
    ];
    for (json, expected) in cases {
        let error = Preprocessor::from_transformers(json).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad, "{json}");
        assert!(error.message().contains(expected), "{json}: {error}");
    }
    for (json, expected) in [
        ("{}", "`size`"),
        (r#"{"preprocess_cfg": {"size": [3, 4]}}"#, "not square"),
        (r#"{"preprocess_cfg": {"size": 3, "resize_mode": "longest"}}"#, "`resize_mode`"),
        (r#"{"preprocess_cfg": {"size": 3, "interpolation": "random"}}"#, "`interpolation`"),
        (r#"{"preprocess_cfg": {"size": 3, "mode": "L"}}"#, "`mode`"),
    ] {
        let error = Preprocessor::from_open_clip(json).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad, "{json}");
        assert!(error.message().contains(expected), "{json}: {error}");
    }
}

#[test]
fn a_number_is_one_side_for_clip_and_both_for_others_and_lists_are_height_and_width() {
    let spelt = r#"{"image_processor_type": "ViTImageProcessor", "size": 30, "resample": 2, "image_mean": 0.5, "image_std": 0.5}"#;
    let resize = |json: &str| Preprocessor::from_transformers(json).unwrap().resize.unwrap().0;
    assert_eq!(resize(spelt), Resize::Exact { height: 30, width: 30 });
    assert_eq!(resize(r#"{"size": 30}"#), Resize::ShortestEdge(30));
    assert_eq!(resize(r#"{"size": [30, 20]}"#), Resize::Exact { height: 30, width: 20 });
    assert_eq!(resize(r#"{"size": null}"#), Resize::ShortestEdge(224));
}

#[test]
fn a_window_is_cut_out_of_the_whole_on_every_filter() {
    let image = pattern(150, 90);
    for filter in [Filter::Nearest, Filter::Bicubic, Filter::Lanczos, Filter::Box] {
        for (width, height) in [(40, 70), (150, 90), (310, 90), (150, 33)] {
            let whole = resize(&cpu(), &image, width, height, filter).unwrap();
            let window = Window { left: 3, top: 5, width: 31, height: 27 };
            let part = resize_window(&cpu(), &image, width, height, filter, window).unwrap();
            for y in 0..window.height {
                let at = 3 * ((window.top + y) * width + window.left);
                let row = &part.rgb()[3 * y * window.width..3 * (y + 1) * window.width];
                assert_eq!(
                    row,
                    &whole.rgb()[at..at + 3 * window.width],
                    "{filter:?} {width}×{height} row {y}"
                );
            }
        }
    }
}

#[test]
fn sizes_that_cannot_be_are_refused_before_anything_is_allocated() {
    let thin = RgbImage::new(1, 60_000, vec![9; 180_000]).unwrap();
    for (width, height) in [(0, 5), (5, 0), (usize::MAX, 5), (40_000, 40_000)] {
        let error = resize(&cpu(), &thin, width, height, Filter::Bicubic).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{width}×{height}");
    }
    let outside = Window { left: 3, top: 0, width: 3, height: 1 };
    assert!(resize_window(&cpu(), &thin, 5, 5, Filter::Bicubic, outside).is_err());
    // As wide as the whole would be, the part in the middle is small.
    let prepared = Preprocessor::from_transformers(CLIP).unwrap().prepare(&cpu(), &thin).unwrap();
    assert_eq!((prepared.height, prepared.width), (224, 224));
    let without_crop = Preprocessor::from_transformers(r#"{"do_center_crop": false}"#).unwrap();
    let error = without_crop.prepare(&cpu(), &thin).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.message().contains("limit"), "{error}");
}

#[test]
fn a_batch_is_its_pictures_in_order() {
    let preprocessor = Preprocessor::from_transformers(CLIP).unwrap();
    let images: Vec<ImageData> =
        ["rgb.png", "chroma_420.jpg", "palette.gif", "rgb.bmp", "lossless.webp"].map(file).into();
    let all = preprocessor.prepare_all(&cpu(), &images, &Limits::default()).unwrap();
    assert_eq!((all.images, all.height, all.width), (5, 224, 224));
    for (image, values) in images.iter().zip(all.values.chunks_exact(224 * 224 * 3)) {
        let alone = preprocessor.prepare(&cpu(), &decode(image, &Limits::default()).unwrap()).unwrap();
        assert_eq!(alone.values, values);
    }
    let none = preprocessor.prepare_all(&cpu(), &[], &Limits::default()).unwrap();
    assert_eq!((none.images, none.values.len()), (0, 0));
}

#[test]
fn a_batch_with_a_bad_image_fails_and_says_which() {
    let preprocessor = Preprocessor::from_transformers(CLIP).unwrap();
    let images = [file("rgb.png"), file("decode.json")];
    let error = preprocessor.prepare_all(&cpu(), &images, &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert_eq!(error.input(), Some(1), "{error:?}");
    let loose = Preprocessor::from_transformers(r#"{"do_resize": false, "do_center_crop": false}"#).unwrap();
    let error = loose
        .prepare_all(&cpu(), &[file("rgb.png"), file("chroma_420.jpg")], &Limits::default())
        .unwrap_err();
    assert!(error.message().contains("67×45"), "{error}");
}
