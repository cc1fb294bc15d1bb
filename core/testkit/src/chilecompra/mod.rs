//! ChileCompra as a server on loopback: real HTTP, an invented world that changes with time, faults on demand.
//!
//! The bodies have the form of the recorded ones; every value is invented. The same [`WorldSpec`] gives the same
//! world on every machine. What the services show of it depends on the server's clock, which can be set and moved.
//! [`Behaviour`] says how clients are treated: one request in flight, a quota, slow pages, tickets that expire,
//! answers that are not JSON. `GET /__chilecompra` gives a [`WorldReport`]; `POST /__chilecompra` takes changes:
//!
//! ```json
//! {"now": "2026-10-14T23:59:50", "advance_seconds": 20, "running": false, "forget": true,
//!  "behaviour": {"daily_quota": 100, "faults": [{"at": "fecha=14102026", "what": "html", "times": 1}]}}
//! ```

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use self::clock::WorldClock;
use self::services::Services;
use self::world::World;
use super::case::Host;
use super::server::play::{self, After};
use super::server::request::Connection;
use ayni::procure::Timestamp;
use ayni::{Error, ErrorKind, Result};

mod clock;
mod control;
mod details;
mod distort;
mod names;
mod ocds;
mod order;
mod quick;
mod services;
mod settings;
mod tender;
mod v1;
mod v2;
mod world;

pub use control::{VisibleRecords, WorldReport};
pub use settings::{Behaviour, Fault, FaultKind, WorldSpec};

/// ChileCompra on loopback. It stops when it is dropped.
///
/// ```
/// use ayni::backends::mercado_publico::MercadoPublicoConfig;
/// use ayni_testkit::chilecompra::{ChileCompra, WorldSpec};
/// use ayni::procure::{ListRequest, ProcurementClient};
/// use ayni::{Context, Environment};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let server = ChileCompra::start(WorldSpec::new(7), 0).await?;
/// let config = MercadoPublicoConfig::new().with_ticket("any").with_server(server.base_url()).with_lock(false, None);
/// let client = config.open(&Environment::empty())?;
/// let open = client.tenders(&Context::new(), ListRequest::new()).await?;
/// assert!(!open.rows.is_empty());
/// assert_eq!((server.report().requests, server.report().violations), (1, 0));
/// # Ok::<_, ayni::Error>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ChileCompra {
    port: u16,
    services: Arc<Services>,
    listening: JoinHandle<()>,
}

impl ChileCompra {
    /// Makes the world and listens. Port 0 takes any.
    ///
    /// # Errors
    /// `config_invalid` for an impossible world, `unavailable` if there is no free port.
    pub async fn start(spec: WorldSpec, port: u16) -> Result<Self> {
        spec.check()?;
        let now = spec.now.unwrap_or_else(|| Timestamp::of_system_time(SystemTime::now()));
        let to = spec.to.unwrap_or_else(|| now.date().plus_days(30));
        let from = spec.from.unwrap_or_else(|| to.plus_days(-60).min(now.date().plus_days(-60)));
        let no_port =
            |error: io::Error| Error::new(ErrorKind::Unavailable, format!("no port on loopback: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(no_port)?;
        let port = listener.local_addr().map_err(no_port)?.port();
        let world = World::new(&spec, from, to);
        let services = Arc::new(Services::new(world, (from, to), WorldClock::new(now, spec.running)));
        let listening = tokio::spawn(listen(listener, Arc::clone(&services)));
        Ok(Self { port, services, listening })
    }

    /// `http://127.0.0.1:PORT`: what [`with_server`] of a configuration takes.
    ///
    /// [`with_server`]: ayni::backends::mercado_publico::MercadoPublicoConfig::with_server
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The time on the server's clock.
    pub fn now(&self) -> Timestamp {
        self.services.state().clock.now()
    }

    /// Sets the clock.
    pub fn set_now(&self, now: Timestamp) {
        self.services.state().clock.set(now);
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.services.state().clock.advance(by);
    }

    /// Sets how clients are treated from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.services.state().behave(behaviour);
    }

    /// What the server has seen so far.
    pub fn report(&self) -> WorldReport {
        control::report(&self.services)
    }

    /// Sets all counts to zero.
    pub fn forget(&self) {
        self.services.state().forget();
    }
}

impl Drop for ChileCompra {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, services: Arc<Services>) {
    // Dropped with this task, which ends every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&services)));
                }
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, services: Arc<Services>) {
    // It fails only because the client went away.
    let _ = exchange(stream, &services).await;
}

async fn exchange(stream: TcpStream, services: &Arc<Services>) -> io::Result<()> {
    let mut connection = Connection::new(stream, Host::Main);
    connection.stream.set_nodelay(true)?;
    while connection.has_more().await? {
        let request = connection.read().await?;
        let respond = match control::answer(&request, services) {
            Some(respond) => respond,
            None => services.answer(&request).await,
        };
        if play::play(&mut connection, &respond, request.method == "HEAD").await? == After::Close {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
