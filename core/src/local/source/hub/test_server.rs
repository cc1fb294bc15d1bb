//! A Hub on loopback, of the real one's protocol: a list of files, redirects within itself for small files and to a
//! store on another host for large ones, parts, and whatever can go wrong.
//!
//! It uses nothing of the crate, so that tests outside of it can have it too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const ID: &str = "org/name";
pub(crate) const COMMIT: &str = "1111111111111111111111111111111111111111";

/// What goes wrong with one answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This status with these header fields instead.
    Status(u16, &'static [(&'static str, &'static str)]),
    /// The connection breaks after so many bytes of the body.
    Cut(usize),
    /// Nothing more comes after so many bytes of the body.
    Silent(usize),
    /// The first byte is another.
    Damage,
    /// The whole file, whatever part is asked for.
    NoRange,
}

/// One request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) at_store: bool,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) commit: String,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Whether the list of files says the hash and size of each.
    pub(crate) lists_blobs: bool,
    /// What goes wrong, how often, with requests whose path contains a text.
    pub(crate) faults: Vec<(&'static str, usize, Fault)>,
    pub(crate) seen: Vec<Seen>,
    store: u16,
}

/// A Hub with one repository.
#[derive(Debug)]
pub(crate) struct TestServer {
    pub(crate) endpoint: String,
    state: Arc<Mutex<State>>,
}

impl TestServer {
    /// A Hub whose repository has these files.
    pub(crate) async fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let store = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hub = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://127.0.0.1:{}", hub.local_addr().unwrap().port());
        let state = Arc::new(Mutex::new(State {
            commit: COMMIT.to_owned(),
            files,
            lists_blobs: true,
            faults: Vec::new(),
            seen: Vec::new(),
            store: store.local_addr().unwrap().port(),
        }));
        for (listener, at_store) in [(hub, false), (store, true)] {
            tokio::spawn(accept(listener, at_store, Arc::clone(&state)));
        }
        Self { endpoint, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What the store was asked.
    pub(crate) fn at_store(&self) -> Vec<Seen> {
        self.state().seen.iter().filter(|seen| seen.at_store).cloned().collect()
    }
}

/// Large files are kept in the store.
fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".bin")
}

pub(crate) fn etag_of(name: &str, bytes: &[u8]) -> String {
    match is_large(name) {
        true => hex(&Sha256::digest(bytes)),
        false => {
            hex(&Sha1::new().chain_update(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize())
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

async fn accept(listener: TcpListener, at_store: bool, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let _ = serve(stream, at_store, &state).await;
        });
    }
}

/// An answer before anything goes wrong with it.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// One request a connection.
async fn serve(mut stream: TcpStream, at_store: bool, state: &Mutex<State>) -> std::io::Result<()> {
    let seen = read_request(&mut stream, at_store).await?;
    let (answer, fault) = {
        let mut state = state.lock().unwrap();
        state.seen.push(seen.clone());
        let fault = take_fault(&mut state, &seen.path);
        (answer(&state, &seen, fault.as_ref()), fault)
    };
    let mut head = format!("HTTP/1.1 {} Whatever\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", answer.body.len()));
    stream.write_all(head.as_bytes()).await?;
    if seen.method == "HEAD" {
        return Ok(());
    }
    match fault {
        Some(Fault::Cut(after)) => stream.write_all(&answer.body[..after.min(answer.body.len())]).await,
        Some(Fault::Silent(after)) => {
            stream.write_all(&answer.body[..after.min(answer.body.len())]).await?;
            tokio::time::sleep(Duration::from_secs(3600)).await;
            Ok(())
        }
        _ => stream.write_all(&answer.body).await,
    }
}

async fn read_request(stream: &mut TcpStream, at_store: bool) -> std::io::Result<Seen> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next_line().await?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let method = words.next().unwrap_or_default();
    let mut seen = Seen { at_store, method, path: words.next().unwrap_or_default(), ..Seen::default() };
    while let Some(line) = lines.next_line().await?.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "range" => seen.range = Some(value.trim().to_owned()),
            "authorization" => seen.authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    Ok(seen)
}

fn take_fault(state: &mut State, path: &str) -> Option<Fault> {
    let fits = |(part, times, _): &&mut (&str, usize, Fault)| *times > 0 && path.contains(*part);
    let (_, times, fault) = state.faults.iter_mut().find(fits)?;
    *times -= 1;
    Some(fault.clone())
}

fn answer(state: &State, seen: &Seen, fault: Option<&Fault>) -> Answer {
    if let Some(Fault::Status(status, headers)) = fault {
        let refusal = Answer::new(*status, r#"{"error": "no"}"#).with("Content-Type", "application/json");
        return headers.iter().fold(refusal, |answer, (name, value)| answer.with(name, *value));
    }
    let path = seen.path.split('?').next().unwrap_or_default();
    let missing = |code: &str| Answer::new(404, "Not found").with("X-Error-Code", code);
    if seen.at_store {
        let sha = path.trim_start_matches("/store/");
        let found = state.files.iter().find(|(name, bytes)| is_large(name) && etag_of(name, bytes) == sha);
        return found.map_or(missing(""), |(_, bytes)| part_of(bytes, seen, fault));
    }
    if let Some(revision) = path.strip_prefix("/api/models/org/name/revision/") {
        return match ["main", "v1", "refs%2Fpr%2F1", &state.commit].contains(&revision) {
            true => Answer::new(200, listing(state).to_string()).with("Content-Type", "application/json"),
            false => missing("RevisionNotFound"),
        };
    }
    let cached = format!("/api/resolve-cache/models/org/name/{}/", state.commit);
    if let Some((name, bytes)) = path.strip_prefix(&cached).and_then(|name| state.files.get_key_value(name)) {
        return part_of(bytes, seen, fault).with("ETag", format!("\"{}\"", etag_of(name, bytes)));
    }
    let resolve = format!("/org/name/resolve/{}/", state.commit);
    match path.strip_prefix(&resolve).map(|name| state.files.get_key_value(name)) {
        Some(Some((name, bytes))) => redirect(state, name, bytes, &cached),
        Some(None) => missing("EntryNotFound"),
        None => missing("RepoNotFound"),
    }
}

/// Small files are on the Hub itself, large ones at the store.
fn redirect(state: &State, name: &str, bytes: &[u8], cached: &str) -> Answer {
    let etag = etag_of(name, bytes);
    let (status, target) = match is_large(name) {
        true => (302, format!("http://localhost:{}/store/{etag}?signature=1", state.store)),
        false => (307, format!("{cached}{name}")),
    };
    Answer::new(status, "Moved")
        .with("Location", target)
        .with("X-Repo-Commit", state.commit.clone())
        .with("X-Linked-Etag", format!("\"{etag}\""))
        .with("X-Linked-Size", bytes.len().to_string())
}

fn part_of(bytes: &[u8], seen: &Seen, fault: Option<&Fault>) -> Answer {
    let mut bytes = bytes.to_vec();
    if let (Some(Fault::Damage), Some(first)) = (fault, bytes.first_mut()) {
        *first ^= 1;
    }
    let asked = seen.range.as_deref().filter(|_| !matches!(fault, Some(Fault::NoRange)));
    let from = asked.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    match from {
        None => Answer::new(200, bytes),
        Some(from) if from >= bytes.len() => Answer::new(416, ""),
        Some(from) => Answer::new(206, &bytes[from..])
            .with("Content-Range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())),
    }
}

fn listing(state: &State) -> Value {
    let entries = state.files.iter().map(|(name, bytes)| {
        let etag = etag_of(name, bytes);
        match (state.lists_blobs, is_large(name)) {
            (false, _) => json!({ "rfilename": name }),
            (true, true) => json!({
                "rfilename": name, "blobId": "0000000000000000000000000000000000000000", "size": bytes.len(),
                "lfs": { "sha256": etag, "size": bytes.len(), "pointerSize": 134 },
            }),
            (true, false) => json!({ "rfilename": name, "blobId": etag, "size": bytes.len() }),
        }
    });
    json!({ "id": "org/name", "sha": state.commit, "siblings": entries.collect::<Vec<_>>() })
}
