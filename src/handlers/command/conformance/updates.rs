//! What the turns are about that a handler is tried with.
//!
//! Called by the cases. Everything is as a worker could send it, for an update of Telegram's
//! or a call of another system.

use bytes::Bytes;
use serde_json::json;
use turnkey_storage::DialogKey;

use super::super::wire::DEEPEST;
use crate::author::message::{
    Chat, Contact, File, FileKind, Forwarded, Hears, Kind, Location, Quoted, Sender, Span, Style,
    Update,
};

/// Bytes of a long text, about.
const LONG: usize = 1 << 20;

/// States that another program may have left. Text, since no number type holds them all.
const FOREIGN_STATES: [&str; 8] = [
    "null",
    "{}",
    "[]",
    "true",
    r#""a text""#,
    r#"{"count":null,"n":{"count":[[[[[[[[[[{"a":{"b":{"c":{"d":{"e":[{}]}}}}}]]]]]]]]]]}}"#,
    r#"{"count":9007199254740993,"n":18446744073709551615,"m":-9223372036854775808}"#,
    r#"{"count":123456789012345678901234567890,"n":1e300,"m":-0.0}"#,
];

/// These states, and the deepest one that there can be.
pub(super) fn foreign_states() -> Vec<String> {
    let inner = DEEPEST - 1;
    let deepest = format!(r#"{{"count":{}{}}}"#, "[".repeat(inner), "]".repeat(inner));
    FOREIGN_STATES
        .into_iter()
        .map(str::to_owned)
        .chain([deepest])
        .collect()
}

/// A user's message; each number is another user's.
pub(super) fn message(number: u64, text: &str) -> Update {
    let raw = json!({
        "update_id": 9000 + number,
        "message": { "message_id": 1, "chat": { "id": number }, "text": text },
    });
    of(Kind::Message, number, text, raw.to_string())
}

fn of(kind: Kind, number: u64, text: &str, raw: String) -> Update {
    let dialog = DialogKey::new("telegram", number.to_string());
    let update = (9000 + number).to_string();
    Update {
        kind,
        ..Update::new(dialog, update, text, Bytes::from(raw))
    }
}

/// One of each kind, and of each optional field.
pub(super) fn each_kind(hears: Option<Hears>) -> Vec<Update> {
    let file = |kind, id: Option<&str>, url: Option<&str>| File {
        id: id.map(str::to_owned),
        url: url.map(str::to_owned),
        ..File::new(kind)
    };
    let mut album = message(2, "");
    album.files = vec![
        file(FileKind::Photo, Some("AgACAg"), None),
        file(FileKind::Document, None, Some("https://example.org/a.pdf")),
        File {
            name: Some("../b c.ogg".to_owned()),
            media_type: Some("audio/ogg".to_owned()),
            size: Some(1 << 40),
            ..file(
                FileKind::Voice,
                Some("AwACAg"),
                Some("https://example.org/b.ogg"),
            )
        },
    ];
    album.album = "12".to_owned();
    let mut place = message(9, "");
    place.location = Some(Location {
        title: Some("Café".to_owned()),
        address: Some("Ring 1".to_owned()),
        ..Location::new(-48.25, 16.375)
    });
    let mut contact = message(10, "");
    contact.contact = Some(Contact {
        user_id: Some("10".to_owned()),
        ..Contact::new("+43 1 234", "Ann")
    });
    let mut rich = message(11, "bold and *plain*");
    rich.spans = vec![Span {
        start: 0,
        end: 4,
        style: Style::Bold,
    }];
    rich.event = "message".to_owned();
    rich.message = "77".to_owned();
    let quoted = json!({ "message": "76", "text": "what?", "sender": "12" });
    let forwarded = json!({ "id": "-100", "name": "News" });
    let sender = json!({ "name": "Ann B", "username": "ann", "language": "de" });
    let chat = json!({ "id": "-1", "type": "group", "title": "Tea", "topic": "4" });
    rich.quoted = serde_json::from_value(quoted).ok();
    rich.forwarded = serde_json::from_value(forwarded).ok();
    rich.sender = serde_json::from_value(sender).ok();
    rich.chat = serde_json::from_value(chat).ok();
    // All that a platform may leave out is left out.
    let mut poor = message(12, "");
    poor.quoted = Some(Quoted::default());
    poor.forwarded = Some(Forwarded::default());
    poor.sender = Some(Sender::default());
    poor.chat = Some(Chat::default());
    let mut grouped = message(13, "in a group");
    grouped.user = "13".to_owned();
    grouped.dialog.user_id = "13@-100".to_owned();
    let together = Update::together(vec![rich.clone(), album.clone(), message(15, "x")]);
    let mut gone = of(Kind::Left, 14, "blocked by the user", "{}".to_owned());
    gone.event = "unreachable".to_owned();
    let call = json!({ "method": "pay", "params": { "order": 7, "lines": [1, null] } });
    let mut call = of(Kind::Rpc, 6, "", call.to_string());
    call.dialog = DialogKey::new("rpc", "6");
    let timer = json!({ "name": "tea", "due": 1_800_000_000_000_i64, "late": 3, "data": { "sort": [1, null] } });
    let timer = of(Kind::Timer, 16, "tea", timer.to_string());
    let mut all = vec![
        message(1, "/start@bot ref_42"),
        album,
        message(3, ""),
        place,
        contact,
        rich,
        poor,
        grouped,
        together,
        gone,
        of(Kind::Button, 4, "yes:1", "{}".to_owned()),
        of(Kind::Opened, 5, "", "{}".to_owned()),
        call,
        timer,
        // A platform's body that is no JSON.
        Update::new(
            DialogKey::new("custom", "7"),
            "u/7",
            "hi",
            Bytes::from_static(b"\xff\0<xml/>"),
        ),
    ];
    let more = Kind::ALL.into_iter().filter(|kind| {
        let is_there = matches!(kind, Kind::Message | Kind::Button | Kind::Opened);
        !is_there && hears.unwrap_or_default().hears(*kind)
    });
    all.extend(more.map(|kind| of(kind, 20 + kind as u64, "", "{}".to_owned())));
    all
}

/// A megabyte of what programs trip over.
pub(super) fn long_text() -> String {
    let piece = "😀\u{2028}\u{2029}\u{85}\0\"\\\n\r\t\u{feff}\u{1f468}\u{200d}\u{1f469}\u{7f}ä\u{fffd}\u{10ffff}";
    piece.repeat(LONG / piece.len() + 1)
}
