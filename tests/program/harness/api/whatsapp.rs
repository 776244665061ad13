//! The WhatsApp Cloud API: messages, uploads, and files that users sent.

use bytes::Bytes;
use http_body_util::Full;
use hyper::http::request::Parts;
use hyper::{Method, Response};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::words::{fields, respond};
use super::{Call, Mood, State};
use crate::harness::bot::Setup;
use crate::platforms::webhooks::signature;

/// The id of the phone number that the bot speaks as.
pub(crate) const NUMBER: &str = "106540352242922";
pub(crate) const WHATSAPP_TOKEN: &str = "EAAJ/secret of the system user";
pub(crate) const WHATSAPP_SECRET: &str = "secret of the other app";
pub(crate) const VERIFY_TOKEN: &str = "verify that number";

/// What a file holds that a user sent; its id is `MEDIA`.
pub(crate) const FILE: &[u8] = b"OggS of a user";
pub(crate) const MEDIA: &str = "1003383421387256";

/// The same bot on WhatsApp, too.
pub(crate) fn whatsapp(setup: Setup, url: &str) -> Setup {
    setup
        .args(&["--whatsapp-api-url", url])
        .args(&["--whatsapp-phone-number-id", NUMBER])
        .env("TURNKEY_WHATSAPP_TOKEN", WHATSAPP_TOKEN)
        .env("TURNKEY_WHATSAPP_SECRET", WHATSAPP_SECRET)
        .env("TURNKEY_WHATSAPP_VERIFY_TOKEN", VERIFY_TOKEN)
}

/// Changes when calls that wait for their answer are let go.
pub(super) type Release = watch::Receiver<u64>;

/// The answer to a call of WhatsApp's, and what comes before it is given; none if it is another
/// platform's.
pub(super) fn answer(
    head: &Parts,
    body: &[u8],
    state: &mut State,
) -> Option<(Response<Full<Bytes>>, Option<Release>)> {
    let mut is_taken = false;
    let answer = said(head, body, state, &mut is_taken)?;
    Some((answer, is_taken.then(|| state.releases.subscribe())))
}

fn said(
    head: &Parts,
    body: &[u8],
    state: &mut State,
    is_taken: &mut bool,
) -> Option<Response<Full<Bytes>>> {
    let path = head.uri.path();
    let header = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok());
    let query = fields(head.uri.query().unwrap_or_default().as_bytes());
    let bears = header("authorization") == Some(&format!("Bearer {WHATSAPP_TOKEN}"));
    if path == "/whatsapp-files/voice.ogg" {
        return Some(match bears {
            true => Response::new(Full::from(FILE)),
            false => respond(401, String::new()),
        });
    }
    let is_message = path == format!("/{NUMBER}/messages");
    let is_upload = path == format!("/{NUMBER}/media");
    let is_file = path == format!("/{MEDIA}") && head.method == Method::GET;
    let is_own_name = path == format!("/{NUMBER}") && head.method == Method::GET;
    if !(is_message || is_upload || is_file || is_own_name) {
        return None;
    }
    let proof = signature(WHATSAPP_SECRET, WHATSAPP_TOKEN.as_bytes());
    let is_ours = bears
        || query
            .get("access_token")
            .is_some_and(|t| t == WHATSAPP_TOKEN);
    if !is_ours || query.get("appsecret_proof") != Some(&proof) {
        return Some(error(401, 190, "Invalid OAuth access token"));
    }
    if is_own_name {
        let name = json!({"id": NUMBER, "verified_name": "Tea of WhatsApp"});
        return Some(respond(200, name.to_string()));
    }
    if is_file {
        let host = header("host").unwrap_or_default();
        let url = format!("http://{host}/whatsapp-files/voice.ogg");
        return Some(respond(200, json!({"url": url, "id": MEDIA}).to_string()));
    }
    let (chat, text, content) = match is_upload {
        true => {
            let form = String::from_utf8_lossy(body);
            let is_whole = form.contains("name=\"messaging_product\"\r\n\r\nwhatsapp\r\n")
                && form.contains("name=\"file\"; filename=");
            if !is_whole {
                return Some(error(400, 100, "an incomplete form"));
            }
            ("media".to_owned(), "?".to_owned(), json!(form))
        }
        false => {
            let body: Value = serde_json::from_slice(body).ok()?;
            let to = [&body["to"], &body["recipient"]];
            let to = to.into_iter().find_map(Value::as_str).unwrap_or("?");
            let text = [
                &body["text"]["body"],
                &body["interactive"]["body"]["text"],
                &body["image"]["caption"],
            ];
            let text = text.into_iter().find_map(Value::as_str).unwrap_or("?");
            (to.to_owned(), text.to_owned(), body)
        }
    };
    let mood = match state.moods.get_mut(&chat) {
        Some(moods) if !moods.is_empty() => moods.remove(0),
        _ => Mood::Well,
    };
    *is_taken = matches!(mood, Mood::Taken);
    let accepted = matches!(mood, Mood::Well | Mood::Taken);
    state.calls.push(Call {
        at: std::time::Instant::now(),
        chat,
        text,
        body: content,
        uploads: Vec::new(),
        method: path[path.rfind('/').unwrap_or(0) + 1..].to_owned(),
        accepted,
    });
    let count = state.calls.len();
    Some(match mood {
        Mood::Flood(_) => error(400, 130_429, "Rate limit hit"),
        Mood::Blocked => error(400, 131_026, "Message undeliverable"),
        Mood::Failing => error(500, 131_000, "Something went wrong"),
        _ if is_upload => respond(200, json!({"id": "88"}).to_string()),
        _ => respond(
            200,
            json!({"messaging_product": "whatsapp", "messages": [{"id": format!("wamid.{count}")}]})
                .to_string(),
        ),
    })
}

/// It is known to quote the token.
fn error(status: u16, code: u32, message: &str) -> Response<Full<Bytes>> {
    let message = format!("(#{code}) {message} {WHATSAPP_TOKEN}");
    let error = json!({"error": {"message": message, "type": "OAuthException", "code": code,
        "error_data": {"messaging_product": "whatsapp", "details": "so it is"}, "fbtrace_id": "x"}});
    respond(status, error.to_string())
}
