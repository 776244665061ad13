//! WebSockets (RFC 6455): echoes, and pushes of its own for a path with `push` in it.
//! Messages of up to 125 bytes, in one frame.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use base64::Engine as _;
use sha1::{Digest, Sha1};

use super::http1::Head;
use super::{FAULTS, Kind, STOPPING, close_gently, read};

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8a;

/// Going away.
const GOING_AWAY: u16 = 1001;

/// How long [`Kind::WebSocketDeaf`] reads on without answering.
const DEAF: Duration = Duration::from_millis(400);

/// Agrees to the upgrade; whether it could.
pub(super) fn accept(stream: &mut TcpStream, head: &Head) -> bool {
    let key = head.field("sec-websocket-key").unwrap_or_default();
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).is_ok()
}

pub(super) fn serve(stream: &mut TcpStream, kind: Kind) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let mut pushed = Instant::now();
    let mut stopping_since = None;
    loop {
        // What has arrived is answered before anything else.
        let Some(count) = read(stream, &mut buffer) else {
            return;
        };
        bytes.extend_from_slice(&buffer[..count]);
        let stopping = STOPPING.load(SeqCst);
        while let Some((opcode, payload)) = frame(&mut bytes) {
            match opcode {
                0x1 | 0x2 if stopping && kind == Kind::WebSocketDeaf => {
                    FAULTS.fetch_add(1, SeqCst);
                }
                0x1 | 0x2 => send(stream, TEXT, &payload),
                0x8 => {
                    send(stream, CLOSE, &payload);
                    return close_gently(stream);
                }
                0x9 => send(stream, PONG, &payload),
                _ => {}
            }
        }
        if pushed.elapsed() > Duration::from_millis(50) {
            pushed = Instant::now();
            send(stream, TEXT, b"news");
        }
        if !stopping {
            continue;
        }
        let since = *stopping_since.get_or_insert_with(Instant::now);
        match kind {
            Kind::WebSocketSilent => {
                FAULTS.fetch_add(1, SeqCst);
                return;
            }
            Kind::WebSocketDeaf if since.elapsed() < DEAF => {}
            _ if count == 0 => {
                send(stream, CLOSE, &GOING_AWAY.to_be_bytes());
                return close_gently(stream);
            }
            _ => {}
        }
    }
}

/// A failed one is noticed by the next read.
fn send(stream: &mut TcpStream, first: u8, payload: &[u8]) {
    let mut frame = vec![first, u8::try_from(payload.len()).expect("a short message")];
    frame.extend_from_slice(payload);
    drop(stream.write_all(&frame));
}

/// Takes a whole frame out of what was read.
fn frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let opcode = bytes.first()? & 0x0f;
    let length = usize::from(bytes.get(1)? & 0x7f);
    assert!(length < 126, "a short message");
    if bytes.len() < 6 + length {
        return None;
    }
    let mask: Vec<u8> = bytes[2..6].to_vec();
    let payload = bytes[6..6 + length].iter().zip(mask.iter().cycle());
    let payload = payload.map(|(byte, mask)| byte ^ mask).collect();
    bytes.drain(..6 + length);
    Some((opcode, payload))
}
