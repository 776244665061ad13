//! What the webhooks of Meta's platforms share: the challenge that proves an address, and the
//! signature of what is posted
//! (<https://developers.facebook.com/docs/graph-api/webhooks/getting-started>).
//!
//! Called by `facebook/` and `whatsapp/`. Invariant: secrets are compared in constant time.

use hyper::{HeaderMap, StatusCode};

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
