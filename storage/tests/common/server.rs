//! A private database server for the tests of a binary (also of the framework's),
//! started by `scripts/services` and gone when the process ends (its input closes),
//! and a database of its own for each test. PostgreSQL or MariaDB: the same calls.

#![allow(dead_code, clippy::unwrap_used)] // Each binary uses a part of it.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use mysql_async::prelude::Queryable;
use turnkey_storage::{DialogLine, Error, Finding, Result, Storage, Sync, mysql, postgres};

/// Runs each of these cases on PostgreSQL and on MariaDB.
#[allow(unused_macros)]
macro_rules! on_every_server {
    ($($case:ident)*) => {
        mod postgres {
            $(#[test]
            fn $case() {
                super::$case(super::Kind::Postgres);
            })*
        }
        mod mariadb {
            $(#[test]
            fn $case() {
                super::$case(super::Kind::Mysql);
            })*
        }
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    Mysql,
}

/// Serves until it is dropped, or the process ends.
pub(crate) struct TestServer {
    pub(crate) kind: Kind,
    /// As the script printed it.
    address: String,
    talk: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    child: Child,
    databases: AtomicU64,
}

/// Settings that may be the server's, and would break or slow down a session that does
/// not set its own.
const ODD_POSTGRES: &[&str] = &[
    "default_transaction_isolation=serializable",
    "default_transaction_read_only=on",
    "default_transaction_deferrable=on",
    "statement_timeout=60",
    "lock_timeout=20",
    "idle_in_transaction_session_timeout=20",
    "idle_session_timeout=300",
    "search_path=\"\"",
    "standard_conforming_strings=off",
    "escape_string_warning=off",
    "backslash_quote=off",
    "DateStyle=SQL, DMY",
    "IntervalStyle=sql_standard",
    "bytea_output=escape",
    "extra_float_digits=-3",
    "row_security=off",
    "exit_on_error=on",
    "transform_null_equals=on",
    "array_nulls=off",
    "synchronous_commit=off",
    "enable_indexscan=off",
    "enable_nestloop=off",
    "jit_above_cost=0",
    "plan_cache_mode=force_custom_plan",
    "check_function_bodies=off",
    "plpgsql.variable_conflict=use_variable",
    "TimeZone=Asia/Kathmandu",
    "client_min_messages=log",
];

const ODD_MYSQL: &str = "SET GLOBAL sql_safe_updates = 1, GLOBAL completion_type = 1,
    GLOBAL tx_read_only = 1, GLOBAL tx_isolation = 'SERIALIZABLE', GLOBAL autocommit = 0,
    GLOBAL max_join_size = 1, GLOBAL sql_select_limit = 1, GLOBAL max_statement_time = 0.06,
    GLOBAL sql_auto_is_null = 1, GLOBAL foreign_key_checks = 0, GLOBAL unique_checks = 0,
    GLOBAL default_storage_engine = MyISAM, GLOBAL innodb_lock_wait_timeout = 1,
    GLOBAL lock_wait_timeout = 1, GLOBAL wait_timeout = 1, GLOBAL interactive_timeout = 1,
    GLOBAL net_read_timeout = 1, GLOBAL net_write_timeout = 1, GLOBAL max_sort_length = 64,
    GLOBAL check_constraint_checks = 0, GLOBAL in_predicate_conversion_threshold = 2,
    GLOBAL idle_transaction_timeout = 1, GLOBAL time_zone = '-07:30',
    GLOBAL auto_increment_increment = 7, GLOBAL auto_increment_offset = 3,
    GLOBAL group_concat_max_len = 4, GLOBAL max_error_count = 0, GLOBAL sql_notes = 0,
    GLOBAL low_priority_updates = 1, GLOBAL sql_buffer_result = 1,
    GLOBAL eq_range_index_dive_limit = 1, GLOBAL innodb_strict_mode = 0,
    GLOBAL collation_connection = latin1_swedish_ci, GLOBAL character_set_client = latin1,
    GLOBAL character_set_results = latin1,
    GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,IGNORE_SPACE,\
HIGH_NOT_PRECEDENCE,NO_AUTO_VALUE_ON_ZERO,PAD_CHAR_TO_FULL_LENGTH,EMPTY_STRING_IS_NULL,\
NO_UNSIGNED_SUBTRACTION,SIMULTANEOUS_ASSIGNMENT';
    SET GLOBAL sql_big_selects = 0";

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Postgres => "PostgreSQL",
            Kind::Mysql => "MariaDB",
        }
    }

    pub(crate) fn open(self, url: &str) -> Arc<dyn Storage> {
        match self {
            Kind::Postgres => {
                let server = postgres::Server::parse(url).unwrap();
                Arc::new(postgres::connect(&server, Sync::Full).unwrap())
            }
            Kind::Mysql => {
                let server = mysql::Server::parse(url).unwrap();
                Arc::new(mysql::connect(&server, Sync::Full).unwrap())
            }
        }
    }

    pub(crate) async fn prepare(self, url: &str, author: &[&str]) -> Result<()> {
        let author: Vec<String> = author.iter().map(|sql| (*sql).to_owned()).collect();
        match self {
            Kind::Postgres => {
                postgres::prepare(&postgres::Server::parse(url)?, Sync::Full, &author).await
            }
            Kind::Mysql => mysql::prepare(&mysql::Server::parse(url)?, Sync::Full, &author).await,
        }
    }

    pub(crate) async fn check(self, url: &str) -> Result<Vec<Finding>> {
        match self {
            Kind::Postgres => postgres::check(&postgres::Server::parse(url)?).await,
            Kind::Mysql => mysql::check(&mysql::Server::parse(url)?).await,
        }
    }

    pub(crate) async fn dump(self, url: &str, with_history: bool) -> Vec<DialogLine> {
        let mut lines = Vec::new();
        let each = |line| -> std::result::Result<(), Error> {
            lines.push(line);
            Ok(())
        };
        match self {
            Kind::Postgres => {
                let server = postgres::Server::parse(url).unwrap();
                postgres::dump(&server, with_history, each).await.unwrap();
            }
            Kind::Mysql => {
                let server = mysql::Server::parse(url).unwrap();
                mysql::dump(&server, with_history, each).await.unwrap();
            }
        }
        lines
    }
}

impl TestServer {
    /// None when there are no server programs on this machine; says so, past the
    /// test harness, which hides what passing tests print.
    pub(crate) fn start(kind: Kind) -> Option<Self> {
        Self::start_with(kind, &[])
    }

    /// With more arguments for `scripts/services`.
    pub(crate) fn start_with(kind: Kind, arguments: &[&str]) -> Option<Self> {
        let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        while !root.join("scripts/services").exists() {
            assert!(root.pop(), "scripts/services is not there");
        }
        // The machine does not lose its power in a test.
        let (engine, fast) = match kind {
            Kind::Postgres => ("postgres", "fsync=off"),
            Kind::Mysql => ("mysql", "innodb-flush-method=nosync"),
        };
        let mut child = Command::new(root.join("scripts/services"))
            .args([engine, "-c", fast])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut url = String::new();
        stdout.read_line(&mut url).unwrap();
        if url.is_empty() {
            let said = format!(
                "SKIPPED: the {} tests, since no server could be started (see above)\n",
                kind.name()
            );
            std::io::stderr().write_all(said.as_bytes()).unwrap();
            child.wait().unwrap();
            return None;
        }
        Some(TestServer {
            kind,
            address: url.trim().to_owned(),
            talk: Mutex::new((stdin, stdout)),
            child,
            databases: AtomicU64::new(0),
        })
    }

    /// The one that the tests of this binary share.
    pub(crate) fn shared(kind: Kind) -> Option<&'static Self> {
        static POSTGRES: OnceLock<Option<TestServer>> = OnceLock::new();
        static MYSQL: OnceLock<Option<TestServer>> = OnceLock::new();
        let shared = match kind {
            Kind::Postgres => &POSTGRES,
            Kind::Mysql => &MYSQL,
        };
        shared.get_or_init(|| TestServer::start(kind)).as_ref()
    }

    /// One that the tests of this binary share whose every default is an odd one.
    pub(crate) fn shared_odd(kind: Kind) -> Option<&'static Self> {
        static POSTGRES: OnceLock<Option<TestServer>> = OnceLock::new();
        static MYSQL: OnceLock<Option<TestServer>> = OnceLock::new();
        let shared = match kind {
            Kind::Postgres => &POSTGRES,
            Kind::Mysql => &MYSQL,
        };
        shared.get_or_init(|| TestServer::start_odd(kind)).as_ref()
    }

    fn start_odd(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Postgres => {
                let options: Vec<&str> = ODD_POSTGRES.iter().flat_map(|o| ["-c", o]).collect();
                Self::start_with(kind, &options)
            }
            Kind::Mysql => {
                let server = Self::start(kind)?;
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(server.sql(server.first(), ODD_MYSQL));
                Some(server)
            }
        }
    }

    pub(crate) fn url(&self, database: &str) -> String {
        let (address, query) = self.address.split_once('?').unwrap_or((&self.address, ""));
        let server = address.rsplit_once('/').unwrap().0;
        match query {
            "" => format!("{server}/{database}"),
            query => format!("{server}/{database}?{query}"),
        }
    }

    /// The address with another user and password.
    pub(crate) fn url_as(&self, who: &str, database: &str) -> String {
        self.url(database).replace("turnkey@", &format!("{who}@"))
    }

    /// An address with a password in it, with which one may do everything.
    pub(crate) async fn url_with_password(&self, password: &str, database: &str) -> String {
        if self.kind == Kind::Mysql {
            let all = format!(
                "CREATE USER IF NOT EXISTS secret@localhost IDENTIFIED BY '{password}';
                 GRANT ALL ON *.* TO secret@localhost"
            );
            self.sql(self.first(), &all).await;
            return self.url_as(&format!("secret:{password}"), database);
        }
        // PostgreSQL takes any here.
        self.url_as(&format!("turnkey:{password}"), database)
    }

    /// The database that is there from the start.
    fn first(&self) -> &'static str {
        match self.kind {
            Kind::Postgres => "postgres",
            Kind::Mysql => "turnkey",
        }
    }

    /// Makes an empty database; its name.
    pub(crate) async fn create(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let utf8 = match self.kind {
            Kind::Postgres => "",
            Kind::Mysql => "CHARACTER SET utf8mb4",
        };
        self.sql(self.first(), &format!("CREATE DATABASE {name} {utf8}"))
            .await;
        name
    }

    /// An empty database with our tables and the author's.
    pub(crate) async fn prepared(&self, author: &[&str]) -> String {
        let name = self.create().await;
        self.kind.prepare(&self.url(&name), author).await.unwrap();
        name
    }

    /// Executes statements, past the engine.
    pub(crate) async fn sql(&self, database: &str, sql: &str) {
        let url = self.url(database);
        match self.kind {
            Kind::Postgres => {
                let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
                    .await
                    .unwrap();
                let connection = tokio::spawn(connection);
                // Whatever the defaults are.
                let plain = "SET default_transaction_read_only = off; SET statement_timeout = 0;
                     SET lock_timeout = 0; SET search_path = public";
                client.batch_execute(plain).await.unwrap();
                client.batch_execute(sql).await.unwrap();
                drop(client);
                connection.await.unwrap().unwrap();
            }
            Kind::Mysql => {
                let opts = mysql_async::Opts::from_url(&url).unwrap();
                let mut conn = mysql_async::Conn::new(opts).await.unwrap();
                let plain = "SET autocommit = 1, completion_type = 0, sql_safe_updates = 0,
                     max_statement_time = 0, sql_mode = ''; SET SESSION TRANSACTION READ WRITE";
                conn.query_drop(plain).await.unwrap();
                conn.query_drop(sql).await.unwrap();
                conn.disconnect().await.unwrap();
            }
        }
    }

    /// Lets the standby take over.
    pub(crate) fn promote(&self) {
        assert_eq!(self.tell("promote"), "promoted");
    }

    /// Lets it hang.
    pub(crate) fn freeze(&self) {
        assert_eq!(self.tell("freeze"), "frozen");
    }

    /// Stops it at once, as a crash would.
    pub(crate) fn stop(&self) {
        assert_eq!(self.tell("stop"), "stopped");
    }

    pub(crate) fn start_again(&self) {
        assert_eq!(self.tell("start"), "ready");
    }

    fn tell(&self, order: &str) -> String {
        let mut talk = self.talk.lock().unwrap();
        writeln!(talk.0, "{order}").unwrap();
        let mut answer = String::new();
        talk.1.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // Its input ends too late for this: after the wait.
        let script = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(script, nix::sys::signal::Signal::SIGTERM).unwrap();
        drop(self.child.wait());
    }
}
