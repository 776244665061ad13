//! What is in a database, on both kinds of server: migrations, dialogs, ids.

use tokio::task::JoinSet;
use turnkey_storage::{Commit, DialogKey, Error, Pending};

use crate::common::server::{Kind, TestServer};
use crate::common::{asks, begin, block_on, dialog, last, turn};
use crate::processes::open;

fn two_boxes_may_prepare_at_once_and_migrations_are_kept(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let url = server.url(&server.create().await);
        let first = "CREATE TABLE a (b INTEGER)";
        let mut both = JoinSet::new();
        for _ in 0..4 {
            let url = url.clone();
            both.spawn(async move { kind.prepare(&url, &[first]).await });
        }
        for prepared in both.join_all().await {
            prepared.unwrap();
        }
        let refused = async |list: &[&str]| kind.prepare(&url, list).await.unwrap_err().to_string();
        assert!(
            refused(&["CREATE TABLE a (c TEXT)"])
                .await
                .contains("was changed")
        );
        assert!(refused(&[]).await.contains("newer version of the bot"));
        let wrong = refused(&[first, "CREATE TABLE d (e INTEGER) STRICT"]).await;
        assert!(wrong.contains("migration 2 of the bot failed"), "{wrong}");
        kind.prepare(&url, &[first]).await.unwrap();
    });
}

fn a_dump_has_every_dialog_and_a_check_finds_what_is_wrong(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let name = server.prepared(&[]).await;
        let url = server.url(&name);
        let storage = open(&url);
        for n in 0..3 {
            for user in ["ann", "b\0b"] {
                let update = format!("{user}{n}");
                let mut grant = begin(&*storage, &dialog(user), &update)
                    .await
                    .grant
                    .unwrap();
                let commit = Commit {
                    history: Some(format!("[{n}]")),
                    ..last(&update, &n.to_string())
                };
                storage.commit(&mut grant, commit).await.unwrap();
            }
        }
        for with_history in [false, true] {
            let lines = kind.dump(&url, with_history).await;
            let seen: Vec<_> = lines
                .iter()
                .map(|l| (l.dialog.user_id.as_str(), l.state.as_str(), l.history.len()))
                .collect();
            let kept = if with_history { 3 } else { 0 };
            assert_eq!(seen, [("ann", "2", kept), ("b\0b", "2", kept)]);
        }
        assert_eq!(kind.check(&url).await.unwrap(), []);
        server
            .sql(
                &name,
                match kind {
                    Kind::Postgres => {
                        "UPDATE turnkey_dialog SET state = 'nonsense' WHERE user_id = 'ann';
                         INSERT INTO turnkey_outbox VALUES (99, 1, 0, 'x')"
                    }
                    Kind::Mysql => {
                        "UPDATE turnkey_dialog SET state = 'nonsense' WHERE user_id = 'ann';
                         INSERT INTO turnkey_outbox (user_id, channel, turn, n, body)
                             VALUES ('x', 'http', 1, 0, 'x')"
                    }
                },
            )
            .await;
        let problems: Vec<String> = kind
            .check(&url)
            .await
            .unwrap()
            .into_iter()
            .map(|f| f.problem)
            .collect();
        for words in ["belong to no dialog", "not JSON"] {
            assert!(problems.iter().any(|p| p.contains(words)), "{problems:?}");
        }
    });
}

fn ids_up_to_the_bound_are_kept_and_longer_ones_refused(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let storage = open(&server.url(&server.prepared(&[]).await));
        let long: String = (0..1024_u32)
            .map(|n| char::from(b'a' + (n * 7 % 26) as u8))
            .collect();
        turn(&*storage, &dialog(&long), &long, "1").await;
        assert!(begin(&*storage, &dialog(&long), &long).await.seen.is_some());
        // Spaces at the end count, as does the case.
        for other in [
            format!("{} ", &long[1..]),
            long[1..].to_owned(),
            long[1..].to_uppercase(),
        ] {
            assert_eq!(turn(&*storage, &dialog(&other), &other, "2").await, None);
        }
        let longer = storage
            .begin(asks(&dialog(format!("{long}a")), "u"))
            .await
            .map(crate::common::flat);
        assert!(matches!(longer, Err(Error::Unavailable(why)) if why.contains("1025 bytes")));
        // A relay of such an id would fail each time that its commit is tried.
        let mut grant = begin(&*storage, &dialog(1), "u").await.grant.unwrap();
        let mut relaying = async |user: String| {
            let commit = Commit {
                relays: vec![Pending {
                    dialog: dialog(user),
                    ..crate::common::relay("1.1", 1)
                }],
                ..last("u", "1")
            };
            storage.commit(&mut grant, commit).await
        };
        let longer = relaying(format!("{long}a")).await;
        assert!(matches!(longer, Err(Error::Unavailable(why)) if why.contains("1025 bytes")));
        relaying(long.clone()).await.unwrap();
        let due = turnkey_storage::inbox::due_dialogs(&*storage, 9).await;
        assert_eq!(due.unwrap(), [dialog(&long)]);
        // The longest of everything is a key, too.
        let name = "n".repeat(turnkey_storage::messages::MAX_NAME);
        let most = DialogKey::new("c".repeat(255), &long);
        turnkey_storage::messages::set(&*storage, &most, &name, "1")
            .await
            .unwrap();
        let found = turnkey_storage::messages::find(&*storage, &most, &name).await;
        assert_eq!(found.unwrap().as_deref(), Some("1"));
    });
}

/// As in a file; on MySQL also after it was cut off in the middle.
#[test]
fn marks_that_an_older_version_kept_among_the_pauses_are_moved() {
    for (kind, again) in [
        (Kind::Postgres, false),
        (Kind::Mysql, false),
        (Kind::Mysql, true),
    ] {
        let Some(server) = TestServer::shared(kind) else {
            return;
        };
        block_on(async {
            let name = server.prepared(&[]).await;
            let older = match (again, kind) {
                (true, _) => {
                    "DELETE FROM turnkey_migration WHERE owner = 'turnkey' AND number > 3;
                     UPDATE turnkey_migration SET ended_at = NULL
                         WHERE owner = 'turnkey' AND number = 3;
                     INSERT INTO turnkey_poll_mark VALUES ('vk', 42);"
                }
                (false, Kind::Postgres) => {
                    "DROP TABLE turnkey_poll_mark;
                     DROP TABLE turnkey_message;
                     DROP TABLE turnkey_broadcast;
                     DROP TABLE turnkey_broadcast_failed;
                     DROP TABLE turnkey_taken;
                     DROP TABLE turnkey_timer;
                     DROP TABLE turnkey_step;
                     DROP TABLE turnkey_overlap;
                     DROP TABLE turnkey_callback;
                     DROP TABLE turnkey_person;
                     DROP FUNCTION turnkey_begin_one;
                     DROP FUNCTION turnkey_commit_one;
                     DELETE FROM turnkey_migration WHERE owner = 'turnkey' AND number > 3;"
                }
                (false, Kind::Mysql) => {
                    "DROP TABLE turnkey_poll_mark;
                     DROP TABLE turnkey_message;
                     DROP TABLE turnkey_broadcast;
                     DROP TABLE turnkey_broadcast_failed;
                     DROP TABLE turnkey_taken;
                     DROP TABLE turnkey_timer;
                     DROP TABLE turnkey_step;
                     DROP TABLE turnkey_overlap;
                     DROP TABLE turnkey_callback;
                     DROP TABLE turnkey_person;
                     DELETE FROM turnkey_migration WHERE owner = 'turnkey' AND number > 2;"
                }
            };
            server.sql(&name, older).await;
            let pauses = "INSERT INTO turnkey_pause VALUES
                ('mark:vk', 1152921504606846976 + 42), ('vk:mark:', 1152921504606846976)";
            server.sql(&name, pauses).await;
            let url = server.url(&name);
            kind.prepare(&url, &[]).await.unwrap();
            let storage = kind.open(&url);
            let mark = turnkey_storage::marks::get(&*storage, "vk").await.unwrap();
            assert_eq!(mark, Some(42), "{kind:?}");
            let left = turnkey_storage::pauses::all(&*storage).await.unwrap();
            assert_eq!(left, [("vk:mark:".to_owned(), 1 << 60)], "{kind:?}");
        });
    }
}

on_every_server! {
    two_boxes_may_prepare_at_once_and_migrations_are_kept
    a_dump_has_every_dialog_and_a_check_finds_what_is_wrong
    ids_up_to_the_bound_are_kept_and_longer_ones_refused
}
