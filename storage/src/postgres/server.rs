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
use tokio_postgres::{Client, Config, Connection, NoTls, Socket, tls::NoTlsStream};

use super::errors;
use crate::server::bounds::{self, DEFAULT_POOL};
use crate::{Error, Result, Sync};

/// For a connection to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// An author's statements and questions are stopped after this time.
pub(super) const MAX_STATEMENT: Duration = Duration::from_secs(5);

/// An address such as `postgres://user:password@host/database?pool=8`.
#[derive(Clone)]
pub struct Server {
    config: Arc<Config>,
    pool: usize,
}

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
        let (url, pool) = take_pool(url)?;
        if let Some(mode) = ["sslmode=verify-ca", "sslmode=verify-full"]
            .into_iter()
            .find(|mode| url.contains(mode))
        {
            return Err(no_tls(mode));
        }
        let mut config = Config::from_str(&url).map_err(|e| {
            // The library's words name the parameter, never a value.
            Error::Open(format!(
                "--storage is no address of a PostgreSQL database: {}; write postgres://user:password@host/database",
                errors::words(&e)
            ))
        })?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(no_tls("sslmode=require"));
        }
        if config.get_hosts().is_empty() {
            return Err(Error::Open(
                "--storage postgres: names no host; write postgres://user:password@host/database"
                    .to_owned(),
            ));
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        // A server that vanished is noticed in seconds, not in hours.
        config.keepalives_idle(Duration::from_secs(5));
        config.tcp_user_timeout(Duration::from_secs(10));
        Ok(Server {
            config: Arc::new(config),
            pool,
        })
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
    ) -> std::result::Result<(Client, Connection<Socket, NoTlsStream>), tokio_postgres::Error> {
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
        config.connect(NoTls).await
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

/// Takes our own parameter out of the address.
fn take_pool(url: &str) -> Result<(String, usize)> {
    let Some((start, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), DEFAULT_POOL));
    };
    let mut pool = DEFAULT_POOL;
    let mut rest = Vec::new();
    for parameter in query.split('&') {
        match parameter.strip_prefix("pool=") {
            Some(number) => {
                pool = bounds::pool(number)?;
            }
            None => rest.push(parameter),
        }
    }
    let query = rest.join("&");
    let url = if query.is_empty() {
        start.to_owned()
    } else {
        format!("{start}?{query}")
    };
    Ok((url, pool))
}

fn no_tls(asked: &str) -> Error {
    Error::Open(format!(
        "--storage with {asked}: this version speaks to PostgreSQL without TLS only; leave it out \
         on a network you trust, or reach the server through an SSH tunnel or a VPN"
    ))
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
        let server = Server::parse("postgres://ann@%2Frun%2Fpg/bot?sslmode=prefer").unwrap();
        assert_eq!(server.to_string(), "postgres://ann@/run/pg/bot");
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_its_password() {
        for (url, word) in [
            ("postgres://ann:secret@db/bot?pool=0", "pool"),
            ("postgres://ann:secret@db/bot?pool=many", "pool"),
            ("postgres://ann:secret@db/bot?sslmode=require", "TLS"),
            ("postgres://ann:secret@db/bot?sslmode=verify-full", "TLS"),
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
