//! Sessions of HTTPS that are resumed, in whichever worker the client meets.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::certificate::TlsClient;
use crate::harness::client::raw_message;
use crate::http::https::with_certificate;

/// One request on a connection of its own: how it shook hands, and the worker that it met.
async fn visit(bot: &Bot, client: &TlsClient, workers: &[i32]) -> (HandshakeKind, i32) {
    let mut stream = client.connect(bot.port).await.expect("a handshake");
    // The tickets come with the first answer.
    stream.write_all(&raw_message("ann", "hi")).await.unwrap();
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    let kind = stream.get_ref().1.handshake_kind().expect("it is over");
    let met = workers.iter().find(|pid| bot.connections_of(**pid) > 0);
    let met = *met.expect("a worker has it");
    drop(stream);
    until("the end of the connection", SOON, || {
        workers.iter().all(|pid| bot.connections_of(*pid) == 0)
    })
    .await;
    (kind, met)
}

#[tokio::test]
async fn sessions_are_resumed_in_every_worker_and_after_a_reload() {
    let (setup, authority) = with_certificate(Setup::counter().args(&["--workers", "3"]));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let bot = setup.start().await;
        let client = authority.resuming_client(version);
        let mut workers = Vec::new();
        for index in 0..3 {
            workers.push(bot.worker(index).await);
        }
        let (first, _) = visit(&bot, &client, &workers).await;
        assert_eq!(first, HandshakeKind::Full);
        let mut met = BTreeSet::new();
        let deadline = tokio::time::Instant::now() + SOON;
        while met.len() < 2 {
            assert!(
                tokio::time::Instant::now() < deadline,
                "only {met:?} is met"
            );
            let (kind, worker) = visit(&bot, &client, &workers).await;
            assert_eq!(kind, HandshakeKind::Resumed, "{version:?}");
            met.insert(worker);
            // Whoever is stopped cannot be the next.
            if met.len() == 1 {
                let pid = nix::unistd::Pid::from_raw(worker);
                nix::sys::signal::kill(pid, Signal::SIGSTOP).unwrap();
            }
        }
        for pid in &workers {
            let pid = nix::unistd::Pid::from_raw(*pid);
            nix::sys::signal::kill(pid, Signal::SIGCONT).unwrap();
        }
        // Successors are forked from the same master.
        bot.signal(Signal::SIGHUP);
        bot.wait_for_stderr("Reloaded").await;
        let mut successors = Vec::new();
        for (index, pid) in workers.iter().enumerate() {
            successors.push(
                bot.successor(&format!("turnkey: worker {index}"), *pid)
                    .await,
            );
        }
        for _ in 0..5 {
            let (kind, _) = visit(&bot, &client, &successors).await;
            assert_eq!(kind, HandshakeKind::Resumed, "{version:?} after a reload");
        }
        // A new certificate ends no session; a restart begins anew.
        bot.stop().await;
        let bot = setup.start().await;
        let mut workers = Vec::new();
        for index in 0..3 {
            workers.push(bot.worker(index).await);
        }
        let (kind, _) = visit(&bot, &client, &workers).await;
        assert_eq!(kind, HandshakeKind::Full, "another program's keys");
        bot.stop().await.assert_sound();
    }
}
