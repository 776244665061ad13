//! The databases that what must hold on each is tested on.

use crate::harness::bot::Setup;
use crate::harness::server::{Kind, TestServer};

/// Where the bot keeps its data.
pub(crate) enum Engine {
    Sqlite,
    Postgres(&'static TestServer),
}

impl Engine {
    pub(crate) fn postgres() -> Option<Self> {
        TestServer::shared(Kind::Postgres).map(Engine::Postgres)
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Engine::Sqlite => "sqlite",
            Engine::Postgres(_) => "postgres",
        }
    }

    /// PostgreSQL has no writer of ours.
    pub(crate) fn has_writer(&self) -> bool {
        matches!(self, Engine::Sqlite)
    }

    /// A bot with a database of its own there, and PostgreSQL's address of it.
    pub(crate) async fn setup(&self) -> (Setup, Option<String>) {
        match self {
            Engine::Sqlite => (Setup::commands(), None),
            Engine::Postgres(server) => {
                let url = server.url(&server.create().await);
                (Setup::commands().on(url.clone()), Some(url))
            }
        }
    }
}
