//! Masks credentials in texts that may be shown.

/// The replacement of a credential.
pub(super) const MASK: &str = "***";

/// The prefixes of the known vendors' keys.
const PREFIXES: [&str; 8] = ["hf_", "sk-", "gsk_", "AIza", "r8_", "rpa_", "fw_", "eyJ"];

/// Endings of the names of parameters whose values are credentials.
const NAMES: [&str; 9] =
    ["key", "token", "ticket", "__sign", "secret", "password", "authorization", "signature", "cookie"];

/// This many characters after a prefix are a key even inside a word, such as `\nsk-…` in JSON text.
const MIN_KEY_INSIDE_A_WORD: usize = 16;

/// `text` with everything that looks like a credential, and the query string of every URL, replaced by `***`.
///
/// When in doubt it masks: a word that only looks like a key is lost.
pub(crate) fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(next) = rest.chars().next() {
        let found = secret_at(rest, before);
        let (visible, hidden) = found.unwrap_or((next.len_utf8(), 0));
        let (shown, tail) = rest.split_at_checked(visible).unwrap_or((rest, ""));
        masked.push_str(shown);
        if hidden > 0 {
            masked.push_str(MASK);
        }
        before = tail.get(..hidden).unwrap_or_default().chars().next_back().or(shown.chars().next_back());
        rest = tail.get(hidden..).unwrap_or_default();
    }
    masked
}

/// If `rest` begins with something to mask: how many bytes to show, then how many to hide.
fn secret_at(rest: &str, before: Option<char>) -> Option<(usize, usize)> {
    vendor_key(rest, before).or_else(|| scheme(rest)).or_else(|| parameter(rest)).or_else(|| url(rest))
}

fn vendor_key(rest: &str, before: Option<char>) -> Option<(usize, usize)> {
    let prefix = PREFIXES.iter().find(|prefix| rest.starts_with(**prefix))?;
    let run = run_length(rest.get(prefix.len()..)?, |c| c.is_ascii_alphanumeric() || "_-.*".contains(c));
    let inside_a_word = before.is_some_and(char::is_alphanumeric);
    let needed = if inside_a_word || *prefix == "eyJ" { MIN_KEY_INSIDE_A_WORD } else { 1 };
    (run >= needed).then_some((prefix.len(), run))
}

fn scheme(rest: &str) -> Option<(usize, usize)> {
    const SCHEME: &str = "bearer";
    let after = strip_name(rest, SCHEME)?;
    let gap = run_length(after, |c| c == ' ');
    let run = value_length(after.get(gap..)?);
    (gap > 0 && run > 0).then_some((SCHEME.len() + gap, run))
}

/// `name=value`, `name: value` after a header's name, and `"name": "value"`.
fn parameter(rest: &str) -> Option<(usize, usize)> {
    let name = NAMES.iter().find(|name| strip_name(rest, name).is_some())?;
    let after = rest.get(name.len()..)?;
    let quote = run_length(after, |c| matches!(c, '"' | '\'' | '\\'));
    let after_quote = after.get(quote..)?;
    let gap = run_length(after_quote, |c| c == ' ');
    let sign = after_quote.get(gap..)?.chars().next()?;
    // "Invalid token: expected …" is prose; "authorization: …" and "x-api-key: …" are header fields.
    let assigns = sign == '=' || (sign == ':' && (quote > 0 || *name != "token"));
    let value_at = quote + gap + 1;
    let value = after.get(value_at..).filter(|_| assigns)?;
    let lead = run_length(value, |c| matches!(c, ' ' | '"' | '\'' | '\\'));
    if sign == ':' && quote > 0 && !value.get(..lead)?.contains(['"', '\'']) {
        return None;
    }
    let mut shown = name.len() + value_at + lead;
    for scheme in ["bearer ", "key ", "basic "] {
        if strip_name(rest.get(shown..)?, scheme).is_some() {
            shown += scheme.len();
        }
    }
    let run = value_length(rest.get(shown..)?);
    (run > 0).then_some((shown, run))
}

/// The query string and the credentials of a URL.
fn url(rest: &str) -> Option<(usize, usize)> {
    let scheme = ["https://", "http://", "wss://", "ws://"].into_iter().find(|s| rest.starts_with(s))?;
    let end = run_length(rest, |c| !c.is_whitespace() && !"\"'<>`)]}\\".contains(c));
    let whole = rest.get(..end)?;
    let authority_end = whole.get(scheme.len()..)?.find(['/', '?', '#']).map_or(end, |at| scheme.len() + at);
    if let Some(at) = whole.get(scheme.len()..authority_end)?.rfind('@') {
        return Some((scheme.len(), at));
    }
    let query = whole.find('?')? + 1;
    (end > query).then_some((query, end - query))
}

fn strip_name<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(rest)
}

fn value_length(text: &str) -> usize {
    run_length(text, |c| !c.is_whitespace() && !"\"'&;,<>`()[]{}\\".contains(c))
}

fn run_length(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_of_every_known_vendor_are_masked() {
        for key in ["hf_AbC123", "sk-proj-a_b-c", "gsk_Zz9", "AIzaSyD-x_1", "r8_abc", "rpa_9", "fw_3Z"] {
            let masked = mask(&format!("Incorrect API key provided: {key}, see the docs"));
            assert!(!masked.contains(key) && masked.contains("***, see the docs"), "{masked}");
        }
    }

    #[test]
    fn values_of_named_parameters_are_masked_in_every_spelling() {
        for (text, expected) in [
            ("a?key=abc&b=1", "a?key=***&b=1"),
            ("api_key=abc d", "api_key=*** d"),
            ("TICKET=F8537A18&x", "TICKET=***&x"),
            ("__sign=aaa.bbb;", "__sign=***;"),
            ("token=x", "token=***"),
            (r#"{"access_token": "abc","n":1}"#, r#"{"access_token": "***","n":1}"#),
            (r#"{\"api_key\":\"abc\"}"#, r#"{\"api_key\":\"***\"}"#),
            ("Authorization: Key abc:def", "Authorization: Key ***"),
            ("authorization: Bearer abc", "authorization: Bearer ***"),
            ("sent bearer abc+/=. Done", "sent bearer *** Done"),
            ("x-api-key: abc", "x-api-key: ***"),
        ] {
            assert_eq!(mask(text), expected);
        }
    }

    #[test]
    fn query_strings_and_credentials_of_urls_are_masked() {
        assert_eq!(mask("GET https://h.cl/a?codigo=1&t=2 failed"), "GET https://h.cl/a?*** failed");
        assert_eq!(mask("https://me:pw@h.cl/a"), "https://***@h.cl/a");
        assert_eq!(mask("see https://h.cl/a?"), "see https://h.cl/a?");
    }

    #[test]
    fn prose_stays_as_it_is() {
        for text in
            ["task-force at risk-free desk-top", "Invalid token: expected ':'", "max_tokens: 5", "clé, naïve"]
        {
            assert_eq!(mask(text), text);
        }
    }

    #[test]
    fn a_long_key_right_behind_an_escape_is_masked() {
        assert_eq!(mask(r"\nsk-0123456789abcdef0123"), r"\nsk-***");
    }

    proptest! {
        #[test]
        fn no_key_survives_whatever_stands_around_it(before in "\\PC{0,12}[ \"=:(]", after in "[ \",)]\\PC{0,12}") {
            let masked = mask(&format!("{before}hf_CANARYcanary{after}"));
            prop_assert!(!masked.contains("CANARY"), "{}", masked);
        }

        #[test]
        fn any_text_can_be_masked(text in "\\PC{0,200}") {
            mask(&text);
        }
    }
}
