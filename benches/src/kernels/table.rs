//! The tables of the documentation.

use std::fmt::Write;

use super::measure::{Bench, Row};
use crate::report::median;
use crate::today::today;

/// What stands before the sections of the CPUs.
pub(super) const BEGINNING: &str = "\
# Performance

Written by `cargo run --release -p ayni-benches -- kernels --markdown docs/reference/performance.md`, which replaces the section of the \
CPU that it runs on.

*Of the limit* is the speed divided by what the CPU did in the same seconds in a loop that only multiplies registers (or only reads \
memory): of the instructions of the row's precision and of wider ones, the fastest that the instruction set has. The other columns say \
how many times as fast as candle and as the crate `gemm` (both with AVX-512) the same work was. Medians; where a row stands for several \
sizes, the median and the worst of them.";

/// Everything that was measured on this CPU.
pub(super) fn section(bench: &Bench) -> String {
    let mut page = format!("{}, {}, {} threads.\n", today(), bench.cpu.isa, bench.cpu.pool.threads());
    if !bench.peaks.is_empty() {
        page.push_str("\n| instruction | Gop/s |\n| --- | --- |\n");
        for (name, speed) in &bench.peaks {
            let _ = writeln!(page, "| {name} | {speed:.0} |");
        }
    }
    let mut groups: Vec<&'static str> = Vec::new();
    for row in &bench.rows {
        if !groups.contains(&row.group) {
            groups.push(row.group);
        }
    }
    page.push_str("\n| kernel | sizes | speed | of the limit | worst | target | × candle | × `gemm` |\n");
    page.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for group in &groups {
        let rows: Vec<&Row> = bench.rows.iter().filter(|row| row.group == *group).collect();
        summary(&mut page, group, &rows);
    }
    for group in &groups {
        let rows = bench.rows.iter().filter(|row| row.group == *group);
        let _ = write!(page, "\n### {group}\n\n| size | speed | of the limit | × candle | × `gemm` |\n");
        page.push_str("| --- | --- | --- | --- | --- |\n");
        for row in rows {
            let (candle, gemm) = (times([row], "candle"), times([row], "gemm"));
            let _ = writeln!(
                page,
                "| {} | {:.1} {} | {:.2} | {candle} | {gemm} |",
                row.name, row.speed, row.unit, row.of_limit
            );
        }
    }
    page
}

fn summary(page: &mut String, group: &str, rows: &[&Row]) {
    let Some(first) = rows.first() else { return };
    let of_limit: Vec<f64> = rows.iter().map(|row| row.of_limit).collect();
    let worst = of_limit.iter().copied().fold(f64::INFINITY, f64::min);
    let _ = writeln!(
        page,
        "| {group} | {} | {:.1} {} | {:.2} | {worst:.2} | {} | {} | {} |",
        rows.len(),
        median(rows.iter().map(|row| row.speed).collect()),
        first.unit,
        median(of_limit),
        first.target.words(),
        times(rows.iter().copied(), "candle"),
        times(rows.iter().copied(), "gemm"),
    );
}

/// How many times as fast as one of the others; empty if it was not measured.
fn times<'a>(rows: impl IntoIterator<Item = &'a Row>, name: &str) -> String {
    let all = rows.into_iter().flat_map(|row| &row.times);
    let values: Vec<f64> = all.filter(|(other, _)| *other == name).map(|(_, times)| *times).collect();
    if values.is_empty() { String::new() } else { format!("{:.1}", median(values)) }
}
