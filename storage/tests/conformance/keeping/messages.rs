//! Names under which messages can be found again.

use turnkey_storage::{Commit, Error, Statement, admin, messages};

use crate::common::{begin, dialog, last, turn};
use crate::engine::{Client, Engine};
use crate::keeping::now_ms;
use crate::steps::{count, rows};

async fn find(client: &Client, user: &str, name: &str) -> Option<String> {
    messages::find(&**client, &dialog(user), name)
        .await
        .unwrap()
}

async fn a_message_is_found_by_its_name(engine: &dyn Engine) {
    let client = engine.open();
    let (ann, bob) = (dialog("ann"), dialog("bob"));
    assert_eq!(find(&client, "ann", "menu").await, None);
    messages::set(&*client, &ann, "menu", "1").await.unwrap();
    messages::set(&*client, &bob, "menu", "2").await.unwrap();
    messages::set(&*client, &ann, "Menu ", "\0 'é' \u{1}0🦀")
        .await
        .unwrap();
    // The latest stands.
    messages::set(&*client, &ann, "menu", "3").await.unwrap();
    let again = engine.open();
    assert_eq!(find(&again, "ann", "menu").await.as_deref(), Some("3"));
    assert_eq!(find(&again, "bob", "menu").await.as_deref(), Some("2"));
    let awkward = find(&again, "ann", "Menu ").await;
    assert_eq!(awkward.as_deref(), Some("\0 'é' \u{1}0🦀"));
    // Names are told apart byte by byte, and belong to their dialog.
    assert_eq!(find(&again, "ann", "menu ").await, None);
    assert_eq!(find(&again, "carl", "menu").await, None);
    messages::remove(&*client, &ann, "menu").await.unwrap();
    messages::remove(&*client, &ann, "menu").await.unwrap();
    assert_eq!(find(&client, "ann", "menu").await, None);
    assert_eq!(find(&client, "bob", "menu").await.as_deref(), Some("2"));
    assert_eq!(count(&client, "turnkey_message").await, 2);
    let old = format!(
        "SELECT COUNT(*) FROM turnkey_message WHERE at < {} OR at > {}",
        now_ms() - 60_000,
        now_ms() + 60_000
    );
    assert_eq!(rows(&client, &old).await[0][0], 0.into());
}

async fn names_of_any_kind_are_kept_and_long_ones_refused(engine: &dyn Engine) {
    let client = engine.open();
    let ann = dialog("ann");
    let longest = "é".repeat(messages::MAX_NAME / 2);
    for name in ["", "\0", "a\0b", "\u{1}0", "'; --", "tab\t🦀", &longest] {
        let text = format!("message of {name}");
        messages::set(&*client, &ann, name, &text).await.unwrap();
        assert_eq!(find(&client, "ann", name).await, Some(text), "{name:?}");
    }
    let long = format!("{longest}!");
    let refused = messages::set(&*client, &ann, &long, "1").await;
    assert!(matches!(refused, Err(Error::Statement(_))), "{refused:?}");
    assert_eq!(find(&client, "ann", &long).await, None);
    messages::remove(&*client, &ann, &long).await.unwrap();
    let large = "x".repeat(500_000);
    messages::set(&*client, &ann, "menu", &large).await.unwrap();
    assert_eq!(find(&client, "ann", "menu").await, Some(large));
}

async fn a_name_that_many_set_at_once_is_one_row(engine: &dyn Engine) {
    let clients: Vec<Client> = (0..4).map(|_| engine.open()).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..40 {
        let client = clients[n % 4].clone();
        tasks.spawn(async move {
            messages::set(&*client, &dialog("ann"), "menu", &n.to_string())
                .await
                .unwrap();
        });
    }
    tasks.join_all().await;
    assert_eq!(count(&clients[0], "turnkey_message").await, 1);
    assert!(find(&clients[0], "ann", "menu").await.is_some());
}

async fn a_reset_forgets_the_names_too(engine: &dyn Engine) {
    let client = engine.open();
    for user in ["ann", "bob"] {
        turn(&*client, &dialog(user), user, "1").await;
        messages::set(&*client, &dialog(user), "menu", "1")
            .await
            .unwrap();
    }
    assert!(admin::reset(&*client, &dialog("ann")).await.unwrap());
    assert_eq!(find(&client, "ann", "menu").await, None);
    assert_eq!(find(&client, "bob", "menu").await.as_deref(), Some("1"));
    // One that came after it, such as that of a reply that was under way, goes with the
    // next, as does one of a dialog without any turn.
    for user in ["ann", "carl"] {
        messages::set(&*client, &dialog(user), "late", "2")
            .await
            .unwrap();
        assert!(!admin::reset(&*client, &dialog(user)).await.unwrap());
        assert_eq!(find(&client, user, "late").await, None);
    }
}

async fn the_names_are_not_the_authors_to_change(engine: &dyn Engine) {
    let client = engine.open();
    messages::set(&*client, &dialog("ann"), "menu", "1")
        .await
        .unwrap();
    let mut grant = begin(&*client, &dialog("ann"), "u1").await.grant.unwrap();
    for sql in [
        "DELETE FROM turnkey_message",
        "UPDATE Turnkey_Message SET message = '2'",
        "DROP TABLE turnkey_message",
    ] {
        let commit = Commit {
            statements: vec![Statement::new(sql, ())],
            ..last("u1", "1")
        };
        let refused = client.commit(&mut grant, commit).await;
        assert!(
            matches!(refused, Err(Error::Statement(_))),
            "{sql}: {refused:?}"
        );
    }
    assert_eq!(find(&client, "ann", "menu").await.as_deref(), Some("1"));
}

on_every_engine! {
    a_message_is_found_by_its_name
    names_of_any_kind_are_kept_and_long_ones_refused
    a_name_that_many_set_at_once_is_one_row
    a_reset_forgets_the_names_too
    the_names_are_not_the_authors_to_change
}
