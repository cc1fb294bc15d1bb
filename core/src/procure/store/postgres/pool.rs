//! Connections, and what becomes of statements whose connection breaks.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};

use super::server::Server;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime;

/// The most connections of one store.
const CONNECTIONS: usize = 4;
/// How long a server that restarts is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one statement or transaction may take.
const WORK: Duration = Duration::from_secs(60);
/// How long one may take that reads or writes a month of lines. A server that is gone shows long before.
const LONG_WORK: Duration = Duration::from_secs(30 * 60);
/// A connection that was not used for so long is tried before a statement is entrusted to it.
const DOUBTFUL: Duration = Duration::from_secs(1);
/// So often a statement is repeated that certainly changed nothing.
const ATTEMPTS: u32 = 4;

/// A statement's value and its type: named, so that one round trip is enough and no statement is kept on a
/// connection, which a proxy between us may share out anew for each transaction.
pub(super) type Value<'a> = (&'a (dyn ToSql + Sync), Type);

/// Connections to one server.
#[derive(Debug)]
pub(super) struct Pool {
    server: Server,
    idle: Mutex<Vec<Idle>>,
    permits: Semaphore,
}

struct Idle {
    client: Client,
    since: Instant,
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Idle")
    }
}

/// A connection in use. It is closed unless it is [given back](Pool::give_back): what was begun on it and not
/// finished is undone by the server.
pub(super) struct Lent<'a> {
    pub(super) client: Client,
    _permit: SemaphorePermit<'a>,
}

/// Whether a statement may be given to the server again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Doing it twice is doing it once.
    Harmless,
    /// Only if the server says that nothing was written.
    OnlyIfUndone,
}

/// How a transaction ends, and with what.
pub(super) enum Outcome<T> {
    Commit(T),
    RollBack(T),
}

/// What is done in one transaction, perhaps several times until it succeeds once.
pub(super) trait Work: Sync {
    type Done: Send;

    fn run(
        &self,
        transaction: &Transaction<'_>,
    ) -> impl Future<Output = Result<Outcome<Self::Done>, tokio_postgres::Error>> + Send;
}

impl Pool {
    pub(super) fn new(server: Server) -> Self {
        Self { server, idle: Mutex::default(), permits: Semaphore::new(CONNECTIONS) }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that works.
    ///
    /// # Errors
    /// `unavailable` if the server was not to be reached for [`PATIENCE`]; `config_invalid` if it refuses us.
    pub(super) async fn lend(&self) -> Result<Lent<'_>> {
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(|_| Error::new(ErrorKind::Unexpected, "the store was closed"))?;
        loop {
            let Some(Idle { client, since }) = self.idle().pop() else { break };
            let works = !client.is_closed()
                && (since.elapsed() < DOUBTFUL
                    || matches!(runtime::timeout(WORK, client.check_connection()).await?, Some(Ok(()))));
            if works {
                return Ok(Lent { client, _permit });
            }
        }
        Ok(Lent { client: self.connect().await?, _permit })
    }

    /// Keeps a connection on which nothing is left unfinished.
    pub(super) fn give_back(&self, lent: Lent<'_>) {
        if !lent.client.is_closed() {
            self.idle().push(Idle { client: lent.client, since: Instant::now() });
        }
    }

    /// Whether every connection that is not in use is known to be closed.
    #[cfg(test)]
    pub(super) fn knows_that_all_are_closed(&self) -> bool {
        self.idle().iter().all(|idle| idle.client.is_closed())
    }

    async fn connect(&self) -> Result<Client> {
        runtime::check_network()?;
        let (begun, mut pause) = (Instant::now(), Duration::from_millis(50));
        loop {
            match self.server.connect().await {
                Ok(client) => return Ok(client),
                Err(error) if !may_pass(&error) || begun.elapsed() + pause > PATIENCE => {
                    return Err(failed(&error));
                }
                Err(_) => {}
            }
            runtime::sleep(pause).await?;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// The rows that a statement gives. It must be one that only reads.
    ///
    /// # Errors
    /// What the server says; `unavailable` if it is not to be reached.
    pub(super) async fn rows(&self, statement: &str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        let mut attempt = 1;
        loop {
            let lent = self.lend().await?;
            match in_time(lent.client.query_typed(statement, values)).await? {
                Ok(rows) => {
                    self.give_back(lent);
                    return Ok(rows);
                }
                Err(error) => self.again(Repeat::Harmless, &error, lent, &mut attempt).await?,
            }
        }
    }

    /// Runs a statement that writes, and says how many rows it wrote.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub(super) async fn execute(&self, statement: &str, values: &[Value<'_>], repeat: Repeat) -> Result<u64> {
        let mut attempt = 1;
        loop {
            let lent = self.lend().await?;
            match in_time(lent.client.execute_typed(statement, values)).await? {
                Ok(count) => {
                    self.give_back(lent);
                    return Ok(count);
                }
                Err(error) => self.again(repeat, &error, lent, &mut attempt).await?,
            }
        }
    }

    /// Runs a statement over a month of lines, which may take long and may be given to the server again.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub(super) async fn toil(&self, statement: &str) -> Result<()> {
        let mut attempt = 1;
        loop {
            let lent = self.lend().await?;
            match in_long_time(lent.client.execute_typed(statement, &[])).await? {
                Ok(_) => {
                    self.give_back(lent);
                    return Ok(());
                }
                Err(error) => self.again(Repeat::Harmless, &error, lent, &mut attempt).await?,
            }
        }
    }

    /// Does a work in a transaction.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub(super) async fn transact<W: Work>(&self, work: &W, repeat: Repeat) -> Result<W::Done> {
        let mut attempt = 1;
        loop {
            let mut lent = self.lend().await?;
            let outcome = in_time(async {
                let transaction = begin(&mut lent.client).await?;
                match work.run(&transaction).await? {
                    Outcome::Commit(done) => transaction.commit().await.map(|()| done),
                    Outcome::RollBack(done) => transaction.rollback().await.map(|()| done),
                }
            });
            match outcome.await? {
                Ok(done) => {
                    self.give_back(lent);
                    return Ok(done);
                }
                Err(error) => self.again(repeat, &error, lent, &mut attempt).await?,
            }
        }
    }

    /// Takes in that a statement failed. Comes back if it is to be repeated.
    ///
    /// # Errors
    /// If it is not.
    pub(super) async fn again(
        &self,
        repeat: Repeat,
        error: &tokio_postgres::Error,
        lent: Lent<'_>,
        attempt: &mut u32,
    ) -> Result<()> {
        drop(lent);
        let undone = error.code().is_some_and(|code| UNDONE.contains(code));
        let broken = error.is_closed() || error.code().is_none() || undone;
        let repeats = undone || (broken && repeat == Repeat::Harmless);
        if !repeats || *attempt >= ATTEMPTS {
            return Err(failed(error));
        }
        *attempt += 1;
        // Transactions that met are not to meet again.
        runtime::sleep(Duration::from_millis(RandomState::new().hash_one(*attempt) % 20)).await
    }
}

/// Begins a transaction. Who waits for a lock in it sees afterwards what its holder did, whatever the database's
/// default is.
pub(super) async fn begin(client: &mut Client) -> Result<Transaction<'_>, tokio_postgres::Error> {
    client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await
}

/// What the server says when it has written nothing and another attempt may be luckier.
const UNDONE: [SqlState; 4] = [
    SqlState::T_R_SERIALIZATION_FAILURE,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CANNOT_CONNECT_NOW,
];

/// Ends what takes too long. The connection is then closed by whoever holds it.
pub(super) async fn in_time<T>(work: impl Future<Output = T>) -> Result<T> {
    within(WORK, work).await
}

/// [`in_time`] for what handles a month of lines.
pub(super) async fn in_long_time<T>(work: impl Future<Output = T>) -> Result<T> {
    within(LONG_WORK, work).await
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T> {
    let in_time = runtime::timeout(limit, work).await?;
    in_time.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the store's PostgreSQL server does not answer"))
}

/// Whether a failure to connect may pass by itself.
fn may_pass(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => {
            UNDONE.contains(code) || [SqlState::TOO_MANY_CONNECTIONS, SqlState::CRASH_SHUTDOWN].contains(code)
        }
        None => !is_about_trust(error) && !is_about_the_address(error),
    }
}

/// What is behind an error, outermost first.
fn causes(error: &tokio_postgres::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

/// Whether the server's certificate is not to be trusted.
fn is_about_trust(error: &tokio_postgres::Error) -> bool {
    let by_rustls = |cause: &(dyn std::error::Error + 'static)| {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>())
    };
    causes(error).any(by_rustls)
}

/// Whether the address cannot work: it lacks something, or the server offers none of what it asks for.
fn is_about_the_address(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    // A handshake may also break off because the server does.
    let is_refused =
        text.contains("TLS") && !causes(error).any(<dyn std::error::Error>::is::<std::io::Error>);
    is_refused || text.contains("configuration") || text.contains("authentication")
}

/// Whether an error is this one of the server.
pub(super) fn is(error: &Error, state: &SqlState) -> bool {
    error.context().iter().any(|(name, value)| *name == "sqlstate" && value == state.code())
}

/// The error for what the server or its connection said. Nothing of values goes into it: the server's details
/// may hold them.
pub(super) fn failed(error: &tokio_postgres::Error) -> Error {
    let Some(from_server) = error.as_db_error() else {
        let told: Vec<String> =
            std::iter::once(error.to_string()).chain(causes(error).map(ToString::to_string)).collect();
        let told = told.join(": ");
        return if is_about_trust(error) || is_about_the_address(error) {
            Error::config(format!("the store's PostgreSQL server cannot be used: {told}"))
        } else {
            Error::new(
                ErrorKind::Unavailable,
                format!("the store's PostgreSQL server cannot be reached: {told}"),
            )
        };
    };
    let (code, message) = (from_server.code().code(), from_server.message());
    let built = match code.get(..2) {
        // Who we are, which database, what we may: all of it is in the address, or the administrator's to mend.
        Some("28" | "3D" | "3F") => {
            Error::config(format!("the store's PostgreSQL server refuses us: {message}"))
        }
        _ if code == SqlState::INSUFFICIENT_PRIVILEGE.code() => Error::config(format!(
            "the store's user may not do that: {message}; it needs its own schema 'ayni' or the right to create it"
        )),
        Some("08" | "53" | "57") => Error::new(
            ErrorKind::Unavailable,
            format!("the store's PostgreSQL server cannot serve: {message}"),
        ),
        Some("40") => {
            Error::new(ErrorKind::Unavailable, "others use the same part of the store all the time")
        }
        _ => Error::new(ErrorKind::Unexpected, format!("the store's PostgreSQL server failed: {message}")),
    };
    built.with_context("sqlstate", code)
}
