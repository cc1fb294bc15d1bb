//! Changing inputs so that they stay almost what they were.

/// The longest input.
pub(super) const LONGEST: usize = 64 << 10;

/// What an input looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// JSON: mutated token by token.
    Json,
    /// A text: mutated character by character.
    Text,
    /// Anything: mutated byte by byte.
    Bytes,
}

/// Numbers by chance, the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(self.next().checked_rem(end).unwrap_or(0)).unwrap_or(0)
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len()))
    }
}

/// Values that sources write and values that break parsers.
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

/// Characters that mean something to one of the parsers.
const CHARACTERS: [&str; 40] = [
    "0", "1", "9", "K", "k", "-", "+", ".", ",", ":", "T", "Z", "e", "E", " ", "\t", "\n", "\r", "\0", "/",
    "COT", "L1", "ñ", "é", "\u{0301}", "\u{feff}", "\u{200f}", "٣", "３", "−", "１", "😀", "\"", "\\", "{",
    "}", "[", "]", ";", "=",
];

/// One of `seeds`, changed a little or a lot.
pub(super) fn mutated(seeds: &[Vec<u8>], shape: Shape, random: &mut Random) -> Vec<u8> {
    let mut input = random.of(seeds).cloned().unwrap_or_default();
    let other = random.of(seeds).cloned().unwrap_or_default();
    for _ in 0..=random.below(6) {
        input = match shape {
            Shape::Json if random.below(4) > 0 => by_token(&input, &other, random),
            Shape::Text if random.below(3) > 0 => by_character(&input, &other, random),
            Shape::Json | Shape::Text | Shape::Bytes => by_byte(input, random),
        };
        input.truncate(LONGEST);
    }
    input
}

/// Changes bytes, whatever they mean.
fn by_byte(mut input: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let at = random.below(input.len().max(1));
    match random.below(6) {
        0 => input.truncate(at),
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        2 => input.insert(at.min(input.len()), u8::try_from(random.below(256)).unwrap_or(0)),
        3 => drop(input.drain(at..(at + 1 + random.below(16)).min(input.len()))),
        4 => {
            let copied =
                input.get(at..(at + 1 + random.below(64)).min(input.len())).unwrap_or_default().to_vec();
            input.splice(at.min(input.len())..at.min(input.len()), copied);
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte = *random.of(&[0, 0x80, 0x81, 0xc3, 0xff, b'"', b'\\', b'}']).unwrap_or(&0);
            }
        }
    }
    input
}

/// Changes characters of a short text.
fn by_character(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let text = String::from_utf8_lossy(input);
    let mut characters: Vec<String> = text.chars().map(String::from).collect();
    let at = random.below(characters.len() + 1);
    let character = (*random.of(&CHARACTERS).unwrap_or(&"")).to_owned();
    match random.below(5) {
        0 => characters.insert(at, character),
        1 => {
            if let Some(there) = characters.get_mut(at) {
                *there = character;
            }
        }
        2 => drop(characters.drain(at..(at + 1 + random.below(3)).min(characters.len()))),
        3 => characters.insert(at, character.repeat(1 + random.below(80))),
        _ => {
            let other = String::from_utf8_lossy(other);
            let from = random.below(other.chars().count() + 1);
            characters.splice(at.., other.chars().skip(from).map(String::from));
        }
    }
    characters.concat().into_bytes()
}

/// The places of the tokens of a JSON text: strings, other scalars, single signs.
fn tokens(input: &[u8]) -> Vec<std::ops::Range<usize>> {
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
    let Some(place) = random.of(&places).cloned() else { return input.to_vec() };
    let token = input.get(place.clone()).unwrap_or_default();
    let is_value = !matches!(token.first(), Some(b'{' | b'}' | b'[' | b']' | b',' | b':') | None);
    let replaced = |place: std::ops::Range<usize>, by: &[u8]| {
        let (before, after) = (input.get(..place.start), input.get(place.end..));
        [before.unwrap_or_default(), by, after.unwrap_or_default()].concat()
    };
    match random.below(8) {
        0..=2 if is_value => replaced(place, random.of(&VALUES).unwrap_or(&"").as_bytes()),
        // A number as a text, a text as whatever is in it.
        3 if token.starts_with(b"\"") => {
            replaced(place, token.trim_ascii().get(1..token.len().max(2) - 1).unwrap_or_default())
        }
        3 => replaced(place, &[b"\"", token, b"\""].concat()),
        4 => replaced(place, b""),
        // A part of another body.
        5 => {
            let others = tokens(other);
            let from = random.below(others.len());
            let part = others.get(from..(from + 1 + random.below(12)).min(others.len())).unwrap_or_default();
            let part =
                part.first().zip(part.last()).and_then(|(first, last)| other.get(first.start..last.end));
            replaced(place, part.unwrap_or_default())
        }
        // The same again, or many times.
        6 => {
            let from = places.iter().position(|own| *own == place).unwrap_or(0);
            let end = places.get(from + random.below(30)).map_or(place.end, |last| last.end);
            let part = input.get(place.start..end).unwrap_or_default();
            let times = if random.below(20) == 0 { 2 + random.below(200) } else { 2 };
            replaced(place.start..end, &part.repeat(times))
        }
        _ => {
            let deepest = if random.below(20) == 0 { 20_000 } else { 40 };
            let depth = 1 + random.below(deepest);
            let (open, close) = *random.of(&[("[", "]"), ("{\"a\":", "}"), ("[", "")]).unwrap_or(&("[", "]"));
            replaced(place, &[open.repeat(depth).as_bytes(), token, close.repeat(depth).as_bytes()].concat())
        }
    }
}
