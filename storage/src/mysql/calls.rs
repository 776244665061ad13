//! A lane's connection, and how the lanes of a process make them.
//!
//! What is done on it is in `wire.rs` (a phase of many turns) and in `handing_over.rs`.

use std::sync::Weak;

use super::Server;
use super::conn::{Conn, Tried};
use super::session::Purpose;
use crate::lanes::idle::Kept;
use crate::lanes::shared::Shared;
use crate::lanes::wire::Connect;

/// How the lanes of a process connect.
pub(super) struct Lanes {
    pub(super) server: Server,
    pub(super) shared: Weak<Shared>,
}

impl Connect for Lanes {
    type Wire = Calls;

    async fn connect(&self) -> Tried<Calls> {
        Ok(Calls {
            conn: self.server.open(Purpose::Ours).await?,
            shared: self.shared.clone(),
        })
    }
}

/// A connection and those who are to be told of locks that are handed over on it.
pub(super) struct Calls {
    pub(super) conn: Conn,
    pub(super) shared: Weak<Shared>,
}

impl Kept for Calls {
    fn is_lost(&self) -> bool {
        self.conn.is_lost()
    }

    async fn answers(&mut self) -> bool {
        self.conn.is_there().await
    }
}
