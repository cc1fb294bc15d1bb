//! ChileCompra on loopback and clients of it.

use std::sync::Arc;

use ayni::backends::mercado_publico::{MercadoPublico, MercadoPublicoConfig};
use ayni::context::ManualClock;
use ayni::procure::ListRequest;
use ayni::procure::store::{MemoryStore, SharedStore};
use ayni::{Context, Environment};
use ayni_testkit::chilecompra::{Behaviour, ChileCompra, WorldSpec};

use crate::clock::{clock_at, context, day, let_sleeps_pass, moment, set_calendar};

/// The ticket of the tests. It must appear nowhere.
pub(crate) const TICKET: &str = "CANARY-6766-4DEF-9E59-426B4FEE2844";

pub(crate) fn range(from: &str, to: &str) -> ListRequest {
    ListRequest::between(day(from), day(to))
}

/// A server, and a client of it.
pub(crate) struct Bench {
    pub(crate) server: ChileCompra,
    pub(crate) clock: ManualClock,
    pub(crate) store: SharedStore,
    pub(crate) config: MercadoPublicoConfig,
    sleeping: tokio::task::JoinHandle<()>,
}

impl Bench {
    /// Both clocks stand at a moment.
    pub(crate) async fn at(now: &str) -> Self {
        let spec = WorldSpec::new(5).with_records(6, 10, 12).standing_at(moment(now));
        Self::over(spec).await
    }

    pub(crate) async fn over(spec: WorldSpec) -> Self {
        let server = ChileCompra::start(spec, 0).await.expect("a server");
        let clock = clock_at(server.now());
        let config = MercadoPublicoConfig::new()
            .with_ticket(TICKET)
            .with_server(server.base_url())
            .with_min_gap_seconds(0.0)
            .with_lock(false, None);
        let sleeping = tokio::spawn(let_sleeps_pass(clock.clone()));
        Self { server, clock, store: Arc::new(MemoryStore::new()), config, sleeping }
    }

    /// Moves both clocks.
    pub(crate) fn set(&self, now: &str) {
        self.server.set_now(moment(now));
        set_calendar(&self.clock, moment(now));
    }

    pub(crate) fn client(&self) -> MercadoPublico {
        let client = self.config.open(&Environment::empty()).expect("opened");
        client.with_opened_store(Arc::clone(&self.store)).expect("the only store")
    }

    /// A client that has asked nothing yet.
    pub(crate) fn fresh_client(&self) -> MercadoPublico {
        let client = self.config.open(&Environment::empty()).expect("opened");
        client.with_opened_store(Arc::new(MemoryStore::new())).expect("the only store")
    }

    pub(crate) fn cx(&self) -> Context {
        context(&self.clock)
    }

    /// How many requests asked for this so far.
    pub(crate) fn calls(&self, what: &str) -> u64 {
        self.server.report().calls.get(what).copied().unwrap_or(0)
    }

    pub(crate) fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        let mut behaviour = Behaviour::default();
        change(&mut behaviour);
        self.server.behave(behaviour);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.sleeping.abort();
    }
}
