//! The lines between a worker and a handler process: `docs/HANDLERS.md` has them all.
//!
//! Called by `process.rs`. Reading tells two kinds of fault apart: a line that breaks the
//! protocol, for which the process is ended ([`read`]), and an answer with a field of the
//! wrong type, which fails its turn alone ([`done`], [`fail`]). Bound: [`LONGEST_LINE`].

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;
use turnkey_storage::{Row, Statement, Value};

use crate::author::error::{Error, Result};
use crate::author::message::{Button, Kind, Picture, Reply, Rpc, Update};
use crate::author::turn::MAX_REPLIES;
use crate::handlers::Handled;

/// The version of the protocol.
pub(super) const PROTOCOL: u32 = 1;

/// Bytes of a line, in either direction.
pub(super) const LONGEST_LINE: usize = 16 << 20;

/// Turns that a process may say it runs at once.
const MOST_AT_ONCE: usize = 65_536;

/// Bytes of a process's name.
const LONGEST_NAME: usize = 64;

/// Bytes of an error with its trace: what the dead letter keeps.
const LONGEST_ERROR: usize = 64 << 10;

/// Levels of lists and objects in a state: readers in every language follow that many.
pub(super) const DEEPEST: usize = 100;

/// The largest integer that a JavaScript number holds exactly.
const SAFE: i64 = (1 << 53) - 1;

/// What breaks the protocol below the level of lines: descriptor 4 is at its end.
pub(super) const CLOSED: &str = "it closed descriptor 4 and lives on";

/// Likewise: a line without an end.
pub(super) fn too_long() -> String {
    format!("a line of more than {LONGEST_LINE} bytes")
}

/// Likewise: descriptor 3 takes nothing.
pub(super) fn unread(error: &std::io::Error) -> String {
    format!("it does not read turns: {error}")
}

/// What a handler says of itself.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Hello {
    pub(super) protocol: u32,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default = "one")]
    pub(super) concurrency: usize,
    #[serde(default)]
    pub(super) raw: bool,
    #[serde(default)]
    pub(super) hears: Vec<String>,
}

fn one() -> usize {
    1
}

impl Hello {
    /// Whether edits of messages are handled.
    pub(super) fn hears_edits(&self) -> bool {
        self.hears.iter().any(|kind| kind == "edited")
    }

    fn checked(self) -> std::result::Result<Self, String> {
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
        if let Some(kind) = self.hears.iter().find(|kind| *kind != "edited") {
            return Err(format!(
                "hello.hears names {kind:?}; what can be asked for is \"edited\""
            ));
        }
        Ok(self)
    }
}

/// A line from a handler.
pub(super) enum Line {
    Hello(Hello),
    /// How a turn ended.
    Answer(u64, Answer),
    Query(u64, Query),
    /// With the number of its ping.
    Pong(u64),
    Log(Log),
}

/// How a turn ended, not looked at yet.
pub(super) enum Answer {
    Done(Box<RawValue>),
    Fail(Box<RawValue>),
}

/// A question of a turn.
pub(super) struct Query {
    pub(super) number: u64,
    /// What is wrong with it, if something is.
    pub(super) statement: std::result::Result<Statement, String>,
}

/// A line for the log.
#[derive(Deserialize)]
pub(super) struct Log {
    #[serde(default)]
    pub(super) level: String,
    pub(super) text: String,
}

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
    #[serde(borrow)]
    sql: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    pong: Option<u64>,
    #[serde(borrow)]
    log: Option<&'a RawValue>,
}

/// Reads a line.
///
/// # Errors
/// It breaks the protocol: how, for the log.
pub(super) fn read(line: &[u8]) -> std::result::Result<Line, String> {
    let text = std::str::from_utf8(line).map_err(|e| format!("a line that is no UTF-8: {e}"))?;
    let Object(any): Object<AnyLine<'_>> =
        serde_json::from_str(text).map_err(|e| match e.classify() {
            Category::Data => format!("a line with a field that is not as it must be: {e}"),
            _ => format!("a line that is no JSON: {e}"),
        })?;
    let whole = |raw: &RawValue| raw.to_owned();
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
        } => Ok(Line::Answer(id, Answer::Done(whole(done)))),
        AnyLine {
            id: Some(id),
            fail: Some(fail),
            done: None,
            ..
        } => Ok(Line::Answer(id, Answer::Fail(whole(fail)))),
        AnyLine {
            id: Some(id),
            query: Some(number),
            sql,
            params,
            ..
        } => {
            let statement = question(sql, params);
            Ok(Line::Query(id, Query { number, statement }))
        }
        AnyLine {
            pong: Some(number), ..
        } => Ok(Line::Pong(number)),
        AnyLine { log: Some(log), .. } => field("log", log).map(|Object(log)| Line::Log(log)),
        _ => Err(
            "a line of an unknown kind: it has neither hello, done, fail, query, pong nor log"
                .to_owned(),
        ),
    }
}

/// A type that is written as an object, and as nothing else: serde also takes a list for a
/// struct, its values in the order of the fields.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct OfMap<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfMap<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                map: A,
            ) -> std::result::Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        from.deserialize_map(OfMap(PhantomData))
    }
}

/// Reads a part of a line; an error names the field.
fn field<T: DeserializeOwned>(name: &str, raw: &RawValue) -> std::result::Result<T, String> {
    let mut text = serde_json::Deserializer::from_str(raw.get());
    serde_path_to_error::deserialize(&mut text).map_err(|e| {
        let path = e.path().to_string();
        let inner = without_place(&e.inner().to_string());
        match path.as_str() {
            "." if name.is_empty() => inner,
            "." => format!("{name}: {inner}"),
            _ if name.is_empty() => format!("{path}: {inner}"),
            index if index.starts_with('[') => format!("{name}{index}: {inner}"),
            _ => format!("{name}.{path}: {inner}"),
        }
    })
}

/// Line and column within a part of a line help nobody.
fn without_place(error: &str) -> String {
    let end = error.rfind(" at line ").unwrap_or(error.len());
    error[..end].to_owned()
}

fn question(
    sql: Option<&RawValue>,
    params: Option<&RawValue>,
) -> std::result::Result<Statement, String> {
    let sql: String = field("sql", sql.ok_or("a query without sql")?)?;
    let params = match params {
        Some(params) => field::<Vec<Json>>("params", params)?,
        None => Vec::new(),
    };
    Ok(Statement {
        sql,
        params: params.into_iter().map(|json| json.0).collect(),
    })
}

#[derive(Deserialize)]
struct Done<'a> {
    #[serde(borrow, default)]
    state: Option<&'a RawValue>,
    #[serde(borrow, default)]
    replies: Option<&'a RawValue>,
    #[serde(borrow, default)]
    sql: Option<&'a RawValue>,
}

/// A reply as handlers write it.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    text: String,
    #[serde(default)]
    picture: Option<String>,
    #[serde(default)]
    buttons: Vec<Object<Pressable>>,
}

#[derive(Deserialize)]
struct Pressable {
    label: String,
    data: String,
}

/// What a turn left that ended well; `state` is how it was before.
///
/// # Errors
/// A field is not as it must be: the sentence names it.
pub(super) fn done(raw: &RawValue, state: Option<&str>) -> Result<Handled> {
    read_done(raw, state).map_err(|reason| Error::msg(format!("its answer is refused: {reason}")))
}

/// The same, without a word of whose answer it is.
///
/// # Errors
/// Likewise.
pub(super) fn read_done(
    raw: &RawValue,
    before: Option<&str>,
) -> std::result::Result<Handled, String> {
    let Object(done): Object<Done<'_>> = serde_json::from_str(raw.get())
        .map_err(|e| format!("done: {}", without_place(&e.to_string())))?;
    let state = match done.state.map(RawValue::get) {
        // `null` for a whole field reads as none: unchanged is said by leaving it out.
        None if has_null_state(raw.get()) => "null".to_owned(),
        None => before.unwrap_or("{}").to_owned(),
        Some(object) if object.starts_with('{') => {
            if levels(object) > DEEPEST {
                return Err(format!(
                    "state has more than {DEEPEST} levels of lists and objects"
                ));
            }
            // A half of a pair of surrogates is let through as it stands, and what is stored
            // must be read by every language. Few texts need the second look.
            if object.contains("\\ud") || object.contains("\\uD") {
                serde_json::from_str::<serde_json::Value>(object)
                    .map_err(|e| format!("state: {}", without_place(&e.to_string())))?;
            }
            object.to_owned()
        }
        Some(other) => {
            let start: String = other.chars().take(40).collect();
            return Err(format!("state must be an object, not {start}"));
        }
    };
    let said: Vec<Object<Said>> = match done.replies {
        Some(replies) => field("replies", replies)?,
        None => Vec::new(),
    };
    if said.len() > MAX_REPLIES {
        return Err(format!(
            "{} replies in one turn; {MAX_REPLIES} is the limit",
            said.len()
        ));
    }
    let replies = said.into_iter().enumerate().map(|(at, Object(said))| {
        if said.text.is_empty() && said.picture.is_none() {
            return Err(format!("replies[{at}] has neither text nor picture"));
        }
        let buttons = said.buttons.into_iter();
        let mut reply = Reply::from(said.text);
        reply.picture = said.picture;
        reply.buttons = buttons
            .map(|Object(Pressable { label, data })| Button { label, data })
            .collect();
        Ok(reply)
    });
    let statements: Vec<(String, Vec<Json>)> = match done.sql {
        Some(sql) => field("sql", sql)?,
        None => Vec::new(),
    };
    Ok(Handled {
        state,
        replies: replies.collect::<std::result::Result<_, _>>()?,
        statements: statements
            .into_iter()
            .map(|(sql, params)| Statement {
                sql,
                params: params.into_iter().map(|json| json.0).collect(),
            })
            .collect(),
    })
}

/// How deep lists and objects are within each other in a text that is JSON.
fn levels(json: &str) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    let mut in_text = false;
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_text => drop(bytes.next()),
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' if !in_text => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// Whether an answer says `"state":null`.
fn has_null_state(done: &str) -> bool {
    #[derive(Deserialize)]
    struct State {
        #[serde(default, deserialize_with = "said")]
        state: bool,
    }
    fn said<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<bool, D::Error> {
        serde::de::IgnoredAny::deserialize(from).map(|_| true)
    }
    done.contains("null") && serde_json::from_str::<State>(done).is_ok_and(|said| said.state)
}

/// A failure as a handler writes it.
#[derive(Deserialize)]
pub(super) struct Fail {
    pub(super) error: String,
    #[serde(default)]
    trace: String,
    #[serde(default)]
    pub(super) retry_in: Option<f64>,
    #[serde(default)]
    give_up: bool,
}

/// Reads a failure.
///
/// # Errors
/// A field is not as it must be: the sentence names it.
pub(super) fn read_fail(raw: &RawValue) -> std::result::Result<Fail, String> {
    field("fail", raw).map(|Object(fail)| fail)
}

/// How a turn failed, by the handler's own account.
pub(super) fn fail(raw: &RawValue) -> Error {
    let fail = match read_fail(raw) {
        Ok(fail) => fail,
        Err(reason) => return Error::msg(format!("its answer is refused: {reason}")),
    };
    // Python ends a traceback with the error, JavaScript begins a stack with it.
    let trace = fail.trace.trim_end();
    let trace = trace.strip_suffix(&fail.error).unwrap_or(trace);
    let trace = trace.strip_prefix(&fail.error).unwrap_or(trace);
    let text = match trace.trim_matches('\n') {
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

/// At most so many bytes of a text.
pub(super) fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push_str(" …");
    }
    text
}

/// The first line of a conversation.
pub(super) fn hello(worker: usize) -> Vec<u8> {
    #[derive(Serialize)]
    struct Greeting {
        hello: Of,
    }
    #[derive(Serialize)]
    struct Of {
        protocol: u32,
        program: &'static str,
        worker: usize,
    }
    let hello = Of {
        protocol: PROTOCOL,
        program: concat!("turnkey ", env!("CARGO_PKG_VERSION")),
        worker,
    };
    line(&Greeting { hello }).unwrap_or_default()
}

/// What a turn begins with.
pub(super) struct Given<'a> {
    pub(super) id: u64,
    pub(super) update: &'a Update,
    pub(super) attempt: u32,
    pub(super) state: Option<&'a str>,
    /// The platform's own JSON goes along.
    pub(super) raw: bool,
}

/// The line that starts a turn.
///
/// # Errors
/// It is too long.
pub(super) fn turn(given: &Given<'_>) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Start<'a> {
        id: u64,
        turn: Turn<'a>,
    }
    #[derive(Serialize)]
    struct Turn<'a> {
        channel: &'a str,
        user: &'a str,
        update: &'a str,
        kind: Kind,
        text: &'a str,
        attempt: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        command: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        argument: Option<&'a str>,
        #[serde(skip_serializing_if = "is_empty")]
        pictures: &'a [Picture],
        #[serde(skip_serializing_if = "Option::is_none")]
        rpc: Option<Rpc>,
        #[serde(skip_serializing_if = "Option::is_none")]
        raw: Option<Raw<'a>>,
    }
    fn is_empty(pictures: &&[Picture]) -> bool {
        pictures.is_empty()
    }
    let update = given.update;
    let (command, argument) = update.command().unzip();
    let state = given
        .state
        .map(serde_json::from_str::<&RawValue>)
        .transpose()?;
    let start = Start {
        id: given.id,
        turn: Turn {
            channel: &update.dialog.channel,
            user: &update.dialog.user_id,
            update: &update.id.0,
            kind: update.kind,
            text: &update.text,
            attempt: given.attempt,
            state,
            command,
            argument,
            pictures: &update.pictures,
            rpc: update.rpc(),
            raw: given.raw.then(|| Raw::of(update.raw())),
        },
    };
    line(&start)
}

/// A platform's JSON, or bytes that are none.
#[derive(Serialize)]
#[serde(untagged)]
enum Raw<'a> {
    Json(&'a RawValue),
    Bytes { base64: String },
}

impl<'a> Raw<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        match serde_json::from_slice(bytes) {
            Ok(json) => Raw::Json(json),
            Err(_) => Raw::Bytes {
                base64: STANDARD.encode(bytes),
            },
        }
    }
}

/// The answer to a question.
pub(super) fn rows(id: u64, query: u64, answer: std::result::Result<Vec<Row>, String>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Answered<'a> {
        id: u64,
        query: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        rows: Option<Vec<Named<'a>>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
    }
    struct Named<'a>(&'a Row);
    impl Serialize for Named<'_> {
        fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
            let columns = self.0.columns();
            let mut map = to.serialize_map(Some(columns.len()))?;
            for (column, value) in columns.iter().zip(self.0.values()) {
                map.serialize_entry(column, &Shown(value))?;
            }
            map.end()
        }
    }
    let refused = |reason: &str| {
        let answered = Answered {
            id,
            query,
            rows: None,
            error: Some(reason),
        };
        line(&answered).unwrap_or_default()
    };
    match answer {
        Err(reason) => refused(&reason),
        Ok(rows) => {
            let answered = Answered {
                id,
                query,
                rows: Some(rows.iter().map(Named).collect()),
                error: None,
            };
            line(&answered).unwrap_or_else(|error| refused(&error.to_string()))
        }
    }
}

/// A turn is over its time.
pub(super) fn cancel(id: u64) -> Vec<u8> {
    format!("{{\"cancel\":{id}}}\n").into_bytes()
}

/// A sign of life is asked for.
pub(super) fn ping(number: u64) -> Vec<u8> {
    format!("{{\"ping\":{number}}}\n").into_bytes()
}

/// No more turns will come.
pub(super) fn drain() -> Vec<u8> {
    b"{\"drain\":true}\n".to_vec()
}

/// One line of JSON, whatever a stored text or a platform's JSON has in it: line feeds
/// between its tokens become spaces, and what else some readers split lines at is escaped.
pub(super) fn line(value: &impl Serialize) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(value)?;
    let mut line = Vec::with_capacity(json.len() + 1);
    let mut rest = &json[..];
    // In JSON, none of these is anywhere but within a string, save line feeds and carriage
    // returns, which are nowhere within one.
    while let Some(at) = rest
        .iter()
        .position(|b| matches!(b, b'\n' | b'\r' | 0xe2 | 0xc2))
    {
        line.extend(&rest[..at]);
        rest = &rest[at..];
        let (instead, length): (&[u8], usize) = match rest {
            [b'\n' | b'\r', ..] => (b" ", 1),
            [0xe2, 0x80, 0xa8, ..] => (b"\\u2028", 3),
            [0xe2, 0x80, 0xa9, ..] => (b"\\u2029", 3),
            [0xc2, 0x85, ..] => (b"\\u0085", 2),
            _ => (&rest[..1], 1),
        };
        line.extend(instead);
        rest = &rest[length..];
    }
    line.extend(rest);
    if line.len() >= LONGEST_LINE {
        return Err(Error::msg(format!(
            "a line of {} bytes for the handler; {LONGEST_LINE} is the limit",
            line.len()
        )));
    }
    line.push(b'\n');
    Ok(line)
}

/// A value as it travels to a handler.
struct Shown<'a>(&'a Value);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let tagged = |to: S, name: &'static str, text: String| {
            let mut map = to.serialize_map(Some(1))?;
            map.serialize_entry(name, &text)?;
            map.end()
        };
        match self.0 {
            Value::Null => to.serialize_unit(),
            Value::Integer(n) if (-SAFE..=SAFE).contains(n) => to.serialize_i64(*n),
            Value::Integer(n) => tagged(to, "integer", n.to_string()),
            // Infinite ones are no JSON.
            Value::Real(x) if x.is_finite() => to.serialize_f64(*x),
            Value::Real(x) => to.serialize_str(&x.to_string()),
            Value::Text(text) => to.serialize_str(text),
            Value::Blob(bytes) => tagged(to, "base64", STANDARD.encode(bytes)),
        }
    }
}

/// A value as a handler writes it.
#[derive(Debug, Deserialize)]
#[serde(try_from = "serde_json::Value")]
struct Json(Value);

impl TryFrom<serde_json::Value> for Json {
    type Error = String;

    fn try_from(json: serde_json::Value) -> std::result::Result<Self, String> {
        use serde_json::Value as J;
        let value = match json {
            J::Null => Value::Null,
            J::Bool(b) => Value::Integer(b.into()),
            J::Number(n) => match (n.as_i64(), n.as_f64()) {
                (Some(n), _) => Value::Integer(n),
                (None, Some(x)) if !n.is_u64() => Value::Real(x),
                _ => return Err(format!("the integer {n} is beyond 64 bits")),
            },
            J::String(text) => Value::Text(text),
            J::Object(map) => {
                let only = (map.len() == 1).then(|| map.iter().next()).flatten();
                match only {
                    Some((name, J::String(text))) if name == "base64" => Value::Blob(
                        STANDARD
                            .decode(text)
                            .map_err(|e| format!("base64 that cannot be read: {e}"))?,
                    ),
                    Some((name, J::String(text))) if name == "integer" => Value::Integer(
                        text.parse()
                            .map_err(|e| format!("the integer {text:?}: {e}"))?,
                    ),
                    _ => return Err("an object is no value of SQL; as JSON text it is".to_owned()),
                }
            }
            J::Array(_) => return Err("a list is no value of SQL; as JSON text it is".to_owned()),
        };
        Ok(Json(value))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use turnkey_storage::DialogKey;

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        serde_json::from_str(text).unwrap()
    }

    fn refusal(text: &str) -> String {
        let refused = done(&raw(text), None).err();
        refused.map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_turn_is_one_line_whatever_is_in_it() {
        let json = "{\n \"text\": \"a\u{2028}b\u{85}c\",\r\n \"n\": 1 }";
        let mut update = Update::new(
            DialogKey::new("telegram", "7"),
            "9",
            "/start\u{2029} x\ny",
            Bytes::from(json),
        );
        let given = |update: &Update, raw| {
            let given = Given {
                id: 1,
                update,
                attempt: 2,
                state: Some("{\n\"n\": 3}"),
                raw,
            };
            String::from_utf8(turn(&given).unwrap()).unwrap()
        };
        let line = given(&update, true);
        assert_eq!(
            line.matches(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}'])
                .count(),
            1
        );
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        let turn = &parsed["turn"];
        assert_eq!(turn["text"], "/start\u{2029} x\ny");
        assert_eq!(turn["command"], "start");
        assert_eq!(turn["state"]["n"], 3);
        assert_eq!(turn["raw"]["text"], "a\u{2028}b\u{85}c");
        assert!(!given(&update, false).contains("raw"));
        update.raw = Bytes::from_static(&[255, 0]);
        assert!(given(&update, true).contains(r#""raw":{"base64":"/wA="}"#));
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
                r#"{"replies":[{"text":"a","buttons":[{"label":"Yes","data":"1"}]},{"picture":"u"}],
                "sql":[["INSERT",[null,true,1,1.5,"x",{"base64":"/w=="},{"integer":"9007199254740993"}]]]}"#,
            ),
            None,
        )
        .unwrap();
        assert_eq!(handled.replies[0], Reply::from("a").button("Yes", "1"));
        assert_eq!(handled.replies[1], Reply::picture("u"));
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
                "replies[0] has neither text nor picture",
            ),
            (
                r#"{"replies":{}}"#,
                "replies: invalid type: map, expected a sequence",
            ),
            (
                r#"{"replies":[{"text":"a","buttons":[{"label":"x"}]}]}"#,
                "replies[0].buttons[0]: missing field `data`",
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
        for trace in [r"Traceback\n  bot.py\nmy.no", "no"] {
            let told = text(&format!(r#"{{"error":"no","trace":"{trace}"}}"#));
            assert_eq!(told.matches("no").count(), 1, "{told}");
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
            r#"{"hello":{"protocol":1,"hears":["reaction"]}}"#,
            r#"{"id":1,"done":{"state":{"a":NaN}}}"#,
        ] {
            assert!(read(line.as_bytes()).is_err(), "{line}");
        }
        assert!(read(&[b'{', 0xff, b'}']).is_err());
        for line in [
            r#"{"hello":{"protocol":1,"later":true},"more":1}"#,
            r#"{"id":1,"done":{"unknown":1}}"#,
            r#"{"id":1,"query":2,"sql":7}"#,
            r#"{"pong":1}"#,
            r#"{"log":{"text":"x"}}"#,
        ] {
            assert!(read(line.as_bytes()).is_ok(), "{line}");
        }
    }
}
