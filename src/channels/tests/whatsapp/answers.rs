//! What became of what was said: statuses, and the answers of the API.

use super::*;

/// Sent, delivered and read come of each message, and are no news.
#[test]
fn only_what_failed_is_heard_of_statuses() {
    let status = |status: &str, fields: Value| {
        let mut all = json!({"id": "wamid.bot", "status": status, "timestamp": "1",
            "recipient_id": "16505551234", "recipient_user_id": USER,
            "biz_opaque_callback_data": "wamid.1-7-0"});
        for (field, part) in fields.as_object().unwrap() {
            all[field] = part.clone();
        }
        body(json!({"statuses": [all]}))
    };
    let received = |body: &str| receive(channel("whatsapp").as_ref(), body.as_bytes());
    let sent = received(&status("sent", json!({})));
    assert!(
        matches!(&sent, Ok(Received::Updates(none)) if none.is_empty()),
        "{sent:?}"
    );
    for usual in ["delivered", "read", "played"] {
        let Ok(Received::WithEnds(updates, ends)) = received(&status(usual, json!({}))) else {
            panic!("{usual}")
        };
        assert!(updates.is_empty());
        let arrived = ReplyEnd::new("wamid.1-7-0", "wamid.bot", End::Arrived);
        assert_eq!(ends, [arrived]);
    }
    let errors = json!({"errors": [{"code": 131_047, "title": "Re-engagement message",
        "message": "Re-engagement message", "error_data": {"details": "more than 24 hours"}}]});
    let failed = status("failed", errors);
    let Ok(Received::WithEnds(updates, ends)) = received(&failed) else {
        panic!("{failed}");
    };
    let reason = "131047: Re-engagement message (more than 24 hours)";
    let refused = End::Refused {
        dialog: DialogKey::new("whatsapp", USER),
        reason: reason.to_owned(),
    };
    assert_eq!(ends, [ReplyEnd::new("wamid.1-7-0", "wamid.bot", refused)]);
    let update = &updates[0];
    assert_eq!(
        (update.kind, update.event.as_str(), update.text.as_str()),
        (Kind::Other, "failed", reason)
    );
    assert_eq!(
        (update.message.as_str(), update.id.0.as_str()),
        ("wamid.bot", "failed:wamid.bot")
    );
    assert!(channel("whatsapp").typing(update).is_none());
    // What was said of that and failed, too, does not go round in circles.
    let again = status(
        "failed",
        json!({"biz_opaque_callback_data": "failed:wamid.bot-8-0"}),
    );
    let received = received(&again);
    assert!(
        matches!(&received, Ok(Received::WithEnds(none, one)) if none.is_empty() && one.len() == 1),
        "{received:?}"
    );
}

#[test]
fn answers_of_whatsapps_api_are_told_apart() {
    let of = |status, code: i64| {
        let body = json!({"error": {"message": "x", "code": code, "error_subcode": 1,
            "error_data": {"messaging_product": "whatsapp", "details": "d"}}});
        meaning(whatsapp::outcome(
            &answered(status, &body.to_string()),
            SECRET,
        ))
    };
    for refused in [
        100, 131_008, 131_009, 131_047, 131_049, 131_050, 131_051, 132_001, 470,
    ] {
        assert_eq!(of(400, refused), ("refused", 0), "{refused}");
    }
    for unreachable in [131_021, 131_026, 131_030] {
        assert_eq!(of(400, unreachable), ("unreachable", 0), "{unreachable}");
    }
    for later in [1, 2, 131_000, 131_016, 131_057] {
        assert_eq!(of(500, later), ("retry", 0), "{later}");
    }
    for away in [0, 3, 10, 190, 200, 299, 368, 131_031, 131_042] {
        assert_eq!(of(401, away), ("away", 0), "{away}");
    }
    for too_many in [4, 80_007, 130_429, 133_016] {
        assert_eq!(of(400, too_many), ("all", 0), "{too_many}");
    }
    assert_eq!(of(400, 131_048), ("all", 3600));
    assert_eq!(of(400, 131_056), ("chat", 6));
    assert_eq!(of(503, 999), ("retry", 0));
    let taken = json!({"messaging_product": "whatsapp", "contacts": [{"input": "1", "wa_id": "1"}],
        "messages": [{"id": "wamid.x", "message_status": "accepted"}]});
    let sent = whatsapp::outcome(&answered(200, &taken.to_string()), SECRET).unwrap();
    assert_eq!(sent, Sent::message("wamid.x"));
}
