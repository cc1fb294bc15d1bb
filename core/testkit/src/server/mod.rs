//! A server that plays exchanges over raw TCP, so that the script decides every byte and every disconnect.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::play::After;
use self::request::Connection;
use self::script::Script;
use super::case::{Exchange, Host, Respond};
use super::placeholders::Placeholders;
use ayni::{Error, ErrorKind, Result};

mod body;
mod control;
mod form;
mod gzip;
pub(crate) mod play;
pub(crate) mod request;
mod script;

pub use request::Received;
pub use script::{Mismatch, Report};

pub(super) use control::Judge;

/// A mock server on loopback. It stops when it is dropped.
///
/// ```
/// use ayni_testkit::MockServer;
/// use serde_json::json;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let server = MockServer::start(&json!([{
///     "request": { "method": "GET", "path": "/health" },
///     "respond": { "json": { "status": "ok" } }
/// }]))
/// .await?;
/// assert!(server.base_url().starts_with("http://127.0.0.1:"));
/// assert_eq!(server.report().faults(), ["unconsumed exchange 0 (GET /health), 1 to come"]);
/// # Ok::<_, ayni::Error>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MockServer {
    addresses: Addresses,
    shared: Arc<Shared>,
    listening: Vec<JoinHandle<()>>,
    /// Bound but not listening: its port refuses connections, and no other process gets it.
    _closed: TcpSocket,
}

/// The ports of a server, all on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) main: u16,
    pub(super) other: u16,
    pub(super) closed: u16,
}

impl Addresses {
    pub(super) fn base_url(&self) -> String {
        format!("http://{}", self.host())
    }

    pub(super) fn other_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.other)
    }

    pub(super) fn closed_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.closed)
    }

    pub(super) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.main)
    }
}

#[derive(Debug)]
struct Shared {
    script: Mutex<Script>,
    judge: Mutex<Option<Judge>>,
    seen: watch::Sender<usize>,
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drops_on_accept(&self) -> bool {
        let mut script = self.script();
        let drops = script.drops_on_accept();
        self.seen.send_replace(script.requests_seen());
        drops
    }

    fn answer(&self, request: Received) -> Respond {
        if let Some(answer) = control::answer(&request, self) {
            return answer;
        }
        let mut script = self.script();
        let outcome = script.answer(request);
        self.seen.send_replace(script.requests_seen());
        outcome.unwrap_or_else(|mismatch| script::refusal(&mismatch))
    }
}

impl MockServer {
    /// Plays `exchanges`: a JSON list like a case's `server`, with placeholders.
    ///
    /// # Errors
    /// `config_invalid` if they are not exchanges, `unavailable` if there is no free port.
    pub async fn start(exchanges: &Value) -> Result<Self> {
        let server = Self::bind(0).await?;
        let exchanges = server.placeholders().fill(exchanges)?;
        let exchanges = serde_json::from_value(exchanges)
            .map_err(|error| Error::config(format!("not a list of exchanges: {error}")))?;
        server.play(exchanges);
        Ok(server)
    }

    /// Listens, with nothing to play yet. Port 0 takes any.
    pub(super) async fn bind(port: u16) -> Result<Self> {
        let no_port =
            |error: io::Error| Error::new(ErrorKind::Unavailable, format!("no port on loopback: {error}"));
        Self::try_bind(port).await.map_err(no_port)
    }

    async fn try_bind(port: u16) -> io::Result<Self> {
        let main = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let closed = TcpSocket::new_v4()?;
        closed.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let addresses = Addresses {
            main: main.local_addr()?.port(),
            other: other.local_addr()?.port(),
            closed: closed.local_addr()?.port(),
        };
        let shared = Arc::new(Shared {
            script: Mutex::new(Script::default()),
            judge: Mutex::new(None),
            seen: watch::Sender::new(0),
        });
        let listening = [(main, Host::Main), (other, Host::Other)]
            .map(|(listener, host)| tokio::spawn(listen(listener, host, Arc::clone(&shared))));
        Ok(Self { addresses, shared, listening: listening.into(), _closed: closed })
    }

    pub(super) fn placeholders(&self) -> Placeholders {
        Placeholders::new(&self.addresses)
    }

    pub(super) fn play(&self, exchanges: Vec<Exchange>) {
        *self.shared.script() = Script::new(exchanges);
    }

    pub(super) fn judge_with(&self, judge: Judge) {
        *self.shared.judge.lock().unwrap_or_else(PoisonError::into_inner) = Some(judge);
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        self.addresses.base_url()
    }

    /// The same server at another port: another origin.
    pub fn other_url(&self) -> String {
        self.addresses.other_url()
    }

    /// A port that refuses connections.
    pub fn closed_url(&self) -> String {
        self.addresses.closed_url()
    }

    /// What the server saw so far, compared with its script.
    pub fn report(&self) -> Report {
        self.shared.script().report()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.script().requests().to_vec()
    }

    /// Waits until so many requests have arrived.
    pub async fn seen(&self, requests: usize) {
        let mut seen = self.shared.seen.subscribe();
        // It cannot fail: the sender lives as long as `self`.
        let _ = seen.wait_for(|seen| *seen >= requests).await;
    }
}

impl Drop for MockServer {
    fn drop(&mut self) {
        self.listening.iter().for_each(JoinHandle::abort);
    }
}

async fn listen(listener: TcpListener, host: Host, shared: Arc<Shared>) {
    // Dropped with this task, which ends every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, host, Arc::clone(&shared)));
                }
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, host: Host, shared: Arc<Shared>) {
    let mut connection = Connection::new(stream, host);
    // It fails only when the client goes away; the case judges what the client says about that.
    let _ = exchange(&mut connection, &shared).await;
}

async fn exchange(connection: &mut Connection, shared: &Shared) -> io::Result<()> {
    connection.stream.set_nodelay(true)?;
    if shared.drops_on_accept() {
        play::reset(connection)?;
        return Ok(());
    }
    let mut first = true;
    while connection.has_more().await? {
        if !std::mem::take(&mut first) && shared.drops_on_accept() {
            play::reset(connection)?;
            return Ok(());
        }
        let request = connection.read().await?;
        let head_only = request.method == "HEAD";
        let respond = shared.answer(request);
        if play::play(connection, &respond, head_only).await? == After::Close {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
