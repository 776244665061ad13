//! The messages between a worker and the writer.
//!
//! A frame is `length: u32 | request: u64 | kind: u8 | fields`, integers little
//! endian; `length` counts what follows it. An answer carries the number of its
//! request, so answers may come in any order: a worker's thousand waiting turns
//! share one connection and none holds up another.
//!
//! Each message is declared once, below: its fields are encoded in this order (`bytes.rs` has
//! the encoding of each type). A new request is a line here, a method of the client that sends
//! it (`client/mod.rs`) and an arm of the writer that executes it (`writer/requests.rs`).
//!
//! Both sides are the same binary, or programs with the same version of this library (`shared/`),
//! so there is no negotiation; [`VERSION`] in the first message guards against an old and a new
//! one meeting in an upgrade. Bounds: [`MAX_FRAME`].

mod bytes;

use sha2::{Digest, Sha256};

use self::bytes::{Field, Input, garbled};
use crate::{
    DialogKey, Error, Fence, Guarded, LockAfter, Outcome, Owner, Pending, ReplyId, Result, Seen,
    Statement, Unsent,
};

/// Raised with every change of the frames.
pub(crate) const VERSION: u32 = 6;

/// Bytes of one frame: 32 MiB. Who sends a longer one does not speak this protocol.
pub(crate) const MAX_FRAME: usize = 32 << 20;

/// Bytes of a request, and so about the size of a state: half of it, since an
/// answer may carry a state and the unsent replies of one turn. A larger commit is
/// refused before it is sent.
pub(crate) const MAX_REQUEST: usize = MAX_FRAME / 2 - 1024;

const HEADER: usize = 4;

/// A struct whose bytes are those of its fields, in this order.
macro_rules! fields {
    (
        $(#[$attribute:meta])*
        $name:ident $(<$life:lifetime>)? {
            $($(#[$field_attribute:meta])* $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug)]
        pub(crate) struct $name $(<$life>)? {
            $($(#[$field_attribute])* pub(crate) $field: $type,)*
        }

        impl<'i> Field<'i> for fields!(@self 'i $name $(<$life>)?) {
            fn put(&self, buffer: &mut Vec<u8>) {
                $(self.$field.put(buffer);)*
            }

            fn take(input: &mut Input<'i>) -> Result<Self> {
                Ok($name { $($field: Field::take(input)?,)* })
            }
        }
    };
    (@self $input:lifetime $name:ident <$life:lifetime>) => { $name<$input> };
    (@self $input:lifetime $name:ident) => { $name };
}

/// Messages of one direction: each with the number of its kind, and its fields.
macro_rules! messages {
    (
        $(#[$attribute:meta])*
        $name:ident $(<$life:lifetime>)? {
            $(
                $(#[$message_attribute:meta])*
                $kind:literal = $message:ident
                    $({ $($(#[$field_attribute:meta])* $field:ident: $type:ty,)* })?
                    $(($item:ident: $inner:ty))?,
            )*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug)]
        pub(crate) enum $name $(<$life>)? {
            $(
                $(#[$message_attribute])*
                $message
                    $({ $($(#[$field_attribute])* $field: $type,)* })?
                    $(($inner))?,
            )*
        }

        impl $(<$life>)? $name $(<$life>)? {
            /// Writes the message behind `buffer`'s content, with the number of the request
            /// that it is or answers.
            pub(crate) fn encode(&self, id: u64, buffer: &mut Vec<u8>) {
                match self {
                    $(
                        $name::$message $({ $($field,)* })? $(($item))? => {
                            frame(buffer, id, $kind, |_fields| {
                                $($($field.put(_fields);)*)?
                                $($item.put(_fields);)?
                            });
                        }
                    )*
                }
            }

            /// Reads a frame's body: the request's number, and the message.
            ///
            /// # Errors
            /// [`Error::Poisoned`]: it is none of these.
            pub(crate) fn decode(body: &$($life)? [u8]) -> Result<(u64, Self)> {
                let mut input = Input(body);
                let id = u64::take(&mut input)?;
                let message = match u8::take(&mut input)? {
                    $(
                        $kind => $name::$message
                            $({ $($field: Field::take(&mut input)?,)* })?
                            $((<$inner as Field<'_>>::take(&mut input)?))?,
                    )*
                    _ => return Err(garbled()),
                };
                Ok((id, message))
            }
        }
    };
}

messages! {
    /// A worker's first message on every connection, and never again.
    Greeting {
        /// Who it is.
        0 = Hello {
            version: u32,
            owner: Owner,
            /// The requests that follow because an earlier writer did not answer them.
            resends: u32,
            held: Vec<(DialogKey, Fence)>,
        },
    }
}

messages! {
    /// Worker to writer.
    Request<'a> {
        /// A lock is asked for.
        1 = Begin {
            dialog: DialogKey,
            update: Option<&'a str>,
            /// CLOCK_MONOTONIC in nanoseconds: one clock for all processes of a machine.
            arrived: u64,
            /// Microseconds since 1970.
            unix_us: i64,
        },
        /// The request with this number is not waited for any more.
        2 = Cancel {
            dialog: DialogKey,
            begin: u64,
        },
        /// A turn is to be written.
        3 = Commit(commit: CommitRequest<'a>),
        /// Replies that were sent.
        4 = Sent {
            dialog: DialogKey,
            fence: Fence,
            replies: Vec<ReplyId>,
            lock: LockAfter,
        },
        /// Statements outside any turn. With a key they take effect once.
        5 = Write {
            key: Option<&'a str>,
            statements: Vec<Guarded>,
        },
        /// Answered once everything executed so far is durable.
        6 = Barrier,
        /// Which dialogs have unsent replies and no holder?
        7 = Unsent {
            limit: u32,
        },
        /// Who is connected?
        8 = Owners,
        /// Our own statements.
        9 = Own {
            statements: Vec<Statement>,
        },
        /// Which dialogs have a due update in the inbox and no holder?
        10 = Due {
            limit: u32,
            /// Milliseconds since 1970.
            now: i64,
        },
        /// A transaction of the asker's own, which has the writer to itself. The number of this
        /// request is the transaction's.
        11 = Open {
            /// CLOCK_MONOTONIC in nanoseconds.
            arrived: u64,
            /// Milliseconds that it may take.
            limit: u32,
        },
        /// A statement in it.
        12 = Inside {
            transaction: u64,
            statement: Guarded,
        },
        /// Its end.
        13 = Close {
            transaction: u64,
            /// It is committed under this key; none: it is undone.
            key: Option<&'a str>,
        },
    }
}

fields! {
    /// A turn's commit on the wire.
    CommitRequest<'a> {
        dialog: DialogKey,
        fence: Fence,
        /// The version of the state the turn read.
        read_version: u64,
        update: &'a str,
        digest: &'a [u8],
        answer: &'a [u8],
        state: &'a str,
        history: Option<&'a str>,
        replies: Vec<&'a str>,
        statements: Vec<Statement>,
        lock: LockAfter,
        relays: Vec<Pending>,
        changes: Vec<Statement>,
    }
}

messages! {
    /// Writer to worker.
    Response {
        /// A lock, and what its turn needs to know.
        0 = Begun(begun: Locked),
        /// It is done.
        1 = Done,
        /// It is not.
        2 = Failed(error: Error),
        /// The dialogs that were asked for.
        3 = Dialogs(dialogs: Vec<DialogKey>),
        /// The workers that are connected.
        4 = Owners(owners: Vec<Owner>),
        /// Rows that each statement changed.
        5 = Changed(rows: Vec<u64>),
        /// Of a begin: the update was committed before, and nothing is left to send.
        6 = Seen(seen: Seen),
        /// What each statement did.
        7 = Wrote(outcomes: Vec<Outcome>),
        /// The writer ends by itself: what it has not answered it has not executed.
        8 = Leaving,
    }
}

fields! {
    /// A lock on the wire.
    Locked {
        fence: Fence,
        version: u64,
        /// The dialog's last commit may not be durable yet.
        open: bool,
        state: Option<String>,
        seen: Option<Seen>,
        unsent: Vec<Unsent>,
        earlier: Option<Pending>,
    }
}

/// Tells statements from others.
pub(crate) fn digest(statements: &[Guarded]) -> Vec<u8> {
    let mut buffer = Vec::new();
    for statement in statements {
        statement.put(&mut buffer);
    }
    Sha256::digest(&buffer).to_vec()
}

/// What was answered to a write with a key, as it is kept.
pub(crate) fn keep(outcomes: &Vec<Outcome>) -> Vec<u8> {
    let mut buffer = Vec::new();
    outcomes.put(&mut buffer);
    buffer
}

/// What [`keep`] was given.
///
/// # Errors
/// [`Error::Poisoned`]: these are not its bytes.
pub(crate) fn kept(bytes: &[u8]) -> Result<Vec<Outcome>> {
    Field::take(&mut Input(bytes))
}

/// Writes one frame behind `buffer`'s content.
fn frame(buffer: &mut Vec<u8>, request: u64, kind: u8, fields: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER]);
    request.put(buffer);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;
    use proptest::prelude::*;

    proptest! {
        /// Whatever bytes come, decoding ends with an answer and no panic.
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::decode(&bytes);
            let _ = Response::decode(&bytes);
            let _ = Greeting::decode(&bytes);
            let _ = next_frame(&bytes);
        }

        #[test]
        fn a_commit_survives_the_wire(
            user in ".*", state in ".*", answer in proptest::collection::vec(any::<u8>(), 0..50),
            number in any::<i64>(), is_last in any::<bool>(),
        ) {
            let lock = if is_last { LockAfter::GivenBack } else { LockAfter::Kept };
            let statements = vec![Statement::new("INSERT", (number, user.as_str(), 1.5, Value::Null, answer.clone()))];
            let relays = vec![Pending {
                dialog: DialogKey::new("http", state.clone()), update: user.clone(), arrived: number,
                body: answer.clone(), attempts: 1, due: number, error: Some(state.clone()),
            }];
            let request = Request::Commit(CommitRequest {
                dialog: DialogKey::new("http", user.clone()),
                fence: Fence(7), read_version: 6, update: "u1", digest: b"d", answer: &answer,
                state: &state, history: Some("{}"), replies: vec!["a", ""],
                statements: statements.clone(), lock, relays: relays.clone(), changes: statements.clone(),
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
            prop_assert_eq!(&commit.statements, &statements);
            prop_assert_eq!(commit.replies, vec!["a", ""]);
            prop_assert_eq!(commit.lock, lock);
            prop_assert_eq!(commit.relays, relays);
            prop_assert_eq!(commit.changes, statements);
        }
    }
}
