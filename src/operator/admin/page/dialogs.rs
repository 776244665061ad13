//! `/status/dialogs`: dialogs by their last turns or their users' ids, and one dialog with its state and
//! last turns.
//!
//! Bounds: [`PORTION`] dialogs on a page, [`TURNS`] turns, [`SHOWN`] bytes of a text.

use std::borrow::Cow;
use std::fmt::Write as _;

use hyper::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use turnkey_storage::DialogKey;
use turnkey_storage::admin::{self, DialogDetail, DialogSummary};
use turnkey_storage::people;

use super::figures::{bytes, count, seconds, time};
use super::{Tab, escape, frame, link_to, region, sorry};
use crate::operator::admin::Admin;
use crate::operator::admin::content::Content;
use crate::operator::admin::queues::within;
use crate::shared::clock::unix_ms;

/// Dialogs on a page.
const PORTION: u32 = 50;

/// Turns of the history.
const TURNS: u32 = 20;

/// Bytes of a text that are shown.
const SHOWN: usize = 64 << 10;

/// The value of a query's field, if it is there.
pub(in crate::operator::admin) fn field(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// `/status/dialogs?user=…`
pub(in crate::operator::admin) async fn dialogs(admin: &Admin, query: &str) -> Content {
    let user = field(query, "user").unwrap_or_default();
    let after = field(query, "after_user").zip(field(query, "after_channel"));
    let after = after.map(|(user, channel)| DialogKey::new(channel, user));
    let wanted = Some(user.as_str()).filter(|user| !user.is_empty());
    let storage = &*admin.bot.storage;
    let is_by_turn = wanted.is_none() && after.is_none();
    let found = match is_by_turn {
        true => within(people::recent(storage, PORTION)).await,
        false => within(admin::dialogs(storage, wanted, after.as_ref(), PORTION)).await,
    };
    let found = match found {
        Ok(found) => found,
        Err(reason) => {
            return sorry(
                StatusCode::SERVICE_UNAVAILABLE,
                "Dialogs",
                Tab::Dialogs,
                &reason,
            );
        }
    };
    let mut html = format!(
        "<h1>Dialogs</h1><form action=\"/status/dialogs\"><label>User id contains \
         <input type=\"search\" name=\"user\" value=\"{}\" maxlength=\"300\"></label><button type=\"submit\">Search</button></form>",
        escape(&user)
    );
    let if_none = match (wanted, &after) {
        (_, Some(_)) => "There are no more.",
        (Some(_), None) => "No user has an id like that.",
        (None, None) => "There are no dialogs yet.",
    };
    list(&mut html, &found, if_none);
    if is_by_turn && found.len() == PORTION as usize {
        html.push_str(
            "<p class=\"soft\">Those with the latest turns, of the first 10,000 dialogs. \
             <a href=\"/status/dialogs?after_user=&amp;after_channel=\">All by user id</a></p>",
        );
    } else if let Some(last) = found.last().filter(|_| found.len() == PORTION as usize) {
        let next: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("user", &user)
            .append_pair("after_user", &last.dialog.user_id)
            .append_pair("after_channel", &last.dialog.channel)
            .finish();
        let _ = write!(
            html,
            "<p><a href=\"/status/dialogs?{}\">The next {PORTION}</a></p>",
            escape(&next)
        );
    }
    Content::html(StatusCode::OK, frame("Dialogs", Tab::Dialogs, false, &html))
}

/// The dialogs that were found, or a sentence.
fn list(html: &mut String, found: &[DialogSummary], if_none: &str) {
    if found.is_empty() {
        let _ = write!(html, "<p class=\"note\">{if_none}</p>");
        return;
    }
    html.push_str(&region("scroll", "Dialogs"));
    html.push_str(
        "<table><thead><tr><th scope=\"col\" class=\"left\">User</th><th scope=\"col\" class=\"left\">Channel</th>\
         <th scope=\"col\">State</th><th scope=\"col\">Last turn</th></tr></thead><tbody>",
    );
    for line in found {
        let (channel, user) = (&line.dialog.channel, &line.dialog.user_id);
        let _ = write!(
            html,
            "<tr><td class=\"left\"><a href=\"{}\">{}</a></td><td class=\"left word\">{}</td><td>{}</td><td>{}</td></tr>",
            link_to(channel, user),
            escape(user),
            escape(channel),
            line.state_bytes.map_or("forgotten".to_owned(), bytes),
            ago(line.updated_at)
        );
    }
    html.push_str("</tbody></table></div>");
}

/// How long ago, with the moment as a hint.
pub(super) fn ago(ms: i64) -> String {
    let ms = u64::try_from(ms).unwrap_or_default();
    let age = unix_ms().saturating_sub(ms) as f64 / 1000.0;
    time(ms, "", &format!("{} ago", seconds(age)))
}

/// `/status/dialogs/CHANNEL/USER`, percent-encoded.
pub(in crate::operator::admin) async fn dialog(
    admin: &Admin,
    channel: &str,
    user: &str,
) -> Content {
    let decoded = |text| percent_decode_str(text).decode_utf8();
    let (Ok(channel), Ok(user)) = (decoded(channel), decoded(user)) else {
        let why = "an id is UTF-8, percent-encoded";
        return sorry(StatusCode::BAD_REQUEST, "Dialog", Tab::Dialogs, why);
    };
    let key = DialogKey::new(&*channel, &*user);
    let found = match within(admin::dialog(&*admin.bot.storage, &key, TURNS)).await {
        Ok(found) => found,
        Err(reason) => {
            return sorry(
                StatusCode::SERVICE_UNAVAILABLE,
                "Dialog",
                Tab::Dialogs,
                &reason,
            );
        }
    };
    let Some(found) = found else {
        let why = format!("there is no state of {key}; the search shows which dialogs there are");
        return sorry(StatusCode::NOT_FOUND, "Dialog", Tab::Dialogs, &why);
    };
    let body = shown(&found);
    Content::html(
        StatusCode::OK,
        frame(&key.to_string(), Tab::Dialogs, false, &body),
    )
}

fn shown(found: &DialogDetail) -> String {
    let mut html = format!(
        "<h1>{} <small>{}</small></h1><dl class=\"facts\"><div><dt>last turn</dt><dd>{}</dd></div>\
         <div><dt>updates in the inbox</dt><dd>{}</dd></div><div><dt>replies to be sent</dt><dd>{}</dd></div></dl><h2>State</h2>",
        escape(&found.dialog.user_id),
        escape(&found.dialog.channel),
        ago(found.updated_at),
        count(found.pending),
        count(found.unsent),
    );
    match &found.state {
        Some(state) => html.push_str(&json("The state", state)),
        None => html.push_str("<p class=\"note\">It was forgotten; the next turn starts anew.</p>"),
    }
    html.push_str("<h2>Last turns</h2>");
    if found.history.is_empty() {
        html.push_str("<p class=\"note\">None are kept; run with --history to keep them.</p>");
    }
    if !found.history.is_empty() {
        html.push_str(&region("scroll", "Last turns"));
        html.push_str("<table class=\"turns\"><thead><tr><th scope=\"col\" class=\"left\">Said</th><th scope=\"col\" class=\"left\">Replies</th><th scope=\"col\">Update</th></tr></thead><tbody>");
        for turn in found.history.iter().rev() {
            html.push_str(&turn_of(turn));
        }
        html.push_str("</tbody></table></div>");
    }
    html
}

/// A turn of the history, as `turn.rs` writes it: a row. Another's is shown whole.
fn turn_of(text: &str) -> String {
    let turn: Value = serde_json::from_str(text).unwrap_or_default();
    let (Some(said), Some(replies)) = (turn["text"].as_str(), turn["replies"].as_array()) else {
        return format!(
            "<tr><td class=\"left\" colspan=\"3\">{}</td></tr>",
            json("The turn", text)
        );
    };
    let replies: String = replies
        .iter()
        .map(|reply| {
            let is_plain = reply.as_object().is_some_and(|fields| fields.len() == 1);
            let text = reply["text"].as_str().filter(|_| is_plain);
            let text = text.map_or_else(|| reply.to_string(), str::to_owned);
            format!("<p class=\"said\">{}</p>", escape(cut(&text).0))
        })
        .collect();
    format!(
        "<tr><td class=\"left\">{}</td><td class=\"left\">{replies}</td><td><small>{}</small></td></tr>",
        escape(cut(said).0),
        escape(turn["update_id"].as_str().unwrap_or("-")),
    )
}

/// As much of a text as is shown, and how many bytes are not.
fn cut(text: &str) -> (&str, usize) {
    let mut end = text.len().min(SHOWN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (&text[..end], text.len() - end)
}

/// JSON, or what was meant to be; `name` is for those who do not see it.
pub(super) fn json(name: &str, text: &str) -> String {
    let pretty =
        serde_json::from_str::<Value>(text).and_then(|value| serde_json::to_string_pretty(&value));
    let text = pretty.map_or(Cow::Borrowed(text), Cow::Owned);
    let (start, rest) = cut(&text);
    let rest = match rest {
        0 => String::new(),
        rest => format!("\n… and {} more", bytes(rest as u64)),
    };
    // As long as it is, it can be scrolled.
    format!(
        "<pre tabindex=\"0\" role=\"region\" aria-label=\"{name}\">{}{rest}</pre>",
        escape(start)
    )
}
