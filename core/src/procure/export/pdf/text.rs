//! Text in the encoding and with the widths of PDF's standard fonts, which need not be embedded.

use encoding_rs::WINDOWS_1252;
use unicode_normalization::UnicodeNormalization;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Font {
    Regular,
    Bold,
}

const REPLACEMENTS: [(char, &str); 12] = [
    ('≥', ">="),
    ('≤', "<="),
    ('≠', "<>"),
    ('→', "->"),
    ('−', "-"),
    ('‐', "-"),
    ('‑', "-"),
    ('‒', "-"),
    ('′', "'"),
    ('″', "\""),
    ('✓', "v"),
    ('●', "•"),
];

/// Encodes a text: one byte per character, `?` for characters that the fonts lack.
pub(super) fn encoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.nfc() {
        let replacement = REPLACEMENTS.iter().find(|(own, _)| *own == character);
        match (character, replacement) {
            (c, _) if c.is_whitespace() => bytes.push(b' '),
            (c, _) if c.is_control() => bytes.push(b'?'),
            (_, Some((_, text))) => bytes.extend(encoded(text)),
            (c, None) => match WINDOWS_1252.encode(c.encode_utf8(&mut [0; 4])) {
                (_, _, true) => bytes.push(b'?'),
                (encoded, ..) => bytes.extend_from_slice(&encoded),
            },
        }
    }
    bytes
}

pub(super) fn width(bytes: &[u8], font: Font, size: f32) -> f32 {
    let widths = match font {
        Font::Regular => &REGULAR,
        Font::Bold => &BOLD,
    };
    let thousandths: u32 = bytes
        .iter()
        .map(|byte| byte.checked_sub(32).map_or(0, |at| u32::from(widths[usize::from(at)])))
        .sum();
    thousandths as f32 * size / 1000.0
}

/// Breaks a text into lines of at most `most` points. Longer words are split.
pub(super) fn lines(text: &str, font: Font, size: f32, most: f32) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut line: Vec<u8> = Vec::new();
    for word in encoded(text).split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
        let mut wider = line.clone();
        if !wider.is_empty() {
            wider.push(b' ');
        }
        wider.extend_from_slice(word);
        if width(&wider, font, size) <= most {
            line = wider;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for byte in word {
            line.push(*byte);
            if width(&line, font, size) > most && line.len() > 1 {
                line.pop();
                lines.push(std::mem::replace(&mut line, vec![*byte]));
            }
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// The first `most` lines; if there are more, the last one ends with an ellipsis.
pub(super) fn cut(
    mut lines: Vec<Vec<u8>>,
    most: usize,
    font: Font,
    size: f32,
    width_most: f32,
) -> Vec<Vec<u8>> {
    if lines.len() <= most {
        return lines;
    }
    lines.truncate(most);
    let mark = encoded(" […]");
    if let Some(last) = lines.last_mut() {
        while !last.is_empty() && width(last, font, size) + width(&mark, font, size) > width_most {
            last.pop();
        }
        last.extend_from_slice(&mark);
    }
    lines
}

/// The widths of Helvetica from 0x20 on, in thousandths of the font size.
#[rustfmt::skip]
const REGULAR: [u16; 224] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667,
    556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556,
    556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722,
    500, 500, 500, 334, 260, 334, 584, 350, 556, 350, 222, 556, 333, 1000, 556, 556, 333, 1000, 667, 333, 1000, 350,
    611, 350, 350, 222, 222, 333, 333, 350, 556, 1000, 333, 1000, 500, 333, 944, 350, 500, 667, 278, 333, 556, 556,
    556, 556, 260, 556, 333, 737, 370, 556, 584, 333, 737, 333, 400, 584, 333, 333, 333, 556, 537, 278, 333, 333,
    365, 556, 834, 834, 834, 611, 667, 667, 667, 667, 667, 667, 1000, 722, 667, 667, 667, 667, 278, 278, 278, 278,
    722, 722, 778, 778, 778, 778, 778, 584, 778, 722, 722, 722, 722, 667, 667, 611, 556, 556, 556, 556, 556, 556,
    889, 500, 556, 556, 556, 556, 278, 278, 278, 278, 556, 556, 556, 556, 556, 556, 556, 584, 611, 556, 556, 556,
    556, 500, 556, 500,
];

#[rustfmt::skip]
const BOLD: [u16; 224] = [
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 556, 333, 333, 584, 584, 584, 611, 975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722,
    611, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556, 333, 556,
    611, 556, 611, 556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611, 611, 611, 389, 556, 333, 611, 556, 778,
    556, 556, 500, 389, 280, 389, 584, 350, 556, 350, 278, 556, 500, 1000, 556, 556, 333, 1000, 667, 333, 1000, 350,
    611, 350, 350, 278, 278, 500, 500, 350, 556, 1000, 333, 1000, 556, 333, 944, 350, 500, 667, 278, 333, 556, 556,
    556, 556, 280, 556, 333, 737, 370, 556, 584, 333, 737, 333, 400, 584, 333, 333, 333, 611, 556, 278, 333, 333,
    365, 556, 834, 834, 834, 611, 722, 722, 722, 722, 722, 722, 1000, 722, 667, 667, 667, 667, 278, 278, 278, 278,
    722, 722, 778, 778, 778, 778, 778, 584, 778, 722, 722, 722, 722, 667, 667, 611, 556, 556, 556, 556, 556, 556,
    889, 556, 556, 556, 556, 556, 278, 278, 278, 278, 611, 611, 611, 611, 611, 611, 611, 584, 611, 611, 611, 611,
    611, 556, 611, 556,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_and_the_euro_are_in_the_encoding_however_they_come() {
        assert_eq!(encoded("ñÑáé€"), [0xF1, 0xD1, 0xE1, 0xE9, 0x80]);
        assert_eq!(encoded("n\u{303}an\u{303}a e\u{301}"), encoded("ñaña é"));
        assert_eq!(encoded("«x» – “y” ≥ 5\u{A0}°C 日"), b"\xABx\xBB \x96 \x93y\x94 >= 5 \xB0C ?");
    }

    #[test]
    fn lines_are_no_wider_than_they_may_be_and_lose_nothing() {
        let text = "Adquisición de señalética para la vía pública, incluida instalación; wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww";
        for most in [20.0, 60.0, 150.0, 1000.0] {
            let lines = lines(text, Font::Regular, 9.0, most);
            assert!(lines.iter().all(|line| width(line, Font::Regular, 9.0) <= most), "{most}");
            let joined: Vec<u8> = lines.concat().into_iter().filter(|byte| *byte != b' ').collect();
            assert_eq!(joined, encoded(&text.replace(' ', "")), "{most}");
        }
    }

    #[test]
    fn what_is_cut_ends_with_a_mark_and_still_fits() {
        let all = lines(&"palabra ".repeat(50), Font::Bold, 10.0, 100.0);
        let some = cut(all.clone(), 3, Font::Bold, 10.0, 100.0);
        assert!(some.len() == 3 && some[2].ends_with(&encoded("[…]")), "{some:?}");
        assert!(width(&some[2], Font::Bold, 10.0) <= 100.0);
        assert_eq!(cut(all.clone(), 500, Font::Bold, 10.0, 100.0), all);
    }

    #[test]
    fn widths_are_those_of_the_fonts() {
        assert_eq!(width(&encoded("Ñ"), Font::Regular, 1000.0), 722.0);
        assert_eq!(width(&encoded("ñ"), Font::Bold, 1000.0), 611.0);
        assert_eq!(width(&encoded("€1.000,50"), Font::Regular, 1000.0), 556.0 * 7.0 + 278.0 * 2.0);
    }
}
