//! `cargo run --release -p ayni-benches -- SUITE [--quick] [--json FILE]`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

mod allocations;
#[cfg(feature = "chat")]
mod chat;
#[cfg(feature = "embed")]
mod embed;
#[cfg(feature = "embed")]
mod images;
#[cfg(feature = "kernels")]
mod kernels;
mod overhead;
#[cfg(feature = "kernels")]
mod pictures;
#[cfg(feature = "procurement")]
mod procurement;
mod report;
#[cfg(any(feature = "kernels", test))]
mod sections;
#[cfg(any(feature = "kernels", feature = "procurement"))]
mod today;

use std::process::ExitCode;

const HELP: &str = "\
Measures what ayni costs.

Usage: ayni-benches SUITE [--quick] [--json FILE] [--markdown FILE] [--only TEXT]...

Suites:
  overhead   the policy stack around a backend that does nothing, and the stream parsers
  kernels    the arithmetic on the CPU: against its own limits, candle and the crate gemm
  embed      local embedders against the CPU's limits; `make bench-peers SUITE=embed` runs the peers beside them
  image      the parts of a Stable Diffusion 1.5 with random weights; AYNI_BENCH_IMAGES names its folder
  chat       a local chat model: prompts, answers, users at once; `make bench-peers SUITE=chat` runs the peers
  procurement  public procurement: lists, monthly files, the store
  pictures   from an encoded image to the tensor of a vision model, step by step

Options:
  --quick          fewer repetitions, fewer cases
  --json FILE      also write the figures as JSON
  --markdown FILE  also write the tables of the documentation (kernels: the section of this CPU; procurement)
  --only TEXT      only the measurements whose group or name holds TEXT (kernels, embed, image, chat)
  --help           this text

Every line is `figure NAME VALUE UNIT` (medians) or `ratio NAME VALUE`; a target that is missed is marked and
makes the command fail.";

/// What the command line asks for.
#[derive(Debug, Default)]
struct Options {
    quick: bool,
    json: Option<String>,
    markdown: Option<String>,
    only: Vec<String>,
}

fn main() -> ExitCode {
    let mut suite = None;
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1).peekable();
    #[cfg(feature = "embed")]
    if arguments.next_if(|first| first == "image-worker").is_some() {
        return images::for_peers(&arguments.collect::<Vec<_>>());
    }
    #[cfg(feature = "embed")]
    if let Some(command) = arguments.next_if(|first| first.starts_with("embed-")) {
        return embed::for_peers(&command, &arguments.collect::<Vec<_>>());
    }
    #[cfg(feature = "chat")]
    if let Some(command) = arguments.next_if(|first| first.starts_with("chat-")) {
        return chat::for_peers(&command, &arguments.collect::<Vec<_>>());
    }
    #[cfg(feature = "procurement")]
    if let Some(command) = arguments.next_if(|first| first.starts_with("procurement-")) {
        return procurement::run_child(&command, &arguments.collect::<Vec<_>>());
    }
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--help" | "-h" => {
                println!("{HELP}");
                return ExitCode::SUCCESS;
            }
            "--quick" => options.quick = true,
            "--json" => options.json = arguments.next(),
            "--markdown" => options.markdown = arguments.next(),
            "--only" => options.only.extend(arguments.next()),
            name if suite.is_none() && !name.starts_with('-') => suite = Some(name.to_owned()),
            other => return usage(&format!("'{other}' is not understood")),
        }
    }
    let outcome = match suite.as_deref() {
        Some("overhead") => overhead::run(options.quick),
        #[cfg(feature = "embed")]
        Some("image") => images::run(&options),
        #[cfg(feature = "kernels")]
        Some("kernels") => kernels::run(&options),
        #[cfg(feature = "kernels")]
        Some("pictures") => pictures::run(&options),
        #[cfg(feature = "embed")]
        Some("embed") => embed::run(&options),
        #[cfg(feature = "chat")]
        Some("chat") => chat::run(&options),
        #[cfg(not(feature = "chat"))]
        Some("chat") => return usage("this build has no chat: build with the feature `chat`"),
        #[cfg(feature = "procurement")]
        Some("procurement") => procurement::run(&options),
        #[cfg(not(feature = "procurement"))]
        Some("procurement") => {
            return usage("this build knows no procurement: build with the feature `procurement`");
        }
        #[cfg(not(feature = "embed"))]
        Some("embed") => return usage("this build has no embedders: build with the feature `embed`"),
        #[cfg(not(feature = "kernels"))]
        Some(name @ ("kernels" | "pictures")) => {
            return usage(&format!("this build has no suite '{name}': build with the feature `kernels`"));
        }
        Some(other) => return usage(&format!("there is no suite '{other}'")),
        None => return usage("no suite was named"),
    };
    match outcome {
        Ok(report) => report.finish(options.json.as_deref()),
        Err(error) => {
            eprintln!("ayni-benches: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where `make models` puts models.
#[cfg(any(feature = "chat", feature = "embed"))]
fn cache_folder() -> Result<std::path::PathBuf, ayni::Error> {
    let variable =
        |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(std::path::PathBuf::from);
    variable("AYNI_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("ayni")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".cache/ayni")))
        .ok_or_else(|| ayni::Error::config("AYNI_CACHE is not set, and neither is HOME"))
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("ayni-benches: {problem}\n\n{HELP}");
    ExitCode::from(2)
}
