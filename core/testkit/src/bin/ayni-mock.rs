//! The mock server and ChileCompra as a program, for tests in other languages.

// What it prints is its interface.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ayni_testkit::chilecompra::{ChileCompra, WorldSpec};
use ayni_testkit::serve_case;
use serde_json::json;

const HELP: &str = "\
Serves one case of a behaviour suite, or ChileCompra, until its standard input closes.

Usage: ayni-mock --case FILE [--port PORT]
       ayni-mock chilecompra [--world JSON] [--port PORT]
       ayni-mock tiny-images FOLDER

  --case FILE   the case; core/conformance/README.md describes the format
  --port PORT   the port of the main address; 0, the default, takes any
  --world JSON  what the world contains: {\"seed\", \"from\", \"to\", \"now\", \"running\", \"tenders\", \"orders\",
                \"quick_purchases\", \"bodies\", \"suppliers\"}, all of them optional
  --help        this text

With a case it prints one line of JSON: {\"base_url\", \"other_url\", \"case\"}; `case` is the case with its placeholders
filled.
GET /__report   {\"requests_seen\", \"matched\", \"mismatched\", \"unconsumed\", \"credentials_on_other\"}
POST /__judge   takes {\"outcomes\": [{\"ok\": …} or {\"error\": …}], \"progress\": […]} or {\"open_error\": {…}},
                gives {\"passed\", \"differences\"}

As ChileCompra it prints {\"base_url\", \"control_url\", \"now\"} and serves tenders, purchase orders, buyers, suppliers
(/servicios/v1), quick purchases (/v2) and OCDS (/APISOCDS/OCDS) of an invented world.
GET /__chilecompra    {\"now\", \"visible\", \"requests\", \"calls\", \"spent\", \"violations\", \"behaviour\", …}
POST /__chilecompra   takes {\"now\", \"advance_seconds\", \"running\", \"forget\", \"behaviour\": {…}}, all of them optional,
                      and gives the same; `behaviour` holds what is to change of `latency_ms`, `row_ms`, `one_in_flight`,
                      `simultaneous_status`, `daily_quota`, `tickets`, `ticket_dies_after`, `most_rows`,
                      `appearing_rows`, `vanishing_rows`, `filter_loses_one_in`, `ocds_months_behind`, `faults`:
                      [{\"at\", \"what\", \"skip\", \"times\"}], `what` being html, truncated, nul_bytes, drifting_types,
                      simultaneous, quota_spent, ticket_refused, parameters_invalid, gateway_timeout, unavailable,
                      reset or silence

As tiny-images it writes image models with random weights into a folder, in the layout of diffusers, and ends.";

enum Play {
    Case(PathBuf),
    ChileCompra(WorldSpec),
}

struct Arguments {
    play: Play,
    port: u16,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [command, folder] = words.as_slice()
        && command == "tiny-images"
    {
        return match ayni_testkit::tiny_images::write(Path::new(folder)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("ayni-mock: {error}");
                ExitCode::FAILURE
            }
        };
    }
    match parse(std::env::args().skip(1)) {
        Ok(None) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Some(arguments)) => match serve(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("ayni-mock: {error}");
                ExitCode::FAILURE
            }
        },
        Err(what) => {
            eprintln!("ayni-mock: {what}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let (mut case, mut port, mut world) = (None, 0, None);
    let mut arguments = arguments.peekable();
    let is_chilecompra = arguments.next_if(|argument| argument == "chilecompra").is_some();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} lacks its value"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(None),
            "--case" if !is_chilecompra => case = Some(PathBuf::from(value()?)),
            "--world" if is_chilecompra => {
                let spec = serde_json::from_str(&value()?);
                world = Some(spec.map_err(|error| format!("--world is not a world: {error}"))?);
            }
            "--port" => {
                let text = value()?;
                port = text.parse().map_err(|_| format!("'{text}' is not a port"))?;
            }
            unknown => return Err(format!("'{unknown}' is unknown")),
        }
    }
    let play = match is_chilecompra {
        true => Play::ChileCompra(world.unwrap_or_default()),
        false => Play::Case(case.ok_or("--case is missing")?),
    };
    Ok(Some(Arguments { play, port }))
}

fn serve(arguments: Arguments) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    match arguments.play {
        Play::Case(case) => {
            let started = runtime.block_on(serve_case(&case, arguments.port));
            let (server, line) = started.map_err(|error| error.to_string())?;
            until_input_closes(&line)?;
            drop(server);
        }
        Play::ChileCompra(spec) => {
            let server = runtime.block_on(ChileCompra::start(spec, arguments.port));
            let server = server.map_err(|error| error.to_string())?;
            let (base_url, now) = (server.base_url(), server.now().to_string());
            let control_url = format!("{base_url}/__chilecompra");
            until_input_closes(&json!({ "base_url": base_url, "control_url": control_url, "now": now }))?;
        }
    }
    Ok(())
}

/// Prints the line and waits. The runner keeps the standard input open as long as it needs the server.
fn until_input_closes(line: &dyn std::fmt::Display) -> Result<(), String> {
    println!("{line}");
    std::io::stdout().flush().map_err(|error| error.to_string())?;
    std::io::stdin().read_to_end(&mut Vec::new()).map(drop).map_err(|error| error.to_string())
}
