//! Tenders by meaning with the real all-MiniLM-L6-v2. `make models` fetches it.
#![cfg(all(feature = "candle", feature = "sqlite"))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use ayni::local::{LocalEmbedder, LocalEmbedderConfig};
use ayni::procure::Source;
use ayni::procure::TenderState;
use ayni::procure::similar::{Nearest, SimilarTenders};
use ayni::procure::store::{Batch, Form, RecordKind, SharedStore, SqliteStore, StoredRecord};
use ayni::{AnyEmbedder, Context, Environment};
use ayni_testkit::real_models::all_minilm;

fn row(code: &str, name: &str, state: &str) -> StoredRecord {
    let as_of = "2026-10-14T10:00:00-03:00".parse().unwrap();
    let body = serde_json::json!({ "CodigoExterno": code, "Nombre": name }).to_string();
    let mut record = StoredRecord::new(RecordKind::Tender, Form::Row, code, Source::V1, as_of, body.into());
    record.state = state.to_owned();
    record
}

/// The model reads English best; Spanish titles are there to see that they do no harm.
const TENDERS: [(&str, &str, &str); 8] = [
    ("1-1-LE26", "Purchase of a rescue ambulance for the rural clinic", "publicada"),
    ("1-2-LE26", "Rental of emergency medical vehicles", "adjudicada"),
    ("1-3-LE26", "Office paper, pens and school notebooks", "publicada"),
    ("1-4-LE26", "Photovoltaic panels for the municipal library", "publicada"),
    ("1-5-LE26", "Drinking water trucks for villages in drought", "publicada"),
    ("1-6-LE26", "Maintenance of boilers and heating", "cerrada"),
    ("1-7-LE26", "Mantención de ascensores del edificio consistorial", "publicada"),
    ("1-8-LE26", "Servicio de aseo y ornato de plazas", "publicada"),
];

#[tokio::test(flavor = "multi_thread")]
async fn questions_find_the_tenders_that_they_mean() {
    let folder = tempfile::tempdir().unwrap();
    let store: SharedStore = Arc::new(SqliteStore::open(folder.path().join("store.db")).await.unwrap());
    let mut batch = Batch::new();
    batch.records = TENDERS.iter().map(|(code, name, state)| row(code, name, state)).collect();
    assert!(store.apply(batch).await.unwrap());
    let mut config = LocalEmbedderConfig::new(all_minilm().to_str().unwrap());
    config.source.precision = Some("f32".to_owned());
    let embedder = AnyEmbedder::new(LocalEmbedder::open(&config, &Environment::empty()).unwrap());
    let index = SimilarTenders::new(store, embedder);
    let cx = Context::new();
    assert_eq!(index.refresh(&cx).await.unwrap().embedded, TENDERS.len());

    for (question, code) in [
        ("vehicles to carry patients", ["1-1-LE26", "1-2-LE26"]),
        ("solar energy", ["1-4-LE26", "1-4-LE26"]),
        ("stationery for pupils", ["1-3-LE26", "1-3-LE26"]),
        ("supply of water", ["1-5-LE26", "1-5-LE26"]),
    ] {
        let found = index.search_meaning(&cx, question, 3).await.unwrap();
        assert!(code.contains(&found[0].code.as_str()), "{question}: {found:#?}");
    }
    let alike = index.similar(&cx, "1-1-LE26", 1).await.unwrap();
    assert_eq!(alike[0].code, "1-2-LE26");
    let published = Nearest::new(1).with_states([TenderState::Published]);
    let open = index.similar(&cx, "1-1-LE26", published).await.unwrap();
    assert_eq!(open[0].state, TenderState::Published);
}
