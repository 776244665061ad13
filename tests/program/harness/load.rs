//! Traffic whose every request is accounted for: half of the senders keep their
//! connections, half open one for each message. Each sender is a user of its own, so
//! the numbers that it is answered with must rise by one: nothing lost, nothing twice,
//! nothing out of order.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::harness::client::{Connection, Failure, Target, join, message};

const SENDERS: usize = 12;

/// Between two messages of a sender.
const THINK: Duration = Duration::from_millis(4);

/// What became of the requests of one or all senders.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Each is a turn.
    pub(crate) answered: u64,
    /// The connection was refused: nothing was sent.
    pub(crate) refused: u64,
    /// Answered 503, and sent again with the same id.
    pub(crate) busy: u64,
    /// Sent, and not answered as it should be.
    pub(crate) cut: Vec<String>,
}

/// Senders that go on until they are told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 2]>,
    senders: Vec<JoinHandle<Verdict>>,
}

impl Load {
    pub(crate) fn start(target: impl Into<Target>) -> Self {
        let target = target.into();
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let senders = (0..SENDERS)
            .map(|n| tokio::spawn(send(target.clone(), n, stop.clone(), counts.clone())))
            .collect();
        Load {
            stop,
            counts,
            senders,
        }
    }

    /// Turns that were answered, and requests that were answered 503, so far.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        let [answered, busy] = &*self.counts;
        (
            answered.load(Ordering::Relaxed),
            busy.load(Ordering::Relaxed),
        )
    }

    /// Ends it, whatever became of the last requests: the turns that were answered.
    pub(crate) async fn abandon(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for sender in &self.senders {
            sender.abort();
        }
        self.so_far().0
    }

    pub(crate) async fn end(self) -> Verdict {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Verdict::default();
        for sender in self.senders {
            let one = join(sender).await;
            all.answered += one.answered;
            all.refused += one.refused;
            all.busy += one.busy;
            all.cut.extend(one.cut);
        }
        assert!(all.answered > 0, "{all:?}");
        all
    }

    /// Ends it; nothing may have gone wrong. How many were answered.
    pub(crate) async fn end_unharmed(self) -> u64 {
        let verdict = self.end().await;
        assert!(
            verdict.cut.is_empty() && verdict.refused == 0 && verdict.busy == 0,
            "{verdict:?}"
        );
        verdict.answered
    }
}

async fn send(
    target: Target,
    sender: usize,
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 2]>,
) -> Verdict {
    let keeps = sender.is_multiple_of(2);
    let user = format!("user-{sender}");
    let mut verdict = Verdict::default();
    let mut kept: Option<Connection> = None;
    while !stop.load(Ordering::Relaxed) {
        let fresh = kept.is_none();
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => match Connection::try_open_at(&target).await {
                Ok(connection) => connection,
                Err(error) if is_refusal(&error) => {
                    verdict.refused += 1;
                    tokio::time::sleep(THINK).await;
                    continue;
                }
                Err(error) => {
                    verdict.cut.push(format!("{user}: opening: {error}"));
                    continue;
                }
            },
        };
        let id = format!("{user}-{}", verdict.answered);
        match connection.try_send(message(&user, "hi", Some(&id))).await {
            Ok(answer) if answer.status == 200 => {
                verdict.answered += 1;
                counts[0].fetch_add(1, Ordering::Relaxed);
                let number = answer.number();
                if number != verdict.answered {
                    verdict
                        .cut
                        .push(format!("{user}: {number} instead of {}", verdict.answered));
                    return verdict;
                }
                if keeps && answer.header("connection") != "close" {
                    kept = Some(connection);
                }
            }
            Ok(answer) if answer.status == 503 => {
                verdict.busy += 1;
                counts[1].fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) => verdict
                .cut
                .push(format!("{user}: {} {}", answer.status, answer.text())),
            // A kept connection was closed before anything was sent on it.
            Err(error) if !fresh && was_not_sent(&error) => {}
            Err(error) => verdict
                .cut
                .push(format!("{user}: fresh {fresh}: {error:?}")),
        }
        tokio::time::sleep(THINK).await;
    }
    verdict
}

fn is_refusal(error: &Failure) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| {
        // A Unix socket's file goes when the door is closed.
        let kinds = [ErrorKind::ConnectionRefused, ErrorKind::NotFound];
        kinds.contains(&e.kind())
    })
}

fn was_not_sent(error: &Failure) -> bool {
    error
        .downcast_ref::<hyper::Error>()
        .is_some_and(|e| e.is_canceled() || e.is_closed())
}
