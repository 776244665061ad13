//! Ctrl-C and SIGTERM: what is in flight is finished and answered, then all leave.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;

use crate::harness::bot::{Bot, SOON, two_workers};
use crate::harness::client::{
    Answer, Connection, Failure, Split, begin, connect, join, message, raw_message, say,
};
use crate::harness::load::Load;

/// Ten turns that sleep, taken in.
pub(crate) async fn in_flight(bot: &Bot, ms: u64) -> Vec<JoinHandle<Result<Answer, Failure>>> {
    let mut tasks = Vec::new();
    for user in 0..10 {
        tasks.push(begin(bot.port, &format!("user-{user}"), &format!("sleep {ms}")).await);
    }
    bot.settled().await;
    tasks
}

/// Signalled like this, it finishes what it has.
pub(crate) async fn assert_graceful(mut bot: Bot, signal: impl FnOnce(&Bot)) {
    let tasks = in_flight(&bot, 3000).await;
    // One that waits behind another of the same user, and one that is only open.
    let port = bot.port;
    let behind = begin(port, "user-0", "hi").await;
    let mut idle = connect(port).await;
    bot.settled().await;
    signal(&bot);
    for task in tasks {
        let answer = join(task).await.expect("what is in flight is answered");
        assert_eq!(answer.number(), 1);
        assert_eq!(answer.header("connection"), "close");
    }
    assert_eq!(join(behind).await.unwrap().number(), 2);
    assert_eq!(
        idle.read(&mut [0; 1]).await.unwrap(),
        0,
        "closed in good order"
    );
    assert_eq!(bot.ended(SOON).await, 0);
    bot.gone(Duration::from_secs(2)).await;
    bot.wait_for_stderr("Stopped").await;
    let stderr = bot.stderr();
    assert!(
        !stderr.contains("panicked") && !stderr.contains("ERROR"),
        "{stderr}"
    );
    assert!(!stderr.contains("WARN"), "a calm stop: {stderr}");
    assert!(
        stderr.contains("Stopping") && stderr.contains("Stopped"),
        "{stderr}"
    );
    assert!(!bot.socket().exists());
    assert_eq!(bot.setup.sum(), 11);
    bot.setup.assert_sound();
}

#[tokio::test]
async fn ctrl_c_finishes_what_is_in_flight() {
    assert_graceful(two_workers(&[]).await, |bot| {
        bot.signal_group(Signal::SIGINT)
    })
    .await;
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight() {
    assert_graceful(two_workers(&[]).await, |bot| bot.signal(Signal::SIGTERM)).await;
}

/// As init systems do that signal every process of a service.
#[tokio::test]
async fn sigterm_to_everybody_finishes_what_is_in_flight() {
    assert_graceful(two_workers(&[]).await, |bot| {
        bot.signal_group(Signal::SIGTERM)
    })
    .await;
}

#[tokio::test]
async fn an_idle_bot_stops_at_once() {
    let mut bot = two_workers(&[]).await;
    let asked = Instant::now();
    bot.signal_group(Signal::SIGINT);
    assert_eq!(bot.ended(SOON).await, 0);
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
    bot.gone(Duration::from_secs(1)).await;
    assert!(std::net::TcpStream::connect(("127.0.0.1", bot.port)).is_err());
}

/// A second Ctrl-C does not wait.
pub(crate) async fn assert_forced(mut bot: Bot) {
    let tasks = in_flight(&bot, 20_000).await;
    bot.signal_group(Signal::SIGINT);
    bot.wait_for_stderr("Stopping").await;
    // Sooner, it would be taken for the first one, delivered twice.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let asked = Instant::now();
    bot.signal_group(Signal::SIGINT);
    assert_eq!(bot.ended(SOON).await, 130);
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
    bot.gone(Duration::from_secs(1)).await;
    assert!(!bot.socket().exists());
    for task in tasks {
        assert!(!join(task).await.is_ok_and(|answer| answer.status == 200));
    }
    assert!(!bot.stderr().contains("panicked"));
    // The cut turns did not happen, and the file is as good as ever.
    assert_eq!(bot.setup.sum(), 0);
    let next = bot.setup.start().await;
    assert_eq!(say(next.port, "user-0", "hi").await.number(), 1);
    next.stop().await.assert_sound();
}

#[tokio::test]
async fn a_second_ctrl_c_forces() {
    assert_forced(two_workers(&[]).await).await;
}

#[tokio::test]
async fn sigquit_forces_at_once() {
    let mut bot = two_workers(&["-v"]).await;
    let tasks = in_flight(&bot, 20_000).await;
    bot.signal_group(Signal::SIGQUIT);
    assert_eq!(bot.ended(Duration::from_secs(3)).await, 131);
    bot.gone(Duration::from_secs(1)).await;
    for task in tasks {
        assert!(join(task).await.is_err());
    }
    assert_eq!(bot.setup.sum(), 0);
    let writers = bot.stderr().matches("started writer").count();
    assert_eq!(writers, 1, "what was killed is not replaced");
}

/// What takes longer than the grace time is cut off, and the exit code says so.
pub(crate) async fn assert_cut(mut bot: Bot) {
    let tasks = in_flight(&bot, 20_000).await;
    let quick = begin(bot.port, "quick", "sleep 500").await;
    bot.settled().await;
    let asked = Instant::now();
    bot.signal(Signal::SIGTERM);
    assert_eq!(join(quick).await.unwrap().number(), 1);
    assert_eq!(bot.ended(SOON).await, 1);
    let took = asked.elapsed();
    assert!((1.0..4.0).contains(&took.as_secs_f32()), "it took {took:?}");
    bot.gone(Duration::from_secs(1)).await;
    assert!(!bot.socket().exists());
    for task in tasks {
        assert!(!join(task).await.is_ok_and(|answer| answer.status == 200));
    }
    assert_eq!(bot.setup.sum(), 1);
    let next = bot.setup.start().await;
    assert_eq!(say(next.port, "user-0", "hi").await.number(), 1);
    next.stop().await.assert_sound();
}

#[tokio::test]
async fn the_grace_time_ends() {
    assert_cut(two_workers(&["--grace", "1s"]).await).await;
}

/// A stop while connections come and go: whoever got to send a request that was
/// accepted is answered.
#[tokio::test]
async fn a_stop_under_load_cuts_no_answer_short() {
    for round in 0..3 {
        let mut bot = two_workers(&[]).await;
        let port = bot.port;
        let mut tasks = Vec::new();
        for sender in 0..12 {
            tasks.push(tokio::spawn(async move {
                let mut acknowledged = 0;
                let mut lost = 0;
                // Until nobody listens any more.
                while let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await
                {
                    use tokio::io::AsyncWriteExt;
                    let request = raw_message(&format!("user-{sender}"), "sleep 5");
                    let mut answer = [0; 12];
                    let sent = stream.write_all(&request).await;
                    match stream.read_exact(&mut answer).await {
                        Ok(_) if &answer == b"HTTP/1.1 200" => acknowledged += 1,
                        Ok(_) => panic!("{}", String::from_utf8_lossy(&answer)),
                        Err(e) => {
                            lost += 1;
                            eprintln!("lost: {sent:?} {e}");
                        }
                    }
                }
                (acknowledged, lost)
            }));
        }
        tokio::time::sleep(Duration::from_millis(300 + 50 * round)).await;
        bot.signal_group(Signal::SIGINT);
        assert_eq!(bot.ended(SOON).await, 0);
        let (mut acknowledged, mut lost) = (0, 0);
        for task in tasks {
            let (a, l) = join(task).await;
            acknowledged += a;
            lost += l;
        }
        assert!(acknowledged > 0);
        assert_eq!(
            bot.setup.sum(),
            acknowledged,
            "each answer is a turn, each turn was answered"
        );
        assert_eq!(lost, 0, "connections were reset");
    }
}

/// The same with connections that are kept and every way in which the signal comes.
#[tokio::test]
async fn a_stop_under_load_cuts_nobody() {
    let group = |signal| move |bot: &Bot| bot.signal_group(signal);
    let ctrl_c = group(Signal::SIGINT);
    let everybody = group(Signal::SIGTERM);
    let master = |bot: &Bot| bot.signal(Signal::SIGTERM);
    let ways: [&dyn Fn(&Bot); 3] = [&ctrl_c, &everybody, &master];
    for (round, way) in ways.into_iter().cycle().take(6).enumerate() {
        let mut bot = two_workers(&[]).await;
        let load = Load::start(bot.port);
        tokio::time::sleep(Duration::from_millis(200 + 37 * round as u64)).await;
        way(&bot);
        assert_eq!(bot.ended(SOON).await, 0);
        let verdict = load.end().await;
        assert!(verdict.cut.is_empty(), "round {round}: {verdict:?}");
        assert_eq!(bot.setup.sum(), verdict.answered, "round {round}");
        bot.gone(SOON).await;
    }
}

/// Connections that are idle: for long, just now, and not yet used. Those that may
/// speak any moment are answered; nobody is waited for who has long been silent.
#[tokio::test]
async fn idle_connections_do_not_hold_up_a_stop() {
    let mut bot = two_workers(&[]).await;
    let mut long_idle = Connection::open(bot.port).await;
    long_idle.say("ann", "hi").await.number();
    tokio::time::sleep(Duration::from_millis(5500)).await;
    let mut just_idle = Connection::open(bot.port).await;
    just_idle.say("bob", "hi").await.number();
    let mut unused = Split::open(bot.port).await;
    bot.settled().await;
    bot.signal(Signal::SIGTERM);
    bot.wait_for_stderr("Stopping").await;
    let last = just_idle.say("bob", "again").await;
    assert_eq!((last.number(), last.header("connection")), (2, "close"));
    unused.send("eve", "hi").await;
    let first = unused.answer().await.expect("it is answered");
    assert_eq!((first.number(), first.header("connection")), (1, "close"));
    assert_eq!(bot.ended(SOON).await, 0);
    assert!(
        long_idle
            .try_send(message("ann", "hi", None))
            .await
            .is_err()
    );
    assert_eq!(bot.setup.sum(), 4);
}
