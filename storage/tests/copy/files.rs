//! From file to file: what arrives, what is refused, and copies that were not finished.

use turnkey_storage::copy::{MAX_ROWS, Wanted, run};
use turnkey_storage::{Sync, sqlite};

use crate::common::{Served, block_on, dialog, turn};
use crate::copies::{file_to_file, lines, named, sentence, strings};
use crate::filled::{AWKWARD, DOUBLES, NOTES, filled, goes_on, has_every_unsent};

#[test]
fn a_file_becomes_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let from = filled(dir.path());
    let to = dir.path().join("to.db");
    block_on(async {
        let report = file_to_file(&from, &to, &[NOTES, DOUBLES], &Wanted::All)
            .await
            .unwrap();
        assert!(report.same() && report.left_out.is_empty());
        let rows: Vec<_> = report
            .tables
            .iter()
            .map(|t| (t.table.as_str(), t.to.rows))
            .collect();
        let dialogs = (AWKWARD.len() + MAX_ROWS + 102) as u64;
        assert_eq!(
            rows,
            [
                ("turnkey_dialog", dialogs),
                ("turnkey_seen", dialogs + 10 + 5 + 1),
                ("turnkey_outbox", 31),
                ("turnkey_history", 15),
                ("turnkey_inbox", 5),
                ("turnkey_dead", 5),
                ("turnkey_dead_reply", 2),
                ("turnkey_taken", 1),
                ("turnkey_pause", 1),
                ("turnkey_poll_mark", 1),
                ("turnkey_message", 5),
                ("turnkey_broadcast", 1),
                ("turnkey_broadcast_failed", 5),
                ("turnkey_timer", 2),
                ("turnkey_step", 5),
                ("turnkey_overlap", 1),
                ("turnkey_callback", 2),
                ("turnkey_person", 1),
                ("notes", 4)
            ]
        );
        // Not the same as an empty one's, which would compare well with itself.
        assert!(
            report
                .tables
                .iter()
                .all(|t| t.to.checksum != Default::default())
        );
    });
    assert_eq!(lines(&from), lines(&to));
    let mut served = Served::at(&to, &[NOTES, DOUBLES]);
    served.start_writer(Vec::new());
    block_on(async {
        let storage = served.open();
        has_every_unsent(&storage).await;
        goes_on(&storage).await;
    });
    served.finish();
}

#[test]
fn what_may_not_be_copied_or_into_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut served = Served::at(&at("from.db"), &[NOTES]);
    served.start_writer(Vec::new());
    block_on(async {
        turn(&served.open(), &dialog("ann"), "u", "1").await;
        let refused = sentence(sqlite::copy_source(&at("from.db")));
        assert!(
            refused.contains("in use by a running bot; stop it"),
            "{refused}"
        );
        let refused = sentence(sqlite::copy_target(&at("from.db")));
        assert!(
            refused.contains("in use by a running bot; stop it"),
            "{refused}"
        );
    });
    served.finish();
    block_on(async {
        let attempt = async |from: &str, to: &str, author: &[&str], wanted: &Wanted| {
            sentence(file_to_file(&at(from), &at(to), author, wanted).await)
        };
        let none = named(&[]);
        let refused = attempt("gone.db", "to.db", &[], &none).await;
        assert!(refused.contains("there is no file"), "{refused}");
        assert!(!at("gone.db").exists() && !at("gone.db-lock").exists());
        let refused = attempt("from.db", "to.db", &[], &named(&["nowhere"])).await;
        assert!(
            refused.contains("has no such table; its own are: notes"),
            "{refused}"
        );
        let refused = attempt("from.db", "to.db", &[], &named(&["turnkey_lock"])).await;
        assert!(refused.contains("by themselves"), "{refused}");
        assert!(
            !at("to.db").exists(),
            "refused, and yet the target was made"
        );
        let refused = attempt("from.db", "to.db", &[], &Wanted::All).await;
        assert!(
            refused.contains("the target has no table notes: run"),
            "{refused}"
        );
        let other = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)";
        let refused = attempt("from.db", "to2.db", &[other], &Wanted::All).await;
        assert!(refused.contains("has the columns"), "{refused}");

        let left = file_to_file(&at("from.db"), &at("to3.db"), &[NOTES], &none)
            .await
            .unwrap();
        assert_eq!(
            (left.left_out, left.tables.len()),
            (strings(&["notes"]), 18)
        );
        // What is there is kept.
        let refused = attempt("from.db", "to3.db", &[NOTES], &none).await;
        assert!(
            refused.contains("is not empty: turnkey_dialog has 1 rows"),
            "{refused}"
        );
        assert_eq!(lines(&at("to3.db")), lines(&at("from.db")));
        sqlite::prepare(&at("to3.db"), Sync::Full, &strings(&[NOTES])).unwrap();

        // A row of a migration is in the way only where it was there before.
        let seeded = [NOTES, "INSERT INTO notes (id) VALUES (1)"];
        let all = Wanted::All;
        file_to_file(&at("from.db"), &at("to4.db"), &seeded, &all)
            .await
            .unwrap();
        sqlite::prepare(&at("to5.db"), Sync::Full, &strings(&seeded)).unwrap();
        let refused = attempt("from.db", "to5.db", &seeded, &all).await;
        assert!(refused.contains("notes has 1 rows"), "{refused}");
    });
}

#[test]
fn an_unfinished_copy_is_not_served_and_can_be_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let from = filled(dir.path());
    let to = dir.path().join("to.db");
    block_on(async {
        // Dropped at the first row, as if killed.
        let (source, target) = (
            sqlite::copy_source(&from).unwrap(),
            sqlite::copy_target(&to).unwrap(),
        );
        let author = strings(&[NOTES]);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let mut stop = Some(stop);
        let wanted = named(&["notes"]);
        let copying = run(&source, &target, &author, &wanted, |_| {
            if let Some(stop) = stop.take() {
                stop.send(()).unwrap();
            }
        });
        tokio::select! {
            biased;
            _ = stopped => {}
            ended = copying => panic!("{ended:?}"),
        }
        drop((source, target));
        let refused = sentence(sqlite::prepare(&to, Sync::Full, &author));
        assert!(
            refused.contains("was not finished; run that copy command again"),
            "{refused}"
        );
        let refused = sentence(sqlite::check(&to).await);
        assert!(refused.contains("was not finished"), "{refused}");
        let refused = sentence(sqlite::copy_source(&to).map(drop));
        assert!(refused.contains("was not finished"), "{refused}");
        let report = file_to_file(&from, &to, &[NOTES], &wanted).await.unwrap();
        assert!(report.same());
        assert_eq!(sqlite::check(&to).await.unwrap(), []);
    });
    assert_eq!(lines(&from), lines(&to));
}

#[test]
fn a_source_that_changes_meanwhile_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let from = filled(dir.path());
    let to = dir.path().join("to.db");
    block_on(async {
        let source = sqlite::copy_source(&from).unwrap();
        let target = sqlite::copy_target(&to).unwrap();
        let (author, wanted) = (strings(&[NOTES]), named(&["notes"]));
        let mut other = Some(rusqlite::Connection::open(&from).unwrap());
        let changed = run(&source, &target, &author, &wanted, |_| {
            if let Some(other) = other.take() {
                other.execute("DELETE FROM notes WHERE id = 7", []).unwrap();
            }
        });
        let refused = sentence(changed.await);
        assert!(refused.contains("changed meanwhile"), "{refused}");
    });
}
