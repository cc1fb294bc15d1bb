//! Writes an answer byte by byte as the case says.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use super::body::Body;
use super::request::Connection;
use crate::case::{DropPoint, End, Respond};

/// What to do with the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    KeepAlive,
    Close,
}

/// Sends `respond` and ends it as it says.
pub(crate) async fn play(
    connection: &mut Connection,
    respond: &Respond,
    head_only: bool,
) -> io::Result<After> {
    match respond.drop {
        Some(DropPoint::NeverAnswer) => {
            connection.until_closed().await;
            return Ok(After::Close);
        }
        Some(DropPoint::OnAccept | DropPoint::AfterRequest) => return reset(connection),
        None => {}
    }
    let body = Body::new(respond).map_err(io::Error::other)?;
    let framing = Framing::new(respond, &body);
    pause(respond.delay_ms).await;
    connection.stream.write_all(head(respond, &body, framing).as_bytes()).await?;
    if !head_only {
        pause(respond.body_delay_ms).await;
        send(connection, &body, framing).await?;
    }
    match respond.end {
        End::Normal if head_only => Ok(After::KeepAlive),
        End::Normal => match framing {
            Framing::Chunked => {
                connection.stream.write_all(b"0\r\n\r\n").await?;
                Ok(After::KeepAlive)
            }
            Framing::Length(length) if length == body.length() as u64 => Ok(After::KeepAlive),
            Framing::Length(_) => Ok(After::Close),
        },
        End::Disconnect => Ok(After::Close),
        End::Reset => reset(connection),
        End::Hang => {
            connection.until_closed().await;
            Ok(After::Close)
        }
    }
}

/// Closes the connection so that the client sees a reset.
pub(super) fn reset(connection: &Connection) -> io::Result<After> {
    connection.stream.set_zero_linger()?;
    Ok(After::Close)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Chunked,
    Length(u64),
}

impl Framing {
    fn new(respond: &Respond, body: &Body) -> Self {
        match respond.content_length {
            Some(length) => Self::Length(length),
            None if body.chunked || respond.end != End::Normal => Self::Chunked,
            None => Self::Length(body.length() as u64),
        }
    }
}

fn head(respond: &Respond, body: &Body, framing: Framing) -> String {
    let status = respond.status.unwrap_or(200);
    let mut fields: Vec<(&str, String)> = Vec::new();
    fields.extend(body.content_type.map(|content_type| ("content-type", content_type.to_owned())));
    if body.compressed {
        fields.push(("content-encoding", "gzip".to_owned()));
    }
    match framing {
        Framing::Chunked => fields.push(("transfer-encoding", "chunked".to_owned())),
        // RFC 9110: neither 204 nor 304 has a content length.
        Framing::Length(_) if matches!(status, 204 | 304) => {}
        Framing::Length(length) => fields.push(("content-length", length.to_string())),
    }
    for (name, value) in &respond.headers {
        fields.retain(|(usual, _)| !usual.eq_ignore_ascii_case(name));
        match value {
            Value::String(text) => fields.push((name, text.clone())),
            Value::Array(several) => {
                fields.extend(
                    several.iter().filter_map(Value::as_str).map(|text| (name.as_str(), text.to_owned())),
                );
            }
            _ => {}
        }
    }
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "As Scripted",
    }
}

async fn send(connection: &mut Connection, body: &Body, framing: Framing) -> io::Result<()> {
    for piece in &body.pieces {
        if piece.pause > Duration::ZERO {
            tokio::time::sleep(piece.pause).await;
        }
        if piece.bytes.is_empty() {
            continue;
        }
        let written = match framing {
            Framing::Length(_) => connection.stream.write_all(&piece.bytes).await,
            Framing::Chunked => {
                let size = format!("{:x}\r\n", piece.bytes.len());
                let chunk = [size.as_bytes(), &piece.bytes, b"\r\n"].concat();
                connection.stream.write_all(&chunk).await
            }
        };
        written?;
        connection.stream.flush().await?;
    }
    Ok(())
}

async fn pause(milliseconds: u64) {
    if milliseconds > 0 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}
