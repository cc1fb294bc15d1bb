//! Mutates inputs so that they stay almost valid.

use std::ops::Range;

use crate::random::Random;

/// The longest input.
pub(super) const MAX_INPUT_BYTES: usize = 64 << 10;

/// What an input looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputKind {
    /// JSON: mostly whole tokens are changed.
    Json,
    /// A text: mostly whole characters are changed.
    Text,
    /// Anything: bytes are changed.
    Bytes,
}

/// JSON values that sources write, and values that break parsers.
const VALUES: [&str; 52] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1",
    "8.0",
    "8.00000000000000000001",
    "1e400",
    "-1e400",
    "1e-400",
    "0e2147483647",
    "1e-2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "99999999999999999999999999999999999999.99",
    "\"\"",
    "\" \"",
    "\"NA\"",
    "\"NULL\"",
    "\"-\"",
    "\"8\"",
    "\" 8 \"",
    "\"8,5\"",
    "\"1.234.567,89\"",
    "\"3,3e+08\"",
    "\"0e2147483647\"",
    "\"NaN\"",
    "\"1900-01-01\"",
    "\"1900-01-03T00:00:00\"",
    "\"2026-04-04T23:30:00\"",
    "\"2026-09-06T00:30:00\"",
    "\"0000-00-00T00:00:00\"",
    "\"9999-12-31T23:59:59.999999999Z\"",
    "\"0001-01-01T00:00:00+23:59\"",
    "\"2026-10-14T12:00:00-99:99\"",
    "\"2026-10-14 09:14\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"\u{feff}\u{202e}ñ\"",
    "\"76.990.011-K\"",
    "\"1509-5-L114\"",
    "\"990301-330-COT26\"",
    "\"UF\"",
    "{}",
    "[]",
    "[null]",
    "[{}]",
    "[[[[[[[[[[[[]]]]]]]]]]]]",
];

/// Characters with a meaning for number, date or code parsers.
const CHARACTERS: [&str; 40] = [
    "0", "1", "9", "K", "k", "-", "+", ".", ",", ":", "T", "Z", "e", "E", " ", "\t", "\n", "\r", "\0", "/",
    "COT", "L1", "ñ", "é", "\u{0301}", "\u{feff}", "\u{200f}", "٣", "３", "−", "１", "😀", "\"", "\\", "{",
    "}", "[", "]", ";", "=",
];

/// One of `seeds`, mutated up to six times.
pub(super) fn mutated(seeds: &[Vec<u8>], kind: InputKind, random: &mut Random) -> Vec<u8> {
    let mut input = random.choose(seeds).cloned().unwrap_or_default();
    let other = random.choose(seeds).cloned().unwrap_or_default();
    for _ in 0..=random.index(6) {
        input = match kind {
            InputKind::Json if random.index(4) > 0 => by_token(&input, &other, random),
            InputKind::Text if random.index(3) > 0 => by_character(&input, &other, random),
            InputKind::Json | InputKind::Text | InputKind::Bytes => by_byte(input, random),
        };
        input.truncate(MAX_INPUT_BYTES);
    }
    input
}

/// Changes bytes without regard to their meaning.
fn by_byte(mut input: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let at = random.index(input.len().max(1));
    match random.index(6) {
        0 => input.truncate(at),
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.index(8);
            }
        }
        2 => input.insert(at.min(input.len()), u8::try_from(random.index(256)).unwrap_or(0)),
        3 => drop(input.drain(at..(at + 1 + random.index(16)).min(input.len()))),
        4 => {
            let copied =
                input.get(at..(at + 1 + random.index(64)).min(input.len())).unwrap_or_default().to_vec();
            input.splice(at.min(input.len())..at.min(input.len()), copied);
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte = *random.choose(&[0, 0x80, 0x81, 0xc3, 0xff, b'"', b'\\', b'}']).unwrap_or(&0);
            }
        }
    }
    input
}

/// Changes characters of a short text.
fn by_character(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let text = String::from_utf8_lossy(input);
    let mut characters: Vec<String> = text.chars().map(String::from).collect();
    let at = random.index(characters.len() + 1);
    let character = (*random.choose(&CHARACTERS).unwrap_or(&"")).to_owned();
    match random.index(5) {
        0 => characters.insert(at, character),
        1 => {
            if let Some(there) = characters.get_mut(at) {
                *there = character;
            }
        }
        2 => drop(characters.drain(at..(at + 1 + random.index(3)).min(characters.len()))),
        3 => characters.insert(at, character.repeat(1 + random.index(80))),
        _ => {
            let other = String::from_utf8_lossy(other);
            let from = random.index(other.chars().count() + 1);
            characters.splice(at.., other.chars().skip(from).map(String::from));
        }
    }
    characters.concat().into_bytes()
}

/// The ranges of the tokens of a JSON text: strings, other scalars, single signs.
fn tokens(input: &[u8]) -> Vec<Range<usize>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(&first) = input.get(at) {
        let rest = input.get(at + 1..).unwrap_or_default();
        let more = match first {
            b' ' | b'\n' | b'\r' | b'\t' => {
                at += 1;
                continue;
            }
            b'"' => {
                let mut escaped = false;
                let end = rest.iter().position(|&byte| {
                    let ends = byte == b'"' && !escaped;
                    escaped = byte == b'\\' && !escaped;
                    ends
                });
                end.map_or(rest.len(), |end| end + 1)
            }
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 0,
            _ => rest.iter().position(|byte| b"{}[],: \n\r\t\"".contains(byte)).unwrap_or(rest.len()),
        };
        found.push(at..at + 1 + more);
        at += 1 + more;
    }
    found
}

/// Changes whole tokens of a JSON text.
fn by_token(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let places = tokens(input);
    let Some(place) = random.choose(&places).cloned() else { return input.to_vec() };
    let token = input.get(place.clone()).unwrap_or_default();
    let is_value = !matches!(token.first(), Some(b'{' | b'}' | b'[' | b']' | b',' | b':') | None);
    let replaced = |place: Range<usize>, by: &[u8]| {
        let (before, after) = (input.get(..place.start), input.get(place.end..));
        [before.unwrap_or_default(), by, after.unwrap_or_default()].concat()
    };
    match random.index(8) {
        0..=2 if is_value => replaced(place, random.choose(&VALUES).unwrap_or(&"").as_bytes()),
        // A string loses its quotes, anything else gets quotes.
        3 if token.starts_with(b"\"") => {
            replaced(place, token.trim_ascii().get(1..token.len().max(2) - 1).unwrap_or_default())
        }
        3 => replaced(place, &[b"\"", token, b"\""].concat()),
        4 => replaced(place, b""),
        // A part of another input.
        5 => {
            let others = tokens(other);
            let from = random.index(others.len());
            let part = others.get(from..(from + 1 + random.index(12)).min(others.len())).unwrap_or_default();
            let part =
                part.first().zip(part.last()).and_then(|(first, last)| other.get(first.start..last.end));
            replaced(place, part.unwrap_or_default())
        }
        // The same part twice, or many times.
        6 => {
            let from = places.iter().position(|own| *own == place).unwrap_or(0);
            let end = places.get(from + random.index(30)).map_or(place.end, |last| last.end);
            let part = input.get(place.start..end).unwrap_or_default();
            let times = if random.index(20) == 0 { 2 + random.index(200) } else { 2 };
            replaced(place.start..end, &part.repeat(times))
        }
        _ => {
            let deepest = if random.index(20) == 0 { 20_000 } else { 40 };
            let depth = 1 + random.index(deepest);
            let (open, close) =
                *random.choose(&[("[", "]"), ("{\"a\":", "}"), ("[", "")]).unwrap_or(&("[", "]"));
            replaced(place, &[open.repeat(depth).as_bytes(), token, close.repeat(depth).as_bytes()].concat())
        }
    }
}
