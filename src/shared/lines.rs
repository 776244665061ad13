//! Lines on stderr and in the log file, written so that nobody ever waits for them.
//!
//! Called by every process of a bot for all its output: log events (`cli/log.rs`), the lines
//! for the terminal (`operator/banner.rs`), panic messages. A reader that does not read, a
//! stopped terminal, a slow or full disk must hold up no turn and no signal. So nothing here
//! blocks once [`start`] was called:
//!
//! | where lines go | how |
//! | --- | --- |
//! | a pipe, a terminal | through our own non-blocking file description, opened through /proc; the inherited one is shared with other programs, such as the shell, and is not changed |
//! | a socket (the journal) | each call is non-blocking (MSG_DONTWAIT) |
//! | a file; a pipe or terminal that cannot be reopened | a separate process writes it, the only one that may wait (`process/logfile.rs`); lines go to it through a socket, as above |
//!
//! Until that process runs, files are written directly: at the very start no client is served
//! yet. Commands other than `run` never call [`start`]: they wait for their readers.
//!
//! Bounds: a line has [`LONGEST`] bytes, the rest is cut off. A process keeps [`MOST_WAITING`]
//! bytes that could not be written yet and tries again with each line and at each sign of life
//! ([`flow`]). Lines beyond that, or that failed, are counted in shared memory, and the count
//! is logged once lines flow again. Invariant: no lock here is held during a call that may
//! block, except in the log process.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use nix::libc::{MSG_DONTWAIT, MSG_NOSIGNAL, O_NOCTTY, O_NONBLOCK};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{SockRef, Socket};

use crate::shared::logfile::LogFile;
use crate::shared::scrub::told;
use turnkey_text::numbers::counted;

mod panics;

/// Bytes of a line: what a user can make us say, and fits into a message to the log's process.
pub(crate) const LONGEST: usize = 64 * 1024;

/// Bytes that a process keeps for a reader that will go on.
const MOST_WAITING: usize = 256 * 1024;

/// What a line that is too long ends with.
const CUT: &str = " … (cut)\n";

/// Words that [`start`] needs.
pub(crate) const WORDS: usize = 5;

/// How often the log file was to be opened anew.
const REOPENED: usize = 4;

/// Between two looks at whether the last lines can be written.
const LOOK: Duration = Duration::from_millis(2);

/// Writes a line to stderr, if there is one.
macro_rules! say {
    ($($argument:tt)*) => {
        // In one piece: other processes write there, too.
        $crate::shared::lines::print(&format!("{}\n", format_args!($($argument)*)))
    };
}
pub(crate) use say;

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Stderr = 0,
    LogFile = 1,
}

/// How it gets there.
enum Way {
    /// A description that is ours alone, and non-blocking.
    Private(File),
    /// stderr, which is a socket.
    Socket,
    /// Whatever the log file is now; not a regular file.
    Special(LogFile),
    /// stderr, or the log file: writing may block.
    Slow(Option<LogFile>),
}

/// What a process has to say and could not say yet.
#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Bytes of the first line that are written.
    begun: usize,
    /// The last line was left unfinished, on a full disk: the next begins anew.
    is_torn: bool,
}

struct Sink {
    to: To,
    way: Way,
    waiting: Mutex<Waiting>,
}

static STDERR: OnceLock<Sink> = OnceLock::new();
static LOG_FILE: OnceLock<Sink> = OnceLock::new();
static COUNTS: OnceLock<&'static [AtomicU64]> = OnceLock::new();
/// The way to the process that writes what may block; none in that process itself.
static LOG_PROCESS: RwLock<Option<Socket>> = RwLock::new(None);

thread_local! {
    /// Lines that are being owned up to: counted again if that line cannot be written now.
    static OWNING: Cell<u64> = const { Cell::new(0) };
    /// Whether this process is the log's, which counts apart: see [`lose`].
    static IS_LOG_PROCESS: Cell<bool> = const { Cell::new(false) };
}

/// From now on nothing that is said blocks. Once, before the first fork; `words` are
/// shared by all processes and zero.
pub(crate) fn start(words: &'static [AtomicU64], log: Option<LogFile>) {
    COUNTS.get_or_init(|| words);
    crate::shared::logfile::watch(&words[REOPENED]);
    STDERR.get_or_init(|| Sink::new(To::Stderr, stderr_way()));
    if let Some(log) = log {
        let way = match log.current().and_then(|file| file.metadata()) {
            Ok(about) if !about.is_file() => Way::Special(log),
            _ => Way::Slow(Some(log)),
        };
        LOG_FILE.get_or_init(|| Sink::new(To::LogFile, way));
    }
    panics::tell();
}

/// How stderr can be written to without waiting.
fn stderr_way() -> Way {
    let about = io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|stderr| File::from(stderr).metadata());
    let Ok(about) = about else {
        return Way::Slow(None); // It is closed.
    };
    let kind = about.file_type();
    if kind.is_socket() {
        return Way::Socket;
    }
    if kind.is_fifo() || kind.is_char_device() {
        let own = OpenOptions::new()
            .write(true)
            .custom_flags(O_NONBLOCK | O_NOCTTY)
            .open("/proc/self/fd/2");
        match own {
            Ok(own) => return Way::Private(own),
            // Another user's, say.
            Err(error) => tracing::debug!("stderr cannot be opened anew: {error}"),
        }
    }
    Way::Slow(None)
}

/// Says something to whoever reads stderr; a whole line. No secret is in it, whoever told
/// it.
pub(crate) fn print(line: &str) {
    let line = told(line);
    match STDERR.get() {
        Some(sink) => sink.put(line.as_bytes()),
        None => drop(io::stderr().write_all(line.as_bytes())),
    }
}

/// Where log events go: whole lines, one a call.
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match LOG_FILE.get().or(STDERR.get()) {
            Some(sink) => sink.put(line),
            None => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tries again what could not be written; whether something still waits. Called at each
/// sign of life.
pub(crate) fn flow() -> bool {
    let mut waits = false;
    for sink in sinks() {
        if sink.drain() {
            sink.own_up();
        } else {
            waits = true;
        }
    }
    waits
}

/// The last moment of a process: what waits has so long to be written.
pub(crate) fn finish(limit: Duration) {
    let deadline = Instant::now() + limit;
    while flow() && Instant::now() < deadline {
        std::thread::sleep(LOOK);
    }
    for sink in sinks() {
        let lines = std::mem::take(&mut *sink.waiting()).lines.len();
        lose(sink.to, lines as u64);
    }
}

/// In a child, right after the fork: what waits is its parent's to say, and a file that
/// another process writes to is that process's to hold.
pub(crate) fn forget() {
    for sink in sinks() {
        *sink.waiting() = Waiting::default();
        if let (Way::Slow(Some(log)), Some(_)) = (&sink.way, &*log_process()) {
            log.let_go();
        }
    }
}

/// What this process has open to say something through, besides stderr.
pub(crate) fn ways() -> Vec<RawFd> {
    let own = sinks().filter_map(|sink| match &sink.way {
        Way::Private(own) => Some(own.as_raw_fd()),
        Way::Special(log) => Some(log.current().ok()?.as_raw_fd()),
        Way::Socket | Way::Slow(_) => None,
    });
    own.chain(log_process().as_ref().map(Socket::as_raw_fd))
        .collect()
}

/// The log file is to be opened anew, by whoever writes to it, before the next line.
pub(crate) fn reopen() {
    if let Some(counts) = COUNTS.get() {
        counts[REOPENED].fetch_add(1, Relaxed);
    }
}

/// Files that may block: a process of its own is needed that writes to them. What it
/// must leave open.
pub(crate) fn slow() -> Vec<RawFd> {
    let slow = sinks().filter_map(|sink| match &sink.way {
        Way::Slow(None) => Some(io::stderr().as_raw_fd()),
        Way::Slow(Some(log)) => Some(log.current().ok()?.as_raw_fd()),
        _ => None,
    });
    slow.collect()
}

/// There is such a process: what may block goes there. None: there is none any more.
pub(crate) fn through(log_process: Option<Socket>) {
    *LOG_PROCESS.write().unwrap_or_else(PoisonError::into_inner) = log_process;
}

/// In that process: from now on it is the one that waits.
pub(crate) fn become_log_process() {
    through(None);
    forget();
    IS_LOG_PROCESS.set(true);
}

/// In that process: writes what another one has sent.
pub(crate) fn write_out(message: &[u8]) {
    let Some((to, line)) = message.split_first() else {
        return;
    };
    let mut sinks = sinks();
    if let Some(sink) = sinks.find(|sink| sink.to as u8 == *to) {
        sink.put(line);
    }
}

fn log_process() -> RwLockReadGuard<'static, Option<Socket>> {
    LOG_PROCESS.read().unwrap_or_else(PoisonError::into_inner)
}

fn sinks() -> impl Iterator<Item = &'static Sink> {
    [STDERR.get(), LOG_FILE.get()].into_iter().flatten()
}

/// Counts what is lost. The log's process counts apart: what it cannot write to a full disk the
/// others, who reach it, could not own up to.
fn lose(to: To, lines: u64) {
    if let Some(word) = word(to) {
        // The line that owns up is none that is missed.
        let lines = match OWNING.take() {
            0 => lines,
            owned => owned,
        };
        word.fetch_add(lines, Relaxed);
    }
}

fn word(to: To) -> Option<&'static AtomicU64> {
    let index = to as usize + if IS_LOG_PROCESS.get() { 2 } else { 0 };
    COUNTS.get().map(|counts| &counts[index])
}

impl Sink {
    fn new(to: To, way: Way) -> Self {
        Sink {
            to,
            way,
            waiting: Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line, keeps it, or loses it.
    fn put(&self, line: &[u8]) {
        if self.drain() {
            self.own_up();
        }
        let is_kept = self.offer(&mut self.waiting(), &shortened(line));
        if !is_kept {
            lose(self.to, 1);
        }
    }

    /// False if the line is lost.
    fn offer(&self, waiting: &mut Waiting, line: &[u8]) -> bool {
        let mut written = 0;
        if waiting.lines.is_empty() {
            match self.attempt(line, &mut waiting.is_torn) {
                Ok(all) if all == line.len() => return true,
                Ok(some) => written = some,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        // What has begun must be finished. What is lost is owned up to when lines flow.
        let is_full = waiting.bytes + line.len() > MOST_WAITING || OWNING.get() > 0;
        if written == 0 && is_full {
            return false;
        }
        if waiting.lines.is_empty() {
            waiting.begun = written;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line.to_vec());
        true
    }

    /// Writes what waits, as far as it goes. True when nothing is left.
    fn drain(&self) -> bool {
        let waiting = &mut *self.waiting();
        while let Some(line) = waiting.lines.front() {
            let rest = &line[waiting.begun..];
            let length = line.len();
            match self.attempt(rest, &mut waiting.is_torn) {
                Ok(some) if some < rest.len() => {
                    waiting.begun += some;
                    return false;
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => lose(self.to, 1),
            }
            waiting.bytes -= length;
            waiting.begun = 0;
            waiting.lines.pop_front();
        }
        true
    }

    /// Writes as much as goes without waiting.
    fn attempt(&self, bytes: &[u8], is_torn: &mut bool) -> io::Result<usize> {
        loop {
            let done = match &self.way {
                Way::Private(own) => (&*own).write(bytes),
                Way::Special(log) => log.current().and_then(|file| (&*file).write(bytes)),
                Way::Socket => send(SockRef::from(&io::stderr()), bytes),
                Way::Slow(log) => self.pass_on(log.as_ref(), bytes, is_torn),
            };
            match done {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// To the log's process; directly, and all of it, where there is none.
    fn pass_on(&self, log: Option<&LogFile>, line: &[u8], is_torn: &mut bool) -> io::Result<usize> {
        if let Some(to) = &*log_process() {
            let message = [&[self.to as u8], line].concat();
            return send(SockRef::from(to), &message).map(|_| line.len());
        }
        if std::mem::take(is_torn) {
            write_to(log, b"\n").inspect_err(|_| *is_torn = true)?;
        }
        let mut done = 0;
        while done < line.len() {
            match write_to(log, &line[done..]) {
                Ok(some) => done += some,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    *is_torn = done > 0;
                    return Err(error);
                }
            }
        }
        Ok(done)
    }

    /// Whether more than the rest of a page can be written without waiting.
    fn has_room(&self) -> bool {
        match &self.way {
            Way::Private(own) => is_writable(own.as_fd()),
            Way::Special(log) => log.current().is_ok_and(|file| is_writable(file.as_fd())),
            Way::Socket => is_writable(io::stderr().as_fd()),
            Way::Slow(_) => log_process()
                .as_ref()
                .is_none_or(|to| is_writable(to.as_fd())),
        }
    }

    /// Lines flow: says how many did not.
    fn own_up(&self) {
        let Some(word) = word(self.to).filter(|word| word.load(Relaxed) > 0) else {
            return;
        };
        // A gap that a short line fits into is not enough.
        if !self.has_room() {
            return;
        }
        // Another process may have been faster.
        let lost = word.swap(0, Relaxed);
        if lost == 0 {
            return;
        }
        let sentence = format!(
            "{} lost: nobody read them in time, or there was no room for them",
            counted(lost, "line")
        );
        OWNING.set(lost);
        if self.to == To::Stderr && LOG_FILE.get().is_some() {
            self.put(format!("{sentence}.\n").as_bytes());
        } else {
            tracing::error!("{sentence}");
        }
        OWNING.set(0);
    }
}

/// Waits as long as the file's disk does.
fn write_to(log: Option<&LogFile>, bytes: &[u8]) -> io::Result<usize> {
    match log {
        Some(log) => (&*log.current()?).write(bytes),
        None => io::stderr().write(bytes),
    }
}

/// What poll(2) says now.
fn is_writable(file: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(file, PollFlags::POLLOUT)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}

/// Without waiting.
fn send(socket: SockRef<'_>, bytes: &[u8]) -> io::Result<usize> {
    socket.send_with_flags(bytes, MSG_DONTWAIT | MSG_NOSIGNAL)
}

/// At most [`LONGEST`] bytes of a line.
fn shortened(line: &[u8]) -> Cow<'_, [u8]> {
    if line.len() <= LONGEST {
        return line.into();
    }
    let text = String::from_utf8_lossy(&line[..LONGEST - CUT.len()]);
    let kept = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
    [kept.as_bytes(), CUT.as_bytes()].concat().into()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// A sink whose reader is ours, and the reader.
    fn pipe() -> (Sink, File) {
        let (read, write) = io::pipe().unwrap();
        let write = std::os::fd::OwnedFd::from(write);
        let own = OpenOptions::new()
            .write(true)
            .custom_flags(O_NONBLOCK)
            .open(format!("/proc/self/fd/{}", write.as_raw_fd()))
            .unwrap();
        let sink = Sink::new(To::Stderr, Way::Private(own));
        (sink, File::from(std::os::fd::OwnedFd::from(read)))
    }

    #[test]
    fn what_waits_is_bounded_whole_and_in_order() {
        let (sink, mut reader) = pipe();
        let line = |n: usize| format!("{n:06} {}\n", "x".repeat(n % 9000));
        let mut kept = 0;
        while sink.offer(&mut sink.waiting(), line(kept).as_bytes()) {
            kept += 1;
            assert!(sink.waiting().bytes <= MOST_WAITING);
            assert!(kept < 1_000, "nothing is ever lost");
        }
        let mut expected: String = (0..kept).map(line).collect();
        let mut read = String::new();
        let mut some = vec![0; 40_000];
        while !sink.drain() {
            let count = reader.read(&mut some).unwrap();
            read += std::str::from_utf8(&some[..count]).unwrap();
        }
        assert!(sink.offer(&mut sink.waiting(), b"the end\n"));
        expected += "the end\n";
        drop(sink);
        reader.read_to_string(&mut read).unwrap();
        assert!(
            read == expected,
            "{} of {} bytes",
            read.len(),
            expected.len()
        );
    }

    #[test]
    fn a_reader_that_is_gone_costs_the_line_only() {
        let (sink, reader) = pipe();
        drop(reader);
        assert!(!sink.offer(&mut sink.waiting(), b"nobody reads this\n"));
        assert!(sink.drain(), "nothing waits for it");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(&*shortened(b"short\n"), b"short\n");
        for shift in 0..4 {
            let long = format!("{}{}\n", "x".repeat(shift), "\u{1F600}".repeat(LONGEST));
            let cut = shortened(long.as_bytes()).into_owned();
            assert!(cut.len() <= LONGEST);
            let cut = String::from_utf8(cut).unwrap();
            assert!(cut.ends_with(CUT) && !cut.contains(char::REPLACEMENT_CHARACTER));
        }
    }
}
