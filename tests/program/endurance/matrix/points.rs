//! How a turn is held at a point of its life, from outside: the program has no switches
//! for it. The worker or the writer is stopped (SIGSTOP), PostgreSQL's table of locks is
//! locked, the handler waits for a file, the platform's API does not answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::case::quiet;
use super::user::{Script, User, VERBS};
use crate::harness::api::{Api, Call, Mood};
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::fake::{Fake, Kind};

/// The bots' `--ack-after` where updates are to be accepted.
pub(super) const ACK_AFTER: Duration = Duration::from_millis(200);

/// Where a turn is when something is killed. The numbers are those of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// The request is in the kernel; nobody has read it.
    Received,
    /// Begin is on its way to the database.
    Begin,
    /// The handler runs.
    Handle,
    /// The commit is on its way.
    Commit,
    /// It is committed; the worker does not know it yet, and has not answered.
    Committed,
    /// The call that sends this reply is made; the platform has not taken it.
    Called(usize),
    /// The platform has taken it; the worker does not know it.
    Taken(usize),
    /// The worker knows it; the mark is on its way. With the last one: the end.
    Mark(usize),
    /// All is done.
    Ended,
    /// The handler takes long; that the update is to be kept is on its way.
    Accepting,
    /// It is in the inbox and answered 200, and so is the user's next one; the handler
    /// runs.
    Accepted,
    /// The same, and the commit is on its way.
    AcceptedCommit,
    /// The same after the commit; the platform has taken this reply.
    AcceptedTaken(usize),
}

impl Point {
    /// Its updates are answered before they are committed.
    pub(super) fn is_accepted(self) -> bool {
        matches!(
            self,
            Point::Accepting | Point::Accepted | Point::AcceptedCommit | Point::AcceptedTaken(_)
        )
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Point::Received => f.write_str("after receive"),
            Point::Begin => f.write_str("in begin"),
            Point::Handle => f.write_str("in handle"),
            Point::Commit => f.write_str("in commit"),
            Point::Committed => f.write_str("before answer"),
            Point::Called(n) => write!(f, "in send {n}"),
            Point::Taken(n) => write!(f, "after send {n}"),
            Point::Mark(3) => f.write_str("in end (mark 3)"),
            Point::Mark(n) => write!(f, "in mark {n}"),
            Point::Ended => f.write_str("after end"),
            Point::Accepting => f.write_str("in accept"),
            Point::Accepted => f.write_str("accepted, in handle"),
            Point::AcceptedCommit => f.write_str("accepted, in commit"),
            Point::AcceptedTaken(n) => write!(f, "accepted, after send {n}"),
        }
    }
}

/// What a case holds its turns with.
pub(super) struct Stage<'a> {
    pub(super) api: &'a Api,
    pub(super) fake: &'a Fake,
    pub(super) users: Vec<User>,
    pub(super) setup: Setup,
    /// PostgreSQL's address; SQLite without one.
    database: Option<String>,
    /// The worker that has all the requests.
    pub(super) worker: i32,
    pub(super) sibling: i32,
    /// Handlers wait until this file is there.
    gate: PathBuf,
    has_said_the_next: bool,
    /// Processes that we stopped.
    stopped: Vec<i32>,
    /// Holds PostgreSQL's table of locks for as long as it lives.
    table_lock: Option<tokio_postgres::Client>,
}

impl<'a> Stage<'a> {
    pub(super) async fn new(
        bot: &Bot,
        api: &'a Api,
        fake: &'a Fake,
        users: Vec<User>,
        database: Option<String>,
    ) -> Self {
        Stage {
            api,
            fake,
            users,
            setup: bot.setup.clone(),
            database,
            worker: bot.worker(0).await,
            sibling: bot.worker(1).await,
            gate: bot.setup.path("gate"),
            has_said_the_next: false,
            stopped: Vec::new(),
            table_lock: None,
        }
    }

    /// What a user says first.
    pub(super) fn text(&self, user: &User) -> String {
        let what = user.first(self.file());
        match user.script {
            Script::Broadcast => what,
            _ => format!("gate {} {what}", self.gate.display()),
        }
    }

    /// A file that is there, for whoever is sent one.
    pub(super) fn file(&self) -> &Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
    }

    /// Brings a turn of each user to this point.
    pub(super) async fn bring_to(&mut self, bot: &Bot, point: Point) {
        match point {
            Point::Received => {
                self.stop(self.worker);
                self.post(bot).await;
                // In the kernel's queues, and there it stays.
            }
            Point::Begin => {
                self.hold_storage(bot).await;
                self.post(bot).await;
                quiet(bot).await;
            }
            Point::Handle => {
                self.post(bot).await;
                self.all_handle().await;
            }
            Point::Commit => self.in_commit(bot).await,
            Point::Committed => {
                self.in_commit(bot).await;
                self.stop(self.worker);
                self.let_storage_go(bot).await;
                // Who was only told something has no counter.
                let is_counted = |line: &serde_json::Value| line["state"]["count"].is_u64();
                let counted = || self.setup.dump(&[]).iter().any(is_counted);
                until("a commit", SOON, counted).await;
                quiet(bot).await;
            }
            Point::Called(n) => {
                self.calls_are(n, Mood::Held);
                self.open_gate();
                self.post(bot).await;
                self.all_called(n).await;
                quiet(bot).await;
            }
            Point::Taken(n) => {
                self.calls_are(n, Mood::Taken);
                self.open_gate();
                self.post(bot).await;
                self.all_accepted(n).await;
            }
            Point::Mark(n) => {
                self.calls_are(n, Mood::Held);
                self.open_gate();
                self.post(bot).await;
                self.all_called(n).await;
                self.hold_storage(bot).await;
                self.api.release();
                self.all_accepted(n).await;
                quiet(bot).await;
            }
            Point::Ended => {
                self.open_gate();
                self.post(bot).await;
                self.fake.idle(SOON).await;
                for n in 1..=VERBS.len() {
                    self.all_accepted(n).await;
                }
                quiet(bot).await;
            }
            Point::Accepting => {
                self.post(bot).await;
                self.all_handle().await;
                self.hold_storage(bot).await;
                // Only the clock says when it is sent.
                tokio::time::sleep(3 * ACK_AFTER).await;
                quiet(bot).await;
            }
            Point::Accepted => self.accepted(bot).await,
            Point::AcceptedCommit => {
                self.accepted(bot).await;
                self.hold_storage(bot).await;
                self.pass_gate(bot).await;
            }
            Point::AcceptedTaken(n) => {
                self.calls_are(n, Mood::Taken);
                self.accepted(bot).await;
                self.open_gate();
                self.all_accepted(n).await;
            }
        }
    }

    /// Every user says the second thing, unless they did.
    pub(super) fn says_the_next(&mut self) {
        if !std::mem::replace(&mut self.has_said_the_next, true) {
            for user in &self.users {
                self.fake.says(user.says(2, user.next()));
            }
        }
    }

    /// Undoes everything that holds a turn.
    pub(super) async fn let_go(&mut self) {
        self.open_gate();
        self.api.calm();
        drop(self.table_lock.take());
        for pid in self.stopped.drain(..) {
            // It may be dead.
            kill(Pid::from_raw(pid), Signal::SIGCONT).unwrap_or(());
        }
    }

    /// All users say the first thing, to the same worker.
    async fn post(&mut self, bot: &Bot) {
        self.stop(self.sibling);
        for user in &self.users {
            self.fake.says(user.says(1, &self.text(user)));
        }
        let everybody = self.users.len();
        if self.stopped.contains(&self.worker) {
            let unread = || bot.unread() > 0;
            until("requests in the kernel", SOON, unread).await;
        } else {
            let all_there = || bot.connections_of(self.worker) >= everybody;
            until("all connections in one worker", SOON, all_there).await;
        }
        if !self.stopped.contains(&self.worker) {
            self.let_sibling_go();
        }
    }

    pub(super) fn let_sibling_go(&mut self) {
        self.stopped.retain(|pid| *pid != self.sibling);
        kill(Pid::from_raw(self.sibling), Signal::SIGCONT).expect("it lives");
    }

    pub(super) fn stop(&mut self, pid: i32) {
        kill(Pid::from_raw(pid), Signal::SIGSTOP).expect("it lives");
        self.stopped.push(pid);
    }

    fn open_gate(&self) {
        std::fs::write(&self.gate, "").expect("a file");
    }

    /// The files in which handlers at the gate say so.
    fn at_gate(&self) -> usize {
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.is_ok_and(|e| e.file_name().to_string_lossy().starts_with("gate."))
        };
        let entries = std::fs::read_dir(self.setup.dir.path()).expect("our directory");
        entries.map(name).filter(|is_one| *is_one).count()
    }

    async fn all_handle(&self) {
        let everybody = self.users.len();
        until("every handler is at the gate", SOON, || {
            self.at_gate() == everybody
        })
        .await;
    }

    async fn in_commit(&mut self, bot: &Bot) {
        self.post(bot).await;
        self.all_handle().await;
        self.hold_storage(bot).await;
        self.pass_gate(bot).await;
    }

    async fn pass_gate(&self, bot: &Bot) {
        self.open_gate();
        until("every handler is through", SOON, || self.at_gate() == 0).await;
        quiet(bot).await;
    }

    /// Every first update is at the gate and answered 200, and each user's next one too;
    /// but callers of plain HTTP wait for their answers.
    async fn accepted(&mut self, bot: &Bot) {
        self.post(bot).await;
        self.all_handle().await;
        self.says_the_next();
        let of_http = self
            .users
            .iter()
            .filter(|user| user.kind == Kind::Http)
            .count();
        let answered = || self.fake.waiting() == 2 * of_http as u64;
        until("every update is accepted", SOON, answered).await;
        quiet(bot).await;
    }

    /// From now on the database answers nobody.
    pub(super) async fn hold_storage(&mut self, bot: &Bot) {
        match &self.database {
            None => {
                let writer = bot.writer().await;
                self.stop(writer);
            }
            Some(url) => {
                let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
                    .await
                    .expect("a connection");
                tokio::spawn(connection);
                let lock = "BEGIN; LOCK TABLE turnkey_lock IN ACCESS EXCLUSIVE MODE";
                client.batch_execute(lock).await.expect("the lock");
                self.table_lock = Some(client);
            }
        }
    }

    async fn let_storage_go(&mut self, bot: &Bot) {
        match &self.database {
            None => {
                let writer = bot.writer().await;
                self.stopped.retain(|pid| *pid != writer);
                kill(Pid::from_raw(writer), Signal::SIGCONT).expect("it lives");
            }
            Some(_) => drop(self.table_lock.take()),
        }
    }

    /// How the call of each user's n-th thing is answered; those before it are well.
    fn calls_are(&self, n: usize, mood: Mood) {
        for (chat, place) in self.users.iter().filter_map(|user| user.call(n)) {
            let mut moods = vec![Mood::Well; place - 1];
            moods.push(mood);
            self.api.be(&chat, &moods);
        }
    }

    /// Whether each user's n-th thing was called for, or as much as there is; of these calls
    /// those count that are such.
    fn have_called(&self, n: usize, is_one: impl Fn(&Call) -> bool) -> bool {
        let calls = self.api.calls();
        self.users.iter().all(|user| {
            let (chat, place) = user.call(n).unwrap_or((user.chat(), user.calls()));
            let theirs = calls
                .iter()
                .filter(|call| call.chat == chat && call.is_ours() && is_one(call));
            theirs.count() >= place
        })
    }

    async fn all_called(&self, n: usize) {
        let all = || self.have_called(n, |_| true);
        until("every call is made", SOON, all).await;
    }

    async fn all_accepted(&self, n: usize) {
        let all = || self.have_called(n, |call| call.accepted);
        until("every call is accepted", SOON, all).await;
    }
}
