//! The sockets that the world connects to: bound and listening in the master,
//! shared by all workers.
//!
//! All workers share one queue: the death or restart of a worker resets no connection. (With
//! SO_REUSEPORT each worker would have its own queue, which dies with it.)

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use listenfd::ListenFd;
use socket2::{Domain, SockAddr, Socket, Type};

use super::sys;
use crate::author::start_error::StartError;
use crate::config::{Config, Listen};
use crate::net::listener::{Listener, ListeningSocket, Purpose, SocketFile};
use crate::process::privileges;

/// Connections that the kernel completes and keeps for us while workers are
/// busy. The kernel's own limit, net.core.somaxconn, is 4096 by default.
const BACKLOG: i32 = 4096;

/// Tries to find a port that is free at every address of the host.
const FREE_PORT_TRIES: u32 = 20;

/// How long a port that is taken may become free: the workers of a master that was
/// killed give it up when they have answered who is in its queue.
const TAKEN: Duration = Duration::from_secs(1);

/// The sockets that the init system has opened for this program (LISTEN_FDS,
/// sd_listen_fds(3)); none if it has not. They are for the world.
///
/// # Errors
/// [`StartError::Refused`]: one of them is no listening socket.
pub(crate) fn given() -> crate::StartResult<Vec<Listener>> {
    let mut given = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..given.len() {
        let Ok(Some(number)) = given.take_raw_fd(index) else {
            continue;
        };
        let listener = sys::adopt(number)
            .and_then(|file| Listener::adopt(Purpose::Public, file))
            .map_err(|e| {
                StartError::Refused(format!(
                    "socket {index} of LISTEN_FDS is of no use ({e}); give stream sockets only: ListenStream=8080 in the .socket unit"
                ))
            })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// The sockets of a configuration that are not there yet. For the world: none when
/// updates are polled for and no other system calls.
///
/// # Errors
/// Port or file taken, no right to it, no such host.
pub(crate) fn open(config: &Config, listeners: &mut Vec<Listener>) -> crate::StartResult<()> {
    let has = |listeners: &[Listener], purpose| listeners.iter().any(|l| l.purpose == purpose);
    if config.listens() && !has(listeners, Purpose::Public) {
        bind(config, &config.listen, Purpose::Public, listeners)?;
    }
    match &config.admin {
        Some(admin) if !has(listeners, Purpose::Admin) => {
            bind(config, &admin.listen, Purpose::Admin, listeners)
        }
        Some(_) => Ok(()),
        None => {
            listeners.retain(|listener| listener.purpose != Purpose::Admin);
            Ok(())
        }
    }
}

fn bind(
    config: &Config,
    listen: &Listen,
    purpose: Purpose,
    into: &mut Vec<Listener>,
) -> crate::StartResult<()> {
    match listen {
        Listen::Tcp { host, port } => {
            let bound = bind_tcp(host, *port, purpose)?;
            into.extend(bound.into_iter().map(|l| Listener::tcp(purpose, l)));
        }
        // The user that the bot becomes removes it in the end, so it makes it, too.
        Listen::Unix(path) => into.push(privileges::lent(config, || bind_unix(path, purpose))??),
    }
    Ok(())
}

/// Binds a socket in the file system. One that a dead program left is replaced. The
/// world's may be connected to by everybody on this machine, as a port may: who shall not
/// is kept out of its directory. The operators' is for this user alone.
///
/// # Errors
/// Another program listens there, no right to it.
fn bind_unix(path: &Path, purpose: Purpose) -> crate::StartResult<Listener> {
    let refused = |e: &dyn std::fmt::Display| {
        StartError::Refused(format!("cannot listen on {}: {e}", path.display()))
    };
    // A reload may come from another directory, and removing works by name.
    let path = std::path::absolute(path).map_err(|e| refused(&e))?;
    let begun = Instant::now();
    while is_served(&path) && begun.elapsed() < TAKEN {
        std::thread::sleep(Duration::from_millis(20));
    }
    match connect(&path) {
        Ok(()) => {
            return Err(StartError::NotYet(format!(
                "cannot listen on {}: another program listens there; stop it, or name another file",
                path.display()
            )));
        }
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => {
            let is_socket = fs::symlink_metadata(&path).is_ok_and(|m| m.file_type().is_socket());
            if !is_socket {
                return Err(refused(&"there is a file that is no socket; name another"));
            }
            fs::remove_file(&path).map_err(|e| refused(&e))?;
        }
        // Nothing is there, or binding will say what is wrong.
        Err(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(|e| refused(&e))?;
    let bound = socket
        .set_nonblocking(true)
        .and_then(|()| SockAddr::unix(&path))
        .and_then(|address| socket.bind(&address));
    bound.map_err(|e| refused(&e))?;
    let mode = match purpose {
        Purpose::Public => 0o666,
        Purpose::Admin => 0o600,
    };
    fs::set_permissions(&path, Permissions::from_mode(mode))
        .and_then(|()| socket.listen(BACKLOG))
        .map_err(|e| refused(&e))?;
    Ok(Listener {
        purpose,
        socket: ListeningSocket::Unix(OwnedFd::from(socket).into(), SocketFile::at(path)),
    })
}

/// Whether a program listens at a socket in the file system.
fn is_served(path: &Path) -> bool {
    connect(path).is_ok()
}

/// Never waits: a queue that is full is one that is served.
fn connect(path: &Path) -> std::io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(()),
        connected => connected,
    }
}

/// Binds every address of `host`: `localhost` is mostly both 127.0.0.1 and ::1.
///
/// # Errors
/// Port taken, no right to it, no such host.
fn bind_tcp(host: &str, port: u16, purpose: Purpose) -> crate::StartResult<Vec<TcpListener>> {
    let (flag, _) = flags(purpose);
    let mut addresses = resolve(host, port).map_err(|e| {
        StartError::NotYet(format!(
            "cannot resolve {host}: {e}; give an address of this machine with {flag}, such as 0.0.0.0"
        ))
    })?;
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
            Err((address, e)) => return Err(explain(address, purpose, &e)),
            Ok(listeners) => return Ok(listeners),
        }
    }
    Err(StartError::NotYet(format!("no port is free at {host}")))
}

/// The addresses of a host. For `localhost` neither a file nor a server is needed (RFC
/// 6761, 6.3): an empty root has none.
fn resolve(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    match (host, port).to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(_) if host == "localhost" => Ok(vec![
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ]),
        Err(e) => Err(e),
    }
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

/// Closes the door of the public: see [`Listener::refuse_newcomers`].
pub(crate) fn refuse_newcomers(listeners: &[Listener]) {
    close(listeners, Purpose::Public);
}

/// At the very end: the operators' socket leaves no file.
pub(crate) fn remove_admin(listeners: &[Listener]) {
    close(listeners, Purpose::Admin);
}

fn close(listeners: &[Listener], purpose: Purpose) {
    let mut told = false;
    for listener in listeners.iter().filter(|l| l.purpose == purpose) {
        if let Err(error) = listener.refuse_newcomers()
            && !std::mem::replace(&mut told, true)
        {
            tracing::info!(
                "the door cannot be closed ({error}): a connection that is made in the very last moment may be reset; its client may safely try again"
            );
        }
    }
}

/// What names the address, and its port.
fn flags(purpose: Purpose) -> (&'static str, &'static str) {
    match purpose {
        Purpose::Public => ("--host", "--port"),
        Purpose::Admin => ("--admin", "--admin"),
    }
}

/// A port may be given back, an address may come when the network does; a right does not
/// come by itself.
fn explain(address: SocketAddr, purpose: Purpose, error: &std::io::Error) -> StartError {
    let port = address.port();
    let (host, flag) = flags(purpose);
    match error.kind() {
        ErrorKind::AddrInUse => StartError::NotYet(format!(
            "port {port} is taken by another program; stop it, or give another port with {flag} (0 picks a free one)"
        )),
        ErrorKind::PermissionDenied => StartError::Refused(format!(
            "no right to listen on port {port}; ports below 1024 need root or CAP_NET_BIND_SERVICE: give a higher one with {flag}"
        )),
        ErrorKind::AddrNotAvailable => StartError::NotYet(format!(
            "{} is not an address of this machine; give one that is with {host}, such as 0.0.0.0",
            address.ip()
        )),
        _ => StartError::Refused(format!("cannot listen on {address}: {error}")),
    }
}
