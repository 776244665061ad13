//! The calls and answers of each platform's API, in its own words.

use std::collections::HashMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use serde_json::{Value, json};

use super::telegram::{self, Upload};
use super::{FACEBOOK_SECRET, FACEBOOK_TOKEN, TOKEN, VIBER_TOKEN, VK_TOKEN};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Platform {
    Telegram,
    Viber,
    Facebook,
    Vk,
}

/// Whose call it is, and what it holds; none if address or token are wrong.
pub(super) fn read(
    head: &hyper::http::request::Parts,
    body: &[u8],
) -> Option<(Platform, Value, Vec<Upload>)> {
    let path = head.uri.path();
    if path.starts_with(&format!("/bot{TOKEN}/")) {
        let (body, uploads) = telegram::read(head, body)?;
        return Some((Platform::Telegram, body, uploads));
    }
    read_other(head, body).map(|(platform, body)| (platform, body, Vec::new()))
}

fn read_other(head: &hyper::http::request::Parts, body: &[u8]) -> Option<(Platform, Value)> {
    let json = || serde_json::from_slice(body).ok();
    let header = |name| head.headers.get(name).and_then(|v| v.to_str().ok());
    let path = head.uri.path();
    match path {
        _ if path.starts_with("/pa/") && header("x-viber-auth-token") == Some(VIBER_TOKEN) => {
            Some((Platform::Viber, json()?))
        }
        _ if path.starts_with("/method/") => {
            let form = fields(body);
            let is_form = header("content-type") == Some("application/x-www-form-urlencoded");
            let is_ours = is_form && form["access_token"] == VK_TOKEN && form["v"] == "5.199";
            is_ours.then(|| (Platform::Vk, json!(form)))
        }
        // Where VK says that files are uploaded to.
        "/upload/photo" | "/upload/file" => {
            let parts = parts(header("content-type")?, body)?;
            Some((Platform::Vk, parts))
        }
        _ => {
            let query = fields(head.uri.query()?.as_bytes());
            let is_ours = query.get("access_token")? == FACEBOOK_TOKEN
                && query["appsecret_proof"]
                    == crate::platforms::webhooks::signature(
                        FACEBOOK_SECRET,
                        FACEBOOK_TOKEN.as_bytes(),
                    );
            let said = match header("content-type") {
                _ if head.method == hyper::Method::GET => json!(query),
                Some(form) if form.starts_with("multipart/") => {
                    let mut parts = parts(form, body)?;
                    for name in ["recipient", "message"] {
                        let json = parts[name]
                            .as_str()
                            .and_then(|p| serde_json::from_str(p).ok());
                        parts[name] = json?;
                    }
                    parts
                }
                _ => json()?,
            };
            is_ours.then_some((Platform::Facebook, said))
        }
    }
}

/// The parts of a form: of a file its name, its type and its bytes as text.
fn parts(media_type: &str, body: &[u8]) -> Option<Value> {
    let boundary = media_type.strip_prefix("multipart/form-data; boundary=")?;
    let text = String::from_utf8_lossy(body);
    let text = text.strip_suffix(&format!("--{boundary}--\r\n"))?;
    let mut parts = json!({});
    for part in text.split(&format!("--{boundary}\r\n")).skip(1) {
        let (head, content) = part.split_once("\r\n\r\n")?;
        let content = content.strip_suffix("\r\n")?;
        let quoted = |name: &str| {
            let (_, rest) = head.split_once(&format!("; {name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let name = quoted("name")?;
        parts[name] = match quoted("filename") {
            Some(file) => json!({"filename": file, "content": content,
                "type": head.split_once("Content-Type: ")?.1}),
            None => content.into(),
        };
    }
    Some(parts)
}

/// The fields of a form or query.
pub(crate) fn fields(text: &[u8]) -> HashMap<String, String> {
    form_urlencoded::parse(text).into_owned().collect()
}

/// What Telegram and Viber call the bot, if that is asked.
pub(super) fn own_name(method: &str) -> Option<Value> {
    match method {
        "getMe" => Some(json!({"ok": true, "result":
            {"id": 1, "is_bot": true, "first_name": "Tea <Bot>", "username": "tea_bot"}})),
        "get_account_info" => {
            Some(json!({"status": 0, "status_message": "ok", "name": "Tea of Viber"}))
        }
        _ => None,
    }
}

/// The answer to a call that only shows something.
pub(super) fn accepted_shown(platform: Platform) -> String {
    match platform {
        Platform::Telegram => json!({"ok": true, "result": true}),
        Platform::Viber => json!({"status": 0, "status_message": "ok"}),
        Platform::Facebook => json!({"recipient_id": "1"}),
        Platform::Vk => json!({"response": 1}),
    }
    .to_string()
}

/// The answer to a call that is taken; `number` is its own, `host` is ours.
pub(super) fn accepted(platform: Platform, method: &str, number: usize, host: &str) -> String {
    match platform {
        Platform::Telegram => json!({"ok": true, "result": {}}),
        Platform::Viber => {
            json!({"status": 0, "status_message": "ok", "message_token": 5_741_311_803_571_721_087_u64})
        }
        Platform::Facebook => {
            json!({"recipient_id": "1", "message_id": format!("m_{number}"), "first_name": "Ann"})
        }
        Platform::Vk => match method {
            "messages.send" => json!({"response": [
                {"peer_id": 7, "message_id": 0, "conversation_message_id": number + 1}]}),
            "photos.getMessagesUploadServer" => {
                json!({"response": {"upload_url": format!("http://{host}/upload/photo"),
                    "album_id": -64, "user_id": 7}})
            }
            "docs.getMessagesUploadServer" => {
                json!({"response": {"upload_url": format!("http://{host}/upload/file")}})
            }
            "photo" => json!({"server": 5, "photo": "[{\"photo\":\"x\"}]", "hash": "h"}),
            "file" => json!({"file": "token of the file"}),
            "photos.saveMessagesPhoto" => {
                json!({"response": [{"id": number, "owner_id": -1, "access_key": "k"}]})
            }
            "docs.save" => json!({"response": {"type": "doc",
                "doc": {"id": number, "owner_id": -1, "title": "x", "url": "u"}}}),
            "users.get" => json!({"response": [{"id": 7, "first_name": "Ann"}]}),
            _ => json!({"response": 1}),
        },
    }
    .to_string()
}

pub(super) fn flood(platform: Platform, seconds: u64) -> Response<Full<Bytes>> {
    let (status, body) = match platform {
        Platform::Telegram => (
            429,
            json!({
                "ok": false, "error_code": 429, "description": "Too Many Requests",
                "parameters": {"retry_after": seconds}
            }),
        ),
        Platform::Viber => (
            200,
            json!({"status": 12, "status_message": "tooManyRequests"}),
        ),
        Platform::Facebook => (
            400,
            json!({"error": {"message": "(#613) Calls to this api have exceeded the rate limit.",
                "type": "OAuthException", "code": 613, "fbtrace_id": "x"}}),
        ),
        Platform::Vk => (
            200,
            json!({"error": {"error_code": 6, "error_msg": "Too many requests per second"}}),
        ),
    };
    let mut response = respond(status, body.to_string());
    if platform != Platform::Telegram {
        let headers = response.headers_mut();
        headers.insert("retry-after", seconds.into());
    }
    response
}

pub(super) fn blocked(platform: Platform) -> Response<Full<Bytes>> {
    let (status, body) = match platform {
        Platform::Telegram => (
            403,
            json!({
                "ok": false, "error_code": 403,
                "description": "Forbidden: bot was blocked by the user"
            }),
        ),
        Platform::Viber => (
            200,
            json!({"status": 6, "status_message": "blocked by the user: notSubscribed"}),
        ),
        // Facebook is known to quote the token.
        Platform::Facebook => (
            400,
            json!({"error": {"message": format!("(#551) blocked by the user {FACEBOOK_TOKEN}"),
                "type": "OAuthException", "code": 551, "error_subcode": 1_545_041}}),
        ),
        Platform::Vk => (
            200,
            json!({"error": {"error_code": 901, "error_msg": "blocked by the user"}}),
        ),
    };
    respond(status, body.to_string())
}

pub(super) fn moved(new: i64) -> Response<Full<Bytes>> {
    let body = json!({
        "ok": false, "error_code": 400,
        "description": "Bad Request: group chat was upgraded to a supergroup chat",
        "parameters": {"migrate_to_chat_id": new}
    });
    respond(400, body.to_string())
}

pub(super) fn failing(platform: Platform) -> Response<Full<Bytes>> {
    let (status, body) = match platform {
        Platform::Telegram => (
            500,
            json!({"ok": false, "error_code": 500, "description": "Internal Server Error: it fails"}),
        ),
        Platform::Viber => (200, json!({"status": 99, "status_message": "it fails"})),
        Platform::Facebook => (
            500,
            json!({"error": {"message": "it fails", "type": "OAuthException", "code": 1}}),
        ),
        Platform::Vk => (
            200,
            json!({"error": {"error_code": 10, "error_msg": "Internal server error: it fails"}}),
        ),
    };
    respond(status, body.to_string())
}

pub(crate) fn respond(status: u16, body: String) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status);
    response.body(Full::from(body)).expect("a response")
}
