//! What a conversation looks like, from rows as the database has them.

use turnkey_storage::{Fence, ReplyId};

use super::*;

fn detail(history: &[&str]) -> DialogDetail {
    DialogDetail {
        dialog: DialogKey::new("telegram", "7"),
        state: None,
        updated_at: 5000,
        person: None,
        history: history.iter().map(|turn| (*turn).to_owned()).collect(),
        moments: (1..).map(|n| n * 1000).take(history.len()).collect(),
        unsent: 0,
        pending: 0,
    }
}

fn nothing() -> Open {
    Open {
        pending: Vec::new(),
        unsent: Vec::new(),
        letters: Vec::new(),
        dead_replies: Vec::new(),
    }
}

/// The texts in this order.
fn in_order(html: &str, texts: &[&str]) {
    let mut from = 0;
    for text in texts {
        let at = html[from..].find(text);
        from += at.unwrap_or_else(|| panic!("no {text:?} behind {from} in {html}"));
    }
}

#[test]
fn both_sides_are_there_and_the_pressed_button_is_marked() {
    let found = detail(&[
        r#"{"update_id":"1","text":"hi <b>","replies":[{"text":"Tea?","buttons":[[{"label":"Yes","data":"y"},{"label":"No","data":"n"}]]}]}"#,
        r#"{"update_id":"2","text":"n","kind":"button","replies":[{"toast":"Then not."},{"edit":"m","text":"No tea"}],"attempts":3,"error":"no kettle\nat line 1"}"#,
        r#"{"update_id":"3","text":"","files":[{"type":"photo","name":"a.jpg","size":2048}],"replies":[]}"#,
        r#"{"update_id":"4","text":"","kind":"timer","name":"tea","replies":[{"text":"Now?"}]}"#,
        "[1]",
    ]);
    let html = html(&found, &nothing(), "Ann");
    in_order(
        &html,
        &[
            "hi &lt;b&gt;",
            "Ann · ",
            "Tea?",
            "<li title=\"y\">Yes</li>",
            "<li class=\"pressed\" title=\"n\">",
            "Bot · ",
            "pressed a button",
            ">No</p>",
            "Handled after 3 attempts; before: no kettle</p>",
            "Then not.",
            "in the place of the message &quot;m&quot;",
            "<li>photo a.jpg, 2.0 KiB</li>",
            "The timer &quot;tea&quot; was due",
            "Now?",
            "<pre ",
        ],
    );
    assert!(
        !html.contains("at line 1"),
        "the trace is elsewhere: {html}"
    );
}

#[test]
fn a_keyboards_label_that_is_said_was_pressed() {
    let found = detail(&[
        r#"{"update_id":"1","text":"hi","replies":[{"text":"?","keyboard":{"rows":[[{"label":"Menu"},{"label":"Help"}]]}}]}"#,
        r#"{"update_id":"2","text":"Help","replies":[]}"#,
    ]);
    let html = html(&found, &nothing(), "7");
    assert!(html.contains("<li class=\"pressed\" title=\"says its label\">"));
}

#[test]
fn what_waits_or_failed_stands_in_its_place() {
    let found =
        detail(&[r#"{"update_id":"u1","text":"one","replies":[{"text":"1"},{"text":"2"}]}"#]);
    let dialog = DialogKey::new("telegram", "7");
    let update = |id: &str, text: &str| {
        let update = Update::new(dialog.clone(), id, text, bytes::Bytes::new());
        serde_json::to_vec(&update).unwrap()
    };
    let id = |index| ReplyId {
        turn: Fence(9),
        index,
    };
    let open = Open {
        unsent: vec![OutboxLine {
            dialog: dialog.clone(),
            id: id(1),
            body: r#"{"to":"7","update":"u1","text":"2"}"#.to_owned(),
            since: 1000,
            attempts: 2,
            error: Some("429".to_owned()),
        }],
        dead_replies: vec![DeadReply {
            dialog: dialog.clone(),
            id: id(0),
            body: r#"{"to":"7","update":"u0","text":"0"}"#.to_owned(),
            error: "bot was blocked".to_owned(),
            attempts: 5,
            since: 500,
            died: 600,
        }],
        letters: vec![DeadLetter {
            dialog: dialog.clone(),
            update: "u2".to_owned(),
            arrived: 2_000_000,
            digest: Vec::new(),
            answer: Vec::new(),
            body: update("u2", "two"),
            error: "no <tea>\ntrace".to_owned(),
            attempts: 10,
            died: 9000,
        }],
        pending: vec![Pending {
            dialog: dialog.clone(),
            update: "u3".to_owned(),
            arrived: 3_000_000,
            body: update("u3", "three"),
            attempts: 1,
            due: i64::MAX / 2,
            error: Some("not yet".to_owned()),
        }],
    };
    let html = html(&found, &open, "7");
    in_order(
        &html,
        &[
            ">0</p>",
            "given up</a> after 5 attempts: bot was blocked",
            ">one</p>",
            ">1</p>",
            ">2</p>",
            "Not sent yet</b>, 2 attempts: 429",
            ">two</p>",
            "Given up</a> after 10 attempts: no &lt;tea&gt;</p>",
            ">three</p>",
            "Failed</b>, 1 attempt: not yet; ",
        ],
    );
    assert_eq!(html.matches(">2</p>").count(), 1, "it is told once: {html}");
}
