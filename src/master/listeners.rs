//! The sockets that the world connects to: bound and listening in the master,
//! shared by all workers.
//!
//! One queue for all of them: the death or restart of a worker resets nobody.
//! With SO_REUSEPORT each worker has a queue of its own, which dies with it.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::time::{Duration, Instant};

use listenfd::ListenFd;
use socket2::{Domain, SockFilter, SockRef, Socket, Type};

use crate::config::{Config, Listen, Updater};
use crate::error::Error;

/// Connections that the kernel completes and keeps for us while workers are
/// busy. The kernel's own limit, net.core.somaxconn, is 4096 by default.
const BACKLOG: i32 = 4096;

/// Tries to find a port that is free at every address of the host.
const FREE_PORT_TRIES: u32 = 20;

/// How long a port that is taken may become free: the workers of a master that was
/// killed give it up when they have answered who is in its queue.
const TAKEN: Duration = Duration::from_secs(1);

/// The sockets that the init system has opened for this program (LISTEN_FDS,
/// sd_listen_fds(3)); none if it has not.
///
/// # Errors
/// [`Error::Start`]: one of them is no listening TCP socket.
pub(crate) fn given() -> crate::Result<Vec<TcpListener>> {
    let mut given = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..given.len() {
        let refused = |e: &dyn std::fmt::Display| {
            Error::Start(format!(
                "socket {index} of LISTEN_FDS is of no use ({e}); give TCP sockets only: ListenStream=8080 in the .socket unit"
            ))
        };
        let listener = given.take_tcp_listener(index).map_err(|e| refused(&e))?;
        let Some(listener) = listener else { continue };
        let socket = SockRef::from(&listener);
        if !socket.is_listener().map_err(|e| refused(&e))? {
            return Err(refused(&"it does not listen"));
        }
        welcome(&listener).map_err(|e| refused(&e))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Makes a socket that others opened ours.
pub(super) fn welcome(listener: &TcpListener) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    // Should an earlier program have closed the door on its way out.
    match SockRef::from(listener).detach_filter() {
        Err(e) if e.raw_os_error() != Some(nix::libc::ENOENT) => Err(e),
        _ => Ok(()),
    }
}

/// The sockets of a configuration; none when updates are polled for.
///
/// # Errors
/// [`Error::Start`]: port taken, no right to it, no such host.
pub(crate) fn open(config: &Config) -> crate::Result<Vec<TcpListener>> {
    match config.updater {
        Updater::Polling => Ok(Vec::new()),
        Updater::Webhooks => match &config.listen {
            Listen::Tcp { host, port } => bind(host, *port),
            Listen::Unix(_) => Err(Error::Start("unix: is not there yet".to_owned())),
        },
    }
}

/// Binds every address of `host`: `localhost` is mostly both 127.0.0.1 and ::1.
///
/// # Errors
/// [`Error::Start`]: port taken, no right to it, no such host.
fn bind(host: &str, port: u16) -> crate::Result<Vec<TcpListener>> {
    let mut addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|e| {
            Error::Start(format!(
                "cannot resolve --host {host}: {e}; give an address of this machine, such as 0.0.0.0"
            ))
        })?
        .collect();
    addresses.sort_unstable_by_key(|address| (address.is_ipv6(), *address));
    addresses.dedup();
    let begun = Instant::now();
    for attempt in 1.. {
        match bind_all(&addresses) {
            // A port that is free at one address may be taken at the other.
            Err((_, e))
                if port == 0 && e.kind() == ErrorKind::AddrInUse && attempt < FREE_PORT_TRIES => {}
            Err((_, e))
                if port != 0 && e.kind() == ErrorKind::AddrInUse && begun.elapsed() < TAKEN =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err((address, e)) => return Err(Error::Start(explain(address, &e))),
            Ok(listeners) => return Ok(listeners),
        }
    }
    Err(Error::Start(format!("no port is free at {host}")))
}

fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, (SocketAddr, std::io::Error)> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for address in addresses {
        let mut address = *address;
        // Port 0: the first address picks, the others follow.
        if address.port() == 0
            && let Some(Ok(first)) = listeners.first().map(TcpListener::local_addr)
        {
            address.set_port(first.port());
        }
        match listen(address) {
            Ok(listener) => listeners.push(listener),
            // A machine without IPv6 still resolves localhost to ::1.
            Err(e) if no_such_family(&e) && !listeners.is_empty() => {}
            Err(e) => return Err((address, e)),
        }
    }
    Ok(listeners)
}

fn no_such_family(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    // Close-on-exec, so that programs which handlers start do not keep the port.
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart need not wait for the last life's connections to be forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // 0.0.0.0 and :: are two sockets, whatever the system's default.
        socket.set_only_v6(true)?;
    }
    // A property of the socket that all processes share: set once, here.
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Lets nobody new in: from now on the kernel drops bare SYNs, so the queue of a
/// listener can only shrink and, once it is empty, be closed without resetting
/// anybody. A client that comes now sees its refusal when it sends its SYN again,
/// after a second. Without it (the kernel refuses filters) a connection that is
/// completed in the last moment is reset; its client may safely try again.
///
/// Not for sockets that outlive this program: the filter would, too.
pub(crate) fn refuse_newcomers(listeners: &[TcpListener]) {
    // The filter sees the TCP header; byte 13 holds the flags (RFC 9293, 3.1).
    const SYN: u32 = 0x02;
    const SYN_OR_ACK: u32 = 0x12;
    let program = [
        SockFilter::new(0x30, 0, 0, 13),         // A = flags
        SockFilter::new(0x54, 0, 0, SYN_OR_ACK), // A &= SYN | ACK
        SockFilter::new(0x15, 0, 1, SYN),        // a bare SYN?
        SockFilter::new(0x06, 0, 0, 0),          // yes: drop
        SockFilter::new(0x06, 0, 0, u32::MAX),   // no: take all of it
    ];
    for listener in listeners {
        if let Err(error) = SockRef::from(listener).attach_filter(&program) {
            tracing::info!(
                "the kernel takes no filter ({error}): a connection that is made in the very last moment may be reset; its client may safely try again"
            );
            return;
        }
    }
}

fn explain(address: SocketAddr, error: &std::io::Error) -> String {
    let port = address.port();
    match error.kind() {
        ErrorKind::AddrInUse => format!(
            "port {port} is taken by another program; stop it, or give another port with --port (0 picks a free one)"
        ),
        ErrorKind::PermissionDenied => format!(
            "no right to listen on port {port}; ports below 1024 need root or CAP_NET_BIND_SERVICE: give a higher one with --port"
        ),
        ErrorKind::AddrNotAvailable => format!(
            "{} is not an address of this machine; give one that is with --host, such as 0.0.0.0",
            address.ip()
        ),
        _ => format!("cannot listen on {address}: {error}"),
    }
}
