//! `/status/dialogs`: dialogs by their last turns or their users' ids, with names where the platform
//! tells; and one dialog with its conversation (`talk.rs`) and its state.
//!
//! Bounds: [`PORTION`] dialogs on a page, [`TURNS`] turns, [`MORE_TURNS`] where they are asked for.

use std::fmt::Write as _;

use hyper::StatusCode;
use percent_encoding::percent_decode_str;
use turnkey_storage::DialogKey;
use turnkey_storage::admin::{self, DialogDetail, DialogSummary};
use turnkey_storage::people;
use turnkey_storage::person::Person;

use super::figures::{bytes, count};
use super::talk::{self, Open};
use super::texts::{ago, json};
use super::{Tab, escape, frame, link_to, region, sorry};
use crate::operator::admin::Admin;
use crate::operator::admin::content::Content;
use crate::operator::admin::queues::within;

/// Dialogs on a page.
const PORTION: u32 = 50;

/// Turns of the history.
const TURNS: u32 = 20;

/// The same, where more are asked for.
const MORE_TURNS: u32 = 200;

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
        "<h1>Dialogs</h1><form action=\"/status/dialogs\"><label>Name or id contains \
         <input type=\"search\" name=\"user\" value=\"{}\" maxlength=\"300\"></label><button type=\"submit\">Search</button></form>",
        escape(&user)
    );
    let if_none = match (wanted, &after) {
        (_, Some(_)) => "There are no more.",
        (Some(_), None) => "No user has a name or an id like that.",
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
        "<table class=\"stack people\"><thead><tr><th scope=\"col\" class=\"left\">User</th><th scope=\"col\" class=\"left\">Channel</th>\
         <th scope=\"col\" class=\"left\">Language</th><th scope=\"col\">State</th><th scope=\"col\">Last turn</th></tr></thead><tbody>",
    );
    for line in found {
        let (channel, user) = (&line.dialog.channel, &line.dialog.user_id);
        let person = line.person.as_ref();
        let name = person.map_or(user.as_str(), called);
        let mut under = String::new();
        if name != user {
            under = format!("<br><small>{}", escape(user));
            let username = person.map_or("", Person::username);
            if !username.is_empty() && username != name {
                let _ = write!(under, ", @{}", escape(username));
            }
            under.push_str("</small>");
        }
        let language = person.map_or("", Person::language);
        let language = if language.is_empty() { "-" } else { language };
        let _ = write!(
            html,
            "<tr><td class=\"left\"><a href=\"{}\">{}</a>{under}</td>\
             <td class=\"left word\" data-name=\"Channel\">{}</td>\
             <td class=\"left{}\" data-name=\"Language\">{}</td>\
             <td data-name=\"State\">{}</td><td data-name=\"Last turn\">{}</td></tr>",
            link_to(channel, user),
            escape(name),
            escape(channel),
            if language == "-" { " none" } else { "" },
            escape(language),
            line.state_bytes.map_or("forgotten".to_owned(), bytes),
            ago(line.updated_at)
        );
    }
    html.push_str("</tbody></table></div>");
}

/// `/status/dialogs/CHANNEL/USER`, percent-encoded.
pub(in crate::operator::admin) async fn dialog(
    admin: &Admin,
    (channel, user): (&str, &str),
    query: &str,
) -> Content {
    let decoded = |text| percent_decode_str(text).decode_utf8();
    let (Ok(channel), Ok(user)) = (decoded(channel), decoded(user)) else {
        let why = "an id is UTF-8, percent-encoded";
        return sorry(StatusCode::BAD_REQUEST, "Dialog", Tab::Dialogs, why);
    };
    let key = DialogKey::new(&*channel, &*user);
    let asked = field(query, "turns").and_then(|turns| turns.parse().ok());
    let turns = asked.unwrap_or(TURNS).clamp(1, MORE_TURNS);
    let storage = &*admin.bot.storage;
    let question = async {
        let found = admin::dialog(storage, &key, turns).await?;
        Ok((found, talk::open(storage, &key).await?))
    };
    let (found, open) = match within(question).await {
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
    // One whose first update failed has no state yet.
    let found = found.or_else(|| open.detail(&key));
    let Some(found) = found else {
        let why = format!("there is no state of {key}; the search shows which dialogs there are");
        return sorry(StatusCode::NOT_FOUND, "Dialog", Tab::Dialogs, &why);
    };
    let body = shown(&found, &open, turns);
    Content::html(
        StatusCode::OK,
        frame(&key.to_string(), Tab::Dialogs, false, &body),
    )
}

fn shown(found: &DialogDetail, open: &Open, turns: u32) -> String {
    let (user, person) = (&found.dialog.user_id, found.person.as_ref());
    let name = person.map_or(user.as_str(), called);
    let mut html = format!(
        "<h1>{} <small>{}</small></h1><div class=\"dialog\"><dl class=\"facts card\">",
        escape(name),
        escape(&found.dialog.channel)
    );
    let mut fact = |name: &str, value: String| {
        let _ = write!(html, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    };
    if name != user {
        fact("id", escape(user));
    }
    if let Some(person) = person {
        if !person.username().is_empty() && name != person.username() {
            fact("user name", format!("@{}", escape(person.username())));
        }
        if !person.language().is_empty() {
            fact("language", escape(person.language()));
        }
    }
    fact(
        "last turn",
        match found.updated_at {
            0 => "none yet".to_owned(),
            at => ago(at),
        },
    );
    fact("updates in the inbox", count(found.pending));
    fact("replies to be sent", count(found.unsent));
    html.push_str("</dl><div><h2>Conversation</h2>");
    let talk = talk::html(found, open, name);
    if found.history.is_empty() {
        html.push_str(match talk.is_empty() {
            true => {
                "<p class=\"note\">Nothing waits and nothing failed. What was said before is not \
                 kept; run with <code>--history</code> to keep it.</p>"
            }
            false => {
                "<p class=\"soft\">What waits or failed. What was said before is not kept; run with \
                 <code>--history</code> to keep it.</p>"
            }
        });
    } else if found.history.len() == turns as usize && turns < MORE_TURNS {
        let _ = write!(
            html,
            "<p class=\"soft\">The last {turns} turns. <a href=\"{}?turns={MORE_TURNS}\">Up to {MORE_TURNS}</a></p>",
            link_to(&found.dialog.channel, user)
        );
    }
    html.push_str(&talk);
    match &found.state {
        Some(state) => {
            let _ = write!(
                html,
                "<details><summary>State <small>{}</small></summary>{}</details>",
                bytes(state.len() as u64),
                json("The state", state)
            );
        }
        None => html.push_str(
            "<h2>State</h2><p class=\"note\">There is none; the next turn starts anew.</p>",
        ),
    }
    html.push_str("</div></div>");
    html
}

/// What somebody is called: the name, else the user name.
fn called(person: &Person) -> &str {
    match person.name() {
        "" => person.username(),
        name => name,
    }
}
