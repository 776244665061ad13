//! `turnkey bench storage` on database servers, private and named ones.

use std::fs;

use serde_json::Value;

use crate::harness::bot::{Setup, skipped};

use super::bench::*;

/// Where servers' programs are, beside PATH.
fn is_installed(name: &str, directories: impl IntoIterator<Item = std::path::PathBuf>) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    directories
        .into_iter()
        .chain(std::env::split_paths(&path))
        .any(|directory| directory.join(name).exists())
}

fn has_postgres() -> bool {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    is_installed(
        "initdb",
        versions.map(|entry| entry.unwrap().path().join("bin")),
    )
}

fn has_mysql() -> bool {
    let directories = ["/usr/sbin", "/usr/libexec"].map(std::path::PathBuf::from);
    is_installed("mariadbd", directories.clone()) || is_installed("mysqld", directories)
}

#[test]
fn a_private_postgresql_is_started_and_gone() {
    if !has_postgres() {
        return skipped("bench storage --start-servers: install the package postgresql");
    }
    let json = on_a_private_server("postgres,postgres-plain", "full", 2);
    for row in json["medians"].as_array().unwrap() {
        assert!(row["ratio_to_postgres"].is_number(), "{row:#}");
    }
}

/// Its durability is a setting of the whole server, which follows the runs.
#[test]
fn a_private_mysql_is_started_and_gone() {
    if !has_mysql() {
        return skipped("bench storage --start-servers: install the package mariadb-server");
    }
    let json = on_a_private_server("mysql,mysql-plain", "full,normal", 4);
    for run in json["runs"].as_array().unwrap() {
        let syncs = run["syncs_per_turn"].as_f64().expect("syncs");
        let turns = run["acknowledged"].as_f64().expect("turns");
        let plain = run["engine"] == "mysql-plain";
        // Eight at a time share some; what is not durable is synced once a second.
        let (least, most) = match run["sync"].as_str() {
            Some("full") => (0.05, 4.0),
            _ => (0.0, 0.5),
        };
        // The server syncs some for itself, however few turns a busy machine lets through.
        let most = most + OWN_SYNCS / turns;
        assert!(!plain || (least..most).contains(&syncs), "{run:#}");
    }
}

/// A workload with all that differs between kinds of databases, and a server for each value
/// of a setting.
#[test]
fn a_workload_and_settings_on_private_servers() {
    if !has_postgres() {
        return skipped("bench storage --workload --start-servers: install the package postgresql");
    }
    let mut engines = "postgres,postgres-plain".to_owned();
    let mysql = has_mysql();
    if mysql {
        engines += ",mysql,mysql-plain";
    }
    let setup = Setup::counter();
    let args = [
        "--engines",
        &engines,
        "--workload",
        "queue",
        "--start-servers",
    ];
    let more = ["-c", "shared_buffers=16MB,32MB", "--out", "report"];
    let load = ["--processes", "2", "--in-flight", "2"];
    let (code, json, stderr) = storage(&setup, &[&args[..], &more, &load].concat());
    assert_eq!(code, Some(0), "{stderr}");
    let rows = json["medians"].as_array().unwrap();
    assert_eq!(rows.len(), if mysql { 6 } else { 4 }, "{json:#}");
    let results = read(&setup.path("report").join("results.json"));
    for run in results["runs"].as_array().unwrap() {
        assert!(run["failed"].is_null(), "{run:#}");
        assert_eq!(run["invariants"].as_array().unwrap().len(), 1, "{run:#}");
    }
    // In pages of 8 KiB.
    let in_force = &results["in_force"];
    for (engine, pages) in [
        ("postgres shared_buffers=16MB", "2048"),
        ("postgres-plain shared_buffers=32MB", "4096"),
    ] {
        assert_eq!(in_force[engine]["shared_buffers"], pages, "{engine}");
    }
    assert_nobody_is_left(setup.dir.path());
}

/// Syncs that a server makes in a run of a second without any turn, at most.
const OWN_SYNCS: f64 = 20.0;

/// All results, after nothing was left.
fn on_a_private_server(engines: &str, sync: &str, runs: usize) -> Value {
    let setup = Setup::counter();
    let args = ["--engines", engines, "--sync", sync, "--start-servers"];
    let more = ["--processes", "2", "--in-flight", "4", "--out", "report"];
    let (code, json, stderr) = storage(&setup, &[&args[..], &more].concat());
    assert_eq!(code, Some(0), "{stderr}");
    assert_sound(&json, runs);
    let results = read(&setup.path("report").join("results.json"));
    assert_checked(&results, runs);
    for row in json["medians"].as_array().unwrap() {
        assert!(row["cpu_us_per_turn"]["server"].is_number(), "{row:#}");
        assert_eq!(
            row["device_bytes_per_turn"].is_number(),
            device_bytes(setup.dir.path()).is_some(),
            "{row:#}"
        );
    }
    assert_nobody_is_left(setup.dir.path());
    assert_eq!(names(setup.dir.path()), ["report"]);
    results
}

/// A server of the user's: each run has a database there, and none is left.
#[tokio::test]
async fn a_named_postgresql_is_left_as_it_was() {
    let Some(server) =
        crate::harness::server::TestServer::start(crate::harness::server::Kind::Postgres)
    else {
        return;
    };
    let setup = Setup::counter();
    let url = server.url("postgres");
    let args = ["--engines", "postgres-plain,postgres", "--processes", "1"];
    let more = ["--in-flight", "2", "--postgres", &url];
    let (code, json, stderr) = storage(&setup, &[&args[..], &more].concat());
    assert_eq!(code, Some(0), "{stderr}");
    assert_sound(&json, 2);
    server.sql("postgres", "DO $$ BEGIN IF (SELECT count(*) FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')) > 0 THEN RAISE 'a database is left'; END IF; END $$").await;

    server.sql("postgres", "CREATE ROLE small LOGIN").await;
    let url = server.url_as("small", "postgres");
    let said = refused(&setup, &["--engines", "postgres", "--postgres", &url]);
    assert!(said.contains("CREATEDB"), "{said}");
}

fn refused(setup: &Setup, args: &[&str]) -> String {
    let ended = setup.bare_within(&[&["bench", "storage"], args].concat(), LONG);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    ended.stderr
}

/// As a server of PostgreSQL; and its settings are left as they are.
#[tokio::test]
async fn a_named_mysql_is_left_as_it_was() {
    let Some(server) =
        crate::harness::server::TestServer::start(crate::harness::server::Kind::Mysql)
    else {
        return;
    };
    let setup = Setup::counter();
    let url = server.url("turnkey");
    let args = ["--engines", "mysql-plain,mysql", "--processes", "1"];
    let more = ["--in-flight", "2", "--mysql", &url];
    let (code, json, stderr) = storage(&setup, &[&args[..], &more].concat());
    assert_eq!(code, Some(0), "{stderr}");
    assert_sound(&json, 2);
    for row in json["medians"].as_array().unwrap() {
        assert!(row["cpu_us_per_turn"]["server"].is_number(), "{row:#}");
    }

    let said = refused(
        &setup,
        &["--engines", "mysql", "--sync", "normal", "--mysql", &url],
    );
    assert!(said.contains("innodb_flush_log_at_trx_commit=2"), "{said}");
    server.sql("turnkey", "CREATE USER small@localhost").await;
    let small = server.url_as("small", "information_schema");
    let said = refused(&setup, &["--engines", "mysql", "--mysql", &small]);
    assert!(said.contains("may not create databases"), "{said}");
    let said = refused(
        &setup,
        &[
            "--engines",
            "mysql",
            "--mysql",
            "mysql://ann:secret@localhost:1/",
        ],
    );
    assert!(said.contains("cannot connect"), "{said}");
    assert!(!said.contains("secret"), "{said}");

    // Fails when there is one: it would be made.
    server
        .sql(
            "turnkey",
            "CREATE TABLE left_over AS SELECT SCHEMA_NAME FROM information_schema.SCHEMATA
                 WHERE SCHEMA_NAME LIKE 'turnkey\\_bench\\_%';
             ALTER TABLE left_over ADD CONSTRAINT none_is_left CHECK (SCHEMA_NAME IS NULL);
             DROP TABLE left_over",
        )
        .await;
}
