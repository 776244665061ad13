//! What the laboratory asks of a MySQL or MariaDB server.
//!
//! Called by `run.rs` through [`Admin`]; the connections of `mysql-plain` are made here
//! too. Addresses are those of our engine, read by it. Bounds: [`CONNECT`] for a
//! connection, [`LEAVE`] for sessions to end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error as My};
use turnkey_storage::mysql::Server;

use super::super::measure;
use super::super::order::SyncLevel;
use super::{Admin, Counters, Kind, refused, with_database};
use crate::error::Error;

/// For a connection to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// For the sessions of a run to leave the server, and for a lock on its database.
const LEAVE: Duration = Duration::from_secs(5);

/// Every server has it, and every user may use it.
const ALWAYS_THERE: &str = "information_schema";

/// The server's words, or the library's.
fn words(error: &My) -> String {
    match error {
        My::Server(server) => server.message.clone(),
        other => other.to_string(),
    }
}

/// A connection with nothing set: as most programs have them.
pub(in super::super) async fn connect(url: &str) -> crate::error::Result<Conn> {
    // Its words name no value of a password.
    let server = Server::parse(url).map_err(|e| refused(&e, Kind::Mysql.flag()))?;
    let refuse = |why: String| {
        Error::Start(format!(
            "cannot connect to the MySQL server: {why}; is it running, and may this user log in?"
        ))
    };
    match tokio::time::timeout(CONNECT, server.connect()).await {
        Ok(connected) => connected.map_err(|e| refuse(words(&e))),
        Err(_) => Err(refuse(format!("no answer in {} s", CONNECT.as_secs()))),
    }
}

/// An administrator's connection.
pub(super) struct Mysql {
    runtime: tokio::runtime::Runtime,
    conn: RefCell<Conn>,
    /// The address that was named.
    url: String,
    private: bool,
}

impl Mysql {
    /// # Errors
    /// When the server cannot be reached, or takes no new databases from this user.
    pub(super) fn connect(url: &str, private: bool) -> crate::error::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let conn = runtime.block_on(async {
            let mut conn = connect(&with_database(Kind::Mysql, url, ALWAYS_THERE)?).await?;
            let wait = format!("SET SESSION lock_wait_timeout = {}", LEAVE.as_secs());
            conn.query_drop(wait).await?;
            Ok::<_, Error>(conn)
        })?;
        let admin = Mysql {
            runtime,
            conn: RefCell::new(conn),
            url: url.to_owned(),
            private,
        };
        // What a user may is spread over users, roles and patterns: it is tried.
        let random = turnkey_storage::sqlite::random_owner().map_err(crate::error::Error::start)?;
        let name = format!("turnkey_bench_{:x}", random.0);
        admin.run(&format!("CREATE DATABASE {name}")).map_err(|e| {
            Error::Start(format!(
                "the user of --mysql may not create databases, and each run needs one of its own: \
                 {}; GRANT ALL ON `turnkey\\_bench\\_%`.* TO the user, or use --start-servers",
                words(&e)
            ))
        })?;
        admin.remove(&name)?;
        Ok(admin)
    }

    fn run(&self, sql: &str) -> Result<(), My> {
        self.runtime
            .block_on(self.conn.borrow_mut().query_drop(sql))
    }

    fn rows<T: mysql_async::prelude::FromRow + Send + 'static>(
        &self,
        sql: &str,
    ) -> Result<Vec<T>, My> {
        self.runtime.block_on(self.conn.borrow_mut().query(sql))
    }

    /// Those that we may see: all of our own user's.
    fn sessions(&self, database: &str) -> Result<Vec<u64>, My> {
        self.rows(&format!(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '{database}'"
        ))
    }

    fn variable(&self, name: &str) -> Result<Option<String>, My> {
        let rows: Vec<(String, String)> =
            self.rows(&format!("SHOW GLOBAL VARIABLES LIKE '{name}'"))?;
        Ok(rows.into_iter().next().map(|(_, value)| value))
    }

    fn status(&self, name: &str) -> Result<Option<u64>, My> {
        let rows: Vec<(String, u64)> = self.rows(&format!("SHOW GLOBAL STATUS LIKE '{name}'"))?;
        Ok(rows.first().map(|(_, value)| *value))
    }
}

impl Admin for Mysql {
    fn set_durability(&self, sync: SyncLevel) -> crate::error::Result<()> {
        let wanted = match sync {
            SyncLevel::Full => "1",
            SyncLevel::Normal => "2",
        };
        let name = "innodb_flush_log_at_trx_commit";
        if self.private {
            return Ok(self.run(&format!("SET GLOBAL {name} = {wanted}"))?);
        }
        let mut settings = vec![(name, wanted)];
        if sync == SyncLevel::Full && self.variable("log_bin")?.as_deref() == Some("ON") {
            settings.push(("sync_binlog", "1"));
        }
        for (name, wanted) in settings {
            let found = self.variable(name)?.unwrap_or_default();
            if found != wanted {
                return Err(Error::Start(format!(
                    "--sync {} needs {name}={wanted}, and the server of --mysql has {found}, for all \
                     its databases: set it there, leave this level out, or use --start-servers",
                    sync.name()
                )));
            }
        }
        Ok(())
    }

    fn create(&self, name: &str) -> crate::error::Result<String> {
        self.run(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"))
            .map_err(|e| {
                Error::Start(format!("cannot create a database for a run: {}", words(&e)))
            })?;
        with_database(Kind::Mysql, &self.url, name)
    }

    fn set_settings(&self, _: &str, _: &BTreeMap<String, String>) -> crate::error::Result<()> {
        Ok(())
    }

    fn in_force(&self) -> crate::error::Result<BTreeMap<String, String>> {
        let rows: Vec<(String, String)> = self.rows("SHOW GLOBAL VARIABLES")?;
        Ok(rows.into_iter().collect())
    }

    fn remove(&self, name: &str) -> crate::error::Result<()> {
        let left = |e: My| {
            Error::Start(format!(
                "the database {name} is left on the server: {}",
                words(&e)
            ))
        };
        for session in self.sessions(name).map_err(left)? {
            // It may have gone by itself.
            drop(self.run(&format!("KILL {session}")));
        }
        self.run(&format!("DROP DATABASE IF EXISTS {name}"))
            .map_err(left)
    }

    fn wait_until_left(&self, name: &str) -> crate::error::Result<()> {
        let deadline = Instant::now() + LEAVE;
        while !self.sessions(name)?.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn counters(&self, _: &str) -> crate::error::Result<Option<Counters>> {
        // Newer servers count the log's syncs nowhere else.
        let syncs = self.status("Innodb_data_fsyncs")?;
        let commits = self.status("Com_commit")?;
        Ok(syncs.zip(commits).map(|(syncs, commits)| Counters {
            syncs,
            commits,
            source: "Innodb_data_fsyncs: log and data files, the whole server, warm-up included",
        }))
    }

    fn about(&self) -> crate::error::Result<(String, Vec<String>)> {
        const NAMES: [&str; 10] = [
            "innodb_flush_method",
            "innodb_doublewrite",
            "innodb_buffer_pool_size",
            "innodb_log_buffer_size",
            "innodb_log_file_size",
            "innodb_redo_log_capacity",
            "log_bin",
            "sync_binlog",
            "max_connections",
            "tx_isolation",
        ];
        let version = self.variable("version")?.unwrap_or_default();
        let mut settings = vec![match self.private {
            true => "innodb_flush_log_at_trx_commit=1 (sync full) or 2 (sync normal)".to_owned(),
            false => "innodb_flush_log_at_trx_commit as --sync needs it".to_owned(),
        }];
        // Not every server has all of them.
        for name in NAMES {
            if let Some(value) = self.variable(name)? {
                settings.push(format!("{name}={value}"));
            }
        }
        Ok((version, settings))
    }

    fn local_pid(&self) -> Option<u32> {
        let file = self.variable("pid_file").ok()??;
        let directory = self.variable("datadir").ok()??;
        // In a container or on another machine it is not here, or another process's.
        let pid = std::fs::read_to_string(Path::new(&directory).join(file)).ok()?;
        let pid = pid.trim().parse().ok()?;
        ["mariadbd", "mysqld"]
            .iter()
            .any(|name| measure::is_named(pid, name))
            .then_some(pid)
    }
}
