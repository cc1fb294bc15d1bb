//! Processes that share a ticket and a store: killed at any point, and two at a time.
//!
//! The program runs itself again as the processes that it watches.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "procurement_server/clock.rs"]
mod clock;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use ayni::backends::mercado_publico::{MercadoPublico, MercadoPublicoConfig, SyncRequest};
use ayni::conformance::chilecompra::{Behaviour, ChileCompra, WorldSpec};
use ayni::procure::store::{Form, RecordKind, RecordQuery, StoredEvent};
use ayni::{Environment, GetRequest, ListRequest, ProcurementClient};
use clock::{clock_at, context, day, let_sleeps_pass, moment};
use libtest_mimic::{Arguments, Failed, Trial};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

/// Tells this program what to be.
const PART: &str = "AYNI_TEST_PROCUREMENT_PART";
const KILLS: usize = 50;

fn main() -> ExitCode {
    if let Ok(part) = std::env::var(PART) {
        let part: Part = serde_json::from_str(&part).expect("a part");
        Runtime::new().expect("a runtime").block_on(part.play());
        return ExitCode::SUCCESS;
    }
    let trial = |name: &str, work: fn(&Runtime)| {
        Trial::test(name, move || {
            let runtime = Runtime::new().map_err(|error| Failed::from(error.to_string()))?;
            work(&runtime);
            Ok(())
        })
    };
    let trials = vec![
        trial("killed_at_any_point_a_sync_loses_nothing_and_tells_nothing_twice", kills),
        trial("two_processes_on_one_ticket_never_meet", never_meet),
        trial("two_processes_without_the_lock_meet", meet),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// What a process of ours does.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Part {
    server: String,
    folder: String,
    ticket: String,
    lock: bool,
    now: String,
    job: Job,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Job {
    /// Brings these kinds up to date.
    Sync(Vec<RecordKind>),
    /// Reads these tenders.
    Read(Vec<String>),
}

impl Part {
    fn client(&self) -> MercadoPublico {
        let folder = Path::new(&self.folder);
        let config = MercadoPublicoConfig::new()
            .with_ticket(self.ticket.as_str())
            .with_server(&self.server)
            .with_store(format!("sqlite:{}", folder.join("store.db").display()))
            .with_min_gap_seconds(0.0)
            .with_lock(self.lock, Some(folder.display().to_string()));
        config.open(&Environment::empty()).expect("opened")
    }

    async fn play(&self) {
        let clock = clock_at(moment(&self.now));
        tokio::spawn(let_sleeps_pass(clock.clone()));
        let (client, cx) = (self.client(), context(&clock));
        client.store().await.expect("a store");
        println!("ready");
        match &self.job {
            Job::Sync(kinds) => {
                for kind in kinds {
                    let request = SyncRequest::new(*kind, day("2026-10-01")).with_max_details(1000);
                    client.sync(&cx, &request).await.expect("synced");
                }
            }
            Job::Read(codes) => {
                for code in codes {
                    client.tender(&cx, GetRequest::new(code)).await.expect("a tender");
                }
            }
        }
        println!("done");
    }

    /// Starts the process and waits until it has its store.
    fn start(&self) -> (Child, BufReader<std::process::ChildStdout>) {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .env(PART, serde_json::to_string(self).expect("JSON"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the process starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), "ready");
        (child, output)
    }

    fn run(&self) {
        let (mut child, mut output) = self.start();
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert!(child.wait().expect("ended").success() && line.trim() == "done", "{line}");
    }
}

struct Bench {
    server: ChileCompra,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(runtime: &Runtime, now: &str) -> Self {
        let spec = WorldSpec::new(11).with_records(5, 8, 8).standing_at(moment(now));
        let server = runtime.block_on(ChileCompra::start(spec, 0)).expect("a server");
        Self { server, folder: tempfile::tempdir().expect("a folder") }
    }

    fn part(&self, name: &str, job: Job) -> Part {
        Part {
            server: self.server.base_url(),
            folder: self.folder.path().join(name).display().to_string(),
            ticket: format!("ticket-of-{name}"),
            lock: true,
            now: self.server.now().to_string(),
            job,
        }
    }

    fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        let mut behaviour = Behaviour::default();
        change(&mut behaviour);
        self.server.behave(behaviour);
    }
}

const KINDS: [RecordKind; 3] = [RecordKind::Tender, RecordKind::PurchaseOrder, RecordKind::QuickPurchase];

/// What is told of a record, without its place among all.
type Told = (RecordKind, String, u64, String, String);

/// What stands in a store of a record: state, whether it is open, closing time, day, revision.
type Known = (String, bool, String, String, u64);

/// Reads on in a store's events.
#[derive(Default)]
struct Reader {
    position: u64,
    told: Vec<Told>,
}

impl Reader {
    fn read_on(&mut self, runtime: &Runtime, client: &MercadoPublico) {
        let store = runtime.block_on(client.store()).expect("a store");
        for StoredEvent { position, revision, event, .. } in
            runtime.block_on(store.events(self.position, 1_000_000)).expect("events")
        {
            assert!(position > self.position, "each has its place");
            self.position = position;
            let change = event.change.as_str().to_owned();
            self.told.push((event.kind, event.code, revision, change, event.fingerprint));
        }
    }

    fn sorted(mut self) -> Vec<Told> {
        self.told.sort();
        self.told
    }
}

fn known(runtime: &Runtime, client: &MercadoPublico) -> BTreeMap<(RecordKind, String), Known> {
    let store = runtime.block_on(client.store()).expect("a store");
    let text = |value: Option<String>| value.unwrap_or_default();
    let of_kind = |kind| {
        let query = RecordQuery::new(kind, Form::Row).with_limit(1_000_000);
        runtime.block_on(store.records(query)).expect("records")
    };
    KINDS
        .into_iter()
        .flat_map(of_kind)
        .map(|record| {
            let closes = text(record.closes.map(|closes| closes.to_string()));
            let day = text(record.day.map(|day| day.to_string()));
            ((record.kind, record.code), (record.state, record.open, closes, day, record.revision))
        })
        .collect()
}

/// A number from 0 to 1, the same sequence every time.
fn chance(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 11) as f64 / (1_u64 << 53) as f64
}

fn kills(runtime: &Runtime) {
    let bench = Bench::new(runtime, "2026-10-12T15:00:00");
    bench.behave(|behaviour| behaviour.latency_ms = 3);
    let (mut killed_events, mut whole_events) = (Reader::default(), Reader::default());
    let (mut seed, mut kills, mut unfinished) = (17, 0, 0);
    for now in ["2026-10-12T15:00:00", "2026-10-16T11:30:00"] {
        bench.server.set_now(moment(now));
        let whole = bench.part("whole", Job::Sync(KINDS.to_vec()));
        let begun = Instant::now();
        whole.run();
        let usual = begun.elapsed();
        for round in 0..KILLS / 2 {
            // Each kind comes first in its turn, so that all of them are hit.
            let mut kinds = KINDS;
            kinds.rotate_left(round % 3);
            let part = bench.part("killed", Job::Sync(kinds.to_vec()));
            let (mut child, mut output) = part.start();
            std::thread::sleep(usual.mul_f64(chance(&mut seed) * 0.4));
            child.kill().expect("killed");
            child.wait().expect("ended");
            let mut line = String::new();
            output.read_line(&mut line).expect("a line or none");
            kills += 1;
            unfinished += usize::from(line.is_empty());
            killed_events.read_on(runtime, &part.client());
        }
        let part = bench.part("killed", Job::Sync(KINDS.to_vec()));
        part.run();
        killed_events.read_on(runtime, &part.client());
        whole_events.read_on(runtime, &whole.client());
        assert_eq!(known(runtime, &part.client()), known(runtime, &whole.client()), "at {now}");
        let quota = runtime.block_on(part.client().quota(&context(&clock_at(moment(now))))).expect("read");
        let total = bench.server.report().spent[&moment(now).date().to_string()];
        let of_whole =
            runtime.block_on(whole.client().quota(&context(&clock_at(moment(now))))).expect("read");
        let asked = total - u64::from(of_whole.used);
        let over = u64::from(quota.used).checked_sub(asked).expect("never under-counted");
        assert!(over <= KILLS as u64 / 2, "{over} more counted than asked: more than one a kill");
    }
    assert_eq!(kills, KILLS);
    assert!(unfinished > KILLS / 2, "most kills hit the work: {unfinished}");
    let (killed, whole) = (killed_events.sorted(), whole_events.sorted());
    assert!(whole.len() > 100, "{}", whole.len());
    assert_eq!(killed, whole, "the same events, each once");
}

/// Two processes that read different tenders at the same time; whether they finish, and what the server saw.
fn two_readers(runtime: &Runtime, lock: bool) -> (bool, Bench, Part) {
    let bench = Bench::new(runtime, "2026-10-14T12:00:00");
    let clock = clock_at(bench.server.now());
    let lister = bench.part("lister", Job::Read(Vec::new()));
    let listed = runtime.block_on(lister.client().tenders(&context(&clock), ListRequest::new()));
    let codes: Vec<String> =
        listed.expect("a listing").rows.into_iter().map(|row| row.code).take(40).collect();
    assert_eq!(codes.len(), 40);
    bench.behave(|behaviour| {
        behaviour.latency_ms = 8;
        // They are counted, and answered all the same.
        behaviour.one_in_flight = lock;
    });
    bench.server.forget();
    let parts: Vec<Part> = codes
        .chunks(20)
        .map(|half| Part { lock, ..bench.part("shared", Job::Read(half.to_vec())) })
        .collect();
    let children: Vec<_> = parts.iter().map(Part::start).collect();
    let finished = children.into_iter().map(|(mut child, mut output)| {
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        child.wait().expect("ended").success() && line.trim() == "done"
    });
    let finished = finished.fold(true, |all, finished| all && finished);
    (finished, bench, parts.into_iter().next().expect("two parts"))
}

fn never_meet(runtime: &Runtime) {
    let (finished, bench, part) = two_readers(runtime, true);
    let report = bench.server.report();
    assert_eq!((finished, report.requests), (true, 40));
    assert_eq!((report.violations, report.most_in_flight), (0, 1));
    let clock = clock_at(bench.server.now());
    let quota = runtime.block_on(part.client().quota(&context(&clock))).expect("read");
    assert_eq!(quota.used, 40, "counted by both in one ledger");
}

fn meet(runtime: &Runtime) {
    let (finished, bench, _) = two_readers(runtime, false);
    let report = bench.server.report();
    assert!(finished && report.violations > 0 && report.most_in_flight == 2, "{report:?}");
}
