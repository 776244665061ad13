//! A log that nobody reads, or that cannot be written, holds up no turn and no stop. What
//! is lost is counted, and said once it flows again.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::harness::bot::{Bot, SOON, Setup, started_port, until};
use crate::harness::client::{Connection, say};
use crate::harness::small_disk::SmallDisk;

/// Panics that say more than any buffer holds, in user ids that are long.
const FLOOD: usize = 1500;

/// Of a log that goes to a file: one line each.
const FLOOD_OF_LINES: usize = 4000;

/// The end of what a bot writes to, read or left alone as the test likes.
struct Reader {
    from: File,
    text: String,
}

impl Reader {
    fn new(from: File) -> Self {
        fcntl(&from, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let text = String::new();
        Reader { from, text }
    }

    /// Reads what is there; false at the end.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 65536];
        loop {
            match self.from.read(&mut bytes) {
                Ok(0) => return false,
                Ok(count) => self.text += &String::from_utf8_lossy(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false, // A terminal that nobody has open any more.
            }
        }
    }

    async fn until(&mut self, part: &str) {
        self.until_all(part, |text| text.contains(part)).await;
    }

    /// Reads until the whole text is as it is to be.
    async fn until_all(&mut self, what: &str, is_there: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + SOON;
        loop {
            self.read();
            if is_there(&self.text) {
                return;
            }
            let end = self
                .text
                .floor_char_boundary(self.text.len().saturating_sub(2000));
            assert!(
                Instant::now() < deadline,
                "not there: {what}; at the end: {}",
                &self.text[end..]
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A pipe, a socket, a terminal: what a bot writes to, and what the test reads.
fn stderrs() -> [(&'static str, OwnedFd, File); 3] {
    let (read, write) = std::io::pipe().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let terminal = posix_openpt(flags).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let mut shown = OpenOptions::new();
    shown.write(true).custom_flags(OFlag::O_NOCTTY.bits());
    let shown = shown.open(ptsname_r(&terminal).unwrap()).unwrap();
    let terminal = terminal.as_fd().try_clone_to_owned().unwrap();
    [
        ("pipe", write.into(), OwnedFd::from(read).into()),
        ("socket", theirs.into(), OwnedFd::from(ours).into()),
        ("terminal", shown.into(), terminal.into()),
    ]
}

/// Makes it say a lot; every request must be answered.
async fn flood(port: u16, count: usize, word: &str) {
    let mut connection = Connection::open(port).await;
    for n in 0..count {
        let answer = connection
            .say(&format!("{n}-{}", "x".repeat(240)), word)
            .await;
        assert_eq!(answer.status, 503, "{}", answer.text());
    }
}

fn talkative() -> Setup {
    let args = ["--workers", "1", "--max-attempts", "1", "--grace", "5s"];
    // A panic is one short line, whatever the tester's environment says: a pipe takes no more
    // than PIPE_BUF bytes in one piece.
    Setup::commands().args(&args).env("RUST_BACKTRACE", "0")
}

/// Lines of panics that are shown or counted as lost: the hook says each panic, and the
/// failure of its turn is logged.
fn accounted(text: &str) -> u64 {
    let said = text.matches("thread 'main' panicked at").count();
    let logged = text.matches("failed (attempt 1 of 1)").count();
    (said + logged) as u64 + lost(text)
}

/// No other process's line stands in the middle of one.
fn assert_whole(text: &str) {
    let (text, _) = text.rsplit_once('\n').unwrap(); // The last one may still come.
    for line in text.lines() {
        let is_logged = line.contains("xxxxxx") || line.contains("lost: nobody");
        let is_whole = line.starts_with("20")
            && [" told to panic ", " for them"]
                .iter()
                .any(|end| line.ends_with(end));
        assert!(!is_logged || is_whole, "torn: {line}");
    }
}

/// `1204` of a line with `1,204 lines lost`.
fn lost(text: &str) -> u64 {
    let lines = text.lines().filter(|line| line.contains("lost: nobody"));
    let counts = lines.map(|line| {
        let (before, _) = line.split_once(" line").unwrap();
        let number = before.rsplit(' ').next().unwrap();
        number.replace(',', "").parse::<u64>().unwrap()
    });
    counts.sum()
}

#[tokio::test]
async fn a_reader_that_does_not_read_stops_neither_turns_nor_the_stop() {
    for (kind, theirs, ours) in stderrs() {
        let setup = talkative();
        let mut reader = Reader::new(ours);
        let mut bot = setup.spawn_into(theirs);
        reader.until("Started ").await;
        reader.until("Press Ctrl-C to exit.").await;
        let port = started_port(&reader.text).unwrap();
        let worker = bot.worker(0).await;
        flood(port, FLOOD, "panic").await;
        assert_eq!(say(port, "ann", "hi").await.number(), 1, "{kind}");
        assert_eq!(bot.worker(0).await, worker, "{kind}");
        // It reads again: it is told what it missed, and goes on.
        reader.until("lost: nobody read them in time").await;
        bot.signal(Signal::SIGHUP);
        reader.until("Reloaded: 1 worker").await;
        // The master has said both: it does not wait for what its worker has kept. That comes
        // later, or is lost, and then counted, when the worker ends.
        let all = |text: &str| {
            // A terminal takes lines in pieces: each of the master's may hide one of them.
            let others = ["lost: nobody", "Reload"].map(|other| text.matches(other).count());
            let hidden = if kind == "terminal" {
                others.iter().sum()
            } else {
                0
            };
            accounted(text) + hidden as u64 >= 2 * FLOOD as u64
        };
        reader.until_all(kind, all).await;
        let missed = lost(&reader.text);
        assert!(missed > 100, "{kind}: {missed} lost");
        // Each process may say it, each time that it falls behind, but not for each line.
        let told = reader.text.matches("lost: nobody").count() as u64;
        assert!(
            told * 20 < missed,
            "{kind}: {missed} lost, said {told} times"
        );
        if kind != "terminal" {
            assert_whole(&reader.text);
        }
        // And it stops reading again.
        flood(port, FLOOD, "panic").await;
        let (signals, code) = match kind {
            "pipe" => (&[Signal::SIGTERM][..], 0),
            "socket" => (&[Signal::SIGQUIT][..], 131),
            _ => (&[Signal::SIGINT][..], 0),
        };
        for signal in signals {
            bot.signal(*signal);
        }
        assert_eq!(bot.ended(SOON).await, code, "{kind}");
        bot.gone(SOON).await;
    }
}

/// Whoever started it shares its stderr: the shell must not find it changed.
#[tokio::test]
async fn stderr_is_left_as_it_was() {
    for (kind, theirs, ours) in stderrs() {
        let mut reader = Reader::new(ours);
        let bot = talkative().spawn_into(theirs.try_clone().unwrap());
        reader.until("Press Ctrl-C to exit.").await;
        let flags = OFlag::from_bits_retain(fcntl(&theirs, FcntlArg::F_GETFL).unwrap());
        assert!(!flags.contains(OFlag::O_NONBLOCK), "{kind}: {flags:?}");
        drop(bot);
    }
}

/// The process that writes the log file.
async fn pump(bot: &Bot) -> i32 {
    bot.child("turnkey: log").await
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[tokio::test]
async fn a_log_file_on_a_disk_that_hangs_stops_neither_turns_nor_the_stop() {
    let setup = talkative();
    let log = setup.path("log");
    let setup = setup.args(&["--log-file", log.to_str().unwrap()]);
    let mut bot = setup.start().await;
    // As it is for who waits for a disk.
    let hung = Pid::from_raw(pump(&bot).await);
    kill(hung, Signal::SIGSTOP).unwrap();
    flood(bot.port, FLOOD_OF_LINES, "fail").await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    kill(hung, Signal::SIGCONT).unwrap();
    until("all lines, or their count", SOON, || {
        let text = read(&log);
        let lines = text.matches("told to fail").count() as u64;
        lost(&text) > 0 && lines + lost(&text) >= FLOOD_OF_LINES as u64
    })
    .await;
    let text = read(&log);
    let lines = text.matches("told to fail").count();
    assert!(lines < FLOOD_OF_LINES, "nothing was lost");
    assert_eq!(text.matches("lost: nobody").count(), 1, "it is said once");
    assert!(
        text.lines().all(|line| line.starts_with("20")),
        "torn lines"
    );
    // Killed, it has a successor.
    kill(hung, Signal::SIGKILL).unwrap();
    let next = bot.successor("turnkey: log", hung.as_raw()).await;
    until("a word of it", SOON, || {
        read(&log).contains("started another")
    })
    .await;
    // Hung for good, it does not keep the program.
    kill(Pid::from_raw(next), Signal::SIGSTOP).unwrap();
    flood(bot.port, 100, "fail").await;
    bot.signal(Signal::SIGTERM);
    assert_eq!(bot.ended(SOON).await, 0);
    bot.wait_for_stderr("nothing lost").await;
}

#[tokio::test]
async fn a_log_file_is_complete_at_the_end() {
    let setup = talkative();
    let log = setup.path("log");
    let setup = setup.args(&["--log-file", log.to_str().unwrap(), "-v"]);
    let bot = setup.start().await;
    let pump = pump(&bot).await;
    let open: Vec<_> = fs::read_dir(format!("/proc/{pump}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(open.len(), 5, "0, 1, 2, the log, a socket: {open:?}");
    flood(bot.port, 300, "fail").await;
    bot.stop().await;
    let text = read(&log);
    assert_eq!(text.matches("told to fail").count() % 300, 0);
    assert!(text.matches("told to fail").count() > 0);
    assert_eq!(lost(&text), 0);
}

#[tokio::test]
async fn a_log_file_on_a_full_disk_goes_on_when_there_is_room() {
    let setup = talkative();
    let Some(disk) = SmallDisk::mount(&setup, 1) else {
        return;
    };
    let log = disk.path().join("log");
    let setup = setup.args(&["--log-file", log.to_str().unwrap()]);
    let bot = setup.start().await;
    disk.fill();
    flood(bot.port, FLOOD_OF_LINES / 4, "fail").await;
    disk.free();
    flood(bot.port, 1, "fail").await;
    // What still was on its way to the log's process comes after the count, or is counted next.
    until("all lines, or their count", SOON, || {
        let text = read(&log);
        let lines = text.matches("told to fail").count() as u64;
        lost(&text) > 0 && lines + lost(&text) >= FLOOD_OF_LINES as u64 / 4
    })
    .await;
    let text = read(&log);
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("20"), "{last}");
    bot.stop().await.assert_sound();
}

/// A pipe with a name, for `--log-file`.
#[tokio::test]
async fn a_named_pipe_that_nobody_reads_stops_nothing() {
    let setup = talkative();
    let pipe = setup.path("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let with = |setup: &Setup| setup.clone().args(&["--log-file", pipe.to_str().unwrap()]);
    // Without any reader there is nothing to open, and that is said at once.
    let ended = with(&setup).run_to_end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--log-file"), "{ended:?}");
    let mut reader = File::options();
    let reader = reader.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let mut reader = Reader::new(reader.open(&pipe).unwrap());
    let mut bot = with(&setup).start().await;
    flood(bot.port, FLOOD_OF_LINES, "fail").await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    reader.until("lost: nobody read them in time").await;
    flood(bot.port, FLOOD_OF_LINES, "fail").await;
    bot.signal(Signal::SIGTERM);
    assert_eq!(bot.ended(SOON).await, 0);
    bot.wait_for_stderr("nothing lost").await;
}

/// An init system that takes no messages is waited for a moment, not for ever.
#[tokio::test]
async fn an_init_system_that_hangs_does_not_hold_up_the_stop() {
    let setup = talkative();
    let path = setup.path("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let setup = setup
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .env("WATCHDOG_USEC", "20000");
    let mut bot = setup.start().await;
    // Full: nobody takes anything.
    until("a full socket", SOON, || {
        let other = std::os::unix::net::UnixDatagram::unbound().unwrap();
        let mut fds = [PollFd::new(other.as_fd(), PollFlags::POLLOUT)];
        other.connect(&path).unwrap();
        poll(&mut fds, 0_u8).unwrap() == 0
    })
    .await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    bot.signal(Signal::SIGTERM);
    assert_eq!(bot.ended(SOON).await, 0);
    drop(socket);
}
