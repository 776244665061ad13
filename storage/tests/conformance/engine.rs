//! The engines that the cases run on, each with a database of its own for every case.

use std::sync::Arc;

use turnkey_storage::Storage;

use crate::common::Served;
#[cfg(all(feature = "mysql", feature = "postgres"))]
use crate::common::server::{Kind, TestServer};

pub(crate) type Client = Arc<dyn Storage>;

/// A database of its own, empty but for the tables of [`AUTHOR`].
pub(crate) trait Engine {
    /// None, and a line on stderr, when its server cannot be had.
    fn start() -> Option<Self>
    where
        Self: Sized;

    /// Connects another owner. Dropping all of its clones ends its life.
    fn open(&self) -> Client;

    /// Whether the author's own text columns can hold a NUL character.
    fn text_holds_nul(&self) -> bool;

    /// What stands between `INSERT …` and what to do where the name is taken.
    fn upsert(&self) -> &'static str;

    /// Stops, and panics when something is left that should not be.
    fn finish(self)
    where
        Self: Sized;
}

/// The author's tables, in words that every engine understands.
const AUTHOR: [&str; 2] = [
    "CREATE TABLE booking (name VARCHAR(100) PRIMARY KEY, seats INTEGER NOT NULL)",
    "CREATE TABLE note (body TEXT)",
];

pub(crate) struct Sqlite(pub(crate) Served);

impl Engine for Sqlite {
    fn start() -> Option<Self> {
        Some(Sqlite(Served::start(&AUTHOR)))
    }

    fn open(&self) -> Client {
        Arc::new(self.0.open())
    }

    fn text_holds_nul(&self) -> bool {
        true
    }

    fn upsert(&self) -> &'static str {
        "ON CONFLICT (name) DO UPDATE SET"
    }

    fn finish(self) {
        self.0.finish();
    }
}

/// A database of a server that the tests of this binary share, and its address.
#[cfg(all(feature = "mysql", feature = "postgres"))]
pub(crate) struct OnServer<const MYSQL: bool, const ODD: bool>(pub(crate) String);

#[cfg(all(feature = "mysql", feature = "postgres"))]
pub(crate) type Postgres = OnServer<false, false>;

#[cfg(all(feature = "mysql", feature = "postgres"))]
pub(crate) type Mysql = OnServer<true, false>;

/// Servers whose every default is an odd one: all cases hold on them too.
#[cfg(all(feature = "mysql", feature = "postgres"))]
pub(crate) type OddPostgres = OnServer<false, true>;

#[cfg(all(feature = "mysql", feature = "postgres"))]
pub(crate) type OddMysql = OnServer<true, true>;

#[cfg(all(feature = "mysql", feature = "postgres"))]
impl<const MYSQL: bool, const ODD: bool> OnServer<MYSQL, ODD> {
    pub(crate) const KIND: Kind = match MYSQL {
        true => Kind::Mysql,
        false => Kind::Postgres,
    };
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
impl<const MYSQL: bool, const ODD: bool> Engine for OnServer<MYSQL, ODD> {
    fn start() -> Option<Self> {
        let server = match ODD {
            true => TestServer::shared_odd(Self::KIND),
            false => TestServer::shared(Self::KIND),
        }?;
        // Half a MiB is more than MySQL's TEXT holds.
        let author = AUTHOR.map(|sql| match MYSQL {
            true => sql.replace("TEXT", "LONGTEXT"),
            false => sql.to_owned(),
        });
        let author = author.each_ref().map(String::as_str);
        let name = crate::common::block_on(server.prepared(&author));
        Some(OnServer(server.url(&name)))
    }

    fn open(&self) -> Client {
        Self::KIND.open(&self.0)
    }

    fn text_holds_nul(&self) -> bool {
        MYSQL
    }

    fn upsert(&self) -> &'static str {
        match MYSQL {
            true => "ON DUPLICATE KEY UPDATE",
            false => "ON CONFLICT (name) DO UPDATE SET",
        }
    }

    fn finish(self) {
        let mut findings = crate::common::block_on(Self::KIND.check(&self.0)).unwrap();
        // Some cases store texts that are no JSON, on purpose; and some end with
        // locks held, which nobody is left to free.
        findings.retain(|finding| {
            !finding.problem.contains("not JSON") && !finding.problem.contains("gone")
        });
        assert_eq!(findings, []);
    }
}

pub(crate) fn run<E: Engine>(case: impl AsyncFnOnce(&dyn Engine)) {
    // None: it has said why it cannot run here.
    if let Some(engine) = E::start() {
        crate::common::block_on(case(&engine));
        engine.finish();
    }
}

macro_rules! on_engine {
    ($module:ident, $engine:ty; $($case:ident)*) => {
        mod $module {
            $(#[test]
            fn $case() {
                crate::engine::run::<$engine>(super::$case);
            })*
        }
    };
}

macro_rules! on_every_engine {
    ($($case:ident)*) => {
        on_engine!(sqlite, crate::engine::Sqlite; $($case)*);
        #[cfg(all(feature = "mysql", feature = "postgres"))]
        on_engine!(postgres, crate::engine::Postgres; $($case)*);
        #[cfg(all(feature = "mysql", feature = "postgres"))]
        on_engine!(mysql, crate::engine::Mysql; $($case)*);
        #[cfg(all(feature = "mysql", feature = "postgres"))]
        on_engine!(odd_postgres, crate::engine::OddPostgres; $($case)*);
        #[cfg(all(feature = "mysql", feature = "postgres"))]
        on_engine!(odd_mysql, crate::engine::OddMysql; $($case)*);
    };
}
