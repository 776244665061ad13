//! Files, both ways: uploaded as they are on the disk, fetched from Telegram or from the box.

use super::*;
use crate::harness::api::Mood;

#[tokio::test]
async fn files_of_the_box_are_uploaded() {
    let api = Api::start();
    let bot = start(&api).await;
    // Larger than what is read at once, and every byte.
    let film: Vec<u8> = (0..3_000_000_u32).map(|n| ((n * 7) >> 3) as u8).collect();
    let (path, other) = (bot.setup.path("film.mp4"), bot.setup.path("bill.pdf"));
    std::fs::write(&path, &film).expect("a file");
    std::fs::write(&other, "a bill").expect("a file");
    let actions = json!([
        {"text": "**watch**", "format": "markup", "name": "f", "files": [{"type": "video", "path": path}],
            "buttons": [{"label": "a", "data": "1"}]},
        {"files": [{"type": "document", "path": other, "name": "Rechnung \"7\".pdf"},
            {"type": "document", "id": "d"},
            {"type": "document", "base64": "AP8=", "name": "two.bin"}]},
    ]);
    tell(&bot, &asked(1, 7, &actions)).await;
    let calls = calls(&api, 2).await;
    let film_sent = &calls[0];
    assert_eq!(
        (film_sent.method.as_str(), film_sent.uploads.len()),
        ("sendVideo", 1)
    );
    let upload = &film_sent.uploads[0];
    assert!(upload.bytes == film, "{} bytes", upload.bytes.len());
    assert_eq!(
        (upload.name.as_str(), upload.media_type.as_str()),
        ("film.mp4", "video/mp4")
    );
    assert_eq!(film_sent.body["video"], "attach://file0");
    assert_eq!(film_sent.body["caption"], "watch");
    assert_eq!(film_sent.body["caption_entities"][0]["type"], "bold");
    assert_eq!(
        film_sent.body["reply_markup"]["inline_keyboard"][0][0]["text"],
        "a"
    );
    let album = &calls[1];
    assert_eq!(album.method, "sendMediaGroup");
    let contents: Vec<_> = album
        .uploads
        .iter()
        .map(|upload| upload.bytes.to_vec())
        .collect();
    assert_eq!(contents, [b"a bill".to_vec(), vec![0, 255]]);
    assert_eq!(album.uploads[0].name, "Rechnung %227%22.pdf");
    let media = |place: usize| album.body["media"][place]["media"].clone();
    assert_eq!(
        [media(0), media(1), media(2)],
        ["attach://file0", "d", "attach://file1"]
    );
    // In the place of a film a bill.
    let swap =
        json!([{"edit": "f", "text": "pay", "files": [{"type": "document", "path": other}]}]);
    tell(&bot, &asked(2, 7, &swap)).await;
    until("a bill in its place", SOON, || texts(&api, "7")[0] == "pay").await;
    let edit = api.calls().pop().expect("a call");
    assert_eq!(
        (edit.method.as_str(), edit.uploads[0].bytes.as_ref()),
        ("editMessageMedia", &b"a bill"[..])
    );
    bot.stop().await.assert_sound();
}

/// A call that failed is made again with the whole file; one that is not there is reported,
/// and what follows goes on.
#[tokio::test]
async fn an_upload_is_made_again_or_given_up() {
    let api = Api::start();
    let bot = start(&api).await;
    let path = bot.setup.path("a.bin");
    std::fs::write(&path, vec![7; 300_000]).expect("a file");
    api.be("7", &[Mood::Broken, Mood::Reset, Mood::Flood(1)]);
    let actions = json!([{"files": [{"type": "document", "path": path}]},
        {"files": [{"type": "document", "path": "/no/such/file"}]}, {"text": "end"}]);
    tell(&bot, &asked(1, 7, &actions)).await;
    until("a file and a text", SOON, || {
        texts(&api, "7") == ["?", "end"]
    })
    .await;
    let calls = api.calls();
    assert_eq!(
        calls.len(),
        5,
        "{:?}",
        calls.iter().map(|call| &call.method).collect::<Vec<_>>()
    );
    for call in &calls[..4] {
        assert_eq!(call.uploads[0].bytes.len(), 300_000);
    }
    assert!(bot.stderr().contains("/no/such/file"), "{}", bot.stderr());
    bot.stop().await.assert_sound();
}

fn with_file(update: u64, id: &str) -> Value {
    let mut update = text(update, 7, "");
    let message = update["message"].as_object_mut().expect("a message");
    message.remove("text");
    message.insert(
        "document".to_owned(),
        json!({"file_id": id, "file_name": "a.txt"}),
    );
    update
}

/// How many bytes the bot says a file has.
async fn bytes(bot: &Bot, update: &Value) -> Value {
    let answer = tell(bot, update).await.json();
    let said = answer["text"].as_str().expect("a text");
    serde_json::from_str::<Value>(said).expect("JSON")["bytes"].clone()
}

#[tokio::test]
async fn files_of_users_are_fetched() {
    let api = Api::start();
    let bot = start(&api).await;
    api.add_file("small", "documents/file 1ä.txt", "hello".as_bytes());
    assert_eq!(bytes(&bot, &with_file(1, "small")).await, 5);
    // A server of one's own, with `--local`, names a path of the box.
    let path = bot.setup.path("local.txt");
    std::fs::write(&path, "hello, local").expect("a file");
    api.add_file(
        "local",
        path.to_str().expect("a path"),
        "elsewhere".as_bytes(),
    );
    assert_eq!(bytes(&bot, &with_file(2, "local")).await, 12);
    // Too big for Telegram; unknown to it; more than the handler wants.
    api.add_file("huge", "documents/huge", vec![0; (20 << 20) + 1]);
    api.add_file("large", "documents/large", vec![0; (1 << 20) + 1]);
    for (update, id, why) in [
        (3, "huge", "too big"),
        (4, "none", "file_id"),
        (5, "large", "more than"),
    ] {
        let error = bytes(&bot, &with_file(update, id)).await;
        let error = error.as_str().expect("an error");
        assert!(error.contains(why) && !error.contains("secret"), "{error}");
    }
    bot.stop().await.assert_sound();
}
