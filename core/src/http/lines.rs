//! Cuts chunks of bytes into lines: what server-sent events and newline-delimited JSON have in common.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};

/// A frame of a stream is larger than the reader allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameTooLarge {
    /// The most bytes that a frame may have.
    pub limit: usize,
}

impl fmt::Display for FrameTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a frame of the stream is larger than {} bytes", self.limit)
    }
}

impl std::error::Error for FrameTooLarge {}

/// Lines out of chunks. A line that lies in one chunk is a slice of it; only a line that a chunk cut is copied.
///
/// With `CR` a carriage return ends a line too, alone or with the line feed behind it.
#[derive(Debug)]
pub(super) struct Lines<const CR: bool> {
    /// What is read from now; the bytes before `at` are done.
    chunk: Bytes,
    at: usize,
    /// What was pushed before `chunk` was read to its end.
    waiting: VecDeque<Bytes>,
    /// The beginning of a line whose end has not come yet.
    begun: BytesMut,
    /// The last line ended with a carriage return: a line feed right behind it belongs to that end.
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

    /// No more chunks: what is left over is the last line.
    pub(super) fn finish(&mut self) {
        self.ended = true;
    }

    /// The next line without its end, if it is complete. It and `counted` bytes before it must not exceed
    /// the limit together.
    #[inline]
    pub(super) fn next(&mut self, counted: usize) -> Option<Result<Bytes, FrameTooLarge>> {
        loop {
            let Some(unread) = self.chunk.get(self.at..).filter(|unread| !unread.is_empty()) else {
                match self.waiting.pop_front() {
                    Some(chunk) => self.chunk = chunk,
                    None if self.chunk.is_empty() => return self.last_line(),
                    // Sets the memory of the chunk free.
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
