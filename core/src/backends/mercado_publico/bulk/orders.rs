//! Grouping the lines of orders.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use serde::Serialize;

use super::order_lines::OrderLine;
use super::rows::{ReadProgress, Rows};
use crate::error::Result;
use crate::procure::{LineItem, Money, PurchaseOrder, Raw};

/// How many codes of orders are remembered: as many as the largest file so far had.
const MAX_CODES: usize = 1_000_000;
/// How much text the lines of an order may have before it is split.
const MAX_TEXT_BYTES: usize = 4 << 20;

/// An order with consecutive lines of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GroupedOrder {
    /// The order with these lines. `raw` is the JSON array of their rows.
    pub order: PurchaseOrder,
    /// The order's total in pesos, as the source converted it.
    pub total_in_pesos: Option<Money>,
    /// Whether earlier lines of the order were returned before. `None` if there were more orders than are remembered.
    pub continued: Option<bool>,
}

/// Groups consecutive lines of an order, which is how the portal writes them. An order whose lines are not consecutive is
/// returned in parts, and each part after the first says so. After an error there are no more.
#[derive(Debug)]
pub struct Orders {
    rows: Rows<OrderLine>,
    /// The first line of the next order.
    next: Option<OrderLine>,
    seen: SeenCodes,
}

/// The codes of orders so far, as hashes. Two codes collide in one of tens of millions of files.
#[derive(Debug)]
struct SeenCodes {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl SeenCodes {
    /// Adds a code and returns whether it was there; `None` if it is new and there is no room.
    fn insert(&mut self, code: &str) -> Option<bool> {
        let hash = self.hasher.hash_one(code);
        if self.hashes.contains(&hash) {
            return Some(true);
        }
        let is_full = self.hashes.len() >= MAX_CODES;
        if !is_full {
            self.hashes.insert(hash);
        }
        (!is_full).then_some(false)
    }
}

impl Orders {
    /// Groups these lines.
    pub fn new(rows: Rows<OrderLine>) -> Self {
        Self { rows, next: None, seen: SeenCodes { hashes: HashSet::new(), hasher: RandomState::new() } }
    }

    /// How much has been read.
    pub fn progress(&self) -> &ReadProgress {
        self.rows.progress()
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
        let mut text = approximate_bytes(&item);
        let mut raws = vec![order.row.origin.raw.clone()];
        order.items.push(item);
        while let Some(line) = self.rows.next().transpose()? {
            if line.order.row.code != order.row.code || text > MAX_TEXT_BYTES {
                self.next = Some(line);
                break;
            }
            text += approximate_bytes(&line.item) + line.order.row.origin.raw.as_str().len();
            raws.push(line.order.row.origin.raw);
            order.items.push(line.item);
        }
        order.row.origin.raw = Raw::of_parsed(array(&raws));
        let continued = self.seen.insert(&order.row.code);
        Ok(Some(GroupedOrder { order, total_in_pesos, continued }))
    }
}

fn approximate_bytes(item: &LineItem) -> usize {
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
