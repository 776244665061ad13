//! What is common to all requests: whether the head is unambiguous about its host and the end
//! of its body, and what becomes of an unread body.
//!
//! Called by `worker/connection.rs` and `operator/admin/server.rs` for each request; the body
//! is read by `updaters/body.rs`. Invariant: the sender of a refused request can read why. If
//! its body were left unread, a sender that is still sending would see a reset connection
//! instead (over HTTP/2, a reset stream). So the rest of the body is read and thrown away first
//! ([`Body::discard`]); if it is too long or too slow for that, then after the answer, until
//! the sender closes ([`Kept::linger`], RFC 9112, 9.6). Bounds: [`DISCARD`] times the largest
//! body in bytes, [`FIRST`] before the answer; the caller of `linger` sets its time.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{EXPECT, HOST, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Request, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// How many times the largest body is read and thrown away.
pub(crate) const DISCARD: usize = 16;

/// How long an answer waits for a body that nobody wants.
pub(crate) const FIRST: Duration = Duration::from_secs(5);

/// Bytes that are thrown away at once.
const BUFFER: usize = 16 << 10;

/// Why a request is refused whatever it asks for. Its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) status: StatusCode,
    pub(crate) reason: &'static str,
}

/// Looks at what a proxy in front of us may have understood differently.
///
/// # Errors
/// No single valid `Host` in HTTP/1.1 (RFC 9112, 3.2); a transfer coding other than
/// `chunked`, once (6.1).
pub(crate) fn check(head: &Parts) -> Result<(), Wrong> {
    let bad = |reason| {
        Err(Wrong {
            status: StatusCode::BAD_REQUEST,
            reason,
        })
    };
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if head.version == Version::HTTP_11 => {
            return bad("HTTP/1.1 needs a Host header");
        }
        (Some(_), Some(_)) => return bad("there is more than one Host header"),
        (Some(host), None) if !is_host(host.as_bytes()) => {
            return bad("the Host header is no host");
        }
        (Some(host), None) if head.version == Version::HTTP_2 => {
            // Two names for one thing (RFC 9113, 8.3.1).
            let named = head.uri.authority().map(|authority| authority.as_str());
            let is_other = |named: &str| !named.as_bytes().eq_ignore_ascii_case(host.as_bytes());
            if named.is_some_and(is_other) {
                return bad("the Host header is not the host that is asked for");
            }
        }
        _ => {}
    }
    let mut codings = 0;
    for line in head.headers.get_all(TRANSFER_ENCODING) {
        let Ok(line) = line.to_str() else {
            return bad("the Transfer-Encoding header is not ASCII");
        };
        for coding in line.split(',').map(str::trim).filter(|c| !c.is_empty()) {
            codings += 1;
            if !coding.eq_ignore_ascii_case("chunked") {
                return Err(Wrong {
                    status: StatusCode::NOT_IMPLEMENTED,
                    reason: "the only transfer coding that is understood is chunked",
                });
            }
        }
    }
    match codings {
        0 | 1 => Ok(()),
        _ => bad("a body is chunked once"),
    }
}

/// `uri-host [ ":" port ]` (RFC 9110, 7.2), which may be empty.
fn is_host(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (Err(host), None),
            Some((host, port)) => match port.strip_prefix(':') {
                Some(port) => (Err(host), Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (Ok(host), Some(port)),
            None => (Ok(text), None),
        },
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && (port.is_empty() || port.parse::<u16>().is_ok())
    };
    let is_name = match host {
        Ok(name) => name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)),
        Err(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
    };
    is_name && port.is_none_or(is_port)
}

/// A request's body. What is left of it is known after a refusal, too.
pub(crate) struct Body {
    incoming: Incoming,
    /// Its sender waits to be asked for it (RFC 9110, 10.1.1), and has not been.
    waits: bool,
    /// Nothing more will come, or nothing more is worth waiting for.
    end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Read,
    /// It broke off, or took too long.
    GivenUp,
}

/// Why a body was not read.
pub(crate) enum NotRead {
    TooLarge,
    /// In the words of the server.
    BrokeOff(String),
}

impl Body {
    /// A request's head, and its body.
    pub(crate) fn of(request: Request<Incoming>) -> (Parts, Self) {
        let (head, incoming) = request.into_parts();
        let body = Body {
            waits: head.headers.contains_key(EXPECT),
            end: incoming.is_end_stream().then_some(End::Read),
            incoming,
        };
        (head, body)
    }

    /// Bytes that are announced; none when its length is not.
    pub(crate) fn length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// Reads it whole.
    pub(crate) async fn read(&mut self, limit: usize) -> Result<Bytes, NotRead> {
        if self.incoming.size_hint().lower() > limit as u64 {
            return Err(NotRead::TooLarge);
        }
        self.waits = false;
        match Limited::new(&mut self.incoming, limit).collect().await {
            Ok(body) => {
                self.end = Some(End::Read);
                Ok(body.to_bytes())
            }
            Err(error) if error.is::<LengthLimitError>() => Err(NotRead::TooLarge),
            Err(error) => {
                self.give_up();
                Err(NotRead::BrokeOff(error.to_string()))
            }
        }
    }

    /// It has had its time.
    pub(crate) fn give_up(&mut self) {
        self.end = Some(End::GivenUp);
    }

    /// Reads what is left and throws it away, up to `limit` bytes. False when there is
    /// still more, or may be: then the connection cannot go on.
    pub(crate) async fn discard(&mut self, limit: usize) -> bool {
        if let Some(end) = self.end {
            return end == End::Read;
        }
        if self.waits {
            return false;
        }
        let mut left = limit;
        while let Some(frame) = self.incoming.frame().await {
            let length = frame.map(|frame| frame.data_ref().map_or(0, Bytes::len));
            let Some(rest) = length.ok().and_then(|length| left.checked_sub(length)) else {
                self.give_up();
                return false;
            };
            left = rest;
        }
        self.end = Some(End::Read);
        true
    }
}

/// A stream that is still there when the server of its protocol has ended.
pub(crate) struct Kept<S>(Rc<RefCell<S>>);

impl<S> Clone for Kept<S> {
    fn clone(&self) -> Self {
        Kept(self.0.clone())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Kept<S> {
    pub(crate) fn new(stream: S) -> Self {
        Kept(Rc::new(RefCell::new(stream)))
    }

    /// Reads and throws away what the other side still sends, until it closes: closing
    /// first would take back the answer that is on its way to it.
    pub(crate) async fn linger(mut self, limit: usize, until: impl Future<Output = ()>) {
        let all = async {
            let mut left = limit;
            let mut buffer = vec![0; BUFFER];
            while let Ok(length @ 1..) = self.read(&mut buffer).await {
                match left.checked_sub(length) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        };
        tokio::select! { () = all => {}, () = until => {} }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Kept<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Kept<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: Version, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().version(version).uri("/http");
        if version == Version::HTTP_2 {
            request = request.uri("https://bot.example/http");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        check(&head).map_or_else(|wrong| wrong.status.as_u16(), |()| 200)
    }

    #[test]
    fn one_host_that_is_one() {
        for host in [
            "",
            "a",
            "bot.example.org",
            "bot_1:80",
            "127.0.0.1:65535",
            "[::1]",
            "[2001:db8::1]:443",
            "a:",
            "xn--e1afmkfd",
            "a%41",
        ] {
            assert_eq!(status(Version::HTTP_11, &[("host", host)]), 200, "{host:?}");
        }
        for host in [
            "a b", "a/b", "user@a", "a:b", "a:1:2", "::1", "[::1", "[x]", "[::1]a", "a:65536",
            "a?", "a, b", "a#", "\"a\"", "a\\b", "http://a",
        ] {
            assert_eq!(status(Version::HTTP_11, &[("host", host)]), 400, "{host:?}");
        }
        assert_eq!(status(Version::HTTP_11, &[]), 400);
        assert_eq!(
            status(Version::HTTP_11, &[("host", "a"), ("host", "a")]),
            400
        );
        assert_eq!(status(Version::HTTP_10, &[]), 200);
        assert_eq!(
            status(Version::HTTP_10, &[("host", "a"), ("host", "b")]),
            400
        );
        assert_eq!(status(Version::HTTP_2, &[]), 200);
        assert_eq!(status(Version::HTTP_2, &[("host", "BOT.example")]), 200);
        assert_eq!(status(Version::HTTP_2, &[("host", "other")]), 400);
    }

    #[test]
    fn a_body_is_chunked_once() {
        for (lines, expected) in [
            (&["chunked"][..], 200),
            (&["Chunked"], 200),
            (&[", chunked"], 200),
            (&["chunked, chunked"], 400),
            (&["chunked", "chunked"], 400),
            (&["gzip, chunked"], 501),
            (&["gzip", "chunked"], 501),
            (&["identity, chunked"], 501),
            (&["chunked;q=1"], 501),
        ] {
            let mut headers = vec![("host", "a")];
            headers.extend(lines.iter().map(|line| ("transfer-encoding", *line)));
            assert_eq!(status(Version::HTTP_11, &headers), expected, "{lines:?}");
        }
    }
}
