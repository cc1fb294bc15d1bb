//! Judges `tiny:text` by pairs of texts that it was not trained on, and fails where it is worse than it claims to be:
//! `samples_check JUDGED` (`make samples-check`).
//!
//! JUDGED has pairs of texts: set, both texts, how near they are, and the cosine of all-MiniLM-L6-v2 (for Spanish pairs, of
//! their English twins).
#![allow(clippy::print_stdout, reason = "a program that shows figures")]

use std::collections::BTreeMap;

use ayni::local::LocalEmbedderConfig;
use ayni::{Context, EmbedRequest, Environment, Error, ErrorKind, Result};

/// How much of the correlation of all-MiniLM-L6-v2 is kept, over all sets of pairs in one.
const KEPT: f64 = 0.85;
const ALL_SETS: &str = "all in one";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Some(judged) = std::env::args().nth(1) else {
        return Err(Error::config("usage: samples_check JUDGED"));
    };
    let rows = table(&judged)?;
    let kept = kept(&rows).await?;
    for (set, found) in &kept {
        println!("tiny:text keeps of MiniLM's correlation, {set:<20} {found:.3}");
    }
    match kept.get(ALL_SETS) {
        Some(found) if *found >= KEPT => Ok(()),
        found => Err(Error::new(
            ErrorKind::Unexpected,
            format!(
                "{ALL_SETS}: {} of the correlation are kept; expected {KEPT}",
                found.unwrap_or(&f64::NAN)
            ),
        )),
    }
}

/// The rows of a table of five columns.
fn table(path: &str) -> Result<Vec<[String; 5]>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::config(format!("{path} cannot be read: {error}")))?;
    let row = |line: &str| {
        let cells: Vec<String> = line.split('\t').map(str::to_owned).collect();
        cells.try_into().map_err(|_| Error::config(format!("{path}: expected five columns in {line:?}")))
    };
    text.lines().map(row).collect()
}

/// How much of the teacher's correlation with the truth is kept, of each set and of all in one.
async fn kept(rows: &[[String; 5]]) -> Result<BTreeMap<&str, f64>> {
    let config = LocalEmbedderConfig::new("tiny:text").with_device("cpu");
    let (embedder, cx) = (config.open(&Environment::process())?, Context::new());
    let of = |side: usize| {
        embedder.embed(&cx, EmbedRequest::texts(rows.iter().map(move |row| row[side].as_str())))
    };
    let (ones, others) = (of(1).await?.vectors, of(2).await?.vectors);
    let number =
        |text: &str| text.parse::<f64>().map_err(|_| Error::config(format!("{text:?} is not a number")));
    let mut sets: BTreeMap<&str, [Vec<f64>; 3]> = BTreeMap::new();
    for ([set, _, _, near, teacher], (one, other)) in rows.iter().zip(ones.iter().zip(others.iter())) {
        let found = [number(near)?, f64::from(product(one, other)), number(teacher)?];
        for name in [set.as_str(), ALL_SETS] {
            for (values, value) in sets.entry(name).or_default().iter_mut().zip(found) {
                values.push(value);
            }
        }
    }
    let kept = |[truth, ours, theirs]: [Vec<f64>; 3]| spearman(&ours, &truth) / spearman(&theirs, &truth);
    Ok(sets.into_iter().map(|(set, values)| (set, kept(values))).collect())
}

fn product(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(x, y)| x * y).sum()
}

/// Spearman's correlation: that of the ranks, where equal numbers share one.
fn spearman(one: &[f64], other: &[f64]) -> f64 {
    let (one, other) = (ranks(one), ranks(other));
    let mean = (one.len() as f64 + 1.0) / 2.0;
    let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    sum(&one, &other) / (sum(&one, &one) * sum(&other, &other)).sqrt()
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        below as f64 + (equal as f64 + 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}
