//! An image model in a process that may take little memory: what does not fit is an error, and what fits is drawn.
#![cfg(all(feature = "candle", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::path::Path;
use std::process::Command;

use ayni::local::{LocalImage, LocalImageConfig};
use ayni::{Context, Environment, Error, ErrorKind, GenerateRequest, ImageGenerator, ImageResponse};

/// Names the model's folder to a process that is started under a limit.
const VARIABLE: &str = "AYNI_TEST_IMAGE_MEMORY";

/// Kilobytes of address space: the program and its threads, and room for a small image.
const LIMIT: usize = 640_000;

#[test]
fn under_a_limit_of_memory_what_does_not_fit_is_an_error_and_what_fits_is_drawn() {
    if let Some(folder) = std::env::var_os(VARIABLE) {
        return draw_under_the_limit(Path::new(&folder));
    }
    let folder = ayni_testkit::tiny_images::shared().unwrap().join("sd");
    let program = std::env::current_exe().unwrap();
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -v {LIMIT} && exec \"$0\" --nocapture")])
        .arg(program)
        .env(VARIABLE, folder)
        .env("AYNI_THREADS", "1")
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {said}", output.status);
    assert!(said.contains("drawn after a refusal"), "{said}");
}

fn draw_under_the_limit(folder: &Path) {
    let config = LocalImageConfig::new(folder.to_string_lossy().as_ref());
    let image = LocalImage::open(&config, &Environment::process()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let draw = |side: u32| -> Result<ImageResponse, Error> {
        let request =
            GenerateRequest::new("a lighthouse").with_size(side, side).with_steps(1).with_guidance(1.0);
        runtime.block_on(image.generate(&Context::new(), request))
    };
    let refused = draw(8192).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::OutOfMemory, "{refused}");
    // The largest of these that is not refused is drawn, whatever little is left.
    for side in [1024, 768, 512, 384, 256, 128] {
        match draw(side) {
            Ok(drawn) => {
                assert_eq!(drawn.size, Some((side, side)));
                println!("{side}: drawn after a refusal");
                return;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{side}: {error}"),
        }
    }
    panic!("nothing fits");
}
