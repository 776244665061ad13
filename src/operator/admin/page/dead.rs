//! `/status/dead`: dead letters and dead replies, with the commands that try them again.
//!
//! Bounds: [`PORTION`] letters and as many replies on a page; texts are cut as in `texts.rs`.

use std::fmt::Write as _;

use hyper::StatusCode;
use turnkey_storage::dead::{self, After, DeadLetter};
use turnkey_storage::replies::{self, DeadReply};

use super::dialogs::field;
use super::texts::{ago, json};
use super::{Tab, escape, frame, link_to, sorry};
use crate::operator::admin::content::Content;
use crate::operator::admin::queues::within;
use crate::operator::admin::{Admin, acts};
use turnkey_text::numbers::counted;
use turnkey_text::program_name;

/// Letters on a page; their bodies are on it.
const PORTION: u32 = 20;

/// `/status/dead`
pub(in crate::operator::admin) async fn dead(admin: &Admin, query: &str) -> Content {
    let after = || {
        Some(After {
            died: field(query, "died")?.parse().ok()?,
            channel: field(query, "channel")?,
            update: field(query, "update")?,
        })
    };
    let after = after();
    let storage = &*admin.bot.storage;
    let asked = async {
        let letters = within(dead::list(storage, after.as_ref(), PORTION)).await?;
        let replies = within(replies::list(storage, None, PORTION)).await?;
        Ok::<_, String>((letters, replies))
    };
    let (letters, dead_replies) = match asked.await {
        Ok(found) => found,
        Err(reason) => {
            return sorry(
                StatusCode::SERVICE_UNAVAILABLE,
                "Dead letters",
                Tab::Dead,
                &reason,
            );
        }
    };
    let mut html = "<h1>Dead letters</h1><p class=\"soft\">Updates whose turns failed too often, \
                    the oldest first.</p>"
        .to_owned();
    if letters.is_empty() {
        html.push_str("<p class=\"note\">There are none.</p>");
    }
    for letter in &letters {
        one(&mut html, admin, letter);
    }
    if let Some(last) = letters.last().filter(|_| letters.len() == PORTION as usize) {
        let next: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("died", &last.died.to_string())
            .append_pair("channel", &last.dialog.channel)
            .append_pair("update", &last.update)
            .finish();
        let _ = write!(
            html,
            "<p><a href=\"/status/dead?{}\">The next {PORTION}</a></p>",
            escape(&next)
        );
    }
    replies(&mut html, admin, &dead_replies);
    Content::html(
        StatusCode::OK,
        frame("Dead letters", Tab::Dead, false, &html),
    )
}

/// The first of the dead replies.
fn replies(html: &mut String, admin: &Admin, dead: &[DeadReply]) {
    html.push_str(
        "<h2>Dead replies</h2><p class=\"soft\">Replies that the platform did not take in the end, \
         those of the oldest turns first.</p>",
    );
    if dead.is_empty() {
        html.push_str("<p class=\"note\">There are none.</p>");
    }
    for reply in dead {
        let (channel, user) = (&reply.dialog.channel, &reply.dialog.user_id);
        let _ = write!(
            html,
            "<article class=\"card\"><h3>{}.{} <small>{}</small></h3><p class=\"bad\">{}</p>\
             <p class=\"soft\"><a href=\"{}\">{}</a>, {}, given up {}</p>\
             <details><summary>The reply</summary>{}</details>{}</article>",
            reply.id.turn.0,
            reply.id.index,
            escape(channel),
            escape(&reply.error),
            link_to(channel, user),
            escape(user),
            counted(reply.attempts.into(), "attempt"),
            ago(reply.died),
            json("The reply", &reply.body),
            acts::for_reply(admin, reply.id),
        );
    }
    if dead.len() == PORTION as usize {
        let program = program_name();
        let program = escape(&program);
        let _ = write!(
            html,
            "<p class=\"note\">There may be more: <code>{program} outbox list --dead</code> shows all.</p>"
        );
    }
}

fn one(html: &mut String, admin: &Admin, letter: &DeadLetter) {
    let (channel, user) = (&letter.dialog.channel, &letter.dialog.user_id);
    let update = escape(&letter.update);
    let (error, trace) = match letter.error.split_once('\n') {
        Some((error, trace)) => (
            error,
            format!(
                "<details><summary>Where it happened</summary>{}</details>",
                json(&format!("Where the update {update} failed"), trace)
            ),
        ),
        None => (&*letter.error, String::new()),
    };
    let _ = write!(
        html,
        "<article class=\"card\"><h2>{update} <small>{}</small></h2><p class=\"bad\">{}</p>\
         <p class=\"soft\"><a href=\"{}\">{}</a>, {}, given up {}</p>\
         {trace}<details><summary>The update</summary>{}</details>{}</article>",
        escape(channel),
        escape(error),
        link_to(channel, user),
        escape(user),
        counted(letter.attempts.into(), "attempt"),
        ago(letter.died),
        json(
            &format!("The update {update}"),
            &String::from_utf8_lossy(&letter.body)
        ),
        acts::for_letter(admin, channel, &letter.update),
    );
}
