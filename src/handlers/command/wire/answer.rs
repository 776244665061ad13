//! What the answer to a turn holds: what the turn left, or how it failed.
//!
//! Called for each answer, by the turn that waits for it. Invariant: a field that is not as it
//! must be is an error of this turn, never of the process. Bounds: [`MAX_REPLIES`],
//! [`LONGEST_ERROR`], and those of `json.rs`.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::json::{even_null, field, lasting, without_place};
use super::overlap::OVERLAPS;
use super::value::{Param, statement};
use super::{Fail, LONGEST_ERROR, cut};
use crate::author::error::{Error, Result};
use crate::author::message::{Action, Delay, Object, Reply, TimerChange, Verb, When};
use crate::author::overlap::{Overlap, OverlapChange};
use crate::author::turn::MAX_REPLIES;
use crate::handlers::Handled;

/// What a turn left, as a handler writes it.
#[derive(Deserialize)]
struct Done<'a> {
    #[serde(borrow, default, deserialize_with = "even_null")]
    state: Option<&'a RawValue>,
    #[serde(borrow, default)]
    replies: Option<&'a RawValue>,
    #[serde(borrow, default)]
    sql: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timers: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    overlap: Option<&'a RawValue>,
}

/// What is to be done about a timer, as a handler writes it.
#[derive(Deserialize)]
struct GivenTimer {
    name: String,
    #[serde(default)]
    after: Option<Delay>,
    #[serde(default)]
    at: Option<i64>,
    #[serde(default)]
    cron: Option<String>,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    cancel: bool,
    #[serde(default)]
    data: serde_json::Value,
}

impl GivenTimer {
    fn checked(self) -> std::result::Result<TimerChange, String> {
        let name = self.name;
        let every = self.cron.is_some() || self.zone.is_some();
        let when = match (self.after, self.at, every, self.cancel) {
            (Some(delay), None, false, false) => When::After(delay),
            (None, Some(moment), false, false) => When::At(moment),
            (None, None, true, false) => match (self.cron, self.zone) {
                (Some(cron), Some(zone)) => When::Every { cron, zone },
                _ => return Err("cron and zone belong together".to_owned()),
            },
            (None, None, false, true) => return Ok(TimerChange::Cancel { name }),
            _ => return Err("one of after, at, cron and cancel is wanted".to_owned()),
        };
        let data = self.data;
        Ok(TimerChange::Set { name, when, data })
    }
}

/// What a turn says of quick messages of its dialog: a name, or `null`.
fn overlap(raw: &RawValue) -> std::result::Result<OverlapChange, String> {
    let Some(name) = field::<Option<String>>("overlap", raw)? else {
        return Ok(OverlapChange::Forget);
    };
    match Overlap::named(&name) {
        Some(overlap) => Ok(OverlapChange::Set(overlap)),
        None => Err(format!("overlap is {name:?}; {OVERLAPS}")),
    }
}

/// The fields that make of a reply another action.
const VERBS: [&str; 5] = [
    "\"edit\"",
    "\"delete\"",
    "\"toast\"",
    "\"call\"",
    "\"send_to\"",
];

/// A reply, or what else a handler asks for, as it writes it.
fn action(at: usize, raw: &RawValue) -> std::result::Result<Action, String> {
    /// What stored replies may have, and no handler's.
    #[derive(Deserialize)]
    struct Old {
        picture: Option<IgnoredAny>,
    }
    let name = format!("replies[{at}]");
    if raw.get().contains("\"picture\"") && field::<Object<Old>>(&name, raw)?.0.picture.is_some() {
        return Err(format!("{name} has picture, which is none of its fields"));
    }
    let Object(reply): Object<Reply> = field(&name, raw)?;
    let says_more = VERBS.iter().any(|verb| raw.get().contains(verb));
    let verb = match says_more {
        true => field::<Object<Verb>>(&name, raw)?.0,
        false => Verb::default(),
    };
    let action = verb.with(reply).map_err(|e| format!("{name}: {e}"))?;
    let is_empty = match &action {
        Action::Reply(reply) | Action::Edit { reply, .. } | Action::SendTo { reply, .. } => {
            reply.text.is_empty() && !reply.has_content()
        }
        _ => false,
    };
    match is_empty {
        true => Err(format!(
            "{name} has neither text nor files, location or contact"
        )),
        false => Ok(action),
    }
}

/// What a turn left that ended well; `state` is how it was before.
///
/// # Errors
/// A field is not as it must be: the sentence names it.
pub(crate) fn done(raw: &RawValue, state: Option<&str>) -> Result<Handled> {
    read_done(raw, state).map_err(|reason| Error::msg(format!("its answer is refused: {reason}")))
}

/// The same, without a word of whose answer it is.
///
/// # Errors
/// Likewise.
pub(crate) fn read_done(
    raw: &RawValue,
    before: Option<&str>,
) -> std::result::Result<Handled, String> {
    let Object(done): Object<Done<'_>> = serde_json::from_str(raw.get())
        .map_err(|e| format!("done: {}", without_place(&e.to_string())))?;
    let state = match done.state.map(RawValue::get) {
        None => before.unwrap_or("{}").to_owned(),
        // A state of its own, of which the next turn of this user makes what it can.
        Some("null") => "null".to_owned(),
        Some(object) if object.starts_with('{') => lasting("state", object)?.to_owned(),
        Some(other) => {
            let start: String = other.chars().take(40).collect();
            return Err(format!("state must be an object, not {start}"));
        }
    };
    let said: Vec<&RawValue> = match done.replies {
        Some(replies) => serde_json::from_str(replies.get())
            .map_err(|e| format!("replies: {}", without_place(&e.to_string())))?,
        None => Vec::new(),
    };
    if said.len() > MAX_REPLIES {
        return Err(format!(
            "{} replies in one turn; {MAX_REPLIES} is the limit",
            said.len()
        ));
    }
    let actions = said
        .into_iter()
        .enumerate()
        .map(|(at, raw)| action(at, raw));
    let statements: Vec<(String, Vec<Param>)> = match done.sql {
        Some(sql) => field("sql", sql)?,
        None => Vec::new(),
    };
    let timers: Vec<Object<GivenTimer>> = match done.timers {
        Some(timers) => field("timers", timers)?,
        None => Vec::new(),
    };
    let checked = |(at, Object(timer)): (usize, Object<GivenTimer>)| {
        timer.checked().map_err(|e| format!("timers[{at}]: {e}"))
    };
    let timers = timers.into_iter().enumerate().map(checked);
    Ok(Handled {
        state,
        timers: timers.collect::<std::result::Result<_, _>>()?,
        overlap: done.overlap.map(overlap).transpose()?,
        actions: actions.collect::<std::result::Result<_, _>>()?,
        statements: statements
            .into_iter()
            .map(|(sql, params)| statement(sql, params))
            .collect(),
    })
}

/// Reads a failure.
///
/// # Errors
/// A field is not as it must be: the sentence names it.
pub(crate) fn read_fail(raw: &RawValue) -> std::result::Result<Fail, String> {
    field("fail", raw).map(|Object(fail)| fail)
}

/// How a turn failed, by the handler's own account.
pub(crate) fn fail(raw: &RawValue) -> Error {
    let fail = match read_fail(raw) {
        Ok(fail) => fail,
        Err(reason) => return Error::msg(format!("its answer is refused: {reason}")),
    };
    let text = match without_the_error(&fail.trace, &fail.error) {
        "" => fail.error,
        trace => format!("{}\n{trace}", fail.error),
    };
    let error = Error::msg(cut(text, LONGEST_ERROR));
    match fail.retry_in {
        _ if fail.give_up => error.give_up(),
        Some(seconds) => {
            let pause = Duration::try_from_secs_f64(seconds.max(0.0));
            error.retry_in(pause.unwrap_or(Duration::MAX))
        }
        _ => error,
    }
}

/// A trace without the line that repeats the error: Python ends a traceback with it,
/// JavaScript begins a stack with it, and either may put the error's type before it.
fn without_the_error<'a>(trace: &'a str, error: &str) -> &'a str {
    let repeats = |line: &str| {
        let kind = line.trim_end().strip_suffix(error.trim());
        kind.is_some_and(|kind| {
            let name = kind
                .strip_suffix(": ")
                .unwrap_or(kind.trim_end_matches('.'));
            let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_');
            name.chars().all(is_name) && (name.is_empty() || name.len() < kind.len())
        })
    };
    let trace = trace.trim_end().trim_start_matches('\n');
    let (above, last) = trace.rsplit_once('\n').unwrap_or(("", trace));
    let trace = if repeats(last) { above } else { trace };
    let (first, below) = trace.split_once('\n').unwrap_or((trace, ""));
    let trace = if repeats(first) { below } else { trace };
    trace.trim_end()
}

#[cfg(test)]
mod tests {
    use turnkey_storage::Value;

    use super::*;
    use crate::author::message::Target;

    fn raw(text: &str) -> Box<RawValue> {
        serde_json::from_str(text).unwrap()
    }

    fn refusal(text: &str) -> String {
        let refused = done(&raw(text), None).err();
        refused.map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_a_turn_left_is_read() {
        let before = Some(r#"{"n":1}"#);
        let state = |text: &str, before| done(&raw(text), before).unwrap().state;
        assert_eq!(state(r#"{"state":{"n": 2}}"#, before), r#"{"n": 2}"#);
        assert_eq!(state("{}", before), r#"{"n":1}"#);
        assert_eq!(state("{}", None), "{}");
        assert_eq!(state(r#"{"state":null}"#, before), "null");
        assert_eq!(
            state(r#"{"replies":[{"text":"null"}]}"#, before),
            r#"{"n":1}"#
        );
        let handled = done(
            &raw(
                r#"{"replies":[{"text":"a","buttons":[{"label":"Yes","data":"1"}]},{"files":[{"type":"photo","url":"https://u"}]}],
                "sql":[["INSERT",[null,true,1,1.5,"x",{"base64":"/w=="},{"integer":"9007199254740993"}]]]}"#,
            ),
            None,
        )
        .unwrap();
        assert_eq!(
            handled.actions[0],
            Reply::from("a").button("Yes", "1").into()
        );
        assert_eq!(handled.actions[1], Reply::photo("https://u").into());
        assert_eq!(
            handled.statements[0].params,
            [
                Value::Null,
                Value::Integer(1),
                Value::Integer(1),
                Value::Real(1.5),
                Value::Text("x".to_owned()),
                Value::Blob(vec![255]),
                Value::Integer(9_007_199_254_740_993),
            ]
        );
    }

    #[test]
    fn each_verb_is_read() {
        let said = |text: &str| {
            let handled = done(&raw(&format!(r#"{{"replies":[{text}]}}"#)), None).unwrap();
            handled.actions.into_iter().next().unwrap()
        };
        let menu = || Target::from("menu");
        assert_eq!(
            said(r#"{"edit":"menu","text":"a"}"#),
            Action::Edit {
                message: menu(),
                reply: "a".into()
            }
        );
        assert_eq!(
            said(r#"{"delete":true}"#),
            Action::Delete {
                message: Target::This
            }
        );
        let by_id = r#"{"delete":{"message":"7"}}"#;
        assert_eq!(
            said(by_id),
            Action::Delete {
                message: Target::Message("7".to_owned())
            }
        );
        assert_eq!(
            said(r#"{"toast":"Saved","alert":true}"#),
            Action::Toast {
                text: "Saved".to_owned(),
                alert: true
            }
        );
        assert_eq!(
            said(r#"{"call":"sendDice","params":{"emoji":"x"},"name":"menu"}"#),
            Action::Call {
                method: "sendDice".to_owned(),
                params: serde_json::json!({"emoji": "x"}),
                name: Some("menu".to_owned())
            }
        );
        assert_eq!(
            said(r#"{"send_to":{"channel":"vk","user":"8"},"text":"a"}"#),
            Action::SendTo {
                channel: "vk".to_owned(),
                user: "8".to_owned(),
                reply: "a".into()
            }
        );
        // A word of ours in a text is a word.
        assert_eq!(
            said(r#"{"text":"a \"toast\""}"#),
            Reply::from(r#"a "toast""#).into()
        );
    }

    #[test]
    fn a_state_has_a_hundred_levels_at_most() {
        let deep = |levels: usize| {
            let (open, close) = (r#"{"a":["#.repeat(levels / 2), "]}".repeat(levels / 2));
            format!(r#"{{"state":{open}"{{[\"\\"{close}}}"#)
        };
        assert_eq!(refusal(&deep(100)), "");
        assert!(
            refusal(&deep(102)).contains("more than 100 levels"),
            "{}",
            refusal(&deep(102))
        );
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (text, expected) in [
            (r#"{"state":{"a":"\ud800"}}"#, "state: "),
            (r#"{"replies":[{"text":"\ud800"}]}"#, "replies[0].text: "),
            (r#"{"state":7}"#, "state must be an object, not 7"),
            (r#"{"state":[1]}"#, "state must be an object, not [1]"),
            (
                r#"{"replies":[{"text":"a"},{"text":7}]}"#,
                "replies[1].text: invalid type: integer `7`, expected a string",
            ),
            (
                r#"{"replies":[{}]}"#,
                "replies[0] has neither text nor files, location or contact",
            ),
            (
                r#"{"replies":[{"picture":"u"}]}"#,
                "replies[0] has picture, which is none of its fields",
            ),
            (
                r#"{"replies":[{"text":"a","files":[{"type":"photo"}]}]}"#,
                "replies[0].files[0]: ",
            ),
            (
                r#"{"replies":[{"text":"a","keyboard":{"rows":[["x"]]}}]}"#,
                "replies[0].keyboard",
            ),
            (
                r#"{"replies":[{"edit":"menu"}]}"#,
                "replies[0] has neither text nor files",
            ),
            (
                r#"{"replies":[{"edit":"menu","text":"a","toast":"b"}]}"#,
                "replies[0]: it has both edit and toast",
            ),
            (r#"{"replies":[{"delete":false}]}"#, "replies[0].delete: "),
            (
                r#"{"replies":{}}"#,
                "replies: invalid type: map, expected a sequence",
            ),
            (
                r#"{"replies":[{"text":"a","buttons":[{"data":"x"}]}]}"#,
                "replies[0].buttons[0]: missing field `label`",
            ),
            (
                r#"{"replies":[{"text":"a","edit":"x","delete":"y"}]}"#,
                "replies[0]: it has both edit and delete",
            ),
            (
                r#"{"sql":[["SELECT",[[1]]]]}"#,
                "sql[0][1][0]: a list is no value",
            ),
            (
                r#"{"sql":[["SELECT",[18446744073709551615]]]}"#,
                "is beyond 64 bits",
            ),
            (
                r#"{"replies":[["hi"]]}"#,
                "replies[0]: invalid type: sequence, expected an object",
            ),
            ("[]", "done: "),
            ("7", "done: "),
        ] {
            let refused = refusal(text);
            assert!(refused.contains(expected), "{text}: {refused}");
        }
    }

    #[test]
    fn a_failure_says_what_comes_next() {
        let text = |json: &str| fail(&raw(json)).to_string();
        assert_eq!(
            text(r#"{"error":"no","trace":"in bot.py\n"}"#),
            "no\nin bot.py"
        );
        for (trace, kept) in [
            (r"Traceback\n  bot.py\nmy.no\n", "no\nTraceback\n  bot.py"),
            (
                r"Traceback\n  bot.py\nmy.Error: no",
                "no\nTraceback\n  bot.py",
            ),
            (r"Error: no\n    at bot.js:1", "no\n    at bot.js:1"),
            (r"\nno\nno", "no"),
            ("no", "no"),
            ("", "no"),
            (
                r"bot.rb:7:in say\nbot.rb:9:in no",
                "no\nbot.rb:7:in say\nbot.rb:9:in no",
            ),
        ] {
            let told = text(&format!(r#"{{"error":"no","trace":"{trace}"}}"#));
            assert_eq!(told, kept, "{trace}");
        }
        assert!(text(r#"{"error":7}"#).contains("fail.error: invalid type"));
        assert!(text(&format!("{{\"error\":\"{}\"}}", "ä".repeat(100_000))).len() < 66_000);
        let pause = |json: &str| fail(&raw(json)).pause();
        assert_eq!(pause(r#"{"error":"no"}"#), None);
        assert_eq!(
            pause(r#"{"error":"no","retry_in":2.5}"#),
            Some(Duration::from_millis(2500))
        );
        assert_eq!(
            pause(r#"{"error":"no","retry_in":1e300}"#),
            Some(Duration::from_secs(86_400))
        );
        assert!(fail(&raw(r#"{"error":"no","give_up":true}"#)).is_final());
    }
}
