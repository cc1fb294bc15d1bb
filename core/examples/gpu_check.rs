//! Embedders on a GPU: how near their vectors are to those of f32 on the CPU, and how many they make. `make gpu-check`.
#![allow(clippy::print_stdout, reason = "an example")]

use std::fmt::Write as _;
use std::time::Instant;

use ayni::local::{LocalEmbedder, LocalEmbedderConfig, Parity};
use ayni::{AnyEmbedder, Context, EmbedRequest, Environment, Error, ErrorKind, Result};

/// Small CLIP models with seeded weights, whose goldens the tests compare with.
const CLIPS: [&str; 3] = ["openai", "laion", "siglip2"];

/// Words of a text and texts of a request.
const SHAPES: [(usize, usize); 6] = [(14, 1), (14, 32), (14, 1024), (62, 256), (254, 32), (254, 512)];

/// Repetitions of a measurement, whose median counts.
const REPETITIONS: usize = 9;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [device, model, clips, gpu, date, output] = arguments.as_slice() else {
        return Err(Error::invalid_request("usage: gpu_check DEVICE MODEL CLIPS GPU DATE OUTPUT"));
    };
    let mut page = format!(
        "# Local models on a GPU\n\nWritten by `make gpu-check` on {date}: {gpu}, `{device}`, version {}.\n",
        ayni::VERSION
    );
    let failures = parities(&mut page, device, model, clips).await?;
    throughput(&mut page, device, model).await?;
    std::fs::write(output, &page)
        .map_err(|error| Error::new(ErrorKind::Unexpected, format!("{output} cannot be written: {error}")))?;
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::ModelLoad, failures.join("; "))),
    }
}

/// Measures every model in every precision; gives back what is too far off.
async fn parities(page: &mut String, device: &str, model: &str, clips: &str) -> Result<Vec<String>> {
    row(
        page,
        "\n## Parity\n\nThe least cosine between vectors of the GPU and of f32 on the CPU, over texts in several \
         languages and, for CLIP, seeded images.\n\n| model | precision | least cosine | bar | |\n| --- | --- | --- | --- | --- |",
    )?;
    let small = CLIPS.map(|name| (format!("{clips}/{name}"), format!("{name} (small, seeded weights)")));
    let models = std::iter::once((model.to_owned(), "all-MiniLM-L6-v2".to_owned())).chain(small);
    let mut failures = Vec::new();
    for (folder, name) in models {
        for precision in ["f32", "bf16"] {
            let parity = parity(&folder, device, precision).await?;
            let lowest = parity.lowest().map_or(f64::NAN, |probe| probe.cosine);
            let verdict = if parity.holds() { "holds" } else { "**fails**" };
            row(page, &format!("| {name} | {precision} | {lowest:.7} | {} | {verdict} |", parity.bar))?;
            failures.extend(parity.ensure().err().map(|error| format!("{name}: {}", error.message())));
        }
    }
    Ok(failures)
}

async fn throughput(page: &mut String, device: &str, model: &str) -> Result<()> {
    row(page, "\n## Throughput\n\nall-MiniLM-L6-v2, from texts to vectors in memory; medians.\n")?;
    row(
        page,
        "| tokens a text | texts a request | f32, texts/s | bf16, texts/s |\n| --- | --- | --- | --- |",
    )?;
    let f32 = AnyEmbedder::new(open(model, device, "f32")?);
    let bf16 = AnyEmbedder::new(open(model, device, "bf16")?);
    for (words, texts) in SHAPES {
        let (exact, quick) = (rate(&f32, words, texts).await?, rate(&bf16, words, texts).await?);
        row(page, &format!("| {} | {texts} | {exact:.0} | {quick:.0} |", words + 2))?;
    }
    Ok(())
}

fn open(folder: &str, device: &str, precision: &str) -> Result<LocalEmbedder> {
    let config = LocalEmbedderConfig::new(folder).with_device(device).with_precision(precision);
    LocalEmbedder::open(&config, &Environment::process())
}

async fn parity(folder: &str, device: &str, precision: &str) -> Result<Parity> {
    open(folder, device, precision)?.verify(&Context::new()).await
}

/// Texts a second.
#[allow(clippy::cast_precision_loss, reason = "a count of texts")]
async fn rate(embedder: &AnyEmbedder, words: usize, texts: usize) -> Result<f64> {
    let request = EmbedRequest::texts((0..texts).map(|_| vec!["water"; words].join(" ")));
    let cx = Context::new();
    embedder.embed(&cx, request.clone()).await?;
    let mut seconds = Vec::new();
    for _ in 0..REPETITIONS {
        let start = Instant::now();
        embedder.embed(&cx, request.clone()).await?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(texts as f64 / seconds[REPETITIONS / 2])
}

/// Adds a line to the page, and shows it.
fn row(page: &mut String, line: &str) -> Result<()> {
    println!("{line}");
    writeln!(page, "{line}").map_err(|error| Error::new(ErrorKind::Unexpected, error.to_string()))
}
