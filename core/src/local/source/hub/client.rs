//! A repository at the Hub: its list of files, what is known of one, and its bytes.

use std::collections::BTreeMap;

use ::http::header::{ACCEPT_ENCODING, RANGE};
use serde::Deserialize;
use url::Url;

use super::cache::is_plain_name;
use super::refusal::{self, HubRequest};
use super::settings::PUBLIC;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::http::body::Body;
use crate::http::client::{ApiClient, Auth, MAX_BODY_BYTES, authority};
use crate::http::exchange::{CONNECT, check_named_url, is_redirect, send};
use crate::http::{
    HeaderMap, HeaderText, HeaderValue, HttpRequest, HttpResponse, Method, StatusCode, header_value,
};
use crate::local::source::weight_files::is_inside;
use crate::secret::Secret;

/// How many redirects of one request are followed.
const MAX_REDIRECTS: usize = 5;

/// A repository at the Hub.
#[derive(Debug)]
pub(super) struct Remote {
    api: ApiClient,
    id: String,
    has_token: bool,
    /// Whether the user configured this Hub. The public one may redirect to public addresses only; a user's own may keep
    /// files anywhere in the user's network.
    is_custom: bool,
}

/// A commit and its files.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    /// The full hash.
    pub(super) commit: String,
    /// What is known of each file.
    pub(super) files: BTreeMap<String, FileEntry>,
}

/// What is known of a file before its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FileEntry {
    /// Its ETag: SHA-256 of large files, git's hash of small ones.
    pub(super) etag: Option<String>,
    /// Its size in bytes.
    pub(super) size: Option<u64>,
}

/// The bytes of a file from some point on.
#[derive(Debug)]
pub(super) struct Download {
    /// The offset of the first byte; zero if the server does not support ranges.
    pub(super) from: u64,
    /// The size of the whole file, where it is said.
    pub(super) size: Option<u64>,
    /// The ETag of the content, if the Hub itself gives one.
    pub(super) etag: Option<String>,
    pub(super) body: Body,
}

/// The Hub's answer about a commit.
#[derive(Deserialize)]
struct Info {
    sha: Option<String>,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    size: Option<u64>,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    sha256: Option<String>,
    size: Option<u64>,
}

/// The response at the end of a chain of redirects, and what the Hub's own responses on the way said about the file.
struct FinalResponse {
    response: HttpResponse,
    entry: FileEntry,
}

impl Remote {
    /// # Errors
    /// `config_invalid` if `endpoint` is no address.
    pub(super) fn new(endpoint: &str, token: Option<&Secret>, id: &str) -> Result<Self> {
        let api = ApiClient::new("hub", endpoint).map_err(|error| {
            Error::config(format!("HF_ENDPOINT is no address of a Hub: {}", error.message()))
        })?;
        let is_custom = api.base().as_str().trim_end_matches('/') != PUBLIC;
        let api = api.with_auth(Auth::bearer(token))?;
        Ok(Self { has_token: api.credential().is_some(), api, id: id.to_owned(), is_custom })
    }

    /// The address of the repository's page.
    fn page(&self) -> String {
        format!("{}/{}", self.api.base().as_str().trim_end_matches('/'), self.id)
    }

    fn request_for<'a>(&'a self, revision: &'a str, file: Option<&'a str>, page: &'a str) -> HubRequest<'a> {
        HubRequest { id: &self.id, revision, file, page, has_token: self.has_token }
    }

    /// The current commit of a revision, and its files.
    ///
    /// # Errors
    /// Those of the transport and of the Hub; `response_invalid` if the server is not a Hub.
    pub(super) async fn list(&self, cx: &Context, revision: &str) -> Result<Listing> {
        let mut url = self.url(&format!("/api/models/{}/revision/{}", self.id, revision.replace('/', "%2F")));
        url.set_query(Some("blobs=true"));
        let answer = self.answer(cx, HttpRequest::new(Method::GET, url)).await?;
        let HttpResponse { status, headers, body, .. } = answer.response;
        let body = Body::new(cx, body, MAX_BODY_BYTES);
        if status != StatusCode::OK {
            return Err(refusal::read(
                status.as_u16(),
                &headers,
                body,
                &self.request_for(revision, None, &self.page()),
            )
            .await);
        }
        let bytes = body.read_all().await?;
        let info: Info = serde_json::from_slice(&bytes).map_err(|error| {
            self.not_a_hub("its list of the model's files is not JSON of the expected shape")
                .with_source(error)
        })?;
        self.read_listing(info)
    }

    fn read_listing(&self, info: Info) -> Result<Listing> {
        let commit = info.sha.filter(|commit| is_plain_name(commit));
        let commit = commit.ok_or_else(|| self.not_a_hub("it does not say which commit the revision is"))?;
        let mut files = BTreeMap::new();
        for Sibling { rfilename, blob_id, size, lfs } in info.siblings {
            if !is_inside(&rfilename) {
                return Err(self.not_a_hub("it lists a file that lies outside of the repository"));
            }
            let (etag, size) = match lfs {
                Some(lfs) => (lfs.sha256, lfs.size.or(size)),
                None => (blob_id, size),
            };
            files.insert(rfilename, FileEntry { etag: etag.filter(|etag| is_plain_name(etag)), size });
        }
        Ok(Listing { commit, files })
    }

    /// What the Hub says about a file. Only for Hubs whose list of files leaves it out.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub(super) async fn look_at(&self, cx: &Context, commit: &str, file: &str) -> Result<FileEntry> {
        let request = HttpRequest::new(Method::HEAD, self.file_url(commit, file));
        let FinalResponse { response, entry } = self.answer(cx, request).await?;
        let HttpResponse { status, headers, body, .. } = response;
        if !status.is_success() && !status.is_redirection() {
            let body = Body::new(cx, body, MAX_BODY_BYTES);
            let page = self.page();
            return Err(refusal::read(
                status.as_u16(),
                &headers,
                body,
                &self.request_for(commit, Some(file), &page),
            )
            .await);
        }
        match entry.etag {
            Some(_) => Ok(entry),
            None => Err(self.not_a_hub(&format!("it gives no ETag for {file}"))),
        }
    }

    /// The bytes of a file from offset `from` on.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub(super) async fn open(&self, cx: &Context, commit: &str, file: &str, from: u64) -> Result<Download> {
        let mut request = HttpRequest::new(Method::GET, self.file_url(commit, file));
        if from > 0 {
            request.headers.insert(RANGE, header_value("Range", &format!("bytes={from}-"))?);
        }
        let FinalResponse { response, entry } = self.answer(cx, request).await?;
        let HttpResponse { status, headers, body, .. } = response;
        let (from, size) = match (status.as_u16(), content_range(&headers)) {
            (206, Some((begin, size))) if begin == from => (from, size),
            (206, _) => {
                return Err(self.not_a_hub(&format!("it sent another part of {file} than was asked for")));
            }
            (200, _) => (0, content_length(&headers)),
            _ => {
                let body = Body::new(cx, body, MAX_BODY_BYTES);
                let page = self.page();
                return Err(refusal::read(
                    status.as_u16(),
                    &headers,
                    body,
                    &self.request_for(commit, Some(file), &page),
                )
                .await);
            }
        };
        Ok(Download { from, size, etag: entry.etag, body: Body::new(cx, body, usize::MAX) })
    }

    /// Sends a request and follows its redirects. Those of a HEAD are followed on the Hub's own origin only; the store behind
    /// it is not asked.
    async fn answer(&self, cx: &Context, mut request: HttpRequest) -> Result<FinalResponse> {
        // Offsets count the file's bytes, not those of some compression.
        request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut entry = FileEntry::default();
        for _ in 0..=MAX_REDIRECTS {
            let url = request.url.clone();
            let is_own = self.api.is_own_origin(&url);
            let response = cx.guard(self.send(cx, request.clone())).await?;
            let redirects = is_redirect(&response);
            if is_own {
                read_facts(&response.headers, redirects, &request.method, &mut entry);
            }
            let target = response.headers.text("location").and_then(|location| url.join(location).ok());
            match target.filter(|_| redirects) {
                None => return Ok(FinalResponse { response, entry }),
                Some(target) => {
                    let leaves = !self.api.is_own_origin(&target);
                    if leaves && request.method == Method::HEAD {
                        return Ok(FinalResponse { response, entry });
                    }
                    if leaves {
                        self.check_target(&target)?;
                    }
                    request.url = target;
                }
            }
        }
        Err(self.not_a_hub(&format!("it redirects more than {MAX_REDIRECTS} times")))
    }

    /// Sends one request, with the token if it goes to the Hub's own origin.
    async fn send(&self, cx: &Context, mut request: HttpRequest) -> Result<HttpResponse> {
        if self.api.is_own_origin(&request.url) {
            self.api.add_own(&mut request)?;
        }
        request.connect_timeout = cx.phase_timeouts().connect.unwrap_or(CONNECT);
        send(cx, request).await
    }

    fn check_target(&self, target: &Url) -> Result<()> {
        let downgrades = self.api.base().scheme() == "https" && target.scheme() != "https";
        if downgrades || !matches!(target.scheme(), "http" | "https") {
            return Err(self.not_a_hub("it redirects from https to something else; not followed"));
        }
        if self.is_custom { Ok(()) } else { check_named_url(self.api.base(), target) }
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.api.base().clone();
        url.set_path(&format!("{}{path}", self.api.base().path().trim_end_matches('/')));
        url
    }

    fn file_url(&self, commit: &str, file: &str) -> Url {
        self.url(&format!("/{}/resolve/{commit}/{}", self.id, file.replace('%', "%25")))
    }

    /// The error of a server that is not a Hub.
    fn not_a_hub(&self, what: &str) -> Error {
        let host = authority(self.api.base());
        Error::response_invalid(format!("{host} does not answer as a Hub: {what}; is HF_ENDPOINT right?"))
    }
}

/// Takes what an answer of the Hub says of a file.
fn read_facts(headers: &HeaderMap, redirects: bool, method: &Method, entry: &mut FileEntry) {
    let own = |name: &str| headers.text(name).filter(|_| !redirects);
    let etag = headers.text("x-linked-etag").or_else(|| own("etag")).map(normalised).map(str::to_owned);
    if let Some(etag) = etag.filter(|etag| is_plain_name(etag)) {
        entry.etag = Some(etag);
    }
    let length = own("content-length").filter(|_| *method == Method::HEAD);
    let size = headers.text("x-linked-size").or(length).and_then(|size| size.trim().parse().ok());
    entry.size = size.or(entry.size);
}

/// An ETag without quotes and without the mark of a weak one.
fn normalised(etag: &str) -> &str {
    etag.trim().trim_start_matches("W/").trim_matches('"')
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.text("content-length")?.trim().parse().ok()
}

/// Where a part begins and how large the whole is: `bytes 100-199/200`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let (range, size) = headers.text("content-range")?.trim().strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.trim().parse().ok()?, size.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::header_map as headers;

    #[test]
    fn the_content_is_named_by_the_linked_etag_else_by_the_own_one() {
        let read = |pairs: &[(&str, &str)], redirects| {
            let mut entry = FileEntry::default();
            read_facts(&headers(pairs), redirects, &Method::HEAD, &mut entry);
            (entry.etag, entry.size)
        };
        let both = [("X-Linked-Etag", "\"big\""), ("X-Linked-Size", "7"), ("ETag", "\"own\"")];
        assert_eq!(read(&both, true), (Some("big".to_owned()), Some(7)));
        let weak = [("ETag", "W/\"own\""), ("Content-Length", "3")];
        assert_eq!(read(&weak, false), (Some("own".to_owned()), Some(3)));
        assert_eq!(read(&weak, true), (None, None), "a redirect's own facts are not the file's");
        assert_eq!(read(&[("ETag", "\"../../x\"")], false), (None, None), "no etag leads out of the cache");
    }

    #[test]
    fn parts_say_where_they_begin() {
        let range = |value: &str| content_range(&headers(&[("Content-Range", value)]));
        assert_eq!(range("bytes 100-199/200"), Some((100, Some(200))));
        assert_eq!(range("bytes 100-199/*"), Some((100, None)));
        assert_eq!(range("bytes */200"), None);
    }

    #[test]
    fn the_public_hub_leads_to_public_places_only_and_a_chosen_one_into_its_network() {
        let url = |text: &str| Url::parse(text).unwrap();
        let public = Remote::new(PUBLIC, None, "org/name").unwrap();
        assert!(public.check_target(&url("https://cdn.example.test/a")).is_ok());
        for target in ["http://cdn.example.test/a", "https://10.0.0.8/a", "file:///etc/passwd"] {
            assert!(public.check_target(&url(target)).is_err(), "{target}");
        }
        let chosen = Remote::new("https://hub.example.test", None, "org/name").unwrap();
        assert!(chosen.check_target(&url("https://10.0.0.8/a")).is_ok());
        assert!(chosen.check_target(&url("http://10.0.0.8/a")).is_err());
        assert!(Remote::new("not an address", None, "org/name").is_err());
    }
}
