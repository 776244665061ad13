//! Certificates by ACME: got and renewed while the bot serves, by one worker for all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::harness::api::{Api, TOKEN};
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::certificate::TlsClient;
use crate::harness::client::{Connection, Target};
use crate::harness::load::Load;
use crate::harness::pebble::{Gate, Pebble, check_begins, directory};

const NAME: &str = "bot.example.org";

const DAY: Duration = Duration::from_secs(86_400);

const GOT: &str = "Got a certificate for";

async fn start(pebble: &Pebble) -> Bot {
    let setup = Setup::counter().args(&["--workers", "2"]);
    let bot = pebble.serve(setup, NAME).start().await;
    pebble.road.set(Gate::Open(bot.port));
    bot
}

/// Both workers serve a certificate that the client trusts, whoever takes a connection.
async fn all_serve(bot: &Bot, client: &TlsClient) {
    let deadline = tokio::time::Instant::now() + SOON;
    let mut in_a_row = 0;
    while in_a_row < 20 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "no certificate is served"
        );
        in_a_row = match client.connect(bot.port).await {
            Ok(_) => in_a_row + 1,
            Err(_) => 0,
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn times(bot: &Bot, words: &str) -> usize {
    bot.stderr().matches(words).count()
}

async fn wait_for_times(bot: &Bot, words: &str, count: usize, limit: Duration) {
    let what = format!("{words:?}, {count} times");
    until(&what, limit, || times(bot, words) >= count).await;
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_certificate_is_got_while_it_serves_and_kept_for_the_next_start() {
    let Some(pebble) = Pebble::start(90 * DAY).await else {
        return;
    };
    let bot = start(&pebble).await;
    bot.wait_for_stderr("Getting a certificate for bot.example.org from https://localhost:")
        .await;
    bot.wait_for_stderr(GOT).await;
    let client = pebble.client(NAME).await;
    all_serve(&bot, &client).await;
    let target = Target::Tls(bot.port, client.clone());
    let mut connection = Connection::try_open_at(&target).await.unwrap();
    assert_eq!(connection.say("ann", "hi").await.number(), 1);

    // What is kept is kept from others, and nothing of the proof is left.
    let dir = directory(&bot.setup);
    assert_eq!(mode(&dir), 0o700);
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), wanted, "{}", path.display());
    }
    let left = fs::read_dir(dir.join("challenges")).unwrap().count();
    assert_eq!(left, 0, "answers of a check");

    // The next start has nothing to get.
    let setup = bot.stop().await;
    let bot = setup.start().await;
    all_serve(&bot, &client).await;
    assert_eq!((pebble.orders(), pebble.accounts()), (1, 1));
    bot.stop().await;

    // Another name is a reason; the account is the same.
    let both = format!("{NAME},b.example.org");
    let bot = pebble.serve(Setup::counter().storage(Some(setup.database())), &both);
    let bot = bot.start().await;
    pebble.road.set(Gate::Open(bot.port));
    bot.wait_for_stderr("is for other names").await;
    bot.wait_for_stderr(GOT).await;
    all_serve(&bot, &client).await;
    all_serve(&bot, &pebble.client("b.example.org").await).await;
    assert_eq!((pebble.orders(), pebble.accounts()), (2, 1));
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn what_is_lost_is_got_again() {
    let Some(mut pebble) = Pebble::start(90 * DAY).await else {
        return;
    };
    let setup = Setup::counter().args(&["--single-process"]);
    let setup = pebble.serve(setup, NAME);
    let bot = setup.start().await;
    pebble.road.set(Gate::Open(bot.port));
    bot.wait_for_stderr(GOT).await;
    bot.stop().await;
    // The file is damaged, the server was set up anew, and there is somebody to write to.
    let file = directory(&setup).join("bot.example.org.pem");
    fs::write(&file, "no certificate").unwrap();
    pebble.restart().await;
    let setup = setup.args(&["--acme-contact", "ann@example.org"]);
    let bot = setup.start().await;
    pebble.road.set(Gate::Open(bot.port));
    bot.wait_for_stderr("does not know the account any more")
        .await;
    bot.wait_for_stderr(GOT).await;
    all_serve(&bot, &pebble.client(NAME).await).await;
    assert_eq!((pebble.orders(), pebble.accounts()), (1, 1));
    let account = fs::read_to_string(directory(&setup).join("account.json")).unwrap();
    assert!(account.contains("ann@example.org"), "{account}");
    bot.stop().await;
}

/// Platforms try an address before they take it.
#[tokio::test]
async fn platforms_are_told_once_there_is_a_certificate() {
    let Some(pebble) = Pebble::start(90 * DAY).await else {
        return;
    };
    pebble.road.set(Gate::Held);
    let api = Api::start();
    let setup = Setup::counter().args(&["--public-url", "https://bot.example.org"]);
    let setup = setup.env("TURNKEY_TELEGRAM_TOKEN", TOKEN);
    let setup = setup.args(&["--telegram-api-url", &api.url()]);
    let bot = pebble.serve(setup, NAME).start().await;
    check_begins(&pebble).await;
    pebble.road.set(Gate::Open(bot.port));
    bot.wait_for_stderr("Telegram posts to https://bot.example.org/telegram")
        .await;
    let stderr = bot.stderr();
    let got = stderr.find(GOT).expect("it was waited for");
    assert!(got < stderr.find("Telegram posts to").unwrap());
    assert!(!stderr.contains("ERROR"), "{stderr}");
    bot.stop().await;
}

#[tokio::test]
async fn a_renewal_disturbs_nobody() {
    let Some(pebble) = Pebble::start(Duration::from_secs(30)).await else {
        return;
    };
    let bot = start(&pebble).await;
    let client = pebble.client(NAME).await;
    all_serve(&bot, &client).await;
    let target = Target::Tls(bot.port, client.clone());
    let mut kept = Connection::try_open_at(&target).await.unwrap();
    assert_eq!(kept.say("kept", "hi").await.number(), 1);
    let first = client.served(bot.port).await;
    let load = Load::start(target);
    let limit = Duration::from_secs(60);
    wait_for_times(&bot, GOT, 2, limit).await;
    // All workers change, and before the first one's end: a client would refuse it then.
    wait_for_times(&bot, "serving the new", 4, SOON).await;
    for _ in 0..20 {
        assert_ne!(client.served(bot.port).await, first);
    }
    assert_eq!(kept.say("kept", "still here").await.number(), 2);
    let answered = load.end_unharmed().await;
    assert_eq!(pebble.accounts(), 1);
    assert_eq!(bot.stop().await.sum(), answered + 2);
}

#[tokio::test]
async fn a_worker_that_dies_over_an_order_is_followed_by_one_that_makes_another() {
    let Some(pebble) = Pebble::start(90 * DAY).await else {
        return;
    };
    pebble.road.set(Gate::Held);
    let setup = Setup::counter().args(&["--workers", "2"]);
    let bot = pebble.serve(setup, NAME).start().await;
    check_begins(&pebble).await;
    let dir = directory(&bot.setup);
    assert!(dir.join("challenges/bot.example.org.pem").exists());
    assert_eq!(pebble.orders(), 1);
    let first = bot.worker(0).await;
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    bot.successor("turnkey: worker 0", first).await;
    pebble.road.set(Gate::Open(bot.port));
    bot.wait_for_stderr(GOT).await;
    all_serve(&bot, &pebble.client(NAME).await).await;
    assert_eq!((pebble.orders(), pebble.accounts()), (2, 1));
    let left = fs::read_dir(dir.join("challenges")).unwrap().count();
    assert_eq!(left, 0, "answers of a check");
    bot.stop().await;
}

#[tokio::test]
async fn an_upgrade_in_the_middle_of_an_order_lets_it_end() {
    let Some(pebble) = Pebble::start(90 * DAY).await else {
        return;
    };
    pebble.road.set(Gate::Held);
    let setup = Setup::counter().args(&["--workers", "2"]);
    let mut bot = pebble.serve(setup, NAME).start().await;
    check_begins(&pebble).await;
    bot.signal(Signal::SIGUSR2);
    let new = bot.successor_program().await;
    bot.wait_for_stderr("Upgraded: finishing here").await;
    // The new program answers what the old one has asked for.
    pebble.road.set(Gate::Open(bot.port));
    bot.wait_for_stderr(GOT).await;
    assert_eq!(bot.ended(SOON).await, 0, "{}", bot.stderr());
    all_serve(&bot, &pebble.client(NAME).await).await;
    assert_eq!((pebble.orders(), times(&bot, GOT)), (1, 1));
    kill(Pid::from_raw(new), Signal::SIGTERM).unwrap();
    bot.gone(SOON).await;
}

#[tokio::test]
async fn bots_that_share_a_directory_share_the_certificate() {
    let Some(pebble) = Pebble::start(90 * DAY).await else {
        return;
    };
    pebble.road.set(Gate::Held);
    let first = pebble.serve(Setup::counter(), NAME).start().await;
    check_begins(&pebble).await;
    let dir = directory(&first.setup).display().to_string();
    let setup = Setup::counter().args(&["--acme-dir", &dir]);
    let second = pebble.serve(setup, NAME).start().await;
    // Its port answers for both.
    pebble.road.set(Gate::Open(second.port));
    first.wait_for_stderr(GOT).await;
    let client = pebble.client(NAME).await;
    all_serve(&first, &client).await;
    all_serve(&second, &client).await;
    assert_eq!(pebble.orders(), 1);
    assert_eq!(times(&second, "Getting a certificate"), 0);
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_name_that_does_not_lead_here_is_told_and_stops_nothing() {
    let Some(pebble) = Pebble::start(90 * DAY).await else {
        return;
    };
    let setup = Setup::counter().args(&["--workers", "2"]);
    let bot = pebble.serve(setup, NAME).start().await;
    bot.wait_for_stderr("no certificate for bot.example.org: bot.example.org: ")
        .await;
    let stderr = bot.stderr();
    assert!(stderr.contains("; port 443 of that name must"), "{stderr}");
    assert!(
        stderr.contains("; until there is one, HTTPS connections are refused"),
        "{stderr}"
    );
    // Refused with a word of TLS, not just cut.
    let client = pebble.client(NAME).await;
    let refused = client.connect(bot.port).await.unwrap_err().to_string();
    assert!(refused.contains("AccessDenied"), "{refused}");
    // Somebody has opened the port, and does not want to wait.
    let setup = bot.stop().await;
    let bot = setup.start().await;
    pebble.road.set(Gate::Open(bot.port));
    bot.wait_for_stderr(GOT).await;
    all_serve(&bot, &client).await;
    assert_eq!(pebble.accounts(), 1);
    bot.stop().await;
}

/// A status, a header, a body.
type Given = (&'static str, &'static str, String);

/// A server that gives what a path gets; its address, and the paths that were asked for.
async fn small_server(
    give: impl Fn(&str, &str) -> Given + Send + 'static,
) -> (String, watch::Receiver<Vec<String>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (note, asked) = watch::channel(Vec::new());
    let own = base.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            let mut buffer = [0; 4096];
            while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                let read = stream.read(&mut buffer).await.unwrap();
                head.extend_from_slice(&buffer[..read]);
            }
            let head = String::from_utf8_lossy(&head);
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let (status, header, body) = give(&own, &path);
            note.send_modify(|asked| asked.push(path));
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\n{header}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (base, asked)
}

/// Pebble of this version knows nothing of the time for a renewal: the directory and that
/// answer are ours, all else is Pebble's.
#[tokio::test]
async fn a_server_may_ask_for_an_early_renewal() {
    // Due by itself after two minutes only.
    let Some(pebble) = Pebble::start(Duration::from_secs(180)).await else {
        return;
    };
    let at_pebble = pebble.url("");
    let first = std::sync::Mutex::new(None);
    let (base, asked) = small_server(move |base, path| {
        let Some(id) = path.strip_prefix("/renewal/") else {
            let directory = json!({
                "newNonce": format!("{at_pebble}nonce-plz"),
                "newAccount": format!("{at_pebble}sign-me-up"),
                "newOrder": format!("{at_pebble}order-plz"),
                "renewalInfo": format!("{base}/renewal"),
            });
            return ("200 OK", "", directory.to_string());
        };
        // The first certificate is to go, those after it may stay.
        let mut first = first.lock().unwrap();
        let year = match first.get_or_insert(id.to_owned()) == id {
            true => 2001,
            false => 2999,
        };
        let window = json!({ "suggestedWindow": {
            "start": format!("{year}-01-01T00:00:00Z"),
            "end": format!("{year}-01-02T00:00:00Z"),
        }});
        ("200 OK", "Retry-After: 60\r\n", window.to_string())
    })
    .await;
    let setup = pebble.serve_by(Setup::counter(), NAME, &format!("{base}/dir"));
    let bot = setup.start().await;
    pebble.road.set(Gate::Open(bot.port));
    bot.wait_for_stderr("it wants the one that is there to be renewed")
        .await;
    wait_for_times(&bot, GOT, 2, SOON).await;
    // The new one is asked about, and stays.
    let about = || {
        let mut ids: Vec<_> = asked.borrow().clone();
        ids.retain(|path| path.starts_with("/renewal/"));
        ids
    };
    until("a question about each", SOON, || about().len() == 2).await;
    assert_ne!(about()[0], about()[1]);
    assert_eq!(times(&bot, "Getting a certificate"), 2);
    assert_eq!((pebble.orders(), pebble.accounts()), (2, 1));
    bot.stop().await;
}

#[tokio::test]
async fn a_server_that_has_had_enough_is_left_alone_over_restarts() {
    let (base, asked) = small_server(|base, path| match path {
        "/dir" => {
            let directory = json!({
                "newNonce": format!("{base}/nonce"),
                "newAccount": format!("{base}/account"),
                "newOrder": format!("{base}/order"),
            });
            ("200 OK", "", directory.to_string())
        }
        "/nonce" => ("200 OK", "Replay-Nonce: once\r\n", String::new()),
        _ => {
            let problem = json!({
                "type": "urn:ietf:params:acme:error:rateLimited",
                "detail": "too many new registrations",
            });
            (
                "429 Too Many Requests",
                "Retry-After: 5000\r\n",
                problem.to_string(),
            )
        }
    })
    .await;
    let url = format!("{base}/dir");
    let setup = Setup::counter().args(&["--tls-domain", NAME, "--acme-url", &url]);
    let bot = setup.start().await;
    bot.wait_for_stderr("too many new registrations (rateLimited); wait")
        .await;
    bot.wait_for_stderr("Trying again in 84 min").await;
    assert_eq!(*asked.borrow(), ["/dir", "/nonce", "/account"]);
    let bot = bot.stop().await.start().await;
    bot.wait_for_stderr("a certificate for bot.example.org is asked for in 84 min")
        .await;
    assert_eq!(asked.borrow().len(), 3);
    bot.stop().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_at_the_start() {
    let setup = Setup::counter().args(&["--tls-domain", NAME]);
    let none = setup.path("none.pem").display().to_string();
    let ended = setup.clone().args(&["--acme-ca", &none]).run_to_end();
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("--acme-ca"), "{}", ended.stderr);
    let nowhere = setup.path("no/where").display().to_string();
    let ended = setup.clone().args(&["--acme-dir", &nowhere]).run_to_end();
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("--acme-dir"), "{}", ended.stderr);
}
