//! Local chat: how long prompts, answers, second turns and schemas take, and from the start of a process to a token.
//!
//! `make bench-peers SUITE=chat` drives the same works here and in other libraries, one process each, in turns.

mod works;

use std::io::{BufRead, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ayni::local::ops::cpu;
use ayni::{Environment, Error, ErrorKind};
use ayni_kernels::{Cpu, peak};

use crate::Options;
use crate::report::{Report, Target, median};
use works::Chat;

/// Bytes that a measurement of the memory reads: more than any cache holds.
const READ_BYTES: usize = 192 << 20;

/// Measures the real model in every format that is there: Q4_1 from `make models`, others from the peers' preparation.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let cache = crate::cache_folder()?;
    let original = cache.join("models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
    if !original.is_file() {
        return Err(Error::config(format!("there is no {}: run `make models`", original.display())));
    }
    let prepared = |name: &str| cache.join(format!("peers/chat/SmolLM2-135M-Instruct.{name}.gguf"));
    let files = ["Q4_0", "Q4_K_M", "Q8_0"].map(|name| (name.to_owned(), prepared(name)));
    let mut report = Report::default();
    for (name, file) in [("Q4_1".to_owned(), original)].into_iter().chain(files) {
        if !file.is_file() {
            println!("# {name} is left out: `make bench-peers SUITE=chat` makes it");
            continue;
        }
        let is_wanted = |work: &str| {
            let name = format!("{}_{work}", name.to_lowercase());
            options.only.is_empty() || options.only.iter().any(|only| name.contains(only))
        };
        measure(&mut report, &name.to_lowercase(), &file, options.quick, is_wanted)?;
    }
    Ok(report)
}

#[allow(clippy::cast_precision_loss, reason = "bytes and tokens, far below 2⁵³")]
fn measure(
    report: &mut Report,
    format: &str,
    file: &Path,
    quick: bool,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let rounds = if quick { 3 } else { 9 };
    let repeated = |work: &mut dyn FnMut() -> Result<f64, Error>| {
        (0..rounds).map(|_| work()).collect::<Result<Vec<_>, _>>().map(median)
    };
    let path = file.to_string_lossy();
    if is_wanted("load") {
        let milliseconds = repeated(&mut || Ok(load_to_first_token(&path)?.as_secs_f64() * 1e3))?;
        report.figure(&format!("{format}_load"), milliseconds, "ms", Target::AtMost(150.0));
    }
    let mut chat = Chat::open(&path)?;
    if is_wanted("decode") {
        let near = repeated(&mut || chat.decode(32, 128).map(per_second))?;
        report.figure(&format!("{format}_decode"), near, "tokens/s", Target::None);
        let cpu = cpu(&Environment::process())?;
        let bytes = std::fs::metadata(file).map_or(0, |found| found.len()) as f64;
        let bound = repeated(&mut || Ok(bytes_read_a_second(&cpu)))? / bytes;
        report.ratio(&format!("{format}_decode_of_bandwidth"), near / bound, Target::None);
        let far = repeated(&mut || chat.decode(4000, 64).map(per_second))?;
        report.figure(&format!("{format}_decode_4096"), far, "tokens/s", Target::None);
    }
    if is_wanted("prefill") {
        let speed = repeated(&mut || chat.prefill(512).map(per_second))?;
        report.figure(&format!("{format}_prefill_512"), speed, "tokens/s", Target::None);
    }
    if is_wanted("users") {
        let speed = repeated(&mut || chat.users(8, 32, 64).map(per_second))?;
        report.figure(&format!("{format}_users_8"), speed, "tokens/s", Target::None);
    }
    if is_wanted("turns") {
        let share = repeated(&mut || {
            let [first, second] = chat.turns(2000)?;
            Ok(second.as_secs_f64() / first.as_secs_f64())
        })?;
        report.ratio(&format!("{format}_second_turn_of_first"), share, Target::AtMost(0.1));
    }
    if is_wanted("json") {
        let share = repeated(&mut || {
            let [free, bound] = chat.json(128)?;
            Ok(per_second(free) / per_second(bound))
        })?;
        report.ratio(&format!("{format}_json_over_free"), share, Target::AtMost(1.05));
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "tokens, far below 2⁵³")]
fn per_second((time, tokens): (Duration, u64)) -> f64 {
    tokens as f64 / time.as_secs_f64()
}

#[allow(clippy::cast_precision_loss, reason = "bytes, far below 2⁵³")]
fn bytes_read_a_second(cpu: &Cpu) -> f64 {
    let memory = vec![1_u32; READ_BYTES / size_of::<u32>()];
    peak::read(cpu, &memory);
    let start = Instant::now();
    std::hint::black_box(peak::read(cpu, &memory));
    READ_BYTES as f64 / start.elapsed().as_secs_f64()
}

/// From the start of a process until it has the first token of an answer.
fn load_to_first_token(file: &str) -> Result<Duration, Error> {
    let program = std::env::current_exe().map_err(of_pipe)?;
    let start = Instant::now();
    let status = Command::new(program).args(["chat-first", file]).stdout(Stdio::null()).status();
    let taken = start.elapsed();
    match status {
        Ok(status) if status.success() => Ok(taken),
        Ok(status) => Err(Error::config(format!("`chat-first` ended with {status}"))),
        Err(error) => Err(of_pipe(error)),
    }
}

/// The commands that `make bench-peers` uses.
pub(crate) fn for_peers(command: &str, arguments: &[String]) -> ExitCode {
    let outcome = match (command, arguments) {
        ("chat-worker", [file]) => serve(file),
        ("chat-first", [file]) => Chat::open(file).map(drop),
        _ => return crate::usage(&format!("'{command}' is not called like that")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ayni-benches: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Answers one line with one line, until the input ends, as `benches/peers/chat/worker.py` does:
///
/// ```text
/// prefill TOKENS                → took NANOSECONDS TOKENS
/// decode CONTEXT TOKENS         → took NANOSECONDS TOKENS
/// users COUNT CONTEXT TOKENS    → took NANOSECONDS TOKENS
/// turns TOKENS                  → took NANOSECONDS NANOSECONDS      (ours only)
/// json TOKENS                   → took NANOSECONDS TOKENS NANOSECONDS TOKENS      (ours only)
/// ```
///
/// A failure is answered with `failed WHY`.
fn serve(file: &str) -> Result<(), Error> {
    let mut chat = Chat::open(file)?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(of_pipe)?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = answer(&mut chat, &words).unwrap_or_else(|error| format!("failed {error}"));
        writeln!(out, "{answer}").and_then(|()| out.flush()).map_err(of_pipe)?;
    }
    Ok(())
}

fn answer(chat: &mut Chat, words: &[&str]) -> Result<String, Error> {
    let said = |(time, tokens): (Duration, u64)| format!("{} {tokens}", time.as_nanos());
    let took = match words {
        ["prefill", tokens] => said(chat.prefill(number(tokens)?)?),
        ["decode", context, tokens] => said(chat.decode(number(context)?, number(tokens)?)?),
        ["users", count, context, tokens] => {
            said(chat.users(number(count)?, number(context)?, number(tokens)?)?)
        }
        ["turns", tokens] => chat.turns(number(tokens)?)?.map(|time| time.as_nanos().to_string()).join(" "),
        ["json", tokens] => chat.json(number(tokens)?)?.map(said).join(" "),
        _ => return Err(Error::config(format!("'{}' is not understood", words.join(" ")))),
    };
    Ok(format!("took {took}"))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::config(format!("'{text}' is not a number")))
}

fn of_pipe(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Interrupted, format!("whoever drives this is gone: {error}"))
}
