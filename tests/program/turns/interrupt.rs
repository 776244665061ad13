//! A newer message while a handler runs: `Overlap::Interrupt`, which calls it again with both, and
//! `turn.newer`, by which it looks itself. With both, whichever worker the message came to.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::harness::api::Api;
use crate::harness::bot::{Bot, LATER, SOON, Setup, until};
use crate::harness::client::once;
use crate::harness::programs::has;
use crate::harness::telegram::{text, webhook};
use crate::platforms::polling::telegram;
use crate::platforms::webhooks::told;

/// The bot in each language that is there.
pub(super) fn bots() -> Vec<Setup> {
    let mut bots = vec![Setup::commands_in_rust()];
    for (interpreter, file) in [("python3", "commands.py"), ("node", "commands.mjs")] {
        if has(interpreter) {
            bots.push(Setup::handled_by(file));
        }
    }
    bots
}

async fn start(api: &Api, setup: Setup, overlap: &str, args: &[&str]) -> Bot {
    let setup = setup.args(&["--workers", "2"]).args(args);
    let setup = setup.env("COMMANDS_OVERLAP", overlap);
    api.configure(setup).start().await
}

/// User 7 sends these; each is answered at once.
async fn sent(bot: &Bot, all: &[(u64, &str)]) {
    for (number, said) in all {
        told(bot, webhook(&text(*number, 7, said)), "").await;
    }
}

/// Where a turn of so many messages says that it waits.
struct Waits {
    gate: PathBuf,
}

impl Waits {
    fn of(bot: &Bot) -> Self {
        Waits {
            gate: bot.setup.path("gate"),
        }
    }

    /// A message with this text, whose turn waits here.
    fn then(&self, text: &str) -> String {
        format!("gate {} {text}", self.gate.display())
    }

    /// The same, which waits for something newer here.
    fn verb(&self, verb: &str) -> String {
        format!("{verb} {}", self.gate.display())
    }

    async fn with(&self, messages: usize) {
        let here = self.gate.with_extension("telegram.7");
        until("a turn of so many messages waits", LATER, || {
            std::fs::read_to_string(&here).is_ok_and(|said| said == messages.to_string())
        })
        .await;
    }

    fn open(&self) {
        std::fs::write(&self.gate, "").expect("the gate opens");
    }
}

/// One worker at a time.
struct Only {
    workers: [Pid; 2],
}

impl Only {
    async fn of(bot: &Bot) -> Self {
        let [one, other] = [bot.worker(0).await, bot.worker(1).await];
        Only {
            workers: [Pid::from_raw(one), Pid::from_raw(other)],
        }
    }

    fn runs(&self, which: usize) {
        kill(self.workers[1 - which], Signal::SIGSTOP).expect("it stops");
        kill(self.workers[which], Signal::SIGCONT).expect("it goes on");
    }

    fn both(&self) {
        self.runs(0);
        kill(self.workers[1], Signal::SIGCONT).expect("it goes on");
    }
}

#[tokio::test]
async fn a_newer_message_of_another_worker_interrupts() {
    for setup in bots() {
        let api = Api::start();
        let bot = start(&api, setup, "interrupt", &["--max-attempts", "2"]).await;
        let (waits, only) = (Waits::of(&bot), Only::of(&bot).await);
        let first = waits.then("first");
        only.runs(0);
        sent(&bot, &[(1, &first)]).await;
        waits.with(1).await;
        // It came to the other one.
        only.runs(1);
        let second = waits.then("second");
        sent(&bot, &[(2, &second)]).await;
        only.both();
        waits.with(2).await;
        sent(&bot, &[(3, "third")]).await;
        // The state is that of one turn, and both runs were no attempts.
        let all = format!("{first}|{second}|third");
        let texts = all.replace('|', "/");
        let together = format!("1: {all} as {texts}, 0 files");
        api.receives("7", &[&together]).await;
        sent(&bot, &[(1, &first), (3, "third"), (4, "fourth")]).await;
        api.receives("7", &[&together, "2: fourth"]).await;
        bot.stop().await.assert_sound();
    }
}

/// Who never falls silent is answered after ten interruptions.
#[tokio::test]
async fn the_eleventh_run_is_left_to_end() {
    let api = Api::start();
    let bot = start(&api, Setup::commands(), "interrupt", &[]).await;
    let waits = Waits::of(&bot);
    let said = waits.then("x");
    for number in 1..=11 {
        sent(&bot, &[(number, &said)]).await;
        waits.with(number as usize).await;
    }
    sent(&bot, &[(12, "last")]).await;
    // By then it would have been noticed.
    told(&bot, webhook(&text(20, 8, "sleep 300")), "").await;
    api.receives("8", &["1: sleep 300"]).await;
    waits.open();
    let all = [said.as_str(); 11];
    let together = format!("1: {} as {}, 0 files", all.join("|"), all.join("/"));
    api.receives("7", &[&together, "2: last"]).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn an_interrupted_run_survives_the_death_of_all() {
    let api = Api::start();
    let bot = start(&api, Setup::commands(), "interrupt", &[]).await;
    let waits = Waits::of(&bot);
    let said = waits.then("x");
    sent(&bot, &[(1, &said)]).await;
    waits.with(1).await;
    sent(&bot, &[(2, &said)]).await;
    waits.with(2).await;
    let bot = bot.kill_all().await.start().await;
    waits.open();
    let together = format!("1: {said}|{said} as {said}/{said}, 0 files");
    api.receives("7", &[&together]).await;
    sent(&bot, &[(1, &said), (2, &said), (3, "next")]).await;
    api.receives("7", &[&together, "2: next"]).await;
    bot.stop().await.assert_sound();
}

/// In its last attempt a message is alone, and nothing interrupts it.
#[tokio::test]
async fn one_that_fails_takes_no_neighbour_along() {
    let api = Api::start();
    let bot = start(
        &api,
        Setup::commands(),
        "interrupt",
        &["--max-attempts", "2"],
    )
    .await;
    let waits = Waits::of(&bot);
    sent(&bot, &[(1, &waits.then("a"))]).await;
    waits.with(1).await;
    sent(&bot, &[(2, "fail")]).await;
    bot.wait_for_stderr("attempt 1 of 2").await;
    waits.with(1).await;
    sent(&bot, &[(3, "b")]).await;
    waits.open();
    api.receives("7", &["1: a", "2: b"]).await;
    let dead = bot.setup.tool(&["dead", "list"]);
    assert!(dead.stdout.contains("told to fail"), "{}", dead.stdout);
    bot.stop().await.assert_sound();
}

/// A handler that does not look at `turn.cancelled` is not killed, and what it answers is ignored.
#[tokio::test]
async fn a_deaf_handler_is_waited_for() {
    if !has("python3") {
        return;
    }
    let code = "import time, turnkey\n\
        runs = 0\n\
        def handle(turn):\n\
        \x20   global runs\n\
        \x20   runs += 1\n\
        \x20   if turn.text == 'deaf':\n\
        \x20       open('deaf', 'w').close()\n\
        \x20       while not turn.cancelled: time.sleep(0.01)\n\
        \x20       time.sleep(6)\n\
        \x20   turn.reply(f'{turn.text!r} in run {runs}')\n\
        turnkey.run(handle, overlap={'telegram': 'interrupt'})\n";
    let api = Api::start();
    let setup = Setup::in_python(code).args(&["--workers", "1", "--handlers", "1"]);
    let bot = api.configure(setup).start().await;
    let deaf = bot.setup.path("deaf");
    sent(&bot, &[(1, "deaf")]).await;
    until("it runs", SOON, || deaf.exists()).await;
    sent(&bot, &[(2, "b")]).await;
    until("it is answered", LATER, || !api.received("7").is_empty()).await;
    api.receives("7", &["'deaf\\nb' in run 2"]).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_handler_hears_of_something_newer_of_another_worker() {
    let with = |verb: &'static str| bots().into_iter().map(move |setup| (setup, verb));
    for (setup, verb) in with("newer").chain(with("look")) {
        let api = Api::start();
        let bot = start(&api, setup, "each", &["--ack-after", "30s"]).await;
        let (waits, only) = (Waits::of(&bot), Only::of(&bot).await);
        only.runs(0);
        let first = webhook(&text(1, 7, &waits.verb(verb)));
        let answer = tokio::spawn(once(bot.port, first));
        waits.with(1).await;
        only.runs(1);
        let next = tokio::spawn(once(bot.port, webhook(&text(2, 7, "next"))));
        until("the other one has it", SOON, || {
            next.is_finished() || bot.connections_of(only.workers[1].as_raw()) > 0
        })
        .await;
        only.both();
        // It waits for the first, and is in the inbox at once all the same.
        let accepted = next.await.expect("an answer");
        assert_eq!((accepted.status, accepted.text().as_str()), (200, ""));
        // So is the first, if the next is not there sooner: then the reply rides in the answer.
        let answer = answer.await.expect("an answer");
        let mut rest = vec!["something newer came", "2: next"];
        if !answer.text().is_empty() {
            assert_eq!(answer.json()["text"], rest.remove(0));
        }
        api.receives("7", &rest).await;
        bot.stop().await.assert_sound();
    }
}

/// Where a user's updates are taken one after another, too: the first is ours at once.
#[tokio::test]
async fn a_polled_message_is_newer() {
    let api = Api::start();
    let setup = telegram(&api, Setup::commands()).args(&["--ack-after", "50s"]);
    let bot = setup.start().await;
    let first = Waits::of(&bot).verb("newer");
    api.queues.push([text(1, 7, &first), text(2, 7, "next")]);
    api.receives("7", &["something newer came", "2: next"])
        .await;
    bot.stop().await.assert_sound();
}

/// A language model that counts its calls: what is said in a burst is one.
#[tokio::test]
async fn five_messages_are_one_call_of_a_model() {
    let model = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = model.local_addr().expect("an address");
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = model.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut question = String::new();
            let mut reader = BufReader::new(&mut stream);
            reader.read_line(&mut question).await.expect("a question");
            let answer = format!("You said {}", question.trim_end());
            stream.write_all(answer.as_bytes()).await.expect("it hears");
        }
    });
    let api = Api::start();
    let bot = start(&api, Setup::commands_in_rust(), "burst 700ms", &[]).await;
    let first = format!("model {address}");
    sent(
        &bot,
        &[(1, &first), (2, "hi"), (3, "I"), (4, "want"), (5, "tea")],
    )
    .await;
    let answer = format!("You said \"{first}\\nhi\\nI\\nwant\\ntea\"");
    api.receives("7", &[&answer]).await;
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    bot.stop().await.assert_sound();
}
