use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::*;
use crate::backends::scripted::{Scripted, ScriptedConfig};
use crate::embed::{EmbedResponse, Embedder, EmbeddingSpace};
use crate::info::BackendInfo;
use crate::procure::store::{Batch, MemoryStore, StoredRecord};
use crate::procure::{LineItem, Source, TenderRow};

fn moment(text: &str) -> Timestamp {
    text.parse().expect("a moment")
}

fn row(code: &str, name: &str, state: &str) -> StoredRecord {
    let body = serde_json::json!({ "CodigoExterno": code, "Nombre": name }).to_string();
    StoredRecord {
        state: state.to_owned(),
        closes: Some(moment("2026-10-26T15:30:00-03:00")),
        ..StoredRecord::new(
            RecordKind::Tender,
            Form::Row,
            code,
            Source::V1,
            moment("2026-10-14T10:00:00-03:00"),
            body.into(),
        )
    }
}

async fn put(store: &SharedStore, rows: impl IntoIterator<Item = StoredRecord>) {
    let batch = Batch { records: rows.into_iter().collect(), ..Batch::new() };
    assert!(store.apply(batch).await.expect("written"));
}

/// Three tenders, two of them with the same title.
async fn store() -> SharedStore {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let rows = [
        row("1-1-LE26", "Compra de ambulancia", "publicada"),
        row("1-2-LE26", "Compra de ambulancia", "adjudicada"),
        row("1-3-LE26", "Resmas de papel", "publicada"),
    ];
    put(&store, rows).await;
    store
}

fn embedder(model: &str) -> AnyEmbedder {
    AnyEmbedder::new(Scripted::new(ScriptedConfig::default().with_model(model)).expect("valid"))
}

fn codes(found: &[SimilarTender]) -> Vec<&str> {
    found.iter().map(|found| found.code.as_str()).collect()
}

/// The scripted embedder, which counts texts and fails from some request on.
#[derive(Debug)]
struct Counting {
    inner: Scripted,
    texts: Arc<AtomicUsize>,
    requests_left: AtomicUsize,
}

impl Counting {
    fn new(requests: usize) -> (Self, Arc<AtomicUsize>) {
        let texts = Arc::new(AtomicUsize::new(0));
        let counting = Self {
            inner: Scripted::default(),
            texts: Arc::clone(&texts),
            requests_left: AtomicUsize::new(requests),
        };
        (counting, texts)
    }
}

impl Embedder for Counting {
    fn info(&self) -> &BackendInfo {
        Embedder::info(&self.inner)
    }

    fn space(&self) -> &EmbeddingSpace {
        self.inner.space()
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        let left = self.requests_left.load(SeqCst);
        if left == 0 {
            return Err(Error::new(ErrorKind::Unavailable, "gone"));
        }
        self.requests_left.store(left - 1, SeqCst);
        self.texts.fetch_add(request.inputs.len(), SeqCst);
        self.inner.embed(cx, request).await
    }
}

#[tokio::test]
async fn the_nearest_come_first_and_never_the_tender_itself() {
    let (cx, store) = (Context::new(), store().await);
    let index = SimilarTenders::new(store, embedder("m"));
    let report = index.refresh(&cx).await.expect("refreshed");
    assert_eq!(report, IndexReport { seen: 3, embedded: 3, ..IndexReport::default() });
    let found = index.similar(&cx, " 1-1-LE26 ", 5).await.expect("found");
    assert_eq!(codes(&found), ["1-2-LE26", "1-3-LE26"]);
    assert!((found[0].score - 1.0).abs() < 1e-6 && found[1].score < 0.99, "{found:?}");
    assert_eq!((found[0].name.as_str(), &found[0].state), ("Compra de ambulancia", &TenderState::Awarded));
    assert_eq!(found[0].closes, Some(moment("2026-10-26T15:30:00-03:00")));
    // The scripted embedder gives the same text the same vector, whatever its role.
    let found = index.search_meaning(&cx, "Resmas de papel", 1).await.expect("found");
    assert_eq!(codes(&found), ["1-3-LE26"]);
    assert!(index.search_meaning(&cx, "papel", 0).await.expect("none").is_empty());
    for (error, kind) in [
        (index.similar(&cx, "9-9-LE26", 1).await.expect_err("unknown"), ErrorKind::NotFound),
        (index.search_meaning(&cx, " ", 1).await.expect_err("empty"), ErrorKind::InvalidRequest),
    ] {
        assert_eq!(error.kind(), kind);
    }
}

#[tokio::test]
async fn states_and_closing_times_narrow_the_search() {
    let (cx, store) = (Context::new(), store().await);
    let mut late = row("1-4-LE26", "Compra de ambulancias", "publicada");
    late.closes = None;
    put(&store, [late]).await;
    let index = SimilarTenders::new(store, embedder("m"));
    index.refresh(&cx).await.expect("refreshed");
    let published = Nearest::new(9).with_states([TenderState::Published]);
    let mut found = codes(&index.search_meaning(&cx, "x", published.clone()).await.expect("found")).len();
    assert_eq!(found, 3);
    let closing = published.with_closing_after(moment("2026-10-20T00:00:00-03:00"));
    found = index.search_meaning(&cx, "x", closing.clone()).await.expect("found").len();
    assert_eq!(found, 2);
    assert_eq!(codes(&index.similar(&cx, "1-1-LE26", closing).await.expect("found")), ["1-3-LE26"]);
    let revoked = Nearest::new(9).with_states([TenderState::Revoked]);
    assert!(index.search_meaning(&cx, "x", revoked).await.expect("found").is_empty());
}

#[tokio::test]
async fn only_what_reads_differently_is_embedded_again() {
    let (cx, store) = (Context::new(), store().await);
    let (counting, texts) = Counting::new(usize::MAX);
    let index = SimilarTenders::new(Arc::clone(&store), AnyEmbedder::new(counting));
    index.refresh(&cx).await.expect("refreshed");
    let first = texts.load(SeqCst);
    assert_eq!(first, 3 + 1, "and one to know the space");
    assert_eq!(index.refresh(&cx).await.expect("again"), IndexReport { seen: 3, ..IndexReport::default() });
    put(
        &store,
        [
            row("1-1-LE26", "Compra de ambulancia", "cerrada"),
            row("1-3-LE26", "Resmas de papel oficio", "publicada"),
            row("1-5-LE26", "Sillas", "publicada"),
            row("1-6-LE26", " ", "publicada"),
        ],
    )
    .await;
    let report = index.refresh(&cx).await.expect("changed");
    assert_eq!(report, IndexReport { seen: 5, embedded: 2, restated: 1, without_text: 1 });
    assert_eq!(texts.load(SeqCst), first + 2);
    let closed = Nearest::new(5).with_states([TenderState::Closed]);
    assert_eq!(codes(&index.similar(&cx, "1-2-LE26", closed).await.expect("found")), ["1-1-LE26"]);
}

#[tokio::test]
async fn details_say_more_than_rows_and_stay() {
    let (cx, store) = (Context::new(), store().await);
    let index = SimilarTenders::new(Arc::clone(&store), embedder("m"));
    let tender = Tender {
        row: TenderRow::new("1-3-LE26", "Resmas de papel", "publicada"),
        description: "Para las escuelas".to_owned(),
        items: vec![LineItem::new("Resma carta")],
        ..Tender::default()
    };
    let text = "Resmas de papel. Para las escuelas. Resma carta.";
    assert_eq!(index.add(&cx, &[tender]).await.expect("added").embedded, 1);
    assert_eq!(
        index.refresh(&cx).await.expect("refreshed"),
        IndexReport { seen: 3, embedded: 2, restated: 1, without_text: 0 }
    );
    let found = index.search_meaning(&cx, text, 1).await.expect("found");
    assert_eq!((codes(&found), found[0].score > 0.999), (vec!["1-3-LE26"], true));
    put(&store, [row("1-3-LE26", "Tóner", "publicada")]).await;
    assert_eq!(index.refresh(&cx).await.expect("refreshed").embedded, 1);
    let found = index.search_meaning(&cx, "Tóner", 1).await.expect("found");
    assert_eq!((codes(&found), found[0].score > 0.999), (vec!["1-3-LE26"], true));
}

#[tokio::test]
async fn spaces_never_mix_in_one_store() {
    let (cx, store) = (Context::new(), store().await);
    let wide = ScriptedConfig::default().with_model("m").with_dimensions(24);
    let others = [embedder("other"), AnyEmbedder::new(Scripted::new(wide).expect("valid"))];
    let index = SimilarTenders::new(Arc::clone(&store), embedder("m"));
    index.refresh(&cx).await.expect("refreshed");
    for other in others {
        let other = SimilarTenders::new(Arc::clone(&store), other);
        let error = other.similar(&cx, "1-1-LE26", 1).await.expect_err("none of it is seen");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(other.search_meaning(&cx, "x", 9).await.expect("none").is_empty());
        assert_eq!(other.refresh(&cx).await.expect("its own").embedded, 3);
        assert_eq!(other.search_meaning(&cx, "x", 9).await.expect("its own").len(), 3);
    }
    assert_eq!(index.search_meaning(&cx, "x", 9).await.expect("as before").len(), 3);
}

#[tokio::test]
async fn another_index_on_the_store_sees_what_was_written() {
    let (cx, store) = (Context::new(), store().await);
    let (writer, reader) = [(); 2].map(|()| SimilarTenders::new(Arc::clone(&store), embedder("m"))).into();
    assert!(reader.search_meaning(&cx, "x", 9).await.expect("none").is_empty());
    writer.refresh(&cx).await.expect("refreshed");
    assert_eq!(reader.search_meaning(&cx, "x", 9).await.expect("found").len(), 3);
    assert_eq!(reader.refresh(&cx).await.expect("nothing to do").embedded, 0);
}

#[tokio::test]
async fn what_was_embedded_before_a_failure_is_not_embedded_again() {
    let (cx, store) = (Context::new(), store().await);
    // One request for the space, one for the first batch.
    let (failing, _) = Counting::new(2);
    let index = SimilarTenders::new(Arc::clone(&store), AnyEmbedder::new(failing)).with_batch(2);
    assert_eq!(index.refresh(&cx).await.expect_err("gone").kind(), ErrorKind::Unavailable);
    let index = SimilarTenders::new(store, embedder("scripted"));
    assert_eq!(index.refresh(&cx).await.expect("the rest").embedded, 1);
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn vectors_survive_in_a_file_and_two_writers_do_no_harm() {
    use crate::procure::store::SqliteStore;

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let cx = Context::new();
    let open = async || {
        let store: SharedStore = Arc::new(SqliteStore::open(&path).await.expect("opened"));
        store
    };
    put(&open().await, (0..50).map(|at| row(&format!("1-{at}-LE26"), &format!("Compra {at}"), "publicada")))
        .await;
    let (one, other) = (
        SimilarTenders::new(open().await, embedder("m")).with_batch(3),
        SimilarTenders::new(open().await, embedder("m")).with_batch(4),
    );
    let (one, other) = tokio::join!(one.refresh(&cx), other.refresh(&cx));
    assert!(one.expect("one").embedded + other.expect("other").embedded >= 50);
    let again = SimilarTenders::new(open().await, embedder("m"));
    assert_eq!(again.refresh(&cx).await.expect("nothing to do").embedded, 0);
    let found = again.similar(&cx, "1-7-LE26", 3).await.expect("found");
    assert!(found.len() == 3 && found.iter().all(|found| found.code != "1-7-LE26"), "{found:?}");
}
