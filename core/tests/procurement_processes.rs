//! Processes that share a ticket and a store: killed at any point, and two at a time.
//!
//! The program runs itself again as the processes that it watches.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "procurement_server/clock.rs"]
mod clock;
#[path = "procurement_processes/marked.rs"]
mod marked;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;

use ayni::Environment;
use ayni::backends::mercado_publico::{MercadoPublico, MercadoPublicoConfig, SyncRequest};
use ayni::procure::store::{Form, RecordKind, RecordQuery, SqliteStore, StoredEvent};
use ayni::procure::{GetRequest, ListRequest, ProcurementClient};
use ayni_testkit::chilecompra::{Behaviour, ChileCompra, WorldSpec};
use clock::{clock_at, context, day, let_sleeps_pass, moment};
use libtest_mimic::{Arguments, Failed, Trial};
use marked::Marked;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

/// Tells this program what to be.
const PART: &str = "AYNI_TEST_PROCUREMENT_PART";
/// Stores that are filled under kills.
const LIVES: u64 = 5;
/// Kills of each before and after the world has gone on.
const KILLS: [u64; 2] = [6, 4];

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
    /// After so many calls of the store it says so.
    mark: u64,
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
    async fn client(&self) -> MercadoPublico {
        let folder = Path::new(&self.folder);
        let mut config = MercadoPublicoConfig::new()
            .with_ticket(self.ticket.as_str())
            .with_server(&self.server)
            .with_min_gap_seconds(0.0)
            .with_lock(self.lock, Some(folder.display().to_string()));
        config.page_size = 50;
        let store = SqliteStore::open(folder.join("store.db")).await.expect("a store");
        let client = config.open(&Environment::empty()).expect("opened");
        client.with_opened_store(Arc::new(Marked::new(store, self.mark))).expect("the only store")
    }

    async fn play(&self) {
        let clock = clock_at(moment(&self.now));
        tokio::spawn(let_sleeps_pass(clock.clone()));
        let (client, cx) = (self.client().await, context(&clock));
        match &self.job {
            Job::Sync(kinds) => {
                for kind in kinds {
                    let request = SyncRequest::new(*kind, day("2026-10-12")).with_max_details(1000);
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

    fn start(&self) -> (Child, BufReader<ChildStdout>) {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .env(PART, serde_json::to_string(self).expect("JSON"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the process starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        (child, output)
    }

    fn run(&self) {
        let (mut child, mut output) = self.start();
        assert_eq!(line(&mut output), "done");
        assert!(child.wait().expect("ended").success());
    }

    /// Kills the process a moment after its mark. Whether it had not finished.
    fn run_and_kill(&self) -> bool {
        let (mut child, mut output) = self.start();
        let first = line(&mut output);
        child.kill().expect("killed");
        child.wait().expect("ended");
        first == marked::HERE && line(&mut output).is_empty()
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).expect("a line or none");
    line.trim().to_owned()
}

struct Bench {
    server: ChileCompra,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(runtime: &Runtime, now: &str) -> Self {
        // So many quick purchases that a day of them is more than one batch of a sync.
        let spec = WorldSpec::new(11).with_records(12, 16, 160).standing_at(moment(now));
        let spec = spec.with_days(day("2026-10-08"), day("2026-10-16"));
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
            mark: u64::MAX,
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
    async fn read_on(&mut self, client: &MercadoPublico) {
        let store = client.store().await.expect("a store");
        let events = store.events(self.position, 1_000_000).await.expect("events");
        for StoredEvent { position, revision, event, .. } in events {
            assert!(position > self.position, "each has its place");
            self.position = position;
            let change = event.change.as_str().to_owned();
            self.told.push((event.kind, event.code, revision, change, event.fingerprint));
        }
    }

    fn sorted(&self) -> Vec<Told> {
        let mut told = self.told.clone();
        told.sort();
        told
    }
}

async fn known(client: &MercadoPublico) -> BTreeMap<(RecordKind, String), Known> {
    let store = client.store().await.expect("a store");
    let mut known = BTreeMap::new();
    for kind in KINDS {
        let query = RecordQuery::new(kind, Form::Row).with_limit(1_000_000);
        for record in store.records(query).await.expect("records") {
            let closes = record.closes.map(|closes| closes.to_string()).unwrap_or_default();
            let day = record.day.map(|day| day.to_string()).unwrap_or_default();
            let value = (record.state, record.open, closes, day, record.revision);
            assert!(known.insert((record.kind, record.code), value).is_none(), "each once");
        }
    }
    known
}

async fn used(client: &MercadoPublico, now: &str) -> u64 {
    client.quota(&context(&clock_at(moment(now)))).await.expect("read").used.into()
}

/// A number below `end`, the same sequence every time.
fn chance(seed: &mut u64, end: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % end
}

const MOMENTS: [&str; 2] = ["2026-10-13T15:00:00", "2026-10-14T20:30:00"];

/// What a store holds once it is up to date, at each of the moments.
type Stand = (BTreeMap<(RecordKind, String), Known>, Vec<Told>);

/// What comes of syncs that nobody interrupts, and how many calls of the store each takes.
fn undisturbed(runtime: &Runtime, bench: &Bench) -> Vec<(Stand, u64)> {
    let mut reader = Reader::default();
    let stand = |now: &&str| {
        bench.server.set_now(moment(now));
        let part = bench.part("whole", Job::Sync(KINDS.to_vec()));
        runtime.block_on(async {
            let (client, cx) = (part.client().await, context(&clock_at(moment(now))));
            for kind in KINDS {
                let request = SyncRequest::new(kind, day("2026-10-12")).with_max_details(1000);
                client.sync(&cx, &request).await.expect("synced");
            }
            reader.read_on(&client).await;
            ((known(&client).await, reader.sorted()), marked::calls())
        })
    };
    let mut before = marked::calls();
    let stands: Vec<(Stand, u64)> = MOMENTS.iter().map(stand).collect();
    let calls = |(stand, calls): (Stand, u64)| (stand, calls - std::mem::replace(&mut before, calls));
    stands.into_iter().map(calls).collect()
}

fn kills(runtime: &Runtime) {
    let bench = Bench::new(runtime, MOMENTS[0]);
    bench.behave(|behaviour| behaviour.latency_ms = 1);
    let undisturbed = undisturbed(runtime, &bench);
    assert!(undisturbed.iter().all(|((known, told), _)| known.len() > 400 && told.len() >= known.len()));
    let (mut seed, mut kills, mut unfinished) = (17, 0, 0);
    for life in 0..LIVES {
        let mut reader = Reader::default();
        for ((now, (stand, calls)), times) in MOMENTS.iter().zip(&undisturbed).zip(KILLS) {
            bench.server.set_now(moment(now));
            bench.server.forget();
            for round in 0..times {
                // Each kind comes first in its turn, so that all of them are hit. Less is left to do each time.
                let mut kinds = KINDS;
                kinds.rotate_left(usize::try_from(round % 3).expect("small"));
                let part = bench.part(&format!("life-{life}"), Job::Sync(kinds.to_vec()));
                let part = Part { mark: chance(&mut seed, *calls / (round + 1)), ..part };
                kills += 1;
                unfinished += u64::from(part.run_and_kill());
                runtime.block_on(async { reader.read_on(&part.client().await).await });
            }
            let part = bench.part(&format!("life-{life}"), Job::Sync(KINDS.to_vec()));
            part.run();
            runtime.block_on(async {
                let client = part.client().await;
                reader.read_on(&client).await;
                assert_eq!(known(&client).await, stand.0, "life {life} at {now}");
                assert_eq!(reader.sorted(), stand.1, "the same events, each once: life {life} at {now}");
                let asked = bench.server.report().spent[&moment(now).date().to_string()];
                let over = used(&client, now).await.checked_sub(asked).expect("never under-counted");
                assert!(over <= times, "{over} counted and not asked: more than one a kill");
            });
        }
    }
    assert_eq!(kills, 50);
    assert!(unfinished > 30, "most kills hit the work: {unfinished}");
}

/// Two processes that read different tenders at the same time; whether they finish, and what the server saw.
fn two_readers(runtime: &Runtime, lock: bool) -> (bool, Bench, Part) {
    let bench = Bench::new(runtime, "2026-10-14T12:00:00");
    let clock = clock_at(bench.server.now());
    let lister = bench.part("lister", Job::Read(Vec::new()));
    let codes: Vec<String> = runtime.block_on(async {
        let request = ListRequest::between(day("2026-10-12"), day("2026-10-14"));
        let listed = lister.client().await.tenders(&context(&clock), request).await.expect("a listing");
        listed.rows.into_iter().map(|row| row.code).take(30).collect()
    });
    assert_eq!(codes.len(), 30);
    bench.behave(|behaviour| {
        behaviour.latency_ms = 8;
        // They are counted, and answered all the same.
        behaviour.one_in_flight = lock;
    });
    bench.server.forget();
    let half = |half: &[String]| Part { lock, ..bench.part("shared", Job::Read(half.to_vec())) };
    let parts: Vec<Part> = codes.chunks(15).map(half).collect();
    let children: Vec<_> = parts.iter().map(Part::start).collect();
    let mut finished = true;
    for (mut child, mut output) in children {
        let done = line(&mut output) == "done";
        finished &= child.wait().expect("ended").success() && done;
    }
    (finished, bench, parts.into_iter().next().expect("two parts"))
}

fn never_meet(runtime: &Runtime) {
    let (finished, bench, part) = two_readers(runtime, true);
    let report = bench.server.report();
    assert_eq!((finished, report.requests), (true, 30));
    assert_eq!((report.violations, report.most_in_flight), (0, 1));
    let counted = runtime.block_on(async { used(&part.client().await, "2026-10-14T12:00:00").await });
    assert_eq!(counted, 30, "by both in one ledger");
}

fn meet(runtime: &Runtime) {
    let (finished, bench, _) = two_readers(runtime, false);
    let report = bench.server.report();
    assert!(finished && report.violations > 0 && report.most_in_flight == 2, "{report:?}");
}
