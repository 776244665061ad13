//! Viber: what its API answers, what its events hold.

use serde_json::json;

use super::super::viber;
use super::*;

#[test]
fn answers_of_vibers_api_are_told_apart() {
    let of = |status: i64| {
        let body = json!({"status": status, "status_message": SECRET}).to_string();
        meaning(viber::outcome(&answered(200, &body), SECRET))
    };
    assert_eq!(of(0), ("ok", 0));
    for refused in [3, 4, 5, 6, 11, 13] {
        assert_eq!(of(refused), ("refused", 0), "{refused}");
    }
    for account in [1, 2, 7, 8, 9, 10, 15, 19] {
        assert_eq!(of(account), ("away", 0), "{account}");
    }
    for later in [24, 99] {
        assert_eq!(of(later), ("retry", 0), "{later}");
    }
    assert_eq!(of(12), ("all", 0));
    assert_eq!(meaning(viber::outcome(&answered(200, ""), "")), ("away", 0));
}

#[test]
fn a_message_token_may_be_a_text() {
    let body = |token: &str| {
        format!(
            r#"{{"event":"message","message_token":{token},"sender":{{"id":"u"}},"message":{{"type":"text","text":"hi"}}}}"#
        )
    };
    let number = updates("viber", &body("18446744073709551615"));
    assert_eq!(number[0].id.0, "18446744073709551615-message");
    let text = updates("viber", &body(r#""18446744073709551615""#));
    assert_eq!(text[0].id, number[0].id, "the same, however it is written");
    let float = updates("viber", &body("4.912661846655238145e18"));
    assert_eq!(float[0].id.0, "4.912661846655238145e18-message");
    assert_eq!(
        updates("viber", &body("[]"))[0].kind,
        Kind::Unreadable,
        "kept"
    );
    // A text is not lost with a picture's address.
    let picture = r#"{"event":"message","message_token":1,"sender":{"id":"u"},"message":{"type":"picture","text":"look","media":null}}"#;
    let found = updates("viber", picture).remove(0);
    assert_eq!((found.text.as_str(), found.files.len()), ("look", 0));
}
