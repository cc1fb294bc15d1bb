//! A month from the service into the store: what changes, what breaks, what goes on.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ::bytes::Bytes;

use super::super::{MercadoPublico, MercadoPublicoConfig};
use super::*;
use crate::context::{BoxFuture, Cancellation, Clock, Context, ManualClock, Progress};
use crate::error::{Error, ErrorKind, Persistence};
use crate::http::{
    HeaderText, HttpRequest, HttpResponse, StatusCode, Transport, TransportError, TransportPhase, header_map,
};
use crate::procure::store::{LineQuery, MemoryStore, SharedStore};
use ayni_testkit::bulk::{order_lines, quotes, tender_offers, zip};

/// The service of monthly files: one file at every address, with a version, and what a test makes fail.
#[derive(Clone, Debug, Default)]
pub(super) struct Files(Arc<Mutex<Served>>);

#[derive(Debug, Default)]
pub(super) struct Served {
    file: Vec<u8>,
    etag: String,
    /// After how many bytes the next answers break; whole answers when there are none left.
    breaks: VecDeque<usize>,
    ignores_ranges: bool,
    status: Option<u16>,
    seen: Vec<HttpRequest>,
}

impl Files {
    pub(super) fn serving(file: Vec<u8>, etag: &str) -> Self {
        let files = Self::default();
        files.serve(file, etag);
        files
    }

    fn served(&self) -> std::sync::MutexGuard<'_, Served> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn serve(&self, file: Vec<u8>, etag: &str) {
        let mut served = self.served();
        (served.file, served.etag) = (file, etag.to_owned());
    }

    fn header(&self, index: usize, name: &str) -> Option<String> {
        self.served().seen.get(index).and_then(|request| request.headers.text(name).map(str::to_owned))
    }

    fn calls(&self) -> usize {
        self.served().seen.len()
    }
}

impl Transport for Files {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, TransportError>> {
        let mut served = self.served();
        served.seen.push(request.clone());
        let changed = ("Last-Modified", "Wed, 05 Aug 2026 10:08:00 GMT");
        let mut headers = header_map(&[("ETag", &served.etag), changed]);
        let has = |name: &str| request.headers.text(name).map(str::to_owned);
        let is_same = has("If-None-Match").is_some_and(|etag| etag == served.etag);
        let answered = |status: u16, headers, pieces: Vec<Result<Bytes, TransportError>>| {
            let status = StatusCode::from_u16(status).expect("a status");
            let body = Box::pin(futures_util::stream::iter(pieces));
            Box::pin(std::future::ready(Ok(HttpResponse::new(status, headers, body)))) as BoxFuture<'_, _>
        };
        if let Some(status) = served.status {
            return answered(
                status,
                headers,
                vec![Ok(Bytes::from_static(b"<?xml version=\"1.0\"?><Error/>"))],
            );
        }
        if is_same {
            return answered(304, headers, Vec::new());
        }
        let from =
            has("Range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let from = from
            .filter(|_| has("If-Range").is_some_and(|etag| etag == served.etag) && !served.ignores_ranges);
        let rest = served.file[from.unwrap_or(0)..].to_vec();
        headers.extend(header_map(&[("Content-Length", &rest.len().to_string())]));
        let status = match from {
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", served.file.len() - 1, served.file.len());
                headers.extend(header_map(&[("Content-Range", &range)]));
                206
            }
            None => 200,
        };
        let mut pieces: Vec<Result<Bytes, TransportError>> = Vec::new();
        let whole = served.breaks.pop_front();
        let end = whole.unwrap_or(rest.len()).min(rest.len());
        pieces.extend(rest[..end].chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))));
        if whole.is_some() {
            pieces.push(Err(TransportError::new(TransportPhase::Body, "reset")));
        }
        answered(status, headers, pieces)
    }
}

pub(super) struct ImportBench {
    pub(super) files: Files,
    folder: tempfile::TempDir,
    pub(super) store: SharedStore,
    personal_data: bool,
}

impl ImportBench {
    pub(super) fn new(files: Files) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { files, folder, store: Arc::new(MemoryStore::new()), personal_data: true }
    }

    pub(super) fn client(&self) -> MercadoPublico {
        let config = MercadoPublicoConfig::new()
            .with_server("http://files.test")
            .with_lock(false, None)
            .with_personal_data(self.personal_data);
        let client = config.open(&crate::env::Environment::empty()).expect("opened");
        client.with_opened_store(Arc::clone(&self.store)).expect("the only store")
    }

    pub(super) fn cx(&self) -> Context {
        let clock = ManualClock::automatic();
        Context::new().with_clock(Clock::from(clock)).with_transport(Arc::new(self.files.clone()))
    }

    pub(super) fn request(&self, set: BulkSet) -> MonthRequest {
        MonthRequest::new(set, june()).with_folder(self.folder.path())
    }

    pub(super) async fn import(&self, set: BulkSet) -> Result<ImportReport, Error> {
        self.client().import_month(&self.cx(), &self.request(set)).await
    }

    pub(super) async fn lines(&self, set: BulkSet) -> Vec<crate::procure::store::StoredLine> {
        let query = LineQuery::new(set.kind()).with_limit(usize::MAX);
        let lines = self.store.line_store().expect("lines").lines(query).await.expect("read");
        lines.into_iter().map(|(_, line)| line).collect()
    }

    fn left_behind(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path()).expect("read");
        names.map(|name| name.expect("a name").file_name().to_string_lossy().into_owned()).collect()
    }
}

pub(super) fn june() -> Month {
    "2026-06".parse().expect("a month")
}

pub(super) fn orders(seed: u64, rows: usize) -> Vec<u8> {
    zip(&[("2026-6.csv", &order_lines(seed).with_rows(rows).csv())])
}

#[tokio::test]
async fn a_month_is_imported_once_and_again_only_when_it_has_changed() {
    let bench = ImportBench::new(Files::serving(orders(1, 300), "\"a\""));
    let report = bench.import(BulkSet::OrderLines).await.expect("imported");
    assert_eq!((report.changed, report.lines, report.unread), (true, 300, 0));
    assert_eq!(report.as_of.to_string(), "2026-08-05T06:08:00-04:00");
    let first = bench.lines(BulkSet::OrderLines).await;
    assert_eq!(first.len(), 300);
    assert!(first.iter().all(|line| line.body.is_empty() && line.supplier.is_some() && line.day.is_some()));
    assert!(bench.left_behind().is_empty(), "{:?}", bench.left_behind());
    let again = bench.import(BulkSet::OrderLines).await.expect("asked");
    assert_eq!((again.changed, again.lines, again.as_of), (false, 300, report.as_of));
    assert_eq!(bench.files.header(1, "If-None-Match").as_deref(), Some("\"a\""));
    assert!(bench.left_behind().is_empty(), "{:?}", bench.left_behind());
    bench.files.serve(orders(2, 120), "\"b\"");
    assert_eq!(bench.import(BulkSet::OrderLines).await.expect("imported").lines, 120);
    let second = bench.lines(BulkSet::OrderLines).await;
    assert_eq!(second.len(), 120);
    assert_ne!(second[..], first[..120]);
    let months =
        bench.store.line_store().expect("lines").months(BulkSet::OrderLines.kind()).await.expect("read");
    assert_eq!(months, [(june(), 120)]);
}

#[tokio::test]
async fn a_month_without_rows_is_an_error_and_replaces_nothing() {
    let bench = ImportBench::new(Files::serving(orders(1, 30), "\"a\""));
    bench.import(BulkSet::OrderLines).await.expect("imported");
    bench.files.serve(orders(2, 0), "\"b\"");
    let error = bench.import(BulkSet::OrderLines).await.expect_err("a header only");
    assert!(error.message().contains("no rows"), "{error}");
    assert_eq!(bench.lines(BulkSet::OrderLines).await.len(), 30);
    bench.files.serve(orders(3, 20), "\"c\"");
    assert_eq!(bench.import(BulkSet::OrderLines).await.expect("imported").lines, 20);
}

#[tokio::test]
async fn the_three_sets_go_into_the_store_from_their_own_places() {
    for (set, path, file) in [
        (BulkSet::OrderLines, "/oc-da/2026-6.zip", order_lines(3).with_rows(40).csv()),
        (BulkSet::TenderOffers, "/lic-da/2026-6.zip", tender_offers(3).with_rows(40).csv()),
        (BulkSet::Quotes, "/trnspchc/COT_2026-06.zip", quotes(3).with_rows(40).csv()),
    ] {
        let bench = ImportBench::new(Files::serving(zip(&[("1.csv", &file), ("2.csv", &file)]), "\"a\""));
        assert_eq!(bench.import(set).await.expect("imported").lines, 80);
        let lines = bench.lines(set).await;
        assert_eq!(lines.iter().map(|line| line.position).collect::<Vec<_>>(), (1..=80).collect::<Vec<_>>());
        assert!(lines.iter().all(|line| !line.code.is_empty() && line.product.is_some()));
        assert_eq!(bench.files.served().seen[0].url.path(), path);
        let requests = bench.files.served().seen.clone();
        assert!(requests.iter().all(|request| request.headers.get("ticket").is_none()));
        assert!(
            bench.lines(BulkSet::OrderLines).await.len() == if set == BulkSet::OrderLines { 80 } else { 0 }
        );
    }
}

#[tokio::test]
async fn the_whole_row_and_the_persons_in_it_are_kept_as_asked() {
    let file = quotes(4).with_rows(10).csv();
    for personal_data in [true, false] {
        let bench = ImportBench {
            personal_data,
            ..ImportBench::new(Files::serving(zip(&[("1.csv", &file)]), "\"a\""))
        };
        let request = bench.request(BulkSet::Quotes).with_raw(true);
        bench.client().import_month(&bench.cx(), &request).await.expect("imported");
        for line in bench.lines(BulkSet::Quotes).await {
            let row: serde_json::Value = serde_json::from_slice(&line.body).expect("json");
            assert_eq!(row["NOMBRECONTACTO"] == "", !personal_data);
            assert_eq!(row["CodigoCotizacion"], line.code);
        }
    }
}

#[tokio::test]
async fn another_wish_for_the_same_file_is_another_import() {
    let bench = ImportBench::new(Files::serving(orders(1, 10), "\"a\""));
    bench.import(BulkSet::OrderLines).await.expect("imported");
    let request = bench.request(BulkSet::OrderLines).with_raw(true);
    let report = bench.client().import_month(&bench.cx(), &request).await.expect("imported");
    assert!(
        report.changed && bench.lines(BulkSet::OrderLines).await.iter().all(|line| !line.body.is_empty())
    );
}

#[tokio::test]
async fn a_download_that_breaks_goes_on_where_it_broke() {
    let file = orders(5, 500);
    let bench = ImportBench::new(Files::serving(file.clone(), "\"a\""));
    bench.files.served().breaks = [10_000, 0, 5_000].into();
    let report = bench.import(BulkSet::OrderLines).await.expect("imported");
    assert_eq!((report.lines, bench.files.calls()), (500, 4));
    assert_eq!(bench.files.header(1, "Range").as_deref(), Some("bytes=10000-"));
    assert_eq!(bench.files.header(1, "If-Range").as_deref(), Some("\"a\""));
    assert_eq!(bench.files.header(3, "Range").as_deref(), Some("bytes=15000-"));
}

#[tokio::test]
async fn a_download_that_gives_up_is_gone_on_with_by_the_next_call() {
    let bench = ImportBench::new(Files::serving(orders(5, 500), "\"a\""));
    bench.files.served().breaks = [8_000, 1_000, 1_000, 1_000].into();
    let error = bench.import(BulkSet::OrderLines).await.expect_err("given up");
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Interrupted, Persistence::Exhausted));
    assert!(bench.lines(BulkSet::OrderLines).await.is_empty());
    assert_eq!(bench.import(BulkSet::OrderLines).await.expect("imported").lines, 500);
    assert_eq!(bench.files.header(4, "Range").as_deref(), Some("bytes=11000-"));
}

#[tokio::test]
async fn a_file_that_changes_between_two_attempts_is_fetched_from_its_beginning() {
    let bench = ImportBench::new(Files::serving(orders(5, 500), "\"a\""));
    bench.files.served().breaks = [8_000, 0, 0, 0].into();
    assert!(bench.import(BulkSet::OrderLines).await.is_err());
    let other = orders(6, 450);
    bench.files.serve(other, "\"b\"");
    assert_eq!(bench.import(BulkSet::OrderLines).await.expect("imported").lines, 450);
    // A service that knows nothing of ranges gives the whole again.
    bench.files.serve(orders(7, 440), "\"c\"");
    {
        let mut served = bench.files.served();
        served.ignores_ranges = true;
        served.breaks = [9_000].into();
    }
    assert_eq!(bench.import(BulkSet::OrderLines).await.expect("imported").lines, 440);
}

#[tokio::test]
async fn a_weak_version_is_not_gone_on_with() {
    let bench = ImportBench::new(Files::serving(orders(5, 500), "W/\"a\""));
    bench.files.served().breaks = [8_000].into();
    assert_eq!(bench.import(BulkSet::OrderLines).await.expect("imported").lines, 500);
    assert_eq!(bench.files.header(1, "Range"), None);
}

#[tokio::test]
async fn what_is_broken_changes_nothing_of_what_is_there() {
    let bench = ImportBench::new(Files::serving(orders(1, 50), "\"a\""));
    bench.import(BulkSet::OrderLines).await.expect("imported");
    let before = bench.lines(BulkSet::OrderLines).await;
    let whole = order_lines(2).with_rows(9_000).csv();
    let cut = whole[..whole.len() - 300].to_vec();
    let mut damaged = orders(3, 5_000);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xFF;
    let mut short = orders(3, 50);
    short.truncate(short.len() - 10);
    for (file, etag, says) in [
        (zip(&[("2026-6.csv", &cut)]), "\"b\"", "row "),
        (damaged, "\"c\"", "is damaged"),
        (short, "\"d\"", "truncated"),
        (b"<html>mantenimiento</html>".to_vec(), "\"e\"", "not a zip archive"),
    ] {
        bench.files.serve(file, etag);
        let error = bench.import(BulkSet::OrderLines).await.expect_err(says);
        assert_eq!(error.kind(), ErrorKind::ResponseInvalid);
        assert!(error.message().contains(says), "{error}");
        assert_eq!(bench.lines(BulkSet::OrderLines).await, before);
        assert!(bench.left_behind().is_empty(), "a file that is broken is not kept");
    }
}

#[tokio::test]
async fn what_is_too_large_or_not_there_is_told() {
    let bench = ImportBench::new(Files::serving(orders(1, 500), "\"a\""));
    let request = bench.request(BulkSet::OrderLines).with_most_bytes(1_000);
    let error = bench.client().import_month(&bench.cx(), &request).await.expect_err("too large");
    assert!(error.message().contains("most_bytes"), "{error}");
    bench.files.served().status = Some(404);
    let error = bench.import(BulkSet::OrderLines).await.expect_err("none");
    assert_eq!((error.kind(), error.http_status()), (ErrorKind::NotFound, Some(404)));
    assert!(error.message().contains("no order lines of 2026-06"), "{error}");
    assert!(bench.left_behind().is_empty(), "{:?}", bench.left_behind());
}

#[tokio::test]
async fn two_calls_do_not_fetch_the_same_month_at_once() {
    let bench = ImportBench::new(Files::serving(orders(1, 50), "\"a\""));
    let path = bench.folder.path().join("order_lines-2026-06.zip");
    let held = super::partial::PartialFile::open(Path::new(&path)).expect("opened");
    let error = bench.import(BulkSet::OrderLines).await.expect_err("busy");
    assert_eq!((error.kind(), bench.files.calls()), (ErrorKind::Conflict, 0));
    drop(held);
    assert!(bench.import(BulkSet::OrderLines).await.is_ok());
}

#[tokio::test]
async fn a_download_is_kept_and_asked_about() {
    let bench = ImportBench::new(Files::serving(orders(1, 50), "\"a\""));
    let (client, request) = (bench.client(), bench.request(BulkSet::OrderLines));
    let first = client.download_month(&bench.cx(), &request).await.expect("fetched");
    assert!(matches!(&first, Download::Fetched(file) if file.etag.as_deref() == Some("\"a\"")));
    let second = client.download_month(&bench.cx(), &request).await.expect("asked");
    assert_eq!(second, Download::Unchanged(first.file().clone()));
    let rows = Rows::<OrderLine>::open(&first.file().path, ReadOptions::default()).expect("opened");
    assert_eq!(rows.count(), 50);
    // A file that is gone is fetched again, and so is one that is asked for anew.
    std::fs::remove_file(&first.file().path).expect("removed");
    assert!(matches!(client.download_month(&bench.cx(), &request).await, Ok(Download::Fetched(_))));
    let anew = request.with_anew(true);
    assert!(matches!(client.download_month(&bench.cx(), &anew).await, Ok(Download::Fetched(_))));
}

#[tokio::test]
async fn a_cancelled_import_changes_nothing_and_progress_is_told() {
    let bench = ImportBench::new(Files::serving(orders(1, 20_000), "\"a\""));
    let cancellation = Cancellation::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (sink, stop) = (Arc::clone(&told), cancellation.clone());
    let cx = bench.cx().with_cancellation(cancellation).with_progress(move |event: Progress| {
        if matches!(event, Progress::Reading { .. }) {
            stop.cancel();
        }
        sink.lock().expect("told").push(event);
    });
    let error =
        bench.client().import_month(&cx, &bench.request(BulkSet::OrderLines)).await.expect_err("cancelled");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(bench.lines(BulkSet::OrderLines).await.is_empty());
    let told = told.lock().expect("told").clone();
    assert!(
        told.iter().any(|event| matches!(event, Progress::Download { done, of: Some(of), .. } if done == of))
    );
    let imported = told.iter().find_map(|event| match event {
        Progress::Reading { file, rows, done, of } => Some((file.clone(), *rows, *done, *of)),
        _ => None,
    });
    let (file, rows, done, of) = imported.expect("progress");
    assert_eq!(file, "2026-6.csv");
    assert!(rows >= 4_000 / 2 && Some(done) < of);
    assert_eq!(bench.import(BulkSet::OrderLines).await.expect("imported").lines, 20_000);
}
