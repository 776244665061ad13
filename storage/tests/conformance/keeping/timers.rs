//! Timers, which fire into the inbox.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use turnkey_storage::inbox::{self, UpdateState};
use turnkey_storage::timers::{self, Timer};
use turnkey_storage::{Change, Commit, DialogKey, Error, LockAfter, admin};

use crate::common::{begin, dialog, last};
use crate::engine::{Client, Engine};
use crate::keeping::{accept, pending, state};
use crate::steps::{book, count};

fn timer(dialog: &DialogKey, name: &str, due: i64) -> Timer {
    Timer {
        dialog: dialog.clone(),
        name: name.to_owned(),
        due,
        update: format!("timer:{}:{name}:{due}", dialog.user_id),
        schedule: None,
    }
}

/// A turn of the dialog that makes these changes.
async fn change(client: &Client, dialog: &DialogKey, update: &str, changes: Vec<Change>) {
    let mut grant = begin(&**client, dialog, update).await.grant.unwrap();
    let commit = Commit {
        changes,
        ..last(update, "1")
    };
    client.commit(&mut grant, commit).await.unwrap();
}

fn set(timer: &Timer) -> Vec<Change> {
    timers::set(timer, b"\0body'").into()
}

async fn waiting(client: &Client) -> Vec<Timer> {
    timers::list(&**client, None, 100).await.unwrap()
}

async fn a_timer_fires_once_into_the_inbox(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let odd = DialogKey::new("telegram", "é'\0\\");
    let tea = timer(&odd, "te\0a'", 2000);
    let cake = timer(&dialog(2), "cake", 1000);
    change(&a, &odd, "u1", set(&tea)).await;
    change(&a, &dialog(2), "u2", set(&cake)).await;
    assert_eq!(waiting(&b).await, [cake.clone(), tea.clone()]);
    let due = |until| timers::due_before(&*b, until, 10);
    assert_eq!(due(1000).await.unwrap(), []);
    assert_eq!(due(1001).await.unwrap(), std::slice::from_ref(&cake));
    let both = [tea.clone(), cake.clone()];
    assert_eq!(timers::fire(&*b, &both).await.unwrap(), 2);
    assert_eq!(timers::fire(&*a, &both).await.unwrap(), 0);
    assert_eq!(waiting(&a).await, []);
    let rows = inbox::of_dialog(&*a, &odd, 10).await.unwrap();
    let row = rows.first().unwrap();
    assert_eq!(
        (row.update.as_str(), &*row.body),
        (&*tea.update, &b"\0body'"[..])
    );
    assert_eq!((rows.len(), row.attempts, row.due), (1, 0, 0));
    assert!(inbox::of_dialog(&*a, &dialog(2), 10).await.unwrap()[0].arrived > row.arrived);
}

async fn the_later_timer_of_a_name_stands(engine: &dyn Engine) {
    let client = engine.open();
    let (first, second) = (
        timer(&dialog(1), "tea", 1000),
        timer(&dialog(1), "tea", 500),
    );
    let other = timer(&dialog(2), "tea", 700);
    change(&client, &dialog(1), "u1", set(&first)).await;
    change(&client, &dialog(2), "u2", set(&other)).await;
    change(&client, &dialog(1), "u3", set(&second)).await;
    assert_eq!(waiting(&client).await, [second.clone(), other.clone()]);
    // Whoever has seen the one that was replaced fires nothing.
    assert_eq!(timers::fire(&*client, &[first]).await.unwrap(), 0);
    let count = |names| timers::count_others(&*client, &other.dialog, names);
    assert_eq!(count(&[]).await.unwrap(), 1);
    assert_eq!(count(&["x", "tea"]).await.unwrap(), 0);
    change(
        &client,
        &dialog(1),
        "u4",
        vec![timers::cancel(&dialog(1), "tea")],
    )
    .await;
    assert_eq!(timers::fire(&*client, &[second]).await.unwrap(), 0);
    assert_eq!(waiting(&client).await, std::slice::from_ref(&other));
    assert!(
        timers::drop_timer(&*client, &dialog(2), "tea")
            .await
            .unwrap()
    );
    assert!(
        !timers::drop_timer(&*client, &dialog(2), "tea")
            .await
            .unwrap()
    );
    assert_eq!(count_inbox(&client).await, 0);
}

async fn count_inbox(client: &Client) -> i64 {
    count(client, "turnkey_inbox").await
}

async fn a_timer_goes_with_its_commit(engine: &dyn Engine) {
    let client = engine.open();
    let tea = timer(&dialog(1), "tea", 1000);
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    let failing = Commit {
        statements: vec![book("ann", 1), book("ann", 2)],
        changes: set(&tea),
        ..last("u1", "1")
    };
    let failed = client.commit(&mut grant, failing).await;
    assert!(matches!(failed, Err(Error::Statement(_))), "{failed:?}");
    assert_eq!(waiting(&client).await, []);
    let commit = Commit {
        statements: vec![book("ann", 1)],
        changes: set(&tea),
        lock: LockAfter::Kept,
        ..last("u1", "1")
    };
    client.commit(&mut grant, commit).await.unwrap();
    assert_eq!(waiting(&client).await, [tea]);
    drop(grant);
    // A dialog that is forgotten has none.
    assert!(admin::reset(&*client, &dialog(1)).await.unwrap());
    assert_eq!(waiting(&client).await, []);
}

async fn an_update_that_is_known_does_not_fire_again(engine: &dyn Engine) {
    let client = engine.open();
    let tea = timer(&dialog(1), "tea", 1000);
    change(&client, &dialog(1), "u1", set(&tea)).await;
    accept(&client, &pending(1, &tea.update, 5)).await;
    assert_eq!(
        timers::fire(&*client, std::slice::from_ref(&tea))
            .await
            .unwrap(),
        1
    );
    assert_eq!(count_inbox(&client).await, 1);
    let came = state(&client, &tea.update).await;
    assert!(matches!(came, UpdateState::Pending), "{came:?}");
}

/// Fired by many at once, while their dialogs set them anew: each one fires once.
async fn many_fire_the_same_timers(engine: &dyn Engine) {
    let clients: Vec<Client> = (0..3).map(|_| engine.open()).collect();
    let mut tasks = JoinSet::new();
    for user in 0..10 {
        let client = clients[user % 3].clone();
        tasks.spawn(async move {
            for round in 0..10 {
                let timer = timer(&dialog(user), "tea", round);
                let update = format!("{user}.{round}");
                change(&client, &dialog(user), &update, set(&timer)).await;
                tokio::task::yield_now().await;
            }
            0
        });
    }
    for client in clients.clone() {
        tasks.spawn(async move {
            let mut fired = 0;
            for _ in 0..30 {
                let due = timers::due_before(&*client, 1000, 20).await.unwrap();
                fired += timers::fire(&*client, &due).await.unwrap();
            }
            fired
        });
    }
    let mut fired: u64 = tasks.join_all().await.iter().sum();
    let left = timers::due_before(&*clients[0], 1000, 100).await.unwrap();
    fired += timers::fire(&*clients[0], &left).await.unwrap();
    let mut ids = BTreeSet::new();
    for user in 0..10 {
        for row in inbox::of_dialog(&*clients[0], &dialog(user), 100)
            .await
            .unwrap()
        {
            assert!(ids.insert(row.update));
        }
    }
    assert_eq!(ids.len() as u64, fired);
    assert!(ids.len() >= 10, "{ids:?}");
    assert_eq!(waiting(&clients[0]).await, []);
}

on_every_engine! {
    a_timer_fires_once_into_the_inbox
    the_later_timer_of_a_name_stands
    a_timer_goes_with_its_commit
    an_update_that_is_known_does_not_fire_again
    many_fire_the_same_timers
}
