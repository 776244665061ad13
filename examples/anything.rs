//! A bot for tests: it says what it hears, of whatever kind, and does what a message asks for
//! as JSON. Not a bot to copy from.
//!
//! | a text | what becomes of it |
//! | --- | --- |
//! | `do [{"text":"hi"},{"edit":"menu","text":"new"}]` | does these actions, in order |
//! | `slow 500 do […]` | the same, after so many milliseconds |
//! | `call METHOD {…}` | asks the platform now, says its answer |
//! | a message with a file | says how many bytes it has, too |
//! | anything | says as JSON what it heard |

use std::time::Duration;

use serde_json::json;
use turnkey::{Action, Kind, Turn};

/// Bytes of a file that are fetched.
const LIMIT: usize = 1 << 20;

async fn obey(turn: &mut Turn<()>) -> turnkey::Result<()> {
    // What is said to a button would be heard as one.
    let mut text = turn.text().to_owned();
    if let Some((ms, rest)) = text
        .strip_prefix("slow ")
        .and_then(|rest| rest.split_once(' '))
    {
        tokio::time::sleep(Duration::from_millis(ms.parse()?)).await;
        text = rest.to_owned();
    }
    if let Some(actions) = text.strip_prefix("do ") {
        for action in serde_json::from_str::<Vec<Action>>(actions)? {
            act(turn, action);
        }
        return Ok(());
    }
    if let Some(call) = text.strip_prefix("call ") {
        let at = call.find('{').unwrap_or(call.len());
        let params = match &call[at..] {
            "" => serde_json::Value::Null,
            json => serde_json::from_str(json)?,
        };
        let answer = turn.ask(call[..at].trim(), params).await;
        let said = answer.map_or_else(|error| error.to_string(), |answer| answer.to_string());
        turn.reply(said);
        return Ok(());
    }
    let update = turn.update();
    let mut heard = json!({
        "kind": update.kind, "event": update.event, "text": update.text,
        "files": update.files, "location": update.location, "contact": update.contact,
        "quoted": update.quoted, "forwarded": update.forwarded, "sender": update.sender,
        "chat": update.chat, "message": update.message,
    });
    if let Some(fields) = heard.as_object_mut() {
        let is_there = |value: &serde_json::Value| {
            let is_empty = value.as_array().is_some_and(Vec::is_empty);
            !value.is_null() && value != "" && !is_empty
        };
        fields.retain(|_, value| is_there(value));
    }
    if let Some(file) = turn.files().first() {
        let bytes = turn.download(file, LIMIT).await;
        heard["bytes"] = match bytes {
            Ok(bytes) => bytes.len().into(),
            Err(error) => error.to_string().into(),
        };
    }
    turn.reply(heard.to_string());
    Ok(())
}

fn act(turn: &mut Turn<()>, action: Action) {
    match action {
        Action::Reply(reply) => turn.reply(reply),
        Action::Edit { message, reply } => turn.edit(message, reply),
        Action::Delete { message } => turn.delete(message),
        Action::Toast { text, alert: true } => turn.alert(text),
        Action::Toast { text, .. } => turn.toast(text),
        Action::Call {
            method,
            params,
            name: Some(name),
        } => turn.call_named(name, method, params),
        Action::Call { method, params, .. } => turn.call(method, params),
        Action::SendTo {
            channel,
            user,
            reply,
        } => turn.send_to(channel, user, reply),
        _ => {}
    }
}

fn main() -> std::process::ExitCode {
    turnkey::App::new(obey).hears(Kind::ALL).run()
}
