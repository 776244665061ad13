//! What a turn reads, and what it leaves.

use turnkey_storage::{Commit, DialogKey, Statement, Value};

use crate::common::{begin, dialog, turn};
use crate::engine::Engine;
use crate::steps::{keep, no_lock_rows, rows};

async fn a_turn_goes_round(engine: &dyn Engine) {
    let client = engine.open();
    let begun = begin(&*client, &dialog(1), "u1").await;
    assert_eq!((&begun.seen, &begun.state), (&None, &None));
    assert_eq!(begun.unsent, []);
    let mut grant = begun.grant.unwrap();
    assert_eq!(grant.dialog(), &dialog(1));
    client
        .commit(&mut grant, keep("u1", r#"{"n":1}"#))
        .await
        .unwrap();
    client.end(grant, Vec::new()).await.unwrap();
    let begun = begin(&*client, &dialog(1), "u2").await;
    assert_eq!(begun.state.as_deref(), Some(r#"{"n":1}"#));
    client.end(begun.grant.unwrap(), Vec::new()).await.unwrap();
    no_lock_rows(&client).await;
}

async fn a_new_dialog_has_no_state_and_later_it_has(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    assert_eq!(turn(&*a, &dialog(1), "u1", "1").await, None);
    assert_eq!(turn(&*b, &dialog(1), "u2", "2").await.as_deref(), Some("1"));
    assert_eq!(turn(&*a, &dialog(1), "u3", "3").await.as_deref(), Some("2"));
    assert_eq!(turn(&*b, &dialog(2), "u4", "1").await, None);
    // The same user on another channel is another dialog.
    let other = DialogKey::new("viber", "1");
    assert_eq!(turn(&*b, &other, "u1", "1").await, None);
}

async fn a_turn_may_commit_more_than_once(engine: &dyn Engine) {
    let client = engine.open();
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    client.commit(&mut grant, keep("u1", "1")).await.unwrap();
    // Sent again, as after a lost answer: it changes nothing.
    client.commit(&mut grant, keep("u1", "9")).await.unwrap();
    client.commit(&mut grant, keep("u1b", "2")).await.unwrap();
    drop(grant);
    assert_eq!(
        turn(&*client, &dialog(1), "u2", "3").await.as_deref(),
        Some("2")
    );
}

async fn texts_of_all_kinds(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let texts = [
        String::new(),
        "\0".to_owned(),
        "a\0b\0".to_owned(),
        "Ünïcödé 日本語 🦀 e\u{301} \u{202e} \u{feff}".to_owned(),
        "'; DROP TABLE turnkey_dialog; --".to_owned(),
        "%_\\\"`\r\n\t".to_owned(),
        format!("\"{}\"", "x".repeat(512 << 10)),
    ];
    for text in &texts {
        // The author's column: PostgreSQL's text takes no NUL, and says so.
        let note = match engine.text_holds_nul() {
            true => text.clone(),
            false => text.replace('\0', ""),
        };
        // Long texts are for states, not for names.
        let name: String = text.chars().take(20).collect();
        let who = DialogKey::new("http", name.clone());
        let update = format!("update {name}");
        let begun = begin(&*a, &who, &update).await;
        assert_eq!(begun.state, None, "{name:?}");
        let mut grant = begun.grant.unwrap();
        let commit = Commit {
            replies: vec![text.clone(), text.clone()],
            history: Some(text.clone()),
            answer: text.clone().into_bytes(),
            statements: vec![Statement::new(
                "INSERT INTO note VALUES (?1)",
                (note.as_str(),),
            )],
            ..keep(&update, text)
        };
        a.commit(&mut grant, commit).await.unwrap();
        drop(grant);
        let begun = begin(&*b, &who, &update).await;
        assert_eq!(begun.state.as_ref(), Some(text));
        assert_eq!(begun.seen.unwrap().answer, text.as_bytes());
        let bodies: Vec<_> = begun.unsent.iter().map(|reply| &reply.body).collect();
        assert_eq!(bodies, [text, text]);
        let ids = begun.unsent.iter().map(|reply| reply.id).collect();
        b.end(begun.grant.unwrap(), ids).await.unwrap();
    }
    // An empty id is an id.
    turn(&*a, &dialog("empty id"), "", "1").await;
    assert!(begin(&*a, &dialog("empty id"), "").await.seen.is_some());
    let notes = rows(&a, "SELECT body FROM note").await;
    for text in texts
        .iter()
        .filter(|t| engine.text_holds_nul() || !t.contains('\0'))
    {
        assert!(notes.contains(&vec![Value::Text(text.clone())]));
    }
}

on_every_engine! {
    a_turn_goes_round
    a_new_dialog_has_no_state_and_later_it_has
    a_turn_may_commit_more_than_once
    texts_of_all_kinds
}
