//! Public procurement: how fast bodies and monthly files are read and stored, and in how much memory.

mod child;
mod lists;
mod table;

use std::io::Read;
use std::path::Path;

use ayni::backends::mercado_publico::bulk::{
    Archive, ArchiveLimits, BulkRow, OrderLine, QuoteLine, ReadOptions, Rows, TenderOffer,
};
use ayni::{Error, ErrorKind};
use ayni_testkit::bulk::{MonthlyFile, ZipWriter, order_lines, quotes, tender_offers};

use crate::Options;
use crate::report::{Report, Target, median, timed};

pub(crate) use child::run as run_child;

/// What a monthly file should be read at, on one core.
const BULK: Target = Target::AtLeast(150.0);
/// What a list should be read at.
const LIST: Target = Target::AtLeast(300.0);
/// The most memory of a process that reads or imports a month.
const MEMORY: Target = Target::AtMost(64.0);
/// How fast lines should be stored.
const STORED: Target = Target::AtLeast(100_000.0);

/// The variable with the address of a PostgreSQL server, as `scripts/postgres run` sets it. Without it, nothing is
/// imported there.
const POSTGRES: &str = "AYNI_POSTGRES_URL";

/// One measured speed.
pub(crate) struct Speed {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) megabytes: f64,
    pub(crate) records: f64,
    pub(crate) target: Target,
}

/// What reading or importing a large month took.
pub(crate) struct Large {
    pub(crate) what: &'static str,
    pub(crate) rows: f64,
    pub(crate) seconds: f64,
    pub(crate) megabytes: f64,
    pub(crate) memory: f64,
}

/// Runs every measurement.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let mut report = Report::default();
    let rounds = if options.quick { 3 } else { 9 };
    let mut speeds = lists::run(rounds)?;
    for speed in &speeds {
        tell(&mut report, speed);
    }
    let bulk = [
        csv::<OrderLine>("bulk_order_lines", "lines of purchase orders, CSV", order_lines(1), rounds)?,
        csv::<TenderOffer>("bulk_tender_offers", "tenders with offers, CSV", tender_offers(1), rounds)?,
        csv::<QuoteLine>("bulk_quotes", "quotes of quick purchases, CSV", quotes(1), rounds)?,
        zipped(rounds)?,
    ];
    for speed in bulk {
        tell(&mut report, &speed);
        speeds.push(speed);
    }
    let large = large(&mut report, if options.quick { 100_000 } else { 1_000_000 })?;
    if let Some(path) = &options.markdown {
        std::fs::write(path, table::markdown(&speeds, &large))
            .map_err(|error| Error::config(format!("could not write {path}")).with_source(error))?;
    }
    Ok(report)
}

fn tell(report: &mut Report, speed: &Speed) {
    report.figure(speed.name, speed.megabytes, "MB/s", speed.target);
    report.figure(&format!("{}_records", speed.name), speed.records, "records/s", Target::None);
}

/// How many megabytes and records a second `read` reads, the median of some rounds.
fn speed(
    (name, what): (&'static str, &'static str),
    (bytes, target): (usize, Target),
    rounds: usize,
    mut read: impl FnMut() -> Result<usize, Error>,
) -> Result<Speed, Error> {
    read()?;
    let (mut megabytes, mut records) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (time, count) = timed(&mut read);
        #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
        {
            megabytes.push(bytes as f64 / 1e6 / time.as_secs_f64());
            records.push(count? as f64 / time.as_secs_f64());
        }
    }
    Ok(Speed { name, what, megabytes: median(megabytes), records: median(records), target })
}

/// A file in memory, into typed rows.
fn csv<T: BulkRow>(
    name: &'static str,
    what: &'static str,
    made: MonthlyFile,
    rounds: usize,
) -> Result<Speed, Error> {
    let file = bytes::Bytes::from(made.with_rows(20_000).csv());
    speed((name, what), (file.len(), BULK), rounds, || {
        let mut rows = Rows::<T>::csv(name, std::io::Cursor::new(file.clone()), ReadOptions::default())?;
        rows.try_fold(0, |count, row| row.map(|_| count + 1))
    })
}

/// The same out of a zip archive in memory, unpacking included.
fn zipped(rounds: usize) -> Result<Speed, Error> {
    let file = order_lines(1).with_rows(20_000).csv();
    let archive = bytes::Bytes::from(ayni_testkit::bulk::zip(&[("2026-6.csv", &file)]));
    let names = ("bulk_order_lines_zip", "lines of purchase orders, out of the zip");
    speed(names, (file.len(), BULK), rounds, || {
        let archive = Archive::of(std::io::Cursor::new(archive.clone()), ArchiveLimits::default())?;
        let mut rows = Rows::<OrderLine>::archive(archive, ReadOptions::default())?;
        rows.try_fold(0, |count, row| row.map(|_| count + 1))
    })
}

/// A month on the disk, read and imported by processes of their own, whose memory tells.
fn large(report: &mut Report, rows: usize) -> Result<Vec<Large>, Error> {
    let disk =
        |error: std::io::Error| Error::new(ErrorKind::Unexpected, "the disk refused").with_source(error);
    let folder = tempfile::tempdir().map_err(disk)?;
    let path = folder.path().join("month.zip");
    make_month(&path, rows).map_err(disk)?;
    let mut large = Vec::new();
    let mut works = vec![
        ("read", "read into typed rows"),
        ("orders", "read and put together as orders"),
        ("import", "imported into SQLite"),
        ("import", "imported again in the place of the first"),
    ];
    if std::env::var_os(POSTGRES).is_some() {
        works.push(("import-postgres", "imported into PostgreSQL"));
        works.push(("import-postgres", "imported into PostgreSQL again"));
    }
    for (work, what) in works {
        let again = if what.contains("again") { "_again" } else { "" };
        let done = child::start(work, &path, &folder.path().join("store.db"), what)?;
        let name = format!("month_{}{again}", work.replace('-', "_"));
        report.figure(&name, done.seconds, "s", Target::None);
        let target = if work == "import" && again.is_empty() { STORED } else { Target::None };
        report.figure(&format!("{name}_rows"), done.rows / done.seconds, "rows/s", target);
        report.figure(&format!("{name}_memory"), done.memory, "MiB", MEMORY);
        large.push(done);
    }
    Ok(large)
}

fn make_month(path: &Path, rows: usize) -> std::io::Result<()> {
    let mut writer = ZipWriter::new(std::fs::File::create(path)?);
    // Two files, as large months have.
    writer.add("2026-6_1.csv", order_lines(11).with_rows(rows / 2).take(u64::MAX))?;
    writer.add("2026-6_2.csv", order_lines(12).with_rows(rows - rows / 2).take(u64::MAX))?;
    writer.finish().map(drop)
}
