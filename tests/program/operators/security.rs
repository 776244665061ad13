//! What must not be: secrets that are shown, files that others can read, requests that
//! mean two things, clients that take what is not theirs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::api::SECRETS;
use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::{connect, message, once, post, raw, raw_message, say};

/// Writes a file with this mode.
fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

async fn status_with(port: u16, token: &str) -> u16 {
    let mut request = message("ann", "hi", None);
    let token = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", token);
    once(port, request).await.status
}

#[tokio::test]
async fn secrets_in_files_are_read_at_the_start_and_on_sighup() {
    let setup = Setup::counter();
    let token = setup.path("token");
    write(&token, "first\n", 0o600);
    let setup = setup.env("TURNKEY_HTTP_TOKEN_FILE", token.to_str().unwrap());
    let bot = setup.start().await;
    assert_eq!(status_with(bot.port, "first").await, 200);
    assert_eq!(status_with(bot.port, "second").await, 401);
    assert!(!bot.stderr().contains("chmod"), "{}", bot.stderr());
    let worker = bot.worker(0).await;
    write(&token, "second", 0o644);
    bot.signal(Signal::SIGHUP);
    bot.successor("turnkey: worker 0", worker).await;
    until("the first worker's end", SOON, || bot.children().len() == 2).await;
    assert_eq!(status_with(bot.port, "second").await, 200);
    assert_eq!(status_with(bot.port, "first").await, 401);
    bot.wait_for_stderr(&format!("chmod 600 {}", token.display()))
        .await;
    assert!(!bot.stderr().contains("second"), "{}", bot.stderr());
    // One that cannot be read changes nothing.
    fs::remove_file(&token).unwrap();
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("cannot read TURNKEY_HTTP_TOKEN_FILE")
        .await;
    assert_eq!(status_with(bot.port, "second").await, 200);
    bot.stop().await;
}

/// As systemd hands them over (`LoadCredential=`).
#[tokio::test]
async fn credentials_of_the_init_system() {
    let setup = Setup::counter();
    let directory = setup.path("credentials");
    fs::create_dir(&directory).unwrap();
    write(&directory.join("http-token"), "t0ken\n", 0o400);
    let file = crate::harness::bot::url(&setup.database());
    write(&directory.join("storage"), &file, 0o400);
    let setup = setup.env("CREDENTIALS_DIRECTORY", directory.to_str().unwrap());
    let database = setup.database();
    let bot = setup.clone().storage(None).start().await;
    assert_eq!(status_with(bot.port, "t0ken").await, 200);
    assert_eq!(say(bot.port, "ann", "hi").await.status, 401);
    bot.signal(Signal::SIGTERM);
    bot.gone(SOON).await;
    assert!(database.exists(), "it was named by the credential");
    // Every command knows it, and a flag comes first.
    let dump = setup.bare(&["dump"]);
    assert!(dump.stdout.contains("\"ann\""), "{dump:?}");
    let other = setup.bare(&["dump", "--storage", "sqlite:other.db"]);
    assert!(other.stderr.contains("other.db"), "{other:?}");
    let help = setup.bare(&["dump", "--help"]);
    assert!(!help.stdout.contains(&file), "{}", help.stdout);
    // Two places for one thing.
    let both = setup.clone().env("TURNKEY_STORAGE", &file);
    let ended = both.bare(&["dump"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("give one of them"), "{ended:?}");
    let both = setup.env("TURNKEY_HTTP_TOKEN", "x").run_to_end();
    assert_eq!(both.code, Some(2), "{both:?}");
    assert!(both.stderr.contains("give one of them"), "{both:?}");
}

#[test]
fn the_databases_address_from_a_file() {
    let setup = Setup::counter();
    let file = setup.path("storage");
    let with = setup.env("TURNKEY_STORAGE_FILE", file.to_str().unwrap());
    for command in [
        &["dump"][..],
        &["check"],
        &["dead", "list"],
        &["outbox", "list"],
    ] {
        let ended = with.bare(command);
        assert_eq!(ended.code, Some(2), "{command:?}: {ended:?}");
        let why = "cannot read TURNKEY_STORAGE_FILE";
        assert!(ended.stderr.contains(why), "{command:?}: {ended:?}");
    }
    assert_eq!(with.bare(&["dump", "--help"]).code, Some(0));
    write(&file, "sqlite:none.db", 0o600);
    let ended = with.bare(&["dead", "list"]);
    assert!(ended.stderr.contains("none.db"), "{ended:?}");
    let both = with.env("TURNKEY_STORAGE", "sqlite:other.db");
    let ended = both.bare(&["check"]);
    assert!(ended.stderr.contains("give one of them"), "{ended:?}");
}

/// Not by the help, not by a line of the file that is wrong, not with all that is logged.
#[tokio::test]
async fn secrets_are_not_shown() {
    let api = crate::harness::api::Api::start();
    let mut setup = api.configure(Setup::commands().args(&["-vv", "--workers", "2"]));
    setup = setup.env("TURNKEY_RPC_TOKEN", "hush of the shop");
    let secrets = SECRETS.iter().map(|(_, secret)| *secret);
    let secrets: Vec<&str> = secrets.chain(["hush of the shop"]).collect();
    let assert_hidden = |what: &str, text: &str| {
        for secret in &secrets {
            assert!(!text.contains(secret), "{what} shows {secret:?}: {text}");
        }
    };
    let help = setup.bare(&["run", "--help"]);
    assert_eq!(help.code, Some(0));
    assert_hidden("the help", &help.stdout);
    let bot = setup.start().await;
    let asked = once(
        bot.port,
        crate::harness::telegram::webhook(&crate::harness::telegram::text(1, 7, "hi")),
    )
    .await;
    assert_eq!(asked.status, 200);
    say(bot.port, "ann", "fail").await;
    say(bot.port, "ann", "panic").await;
    once(bot.port, post("/rpc/http/ann", "{}")).await;
    let worker = bot.worker(0).await;
    bot.signal(Signal::SIGHUP);
    bot.successor("turnkey: worker 0", worker).await;
    let stderr = bot.stderr();
    assert!(stderr.contains("DEBUG"), "it logs all");
    assert_hidden("the log", &stderr);
    let setup = bot.stop().await;
    // A typing error beside a secret.
    let file = setup.path("turnkey.toml");
    for line in [
        "telegram-tokn = \"99:hush\"",
        "rpc-token = \"99:hush",
        "rpc-token \"99:hush\"",
        "99:hush==",
        "http-token = 9912345",
        "http-token = [\"99:hush\"]",
    ] {
        fs::write(&file, format!("workers = 1\n{line}\n")).unwrap();
        let ended = Setup::counter().args(&["--config", file.to_str().unwrap()]);
        let ended = ended.run_to_end();
        assert_eq!(ended.code, Some(2), "{line}: {ended:?}");
        assert!(ended.stderr.contains("line 2"), "{line}: {ended:?}");
        let shown = ended.stderr.contains("hush") || ended.stderr.contains("9912345");
        assert!(!shown, "{}", ended.stderr);
    }
}

/// The modes of all files below a directory.
fn modes(directory: &Path, found: &mut BTreeMap<String, u32>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        // A socket or a log of SQLite's may go away meanwhile.
        let Ok(meta) = fs::symlink_metadata(entry.path()) else {
            continue;
        };
        let name = entry.file_name().into_string().unwrap();
        found.insert(name, meta.permissions().mode() & 0o777);
        if meta.is_dir() {
            modes(&entry.path(), found);
        }
    }
}

/// Whatever the mask of whoever starts it.
#[tokio::test]
async fn all_that_is_made_is_private() {
    let setup = Setup::counter();
    let log = setup.path("bot.log");
    let temporary = setup.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let backups = setup.path("backups");
    let setup = setup.env("TMPDIR", temporary.to_str().unwrap());
    let open_to_all = |setup: &Setup, args: &[&str]| {
        let mut shell = setup.command_of("sh");
        shell.args(["-c", "umask 0; exec \"$0\" \"$@\""]);
        shell.arg(setup.program()).args(args);
        shell
    };
    let storage = crate::harness::bot::url(&setup.database());
    let args = ["run", "--port", "0", "--storage", &storage, "--history"];
    let args = [&args[..], &["--log-file", log.to_str().unwrap()]].concat();
    let regular = [
        "--backup-dir",
        backups.to_str().unwrap(),
        "--backup-every",
        "1s",
    ];
    let args = [&args[..], &regular].concat();
    let bot = setup.start_as(open_to_all(&setup, &args)).await;
    for n in 0..50 {
        say(bot.port, &format!("u{n}"), "hi").await.number();
    }
    until("a regular backup", SOON, || {
        fs::read_dir(&backups).is_ok_and(|mut entries| entries.next().is_some())
    })
    .await;
    let mut found = BTreeMap::new();
    let copy = setup.path("copy.db");
    let backup = ["backup", "--storage", &storage, copy.to_str().unwrap()];
    let ended = crate::harness::bot::finish(open_to_all(&setup, &backup), SOON);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    modes(setup.dir.path(), &mut found);
    let setup = bot.stop().await;
    let elsewhere = crate::harness::bot::url(&setup.path("moved.db"));
    for args in [
        &["copy", "--from", &storage, "--to", &elsewhere][..],
        &[
            "restore",
            "--storage",
            &storage,
            copy.to_str().unwrap(),
            "--replace",
        ],
        &["check", "--storage", &storage],
    ] {
        let ended = crate::harness::bot::finish(open_to_all(&setup, args), SOON);
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
    }
    // And one whose database is the program's own choice.
    let bot = setup
        .start_as(open_to_all(&setup, &["run", "--port", "0"]))
        .await;
    say(bot.port, "ann", "hi").await.number();
    modes(setup.dir.path(), &mut found);
    bot.signal(Signal::SIGTERM);
    bot.gone(SOON).await;
    modes(setup.dir.path(), &mut found);
    for name in [
        "bot.db",
        "bot.db-wal",
        "bot.db-shm",
        "bot.db-lock",
        "bot.db-writer",
        "copy.db",
        "moved.db",
    ] {
        assert_eq!(found.get(name), Some(&0o600), "{name} of {found:?}");
    }
    found.remove("tmp");
    assert_eq!(found.remove("backups"), Some(0o700));
    // The group of the log may read it, as that of other programs' logs.
    assert_eq!(found.remove("bot.log"), Some(0o640));
    assert!(found.len() > 10, "{found:?}");
    for (name, mode) in &found {
        assert_eq!(*mode, 0o600, "{name} of {found:?}");
    }
}

/// A client and a proxy that understand a request differently could slip one past the
/// other. So what can be understood in two ways is refused, and the connection ends.
#[tokio::test]
async fn requests_that_mean_two_things_are_refused() {
    let bot = Setup::counter().start().await;
    let hidden = String::from_utf8(raw_message("hidden", "hi")).unwrap();
    let post = "POST /http HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    let body = "{\"user_id\":\"u\",\"text\":\"hi\"}";
    let length = body.len();
    for head in [
        format!(
            "Content-Length: {length}\r\nContent-Length: {}\r\n",
            length + hidden.len()
        ),
        format!("Content-Length: {length}, {}\r\n", length + 1),
        format!("Content-Length: +{length}\r\n"),
        "Content-Length: -1\r\n".to_owned(),
        format!("Content-Length: 0x{length:x}\r\n"),
        format!("Content-Length : {length}\r\n"),
        format!("Content-Length: {length}\r\n X: y\r\n"),
        format!("Transfer-Encoding: gzip\r\nContent-Length: {length}\r\n"),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        format!("Transfer-Encoding:\x0bchunked\r\nContent-Length: {length}\r\n"),
    ] {
        let request = format!("{post}{head}\r\n{body}{hidden}");
        let answer = raw(bot.port, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head:?}: {answer}");
    }
    // Both lengths: the chunks count (RFC 9112, 6.3), and nothing is left behind them.
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", length);
    let both = format!(
        "{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunked}"
    );
    let answer = raw(bot.port, both.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    // Chunks whose size cannot be.
    for size in ["fffffffffffffffff", "-1", "0x5", "5;\n", "g"] {
        let request =
            format!("{post}Transfer-Encoding: chunked\r\n\r\n{size}\r\nhello\r\n0\r\n\r\n");
        let answer = raw(bot.port, request.as_bytes()).await;
        assert!(!answer.contains(" 200 "), "{size}: {answer}");
    }
    assert_eq!(bot.stop().await.count("hidden"), 0, "nobody sent it");
}

/// One byte at a time, for ever: the head and the body have their time, and others do not
/// notice.
#[tokio::test]
async fn slow_senders_are_cut_off() {
    let args = ["--header-timeout", "1s", "--body-timeout", "1s"];
    let bot = Setup::counter().args(&args).start().await;
    let drip = async |begin: &'static str| {
        let mut stream = connect(bot.port).await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        let begun = Instant::now();
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            assert!(begun.elapsed() < SOON, "{begin:?} is waited for for ever");
            // Fails once the other side has closed; what it said is read all the same.
            drop(stream.write_all(b"x").await);
            let read = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut buffer));
            match read.await {
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(n)) => answer.extend_from_slice(&buffer[..n]),
                Err(_) => {}
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    let head = "POST /http HTTP/1.1\r\nX: ";
    let body = "POST /http HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{";
    let (head, body, other) = tokio::join!(drip(head), drip(body), say(bot.port, "ann", "hi"));
    assert_eq!(other.number(), 1);
    assert!(!head.contains(" 200 "), "{head}");
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    bot.stop().await;
}

/// Whatever stands in a body, the worker that reads it lives, and the log has no lines of
/// the sender's.
#[tokio::test]
async fn odd_bodies_and_names() {
    let setup = Setup::commands().args(&["-vv", "--max-attempts", "1"]);
    let bot = setup.env("TURNKEY_RPC_TOKEN", "t").start().await;
    let worker = bot.worker(0).await;
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(100_000), close.repeat(100_000));
        format!("{{\"user_id\":\"u\",\"text\":{open}1{close}}}")
    };
    for body in [deep("[", "]"), deep("{\"a\":", "}"), "[".repeat(900_000)] {
        for path in ["/http", "/telegram"] {
            let status = once(bot.port, post(path, body.clone())).await.status;
            assert_eq!(status, 400, "{path}");
        }
    }
    let evil = "ann\n2026-01-01T00:00:00Z ERROR forged\r\n\u{1b}[31mred\u{0}";
    let forged = json!({"user_id": evil, "text": evil, "id": evil});
    let answer = once(bot.port, post("/http", forged.to_string())).await;
    assert!([200, 400].contains(&answer.status), "{}", answer.text());
    once(bot.port, message("ann", evil, None)).await;
    // One whose handler fails, and one that panics: the log says whose it was.
    for text in ["fail", "panic"] {
        let failed = json!({"user_id": evil, "text": text, "id": format!("{evil}{text}")});
        once(bot.port, post("/http", failed.to_string())).await;
    }
    let mut call = post(
        "/rpc/http/ann%0A2026%20ERROR%20forged%00",
        json!({"jsonrpc": "2.0", "id": evil, "method": evil}).to_string(),
    );
    let token = "Bearer t".parse().unwrap();
    call.headers_mut().insert("authorization", token);
    assert!(once(bot.port, call).await.status < 500);
    for path in [
        "/http%0A2026%20ERROR%20forged",
        "/../../etc/passwd",
        "//http",
        "/http/../telegram",
        "/http/updates/%0aERROR%20forged",
        "/http/updates/..%2f..%2f",
        "/rpc/%00/%00",
        "/%2e%2e/",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = raw(bot.port, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
    }
    assert_eq!(say(bot.port, "bob", "hi").await.number(), 1);
    assert_eq!(bot.worker(0).await, worker, "it was replaced");
    let stderr = bot.stderr();
    assert!(stderr.contains("forged\\r\\n"), "it was told: {stderr}");
    for line in stderr.lines() {
        let is_forged = line.starts_with("2026-01-01T00:00:00Z ERROR");
        assert!(!is_forged && !line.contains('\u{1b}'), "{line:?}");
    }
    let ended = bot.setup.tool(&["dialogs", "list"]);
    assert!(ended.stdout.contains("forged"), "{ended:?}");
    for line in ended.stdout.lines() {
        assert!(!line.starts_with("2026"), "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    bot.stop().await.assert_sound();
}
