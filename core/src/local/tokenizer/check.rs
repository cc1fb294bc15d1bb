//! A `tokenizer.json`, checked before the `tokenizers` crate sees it. That crate trusts the file: it panics, recurses or
//! multiplies by what is written there, and where panics abort nothing can be caught.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::charsmap;

/// The longest token. The trie of unigrams recurses once a byte. No published vocabulary has a token of 512 bytes.
pub(super) const MAX_TOKEN_BYTES: usize = 1024;

/// The highest id of a token; the crate counts on from it.
const MAX_ID: u64 = 0x7fff_ffff;

/// The longest prefix or suffix of a part of a word.
const MAX_AFFIX_BYTES: usize = 64;

/// The longest word that is split into pieces. Splitting takes the cube of its length.
const MAX_WORD_CHARS: u64 = 1000;

/// By how much all replacements of a normaliser together may lengthen a text.
const MAX_EXPANSION: usize = 256;

/// The most steps of a normaliser and pre-tokeniser together; each goes over the whole text.
const MAX_STEPS: usize = 64;

/// The product of the repetitions in a regular expression, each of which may be a copy of the part that is repeated.
const MAX_REPETITIONS: u64 = 10_000;

/// Checks a file, and gives the highest id of its vocabulary.
///
/// # Errors
/// What is wrong with it, as half a sentence.
pub(super) fn check(json: &[u8]) -> Result<u32, String> {
    let file: File<'_> = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    for token in &file.added_tokens {
        check_token(&token.content.0, 0)?;
    }
    file.model.check()?;
    let mut steps = Steps { count: 0, expansion: 1 };
    steps.check(&file.normalizer)?;
    steps.check(&file.pre_tokenizer)?;
    check_processor(&file.post_processor)?;
    let highest = file.model.vocab.0.iter().map(|(_, id)| *id).max().unwrap_or(0);
    u32::try_from(highest).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(default, borrow)]
    added_tokens: Vec<AddedToken<'a>>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    // Not used here, but read by the crate: what is no JSON would make it panic.
    #[serde(default, rename = "decoder")]
    _decoder: Value,
    #[serde(borrow)]
    model: Model<'a>,
}

#[derive(Deserialize)]
struct AddedToken<'a> {
    #[serde(borrow)]
    content: Text<'a>,
}

/// A text, of the file itself where it is written without escapes.
#[derive(Deserialize, PartialEq, Eq, Hash)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Model<'a> {
    #[serde(borrow)]
    continuing_subword_prefix: Option<Text<'a>>,
    #[serde(borrow)]
    end_of_word_suffix: Option<Text<'a>>,
    max_input_chars_per_word: Option<u64>,
    dropout: Option<f64>,
    #[serde(borrow, default)]
    vocab: Vocabulary<'a>,
    #[serde(borrow, default)]
    merges: Vec<Merge<'a>>,
}

/// The tokens of a vocabulary: with their ids, or with scores, whose order is that of the ids.
#[derive(Default)]
struct Vocabulary<'a>(Vec<(Text<'a>, u64)>);

/// The two parts of a merge; nothing for the line that names the version of the list.
struct Merge<'a>(Option<[Cow<'a, str>; 2]>);

fn check_token(token: &str, id: u64) -> Result<(), String> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(format!("a token has {} bytes; at most {MAX_TOKEN_BYTES} are supported", token.len()));
    }
    if id > MAX_ID {
        return Err(format!("a token has the id {id}; at most {MAX_ID} is supported"));
    }
    Ok(())
}

impl Model<'_> {
    fn check(&self) -> Result<(), String> {
        let affixes = [
            ("continuing_subword_prefix", &self.continuing_subword_prefix),
            ("end_of_word_suffix", &self.end_of_word_suffix),
        ];
        for (name, affix) in affixes {
            if affix.as_ref().is_some_and(|affix| affix.0.len() > MAX_AFFIX_BYTES) {
                return Err(format!("`{name}` has more than {MAX_AFFIX_BYTES} bytes"));
            }
        }
        if let Some(most) = self.max_input_chars_per_word.filter(|most| *most > MAX_WORD_CHARS) {
            return Err(format!(
                "`max_input_chars_per_word` is {most}; at most {MAX_WORD_CHARS} is supported"
            ));
        }
        if self.dropout.is_some_and(|dropout| dropout != 0.0) {
            return Err("it has a `dropout`, which makes tokens random".to_owned());
        }
        self.vocab.0.iter().try_for_each(|(token, id)| check_token(&token.0, *id))?;
        self.check_merges()
    }

    /// Checks that both parts of each merge, and what they make together, are tokens.
    fn check_merges(&self) -> Result<(), String> {
        if self.merges.is_empty() {
            return Ok(());
        }
        let tokens: HashSet<&str> = self.vocab.0.iter().map(|(token, _)| &*token.0).collect();
        let prefix = self.continuing_subword_prefix.as_ref().map_or(0, |prefix| prefix.0.len());
        let mut joined = String::new();
        for (number, merge) in self.merges.iter().enumerate() {
            let Merge(Some([first, second])) = merge else { continue };
            joined.clear();
            joined.push_str(first);
            let is_known = match second.get(prefix..) {
                Some(rest) => {
                    joined.push_str(rest);
                    [first, second, &*joined].iter().all(|token| tokens.contains(*token))
                }
                None => false,
            };
            if !is_known {
                return Err(format!("merge {number} is of or makes something that is not in the vocabulary"));
            }
        }
        Ok(())
    }
}

/// The steps of a normaliser and pre-tokeniser, however they are nested, in their order.
struct Steps {
    count: usize,
    /// By how much they may lengthen a text.
    expansion: usize,
}

impl Steps {
    fn check(&mut self, step: &Value) -> Result<(), String> {
        let fields = match step {
            Value::Array(steps) => return steps.iter().try_for_each(|step| self.check(step)),
            Value::Object(fields) => fields,
            _ => return Ok(()),
        };
        self.count += 1;
        if self.count > MAX_STEPS {
            return Err(format!("it changes and splits a text in more than {MAX_STEPS} steps"));
        }
        if let Some(map) = fields.get("precompiled_charsmap") {
            let map = map.as_str().ok_or("a character map is not a text")?;
            charsmap::check(map).map_err(|error| error.to_string())?;
        }
        // It is cut into parts of so many characters.
        if fields.get("length").is_some_and(|length| length.as_u64() == Some(0)) {
            return Err("a pre-tokeniser has the `length` 0".to_owned());
        }
        if let Some(pattern) = fields.get("pattern") {
            let shortest = check_pattern(pattern)?;
            let content = fields.get("content").and_then(Value::as_str).unwrap_or_default();
            self.expansion = self.expansion.saturating_mul(growth(shortest, content));
        }
        if let Some(text) = fields.get("prepend").and_then(Value::as_str)
            && text.len() > MAX_AFFIX_BYTES
        {
            return Err(format!("a normaliser prepends more than {MAX_AFFIX_BYTES} bytes"));
        }
        if self.expansion > MAX_EXPANSION {
            return Err(format!("its replacements may make a text {MAX_EXPANSION} times longer, and more"));
        }
        let mut inner = ["normalizers", "pretokenizers"].iter().filter_map(|name| fields.get(*name));
        inner.try_for_each(|steps| self.check(steps))
    }
}

/// By how much a text may grow that is all matches of at least so many bytes.
fn growth(shortest: usize, content: &str) -> usize {
    // A match of nothing leaves what is around it.
    if shortest == 0 { 1 + content.len() } else { content.len().div_ceil(shortest).max(1) }
}

/// The fewest bytes that a pattern matches, as far as that is known.
fn check_pattern(pattern: &Value) -> Result<usize, String> {
    if let Some(text) = pattern.get("String").and_then(Value::as_str) {
        return if text.is_empty() { Err("a pattern is empty".to_owned()) } else { Ok(text.len()) };
    }
    let regex = pattern.get("Regex").and_then(Value::as_str).unwrap_or_default();
    let counts = regex.match_indices('{').filter_map(|(place, _)| {
        // The braces of `\p{L}` and `\x{4e00}` are no repetition.
        let is_name = ["\\p", "\\P", "\\x", "\\u", "\\U"].iter().any(|start| regex[..place].ends_with(start));
        let counts = regex[place + 1..].split_once('}').filter(|_| !is_name)?.0.split(',');
        counts.filter_map(|count| count.trim().parse::<u64>().ok()).max()
    });
    let repetitions = counts.fold(1_u64, |product, count| product.saturating_mul(count.max(1)));
    if repetitions > MAX_REPETITIONS {
        return Err(format!("a regular expression repeats its parts more than {MAX_REPETITIONS} times"));
    }
    Ok(0)
}

/// Checks that a text, and nothing but one text, gets special tokens that exist.
fn check_processor(processor: &Value) -> Result<(), String> {
    let steps = match processor.get("processors").and_then(Value::as_array) {
        Some(steps) => steps.iter().collect(),
        None => vec![processor],
    };
    if steps.iter().any(|step| step.get("processors").is_some()) {
        return Err("its post-processors are nested".to_owned());
    }
    if steps.len() > MAX_STEPS {
        return Err(format!("it has more than {MAX_STEPS} post-processors"));
    }
    // After a template a text is several parts, which no other step takes.
    let adds = |step: &&&Value| step.get("single").is_some() || step.get("cls").is_some();
    if steps.iter().filter(adds).count() > 1 {
        return Err("more than one of its post-processors adds special tokens".to_owned());
    }
    steps.into_iter().filter(|step| step.get("single").is_some()).try_for_each(check_template)
}

fn check_template(template: &Value) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("its template {what}"));
    let Some(single) = template.get("single").and_then(Value::as_array) else {
        return wrong("is not a list of pieces");
    };
    let texts: Vec<&Value> = single.iter().filter_map(|piece| piece.get("Sequence")).collect();
    if texts.len() != 1 || texts[0].get("id").and_then(Value::as_str) != Some("A") {
        return wrong("does not hold one text");
    }
    let special = template.get("special_tokens");
    let is_known = |piece: &Value| {
        let Some(id) = piece.get("SpecialToken").and_then(|token| token.get("id")?.as_str()) else {
            return true;
        };
        let token = special.and_then(|special| special.get(id));
        let length = |name: &str| token.and_then(|token| token.get(name)?.as_array()).map(Vec::len);
        length("ids").is_some() && length("ids") == length("tokens")
    };
    if single.iter().all(is_known) {
        Ok(())
    } else {
        wrong("names a special token that it does not describe")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Vocabulary<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tokens;

        impl<'de> Visitor<'de> for Tokens {
            type Value = Vocabulary<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tokens with their ids, or a list of tokens with their scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut tokens = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    tokens.push(entry);
                }
                Ok(Vocabulary(tokens))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut tokens = Vec::new();
                while let Some((token, _score)) = list.next_element::<(Text<'de>, f64)>()? {
                    let id = tokens.len() as u64;
                    tokens.push((token, id));
                }
                Ok(Vocabulary(tokens))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Vocabulary::default())
            }
        }

        deserializer.deserialize_any(Tokens)
    }
}

/// The parts of a merge that is one line.
fn parts<E: serde::de::Error>(line: &str) -> Result<Option<[&str; 2]>, E> {
    if line.starts_with("#version") {
        return Ok(None);
    }
    let (first, second) = line.split_once(' ').ok_or_else(|| E::custom("a merge of one part"))?;
    Ok(Some([first, second]))
}

impl<'de: 'a, 'a> Deserialize<'de> for Merge<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;

        impl<'de> Visitor<'de> for Parts {
            type Value = Merge<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two tokens, in a list or with a space between them")
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, line: &'de str) -> Result<Self::Value, E> {
                parts(line).map(|parts| Merge(parts.map(|parts| parts.map(Cow::Borrowed))))
            }

            fn visit_str<E: serde::de::Error>(self, line: &str) -> Result<Self::Value, E> {
                let owned = |part: &str| Cow::Owned(part.to_owned());
                parts(line).map(|parts| Merge(parts.map(|parts| parts.map(owned))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let (first, second) = (list.next_element::<Text<'de>>()?, list.next_element::<Text<'de>>()?);
                match (first, second, list.next_element::<serde::de::IgnoredAny>()?) {
                    (Some(first), Some(second), None) => Ok(Merge(Some([first.0, second.0]))),
                    _ => Err(A::Error::custom("a merge that is not of two parts")),
                }
            }
        }

        deserializer.deserialize_any(Parts)
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
