//! The page of the documentation.

use std::fmt::Write;

use super::{Large, MEMORY, STORED, Speed};
use crate::report::Target;
use crate::today::{cpu_name, today};

/// Everything that was measured.
pub(super) fn markdown(speeds: &[Speed], large: &[Large]) -> String {
    let mut page = format!(
        "# Procurement performance\n\n\
         Written by `cargo run --release -p ayni-benches --no-default-features --features procurement -- procurement \
         --markdown docs/reference/procurement-performance.md` on {}: {}, one thread.\n\n\
         Each is read into typed records with exact amounts, and each record keeps its own text (`raw`). Lists are \
         the recorded bodies with their rows repeated; monthly files are made up, with the columns, lengths and \
         oddities of real ones. Medians; megabytes of what is read, unpacked.\n\n\
         | what is read | MB/s | records/s | target |\n| --- | --- | --- | --- |\n",
        today(),
        cpu_name(),
    );
    for Speed { what, megabytes, records, target, .. } in speeds {
        let _ = writeln!(page, "| {what} | {megabytes:.0} | {records:.0} | {} |", words(*target, "MB/s"));
    }
    page.push_str(
        "\nA month of order lines on the disk, in a process of its own. An import is the whole way: the answer of the \
         service onto the disk, unpacked, read, and written into SQLite with three indexes, where it becomes visible \
         at once; reading and writing run side by side on two threads. Under `scripts/postgres run` the same goes \
         into a PostgreSQL server of this machine; its memory is not counted.\n\n\
         | what is done | rows | MB | s | rows/s | most memory | targets |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for Large { what, rows, seconds, megabytes, memory } in large {
        let stored = if what.ends_with("SQLite") { words(STORED, "rows/s, ") } else { String::new() };
        let _ = writeln!(
            page,
            "| {what} | {rows:.0} | {megabytes:.0} | {seconds:.1} | {:.0} | {memory:.0} MiB | {stored}{} |",
            rows / seconds,
            words(MEMORY, "MiB"),
        );
    }
    page
}

fn words(target: Target, unit: &str) -> String {
    match target {
        Target::None => String::new(),
        target => format!("{} {unit}", target.words()),
    }
}
