//! The requests of a load: a template, and the bytes that it makes.
//!
//! `{n}` is a number that no other request has, `{client}` that of the client, `{round}`
//! that of the round, `{run}` a word that no other drill has. Other braces stand for
//! themselves, so that JSON needs no escapes.

use std::time::Duration;

use bytes::Bytes;

use turnkey_report::Error;

/// A request with counters in its path, headers and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<String>,
    /// A message of gRPC, in its frame, in place of a body.
    grpc: Option<Vec<u8>>,
}

/// Bytes of a body; larger ones would measure the network.
const MAX_BODY: usize = 1 << 20;

/// Header fields of a request.
const MAX_HEADERS: usize = 50;

/// What is put into a template.
pub(super) struct Counters<'a> {
    pub(super) n: u64,
    pub(super) client: usize,
    pub(super) round: usize,
    pub(super) run: &'a str,
}

/// A request as it goes out.
pub(super) struct Wire {
    pub(super) bytes: Vec<u8>,
    /// Bytes of the head, with the empty line.
    pub(super) head: usize,
}

impl Request {
    /// `GET` of a path.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Request::new("GET", path)
    }

    /// `POST` of a body to a path.
    #[must_use]
    pub fn post(path: impl Into<String>, body: impl Into<String>) -> Self {
        Request::new("POST", path).body(body)
    }

    /// Any method, without a body.
    #[must_use]
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Request {
            method: method.into(),
            path: path.into(),
            headers: Vec::new(),
            body: None,
            grpc: None,
        }
    }

    /// A call of gRPC, such as `/package.Service/Method`, with a message that is encoded
    /// already; an empty one is right for many. Needs [`Drill::http2`](crate::Drill::http2).
    #[must_use]
    pub fn grpc(path: impl Into<String>, message: impl AsRef<[u8]>) -> Self {
        let message = message.as_ref();
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        // Not compressed, its length, itself (gRPC over HTTP/2, "Length-Prefixed-Message").
        let frame = [&[0], &length.to_be_bytes()[..], message].concat();
        let mut request = Request::new("POST", path)
            .header("Content-Type", "application/grpc")
            .header("TE", "trailers");
        request.grpc = Some(frame);
        request
    }

    pub(super) fn is_grpc(&self) -> bool {
        self.grpc.is_some()
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body; `Content-Length` is added when it is sent.
    #[must_use]
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The path of `--url`, where none was named.
    pub(super) fn or_path(mut self, path: Option<String>) -> Self {
        if let Some(path) = path.filter(|_| self.path == "/") {
            self.path = path;
        }
        self
    }

    /// # Errors
    /// [`Error::Start`] when it would be no HTTP, or is over a bound.
    pub(super) fn check(&self) -> turnkey_report::Result<()> {
        let refuse = |sentence: String| Err(Error::Start(sentence));
        let is_token = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&b))
        };
        if !is_token(&self.method) {
            return refuse(format!(
                "{:?} is no method; write --method POST",
                self.method
            ));
        }
        if !self.path.starts_with('/') || self.path.bytes().any(|b| b <= b' ' || b > b'~') {
            return refuse(format!(
                "{:?} is no path; it starts with / and has neither spaces nor letters outside ASCII",
                self.path
            ));
        }
        if self.headers.len() > MAX_HEADERS {
            return refuse(format!("at most {MAX_HEADERS} headers can be sent"));
        }
        for (name, value) in &self.headers {
            if !is_token(name) || value.bytes().any(|b| b < b' ' && b != b'\t') {
                return refuse(format!(
                    "\"{name}: {value}\" is no header; write --header 'Name: value'"
                ));
            }
            let ours = [
                "content-length",
                "transfer-encoding",
                "connection",
                "expect",
            ];
            if ours.contains(&name.to_ascii_lowercase().as_str()) {
                return refuse(format!(
                    "the drill itself sends the header {name}; leave it out"
                ));
            }
        }
        if self.body.as_ref().is_some_and(|body| body.len() > MAX_BODY)
            || self
                .grpc
                .as_ref()
                .is_some_and(|frame| frame.len() > MAX_BODY)
        {
            return refuse("a body has at most 1 MiB".to_owned());
        }
        Ok(())
    }

    /// With its counters filled in.
    pub(super) fn message(&self, counters: &Counters<'_>) -> Message {
        let body = self.body.as_ref().map(|body| counters.fill(body));
        let mut headers: Vec<(String, String)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), counters.fill(value)))
            .collect();
        let mut or = |wanted: &str, value: &str| {
            let is_it = |(name, _): &(String, String)| name.eq_ignore_ascii_case(wanted);
            if !headers.iter().any(is_it) {
                headers.push((wanted.to_owned(), value.to_owned()));
            }
        };
        or(
            "User-Agent",
            concat!("turnkey-drill/", env!("CARGO_PKG_VERSION")),
        );
        if let Some(body) = &body {
            let is_json = body.starts_with(['{', '[']);
            let kind = if is_json {
                "application/json"
            } else {
                "text/plain"
            };
            or("Content-Type", kind);
        }
        let is_grpc = self.is_grpc();
        Message {
            method: self.method.clone(),
            path: counters.fill(&self.path),
            headers,
            // A call of gRPC has no length of its own.
            has_length: body.is_some() && !is_grpc,
            is_grpc,
            body: match &self.grpc {
                Some(frame) => Bytes::from(frame.clone()),
                None => Bytes::from(body.unwrap_or_default()),
            },
            length: None,
        }
    }
}

/// Pieces of a body.
const PIECES: u32 = 40;

/// The body of an upload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paced {
    pub(super) size: usize,
    /// From its first byte to its last.
    pub(super) time: Duration,
    /// Asks for leave first.
    pub(super) expects: bool,
}

impl Paced {
    /// The pieces, one after another.
    pub(super) fn pieces(self) -> impl Iterator<Item = Bytes> {
        let most = self.size.div_ceil(PIECES as usize).max(1);
        let all = Bytes::from(vec![b'x'; most]);
        let count = self.size.div_ceil(most);
        (0..count).map(move |n| all.slice(..most.min(self.size - n * most)))
    }

    pub(super) fn pause(self) -> Duration {
        self.time / PIECES
    }
}

/// A request as it is meant, whatever the protocol.
pub(super) struct Message {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    /// Also where the body is empty.
    has_length: bool,
    /// Its answer ends with a status of its own.
    pub(super) is_grpc: bool,
    pub(super) body: Bytes,
    /// Bytes of a body that is sent in pieces, in place of that one.
    pub(super) length: Option<usize>,
}

impl Message {
    /// The bytes of HTTP/1.1; `close` asks the server to close the connection after the
    /// answer.
    pub(super) fn http1(&self, host: &str, close: bool) -> Wire {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let mut line = |name: &str, value: &str| {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        };
        if self.host().is_none() {
            line("Host", host);
        }
        for (name, value) in &self.headers {
            line(name, value);
        }
        if self.has_length {
            line("Content-Length", &self.content_length().to_string());
        }
        if close {
            line("Connection", "close");
        }
        text.push_str("\r\n");
        let head = text.len();
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        Wire { bytes, head }
    }

    /// The head of HTTP/2; none if it would be no request.
    pub(super) fn http2(&self, scheme: &str, host: &str) -> Option<http::Request<()>> {
        let host = self.host().unwrap_or(host);
        let uri = format!("{scheme}://{host}{}", self.path);
        let mut request = http::Request::builder()
            .version(http::Version::HTTP_2)
            .method(self.method.as_str())
            .uri(uri);
        for (name, value) in &self.headers {
            if !name.eq_ignore_ascii_case("host") {
                request = request.header(name.to_ascii_lowercase(), value);
            }
        }
        if self.has_length {
            request = request.header(http::header::CONTENT_LENGTH, self.content_length());
        }
        request.body(()).ok()
    }

    /// With a large body of its own.
    pub(super) fn uploading(mut self, paced: &Paced) -> Self {
        self.length = Some(paced.size);
        self.has_length = true;
        if paced.expects {
            self.headers
                .push(("Expect".to_owned(), "100-continue".to_owned()));
        }
        self
    }

    fn content_length(&self) -> usize {
        self.length.unwrap_or(self.body.len())
    }

    fn host(&self) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(name, _)| name.eq_ignore_ascii_case("host"));
        found.map(|(_, value)| value.as_str())
    }
}

impl Counters<'_> {
    fn fill(&self, template: &str) -> String {
        if !template.contains('{') {
            return template.to_owned();
        }
        template
            .replace("{n}", &self.n.to_string())
            .replace("{client}", &self.client.to_string())
            .replace("{round}", &self.round.to_string())
            .replace("{run}", self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTERS: Counters<'static> = Counters {
        n: 7,
        client: 3,
        round: 1,
        run: "abc",
    };

    #[test]
    fn counters_fill_everything_and_json_needs_no_escapes() {
        let request = Request::post("/a/{n}", r#"{"id":"{run}-{round}-{client}-{n}","x":{}}"#)
            .header("X-Client", "c{client}");
        request.check().unwrap();
        let wire = request.message(&COUNTERS).http1("localhost:1", true);
        let text = String::from_utf8(wire.bytes).unwrap();
        let (head, body) = text.split_at(wire.head);
        assert!(head.starts_with("POST /a/7 HTTP/1.1\r\nHost: localhost:1\r\n"));
        for line in [
            "X-Client: c3",
            "Content-Type: application/json",
            "Content-Length: 25",
            "Connection: close",
        ] {
            assert!(head.contains(&format!("{line}\r\n")), "{line} in {head}");
        }
        assert!(head.ends_with("\r\n\r\n"));
        assert_eq!(body, r#"{"id":"abc-1-3-7","x":{}}"#);
    }

    #[test]
    fn what_is_no_http_is_refused() {
        for request in [
            Request::get("no-slash"),
            Request::get("/a b"),
            Request::new("GE T", "/"),
            Request::get("/").header("a b", "c"),
            Request::get("/").header("a", "c\r\nd: e"),
            Request::get("/").header("Content-Length", "3"),
            Request::post("/", "x".repeat(MAX_BODY + 1)),
        ] {
            assert!(request.check().is_err(), "{request:?}");
        }
    }

    #[test]
    fn pieces_make_the_whole() {
        for size in [1, 39, 40, 41, 1000, 1 << 20] {
            let paced = Paced {
                size,
                time: Duration::from_secs(1),
                expects: false,
            };
            assert_eq!(paced.pieces().map(|piece| piece.len()).sum::<usize>(), size);
            assert!(paced.pieces().count() <= PIECES as usize);
        }
    }
}
