use std::path::Path;
use std::sync::{Arc, Mutex};

use super::testing::{COMMIT, Fault, ID, TestHub, etag_of};
use super::*;
use crate::context::Progress;
use crate::local::ModelSource;
use crate::local::source::{Located, locate};

const WEIGHTS: &str = "model.safetensors";

fn bytes_of(files: &ModelFiles, name: &str) -> Vec<u8> {
    std::fs::read(files.path(name)).unwrap()
}

#[tokio::test]
async fn a_model_is_fetched_whole_verified_and_found_again_without_the_network() {
    let hub = TestHub::start(3000).await;
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let cx = Context::new().with_progress(move |event| sink.lock().unwrap().push(event));
    let files = hub.fetch(&cx).await.unwrap();
    assert_eq!((files.model.as_str(), files.revision.as_deref()), (ID, Some(COMMIT)));
    for name in ["config.json", "modules.json", "tokenizer.json", "1_Pooling/config.json", WEIGHTS] {
        assert_eq!(bytes_of(&files, name), hub.state().files[name], "{name}");
        let up = if name.contains('/') { "../../../blobs" } else { "../../blobs" };
        let etag = etag_of(name, &hub.state().files[name]);
        let link = std::fs::read_link(files.path(name)).unwrap();
        assert_eq!(link, Path::new(up).join(etag), "{name}");
    }
    for name in ["pytorch_model.bin", "README.md"] {
        assert!(!files.has(name), "{name} is of no use to a model");
    }
    assert_eq!(std::fs::read_to_string(hub.folder().join("refs/main")).unwrap(), COMMIT);
    let last = events.lock().unwrap().last().cloned();
    let done = Progress::Download { file: WEIGHTS.to_owned(), done: 3000, of: Some(3000) };
    assert_eq!(last, Some(done), "the weights come last");
    let asked = hub.state().seen.len();
    assert_eq!(hub.cached(), Some(files.clone()));
    assert_eq!(hub.state().seen.len(), asked, "the cache asks nobody");
    let located = locate(&ModelSource::new("org/name@main"), &hub.environment(&[])).unwrap();
    assert!(matches!(located, Located::Local(found) if found == files));
    assert_eq!(hub.fetch(&cx).await.unwrap(), files);
    assert_eq!(hub.state().seen.len(), asked + 1, "what is here is listed, not fetched");
}

#[tokio::test]
async fn the_token_goes_to_the_hub_and_not_to_the_store_that_it_leads_to() {
    let hub = TestHub::start(100).await;
    let client = hub.client(&[("HF_TOKEN", "hf_canary")]);
    client.fetch(&Context::new(), ID, None).await.unwrap();
    let state = hub.state();
    let (store, own): (Vec<_>, Vec<_>) = state.seen.iter().partition(|seen| seen.at_store);
    assert!(!store.is_empty() && own.len() > 5);
    assert!(store.iter().all(|seen| seen.authorization.is_none()), "{store:?}");
    assert!(own.iter().all(|seen| seen.authorization.as_deref() == Some("Bearer hf_canary")), "{own:?}");
}

#[tokio::test]
async fn a_hub_that_lists_no_hashes_is_asked_for_each_file() {
    let hub = TestHub::start(500).await;
    hub.state().lists_blobs = false;
    let files = hub.fetch(&Context::new()).await.unwrap();
    assert_eq!(bytes_of(&files, WEIGHTS), hub.state().files[WEIGHTS]);
    assert!(hub.blob(WEIGHTS).is_file() && hub.blob("config.json").is_file(), "named as if they were listed");
    assert!(hub.at_store().iter().all(|seen| seen.method == "GET"), "the store is asked for bytes only");
}

#[tokio::test]
async fn revisions_with_slashes_and_commits_are_fetched() {
    let hub = TestHub::start(10).await;
    let (cx, client) = (Context::new(), hub.client(&[]));
    let of_branch = client.fetch(&cx, ID, Some("refs/pr/1")).await.unwrap();
    assert!(hub.folder().join("refs/refs/pr/1").is_file());
    let of_commit = client.fetch(&cx, ID, Some(COMMIT)).await.unwrap();
    assert_eq!(of_branch, of_commit);
    assert!(!hub.folder().join("refs").join(COMMIT).exists(), "a commit is its own name");
}

#[tokio::test]
async fn a_new_commit_fetches_only_what_has_changed_and_the_old_one_stays() {
    let hub = TestHub::start(100).await;
    let old = hub.fetch(&Context::new()).await.unwrap();
    let next = "2222222222222222222222222222222222222222";
    hub.state().commit = next.to_owned();
    hub.state().files.insert("config.json".to_owned(), b"{\"model_type\": \"other\"}".to_vec());
    hub.state().seen.clear();
    assert_eq!(hub.cached(), Some(old.clone()), "a branch in the cache is what it was");
    let new = hub.fetch(&Context::new()).await.unwrap();
    assert_eq!(new.revision.as_deref(), Some(next));
    assert!(hub.at_store().is_empty(), "the weights are the same");
    assert_ne!(bytes_of(&old, "config.json"), bytes_of(&new, "config.json"));
    assert_eq!(bytes_of(&old, WEIGHTS), bytes_of(&new, WEIGHTS));
    assert_eq!(hub.cached(), Some(new));
}

#[tokio::test]
async fn two_who_want_the_same_model_fetch_it_once() {
    let hub = TestHub::start(200_000).await;
    let cx = Context::new();
    let (one, two) = tokio::join!(hub.fetch(&cx), hub.fetch(&cx));
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(hub.at_store().len(), 1);
}

#[tokio::test]
async fn a_snapshot_of_somebody_else_counts_when_it_is_certain_what_it_lacks() {
    let hub = TestHub::start(100).await;
    let repository = CachedRepository::new(&hub.home.path().join("hub"), ID);
    repository.make_folders().unwrap();
    for name in ["config.json", "tokenizer.json", WEIGHTS] {
        let bytes = hub.state().files[name].clone();
        let etag = etag_of(name, &bytes);
        std::fs::write(repository.blob(&etag), bytes).unwrap();
        repository.link(&etag, COMMIT, name).unwrap();
    }
    repository.set_commit("main", COMMIT).unwrap();
    // As transformers leaves it: nobody has looked for the modules, and without them the pooling would be wrong.
    assert_eq!(hub.cached(), None);
    let offline = hub.client(&[("HF_HUB_OFFLINE", "1")]);
    let error = offline.fetch(&Context::new(), ID, None).await.unwrap_err();
    assert!(
        error.message().contains("not certain that the model has no")
            && error.message().contains("modules.json")
    );
    // As an older `snapshot_download` leaves it: all there is, without a list.
    std::fs::write(repository.snapshot(COMMIT).join(".gitattributes"), "").unwrap();
    assert_eq!(hub.cached(), None, "who may ask, asks");
    assert!(offline.cached(ID, None).is_some());
    // As a newer one leaves it: with the list of all files.
    let trees = hub.folder().join("trees");
    std::fs::create_dir_all(&trees).unwrap();
    let list = |names: &[&str]| {
        let files: serde_json::Map<_, _> =
            names.iter().map(|name| ((*name).to_owned(), serde_json::json!({ "size": 1 }))).collect();
        let tree = serde_json::json!({ "format_version": 1, "files": files });
        std::fs::write(trees.join(format!("{COMMIT}.json")), tree.to_string()).unwrap();
    };
    list(&["config.json", "tokenizer.json", "modules.json", WEIGHTS]);
    assert!(offline.cached(ID, None).is_none(), "the list names more than is here");
    list(&["config.json", "tokenizer.json", "onnx/model.onnx", WEIGHTS]);
    assert!(hub.cached().is_some(), "nothing is missing of what a model needs");
    assert!(hub.state().seen.is_empty(), "nobody was asked");
    std::fs::remove_dir_all(trees).unwrap();
    hub.fetch(&Context::new()).await.unwrap();
    assert!(hub.at_store().is_empty(), "the weights were here");
    assert!(hub.cached().is_some_and(|files| files.has("modules.json")));
}

#[tokio::test]
async fn a_server_that_cannot_send_parts_is_read_from_the_beginning() {
    let hub = TestHub::start(300).await;
    let hub = hub.with_fault("/store/", 1, Fault::Cut(100)).with_fault("/store/", 1, Fault::NoRange);
    let files = hub.fetch(&Context::new()).await.unwrap();
    assert_eq!(bytes_of(&files, WEIGHTS), hub.state().files[WEIGHTS]);
    assert_eq!(hub.at_store().last().unwrap().range.as_deref(), Some("bytes=100-"));
}
