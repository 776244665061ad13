//! A token that has worked is not given up because a platform refuses it for a while.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::api::{Api, TOKEN, VK_TOKEN};
use crate::harness::bot::{SOON, Setup, until};
use crate::harness::queues::Weather;
use crate::harness::telegram::text;
use crate::platforms::polling::{telegram, vk, vk_event};

/// What makes a bot ask a platform.
type Polls = fn(&Api, Setup) -> Setup;

/// How an update of user 7 comes to be.
type Push = fn(&Api, u64);

fn push_telegram(api: &Api, id: u64) {
    let update: Value = text(id, 7, "hi");
    api.queues.push([update]);
}

fn push_vk(api: &Api, id: u64) {
    api.queues.push_vk([vk_event(id, 7, "hi")]);
    // The next question needs the token.
    api.queues.expire_vk(false);
}

#[tokio::test]
async fn a_token_that_worked_is_tried_again() {
    let platforms: [(Polls, Push); 2] = [(telegram, push_telegram), (vk, push_vk)];
    for (polls, push) in platforms {
        let api = Api::start();
        let setup = Setup::counter().args(&["--updater", "polling"]);
        let bot = polls(&api, setup).start().await;
        // VK tells only what comes after the first question.
        until("a question", SOON, || api.queues.waiting() > 0).await;
        push(&api, 1);
        until("a reply", SOON, || api.received("7") == ["1: hi"]).await;
        let worker = bot.worker(0).await;
        api.queues.weather(Weather::Unauthorized);
        push(&api, 2);
        let refused = "and refuses the token now, asking again";
        bot.wait_for_stderr(refused).await;
        assert_eq!(bot.worker(0).await, worker);
        // Another worker knows that it has worked.
        kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
        let next = bot.successor("turnkey: worker 0", worker).await;
        until("its word", SOON, || {
            bot.stderr().matches(refused).count() == 2
        })
        .await;
        // So does one with new settings.
        bot.signal(Signal::SIGHUP);
        bot.successor("turnkey: worker 0", next).await;
        until("its word", SOON, || {
            bot.stderr().matches(refused).count() == 3
        })
        .await;
        api.queues.weather(Weather::Fine);
        push(&api, 3);
        bot.wait_for_stderr("gives updates again").await;
        until("all replies", SOON, || {
            api.received("7") == ["1: hi", "2: hi", "3: hi"]
        })
        .await;
        let said = bot.stderr();
        assert!(said.contains("ERROR"), "{said}");
        assert!(!said.contains(TOKEN) && !said.contains(VK_TOKEN), "{said}");
        bot.stop().await.assert_sound();
    }
}
