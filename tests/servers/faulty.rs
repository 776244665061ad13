//! A small server with a fault of choice: what the drill is tested against. Its
//! `perfect` stops without losing a request, so that the drill can show that it invents
//! none; the others lose, double or leave behind what they print, so that it can be
//! compared.
//!
//! `faulty KIND`, one of the names in [`main`]. Listens on a free port of the loopback
//! interface. Threads and blocking sockets: nothing here that the drill uses itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use socket2::{SockFilter, SockRef};

/// How long a request is worked on.
const WORK: Duration = Duration::from_millis(5);

/// After the signal, an idle connection is kept open for so long.
const LINGER: Duration = Duration::from_millis(500);

/// Between two looks at whether it stops.
const LOOK: Duration = Duration::from_millis(2);

static STOPPING: AtomicBool = AtomicBool::new(false);
static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);
/// Requests that were lost, or answered twice.
static FAULTS: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Stops as one should.
    Perfect,
    /// Closes whatever is not answered yet when it is told to stop.
    Drops,
    /// Answers every tenth request twice.
    Twice,
    /// Stops as one should, and leaves a child behind, in a session of its own.
    Orphan,
    /// Prints a traceback when it stops.
    Trace,
    /// Does not stop.
    Stays,
    /// Does not stop either; nobody gets a connection any more.
    Hides,
    /// Answers everything with a redirection.
    Redirects,
    /// Answers 500 once it is told to stop.
    Errors,
    /// Says "not now" once it is told to stop.
    Declines,
}

fn main() -> ExitCode {
    let kind = std::env::args().nth(1).unwrap_or_default();
    let kind = match kind.as_str() {
        "perfect" => Kind::Perfect,
        "drops" => Kind::Drops,
        "twice" => Kind::Twice,
        "orphan" => Kind::Orphan,
        "trace" => Kind::Trace,
        "stays" => Kind::Stays,
        "hides" => Kind::Hides,
        "redirects" => Kind::Redirects,
        "errors" => Kind::Errors,
        "declines" => Kind::Declines,
        "deaf" => loop {
            std::thread::sleep(Duration::from_secs(60));
        },
        "exits" => {
            println!("there is no database");
            return ExitCode::from(3);
        }
        "child" => {
            nix::unistd::setsid().expect("a session");
            std::thread::sleep(Duration::from_secs(120));
            return ExitCode::SUCCESS;
        }
        _ => return ExitCode::from(2),
    };
    serve(kind);
    println!("{} faults", FAULTS.load(SeqCst));
    ExitCode::SUCCESS
}

fn serve(kind: Kind) {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().expect("a mask");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let filter = listener.try_clone().expect("a socket");
    let accepting = std::thread::spawn(move || accept(&listener, kind));
    signals.wait().expect("a signal");
    if kind == Kind::Hides {
        refuse_newcomers(&filter);
    }
    if matches!(kind, Kind::Stays | Kind::Hides) {
        std::thread::sleep(Duration::from_secs(120));
    }
    if kind == Kind::Orphan {
        let program = std::env::current_exe().expect("a name");
        let child = Command::new(program).arg("child").spawn();
        // It outlives us, which is the fault: nobody waits for it.
        std::mem::forget(child.expect("a child"));
    }
    if kind == Kind::Trace {
        println!("Traceback (most recent call last):\n  File \"app.py\", line 1\nRuntimeError: no");
    }
    refuse_newcomers(&filter);
    STOPPING.store(true, SeqCst);
    drop(filter);
    accepting.join().expect("no panic");
    while CONNECTIONS.load(SeqCst) > 0 {
        std::thread::sleep(LOOK);
    }
}

/// The kernel drops bare SYNs from now on: the queue can only shrink.
fn refuse_newcomers(listener: &TcpListener) {
    let program = [
        SockFilter::new(0x30, 0, 0, 13),
        SockFilter::new(0x54, 0, 0, 0x12),
        SockFilter::new(0x15, 0, 1, 0x02),
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    SockRef::from(listener)
        .attach_filter(&program)
        .expect("a filter");
}

/// Until it is told to stop and the queue has stayed empty for a while.
fn accept(listener: &TcpListener, kind: Kind) {
    let mut empty_since = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                empty_since = Instant::now();
                CONNECTIONS.fetch_add(1, SeqCst);
                std::thread::spawn(move || {
                    connection(stream, kind);
                    CONNECTIONS.fetch_sub(1, SeqCst);
                });
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                if STOPPING.load(SeqCst) && empty_since.elapsed() > Duration::from_millis(100) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(e) => panic!("{e}"),
        }
    }
}

fn connection(mut stream: TcpStream, kind: Kind) {
    stream.set_nonblocking(false).expect("a socket");
    stream.set_read_timeout(Some(LOOK)).expect("a socket");
    let mut served = 0;
    while request(&mut stream, kind, served) {
        served += 1;
    }
}

/// Reads and answers one request; whether there may be another.
fn request(stream: &mut TcpStream, kind: Kind, served: usize) -> bool {
    let mut bytes = Vec::new();
    let mut stopping_since = None;
    let mut buffer = [0; 4096];
    while length(&bytes).is_none_or(|length| bytes.len() < length) {
        if STOPPING.load(SeqCst) {
            let since = *stopping_since.get_or_insert_with(Instant::now);
            if kind == Kind::Drops && (served == 0 || !bytes.is_empty()) {
                FAULTS.fetch_add(1, SeqCst);
                return false;
            }
            if bytes.is_empty() && since.elapsed() > LINGER {
                return false;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return false,
        }
    }
    std::thread::sleep(WORK);
    let stopping = STOPPING.load(SeqCst);
    if stopping && kind == Kind::Drops {
        FAULTS.fetch_add(1, SeqCst);
        return false;
    }
    let close = stopping || String::from_utf8_lossy(&bytes).contains("Connection: close");
    let head = match (kind, stopping) {
        (Kind::Errors, true) => "HTTP/1.1 500 Internal Server Error\r\n",
        (Kind::Declines, true) => "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n",
        (Kind::Redirects, _) => "HTTP/1.1 302 Found\r\nLocation: /\r\n",
        _ => "HTTP/1.1 200 OK\r\n",
    };
    let connection = if close { "Connection: close\r\n" } else { "" };
    let answer = format!("{head}{connection}Content-Length: 3\r\n\r\nhi\n");
    static ANSWERS: AtomicUsize = AtomicUsize::new(0);
    let twice = kind == Kind::Twice && ANSWERS.fetch_add(1, SeqCst) % 10 == 9;
    let answer = answer.repeat(1 + usize::from(twice));
    FAULTS.fetch_add(usize::from(twice), SeqCst);
    stream.write_all(answer.as_bytes()).is_ok() && !close
}

/// Bytes of the request, once its head is there.
fn length(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes);
    let head = text.find("\r\n\r\n")? + 4;
    let body = text[..head]
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |length| length.parse().expect("a length"));
    Some(head + body)
}
