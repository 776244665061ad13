//! The reply that rode in an answer, read from it again: it is sent when nobody got that
//! answer. The reverse of `render.rs`, for texts: nothing else rides that has to be sent.

use super::entities;
use super::params::{InlineButton, Key, Params, ReplyMarkup};
use crate::author::message::{Action, Button, Keyboard, Press, Reply, Request, Target};

/// The reply of this answer; none if it is no text.
pub(super) fn rode(answer: &[u8]) -> Option<Action> {
    let params: Params<'_> = serde_json::from_slice(answer).ok()?;
    if params.method.as_deref() != Some("sendMessage") {
        return None;
    }
    let text = params.text?.into_owned();
    let mut reply = Reply {
        spans: entities::spans(&text, &params.entities),
        no_preview: params
            .link_preview_options
            .is_some_and(|preview| preview.is_disabled),
        silent: params.disable_notification,
        protected: params.protect_content,
        ..Reply::plain(text)
    };
    reply.quote = params.reply_parameters.map(|quoted| {
        Target::Message(match quoted.chat_id {
            None => quoted.message_id.to_string(),
            Some(chat) => format!("{chat}/{}", quoted.message_id),
        })
    });
    match params.reply_markup {
        None => {}
        Some(ReplyMarkup::Inline { inline_keyboard }) => {
            let rows = inline_keyboard.into_iter();
            reply.buttons = rows
                .map(|row| row.into_iter().map(button).collect())
                .collect();
        }
        Some(ReplyMarkup::Keyboard {
            keyboard,
            one_time_keyboard,
            ..
        }) => {
            let rows = keyboard.into_iter();
            let rows = rows.map(|row| row.into_iter().map(key).collect()).collect();
            reply.keyboard = Some(match one_time_keyboard {
                false => Keyboard::Rows(rows),
                true => Keyboard::Once(rows),
            });
        }
        Some(ReplyMarkup::Remove { .. }) => reply.keyboard = Some(Keyboard::Remove),
    }
    Some(reply.into())
}

fn button(inline: InlineButton) -> Button {
    let press = match (inline.callback_data, inline.url, inline.web_app) {
        (Some(data), ..) => Press::Data(data),
        (None, Some(url), _) => Press::Link(url),
        (None, None, Some(app)) => Press::WebApp(app.url),
        (None, None, None) => Press::Say,
    };
    Button::that(inline.text, press)
}

fn key(key: Key) -> Button {
    let press = match key.web_app {
        Some(app) => Press::WebApp(app.url),
        None if key.request_contact => Press::Request(Request::Contact),
        None if key.request_location => Press::Request(Request::Location),
        None => Press::Say,
    };
    Button::that(key.text, press)
}
