//! The connection pool, and when a statement is retried after its connection broke.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};

use super::super::sql_steps::{Outcome, StepKind};
use super::server::Server;
use super::{TypedSteps, run_steps};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime;

/// The most connections of one store.
const MAX_CONNECTIONS: usize = 4;
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one statement or transaction may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// The same for one that reads or writes a month of lines. A server that is gone is noticed long before.
const LONG_STATEMENT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// A connection that was idle for this long is checked before it is used.
const CHECK_AFTER_IDLE: Duration = Duration::from_secs(1);
/// How often a statement is tried that certainly changed nothing.
const MAX_ATTEMPTS: u32 = 4;

/// A value of a statement, with its type. With the types, a statement takes one round trip and is not prepared on the
/// connection, which a proxy may assign to another client after each transaction.
pub(super) type SqlValue<'a> = (&'a (dyn ToSql + Sync), Type);

#[derive(Debug)]
pub(super) struct Pool {
    server: Server,
    idle: Mutex<Vec<IdleConnection>>,
    permits: Semaphore,
}

struct IdleConnection {
    client: Client,
    since: Instant,
}

impl std::fmt::Debug for IdleConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Idle")
    }
}

/// A connection in use. It is closed unless it is [released](Pool::release), and the server rolls back what was not
/// committed.
pub(super) struct PooledConnection<'a> {
    pub(super) client: Client,
    _permit: SemaphorePermit<'a>,
}

/// When a statement may be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// Always: running it twice has the same effect as once.
    Idempotent,
    /// Only if the server says that it wrote nothing.
    IfRolledBack,
}

/// Does `work` on a connection, again where the connection broke and `retry` allows it. The error says whether the answer of
/// an earlier attempt was lost.
macro_rules! attempt {
    ($pool:ident, $retry:expr, $limit:expr, |$client:ident| $work:expr) => {{
        let (mut attempt, mut answer_lost) = (1, false);
        loop {
            let mut connection = $pool.acquire().await.map_err(|error| (error, answer_lost))?;
            let $client = &mut connection.client;
            match within($limit, async { $work }).await.map_err(|error| (error, answer_lost))? {
                Ok(done) => {
                    $pool.release(connection);
                    break Ok(done);
                }
                Err(error) => {
                    drop(connection);
                    let again = $pool.retry_or_fail($retry, &error, &mut attempt).await;
                    again.map_err(|error| (error, answer_lost))?;
                    answer_lost |= error.code().is_none();
                }
            }
        }
    }};
}

impl Pool {
    pub(super) fn new(server: Server) -> Self {
        Self { server, idle: Mutex::default(), permits: Semaphore::new(MAX_CONNECTIONS) }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    fn idle(&self) -> MutexGuard<'_, Vec<IdleConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A working connection.
    ///
    /// # Errors
    /// `unavailable` if the server could not be reached for [`RECONNECT_TIMEOUT`]; `config_invalid` if it refuses the connection.
    pub(super) async fn acquire(&self) -> Result<PooledConnection<'_>> {
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(|_| Error::new(ErrorKind::Unexpected, "the store is closed"))?;
        loop {
            let Some(IdleConnection { client, since }) = self.idle().pop() else { break };
            let works = !client.is_closed()
                && (since.elapsed() < CHECK_AFTER_IDLE
                    || matches!(
                        runtime::timeout(STATEMENT_TIMEOUT, client.check_connection()).await?,
                        Some(Ok(()))
                    ));
            if works {
                return Ok(PooledConnection { client, _permit });
            }
        }
        Ok(PooledConnection { client: self.connect().await?, _permit })
    }

    /// Returns a connection to the pool. Nothing may be left unfinished on it.
    pub(super) fn release(&self, connection: PooledConnection<'_>) {
        if !connection.client.is_closed() {
            self.idle().push(IdleConnection { client: connection.client, since: Instant::now() });
        }
    }

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
                Err(error) if !is_temporary(&error) || begun.elapsed() + pause > RECONNECT_TIMEOUT => {
                    return Err(to_error(&error));
                }
                Err(_) => {}
            }
            runtime::sleep(pause).await?;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// The rows of a statement that only reads.
    ///
    /// # Errors
    /// Those of the server; `unavailable` if it cannot be reached.
    pub(super) async fn rows(&self, statement: &str, values: &[SqlValue<'_>]) -> Result<Vec<Row>> {
        self.rows_within(STATEMENT_TIMEOUT, statement, values).await.map_err(|(error, _)| error)
    }

    /// The rows of a statement over a month of lines, which may take long.
    ///
    /// # Errors
    /// As [`rows`](Self::rows), and whether the answer of an earlier attempt was lost.
    pub(super) async fn rows_long(
        &self,
        statement: &str,
        values: &[SqlValue<'_>],
    ) -> Result<Vec<Row>, (Error, bool)> {
        self.rows_within(LONG_STATEMENT_TIMEOUT, statement, values).await
    }

    async fn rows_within(
        &self,
        limit: Duration,
        statement: &str,
        values: &[SqlValue<'_>],
    ) -> Result<Vec<Row>, (Error, bool)> {
        attempt!(self, Retry::Idempotent, limit, |client| client.query_typed(statement, values).await)
    }

    /// Runs a statement that writes, and returns the number of rows.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub(super) async fn execute(
        &self,
        statement: &str,
        values: &[SqlValue<'_>],
        retry: Retry,
    ) -> Result<u64> {
        let done: Result<_, (Error, bool)> = async {
            attempt!(self, retry, STATEMENT_TIMEOUT, |client| client.execute_typed(statement, values).await)
        }
        .await;
        done.map_err(|(error, _)| error)
    }

    /// Runs steps in a transaction.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub(super) async fn transact(&self, steps: &TypedSteps<'_>, retry: Retry) -> Result<Outcome> {
        let is_long = steps.iter().any(|(step, _)| step.kind == StepKind::Script);
        let limit = if is_long { LONG_STATEMENT_TIMEOUT } else { STATEMENT_TIMEOUT };
        let done: Result<_, (Error, bool)> = async {
            attempt!(self, retry, limit, |client| {
                let transaction = begin(client).await?;
                let outcome = run_steps(&transaction, steps).await?;
                match outcome.refused {
                    None => transaction.commit().await.map(|()| outcome),
                    Some(_) => transaction.rollback().await.map(|()| outcome),
                }
            })
        }
        .await;
        done.map_err(|(error, _)| error)
    }

    /// Decides about a statement that failed: returns if it is to be retried.
    ///
    /// # Errors
    /// The failure, if it is not.
    async fn retry_or_fail(
        &self,
        retry: Retry,
        error: &tokio_postgres::Error,
        attempt: &mut u32,
    ) -> Result<()> {
        let rolled_back = error.code().is_some_and(|code| ROLLED_BACK_STATES.contains(code));
        let broken = error.is_closed() || error.code().is_none() || rolled_back;
        let retries = rolled_back || (broken && retry == Retry::Idempotent);
        if !retries || *attempt >= MAX_ATTEMPTS {
            return Err(to_error(error));
        }
        *attempt += 1;
        // A random wait, so that transactions that collided do not collide again.
        runtime::sleep(Duration::from_millis(RandomState::new().hash_one(*attempt) % 20)).await
    }
}

/// Begins a transaction. After it has waited for a lock, it sees what the holder committed, whatever the database's
/// default isolation level is.
pub(super) async fn begin(client: &mut Client) -> Result<Transaction<'_>, tokio_postgres::Error> {
    client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await
}

/// States in which the server has written nothing and another attempt may succeed.
const ROLLED_BACK_STATES: [SqlState; 4] = [
    SqlState::T_R_SERIALIZATION_FAILURE,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CANNOT_CONNECT_NOW,
];

/// Stops `work` if it takes too long. The caller then drops its connection.
pub(super) async fn with_timeout<T>(work: impl Future<Output = T>) -> Result<T> {
    within(STATEMENT_TIMEOUT, work).await
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T> {
    let with_timeout = runtime::timeout(limit, work).await?;
    with_timeout
        .ok_or_else(|| Error::new(ErrorKind::Unavailable, "the store's PostgreSQL server does not respond"))
}

/// Whether a failure to connect may be temporary.
fn is_temporary(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => {
            ROLLED_BACK_STATES.contains(code)
                || [SqlState::TOO_MANY_CONNECTIONS, SqlState::CRASH_SHUTDOWN].contains(code)
        }
        None => !is_certificate_error(error) && !is_address_error(error),
    }
}

fn causes(error: &tokio_postgres::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

/// Whether the server's certificate is not trusted.
fn is_certificate_error(error: &tokio_postgres::Error) -> bool {
    let by_rustls = |cause: &(dyn std::error::Error + 'static)| {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>())
    };
    causes(error).any(by_rustls)
}

/// Whether the address cannot work: something is missing, or the server does not offer what it asks for.
fn is_address_error(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    // A handshake may also fail because the connection broke.
    let is_refused =
        text.contains("TLS") && !causes(error).any(<dyn std::error::Error>::is::<std::io::Error>);
    is_refused || text.contains("configuration") || text.contains("authentication")
}

pub(super) fn has_sqlstate(error: &Error, state: &SqlState) -> bool {
    error.context().iter().any(|(name, value)| *name == "sqlstate" && value == state.code())
}

/// Converts an error of the server or of its connection. The server's details are left out, because they may contain
/// values.
pub(super) fn to_error(error: &tokio_postgres::Error) -> Error {
    let Some(from_server) = error.as_db_error() else {
        let messages: Vec<String> =
            std::iter::once(error.to_string()).chain(causes(error).map(ToString::to_string)).collect();
        let messages = messages.join(": ");
        return if is_certificate_error(error) || is_address_error(error) {
            Error::config(format!("the store's PostgreSQL server cannot be used: {messages}"))
        } else {
            Error::new(
                ErrorKind::Unavailable,
                format!("the store's PostgreSQL server cannot be reached: {messages}"),
            )
        };
    };
    let (code, message) = (from_server.code().code(), from_server.message());
    let built = match code.get(..2) {
        // The user, the database or its permissions: fix the address, or ask the administrator.
        Some("28" | "3D" | "3F") => {
            Error::config(format!("the store's PostgreSQL server refuses the connection: {message}"))
        }
        _ if code == SqlState::INSUFFICIENT_PRIVILEGE.code() => Error::config(format!(
            "the store's user lacks a permission: {message}; it needs its own schema 'ayni' or the right to create it"
        )),
        Some("08" | "53" | "57") => Error::new(
            ErrorKind::Unavailable,
            format!("the store's PostgreSQL server cannot serve: {message}"),
        ),
        Some("40") => {
            Error::new(ErrorKind::Unavailable, "other writers keep using the same part of the store")
        }
        _ => Error::new(ErrorKind::Unexpected, format!("the store's PostgreSQL server failed: {message}")),
    };
    built.with_context("sqlstate", code)
}
