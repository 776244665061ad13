//! The status of an accepted update: `GET /http/updates/{id}`.
//!
//! Called by `worker/routes.rs`. The answer to `Prefer: respond-async` gives this address;
//! whoever may post may ask. An update in the inbox gets 202, a committed one 200 and its
//! answer, byte for byte.

use hyper::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use turnkey_storage::inbox::{self, UpdateState};

use crate::channels::{PlatformAnswer, Refusal, UPDATES};
use crate::turn::context::Bot;
use crate::turn::told;

/// The channel whose updates can be asked for.
const CHANNEL: &str = "http";

/// The id in a path of this sort, as it stands there.
pub(crate) fn target(path: &str) -> Option<&str> {
    path.strip_prefix(UPDATES)
}

/// The answer to a question about `id`, percent-encoded.
pub(crate) async fn answer(
    bot: &Bot,
    headers: &HeaderMap,
    id: &str,
) -> Result<PlatformAnswer, Refusal> {
    let Some(channel) = bot.channels.at("/http") else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "no such path"));
    };
    channel.verify(headers, &[])?;
    let Ok(id) = percent_decode_str(id).decode_utf8() else {
        let reason = "an id is UTF-8, percent-encoded";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, reason));
    };
    let state = inbox::state_of(&*bot.storage, CHANNEL, &id).await;
    let state =
        state.map_err(|e| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, told::of_storage(&e)))?;
    let pending = || serde_json::json!({ "id": id, "status": "pending" }).to_string();
    match state {
        UpdateState::Done(seen) => {
            // It is what was committed under this id that is asked for.
            let digest = seen.digest.clone();
            Ok(channel.answer_seen(&digest, seen))
        }
        UpdateState::Pending => Ok(PlatformAnswer {
            status: StatusCode::ACCEPTED,
            ..channel.answer(pending().into_bytes())
        }),
        // Why is in the log: it is the author's business.
        UpdateState::Dead(_) => Err(Refusal::new(
            StatusCode::GONE,
            "the handler failed; this update was given up",
        )),
        UpdateState::Unknown => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "no update with this id is known",
        )),
    }
}
