//! Servers that are in use, and processes that come up while their database is copied.

use turnkey_storage::Error;

#[cfg(all(feature = "mysql", feature = "postgres"))]
use crate::common::server::{Kind, TestServer};
use crate::common::{block_on, dialog, turn};
use crate::copies::{copy, named, open_source, open_target, sentence};

fn a_server_in_use_is_neither_read_nor_filled(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let (used, free) = (
            server.url(&server.prepared(&[]).await),
            server.url(&server.create().await),
        );
        let storage = kind.open(&used);
        turn(&*storage, &dialog("ann"), "u", "1").await;
        for refused in [
            open_source(kind, &used).await.map(drop),
            open_target(kind, &used).await.map(drop),
        ] {
            let refused = sentence(refused);
            assert!(refused.contains("in use by a running bot"), "{refused}");
        }
        // Nor is it disturbed.
        turn(&*storage, &dialog("ann"), "v", "2").await;
        drop(storage);
        // Its sessions end a moment later, which is waited for.
        let from = open_source(kind, &used).await.unwrap();
        let refused = sentence(kind.prepare(&used, &[]).await);
        assert!(refused.contains("is being copied; wait"), "{refused}");
        let refused = sentence(open_target(kind, &used).await.map(drop));
        assert!(refused.contains("in use"), "{refused}");
        let unprepared = sentence(open_source(kind, &free).await.map(drop));
        assert!(
            unprepared.contains("no bot has been run on it"),
            "{unprepared}"
        );

        let to = open_target(kind, &free).await.unwrap();
        copy(&*from, &*to, &[], &named(&[])).await.unwrap();
        drop((from, to));
        let from = open_source(kind, &used).await.unwrap();
        let to = open_target(kind, &free).await.unwrap();
        let refused = sentence(copy(&*from, &*to, &[], &named(&[])).await);
        assert!(
            refused.contains("is not empty: turnkey_dialog has 1 rows"),
            "{refused}"
        );
        assert_eq!(kind.dump(&free, true).await.len(), 1);
    });
}

#[test]
fn postgresql_in_use_is_neither_read_nor_filled() {
    a_server_in_use_is_neither_read_nor_filled(Kind::Postgres);
}

#[test]
fn mariadb_in_use_is_neither_read_nor_filled() {
    a_server_in_use_is_neither_read_nor_filled(Kind::Mysql);
}

/// A process that was away when the copy began, or came up beside it.
fn a_process_takes_no_turns_while_its_database_is_copied(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let name = server.prepared(&[]).await;
        let address = server.url(&name);
        let source = open_source(kind, &address).await.unwrap();
        let storage = kind.open(&address);
        let short = |update: &str| turnkey_storage::Begin {
            wait: std::time::Duration::from_secs(1),
            ..crate::common::asks(&dialog("ann"), update)
        };
        let early = storage.begin(short("u")).await.map(crate::common::flat);
        assert!(matches!(early, Err(Error::Unavailable(_))), "{early:?}");
        drop(source);
        turn(&*storage, &dialog("ann"), "u", "1").await;
        drop(storage);

        server
            .sql(&name, "CREATE TABLE turnkey_copy (started_at BIGINT)")
            .await;
        let storage = kind.open(&address);
        let marked = storage.begin(short("v")).await.map(crate::common::flat);
        assert!(matches!(marked, Err(Error::Unavailable(_))), "{marked:?}");
    });
}

#[test]
fn no_turns_are_taken_while_postgresql_is_copied() {
    a_process_takes_no_turns_while_its_database_is_copied(Kind::Postgres);
}

#[test]
fn no_turns_are_taken_while_mariadb_is_copied() {
    a_process_takes_no_turns_while_its_database_is_copied(Kind::Mysql);
}
