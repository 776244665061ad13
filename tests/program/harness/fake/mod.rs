//! Platforms as a bot meets them: they post updates to it, again and again until they
//! are answered 200, in their own rhythm, and do what rides in an answer.
//!
//! The other half, the platforms' APIs, is `api.rs`. Used by `matrix/`, `soak.rs`
//! and whoever needs more than one request. Times are those of FACTS (Telegram: at
//! once, then 2, 4, 8 … s, at most 60 s; `Retry-After` obeyed), times [`Rules::scale`].

mod retry;
mod update;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::harness::api::Api;
use crate::harness::bot::until;
use crate::harness::client::{Answer, Connection, Failure};

pub(crate) use retry::Retry;
pub(crate) use update::{KINDS, Kind, Update};

/// How the platforms behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Of the real times.
    pub(crate) scale: f64,
    /// How often an update that was answered is posted once more.
    pub(crate) duplicates: f64,
    /// How often a request is cut off after it was sent; it counts as not answered.
    pub(crate) hang_ups: f64,
    /// How often the next update of a user is posted before the one before it is
    /// answered; see [`Kind::is_in_order`].
    pub(crate) overtakes: f64,
    /// Facebook: at most so many updates in a request.
    pub(crate) batch: usize,
    pub(crate) seed: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            scale: 0.02,
            duplicates: 0.0,
            hang_ups: 0.0,
            overtakes: 0.0,
            batch: 1,
            seed: 7,
        }
    }
}

/// What happened so far.
#[derive(Default)]
pub(crate) struct Figures {
    /// Updates that were to be posted.
    pub(crate) updates: AtomicU64,
    /// Of them, answered 200.
    pub(crate) answered: AtomicU64,
    /// Requests that were sent, or tried to be.
    pub(crate) requests: AtomicU64,
    /// Of them, such that had no answer.
    pub(crate) unanswered: AtomicU64,
    /// Of them, answered 503.
    pub(crate) refused: AtomicU64,
    /// Answered with anything but 200 and 503: a fault of the bot.
    pub(crate) faults: Mutex<Vec<String>>,
}

impl Figures {
    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::SeqCst)
    }

    fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::SeqCst);
    }
}

/// The platforms' servers. They end when this is dropped.
pub(crate) struct Fake {
    post: Arc<Post>,
    queues: Mutex<HashMap<(Kind, u64), mpsc::UnboundedSender<Update>>>,
}

/// What the queues share.
struct Post {
    port: u16,
    api: Arc<Api>,
    rules: Rules,
    figures: Figures,
    random: Mutex<fastrand::Rng>,
    ended: AtomicBool,
}

impl Fake {
    /// Posts to a bot at this port, which may go and come back.
    pub(crate) fn start(port: u16, api: &Arc<Api>, rules: Rules) -> Self {
        Fake {
            post: Arc::new(Post {
                port,
                api: api.clone(),
                rules,
                figures: Figures::default(),
                random: Mutex::new(fastrand::Rng::with_seed(rules.seed)),
                ended: AtomicBool::new(false),
            }),
            queues: Mutex::new(HashMap::new()),
        }
    }

    /// A user says something, from now on until the bot has answered 200.
    pub(crate) fn says(&self, update: Update) {
        Figures::add(&self.post.figures.updates, 1);
        let mut queues = self.queues.lock().expect("no panic under this lock");
        let queue = queues.entry((update.kind, update.user)).or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            tokio::spawn(deliver_all(self.post.clone(), receiver));
            sender
        });
        queue.send(update).expect("the queue lives");
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.post.figures
    }

    /// How many updates are not answered yet.
    pub(crate) fn waiting(&self) -> u64 {
        let figures = &self.post.figures;
        Figures::get(&figures.updates) - Figures::get(&figures.answered)
    }

    /// Waits until every update was answered 200.
    pub(crate) async fn idle(&self, limit: Duration) {
        until("every update is answered", limit, || self.waiting() == 0).await;
        let faults = self.post.figures.faults.lock().expect("no panic");
        assert!(faults.is_empty(), "neither 200 nor 503: {faults:?}");
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.post.ended.store(true, Ordering::SeqCst);
    }
}

/// A user's queue: one update after another, or a few in one request.
async fn deliver_all(post: Arc<Post>, mut queue: mpsc::UnboundedReceiver<Update>) {
    let mut connection = None;
    while let Some(first) = queue.recv().await {
        let mut updates = vec![first];
        while first_of(&updates).kind == Kind::Facebook && updates.len() < post.rules.batch {
            match queue.try_recv() {
                Ok(update) => updates.push(update),
                Err(_) => break,
            }
        }
        let in_order = first_of(&updates).kind.is_in_order();
        if !in_order && post.chance(post.rules.overtakes) {
            let post = post.clone();
            tokio::spawn(async move { post.deliver(&updates, &mut None).await });
        } else {
            post.deliver(&updates, &mut connection).await;
        }
    }
}

fn first_of(updates: &[Update]) -> &Update {
    updates.first().expect("one at least")
}

impl Post {
    fn chance(&self, probability: f64) -> bool {
        let mut random = self.random.lock().expect("no panic under this lock");
        random.f64() < probability
    }

    /// Posts one request until it is answered 200.
    async fn deliver(&self, updates: &[Update], connection: &mut Option<Connection>) {
        let first = first_of(updates);
        let mut retry = Retry::of(first.kind, self.rules.scale);
        while !self.ended.load(Ordering::SeqCst) {
            Figures::add(&self.figures.requests, 1);
            let answer = self.request(updates, connection).await;
            match &answer {
                Ok(answer) if answer.status == 200 => {
                    self.act(first, answer);
                    Figures::add(&self.figures.answered, updates.len() as u64);
                    if self.chance(self.rules.duplicates) {
                        // Whatever it is answered: it is not done again.
                        drop(self.request(updates, connection).await);
                    }
                    return;
                }
                Ok(answer) if answer.status == 503 => Figures::add(&self.figures.refused, 1),
                Ok(answer) => {
                    let fault = format!("{}: {}", answer.status, answer.text());
                    self.figures.faults.lock().expect("no panic").push(fault);
                }
                Err(_) => Figures::add(&self.figures.unanswered, 1),
            }
            tokio::time::sleep(retry.pause(answer.as_ref().ok())).await;
        }
    }

    async fn request(
        &self,
        updates: &[Update],
        connection: &mut Option<Connection>,
    ) -> Result<Answer, Failure> {
        let mut open = match connection.take() {
            Some(open) => open,
            None => Connection::try_open(self.port).await?,
        };
        let request = update::request(updates);
        if self.chance(self.rules.hang_ups) {
            // Sent for sure, since the bot is not slow to read; answered perhaps.
            let cut = Duration::from_micros(500);
            let exchange = tokio::time::timeout(cut, open.try_send(request));
            return exchange.await.unwrap_or(Err("hung up".into()));
        }
        let answer = open.try_send(request).await?;
        *connection = Some(open);
        Ok(answer)
    }

    /// Does what the answer tells the platform to do.
    fn act(&self, update: &Update, answer: &Answer) {
        for (chat, text, body) in update::calls_in(update, answer) {
            self.api.rode(&chat, &text, &body);
        }
    }
}
