//! The [Hub on loopback](super::test_server), with a folder to cache it in and the client that is tested.

use std::path::PathBuf;
use std::sync::MutexGuard;
use std::time::Duration;

use serde_json::json;

use super::Hub;
pub(super) use super::test_server::{COMMIT, Fault, ID, etag_of};
use super::test_server::{Seen, State, TestServer};
use crate::context::Context;
use crate::env::Environment;
use crate::error::Result;
use crate::local::source::ModelFiles;

/// A Hub with one repository, and a folder to cache it in.
#[derive(Debug)]
pub(super) struct TestHub {
    server: TestServer,
    pub(super) home: tempfile::TempDir,
}

impl TestHub {
    /// A Hub with a sentence-transformers model whose weights are `weights` bytes.
    pub(super) async fn start(weights: usize) -> Self {
        let modules = json!([
            { "path": "", "type": "sentence_transformers.models.Transformer" },
            { "path": "1_Pooling", "type": "sentence_transformers.models.Pooling" },
        ]);
        let pattern: Vec<u8> = (0..weights).map(|at| (at * 7 % 251) as u8).collect();
        let files = [
            ("1_Pooling/config.json", b"{\"pooling_mode_mean_tokens\": true}".to_vec()),
            ("README.md", b"# A model".to_vec()),
            ("config.json", b"{\"model_type\": \"bert\"}".to_vec()),
            ("model.safetensors", pattern),
            ("modules.json", modules.to_string().into_bytes()),
            ("pytorch_model.bin", b"a pickle".to_vec()),
            ("tokenizer.json", b"{}".to_vec()),
        ];
        let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
        let server = TestServer::start(files).await;
        Self { server, home: tempfile::tempdir().unwrap() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.server.state()
    }

    pub(super) fn with_fault(self, path: &'static str, times: usize, fault: Fault) -> Self {
        self.state().faults.push((path, times, fault));
        self
    }

    /// The client, with further variables.
    pub(super) fn client(&self, more: &[(&str, &str)]) -> Hub {
        Hub::from_env(&self.environment(more)).unwrap()
    }

    /// The environment that names the Hub and the folder, with further variables.
    pub(super) fn environment(&self, more: &[(&str, &str)]) -> Environment {
        let own = [("HF_HOME", self.home.path().to_str().unwrap()), ("HF_ENDPOINT", &self.server.endpoint)];
        Environment::from_pairs(own.into_iter().chain(more.iter().copied()))
    }

    pub(super) async fn fetch(&self, cx: &Context) -> Result<ModelFiles> {
        self.client(&[]).fetch(cx, ID, None).await
    }

    pub(super) fn cached(&self) -> Option<ModelFiles> {
        self.client(&[]).cached(ID, None)
    }

    /// The repository's folder in the cache.
    pub(super) fn folder(&self) -> PathBuf {
        self.home.path().join("hub/models--org--name")
    }

    pub(super) fn blob(&self, name: &str) -> PathBuf {
        let etag = etag_of(name, &self.state().files[name]);
        self.folder().join("blobs").join(etag)
    }

    pub(super) fn partial(&self, name: &str) -> PathBuf {
        self.blob(name).with_extension("incomplete")
    }

    /// Waits until so many bytes of the weights are on the disk.
    pub(super) async fn has_received(&self, bytes: u64) {
        let partial = self.partial("model.safetensors");
        while std::fs::metadata(&partial).map_or(0, |found| found.len()) < bytes {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the store was asked.
    pub(super) fn at_store(&self) -> Vec<Seen> {
        self.server.at_store()
    }
}
