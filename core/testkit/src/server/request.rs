//! Reads requests from a connection.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::case::Host;

/// More than any case sends; a faulty client must not fill the memory.
const MAX_BODY_BYTES: usize = 256 << 20;
const MAX_HEAD_BYTES: usize = 64 << 10;

/// A request that arrived.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// The address it came to.
    pub host: Host,
    /// The method.
    pub method: String,
    /// The path without query, as on the wire.
    pub path: String,
    /// The query's parameters, decoded, in order.
    pub query: Vec<(String, String)>,
    /// The header fields, names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON, if it is.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Method and path on one line.
    pub fn summary(&self) -> String {
        format!("{} {} at {}", self.method, self.path, self.host.as_str())
    }
}

/// A connection, and the bytes that were read beyond the last request.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    host: Host,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, host: Host) -> Self {
        Self { stream, buffer: Vec::new(), host }
    }

    /// Waits for the first byte of a request; false at the connection's end.
    pub(crate) async fn has_more(&mut self) -> io::Result<bool> {
        Ok(!self.buffer.is_empty() || self.fill().await? > 0)
    }

    /// Waits until the client closes the connection.
    pub(super) async fn until_closed(&mut self) {
        while matches!(self.fill().await, Ok(read) if read > 0) {
            self.buffer.clear();
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.buffer).await
    }

    async fn fill_or_fail(&mut self) -> io::Result<()> {
        match self.fill().await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the request broke off")),
            _ => Ok(()),
        }
    }

    /// Reads one whole request.
    pub(crate) async fn read(&mut self) -> io::Result<Received> {
        let head = self.read_until(b"\r\n\r\n", MAX_HEAD_BYTES).await?;
        let mut request = parse_head(&head, self.host).ok_or_else(|| invalid("not an HTTP/1.1 request"))?;
        if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let chunked = request.header("transfer-encoding").is_some_and(|value| value.contains("chunked"));
        request.body = if chunked {
            self.read_chunks().await?
        } else {
            let length = request.header("content-length").map_or(Ok(0), str::parse);
            self.read_exactly(length.map_err(|_| invalid("the content length is not a number"))?).await?
        };
        Ok(request)
    }

    /// Reads up to and including `mark`, and gives what comes before it.
    async fn read_until(&mut self, mark: &[u8], most: usize) -> io::Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            let unseen = self.buffer.get(searched..).unwrap_or_default();
            if let Some(found) = unseen.windows(mark.len()).position(|window| window == mark) {
                let mut taken: Vec<u8> = self.buffer.drain(..searched + found + mark.len()).collect();
                taken.truncate(searched + found);
                return Ok(taken);
            }
            searched = self.buffer.len().saturating_sub(mark.len() - 1);
            if self.buffer.len() > most {
                return Err(invalid("the head is too long"));
            }
            self.fill_or_fail().await?;
        }
    }

    async fn read_exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > MAX_BODY_BYTES {
            return Err(invalid("the body is too long"));
        }
        while self.buffer.len() < length {
            self.fill_or_fail().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.read_until(b"\r\n", MAX_HEAD_BYTES).await?;
            let size = String::from_utf8_lossy(&line);
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| invalid("a chunk has no size"))?;
            if body.len() + size > MAX_BODY_BYTES {
                return Err(invalid("the body is too long"));
            }
            body.extend(self.read_exactly(size).await?);
            self.read_until(b"\r\n", MAX_HEAD_BYTES).await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn parse_head(head: &[u8], host: Host) -> Option<Received> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let mut start = lines.next()?.split(' ');
    let (method, target, version) = (start.next()?, start.next()?, start.next()?);
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return None;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    Some(Received {
        host,
        method: method.to_owned(),
        path: path.to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: lines.map(header).collect::<Option<_>>()?,
        body: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_with_its_query_decoded_and_its_path_as_it_is() {
        let head = b"POST /v1/a%20b?alt=sse&q=a%26b HTTP/1.1\r\nHost: x\r\nX-Foo:  bar ";
        let request = parse_head(head, Host::Main).expect("a request");
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/a%20b"));
        assert_eq!(request.query, [("alt".into(), "sse".into()), ("q".into(), "a&b".into())]);
        assert_eq!(request.header("x-foo"), Some("bar"));
        for head in [&b""[..], b"GET /", b"GET / HTTP/2", b"GET http://x/ HTTP/1.1", b"GET / HTTP/1.1\r\nbad"]
        {
            assert!(parse_head(head, Host::Main).is_none(), "{head:?}");
        }
    }
}
