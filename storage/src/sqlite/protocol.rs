//! The messages between a worker and the writer, and their bytes.
//!
//! A frame is `length: u32 | request: u64 | kind: u8 | fields`, integers little
//! endian; `length` counts what follows it. An answer carries the number of its
//! request, so answers may come in any order: a worker's thousand waiting turns
//! share one connection and none holds up another.
//!
//! Both sides are the same binary, so there is no negotiation; [`VERSION`] in
//! the first message guards against an old and a new one meeting in an upgrade.
//! Bounds: [`MAX_FRAME`].

use crate::{
    DialogKey, Error, Fence, Owner, Pending, ReplyId, Result, Seen, Statement, Unsent, Value,
};

/// Raised with every change of the frames.
pub(crate) const VERSION: u32 = 2;

/// Bytes of one frame: 32 MiB. Who sends a longer one does not speak this protocol.
pub(crate) const MAX_FRAME: usize = 32 << 20;

/// Bytes of a request, and so about the size of a state: half of it, since an
/// answer may carry a state and the unsent replies of one turn. A larger commit is
/// refused before it is sent.
pub(crate) const MAX_REQUEST: usize = MAX_FRAME / 2 - 1024;

const HEADER: usize = 4;

/// Worker to writer.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    /// First on every connection. `resends` counts the requests that follow
    /// because an earlier writer did not answer them.
    Hello {
        version: u32,
        owner: Owner,
        resends: u32,
        held: Vec<(DialogKey, Fence)>,
    },
    Begin {
        dialog: DialogKey,
        update: Option<&'a str>,
        /// CLOCK_MONOTONIC in nanoseconds: one clock for all processes of a machine.
        arrived: u64,
        /// Microseconds since 1970.
        unix_us: i64,
    },
    /// The request with this number is not waited for any more.
    Cancel {
        dialog: DialogKey,
        begin: u64,
    },
    Commit(CommitRequest<'a>),
    /// Replies that were sent; with `end`, the lock is given back.
    Sent {
        dialog: DialogKey,
        fence: Fence,
        replies: Vec<ReplyId>,
        end: bool,
    },
    /// Statements outside any turn.
    Write {
        statements: Vec<Statement>,
    },
    /// Answered once everything executed so far is durable.
    Barrier,
    /// Which dialogs have unsent replies and no holder?
    Unsent {
        limit: u32,
    },
    /// Who is connected?
    Owners,
    /// Our own statements.
    Own {
        statements: Vec<Statement>,
    },
    /// Which dialogs have a due update in the inbox and no holder?
    Due {
        limit: u32,
        /// Milliseconds since 1970.
        now: i64,
    },
}

/// A turn's commit on the wire.
#[derive(Debug)]
pub(crate) struct CommitRequest<'a> {
    pub(crate) dialog: DialogKey,
    pub(crate) fence: Fence,
    /// The version of the state the turn read.
    pub(crate) read_version: u64,
    pub(crate) update: &'a str,
    pub(crate) digest: &'a [u8],
    pub(crate) answer: &'a [u8],
    pub(crate) state: &'a str,
    pub(crate) history: Option<&'a str>,
    pub(crate) replies: Vec<&'a str>,
    pub(crate) statements: Vec<Statement>,
    pub(crate) end: bool,
}

/// Writer to worker.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "short-lived; a box would cost every turn an allocation"
)]
pub(crate) enum Response {
    Begun {
        /// None when the update was seen and nothing is left to send.
        fence: Option<Fence>,
        version: u64,
        /// The dialog's last commit may not be durable yet.
        open: bool,
        state: Option<String>,
        seen: Option<Seen>,
        unsent: Vec<Unsent>,
        earlier: Option<Pending>,
    },
    Done,
    Failed(Error),
    Dialogs(Vec<DialogKey>),
    Owners(Vec<Owner>),
    /// Rows that each statement changed.
    Changed(Vec<u64>),
}

/// Writes one frame behind `buffer`'s content.
fn frame(buffer: &mut Vec<u8>, request: u64, kind: u8, fields: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER]);
    put_u64(buffer, request);
    buffer.push(kind);
    fields(buffer);
    let length = (buffer.len() - start - HEADER) as u32;
    buffer[start..start + HEADER].copy_from_slice(&length.to_le_bytes());
}

/// The first whole frame of `buffer`: its body, and how many bytes it took. None
/// when more must be read first.
///
/// # Errors
/// [`Error::Poisoned`] when the frame is larger than [`MAX_FRAME`]: whoever sent
/// it does not speak this protocol.
pub(crate) fn next_frame(buffer: &[u8]) -> Result<Option<(&[u8], usize)>> {
    let Some(header) = buffer.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*header) as usize;
    if length > MAX_FRAME {
        return Err(garbled());
    }
    Ok(buffer
        .get(HEADER..HEADER + length)
        .map(|body| (body, HEADER + length)))
}

impl Request<'_> {
    /// Writes the request behind `buffer`'s content.
    pub(crate) fn encode(&self, id: u64, buffer: &mut Vec<u8>) {
        match self {
            Request::Hello {
                version,
                owner,
                resends,
                held,
            } => frame(buffer, id, 0, |b| {
                put_u32(b, *version);
                put_u64(b, owner.0);
                put_u32(b, *resends);
                put_u32(b, held.len() as u32);
                for (dialog, fence) in held {
                    put_dialog(b, dialog);
                    put_u64(b, fence.0);
                }
            }),
            Request::Begin {
                dialog,
                update,
                arrived,
                unix_us,
            } => frame(buffer, id, 1, |b| {
                put_dialog(b, dialog);
                put_option(b, update.map(str::as_bytes));
                put_u64(b, *arrived);
                put_u64(b, *unix_us as u64);
            }),
            Request::Cancel { dialog, begin } => frame(buffer, id, 2, |b| {
                put_dialog(b, dialog);
                put_u64(b, *begin);
            }),
            Request::Commit(commit) => frame(buffer, id, 3, |b| commit.encode(b)),
            Request::Sent {
                dialog,
                fence,
                replies,
                end,
            } => frame(buffer, id, 4, |b| {
                put_dialog(b, dialog);
                put_u64(b, fence.0);
                put_u32(b, replies.len() as u32);
                for reply in replies {
                    put_u64(b, reply.turn.0);
                    put_u32(b, reply.index);
                }
                b.push(u8::from(*end));
            }),
            Request::Write { statements } => {
                frame(buffer, id, 5, |b| put_statements(b, statements));
            }
            Request::Barrier => frame(buffer, id, 6, |_| {}),
            Request::Unsent { limit } => frame(buffer, id, 7, |b| put_u32(b, *limit)),
            Request::Owners => frame(buffer, id, 8, |_| {}),
            Request::Own { statements } => {
                frame(buffer, id, 9, |b| put_statements(b, statements));
            }
            Request::Due { limit, now } => frame(buffer, id, 10, |b| {
                put_u32(b, *limit);
                put_u64(b, *now as u64);
            }),
        }
    }
}

impl<'a> Request<'a> {
    /// Reads a frame's body: the request's number and the request.
    pub(crate) fn decode(body: &'a [u8]) -> Result<(u64, Request<'a>)> {
        let mut input = Input(body);
        let id = input.u64()?;
        let request = match input.u8()? {
            0 => Request::Hello {
                version: input.u32()?,
                owner: Owner(input.u64()?),
                resends: input.u32()?,
                held: input.list(|i| Ok((i.dialog()?, Fence(i.u64()?))))?,
            },
            1 => Request::Begin {
                dialog: input.dialog()?,
                update: input.option()?.map(text).transpose()?,
                arrived: input.u64()?,
                unix_us: input.u64()? as i64,
            },
            2 => Request::Cancel {
                dialog: input.dialog()?,
                begin: input.u64()?,
            },
            3 => Request::Commit(CommitRequest::decode(&mut input)?),
            4 => Request::Sent {
                dialog: input.dialog()?,
                fence: Fence(input.u64()?),
                replies: input.list(Input::reply_id)?,
                end: input.u8()? != 0,
            },
            5 => Request::Write {
                statements: input.statements()?,
            },
            6 => Request::Barrier,
            7 => Request::Unsent {
                limit: input.u32()?,
            },
            8 => Request::Owners,
            9 => Request::Own {
                statements: input.statements()?,
            },
            10 => Request::Due {
                limit: input.u32()?,
                now: input.u64()? as i64,
            },
            _ => return Err(garbled()),
        };
        Ok((id, request))
    }
}

impl<'a> CommitRequest<'a> {
    fn encode(&self, b: &mut Vec<u8>) {
        put_dialog(b, &self.dialog);
        put_u64(b, self.fence.0);
        put_u64(b, self.read_version);
        put_bytes(b, self.update.as_bytes());
        put_bytes(b, self.digest);
        put_bytes(b, self.answer);
        put_bytes(b, self.state.as_bytes());
        put_option(b, self.history.map(str::as_bytes));
        put_u32(b, self.replies.len() as u32);
        for reply in &self.replies {
            put_bytes(b, reply.as_bytes());
        }
        put_statements(b, &self.statements);
        b.push(u8::from(self.end));
    }

    fn decode(input: &mut Input<'a>) -> Result<Self> {
        Ok(CommitRequest {
            dialog: input.dialog()?,
            fence: Fence(input.u64()?),
            read_version: input.u64()?,
            update: text(input.bytes()?)?,
            digest: input.bytes()?,
            answer: input.bytes()?,
            state: text(input.bytes()?)?,
            history: input.option()?.map(text).transpose()?,
            replies: input.list(|i| text(i.bytes()?))?,
            statements: input.statements()?,
            end: input.u8()? != 0,
        })
    }
}

impl Response {
    /// Writes the answer to request `id` behind `buffer`'s content.
    pub(crate) fn encode(&self, id: u64, buffer: &mut Vec<u8>) {
        match self {
            Response::Begun {
                fence,
                version,
                open,
                state,
                seen,
                unsent,
                earlier,
            } => frame(buffer, id, 0, |b| {
                put_u64(b, fence.map_or(0, |f| f.0));
                put_u64(b, *version);
                b.push(u8::from(*open));
                put_option(b, state.as_deref().map(str::as_bytes));
                b.push(u8::from(seen.is_some()));
                if let Some(seen) = seen {
                    put_bytes(b, &seen.digest);
                    put_bytes(b, &seen.answer);
                }
                put_u32(b, unsent.len() as u32);
                for reply in unsent {
                    put_u64(b, reply.id.turn.0);
                    put_u32(b, reply.id.index);
                    put_bytes(b, reply.body.as_bytes());
                }
                b.push(u8::from(earlier.is_some()));
                if let Some(pending) = earlier {
                    put_pending(b, pending);
                }
            }),
            Response::Done => frame(buffer, id, 1, |_| {}),
            Response::Failed(error) => frame(buffer, id, 2, |b| {
                let opening;
                let (kind, text): (u8, &str) = match error {
                    Error::Busy(text) => (0, text),
                    Error::Unavailable(text) => (1, text),
                    Error::Full => (2, ""),
                    Error::Stale => (3, ""),
                    Error::Seen => (4, ""),
                    Error::Statement(text) => (5, text),
                    Error::Open(why) | Error::NotYet(why) => {
                        opening = why.to_string();
                        (6, &opening)
                    }
                    Error::Poisoned(text) | Error::Undone(text) => (7, text),
                };
                b.push(kind);
                put_bytes(b, text.as_bytes());
            }),
            Response::Dialogs(dialogs) => frame(buffer, id, 3, |b| {
                put_u32(b, dialogs.len() as u32);
                for dialog in dialogs {
                    put_dialog(b, dialog);
                }
            }),
            Response::Owners(owners) => frame(buffer, id, 4, |b| {
                put_u32(b, owners.len() as u32);
                for owner in owners {
                    put_u64(b, owner.0);
                }
            }),
            Response::Changed(rows) => frame(buffer, id, 5, |b| {
                put_u32(b, rows.len() as u32);
                for count in rows {
                    put_u64(b, *count);
                }
            }),
        }
    }

    /// Reads a frame's body: the request's number and the answer to it.
    pub(crate) fn decode(body: &[u8]) -> Result<(u64, Response)> {
        let mut input = Input(body);
        let id = input.u64()?;
        let response = match input.u8()? {
            0 => Response::Begun {
                fence: Some(input.u64()?).filter(|&f| f != 0).map(Fence),
                version: input.u64()?,
                open: input.u8()? != 0,
                state: input.option()?.map(text).transpose()?.map(str::to_owned),
                seen: match input.u8()? {
                    0 => None,
                    _ => Some(Seen {
                        digest: input.bytes()?.to_vec(),
                        answer: input.bytes()?.to_vec(),
                    }),
                },
                unsent: input.list(|i| {
                    Ok(Unsent {
                        id: i.reply_id()?,
                        body: text(i.bytes()?)?.to_owned(),
                    })
                })?,
                earlier: match input.u8()? {
                    0 => None,
                    _ => Some(input.pending()?),
                },
            },
            1 => Response::Done,
            2 => {
                let kind = input.u8()?;
                let text = text(input.bytes()?)?.to_owned();
                Response::Failed(match kind {
                    0 => Error::Busy(text),
                    1 => Error::Unavailable(text),
                    2 => Error::Full,
                    3 => Error::Stale,
                    4 => Error::Seen,
                    5 => Error::Statement(text),
                    6 => Error::open(text),
                    7 => Error::Poisoned(text),
                    _ => return Err(garbled()),
                })
            }
            3 => Response::Dialogs(input.list(Input::dialog)?),
            4 => Response::Owners(input.list(|i| Ok(Owner(i.u64()?)))?),
            5 => Response::Changed(input.list(Input::u64)?),
            _ => return Err(garbled()),
        };
        Ok((id, response))
    }
}

fn garbled() -> Error {
    Error::Poisoned("garbled message on the writer's socket".to_owned())
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| garbled())
}

fn put_u32(buffer: &mut Vec<u8>, value: u32) {
    buffer.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(buffer: &mut Vec<u8>, value: u64) {
    buffer.extend_from_slice(&value.to_le_bytes());
}

fn put_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(buffer, bytes.len() as u32);
    buffer.extend_from_slice(bytes);
}

fn put_option(buffer: &mut Vec<u8>, bytes: Option<&[u8]>) {
    buffer.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        put_bytes(buffer, bytes);
    }
}

fn put_dialog(buffer: &mut Vec<u8>, dialog: &DialogKey) {
    put_bytes(buffer, dialog.channel.as_bytes());
    put_bytes(buffer, dialog.user_id.as_bytes());
}

fn put_pending(buffer: &mut Vec<u8>, pending: &Pending) {
    put_dialog(buffer, &pending.dialog);
    put_bytes(buffer, pending.update.as_bytes());
    put_u64(buffer, pending.arrived as u64);
    put_bytes(buffer, &pending.body);
    put_u32(buffer, pending.attempts);
    put_u64(buffer, pending.due as u64);
    put_option(buffer, pending.error.as_deref().map(str::as_bytes));
}

fn put_statements(buffer: &mut Vec<u8>, statements: &[Statement]) {
    put_u32(buffer, statements.len() as u32);
    for statement in statements {
        put_bytes(buffer, statement.sql.as_bytes());
        put_u32(buffer, statement.params.len() as u32);
        for value in &statement.params {
            match value {
                Value::Null => buffer.push(0),
                Value::Integer(v) => {
                    buffer.push(1);
                    put_u64(buffer, *v as u64);
                }
                Value::Real(v) => {
                    buffer.push(2);
                    put_u64(buffer, v.to_bits());
                }
                Value::Text(v) => {
                    buffer.push(3);
                    put_bytes(buffer, v.as_bytes());
                }
                Value::Blob(v) => {
                    buffer.push(4);
                    put_bytes(buffer, v);
                }
            }
        }
    }
}

/// What is left to read of a frame's body.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(garbled)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or_else(garbled)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    fn option(&mut self) -> Result<Option<&'a [u8]>> {
        match self.u8()? {
            0 => Ok(None),
            _ => self.bytes().map(Some),
        }
    }

    /// The count is not trusted for the allocation: a garbled one must not ask
    /// for gigabytes.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.u32()? as usize;
        let mut items = Vec::with_capacity(count.min(self.0.len()));
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn dialog(&mut self) -> Result<DialogKey> {
        Ok(DialogKey::new(text(self.bytes()?)?, text(self.bytes()?)?))
    }

    fn reply_id(&mut self) -> Result<ReplyId> {
        Ok(ReplyId {
            turn: Fence(self.u64()?),
            index: self.u32()?,
        })
    }

    fn pending(&mut self) -> Result<Pending> {
        Ok(Pending {
            dialog: self.dialog()?,
            update: text(self.bytes()?)?.to_owned(),
            arrived: self.u64()? as i64,
            body: self.bytes()?.to_vec(),
            attempts: self.u32()?,
            due: self.u64()? as i64,
            error: self.option()?.map(text).transpose()?.map(str::to_owned),
        })
    }

    fn statements(&mut self) -> Result<Vec<Statement>> {
        self.list(|i| {
            Ok(Statement {
                sql: text(i.bytes()?)?.to_owned(),
                params: i.list(Input::value)?,
            })
        })
    }

    fn value(&mut self) -> Result<Value> {
        Ok(match self.u8()? {
            0 => Value::Null,
            1 => Value::Integer(self.u64()? as i64),
            2 => Value::Real(f64::from_bits(self.u64()?)),
            3 => Value::Text(text(self.bytes()?)?.to_owned()),
            4 => Value::Blob(self.bytes()?.to_vec()),
            _ => return Err(garbled()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever bytes come, decoding ends with an answer and no panic.
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::decode(&bytes);
            let _ = Response::decode(&bytes);
            let _ = next_frame(&bytes);
        }

        #[test]
        fn a_commit_survives_the_wire(
            user in ".*", state in ".*", answer in proptest::collection::vec(any::<u8>(), 0..50),
            number in any::<i64>(), end in any::<bool>(),
        ) {
            let statements = vec![Statement::new("INSERT", (number, user.as_str(), 1.5, Value::Null, answer.clone()))];
            let request = Request::Commit(CommitRequest {
                dialog: DialogKey::new("http", user.clone()),
                fence: Fence(7), read_version: 6, update: "u1", digest: b"d", answer: &answer,
                state: &state, history: Some("{}"), replies: vec!["a", ""],
                statements: statements.clone(), end,
            });
            let mut buffer = Vec::new();
            request.encode(9, &mut buffer);
            let (body, taken) = next_frame(&buffer).unwrap().unwrap();
            prop_assert_eq!(taken, buffer.len());
            let (id, Request::Commit(commit)) = Request::decode(body).unwrap() else { panic!() };
            prop_assert_eq!(id, 9);
            prop_assert_eq!(commit.dialog.user_id, user);
            prop_assert_eq!(commit.state, state);
            prop_assert_eq!(commit.answer, answer);
            prop_assert_eq!(commit.statements, statements);
            prop_assert_eq!(commit.replies, vec!["a", ""]);
            prop_assert_eq!(commit.end, end);
        }
    }
}
