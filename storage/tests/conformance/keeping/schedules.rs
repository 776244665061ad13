//! Schedules: timers that move on when they fire.

use tokio::task::JoinSet;
use turnkey_storage::schedules::{self, Next, Overview, Ticked};
use turnkey_storage::timers::{self, Timer};
use turnkey_storage::{Change, Commit, DialogKey, Origin, admin, inbox};

use crate::common::{begin, dialog, last};
use crate::engine::{Client, Engine};
use crate::steps::count;

const MONDAYS: &str = "0 9 * * MON Europe/Vienna";

fn schedule(dialog: &DialogKey, name: &str, due: i64) -> Timer {
    Timer {
        dialog: dialog.clone(),
        name: name.to_owned(),
        due,
        update: format!("timer:tick:{due}:{name}"),
        schedule: Some(MONDAYS.to_owned()),
    }
}

fn next(timer: &Timer, due: i64) -> Next {
    Next {
        due,
        update: schedule(&timer.dialog, &timer.name, due).update,
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

/// The turn of an update in the inbox.
async fn done(client: &Client, dialog: &DialogKey, update: &str) {
    let mut grant = begin(&**client, dialog, update).await.grant.unwrap();
    let commit = Commit {
        origin: Origin::Inbox,
        ..last(update, "2")
    };
    client.commit(&mut grant, commit).await.unwrap();
}

async fn waiting(client: &Client, dialog: &DialogKey) -> Vec<String> {
    let rows = inbox::of_dialog(&**client, dialog, 100).await.unwrap();
    rows.into_iter().map(|row| row.update).collect()
}

async fn all(client: &Client) -> Vec<Timer> {
    timers::list(&**client, None, 100).await.unwrap()
}

async fn tick(client: &Client, timer: &Timer, due: i64) -> Ticked {
    let ticks = [(timer, next(timer, due))];
    schedules::tick(&**client, &ticks).await.unwrap()[0]
}

async fn a_schedule_moves_on_when_it_fires(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let odd = DialogKey::new("telegram", "é'\0\\");
    let name = "te\0a'";
    let first = schedule(&odd, name, 1000);
    change(&a, &odd, "u1", timers::set(&first, b"\0body'").into()).await;
    assert_eq!(all(&b).await, std::slice::from_ref(&first));
    // It is no timer that is over then.
    let alone = std::slice::from_ref(&first);
    assert_eq!(timers::fire(&*a, alone).await.unwrap(), 0);
    assert_eq!(tick(&b, &first, 2000).await, Ticked::Fired);
    // Who found the same one does nothing.
    assert_eq!(tick(&a, &first, 2000).await, Ticked::Gone);
    let second = schedule(&odd, name, 2000);
    assert_eq!(all(&a).await, std::slice::from_ref(&second));
    let rows = inbox::of_dialog(&*a, &odd, 10).await.unwrap();
    assert_eq!(
        (rows.len(), &rows[0].update, &rows[0].body[..]),
        (1, &first.update, &b"\0body'"[..])
    );
    done(&a, &odd, &first.update).await;
    assert_eq!(tick(&a, &second, 3000).await, Ticked::Fired);
    assert_eq!(waiting(&b, &odd).await, [&*second.update]);
    done(&a, &odd, &second.update).await;
    // Set anew, it is another one.
    let third = schedule(&odd, name, 3000);
    let anew = schedule(&odd, name, 2500);
    change(&a, &odd, "u2", timers::set(&anew, b"x").into()).await;
    assert_eq!(tick(&b, &third, 4000).await, Ticked::Gone);
    assert_eq!(all(&b).await, std::slice::from_ref(&anew));
    // Moved without a tick.
    let (one, other) = (next(&anew, 2600), next(&anew, 2700));
    assert!(schedules::put(&*b, &anew, &one).await.unwrap());
    assert!(!schedules::put(&*b, &anew, &other).await.unwrap());
    assert_eq!(all(&b).await, [schedule(&odd, name, 2600)]);
    change(&a, &odd, "u3", vec![timers::cancel(&odd, name)]).await;
    assert_eq!(all(&b).await, []);
}

async fn one_tick_at_most_is_not_done(engine: &dyn Engine) {
    let client = engine.open();
    let mut timer = schedule(&dialog(1), "tea", 1000);
    change(&client, &dialog(1), "u1", timers::set(&timer, b"x").into()).await;
    let mut became = Vec::new();
    for due in [2000, 3000, 4000] {
        became.push(tick(&client, &timer, due).await);
        timer = schedule(&dialog(1), "tea", due);
    }
    assert_eq!(became, [Ticked::Fired, Ticked::LeftOut, Ticked::LeftOut]);
    let first = "timer:tick:1000:tea";
    assert_eq!(waiting(&client, &dialog(1)).await, [first]);
    done(&client, &dialog(1), first).await;
    assert_eq!(tick(&client, &timer, 5000).await, Ticked::Fired);
    assert_eq!(waiting(&client, &dialog(1)).await, [timer.update]);
}

async fn the_bots_own_are_as_declared(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let own = |name: &str, due| schedule(&schedules::dialog(name), name, due);
    let body = || b"x".to_vec();
    let users = schedule(&dialog(1), "digest", 7);
    change(&a, &dialog(1), "u1", timers::set(&users, b"x").into()).await;
    let (digest, report) = (own("digest", 1000), own("report", 2000));
    let both = [(digest.clone(), body()), (report.clone(), body())];
    schedules::declare(&*a, &both).await.unwrap();
    // Another box, a little later: they stay as they are, also one that is overdue.
    let later = [(own("digest", 1500), body()), (own("report", 2500), body())];
    schedules::declare(&*b, &later).await.unwrap();
    let shown = schedules::own(&*b, 10).await.unwrap();
    assert_eq!(shown, [digest.clone(), report.clone()]);
    // Its dialog's other timers are the dialog's; a reset leaves the schedule alone.
    let nap = schedule(&report.dialog, "nap", 9);
    change(&a, &report.dialog, "u2", timers::set(&nap, b"x").into()).await;
    assert!(admin::reset(&*a, &report.dialog).await.unwrap());
    let left = [users.clone(), digest.clone(), report.clone()];
    assert_eq!(all(&a).await, left);
    change(&a, &report.dialog, "u3", timers::set(&nap, b"x").into()).await;
    // Declared in another way, and declared no more.
    let changed = Timer {
        schedule: Some("0 8 * * * UTC".to_owned()),
        ..own("digest", 3000)
    };
    let one = [(changed.clone(), body())];
    schedules::declare(&*a, &one).await.unwrap();
    assert_eq!(all(&b).await, [users.clone(), nap.clone(), changed]);
    let over = schedules::overview(&*b, 9 + 5000, 10).await.unwrap();
    assert_eq!(
        (over.waiting, over.overdue, over.next, over.own.len()),
        (3, 1, Some(7), 1)
    );
    schedules::declare(&*a, &[]).await.unwrap();
    assert_eq!(all(&b).await, [users, nap]);
    let over = schedules::overview(&*a, 0, 10).await.unwrap();
    let expected = Overview {
        waiting: 2,
        next: Some(7),
        ..Overview::default()
    };
    assert_eq!(over, expected);
}

/// Declared by several boxes at once, and fired by all of them: each tick is there once.
async fn many_fire_the_same_ticks(engine: &dyn Engine) {
    let clients: Vec<Client> = (0..3).map(|_| engine.open()).collect();
    let names: Vec<String> = (0..10).map(|n| format!("s{n}")).collect();
    let mut tasks = JoinSet::new();
    for client in clients.clone() {
        let names = names.clone();
        tasks.spawn(async move {
            let own = |name: &String| {
                let timer = schedule(&schedules::dialog(name), name, 0);
                (timer, b"x".to_vec())
            };
            let declared: Vec<_> = names.iter().map(own).collect();
            let mut tries = 0;
            // Of two that do it at once, one does it again.
            while let Err(error) = schedules::declare(&*client, &declared).await {
                tries += 1;
                assert!(tries < 20, "{error}");
            }
            let mut fired = 0;
            for _ in 0..20 {
                let due = timers::due_before(&*client, 1000, 20).await.unwrap();
                let on = |timer: &Timer| next(timer, timer.due + 1);
                let ticks: Vec<_> = due.iter().map(|timer| (timer, on(timer))).collect();
                let became = schedules::tick(&*client, &ticks).await.unwrap();
                for (timer, became) in due.iter().zip(became) {
                    if became == Ticked::Fired {
                        fired += 1;
                        done(&client, &timer.dialog, &timer.update).await;
                    }
                }
            }
            fired
        });
    }
    let fired: i64 = tasks.join_all().await.iter().sum();
    assert_eq!(all(&clients[0]).await.len(), names.len());
    assert_eq!(count(&clients[0], "turnkey_inbox").await, 0);
    assert_eq!(count(&clients[0], "turnkey_seen").await, fired);
    assert!(fired >= names.len() as i64, "{fired}");
}

on_every_engine! {
    a_schedule_moves_on_when_it_fires
    one_tick_at_most_is_not_done
    the_bots_own_are_as_declared
    many_fire_the_same_ticks
}
