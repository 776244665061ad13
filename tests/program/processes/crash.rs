//! `kill -9` of each process, under load: nothing acknowledged is lost, nothing is
//! counted twice, and what is dead is replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::task::JoinHandle;

use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{Connection, begin, join, message, once, say};

const SENDERS: usize = 16;
const USERS: usize = 10;

fn kill_9(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
}

/// What one sender sent: the user and the text, which is also the id, and whether
/// it was acknowledged.
struct Sent {
    user: String,
    text: String,
    acknowledged: bool,
}

/// Senders that go on, each with one message after another, until they are told to
/// stop. A connection that breaks is opened anew; its message is left for later.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<Sent>>>,
}

impl Load {
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..SENDERS)
            .map(|sender| tokio::spawn(send(port, sender, stop.clone())))
            .collect();
        Load { stop, tasks }
    }

    async fn end(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(join(task).await);
        }
        all
    }
}

async fn send(port: u16, sender: usize, stop: Arc<AtomicBool>) -> Vec<Sent> {
    let mut sent: Vec<Sent> = Vec::new();
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let mut open = match connection.take() {
            Some(open) => open,
            None => match Connection::try_open(port).await {
                Ok(open) => open,
                // The bot is being replaced as a whole.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
            },
        };
        let n = sent.len();
        let user = format!("user-{}", (sender + n) % USERS);
        let text = format!("message-{sender}-{n}");
        let answer = open.try_send(message(&user, &text, Some(&text))).await;
        let acknowledged = answer.as_ref().is_ok_and(|answer| answer.status == 200);
        if let Ok(answer) = &answer {
            let status = answer.status;
            assert!([200, 503].contains(&status), "{status}: {}", answer.text());
            connection = Some(open);
        }
        sent.push(Sent {
            user,
            text,
            acknowledged,
        });
        if !acknowledged {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    sent
}

/// The counters hold every acknowledged message and no more than was sent; once
/// the others were sent again under their ids, they hold every message once.
async fn assert_each_counted_once(bot: &Bot, sent: &[Sent]) {
    let acknowledged = sent.iter().filter(|sent| sent.acknowledged).count() as u64;
    let sum = bot.setup.sum();
    assert!(
        (acknowledged..=sent.len() as u64).contains(&sum),
        "{acknowledged} of {} were acknowledged, {sum} are counted",
        sent.len()
    );
    for lost in sent.iter().filter(|sent| !sent.acknowledged) {
        once(bot.port, message(&lost.user, &lost.text, Some(&lost.text)))
            .await
            .number();
    }
    assert_eq!(bot.setup.sum(), sent.len() as u64, "each exactly once");
    bot.setup.assert_sound();
}

#[tokio::test]
async fn killed_workers_under_load_lose_and_repeat_nothing() {
    let bot = Setup::counter().args(&["--workers", "2"]).start().await;
    let load = Load::start(bot.port);
    for n in 0..5 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        let index = n % 2;
        let pid = bot.worker(index).await;
        kill_9(pid);
        bot.successor(&format!("turnkey: worker {index}"), pid)
            .await;
    }
    let sent = load.end().await;
    assert!(
        sent.iter().any(|sent| !sent.acknowledged),
        "the kills hit nothing"
    );
    assert_each_counted_once(&bot, &sent).await;
    bot.stop().await;
}

/// Eight kills, about a second apart, three of them within a fraction of a second:
/// no request fails, though the later writers are started with a delay.
#[tokio::test]
async fn killed_writers_under_load_fail_no_request() {
    let bot = Setup::counter().args(&["--workers", "2"]).start().await;
    let load = Load::start(bot.port);
    for pause in [1000, 50, 50, 1000, 1000, 1000, 1000, 1000] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let pid = bot.writer().await;
        kill_9(pid);
        bot.successor("turnkey: writer", pid).await;
    }
    let sent = load.end().await;
    let failed = sent.iter().filter(|sent| !sent.acknowledged).count();
    assert_eq!(failed, 0, "of {}", sent.len());
    assert_each_counted_once(&bot, &sent).await;
    assert_eq!(bot.stop().await.sum(), sent.len() as u64);
}

/// All kinds of deaths at once, the program's own included; the counts go on.
#[tokio::test]
async fn a_killed_program_goes_on_where_it_was() {
    let setup = Setup::counter().args(&["--workers", "2"]);
    let bot = setup.start().await;
    let setup = setup
        .without_port()
        .args(&["--port", &bot.port.to_string()]);
    let load = Load::start(bot.port);
    let mut bot = bot;
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        kill_9(bot.worker(round % 2).await);
        kill_9(bot.writer().await);
        tokio::time::sleep(Duration::from_millis(200)).await;
        bot.kill_all().await;
        bot = setup.start().await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let sent = load.end().await;
    assert_each_counted_once(&bot, &sent).await;
    let before = bot.setup.count("user-0");
    let bot = bot.stop().await.start().await;
    assert_eq!(say(bot.port, "user-0", "hi").await.number(), before + 1);
    bot.stop().await;
}

#[tokio::test]
async fn children_leave_when_the_master_is_killed_and_a_new_start_works_at_once() {
    let mut bot = Setup::commands().args(&["--workers", "2"]).start().await;
    let port = bot.port;
    assert_eq!(say(port, "ann", "hi").await.number(), 1);
    // A turn in flight is finished and answered even so.
    let slow = begin(port, "bob", "sleep 1500").await;
    bot.settled().await;
    kill_9(bot.pid());
    assert_eq!(bot.ended(SOON).await, -(Signal::SIGKILL as i32));
    // Not waiting for the children of the dead one: that is the program's affair.
    let same = bot.setup.clone().without_port();
    let next = same.args(&["--port", &port.to_string()]).start().await;
    assert_eq!(say(port, "ann", "hi").await.number(), 2);
    assert_eq!(join(slow).await.unwrap().number(), 1);
    bot.gone(Duration::from_secs(3)).await;
    assert!(!bot.stderr().contains("panicked"));
    next.stop().await.assert_sound();
}

/// Without a master nobody bounds the end but the children themselves.
#[tokio::test]
async fn children_of_a_killed_master_keep_to_the_grace_time() {
    let bot = Setup::commands()
        .args(&["--workers", "2", "--grace", "1s"])
        .start()
        .await;
    let port = bot.port;
    let slow = begin(port, "bob", "sleep 30000").await;
    bot.settled().await;
    kill_9(bot.pid());
    bot.gone(Duration::from_secs(8)).await;
    assert!(join(slow).await.is_err(), "its turn was cut off");
}

#[tokio::test]
async fn a_worker_that_hangs_is_replaced_while_the_others_serve() {
    let args = ["--workers", "2", "--worker-timeout", "3s"];
    let bot = Setup::commands().args(&args).start().await;
    let port = bot.port;
    let workers = [bot.worker(0).await, bot.worker(1).await];
    let spin = begin(port, "spinner", "spin 20000").await;
    // Until it hangs: what a worker accepts just before that dies with it.
    for _ in 0..3 {
        bot.settled().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let started = Instant::now();
    let mut longest = Duration::ZERO;
    let replaced = || bot.stderr().contains("gave no sign of life");
    while !replaced() {
        assert!(started.elapsed() < SOON, "the hung worker is not replaced");
        let asked = Instant::now();
        say(port, "ann", "hi").await.number();
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        longest < Duration::from_secs(1),
        "others waited for {longest:?}"
    );
    assert!(join(spin).await.is_err(), "its connection breaks");
    let now = || {
        bot.children()
            .into_iter()
            .map(|(pid, _)| pid)
            .collect::<Vec<_>>()
    };
    until("two workers and a writer", SOON, || now().len() == 3).await;
    let kept = workers.iter().filter(|pid| now().contains(pid)).count();
    assert_eq!(kept, 1, "one was replaced, the other was left alone");
    // Its lock is free, and nothing of its turn happened.
    assert_eq!(say(port, "spinner", "hi").await.number(), 1);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_stopped_writer_is_replaced_and_no_request_fails() {
    let args = ["--workers", "2", "--worker-timeout", "3s"];
    let bot = Setup::counter().args(&args).start().await;
    let load = Load::start(bot.port);
    let writer = bot.writer().await;
    kill(Pid::from_raw(writer), Signal::SIGSTOP).unwrap();
    bot.successor("turnkey: writer", writer).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let sent = load.end().await;
    assert!(sent.iter().all(|sent| sent.acknowledged));
    assert_each_counted_once(&bot, &sent).await;
    bot.stop().await;
}
