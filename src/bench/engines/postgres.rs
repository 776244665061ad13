//! PostgreSQL: a plain transaction for each turn (`postgres-plain`), and what the
//! laboratory asks of any server: a database of its own, and its counters.
//!
//! Bounds: `pool` connections a process; a turn waits for one in line.

use std::cell::RefCell;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::super::measure::{self, Meter};
use super::super::order::{Load, SyncLevel, Window};
use super::super::state::{self, Random};
use crate::error::Error;

/// For the sessions of a run to leave the server.
const LEAVE: Duration = Duration::from_secs(5);

fn words(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |db| db.message().to_owned())
}

fn parse(url: &str) -> crate::Result<Config> {
    // The library's words name the parameter, never a value. `pool` is our engine's.
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let known: Vec<&str> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty() && !parameter.starts_with("pool="))
        .collect();
    let mut config = Config::from_str(&format!("{base}?{}", known.join("&"))).map_err(|e| {
        Error::Start(format!(
            "--postgres is no address: {e}; write postgres://user:password@host/database"
        ))
    })?;
    config.application_name("turnkey bench");
    config.connect_timeout(Duration::from_secs(5));
    Ok(config)
}

async fn connect(config: &Config) -> crate::Result<Client> {
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

/// The server that a laboratory measures, as an administrator sees it.
pub(crate) struct Admin {
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// The address without the database's name.
    url: String,
}

/// What a server has done so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    /// Syncs of its log, for all databases.
    pub(crate) syncs: u64,
    /// Of one database.
    pub(crate) commits: u64,
}

impl Admin {
    /// # Errors
    /// When the server cannot be reached, or takes no new databases from this user.
    pub(crate) fn connect(url: &str) -> crate::Result<Self> {
        let runtime = super::runtime()?;
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
        Ok(Admin {
            runtime,
            client,
            url: url.to_owned(),
        })
    }

    /// Makes a database; its address.
    pub(crate) fn create(&self, name: &str) -> crate::Result<String> {
        let sql = format!(
            "CREATE DATABASE {name} ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        );
        self.runtime
            .block_on(self.client.batch_execute(&sql))
            .map_err(|e| {
                Error::Start(format!("cannot create a database for a run: {}", words(&e)))
            })?;
        with_database(&self.url, name)
    }

    /// Drops a database that [`Self::create`] made, with whoever is left in it.
    pub(crate) fn remove(&self, name: &str) -> crate::Result<()> {
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

    /// Waits until nobody is in a database: what a session has done is counted at
    /// its end.
    pub(crate) fn wait_until_left(&self, name: &str) -> crate::Result<()> {
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

    /// The counters of the whole server and the commits of one database; none where
    /// the server is too old to count (before 14).
    pub(crate) fn counters(&self, database: &str) -> crate::Result<Option<Counters>> {
        let version = self.version_number()?;
        let syncs = match version {
            ..140_000 => return Ok(None),
            140_000..180_000 => "(SELECT wal_sync FROM pg_stat_wal)",
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
        }))
    }

    fn version_number(&self) -> crate::Result<i32> {
        let sql = "SELECT current_setting('server_version_num')::integer";
        Ok(self
            .runtime
            .block_on(self.client.query_one(sql, &[]))?
            .get(0))
    }

    /// As the server names it, and the settings that matter here.
    pub(crate) fn about(&self) -> crate::Result<(String, Vec<String>)> {
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

    /// The server's first process, when it runs on this machine.
    pub(crate) fn local_pid(&self) -> Option<u32> {
        use tokio_postgres::config::Host;
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

/// An address of another database of the same server.
fn with_database(url: &str, name: &str) -> crate::Result<String> {
    let (base, query) = url
        .split_once('?')
        .map_or((url, None), |(b, q)| (b, Some(q)));
    let (scheme, rest) = base.split_once("://").ok_or_else(|| {
        Error::Start(
            "--postgres is no address; write postgres://user:password@host/database".to_owned(),
        )
    })?;
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    let query = query.map(|q| format!("?{q}")).unwrap_or_default();
    Ok(format!("{scheme}://{host}/{name}{query}"))
}

fn config(load: &Load) -> crate::Result<Config> {
    let mut config = parse(&load.url)?;
    config.options(match load.sync {
        SyncLevel::Full => "-c synchronous_commit=on",
        SyncLevel::Normal => "-c synchronous_commit=off",
    });
    Ok(config)
}

pub(super) fn fill(load: &Load) -> crate::Result<()> {
    super::runtime()?.block_on(async {
        let client = connect(&config(load)?).await?;
        // Room on each page, as in our own table: a new state stays beside the old.
        client
            .batch_execute(
                "CREATE TABLE state (user_id TEXT COLLATE \"C\" PRIMARY KEY, state TEXT NOT NULL)
                 WITH (fillfactor = 70)",
            )
            .await?;
        client
            .execute(
                "INSERT INTO state SELECT 'u' || n, $1 FROM generate_series(0, $2::bigint - 1) AS n",
                &[&state::padded(0, load.state_bytes), &(load.users as i64)],
            )
            .await?;
        Ok(())
    })
}

/// A connection with the statements of a turn.
struct Prepared {
    client: Client,
    select: Statement,
    update: Statement,
}

impl Prepared {
    async fn open(load: &Load) -> crate::Result<Self> {
        let client = connect(&config(load)?).await?;
        Ok(Prepared {
            select: client
                .prepare("SELECT state FROM state WHERE user_id = $1 FOR UPDATE")
                .await?,
            update: client
                .prepare("UPDATE state SET state = $2 WHERE user_id = $1")
                .await?,
            client,
        })
    }

    /// Two round trips: calls that are awaited together travel together.
    async fn turn(&self, user: &str, bytes: usize) -> Result<(), Failure> {
        let (begun, read) = tokio::join!(self.client.batch_execute("BEGIN"), async {
            self.client.query_one(&self.select, &[&user]).await
        });
        begun?;
        let state = state::next(Some(read?.get(0)), bytes).map_err(Failure::Other)?;
        let (updated, committed) = tokio::join!(
            async { self.client.execute(&self.update, &[&user, &state]).await },
            self.client.batch_execute("COMMIT")
        );
        updated?;
        committed.map_err(Failure::Commit)
    }
}

enum Failure {
    Before(tokio_postgres::Error),
    /// It may have been committed.
    Commit(tokio_postgres::Error),
    Other(Error),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Failure::Before(error)
    }
}

pub(super) fn turns(
    load: &Load,
    start: impl FnOnce() -> crate::Result<Window>,
) -> crate::Result<Meter> {
    let runtime = super::runtime()?;
    LocalSet::new().block_on(&runtime, async {
        let mut pool = Vec::new();
        for _ in 0..load.pool.min(load.in_flight).max(1) {
            pool.push(Prepared::open(load).await?);
        }
        // First come, first served.
        let free = Rc::new(Semaphore::new(pool.len()));
        let pool = Rc::new(RefCell::new(pool));
        let meter = Rc::new(RefCell::new(Meter::new(start()?)?));
        let mut lanes = JoinSet::new();
        for lane in 0..load.in_flight {
            let (pool, free, meter, load) =
                (pool.clone(), free.clone(), meter.clone(), load.clone());
            lanes.spawn_local(async move {
                let mut random = Random::new(load.seed.wrapping_add(lane as u64 * 7919));
                while !meter.borrow().is_over() {
                    let user = state::user_id(random.below(load.users));
                    let began = measure::now();
                    let _permit = free.acquire().await?;
                    let Some(connection) = pool.borrow_mut().pop() else {
                        return Err(Error::msg("a permit without a connection"));
                    };
                    let done = connection.turn(&user, load.state_bytes).await;
                    let failed = done.is_err();
                    note(done, &meter, began)?;
                    if failed {
                        connection.client.batch_execute("ROLLBACK").await?;
                    }
                    pool.borrow_mut().push(connection);
                }
                Ok::<_, Error>(())
            });
        }
        while let Some(ended) = lanes.join_next().await {
            ended??;
        }
        let meter = Rc::try_unwrap(meter).map_err(|_| Error::msg("a lane is left"))?;
        Ok(meter.into_inner())
    })
}

fn note(done: Result<(), Failure>, meter: &RefCell<Meter>, began: u64) -> crate::Result<()> {
    let mut meter = meter.borrow_mut();
    let kind = |e: &tokio_postgres::Error| match e.code() {
        Some(code) => format!("SQLSTATE {}", code.code()),
        None => "connection".to_owned(),
    };
    match done {
        Ok(()) => meter.acknowledge(began),
        Err(Failure::Before(error)) => meter.error(kind(&error)),
        Err(Failure::Commit(error)) => {
            meter.error(kind(&error));
            meter.uncertain();
        }
        Err(Failure::Other(error)) => return Err(error),
    }
    Ok(())
}

pub(super) fn sum(load: &Load) -> crate::Result<u64> {
    super::runtime()?.block_on(async {
        let client = connect(&config(load)?).await?;
        let row = client
            .query_one(
                "SELECT coalesce(sum((state::json ->> 'count')::bigint), 0)::bigint FROM state",
                &[],
            )
            .await?;
        Ok(row.get::<_, i64>(0) as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_of_the_same_server() {
        for (url, expected) in [
            ("postgres://ann:x@db/bot", "postgres://ann:x@db/new"),
            ("postgres://ann@db:6432", "postgres://ann@db:6432/new"),
            (
                "postgres://ann@%2Frun%2Fpg/bot?pool=4",
                "postgres://ann@%2Frun%2Fpg/new?pool=4",
            ),
        ] {
            assert_eq!(with_database(url, "new").unwrap(), expected);
        }
        assert!(with_database("db", "new").is_err());
    }
}
