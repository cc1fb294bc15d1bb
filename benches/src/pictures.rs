//! From an encoded image to the tensor of CLIP, step by step.

use ayni::local::ops::cpu;
use ayni::local::vision::{Filter, Limits, Preprocessor, RgbImage, Window, decode, resize, resize_window};
use ayni::{Environment, Error, ImageData};
use ayni_kernels::{Cpu, Isa};

use crate::Options;
use crate::report::{Report, Target, median, timed};

const JPEG: &[u8] = include_bytes!("../data/1280x960.jpg");
const CLIP: &str = r#"{"image_processor_type": "CLIPImageProcessor"}"#;

/// Runs every measurement: with one thread, and with all.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let mut report = Report::default();
    let cpu = cpu(&Environment::process())?;
    println!("# {}, {} threads", cpu.isa, cpu.pool.threads());
    let turns = if options.quick { 9 } else { 41 };
    let image = ImageData::new(JPEG)?;
    let limits = Limits::default();
    let clip = Preprocessor::from_transformers(CLIP)?;
    let picture = decode(&image, &limits)?;
    let mut measure = |name: &str, work: &dyn Fn() -> Result<(), Error>| -> Result<(), Error> {
        work()?;
        let mut times = Vec::new();
        for _ in 0..turns {
            let (time, outcome) = timed(work);
            outcome?;
            times.push(time.as_secs_f64() * 1e3);
        }
        report.figure(name, median(times), "ms", Target::None);
        Ok(())
    };
    measure("jpeg_1280x960_decode", &|| decode(&image, &limits).map(keep))?;
    for cpu in [Cpu::new(cpu.isa, 1), cpu.clone()] {
        let suffix = format!("threads{}", cpu.pool.threads());
        steps(&cpu, &picture, &clip, &suffix, &mut measure)?;
        measure(&format!("jpeg_1280x960_to_tensor_{suffix}"), &|| {
            clip.prepare(&cpu, &decode(&image, &limits)?).map(keep)
        })?;
    }
    let images = vec![image.clone(); 16];
    measure("jpeg_1280x960_to_tensor_16_images", &|| clip.prepare_all(&cpu, &images, &limits).map(keep))?;
    let portable = Cpu::new(Isa::PORTABLE, 1);
    measure("resize_298x224_portable", &|| resize(&portable, &picture, 298, 224, Filter::Bicubic).map(keep))?;
    Ok(report)
}

type Measure<'a> = dyn FnMut(&str, &dyn Fn() -> Result<(), Error>) -> Result<(), Error> + 'a;

/// What follows decoding.
fn steps(
    cpu: &Cpu,
    picture: &RgbImage,
    clip: &Preprocessor,
    suffix: &str,
    measure: &mut Measure<'_>,
) -> Result<(), Error> {
    let middle = Window { left: 37, top: 0, width: 224, height: 224 };
    measure(&format!("resize_298x224_{suffix}"), &|| {
        resize(cpu, picture, 298, 224, Filter::Bicubic).map(keep)
    })?;
    measure(&format!("resize_and_crop_224x224_{suffix}"), &|| {
        resize_window(cpu, picture, 298, 224, Filter::Bicubic, middle).map(keep)
    })?;
    measure(&format!("resize_crop_and_numbers_{suffix}"), &|| clip.prepare(cpu, picture).map(keep))
}

/// Keeps the compiler from leaving out what nobody looks at.
fn keep<T>(value: T) {
    drop(std::hint::black_box(value));
}
