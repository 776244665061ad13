//! Cases about broadcasts: the cursor, the condition, and what is counted.

use turnkey_storage::broadcasts::{self, Audience, Broadcast, New, State};
use turnkey_storage::replies::{self, Waiting};
use turnkey_storage::taken;
use turnkey_storage::{Commit, DialogKey, Error, LockAfter, Origin, Pending, ReplyId};

use crate::common::{asks, last, turn};
use crate::engine::{Client, Engine};
use crate::keeping::{letter, now_ms};
use crate::steps::{book, count, rows};

const SERVED: [&str; 2] = ["telegram", "viber"];

fn to(user: &str) -> DialogKey {
    DialogKey::new("telegram", user)
}

async fn known(client: &Client, dialogs: &[DialogKey]) {
    for (n, dialog) in dialogs.iter().enumerate() {
        turn(&**client, dialog, &format!("first {n} {dialog}"), "1").await;
    }
}

async fn make(client: &Client, audience: Audience) -> Broadcast {
    let new = New {
        audience,
        body: "{\"text\":\"'é' \u{1f980}\"}".to_owned(),
        rate: Some(20),
    };
    let id = broadcasts::create(&**client, &new).await.unwrap();
    let made = get(client, id).await;
    assert_eq!((&made.made_of, made.state), (&new, State::Running));
    made
}

async fn get(client: &Client, id: u64) -> Broadcast {
    broadcasts::get(&**client, id).await.unwrap().unwrap()
}

fn update(broadcast: &Broadcast, dialog: &DialogKey) -> Pending {
    Pending {
        dialog: dialog.clone(),
        update: format!("broadcast:{}:{}", broadcast.id, dialog.user_id),
        arrived: 1000,
        body: b"\0 body".to_vec(),
        attempts: 0,
        due: 0,
        error: None,
    }
}

/// One step, from what is known of it now.
async fn step(client: &Client, id: u64, limit: u32) -> Vec<DialogKey> {
    let broadcast = get(client, id).await;
    step_from(client, &broadcast, limit).await
}

async fn step_from(client: &Client, broadcast: &Broadcast, limit: u32) -> Vec<DialogKey> {
    let next = broadcasts::next(&**client, broadcast, &SERVED, limit).await;
    let next = next.unwrap();
    let rows: Vec<_> = next.iter().map(|to| update(broadcast, to)).collect();
    broadcasts::step(&**client, broadcast, &rows).await.unwrap();
    next
}

/// Commits the turn of a broadcast's update with these many messages: their places.
async fn answered(
    client: &Client,
    broadcast: &Broadcast,
    dialog: &DialogKey,
    messages: u32,
) -> Vec<ReplyId> {
    let id = update(broadcast, dialog).update;
    let begun = client.begin(asks(dialog, &id)).await.unwrap();
    let mut grant = begun.granted().unwrap().grant;
    let body = format!("{{\"to\":\"1\",\"update\":\"{id}\",\"reply\":{{}}}}");
    let commit = Commit {
        replies: vec![body; messages as usize],
        origin: Origin::Inbox,
        lock: LockAfter::GivenBack,
        ..last(&id, "1")
    };
    client.commit(&mut grant, commit).await.unwrap();
    let turn = grant.fence();
    (0..messages).map(|index| ReplyId { turn, index }).collect()
}

async fn counts(client: &Client, id: u64) -> (u64, u64, u64) {
    let broadcast = get(client, id).await;
    (broadcast.queued, broadcast.sent, broadcast.failed)
}

async fn a_broadcast_goes_through_its_dialogs_step_by_step(engine: &dyn Engine) {
    let client = engine.open();
    let mut all = vec![
        to("a"),
        to("a b"),
        to("B"),
        to("é'; --"),
        DialogKey::new("viber", "a"),
    ];
    known(&client, &all).await;
    // Not these: nobody to send to, groups, and a channel that is not served.
    known(
        &client,
        &[
            DialogKey::new("http", "a"),
            to("a@-100"),
            to("-100"),
            DialogKey::new("vk", "7"),
        ],
    )
    .await;
    let id = make(&client, Audience::default()).await.id;
    all.sort_by(|a, b| (&a.user_id, &a.channel).cmp(&(&b.user_id, &b.channel)));
    let left = async || {
        let broadcast = get(&client, id).await;
        broadcasts::left(&*client, &broadcast).await.unwrap()
    };
    // That of a channel that is not served counts, too, until the cursor has passed it: another
    // program may serve it.
    assert_eq!(left().await, 6);
    assert_eq!(step(&client, id, 2).await, all[..2]);
    assert_eq!(left().await, 3);
    assert_eq!(count(&client, "turnkey_inbox").await, 2);
    assert_eq!(get(&client, id).await.after, all[1]);
    assert_eq!(broadcasts::waiting(&*client, id, 100).await.unwrap(), 2);
    assert_eq!(broadcasts::waiting(&*client, id, 1).await.unwrap(), 1);
    assert_eq!(step(&client, id, 2).await, all[2..4]);
    // One that is new and still ahead is reached, too; one that is behind is not.
    known(&client, &[to("zz"), to("A")]).await;
    assert_eq!(step(&client, id, 100).await, [to("zz"), all[4].clone()]);
    assert_eq!(step(&client, id, 100).await, []);
    assert_eq!(counts(&client, id).await, (6, 0, 0));
    assert_eq!(count(&client, "turnkey_inbox").await, 6);
    // The next has a number, and updates, of its own.
    let second = make(&client, Audience::default()).await;
    assert_eq!(second.id, id + 1);
    assert_eq!(step(&client, second.id, 3).await.len(), 3);
    assert_eq!(count(&client, "turnkey_inbox").await, 9);
    assert_eq!(broadcasts::waiting(&*client, id, 100).await.unwrap(), 6);
    let listed = broadcasts::list(&*client, 10).await.unwrap();
    assert_eq!(listed.iter().map(|b| b.id).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(broadcasts::get(&*client, 3).await.unwrap(), None);
}

async fn a_step_is_taken_once_and_not_of_a_paused_broadcast(engine: &dyn Engine) {
    let client = engine.open();
    let all: Vec<_> = (0..6).map(|n| to(&n.to_string())).collect();
    known(&client, &all).await;
    let first = make(&client, Audience::default()).await;
    let id = first.id;
    assert_eq!(step_from(&client, &first, 2).await, all[..2]);
    // The same again, as by somebody who was slower: the cursor has gone on.
    assert_eq!(step_from(&client, &first, 2).await, all[..2]);
    assert_eq!(step_from(&client, &first, 3).await, all[..3]);
    assert_eq!(counts(&client, id).await, (2, 0, 0));
    assert_eq!(count(&client, "turnkey_inbox").await, 2);
    // Also once the first were handled.
    answered(&client, &first, &all[0], 1).await;
    assert_eq!(step_from(&client, &first, 2).await, all[..2]);
    assert_eq!(count(&client, "turnkey_inbox").await, 1);
    let set = async |state| {
        let set = broadcasts::set_state(&*client, id, state, None).await;
        set.unwrap()
    };
    assert_eq!(set(State::Paused).await, Some(State::Paused));
    assert_eq!(set(State::Paused).await, Some(State::Paused));
    step(&client, id, 2).await;
    assert_eq!(counts(&client, id).await, (2, 0, 0));
    // It cannot be done while it is paused.
    assert_eq!(set(State::Done).await, Some(State::Paused));
    assert_eq!(set(State::Running).await, Some(State::Running));
    assert_eq!(step(&client, id, 100).await, all[2..]);
    assert_eq!(set(State::Done).await, Some(State::Done));
    assert_eq!(set(State::Running).await, Some(State::Done));
    assert_eq!(set(State::Stopped).await, Some(State::Done));
    assert_eq!(count(&client, "turnkey_inbox").await, 5);
    assert_eq!(broadcasts::open(&*client, 10).await.unwrap(), []);
    let unknown = broadcasts::set_state(&*client, 99, State::Paused, None).await;
    assert_eq!(unknown.unwrap(), None);
}

async fn a_broadcast_goes_to_those_that_were_chosen(engine: &dyn Engine) {
    let client = engine.open();
    let groups = [to("-100"), to("1@-100"), DialogKey::new("vk", "2000000007")];
    known(&client, &groups).await;
    known(&client, &[to("1"), to("2"), to("3")]).await;
    known(
        &client,
        &[DialogKey::new("viber", "1"), DialogKey::new("vk", "9")],
    )
    .await;
    let mut grant = crate::common::begin(&*client, &to("3"), "orders")
        .await
        .grant
        .unwrap();
    let orders = Commit {
        statements: vec![book("1", 4), book("3", 1)],
        ..last("orders", "1")
    };
    client.commit(&mut grant, orders).await.unwrap();
    let some = |channel: Option<&str>, filter: Option<&str>, groups| Audience {
        channel: channel.map(str::to_owned),
        filter: filter.map(str::to_owned),
        groups,
    };
    let ordered = "user_id IN (SELECT name FROM booking)";
    for (audience, number) in [
        (some(None, None, false), 5),
        (some(None, None, true), 8),
        (some(Some("telegram"), None, false), 3),
        (some(Some("telegram"), None, true), 5),
        (some(Some("nowhere"), None, true), 0),
        (some(None, Some(ordered), false), 3),
        (some(Some("viber"), Some(ordered), false), 1),
        // What it has of its own undoes nothing of ours.
        (some(Some("telegram"), Some("1 = 1 OR 1 = 1"), false), 3),
        (some(Some("telegram"), Some("1 = 1) OR (1 = 1"), false), 3),
        (some(None, Some("channel = 'vk' -- ours"), false), 1),
        (
            some(
                None,
                Some(
                    "EXISTS (SELECT 1 FROM booking b WHERE b.name = dialog.user_id AND b.seats > 2)",
                ),
                false,
            ),
            2,
        ),
    ] {
        let counted = broadcasts::count(&*client, &audience).await;
        assert_eq!(counted, Ok(number), "{audience:?}");
    }
    let id = make(&client, some(None, Some(ordered), false)).await.id;
    assert_eq!(
        step(&client, id, 100).await,
        [to("1"), DialogKey::new("viber", "1"), to("3")]
    );
}

async fn a_wrong_condition_is_refused_in_the_databases_words(engine: &dyn Engine) {
    let client = engine.open();
    known(&client, &[to("1")]).await;
    for (filter, word) in [
        ("nope = 1", "nope"),
        ("user_id IN (SELECT name FROM nowhere)", "nowhere"),
        // What is in the row besides is not the condition's business.
        ("version > 1", "version"),
        ("user_id = '1", ""),
        ("1 = 1; DELETE FROM booking", ""),
        ("", ""),
    ] {
        let audience = Audience {
            filter: Some(filter.to_owned()),
            ..Audience::default()
        };
        match broadcasts::count(&*client, &audience).await {
            Err(Error::Statement(why)) => assert!(why.contains(word), "{filter}: {why}"),
            other => panic!("{filter}: {other:?}"),
        }
    }
}

async fn a_broadcast_counts_each_dialog_once(engine: &dyn Engine) {
    let client = engine.open();
    let all: Vec<_> = (0..5).map(|n| to(&n.to_string())).collect();
    known(&client, &all).await;
    let made = make(&client, Audience::default()).await;
    let id = made.id;
    step(&client, id, 100).await;
    let failures = async || {
        let all = broadcasts::failures(&*client, id, None, 100).await.unwrap();
        let shown = all.into_iter().map(|f| (f.dialog.user_id, f.reason));
        shown.collect::<Vec<_>>()
    };

    // In two messages: the last counts. Done twice, it counts once.
    let messages = answered(&client, &made, &all[0], 2).await;
    assert_eq!(broadcasts::waiting(&*client, id, 100).await.unwrap(), 6);
    broadcasts::sent(&*client, id, &all[0], messages[0])
        .await
        .unwrap();
    assert_eq!(counts(&client, id).await, (5, 0, 0));
    for _ in 0..2 {
        broadcasts::sent(&*client, id, &all[0], messages[1])
            .await
            .unwrap();
        assert_eq!(counts(&client, id).await, (5, 1, 0));
    }
    assert_eq!(broadcasts::waiting(&*client, id, 100).await.unwrap(), 4);

    // Refused.
    let messages = answered(&client, &made, &all[1], 1).await;
    let long = "blocked \0 é ".repeat(500);
    for _ in 0..2 {
        broadcasts::refused(&*client, id, &all[1], messages[0], &long)
            .await
            .unwrap();
    }
    assert_eq!(counts(&client, id).await, (5, 1, 1));
    let kept = failures().await;
    assert!(kept[0].1.len() < 1000 && long.starts_with(&kept[0].1));

    // Given up, tried again by an operator, and sent.
    let [message] = answered(&client, &made, &all[2], 1).await[..] else {
        panic!("one message")
    };
    let waiting = Waiting {
        attempts: 3,
        since: now_ms(),
    };
    for _ in 0..2 {
        broadcasts::bury_reply(&*client, id, &all[2], message, &waiting, "away")
            .await
            .unwrap();
    }
    assert_eq!(counts(&client, id).await, (5, 1, 2));
    assert_eq!(count(&client, "turnkey_dead_reply").await, 1);
    assert_eq!(count(&client, "turnkey_outbox").await, 0);
    assert!(replies::retry(&*client, message).await.unwrap());
    broadcasts::sent(&*client, id, &all[2], message)
        .await
        .unwrap();
    assert_eq!(counts(&client, id).await, (5, 2, 1));
    assert_eq!(failures().await.len(), 1);

    // Its update is given up.
    let dead = letter(&update(&made, &all[3]));
    for _ in 0..2 {
        broadcasts::bury_update(&*client, id, &dead).await.unwrap();
    }
    assert_eq!(counts(&client, id).await, (5, 2, 2));
    assert_eq!(
        failures().await[1],
        ("3".to_owned(), "it \0 failed; 'so'".to_owned())
    );
    assert_eq!(count(&client, "turnkey_dead").await, 1);
    assert_eq!(get(&client, id).await.open(), 1);
    assert_eq!(broadcasts::waiting(&*client, id, 100).await.unwrap(), 1);
    let rest = broadcasts::failures(&*client, id, Some(&all[1]), 100).await;
    assert_eq!(rest.unwrap().len(), 1);
}

async fn a_broadcast_counts_what_is_refused_later(engine: &dyn Engine) {
    let client = engine.open();
    let all = [to("0"), to("1")];
    known(&client, &all).await;
    let made = make(&client, Audience::default()).await;
    let id = made.id;
    step(&client, id, 100).await;
    let mut kept = Vec::new();
    for (n, dialog) in all.iter().enumerate() {
        for reply in answered(&client, &made, dialog, 2 - n as u32).await {
            let message = format!("\0 {n}.{}", reply.index);
            let keeps = taken::keep(&*client, dialog, reply, &message, Some(id));
            keeps.await.unwrap();
            let sent = broadcasts::sent(&*client, id, dialog, reply).await;
            sent.unwrap();
            kept.push(taken::find(&*client, reply).await.unwrap().unwrap());
        }
    }
    assert_eq!(counts(&client, id).await, (2, 2, 0));
    assert!(kept.iter().all(|reply| reply.body.is_empty()), "{kept:?}");
    // Both messages of the first: its dialog counts once, said however often.
    for (n, reply) in kept[..2].iter().enumerate() {
        for again in [false, true] {
            let counted = broadcasts::refused_late(&*client, id, reply, "131049 \0").await;
            assert_eq!(counted.unwrap(), !again, "{n}");
            assert_eq!(counts(&client, id).await, (2, 1, 1));
        }
    }
    let other = taken::Taken {
        message: "another".to_owned(),
        ..kept[2].clone()
    };
    let counted = broadcasts::refused_late(&*client, id, &other, "no").await;
    assert!(!counted.unwrap());
    assert_eq!(counts(&client, id).await, (2, 1, 1));
    let failures = broadcasts::failures(&*client, id, None, 9).await.unwrap();
    let failures: Vec<_> = failures.iter().map(|f| (&f.dialog, &*f.reason)).collect();
    assert_eq!(failures, [(&all[0], "131049 \0")]);
    assert_eq!(count(&client, "turnkey_dead_reply").await, 0);
    assert_eq!(count(&client, "turnkey_taken").await, 1);
}

async fn a_stopped_broadcast_leaves_nothing_in_the_inbox(engine: &dyn Engine) {
    let client = engine.open();
    let all: Vec<_> = (0..4).map(|n| to(&n.to_string())).collect();
    known(&client, &all).await;
    let (made, other) = (
        make(&client, Audience::default()).await,
        make(&client, Audience::default()).await,
    );
    step(&client, made.id, 3).await;
    step(&client, other.id, 3).await;
    let messages = answered(&client, &made, &all[0], 1).await;
    for _ in 0..2 {
        let set = broadcasts::set_state(&*client, made.id, State::Stopped, None).await;
        assert_eq!(set.unwrap(), Some(State::Stopped));
        assert_eq!(counts(&client, made.id).await, (1, 0, 0));
        assert_eq!(count(&client, "turnkey_inbox").await, 3);
    }
    broadcasts::sent(&*client, made.id, &all[0], messages[0])
        .await
        .unwrap();
    assert_eq!(counts(&client, made.id).await, (1, 1, 0));
    step(&client, made.id, 100).await;
    assert_eq!(count(&client, "turnkey_inbox").await, 3);
    // What is wrong with it is kept with a pause, until it is resumed.
    let set = async |state, why| broadcasts::set_state(&*client, other.id, state, why).await;
    set(State::Paused, Some("no such column")).await.unwrap();
    let trouble = get(&client, other.id).await.trouble;
    assert_eq!(trouble.as_deref(), Some("no such column"));
    set(State::Running, None).await.unwrap();
    assert_eq!(get(&client, other.id).await.trouble, None);
    broadcasts::note_trouble(&*client, other.id, "viber is left out")
        .await
        .unwrap();
    let open = broadcasts::open(&*client, 10).await.unwrap();
    assert_eq!(open.len(), 1);
    let running = broadcasts::running(&*client, 10).await.unwrap();
    assert_eq!(running, [get(&client, other.id).await]);
    assert_eq!(open[0].trouble.as_deref(), Some("viber is left out"));
}

async fn many_boxes_take_steps_of_one_broadcast(engine: &dyn Engine) {
    let clients = [engine.open(), engine.open(), engine.open()];
    let all: Vec<_> = (0..60).map(|n| to(&format!("{n:02}"))).collect();
    known(&clients[0], &all).await;
    let id = make(&clients[0], Audience::default()).await.id;
    let mut tasks = tokio::task::JoinSet::new();
    for (n, client) in clients.clone().into_iter().enumerate() {
        tasks.spawn(async move { while !step(&client, id, 5 + n as u32).await.is_empty() {} });
    }
    tasks.join_all().await;
    assert_eq!(counts(&clients[0], id).await, (60, 0, 0));
    let twice = "SELECT COUNT(*) FROM (SELECT user_id FROM turnkey_inbox GROUP BY user_id) u";
    assert_eq!(rows(&clients[0], twice).await[0][0], 60.into());
    assert_eq!(count(&clients[0], "turnkey_inbox").await, 60);
    // All replies go out at once.
    let made = get(&clients[0], id).await;
    let mut tasks = tokio::task::JoinSet::new();
    for (n, dialog) in all.into_iter().enumerate() {
        let (client, made) = (clients[n % 3].clone(), made.clone());
        tasks.spawn(async move {
            let reply = answered(&client, &made, &dialog, 1).await[0];
            match n % 2 {
                0 => broadcasts::sent(&*client, made.id, &dialog, reply).await,
                _ => broadcasts::refused(&*client, made.id, &dialog, reply, "blocked").await,
            }
            .unwrap();
        });
    }
    tasks.join_all().await;
    assert_eq!(counts(&clients[0], id).await, (60, 30, 30));
}

async fn old_broadcasts_are_forgotten(engine: &dyn Engine) {
    let client = engine.open();
    known(&client, &[to("1")]).await;
    let first = make(&client, Audience::default()).await;
    step(&client, first.id, 1).await;
    let reply = answered(&client, &first, &to("1"), 1).await[0];
    broadcasts::refused(&*client, first.id, &to("1"), reply, "blocked")
        .await
        .unwrap();
    let ended = broadcasts::set_state(&*client, first.id, State::Done, None).await;
    assert_eq!(ended.unwrap(), Some(State::Done));
    let new = &first.made_of;
    for _ in 0..broadcasts::KEPT {
        broadcasts::create(&*client, new).await.unwrap();
    }
    assert_eq!(broadcasts::get(&*client, first.id).await.unwrap(), None);
    assert_eq!(count(&client, "turnkey_broadcast_failed").await, 0);
    let kept = count(&client, "turnkey_broadcast").await;
    assert_eq!(kept as u64, broadcasts::KEPT, "none of these has ended");
}

on_every_engine! {
    a_broadcast_goes_through_its_dialogs_step_by_step
    a_step_is_taken_once_and_not_of_a_paused_broadcast
    a_broadcast_goes_to_those_that_were_chosen
    a_wrong_condition_is_refused_in_the_databases_words
    a_broadcast_counts_each_dialog_once
    a_broadcast_counts_what_is_refused_later
    a_stopped_broadcast_leaves_nothing_in_the_inbox
    many_boxes_take_steps_of_one_broadcast
    old_broadcasts_are_forgotten
}
