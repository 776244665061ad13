//! Statements of the author's and of operators: all or none, without end, very many.

use turnkey_storage::sqlite::{connect, dump};
use turnkey_storage::{Commit, Error, Owner, Statement, Storage};

use crate::common::{Served, begin, block_on, dialog, last, turn};

#[test]
fn statements_that_never_end_are_stopped() {
    const ENDLESS: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)";
    let mut served = Served::start(&["CREATE TABLE note (body TEXT)"]);
    let files = served.files.clone();
    let runtime = crate::common::runtime();
    let client = runtime
        .block_on(async { connect(&files, Owner(100)) })
        .unwrap();
    let endless = |update: &str, sql: String| {
        let client = &client;
        let update = update.to_owned();
        async move {
            let mut grant = begin(client, &dialog(&update), &update)
                .await
                .grant
                .unwrap();
            let commit = Commit {
                statements: vec![Statement::new(sql, ())],
                ..last(&update, "1")
            };
            client.commit(&mut grant, commit).await
        }
    };
    let read = format!("{ENDLESS} SELECT COUNT(*) FROM n");
    let stopped = runtime.block_on(endless("read", read));
    assert!(
        matches!(&stopped, Err(Error::Statement(s)) if s.contains("took longer")),
        "{stopped:?}"
    );
    // SQLite undoes the whole transaction of a write that is stopped. Its author
    // is told; all others go on with the next writer, without noticing.
    let setup = Statement::new("CREATE UNIQUE INDEX once ON note (body)", ());
    let row = "INSERT OR ROLLBACK INTO note VALUES ('a')";
    let first = vec![setup, Statement::new(row, ())];
    runtime.block_on(client.write(first)).unwrap();
    for (update, sql) in [
        (
            "write",
            format!("{ENDLESS} INSERT INTO note SELECT x FROM n WHERE x < 0"),
        ),
        ("rollback", row.to_owned()),
    ] {
        let other = async {
            for n in 0..50 {
                let name = format!("{update}{n}");
                turn(&client, &dialog(&name), &name, "1").await;
            }
        };
        let stopped = std::thread::scope(|scope| {
            let both = scope
                .spawn(|| runtime.block_on(async { tokio::join!(endless(update, sql), other).0 }));
            let ended = served.join_writer();
            assert!(matches!(ended, Err(Error::Undone(_))), "{ended:?}");
            served.start_writer(vec![Owner(100)]);
            both.join().unwrap()
        });
        assert!(matches!(stopped, Err(Error::Statement(_))), "{stopped:?}");
    }
    let mut dialogs = 0;
    dump::<Error>(&files.database, false, |_| {
        dialogs += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(dialogs, 100);
    drop(client);
    drop(runtime);
    served.finish();
}

#[test]
fn write_is_all_or_none() {
    let served = Served::start(&["CREATE TABLE note (body TEXT UNIQUE)"]);
    block_on(async {
        let client = served.open();
        let note = |body: &str| Statement::new("INSERT INTO note VALUES (?1)", (body,));
        client.write(vec![note("a"), note("b")]).await.unwrap();
        let failed = client.write(vec![note("c"), note("a")]).await;
        assert!(matches!(failed, Err(Error::Statement(_))), "{failed:?}");
        let count = "SELECT COUNT(*) FROM note";
        let count = client.read(move |conn| conn.query_row(count, [], |row| row.get::<_, i64>(0)));
        assert_eq!(count.await.unwrap(), 2);
    });
    served.finish();
}

#[test]
fn a_crowd_of_queries_is_served() {
    let served = Served::start(&[]);
    block_on(async {
        let client = std::sync::Arc::new(served.open());
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..2000_i64 {
            let client = client.clone();
            tasks.spawn(async move {
                let rows = client
                    .query(None, Statement::new("SELECT ?1 AS n", (n,)))
                    .await
                    .unwrap();
                assert_eq!(rows[0].get::<i64>("n").unwrap(), n);
            });
        }
        tasks.join_all().await;
    });
    served.finish();
}
