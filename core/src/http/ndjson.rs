//! Newline-delimited JSON, read as it arrives.

use bytes::Bytes;

use super::lines::{FrameTooLarge, Lines};

/// Splits chunks into lines that each hold one JSON value. Blank lines are skipped, and white space around a line (such as
/// the carriage return of a CRLF) is dropped. A line within one chunk is a slice of it.
///
/// The iterator returns `None` when it needs more bytes, and continues after the next [`push`](Self::push). After an error
/// it always returns `None`.
///
/// ```
/// use ayni::http::LineParser;
///
/// let mut parser = LineParser::new(1 << 20);
/// parser.push("{\"n\":1}\r\n\r\n{\"n\"".into());
/// assert_eq!(parser.next(), Some(Ok("{\"n\":1}".into())));
/// assert_eq!(parser.next(), None);
/// parser.push(":2}".into());
/// parser.finish();
/// assert_eq!(parser.next(), Some(Ok("{\"n\":2}".into())));
/// ```
#[derive(Debug)]
pub struct LineParser {
    lines: Lines<false>,
    failed: bool,
}

impl LineParser {
    /// A parser that fails when a line has more than `max_line_bytes`.
    pub fn new(max_line_bytes: usize) -> Self {
        Self { lines: Lines::new(max_line_bytes), failed: false }
    }

    /// Adds the next bytes of the stream.
    pub fn push(&mut self, chunk: Bytes) {
        self.lines.push(chunk);
    }

    /// Says that the stream has ended: the rest after the last line end is a line too.
    pub fn finish(&mut self) {
        self.lines.finish();
    }
}

impl Iterator for LineParser {
    type Item = Result<Bytes, FrameTooLarge>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            match self.lines.next(0)? {
                Ok(line) => {
                    let trimmed = line.trim_ascii();
                    if !trimmed.is_empty() {
                        return Some(Ok(line.slice_ref(trimmed)));
                    }
                }
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(limit: usize, chunks: &[&[u8]]) -> Vec<Result<Bytes, FrameTooLarge>> {
        let mut parser = LineParser::new(limit);
        let mut lines = Vec::new();
        for chunk in chunks {
            parser.push(Bytes::copy_from_slice(chunk));
            lines.extend(parser.by_ref());
        }
        parser.finish();
        lines.extend(parser);
        lines
    }

    #[test]
    fn blank_lines_and_carriage_returns_vanish() {
        let expected = [Ok(Bytes::from("{}")), Ok(Bytes::from("{ \"a\":\r1 }"))];
        assert_eq!(lines(99, &[b"\r\n{}\r\n \n", b"{ \"a\":\r1 }\r", b"\n"]), expected);
    }

    #[test]
    fn the_line_above_the_bound_is_the_last_thing_said() {
        let too_large = Err(FrameTooLarge { limit: 4 });
        assert_eq!(lines(4, &[b"1234\n12345\n1\n"]), [Ok(Bytes::from("1234")), too_large.clone()]);
        assert_eq!(lines(4, &[b"12", b"34", b"5"]), [too_large]);
    }

    #[test]
    fn chunks_may_be_pushed_ahead_of_reading() {
        let mut parser = LineParser::new(99);
        for chunk in ["1", "\n2\n", "3", "\n4"] {
            parser.push(chunk.into());
        }
        parser.finish();
        let read: Vec<Bytes> = parser.map(|line| line.expect("short")).collect();
        assert_eq!(read, ["1", "2", "3", "4"]);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_lines(text in "[a\u{e9} \r\n]{0,60}", cuts in proptest::collection::vec(0usize..90, 0..8)) {
            let bytes = text.as_bytes();
            let chunks = super::super::lines_tests::cut(bytes, &cuts);
            prop_assert_eq!(lines(20, &chunks), lines(20, &[bytes]));
        }
    }
}
