//! The connection to the writer, shared by all calls of a process; reconnects when the writer
//! dies.
//!
//! A task that [`super::WriterClient`] starts; `unanswered.rs` has what it sends and who gets
//! the answers. While a request or two are under way and nothing is to be sent, it keeps the
//! event loop awake (`spin.rs`) instead of letting it sleep; everything else on the loop goes
//! first. Bound: [`RECONNECT`] between two attempts.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;

use super::unanswered::{Awaited, Shared};
use crate::sqlite::files::ShortPath;
use crate::sqlite::spin::Spinner;

/// Between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(10);

/// Bytes taken from the socket at a time.
const READ: usize = 64 << 10;

/// Keeps the connection until the client is dropped.
pub(super) async fn drive(shared: Arc<Shared>) {
    let mut warned = false;
    while !shared.lock().closed {
        let socket = ShortPath::of(&shared.socket);
        let stream = match UnixStream::connect(&socket.path).await {
            Ok(stream) => stream,
            Err(error) => {
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!("waiting for the writer: {error}");
                }
                (shared.no_writer)();
                tokio::time::sleep(RECONNECT).await;
                continue;
            }
        };
        warned = false;
        shared.greet();
        let error = converse(&shared, &stream).await;
        shared.hung_up();
        match error {
            Some(error) => tracing::warn!("the writer is gone ({error}), connecting to the next"),
            None => return,
        }
        // A writer that closes every connection must not be hammered.
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Sends and receives until the connection breaks; none when the client is closed.
async fn converse(shared: &Arc<Shared>, stream: &UnixStream) -> Option<std::io::Error> {
    let mut input: Vec<u8> = Vec::new();
    let mut buffer = vec![0; READ];
    let mut output: Vec<u8> = Vec::new();
    let mut sent = 0;
    // Apart: a disk that is slower than a spin must not be hidden by locks that come at once.
    let (mut for_locks, mut for_the_disk) = (Spinner::new(), Spinner::new());
    loop {
        if sent == output.len() {
            output.clear();
            sent = 0;
            let mut state = shared.lock();
            if state.closed && state.output.is_empty() {
                return None;
            }
            std::mem::swap(&mut output, &mut state.output);
        }
        while sent < output.len() {
            match stream.try_write(&output[sent..]) {
                Ok(count) => sent += count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                // What the writer answered before it died can still be read.
                Err(_) => sent = output.len(),
            }
        }
        let awaited = match sent == output.len() {
            true => shared.lone(),
            false => None,
        };
        if let Some(awaited) = awaited {
            let spinner = match awaited {
                Awaited::Lock => &mut for_locks,
                Awaited::Disk => &mut for_the_disk,
            };
            spinner.chance();
            while spinner.is_spinning() {
                // Everything else on this event loop goes first, and other processes do.
                tokio::task::yield_now().await;
                match stream.try_read(&mut buffer) {
                    Err(e) if e.kind() == ErrorKind::WouldBlock && shared.lone().is_some() => {
                        spinner.give_way();
                    }
                    Ok(count) if count > 0 => {
                        spinner.came();
                        if let Err(e) = take(shared, &mut input, &buffer[..count]) {
                            return Some(e);
                        }
                    }
                    // There is something to send, or what is met again below.
                    _ => spinner.stop(),
                }
            }
        }
        let interest = if sent < output.len() {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        tokio::select! {
            ready = stream.ready(interest) => {
                if let Err(e) = ready {
                    return Some(e);
                }
            }
            () = shared.wake.notified() => continue,
        }
        loop {
            match stream.try_read(&mut buffer) {
                Ok(0) => return Some(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    if let Err(e) = take(shared, &mut input, &buffer[..count]) {
                        return Some(e);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Some(e),
            }
        }
    }
}

/// Takes the whole answers of what has come so far.
fn take(shared: &Arc<Shared>, input: &mut Vec<u8>, more: &[u8]) -> std::io::Result<()> {
    input.extend_from_slice(more);
    let used = shared.take_answers(input).map_err(std::io::Error::other)?;
    input.drain(..used);
    Ok(())
}
