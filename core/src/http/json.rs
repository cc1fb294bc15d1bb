//! How much memory JSON may take, estimated from its bytes before anything is made of it: `[[],[],…]` of one megabyte
//! becomes a hundred.

use memchr::memchr2;

/// How deep a document is nested, and what it becomes in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonLimits {
    /// Levels of lists and objects.
    pub(crate) max_depth: usize,
    /// Estimated bytes of the values.
    pub(crate) max_memory_bytes: usize,
}

/// A value in a list or object: twice a `serde_json::Value`, because a list that grows has to be copied.
const VALUE_BYTES: usize = 144;
/// The table of an object.
const OBJECT_BYTES: usize = 160;
/// The name of a field and its place in the table.
const NAME_BYTES: usize = 96;

impl JsonLimits {
    /// What a hosted API may answer: three million numbers, as the vectors of a large batch have.
    pub(crate) const ANSWER: Self = Self { max_depth: 100, max_memory_bytes: 512 << 20 };
    /// What a caller may send to a server.
    pub(crate) const REQUEST: Self = Self { max_depth: 64, max_memory_bytes: 64 << 20 };

    /// Which limit `json` exceeds, in words. What is no JSON passes here and fails where it is parsed.
    pub(crate) fn exceeded(&self, json: &[u8]) -> Option<String> {
        let (mut depth, mut memory) = (0_usize, json.len());
        let mut at = 0;
        while let Some(byte) = json.get(at) {
            memory += match byte {
                b'"' => {
                    at = end_of_text(json, at + 1);
                    0
                }
                b'{' | b'[' => {
                    depth += 1;
                    if depth > self.max_depth {
                        return Some(format!("is nested deeper than {} levels", self.max_depth));
                    }
                    VALUE_BYTES + if *byte == b'{' { OBJECT_BYTES } else { 0 }
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    0
                }
                b',' => VALUE_BYTES,
                b':' => NAME_BYTES,
                _ => 0,
            };
            if memory > self.max_memory_bytes {
                let most = self.max_memory_bytes >> 20;
                return Some(format!("has so many parts that it would take more than {most} MiB of memory"));
            }
            at += 1;
        }
        None
    }
}

/// Where the text that begins at `at` ends: the position of its closing quote.
fn end_of_text(json: &[u8], mut at: usize) -> usize {
    while let Some(found) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if json.get(at) == Some(&b'"') {
            return at;
        }
        at += 2;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exceeded(json: &str) -> Option<String> {
        JsonLimits { max_depth: 3, max_memory_bytes: 2000 }.exceeded(json.as_bytes())
    }

    #[test]
    fn depth_and_parts_count_and_texts_do_not() {
        assert_eq!(exceeded("[[[1]]]"), None);
        assert!(exceeded("[[[[1]]]]").is_some_and(|why| why.contains("deeper than 3 levels")));
        assert_eq!(exceeded(&format!("[{}]", "[],".repeat(5))), None);
        assert!(exceeded(&format!("[{}[]]", "[],".repeat(50))).is_some_and(|why| why.contains("memory")));
        assert!(exceeded(&format!("[{}1]", "1,".repeat(50))).is_some());
        assert_eq!(exceeded(r#"{"a": "[[[[[[[[,,,,{{{{\"]]]\\"}"#), None);
        assert_eq!(exceeded(&format!("\"{}", "[,".repeat(500))), None);
        assert_eq!(exceeded("]]]]]] \\\" \""), None);
    }

    #[test]
    fn a_large_batch_of_vectors_fits() {
        let batch = "-0.0123456,".repeat(2048 * 1536);
        assert_eq!(JsonLimits::ANSWER.exceeded(format!("[{batch}1]").as_bytes()), None);
        assert!(JsonLimits::ANSWER.exceeded("[],".repeat(20 << 20).as_bytes()).is_some());
    }
}
