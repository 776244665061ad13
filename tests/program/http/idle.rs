//! Connections that are kept alive while nothing comes cost next to nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::harness::bot::{SOON, Setup};
use crate::harness::client::{raw_message, say};
use crate::harness::proc::{memory, raise_open_files};

const CONNECTIONS: u64 = 1500;

/// Of each; it was 11 when a buffer of 8 KiB was still held.
const KIB: u64 = 6;

#[tokio::test]
async fn whoever_sleeps_has_hold_of_no_buffer() {
    raise_open_files();
    // They are looked at each half second.
    let args = ["--header-timeout", "1s"];
    let bot = Setup::counter().args(&args).start().await;
    let worker = bot.worker(0).await;
    say(bot.port, "ann", "hi").await.number();
    let before = memory(worker);
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = TcpStream::connect(("127.0.0.1", bot.port)).unwrap();
        connection.write_all(&raw_message("bob", "hi")).unwrap();
        assert!(connection.read(&mut [0; 1024]).unwrap() > 0);
        open.push(connection);
    }
    // What is free goes back to the kernel while others are served.
    let began = Instant::now();
    loop {
        say(bot.port, "ann", "hi").await.number();
        let each = memory(worker).saturating_sub(before) / CONNECTIONS;
        if each < KIB {
            break;
        }
        assert!(
            began.elapsed() < SOON,
            "{each} KiB for a connection that sleeps"
        );
    }
    for mut connection in open {
        connection.write_all(&raw_message("bob", "hi")).unwrap();
        assert!(connection.read(&mut [0; 1024]).unwrap() > 0);
    }
    bot.stop().await.assert_sound();
}
