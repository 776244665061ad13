//! The server's address, and how a connection to it is made.
//!
//! Used by every file here that connects. An address may name several hosts: they are tried in
//! order, beginning with the last that worked, until one accepts. Invariant: the password is in
//! neither [`Display`](std::fmt::Display) nor [`Debug`](std::fmt::Debug). Bounds:
//! [`MAX_POOL`](bounds::MAX_POOL) connections of a process, beside its keeper's; [`CONNECT`]
//! for each host, until its session is set up.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::errors::{self, Failed};
use super::parameters::{Parameters, wrong};
use super::session::{self, Purpose};
use super::tls::{self, Tls};
use crate::lanes::bounds;
use crate::{Result, Sync};

/// For a connection to be made and set up.
const CONNECT: Duration = Duration::from_secs(5);

/// An address such as `postgres://user:password@host/database?pool=8&lease=10`.
#[derive(Clone)]
pub struct Server {
    config: Arc<Config>,
    /// Of each host.
    hosts: Arc<[Config]>,
    /// The one that took us last: it is tried first, so that one that hangs is waited for
    /// once.
    last: Arc<AtomicUsize>,
    read_write: bool,
    pool: usize,
    lease: Duration,
    tls: Tls,
}

pub(super) type TlsConnection =
    Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

impl Server {
    /// Reads an address.
    ///
    /// # Errors
    /// [`Error::Open`](crate::Error::Open) with a sentence that names what is wrong with it.
    pub fn parse(url: &str) -> Result<Self> {
        let Parameters {
            url,
            pool,
            lease,
            tls,
            read_write,
        } = Parameters::take(url)?;
        // The library's words name the parameter, never a value.
        let mut config = Config::from_str(&url).map_err(|e| wrong(errors::words(&e)))?;
        let count = config.get_hosts().len();
        if count == 0 || config.get_hosts().iter().any(is_nameless) {
            return Err(wrong("it names no host"));
        }
        if ![0, 1, count].contains(&config.get_ports().len())
            || ![0, count].contains(&config.get_hostaddrs().len())
        {
            return Err(wrong("it has not as many ports or hostaddr as hosts"));
        }
        // As in libpq: what stays on this machine needs no TLS.
        let local = |host: &Host| matches!(host, Host::Unix(_));
        config.ssl_mode(match config.get_hosts().iter().all(local) {
            true => SslMode::Disable,
            false => tls.ssl_mode(),
        });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        // A server that vanished is noticed in seconds, not in hours.
        config.keepalives_idle(Duration::from_secs(5));
        config.tcp_user_timeout(Duration::from_secs(10));
        let first = match config.get_load_balance_hosts() {
            LoadBalanceHosts::Random => getrandom::u32().map_or(0, |n| n as usize % count),
            _ => 0,
        };
        Ok(Server {
            last: Arc::new(AtomicUsize::new(first)),
            hosts: (0..count).map(|n| of_host(&config, n)).collect(),
            config: Arc::new(config),
            read_write,
            pool,
            lease,
            tls,
        })
    }

    /// A process that gave no sign for so long is taken for dead.
    pub(super) fn lease(&self) -> Duration {
        self.lease
    }

    /// Connections that carry turns.
    pub(super) fn lanes(&self) -> usize {
        bounds::lanes(self.pool)
    }

    /// Connections for the author's own SQL.
    pub(super) fn for_authors(&self) -> usize {
        self.pool - self.lanes()
    }

    /// Whether another host may take over from the one that is used.
    pub(super) fn has_several_hosts(&self) -> bool {
        self.hosts.len() > 1
    }

    /// Opens a connection to the first host that takes us; the second part is to be
    /// polled for the first to work.
    pub(super) async fn open(
        &self,
        purpose: Purpose,
        sync: Sync,
    ) -> std::result::Result<(Client, TlsConnection), Failed> {
        let read_write = self.read_write || purpose != Purpose::Tool;
        let mut failed = Failed::Slow;
        let first = self.last.load(Ordering::Relaxed);
        for n in (first..self.hosts.len()).chain(0..first) {
            let Some(config) = self.hosts.get(n) else {
                continue;
            };
            let opened = async {
                let (client, mut connection) = self.connect(config).await?;
                tokio::select! {
                    done = session::set_up(&client, purpose, sync, read_write) => done?,
                    ended = &mut connection => {
                        ended?;
                        return Err(Failed::Closed);
                    }
                }
                Ok((client, connection))
            };
            // A server that hangs takes connections too.
            match tokio::time::timeout(self.patience(), opened).await {
                Ok(Ok(opened)) => {
                    self.last.store(n, Ordering::Relaxed);
                    return Ok(opened);
                }
                Ok(Err(error)) => failed = error,
                Err(_) => failed = Failed::Slow,
            }
        }
        Err(failed)
    }

    fn patience(&self) -> Duration {
        let asked = self.config.get_connect_timeout().copied();
        asked.unwrap_or(CONNECT).max(CONNECT)
    }

    async fn connect(
        &self,
        config: &Config,
    ) -> std::result::Result<(Client, TlsConnection), tokio_postgres::Error> {
        match config.connect(self.tls.connect.clone()).await {
            // As in libpq: prefer takes what there is. A server may turn away who
            // comes with TLS (`hostnossl` in its pg_hba.conf).
            Err(error)
                if config.get_ssl_mode() == SslMode::Prefer
                    && (tls::failed(&error)
                        || error.code()
                            == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)) =>
            {
                let mut config = config.clone();
                config.ssl_mode(SslMode::Disable);
                config.connect(self.tls.connect.clone()).await
            }
            connected => connected,
        }
    }

    /// Opens a connection that is served by a task of its own.
    pub(super) async fn client(
        &self,
        purpose: Purpose,
        sync: Sync,
    ) -> std::result::Result<Client, Failed> {
        let (client, connection) = self.open(purpose, sync).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(
                    "a connection to PostgreSQL ended: {}",
                    errors::words(&error)
                );
            }
        });
        Ok(client)
    }
}

fn is_nameless(host: &Host) -> bool {
    matches!(host, Host::Tcp(name) if name.is_empty())
}

/// The same, with one of its hosts alone.
fn of_host(config: &Config, n: usize) -> Config {
    let mut one = Config::new();
    match config.get_hosts().get(n) {
        Some(Host::Tcp(name)) => one.host(name),
        Some(Host::Unix(path)) => one.host_path(path),
        None => &mut one,
    };
    if let Some(address) = config.get_hostaddrs().get(n) {
        one.hostaddr(*address);
    }
    let ports = config.get_ports();
    if let Some(port) = ports.get(n).or(ports.first()) {
        one.port(*port);
    }
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(name) = config.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    if let Some(timeout) = config.get_connect_timeout() {
        one.connect_timeout(*timeout);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        one.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.application_name(config.get_application_name().unwrap_or("turnkey"))
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle());
    one
}

/// As a person would write it, without the password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        let ports = self.config.get_ports();
        for (n, host) in self.config.get_hosts().iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            match host {
                Host::Tcp(name) => f.write_str(name)?,
                Host::Unix(path) => write!(f, "{}", path.display())?,
            }
            match ports.get(n).or(ports.first()) {
                Some(5432) | None => {}
                Some(port) => write!(f, ":{port}")?,
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let server = Server::parse("postgresql://ann:s%33cret@db.example:6432/bot?pool=4").unwrap();
        assert_eq!(server.to_string(), "postgres://ann@db.example:6432/bot");
        assert!(!format!("{server:?}").contains("cret"));
        assert_eq!((server.lanes(), server.for_authors()), (2, 2));
        assert_eq!(server.lease(), bounds::DEFAULT_LEASE);
        let server = Server::parse("postgres://ann@db/bot?lease=2&pool=16").unwrap();
        assert_eq!((server.lease().as_secs(), server.lanes()), (2, 4));
        let server = Server::parse("postgres://ann@%2Frun%2Fpg/bot?sslmode=prefer").unwrap();
        assert_eq!(server.to_string(), "postgres://ann@/run/pg/bot");
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_its_password() {
        for (url, word) in [
            ("postgres://ann:secret@db/bot?pool=0", "pool"),
            ("postgres://ann:secret@db/bot?pool=many", "pool"),
            ("postgres://ann:secret@db/bot?lease=1", "2 to 300 seconds"),
            ("postgres://ann:secret@db/bot?lease=301", "lease"),
            ("postgres://ann:secret@db/bot?lease=10s", "lease"),
            ("postgres://ann:secret@db/bot?sslmode=allow", "verify-full"),
            (
                "postgres://ann:secret@db/bot?sslmode=require&sslrootcert=system",
                "verify-full",
            ),
            (
                "postgres://ann:secret@db/bot?sslmode=verify-ca&sslrootcert=/no/such",
                "cannot read",
            ),
            (
                "postgres://ann:secret@db/bot?sslmode=require&sslrootcert=%2Fdev%2Fnull",
                "none in it",
            ),
            ("postgres://ann:secret@db/bot?colour=red", "colour"),
            (
                "postgres://ann:secret@db/bot?target_session_attrs=standby",
                "read-write",
            ),
            (
                "postgres://ann:secret@a,b:1,c:2/bot?port=7",
                "as many ports",
            ),
            ("postgres:", "host"),
            ("postgres://ann:secret@db:port/bot", "is no address"),
        ] {
            let error = Server::parse(url).unwrap_err().to_string();
            assert!(error.contains(word), "{url}: {error}");
            assert!(!error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn several_hosts_are_tried_in_order() {
        let url = "postgres://ann:secret@a:1,b,%2Frun:3/bot?target_session_attrs=primary";
        let server = Server::parse(url).unwrap();
        assert_eq!(server.to_string(), "postgres://ann@a:1,b,/run:3/bot");
        assert!(server.read_write && server.has_several_hosts());
        let ports: Vec<_> = server
            .hosts
            .iter()
            .map(|c| c.get_ports().to_vec())
            .collect();
        assert_eq!(ports, [[1], [5432], [3]]);
        assert!(server.hosts.iter().all(|c| c.get_hosts().len() == 1));
    }

    proptest! {
        /// Whatever stands around it, and however it is written.
        #[test]
        fn no_address_shows_its_password(
            password in "[a-z0-9%@:/?#&= ,;]{0,12}",
            host in "[a-z./:@?,%]{0,8}",
            rest in "[a-z/?&=%@]{0,12}",
        ) {
            let shown = format!("p4ss{password}w0rd");
            for start in ["postgres://ann:", "postgresql://ann:", "postgres:ann:", "postgres://"] {
                let shown = match Server::parse(&format!("{start}{shown}@{host}/{rest}")) {
                    // A name alone is a user's.
                    Ok(_) if start == "postgres://" && !shown.contains(':') => String::new(),
                    Ok(server) => format!("{server} {server:?}"),
                    Err(error) => error.to_string(),
                };
                prop_assert!(!shown.contains("w0rd"), "{}", shown);
                prop_assert!(!shown.contains("p4ss") || start == "postgres://", "{}", shown);
            }
        }
    }
}
