//! A line from the handler: which kind it is, and what it says.
//!
//! Called for each line that a handler process writes to descriptor 4. Invariant: an error
//! means that the line breaks the protocol, for which its process is ended. What an answer to
//! a turn holds is not looked at here, but in `answer.rs`. Bounds: those of a hello,
//! [`MOST_AT_ONCE`] and [`LONGEST_NAME`].

use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::json::{even_null, field};
use super::overlap::overlaps;
use super::question::{Fields, Question, Sort};
use super::{Hello, LONGEST_NAME, Line, MOST_AT_ONCE, PROTOCOL, TurnEnd};
use crate::author::dialog_by::DialogBy;
use crate::author::every::Declared;
use crate::author::message::{Kind, Object};

/// All that a line can hold.
#[derive(Deserialize)]
struct AnyLine<'a> {
    #[serde(borrow)]
    hello: Option<&'a RawValue>,
    id: Option<u64>,
    #[serde(borrow)]
    done: Option<&'a RawValue>,
    #[serde(borrow)]
    fail: Option<&'a RawValue>,
    query: Option<u64>,
    ask: Option<u64>,
    download: Option<u64>,
    dead_replies: Option<u64>,
    step: Option<u64>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    value: Option<&'a RawValue>,
    newer: Option<u64>,
    #[serde(borrow)]
    draft: Option<&'a RawValue>,
    #[serde(borrow)]
    sql: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    file: Option<&'a RawValue>,
    #[serde(borrow)]
    path: Option<&'a RawValue>,
    #[serde(borrow)]
    limit: Option<&'a RawValue>,
    #[serde(borrow)]
    wait: Option<&'a RawValue>,
    pong: Option<u64>,
    #[serde(borrow)]
    log: Option<&'a RawValue>,
}

/// Reads a line.
///
/// # Errors
/// It breaks the protocol: how, for the log.
pub(crate) fn read(line: &[u8]) -> Result<Line, String> {
    let text = std::str::from_utf8(line).map_err(|e| format!("a line that is no UTF-8: {e}"))?;
    let Object(any): Object<AnyLine<'_>> =
        serde_json::from_str(text).map_err(|e| match e.classify() {
            Category::Data => format!("a line with a field that is not as it must be: {e}"),
            _ => format!("a line that is no JSON: {e}"),
        })?;
    let whole = |raw: &RawValue| raw.to_owned();
    let fields = Fields {
        sql: any.sql,
        method: any.method,
        params: any.params,
        file: any.file,
        path: any.path,
        limit: any.limit,
        name: any.name,
        value: any.value,
        wait: any.wait,
    };
    let question = |id, of, number| Ok(Line::Question(id, Question::read(of, number, &fields)));
    match any {
        AnyLine {
            hello: Some(hello), ..
        } => {
            let Object(hello): Object<Hello> = field("hello", hello)?;
            hello.checked().map(Line::Hello)
        }
        AnyLine {
            id: Some(id),
            done: Some(done),
            fail: None,
            ..
        } => Ok(Line::Answer(id, TurnEnd::Done(whole(done)))),
        AnyLine {
            id: Some(id),
            fail: Some(fail),
            done: None,
            ..
        } => Ok(Line::Answer(id, TurnEnd::Fail(whole(fail)))),
        AnyLine {
            id: Some(id),
            query: Some(number),
            ..
        } => question(id, Sort::Query, number),
        AnyLine {
            id: Some(id),
            ask: Some(number),
            ..
        } => question(id, Sort::Ask, number),
        AnyLine {
            id: Some(id),
            download: Some(number),
            ..
        } => question(id, Sort::Download, number),
        AnyLine {
            id: Some(id),
            dead_replies: Some(number),
            ..
        } => question(id, Sort::DeadReplies, number),
        AnyLine {
            id: Some(id),
            step: Some(number),
            ..
        } => question(id, Sort::Step, number),
        AnyLine {
            id: Some(id),
            newer: Some(number),
            ..
        } => question(id, Sort::Newer, number),
        AnyLine {
            id: Some(id),
            draft: Some(draft),
            ..
        } => Ok(Line::Draft(id, field("draft", draft))),
        AnyLine {
            pong: Some(number), ..
        } => Ok(Line::Pong(number)),
        AnyLine { log: Some(log), .. } => field("log", log).map(|Object(log)| Line::Log(log)),
        _ => Err(
            "a line of an unknown kind: it has neither hello, done, fail, query, ask, download, dead_replies, step, newer, draft, pong nor log"
                .to_owned(),
        ),
    }
}

impl Hello {
    /// The same, if this program can work with it.
    fn checked(self) -> Result<Self, String> {
        if self.protocol != PROTOCOL {
            return Err(format!(
                "it speaks protocol {}, and this program {PROTOCOL}; get an SDK that fits",
                self.protocol
            ));
        }
        if !(1..=MOST_AT_ONCE).contains(&self.concurrency) {
            return Err(format!(
                "hello.concurrency is {}, which must be from 1 to {MOST_AT_ONCE}",
                self.concurrency
            ));
        }
        if self.name.len() > LONGEST_NAME {
            return Err(format!("hello.name has more than {LONGEST_NAME} bytes"));
        }
        if let Some(kind) = self.hears.iter().find(|kind| Kind::named(kind).is_none()) {
            let all = Kind::ALL.map(Kind::name).join(", ");
            return Err(format!(
                "hello.hears names {kind:?}; what can be asked for is {all}"
            ));
        }
        if let Some(by) = &self.dialog_by
            && DialogBy::named(by).is_none()
        {
            return Err(format!(
                "hello.dialog_by is {by:?}; it can be user, chat and user_in_chat"
            ));
        }
        if let Some(overlap) = &self.overlap {
            overlaps(overlap)?;
        }
        if let Some(every) = &self.every
            && let Err(why) = Declared::read_all(every)
        {
            return Err(format!("hello.every: {why}"));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_the_protocol_is_told_apart() {
        for line in [
            "",
            "hi",
            "[]",
            "{}",
            r#"{"id":1}"#,
            r#"{"id":-1,"done":{}}"#,
            r#"{"id":1,"done":{},"fail":{"error":"x"}}"#,
            r#"{"hello":{"protocol":2}}"#,
            r#"{"hello":{"protocol":1,"concurrency":0}}"#,
            r#"{"hello":{"protocol":1,"hears":["nonsense"]}}"#,
            r#"{"hello":{"protocol":1,"overlap":"burst"}}"#,
            r#"{"hello":{"protocol":1,"overlap":{"vk":"burst 11m"}}}"#,
            r#"{"hello":{"protocol":1,"every":[{"name":"a","cron":"0 0 31 2 *","zone":"UTC"}]}}"#,
            r#"{"hello":{"protocol":1,"every":[{"name":"a","cron":"0 9 * * *","zone":"Vienna"}]}}"#,
            r#"{"hello":{"protocol":1,"every":[{"name":"a"}]}}"#,
            r#"{"id":1,"done":{"state":{"a":NaN}}}"#,
        ] {
            assert!(read(line.as_bytes()).is_err(), "{line}");
        }
        assert!(read(&[b'{', 0xff, b'}']).is_err());
        for line in [
            r#"{"hello":{"protocol":1,"later":true},"more":1}"#,
            r#"{"hello":{"protocol":1,"every":[{"name":"a","cron":"0 9 * * *","zone":"UTC"}]}}"#,
            r#"{"id":1,"done":{"unknown":1}}"#,
            r#"{"id":1,"query":2,"sql":7}"#,
            r#"{"id":1,"ask":2}"#,
            r#"{"id":1,"draft":"so far"}"#,
            r#"{"id":1,"step":2,"name":7}"#,
            r#"{"id":1,"download":2,"file":null}"#,
            r#"{"pong":1}"#,
            r#"{"log":{"text":"x"}}"#,
        ] {
            assert!(read(line.as_bytes()).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_draft_is_a_text_and_one_that_is_none_breaks_nothing() {
        let draft = |line: &str| match read(line.as_bytes()) {
            Ok(Line::Draft(id, text)) => (id, text),
            _ => panic!("no draft: {line}"),
        };
        let text = draft(r#"{"id":7,"draft":"so \u00e4"}"#);
        assert_eq!(text, (7, Ok("so ä".to_owned())));
        for line in [r#"{"id":7,"draft":7}"#, r#"{"id":7,"draft":"\ud800"}"#] {
            let (id, text) = draft(line);
            let wrong = text.expect_err(line);
            assert!(id == 7 && wrong.starts_with("draft"), "{line}: {wrong}");
        }
    }
}
