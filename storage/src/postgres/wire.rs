//! One phase of many turns as one call of a function of the database.
//!
//! Used by the lanes (`lanes/lane.rs`), each of which has one, and by `author.rs`.
//! The functions are in `functions.sql`; those for a phase of one turn in `alone.sql`.

use std::borrow::Cow;

use tokio_postgres::{Client, Row};

use super::Server;
use super::errors::{self, Failed};
use super::session::Purpose;
use super::text::{original, stored};
use crate::lanes::idle::Kept;
use crate::lanes::wire::{Ask, Asked, Connect, Found, MAX_WAITERS, Reading, Turn, Wire};
use crate::{
    DialogKey, Error, Fence, LockAfter, Origin, Pending, ReplyId, Result, Seen, Sync, Unsent,
};

type Tried<T> = std::result::Result<T, Failed>;

/// How the lanes of a process connect.
pub(super) struct Lanes {
    pub(super) server: Server,
    pub(super) sync: Sync,
}

impl Connect for Lanes {
    type Wire = Calls;

    async fn connect(&self) -> Tried<Calls> {
        Calls::prepare(self.server.client(Purpose::Lane, self.sync).await?).await
    }
}

/// The prepared calls of a connection.
pub(super) struct Calls {
    client: Client,
    begin: tokio_postgres::Statement,
    begin_one: tokio_postgres::Statement,
    read: tokio_postgres::Statement,
    commit: tokio_postgres::Statement,
    commit_one: tokio_postgres::Statement,
    commit_all: tokio_postgres::Statement,
    sent: tokio_postgres::Statement,
    cancel: tokio_postgres::Statement,
}

impl Calls {
    async fn prepare(client: Client) -> Tried<Self> {
        let columns = "ticket, fence, version, state, digest, answer, turns, numbers, bodies, \
                       e_id, e_arrived, e_body, e_attempts, e_due, e_error";
        let begin =
            format!("SELECT status, {columns} FROM turnkey_begin($1, $2, $3, $4, $5, $6, $7)");
        let read = format!("SELECT 0 AS status, {columns} FROM turnkey_read($1, $2, $3, $4, $5)");
        // Sent together, so that a new connection waits for the server once and not eight times.
        let (begin, begin_one, read, commit, commit_one, commit_all, sent, cancel) = tokio::try_join!(
            client.prepare(&begin),
            client.prepare(
                "SELECT status, fence, version, state, digest, answer, more \
                 FROM turnkey_begin_one($1, $2, $3, $4, $5, $6, $7)",
            ),
            client.prepare(&read),
            client.prepare(COMMIT),
            client.prepare(
                "SELECT turnkey_commit_one($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            ),
            client.prepare(
                "SELECT turnkey_commit_all($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            ),
            client.prepare("SELECT turnkey_sent($1, $2, $3, $4, $5, $6, $7)"),
            client.prepare("SELECT turnkey_cancel($1, $2, $3, $4)"),
        )?;
        Ok(Calls {
            client,
            begin,
            begin_one,
            read,
            commit,
            commit_one,
            commit_all,
            sent,
            cancel,
        })
    }
}

/// Writes one turn; also called by `author.rs`.
pub(super) const COMMIT: &str =
    "SELECT turnkey_commit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

/// One turn through [`COMMIT`].
pub(super) async fn commit_one(
    client: &Client,
    statement: &tokio_postgres::Statement,
    turn: &Turn,
) -> Tried<Result<()>> {
    let replies: Vec<Cow<'_, str>> = turn.commit.replies.iter().map(|r| stored(r)).collect();
    let row = client
        .query_one(
            statement,
            &[
                &stored(&turn.dialog.channel),
                &stored(&turn.dialog.user_id),
                &(turn.fence.0 as i64),
                &(turn.version as i64),
                &stored(&turn.commit.update),
                &turn.commit.digest,
                &turn.commit.answer,
                &stored(&turn.commit.state),
                &turn.commit.history.as_deref().map(stored),
                &(turn.commit.lock == LockAfter::GivenBack),
                &replies,
                &(turn.commit.origin == Origin::Inbox),
            ],
        )
        .await?;
    Ok(match row.get::<_, i32>(0) {
        0 => Ok(()),
        1 => Err(Error::Seen),
        _ => Err(Error::Stale),
    })
}

impl Calls {
    async fn begin_one(&mut self, owner: i64, ask: &Ask) -> Tried<Asked> {
        let row = self
            .client
            .query_one(
                &self.begin_one,
                &[
                    &owner,
                    &MAX_WAITERS,
                    &ask.ticket,
                    &stored(&ask.dialog.channel),
                    &stored(&ask.dialog.user_id),
                    &ask.update.as_deref().map(stored),
                    &ask.arrived,
                ],
            )
            .await?;
        match row.get::<_, i32>("status") {
            0 => {}
            1 => return Ok(Asked::Queued),
            _ => return Ok(Asked::Refused),
        }
        if !row.get::<_, bool>("more") {
            return Ok(Asked::Granted(found_alone(&row)));
        }
        // Under the lock, so what is read now is no older than what was.
        let reading = Reading {
            ticket: ask.ticket,
            dialog: ask.dialog.clone(),
            update: ask.update.clone(),
            fence: fence(&row),
        };
        let read = self.read(&[reading]).await?.pop();
        let (_, found) = read.ok_or(Failed::Closed)?;
        Ok(Asked::Granted(found))
    }
}

impl Kept for Calls {
    fn is_lost(&self) -> bool {
        self.client.is_closed()
    }

    async fn answers(&mut self) -> bool {
        self.client.simple_query("").await.is_ok()
    }
}

impl Wire for Calls {
    type Failed = Failed;

    async fn begin(&mut self, owner: i64, asks: &[Ask]) -> Tried<Vec<(i64, Asked)>> {
        if let [ask] = asks {
            return Ok(vec![(ask.ticket, self.begin_one(owner, ask).await?)]);
        }
        macro_rules! column {
            ($ask:ident => $value:expr) => {
                asks.iter().map(|$ask| $value).collect::<Vec<_>>()
            };
        }
        let rows = self
            .client
            .query(
                &self.begin,
                &[
                    &owner,
                    &MAX_WAITERS,
                    &column!(ask => ask.ticket),
                    &column!(ask => stored(&ask.dialog.channel)),
                    &column!(ask => stored(&ask.dialog.user_id)),
                    &column!(ask => ask.update.as_deref().map(stored)),
                    &column!(ask => ask.arrived),
                ],
            )
            .await?;
        Ok(rows
            .iter()
            .map(|row| {
                let ticket = row.get("ticket");
                let asked = match row.get::<_, i32>("status") {
                    0 => {
                        let mut asks = asks.iter();
                        Asked::Granted(found(row, || {
                            Some(&asks.find(|ask| ask.ticket == ticket)?.dialog)
                        }))
                    }
                    1 => Asked::Queued,
                    _ => Asked::Refused,
                };
                (ticket, asked)
            })
            .collect())
    }

    async fn read(&mut self, readings: &[Reading]) -> Tried<Vec<(i64, Found)>> {
        macro_rules! column {
            ($reading:ident => $value:expr) => {
                readings.iter().map(|$reading| $value).collect::<Vec<_>>()
            };
        }
        let rows = self
            .client
            .query(
                &self.read,
                &[
                    &column!(reading => reading.ticket),
                    &column!(reading => reading.fence.0 as i64),
                    &column!(reading => stored(&reading.dialog.channel)),
                    &column!(reading => stored(&reading.dialog.user_id)),
                    &column!(reading => reading.update.as_deref().map(stored)),
                ],
            )
            .await?;
        Ok(rows
            .iter()
            .map(|row| {
                let ticket = row.get("ticket");
                let mut readings = readings.iter();
                let dialog = || Some(&readings.find(|reading| reading.ticket == ticket)?.dialog);
                (ticket, found(row, dialog))
            })
            .collect())
    }

    async fn commit_all(&mut self, turns: &[&Turn]) -> Tried<()> {
        macro_rules! column {
            ($turn:ident => $value:expr) => {
                turns.iter().map(|$turn| $value).collect::<Vec<_>>()
            };
        }
        let mut replies = (Vec::<i64>::new(), Vec::<i32>::new(), Vec::new());
        for turn in turns {
            for (index, body) in turn.commit.replies.iter().enumerate() {
                replies.0.push(turn.fence.0 as i64);
                replies.1.push(index as i32);
                replies.2.push(stored(body));
            }
        }
        self.client
            .query(
                &self.commit_all,
                &[
                    &column!(turn => stored(&turn.dialog.channel)),
                    &column!(turn => stored(&turn.dialog.user_id)),
                    &column!(turn => turn.fence.0 as i64),
                    &column!(turn => turn.version as i64),
                    &column!(turn => stored(&turn.commit.update)),
                    &column!(turn => &turn.commit.digest),
                    &column!(turn => &turn.commit.answer),
                    &column!(turn => stored(&turn.commit.state)),
                    &column!(turn => turn.commit.history.as_deref().map(stored)),
                    &column!(turn => turn.commit.lock == LockAfter::GivenBack),
                    &replies.0,
                    &replies.1,
                    &replies.2,
                    &column!(turn => turn.commit.origin == Origin::Inbox),
                ],
            )
            .await?;
        Ok(())
    }

    async fn commit_one(&mut self, turn: &Turn) -> Tried<Result<()>> {
        match commit_one(&self.client, &self.commit_one, turn).await {
            // Nothing of it is done: it is found out why not.
            Err(Failed::Pg(error)) if errors::is_not_so_simple(&error) => {
                commit_one(&self.client, &self.commit, turn).await
            }
            done => done,
        }
    }

    async fn sent(
        &mut self,
        replies: &[(&DialogKey, ReplyId)],
        ends: &[(&DialogKey, Fence)],
    ) -> Tried<()> {
        macro_rules! column {
            ($list:ident, $dialog:ident, $id:ident => $value:expr) => {
                $list
                    .iter()
                    .map(|($dialog, $id)| $value)
                    .collect::<Vec<_>>()
            };
        }
        self.client
            .query(
                &self.sent,
                &[
                    &column!(replies, dialog, _id => stored(&dialog.channel)),
                    &column!(replies, dialog, _id => stored(&dialog.user_id)),
                    &column!(replies, _dialog, id => id.turn.0 as i64),
                    &column!(replies, _dialog, id => id.index as i32),
                    &column!(ends, dialog, _id => stored(&dialog.channel)),
                    &column!(ends, dialog, _id => stored(&dialog.user_id)),
                    &column!(ends, _dialog, fence => fence.0 as i64),
                ],
            )
            .await?;
        Ok(())
    }

    async fn cancel(&mut self, owner: i64, places: &[(i64, DialogKey)]) -> Tried<()> {
        let tickets: Vec<i64> = places.iter().map(|(ticket, _)| *ticket).collect();
        let channels: Vec<_> = places.iter().map(|(_, d)| stored(&d.channel)).collect();
        let users: Vec<_> = places.iter().map(|(_, d)| stored(&d.user_id)).collect();
        self.client
            .query(&self.cancel, &[&owner, &tickets, &channels, &users])
            .await?;
        Ok(())
    }
}

/// `dialog`: whose row it is, asked for where the inbox has something.
fn found<'a>(row: &Row, dialog: impl FnOnce() -> Option<&'a DialogKey>) -> Found {
    let turns: Vec<i64> = row.get::<_, Option<_>>("turns").unwrap_or_default();
    let numbers: Vec<i32> = row.get::<_, Option<_>>("numbers").unwrap_or_default();
    let bodies: Vec<String> = row.get::<_, Option<_>>("bodies").unwrap_or_default();
    Found {
        unsent: turns
            .into_iter()
            .zip(numbers)
            .zip(bodies)
            .map(|((turn, n), body)| Unsent {
                id: ReplyId {
                    turn: Fence(turn as u64),
                    index: n as u32,
                },
                body: original(body),
            })
            .collect(),
        oldest: oldest(row, dialog),
        ..found_alone(row)
    }
}

/// Where nothing is in the outbox or the inbox.
fn found_alone(row: &Row) -> Found {
    Found {
        fence: fence(row),
        version: row.get::<_, Option<i64>>("version").unwrap_or(0) as u64,
        state: row.get::<_, Option<String>>("state").map(original),
        seen: row.get::<_, Option<Vec<u8>>>("digest").map(|digest| Seen {
            digest,
            answer: row.get::<_, Option<Vec<u8>>>("answer").unwrap_or_default(),
        }),
        unsent: Vec::new(),
        oldest: None,
    }
}

fn fence(row: &Row) -> Fence {
    Fence(row.get::<_, i64>("fence") as u64)
}

fn oldest<'a>(row: &Row, dialog: impl FnOnce() -> Option<&'a DialogKey>) -> Option<Pending> {
    let update = original(row.get::<_, Option<String>>("e_id")?);
    Some(Pending {
        dialog: dialog()?.clone(),
        update,
        arrived: row.get("e_arrived"),
        body: row.get("e_body"),
        attempts: row.get::<_, i64>("e_attempts") as u32,
        due: row.get("e_due"),
        error: row.get::<_, Option<String>>("e_error").map(original),
    })
}
