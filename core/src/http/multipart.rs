//! Multipart form bodies, for the routes that edit images.

use std::hash::{BuildHasher, Hasher, RandomState};

use bytes::{BufMut, Bytes, BytesMut};

/// The fields and files of one form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Multipart {
    parts: Vec<Part>,
}

#[derive(Clone)]
struct Part {
    head: String,
    content: Bytes,
}

impl std::fmt::Debug for Part {
    /// Hides the content, which may be a prompt.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("content_bytes", &self.content.len()).finish_non_exhaustive()
    }
}

impl Multipart {
    /// An empty form.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    pub(crate) fn text(self, name: &str, value: impl Into<String>) -> Self {
        let head = format!("Content-Disposition: form-data; name=\"{}\"\r\n", escaped(name));
        self.part(head, value.into().into())
    }

    /// Adds a file. Several files may have the same name.
    pub(crate) fn file(self, name: &str, file_name: &str, media_type: &str, content: Bytes) -> Self {
        let media_type: String = media_type.chars().filter(|c| !c.is_control()).collect();
        let head = format!(
            "Content-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\nContent-Type: {media_type}\r\n",
            escaped(name),
            escaped(file_name),
        );
        self.part(head, content)
    }

    fn part(mut self, head: String, content: Bytes) -> Self {
        self.parts.push(Part { head, content });
        self
    }

    /// The value of `Content-Type`, and the body.
    pub(crate) fn finish(self) -> (String, Bytes) {
        let boundary = self.boundary();
        let overhead = boundary.len() + 8;
        let size =
            self.parts.iter().map(|part| part.head.len() + part.content.len() + overhead).sum::<usize>();
        let mut body = BytesMut::with_capacity(size + overhead);
        for part in &self.parts {
            for piece in ["--", &boundary, "\r\n", &part.head, "\r\n"] {
                body.put_slice(piece.as_bytes());
            }
            body.put_slice(&part.content);
            body.put_slice(b"\r\n");
        }
        for piece in ["--", &boundary, "--\r\n"] {
            body.put_slice(piece.as_bytes());
        }
        (format!("multipart/form-data; boundary={boundary}"), body.freeze())
    }

    /// A random boundary that no part contains.
    fn boundary(&self) -> String {
        loop {
            let boundary = format!("ayni-{:016x}{:016x}", random(), random());
            let finder = memchr::memmem::Finder::new(boundary.as_bytes());
            if self.parts.iter().all(|part| finder.find(&part.content).is_none()) {
                return boundary;
            }
        }
    }
}

/// A boundary must be unpredictable, not secret, so the seed of the standard library's hash maps is enough.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A name with quotes and line ends escaped as browsers do.
fn escaped(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_files_come_out_as_the_standard_writes_them() {
        let (content_type, body) = Multipart::new()
            .text("prompt", "a cat")
            .file("image[]", "a\"b\r\n.png", "image/png\r\nX-Evil: 1", Bytes::from_static(b"\x89PNG\r\n"))
            .finish();
        let boundary = content_type.strip_prefix("multipart/form-data; boundary=").expect("the boundary");
        let expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na cat\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"image[]\"; filename=\"a%22b%0D%0A.png\"\r\n\
             Content-Type: image/pngX-Evil: 1\r\n\r\n"
        );
        let expected = [expected.as_bytes(), b"\x89PNG\r\n\r\n--", boundary.as_bytes(), b"--\r\n"].concat();
        assert_eq!(body, expected);
    }

    #[test]
    fn boundaries_differ_from_body_to_body() {
        assert_ne!(Multipart::new().finish().0, Multipart::new().finish().0);
    }

    #[test]
    fn debug_does_not_show_the_content() {
        let form = Multipart::new().text("prompt", "CANARY");
        assert!(!format!("{form:?}").contains("CANARY"));
    }
}
