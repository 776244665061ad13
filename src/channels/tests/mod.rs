//! Unit tests of all channels: the platforms' own sample bodies, and that nothing whatever
//! that comes in makes a channel panic, blame itself or lose what it could have kept. What
//! is one platform's alone has a file of its own.

mod facebook;
mod judged;
mod odd;
mod page;
mod telegram;
mod viber;
mod vk;
mod whatsapp;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hyper::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::client::Response;
use super::signature::sign;
use super::*;
use crate::author::message::{DialogKey, Kind, MAX_UPDATE_ID, MAX_USER_ID};
use crate::config::{
    FacebookConfig, HttpConfig, Proxies, TelegramConfig, ViberConfig, VkConfig, WhatsAppConfig,
};
use crate::shared::pacing::{Pacer, WORDS as WORDS_OF_ALL};

const SECRET: &str = "s3cret";

fn channels() -> Vec<Box<dyn Channel>> {
    static WORDS: [AtomicU64; WORDS_OF_ALL] = [const { AtomicU64::new(0) }; WORDS_OF_ALL];
    let api_url = String::from("http://localhost:1");
    let pace = Pacer::new(&WORDS).channel(0);
    vec![
        Box::new(super::http::Http::new(&HttpConfig { token: None })),
        Box::new(
            super::telegram::Telegram::new(
                &TelegramConfig {
                    token: Some(SECRET.into()),
                    secret: Some(SECRET.into()),
                    api_url: api_url.clone(),
                    rate: 30,
                    polls: false,
                    delete_webhook: false,
                    registers: false,
                    proxies: Proxies::default(),
                },
                pace,
            )
            .unwrap(),
        ),
        Box::new(
            super::viber::Viber::new(&ViberConfig {
                token: SECRET.into(),
                sender: "Bot".to_owned(),
                api_url: api_url.clone(),
                proxies: Proxies::default(),
            })
            .unwrap(),
        ),
        Box::new(
            super::facebook::Facebook::new(
                &FacebookConfig {
                    token: SECRET.into(),
                    secret: SECRET.into(),
                    verify_token: SECRET.into(),
                    api_url: api_url.clone(),
                    proxies: Proxies::default(),
                },
                pace,
            )
            .unwrap(),
        ),
        Box::new(
            super::vk::Vk::new(
                &VkConfig {
                    token: SECRET.into(),
                    secret: Some(SECRET.into()),
                    confirmation: Some("c0nf1rm".into()),
                    api_url: api_url.clone(),
                    proxies: Proxies::default(),
                },
                pace,
            )
            .unwrap(),
        ),
        Box::new(
            super::whatsapp::WhatsApp::new(&WhatsAppConfig {
                token: SECRET.into(),
                secret: SECRET.into(),
                verify_token: SECRET.into(),
                phone_number_id: "106540352242922".to_owned(),
                api_url,
                proxies: Proxies::default(),
            })
            .unwrap(),
        ),
    ]
}

fn channel(name: &str) -> Box<dyn Channel> {
    let mut all = channels();
    let place = all.iter().position(|channel| channel.name() == name);
    all.swap_remove(place.unwrap())
}

/// Headers as the platform would sign these bytes.
fn headers(body: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let signature = sign(SECRET, body);
    for (name, value) in [
        ("x-telegram-bot-api-secret-token", SECRET),
        ("x-viber-content-signature", &signature),
        ("x-hub-signature-256", &format!("sha256={signature}")),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    headers
}

fn receive(channel: &dyn Channel, body: &[u8]) -> Result<Received, Refusal> {
    let headers = headers(body);
    channel.verify(&headers, body)?;
    channel.parse(&headers, &Bytes::copy_from_slice(body))
}

fn updates(name: &str, body: &str) -> Vec<Update> {
    match receive(channel(name).as_ref(), body.as_bytes()) {
        Ok(Received::Updates(updates)) => updates,
        other => panic!("{other:?}"),
    }
}

/// Bodies as the platforms' own pages show them.
const SAMPLES: [(&str, &str); 17] = [
    ("http", r#"{"user_id":"ann","text":"hi","id":"1"}"#),
    (
        "http",
        r#"{"user_id":"ann","photo":"https://example.org/1.jpg"}"#,
    ),
    (
        "telegram",
        r#"{"update_id":10000,"message":{"date":1441645532,"chat":{"last_name":"Test Lastname","id":1111111,"type":"private","first_name":"Test Firstname"},"message_id":1365,"from":{"last_name":"Test Lastname","id":1111111,"first_name":"Test Firstname"},"text":"/start"}}"#,
    ),
    (
        "telegram",
        r#"{"update_id":10001,"message":{"date":1441645532,"chat":{"id":-1001111111111,"type":"supergroup"},"message_id":1,"from":{"id":1111111},"caption":"a cat","photo":[{"file_id":"small","file_unique_id":"a","width":90,"height":51},{"file_id":"large","file_unique_id":"b","width":1280,"height":720}]}}"#,
    ),
    (
        "telegram",
        r#"{"update_id":10002,"callback_query":{"id":"4382bfdwdsb323b2d9","from":{"id":1111111},"message":{"message_id":1,"chat":{"id":1111111}},"chat_instance":"1","data":"Data from button callback"}}"#,
    ),
    (
        "viber",
        r#"{"event":"message","timestamp":1457764197627,"message_token":4912661846655238145,"sender":{"id":"01234567890A=","name":"John McClane","avatar":"http://avatar.example.com","country":"UK","language":"en","api_version":1},"message":{"type":"text","text":"a message to the service","media":"http://download_url","location":{"lat":50.76891,"lon":6.11499},"tracking_data":"tracking data"}}"#,
    ),
    (
        "viber",
        r#"{"event":"message","timestamp":1457764197627,"message_token":4912661846655238146,"sender":{"id":"01234567890A="},"message":{"type":"picture","media":"http://download_url/1.jpg","file_name":"1.jpg"}}"#,
    ),
    (
        "viber",
        r#"{"event":"conversation_started","timestamp":1457764197627,"message_token":4912661846655238147,"type":"open","context":"context information","user":{"id":"01234567890A=","name":"John McClane","api_version":1},"subscribed":false}"#,
    ),
    (
        "viber",
        r#"{"event":"failed","timestamp":1457764197627,"message_token":4912661846655238148,"user_id":"01234567890A=","desc":"failure description"}"#,
    ),
    (
        "facebook",
        r#"{"object":"page","entry":[{"id":"682498302938465","time":1518479195594,"messaging":[{"sender":{"id":"1254459154682919"},"recipient":{"id":"682498302938465"},"timestamp":1518479195308,"message":{"mid":"mid.$cAAJdkrCd2ORnva8ErFhjGm0X_Q_c","text":"hello"}},{"sender":{"id":"2"},"recipient":{"id":"682498302938465"},"timestamp":9007199254740993,"postback":{"title":"Yes","payload":"yes"}}]}]}"#,
    ),
    (
        "facebook",
        r#"{"object":"page","entry":[{"id":"682498302938465","time":1518479195594,"messaging":[{"sender":{"id":"1254459154682919"},"recipient":{"id":"682498302938465"},"timestamp":1518479195308,"message":{"mid":"m_2","attachments":[{"type":"image","payload":{"url":"https://cdn/1.jpg"}}]}}]},{"id":"682498302938465","time":1518479195594,"messaging":[{"sender":{"id":"3"},"timestamp":1,"message":{"mid":"m_3","text":"Red","quick_reply":{"payload":"red"}}}]}]}"#,
    ),
    (
        "vk",
        r#"{"group_id":186225804,"type":"message_new","event_id":"c68d0e5e8a47ffc6ffc0a2d3c9a7fcd7c0e9a2d3","v":"5.199","secret":"s3cret","object":{"message":{"date":1570185904,"from_id":9007199254740993,"id":33,"out":0,"peer_id":2000000001,"text":"test","conversation_message_id":30,"fwd_messages":[],"important":false,"random_id":0,"attachments":[],"is_hidden":false},"client_info":{"button_actions":["text"],"keyboard":true,"inline_keyboard":true,"lang_id":0}}}"#,
    ),
    (
        "vk",
        r#"{"group_id":1,"type":"message_new","event_id":"e2","secret":"s3cret","object":{"message":{"from_id":7,"peer_id":7,"text":"","payload":"{\"button\":\"yes\"}","attachments":[{"type":"photo","photo":{"id":5,"owner_id":7,"sizes":[{"url":"https://1","width":1,"height":1}]}}]}}}"#,
    ),
    ("vk", r#"{"type":"confirmation","group_id":1}"#),
    (
        "whatsapp",
        r#"{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881","phone_number_id":"106540352242922"},"contacts":[{"profile":{"name":"Sheena Nelson"},"wa_id":"16505551234","user_id":"US.13491208655302741918"}],"messages":[{"from":"16505551234","from_user_id":"US.13491208655302741918","id":"wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQTRBNjU5OUFFRTAzODEwMTQ0RgA=","timestamp":"1749416383","type":"text","text":{"body":"Does it come in another color?"}}]},"field":"messages"}]}]}"#,
    ),
    (
        "whatsapp",
        r#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881","phone_number_id":"106540352242922"},"contacts":[{"profile":{"name":"Sheena Nelson"},"wa_id":"16505551234"}],"messages":[{"context":{"from":"15550783881","id":"wamid.1"},"from":"16505551234","id":"wamid.2","timestamp":"1","type":"interactive","interactive":{"type":"button_reply","button_reply":{"id":"yes","title":"Yes"}}},{"from":"16505551234","id":"wamid.3","timestamp":"1","type":"image","image":{"caption":"Taj Mahal","mime_type":"image/jpeg","sha256":"SfInY0gGKTsJlUWbwxC1k+FAD0FZHvzwfpvO0zX0GUI=","id":"1003383421387256"}}]},"field":"messages"}]}]}"#,
    ),
    (
        "whatsapp",
        r#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881","phone_number_id":"106540352242922"},"statuses":[{"id":"wamid.4","status":"failed","timestamp":"1","recipient_id":"16505551234","errors":[{"code":131049,"title":"This message was not delivered to maintain healthy ecosystem engagement."}]}]},"field":"messages"}]}]}"#,
    ),
];

#[test]
fn the_platforms_samples_are_understood() {
    let found: Vec<_> = SAMPLES
        .iter()
        .filter(|(name, body)| *name != "http" && !body.contains("confirmation"))
        .filter(|(_, body)| !body.contains("\"failed\""))
        .flat_map(|(name, body)| updates(name, body))
        .map(|u| {
            (
                u.id.0,
                u.dialog.user_id,
                u.address,
                u.kind,
                u.text,
                u.files.len(),
            )
        })
        .collect();
    let expect = |id: &str, user: &str, to: &str, kind, text: &str, pictures| {
        let [id, user, to, text] = [id, user, to, text].map(str::to_owned);
        (id, user, to, kind, text, pictures)
    };
    use Kind::{Button, Message, Opened};
    let (ann, viber, group) = ("1111111", "01234567890A=", "-1001111111111");
    let (bsuid, number) = ("US.13491208655302741918", "16505551234");
    let (fb, vk_event) = (
        "1254459154682919",
        "c68d0e5e8a47ffc6ffc0a2d3c9a7fcd7c0e9a2d3",
    );
    assert_eq!(
        found,
        [
            expect("10000", ann, ann, Message, "/start", 0),
            expect("10001", ann, group, Message, "a cat", 1),
            expect("10002", ann, ann, Button, "Data from button callback", 0),
            expect(
                "4912661846655238145-message",
                viber,
                viber,
                Message,
                "a message to the service",
                0
            ),
            expect("4912661846655238146-message", viber, viber, Message, "", 1),
            expect(
                "4912661846655238147-conversation_started",
                viber,
                viber,
                Opened,
                "context information",
                0
            ),
            expect(
                "mid.$cAAJdkrCd2ORnva8ErFhjGm0X_Q_c",
                fb,
                fb,
                Message,
                "hello",
                0
            ),
            expect(
                "2:9007199254740993:Button:911efc81bb3756de3b67fcfc3929bc08",
                "2",
                "2",
                Button,
                "yes",
                0
            ),
            expect("m_2", fb, fb, Message, "", 1),
            expect("m_3", "3", "3", Button, "red", 0),
            expect(
                vk_event,
                "9007199254740993",
                "2000000001",
                Message,
                "test",
                0
            ),
            expect("e2", "7", "7", Button, "yes", 1),
            expect(
                "wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQTRBNjU5OUFFRTAzODEwMTQ0RgA=",
                bsuid,
                bsuid,
                Message,
                "Does it come in another color?",
                0
            ),
            expect("wamid.2", number, number, Button, "yes", 0),
            expect("wamid.3", number, number, Message, "Taj Mahal", 1),
        ]
    );
}

/// The same with a running bot and without: `turnkey send` has no channels.
#[test]
fn what_is_said_to_a_user_in_a_group_goes_to_the_group() {
    for channel in channels() {
        let name = channel.name();
        let to = match name {
            "telegram" | "vk" | "whatsapp" => "-5",
            _ => "7@-5",
        };
        assert_eq!(address(name, "7@-5"), to, "{name}");
        assert_eq!(channel.address("7@-5"), to, "{name}");
        assert_eq!(channel.address("7"), "7", "{name}");
    }
}

#[test]
fn raw_is_the_json_of_one_update() {
    let (_, body) = SAMPLES[9];
    let all = updates("facebook", body);
    assert!(
        all[0]
            .raw()
            .starts_with(br#"{"sender":{"id":"1254459154682919"}"#)
    );
    assert!(all[1].raw().ends_with(br#""payload":"yes"}}"#));
    let photo = updates("telegram", SAMPLES[3].1).remove(0).files.remove(0);
    assert_eq!(photo.id.as_deref(), Some("large"));
}

#[test]
fn ids_that_are_too_long() {
    let long = "x".repeat(MAX_UPDATE_ID + 1);
    let (mid, event) = ("mid.$cAAJdkrCd2ORnva8ErFhjGm0X_Q_c", "e2");
    for (name, id, sample) in [("facebook", mid, 9), ("vk", event, 12)] {
        let body = SAMPLES[sample].1;
        let of = |new: &str| updates(name, &body.replace(id, new)).remove(0).id.0;
        assert_eq!(of(&long[1..]), long[1..], "the longest that is kept");
        assert_eq!((of(&long).len(), of(&long)), (64, of(&long)), "{name}");
        assert_ne!(of(&long), of(&format!("{long}y")));
    }
    let forged = SAMPLES[5].1.replace("01234567890A=", &long);
    assert_eq!(updates("viber", &forged)[0].kind, Kind::Unreadable);
    // One strange event does not hold up its batch.
    let batch = SAMPLES[9].1.replace("1254459154682919", &long);
    let kinds: Vec<_> = updates("facebook", &batch).iter().map(|u| u.kind).collect();
    assert_eq!(kinds, [Kind::Unreadable, Kind::Button]);
}

fn answered(status: u16, body: &str) -> Response {
    Response {
        status: StatusCode::from_u16(status).unwrap(),
        retry_after: None,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// `Ok`, `refused`, or `retry`, `away` and the seconds named.
fn seconds(after: Option<Duration>) -> u64 {
    after.map_or(0, |after| after.as_secs())
}

fn meaning(outcome: Result<Sent, SendError>) -> (&'static str, u64) {
    match outcome {
        Ok(_) => ("ok", 0),
        Err(SendError::Refused(_)) => ("refused", 0),
        Err(SendError::Unreachable(_)) => ("unreachable", 0),
        Err(SendError::Retry { after, .. }) => ("retry", seconds(after)),
        Err(SendError::Away { after, .. }) => ("away", seconds(after)),
        Err(SendError::TooMany { after, all, .. }) => {
            (if all { "all" } else { "chat" }, seconds(after))
        }
    }
}

/// An error may quote the token that it was given.
#[test]
fn tokens_are_not_in_reasons() {
    let body = json!({"status": 2, "status_message": SECRET,
        "error": {"message": SECRET, "code": 190, "error_code": 5, "error_msg": SECRET}});
    let response = answered(400, &body.to_string());
    for outcome in [
        super::viber::outcome(&response, SECRET),
        super::facebook::outcome(&response, SECRET),
        super::vk::outcome(&response, SECRET),
        super::whatsapp::outcome(&response, SECRET),
    ] {
        let reason = outcome.unwrap_err().to_string();
        assert!(
            reason.contains("(token)") && !reason.contains(SECRET),
            "{reason}"
        );
    }
}

/// A value somewhere in a body is replaced or removed.
fn mutate(value: &mut Value, path: &[usize], with: &Option<Value>) {
    let Some((step, rest)) = path.split_first() else {
        if let Some(with) = with {
            *value = with.clone();
        }
        return;
    };
    let empty = match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    };
    if empty {
        return mutate(value, &[], with);
    }
    match value {
        Value::Object(fields) => {
            let key = fields.keys().nth(step % fields.len()).unwrap().clone();
            if rest.is_empty() && with.is_none() {
                fields.remove(&key);
            } else {
                mutate(&mut fields[&key], rest, with);
            }
        }
        Value::Array(items) => {
            let at = step % items.len();
            mutate(&mut items[at], rest, with);
        }
        _ => {}
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(Value::from("x".repeat(300))),
        Just(Value::from("\0😀")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{1,8}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Whatever comes in: no panic, no fault of ours, and what is understood is sound.
fn harmless(body: &[u8]) -> Result<(), TestCaseError> {
    for channel in channels() {
        let headers = headers(body);
        let shared = Bytes::copy_from_slice(body);
        let verified = channel.verify(&headers, body);
        for received in [
            verified.and_then(|()| channel.parse(&headers, &shared)),
            // Also what only a platform could have sent.
            channel.parse(&headers, &shared),
        ] {
            match received {
                Err(refusal) => prop_assert!(refusal.status.is_client_error()),
                Ok(Received::Answer(answer)) => prop_assert!(answer.status.is_success()),
                Ok(Received::Async(_)) => prop_assert!(false, "nobody asked for it"),
                Ok(Received::Updates(updates) | Received::WithEnds(updates, _)) => {
                    for update in updates {
                        prop_assert!((1..=MAX_USER_ID).contains(&update.dialog.user_id.len()));
                        prop_assert!((1..=MAX_UPDATE_ID).contains(&update.id.0.len()));
                        let said = Reply::from(update.text.as_str()).button("Yes", "yes");
                        prop_assert!(channel.plan(&update, &[said.into()]).is_ok());
                    }
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_harmless(body in prop::collection::vec(any::<u8>(), 0..200)) {
        harmless(&body)?;
    }

    #[test]
    fn any_json_is_harmless(body in any_json()) {
        harmless(body.to_string().as_bytes())?;
    }

    #[test]
    fn mutated_samples_are_harmless(
        sample in prop::sample::select(&SAMPLES[..]),
        mutations in prop::collection::vec(
            (prop::collection::vec(0..16_usize, 1..7), prop::option::of(any_json())), 1..4),
    ) {
        let mut body: Value = serde_json::from_str(sample.1).unwrap();
        for (path, with) in &mutations {
            mutate(&mut body, path, with);
        }
        harmless(body.to_string().as_bytes())?;
    }

    #[test]
    fn damaged_samples_are_harmless(
        sample in prop::sample::select(&SAMPLES[..]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut body = sample.1.as_bytes().to_vec();
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        harmless(&body)?;
    }

    #[test]
    fn a_wrong_signature_is_refused(
        sample in prop::sample::select(&SAMPLES[..]),
        at in any::<prop::sample::Index>(),
    ) {
        let mut body = sample.1.as_bytes().to_vec();
        let headers = headers(&body);
        let at = at.index(body.len());
        body[at] ^= 1;
        for name in ["viber", "facebook", "whatsapp"] {
            let refusal = channel(name).verify(&headers, &body).unwrap_err();
            prop_assert_eq!(refusal.status, StatusCode::UNAUTHORIZED);
        }
    }

    /// Nothing of a text is lost when it is cut, but the blanks at the cuts.
    #[test]
    fn long_texts_arrive_whole(text in "[a-z 😀\n]{1,9000}") {
        let update = updates("vk", SAMPLES[11].1).remove(0);
        for name in ["telegram", "viber", "facebook", "vk", "whatsapp"] {
            let plan = channel(name).plan(&update, &["x".into(), text.as_str().into()]).unwrap();
            let mut rest = text.as_str();
            for part in &plan.send[1..] {
                let Action::Reply(part) = part else { panic!("a reply") };
                prop_assert!(part.text.encode_utf16().count() <= 7000);
                let found = rest.strip_prefix(part.text.as_str());
                let found = found.or_else(|| rest[1..].strip_prefix(part.text.as_str()));
                rest = found.expect("the next part");
            }
            prop_assert!(rest.trim().is_empty());
        }
    }
}

/// What rides in an answer can be read from it again.
#[test]
fn what_rode_can_be_sent() {
    let photo = Reply::photo("https://example.org/1.jpg").caption("look");
    let asked = Reply::from("Tea?")
        .button("Yes", "yes:1")
        .button("No", "no");
    for (name, sample, replies) in [
        ("telegram", 2, vec![asked.clone(), "hi".into()]),
        ("viber", 7, vec![asked, photo.button("More", "more")]),
    ] {
        let mut update = updates(name, SAMPLES[sample].1).remove(0);
        for (chat, reply) in replies.into_iter().enumerate() {
            // A chat of its own: tests beside this one use up the places of the sample's.
            update.address = format!("77{chat}");
            let reply = Action::Reply(reply);
            let plan = channel(name)
                .plan(&update, std::slice::from_ref(&reply))
                .unwrap();
            assert_eq!(channel(name).rode(&plan.answer), Some(reply), "{name}");
        }
    }
    for answer in [&b""[..], b"{}", br#"{"method":"answerCallbackQuery"}"#] {
        assert_eq!(channel("telegram").rode(answer), None);
        assert_eq!(channel("vk").rode(answer), None);
    }
}
