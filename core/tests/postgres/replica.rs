//! A process that asks for tenders, one after the other.

use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use ayni::backends::mercado_publico::{MercadoPublico, MercadoPublicoConfig};
use ayni::procure::GetRequest;
use ayni::{Context, Environment, ErrorKind, procure::ProcurementClient};
use serde::{Deserialize, Serialize};

use crate::chile::Chile;

const VARIABLE: &str = "AYNI_TEST_REPLICA";

/// What a replica is to do.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Orders {
    name: usize,
    server: String,
    store: String,
    requests: usize,
    limit: u32,
    gap_seconds: f64,
}

impl Orders {
    pub(crate) fn new(name: usize, chile: &Chile, store: &str) -> Self {
        let (server, store) = (chile.url(), store.to_owned());
        // Trials share the database, and with it the answers that are kept: each asks for codes of its own.
        let name = usize::from(chile.port()) * 10 + name;
        Self { name, server, store, requests: 1, limit: 9_500, gap_seconds: 0.0 }
    }

    pub(crate) fn with_requests(mut self, requests: usize) -> Self {
        self.requests = requests;
        self
    }

    pub(crate) fn with_limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn with_gap(mut self, gap: Duration) -> Self {
        self.gap_seconds = gap.as_secs_f64();
        self
    }

    /// The orders of this process, if it is a replica.
    pub(crate) fn given() -> Option<Self> {
        serde_json::from_str(&std::env::var(VARIABLE).ok()?).ok()
    }

    /// Starts a process with these orders.
    pub(crate) fn start(&self) -> std::io::Result<Child> {
        let orders = serde_json::to_string(self)?;
        Command::new(std::env::current_exe()?).env(VARIABLE, orders).spawn()
    }

    pub(crate) fn client(&self) -> ayni::Result<MercadoPublico> {
        MercadoPublicoConfig::new()
            // A ticket for each trial: quota and turn are a ticket's.
            .with_ticket(format!("TICKET-OF-{}", self.server))
            .with_server(&self.server)
            .with_store(self.store.as_str())
            .with_soft_limit(self.limit)
            .with_min_gap_seconds(self.gap_seconds)
            .open(&Environment::empty())
    }
}

/// Does as told. It ends well if every request was answered or the quota is used up.
pub(crate) fn run(orders: &Orders) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        runtime.block_on(Box::pin(ask(orders))).map_err(|error| format!("{error} {:?}", error.context()))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(told) => {
            eprintln!("replica {}: {told}", orders.name);
            ExitCode::FAILURE
        }
    }
}

async fn ask(orders: &Orders) -> ayni::Result<()> {
    let client = orders.client()?;
    for number in 1..=orders.requests {
        let request = GetRequest::new(format!("{}-{number}-LE26", orders.name));
        match client.tender(&Context::new(), request).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::QuotaExceeded => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) => return Err(ayni::Error::response_invalid("a tender that is not there")),
        }
    }
    Ok(())
}
