//! Several processes on one ticket, which know of each other by a PostgreSQL database alone.
//!
//! Each trial plays ChileCompra on loopback and starts this program again as its replicas. The database is the
//! one of `AYNI_POSTGRES_URL`: `scripts/postgres run cargo test …` starts one.

// What a replica cannot do it says to whoever reads the test's output.
#![allow(clippy::print_stderr)]

#[path = "postgres/chile.rs"]
mod chile;
#[path = "postgres/replica.rs"]
mod replica;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use ayni::Context;
use chile::Chile;
use libtest_mimic::{Arguments, Failed, Trial};
use replica::Orders;

fn main() -> ExitCode {
    if let Some(orders) = Orders::given() {
        return replica::run(&orders);
    }
    let trials = vec![
        Trial::test("replicas_have_one_request_in_flight_and_keep_the_gap", || on_the_server(take_turns)),
        Trial::test("replicas_share_one_quota_and_none_of_it_is_lost", || on_the_server(share_the_quota)),
        Trial::test("the_turn_of_a_replica_that_was_killed_is_free_again", || on_the_server(kill_one)),
        Trial::test("replicas_outlive_a_restart_of_the_database", outlive_a_restart),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Runs a trial on the server of the tests.
fn on_the_server(trial: fn(&str) -> Result<(), Failed>) -> Result<(), Failed> {
    let url = std::env::var("AYNI_POSTGRES_URL").map_err(|_| {
        "AYNI_POSTGRES_URL is not set: the feature `postgres` is tested over a real server. \
         Run `scripts/test rust`, or `scripts/postgres run cargo test …`"
    })?;
    trial(&url)
}

/// Starts a replica for each of `orders` and gives them back when all have ended well.
fn run_replicas(orders: impl IntoIterator<Item = Orders>) -> Result<(), Failed> {
    let mut replicas =
        orders.into_iter().map(|orders| orders.start()).collect::<std::io::Result<Vec<Child>>>()?;
    let ends: Vec<_> = replicas.iter_mut().map(Child::wait).collect::<std::io::Result<_>>()?;
    match ends.iter().find(|end| !end.success()) {
        Some(end) => Err(format!("a replica ended with {end}").into()),
        None => Ok(()),
    }
}

fn check(holds: bool, told: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(told().into()) }
}

/// What the ledger says, read by a process that had no part in it.
fn used(orders: &Orders) -> Result<u32, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let quota = runtime.block_on(async { orders.client()?.quota(&Context::new()).await })?;
    Ok(quota.used)
}

fn take_turns(url: &str) -> Result<(), Failed> {
    let chile = Chile::start(Duration::from_millis(30))?;
    let gap = Duration::from_millis(100);
    let orders = |name| Orders::new(name, &chile, url).with_requests(8).with_gap(gap);
    run_replicas((1..=3).map(orders))?;
    let seen = chile.seen();
    check(seen.len() == 24, || format!("{} requests", seen.len()))?;
    check(chile.most_in_flight() == 1, || format!("{} at once", chile.most_in_flight()))?;
    let gaps = seen.windows(2).map(|pair| pair[1].begun.saturating_duration_since(pair[0].ended));
    let least = gaps.min().unwrap_or_default();
    check(least >= gap - Duration::from_millis(10), || format!("only {least:?} between two requests"))?;
    let alternations = seen.windows(2).filter(|pair| pair[0].who != pair[1].who).count();
    check(alternations >= 8, || format!("one had to wait for the others: {seen:?}"))?;
    let used = used(&orders(0))?;
    check(used == 24, || format!("{used} of 24 were counted"))
}

fn share_the_quota(url: &str) -> Result<(), Failed> {
    let chile = Chile::start(Duration::ZERO)?;
    let orders = |name| Orders::new(name, &chile, url).with_requests(10).with_limit(25);
    run_replicas((1..=4).map(orders))?;
    let (seen, used) = (chile.seen().len(), used(&orders(0))?);
    check((seen, used) == (25, 25), || format!("{seen} requests, {used} counted, 25 allowed, 40 wanted"))
}

fn kill_one(url: &str) -> Result<(), Failed> {
    let chile = Chile::start(Duration::from_secs(3600))?;
    let mut doomed = Orders::new(1, &chile, url).with_requests(1).start()?;
    let patience = Instant::now();
    while chile.begun() == 0 {
        check(patience.elapsed() < Duration::from_secs(30), || "the replica never asked".to_owned())?;
        std::thread::sleep(Duration::from_millis(20));
    }
    doomed.kill()?;
    doomed.wait()?;
    chile.answers_after(Duration::ZERO);
    let begun = Instant::now();
    let next = Orders::new(2, &chile, url).with_requests(2);
    run_replicas([next.clone()])?;
    let waited = begun.elapsed();
    check(waited < Duration::from_secs(25), || format!("waited for {waited:?}"))?;
    let used = used(&next)?;
    check(used == 3, || format!("{used} were counted: one of them was in flight when its process died"))
}

/// A database server of this trial alone.
struct Server(tempfile::TempDir);

impl Server {
    fn script(&self, command: &str) -> Result<String, Failed> {
        let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres");
        let output = Command::new(script).arg(command).arg(self.0.path()).output()?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        check(output.status.success(), || format!("scripts/postgres {command}: {told}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.script("stop"));
    }
}

fn outlive_a_restart() -> Result<(), Failed> {
    let server = Server(tempfile::tempdir()?);
    server.script("start")?;
    let url = server.script("url")?;
    let chile = Chile::start(Duration::from_millis(10))?;
    let orders = |name| Orders::new(name, &chile, &url).with_requests(60).with_gap(Duration::from_millis(40));
    let replicas = (1..=2).map(|name| orders(name).start()).collect::<std::io::Result<Vec<Child>>>()?;
    for restarts in 1..=2 {
        let patience = Instant::now();
        while chile.seen().len() < restarts * 20 {
            check(patience.elapsed() < Duration::from_secs(60), || "nothing happens".to_owned())?;
            std::thread::sleep(Duration::from_millis(20));
        }
        // Once in good order, once as a crash.
        if restarts == 1 {
            server.script("restart")?;
        } else {
            server.script("kill")?;
            server.script("start")?;
        }
    }
    for mut replica in replicas {
        let end = replica.wait()?;
        check(end.success(), || format!("a replica ended with {end}"))?;
    }
    let (seen, used) = (chile.seen().len(), used(&orders(0))?);
    check(chile.most_in_flight() == 1, || format!("{} at once", chile.most_in_flight()))?;
    // Each replica may have counted a request in vain whenever its connection broke, and none too few.
    let most = seen + 2 * 2;
    check(seen == 120 && (seen..=most).contains(&(used as usize)), || {
        format!("{seen} requests, {used} counted")
    })
}
