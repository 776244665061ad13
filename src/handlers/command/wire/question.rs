//! What a turn asks while it runs, and the answers: its own tables, the platform, a file that
//! a user sent, what was given up; and that a result is kept.
//!
//! Read by `read.rs`, answered by `process/turns.rs`. Invariant: what is wrong with a question is
//! the answer to it, and no fault of the process. Bound: an answer that would be longer than
//! [`LONGEST_LINE`](super::LONGEST_LINE) is an error instead.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Serialize;
use serde_json::value::RawValue;
use turnkey_storage::steps::Step;
use turnkey_storage::{Row, Statement};

use super::json::{field, lasting};
use super::value::{Named, Param, statement};
use super::write::line;
use super::{LONGEST_ERROR, cut};
use crate::author::message::{File, Object};
use crate::author::turn::DeadReply;

/// Which question of a turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Number {
    /// The field that has the number, in the question and in the answer.
    pub(crate) of: Sort,
    pub(crate) number: u64,
}

/// What sort of question it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sort {
    /// For rows of the author's own tables.
    Query,
    /// For the result of a method of the platform.
    Ask,
    /// For a file that a user sent, to be written to the box.
    Download,
    /// For the replies of the dialog that were given up.
    DeadReplies,
    /// That a result is kept.
    Step,
    /// Whether the user has sent something newer.
    Newer,
}

/// A question of a turn.
pub(crate) struct Question {
    pub(crate) number: Number,
    /// What is wrong with it, if something is.
    pub(crate) asked: Result<Asked, String>,
}

/// What is asked, and whom.
pub(crate) enum Asked {
    Storage(Look),
    Platform(Wish),
    Keep(Step),
    /// Something newer of the user's.
    Newer {
        /// It is answered once there is such a thing; else at once.
        wait: bool,
    },
}

/// What is looked up.
pub(crate) enum Look {
    /// Rows of the author's own tables.
    Rows(Statement),
    /// What was given up in this dialog.
    DeadReplies,
}

/// What is asked of the platform.
pub(crate) enum Wish {
    /// The result of one of its methods.
    Result {
        method: String,
        params: serde_json::Value,
    },
    /// A file that a user sent.
    File {
        file: File,
        /// Where it is written to; nothing is there yet.
        path: PathBuf,
        /// Bytes.
        limit: u64,
    },
}

/// The fields of a question beside its number.
pub(super) struct Fields<'a> {
    pub(super) sql: Option<&'a RawValue>,
    pub(super) method: Option<&'a RawValue>,
    pub(super) params: Option<&'a RawValue>,
    pub(super) file: Option<&'a RawValue>,
    pub(super) path: Option<&'a RawValue>,
    pub(super) limit: Option<&'a RawValue>,
    pub(super) name: Option<&'a RawValue>,
    pub(super) value: Option<&'a RawValue>,
    pub(super) wait: Option<&'a RawValue>,
}

impl Question {
    pub(super) fn read(of: Sort, number: u64, fields: &Fields<'_>) -> Self {
        let asked = match of {
            Sort::Query => fields.query(),
            Sort::Ask => fields.ask(),
            Sort::Download => fields.download(),
            Sort::DeadReplies => Ok(Asked::Storage(Look::DeadReplies)),
            Sort::Step => fields.step().map(Asked::Keep),
            Sort::Newer => fields.newer(),
        };
        Question {
            number: Number { of, number },
            asked,
        }
    }
}

impl Fields<'_> {
    fn query(&self) -> Result<Asked, String> {
        let sql: String = field("sql", self.sql.ok_or("a query without sql")?)?;
        let params = match self.params {
            Some(params) => field::<Vec<Param>>("params", params)?,
            None => Vec::new(),
        };
        Ok(Asked::Storage(Look::Rows(statement(sql, params))))
    }

    fn ask(&self) -> Result<Asked, String> {
        let method = field("method", self.method.ok_or("a question without method")?)?;
        let params = match self.params {
            Some(params) => field("params", params)?,
            None => serde_json::Value::Object(serde_json::Map::new()),
        };
        match params {
            serde_json::Value::Object(_) => Ok(Asked::Platform(Wish::Result { method, params })),
            _ => Err("params of a method must be an object".to_owned()),
        }
    }

    fn step(&self) -> Result<Step, String> {
        let name = field("name", self.name.ok_or("a step without name")?)?;
        let value = self.value.ok_or("a step without value")?;
        let value = lasting("value", value.get())?.to_owned();
        Ok(Step { name, value })
    }

    fn newer(&self) -> Result<Asked, String> {
        let wait = self.wait.map(|wait| field("wait", wait)).transpose()?;
        Ok(Asked::Newer {
            wait: wait.unwrap_or(true),
        })
    }

    fn download(&self) -> Result<Asked, String> {
        let file = self.file.ok_or("a download without file")?;
        let Object(file): Object<File> = field("file", file)?;
        let path: PathBuf = field("path", self.path.ok_or("a download without path")?)?;
        if !path.is_absolute() {
            return Err(format!("path: {} is not absolute", path.display()));
        }
        let limit = field("limit", self.limit.ok_or("a download without limit")?)?;
        Ok(Asked::Platform(Wish::File { file, path, limit }))
    }
}

/// The answer to a step: the result that stands, if that is another one; or why it is not kept.
pub(crate) fn kept(id: u64, number: Number, own: &str, answer: Result<Rc<str>, String>) -> Vec<u8> {
    let with = answer.as_ref().map(|stands| With {
        value: (**stands != *own)
            .then(|| serde_json::from_str(stands).ok())
            .flatten(),
        ..With::default()
    });
    answered(id, number, with.map_err(Clone::clone))
}

/// The answer to a query: its rows, or why there are none.
pub(crate) fn rows(id: u64, number: Number, answer: Result<Vec<Row>, String>) -> Vec<u8> {
    let with = answer.as_ref().map(|rows| With {
        rows: Some(rows.iter().map(Named).collect()),
        ..With::default()
    });
    answered(id, number, with.map_err(Clone::clone))
}

/// The answer to a method that was called: its result, or why there is none.
pub(crate) fn result(
    id: u64,
    number: Number,
    answer: Result<serde_json::Value, String>,
) -> Vec<u8> {
    let with = answer.as_ref().map(|result| With {
        result: Some(result),
        ..With::default()
    });
    answered(id, number, with.map_err(Clone::clone))
}

/// The answer to a download: where the file is and how many bytes it has, or why it is not.
pub(crate) fn downloaded(
    id: u64,
    number: Number,
    path: &Path,
    answer: Result<u64, String>,
) -> Vec<u8> {
    let with = answer.map(|size| With {
        path: Some(path),
        size: Some(size),
        ..With::default()
    });
    answered(id, number, with)
}

/// The answer to a look at what was given up.
pub(crate) fn dead(id: u64, number: Number, answer: Result<Vec<DeadReply>, String>) -> Vec<u8> {
    let with = answer.as_ref().map(|replies| With {
        replies: Some(replies),
        ..With::default()
    });
    answered(id, number, with.map_err(Clone::clone))
}

/// The answer to whether there is something newer.
pub(crate) fn newer(id: u64, number: Number, answer: Result<bool, String>) -> Vec<u8> {
    result(id, number, answer.map(serde_json::Value::Bool))
}

/// The answer to any question: why there is no other.
pub(crate) fn refused(id: u64, number: Number, reason: String) -> Vec<u8> {
    answered(id, number, Err(reason))
}

fn answered(id: u64, number: Number, answer: Result<With<'_>, String>) -> Vec<u8> {
    let written = answer.and_then(|with| {
        line(&Answer::new(id, number, with)).map_err(|too_long| too_long.to_string())
    });
    written.unwrap_or_else(|reason| {
        let with = With {
            error: Some(cut(reason, LONGEST_ERROR)),
            ..With::default()
        };
        // Short as it is, it is never refused itself.
        line(&Answer::new(id, number, with)).unwrap_or_default()
    })
}

/// An answer as it is written.
#[derive(Serialize)]
struct Answer<'a> {
    id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ask: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    download: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_replies: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newer: Option<u64>,
    #[serde(flatten)]
    with: With<'a>,
}

/// What is answered.
#[derive(Default, Serialize)]
struct With<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Vec<Named<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replies: Option<&'a [DeadReply]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<'a> Answer<'a> {
    fn new(id: u64, Number { of, number }: Number, with: With<'a>) -> Self {
        let only = |sort| (of == sort).then_some(number);
        Answer {
            id,
            query: only(Sort::Query),
            ask: only(Sort::Ask),
            download: only(Sort::Download),
            dead_replies: only(Sort::DeadReplies),
            step: only(Sort::Step),
            newer: only(Sort::Newer),
            with,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Line, read};
    use super::*;
    use crate::author::message::Reply;

    fn question(line: &str) -> Question {
        match read(line.as_bytes()) {
            Ok(Line::Question(7, question)) => question,
            _ => panic!("no question: {line}"),
        }
    }

    #[test]
    fn questions_are_read() {
        let of = |line: &str| question(line).number.of;
        assert_eq!(of(r#"{"id":7,"query":1,"sql":"SELECT 1"}"#), Sort::Query);
        assert_eq!(of(r#"{"id":7,"dead_replies":1}"#), Sort::DeadReplies);
        let line = r#"{"id":7,"step":1,"name":"charge","value":null}"#;
        let Ok(Asked::Keep(step)) = question(line).asked else {
            panic!("no step")
        };
        assert_eq!((&*step.name, &*step.value), ("charge", "null"));
        let asked = question(r#"{"id":7,"ask":1,"method":"getMe"}"#).asked;
        let Ok(Asked::Platform(Wish::Result { method, params })) = asked else {
            panic!("no method")
        };
        assert_eq!((method.as_str(), params), ("getMe", serde_json::json!({})));
        let line =
            r#"{"id":7,"download":2,"limit":9,"path":"/tmp/x","file":{"type":"voice","id":"a"}}"#;
        let Ok(Asked::Platform(Wish::File { file, path, limit })) = question(line).asked else {
            panic!("no download")
        };
        assert_eq!((file.id.as_deref(), limit), (Some("a"), 9));
        assert_eq!(path, Path::new("/tmp/x"));
        for (line, waits) in [
            (r#"{"id":7,"newer":1}"#, true),
            (r#"{"id":7,"newer":1,"wait":false}"#, false),
        ] {
            let Ok(Asked::Newer { wait }) = question(line).asked else {
                panic!("no question for what is newer: {line}")
            };
            assert_eq!(wait, waits);
        }
    }

    #[test]
    fn a_wrong_question_is_answered_with_what_is_wrong() {
        for (line, expected) in [
            (r#"{"id":7,"query":1}"#, "without sql"),
            (r#"{"id":7,"query":1,"sql":7}"#, "sql: invalid type"),
            (r#"{"id":7,"ask":1}"#, "without method"),
            (r#"{"id":7,"step":1,"value":1}"#, "without name"),
            (r#"{"id":7,"step":1,"name":"x"}"#, "without value"),
            (
                r#"{"id":7,"step":1,"name":7,"value":1}"#,
                "name: invalid type",
            ),
            (
                r#"{"id":7,"step":1,"name":"x","value":"\ud800"}"#,
                "value: ",
            ),
            (r#"{"id":7,"ask":1,"method":"x","params":[]}"#, "an object"),
            (r#"{"id":7,"download":1}"#, "without file"),
            (
                r#"{"id":7,"download":1,"file":{"type":"tea"},"path":"/x","limit":1}"#,
                "file.type: unknown variant",
            ),
            (
                r#"{"id":7,"download":1,"file":{},"path":"x","limit":1}"#,
                "path: x is not absolute",
            ),
            (
                r#"{"id":7,"download":1,"file":{},"path":"/x","limit":-1}"#,
                "limit: invalid value",
            ),
            (r#"{"id":7,"newer":1,"wait":1}"#, "wait: invalid type"),
        ] {
            let reason = question(line).asked.err().unwrap_or_default();
            assert!(reason.contains(expected), "{line}: {reason}");
        }
    }

    #[test]
    fn an_answer_names_its_question() {
        let number = |of| Number { of, number: 3 };
        let text = |line: Vec<u8>| String::from_utf8(line).unwrap();
        assert_eq!(
            text(rows(7, number(Sort::Query), Ok(Vec::new()))),
            "{\"id\":7,\"query\":3,\"rows\":[]}\n"
        );
        let status = serde_json::json!({"status": "member"});
        assert_eq!(
            text(result(7, number(Sort::Ask), Ok(status))),
            "{\"id\":7,\"ask\":3,\"result\":{\"status\":\"member\"}}\n"
        );
        let null = result(7, number(Sort::Ask), Ok(serde_json::Value::Null));
        assert_eq!(text(null), "{\"id\":7,\"ask\":3,\"result\":null}\n");
        let download = downloaded(7, number(Sort::Download), Path::new("/x"), Ok(5));
        assert_eq!(
            text(download),
            "{\"id\":7,\"download\":3,\"path\":\"/x\",\"size\":5}\n"
        );
        assert_eq!(
            text(newer(7, number(Sort::Newer), Ok(true))),
            "{\"id\":7,\"newer\":3,\"result\":true}\n"
        );
        let given_up = DeadReply {
            action: Reply::from("x").into(),
            error: "blocked".to_owned(),
            died: 5,
        };
        assert_eq!(
            text(dead(7, number(Sort::DeadReplies), Ok(vec![given_up]))),
            "{\"id\":7,\"dead_replies\":3,\"replies\":\
             [{\"action\":{\"text\":\"x\"},\"error\":\"blocked\",\"died\":5}]}\n"
        );
        let stands = |answer| text(kept(7, number(Sort::Step), "1", answer));
        assert_eq!(stands(Ok("1".into())), "{\"id\":7,\"step\":3}\n");
        assert_eq!(
            stands(Ok("null".into())),
            "{\"id\":7,\"step\":3,\"value\":null}\n"
        );
        assert_eq!(
            stands(Err("no".to_owned())),
            "{\"id\":7,\"step\":3,\"error\":\"no\"}\n"
        );
        let long = serde_json::Value::String("x".repeat(super::super::LONGEST_LINE));
        let line = text(result(7, number(Sort::Ask), Ok(long)));
        assert!(
            line.starts_with("{\"id\":7,\"ask\":3,\"error\":\"a line of"),
            "{line}"
        );
    }
}
