//! Models from a Hub on loopback through the way that a user goes, from the name to the vectors; and everything that
//! can be wrong with that, each with its kind and a message that says what to do.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ayni::context::Progress;
use ayni::local::{LocalEmbedder, LocalEmbedderConfig};
use ayni::{
    AnyEmbedder, Context, EmbedInput, EmbedRequest, Embedder, Environment, Error, ErrorKind, ImageData,
};
use serde_json::Value;

#[allow(dead_code, reason = "the rest is for the tests of the Hub's client")]
#[path = "../src/local/source/hub/test_server.rs"]
mod test_server;

use test_server::{COMMIT, Fault, TestServer, etag_of};

const WEIGHTS: &str = "model.safetensors";
const DENSE: &str = "2_Dense/model.safetensors";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/repositories")
}

fn read_into(files: &mut BTreeMap<String, Vec<u8>>, folder: &Path, prefix: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        let name = format!("{prefix}{}", name.to_str().unwrap());
        match path.is_dir() {
            true => read_into(files, &path, &format!("{name}/")),
            false => drop(files.insert(name, std::fs::read(path).unwrap())),
        }
    }
}

/// A Hub with a tiny model of sentence-transformers that ends in a dense layer, and an empty cache.
struct TinyHub {
    server: TestServer,
    home: tempfile::TempDir,
}

impl TinyHub {
    async fn start() -> Self {
        let mut files = BTreeMap::from([("README.md".to_owned(), b"# A model".to_vec())]);
        for part in ["base", "cases/dense"] {
            read_into(&mut files, &golden().join(part), "");
        }
        Self::of(files).await
    }

    async fn of(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { server: TestServer::start(files).await, home: tempfile::tempdir().unwrap() }
    }

    fn with_fault(self, path: &'static str, times: usize, fault: Fault) -> Self {
        self.server.state().faults.push((path, times, fault));
        self
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let home = self.home.path().to_str().unwrap().to_owned();
        vec![("HF_HOME", home), ("HF_ENDPOINT", self.server.endpoint.clone())]
    }

    fn environment(&self, more: &[(&'static str, &str)]) -> Environment {
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Environment::from_pairs(self.variables().into_iter().chain(more))
    }

    fn open(&self, more: &[(&'static str, &str)]) -> Result<LocalEmbedder, Error> {
        let config = LocalEmbedderConfig::new("org/name@v1").with_device("cpu").with_precision("f32");
        LocalEmbedder::open(&config, &self.environment(more))
    }

    /// What a user hears who opens the model and embeds a text.
    async fn failure(&self, more: &[(&'static str, &str)]) -> Error {
        let outcome = match self.open(more) {
            Ok(embedder) => {
                let embedder = AnyEmbedder::new(embedder);
                embedder.embed(&Context::new(), EmbedRequest::texts(["the road"])).await
            }
            Err(error) => Err(error),
        };
        let error = outcome.expect_err("this cannot work");
        assert!(!format!("{error:?}").contains("hf_canary"), "{error:?}");
        error
    }

    /// Without the network, the cache gives no model, whatever lies in it.
    async fn is_not_cached(&self) -> bool {
        let error = self.failure(&[("HF_HUB_OFFLINE", "1")]).await;
        error.kind() == ErrorKind::Offline
    }

    fn blob(&self, name: &str) -> PathBuf {
        let etag = etag_of(name, &self.server.state().files[name]);
        self.home.path().join("hub/models--org--name/blobs").join(etag)
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.blob(name).with_extension("incomplete")
    }

    fn requests(&self) -> usize {
        self.server.state().seen.len()
    }

    /// What the model's files here make of the golden texts.
    async fn embeds(&self, more: &[(&'static str, &str)]) {
        let embedder = self.open(more).unwrap();
        assert_golden(&embed(&embedder).await);
    }
}

/// The golden texts and what sentence-transformers makes of them with this model.
fn expected() -> (Vec<String>, Vec<Vec<f32>>) {
    let bytes = std::fs::read(golden().join("expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&bytes).unwrap();
    let case = expected["cases"].as_array().unwrap().iter().find(|case| case["name"] == "dense").unwrap();
    let vectors = case["calls"][0]["vectors"].clone();
    (serde_json::from_value(expected["texts"].clone()).unwrap(), serde_json::from_value(vectors).unwrap())
}

async fn embed(embedder: &impl Embedder) -> Vec<Vec<f32>> {
    let response = embedder.embed(&Context::new(), EmbedRequest::texts(expected().0)).await.unwrap();
    response.vectors.iter().map(<[f32]>::to_vec).collect()
}

fn assert_golden(found: &[Vec<f32>]) {
    let (_, vectors) = expected();
    assert_eq!(found.len(), vectors.len());
    for (found, truth) in found.iter().flatten().zip(vectors.iter().flatten()) {
        assert!((found - truth).abs() <= 1e-4, "{found}, not {truth}");
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[tokio::test]
async fn a_model_is_fetched_with_progress_embeds_and_is_never_fetched_again() {
    let hub = TinyHub::start().await;
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let cx = Context::new().with_progress(move |event| sink.lock().unwrap().push(event));
    let embedder = hub.open(&[("HF_TOKEN", "hf_canary")]).unwrap();
    assert_eq!(embedder.space().revision.as_deref(), Some("v1, not fetched yet"));
    embedder.ready(&cx).await.unwrap();
    assert_golden(&embed(&embedder).await);
    let space = embedder.space();
    assert_eq!((space.model.as_str(), space.revision.as_deref()), ("org/name", Some(COMMIT)));
    assert_eq!(space.dimensions, Some(16));
    let is_download =
        |event: &Progress| matches!(event, Progress::Download { done, of, .. } if Some(*done) == *of);
    assert!(events.lock().unwrap().iter().any(is_download), "{events:?}");
    let fetched: Vec<String> = hub.server.at_store().into_iter().map(|seen| seen.path).collect();
    assert_eq!(fetched.len(), 2, "each file of weights once: {fetched:?}");
    let asked = hub.requests();
    hub.embeds(&[]).await;
    hub.embeds(&[("HF_HUB_OFFLINE", "1")]).await;
    assert_eq!(hub.requests(), asked, "whoever has it asks nobody");
}

#[tokio::test]
async fn a_model_from_the_hub_its_folder_in_the_cache_and_a_copy_are_one_space() {
    let hub = TinyHub::start().await;
    let from_hub = hub.open(&[]).unwrap();
    let vectors = embed(&from_hub).await;
    let snapshot = hub.home.path().join("hub/models--org--name/snapshots").join(COMMIT);
    let copy = tempfile::tempdir().unwrap();
    for part in ["base", "cases/dense"] {
        let mut files = BTreeMap::new();
        read_into(&mut files, &golden().join(part), "");
        for (name, bytes) in files {
            let path = copy.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    for folder in [snapshot.as_path(), copy.path()] {
        let config =
            LocalEmbedderConfig::new(folder.to_str().unwrap()).with_device("cpu").with_precision("f32");
        let embedder = LocalEmbedder::open(&config, &Environment::empty()).unwrap();
        assert_eq!(embedder.space(), from_hub.space(), "{folder:?}, before it is loaded");
        assert_eq!(embed(&embedder).await, vectors, "{folder:?}");
        assert_eq!(embedder.space(), from_hub.space(), "{folder:?}");
        let model = &*embedder.info().model;
        assert_eq!(model == "org/name", folder == snapshot, "{model}: the cache says whose model it is");
    }
}

/// Set in the process that has the Hub in its environment.
const CHILD: &str = "AYNI_TEST_EMBEDS_FROM_HUB";

#[tokio::test(flavor = "multi_thread")]
async fn one_line_of_code_fetches_and_embeds_by_the_process_s_environment() {
    if std::env::var_os(CHILD).is_some() {
        let embedder: AnyEmbedder = ayni::embedder(&Context::new(), "org/name@v1").await.unwrap();
        let found = embed(&embedder).await;
        // `auto` may be bf16.
        return assert!(found.iter().zip(expected().1).all(|(found, truth)| cosine(found, &truth) >= 0.9995));
    }
    let hub = TinyHub::start().await;
    for offline in ["0", "1"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "one_line_of_code_fetches_and_embeds_by_the_process_s_environment"]);
        command
            .envs(hub.variables())
            .env(CHILD, "1")
            .env("HF_HUB_OFFLINE", offline)
            .env_remove("HF_HUB_CACHE");
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
    assert_eq!(hub.server.at_store().len(), 2, "the second process found it in the cache");
}

/// Where, with which status and header fields, and the kind and a part of the message that follow.
type Refusal = (&'static str, u16, &'static [(&'static str, &'static str)], &'static str, &'static str);

#[tokio::test]
async fn each_refusal_of_the_hub_has_its_kind_and_says_what_to_do() {
    let again: &[_] = &[("Retry-After", "0")];
    let refusals: [Refusal; 8] = [
        ("/api/models/", 401, &[], "unauthenticated", "does not accept the token in HF_TOKEN"),
        (
            "/api/models/",
            401,
            &[("X-Error-Code", "RepoNotFound")],
            "not_found",
            "the name is wrong, or it is private",
        ),
        (
            "/api/models/",
            403,
            &[("X-Error-Code", "GatedRepo")],
            "permission_denied",
            "accept the licence there",
        ),
        ("/api/models/", 404, &[("X-Error-Code", "RevisionNotFound")], "not_found", "has no revision 'v1'"),
        ("/api/models/", 429, &[("Retry-After", "3600")], "rate_limited", "try again later"),
        ("/api/models/", 429, again, "rate_limited", "try again later"),
        ("/api/models/", 500, again, "unavailable", "at the moment"),
        ("/store/", 503, again, "unavailable", "at the moment"),
    ];
    for (place, status, headers, kind, says) in refusals {
        let hub = TinyHub::start().await.with_fault(place, 5, Fault::Status(status, headers));
        let error = hub.failure(&[("HF_TOKEN", "hf_canary")]).await;
        assert_eq!((error.kind().as_str(), error.http_status()), (kind, Some(status)), "{error}");
        assert!(error.message().contains(says), "{error}");
        assert_eq!(error.backend(), Some("local"));
        assert!(hub.is_not_cached().await, "{status}");
        hub.server.state().faults.clear();
        hub.embeds(&[]).await;
    }
}

#[tokio::test]
async fn a_download_that_is_cut_off_is_no_model_and_goes_on_when_it_is_opened_again() {
    // As often as it is tried.
    let hub = TinyHub::start().await.with_fault("/store/", 5, Fault::Cut(400));
    let error = hub.failure(&[]).await;
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    assert!(hub.is_not_cached().await);
    assert!(!hub.blob(WEIGHTS).exists() && !hub.blob(DENSE).exists());
    let kept = [WEIGHTS, DENSE].map(|name| hub.partial(name).metadata().map_or(0, |found| found.len()));
    assert!(kept.iter().any(|length| *length > 0), "what came is kept: {kept:?}");
    let before = hub.server.at_store().len();
    hub.embeds(&[]).await;
    let range = hub.server.at_store()[before].range.clone();
    assert_eq!(range, Some(format!("bytes={}-", kept.iter().sum::<u64>())));
}

#[tokio::test]
async fn a_call_does_not_wait_longer_for_a_slow_hub_than_it_may() {
    let hub = TinyHub::start().await.with_fault("/store/", 1, Fault::Silent(300));
    let embedder = hub.open(&[]).unwrap();
    let hurried = Context::new().with_timeout(Duration::from_millis(300));
    let error = embedder.embed(&hurried, EmbedRequest::texts(["the road"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.message().contains("org/name is not loaded yet"), "{error}");
    assert!(error.message().contains("await `ready`"), "{error}");
    assert!(hub.is_not_cached().await);
    // Who gives the model up ends its download, and the next goes on with what came.
    drop(embedder);
    hub.embeds(&[]).await;
}

#[tokio::test]
async fn damage_on_the_way_is_found_out_and_leaves_nothing() {
    for (place, name) in [("/store/", DENSE), ("resolve-cache", "modules.json")] {
        let hub = TinyHub::start().await.with_fault(place, 1, Fault::Damage);
        let error = hub.failure(&[]).await;
        assert_eq!(error.kind(), ErrorKind::ModelLoad, "{error}");
        for part in ["arrived damaged", "checksum", "Try again"] {
            assert!(error.message().contains(part), "{error}");
        }
        assert!(!hub.blob(name).exists() && hub.is_not_cached().await);
        hub.embeds(&[]).await;
    }
}

/// A cache that cannot be written: a file stands in its way, and on Linux a file system that takes no folders, not even from
/// who may do everything.
#[tokio::test]
async fn a_cache_that_cannot_be_written_is_named_with_what_to_set() {
    let hub = TinyHub::start().await;
    let file = hub.home.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    let mut caches = vec![file.join("cache").to_str().unwrap().to_owned()];
    if cfg!(target_os = "linux") {
        caches.push("/sys/ayni-models".to_owned());
    }
    for cache in caches {
        let error = hub.failure(&[("HF_HUB_CACHE", &cache)]).await;
        assert_eq!(error.kind(), ErrorKind::ModelLoad, "{error}");
        for part in [&*cache, "cannot be written", "HF_HUB_CACHE"] {
            assert!(error.message().contains(part), "{error}");
        }
    }
    assert!(hub.server.at_store().is_empty());
}

/// `/dev/full` is a file on a full disk: the kernel refuses each write as it does there.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_named_with_what_it_lacks() {
    let hub = TinyHub::start().await;
    std::fs::create_dir_all(hub.partial(WEIGHTS).parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", hub.partial(WEIGHTS)).unwrap();
    let error = hub.failure(&[]).await;
    assert_eq!(error.kind(), ErrorKind::ModelLoad, "{error}");
    let needs = format!("{WEIGHTS} needs {} more bytes", hub.server.state().files[WEIGHTS].len());
    for part in ["no space is left", &needs, "free that much", "HF_HUB_CACHE"] {
        assert!(error.message().contains(part), "{error}");
    }
    assert!(hub.is_not_cached().await);
    std::fs::remove_file(hub.partial(WEIGHTS)).unwrap();
    hub.embeds(&[]).await;
}

/// What is done to the files of a repository.
type Change = fn(&mut BTreeMap<String, Vec<u8>>);

#[tokio::test]
async fn a_repository_that_makes_no_model_says_what_is_wrong_with_it() {
    let cases: [(Change, ErrorKind, &[&str]); 7] = [
        (
            |files| files.get_mut(WEIGHTS).unwrap().truncate(50_000),
            ErrorKind::ModelLoad,
            &["model.safetensors: damaged safetensors file"],
        ),
        (
            |files| drop(files.remove("tokenizer.json")),
            ErrorKind::ModelLoad,
            &["tokenizer.json does not exist", "save_pretrained"],
        ),
        (
            |files| drop(files.insert("config.json".to_owned(), br#"{"model_type": "t5"}"#.to_vec())),
            ErrorKind::Unsupported,
            &["'t5'", "valid: bert"],
        ),
        (
            |files| {
                let config = String::from_utf8(files["config.json"].clone()).unwrap();
                let other = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
                assert_ne!(config, other);
                files.insert("config.json".to_owned(), other.into_bytes());
            },
            ErrorKind::ModelLoad,
            &["no tensor `encoder.layer.2."],
        ),
        (
            |files| {
                let weights = files.remove(WEIGHTS).unwrap();
                files.insert("weights.pt".to_owned(), weights);
            },
            ErrorKind::ModelLoad,
            &["weights.pt of the repository is not read under this name", "@refs/pr/N", "save_pretrained"],
        ),
        (
            |files| {
                files.remove(WEIGHTS);
                let pickle = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02cos\nsystem\n.";
                files.insert("pytorch_model.bin".to_owned(), pickle.to_vec());
            },
            ErrorKind::ModelLoad,
            &["pytorch_model.bin: this pickle cannot be read", "`os.system`", "nothing of it is run"],
        ),
        (|files| drop(files.remove("config.json")), ErrorKind::ModelLoad, &["has no config.json"]),
    ];
    for (change, kind, says) in cases {
        let hub = TinyHub::start().await;
        change(&mut hub.server.state().files);
        let error = hub.failure(&[]).await;
        assert_eq!(error.kind(), kind, "{error}");
        for part in says {
            assert!(error.message().contains(part), "{error}");
        }
        if error.message().contains("weights.pt") {
            assert!(hub.server.at_store().is_empty(), "no weight was fetched in vain");
        }
    }
}

#[tokio::test]
async fn a_clip_of_which_there_are_only_pickles_embeds_as_transformers_does() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files = BTreeMap::new();
    // What openai/clip-vit-base-patch32 has on its branch `main`.
    read_into(&mut files, &golden.join("pickles/clip"), "");
    for copy in ["flax_model.msgpack", "tf_model.h5", "README.md", ".gitattributes"] {
        files.insert(copy.to_owned(), b"of no use here".to_vec());
    }
    assert!(
        files.contains_key("pytorch_model.bin") && !files.keys().any(|name| name.ends_with(".safetensors"))
    );
    let hub = TinyHub::of(files).await;
    let expected = std::fs::read(golden.join("pickles/clip-expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let cases = |kind: &str| expected[kind].as_array().unwrap().clone();
    let texts = cases("texts")
        .into_iter()
        .map(|case| (EmbedInput::Text(case["text"].as_str().unwrap().to_owned()), case["vector"].clone()));
    let images = cases("images").into_iter().map(|case| {
        let bytes = std::fs::read(golden.join("images").join(case["image"].as_str().unwrap())).unwrap();
        (EmbedInput::Image(ImageData::new(bytes).unwrap()), case["vector"].clone())
    });
    let (inputs, vectors): (Vec<_>, Vec<_>) = texts.chain(images).unzip();
    for more in [&[][..], &[("HF_HUB_OFFLINE", "1")]] {
        let embedder = hub.open(more).unwrap();
        let found = embedder.embed(&Context::new(), EmbedRequest::new(inputs.clone())).await.unwrap().vectors;
        assert_eq!(found.len(), 4);
        for (found, truth) in found.iter().zip(&vectors) {
            let truth: Vec<f32> = serde_json::from_value(truth.clone()).unwrap();
            assert!(cosine(found, &truth) >= 0.99999, "{found:?}");
        }
    }
    let fetched: Vec<String> = hub.server.at_store().into_iter().map(|seen| seen.path).collect();
    assert_eq!(fetched.len(), 1, "the weights, once: {fetched:?}");
}

#[tokio::test]
async fn a_conversion_that_is_a_pull_request_is_a_revision() {
    let hub = TinyHub::start().await;
    for more in [&[][..], &[("HF_HUB_OFFLINE", "1")]] {
        let config = LocalEmbedderConfig::new("org/name@refs/pr/1").with_device("cpu").with_precision("f32");
        let embedder = LocalEmbedder::open(&config, &hub.environment(more)).unwrap();
        assert_golden(&embed(&embedder).await);
        assert_eq!(embedder.space().revision.as_deref(), Some(COMMIT));
    }
    let listed = hub.server.state().seen.iter().filter(|seen| seen.path.starts_with("/api/models/")).count();
    let first = hub.server.state().seen[0].path.clone();
    assert!(listed == 1 && first.starts_with("/api/models/org/name/revision/refs%2Fpr%2F1?"), "{first}");
    // Where huggingface_hub keeps it.
    let kept = hub.home.path().join("hub/models--org--name/refs/refs/pr/1");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), COMMIT);
}
