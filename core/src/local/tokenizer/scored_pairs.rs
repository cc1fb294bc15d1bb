//! SentencePiece's byte pairs: neighbouring pieces join while the vocabulary has the result, the best score first.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

/// A vocabulary of scored pieces.
#[derive(Debug)]
pub(super) struct ScoredPairs {
    pieces: HashMap<Box<str>, (u32, f32)>,
    /// The token of each byte, for characters that are no piece.
    bytes: Vec<Option<u32>>,
    unknown: Option<u32>,
}

/// Two neighbours that may be joined.
#[derive(PartialEq)]
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    /// How long both are together: another length means that one of them has been joined meanwhile.
    length: usize,
}

impl Eq for Pair {}

impl Ord for Pair {
    /// The greatest is joined first: the best score, then the leftmost.
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A run of characters of the text, in a list from left to right. Joined ones have no length.
#[derive(Clone, Copy)]
struct Symbol {
    start: usize,
    length: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

impl ScoredPairs {
    /// A vocabulary of `pieces` by text, with the tokens of single bytes.
    pub(super) fn new(
        pieces: HashMap<Box<str>, (u32, f32)>,
        bytes: Vec<Option<u32>>,
        unknown: Option<u32>,
    ) -> Self {
        Self { pieces, bytes, unknown }
    }

    /// Adds the tokens of a text, whose spaces are already `▁`.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        let mut symbols = symbols(text);
        let mut pairs = BinaryHeap::new();
        for left in 1..symbols.len() {
            self.offer(text, &symbols, left - 1, left, &mut pairs);
        }
        while let Some(pair) = pairs.pop() {
            let (left, right) = (symbols[pair.left], symbols[pair.right]);
            if left.length == 0 || right.length == 0 || left.length + right.length != pair.length {
                continue;
            }
            symbols[pair.left].length = pair.length;
            symbols[pair.left].next = right.next;
            symbols[pair.right].length = 0;
            if let Some(next) = right.next {
                symbols[next].previous = Some(pair.left);
                self.offer(text, &symbols, pair.left, next, &mut pairs);
            }
            if let Some(previous) = left.previous {
                self.offer(text, &symbols, previous, pair.left, &mut pairs);
            }
        }
        let mut was_unknown = false;
        for symbol in symbols.iter().filter(|symbol| symbol.length > 0) {
            let piece = &text[symbol.start..symbol.start + symbol.length];
            was_unknown = self.push(piece, was_unknown, ids);
        }
    }

    fn offer(&self, text: &str, symbols: &[Symbol], left: usize, right: usize, pairs: &mut BinaryHeap<Pair>) {
        let length = symbols[left].length + symbols[right].length;
        let start = symbols[left].start;
        if let Some((_, score)) = self.pieces.get(&text[start..start + length]) {
            pairs.push(Pair { score: *score, left, right, length });
        }
    }

    /// Adds a piece's token, or those of its bytes; says whether it was unknown. Unknown neighbours are one token.
    fn push(&self, piece: &str, was_unknown: bool, ids: &mut Vec<u32>) -> bool {
        if let Some((id, _)) = self.pieces.get(piece) {
            ids.push(*id);
            return false;
        }
        let bytes: Option<Vec<u32>> =
            piece.bytes().map(|byte| self.bytes.get(usize::from(byte)).copied()?).collect();
        match bytes {
            Some(bytes) => {
                ids.extend(bytes);
                false
            }
            None => {
                ids.extend(self.unknown.filter(|_| !was_unknown));
                true
            }
        }
    }
}

/// A text's characters.
fn symbols(text: &str) -> Vec<Symbol> {
    let mut symbols: Vec<Symbol> = text
        .char_indices()
        .enumerate()
        .map(|(at, (start, character))| Symbol {
            start,
            length: character.len_utf8(),
            previous: at.checked_sub(1),
            next: Some(at + 1),
        })
        .collect();
    if let Some(last) = symbols.last_mut() {
        last.next = None;
    }
    symbols
}
