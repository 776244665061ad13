//! Callbacks, which others take once.

use tokio::task::JoinSet;
use turnkey_storage::callbacks::{self, Callback, Taken};
use turnkey_storage::inbox::{self, Pending, UpdateState};
use turnkey_storage::retention::{Kept, Sweep};
use turnkey_storage::{Commit, DialogKey, Error, admin};

use crate::common::{begin, dialog, last};
use crate::engine::{Client, Engine};
use crate::keeping::{accept, pending, state};
use crate::steps::{book, count};

const SOON: i64 = 1000;

fn callback(dialog: &DialogKey, hash: &str) -> Callback {
    Callback {
        hash: hash.to_owned(),
        dialog: dialog.clone(),
        name: "pa\0id'".to_owned(),
        expires: SOON,
        taken: String::new(),
        body: b"\0\xff'".to_vec(),
    }
}

/// A turn of the dialog that opens these.
async fn open(client: &Client, dialog: &DialogKey, update: &str, opened: &[Callback]) {
    let mut grant = begin(&**client, dialog, update).await.grant.unwrap();
    let commit = Commit {
        changes: opened.iter().map(callbacks::open).collect(),
        ..last(update, "1")
    };
    client.commit(&mut grant, commit).await.unwrap();
}

fn update(dialog: &DialogKey, hash: &str) -> Pending {
    Pending {
        dialog: dialog.clone(),
        update: format!("callback:{hash}"),
        body: b"\0what came'".to_vec(),
        ..pending(1, "", 5)
    }
}

async fn take(client: &Client, of: &Callback, by: &str, now: i64) -> Taken {
    let update = update(&of.dialog, &of.hash);
    let taken = callbacks::take(&**client, &of.hash, by, &update, now);
    taken.await.unwrap()
}

async fn a_callback_is_taken_once(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let odd = DialogKey::new("telegram", "é'\0\\");
    let paid = callback(&odd, "ab");
    open(&a, &odd, "u1", std::slice::from_ref(&paid)).await;
    let found = |client: Client| async move { callbacks::find(&*client, "ab").await.unwrap() };
    assert_eq!(found(b.clone()).await.as_ref(), Some(&paid));
    assert_eq!(callbacks::find(&*b, "xx").await.unwrap(), None);
    assert_eq!(take(&b, &paid, "one", SOON - 1).await, Taken::ByThis);
    assert_eq!(take(&a, &paid, "one", SOON - 1).await, Taken::ByThis);
    let other = Taken::ByOther("one".to_owned());
    assert_eq!(take(&a, &paid, "two\0", SOON - 1).await, other);
    assert_eq!(take(&a, &paid, "two\0", SOON + 1).await, other);
    let rows = inbox::of_dialog(&*a, &odd, 10).await.unwrap();
    let row = rows.first().unwrap();
    assert_eq!((rows.len(), row.update.as_str()), (1, "callback:ab"));
    assert_eq!(
        (&*row.body, row.attempts, row.due),
        (&b"\0what came'"[..], 0, 0)
    );
    // Its row stays for a while, whatever becomes of the update.
    let taken = found(a.clone()).await.unwrap();
    assert_eq!((taken.expires, taken.taken.as_str()), (SOON - 1, "one"));
    let mut sweep = Sweep::of(Kept::Callbacks);
    assert_eq!(sweep.step(&*a, SOON - 1).await.unwrap().gone, 0);
    assert_eq!(sweep.step(&*a, SOON).await.unwrap().gone, 1);
    assert_eq!(take(&a, &paid, "two", SOON - 1).await, Taken::Unknown);
    assert_eq!(count(&a, "turnkey_inbox").await, 1);
}

async fn a_callback_has_its_time(engine: &dyn Engine) {
    let client = engine.open();
    let (first, second) = (callback(&dialog(1), "ab"), callback(&dialog(1), "cd"));
    let both = [first.clone(), second.clone()];
    open(&client, &dialog(1), "u1", &both).await;
    let open = |now| callbacks::count_open(&*client, &first.dialog, now);
    assert_eq!(open(SOON - 1).await.unwrap(), 2);
    assert_eq!(open(SOON).await.unwrap(), 0);
    assert_eq!(callbacks::count_open(&*client, &dialog(2), 0).await, Ok(0));
    assert_eq!(take(&client, &first, "one", SOON).await, Taken::TooLate);
    assert_eq!(take(&client, &first, "one", SOON - 1).await, Taken::ByThis);
    assert_eq!(open(SOON - 1).await.unwrap(), 1);
    assert_eq!(count(&client, "turnkey_inbox").await, 1);
}

async fn operators_see_what_is_open(engine: &dyn Engine) {
    let client = engine.open();
    let (first, mut second) = (callback(&dialog(1), "ab"), callback(&dialog(2), "cd"));
    second.expires = 500;
    open(&client, &dialog(1), "u1", std::slice::from_ref(&first)).await;
    open(&client, &dialog(2), "u2", std::slice::from_ref(&second)).await;
    let list = async |dialog: Option<&DialogKey>, now, limit| {
        let listed = callbacks::list(&*client, dialog, now, limit);
        listed.await.unwrap()
    };
    let both = [second.clone(), first.clone()];
    assert_eq!(list(None, 0, 10).await, both);
    assert_eq!(list(None, 0, 1).await, both[..1]);
    assert_eq!(list(None, 500, 10).await, both[1..]);
    assert_eq!(list(Some(&first.dialog), 0, 10).await, both[1..]);
    assert_eq!(take(&client, &first, "one", 0).await, Taken::ByThis);
    assert_eq!(list(Some(&first.dialog), 0, 10).await, []);
    let drop = async |hash| callbacks::drop_callback(&*client, hash).await.unwrap();
    assert!(drop("cd").await);
    assert!(!drop("cd").await);
    assert_eq!(take(&client, &second, "one", 0).await, Taken::Unknown);
}

async fn a_callback_goes_with_its_commit(engine: &dyn Engine) {
    let client = engine.open();
    let paid = callback(&dialog(1), "ab");
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    let failing = Commit {
        statements: vec![book("ann", 1), book("ann", 2)],
        changes: vec![callbacks::open(&paid)],
        ..last("u1", "1")
    };
    let failed = client.commit(&mut grant, failing).await;
    assert!(matches!(failed, Err(Error::Statement(_))), "{failed:?}");
    assert_eq!(callbacks::find(&*client, "ab").await.unwrap(), None);
    drop(grant);
    open(&client, &dialog(1), "u2", std::slice::from_ref(&paid)).await;
    // The same secret again, by mistake: the first stands.
    let same = Callback {
        dialog: dialog(2),
        ..paid.clone()
    };
    open(&client, &dialog(2), "u3", &[same]).await;
    assert_eq!(
        callbacks::find(&*client, "ab").await.unwrap(),
        Some(paid.clone())
    );
    // A dialog that is forgotten has none.
    assert!(admin::reset(&*client, &dialog(1)).await.unwrap());
    assert_eq!(take(&client, &paid, "one", 0).await, Taken::Unknown);
}

async fn an_update_that_is_known_does_not_come_again(engine: &dyn Engine) {
    let client = engine.open();
    let paid = callback(&dialog(1), "ab");
    open(&client, &dialog(1), "u1", std::slice::from_ref(&paid)).await;
    accept(&client, &pending(1, "callback:ab", 5)).await;
    assert_eq!(take(&client, &paid, "one", 0).await, Taken::ByThis);
    assert_eq!(count(&client, "turnkey_inbox").await, 1);
    let came = state(&client, "callback:ab").await;
    assert!(matches!(came, UpdateState::Pending), "{came:?}");
}

/// Taken by many at once: each by one.
async fn many_take_the_same_callbacks(engine: &dyn Engine) {
    let clients: Vec<Client> = (0..3).map(|_| engine.open()).collect();
    let all: Vec<Callback> = (0..10)
        .map(|n| callback(&dialog(n), &format!("hash{n}")))
        .collect();
    for (n, one) in all.iter().enumerate() {
        open(
            &clients[0],
            &one.dialog,
            &format!("u{n}"),
            std::slice::from_ref(one),
        )
        .await;
    }
    let mut tasks = JoinSet::new();
    for taker in 0..6 {
        let (client, all) = (clients[taker % 3].clone(), all.clone());
        tasks.spawn(async move {
            let mut taken = 0;
            for one in &all {
                let by = format!("taker {taker}");
                taken += u64::from(take(&client, one, &by, 0).await == Taken::ByThis);
            }
            taken
        });
    }
    let taken: u64 = tasks.join_all().await.iter().sum();
    assert_eq!(taken, 10);
    assert_eq!(count(&clients[0], "turnkey_inbox").await, 10);
}

on_every_engine! {
    a_callback_is_taken_once
    a_callback_has_its_time
    operators_see_what_is_open
    a_callback_goes_with_its_commit
    an_update_that_is_known_does_not_come_again
    many_take_the_same_callbacks
}
