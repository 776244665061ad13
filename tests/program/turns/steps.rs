//! Steps: `Turn::step` in three languages, while workers, writers and turns end in the middle.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::api::Api;
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{begin, join, say, try_once};
use crate::harness::programs::has;
use crate::harness::telegram::{text, webhook};
use crate::turns::interrupt::bots;

/// What is paid for in a turn.
const NAMES: [&str; 6] = ["one", "two", "three", "four", "five", "end"];

/// Counts payments.
#[derive(Clone)]
struct Payments {
    port: u16,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// By user and name.
    paid: BTreeMap<String, u32>,
    /// Whose next payment is not answered, but counted.
    held: BTreeSet<String>,
    waiting: Vec<TcpStream>,
    /// How many more payments of these are refused.
    refused: BTreeMap<String, u32>,
}

impl Payments {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let payments = Payments {
            port,
            known: Arc::default(),
        };
        let server = payments.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                server.serve(stream);
            }
        });
        payments
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut line = String::new();
        if BufReader::new(&stream).read_line(&mut line).is_err() {
            return;
        }
        let key = line.trim_end();
        let mut known = self.known.lock().expect("no panic");
        if let Some(left @ 1..) = known.refused.get_mut(key) {
            *left -= 1;
            return;
        }
        *known.paid.entry(key.to_owned()).or_default() += 1;
        if known.held.remove(key) {
            known.waiting.push(stream);
            return;
        }
        drop(known);
        let name = key.rsplit(' ').next().unwrap_or_default();
        // Whoever asked may be gone.
        drop(stream.write_all(name.as_bytes()));
    }

    fn hold(&self, user: u64, name: &str) {
        let key = format!("{user} {name}");
        self.known.lock().expect("no panic").held.insert(key);
    }

    /// Answers all that it has not answered.
    fn release(&self, receipt: &str) {
        for mut stream in std::mem::take(&mut self.known.lock().expect("no panic").waiting) {
            drop(stream.write_all(receipt.as_bytes()));
        }
    }

    fn refuse(&self, user: &str, name: &str, times: u32) {
        let key = format!("{user} {name}");
        let mut known = self.known.lock().expect("no panic");
        known.refused.insert(key, times);
    }

    fn count(&self, user: &str, name: &str) -> u32 {
        let known = self.known.lock().expect("no panic");
        let count = known.paid.get(&format!("{user} {name}"));
        count.copied().unwrap_or_default()
    }

    fn counts(&self, user: u64) -> [u32; 6] {
        NAMES.map(|name| self.count(&user.to_string(), name))
    }

    fn order(&self) -> String {
        format!("pay {} {}", self.port, NAMES.join(" "))
    }
}

/// A platform's update, which is sent until it is answered with 200.
async fn deliver(bot: &Bot, update: u64, user: u64, said: &str) {
    let (port, update) = (bot.port, text(update, user, said));
    let deadline = std::time::Instant::now() + SOON;
    while std::time::Instant::now() < deadline {
        match try_once(port, webhook(&update)).await {
            Ok(answer) if answer.status == 200 => return,
            _ => tokio::task::yield_now().await,
        }
    }
    panic!("it is not taken");
}

fn left(bot: &Bot) -> i64 {
    let ask = "SELECT COUNT(*) FROM turnkey_step";
    let left = bot
        .setup
        .open_database()
        .query_row(ask, [], |row| row.get(0));
    left.expect("a number")
}

/// The worker dies in the middle of each payment: only that one is made again.
async fn kill_in_the_middle(setup: Setup, of: &[usize]) {
    let (api, payments) = (Api::start(), Payments::start());
    let bot = api.configure(setup.args(&["--workers", "1"])).start().await;
    for n in of {
        let user = 100 + *n as u64;
        payments.hold(user, NAMES[*n]);
        let worker = bot.worker(0).await;
        let order = payments.order();
        let delivered = deliver(&bot, user, user, &order);
        let killed = async {
            let is_paid = || payments.count(&user.to_string(), NAMES[*n]) == 1;
            until("the payment is under way", SOON, is_paid).await;
            // What came before is kept: it was waited for.
            kill(Pid::from_raw(worker), Signal::SIGKILL).expect("it lives");
            bot.successor("turnkey: worker 0", worker).await;
        };
        tokio::join!(delivered, killed);
        let said = format!("paid {}", NAMES.join(" "));
        api.receives(&user.to_string(), &[&said]).await;
        let mut counts = [1; 6];
        counts[*n] = 2;
        assert_eq!(payments.counts(user), counts, "killed in {}", NAMES[*n]);
    }
    until("nothing is left", SOON, || left(&bot) == 0).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_payment_is_not_made_again_when_its_worker_is_killed() {
    // Of a worker that dies again and again the program would lose patience.
    for of in [[0, 1, 2], [3, 4, 5]] {
        kill_in_the_middle(Setup::commands_in_rust(), &of).await;
    }
}

#[tokio::test]
async fn nor_is_it_in_python_and_javascript() {
    for (interpreter, file) in [("python3", "commands.py"), ("node", "commands.mjs")] {
        if has(interpreter) {
            kill_in_the_middle(Setup::handled_by(file), &[0, 3, 5]).await;
        }
    }
}

/// The first step answers the platform. The writer dies while the next payment is made: its result
/// is kept by the one that comes after it.
#[tokio::test]
async fn a_payment_is_kept_by_the_next_writer() {
    let (api, payments) = (Api::start(), Payments::start());
    let setup = Setup::commands().args(&["--workers", "1", "--ack-after", "30s"]);
    let bot = api.configure(setup).start().await;
    payments.hold(7, "two");
    deliver(&bot, 1, 7, &payments.order()).await;
    until("it is under way", SOON, || payments.count("7", "two") == 1).await;
    kill(Pid::from_raw(bot.writer().await), Signal::SIGKILL).expect("it lives");
    payments.release("two");
    api.receives("7", &[&format!("paid {}", NAMES.join(" "))])
        .await;
    assert_eq!(payments.counts(7), [1; 6]);
    bot.stop().await.assert_sound();
}

/// A payment that fails is tried again by itself; who gives up, or tries again later, does not
/// pay twice either.
#[tokio::test]
async fn a_dead_letter_knows_what_was_paid() {
    let (api, payments) = (Api::start(), Payments::start());
    let setup = Setup::commands().args(&["--workers", "1", "--max-attempts", "2"]);
    let bot = api.configure(setup).start().await;
    payments.refuse("7", "two", 1);
    deliver(&bot, 1, 7, &payments.order()).await;
    api.receives("7", &[&format!("paid {}", NAMES.join(" "))])
        .await;
    assert_eq!(payments.counts(7), [1; 6]);
    for (user, update) in [(8, "2"), (9, "3")] {
        payments.refuse(&user.to_string(), "three", 2);
        deliver(&bot, user - 6, user, &payments.order()).await;
        let given_up = format!("update {update} was given up");
        bot.wait_for_stderr(&given_up).await;
        assert_eq!(payments.counts(user), [1, 1, 0, 0, 0, 0]);
    }
    assert_eq!(left(&bot), 4);
    let dead = |what: &str, update: &str| {
        let said = bot.setup.tool(&["dead", what, "telegram", update]);
        assert_eq!(said.code, Some(0), "{}", said.stderr);
    };
    dead("retry", "2");
    api.receives("8", &[&format!("paid {}", NAMES.join(" "))])
        .await;
    assert_eq!(payments.counts(8), [1; 6]);
    dead("drop", "3");
    until("nothing is left", SOON, || left(&bot) == 0).await;
    bot.stop().await.assert_sound();
}

/// Several messages that are one turn share its steps, and stay together from the first one on.
#[tokio::test]
async fn a_burst_has_its_steps_once() {
    if !has("python3") {
        return;
    }
    let code = "import turnkey\n\
        def handle(turn):\n\
        \x20   said = turn.step('model', lambda: ' '.join(u.text for u in turn.updates))\n\
        \x20   if turn.attempt == 1:\n\
        \x20       raise ValueError('not yet')\n\
        \x20   turn.reply(f'{said}, attempt {turn.attempt}')\n\
        turnkey.run(handle, overlap='burst 500ms')\n";
    let api = Api::start();
    let setup = Setup::in_python(code).args(&["--workers", "1"]);
    let bot = api.configure(setup).start().await;
    for (update, said) in [(1, "a"), (2, "b"), (3, "c")] {
        deliver(&bot, update, 7, said).await;
    }
    bot.wait_for_stderr("not yet").await;
    // One more comes while the turn waits for its next attempt: it has a turn of its own, since
    // what was kept is not of it. That is so for whoever finds them, too.
    deliver(&bot, 4, 7, "d").await;
    let worker = bot.worker(0).await;
    kill(Pid::from_raw(worker), Signal::SIGKILL).expect("it lives");
    api.receives("7", &["a b c, attempt 2", "d, attempt 2"])
        .await;
    until("nothing is left", SOON, || left(&bot) == 0).await;
    bot.stop().await.assert_sound();
}

/// What is being paid for is paid for once, and is not what the next message wants.
#[tokio::test]
async fn a_newer_message_does_not_interrupt_a_payment() {
    for setup in bots() {
        let (api, payments) = (Api::start(), Payments::start());
        let setup = setup.args(&["--workers", "1"]);
        let setup = setup.env("COMMANDS_OVERLAP", "interrupt");
        let bot = api.configure(setup).start().await;
        payments.hold(7, "one");
        let order = format!("pay {} one two", payments.port);
        deliver(&bot, 1, 7, &order).await;
        let is_paid = || payments.count("7", "one") == 1;
        until("the payment is under way", SOON, is_paid).await;
        deliver(&bot, 2, 7, "next").await;
        // By the end of this it would have been interrupted.
        deliver(&bot, 3, 8, "after 300ms tea x").await;
        until("that is over", SOON, || !api.received("8").is_empty()).await;
        payments.release("one");
        api.receives("7", &["paid one two", "2: next"]).await;
        assert_eq!(payments.counts(7)[..2], [1, 1]);
        bot.stop().await.assert_sound();
    }
}

/// Whoever waits for the turn's own answer goes on waiting, also for the next attempt.
#[tokio::test]
async fn a_caller_who_waits_gets_the_answer() {
    let payments = Payments::start();
    let setup = Setup::commands().args(&["--workers", "1", "--max-attempts", "2"]);
    let bot = setup.start().await;
    payments.refuse("ann", "three", 1);
    let answer = say(bot.port, "ann", &payments.order()).await;
    assert_eq!(answer.replies(), [format!("paid {}", NAMES.join(" "))]);
    assert_eq!(NAMES.map(|name| payments.count("ann", name)), [1; 6]);
    // Of one that is given up it learns that.
    payments.refuse("bob", "two", 2);
    let waiting = begin(bot.port, "bob", &payments.order()).await;
    let answer = join(waiting).await.expect("an answer");
    assert_eq!(answer.status, 410, "{}", answer.text());
    assert_eq!(payments.count("bob", "one"), 1);
    bot.stop().await.assert_sound();
}
