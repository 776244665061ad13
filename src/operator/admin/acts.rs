//! What an operator can do on the pages: have a dead letter or a dead reply tried again, or throw
//! it away.
//!
//! Called by `routes.rs`. `GET /status/act?…` shows what would be done and asks; only
//! `POST /status/act` does it, and logs it. Invariant: a form of another site does nothing, since
//! it does not know [`token`], which no address holds and only pages of ours do; a browser that
//! says where a form comes from is believed, too. Bound: [`FORM`] bytes of a form.

use std::fmt::Write as _;

use hyper::StatusCode;
use hyper::http::request::Parts;
use turnkey_storage::{Fence, ReplyId, dead, replies};
use turnkey_text::{program_name, quoted};

use super::Admin;
use super::content::Content;
use super::page::{Tab, escape, field, frame, sorry};
use super::queues::within;
use crate::channels::same_secret;
use crate::net::request::Body;
use crate::shared::scoreboard::{Scoreboard, Shared};

/// Bytes of a form.
const FORM: usize = 4096;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Retry,
    Drop,
}

/// To what.
#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
    Letter { channel: String, update: String },
    Reply(ReplyId),
}

/// A deed, as an address or a form names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Act {
    deed: Deed,
    to: To,
}

impl Act {
    fn read(form: &str) -> Option<Self> {
        let deed = match field(form, "do")?.as_str() {
            "retry" => Deed::Retry,
            "drop" => Deed::Drop,
            _ => return None,
        };
        let to = match field(form, "reply") {
            Some(reply) => {
                let (turn, index) = reply.split_once('.')?;
                // Fences are numbers that SQL knows.
                let turn: i64 = turn.parse().ok().filter(|turn| *turn > 0)?;
                To::Reply(ReplyId {
                    turn: Fence(turn as u64),
                    index: index.parse().ok()?,
                })
            }
            None => To::Letter {
                channel: field(form, "channel")?,
                update: field(form, "update")?,
            },
        };
        Some(Act { deed, to })
    }

    /// Name and value of what [`Act::read`] reads.
    fn fields(&self) -> Vec<(&'static str, String)> {
        let deed = match self.deed {
            Deed::Retry => "retry",
            Deed::Drop => "drop",
        };
        let mut fields = vec![("do", deed.to_owned())];
        match &self.to {
            To::Letter { channel, update } => {
                fields.push(("channel", channel.clone()));
                fields.push(("update", update.clone()));
            }
            To::Reply(id) => fields.push(("reply", format!("{}.{}", id.turn.0, id.index))),
        }
        fields
    }

    /// A sentence without its full stop: `have the reply 7.0 sent again`.
    fn words(&self) -> String {
        match (self.deed, &self.to) {
            (Deed::Retry, To::Letter { channel, update }) => {
                format!("have the update {update} of {channel} tried again")
            }
            (Deed::Drop, To::Letter { channel, update }) => {
                format!("throw the update {update} of {channel} away")
            }
            (Deed::Retry, To::Reply(id)) => {
                format!("have the reply {}.{} sent again", id.turn.0, id.index)
            }
            (Deed::Drop, To::Reply(id)) => {
                format!("throw the reply {}.{} away", id.turn.0, id.index)
            }
        }
    }

    /// The same as a command line; `storage` is the database's address.
    fn command(&self, storage: &str) -> String {
        let deed = match self.deed {
            Deed::Retry => "retry",
            Deed::Drop => "drop",
        };
        let mut line = quoted(&program_name());
        let _ = match &self.to {
            To::Letter { channel, update } => {
                write!(line, " dead {deed} {} {}", quoted(channel), quoted(update))
            }
            To::Reply(id) => write!(line, " outbox {deed} {}.{}", id.turn.0, id.index),
        };
        // The address of a server has lost its password: whoever types knows it.
        if storage.starts_with("sqlite:") {
            let _ = write!(line, " --storage {}", quoted(storage));
        }
        line
    }

    /// False when it is not there any more.
    async fn perform(&self, admin: &Admin) -> Result<bool, String> {
        let storage = &*admin.bot.storage;
        match (self.deed, &self.to) {
            (Deed::Retry, To::Letter { channel, update }) => {
                within(dead::retry(storage, channel, update)).await
            }
            (Deed::Drop, To::Letter { channel, update }) => {
                within(dead::drop_letter(storage, channel, update)).await
            }
            (Deed::Retry, To::Reply(id)) => within(replies::retry(storage, *id)).await,
            (Deed::Drop, To::Reply(id)) => within(replies::drop_reply(storage, *id)).await,
        }
    }
}

/// Buttons and command lines for a dead letter.
pub(super) fn for_letter(admin: &Admin, channel: &str, update: &str) -> String {
    let (channel, update) = (channel.to_owned(), update.to_owned());
    choices(admin, &To::Letter { channel, update })
}

/// The same for a dead reply.
pub(super) fn for_reply(admin: &Admin, id: ReplyId) -> String {
    choices(admin, &To::Reply(id))
}

fn choices(admin: &Admin, to: &To) -> String {
    let mut html = String::from("<ul class=\"acts\">");
    for (deed, name) in [(Deed::Retry, "Retry"), (Deed::Drop, "Drop")] {
        let act = Act {
            deed,
            to: to.clone(),
        };
        let query: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(act.fields())
            .finish();
        let _ = write!(
            html,
            "<li><a class=\"button\" href=\"/status/act?{}\">{name} …</a> <code class=\"command\">{}</code></li>",
            escape(&query),
            escape(&act.command(&admin.database))
        );
    }
    html.push_str("</ul>");
    html
}

/// `GET /status/act?…`: asks whether it shall be done.
pub(super) fn ask(admin: &Admin, query: &str) -> Content {
    let Some(act) = Act::read(query) else {
        return sorry(
            StatusCode::BAD_REQUEST,
            "Not possible",
            Tab::Dead,
            "This is nothing that can be done.",
        );
    };
    let fields = act.fields();
    let fields = fields.iter().map(|(name, value)| (*name, value.as_str()));
    let token = token(admin.board);
    let hidden: String = fields
        .chain([("token", token.as_str())])
        .map(|(name, value)| {
            let value = escape(value);
            format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">")
        })
        .collect();
    let words = act.words();
    let body = format!(
        "<h1>Are you sure?</h1><p>You are about to {}.</p>\
         <form method=\"post\" action=\"/status/act\">{hidden}<button type=\"submit\">Yes, do it</button> \
         <a href=\"/status/dead\">No, go back</a></form>\
         <p class=\"soft\">The same in a terminal: <code class=\"command\">{}</code></p>",
        escape(&words),
        escape(&act.command(&admin.database))
    );
    Content::html(
        StatusCode::OK,
        frame("Are you sure?", Tab::Dead, false, &body),
    )
}

/// `POST /status/act`: does it.
pub(super) async fn act(admin: &Admin, head: &Parts, body: &mut Body) -> Content {
    let no = |status, why: &str| sorry(status, "Nothing was done", Tab::Dead, why);
    let Ok(form) = body.read(FORM).await else {
        return no(
            StatusCode::BAD_REQUEST,
            "The form is too long, or did not come whole.",
        );
    };
    let form = String::from_utf8_lossy(&form);
    let presented = field(&form, "token").unwrap_or_default();
    let expected = token(admin.board);
    if !is_ours(head) || !same_secret(presented.as_bytes(), expected.as_bytes()) {
        let why = "The form is not one of this page, or the bot was started again since. Go back, reload the page and try again.";
        return no(StatusCode::FORBIDDEN, why);
    }
    let Some(act) = Act::read(&form) else {
        return no(StatusCode::BAD_REQUEST, "This is nothing that can be done.");
    };
    match act.perform(admin).await {
        Ok(true) => {
            tracing::info!("an operator chose on the status page to {}", act.words());
            let body = format!(
                "<h1>Done</h1><p class=\"note\">You chose to {}.</p><p><a href=\"/status/dead\">Back to the dead letters</a></p>",
                escape(&act.words())
            );
            Content::html(StatusCode::OK, frame("Done", Tab::Dead, false, &body))
        }
        Ok(false) => no(StatusCode::NOT_FOUND, "It is not there any more."),
        Err(reason) => no(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

/// What only our pages know; new with each start of the program.
fn token(board: Scoreboard) -> String {
    let halves = [Shared::FormKey, Shared::FormKeyRest].map(|half| board.shared(half));
    format!("{:016x}{:016x}", halves[0], halves[1])
}

/// A browser says where a form comes from. Programs say nothing, and are no browsers.
fn is_ours(head: &Parts) -> bool {
    let text = |name: &str| {
        head.headers
            .get(name)
            .map(|value| value.to_str().unwrap_or("?"))
    };
    // Not sent to hosts that a browser does not trust, such as a name without HTTPS.
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    match (text("origin"), text("host")) {
        (None, _) => true,
        // A proxy may speak HTTPS: only the host counts.
        (Some(origin), Some(host)) => origin
            .split_once("://")
            .is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host)),
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deed_is_read_as_it_was_written_and_nothing_else_is_one() {
        for act in [
            Act {
                deed: Deed::Retry,
                to: To::Letter {
                    channel: "http".to_owned(),
                    update: "a&b=c d".to_owned(),
                },
            },
            Act {
                deed: Deed::Drop,
                to: To::Reply(ReplyId {
                    turn: Fence(4711),
                    index: 2,
                }),
            },
        ] {
            let form: String = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(act.fields())
                .finish();
            assert_eq!(Act::read(&form), Some(act));
        }
        for wrong in [
            "",
            "do=retry",
            "do=burn&reply=1.0",
            "do=drop&reply=-1.0",
            "do=drop&reply=1",
        ] {
            assert_eq!(Act::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_form_of_another_site_is_none_of_ours() {
        let of = |headers: &[(&str, &str)]| {
            let mut request = hyper::Request::post("/status/act");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            is_ours(&request.body(()).unwrap().into_parts().0)
        };
        assert!(of(&[("host", "localhost:8081")]));
        assert!(of(&[
            ("host", "localhost:8081"),
            ("origin", "http://localhost:8081")
        ]));
        assert!(of(&[
            ("host", "bot.example"),
            ("origin", "https://bot.example")
        ]));
        let fetched = |site| {
            of(&[
                ("host", "localhost"),
                ("origin", "null"),
                ("sec-fetch-site", site),
            ])
        };
        assert!(fetched("same-origin") && !fetched("cross-site") && !fetched("none"));
        for origin in ["http://evil.example", "null", "http://localhost:8082"] {
            assert!(
                !of(&[("host", "localhost:8081"), ("origin", origin)]),
                "{origin}"
            );
        }
    }
}
