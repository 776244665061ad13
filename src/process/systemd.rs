//! Notifies an init system that speaks systemd's protocol: sd_notify(3).
//!
//! Called by the master. Without NOTIFY_SOCKET in the environment nothing happens. A message
//! that cannot be sent is at most logged. Bound: the master's loop waits [`PATIENCE`] for a
//! message that nobody reads.

use std::ffi::OsStr;
use std::fmt::Write;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// How long an init system may take to take a message.
const PATIENCE: Duration = Duration::from_millis(100);

fn notify(states: &[NotifyState<'_>]) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&socket, states) {
        tracing::debug!("cannot tell the init system: {error}");
    }
}

/// sd-notify's own would wait for as long as nobody reads.
fn send(socket: &OsStr, states: &[NotifyState<'_>]) -> io::Result<()> {
    let mut message = String::new();
    for state in states {
        writeln!(message, "{state}").map_err(io::Error::other)?;
    }
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let from = UnixDatagram::unbound()?;
    from.set_write_timeout(Some(PATIENCE))?;
    from.send_to_addr(message.as_bytes(), &address).map(drop)
}

/// It serves; also the end of a reload.
pub(crate) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What `systemctl status` shows.
pub(crate) fn status(status: &str) {
    notify(&[NotifyState::Status(status)]);
}

/// A reload begins; [`ready`] ends it. Without the time, `systemctl reload` waits
/// for ever.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("no clock: {error}"),
    }
}

/// A stop begins, and may take so long.
pub(crate) fn stopping(status: &str, rest: Duration) {
    notify(&[
        NotifyState::Stopping,
        NotifyState::Status(status),
        extend(rest),
    ]);
}

/// It still goes on, and may take so long.
pub(crate) fn more_time(rest: Duration) {
    notify(&[extend(rest)]);
}

fn extend(rest: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(rest.as_micros()).unwrap_or(u32::MAX))
}

/// Another process is the service from now on.
pub(crate) fn main_process(pid: i32) {
    if let Ok(pid) = u32::try_from(pid) {
        notify(&[NotifyState::MainPid(pid)]);
    }
}

/// The master's loop runs.
pub(crate) fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// How often [`alive`] is expected, if at all: at half of WatchdogSec.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}
