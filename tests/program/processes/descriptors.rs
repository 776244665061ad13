//! What each process of a bot has open: what it was given, and nothing else. A file that
//! a child holds without need keeps a disk from being unmounted, a socket from being
//! closed, a lock from being free, and whoever breaks into a worker finds it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::say;
use crate::http::https::with_certificate;
use crate::operators::admin::admin_port;

/// What a process has open, by number: where the link below /proc leads.
fn open_files(pid: i32) -> BTreeMap<i32, String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives");
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        let number = path.file_name()?.to_str()?.parse().ok()?;
        // It may have been closed meanwhile.
        Some((number, fs::read_link(&path).ok()?.display().to_string()))
    };
    entries.filter_map(file).collect()
}

/// The inode of `socket:[123]`.
fn inode(target: &str) -> Option<&str> {
    target.strip_prefix("socket:[")?.strip_suffix(']')
}

/// TCP sockets that listen, by inode, with their ports.
fn tcp_listeners() -> BTreeMap<String, u16> {
    let mut found = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [_, local, _, "0A", _, _, _, _, _, inode, ..] = fields[..]
                && let Some((_, port)) = local.rsplit_once(':')
                && let Ok(port) = u16::from_str_radix(port, 16)
            {
                found.insert(inode.to_owned(), port);
            }
        }
    }
    found
}

/// A line of /proc/net/unix.
struct UnixSocket {
    listens: bool,
    keeps_messages: bool,
    path: String,
}

fn unix_sockets() -> BTreeMap<String, UnixSocket> {
    let text = fs::read_to_string("/proc/net/unix").expect("/proc/net/unix");
    let mut found = BTreeMap::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, _, flags, kind, _, inode, ref path @ ..] = fields[..] {
            let socket = UnixSocket {
                listens: flags == "00010000",
                keeps_messages: kind == "0005",
                path: path.join(" "),
            };
            found.insert(inode.to_owned(), socket);
        }
    }
    found
}

/// What is known of a bot's files.
struct Known {
    dir: PathBuf,
    public: u16,
    admin: Option<u16>,
    stderr: String,
    tcp: BTreeMap<String, u16>,
    unix: BTreeMap<String, UnixSocket>,
    /// How many processes of the program have it.
    holders: BTreeMap<String, usize>,
}

impl Known {
    fn of(bot: &Bot, admin: Option<u16>) -> Self {
        let mut holders = BTreeMap::new();
        for (pid, _) in bot.processes() {
            let files: BTreeSet<String> = open_files(pid).into_values().collect();
            for file in files {
                *holders.entry(file).or_default() += 1;
            }
        }
        Known {
            dir: bot.setup.dir.path().canonicalize().expect("it is there"),
            public: bot.port,
            admin,
            stderr: open_files(bot.processes()[0].0)[&2].clone(),
            tcp: tcp_listeners(),
            unix: unix_sockets(),
            holders,
        }
    }

    /// What a file is to the process that has it; the file itself if that is not known.
    fn name(&self, number: i32, target: &str) -> String {
        if number <= 2 {
            return "standard".to_owned();
        }
        if target == self.stderr {
            return "stderr".to_owned();
        }
        if let Ok(file) = Path::new(target).strip_prefix(&self.dir) {
            return file.display().to_string();
        }
        if matches!(target, "anon_inode:[eventpoll]" | "anon_inode:[eventfd]") {
            return "runtime".to_owned();
        }
        let Some(inode) = inode(target) else {
            return target.to_owned();
        };
        if let Some(port) = self.tcp.get(inode) {
            return match *port {
                port if port == self.public => "public".to_owned(),
                port if Some(port) == self.admin => "admin".to_owned(),
                port => format!("listens on {port}"),
            };
        }
        let is_shared = self.holders.get(target).is_some_and(|count| *count > 1);
        match self.unix.get(inode) {
            Some(socket) if socket.listens => format!("listens at {}", base(&socket.path)),
            Some(socket) if socket.keeps_messages => "log's socket".to_owned(),
            // Its own end of a pair or a connection: the lifeline, the writer, a waker.
            Some(_) if !is_shared => "own socket".to_owned(),
            Some(_) => format!("{target}, which others have, too"),
            None => target.to_owned(),
        }
    }

    fn names(&self, pid: i32) -> BTreeSet<String> {
        let files = open_files(pid);
        files.iter().map(|(n, to)| self.name(*n, to)).collect()
    }
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

const WORKER: &[&str] = &[
    "standard",
    "stderr",
    "bot.db",
    "bot.db-wal",
    "bot.db-shm",
    "bot.db-lock",
    "public",
    "runtime",
    "own socket",
];

const WRITER: &[&str] = &[
    "standard",
    "stderr",
    "bot.db",
    "bot.db-wal",
    "bot.db-shm",
    "bot.db-lock",
    "listens at bot.db-writer",
    "runtime",
    "own socket",
];

/// Waits until a process has these files and no others: at its start, and while it opens
/// or closes something, it may have more or less for a moment.
async fn has(bot: &Bot, admin: Option<u16>, pid: i32, files: &[&str], more: &[&str]) {
    let wanted: BTreeSet<String> = [files, more]
        .concat()
        .iter()
        .map(|f| (*f).to_owned())
        .collect();
    let mut found = BTreeSet::new();
    let deadline = std::time::Instant::now() + SOON / 4;
    while found != wanted && std::time::Instant::now() < deadline {
        found = Known::of(bot, admin).names(pid);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(found, wanted, "{:?}", open_files(pid));
}

/// The writer has, besides, its share of the pipe that says that it lives.
async fn writer_has(bot: &Bot, admin: Option<u16>, pid: i32, more: &[&str]) {
    let pipes: Vec<String> = open_files(pid)
        .into_iter()
        .filter(|(number, to)| *number > 2 && to.starts_with("pipe:"))
        .map(|(_, to)| to)
        .filter(|to| *to != Known::of(bot, admin).stderr)
        .collect();
    assert_eq!(pipes.len(), 1, "{pipes:?}");
    has(bot, admin, pid, WRITER, &[&[&*pipes[0]], more].concat()).await;
}

/// A bot that was started by somebody who left a file open.
async fn with_a_file_of_the_shell(setup: &Setup) -> Bot {
    fs::write(setup.path("of the shell"), "").expect("a file");
    let mut shell = setup.command_of("sh");
    shell.args(["-c", "exec 9<'of the shell'; exec \"$0\" \"$@\""]);
    let run = setup.run();
    shell.arg(run.get_program()).args(run.get_args());
    let bot = setup.start_as(shell).await;
    let of_the_shell = open_files(bot.pid()).contains_key(&9);
    assert!(of_the_shell, "the master has inherited it");
    bot
}

/// All children, each with what it needs.
async fn each_has_its_own(bot: &Bot, admin: Option<u16>, of_workers: &[&str], of_all: &[&str]) {
    for pid in bot.all_named("turnkey: worker") {
        let more = [of_workers, of_all].concat();
        has(bot, admin, pid, WORKER, &more).await;
    }
    let writers = bot.all_named("turnkey: writer");
    assert_eq!(writers.len(), 1);
    writer_has(bot, admin, writers[0], of_all).await;
}

#[tokio::test]
async fn children_have_what_they_were_given_and_nothing_else() {
    let setup = Setup::counter().args(&["--workers", "2"]);
    let bot = with_a_file_of_the_shell(&setup).await;
    say(bot.port, "ann", "hi").await.number();
    each_has_its_own(&bot, None, &[], &[]).await;

    // New workers are forked by a master that knows more.
    let before = bot.all_named("turnkey: worker");
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reloaded: 2 workers").await;
    let left = || {
        bot.all_named("turnkey: worker")
            .iter()
            .all(|pid| !before.contains(pid))
    };
    until("the old workers have left", SOON, left).await;
    say(bot.port, "ann", "hi").await.number();
    each_has_its_own(&bot, None, &[], &[]).await;

    // And so is a writer in the place of one that died.
    let writer = bot.writer().await;
    kill(Pid::from_raw(writer), Signal::SIGKILL).expect("it lives");
    bot.successor("turnkey: writer", writer).await;
    say(bot.port, "ann", "hi").await.number();
    each_has_its_own(&bot, None, &[], &[]).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn after_an_upgrade_children_have_what_they_were_given_and_nothing_else() {
    let setup = Setup::counter().args(&["--workers", "2"]);
    let mut bot = with_a_file_of_the_shell(&setup).await;
    say(bot.port, "ann", "hi").await.number();
    bot.signal(Signal::SIGUSR2);
    let new = bot.successor_program().await;
    // Its workers serve beside the old writer; what they have they have from their start.
    assert_eq!(bot.ended(SOON).await, 0);
    until("the new writer", SOON, || {
        bot.all_named("turnkey: writer").len() == 1
    })
    .await;
    say(bot.port, "ann", "hi").await.number();
    each_has_its_own(&bot, None, &[], &[]).await;
    kill(Pid::from_raw(new), Signal::SIGTERM).expect("it lives");
    bot.gone(SOON).await;
}

#[tokio::test]
async fn with_everything_on_children_have_what_they_were_given_and_nothing_else() {
    let setup = Setup::counter().args(&["--workers", "2", "--admin", "127.0.0.1:0"]);
    let log = setup.path("log");
    let setup = setup.args(&["--log-file", log.to_str().expect("plain")]);
    let (setup, _authority) = with_certificate(setup);
    let bot = with_a_file_of_the_shell(&setup).await;
    let admin = Some(admin_port(&bot));
    each_has_its_own(&bot, admin, &["admin"], &["log's socket"]).await;
    let pump = bot.child("turnkey: log").await;
    let of_the_log = ["standard", "log", "log's socket"];
    has(&bot, admin, pump, &of_the_log, &[]).await;
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reloaded: 2 workers").await;
    until("the old workers have left", SOON, || {
        bot.all_named("turnkey: worker").len() == 2
    })
    .await;
    each_has_its_own(&bot, admin, &["admin"], &["log's socket"]).await;
    bot.stop().await.assert_sound();
}

/// It is for its handler, whatever it is.
#[tokio::test]
async fn what_the_author_opened_before_stays_open_in_workers() {
    let setup = Setup::commands().args(&["--workers", "2"]);
    let held = setup.path("held");
    fs::write(&held, "still here").expect("a file");
    let setup = setup.env("COMMANDS_HOLD", held.to_str().expect("plain"));
    let bot = with_a_file_of_the_shell(&setup).await;
    assert!(
        say(bot.port, "ann", "held")
            .await
            .text()
            .contains("still here")
    );
    each_has_its_own(&bot, None, &["held"], &[]).await;
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reloaded: 2 workers").await;
    assert!(
        say(bot.port, "ann", "held")
            .await
            .text()
            .contains("still here")
    );
    bot.stop().await.assert_sound();
}
