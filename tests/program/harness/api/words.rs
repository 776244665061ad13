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
        "/pa/send_message" if header("x-viber-auth-token") == Some(VIBER_TOKEN) => {
            Some((Platform::Viber, json()?))
        }
        "/me/messages" => {
            let query = fields(head.uri.query()?.as_bytes());
            let is_ours = query["access_token"] == FACEBOOK_TOKEN
                && query["appsecret_proof"]
                    == crate::platforms::webhooks::signature(
                        FACEBOOK_SECRET,
                        FACEBOOK_TOKEN.as_bytes(),
                    );
            is_ours.then(json)?.map(|body| (Platform::Facebook, body))
        }
        "/method/messages.send" => {
            let form = fields(body);
            let is_form = header("content-type") == Some("application/x-www-form-urlencoded");
            let is_ours = is_form && form["access_token"] == VK_TOKEN && form["v"] == "5.199";
            is_ours.then(|| (Platform::Vk, json!(form)))
        }
        _ => None,
    }
}

/// The fields of a form or query.
pub(crate) fn fields(text: &[u8]) -> HashMap<String, String> {
    form_urlencoded::parse(text).into_owned().collect()
}

pub(super) fn accepted(platform: Platform) -> String {
    match platform {
        Platform::Telegram => json!({"ok": true, "result": {}}),
        Platform::Viber => {
            json!({"status": 0, "status_message": "ok", "message_token": 5_741_311_803_571_721_087_u64})
        }
        Platform::Facebook => json!({"recipient_id": "1", "message_id": "m_1"}),
        Platform::Vk => json!({"response": 1}),
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
