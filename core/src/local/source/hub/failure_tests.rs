use std::time::Duration;

use futures_util::future::join_all;

use super::testing::{Fault, ID, TestHub};
use super::*;
use crate::context::{BoxFuture, Cancellation, ManualClock, PhaseTimeouts};
use crate::error::Persistence;
use crate::http::{HttpRequest, HttpResponse, Transport, TransportError};

const WEIGHTS: &str = "model.safetensors";

/// Time for one attempt, too little for the pause before a second. The clock stands still, so that a slow machine
/// changes nothing.
fn hurried(clock: &ManualClock) -> Context {
    Context::new().with_clock(clock.clone().into()).with_timeout(Duration::from_millis(450))
}

#[tokio::test]
async fn a_download_that_is_cut_anywhere_goes_on_from_there() {
    const SIZE: usize = 40;
    join_all((0..SIZE).map(|cut| async move {
        let hub = TestHub::start(SIZE).await.with_fault("/store/", 1, Fault::Cut(cut));
        let files = hub.fetch(&Context::new()).await.unwrap();
        assert_eq!(std::fs::read(files.path(WEIGHTS)).unwrap(), hub.state().files[WEIGHTS], "cut at {cut}");
        let range = hub.at_store().last().unwrap().range.clone();
        assert_eq!(range, (cut > 0).then(|| format!("bytes={cut}-")), "cut at {cut}");
        assert!(!hub.partial(WEIGHTS).exists());
    }))
    .await;
}

#[tokio::test]
async fn a_list_or_a_small_file_that_is_cut_is_asked_for_again() {
    join_all(["/api/models/", "resolve-cache"].map(|place| async move {
        for cut in [0, 1, 20] {
            let hub = TestHub::start(10).await.with_fault(place, 1, Fault::Cut(cut));
            hub.fetch(&Context::new()).await.unwrap();
            assert!(hub.cached().is_some(), "{place} cut at {cut}");
        }
    }))
    .await;
}

#[tokio::test]
async fn half_a_download_is_no_model_and_is_gone_on_with_by_the_next_call() {
    let hub = TestHub::start(1000).await.with_fault("/store/", 1, Fault::Cut(400));
    let error = hub.fetch(&hurried(&ManualClock::new())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(hub.cached(), None);
    assert!(!hub.folder().join("refs/main").exists());
    assert!(!hub.blob(WEIGHTS).exists());
    assert_eq!(std::fs::metadata(hub.partial(WEIGHTS)).unwrap().len(), 400);
    let files = hub.fetch(&Context::new()).await.unwrap();
    assert_eq!(std::fs::read(files.path(WEIGHTS)).unwrap(), hub.state().files[WEIGHTS]);
    assert_eq!(hub.at_store().last().unwrap().range.as_deref(), Some("bytes=400-"));
}

#[tokio::test]
async fn damage_is_found_out_deleted_and_reported() {
    for (place, name) in [("/store/", WEIGHTS), ("resolve-cache", "modules.json")] {
        let hub = TestHub::start(1000).await.with_fault(place, 1, Fault::Damage);
        let error = hub.fetch(&Context::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad);
        assert!(error.message().contains(name) && error.message().contains("checksum"), "{error}");
        assert!(!hub.blob(name).exists() && !hub.partial(name).exists());
        assert_eq!(hub.cached(), None);
        hub.fetch(&Context::new()).await.expect("the next call begins anew");
    }
}

#[tokio::test]
async fn what_an_earlier_call_left_damaged_is_replaced() {
    let hub = TestHub::start(1000).await;
    std::fs::create_dir_all(hub.folder().join("blobs")).unwrap();
    for rubbish in [vec![9; 10], vec![9; 1000], vec![9; 5000]] {
        std::fs::write(hub.partial(WEIGHTS), &rubbish).unwrap();
        let files = hub.fetch(&Context::new()).await.unwrap();
        assert_eq!(std::fs::read(files.path(WEIGHTS)).unwrap(), hub.state().files[WEIGHTS]);
        std::fs::remove_file(hub.blob(WEIGHTS)).unwrap();
        assert_eq!(hub.cached(), None, "a link to nothing is no file");
    }
    std::fs::write(hub.blob(WEIGHTS), "cut off").unwrap();
    std::fs::remove_file(hub.folder().join("snapshots").join(super::testing::COMMIT).join(WEIGHTS)).unwrap();
    let files = hub.fetch(&Context::new()).await.unwrap();
    assert_eq!(std::fs::metadata(files.path(WEIGHTS)).unwrap().len(), 1000, "a blob of another size is none");
}

/// Where, with which status and header fields, and the kind and a part of the message that follow.
type Refusal = (&'static str, u16, &'static [(&'static str, &'static str)], &'static str, &'static str);

#[tokio::test]
async fn each_refusal_of_the_hub_is_its_own_kind() {
    let refusals: [Refusal; 8] = [
        (
            "/api/models/",
            401,
            &[("X-Error-Code", "RepoNotFound")],
            "not_found",
            "there is no model 'org/name'",
        ),
        ("/api/models/", 404, &[("X-Error-Code", "RevisionNotFound")], "not_found", "no revision 'main'"),
        ("/api/models/", 401, &[], "unauthenticated", "set HF_TOKEN"),
        ("/resolve/", 401, &[("X-Error-Code", "GatedRepo")], "unauthenticated", "accept the licence"),
        ("/resolve/", 403, &[], "permission_denied", "may not read"),
        ("/resolve/", 404, &[("X-Error-Code", "EntryNotFound")], "not_found", "no file modules.json"),
        ("/api/models/", 429, &[("Retry-After", "60")], "rate_limited", "asked too often"),
        ("/store/", 403, &[], "permission_denied", WEIGHTS),
    ];
    for (place, status, headers, kind, says) in refusals {
        let hub = TestHub::start(10).await.with_fault(place, 1, Fault::Status(status, headers));
        let error = hub.fetch(&Context::new()).await.unwrap_err();
        assert_eq!(error.kind().as_str(), kind, "{status} {headers:?}");
        assert!(error.message().contains(says), "{error}");
        assert_eq!(error.http_status(), Some(status));
        assert_eq!(error.retry_after(), (status == 429).then_some(Duration::from_secs(60)));
        assert_eq!(hub.cached(), None);
    }
}

#[tokio::test]
async fn a_hub_in_trouble_is_asked_again_and_then_given_up() {
    let trouble = Fault::Status(500, &[]);
    let hub = TestHub::start(10).await.with_fault("/api/models/", 1, trouble.clone());
    let hub = hub.with_fault("/store/", 1, trouble.clone());
    hub.fetch(&Context::new()).await.expect("twice in trouble, and over it");
    let soon = Fault::Status(429, &[("Retry-After", "0")]);
    let hub = TestHub::start(10).await.with_fault("/api/models/", 5, soon);
    let error = hub.fetch(&Context::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::RateLimited, Persistence::Exhausted));
    assert_eq!(hub.state().seen.len(), 5);
    let hub = TestHub::start(10).await.with_fault("/api/models/", 9, trouble);
    let error = hub.fetch(&hurried(&ManualClock::new())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "the failure, not the deadline");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_a_time_out_and_what_came_is_kept() {
    let hub = TestHub::start(1000).await.with_fault("/store/", 1, Fault::Silent(300));
    let phases = PhaseTimeouts { idle: Some(Duration::from_millis(200)), ..PhaseTimeouts::default() };
    let clock = ManualClock::new();
    let cx = hurried(&clock).with_phase_timeouts(phases);
    let wait = async {
        hub.has_received(300).await;
        // Once the piece is on the disk, the wait for the next begins.
        tokio::task::yield_now().await;
        clock.advance(Duration::from_millis(200));
    };
    let (outcome, ()) = tokio::join!(hub.fetch(&cx), wait);
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.context().contains(&("phase", "idle".to_owned())), "{error:?}");
    assert_eq!(std::fs::metadata(hub.partial(WEIGHTS)).unwrap().len(), 300);
    hub.fetch(&Context::new().with_phase_timeouts(phases)).await.unwrap();
    assert_eq!(hub.at_store().last().unwrap().range.as_deref(), Some("bytes=300-"));
}

#[tokio::test]
async fn cancelling_keeps_what_came() {
    let hub = TestHub::start(1000).await.with_fault("/store/", 1, Fault::Silent(300));
    let cancellation = Cancellation::new();
    let cx = Context::new().with_cancellation(cancellation.clone());
    let cancel = async {
        hub.has_received(300).await;
        cancellation.cancel();
    };
    let (outcome, ()) = tokio::join!(hub.fetch(&cx), cancel);
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(std::fs::metadata(hub.partial(WEIGHTS)).unwrap().len(), 300);
    hub.fetch(&Context::new()).await.expect("the lock was given back");
}

/// A transport that must not be used.
#[derive(Debug)]
struct Forbidden;

impl Transport for Forbidden {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, TransportError>> {
        panic!("offline, and yet {request:?} was sent")
    }
}

#[tokio::test]
async fn offline_opens_no_socket_and_names_what_is_missing() {
    let hub = TestHub::start(10).await;
    let offline = hub.client(&[("HF_HUB_OFFLINE", "1")]);
    let cx = Context::new().with_transport(std::sync::Arc::new(Forbidden));
    let error = offline.fetch(&cx, ID, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Offline);
    assert!(error.message().contains("this revision was never fetched"), "{error}");
    assert!(error.message().contains(hub.home.path().to_str().unwrap()), "{error}");
    let files = hub.fetch(&Context::new()).await.unwrap();
    assert_eq!(offline.fetch(&cx, ID, None).await.unwrap(), files);
    std::fs::remove_file(files.path("1_Pooling/config.json")).unwrap();
    let error = offline.fetch(&cx, ID, None).await.unwrap_err();
    assert!(error.message().contains("1_Pooling/config.json"), "{error}");
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_is_named() {
    let hub = TestHub::start(10).await;
    std::fs::write(hub.home.path().join("hub"), "a file where the cache should be").unwrap();
    let error = hub.fetch(&Context::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelLoad);
    let cache = hub.home.path().join("hub");
    assert!(error.message().contains(cache.to_str().unwrap()), "{error}");
    assert!(error.message().contains("HF_HUB_CACHE"), "{error}");
}

/// `/dev/full` is a file on a full disk: the kernel refuses each write as it does there.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_named_with_what_it_lacks() {
    let hub = TestHub::start(1000).await;
    std::fs::create_dir_all(hub.folder().join("blobs")).unwrap();
    std::os::unix::fs::symlink("/dev/full", hub.partial(WEIGHTS)).unwrap();
    let error = hub.fetch(&Context::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelLoad);
    for part in ["no space is left", "1000 more bytes", WEIGHTS, hub.home.path().to_str().unwrap()] {
        assert!(error.message().contains(part), "{error}");
    }
    assert_eq!(hub.cached(), None);
}

#[tokio::test]
async fn a_repository_of_pickles_is_fetched_and_one_without_weights_says_what_to_do() {
    let hub = TestHub::start(10).await;
    hub.state().files.remove(WEIGHTS);
    assert!(hub.fetch(&Context::new()).await.unwrap().has("pytorch_model.bin"));
    let hub = TestHub::start(10).await;
    hub.state().files.remove(WEIGHTS);
    let pickle = hub.state().files.remove("pytorch_model.bin").unwrap();
    hub.state().files.insert("weights.bin".to_owned(), pickle);
    let error = hub.fetch(&Context::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelLoad);
    assert!(error.message().contains("weights.bin of the repository is not read under this name"), "{error}");
    assert!(hub.at_store().is_empty(), "no weight was fetched in vain");
}

#[tokio::test]
async fn what_is_no_hub_is_told_so() {
    let hub = TestHub::start(10).await;
    hub.state().files.insert("../../evil".to_owned(), Vec::new());
    let error = hub.fetch(&Context::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResponseInvalid);
    assert!(error.message().contains("HF_ENDPOINT"), "{error}");
}
