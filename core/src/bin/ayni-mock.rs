//! The behaviour suite's server as a program, for runners in other languages.

// What it prints is its interface.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use ayni::conformance::serve_case;

const HELP: &str = "\
Plays one case of ayni's behaviour suite until its standard input closes.

Usage: ayni-mock --case FILE [--port PORT]

  --case FILE   the case, as conformance/README.md describes it
  --port PORT   the port of the main address; 0, the default, takes any
  --help        this text

It prints one line of JSON: {\"base_url\", \"other_url\", \"case\"}; `case` is the case with its placeholders filled.
GET /__report   {\"requests_seen\", \"matched\", \"mismatched\", \"unconsumed\", \"credentials_on_other\"}
POST /__judge   takes {\"outcomes\": [{\"ok\": …} or {\"error\": …}], \"progress\": […]} or {\"open_error\": {…}},
                gives {\"passed\", \"differences\"}";

struct Arguments {
    case: PathBuf,
    port: u16,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(None) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Some(arguments)) => serve(&arguments),
        Err(what) => {
            eprintln!("ayni-mock: {what}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let (mut case, mut port) = (None, 0);
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} lacks its value"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(None),
            "--case" => case = Some(PathBuf::from(value()?)),
            "--port" => {
                let text = value()?;
                port = text.parse().map_err(|_| format!("'{text}' is no port"))?;
            }
            unknown => return Err(format!("'{unknown}' is unknown")),
        }
    }
    let case = case.ok_or("--case is missing")?;
    Ok(Some(Arguments { case, port }))
}

fn serve(arguments: &Arguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let (server, line) = match runtime.block_on(serve_case(&arguments.case, arguments.port)) {
        Ok(started) => started,
        Err(error) => return fail(&error),
    };
    println!("{line}");
    if let Err(error) = std::io::stdout().flush() {
        return fail(&error);
    }
    // The runner holds the other end open as long as it needs the server.
    let closed = std::io::stdin().read_to_end(&mut Vec::new());
    drop(server);
    match closed {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("ayni-mock: {error}");
    ExitCode::FAILURE
}
