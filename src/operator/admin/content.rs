//! An answer of the admin address, before it has headers.
//!
//! Made by the pages and by `routes.rs`, which adds the headers.

use hyper::StatusCode;

const HTML: &str = "text/html; charset=utf-8";
pub(super) const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// An answer's status, type and body.
pub(super) struct Content {
    pub(super) status: StatusCode,
    pub(super) media_type: &'static str,
    pub(super) body: String,
}

impl Content {
    pub(super) fn html(status: StatusCode, body: String) -> Self {
        Content {
            status,
            media_type: HTML,
            body,
        }
    }

    pub(super) fn ok(media_type: &'static str, body: impl Into<String>) -> Self {
        Content {
            status: StatusCode::OK,
            media_type,
            body: body.into(),
        }
    }

    pub(super) fn text(status: StatusCode, line: &str) -> Self {
        Content {
            status,
            media_type: TEXT,
            body: format!("{line}\n"),
        }
    }
}
