//! What VK's API answers, and what that means for what was asked
//! (<https://dev.vk.com/en/reference/errors>).
//!
//! Used by `mod.rs` and the tests. Invariant: no reason holds the token.

use serde::Deserialize;
use serde_json::Value;

use super::super::client::Response;
use super::super::lenient::{self, Number};
use super::super::{SendError, Sent, without};

#[derive(Deserialize)]
struct ApiAnswer {
    /// Mostly a number; of `messages.send` what became of each message.
    response: Option<Value>,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    error_code: Number,
    #[serde(default, deserialize_with = "lenient::text")]
    error_msg: Option<String>,
}

/// What became of one of several messages.
#[derive(Deserialize)]
struct OfOne {
    #[serde(default, deserialize_with = "lenient::number")]
    conversation_message_id: Option<i64>,
    error: Option<ErrorOfOne>,
}

/// The same as [`ApiError`] in other words.
#[derive(Deserialize)]
struct ErrorOfOne {
    code: Number,
    #[serde(default, deserialize_with = "lenient::text")]
    description: Option<String>,
}

/// What a method returned.
pub(super) fn result(response: &Response, token: &str) -> Result<Value, SendError> {
    let answer: ApiAnswer = response.json()?;
    match (answer.error, answer.response) {
        (Some(error), _) => Err(failure(&error, response, token)),
        (None, Some(result)) => Ok(result),
        (None, None) => Err(response.away("neither response nor error".to_owned())),
    }
}

/// What an answer of the API means for what was asked.
pub(in super::super) fn outcome(response: &Response, token: &str) -> Result<Sent, SendError> {
    let result = result(response, token)?;
    let Some(first) = result.get(0) else {
        return Ok(Sent::default());
    };
    let Ok(first) = OfOne::deserialize(first) else {
        return Ok(Sent::default());
    };
    if let Some(ErrorOfOne { code, description }) = first.error {
        let error = ApiError {
            error_code: code,
            error_msg: description,
        };
        return Err(failure(&error, response, token));
    }
    let id = first.conversation_message_id.filter(|id| *id > 0);
    Ok(Sent {
        message: id.map(|id| id.to_string()),
        gone: None,
    })
}

/// As [`outcome`], of something about a message that is gone where one of these codes says so.
pub(super) fn gone(response: &Response, token: &str, codes: &[i64]) -> Result<Sent, SendError> {
    let answer: ApiAnswer = response.json()?;
    match answer.error {
        Some(error) if codes.contains(&error.error_code.0) => {
            Ok(Sent::gone(reason_of(&error, token)))
        }
        _ => result(response, token).map(|_| Sent::default()),
    }
}

fn reason_of(error: &ApiError, token: &str) -> String {
    let words = error.error_msg.as_deref().unwrap_or_default();
    format!("{}: {}", error.error_code.0, without(token, words))
}

/// What an error means (<https://dev.vk.com/en/reference/errors>).
fn failure(error: &ApiError, response: &Response, token: &str) -> SendError {
    let reason = reason_of(error, token);
    match error.error_code.0 {
        // Too many a second; the limit of this method.
        6 | 29 => response.too_many(reason),
        // Too much of the same.
        9 => SendError::TooMany {
            reason,
            after: response.retry_after,
            all: false,
        },
        // The token, of the community or the app: with another one it may go out. A person
        // must solve a riddle, or log in.
        5 | 14 | 17 | 27 | 28 => response.away(reason),
        // Unknown, internal, not ready: later it may go out.
        1 | 10 | 32 | 36 => response.retry(reason),
        // The user does not allow it, is gone, or no conversation of that id is there.
        900 | 901 | 902 | 917 | 922 | 927 | 932 | 945 | 950 | 962 | 1012 => {
            SendError::Unreachable(reason)
        }
        // Not allowed, or the message cannot be.
        _ => SendError::Refused(reason),
    }
}
