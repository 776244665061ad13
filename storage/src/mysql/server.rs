//! The server's address, and how a connection to it is made.
//!
//! Used by every file here that connects. Invariant: the password is in neither
//! [`Display`](std::fmt::Display) nor [`Debug`](std::fmt::Debug). Bounds:
//! [`MAX_POOL`](bounds::MAX_POOL) connections of a process, beside its keeper's.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use mysql_async::{DriverError, Error as My, Opts, OptsBuilder, SslOpts, UrlError};
use percent_encoding::percent_decode_str;

use super::conn::{Conn, Tried};
use super::errors::{self, Failed};
use super::session::{self, Purpose};
use crate::lanes::address::{self, Parts};
use crate::lanes::bounds::{self, DEFAULT_LEASE, DEFAULT_POOL};
use crate::{About, Error, OpenError, Result};

/// For a connection to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// Prepared statements that a connection keeps, least recently used ones go.
const CACHED: usize = 200;

/// An address such as `mysql://user:password@host/database?pool=8&lease=10`.
#[derive(Clone)]
pub struct Server {
    opts: Opts,
    ssl: Ssl,
    pool: usize,
    lease: Duration,
}

/// `?ssl-mode=`, in the words of MySQL's own programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ssl {
    Disabled,
    /// TLS where the server has it, whatever its certificate.
    Preferred,
    Required,
    /// Its certificate must be signed by somebody we trust. The library (mysql_async
    /// 0.37 over rustls) asks for the right host too, although it is told not to: more
    /// than MySQL's own programs ask, never less.
    VerifyCa,
    /// And be for the host that the address names.
    VerifyIdentity,
}

impl Server {
    /// Reads an address.
    ///
    /// # Errors
    /// [`Error::Open`] with a sentence that names what is wrong with it.
    pub fn parse(url: &str) -> Result<Self> {
        let Parts { start, query } = address::parts(url).map_err(wrong)?;
        let (mut pool, mut lease) = (DEFAULT_POOL, DEFAULT_LEASE);
        let (mut mode, mut ca, mut socket) = (None, None, None);
        for parameter in query.split('&').filter(|p| !p.is_empty()) {
            let (name, raw) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = percent_decode_str(raw).decode_utf8_lossy();
            match name {
                "pool" => pool = bounds::pool(&value)?,
                "lease" => lease = bounds::lease(&value)?,
                "ssl-mode" => mode = Some(ssl_mode(&value)?),
                "ssl-ca" => ca = Some(PathBuf::from(value.as_ref())),
                "socket" => socket = Some(value.into_owned()),
                _ => {
                    return Err(wrong(&format!(
                        "?{name}= is none of pool, lease, ssl-mode, ssl-ca, socket"
                    )));
                }
            }
        }
        // The same to us, and to the library's reader of addresses.
        let start = match start.strip_prefix("mariadb:") {
            Some(rest) => format!("mysql:{rest}"),
            None => start.to_owned(),
        };
        let opts = Opts::from_url(&start).map_err(|e| match e {
            UrlError::Invalid => wrong("it names no host"),
            // The library's words could show what was given, such as a password.
            _ => wrong("a user, host or port in it cannot be read (write %40 for @ in a password)"),
        })?;
        if opts.db_name().is_none_or(str::is_empty) {
            return Err(wrong("it names no database"));
        }
        if opts.ip_or_hostname().is_empty() {
            return Err(wrong("it names no host"));
        }
        // As MySQL's own programs: who names an authority wants it asked.
        let ssl = mode.unwrap_or(match ca {
            Some(_) => Ssl::VerifyCa,
            None => Ssl::Preferred,
        });
        if let Some(path) = &ca {
            std::fs::metadata(path).map_err(|e| {
                Error::open(format!("cannot read ?ssl-ca= {}: {e}", path.display()))
            })?;
        }
        let ssl_opts = SslOpts::default()
            .with_disable_built_in_roots(ca.is_some())
            .with_root_certs(ca.into_iter().map(Into::into).collect())
            .with_danger_accept_invalid_certs(matches!(ssl, Ssl::Preferred | Ssl::Required))
            .with_danger_skip_domain_validation(ssl != Ssl::VerifyIdentity);
        let local = socket.is_some();
        let opts = OptsBuilder::from_opts(opts)
            .socket(socket)
            // What stays on this machine needs no TLS.
            .ssl_opts((ssl != Ssl::Disabled && !local).then_some(ssl_opts))
            // Where the address says host and port, that is where we go.
            .prefer_socket(false)
            .tcp_keepalive(Some(Duration::from_secs(5)))
            .stmt_cache_size(CACHED);
        Ok(Server {
            opts: opts.into(),
            ssl,
            pool,
            lease,
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

    /// Opens a connection.
    pub(super) async fn open(&self, purpose: Purpose) -> Tried<Conn> {
        let connect = async {
            let mut my = self.connect().await?;
            let limit = session::set_up(&mut my, purpose).await?;
            Ok(Conn::new(my, limit))
        };
        match tokio::time::timeout(CONNECT, connect).await {
            Ok(connected) => connected.map_err(Failed::My),
            Err(_) => Err(Failed::Slow),
        }
    }

    /// A bare connection, as it comes from the server: for measuring only.
    ///
    /// # Errors
    /// The library's. There is no bound on the time it takes.
    #[doc(hidden)]
    pub async fn connect(&self) -> mysql_async::Result<mysql_async::Conn> {
        let connected = mysql_async::Conn::new(self.opts.clone()).await;
        match connected {
            // As MySQL's own programs: preferred takes what there is.
            Err(error)
                if self.ssl == Ssl::Preferred
                    && (errors::is_tls(&error)
                        || matches!(error, My::Driver(DriverError::NoClientSslFlagFromServer))) =>
            {
                let plain = OptsBuilder::from_opts(self.opts.clone()).ssl_opts(None::<SslOpts>);
                mysql_async::Conn::new(plain).await
            }
            connected => connected,
        }
    }
}

fn ssl_mode(value: &str) -> Result<Ssl> {
    Ok(match value.to_ascii_uppercase().as_str() {
        "DISABLED" => Ssl::Disabled,
        "PREFERRED" => Ssl::Preferred,
        "REQUIRED" => Ssl::Required,
        "VERIFY_CA" => Ssl::VerifyCa,
        "VERIFY_IDENTITY" => Ssl::VerifyIdentity,
        _ => {
            return Err(Error::open(format!(
                "?ssl-mode= takes DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY, not {value:?}"
            )));
        }
    })
}

fn wrong(why: &str) -> Error {
    Error::Open(
        OpenError::new(format!("is no address of a MySQL database: {why}"))
            .about(About::Address)
            .remedy("write mysql://user:password@host/database"),
    )
}

/// As a person would write it, without the password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mysql://")?;
        if let Some(user) = self.opts.user() {
            write!(f, "{user}@")?;
        }
        match self.opts.socket() {
            Some(socket) => f.write_str(socket)?,
            None => f.write_str(self.opts.ip_or_hostname())?,
        }
        if self.opts.socket().is_none() && self.opts.tcp_port() != 3306 {
            write!(f, ":{}", self.opts.tcp_port())?;
        }
        write!(f, "/{}", self.opts.db_name().unwrap_or_default())
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
        let server =
            Server::parse("mysql://ann:s%33cret@db.example:3307/bot?pool=4&lease=2").unwrap();
        assert_eq!(server.to_string(), "mysql://ann@db.example:3307/bot");
        assert!(!format!("{server:?}").contains("cret"));
        assert_eq!((server.lanes(), server.for_authors()), (2, 2));
        assert_eq!(server.lease(), Duration::from_secs(2));
        let server =
            Server::parse("mariadb://ann@localhost/bot?socket=/run/my%20sql.sock").unwrap();
        assert_eq!(server.to_string(), "mysql://ann@/run/my sql.sock/bot");
        assert_eq!(server.opts.socket(), Some("/run/my sql.sock"));
        assert!(server.opts.ssl_opts().is_none());
        let server = Server::parse("mysql://ann@db/bot").unwrap();
        assert_eq!(
            (server.ssl, server.lease()),
            (Ssl::Preferred, DEFAULT_LEASE)
        );
        assert!(server.opts.ssl_opts().unwrap().accept_invalid_certs());
        let server = Server::parse("mysql://ann@db/bot?ssl-ca=%2Fdev%2Fnull").unwrap();
        assert_eq!(server.ssl, Ssl::VerifyCa);
        let server = Server::parse("mysql://ann@db/bot?ssl-mode=verify_identity").unwrap();
        assert!(!server.opts.ssl_opts().unwrap().skip_domain_validation());
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_its_password() {
        for (url, word) in [
            ("mysql://ann:secret@db/bot?pool=0", "pool"),
            ("mysql://ann:secret@db/bot?lease=1", "2 to 300 seconds"),
            ("mysql://ann:secret@db/bot?ssl-mode=yes", "VERIFY_IDENTITY"),
            ("mysql://ann:secret@db/bot?ssl-ca=/no/such", "cannot read"),
            ("mysql://ann:secret@db/bot?colour=red", "colour"),
            ("mysql://ann:secret@db/", "no database"),
            ("mysql://ann:secret@db", "no database"),
            ("mysql:", "no host"),
            ("mysql:bot", "no host"),
            ("mysql://ann:secret@db:port/bot", "is no address"),
        ] {
            let error = Server::parse(url).unwrap_err().to_string();
            assert!(error.contains(word), "{url}: {error}");
            assert!(!error.contains("secret"), "{url}: {error}");
        }
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
            let shown = match Server::parse(&format!("mysql://ann:{shown}@{host}/{rest}")) {
                Ok(server) => format!("{server} {server:?}"),
                Err(error) => error.to_string(),
            };
            prop_assert!(!shown.contains("p4ss") && !shown.contains("w0rd"), "{}", shown);
        }
    }
}
