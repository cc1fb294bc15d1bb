//! Judges the sample models by what they were not trained on, and fails where they are worse than they claim to be:
//! `samples_check DRAWINGS JUDGED`. `make samples-check` renders the drawings first.
//!
//! DRAWINGS is a folder of PNG files with `captions.tsv`: file, what it shows, the caption in English, that in Spanish.
//! JUDGED has pairs of texts: set, both texts, how near they are, and the cosine of all-MiniLM-L6-v2 (for Spanish pairs, of
//! their English twins).
#![allow(clippy::print_stdout, reason = "a program that shows figures")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ayni::local::LocalEmbedderConfig;
use ayni::{AnyEmbedder, Context, EmbedRequest, Environment, Error, ErrorKind, ImageData, Result};

/// The shares of captions whose drawing `tiny:clip` finds first, and among the first five.
const FIRST: f64 = 0.60;
const AMONG_FIVE: f64 = 0.75;

/// How much of the correlation of all-MiniLM-L6-v2 `tiny:text` keeps, over all sets of pairs in one.
const KEPT: f64 = 0.85;
const ALL_SETS: &str = "all in one";

/// How many drawings are embedded at a time.
const PART: usize = 64;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut given = std::env::args().skip(1).map(PathBuf::from);
    let (Some(drawings), Some(judged)) = (given.next(), given.next()) else {
        return Err(Error::config("usage: samples_check DRAWINGS JUDGED"));
    };
    let mut bars = Bars::default();
    for precision in ["f32", "int8"] {
        captions_find_drawings(&drawings, precision, &mut bars).await?;
    }
    let rows = table(&judged)?;
    for (set, found) in kept(&rows).await? {
        let bar = (set == ALL_SETS).then_some(KEPT);
        bars.hold(&format!("tiny:text keeps of MiniLM's correlation, {set}"), found, bar);
    }
    match bars.below {
        0 => Ok(()),
        below => Err(Error::new(ErrorKind::Unexpected, format!("{below} figures are below their bar"))),
    }
}

/// How many figures were below their bars.
#[derive(Default)]
struct Bars {
    below: usize,
}

impl Bars {
    fn hold(&mut self, name: &str, found: f64, bar: Option<f64>) {
        let told = match bar {
            None => String::new(),
            Some(bar) if found >= bar => format!("  (at least {bar:.2})"),
            Some(bar) => {
                self.below += 1;
                format!("  BELOW {bar:.2}")
            }
        };
        println!("{name:<64} {found:.3}{told}");
    }
}

fn open(model: &str, precision: &str) -> Result<AnyEmbedder> {
    LocalEmbedderConfig::new(model).with_device("cpu").with_precision(precision).open(&Environment::process())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::config(format!("{} cannot be read: {error}", path.display()))
}

/// The rows of a table.
fn table<const COLUMNS: usize>(path: &Path) -> Result<Vec<[String; COLUMNS]>> {
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    let row = |line: &str| {
        let cells: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let wrong = |_| Error::config(format!("{}: expected {COLUMNS} columns in {line:?}", path.display()));
        cells.try_into().map_err(wrong)
    };
    text.lines().map(row).collect()
}

async fn captions_find_drawings(folder: &Path, precision: &str, bars: &mut Bars) -> Result<()> {
    let rows: Vec<[String; 4]> = table(&folder.join("captions.tsv"))?;
    let (embedder, cx) = (open("tiny:clip", precision)?, Context::new());
    let image = |[file, ..]: &[String; 4]| {
        let path = folder.join(file);
        ImageData::new(std::fs::read(&path).map_err(|error| unreadable(&path, &error))?)
    };
    let mut images = Vec::new();
    for part in rows.chunks(PART) {
        let part = part.iter().map(image).collect::<Result<Vec<_>>>()?;
        let vectors = embedder.embed(&cx, EmbedRequest::images(part)).await?.vectors;
        images.extend(vectors.iter().map(<[f32]>::to_vec));
    }
    for (language, column) in [("English", 2), ("Spanish", 3)] {
        let captions = rows.iter().map(|row| row[column].as_str());
        let queries = embedder.embed(&cx, EmbedRequest::texts(captions)).await?.vectors;
        let places = queries.iter().zip(&rows).map(|(query, [_, shown, ..])| {
            let mut order: Vec<usize> = (0..images.len()).collect();
            order.sort_by(|one, other| {
                product(query, &images[*other]).total_cmp(&product(query, &images[*one]))
            });
            order.iter().position(|place| rows[*place][1] == *shown)
        });
        let places: Vec<_> = places.collect();
        for (name, among, bar) in [("first", 1, FIRST), ("among five", 5, AMONG_FIVE)] {
            let found = places.iter().filter(|place| place.is_some_and(|place| place < among)).count();
            let share = found as f64 / rows.len() as f64;
            let name = format!("tiny:clip, {precision}, {language}, {} unseen drawings: {name}", rows.len());
            bars.hold(&name, share, Some(bar));
        }
    }
    Ok(())
}

/// How much of the teacher's correlation with the truth is kept, of each set and of all in one.
async fn kept(rows: &[[String; 5]]) -> Result<BTreeMap<&str, f64>> {
    let (embedder, cx) = (open("tiny:text", "f32")?, Context::new());
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
