//! Clients that hang up at any moment harm nobody.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::{connect, join, raw_message, say};

const CLIENTS: usize = 1000;
const USERS: usize = 50;

#[tokio::test]
async fn a_thousand_clients_that_hang_up_leave_nothing_behind() {
    let bot = Setup::commands().args(&["--workers", "2"]).start().await;
    let workers = (bot.worker(0).await, bot.worker(1).await);
    let port = bot.port;
    let mut random = fastrand::Rng::with_seed(7);
    let mut tasks = Vec::new();
    for client in 0..CLIENTS {
        let request = raw_message(&format!("user-{}", client % USERS), "sleep 20");
        let head = request.len() - 50;
        let cut = match client % 4 {
            0 => random.usize(1..head),             // in the head
            1 => random.usize(head..request.len()), // in or near the body
            _ => request.len(),                     // after the last byte
        };
        // While the handler sleeps, or waits for its turn, or at once.
        let linger = Duration::from_millis(if client % 4 == 3 { random.u64(..60) } else { 0 });
        let abort = random.bool();
        tasks.push(tokio::spawn(async move {
            let mut stream = connect(port).await;
            stream.write_all(&request[..cut]).await.unwrap();
            tokio::time::sleep(linger).await;
            if abort {
                // Closing answers with a reset instead of a farewell.
                stream.set_zero_linger().unwrap();
            }
        }));
        if client % 100 == 99 {
            for task in tasks.drain(..) {
                join(task).await;
            }
        }
    }
    for user in 0..USERS {
        say(port, &format!("user-{user}"), "hi").await.number();
    }
    until("no connection left", SOON, || {
        bot.processes().iter().all(|(pid, _)| {
            std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|fds| fds.count() < 60)
        })
    })
    .await;
    bot.setup.assert_sound();
    assert_eq!((bot.worker(0).await, bot.worker(1).await), workers);
    assert!(!bot.stderr().contains("ERROR"), "{}", bot.stderr());
    bot.stop().await.assert_sound();
}
