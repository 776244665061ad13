//! What goes over an HTTP/2 connection, seen from beside it: which streams went out, which
//! were reset, and what GOAWAY said.
//!
//! The library that speaks the protocol hides just that: it tells a request that it failed,
//! not that the server had promised to answer it. Between the library and the socket;
//! `http2/mod.rs` reads what was [`Seen`]. Only the heads of frames are read (RFC 9113, 4.1)
//! and the eight bytes of GOAWAY and RST_STREAM. Bounds: [`MAX_GOAWAYS`], [`MAX_STREAMS`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::connect::Stream;
use super::super::record::{End, Micros};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

/// RST_STREAM: the server did nothing (RFC 9113, 8.7).
const REFUSED_STREAM: u32 = 7;

/// "All streams": the first of two GOAWAYs (RFC 9113, 6.8).
pub(super) const ALL_STREAMS: u32 = (1 << 31) - 1;

/// The client's first bytes.
const PREFACE: usize = 24;

const MAX_GOAWAYS: usize = 8;

/// Streams of a connection about which something is kept; they are forgotten when they end.
const MAX_STREAMS: usize = 10_000;

/// A GOAWAY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Goaway {
    pub(super) at: Micros,
    pub(super) last: u32,
}

/// What was seen of one connection.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) goaways: Vec<Goaway>,
    /// When the head of a stream's request went out.
    sent: BTreeMap<u32, Micros>,
    /// With which code the server reset a stream.
    resets: BTreeMap<u32, u32>,
    /// When and how the server, or the network, ended the connection.
    pub(super) ended: Option<(Micros, End)>,
}

impl Seen {
    /// Whether a new request can go out on it.
    pub(super) fn is_usable(&self) -> bool {
        self.goaways.is_empty() && self.ended.is_none()
    }

    pub(super) fn sent(&self, stream: u32) -> Option<Micros> {
        self.sent.get(&stream).copied()
    }

    pub(super) fn forget(&mut self, stream: u32) {
        self.sent.remove(&stream);
        self.resets.remove(&stream);
    }

    /// Why a stream has no whole answer.
    pub(super) fn why(&self, stream: u32) -> End {
        let last = self.goaways.iter().map(|goaway| goaway.last).min();
        match (self.resets.get(&stream), last, self.ended) {
            (Some(&REFUSED_STREAM), ..) => End::NotBegun,
            (Some(code), ..) => End::StreamReset(*code),
            (None, Some(last), _) if stream > last => End::NotBegun,
            (None, Some(_), _) => End::Promised,
            (None, None, Some((_, end))) => end,
            (None, None, None) => End::Malformed,
        }
    }

    /// Why a connection has no room for the first request.
    pub(super) fn why_unused(&self) -> End {
        match (self.goaways.is_empty(), self.ended) {
            (false, _) => End::NotBegun,
            (true, Some((_, end))) => end,
            (true, None) => End::Malformed,
        }
    }

    fn came(&mut self, frame: &Frame, at: Micros) {
        let word = |from: usize| {
            let bytes = &frame.first[from..from + 4];
            u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        };
        match frame.kind {
            GOAWAY if self.goaways.len() < MAX_GOAWAYS => self.goaways.push(Goaway {
                at,
                last: word(0) & ALL_STREAMS,
            }),
            RST_STREAM if self.resets.len() < MAX_STREAMS => {
                self.resets.insert(frame.stream, word(0));
            }
            _ => {}
        }
    }

    fn went(&mut self, frame: &Frame, at: Micros) {
        if frame.kind == HEADERS && self.sent.len() < MAX_STREAMS {
            self.sent.entry(frame.stream).or_insert(at);
        }
    }
}

/// The head of a frame and the first bytes of its payload.
struct Frame {
    kind: u8,
    stream: u32,
    first: [u8; 8],
}

/// Finds frames in bytes that come in any pieces.
#[derive(Default)]
struct Frames {
    /// Bytes that are no frame.
    skip: usize,
    /// A frame's head, and the first bytes of its payload.
    kept: Vec<u8>,
}

const HEAD: usize = 9;

impl Frames {
    fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(&Frame)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = match self.kept.get(..3) {
                Some(length) if self.kept.len() >= HEAD => HEAD + of(length).min(8),
                _ => HEAD,
            };
            let taken = (wanted - self.kept.len()).min(bytes.len());
            self.kept.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.kept.len() < HEAD {
                continue;
            }
            let length = of(&self.kept[..3]);
            if self.kept.len() < HEAD + length.min(8) {
                continue;
            }
            let mut first = [0; 8];
            let payload = &self.kept[HEAD..];
            first[..payload.len()].copy_from_slice(payload);
            let stream = &self.kept[5..HEAD];
            found(&Frame {
                kind: self.kept[3],
                stream: u32::from_be_bytes([stream[0], stream[1], stream[2], stream[3]])
                    & ALL_STREAMS,
                first,
            });
            self.skip = length - length.min(8);
            self.kept.clear();
        }
    }
}

fn of(length: &[u8]) -> usize {
    length
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

/// A connection that is watched.
pub(super) struct Tap {
    stream: Stream,
    base: Instant,
    came: Frames,
    went: Frames,
    seen: Rc<RefCell<Seen>>,
}

impl Tap {
    pub(super) fn on(stream: Stream, base: Instant) -> (Self, Rc<RefCell<Seen>>) {
        let seen = Rc::new(RefCell::new(Seen::default()));
        let went = Frames {
            skip: PREFACE,
            kept: Vec::new(),
        };
        let tap = Tap {
            stream,
            base,
            came: Frames::default(),
            went,
            seen: seen.clone(),
        };
        (tap, seen)
    }

    fn now(&self) -> Micros {
        self.base.elapsed().as_micros() as Micros
    }

    fn ended(&self, end: End) {
        let at = self.now();
        self.seen.borrow_mut().ended.get_or_insert((at, end));
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        match &read {
            Poll::Ready(Ok(())) if buffer.filled().len() == before => self.ended(End::Closed),
            Poll::Ready(Ok(())) => {
                let (at, seen) = (self.now(), self.seen.clone());
                let bytes = &buffer.filled()[before..];
                self.came
                    .feed(bytes, |frame| seen.borrow_mut().came(frame, at));
            }
            // A TLS connection that ends without a goodbye.
            Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => {
                self.ended(End::Closed);
            }
            Poll::Ready(Err(_)) => self.ended(End::Reset),
            Poll::Pending => {}
        }
        read
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        match written {
            Poll::Ready(Ok(count)) => {
                let (at, seen) = (self.now(), self.seen.clone());
                let bytes = &bytes[..count];
                self.went
                    .feed(bytes, |frame| seen.borrow_mut().went(frame, at));
            }
            Poll::Ready(Err(_)) => self.ended(End::Reset),
            Poll::Pending => {}
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([kind, 0]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Fed in pieces of every size.
    fn seen(bytes: &[u8]) -> Seen {
        let mut results = Vec::new();
        for size in 1..=bytes.len() {
            let (mut frames, mut seen) = (Frames::default(), Seen::default());
            for piece in bytes.chunks(size) {
                frames.feed(piece, |frame| seen.came(frame, 5));
            }
            results.push(seen);
        }
        let same = |pair: &[Seen]| format!("{:?}", pair[0]) == format!("{:?}", pair[1]);
        assert!(results.windows(2).all(same));
        results.remove(0)
    }

    #[test]
    fn goaways_and_resets_are_found_between_other_frames() {
        let goaway = |last: u32| [&last.to_be_bytes()[..], &[0; 4], b"bye"].concat();
        let bytes = [
            frame(4, 0, &[]),
            frame(0, 1, &[7; 300]),
            frame(GOAWAY, 0, &goaway(ALL_STREAMS)),
            frame(RST_STREAM, 3, &REFUSED_STREAM.to_be_bytes()),
            frame(RST_STREAM, 5, &2u32.to_be_bytes()),
            frame(GOAWAY, 0, &goaway(7)),
        ]
        .concat();
        let seen = seen(&bytes);
        let lasts: Vec<u32> = seen.goaways.iter().map(|goaway| goaway.last).collect();
        assert_eq!(lasts, [ALL_STREAMS, 7]);
        assert_eq!(seen.why(3), End::NotBegun);
        assert_eq!(seen.why(5), End::StreamReset(2));
        assert_eq!(seen.why(7), End::Promised);
        assert_eq!(seen.why(9), End::NotBegun);
        assert!(!seen.is_usable());
    }

    #[test]
    fn without_goaway_the_connections_end_is_the_streams() {
        let seen = Seen {
            ended: Some((9, End::Reset)),
            ..Seen::default()
        };
        assert_eq!((seen.why(1), seen.why_unused()), (End::Reset, End::Reset));
    }
}
