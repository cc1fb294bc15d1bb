//! Server-sent events, read as they arrive.

use bytes::{Buf, Bytes, BytesMut};

use super::lines::{FrameTooLarge, Lines};

/// One item of a stream of server-sent events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SseItem {
    /// An event with data.
    Event {
        /// The event's name, if the server gave one.
        event: Option<Bytes>,
        /// The data; several `data` lines are joined by line feeds.
        data: Bytes,
    },
    /// A comment. Servers send them to keep a connection alive; they are not data.
    Comment,
}

/// Reads server-sent events from chunks that may be cut anywhere, even inside a character or a line end.
///
/// It accepts LF, CRLF and CR as line ends, a byte order mark at the start, and fields without a colon or without the
/// space after it. It skips `id`, `retry`, unknown fields, and events without data. An event within one chunk that has one
/// `data` line is a slice of that chunk: nothing is copied.
///
/// The iterator returns `None` when it needs more bytes, and continues after the next [`push`](Self::push). After an error
/// it always returns `None`.
///
/// ```
/// use ayni::http::{SseItem, SseParser};
///
/// let mut parser = SseParser::new(1 << 20);
/// parser.push("data: {\"n\":".into());
/// assert_eq!(parser.next(), None);
/// parser.push("1}\n\n: alive\n".into());
/// let event = SseItem::Event { event: None, data: "{\"n\":1}".into() };
/// assert_eq!(parser.next(), Some(Ok(event)));
/// assert_eq!(parser.next(), Some(Ok(SseItem::Comment)));
/// assert_eq!(parser.next(), None);
/// ```
#[derive(Debug)]
pub struct SseParser {
    lines: Lines<true>,
    event: Option<Bytes>,
    data: Data,
    /// Bytes of the event's lines so far.
    event_bytes: usize,
    at_start: bool,
    ended: bool,
    failed: bool,
}

/// The data of the event so far.
#[derive(Debug)]
enum Data {
    None,
    Line(Bytes),
    Lines(BytesMut),
}

/// The kind of a line, with the position of its value.
enum Field {
    Blank,
    Comment,
    Data(usize),
    Event(usize),
    Other,
}

impl SseParser {
    /// A parser that fails when an event has more than `max_event_bytes`, field names included.
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            lines: Lines::new(max_event_bytes),
            event: None,
            data: Data::None,
            event_bytes: 0,
            at_start: true,
            ended: false,
            failed: false,
        }
    }

    /// Adds the next bytes of the stream.
    pub fn push(&mut self, chunk: Bytes) {
        self.lines.push(chunk);
    }

    /// Says that the stream has ended. The iterator then also returns an event that no blank line has closed, because many
    /// servers omit the last one. Only the reader of its data can tell whether it is complete.
    pub fn finish(&mut self) {
        self.lines.finish();
        self.ended = true;
    }

    #[inline]
    fn take_line(&mut self, mut line: Bytes) -> Option<SseItem> {
        if std::mem::take(&mut self.at_start) && line.starts_with(b"\xEF\xBB\xBF") {
            line.advance(3);
        }
        match field(&line) {
            Field::Blank => return self.close_event(),
            Field::Comment => return Some(SseItem::Comment),
            Field::Data(value_at) => {
                self.event_bytes += line.len();
                line.advance(value_at);
                self.data.append(line);
            }
            Field::Event(value_at) => {
                self.event_bytes += line.len();
                line.advance(value_at);
                self.event = Some(line).filter(|name| !name.is_empty());
            }
            Field::Other => {}
        }
        None
    }

    #[inline]
    fn close_event(&mut self) -> Option<SseItem> {
        self.event_bytes = 0;
        let event = self.event.take();
        let data = match std::mem::replace(&mut self.data, Data::None) {
            Data::None => return None,
            Data::Line(line) => line,
            Data::Lines(lines) => lines.freeze(),
        };
        Some(SseItem::Event { event, data })
    }
}

impl Iterator for SseParser {
    type Item = Result<SseItem, FrameTooLarge>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        loop {
            match self.lines.next(self.event_bytes) {
                Some(Ok(line)) => {
                    if let Some(item) = self.take_line(line) {
                        return Some(Ok(item));
                    }
                }
                Some(Err(error)) => {
                    self.failed = true;
                    return Some(Err(error));
                }
                None if self.ended => return self.close_event().map(Ok),
                None => return None,
            }
        }
    }
}

impl Data {
    #[inline]
    fn append(&mut self, line: Bytes) {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::Line(line),
            Self::Line(first) => Self::append_line(BytesMut::from(first), &line),
            Self::Lines(lines) => Self::append_line(lines, &line),
        };
    }

    fn append_line(mut lines: BytesMut, line: &[u8]) -> Self {
        lines.extend_from_slice(b"\n");
        lines.extend_from_slice(line);
        Self::Lines(lines)
    }
}

#[inline]
fn field(line: &[u8]) -> Field {
    let value_at = |colon: usize| colon + 1 + usize::from(line.get(colon + 1) == Some(&b' '));
    match line {
        [] => Field::Blank,
        [b'd', b'a', b't', b'a', b':', ..] => Field::Data(value_at(4)),
        [b':', ..] => Field::Comment,
        [b'e', b'v', b'e', b'n', b't', b':', ..] => Field::Event(value_at(5)),
        b"data" => Field::Data(4),
        b"event" => Field::Event(5),
        _ => Field::Other,
    }
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
