//! Steps, which a turn keeps before its commit.

use tokio::task::JoinSet;
use turnkey_storage::inbox::{Bounds, Pending, UpdateState};
use turnkey_storage::steps::{self, Kept, NOTE, Place, Step};
use turnkey_storage::{Commit, DialogKey, Error, Origin, admin, dead, inbox};

use crate::common::{begin, dialog, last, turn};
use crate::engine::{Client, Engine};
use crate::keeping::{ROOMY, accept, letter, pending, state};
use crate::steps::count;

const IN_INBOX: Place<'static> = Place::Inbox {
    attempt: 1,
    note: None,
};

fn step(name: &str, value: &str) -> Step {
    Step {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// Keeps a step of an update that has just arrived.
async fn first(client: &Client, row: &Pending, step: &Step) -> Result<Kept, Error> {
    let place = Place::Arrival(row, ROOMY);
    steps::keep(&**client, &row.dialog, &row.update, step, place).await
}

async fn keep(client: &Client, row: &Pending, step: &Step) -> Result<Kept, Error> {
    steps::keep(&**client, &row.dialog, &row.update, step, IN_INBOX).await
}

async fn of(client: &Client, row: &Pending) -> Vec<Step> {
    steps::of(&**client, &row.dialog, &row.update)
        .await
        .unwrap()
}

async fn commit(client: &Client, row: &Pending) {
    let begun = begin(&**client, &row.dialog, &row.update).await;
    let commit = Commit {
        origin: Origin::Inbox,
        changes: steps::forget(&row.dialog, &row.update).into(),
        ..last(&row.update, "1")
    };
    client
        .commit(&mut begun.grant.unwrap(), commit)
        .await
        .unwrap();
}

async fn the_first_step_takes_its_update_into_the_inbox(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let odd = DialogKey::new("telegram", "é'\0\\");
    let row = Pending {
        dialog: odd,
        attempts: 2,
        ..pending(1, "u\0'1", 1000)
    };
    let charge = step("char\0ge'", r#"{"receipt":"é \\u0000 🦀"}"#);
    assert_eq!(first(&a, &row, &charge).await, Ok(Kept::New));
    assert_eq!(of(&b, &row).await, std::slice::from_ref(&charge));
    let rows = inbox::of_dialog(&*b, &row.dialog, 10).await.unwrap();
    assert_eq!(rows, std::slice::from_ref(&row));
    // Executed again, since its answer was lost, it is as it was.
    assert_eq!(first(&a, &row, &charge).await, Ok(Kept::New));
    let ship = step("ship", "2");
    assert_eq!(keep(&b, &row, &ship).await, Ok(Kept::New));
    assert_eq!(of(&a, &row).await, [charge, ship]);
    assert_eq!(count(&a, "turnkey_inbox").await, 1);
    commit(&a, &row).await;
    assert_eq!(count(&a, "turnkey_step").await, 0);
    assert_eq!(count(&a, "turnkey_inbox").await, 0);
}

async fn of_two_results_the_first_stands(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let row = pending(1, "u1", 1000);
    assert_eq!(first(&a, &row, &step("charge", "1")).await, Ok(Kept::New));
    let before = Ok(Kept::Before("1".to_owned()));
    assert_eq!(keep(&b, &row, &step("charge", "2")).await, before);
    // Likewise for whoever does not know of the row in the inbox.
    let again = pending(1, "u1", 2000);
    assert_eq!(first(&b, &again, &step("charge", "2")).await, before);
    assert_eq!(of(&a, &row).await, [step("charge", "1")]);
    // A row that was taken in by itself says from then on that it was tried.
    let tried = pending(2, "u2", 1000);
    accept(&a, &tried).await;
    assert_eq!(keep(&a, &tried, &step("charge", "3")).await, Ok(Kept::New));
    let rows = inbox::of_dialog(&*a, &tried.dialog, 10).await.unwrap();
    assert_eq!(rows[0].attempts, 1);
    // The first note stands, too.
    for note in ["[1]", "[2]"] {
        let place = Place::Inbox {
            attempt: 1,
            note: Some(note),
        };
        let ship = step("ship", "4");
        let kept = steps::keep(&*a, &tried.dialog, "u2", &ship, place).await;
        assert_eq!(kept, Ok(Kept::New));
    }
    let all = [step(NOTE, "[1]"), step("charge", "3"), step("ship", "4")];
    assert_eq!(of(&b, &tried).await, all);
}

/// Nothing is kept of an update that is done, and nothing is left of it.
async fn a_turn_that_is_late_keeps_nothing(engine: &dyn Engine) {
    let client = engine.open();
    let late = step("late", "1");
    let row = pending(1, "u1", 1000);
    turn(&*client, &row.dialog, "u1", "1").await;
    assert_eq!(first(&client, &row, &late).await, Err(Error::Stale));
    assert_eq!(keep(&client, &row, &late).await, Err(Error::Stale));
    let dead = pending(1, "u2", 1000);
    dead::bury(&*client, &letter(&dead)).await.unwrap();
    assert_eq!(first(&client, &dead, &late).await, Err(Error::Stale));
    // Of another dialog's update under the same id neither.
    accept(&client, &pending(2, "u3", 1000)).await;
    let mine = pending(1, "u3", 1000);
    assert_eq!(keep(&client, &mine, &late).await, Err(Error::Seen));
    assert_eq!(first(&client, &mine, &late).await, Err(Error::Seen));
    // One that another worker committed while the step was kept.
    let row = pending(3, "u4", 1000);
    assert_eq!(first(&client, &row, &late).await, Ok(Kept::New));
    turn(&*client, &row.dialog, "u4", "1").await;
    dead::bury(&*client, &letter(&row)).await.unwrap();
    assert!(matches!(state(&client, "u4").await, UpdateState::Done(_)));
    assert_eq!(count(&client, "turnkey_step").await, 0);
    let row = pending(4, "u5", 1000);
    assert_eq!(first(&client, &row, &late).await, Ok(Kept::New));
    turn(&*client, &row.dialog, "u5", "1").await;
    inbox::forget(&*client, "http", "u5").await.unwrap();
    assert_eq!(count(&client, "turnkey_step").await, 0);
}

async fn a_full_inbox_takes_no_step(engine: &dyn Engine) {
    let client = engine.open();
    let full = Bounds {
        per_dialog: 1,
        all: 10,
    };
    accept(&client, &pending(1, "u1", 1000)).await;
    let row = pending(1, "u2", 2000);
    let place = Place::Arrival(&row, full);
    let charge = step("charge", "1");
    let refused = steps::keep(&*client, &row.dialog, "u2", &charge, place).await;
    assert!(matches!(refused, Err(Error::Busy(_))), "{refused:?}");
    assert_eq!(count(&client, "turnkey_step").await, 0);
}

async fn an_update_that_is_given_up_has_its_steps(engine: &dyn Engine) {
    let client = engine.open();
    let charge = step("charge", "1");
    for update in ["u1", "u2", "u3"] {
        let row = pending(1, update, 1000);
        assert_eq!(first(&client, &row, &charge).await, Ok(Kept::New));
        dead::bury(&*client, &letter(&row)).await.unwrap();
    }
    let row = pending(1, "u1", 1000);
    assert!(dead::retry(&*client, "http", "u1").await.unwrap());
    assert_eq!(of(&client, &row).await, std::slice::from_ref(&charge));
    let back = inbox::of_dialog(&*client, &row.dialog, 10).await.unwrap();
    // Its error says that there are some.
    assert_eq!((back[0].attempts, back[0].error.is_some()), (0, true));
    commit(&client, &row).await;
    assert!(dead::drop_letter(&*client, "http", "u2").await.unwrap());
    assert_eq!(count(&client, "turnkey_step").await, 1);
    // A dialog that is forgotten has none.
    admin::reset(&*client, &dialog(1)).await.unwrap();
    assert_eq!(count(&client, "turnkey_step").await, 0);
}

/// Many that have lost their locks keep steps of updates that others commit: whoever is late
/// learns it, and no step is left alone.
async fn no_step_outlives_its_update(engine: &dyn Engine) {
    let clients: Vec<Client> = (0..3).map(|_| engine.open()).collect();
    for round in 0..12 {
        let row = pending(1, &format!("u{round}"), 1000 + round);
        let mut tasks = JoinSet::new();
        for (n, client) in clients.iter().enumerate() {
            let (client, row) = (client.clone(), row.clone());
            tasks.spawn(async move {
                let charge = step("charge", &n.to_string());
                let kept = first(&client, &row, &charge).await;
                assert!(matches!(kept, Ok(_) | Err(Error::Stale)), "{kept:?}");
                match n {
                    0 => commit(&client, &row).await,
                    _ => drop(keep(&client, &row, &step(&format!("s{n}"), "1")).await),
                }
            });
        }
        tasks.join_all().await;
        // The row of one that was late is found, and taken out.
        inbox::forget(&*clients[0], "http", &row.update)
            .await
            .unwrap();
        assert_eq!(count(&clients[0], "turnkey_inbox").await, 0);
        assert_eq!(count(&clients[0], "turnkey_step").await, 0);
    }
}

on_every_engine! {
    the_first_step_takes_its_update_into_the_inbox
    of_two_results_the_first_stands
    a_turn_that_is_late_keeps_nothing
    a_full_inbox_takes_no_step
    an_update_that_is_given_up_has_its_steps
    no_step_outlives_its_update
}
