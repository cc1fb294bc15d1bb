//! What was compiled out says so: `cargo test -p ayni-minimal --features alone`.
#![allow(clippy::unwrap_used, reason = "tests")]

use ayni::{ChatConfig, EmbedderConfig, ErrorKind, ProcurementConfig, Setup};
use serde_json::json;

#[test]
fn procurement_is_read_from_configuration_and_refused_when_opened() {
    for backend in [json!({ "backend": "mercado_publico", "ticket": "t" }), json!({ "backend": "scripted" })]
    {
        let setup: Setup<ProcurementConfig> = serde_json::from_value(backend.clone()).unwrap();
        let error = ayni::open_procurement(setup).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{backend}");
        assert!(error.message().contains("`procurement`"), "{error}");
    }
}

#[test]
fn local_models_are_refused_by_the_name_of_the_feature() {
    let local = json!({ "backend": "local", "model": "some/folder" });
    let embedder: Setup<EmbedderConfig> = serde_json::from_value(local.clone()).unwrap();
    let chat: Setup<ChatConfig> = serde_json::from_value(local).unwrap();
    for error in [ayni::open_embedder(embedder).unwrap_err(), ayni::open_chat(chat).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("`candle`"), "{error}");
    }
}
