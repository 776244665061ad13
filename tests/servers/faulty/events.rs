//! `/events`: server-sent events without an end, `/stream`: an answer in pieces. Both end
//! early, and as they should, when the server stops; [`Kind::Torn`] ends them in the middle.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::http1::Head;
use super::{FAULTS, Kind, STOPPING};

const PAUSE: Duration = Duration::from_millis(10);

/// Pieces of a streamed answer.
const PIECES: usize = 150;

/// Whether the connection can be used again.
pub(super) fn serve(stream: &mut TcpStream, head: &Head, kind: Kind) -> bool {
    let is_events = head.path.starts_with("/events");
    let content = if is_events {
        "text/event-stream"
    } else {
        "text/plain"
    };
    let start =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {content}\r\nTransfer-Encoding: chunked\r\n\r\n");
    if stream.write_all(start.as_bytes()).is_err() {
        return false;
    }
    let last = head.field("last-event-id").and_then(|id| id.parse().ok());
    let mut number: usize = last.map_or(0, |last: usize| last + 1);
    let end = if is_events { usize::MAX } else { PIECES };
    while number < end {
        let piece = match is_events {
            true => format!("id: {number}\ndata: tick {number}\n\n"),
            false => format!("piece {number}\n"),
        };
        let stopping = STOPPING.load(SeqCst);
        if stopping && kind == Kind::Torn {
            FAULTS.fetch_add(1, SeqCst);
            let half = &piece[..piece.len() / 2];
            drop(write!(stream, "{:x}\r\n{half}", piece.len()));
            return false;
        }
        if stopping && is_events {
            break;
        }
        if write!(stream, "{:x}\r\n{piece}\r\n", piece.len()).is_err() {
            return false;
        }
        std::thread::sleep(PAUSE);
        number += 1;
    }
    stream.write_all(b"0\r\n\r\n").is_ok() && !STOPPING.load(SeqCst)
}
