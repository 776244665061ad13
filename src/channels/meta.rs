//! What Meta's platforms share: the challenge that proves the address of a webhook, the
//! signature of what is posted to it
//! (<https://developers.facebook.com/docs/graph-api/webhooks/getting-started>), and how a call
//! of the Graph API is written.
//!
//! Called by `facebook/` and `whatsapp/`. Invariant: secrets are compared in constant time.

use hyper::{HeaderMap, StatusCode};
use serde_json::Value;

use super::incoming::genuine;
use super::signature::{is_signed, same_secret};
use super::{PlatformAnswer, Refusal};

/// The answer to a `GET` of the webhook: the challenge, if whoever asks knows our token.
pub(super) fn challenge(query: &str, verify_token: &str) -> Result<PlatformAnswer, Refusal> {
    let field = |name: &str| {
        form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let is_ours = same_secret(
        field("hub.verify_token").unwrap_or_default().as_bytes(),
        verify_token.as_bytes(),
    );
    let subscribes = field("hub.mode").as_deref() == Some("subscribe");
    match field("hub.challenge") {
        Some(challenge) if is_ours && subscribes => Ok(PlatformAnswer::text(challenge)),
        _ => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "wrong or missing hub.mode, hub.verify_token or hub.challenge",
        )),
    }
}

/// Whether these bytes are signed with the app's secret.
///
/// # Errors
/// 401.
pub(super) fn verify(headers: &HeaderMap, body: &[u8], secret: &str) -> Result<(), Refusal> {
    let given = headers
        .get("x-hub-signature-256")
        .and_then(|value| value.as_bytes().strip_prefix(b"sha256="))
        .unwrap_or_default();
    genuine(is_signed(secret, body, given), "X-Hub-Signature-256")
}

/// Whether a call of the Graph API gets something, and its path: `GET 12345`, else
/// `me/messages`. None: it is no such call.
pub(super) fn read_method(method: &str) -> Option<(bool, &str)> {
    let (gets, path) = match method.strip_prefix("GET ") {
        Some(path) => (true, path.trim()),
        None => (false, method.strip_prefix("POST ").unwrap_or(method).trim()),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let is_path = !path.is_empty() && !path.contains("..") && path.chars().all(is_plain);
    is_path.then_some((gets, path))
}

/// Whether the Graph API can be called with these.
///
/// # Errors
/// They are no object, in a sentence.
pub(super) fn check_params(params: &Value) -> Result<(), String> {
    match params {
        Value::Null | Value::Object(_) => Ok(()),
        _ => Err("a path of the Graph API is called with an object".to_owned()),
    }
}
