//! A database with a bit of everything, and what must hold wherever its copy is served.

use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinSet;
use turnkey_storage::callbacks::Callback;
use turnkey_storage::copy::{MAX_BYTES, MAX_ROWS};
use turnkey_storage::person::Person;
use turnkey_storage::sqlite::SqliteStorage;
use turnkey_storage::steps::{Place, Step};
use turnkey_storage::timers::Timer;
use turnkey_storage::{
    Commit, DialogKey, ReplyId, Seen, Statement, Storage, admin, broadcasts, callbacks, dead,
    inbox, marks, messages, overlaps, pauses, person, replies, steps, taken, timers,
};

use crate::common::{Served, begin, block_on, dialog, last, turn};

pub(crate) const AWKWARD: &[&str] = &["ann", "b\0b", "🦀\u{1}\u{1}0", "tab\t\\N\\.\r\n'\"", ""];

pub(crate) const NOTES: &str =
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, data BLOB, size DOUBLE PRECISION)";

/// Would make a second row of each that is copied.
pub(crate) const DOUBLES: &str = "CREATE TRIGGER doubles AFTER INSERT ON notes BEGIN
     INSERT INTO notes (body) VALUES (new.body); END";

/// A bit of everything, and more than a batch of it.
async fn fill(storage: Arc<SqliteStorage>) {
    for (n, user) in AWKWARD.iter().enumerate() {
        for round in 0..3 {
            let update = format!("{user}{round}");
            let mut grant = begin(&*storage, &dialog(user), &update)
                .await
                .grant
                .unwrap();
            let commit = Commit {
                state: match n {
                    0 => format!("\"{}\"", "x".repeat(MAX_BYTES)),
                    _ => format!("{{\"text\":\"{round}🦀\"}}"),
                },
                digest: (0..=255).collect(),
                answer: format!("{user}\0{round}").into_bytes(),
                replies: vec![format!("{user} first"), format!("second {round}")],
                history: Some(format!("[{round}, \"é\"]")),
                ..last(&update, "")
            };
            storage.commit(&mut grant, commit).await.unwrap();
        }
    }
    let mut many = JoinSet::new();
    for n in 0..MAX_ROWS + 100 {
        let storage = storage.clone();
        many.spawn(async move {
            turn(
                &*storage,
                &dialog(format!("many {n}")),
                &format!("many {n}"),
                "1",
            )
            .await;
        });
    }
    many.join_all().await;
    keep_beside(&*storage).await;
    let insert = "INSERT INTO notes (id, body, data, size) VALUES (?1, ?2, ?3, ?4)";
    let notes = vec![
        Statement::new(insert, (7, "a\tb\\\n🦀", vec![0_u8, 255, 92], 0.1)),
        Statement::new(insert, (8, None::<String>, None::<Vec<u8>>, 1e300)),
        Statement::new(insert, (-9, "", Vec::<u8>::new(), -2.0)),
        Statement::new(insert, (10, "12", None::<Vec<u8>>, None::<f64>)),
    ];
    storage.write(notes).await.unwrap();
}

/// The inbox, dead letters, a pause, names, a broadcast and a state that was forgotten.
async fn keep_beside(storage: &dyn Storage) {
    let made_of = broadcasts::New {
        audience: broadcasts::Audience {
            filter: Some("user_id <> 'x'".to_owned()),
            ..broadcasts::Audience::default()
        },
        body: "\0 'é'".to_owned(),
        rate: Some(7),
    };
    let broadcast = broadcasts::create(storage, &made_of).await.unwrap();
    for (n, user) in AWKWARD.iter().enumerate() {
        let pending = inbox::Pending {
            dialog: dialog(user),
            update: format!("{user} waits"),
            arrived: n as i64,
            body: b"\0\xff".to_vec(),
            attempts: 1,
            due: 0,
            error: (n > 0).then(|| format!("because of {user}")),
        };
        let bounds = inbox::Bounds {
            per_dialog: 10,
            all: 100,
        };
        inbox::accept(storage, &pending, bounds).await.unwrap();
        let step = Step {
            name: format!("{user}'s"),
            value: format!("{{\"n\":{n},\"text\":\"🦀\\\\\"}}"),
        };
        let place = Place::Inbox {
            attempt: 1,
            note: None,
        };
        steps::keep(storage, &pending.dialog, &pending.update, &step, place)
            .await
            .unwrap();
        let letter = dead::DeadLetter {
            // Of `http` nobody can be told anything.
            dialog: DialogKey::new("telegram", *user),
            update: format!("{user} is dead"),
            arrived: 1,
            digest: Vec::new(),
            answer: b"\0".to_vec(),
            body: pending.body.clone(),
            error: (*user).to_owned(),
            attempts: 5,
            died: 7,
        };
        // As that of a broadcast: it leaves the inbox, and is one that was not reached.
        let row = inbox::Pending {
            dialog: letter.dialog.clone(),
            update: letter.update.clone(),
            body: letter.body.clone(),
            ..pending
        };
        inbox::relay(storage, &[row]).await.unwrap();
        broadcasts::bury_update(storage, broadcast, &letter)
            .await
            .unwrap();
    }
    // One that failed, and one that was given up.
    turn(storage, &dialog("failing"), "failing", "1").await;
    let mut grant = begin(storage, &dialog("failing"), "failing 2")
        .await
        .grant
        .unwrap();
    let id = |index| ReplyId {
        turn: grant.fence(),
        index,
    };
    let ids = [id(0), id(1), id(2)];
    let timer = |name: &str, due| {
        let timer = Timer {
            dialog: dialog("failing"),
            name: name.to_owned(),
            due,
            update: format!("timer:{name}"),
            schedule: (due > 0).then(|| "0 9 * * MON UTC".to_owned()),
        };
        timers::set(&timer, b"\0\xff'")
    };
    let callback = |hash: &str, taken: &str| {
        callbacks::open(&Callback {
            hash: hash.to_owned(),
            dialog: dialog("failing"),
            name: "pa\0id 🦀".to_owned(),
            expires: i64::MAX,
            taken: taken.to_owned(),
            body: b"\0\xff'".to_vec(),
        })
    };
    let zoe = Person::new("Zoë 🦀 '", "zoe", "de").unwrap();
    let commit = Commit {
        changes: [
            &timer("te\0a 🦀", i64::MAX)[..],
            &timer("'", 0),
            &overlaps::set(&dialog("failing"), "burst 2s"),
            &person::met(&dialog("failing"), &zoe),
            &[callback("ab", ""), callback("cd", "\0'")],
        ]
        .concat(),
        replies: vec![
            "dead \0".to_owned(),
            "dead too".to_owned(),
            "fails".to_owned(),
        ],
        ..last("failing 2", "2")
    };
    storage.commit(&mut grant, commit).await.unwrap();
    let failed = replies::Waiting {
        attempts: 3,
        since: 4,
    };
    let of = dialog("failing");
    for id in &ids[..2] {
        replies::bury(storage, &of, *id, &failed, "\0 no")
            .await
            .unwrap();
    }
    replies::note(storage, &of, ids[2], &failed, "🦀")
        .await
        .unwrap();
    pauses::set(storage, "telegram \0", i64::MAX).await.unwrap();
    marks::set(storage, "vk \0", u64::MAX).await.unwrap();
    for user in AWKWARD {
        let name = format!("menu {user}");
        messages::set(storage, &dialog(user), &name, user)
            .await
            .unwrap();
    }
    let kept = taken::keep(storage, &of, ids[2], "wamid \0 🦀", None).await;
    kept.unwrap();
    turn(storage, &dialog("forgotten"), "forgotten", "1").await;
    assert!(admin::reset(storage, &dialog("forgotten")).await.unwrap());
}

/// A file that was filled and is not served any more.
pub(crate) fn filled(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("from.db");
    let mut served = Served::at(&path, &[NOTES]);
    served.start_writer(Vec::new());
    block_on(async { fill(Arc::new(served.open())).await });
    served.finish();
    path
}

/// What must hold wherever the awkward dialogs are served.
pub(crate) async fn goes_on(storage: &dyn Storage) -> u64 {
    let mut largest = 0;
    for user in AWKWARD {
        let seen = storage
            .begin(crate::common::asks(&dialog(user), &format!("{user}1")))
            .await
            .map(crate::common::flat)
            .unwrap();
        let expected = Seen {
            digest: (0..=255).collect(),
            answer: format!("{user}\0{}", 1).into_bytes(),
        };
        assert_eq!(seen.seen, Some(expected));
        drop(seen);
        let new = format!("{user} new");
        let begun = begin(storage, &dialog(user), &new).await;
        let bodies: Vec<&str> = begun.unsent.iter().map(|u| u.body.as_str()).collect();
        let first = format!("{user} first");
        assert_eq!(
            bodies,
            [&first, "second 0", &first, "second 1", &first, "second 2"]
        );
        assert!(begun.unsent.is_sorted_by_key(|u| u.id));
        let mut grant = begun.grant.unwrap();
        assert!(begun.unsent.iter().all(|u| u.id.turn < grant.fence()));
        largest = largest.max(grant.fence().0);
        let sent = begun.unsent.iter().map(|u| u.id).collect();
        storage.sent(&grant, sent).await.unwrap();
        storage.commit(&mut grant, last(&new, "1")).await.unwrap();
    }
    largest
}

pub(crate) async fn has_every_unsent(storage: &dyn Storage) {
    let mut users: Vec<DialogKey> = storage.dialogs_with_unsent(100).await.unwrap();
    users.sort();
    let mut expected: Vec<DialogKey> = AWKWARD.iter().map(dialog).collect();
    expected.push(dialog("failing"));
    expected.sort();
    assert_eq!(users, expected);
}
