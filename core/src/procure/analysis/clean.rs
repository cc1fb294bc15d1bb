//! Cleaning texts of strangers for prompts, pages and screens.

/// Removes invisible characters that change how a text is read: control characters, direction marks, zero-width spaces,
/// tags. Line ends and tabs stay if `keep_lines` is set; else they become blanks.
pub(crate) fn visible(text: &str, keep_lines: bool) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' if keep_lines => clean.push(character),
            '\n' | '\t' | '\u{85}' | '\u{2028}' | '\u{2029}' => clean.push(' '),
            c if c.is_control() || is_invisible(c) => {}
            c => clean.push(c),
        }
    }
    clean
}

fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
        | '\u{E0000}'..='\u{E0FFF}' | '\u{F0000}'..)
}

/// The first `max_chars` characters, and the number of characters that were cut off.
pub(crate) fn cut(text: &str, max_chars: usize) -> (String, usize) {
    let length = text.chars().count();
    if length <= max_chars {
        return (text.to_owned(), 0);
    }
    let kept: String = text.chars().take(max_chars).collect();
    (kept, length - max_chars)
}

/// Removes mail addresses, Chilean telephone numbers and these names of persons.
pub(crate) fn without_persons(text: &str, names: &[&str]) -> String {
    let mut clean = text.to_owned();
    for name in names.iter().map(|name| name.trim()).filter(|name| name.chars().count() >= 5) {
        clean = replace_ignoring_case(&clean, name, "[…]");
    }
    let mut words: Vec<String> = Vec::new();
    for word in clean.split(' ') {
        words.push(if is_address(word) { mask_addresses(word) } else { word.to_owned() });
    }
    without_telephones(&words.join(" "))
}

fn is_address(word: &str) -> bool {
    word.contains('@')
}

/// Masks the parts of a word that contain `@`, without line ends and punctuation around them.
fn mask_addresses(word: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '@' | '.' | '_' | '-' | '+' | '%');
    let (mut clean, mut piece) = (String::new(), String::new());
    let flush = |clean: &mut String, piece: &mut String| {
        clean.push_str(if piece.contains('@') { "[…]" } else { piece });
        piece.clear();
    };
    for character in word.chars() {
        if is_part(character) {
            piece.push(character);
        } else {
            flush(&mut clean, &mut piece);
            clean.push(character);
        }
    }
    flush(&mut clean, &mut piece);
    clean
}

/// Removes telephone numbers such as `+56 9 1234 5678`.
fn without_telephones(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("+56") {
        let (before, from) = rest.split_at(at);
        clean.push_str(before);
        let length = from
            .find(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | ' ' | '-' | '(' | ')')))
            .unwrap_or(from.len());
        let (number, behind) = from.split_at(length);
        let digits = number.bytes().filter(u8::is_ascii_digit).count();
        clean.push_str(if digits >= 9 { "[…] " } else { number });
        rest = behind;
    }
    clean.push_str(rest);
    clean
}

/// Replaces every `name` in `text`, ignoring case.
fn replace_ignoring_case(text: &str, name: &str, with: &str) -> String {
    let (chars, wanted): (Vec<char>, Vec<char>) = (text.chars().collect(), name.chars().collect());
    let same = |a: char, b: char| a == b || a.to_lowercase().eq(b.to_lowercase());
    let (mut clean, mut at) = (String::with_capacity(text.len()), 0);
    while let Some(character) = chars.get(at) {
        let here = chars.get(at..at + wanted.len());
        if here.is_some_and(|here| here.iter().zip(&wanted).all(|(a, b)| same(*a, *b))) {
            clean.push_str(with);
            at += wanted.len();
        } else {
            clean.push(*character);
            at += 1;
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_are_not_seen_go() {
        let hidden = "a\u{202E}b\u{200B}c\0d\u{1b}[31me\u{E0041}f\u{7f}";
        assert_eq!(visible(hidden, false), "abcd[31mef");
        assert_eq!(visible("uno\r\ndos\u{2028}tres", false), "uno dos tres");
        assert_eq!(visible("uno\r\ndos", true), "uno\ndos");
        assert_eq!(visible("ñandú € «sí»", false), "ñandú € «sí»");
    }

    #[test]
    fn mail_addresses_telephones_and_known_names_go() {
        let text =
            "Consultas a María Soto (maria.soto@muni.example), fono +56 9 1234 5678, MARÍA SOTO, anexo +56.";
        assert_eq!(
            without_persons(text, &["María Soto", ""]),
            "Consultas a […] ([…]), fono […] , […], anexo +56."
        );
        assert_eq!(without_persons("Entrega en 24 horas", &[]), "Entrega en 24 horas");
    }

    #[test]
    fn what_is_cut_is_counted_in_characters() {
        assert_eq!(cut("ñandú", 5), ("ñandú".to_owned(), 0));
        assert_eq!(cut("ñandú", 2), ("ña".to_owned(), 3));
    }
}
