//! From a file to a server, to another, and back to a file.

use turnkey_storage::copy::{Wanted, run};
use turnkey_storage::{Commit, Statement, sqlite};

#[cfg(all(feature = "mysql", feature = "postgres"))]
use crate::common::server::{Kind, TestServer};
use crate::common::{Served, begin, block_on, dialog, last};
use crate::copies::{copy, lines, notes, open_source, open_target, sentence, strings};
use crate::filled::{NOTES, filled, goes_on, has_every_unsent};

/// From a file to the first server, to the second, and to a file.
fn there_and_back_again(first: Kind, second: Kind) {
    let (Some(one), Some(two)) = (TestServer::shared(first), TestServer::shared(second)) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let from = filled(dir.path());
    let back = dir.path().join("back.db");
    let all = Wanted::All;
    let (sums, fence) = block_on(async {
        let at_one = one.url(&one.create().await);
        let there = {
            let source = sqlite::copy_source(&from).unwrap();
            let target = open_target(first, &at_one).await.unwrap();
            copy(&source, &*target, &[notes(first)], &all)
                .await
                .unwrap()
        };
        assert!(there.same(), "{there:?}");
        assert_eq!(first.dump(&at_one, true).await, lines(&from));
        first.prepare(&at_one, &[notes(first)]).await.unwrap();
        assert_eq!(first.check(&at_one).await.unwrap(), []);

        let at_two = two.url(&two.create().await);
        let again = {
            let source = open_source(first, &at_one).await.unwrap();
            let target = open_target(second, &at_two).await.unwrap();
            copy(&*source, &*target, &[notes(second)], &all)
                .await
                .unwrap()
        };
        assert!(again.same(), "{again:?}");
        assert_eq!(second.dump(&at_two, true).await, lines(&from));
        let back = {
            let source = open_source(second, &at_two).await.unwrap();
            let target = sqlite::copy_target(&back).unwrap();
            copy(&*source, &target, &[NOTES], &all).await.unwrap()
        };
        let sums = [there, again, back].map(|report| {
            let sums = report.tables.into_iter().map(|t| (t.table, t.to));
            std::collections::BTreeMap::from_iter(sums)
        });

        // The number that the database gives out by itself is a new one.
        let storage = second.open(&at_two);
        has_every_unsent(&*storage).await;
        let fence = goes_on(&*storage).await;
        let mut grant = begin(&*storage, &dialog("new one"), "note")
            .await
            .grant
            .unwrap();
        let commit = Commit {
            statements: vec![Statement::new("INSERT INTO notes (body) VALUES ('x')", ())],
            ..last("note", "1")
        };
        storage.commit(&mut grant, commit).await.unwrap();
        let ids = Statement::new("SELECT max(id) AS id FROM notes", ());
        let ids = storage.query(None, ids).await.unwrap();
        assert_eq!(ids[0].get::<i64>("id").unwrap(), 11);
        // The new dialog comes after all that were copied.
        let dialogs = second.dump(&at_two, false).await;
        assert_eq!(dialogs.last().unwrap().dialog, dialog("new one"));
        (sums, fence)
    });
    assert_eq!(sums[0], sums[1]);
    assert_eq!(sums[0], sums[2]);
    assert_eq!(lines(&from), lines(&back));
    let mut served = Served::at(&back, &[NOTES]);
    served.start_writer(Vec::new());
    assert!(fence > 1 << 40, "fences begin again");
    block_on(async { assert!(goes_on(&served.open()).await > 1 << 40) });
    served.finish();
}

#[test]
fn from_postgresql_to_postgresql() {
    there_and_back_again(Kind::Postgres, Kind::Postgres);
}

#[test]
fn from_mariadb_to_postgresql() {
    there_and_back_again(Kind::Mysql, Kind::Postgres);
}

#[test]
fn from_postgresql_to_mariadb() {
    there_and_back_again(Kind::Postgres, Kind::Mysql);
}

#[test]
fn mariadb_takes_a_copy_that_was_not_finished_anew() {
    let Some(server) = TestServer::shared(Kind::Mysql) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let from = filled(dir.path());
    let author = strings(&[notes(Kind::Mysql)]);
    block_on(async {
        let url = server.url(&server.create().await);
        for comparing in [false, true] {
            let source = sqlite::copy_source(&from).unwrap();
            let target = open_target(Kind::Mysql, &url).await.unwrap();
            let (stop, stopped) = tokio::sync::oneshot::channel();
            let mut stop = Some(stop);
            let copying = run(&source, &*target, &author, &Wanted::All, |progress| {
                if progress.comparing == comparing
                    && let Some(stop) = stop.take()
                {
                    stop.send(()).unwrap();
                }
            });
            tokio::select! {
                biased;
                _ = stopped => {}
                ended = copying => panic!("{ended:?}"),
            }
            drop((source, target));
            for refused in [
                Kind::Mysql.prepare(&url, &[]).await,
                Kind::Mysql.check(&url).await.map(drop),
                open_source(Kind::Mysql, &url).await.map(drop),
            ] {
                let refused = sentence(refused);
                assert!(
                    refused.contains("was not finished; run that copy command again"),
                    "{refused}"
                );
            }
        }
        let source = sqlite::copy_source(&from).unwrap();
        let target = open_target(Kind::Mysql, &url).await.unwrap();
        let report = copy(&source, &*target, &[notes(Kind::Mysql)], &Wanted::All).await;
        assert!(report.unwrap().same());
        assert_eq!(Kind::Mysql.dump(&url, true).await, lines(&from));
    });
}
