//! Telegram's Bot API, as far as bots can tell: messages that are there until they are deleted,
//! with the server's own words for what cannot be
//! (<https://github.com/tdlib/telegram-bot-api>, <https://github.com/tdlib/td>); files that are
//! uploaded, and fetched again. Part of `api.rs`.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::http::request::Parts;
use serde_json::{Map, Value, json};

use super::words::respond;

/// Kinds of content, as fields of a message and of the calls that send it.
const FILES: [&str; 8] = [
    "animation",
    "audio",
    "document",
    "photo",
    "sticker",
    "video",
    "video_note",
    "voice",
];

/// A file that came with a call.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    /// The name of its part of the form.
    pub(crate) part: String,
    /// The name that it is given.
    pub(crate) name: String,
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
}

/// What a chat shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) id: u64,
    /// The message as Telegram has it.
    pub(crate) message: Value,
}

#[derive(Default)]
pub(super) struct Telegram {
    /// By chat and number.
    messages: BTreeMap<(String, u64), Value>,
    /// What was taken by its id: the last number of each chat.
    last: HashMap<String, u64>,
    /// Files that can be fetched: by id, and by path.
    files: HashMap<String, (String, Bytes)>,
    /// Presses that were answered.
    answered: HashSet<String>,
    /// Topics of groups: the group and the number.
    topics: HashSet<(String, u64)>,
}

/// A call's parameters, and its files.
pub(super) fn read(head: &Parts, body: &[u8]) -> Option<(Value, Vec<Upload>)> {
    let media_type = head.headers.get("content-type")?.to_str().ok()?;
    match media_type.split_once("boundary=") {
        None => Some((serde_json::from_slice(body).ok()?, Vec::new())),
        Some((_, boundary)) => form(boundary, body),
    }
}

/// A form (RFC 7578). What is no text there is JSON.
fn form(boundary: &str, body: &[u8]) -> Option<(Value, Vec<Upload>)> {
    let mut fields = Map::new();
    let mut uploads = Vec::new();
    let delimiter = format!("--{boundary}");
    let mut rest = body.strip_prefix(delimiter.as_bytes())?;
    let delimiter = format!("\r\n{delimiter}");
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let end = find(part, delimiter.as_bytes())?;
        let (part, after) = part.split_at(end);
        rest = &after[delimiter.len()..];
        let blank = find(part, b"\r\n\r\n")?;
        let head = std::str::from_utf8(&part[..blank]).ok()?;
        let content = &part[blank + 4..];
        let quoted = |name: &str| {
            let (_, value) = head.split_once(&format!("; {name}=\""))?;
            Some(value.split_once('"')?.0.to_owned())
        };
        let name = quoted("name")?;
        match quoted("filename") {
            Some(file) => uploads.push(Upload {
                part: name,
                name: file,
                media_type: head.split_once("Content-Type: ")?.1.trim().to_owned(),
                bytes: Bytes::copy_from_slice(content),
            }),
            None => {
                let text = std::str::from_utf8(content).ok()?;
                let is_json = text.starts_with(['{', '[']) || text == "true";
                let value = match is_json {
                    true => serde_json::from_str(text).ok()?,
                    false => Value::from(text),
                };
                fields.insert(name, value);
            }
        }
    }
    (rest.starts_with(b"--")).then_some((Value::Object(fields), uploads))
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn ok(result: Value) -> Response<Full<Bytes>> {
    respond(200, json!({"ok": true, "result": result}).to_string())
}

pub(super) fn error(status: u16, description: &str) -> Response<Full<Bytes>> {
    let error = json!({"ok": false, "error_code": status, "description": description});
    respond(status, error.to_string())
}

fn bad(description: &str) -> Response<Full<Bytes>> {
    error(400, &format!("Bad Request: {description}"))
}

/// A number that may be written as text, as in forms.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// An id, as text.
pub(super) fn id(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Telegram {
    /// Does what is called for, and answers.
    pub(super) fn call(
        &mut self,
        method: &str,
        body: &Value,
        uploads: &[Upload],
    ) -> Response<Full<Bytes>> {
        let unused = uploads.iter().find(|upload| {
            !body
                .to_string()
                .contains(&format!("attach://{}", upload.part))
        });
        assert!(
            unused.is_none(),
            "a file that is nowhere named: {unused:?} {body}"
        );
        let lower = method.to_ascii_lowercase();
        match lower.as_str() {
            "getfile" => return self.get_file(&id(&body["file_id"])),
            "getme" => {
                return ok(
                    json!({"id": 12345, "is_bot": true, "first_name": "Bot", "username": "test_bot"}),
                );
            }
            "getchatmember" => {
                let user =
                    json!({"id": number(&body["user_id"]), "is_bot": false, "first_name": "Ann"});
                return ok(json!({"status": "member", "user": user}));
            }
            "sendmediagroup" => return self.send_album(body),
            "copymessage" => return self.copy(body),
            "createforumtopic" => return self.open_topic(body),
            "deletebusinessmessages"
            | "setmessagereaction"
            | "banchatmember"
            | "pinchatmessage" => return ok(json!(true)),
            _ => {}
        }
        if let Some(what) = lower.strip_prefix("editmessage") {
            return self.edit(what, body);
        }
        if lower == "deletemessage" {
            let key = (
                id(&body["chat_id"]),
                number(&body["message_id"]).unwrap_or(0),
            );
            return match self.messages.remove(&key) {
                Some(_) => ok(json!(true)),
                None => bad("message to delete not found"),
            };
        }
        if lower.starts_with("answer") {
            return self.answer(&lower, body);
        }
        if lower.starts_with("send") {
            return self.send(body);
        }
        error(404, "Not Found: method not found")
    }

    fn next(&mut self, chat: &str) -> u64 {
        let last = self.last.entry(chat.to_owned()).or_insert(1000);
        *last += 1;
        *last
    }

    fn send(&mut self, body: &Value) -> Response<Full<Bytes>> {
        if let Some(text) = body["text"].as_str()
            && text.trim().is_empty()
        {
            return bad("message text is empty");
        }
        ok(self.put(body))
    }

    /// A message with what a call said.
    fn put(&mut self, body: &Value) -> Value {
        let chat = id(&body["chat_id"]);
        let number = self.next(&chat);
        let id: Value = chat.parse::<i64>().map_or(json!(chat), Value::from);
        let mut message = json!({"message_id": number, "date": 1, "chat": {"id": id}});
        for field in [
            "text",
            "caption",
            "entities",
            "caption_entities",
            "latitude",
            "longitude",
            "title",
            "address",
            "phone_number",
            "first_name",
            "reply_markup",
            "message_thread_id",
        ] {
            if let Some(value) = body.get(field) {
                message[field] = value.clone();
            }
        }
        for field in FILES {
            if let Some(file) = body.get(field) {
                message[field] = json!({ "file_id": file });
            }
        }
        self.messages.insert((chat, number), message.clone());
        message
    }

    /// Puts the copy of a message there. Of one that a user sent only the number is known.
    fn copy(&mut self, body: &Value) -> Response<Full<Bytes>> {
        let chat = id(&body["chat_id"]);
        if let Some(topic) = body.get("message_thread_id") {
            let topic = number(topic).unwrap_or(0);
            if !self.topics.contains(&(chat, topic)) {
                return bad("message thread not found");
            }
        }
        let from = id(&body["from_chat_id"]);
        let source = number(&body["message_id"]).unwrap_or(0);
        let known = self.messages.get(&(from, source)).cloned();
        let mut copy = known.unwrap_or_else(|| json!({}));
        for (name, value) in body.as_object().into_iter().flatten() {
            copy[name] = value.clone();
        }
        ok(json!({ "message_id": self.put(&copy)["message_id"] }))
    }

    fn open_topic(&mut self, body: &Value) -> Response<Full<Bytes>> {
        let name = body["name"].as_str().unwrap_or_default();
        if !(1..=128).contains(&name.chars().count()) {
            return bad("TOPIC_TITLE_EMPTY");
        }
        let chat = id(&body["chat_id"]);
        // It is the number of the message that says so.
        let topic = self.next(&chat);
        self.topics.insert((chat, topic));
        ok(json!({"message_thread_id": topic, "name": name, "icon_color": 0x6F_B9F0}))
    }

    fn send_album(&mut self, body: &Value) -> Response<Full<Bytes>> {
        let Some(media) = body["media"].as_array() else {
            return bad("can't parse media JSON object");
        };
        if !(2..=10).contains(&media.len()) || body.get("reply_markup").is_some() {
            return bad("an album has 2 to 10 files, and no buttons");
        }
        let kind = |media: &Value| match media["type"].as_str() {
            Some("photo" | "video") => "shown",
            Some("document") => "document",
            Some("audio") => "audio",
            _ => "?",
        };
        if media
            .iter()
            .any(|one| kind(one) != kind(&media[0]) || kind(one) == "?")
        {
            return bad("can't mix media of these types");
        }
        let mut sent = Vec::new();
        for one in media.clone() {
            let mut single = one.clone();
            single["chat_id"] = body["chat_id"].clone();
            let field = one["type"].as_str().unwrap_or("?").to_owned();
            single[&field] = one["media"].clone();
            sent.push(self.put(&single));
        }
        ok(json!(sent))
    }

    fn edit(&mut self, what: &str, body: &Value) -> Response<Full<Bytes>> {
        if body.get("inline_message_id").is_some() {
            return ok(json!(true));
        }
        let key = (
            id(&body["chat_id"]),
            number(&body["message_id"]).unwrap_or(0),
        );
        let Some(message) = self.messages.get_mut(&key) else {
            return bad("message to edit not found");
        };
        let is_file = FILES.iter().any(|field| message.get(*field).is_some());
        let before = message.clone();
        match what {
            "text" if is_file => return bad("there is no text in the message to edit"),
            "text" => {
                message["text"] = body["text"].clone();
                message["entities"] = body["entities"].clone();
            }
            "caption" if !is_file => return bad("there is no caption in the message to edit"),
            "caption" => message["caption"] = body["caption"].clone(),
            "media" => {
                let fields = message.as_object_mut().expect("an object");
                for field in FILES.iter().chain(&["text", "caption", "entities"]) {
                    fields.remove(*field);
                }
                let media = &body["media"];
                message[media["type"].as_str().unwrap_or("?")] = json!({"file_id": media["media"]});
                if let Some(caption) = media.get("caption") {
                    message["caption"] = caption.clone();
                }
            }
            _ => {}
        }
        match body.get("reply_markup") {
            Some(markup) => message["reply_markup"] = markup.clone(),
            None => drop(
                message
                    .as_object_mut()
                    .expect("an object")
                    .remove("reply_markup"),
            ),
        }
        let fields = message.as_object_mut().expect("an object");
        fields.retain(|_, value| !value.is_null());
        if *message == before {
            return bad(
                "message is not modified: specified new message content and reply markup are \
                exactly the same as a current content and reply markup of the message",
            );
        }
        ok(message.clone())
    }

    fn answer(&mut self, method: &str, body: &Value) -> Response<Full<Bytes>> {
        let field = method.trim_start_matches("answer");
        let field = match field {
            "callbackquery" => "callback_query_id",
            "inlinequery" => "inline_query_id",
            "shippingquery" => "shipping_query_id",
            "precheckoutquery" => "pre_checkout_query_id",
            _ => return error(404, "Not Found: method not found"),
        };
        let question = id(&body[field]);
        match self.answered.insert(question) {
            true => ok(json!(true)),
            false => bad("query is too old and response timeout expired or query ID is invalid"),
        }
    }

    /// A file that a user sent.
    pub(super) fn add_file(&mut self, file: &str, path: &str, bytes: Bytes) {
        self.files.insert(file.to_owned(), (path.to_owned(), bytes));
    }

    fn get_file(&self, file: &str) -> Response<Full<Bytes>> {
        match self.files.get(file) {
            Some((_, bytes)) if bytes.len() > 20 << 20 => bad("file is too big"),
            Some((path, bytes)) => ok(json!({"file_id": file, "file_unique_id": "u",
                "file_size": bytes.len(), "file_path": path})),
            None => bad("invalid file_id"),
        }
    }

    /// What is at a path below `/file/bot<token>/`.
    pub(super) fn file(&self, path: &str) -> Response<Full<Bytes>> {
        // Percent-encoded as in a query, where a plus sign would be a blank.
        let query = format!("path={}", path.replace('+', "%2B"));
        let path = &super::words::fields(query.as_bytes())["path"];
        let found = self.files.values().find(|(at, _)| at == path);
        match found {
            Some((_, bytes)) => {
                let mut response = respond(200, String::new());
                *response.body_mut() = Full::from(bytes.clone());
                response
            }
            None => error(404, "Not Found"),
        }
    }

    /// What a chat shows, in order.
    pub(super) fn shown(&self, chat: &str) -> Vec<Shown> {
        let all = self.messages.iter().filter(|((of, _), _)| of == chat);
        all.map(|((_, id), message)| Shown {
            id: *id,
            message: message.clone(),
        })
        .collect()
    }
}
