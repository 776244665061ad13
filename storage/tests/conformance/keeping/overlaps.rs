//! What dialogs say of quick messages.

use turnkey_storage::{Change, Commit, DialogKey, Error, LockAfter, admin, overlaps};

use crate::common::{begin, dialog, last};
use crate::engine::{Client, Engine};
use crate::steps::book;

/// A turn of the dialog that makes these changes.
async fn change(client: &Client, dialog: &DialogKey, update: &str, changes: Vec<Change>) {
    let mut grant = begin(&**client, dialog, update).await.grant.unwrap();
    let commit = Commit {
        changes,
        ..last(update, "1")
    };
    client.commit(&mut grant, commit).await.unwrap();
}

async fn of(client: &Client, dialog: &DialogKey) -> Option<String> {
    overlaps::of(&**client, dialog).await.unwrap()
}

async fn a_dialogs_own_holds_until_it_is_said_anew(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let odd = DialogKey::new("telegram", "é'\0\\");
    assert!(!overlaps::any(&*a).await.unwrap());
    assert_eq!(of(&a, &odd).await, None);
    change(&a, &odd, "u1", overlaps::set(&odd, "latest").into()).await;
    assert_eq!(of(&b, &odd).await.as_deref(), Some("latest"));
    assert_eq!(of(&b, &DialogKey::new("vk", "é'\0\\")).await, None);
    assert!(overlaps::any(&*b).await.unwrap());
    change(&b, &odd, "u2", overlaps::set(&odd, "burst 2s").into()).await;
    assert_eq!(of(&a, &odd).await.as_deref(), Some("burst 2s"));
    change(&a, &odd, "u3", vec![overlaps::forget(&odd)]).await;
    assert_eq!(of(&b, &odd).await, None);
    // One that has none forgets nothing.
    change(&a, &odd, "u4", vec![overlaps::forget(&odd)]).await;
    assert!(!overlaps::any(&*b).await.unwrap());
}

async fn it_goes_with_its_commit_and_its_dialog(engine: &dyn Engine) {
    let client = engine.open();
    let set = || overlaps::set(&dialog(1), "interrupt").into();
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    let failing = Commit {
        statements: vec![book("ann", 1), book("ann", 2)],
        changes: set(),
        ..last("u1", "1")
    };
    let failed = client.commit(&mut grant, failing).await;
    assert!(matches!(failed, Err(Error::Statement(_))), "{failed:?}");
    assert_eq!(of(&client, &dialog(1)).await, None);
    let commit = Commit {
        statements: vec![book("ann", 1)],
        changes: set(),
        lock: LockAfter::Kept,
        ..last("u1", "1")
    };
    client.commit(&mut grant, commit).await.unwrap();
    drop(grant);
    assert_eq!(of(&client, &dialog(1)).await.as_deref(), Some("interrupt"));
    assert!(admin::reset(&*client, &dialog(1)).await.unwrap());
    assert_eq!(of(&client, &dialog(1)).await, None);
}

on_every_engine! {
    a_dialogs_own_holds_until_it_is_said_anew
    it_goes_with_its_commit_and_its_dialog
}
