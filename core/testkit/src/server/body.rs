//! The bytes of an answer's body, cut into pieces.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};
use serde_json::Value;

use super::gzip;
use crate::case::{Chunks, EventFrame, Frame, Repeat, Respond};

/// A body, ready to send.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) content_type: Option<&'static str>,
    pub(super) compressed: bool,
    /// Whether the body is sent as HTTP chunks, one for each piece. Otherwise it has a content length.
    pub(super) chunked: bool,
    pub(super) pieces: Vec<Piece>,
}

/// What is written at once, after a pause.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) pause: Duration,
    pub(super) bytes: Vec<u8>,
}

impl Body {
    /// The body that `respond` asks for.
    pub(super) fn new(respond: &Respond) -> Result<Self, String> {
        let mut body = Self::of_kind(respond)?;
        if let Some(chunks) = &respond.chunks {
            body.pieces = cut(&body.whole(), chunks);
            body.chunked = true;
        }
        let pause = Duration::from_millis(respond.chunk_delay_ms);
        body.pieces.iter_mut().skip(1).for_each(|piece| piece.pause += pause);
        Ok(body)
    }

    pub(super) fn length(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes.len()).sum()
    }

    fn whole(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect()
    }

    fn of_kind(respond: &Respond) -> Result<Self, String> {
        let line_end = respond.line_end.as_deref().unwrap_or("\n");
        if let Some(json) = &respond.json {
            return Ok(Self::plain("application/json", json.to_string()));
        }
        if let Some(text) = &respond.text {
            return Ok(Self::plain("text/plain; charset=utf-8", text.clone()));
        }
        if let Some(html) = &respond.html {
            return Ok(Self::plain("text/html; charset=utf-8", html.clone()));
        }
        if let Some(text) = &respond.base64 {
            let bytes = BASE64.decode(text).map_err(|error| format!("the answer's base64: {error}"))?;
            return Ok(Self::plain("application/octet-stream", bytes));
        }
        if let Some(repeat) = &respond.repeat {
            return Ok(Self::plain("text/plain; charset=utf-8", written_out(repeat)));
        }
        if let Some(repeat) = &respond.gzip_repeat {
            let plain = Self::plain("text/plain; charset=utf-8", gzip::compress(repeat));
            return Ok(Self { compressed: true, chunked: true, ..plain });
        }
        if let Some(frames) = &respond.sse {
            return Ok(Self::pieces("text/event-stream", events(frames, line_end)));
        }
        if let Some(lines) = &respond.ndjson {
            let line = |value: &Value| Piece::now(format!("{}{line_end}", as_text(value)));
            return Ok(Self::pieces("application/x-ndjson", lines.iter().map(line).collect()));
        }
        Ok(Self { content_type: None, compressed: false, chunked: false, pieces: Vec::new() })
    }

    fn plain(content_type: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        let pieces = vec![Piece::now(bytes)];
        Self { content_type: Some(content_type), compressed: false, chunked: false, pieces }
    }

    fn pieces(content_type: &'static str, pieces: Vec<Piece>) -> Self {
        Self { content_type: Some(content_type), compressed: false, chunked: true, pieces }
    }
}

impl Piece {
    fn now(bytes: impl Into<Vec<u8>>) -> Self {
        Self { pause: Duration::ZERO, bytes: bytes.into() }
    }
}

fn written_out(repeat: &Repeat) -> String {
    format!("{}{}{}", repeat.prefix, repeat.text.repeat(repeat.count), repeat.suffix)
}

fn events(frames: &[Frame], line_end: &str) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(frames.len());
    let mut pause = Duration::ZERO;
    for frame in frames {
        let text = match frame {
            Frame::Event(event) => event_text(event, line_end),
            Frame::Raw(raw) => raw.raw.clone(),
            Frame::Pause(silence) => {
                pause += Duration::from_millis(silence.pause_ms);
                continue;
            }
        };
        pieces.push(Piece { pause: std::mem::take(&mut pause), bytes: text.into_bytes() });
    }
    if pause > Duration::ZERO {
        // A pause at the end delays the end of the body.
        pieces.push(Piece { pause, bytes: Vec::new() });
    }
    pieces
}

fn event_text(event: &EventFrame, line_end: &str) -> String {
    let mut text = String::new();
    if let Some(name) = &event.event {
        text.push_str(&format!("event: {name}{line_end}"));
    }
    for line in as_text(&event.data).split('\n') {
        text.push_str(&format!("data: {line}{line_end}"));
    }
    text.push_str(line_end);
    text
}

/// A text as it is, anything else as JSON.
fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn cut(bytes: &[u8], chunks: &Chunks) -> Vec<Piece> {
    match chunks {
        Chunks::Every(size) => bytes.chunks((*size).max(1)).map(Piece::now).collect(),
        Chunks::CutAt(offsets) => {
            let mut cuts: Vec<usize> = offsets.iter().copied().filter(|cut| *cut < bytes.len()).collect();
            cuts.sort_unstable();
            cuts.dedup();
            let starts = std::iter::once(0).chain(cuts.iter().copied());
            let ends = cuts.iter().copied().chain(std::iter::once(bytes.len()));
            let pieces = starts.zip(ends).filter_map(|(start, end)| bytes.get(start..end));
            pieces.filter(|piece| !piece.is_empty()).map(Piece::now).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(respond: Value) -> Body {
        let respond: Respond = serde_json::from_value(respond).expect("an answer");
        Body::new(&respond).expect("a body")
    }

    fn texts(body: &Body) -> Vec<String> {
        body.pieces.iter().map(|piece| String::from_utf8_lossy(&piece.bytes).into_owned()).collect()
    }

    #[test]
    fn events_are_framed_with_the_line_end_and_raw_text_is_not_touched() {
        let body = body(json!({
            "line_end": "\r\n",
            "sse": [{"event": "x", "data": {"b": 1, "a": 2}}, {"raw": ": ping\n\n"}, {"data": "two\nlines"}],
        }));
        let expected =
            ["event: x\r\ndata: {\"b\":1,\"a\":2}\r\n\r\n", ": ping\n\n", "data: two\r\ndata: lines\r\n\r\n"];
        assert_eq!(texts(&body), expected);
        assert!(body.chunked);
    }

    #[test]
    fn bodies_are_cut_where_the_case_says() {
        assert_eq!(
            texts(&body(json!({"text": "abcdef", "chunks": {"cut_at": [4, 1, 99]}}))),
            ["a", "bcd", "ef"]
        );
        assert_eq!(texts(&body(json!({"text": "abc", "chunks": {"every": 2}}))), ["ab", "c"]);
    }

    #[test]
    fn pauses_come_before_the_frame_that_follows_them() {
        let body = body(json!({
            "sse": [{"data": "a"}, {"pause_ms": 30}, {"data": "b"}, {"pause_ms": 5}],
            "chunk_delay_ms": 1,
        }));
        let pauses: Vec<_> = body.pieces.iter().map(|piece| piece.pause.as_millis()).collect();
        assert_eq!(pauses, [0, 31, 6]);
    }

    #[test]
    fn a_long_body_is_written_out_between_its_ends() {
        assert_eq!(
            texts(&body(json!({"repeat": {"text": "ab", "count": 3, "prefix": "<", "suffix": ">"}}))),
            ["<ababab>"]
        );
    }
}
