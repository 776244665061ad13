//! Bots on a database server that is not as it should be: read only, weaker than asked,
//! or behind a pooler. What callers, the log and readiness say of it; and of addresses
//! whose password can be read in two ways.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::{message, say, try_once};
use crate::harness::server::{Kind, TestServer};
use crate::operators::admin::{admin_port, get};

fn on(url: &str) -> Setup {
    Setup::counter().on(url).args(&["--admin", "127.0.0.1:0"])
}

async fn a_server_that_is_read_only_is_not_ready_and_callers_get_a_sentence(server: TestServer) {
    let database = server.create().await;
    let (on_sql, off_sql) = match server.kind {
        Kind::Postgres => (
            "ALTER SYSTEM SET default_transaction_read_only = on",
            "ALTER SYSTEM RESET default_transaction_read_only",
        ),
        Kind::Mysql => ("SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0"),
    };
    let url = match server.kind {
        Kind::Postgres => server.url(&database),
        Kind::Mysql => {
            // Whoever may do everything may write all the same.
            let user =
                format!("CREATE USER bot@localhost; GRANT ALL ON {database}.* TO bot@localhost");
            server.sql(&database, &user).await;
            server.url_as("bot", &database)
        }
    };
    let bot = on(&url).args(&["--workers", "1"]).start().await;
    let admin = admin_port(&bot);
    say(bot.port, "ann", "hi").await;
    let set = async |sql: &str| {
        server.sql(&database, sql).await;
        if server.kind == Kind::Postgres {
            server.sql(&database, "SELECT pg_reload_conf()").await;
        }
    };
    set(on_sql).await;
    let deadline = tokio::time::Instant::now() + SOON;
    let mut ready = get(admin, "/readyz").await;
    while ready.status == 200 {
        assert!(tokio::time::Instant::now() < deadline, "it stays ready");
        ready = get(admin, "/readyz").await;
    }
    assert_eq!(ready.status, 503, "{}", ready.text());
    let refused = try_once(bot.port, message("ann", "hi", Some("second")))
        .await
        .unwrap();
    assert_eq!(refused.status, 503);
    let told = refused.text();
    assert!(told.contains("send it again later"), "{told}");
    for word in ["SQL", "Maria", "read", "transaction", "turnkey_", "socket"] {
        assert!(!told.contains(word), "{told}");
    }
    until("the log has the words", SOON, || {
        let shown = bot.stderr();
        shown.contains(" cannot be used: ") && shown.contains("a message is answered 503, ")
    })
    .await;
    set(off_sql).await;
    let port = bot.port;
    let answered = tokio::time::timeout(SOON, async {
        loop {
            let again = try_once(port, message("ann", "hi", Some("second")))
                .await
                .unwrap();
            if again.status == 200 {
                return again.number();
            }
        }
    });
    assert_eq!(answered.await.unwrap(), 2);
    let deadline = tokio::time::Instant::now() + SOON;
    while get(admin, "/readyz").await.status != 200 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "it is not ready again"
        );
    }
    bot.stop().await;
}

#[tokio::test]
async fn postgres_read_only() {
    if let Some(server) = TestServer::start(Kind::Postgres) {
        a_server_that_is_read_only_is_not_ready_and_callers_get_a_sentence(server).await;
    }
}

#[tokio::test]
async fn mysql_read_only() {
    if let Some(server) = TestServer::start(Kind::Mysql) {
        a_server_that_is_read_only_is_not_ready_and_callers_get_a_sentence(server).await;
    }
}

#[tokio::test]
async fn what_is_weaker_than_asked_is_said_at_the_start() {
    let options = ["--standby", "async", "-c", "full_page_writes=off"];
    let Some(server) = TestServer::start_with(Kind::Postgres, &options) else {
        return;
    };
    let url = server.url(&server.create().await);
    let bot = on(&url).start().await;
    let shown = bot.stderr();
    for words in [
        "fsync=off",
        "full_page_writes=off",
        "its standby is not synchronous",
    ] {
        assert_eq!(shown.matches(words).count(), 1, "{words}: {shown}");
    }
    let setup = bot.stop().await;
    let bot = setup.args(&["--sync", "normal"]).start().await;
    assert!(!bot.stderr().contains("fsync=off"), "{}", bot.stderr());
    bot.stop().await;
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_refused_in_one_sentence() {
    let Some(server) = TestServer::start_with(Kind::Postgres, &["--pooler", "transaction"]) else {
        return;
    };
    let refused = on(&server.url(&server.create().await)).run_to_end();
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("pool_mode = session"),
        "{}",
        refused.stderr
    );
    assert_eq!(
        refused.stderr.matches("error:").count(),
        1,
        "{}",
        refused.stderr
    );
}

#[tokio::test]
async fn no_process_shows_the_password_of_its_command_line() {
    let Some(server) = TestServer::start(Kind::Postgres) else {
        return;
    };
    let password = "never-to-be-shown";
    let url = server
        .url_with_password(password, &server.create().await)
        .await;
    let setup = Setup::counter().storage(None);
    let setup = setup.args(&["--storage", &url, "--admin", "127.0.0.1:0"]);
    let bot = setup.start().await;
    for (pid, title) in bot.processes() {
        assert!(!title.contains(password), "{pid}: {title}");
    }
    for path in ["/status", "/status.json", "/metrics"] {
        assert!(!get(admin_port(&bot), path).await.text().contains(password));
    }
    // Upgraded, it still knows the address.
    bot.signal(Signal::SIGUSR2);
    let successor = bot.successor_program().await;
    bot.wait_for_stderr("serves from now on").await;
    say(bot.port, "ann", "hi").await;
    for (pid, title) in bot.processes() {
        assert!(!title.contains(password), "{pid}: {title}");
    }
    let line = std::fs::read(format!("/proc/{successor}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    assert!(!line.contains(password), "{line}");
    assert!(!bot.stderr().contains(password), "{}", bot.stderr());
    kill(Pid::from_raw(successor), Signal::SIGTERM).unwrap();
    bot.gone(SOON).await;
    // Where no address belongs it is quoted.
    let misplaced = Setup::counter().bare(&["check", "--storage", &url, &url]);
    assert_eq!(misplaced.code, Some(2));
    assert!(
        misplaced.stderr.contains("unexpected argument"),
        "{}",
        misplaced.stderr
    );
    assert!(!misplaced.stderr.contains(password), "{}", misplaced.stderr);
}

/// In a variable and on the command line, for the bot and for a tool: refused, or a
/// server that is not there; whichever it is, and however the address is wrong.
#[test]
fn no_odd_address_shows_a_part_of_its_password() {
    let (first, second) = ("Secret1", "Part2");
    let authorities = [
        format!("bot:{first}@{second}@127.0.0.1:1/db"),
        format!("bot:{first}%40{second}@127.0.0.1:1/db"),
        format!("bot:{first}@{second}"),
        format!("bot:{first}/{second}@127.0.0.1:1/db"),
        format!("bot:{first}?{second}=1@127.0.0.1:1/db"),
        format!("bot:{first}#{second}@127.0.0.1:1/db"),
        format!("bot:{first}:{second}@127.0.0.1:1/db"),
        format!("bot:{first}%zz{second}@127.0.0.1:1/db"),
        format!("bot:{first}@127.0.0.1:1/db?password={second}@x"),
        format!("bot@{first}:{second}@127.0.0.1:1/db"),
        format!(":{first}{second}@127.0.0.1:1/db"),
        format!("bot:{first}[{second}]@127.0.0.1:1/db"),
    ];
    for engine in ["postgres", "mariadb", "oracle"] {
        for authority in &authorities {
            // A host is no secret: here nothing tells that it was meant as one.
            let host_is_shown = authority.ends_with(&format!("{first}@{second}"));
            let url = format!("{engine}://{authority}");
            let mut ended = vec![
                on(&url).tool(&["check"]),
                on(&url).tool(&["copy", "--from", "sqlite:no.db", "--to", &url]),
                on(&url).tool(&["copy", "--from", &url, "--to", "sqlite:no.db"]),
            ];
            // Those of which nobody needs to ask a server.
            if authority.matches('@').count() > 1 || authority.contains(['#', '?']) {
                ended.push(on(&url).run_to_end());
                let flag = Setup::counter().storage(None);
                ended.push(flag.args(&["--storage", &url]).run_to_end());
            }
            for ended in ended {
                assert_ne!(ended.code, Some(0), "{url}");
                let said = format!("{}{}", ended.stdout, ended.stderr);
                assert!(!said.contains(first), "{url}: {said}");
                assert!(host_is_shown || !said.contains(second), "{url}: {said}");
            }
        }
    }
}
