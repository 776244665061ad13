//! HTTP/2 (RFC 9113), as much as a server needs that gives every request the same answer:
//! it does not even read their heads.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::{FAULTS, Kind, LINGER, STOPPING, WORK, close_gently, read};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const ALL_STREAMS: u32 = (1 << 31) - 1;

/// Between the two GOAWAYs: longer than a round trip over loopback.
const SECOND_STEP: Duration = Duration::from_millis(100);

/// `:status 200` (RFC 7541, A: entry 8).
const OK: &[u8] = &[0x88];

struct Connection<'a> {
    stream: &'a mut TcpStream,
    kind: Kind,
    bytes: Vec<u8>,
    /// Requests whose end has not come.
    open: BTreeSet<u32>,
    last: u32,
}

pub(super) fn serve(stream: &mut TcpStream, bytes: Vec<u8>, kind: Kind) {
    let mut connection = Connection {
        stream,
        kind,
        bytes,
        open: BTreeSet::new(),
        last: 0,
    };
    connection.send(SETTINGS, 0, 0, &[]);
    connection.run();
}

impl Connection<'_> {
    fn run(&mut self) {
        let mut first_step: Option<Instant> = None;
        let mut second_step = false;
        let mut buffer = [0; 64 << 10];
        loop {
            while let Some((kind, flags, id, payload)) = self.frame() {
                if !self.take(kind, flags, id, &payload) {
                    return;
                }
            }
            let stopping = STOPPING.load(SeqCst);
            if stopping && matches!(self.kind, Kind::NoGoaway | Kind::Drops) {
                FAULTS.fetch_add(self.open.len(), SeqCst);
                return;
            }
            if stopping && first_step.is_none() {
                first_step = Some(Instant::now());
                match self.kind {
                    Kind::GoesAwayAtOnce => {
                        self.goaway(self.last);
                        second_step = true;
                    }
                    _ => self.goaway(ALL_STREAMS),
                }
            }
            if let Some(since) = first_step {
                if !second_step && since.elapsed() >= SECOND_STEP {
                    self.goaway(self.last);
                    second_step = true;
                }
                let patience = since.elapsed() > LINGER + LINGER;
                if second_step && (self.open.is_empty() || patience) {
                    return close_gently(self.stream);
                }
            }
            let Some(count) = read(self.stream, &mut buffer) else {
                return;
            };
            self.bytes.extend_from_slice(&buffer[..count]);
        }
    }

    /// Whether the connection goes on.
    fn take(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> bool {
        let ends = flags & END_STREAM != 0;
        match kind {
            SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => self.send(PING, ACK, 0, payload),
            HEADERS => {
                self.last = self.last.max(id);
                self.open.insert(id);
            }
            DATA if !payload.is_empty() => {
                let size = (payload.len() as u32).to_be_bytes();
                self.send(WINDOW_UPDATE, 0, 0, &size);
                if !ends {
                    self.send(WINDOW_UPDATE, 0, id, &size);
                }
            }
            _ => {}
        }
        match matches!(kind, HEADERS | DATA) && ends && self.open.remove(&id) {
            true => self.answer(id),
            false => true,
        }
    }

    fn answer(&mut self, id: u32) -> bool {
        std::thread::sleep(WORK);
        if STOPPING.load(SeqCst) && self.kind == Kind::DropsStream {
            FAULTS.fetch_add(1, SeqCst);
            self.goaway(self.last);
            close_gently(self.stream);
            return false;
        }
        if !matches!(self.kind, Kind::Grpc | Kind::GrpcTorn) {
            self.send(HEADERS, END_HEADERS, id, OK);
            self.send(DATA, END_STREAM, id, b"hi\n");
            return true;
        }
        // Literals without indexing (RFC 7541, 6.2.2): a known name, then a new one.
        let kind = b"application/grpc";
        let head = [OK, &[0x0f, 0x10, kind.len() as u8], kind].concat();
        self.send(HEADERS, END_HEADERS, id, &head);
        let message = [0, 0, 0, 0, 2, b'h', b'i'];
        if STOPPING.load(SeqCst) && self.kind == Kind::GrpcTorn {
            FAULTS.fetch_add(1, SeqCst);
            self.send(DATA, END_STREAM, id, &message);
            return true;
        }
        self.send(DATA, 0, id, &message);
        let name = b"grpc-status";
        let trailers = [&[0, name.len() as u8], &name[..], &[1, b'0']].concat();
        self.send(HEADERS, END_HEADERS | END_STREAM, id, &trailers);
        true
    }

    fn goaway(&mut self, last: u32) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend([0; 4]);
        self.send(GOAWAY, 0, 0, &payload);
    }

    /// A failed one is noticed by the next read.
    fn send(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(id.to_be_bytes());
        frame.extend_from_slice(payload);
        drop(self.stream.write_all(&frame));
    }

    /// Takes a whole frame out of what was read.
    fn frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let head = self.bytes.get(..9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.bytes.get(9..9 + length)?.to_vec();
        self.bytes.drain(..9 + length);
        Some((kind, flags, id, payload))
    }
}
