//! HTTP/1.1: one request after another, and what else begins as one.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use super::{
    FAULTS, HAS_BALANCER, IS_READY, Kind, LINGER, SLOW_WORK, STOPPING, WORK, close_gently, events,
    read, websocket,
};

/// What is left of HTTP/2's preface once its first half has been read as a head.
const PREFACE: &[u8] = b"SM\r\n\r\n";

/// Larger bodies are turned away by [`Kind::TooLarge`].
const LARGE: usize = 64 << 10;

/// What was read and belongs to the next request.
#[derive(Default)]
pub(super) struct Connection {
    ahead: Vec<u8>,
}

pub(super) enum Next {
    Another,
    End,
    /// With what came after its preface.
    Http2(Vec<u8>),
    WebSocket,
}

/// The head of a request.
pub(super) struct Head {
    pub(super) path: String,
    text: String,
    /// Bytes of the body.
    length: usize,
}

impl Head {
    fn of(text: &str) -> Self {
        let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut head = Head {
            path,
            text: text.to_owned(),
            length: 0,
        };
        head.length = head
            .field("content-length")
            .map_or(0, |length| length.parse().expect("a length"));
        head
    }

    pub(super) fn field(&self, wanted: &str) -> Option<&str> {
        self.text.lines().skip(1).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    }
}

/// Reads and answers one request.
pub(super) fn request(
    stream: &mut TcpStream,
    connection: &mut Connection,
    kind: Kind,
    served: usize,
) -> Next {
    let Some(head) = read_head(stream, connection, kind, served) else {
        return Next::End;
    };
    if head.path == "*" {
        return match read_preface(stream, connection) {
            true => Next::Http2(std::mem::take(&mut connection.ahead)),
            false => Next::End,
        };
    }
    if head.field("upgrade").is_some() {
        return match websocket::accept(stream, &head) {
            true => Next::WebSocket,
            false => Next::End,
        };
    }
    if head.path == "/ready" {
        return ready(stream);
    }
    if head.path.starts_with("/events") || head.path.starts_with("/stream") {
        return match events::serve(stream, &head, kind) {
            true => Next::Another,
            false => Next::End,
        };
    }
    let is_large = head.length > LARGE;
    if is_large && matches!(kind, Kind::TooLarge | Kind::TooLargeReset) {
        return too_large(stream, kind);
    }
    if head.field("expect").is_some() && stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_err()
    {
        return Next::End;
    }
    if !read_body(stream, connection, &head, kind) {
        return Next::End;
    }
    std::thread::sleep(match head.path.starts_with("/slow") {
        true => SLOW_WORK,
        false => WORK,
    });
    answer(stream, &head, kind)
}

/// None: the connection is to be closed.
fn read_head(
    stream: &mut TcpStream,
    connection: &mut Connection,
    kind: Kind,
    served: usize,
) -> Option<Head> {
    let mut stopping_since = None;
    let mut buffer = [0; 4096];
    loop {
        let bytes = &mut connection.ahead;
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            let text = String::from_utf8_lossy(bytes).into_owned();
            *bytes = rest;
            return Some(Head::of(&text));
        }
        if STOPPING.load(SeqCst) {
            let since = *stopping_since.get_or_insert_with(Instant::now);
            if kind == Kind::Drops && (served == 0 || !bytes.is_empty()) {
                FAULTS.fetch_add(1, SeqCst);
                return None;
            }
            if bytes.is_empty() && since.elapsed() > LINGER {
                return None;
            }
        }
        let count = read(stream, &mut buffer)?;
        bytes.extend_from_slice(&buffer[..count]);
    }
}

/// The rest of it; whether it came.
fn read_preface(stream: &mut TcpStream, connection: &mut Connection) -> bool {
    let mut buffer = [0; 4096];
    while connection.ahead.len() < PREFACE.len() {
        let Some(count) = read(stream, &mut buffer) else {
            return false;
        };
        connection.ahead.extend_from_slice(&buffer[..count]);
    }
    let rest = connection.ahead.split_off(PREFACE.len());
    std::mem::replace(&mut connection.ahead, rest) == PREFACE
}

/// Whether all of it came.
fn read_body(stream: &mut TcpStream, connection: &mut Connection, head: &Head, kind: Kind) -> bool {
    let mut missing = head.length;
    let taken = missing.min(connection.ahead.len());
    connection.ahead.drain(..taken);
    missing -= taken;
    let mut buffer = [0; 64 << 10];
    while missing > 0 {
        if STOPPING.load(SeqCst) {
            let drops = match kind {
                Kind::UploadReset => head.length > LARGE,
                kind => kind == Kind::Drops,
            };
            if drops {
                FAULTS.fetch_add(1, SeqCst);
                return false;
            }
        }
        let room = missing.min(buffer.len());
        let Some(count) = read(stream, &mut buffer[..room]) else {
            return false;
        };
        missing -= count;
    }
    true
}

fn ready(stream: &mut TcpStream) -> Next {
    HAS_BALANCER.store(true, SeqCst);
    let status = match IS_READY.load(SeqCst) {
        true => "200 OK",
        false => "503 Service Unavailable",
    };
    let text = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    drop(stream.write_all(text.as_bytes()));
    Next::End
}

/// Unread bytes make the kernel reset a connection that is closed.
fn too_large(stream: &mut TcpStream, kind: Kind) -> Next {
    let text = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    if kind == Kind::TooLarge {
        drop(stream.write_all(text.as_bytes()));
        close_gently(stream);
    } else {
        // As a network would: the reset overtakes the answer.
        FAULTS.fetch_add(1, SeqCst);
    }
    Next::End
}

fn answer(stream: &mut TcpStream, head: &Head, kind: Kind) -> Next {
    let stopping = STOPPING.load(SeqCst);
    if stopping && kind == Kind::Drops {
        FAULTS.fetch_add(1, SeqCst);
        return Next::End;
    }
    let close = stopping || head.field("connection") == Some("close");
    let status = match (kind, stopping) {
        (Kind::Errors, true) => "HTTP/1.1 500 Internal Server Error\r\n",
        (Kind::Declines, true) => "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n",
        (Kind::Redirects, _) => "HTTP/1.1 302 Found\r\nLocation: /\r\n",
        _ => "HTTP/1.1 200 OK\r\n",
    };
    let connection = if close { "Connection: close\r\n" } else { "" };
    let who = std::process::id();
    let answer = format!("{status}{connection}X-Backend: {who}\r\nContent-Length: 3\r\n\r\nhi\n");
    static ANSWERS: AtomicUsize = AtomicUsize::new(0);
    let twice = kind == Kind::Twice && ANSWERS.fetch_add(1, SeqCst) % 10 == 9;
    let answer = answer.repeat(1 + usize::from(twice));
    FAULTS.fetch_add(usize::from(twice), SeqCst);
    match stream.write_all(answer.as_bytes()).is_ok() && !close {
        true => Next::Another,
        false => Next::End,
    }
}
