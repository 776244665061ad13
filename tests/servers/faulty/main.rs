//! A small server with a fault of choice: what the drill is tested against. Its
//! `perfect` stops without losing anything, in every protocol, so that the drill can show
//! that it invents no faults; the others lose, double or leave behind, and print how often,
//! so that it can be compared.
//!
//! `faulty KIND [PORT]`, a name of [`KINDS`]; on the loopback interface, on a free port or on
//! one that it may share with its successor. Threads and blocking sockets: nothing here that
//! the drill uses itself.
//!
//! | file | what |
//! | --- | --- |
//! | `http1.rs` | requests, their bodies, `/ready` |
//! | `http2.rs` | frames and GOAWAY |
//! | `events.rs` | `/events` and `/stream`, which take their time |
//! | `websocket.rs` | echoes and pushes |

mod events;
mod http1;
mod http2;
mod websocket;

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use socket2::{Domain, SockFilter, SockRef, Socket, Type};

/// How long a request is worked on.
const WORK: Duration = Duration::from_millis(5);

/// The same for `/slow`.
const SLOW_WORK: Duration = Duration::from_millis(1500);

/// After the signal, an idle connection is kept open for so long: a machine that stands still
/// for a second must not make it a fault.
const LINGER: Duration = Duration::from_secs(2);

/// Between two looks at whether it stops.
const LOOK: Duration = Duration::from_millis(2);

/// For a balancer to hear that this server is not ready any more.
const UNREADY: Duration = Duration::from_millis(300);

static STOPPING: AtomicBool = AtomicBool::new(false);
static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);
/// Requests that were lost, or answered twice.
static FAULTS: AtomicUsize = AtomicUsize::new(0);
/// Whether somebody has asked for `/ready`; then it is to be told first.
static HAS_BALANCER: AtomicBool = AtomicBool::new(false);
static IS_READY: AtomicBool = AtomicBool::new(true);

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
    /// The same, and the child holds the port.
    OrphanWithPort,
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
    /// Says that it is ready until nobody can connect any more.
    LiesThatReady,
    /// Leaves 300 ms after it was told to, whatever is under way.
    LeavesEarly,
    /// Takes no connection any more and keeps the listening socket open, so that the kernel
    /// does.
    DeadBacklog,
    /// HTTP/2: one GOAWAY, at once, with the last stream so far.
    GoesAwayAtOnce,
    /// HTTP/2: drops a stream that its GOAWAY promised to answer.
    DropsStream,
    /// HTTP/2: closes without a word.
    NoGoaway,
    /// gRPC, without a fault.
    Grpc,
    /// gRPC: ends an answer without its status.
    GrpcTorn,
    /// WebSocket: closes without a close frame.
    WebSocketSilent,
    /// WebSocket: reads messages and does not answer them any more, then closes properly.
    WebSocketDeaf,
    /// Ends in the middle of an event, and of a streamed answer.
    Torn,
    /// Resets uploads that are under way when it is told to stop.
    UploadReset,
    /// Turns large bodies away with 413, and waits for the client to hear it.
    TooLarge,
    /// The same without waiting: the reset takes the answer along.
    TooLargeReset,
}

const KINDS: [(&str, Kind); 25] = [
    ("perfect", Kind::Perfect),
    ("drops", Kind::Drops),
    ("twice", Kind::Twice),
    ("orphan", Kind::Orphan),
    ("orphan-with-port", Kind::OrphanWithPort),
    ("trace", Kind::Trace),
    ("stays", Kind::Stays),
    ("hides", Kind::Hides),
    ("redirects", Kind::Redirects),
    ("errors", Kind::Errors),
    ("declines", Kind::Declines),
    ("lies-that-ready", Kind::LiesThatReady),
    ("leaves-early", Kind::LeavesEarly),
    ("dead-backlog", Kind::DeadBacklog),
    ("goes-away-at-once", Kind::GoesAwayAtOnce),
    ("drops-stream", Kind::DropsStream),
    ("no-goaway", Kind::NoGoaway),
    ("grpc", Kind::Grpc),
    ("grpc-torn", Kind::GrpcTorn),
    ("websocket-silent", Kind::WebSocketSilent),
    ("websocket-deaf", Kind::WebSocketDeaf),
    ("torn", Kind::Torn),
    ("upload-reset", Kind::UploadReset),
    ("too-large", Kind::TooLarge),
    ("too-large-reset", Kind::TooLargeReset),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    let port = args.next().map_or(0, |port| port.parse().expect("a port"));
    match name.as_str() {
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
        _ => {}
    }
    let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == name) else {
        return ExitCode::from(2);
    };
    serve(*kind, port);
    println!("{} faults", FAULTS.load(SeqCst));
    ExitCode::SUCCESS
}

fn listen(port: u16) -> TcpListener {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("a socket");
    // A successor listens beside its predecessor.
    socket.set_reuse_port(port != 0).expect("a socket");
    socket.bind(&address.into()).expect("a port");
    socket.listen(1024).expect("a port");
    socket.set_nonblocking(true).expect("a socket");
    socket.into()
}

fn serve(kind: Kind, port: u16) {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().expect("a mask");
    let listener = listen(port);
    let filter = listener.try_clone().expect("a socket");
    let accepting = std::thread::spawn(move || accept(&listener, kind));
    signals.wait().expect("a signal");
    let leave_at = Instant::now() + UNREADY;
    if kind == Kind::Hides {
        refuse_newcomers(&filter);
    }
    if matches!(kind, Kind::Stays | Kind::Hides) {
        std::thread::sleep(Duration::from_secs(120));
    }
    if matches!(kind, Kind::Orphan | Kind::OrphanWithPort) {
        leave_a_child(&filter, kind);
    }
    if kind == Kind::Trace {
        println!("Traceback (most recent call last):\n  File \"app.py\", line 1\nRuntimeError: no");
    }
    if HAS_BALANCER.load(SeqCst) && kind != Kind::LiesThatReady {
        IS_READY.store(false, SeqCst);
        std::thread::sleep(UNREADY);
    }
    if kind != Kind::DeadBacklog {
        refuse_newcomers(&filter);
    }
    STOPPING.store(true, SeqCst);
    if kind == Kind::DeadBacklog {
        // The others wait for it.
        std::thread::sleep(UNREADY);
    }
    drop(filter);
    if kind == Kind::LeavesEarly {
        std::thread::sleep(leave_at.saturating_duration_since(Instant::now()));
        return;
    }
    accepting.join().expect("no panic");
    while CONNECTIONS.load(SeqCst) > 0 {
        std::thread::sleep(LOOK);
    }
}

/// It outlives us, which is the fault: nobody waits for it.
fn leave_a_child(listener: &TcpListener, kind: Kind) {
    let program = std::env::current_exe().expect("a name");
    let mut child = Command::new(program);
    child.arg("child");
    if kind == Kind::OrphanWithPort {
        let copy = listener.try_clone().expect("a socket");
        child.stdin(Stdio::from(OwnedFd::from(copy)));
    }
    std::mem::forget(child.spawn().expect("a child"));
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
        if kind == Kind::DeadBacklog && STOPPING.load(SeqCst) {
            return;
        }
        match listener.accept() {
            Ok((stream, _)) => {
                empty_since = Instant::now();
                CONNECTIONS.fetch_add(1, SeqCst);
                std::thread::spawn(move || {
                    stream.set_nonblocking(false).expect("a socket");
                    stream.set_read_timeout(Some(LOOK)).expect("a socket");
                    stream.set_nodelay(true).expect("a socket");
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
    let mut connection = http1::Connection::default();
    let mut served = 0;
    loop {
        match http1::request(&mut stream, &mut connection, kind, served) {
            http1::Next::Another => served += 1,
            http1::Next::End => return,
            http1::Next::Http2(bytes) => return http2::serve(&mut stream, bytes, kind),
            http1::Next::WebSocket => return websocket::serve(&mut stream, kind),
        }
    }
}

/// Waits for the client's end, so that nothing that was written is lost in a reset.
fn close_gently(stream: &mut TcpStream) {
    drop(stream.shutdown(std::net::Shutdown::Write));
    let deadline = Instant::now() + LINGER;
    let mut buffer = [0; 64 << 10];
    while Instant::now() < deadline && read(stream, &mut buffer).is_some() {}
}

/// Waits a moment for bytes: how many came. None: the connection has ended.
fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Option<usize> {
    match stream.read(buffer) {
        Ok(0) => None,
        Ok(count) => Some(count),
        Err(e) => match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Some(0),
            _ => None,
        },
    }
}
