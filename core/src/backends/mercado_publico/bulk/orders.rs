//! Orders out of their lines.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use serde::Serialize;

use super::order_lines::OrderLine;
use super::rows::{Place, Rows};
use crate::error::Result;
use crate::procure::{LineItem, Money, PurchaseOrder, Raw};

/// How many codes are remembered to tell whether an order comes again: as many as the most that a file has had.
const MOST_CODES: usize = 1_000_000;
/// How much text the lines of one order may have before it is given in parts.
const MOST_TEXT: usize = 4 << 20;

/// An order and those of its lines that stand together.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GroupedOrder {
    /// The order with its lines. `raw` is the array of their rows.
    pub order: PurchaseOrder,
    /// The order's total in pesos, as the source converts it.
    pub total_in_pesos: Option<Money>,
    /// Whether lines of it came before: then these are the others. `None` if more orders came than are
    /// remembered.
    pub continued: Option<bool>,
}

/// Puts the lines of an order together that follow one another, which is how the portal writes them. An order
/// whose lines stand apart is given in parts, and each part but the first says so. After an error there are no
/// more.
#[derive(Debug)]
pub struct Orders {
    rows: Rows<OrderLine>,
    /// The first line of the next order.
    next: Option<OrderLine>,
    known: Codes,
}

/// The codes of orders, in a few bytes each. Two of a file's codes have one hash in one of tens of millions of files.
#[derive(Debug)]
struct Codes {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl Codes {
    /// Whether the code came before.
    fn came(&mut self, code: &str) -> Option<bool> {
        let hash = self.hasher.hash_one(code);
        if self.hashes.contains(&hash) {
            return Some(true);
        }
        let is_full = self.hashes.len() >= MOST_CODES;
        if !is_full {
            self.hashes.insert(hash);
        }
        (!is_full).then_some(false)
    }
}

impl Orders {
    /// The orders of these lines.
    pub fn new(rows: Rows<OrderLine>) -> Self {
        Self { rows, next: None, known: Codes { hashes: HashSet::new(), hasher: RandomState::new() } }
    }

    /// How far the reading has come.
    pub fn place(&self) -> &Place {
        self.rows.place()
    }

    fn read(&mut self) -> Result<Option<GroupedOrder>> {
        let first = match self.next.take() {
            Some(line) => line,
            None => match self.rows.next().transpose()? {
                Some(line) => line,
                None => return Ok(None),
            },
        };
        let OrderLine { mut order, total_in_pesos, item, .. } = first;
        let mut text = length(&item);
        let mut raws = vec![order.row.origin.raw.clone()];
        order.items.push(item);
        while let Some(line) = self.rows.next().transpose()? {
            if line.order.row.code != order.row.code || text > MOST_TEXT {
                self.next = Some(line);
                break;
            }
            text += length(&line.item) + line.order.row.origin.raw.as_str().len();
            raws.push(line.order.row.origin.raw);
            order.items.push(line.item);
        }
        order.row.origin.raw = Raw::of_parsed(array(&raws));
        let continued = self.known.came(&order.row.code);
        Ok(Some(GroupedOrder { order, total_in_pesos, continued }))
    }
}

/// Roughly how much memory a line takes.
fn length(item: &LineItem) -> usize {
    let texts = [&item.description, &item.supplier_description, &item.category, &item.unit];
    size_of::<LineItem>() + item.name.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
}

fn array(raws: &[Raw]) -> Bytes {
    if raws.iter().all(Raw::is_empty) {
        return Bytes::new();
    }
    let mut text = Vec::with_capacity(raws.iter().map(|raw| raw.as_bytes().len() + 1).sum::<usize>() + 1);
    for (index, raw) in raws.iter().enumerate() {
        text.push(if index == 0 { b'[' } else { b',' });
        text.extend_from_slice(raw.as_bytes());
    }
    text.push(b']');
    text.into()
}

impl Iterator for Orders {
    type Item = Result<GroupedOrder>;

    fn next(&mut self) -> Option<Result<GroupedOrder>> {
        self.read().transpose()
    }
}
