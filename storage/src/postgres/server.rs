//! The server's address, and how a connection to it is set up.
//!
//! Used by every file here that connects. Invariant: the password is in neither
//! [`Display`](std::fmt::Display) nor [`Debug`](std::fmt::Debug). Bounds:
//! [`MAX_POOL`](bounds::MAX_POOL) connections of a process, beside its keeper's.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::errors;
use super::parameters::Parameters;
use super::tls::{self, Tls};
use crate::server::bounds;
use crate::{Error, Result, Sync};

/// For a connection to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// An author's statements and questions are stopped after this time.
pub(super) const MAX_STATEMENT: Duration = Duration::from_secs(5);

/// An address such as `postgres://user:password@host/database?pool=8&lease=10`.
#[derive(Clone)]
pub struct Server {
    config: Arc<Config>,
    pool: usize,
    lease: Duration,
    tls: Tls,
}

type TlsConnection = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Turns, many at once.
    Lane,
    /// The author's own SQL.
    Author,
    /// To show that this process lives.
    Keeper,
    /// To create, migrate or look.
    Tool,
}

impl Server {
    /// Reads an address.
    ///
    /// # Errors
    /// [`Error::Open`] with a sentence that names what is wrong with it.
    pub fn parse(url: &str) -> Result<Self> {
        let Parameters {
            url,
            pool,
            lease,
            tls,
        } = Parameters::take(url)?;
        let mut config = Config::from_str(&url).map_err(|e| {
            // The library's words name the parameter, never a value.
            Error::Open(format!(
                "--storage is no address of a PostgreSQL database: {}; write postgres://user:password@host/database",
                errors::words(&e)
            ))
        })?;
        if config.get_hosts().is_empty() {
            return Err(Error::Open(
                "--storage postgres: names no host; write postgres://user:password@host/database"
                    .to_owned(),
            ));
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
        Ok(Server {
            config: Arc::new(config),
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

    /// Opens a connection; the second part is to be polled for the first to work.
    pub(super) async fn open(
        &self,
        purpose: Purpose,
        sync: Sync,
    ) -> std::result::Result<(Client, TlsConnection), tokio_postgres::Error> {
        let mut config = Config::clone(&self.config);
        let mut options = self.config.get_options().unwrap_or_default().to_owned();
        options.push_str(match sync {
            Sync::Full => " -c synchronous_commit=on",
            Sync::Normal => " -c synchronous_commit=off",
        });
        match purpose {
            // Each statement finds its rows by key. The planner does not know how
            // many turns there will be, and plans once for all calls.
            Purpose::Lane => options.push_str(
                " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off \
                 -c plan_cache_mode=force_generic_plan",
            ),
            // One that waits inside a transaction holds rows of others.
            Purpose::Author => options.push_str(&format!(
                " -c statement_timeout={} -c idle_in_transaction_session_timeout=10000",
                MAX_STATEMENT.as_millis()
            )),
            Purpose::Keeper => options.push_str(" -c jit=off"),
            Purpose::Tool => {}
        }
        config.options(options.trim_start());
        config.application_name("turnkey");
        let connected = config.connect(self.tls.connect.clone()).await;
        match connected {
            // As in libpq: prefer takes what there is. A server may turn away who
            // comes with TLS (`hostnossl` in its pg_hba.conf).
            Err(error)
                if config.get_ssl_mode() == SslMode::Prefer
                    && (tls::failed(&error)
                        || error.code()
                            == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)) =>
            {
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
    ) -> std::result::Result<Client, tokio_postgres::Error> {
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
            ("postgres:", "host"),
            ("postgres://ann:secret@db:port/bot", "--storage"),
        ] {
            let error = Server::parse(url).unwrap_err().to_string();
            assert!(error.contains(word), "{url}: {error}");
            assert!(!error.contains("secret"), "{url}: {error}");
        }
    }
}
