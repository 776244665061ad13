//! Viber, VK and Messenger: whatever a user sends is heard, and each thing that a handler can
//! say goes out as the platform takes it.

use serde_json::{Value, json};

use crate::harness::api::{Api, Mood};
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::platforms::webhooks::{
    batch, facebook, facebook_event, facebook_text, told, viber, viber_message, viber_text, vk,
    vk_event, vk_message,
};

async fn start(api: &Api) -> Bot {
    api.configure(Setup::anything()).start().await
}

/// The calls that were taken, once there are so many.
async fn calls(api: &Api, count: usize) -> Vec<(String, Value)> {
    until("calls", SOON, || api.accepted() >= count).await;
    let taken = api.calls().into_iter().filter(|call| call.accepted);
    taken.map(|call| (call.method, call.body)).collect()
}

fn methods(calls: &[(String, Value)]) -> Vec<&str> {
    calls.iter().map(|(method, _)| method.as_str()).collect()
}

/// What the bot says it heard.
fn heard(body: &Value, field: &str) -> Value {
    let text = body[field].as_str().or(body["message"][field].as_str());
    serde_json::from_str(text.expect("a text")).expect("what was heard")
}

fn json_of(field: &Value) -> Value {
    serde_json::from_str(field.as_str().expect("a text")).expect("JSON")
}

#[tokio::test]
async fn vk_is_heard() {
    let api = Api::start();
    let bot = start(&api).await;
    let url = format!("{}/elsewhere/voice.ogg", api.url());
    let voice = json!({"type": "audio_message", "audio_message": {"id": 5, "owner_id": 7,
        "link_ogg": url, "access_key": "k"}});
    let message = json!({"attachments": [voice], "conversation_message_id": 31,
        "reply_message": {"conversation_message_id": 30, "from_id": -1, "text": "tea?"}});
    told(&bot, vk_message("e1", 7, message), "ok").await;
    told(
        &bot,
        vk_event("message_deny", "e2", json!({"user_id": 7})),
        "ok",
    )
    .await;
    let reaction = json!({"reacted_id": 7, "peer_id": 7, "cmid": 4, "reaction_id": 1});
    told(
        &bot,
        vk_event("message_reaction_event", "e3", reaction),
        "ok",
    )
    .await;
    let calls = calls(&api, 3).await;
    let first = heard(&calls[0].1, "message");
    assert_eq!(
        (&first["kind"], &first["bytes"]),
        (&json!("message"), &json!(18))
    );
    assert_eq!(
        first["files"],
        json!([{"type": "voice", "id": "audio_message7_5_k", "url": url,
            "media_type": "audio/ogg"}])
    );
    assert_eq!(
        first["quoted"],
        json!({"message": "30", "text": "tea?", "sender": "-1"})
    );
    assert_eq!(heard(&calls[1].1, "message")["kind"], "left");
    let reaction = heard(&calls[2].1, "message");
    assert_eq!(
        (&reaction["kind"], &reaction["message"]),
        (&json!("reaction"), &json!("4"))
    );
    bot.stop().await.assert_sound();
}

/// A message has a name; it is edited and deleted by it, also after a crash.
#[tokio::test]
async fn vk_messages_have_names() {
    let api = Api::start();
    let bot = start(&api).await;
    let menu = r#"do [{"text":"**Menu**","format":"markup","name":"menu",
        "buttons":[[{"label":"Tea","data":"tea"},{"label":"Page","url":"https://e.org"}]]}]"#;
    told(&bot, vk("e1", 7, menu), "ok").await;
    let sent = calls(&api, 1).await.remove(0).1;
    assert_eq!(
        (&sent["peer_ids"], &sent["message"]),
        (&json!("7"), &json!("Menu"))
    );
    assert_eq!(
        json_of(&sent["format_data"]),
        json!({"version": 1, "items": [{"type": "bold", "offset": 0, "length": 4}]})
    );
    assert_eq!(
        json_of(&sent["keyboard"]),
        json!({"inline": true, "buttons": [[
            {"action": {"type": "callback", "label": "Tea", "payload": "{\"button\":\"tea\"}"}},
            {"action": {"type": "open_link", "label": "Page", "link": "https://e.org"}}]]})
    );
    let bot = bot.kill_all().await.start().await;
    let pressed = |id: &str, ticket: &str, data: &str| {
        vk_event(
            "message_event",
            id,
            json!({"user_id": 7, "peer_id": 7, "event_id": ticket, "payload": {"button": data},
                "conversation_message_id": 1}),
        )
    };
    // Its press is answered, whatever else is done.
    told(
        &bot,
        pressed("e2", "t2", r#"do [{"edit":true,"text":"Tea it is"}]"#),
        "ok",
    )
    .await;
    let toast = r#"do [{"toast":"Saved"},{"edit":"menu","text":"More?"},{"delete":"menu"}]"#;
    told(&bot, pressed("e3", "t3", toast), "ok").await;
    let calls = calls(&api, 6).await;
    assert_eq!(
        methods(&calls[1..]),
        [
            "messages.sendMessageEventAnswer",
            "messages.edit",
            "messages.sendMessageEventAnswer",
            "messages.edit",
            "messages.delete",
        ]
    );
    let (answer, edit) = (&calls[1].1, &calls[2].1);
    assert_eq!(
        (
            &answer["event_id"],
            &answer["user_id"],
            answer.get("event_data")
        ),
        (&json!("t2"), &json!("7"), None)
    );
    assert_eq!(
        (&edit["peer_id"], &edit["cmid"], &edit["message"]),
        (&json!("7"), &json!("1"), &json!("Tea it is"))
    );
    assert_eq!(
        json_of(&calls[3].1["event_data"]),
        json!({"type": "show_snackbar", "text": "Saved"})
    );
    // The crash may have had it sent, and named, twice.
    let named = &calls[4].1["cmid"];
    assert!(named == "1" || named == "2", "{calls:?}");
    let delete = &calls[5].1;
    assert_eq!(
        (&delete["cmids"], &delete["delete_for_all"]),
        (named, &json!("1"))
    );
    bot.stop().await.assert_sound();
}

/// A file is fetched or read, uploaded, saved and named in the message; a second attempt
/// does it again.
#[tokio::test]
async fn vk_files_are_uploaded() {
    let api = Api::start();
    let bot = start(&api).await;
    let path = bot.setup.path("bill.pdf");
    std::fs::write(&path, "a bill").expect("a file");
    let photo = format!("{}/elsewhere/cat.png", api.url());
    let asked = json!([
        {"text": "look", "files": [{"type": "photo", "url": photo},
            {"type": "document", "path": path}, {"type": "photo", "id": "photo7_5"}]},
        {"files": [{"type": "sticker", "id": "9"}]},
        {"files": [{"type": "voice", "base64": "YQ==", "name": "a.ogg"}]},
        {"location": {"latitude": 48.5, "longitude": 16.25, "title": "Vienna"}},
        {"contact": {"phone": "+43", "name": "Ann"}, "quote": true, "no_preview": true},
        {"text": "keys", "keyboard": {"once": [[{"label": "Yes"}], [{"label": "Where",
            "request": "location"}]]}},
        {"text": "no keys", "keyboard": "remove"},
    ]);
    let message = json!({"text": format!("do {asked}"), "conversation_message_id": 31});
    told(&bot, vk_message("e1", 7, message), "ok").await;
    let calls = calls(&api, 16).await;
    assert_eq!(
        methods(&calls),
        [
            "photos.getMessagesUploadServer",
            "photo",
            "photos.saveMessagesPhoto",
            "docs.getMessagesUploadServer",
            "file",
            "docs.save",
            "messages.send",
            "messages.send",
            "docs.getMessagesUploadServer",
            "file",
            "docs.save",
            "messages.send",
            "messages.send",
            "messages.send",
            "messages.send",
            "messages.send",
        ]
    );
    let body = |place: usize| &calls[place].1;
    assert_eq!(
        body(1)["photo"],
        json!({"filename": "cat.png", "type": "image/png", "content": "the file cat.png"})
    );
    assert_eq!(body(2)["hash"], "h");
    assert_eq!(
        body(4)["file"],
        json!({"filename": "bill.pdf", "type": "application/pdf", "content": "a bill"})
    );
    assert_eq!(body(5)["title"], "bill.pdf");
    assert_eq!(
        (&body(6)["attachment"], &body(6)["message"]),
        (&json!("photo-1_2_k,doc-1_5,photo7_5"), &json!("look"))
    );
    assert_eq!(body(7)["sticker_id"], "9");
    assert_eq!(body(8)["type"], "audio_message");
    assert_eq!(
        (&body(12)["lat"], &body(12)["long"], &body(12)["message"]),
        (&json!("48.5"), &json!("16.25"), &json!("Vienna"))
    );
    let card = body(13);
    assert_eq!(
        (&card["message"], &card["dont_parse_links"]),
        (&json!("Ann: +43"), &json!("1"))
    );
    assert_eq!(
        json_of(&card["forward"]),
        json!({"peer_id": 7, "conversation_message_ids": [31], "is_reply": 1})
    );
    assert_eq!(
        json_of(&body(14)["keyboard"]),
        json!({"one_time": true, "inline": false, "buttons": [
            [{"action": {"type": "text", "label": "Yes"}}], [{"action": {"type": "location"}}]]})
    );
    assert_eq!(
        json_of(&body(15)["keyboard"]),
        json!({"buttons": [], "one_time": true})
    );
    let ids: std::collections::HashSet<_> = api
        .called("messages.send")
        .iter()
        .map(|body| body["random_id"].to_string())
        .collect();
    assert_eq!(ids.len(), 7);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn any_method_can_be_called() {
    let api = Api::start();
    let bot = start(&api).await;
    told(
        &bot,
        vk("e1", 7, r#"call users.get {"fields":["sex","city"]}"#),
        "ok",
    )
    .await;
    told(
        &bot,
        vk("e2", 7, r#"do [{"call":"messages.markAsRead"}]"#),
        "ok",
    )
    .await;
    let of_vk = calls(&api, 3).await;
    assert_eq!(
        methods(&of_vk),
        ["users.get", "messages.send", "messages.markAsRead"]
    );
    let asked = &of_vk[0].1;
    assert_eq!(
        (&asked["user_ids"], &asked["fields"]),
        (&json!("7"), &json!("sex,city"))
    );
    assert_eq!(of_vk[2].1["peer_id"], "7");
    assert_eq!(
        json_of(&of_vk[1].1["message"]),
        json!([{"id": 7, "first_name": "Ann"}])
    );
    told(
        &bot,
        viber(&viber_text(1, "u", "call get_user_details")),
        "",
    )
    .await;
    let of_viber = calls(&api, 5).await;
    assert_eq!(
        methods(&of_viber[3..]),
        ["get_user_details", "send_message"]
    );
    assert_eq!(of_viber[3].1["id"], "u");
    let ask = facebook_text("m_1", "5", r#"call GET 5 {"fields":"first_name"}"#);
    told(&bot, facebook(batch(&[ask])), "").await;
    let of_facebook = calls(&api, 7).await;
    assert_eq!(methods(&of_facebook[5..]), ["5", "messages"]);
    assert_eq!(of_facebook[5].1["fields"], "first_name");
    let said = &of_facebook[6].1["message"]["text"];
    assert_eq!(json_of(said)["first_name"], "Ann");
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn viber_hears_and_says() {
    let api = Api::start();
    let bot = start(&api).await;
    let url = format!("{}/elsewhere/a.pdf", api.url());
    let file = json!({"type": "file", "media": url, "file_name": "a.pdf", "size": 14});
    told(&bot, viber(&viber_message(1, "u", file)), "").await;
    let gone = json!({"event": "unsubscribed", "message_token": 2, "user_id": "u"});
    told(&bot, viber(&gone), "").await;
    let calls_so_far = calls(&api, 2).await;
    let first = heard(&calls_so_far[0].1, "text");
    assert_eq!(
        (&first["bytes"], &first["message"]),
        (&json!(14), &json!("1"))
    );
    assert_eq!(first["sender"], json!({"name": "John", "language": "en"}));
    assert_eq!(heard(&calls_so_far[1].1, "text")["kind"], "left");
    let asked = json!([
        {"text": "look", "files": [{"type": "document", "url": url}]},
        {"location": {"latitude": 48.5, "longitude": 16.25, "title": "Vienna"}},
        {"contact": {"phone": "+43", "name": "Ann"}},
        {"files": [{"type": "sticker", "id": "46105"}]},
        {"text": "a < b", "buttons": [[{"label": "<Yes>", "data": "yes"},
            {"label": "Page", "url": "https://e.org"}, {"label": "No", "data": "no"},
            {"label": "Say"}]], "keyboard": {"rows": [[{"label": "Me", "request": "contact"}]]}},
        {"toast": "Saved"},
    ]);
    told(&bot, viber(&viber_text(3, "u", &format!("do {asked}"))), "").await;
    let calls = calls(&api, 10).await;
    let body = |place: usize| &calls[place + 2].1;
    let types: Vec<_> = (0..8)
        .map(|place| body(place)["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "file", "text", "location", "text", "contact", "sticker", "text", "text"
        ]
    );
    assert_eq!(
        (&body(0)["media"], &body(0)["size"], &body(0)["file_name"]),
        (&json!(url), &json!(14), &json!("a.pdf"))
    );
    assert_eq!(body(2)["location"], json!({"lat": 48.5, "lon": 16.25}));
    assert_eq!(body(3)["text"], "Vienna");
    assert_eq!(
        body(4)["contact"],
        json!({"name": "Ann", "phone_number": "+43"})
    );
    assert_eq!(body(5)["sticker_id"], 46105);
    let keys = body(6)["keyboard"]["Buttons"].as_array().unwrap();
    let key = |place: usize, name: &str| keys[place][name].clone();
    let columns: Vec<_> = (0..5).map(|place| key(place, "Columns")).collect();
    assert_eq!(columns, [2, 2, 1, 1, 6]);
    assert_eq!(key(0, "Text"), "&lt;Yes&gt;");
    assert_eq!(
        (key(1, "ActionType"), key(1, "ActionBody")),
        ("open-url".into(), "https://e.org".into())
    );
    assert_eq!(
        (key(3, "ActionBody"), key(3, "Silent")),
        ("Say".into(), false.into())
    );
    assert_eq!(key(4, "ActionType"), "share-phone");
    assert_eq!(body(7)["text"], "Saved");
    bot.stop().await.assert_sound();
}

/// A hundred messages in an hour to one who says nothing: the others go on.
#[tokio::test]
async fn one_silent_user_slows_no_other_on_viber() {
    let api = Api::start();
    api.be("silent", &[Mood::Flood(2)]);
    let bot = start(&api).await;
    told(
        &bot,
        viber(&viber_text(1, "silent", r#"do [{"text":"late"}]"#)),
        "",
    )
    .await;
    until("a refusal", SOON, || api.calls().len() == 1).await;
    told(
        &bot,
        viber(&viber_text(2, "other", r#"do [{"text":"soon"}]"#)),
        "",
    )
    .await;
    until("a reply", SOON, || api.received("other") == ["soon"]).await;
    assert!(api.received("silent").is_empty());
    until("the other", SOON, || api.received("silent") == ["late"]).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn messenger_hears_and_says() {
    let api = Api::start();
    let bot = start(&api).await;
    let url = format!("{}/elsewhere/v.mp4", api.url());
    let video = json!({"mid": "m_1", "attachments": [{"type": "video", "payload": {"url": url}}],
        "reply_to": {"mid": "m_0"}});
    let standby = json!({"id": "1067280970047460", "time": 1, "standby": [
        facebook_text("m_2", "5", "for another")]});
    let events = [
        facebook_event("5", json!({"message": video})),
        facebook_event(
            "5",
            json!({"reaction": {"emoji": "❤", "action": "react", "mid": "m_0"}}),
        ),
    ];
    let mut body: Value = serde_json::from_str(&batch(&events)).unwrap();
    body["entry"].as_array_mut().unwrap().push(standby);
    told(&bot, facebook(body.to_string()), "").await;
    let so_far = calls(&api, 2).await;
    let first = heard(&so_far[0].1, "text");
    assert_eq!(
        (&first["bytes"], &first["quoted"]["message"]),
        (&json!(14), &json!("m_0"))
    );
    assert_eq!(heard(&so_far[1].1, "text")["kind"], "reaction");
    let path = bot.setup.path("bill.pdf");
    std::fs::write(&path, "a bill").expect("a file");
    let asked = json!([
        {"files": [{"type": "document", "path": path}], "silent": true},
        {"files": [{"type": "voice", "url": "https://e.org/a.ogg"}, {"type": "photo", "id": "77"}]},
        {"text": "which?", "buttons": [[{"label": "Tea", "data": "tea"}],
            [{"label": "Page", "url": "https://e.org"}], [{"label": "Call", "phone": "+43"}]]},
        {"text": "and?", "keyboard": {"rows": [[{"label": "Yes"}, {"label": "Me",
            "request": "contact"}]]}},
        {"location": {"latitude": 48.5, "longitude": 16.25}},
        {"toast": "Saved"},
    ]);
    let said = facebook_text("m_3", "5", &format!("do {asked}"));
    told(&bot, facebook(batch(&[said])), "").await;
    let calls = calls(&api, 9).await;
    let body = |place: usize| &calls[place + 2].1;
    let upload = body(0);
    assert_eq!(
        (&upload["recipient"], &upload["message"]),
        (
            &json!({"id": "5"}),
            &json!({"attachment": {"type": "file", "payload": {}}})
        )
    );
    assert_eq!(upload["notification_type"], "SILENT_PUSH");
    assert_eq!(
        upload["filedata"],
        json!({"filename": "bill.pdf", "type": "application/pdf", "content": "a bill"})
    );
    assert_eq!(
        body(1)["message"]["attachment"],
        json!({"type": "audio", "payload": {"url": "https://e.org/a.ogg"}})
    );
    assert_eq!(
        body(2)["message"]["attachment"]["payload"],
        json!({"attachment_id": "77"})
    );
    assert_eq!(
        body(3)["message"]["attachment"]["payload"],
        json!({"template_type": "button", "text": "which?", "buttons": [
            {"type": "postback", "title": "Tea", "payload": "tea"},
            {"type": "web_url", "title": "Page", "url": "https://e.org"},
            {"type": "phone_number", "title": "Call", "payload": "+43"}]})
    );
    assert_eq!(
        body(4)["message"]["quick_replies"],
        json!([{"content_type": "text", "title": "Yes", "payload": "{\"turnkey\":\"say\"}"},
            {"content_type": "user_phone_number"}])
    );
    let place = body(5)["message"]["text"].as_str().unwrap();
    assert!(place.starts_with("https://www.google.com/maps/"), "{place}");
    assert_eq!(body(6)["message"]["text"], "Saved");
    bot.stop().await.assert_sound();
    assert_eq!(api.calls().len(), 9, "nothing was said in standby");
}

/// While a handler takes its time its user sees that somebody writes, where the platform
/// shows that.
#[tokio::test]
async fn typing_is_shown() {
    let api = Api::start();
    let bot = api.configure(Setup::commands()).start().await;
    told(&bot, vk("e1", 7, "sleep 1500"), "ok").await;
    let said = facebook_text("m_1", "5", "sleep 1500");
    told(&bot, facebook(batch(&[said])), "").await;
    told(&bot, viber(&viber_text(1, "u", "sleep 1500")), "").await;
    until("three replies", SOON, || api.accepted() == 3).await;
    let shown = api.typed();
    let on_messenger = json!({"recipient": {"id": "5"}, "sender_action": "typing_on"});
    assert!(shown.contains(&on_messenger), "{shown:?}");
    let on_vk = shown.iter().find(|body| body["peer_id"] == "7").unwrap();
    assert_eq!(on_vk["type"], "typing");
    bot.stop().await.assert_sound();
}
