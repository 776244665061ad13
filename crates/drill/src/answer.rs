//! An HTTP/1 answer as it arrives, read just far enough to know whether all of it is
//! there.
//!
//! Used by `client/http1.rs` and `upload.rs`. Bound: a head of [`MAX_HEAD`] bytes; bodies are
//! counted, not kept.

use std::sync::Arc;

use httparse::{EMPTY_HEADER, Response, Status};

/// Bytes of a head, or of the line before a chunk.
const MAX_HEAD: usize = 64 << 10;

/// An answer under way.
pub(super) struct Answer {
    /// To a HEAD: no body, whatever the head says.
    without_body: bool,
    head: Vec<u8>,
    state: State,
    pub(super) status: Option<u16>,
    /// The server will close, or must.
    pub(super) close: bool,
    pub(super) retry_after: bool,
    /// Whether it gave leave to send the body (100).
    pub(super) continued: bool,
    /// The header field that names who answered, in small letters.
    asked: Option<Arc<str>>,
    /// What it said.
    pub(super) backend: Option<Arc<str>>,
}

/// Bytes of a backend's name.
const MAX_NAME: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// Bytes of the body that are missing.
    Length(u64),
    ChunkSize,
    /// Bytes of the chunk that are missing, its line end included.
    Chunk(u64),
    Trailers,
    UntilEnd,
    Complete,
}

/// It is not HTTP.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Answer {
    pub(super) fn to(method: &str) -> Self {
        Answer {
            without_body: method.eq_ignore_ascii_case("HEAD"),
            head: Vec::new(),
            state: State::Head,
            status: None,
            close: false,
            retry_after: false,
            continued: false,
            asked: None,
            backend: None,
        }
    }

    /// Looks for this header field, too.
    pub(super) fn asking(mut self, field: Option<&Arc<str>>) -> Self {
        self.asked = field.cloned();
        self
    }

    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// Whether the end of the connection is the end of the answer.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.state == State::UntilEnd
    }

    /// Takes bytes; how many of them belong to this answer.
    #[cfg(test)]
    fn feed(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        self.feed_with(bytes, |_| {})
    }

    /// The same; those of the body are shown.
    pub(super) fn feed_with(
        &mut self,
        bytes: &[u8],
        mut of_body: impl FnMut(&[u8]),
    ) -> Result<usize, Malformed> {
        let mut used = 0;
        while used < bytes.len() && !self.is_complete() {
            let (before, rest) = (self.state, &bytes[used..]);
            let taken = self.step(rest)?;
            match before {
                State::Length(_) | State::UntilEnd => of_body(&rest[..taken]),
                // Without the line end.
                State::Chunk(missing) => {
                    let data = missing.saturating_sub(2);
                    of_body(&rest[..taken.min(data as usize)]);
                }
                _ => {}
            }
            used += taken;
        }
        Ok(used)
    }

    fn step(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match self.state {
            State::Head => self.head(bytes),
            State::UntilEnd => Ok(bytes.len()),
            State::Length(missing) => {
                let taken = missing.min(bytes.len() as u64);
                self.state = match missing - taken {
                    0 => State::Complete,
                    rest => State::Length(rest),
                };
                Ok(taken as usize)
            }
            State::Chunk(missing) => {
                let taken = missing.min(bytes.len() as u64);
                self.state = match missing - taken {
                    0 => State::ChunkSize,
                    rest => State::Chunk(rest),
                };
                Ok(taken as usize)
            }
            State::ChunkSize => {
                let Some((line, taken)) = self.line(bytes)? else {
                    return Ok(bytes.len());
                };
                match httparse::parse_chunk_size(&line) {
                    Ok(Status::Complete((_, 0))) => self.state = State::Trailers,
                    Ok(Status::Complete((_, size))) => {
                        self.state = State::Chunk(size.checked_add(2).ok_or(Malformed)?);
                    }
                    _ => return Err(Malformed),
                }
                Ok(taken)
            }
            State::Trailers => {
                let Some((line, taken)) = self.line(bytes)? else {
                    return Ok(bytes.len());
                };
                if line == b"\r\n" {
                    self.state = State::Complete;
                }
                Ok(taken)
            }
            State::Complete => Ok(0),
        }
    }

    /// A line with its end and how many of these bytes it took; none while it is not
    /// all there: then all bytes were taken.
    fn line(&mut self, bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
        let end = bytes.iter().position(|b| *b == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(bytes.len());
        self.head.extend_from_slice(&bytes[..taken]);
        if self.head.len() > MAX_HEAD {
            return Err(Malformed);
        }
        Ok(end.map(|taken| (std::mem::take(&mut self.head), taken)))
    }

    fn head(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let mut headers = [EMPTY_HEADER; 128];
        let mut response = Response::new(&mut headers);
        let length = match response.parse(&self.head) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) if self.head.len() <= MAX_HEAD => return Ok(bytes.len()),
            _ => return Err(Malformed),
        };
        let status = response.code.ok_or(Malformed)?;
        let mut close = response.version == Some(0);
        let mut state = State::UntilEnd;
        for header in response.headers.iter() {
            let name = header.name.to_ascii_lowercase();
            let value = String::from_utf8_lossy(header.value).to_ascii_lowercase();
            match name.as_str() {
                "content-length" if state == State::UntilEnd => {
                    state = State::Length(value.trim().parse().map_err(|_| Malformed)?);
                }
                "transfer-encoding" if value.trim_end().ends_with("chunked") => {
                    state = State::ChunkSize;
                }
                "connection" => {
                    let has = |word| value.split(',').any(|part| part.trim() == word);
                    close = has("close") || (close && !has("keep-alive"));
                }
                "retry-after" => self.retry_after = true,
                name if self.asked.as_deref() == Some(name) => {
                    let value = String::from_utf8_lossy(header.value);
                    let value: String = value.trim().chars().take(MAX_NAME).collect();
                    self.backend = Some(value.into());
                }
                _ => {}
            }
        }
        let without_body = self.without_body || matches!(status, 204 | 304);
        if without_body || state == State::Length(0) {
            state = State::Complete;
        }
        self.head.clear();
        if (100..200).contains(&status) {
            // Not the answer yet.
            self.retry_after = false;
            self.continued |= status == 100;
            return Ok(length - before);
        }
        self.close = close || state == State::UntilEnd;
        self.status = Some(status);
        self.state = state;
        Ok(length - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fed in pieces of every size: what was used, and whether it was complete.
    fn read(text: &str) -> (usize, bool, Option<u16>, bool) {
        let mut results = Vec::new();
        for size in 1..=text.len() {
            let mut answer = Answer::to("GET");
            let mut used = 0;
            for piece in text.as_bytes().chunks(size) {
                used += answer.feed(piece).unwrap();
                if answer.is_complete() {
                    break;
                }
            }
            results.push((used, answer.is_complete(), answer.status, answer.close));
        }
        assert!(
            results.windows(2).all(|pair| pair[0] == pair[1]),
            "{text:?}"
        );
        results[0]
    }

    #[test]
    fn lengths_and_chunks() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(read(text), (text.len(), true, Some(200), false));
        assert_eq!(
            read(&format!("{text}HTTP")).0,
            text.len(),
            "the rest is not its"
        );
        assert!(!read(&text[..text.len() - 1]).1);
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                    5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n";
        assert_eq!(read(text), (text.len(), true, Some(200), true));
        for end in 1..text.len() {
            assert!(!read(&text[..end]).1, "{:?}", &text[..end]);
        }
    }

    #[test]
    fn answers_without_a_body_and_with_one_until_the_end() {
        assert!(read("HTTP/1.1 204 No Content\r\n\r\n").1);
        assert_eq!(
            read("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n").2,
            Some(500)
        );
        let (_, complete, status, close) = read("HTTP/1.0 200 OK\r\n\r\nhello");
        assert_eq!((complete, status, close), (false, Some(200), true));
        let mut head = Answer::to("HEAD");
        head.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            .unwrap();
        assert!(head.is_complete());
        let kept = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx";
        assert!(!read(kept).3);
    }

    #[test]
    fn a_body_is_shown_without_its_frames() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                    5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
        for size in 1..=text.len() {
            let (mut answer, mut body) = (Answer::to("GET"), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                answer
                    .feed_with(piece, |bytes| body.extend_from_slice(bytes))
                    .unwrap();
            }
            assert_eq!(body, b"hello world", "in pieces of {size}");
        }
    }

    #[test]
    fn who_answered_is_read_from_a_header() {
        let mut answer = Answer::to("GET").asking(Some(&"x-backend".into()));
        answer
            .feed(b"HTTP/1.1 200 OK\r\nX-Backend: blue\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        assert_eq!(answer.backend.as_deref(), Some("blue"));
    }

    #[test]
    fn what_is_no_answer() {
        for text in [
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        ] {
            assert_eq!(Answer::to("GET").feed(text.as_bytes()), Err(Malformed));
        }
        let mut answer = Answer::to("GET");
        assert_eq!(answer.feed(&[b'a'; MAX_HEAD + 1]), Err(Malformed));
    }
}
