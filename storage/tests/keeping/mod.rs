//! Cases of the conformance list about what a database keeps beside turns: the inbox, dead
//! letters, pauses, names, broadcasts; what an operator asks of it; and how old rows go.

mod broadcasts;
mod messages;
mod relays;
mod replies;

use std::time::{SystemTime, UNIX_EPOCH};

use turnkey_storage::dead::{self, DeadLetter};
use turnkey_storage::inbox::{self, Bounds, Pending, UpdateState};
use turnkey_storage::retention::{Kept, Sweep};
use turnkey_storage::{
    Arrival, Begin, Commit, DialogKey, Error, LockAfter, Origin, Seen, Statement, admin, marks,
    pauses,
};

pub(crate) use broadcasts::{
    a_broadcast_counts_each_dialog_once, a_broadcast_goes_through_its_dialogs_step_by_step,
    a_broadcast_goes_to_those_that_were_chosen, a_step_is_taken_once_and_not_of_a_paused_broadcast,
    a_stopped_broadcast_leaves_nothing_in_the_inbox,
    a_wrong_condition_is_refused_in_the_databases_words, many_boxes_take_steps_of_one_broadcast,
    old_broadcasts_are_forgotten,
};
pub(crate) use messages::{
    a_message_is_found_by_its_name, a_name_that_many_set_at_once_is_one_row,
    a_reset_forgets_the_names_too, names_of_any_kind_are_kept_and_long_ones_refused,
    the_names_are_not_the_authors_to_change,
};
pub(crate) use relays::{
    a_commit_that_fails_relays_nothing, a_late_fence_relays_nothing,
    a_relay_that_is_known_already_is_left_alone, a_turn_may_relay_to_its_own_dialog,
    many_commits_relay_to_each_other, one_commit_may_relay_to_many,
    relays_arrive_with_their_commit, relays_go_with_all_else_that_a_commit_has,
    updates_are_relayed_outside_of_a_turn,
};
pub(crate) use replies::{
    a_reply_that_is_given_up_is_out_of_the_way, dead_replies_are_listed_tried_again_and_dropped,
    it_is_known_whether_a_turn_was_overtaken,
};

use super::common::{LONG, asks, begin, dialog, last, turn};
use super::{Client, Engine, arrived, begin_later, count, keep};

const ROOMY: Bounds = Bounds {
    per_dialog: 100,
    all: 1000,
};

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64
}

/// Due now, arrived at this moment.
fn pending(user: u32, update: &str, arrived: i64) -> Pending {
    Pending {
        dialog: dialog(user),
        update: update.to_owned(),
        arrived,
        body: format!("\0body of {update}").into_bytes(),
        attempts: 0,
        due: 0,
        error: None,
    }
}

fn letter(pending: &Pending) -> DeadLetter {
    DeadLetter {
        dialog: pending.dialog.clone(),
        update: pending.update.clone(),
        arrived: pending.arrived,
        digest: b"digest".to_vec(),
        answer: b"an\0swer".to_vec(),
        body: pending.body.clone(),
        error: "it \0 failed; 'so'".to_owned(),
        attempts: 5,
        died: now_ms(),
    }
}

async fn accept(client: &Client, update: &Pending) {
    inbox::accept(&**client, update, ROOMY).await.unwrap();
}

async fn begin_at(
    client: &Client,
    user: u32,
    update: Option<&str>,
    unix_us: i64,
) -> crate::common::Flat {
    let begin = Begin {
        update: update.map(str::to_owned),
        arrived: Arrival::at(unix_us),
        ..asks(&dialog(user), "")
    };
    client.begin(begin).await.map(crate::common::flat).unwrap()
}

/// What goes before this update; the lock is given back.
async fn earlier(
    client: &Client,
    user: u32,
    update: Option<&str>,
    unix_us: i64,
) -> Option<Pending> {
    let begun = begin_at(client, user, update, unix_us).await;
    client.end(begun.grant.unwrap(), Vec::new()).await.unwrap();
    begun.earlier
}

async fn state(client: &Client, update: &str) -> UpdateState {
    inbox::state_of(&**client, "http", update).await.unwrap()
}

async fn due(client: &Client) -> Vec<DialogKey> {
    inbox::due_dialogs(&**client, 100).await.unwrap()
}

pub(crate) async fn what_is_in_the_inbox_goes_first_in_the_order_of_arrival(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let (second, first) = (pending(1, "u2", 2000), pending(1, "u1", 1000));
    accept(&a, &second).await;
    accept(&b, &first).await;
    accept(&b, &pending(2, "u3", 500)).await;
    let oldest = |update, at| earlier(&b, 1, update, at);
    assert_eq!(oldest(None, 0).await, Some(first.clone()));
    assert_eq!(oldest(Some("u9"), 9000).await, Some(first.clone()));
    assert_eq!(oldest(Some("u9"), 1500).await, Some(first.clone()));
    assert_eq!(oldest(Some("u2"), 2000).await, Some(first.clone()));
    // What arrived before it, and it itself, waits for nothing.
    assert_eq!(oldest(Some("u9"), 999).await, None);
    assert_eq!(oldest(Some("u1"), 1000).await, None);
    // Of those of one moment the ids decide, so that each has one place.
    assert_eq!(oldest(Some("u0"), 1000).await, None);
    assert_eq!(oldest(Some("u9"), 1000).await, Some(first.clone()));
    // A turn of this moment knows of it too, and one of another dialog does not.
    let begun = begin(&*a, &dialog(1), "u9").await;
    assert_eq!(begun.earlier, Some(first));
    drop(begun);
    assert_eq!(
        begin(&*a, &DialogKey::new("viber", "1"), "u9")
            .await
            .earlier,
        None
    );
}

pub(crate) async fn one_that_waited_for_the_lock_learns_what_came_meanwhile(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let grant = begin(&*a, &dialog(1), "u1").await.grant.unwrap();
    let waiting = begin_later(&b, &dialog(1), "u2").await;
    arrived(&b).await;
    let update = pending(1, "u1", 1000);
    accept(&a, &update).await;
    a.end(grant, Vec::new()).await.unwrap();
    let begun = waiting.await.unwrap().unwrap();
    assert_eq!(begun.earlier, Some(update));
}

pub(crate) async fn a_commit_takes_its_update_out_of_the_inbox(engine: &dyn Engine) {
    let client = engine.open();
    let (first, second) = (pending(1, "u1", 1000), pending(1, "u2", 2000));
    accept(&client, &first).await;
    accept(&client, &second).await;
    assert_eq!(state(&client, "u1").await, UpdateState::Pending);
    let mut grant = begin_at(&client, 1, None, 0).await.grant.unwrap();
    // A commit that fails leaves it there.
    let failing = Commit {
        statements: vec![Statement::new("INSERT INTO nowhere VALUES (1)", ())],
        origin: Origin::Inbox,
        ..keep("u1", "1")
    };
    let error = client.commit(&mut grant, failing).await.unwrap_err();
    assert!(matches!(error, Error::Statement(_)), "{error}");
    assert_eq!(state(&client, "u1").await, UpdateState::Pending);
    let commit = |update: &str, lock| Commit {
        origin: Origin::Inbox,
        lock,
        ..last(update, "1")
    };
    client
        .commit(&mut grant, commit("u1", LockAfter::Kept))
        .await
        .unwrap();
    let done = UpdateState::Done(Seen {
        digest: b"digest".to_vec(),
        answer: b"answer".to_vec(),
    });
    assert_eq!(state(&client, "u1").await, done);
    assert_eq!(count(&client, "turnkey_inbox").await, 1);
    // With statements of the author's too, under the same lock.
    let with_note = Commit {
        statements: vec![Statement::new("INSERT INTO note VALUES ('x')", ())],
        ..commit("u2", LockAfter::GivenBack)
    };
    client.commit(&mut grant, with_note).await.unwrap();
    assert_eq!(count(&client, "turnkey_inbox").await, 0);
    assert_eq!(earlier(&client, 1, None, 0).await, None);
    // A late copy of it does not come in again.
    accept(&client, &first).await;
    assert_eq!(count(&client, "turnkey_inbox").await, 0);
    assert_eq!(state(&client, "u7").await, UpdateState::Unknown);
}

pub(crate) async fn many_commits_take_out_what_is_theirs(engine: &dyn Engine) {
    let client = engine.open();
    let mut turns = tokio::task::JoinSet::new();
    for user in 0..40 {
        let (client, update) = (client.clone(), format!("u{user}"));
        turns.spawn(async move {
            let is_pending = user % 2 == 0;
            accept(&client, &pending(user, &update, 1000)).await;
            let mut grant = begin_at(&client, user, Some(&update), 1000)
                .await
                .grant
                .unwrap();
            let commit = Commit {
                origin: match is_pending {
                    true => Origin::Inbox,
                    false => Origin::Arrival,
                },
                ..last(if is_pending { &update } else { "other" }, "1")
            };
            // Another turn has this id already.
            let done = client.commit(&mut grant, commit).await;
            assert!(matches!(done, Ok(()) | Err(Error::Seen)), "{done:?}");
        });
    }
    while let Some(done) = turns.join_next().await {
        done.unwrap();
    }
    assert_eq!(count(&client, "turnkey_inbox").await, 20);
    assert_eq!(count(&client, "turnkey_seen").await, 21);
}

pub(crate) async fn the_inbox_takes_an_update_once_and_up_to_its_bounds(engine: &dyn Engine) {
    let client = engine.open();
    let tight = Bounds {
        per_dialog: 2,
        all: 3,
    };
    let put = async |user, update: &str| {
        inbox::accept(&*client, &pending(user, update, 1000), tight).await
    };
    put(1, "u1").await.unwrap();
    put(1, "u1").await.unwrap();
    put(1, "u2").await.unwrap();
    assert_eq!(count(&client, "turnkey_inbox").await, 2);
    assert!(matches!(put(1, "u3").await, Err(Error::Busy(_))));
    // One that is there already is no more at a bound than it was before.
    put(1, "u2").await.unwrap();
    put(2, "u4").await.unwrap();
    assert!(matches!(put(2, "u5").await, Err(Error::Busy(_))));
    assert_eq!(count(&client, "turnkey_inbox").await, 3);
    // At the same time it is one row too.
    let others: Vec<Client> = (0..4).map(|_| engine.open()).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for client in others {
        tasks.spawn(async move { accept(&client, &pending(7, "u7", 1000)).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(count(&client, "turnkey_inbox").await, 4);
}

/// No pause is that long: it was put off by a clock that was wrong.
pub(crate) async fn what_is_due_in_a_day_is_due_now(engine: &dyn Engine) {
    let client = engine.open();
    let day = 86_400_000;
    let put_off = Pending {
        due: now_ms() + day,
        ..pending(1, "u1", 1000)
    };
    accept(&client, &put_off).await;
    assert_eq!(due(&client).await, [dialog(1)]);
    let found = earlier(&client, 1, None, 2000).await.unwrap();
    assert!(found.pause().is_zero());
    // Whoever takes updates goes on from what arrived by that clock.
    let ahead = (now_ms() + day) * 1000;
    accept(&client, &pending(2, "u2", ahead)).await;
    assert_eq!(inbox::latest_arrival(&*client).await.unwrap(), Some(ahead));
}

pub(crate) async fn the_inbox_says_which_dialogs_are_due(engine: &dyn Engine) {
    let client = engine.open();
    assert_eq!(due(&client).await, []);
    let later = |update| Pending {
        due: now_ms() + 45_000,
        ..update
    };
    accept(&client, &pending(1, "u1", 3000)).await;
    accept(&client, &pending(2, "u2", 1000)).await;
    accept(&client, &later(pending(3, "u3", 2000))).await;
    // Due, but behind one that is not.
    accept(&client, &pending(3, "u4", 2001)).await;
    assert_eq!(due(&client).await, [dialog(2), dialog(1)]);
    let one = inbox::due_dialogs(&*client, 1).await.unwrap();
    assert_eq!(one, [dialog(2)]);
    assert_eq!(earlier(&client, 3, None, 0).await, None);
    let before = earlier(&client, 3, Some("u4"), 2001).await;
    assert_eq!(before.map(|p| p.update).as_deref(), Some("u3"));
    // A turn under way will look by itself.
    let grant = begin(&*client, &dialog(2), "u9").await.grant.unwrap();
    assert_eq!(due(&client).await, [dialog(1)]);
    client.end(grant, Vec::new()).await.unwrap();
    // Failed: not before then, and the reason is kept.
    let then = now_ms() + 45_000;
    inbox::note_failure(&*client, &dialog(2), "u2", 3, "no \0 luck", then)
        .await
        .unwrap();
    assert_eq!(due(&client).await, [dialog(1)]);
    let failed = Pending {
        attempts: 3,
        due: then,
        error: Some("no \0 luck".to_owned()),
        ..pending(2, "u2", 1000)
    };
    assert_eq!(earlier(&client, 2, Some("u9"), 9000).await, Some(failed));
}

pub(crate) async fn an_update_that_is_buried_is_answered_and_out_of_the_way(engine: &dyn Engine) {
    let client = engine.open();
    let update = pending(1, "u1", 1000);
    accept(&client, &update).await;
    let letter = letter(&update);
    dead::bury(&*client, &letter).await.unwrap();
    dead::bury(&*client, &letter).await.unwrap();
    assert_eq!(
        state(&client, "u1").await,
        UpdateState::Dead(letter.error.clone())
    );
    assert_eq!(count(&client, "turnkey_inbox").await, 0);
    assert_eq!(due(&client).await, []);
    let begun = begin(&*client, &dialog(1), "u1").await;
    assert!(begun.grant.is_none());
    assert_eq!(begun.seen.unwrap().answer, letter.answer);
    assert_eq!(
        dead::get(&*client, "http", "u1").await.unwrap(),
        Some(letter.clone())
    );
    assert_eq!(dead::get(&*client, "viber", "u1").await.unwrap(), None);
    // A turn that was slower than the burial does not commit.
    let mut grant = begin(&*client, &dialog(1), "u2").await.grant.unwrap();
    let error = client
        .commit(&mut grant, last("u1", "1"))
        .await
        .unwrap_err();
    assert_eq!(error, Error::Seen);
    drop(grant);
    // And one that was faster is not buried.
    turn(&*client, &dialog(1), "u3", "1").await;
    let late = self::letter(&pending(1, "u3", 2000));
    dead::bury(&*client, &late).await.unwrap();
    assert_eq!(dead::get(&*client, "http", "u3").await.unwrap(), None);
    assert!(matches!(state(&client, "u3").await, UpdateState::Done(_)));
}

pub(crate) async fn dead_letters_are_listed_tried_again_and_dropped(engine: &dyn Engine) {
    let client = engine.open();
    let mut letters = Vec::new();
    for (n, id) in ["u2", "u1", "u3"].iter().enumerate() {
        let update = pending(1, id, 1000 + n as i64);
        accept(&client, &update).await;
        // Two of the same moment.
        let letter = DeadLetter {
            died: 5000 + n as i64 / 2,
            ..letter(&update)
        };
        dead::bury(&*client, &letter).await.unwrap();
        letters.push(letter);
    }
    letters.swap(0, 1);
    let list = dead::list(&*client, None, 2).await.unwrap();
    assert_eq!(list, letters[..2]);
    let place = list[1].place();
    let rest = dead::list(&*client, Some(&place), 2).await.unwrap();
    assert_eq!(rest, letters[2..]);
    assert!(!dead::retry(&*client, "http", "none").await.unwrap());
    assert!(dead::retry(&*client, "http", "u1").await.unwrap());
    assert!(!dead::retry(&*client, "http", "u1").await.unwrap());
    assert_eq!(state(&client, "u1").await, UpdateState::Pending);
    let back = earlier(&client, 1, None, 0).await.unwrap();
    let as_new = Pending {
        due: back.due,
        ..pending(1, "u1", 1001)
    };
    assert_eq!(back, as_new);
    assert_eq!(due(&client).await, [dialog(1)]);
    let mut grant = begin_at(&client, 1, Some("u1"), 1001).await.grant.unwrap();
    let commit = Commit {
        origin: Origin::Inbox,
        ..last("u1", "1")
    };
    client.commit(&mut grant, commit).await.unwrap();
    assert!(dead::drop_letter(&*client, "http", "u2").await.unwrap());
    assert!(!dead::drop_letter(&*client, "http", "u2").await.unwrap());
    // Its id stays known: the platform's copy is not run.
    assert!(begin(&*client, &dialog(1), "u2").await.grant.is_none());
    assert_eq!(dead::list(&*client, None, 9).await.unwrap(), letters[2..]);
}

pub(crate) async fn pauses_are_kept_until_they_are_over(engine: &dyn Engine) {
    let client = engine.open();
    let soon = now_ms() + 600_000;
    pauses::set(&*client, "telegram", soon).await.unwrap();
    pauses::set(&*client, "telegram:1", soon + 1).await.unwrap();
    pauses::set(&*client, "telegram", soon + 2).await.unwrap();
    pauses::set(&*client, "over", 1000).await.unwrap();
    let wanted = [
        ("telegram".to_owned(), soon + 2),
        ("telegram:1".to_owned(), soon + 1),
    ];
    assert_eq!(pauses::all(&*engine.open()).await.unwrap(), wanted);
    assert_eq!(count(&client, "turnkey_pause").await, 2);
}

pub(crate) async fn marks_are_kept_for_each_channel(engine: &dyn Engine) {
    let client = engine.open();
    assert_eq!(marks::get(&*client, "vk").await.unwrap(), None);
    for (channel, mark) in [("vk", 7), ("other", u64::MAX), ("vk", 8), ("zero", 0)] {
        marks::set(&*client, channel, mark).await.unwrap();
    }
    let again = engine.open();
    for (channel, mark) in [("vk", 8), ("other", u64::MAX), ("zero", 0)] {
        assert_eq!(marks::get(&*again, channel).await.unwrap(), Some(mark));
    }
    assert!(pauses::all(&*again).await.unwrap().is_empty());
}

pub(crate) async fn a_reset_forgets_the_state_even_under_a_turn(engine: &dyn Engine) {
    let client = engine.open();
    assert!(!admin::reset(&*client, &dialog(1)).await.unwrap());
    turn(&*client, &dialog(1), "u1", "1").await;
    let begun = begin(&*client, &dialog(1), "u2").await;
    assert_eq!(begun.state.as_deref(), Some("1"));
    let mut grant = begun.grant.unwrap();
    assert!(admin::reset(&*engine.open(), &dialog(1)).await.unwrap());
    assert!(!admin::reset(&*client, &dialog(1)).await.unwrap());
    let error = client
        .commit(&mut grant, last("u2", "2"))
        .await
        .unwrap_err();
    assert_eq!(error, Error::Stale);
    drop(grant);
    let detail = admin::dialog(&*client, &dialog(1), 9)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(detail.state, None);
    // It runs again, as the first of a new dialog, and the one after it goes on.
    assert_eq!(turn(&*client, &dialog(1), "u2", "2").await, None);
    let found = turn(&*client, &dialog(1), "u3", "3").await;
    assert_eq!(found.as_deref(), Some("2"));
    assert!(admin::reset(&*client, &dialog(1)).await.unwrap());
    assert_eq!(turn(&*client, &dialog(1), "u4", "4").await, None);
}

pub(crate) async fn an_operator_sees_dialogs_and_what_waits(engine: &dyn Engine) {
    let client = engine.open();
    for user in ["al", "ann", "a_n", "bob"] {
        turn(&*client, &dialog(user), user, r#"{"é":1}"#).await;
    }
    let names = async |user: Option<&str>, after: Option<&DialogKey>, limit| {
        let list = admin::dialogs(&*client, user, after, limit).await.unwrap();
        assert!(list.iter().all(|d| d.state_bytes == Some(8)), "{list:?}");
        list.into_iter()
            .map(|d| d.dialog.user_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(None, None, 9).await, ["a_n", "al", "ann", "bob"]);
    assert_eq!(names(None, None, 2).await, ["a_n", "al"]);
    let after = dialog("al");
    assert_eq!(names(None, Some(&after), 9).await, ["ann", "bob"]);
    assert_eq!(names(Some("nn"), None, 9).await, ["ann"]);
    assert_eq!(names(Some("a_"), None, 9).await, ["a_n"]);
    assert_eq!(names(Some("%"), None, 9).await, [""; 0]);
    let mut grant = begin(&*client, &dialog("bob"), "b2").await.grant.unwrap();
    let fence = grant.fence();
    let commit = Commit {
        replies: vec!["hello".to_owned(), "there".to_owned()],
        history: Some(r#"{"turn":2}"#.to_owned()),
        ..keep("b2", "2")
    };
    client.commit(&mut grant, commit).await.unwrap();
    accept(
        &client,
        &Pending {
            dialog: dialog("bob"),
            ..pending(0, "b3", 1000)
        },
    )
    .await;
    let detail = admin::dialog(&*client, &dialog("bob"), 9)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(detail.state.as_deref(), Some("2"));
    assert_eq!(detail.history, [r#"{"turn":2}"#]);
    assert_eq!((detail.unsent, detail.pending), (2, 1));
    assert!((now_ms() - detail.updated_at).abs() < LONG.as_millis() as i64);
    assert_eq!(
        admin::dialog(&*client, &dialog("x"), 9).await.unwrap(),
        None
    );
    let outbox = admin::outbox(&*client, None, 9).await.unwrap();
    let bodies: Vec<&str> = outbox.iter().map(|line| &*line.body).collect();
    assert_eq!(bodies, ["hello", "there"]);
    assert_eq!(
        (&outbox[1].dialog, outbox[1].id.turn),
        (&dialog("bob"), fence)
    );
    let rest = admin::outbox(&*client, Some(outbox[0].id), 9)
        .await
        .unwrap();
    assert_eq!(rest, outbox[1..]);
    let queues = admin::queues(&*client).await.unwrap();
    assert_eq!((queues.inbox, queues.outbox, queues.dead), (1, 2, 0));
    assert_eq!(queues.oldest_update, Some((dialog("bob"), 1000)));
    let oldest = queues.oldest_reply.unwrap();
    assert_eq!(oldest, (dialog("bob"), detail.updated_at));
}

pub(crate) async fn a_sweep_deletes_what_is_old_and_comes_to_an_end(engine: &dyn Engine) {
    let client = engine.open();
    for n in 0..1100 {
        let kept = Commit {
            history: Some(n.to_string()),
            ..last(&format!("u{n:04}"), "1")
        };
        let mut grant = begin(&*client, &dialog(n % 7), &kept.update)
            .await
            .grant
            .unwrap();
        client.commit(&mut grant, kept).await.unwrap();
    }
    let round = async |kept, cutoff| {
        let mut sweep = Sweep::of(kept);
        let (mut gone, mut steps) = (0, 0);
        loop {
            let step = sweep.step(&*client, cutoff).await.unwrap();
            gone += step.gone;
            steps += 1;
            assert!(steps < 10, "it does not end");
            if step.over {
                return (gone, steps);
            }
        }
    };
    // Young rows stay.
    assert_eq!(round(Kept::Updates, 1000).await, (0, 3));
    assert_eq!(round(Kept::History, 1000).await, (0, 1));
    assert_eq!(count(&client, "turnkey_seen").await, 1100);
    let later = now_ms() + 60_000;
    assert_eq!(round(Kept::Updates, later).await, (1100, 3));
    assert_eq!(round(Kept::History, later).await, (1100, 3));
    assert_eq!(count(&client, "turnkey_seen").await, 0);
    assert_eq!(count(&client, "turnkey_history").await, 0);
    assert_eq!(round(Kept::Updates, later).await, (0, 1));
}
