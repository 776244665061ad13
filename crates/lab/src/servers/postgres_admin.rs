//! What the laboratory asks of a PostgreSQL server.
//!
//! Called by `run.rs` through [`Admin`]; the connections of `postgres-plain` are made
//! here too. Bounds: five seconds for a connection, [`LEAVE`] for sessions to end.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, NoTls};

use super::super::measure;
use super::super::order::SyncLevel;
use super::{Admin, Counters, Kind, refused, with_database};
use crate::error::Error;

/// For the sessions of a run to leave the server.
const LEAVE: Duration = Duration::from_secs(5);

/// The server's words, or the library's with their cause.
fn words(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => db.message().to_owned(),
        (None, Some(cause)) => cause.to_string(),
        (None, None) => error.to_string(),
    }
}

pub(in super::super) fn parse(url: &str) -> crate::error::Result<Config> {
    // Read first by the engine, which takes no part of a password for anything else.
    turnkey_storage::postgres::Server::parse(url)
        .map_err(|e| refused(&e, Kind::Postgres.flag()))?;
    // The library's words name the parameter, never a value. `pool` is our engine's.
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let known: Vec<&str> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty() && !parameter.starts_with("pool="))
        .collect();
    let mut config = Config::from_str(&format!("{base}?{}", known.join("&"))).map_err(|e| {
        Error::Start(format!(
            "--postgres is no address: {}; write postgres://user:password@host/database",
            words(&e)
        ))
    })?;
    config.application_name("turnkey bench");
    config.connect_timeout(Duration::from_secs(5));
    Ok(config)
}

pub(in super::super) async fn connect(config: &Config) -> crate::error::Result<Client> {
    let (client, connection) = config.connect(NoTls).await.map_err(|e| {
        Error::Start(format!(
            "cannot connect to the PostgreSQL server: {}; is it running, and may this user log in?",
            words(&e)
        ))
    })?;
    // It ends with the client; an error shows in the client's next call.
    tokio::spawn(connection);
    Ok(client)
}

/// An administrator's connection.
pub(super) struct Postgres {
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// The address that was named.
    url: String,
}

impl Postgres {
    /// # Errors
    /// When the server cannot be reached, or takes no new databases from this user.
    pub(super) fn connect(url: &str) -> crate::error::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = runtime.block_on(async {
            let client = connect(&parse(url)?).await?;
            let may: bool = client
                .query_one(
                    "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user",
                    &[],
                )
                .await?
                .get(0);
            may.then_some(client).ok_or_else(|| {
                Error::Start(
                    "the user of --postgres may not create databases, and each run needs one of its \
                     own: ALTER ROLE ... CREATEDB, or use --start-servers"
                        .to_owned(),
                )
            })
        })?;
        Ok(Postgres {
            runtime,
            client,
            url: url.to_owned(),
        })
    }

    fn version_number(&self) -> crate::error::Result<i32> {
        let sql = "SELECT current_setting('server_version_num')::integer";
        Ok(self
            .runtime
            .block_on(self.client.query_one(sql, &[]))?
            .get(0))
    }
}

impl Admin for Postgres {
    /// Each session chooses for itself.
    fn set_durability(&self, _: SyncLevel) -> crate::error::Result<()> {
        Ok(())
    }

    fn create(&self, name: &str) -> crate::error::Result<String> {
        let sql = format!(
            "CREATE DATABASE {name} ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        );
        self.runtime
            .block_on(self.client.batch_execute(&sql))
            .map_err(|e| {
                Error::Start(format!("cannot create a database for a run: {}", words(&e)))
            })?;
        with_database(Kind::Postgres, &self.url, name)
    }

    fn set_settings(
        &self,
        name: &str,
        settings: &BTreeMap<String, String>,
    ) -> crate::error::Result<()> {
        for (setting, value) in settings {
            let sql = format!("ALTER DATABASE {name} SET {setting} = '{value}'");
            let done = self.runtime.block_on(self.client.batch_execute(&sql));
            done.map_err(|e| {
                Error::Start(format!(
                    "-c {setting}={value}: the server does not take it for a database: {}; with \
                     --start-servers it can be any setting",
                    words(&e)
                ))
            })?;
        }
        Ok(())
    }

    fn in_force(&self) -> crate::error::Result<BTreeMap<String, String>> {
        let sql = "SELECT name, setting FROM pg_settings";
        let rows = self.runtime.block_on(self.client.query(sql, &[]))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    fn remove(&self, name: &str) -> crate::error::Result<()> {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        self.runtime.block_on(async {
            self.client.execute(end, &[&name]).await?;
            let dropped = self
                .client
                .batch_execute(&format!("DROP DATABASE IF EXISTS {name}"))
                .await;
            dropped.map_err(|e| {
                Error::Start(format!(
                    "the database {name} is left on the server: {}",
                    words(&e)
                ))
            })
        })
    }

    fn wait_until_left(&self, name: &str) -> crate::error::Result<()> {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'";
        let deadline = Instant::now() + LEAVE;
        loop {
            let row = self
                .runtime
                .block_on(self.client.query_one(sql, &[&name]))?;
            if row.get::<_, i64>(0) == 0 || Instant::now() >= deadline {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn counters(&self, database: &str) -> crate::error::Result<Option<Counters>> {
        let version = self.version_number()?;
        let syncs = match version {
            ..140_000 => return Ok(None),
            140_000..180_000 => "(SELECT wal_sync FROM pg_stat_wal)",
            // Since then they are counted there.
            _ => "(SELECT coalesce(sum(fsyncs), 0)::bigint FROM pg_stat_io WHERE object = 'wal')",
        };
        let sql = format!(
            "SELECT {syncs}, (SELECT xact_commit FROM pg_stat_database WHERE datname = $1)"
        );
        let row = self
            .runtime
            .block_on(self.client.query_one(&sql, &[&database]))?;
        Ok(Some(Counters {
            syncs: row.get::<_, i64>(0) as u64,
            commits: row.get::<_, i64>(1) as u64,
            source: "pg_stat_wal or pg_stat_io, the whole server, warm-up included",
        }))
    }

    fn about(&self) -> crate::error::Result<(String, Vec<String>)> {
        const NAMES: [&str; 10] = [
            "server_version",
            "fsync",
            "full_page_writes",
            "wal_sync_method",
            "shared_buffers",
            "wal_buffers",
            "max_wal_size",
            "checkpoint_timeout",
            "max_connections",
            "jit",
        ];
        let mut settings = Vec::new();
        for name in NAMES {
            let sql = format!("SHOW {name}");
            let row = self.runtime.block_on(self.client.query_one(&sql, &[]))?;
            settings.push((name, row.get::<_, String>(0)));
        }
        let version = settings.remove(0).1;
        let settings = settings.into_iter().map(|(n, v)| format!("{n}={v}"));
        Ok((version, settings.collect()))
    }

    fn local_pid(&self) -> Option<u32> {
        let config = Config::from_str(&self.url).ok()?;
        let local = config.get_hosts().iter().all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
        });
        let row = self
            .runtime
            .block_on(self.client.query_one("SELECT pg_backend_pid()", &[]))
            .ok()?;
        let pid = u32::try_from(row.get::<_, i32>(0)).ok()?;
        // In a container, or behind a tunnel, the number is another process's here.
        local.then(|| measure::parent_of(pid, "postgres"))?
    }
}
