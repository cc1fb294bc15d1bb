//! Splits chunks of bytes into lines, for server-sent events and newline-delimited JSON.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// A frame of a stream is larger than the reader allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of the stream is larger than {limit} bytes")]
#[non_exhaustive]
pub struct FrameTooLarge {
    /// The most bytes that a frame may have.
    pub limit: usize,
}

/// Lines from chunks. A line within one chunk is a slice of it; only a line that spans chunks is copied.
///
/// With `CR`, a carriage return ends a line too, alone or followed by a line feed.
#[derive(Debug)]
pub(super) struct Lines<const CR: bool> {
    /// The chunk in hand; the bytes before `at` are done.
    chunk: Bytes,
    at: usize,
    /// Chunks that were pushed before `chunk` was read to its end.
    waiting: VecDeque<Bytes>,
    /// The beginning of a line whose end has not arrived yet.
    begun: BytesMut,
    /// Whether the last line ended with a carriage return: a line feed right after it belongs to that end.
    after_carriage_return: bool,
    ended: bool,
    limit: usize,
}

impl<const CR: bool> Lines<CR> {
    /// Lines of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            chunk: Bytes::new(),
            at: 0,
            waiting: VecDeque::new(),
            begun: BytesMut::new(),
            after_carriage_return: false,
            ended: false,
            limit,
        }
    }

    pub(super) fn push(&mut self, chunk: Bytes) {
        if self.at == self.chunk.len() && self.waiting.is_empty() {
            self.chunk = chunk;
            self.at = 0;
        } else {
            self.waiting.push_back(chunk);
        }
    }

    /// Says that no more chunks come: what is left is the last line.
    pub(super) fn finish(&mut self) {
        self.ended = true;
    }

    /// The next line without its end, if it is complete. Together with `counted` bytes before it, it must not exceed the
    /// limit.
    #[inline]
    pub(super) fn next(&mut self, counted: usize) -> Option<Result<Bytes, FrameTooLarge>> {
        loop {
            let Some(unread) = self.chunk.get(self.at..).filter(|unread| !unread.is_empty()) else {
                match self.waiting.pop_front() {
                    Some(chunk) => self.chunk = chunk,
                    None if self.chunk.is_empty() => return self.last_line(),
                    // Frees the chunk's memory.
                    None => self.chunk = Bytes::new(),
                }
                self.at = 0;
                continue;
            };
            if std::mem::take(&mut self.after_carriage_return) && unread.first() == Some(&b'\n') {
                self.at += 1;
                continue;
            }
            let end = if CR { memchr::memchr2(b'\n', b'\r', unread) } else { memchr::memchr(b'\n', unread) };
            let length = end.unwrap_or(unread.len());
            if counted.saturating_add(self.begun.len()).saturating_add(length) > self.limit {
                return Some(Err(FrameTooLarge { limit: self.limit }));
            }
            let start = self.at;
            self.at += length;
            if end.is_none() {
                self.begun.extend_from_slice(unread);
                continue;
            }
            self.after_carriage_return = CR && self.chunk.get(self.at) == Some(&b'\r');
            self.at += 1;
            return Some(Ok(self.line(start, length)));
        }
    }

    #[inline]
    fn line(&mut self, start: usize, length: usize) -> Bytes {
        if self.begun.is_empty() {
            // An empty slice would still count a reference.
            return if length == 0 { Bytes::new() } else { self.chunk.slice(start..start + length) };
        }
        self.begun.extend_from_slice(self.chunk.get(start..start + length).unwrap_or_default());
        self.begun.split().freeze()
    }

    fn last_line(&mut self) -> Option<Result<Bytes, FrameTooLarge>> {
        (self.ended && !self.begun.is_empty()).then(|| Ok(self.begun.split().freeze()))
    }
}
