//! MySQL or MariaDB with a plain transaction for each turn: `mysql-plain`.
//!
//! Two statements travel in one text, so a turn is two round trips. Prepared ones
//! travel one by one, which takes four. The texts hold no user's input: ids and states
//! here have no quote and no backslash. The pool is `plain.rs`'s.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error as My};

use super::super::order::Load;
use super::super::servers::mysql_admin::connect;
use super::super::state;
use super::plain::{Connection, Ended};
use crate::error::Error;

/// Users made in one statement.
const FILLING: u64 = 1000;

pub(super) fn fill(load: &Load) -> crate::error::Result<()> {
    super::runtime()?.block_on(async {
        let mut conn = connect(&load.url).await?;
        conn.query_drop(
            "CREATE TABLE state (user_id VARBINARY(64) NOT NULL PRIMARY KEY, state LONGTEXT NOT NULL)
             ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        )
        .await?;
        let state = state::padded(0, load.state_bytes);
        conn.query_drop(format!("SET @state = '{state}'")).await?;
        let mut user = 0;
        while user < load.users {
            let end = (user + FILLING).min(load.users);
            let rows: Vec<String> = (user..end)
                .map(|user| format!("('{}', @state)", state::user_id(user)))
                .collect();
            conn.query_drop(format!("INSERT INTO state VALUES {}", rows.join(",")))
                .await?;
            user = end;
        }
        Ok(conn.disconnect().await?)
    })
}

/// The state that a text's second statement reads. An error of either shows.
async fn read(conn: &mut Conn, user: &str) -> Result<Option<String>, My> {
    let text = format!("BEGIN; SELECT state FROM state WHERE user_id = '{user}' FOR UPDATE");
    let mut answers = conn.query_iter(text).await?;
    answers.collect::<mysql_async::Row>().await?;
    let state = answers.collect::<String>().await?.pop();
    answers.drop_result().await?;
    Ok(state)
}

impl Connection for Conn {
    async fn open(load: &Load) -> crate::error::Result<Self> {
        connect(&load.url).await
    }

    async fn turn(&mut self, user: &str, bytes: usize) -> crate::error::Result<Ended> {
        let read = match read(self, user).await {
            Ok(read) => read,
            Err(error) => return Ok(ended(&error)),
        };
        let state = state::next(read.as_deref(), bytes)?;
        let text = format!("UPDATE state SET state = '{state}' WHERE user_id = '{user}'; COMMIT");
        Ok(match self.query_drop(text).await {
            Ok(()) => Ended::Acknowledged,
            Err(error) => ended(&error),
        })
    }

    async fn roll_back(&mut self) -> crate::error::Result<()> {
        Ok(self.query_drop("ROLLBACK").await?)
    }

    async fn close(self) -> crate::error::Result<()> {
        Ok(self.disconnect().await?)
    }
}

fn ended(error: &My) -> Ended {
    match error {
        // What the server refused has no effect.
        My::Server(error) => Ended::Refused(format!("error {}", error.code)),
        _ => Ended::Uncertain("connection".to_owned()),
    }
}

pub(super) fn sum(load: &Load) -> crate::error::Result<u64> {
    super::runtime()?.block_on(async {
        let mut conn = connect(&load.url).await?;
        let sum: Option<u64> = conn
            .query_first(
                "SELECT CAST(COALESCE(SUM(JSON_EXTRACT(state, '$.count')), 0) AS UNSIGNED) FROM state",
            )
            .await?;
        conn.disconnect().await?;
        sum.ok_or_else(|| Error::Start("the server told no sum of the counters".to_owned()))
    })
}
