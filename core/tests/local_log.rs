//! What the log says when a local model is loaded. A process of its own, because the model loads on another thread.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ayni::local::{LocalEmbedder, LocalEmbedderConfig};
use ayni::{Context, Embedder, Environment};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_loaded_model_is_logged_with_its_precision_and_the_reason() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().json().with_writer(move || writer.clone()).init();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/repositories/base");
    let config = LocalEmbedderConfig::new(folder.to_str().unwrap()).with_device("cpu");
    let embedder = LocalEmbedder::open(&config, &Environment::empty()).unwrap();
    embedder.ready(&Context::new()).await.unwrap();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = text.lines().find(|line| line.contains("model loaded")).expect("a line");
    let fields = serde_json::from_str::<serde_json::Value>(line).unwrap()["fields"].clone();
    let info = embedder.info();
    assert_eq!(fields["model"], *info.model);
    assert_eq!((&fields["device"], &fields["prompts"]), (&"cpu".into(), &"none".into()), "{line}");
    assert_eq!(fields["precision"].as_str(), info.precision.as_deref());
    assert_eq!(fields["precision_reason"].as_str(), info.precision_reason.as_deref());
}
