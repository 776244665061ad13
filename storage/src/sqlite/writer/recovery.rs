//! Taking over from a writer that died.
//!
//! The workers that were connected to it reconnect, tell which locks they hold and repeat
//! unanswered requests. Until all of them have, or [`RECOVERY_WAIT`] is over, nothing is
//! executed: the first request to arrive may not be the oldest.

use std::time::{Duration, Instant};

use super::Running;
use super::turns::Attempt;
use crate::sqlite::protocol::{self, Request};
use crate::{Owner, Result};

/// How long a new writer waits for the workers that were connected to the one
/// before it. One that does not come back in this time loses its locks.
const RECOVERY_WAIT: Duration = Duration::from_secs(2);

pub(super) struct Recovery {
    pub(super) expected: Vec<Owner>,
    pub(super) deadline: Instant,
}

impl Recovery {
    /// None when there was no writer before.
    pub(super) fn from(expected: Vec<Owner>) -> Option<Self> {
        (!expected.is_empty()).then(|| Recovery {
            expected,
            deadline: Instant::now() + RECOVERY_WAIT,
        })
    }
}

impl Running<'_> {
    /// Once every worker of the last writer is back (or its time is up), executes
    /// what they sent again: what ended turns first, in the order of the grants,
    /// then the requests for locks, in the order of arrival.
    pub(super) fn finish_recovery(&mut self) -> Result<()> {
        let Some(recovery) = &self.recovery else {
            return Ok(());
        };
        let back = |owner: &Owner| {
            self.connections
                .values()
                .any(|peer| peer.owner == Some(*owner) && whole_frames(&peer.input) >= peer.resends)
        };
        if !recovery.expected.iter().all(back) && Instant::now() < recovery.deadline {
            return Ok(());
        }
        self.recovery = None;
        let mut inputs = Vec::new();
        for (token, peer) in &mut self.connections {
            inputs.push((*token, std::mem::take(&mut peer.input)));
        }
        let mut requests = Vec::new();
        for (token, input) in &inputs {
            let mut used = 0;
            loop {
                match first_request(&input[used..]) {
                    Ok(Some((id, request, length))) => {
                        used += length;
                        requests.push((*token, id, request));
                    }
                    Ok(None) => break,
                    Err(reason) => {
                        tracing::error!("closing a connection to the writer: {reason}");
                        self.hang_up(*token)?;
                        break;
                    }
                }
            }
            if let Some(peer) = self.connections.get_mut(token) {
                peer.input = input[used..].to_vec();
            }
        }
        requests.sort_by_key(|(_, _, request)| match request {
            Request::Commit(commit) => (0, commit.fence.0),
            Request::Sent { fence, .. } => (0, fence.0),
            Request::Begin { arrived, .. } => (1, *arrived),
            _ => (2, 0),
        });
        tracing::info!(
            "took over from the last writer: {} locks held, {} requests sent again",
            self.locks.holders().count(),
            requests.len()
        );
        for (token, id, request) in requests {
            self.execute(token, id, request, Attempt::Again)?;
        }
        Ok(())
    }
}

/// The first request of `input`, and how many bytes it took.
pub(super) fn first_request(input: &[u8]) -> Result<Option<(u64, Request<'_>, usize)>> {
    let Some((body, length)) = protocol::next_frame(input)? else {
        return Ok(None);
    };
    Request::decode(body).map(|(id, request)| Some((id, request, length)))
}

fn whole_frames(mut input: &[u8]) -> usize {
    let mut count = 0;
    while let Ok(Some((_, length))) = protocol::next_frame(input) {
        input = &input[length..];
        count += 1;
    }
    count
}
