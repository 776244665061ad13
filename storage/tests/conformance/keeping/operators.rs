//! What an operator asks of a database, and does to it.

use turnkey_storage::dead::{self, DeadLetter};
use turnkey_storage::inbox::Pending;
use turnkey_storage::people::{self, People};
use turnkey_storage::person::{self, Person};
use turnkey_storage::{Commit, DialogKey, Error, Storage, admin};

use crate::common::{LONG, begin, dialog, last, turn};
use crate::engine::Engine;
use crate::keeping::{accept, now_ms, pending};
use crate::steps::keep;

async fn a_reset_forgets_the_state_even_under_a_turn(engine: &dyn Engine) {
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

async fn an_operator_sees_dialogs_and_what_waits(engine: &dyn Engine) {
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

async fn names_are_kept_with_a_turn_and_found(engine: &dyn Engine) {
    let client = engine.open();
    let storage: &dyn Storage = &*client;
    let named = async |user: &str, update: &str, name: &str, username: &str| {
        let person = Person::new(name, username, "pt-BR").unwrap();
        let mut grant = begin(storage, &dialog(user), update).await.grant.unwrap();
        let commit = Commit {
            changes: person::met(&dialog(user), &person).into(),
            ..last(update, "1")
        };
        storage.commit(&mut grant, commit).await.unwrap();
        person
    };
    turn(storage, &dialog("10"), "u0", "1").await;
    named("11", "u1", "Zo", "").await;
    let zoe = named("11", "u2", "Zoë_Ärger 🦀 '", "zoe").await;
    let bob = named("12", "u3", "Bob\0", "").await;
    assert_eq!(bob.name(), "Bob");
    // Said again, it is the same.
    named("12", "u4", "Bob", "").await;
    let found = async |text: &str| {
        let list = admin::dialogs(storage, Some(text), None, 9).await.unwrap();
        let found = list
            .into_iter()
            .map(|line| (line.dialog.user_id, line.person));
        found.collect::<Vec<_>>()
    };
    let only_zoe = [("11".to_owned(), Some(zoe.clone()))];
    for text in ["zoë_ä", "ÄRGER", "@zoe", "11", "🦀"] {
        assert_eq!(found(text).await, only_zoe, "{text}");
    }
    assert_eq!(found("zo%").await, []);
    assert_eq!(found("1").await.len(), 3);
    assert_eq!(found("10").await, [("10".to_owned(), None)]);
    let recent = people::recent(storage, 9).await.unwrap();
    let told: Vec<_> = recent.iter().filter_map(|d| d.person.as_ref()).collect();
    assert!(told.contains(&&zoe) && told.contains(&&bob), "{recent:?}");
    let detail = async || {
        admin::dialog(storage, &dialog("11"), 9)
            .await
            .unwrap()
            .unwrap()
    };
    assert_eq!(detail().await.person, Some(zoe));
    // With the state the name is forgotten.
    assert!(admin::reset(storage, &dialog("11")).await.unwrap());
    assert_eq!(detail().await.person, None);
    assert_eq!(found("zoe").await, []);
}

async fn what_is_open_of_one_dialog_is_told(engine: &dyn Engine) {
    let client = engine.open();
    let storage: &dyn Storage = &*client;
    for (user, update) in [("ann", "a1"), ("bob", "b1")] {
        let mut grant = begin(storage, &dialog(user), update).await.grant.unwrap();
        let commit = Commit {
            replies: vec![format!("to {user}"), "more".to_owned()],
            history: Some(format!("{{\"of\":\"{user}\"}}")),
            ..keep(update, "1")
        };
        storage.commit(&mut grant, commit).await.unwrap();
    }
    let unsent = admin::unsent_of(storage, &dialog("ann"), 9).await.unwrap();
    let bodies: Vec<&str> = unsent.iter().map(|line| &*line.body).collect();
    assert_eq!(bodies, ["to ann", "more"]);
    assert_eq!(
        admin::unsent_of(storage, &dialog("ann"), 1)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        admin::unsent_of(storage, &dialog("zoe"), 9).await.unwrap(),
        []
    );
    let detail = admin::dialog(storage, &dialog("ann"), 9).await.unwrap();
    let detail = detail.unwrap();
    assert_eq!(detail.moments, [detail.updated_at]);
    let letter = |user: &str, update: &str| DeadLetter {
        dialog: dialog(user),
        update: update.to_owned(),
        arrived: 1000,
        digest: Vec::new(),
        answer: Vec::new(),
        body: b"x".to_vec(),
        error: "no".to_owned(),
        attempts: 3,
        died: 2000,
    };
    for (user, update) in [("ann", "a2"), ("bob", "b2"), ("ann", "a3")] {
        dead::bury(storage, &letter(user, update)).await.unwrap();
    }
    let letters = dead::of_dialog(storage, &dialog("ann"), 9).await.unwrap();
    assert_eq!(letters, [letter("ann", "a2"), letter("ann", "a3")]);
}

async fn dialogs_are_counted_and_those_with_a_turn_lately(engine: &dyn Engine) {
    let client = engine.open();
    let storage: &dyn Storage = &*client;
    assert_eq!(people::count(storage, 0).await.unwrap(), People::default());
    for user in ["ann", "ann@group", "@group"] {
        turn(storage, &dialog(user), user, "1").await;
    }
    let counted = people::count(storage, 0).await.unwrap();
    assert_eq!((counted.dialogs, counted.users), (3, 1));
    assert_eq!(counted.active, 3);
    let recent = people::recent(storage, 2).await.unwrap();
    assert_eq!(recent.len(), 2);
    assert!(recent[0].updated_at >= recent[1].updated_at, "{recent:?}");
    let later = people::count(storage, i64::MAX).await.unwrap();
    assert_eq!((later.dialogs, later.active), (3, 0));
}

on_every_engine! {
    dialogs_are_counted_and_those_with_a_turn_lately
    names_are_kept_with_a_turn_and_found
    what_is_open_of_one_dialog_is_told
    a_reset_forgets_the_state_even_under_a_turn
    an_operator_sees_dialogs_and_what_waits
}
