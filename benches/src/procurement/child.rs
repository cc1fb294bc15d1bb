//! One work in a process of its own, so that its memory is nobody else's.

use std::io::Read;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Instant;

use ayni::backends::mercado_publico::MercadoPublicoConfig;
use ayni::backends::mercado_publico::bulk::{BulkSet, MonthRequest, OrderLine, Orders, ReadOptions, Rows};
use ayni::http::{
    HeaderMap, HeaderValue, HttpRequest, HttpResponse, StatusCode, Transport, TransportError, TransportPhase,
};
use ayni::{Context, Environment, Error, ErrorKind};
use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::Large;

/// Starts a work on `month` and waits for what it tells.
pub(super) fn start(work: &str, month: &Path, store: &Path, what: &'static str) -> Result<Large, Error> {
    let failed =
        |why: String| Error::new(ErrorKind::Unexpected, format!("the process that should {work}: {why}"));
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let output = Command::new(program)
        .arg(format!("procurement-{work}"))
        .args([month, store])
        .output()
        .map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    match numbers.as_slice() {
        [rows, megabytes, seconds, memory] if output.status.success() => {
            Ok(Large { what, rows: *rows, seconds: *seconds, megabytes: *megabytes, memory: *memory })
        }
        _ => Err(failed(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

/// What the process that [`start`] starts does.
pub(crate) fn run(work: &str, arguments: &[String]) -> ExitCode {
    let [month, store] = arguments else {
        eprintln!("ayni-benches: {work} needs a month's file and a store");
        return ExitCode::from(2);
    };
    let start = Instant::now();
    let outcome = match work {
        "procurement-read" => read(month),
        "procurement-orders" => orders(month),
        "procurement-import" => import(month, format!("sqlite:{store}")),
        "procurement-import-postgres" => match std::env::var(super::POSTGRES) {
            Ok(address) => import(month, address),
            Err(_) => Err(Error::config(format!("{} is not set", super::POSTGRES))),
        },
        other => Err(Error::config(format!("there is no work '{other}'"))),
    };
    match outcome.and_then(|(rows, bytes)| Ok((rows, bytes, highest_memory()?))) {
        Ok((rows, bytes, memory)) => {
            #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
            let megabytes = bytes as f64 / 1e6;
            println!("{rows} {megabytes} {} {memory}", start.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

fn read(month: &str) -> Result<(u64, u64), Error> {
    let mut rows = Rows::<OrderLine>::open(month, ReadOptions::default())?;
    for row in rows.by_ref() {
        row?;
    }
    Ok((rows.progress().rows, rows.progress().bytes))
}

fn orders(month: &str) -> Result<(u64, u64), Error> {
    let mut orders = Orders::new(Rows::open(month, ReadOptions::default())?);
    for order in orders.by_ref() {
        order?;
    }
    Ok((orders.progress().rows, orders.progress().bytes))
}

/// The whole way: the service's answer, the file on the disk, the rows, the store.
fn import(month: &str, store: String) -> Result<(u64, u64), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Error::config(format!("no runtime: {error}")))?;
    let folder = format!("{month}.months");
    let config = MercadoPublicoConfig::new().with_store(store).with_lock(false, None);
    let client = config.open(&Environment::empty())?;
    let cx = Context::new().with_transport(Arc::new(Served(month.to_owned())));
    let request =
        MonthRequest::new(BulkSet::OrderLines, "2026-06".parse()?).with_folder(folder).with_anew(true);
    let report = runtime.block_on(client.import_month(&cx, &request))?;
    let bytes = Rows::<OrderLine>::open(month, ReadOptions::default())?.progress().of_bytes;
    Ok((report.lines, bytes.unwrap_or(0)))
}

/// A service that has one file.
#[derive(Debug)]
struct Served(String);

impl Transport for Served {
    fn send(&self, _: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, TransportError>> {
        Box::pin(async move {
            let failed =
                |error: std::io::Error| TransportError::new(TransportPhase::Connect, error.to_string());
            let mut file = std::fs::File::open(&self.0).map_err(failed)?;
            let mut headers = HeaderMap::new();
            headers.insert("content-length", file.metadata().map_err(failed)?.len().into());
            headers.insert("etag", HeaderValue::from_static("\"0x1\""));
            let pieces = std::iter::from_fn(move || {
                let mut piece = vec![0; 64 << 10];
                match file.read(&mut piece) {
                    Ok(0) => None,
                    Ok(read) => {
                        piece.truncate(read);
                        Some(Ok(Bytes::from(piece)))
                    }
                    Err(error) => Some(Err(TransportError::new(TransportPhase::Body, error.to_string()))),
                }
            });
            Ok(HttpResponse::new(StatusCode::OK, headers, Box::pin(futures_util::stream::iter(pieces))))
        })
    }
}

/// The most memory that this process has had, in MiB.
fn highest_memory() -> Result<f64, Error> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    let unknown =
        || Error::new(ErrorKind::Unsupported, "this system does not say how much memory a process has had");
    Ok(kibibytes.ok_or_else(unknown)? / 1024.0)
}
