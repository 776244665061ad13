//! Steps that cases take.

use std::pin::Pin;
use std::task::Poll;

use turnkey_storage::{Commit, DialogKey, LockAfter, Statement, Value};

use crate::common::{asks, last, until};
use crate::engine::Client;

/// Waits until everything the client has sent so far has arrived: answers of one
/// client's requests that wait for nothing come in order.
pub(crate) async fn arrived(client: &Client) {
    client.dialogs_with_unsent(1).await.unwrap();
}

/// A future that has taken its first step: its request is on its way.
pub(crate) async fn started<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Pin<Box<dyn Future<Output = T> + Send>> {
    let mut future = Box::pin(future);
    let first = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    match first {
        Poll::Ready(early) => Box::pin(std::future::ready(early)),
        Poll::Pending => future,
    }
}

pub(crate) async fn begin_later(
    client: &Client,
    dialog: &DialogKey,
    update: &str,
) -> tokio::task::JoinHandle<turnkey_storage::Result<crate::common::Flat>> {
    let (client, begin) = (client.clone(), asks(dialog, update));
    tokio::spawn(started(async move { client.begin(begin).await.map(crate::common::flat) }).await)
}

pub(crate) async fn rows(client: &Client, sql: &str) -> Vec<Vec<Value>> {
    let rows = client.query(None, Statement::new(sql, ())).await.unwrap();
    rows.iter().map(|row| row.values().to_vec()).collect()
}

pub(crate) async fn count(client: &Client, table: &str) -> i64 {
    match rows(client, &format!("SELECT COUNT(*) FROM {table}")).await[0][0] {
        Value::Integer(count) => count,
        ref other => panic!("{other:?}"),
    }
}

pub(crate) async fn no_lock_rows(client: &Client) {
    until("no lock row is left", async || {
        count(client, "turnkey_lock").await == 0
    })
    .await;
}

pub(crate) fn book(name: &str, seats: i64) -> Statement {
    Statement::new("INSERT INTO booking VALUES (?1, ?2)", (name, seats))
}

pub(crate) fn keep(update: &str, state: &str) -> Commit {
    Commit {
        lock: LockAfter::Kept,
        ..last(update, state)
    }
}
