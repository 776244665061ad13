//! A channel of one's own: a help desk that posts what customers write, signed, and takes
//! answers by an HTTP call.
//!
//! What comes in, with `X-Desk-Signature: ` and the HMAC-SHA256 of the body in hex:
//! `{"event":"message","id":"m-1","customer":"ann","text":"hi"}`. What goes out:
//! `POST /answers` with `{"customer":"ann","text":"1: hi"}`, and an `Idempotency-Key` by
//! which the desk knows an answer again that a crash made us send twice.
//!
//! Run it: `DESK_SECRET=s3cret DESK_URL=http://localhost:9000 \
//! cargo run --example custom_channel -- run --workers 2`

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use turnkey::{
    Bytes, Channel, DialogKey, HeaderMap, Outgoing, PlatformAnswer, Rate, Received, Refusal,
    ReplyId, SendError, SendFuture, Sent, StatusCode, Turn, Update, is_signed,
};

/// Customers' names are ours to check: a longer one has no place in the database.
const MAX_NAME: usize = 100;

/// For a whole call.
const TIMEOUT: Duration = Duration::from_secs(10);

struct Desk {
    secret: String,
    answers: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

#[derive(Deserialize)]
struct Event {
    event: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    customer: String,
    #[serde(default)]
    text: String,
}

impl Desk {
    fn from_environment() -> turnkey::Result<Self> {
        let setting = |name: &str| {
            std::env::var(name).map_err(|_| turnkey::Error::msg(format!("{name} is not set")))
        };
        Ok(Desk {
            secret: setting("DESK_SECRET")?,
            answers: format!("{}/answers", setting("DESK_URL")?),
            client: Client::builder(TokioExecutor::new()).build_http(),
        })
    }

    async fn post(&self, key: String, body: String) -> Result<Sent, SendError> {
        let request = Request::post(&self.answers)
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .body(Full::from(body))
            .map_err(|e| SendError::Refused(e.to_string()))?;
        let answer = tokio::time::timeout(TIMEOUT, self.client.request(request))
            .await
            .map_err(|_| SendError::away("no answer"))?
            .map_err(|e| SendError::away(e.to_string()))?;
        let (head, body) = answer.into_parts();
        let reason = head.status.to_string();
        // Read to its end, so that the connection can be used again.
        drop(body.collect().await);
        let seconds = head.headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
        let after = seconds
            .and_then(|s| s.parse().ok())
            .map(Duration::from_secs);
        Err(match head.status {
            status if status.is_success() => return Ok(Sent::default()),
            StatusCode::TOO_MANY_REQUESTS => SendError::TooMany {
                reason,
                after,
                all: true,
            },
            // No such customer, or they want no more answers.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => SendError::Refused(reason),
            _ => SendError::Retry { reason, after },
        })
    }
}

impl Channel for Desk {
    fn name(&self) -> &'static str {
        "desk"
    }

    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        let given = headers.get("x-desk-signature");
        let given = given.map_or(&b""[..], |value| value.as_bytes());
        if is_signed(&self.secret, body, given) {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::UNAUTHORIZED, "wrong signature"))
    }

    fn parse(&self, _: &HeaderMap, body: &Bytes) -> Result<Received, Refusal> {
        let bad = |reason: &str| Refusal::new(StatusCode::BAD_REQUEST, reason);
        let event: Event = serde_json::from_slice(body).map_err(|e| bad(&e.to_string()))?;
        if event.event != "message" {
            // Not ours to handle; anything but 200 would make the desk post it again.
            return Ok(Received::Answer(PlatformAnswer::text("ignored")));
        }
        if event.id.is_empty() || event.id.len() > MAX_NAME {
            return Err(bad("field `id`"));
        }
        if event.customer.is_empty() || event.customer.len() > MAX_NAME {
            return Err(bad("field `customer`"));
        }
        let user = DialogKey::new(self.name(), event.customer);
        let update = Update::new(user, event.id, event.text, body.clone());
        Ok(Received::Updates(vec![update]))
    }

    fn rate(&self) -> Option<Rate> {
        Some(Rate::per_second(50))
    }

    fn send<'a>(&'a self, id: ReplyId, reply: &'a Outgoing) -> SendFuture<'a> {
        let body = serde_json::json!({ "customer": reply.to, "text": reply.text() });
        Box::pin(self.post(reply.key(id), body.to_string()))
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    count: u64,
}

async fn count(turn: &mut Turn<Counter>) -> turnkey::Result<()> {
    turn.state.count += 1;
    let n = turn.state.count;
    turn.reply(format!("{n}: {}", turn.text()));
    Ok(())
}

fn main() -> std::process::ExitCode {
    turnkey::App::new(count)
        .channel("desk", Desk::from_environment)
        .run()
}
