//! The proxy of docs/HTTPS.md, as it is written there.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::bot::{SOON, Setup, skipped};
use crate::harness::certificate::Authority;
use crate::harness::client::{Connection, Target, message, post, tcp};
use crate::harness::pebble::{Running, free_ports};

/// The block of the page.
fn snippet() -> String {
    let page = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("docs/HTTPS.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, block) = page.split_once("```nginx\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    block.to_owned()
}

#[tokio::test]
async fn nginx_ends_tls_before_a_unix_socket() {
    if Command::new("nginx").arg("-v").output().is_err() {
        return skipped("a bot behind nginx: install the package nginx-light");
    }
    let setup = Setup::counter().without_port();
    let socket = setup.path("bot.sock");
    let setup = setup.args(&["-v", "--listen", &format!("unix:{}", socket.display())]);
    let bot = setup.spawn();
    bot.wait_for_stderr("Started webhooks updater").await;
    let authority = Authority::new();
    let (cert, key) = authority.issue(setup.dir.path());
    let [port] = free_ports();
    let mut block = snippet();
    for (from, to) in [
        ("/run/bot/bot.sock", socket.display().to_string()),
        ("443", format!("127.0.0.1:{port}")),
        ("bot.example.org", "localhost".to_owned()),
        ("/etc/ssl/bot/fullchain.pem", cert.display().to_string()),
        ("/etc/ssl/bot/privkey.pem", key.display().to_string()),
    ] {
        assert!(block.contains(from), "{from}");
        block = block.replace(from, &to);
    }
    let dir = setup.dir.path().display();
    // What a distribution's own configuration has, kept in this directory.
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {dir}/{what};\n"))
        .concat();
    let config = format!(
        "daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/nginx.log;\n\
         events {{}}\nhttp {{ access_log off;\n{temporary}{block}}}\n"
    );
    let file = setup.path("nginx.conf");
    fs::write(&file, config).unwrap();
    let mut nginx = Command::new("nginx");
    nginx.arg("-c").arg(&file).arg("-p").arg(setup.dir.path());
    let nginx = nginx.stdout(Stdio::null()).stderr(Stdio::null());
    let nginx = Running(nginx.spawn().unwrap());
    let deadline = tokio::time::Instant::now() + SOON;
    while tcp(port).await.is_err() {
        let log = || fs::read_to_string(setup.path("nginx.log"));
        assert!(tokio::time::Instant::now() < deadline, "{:?}", log());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let target = Target::Tls(port, authority.client(&["http/1.1"]));
    let mut connection = Connection::try_open_at(&target).await.unwrap();
    for number in 1..=3 {
        let answer = connection.send(message("ann", "hi", None)).await;
        assert_eq!(answer.number(), number);
    }
    // The log names the caller, not the socket.
    assert_eq!(connection.send(post("/nowhere", "{}")).await.status, 404);
    bot.wait_for_stderr("404 Not Found to 127.0.0.1 at \"/nowhere\"")
        .await;
    drop(connection);
    drop(nginx);
    assert_eq!(bot.stop().await.count("ann"), 3);
}
