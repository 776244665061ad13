//! The only unsafe code: fork, the shared memory map, signal dispositions, inherited files, the
//! process title.
//!
//! Called by the master and, for their own process, by its children. Linux only; each block
//! says why it is sound.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal};
use nix::unistd::{ForkResult, Pid};

/// What [`be_nice`] asks for: the last in line, but not without any share.
const NICE: i32 = 15;

/// The highest number of an open file that is looked for where there is no /proc.
const WITHOUT_PROC: u64 = 65_536;

/// Whether nobody had opened this process's standard output when it began.
///
/// Rust's start opens /dev/null in the place of a closed descriptor, so it has to be asked
/// before.
pub(crate) fn stdout_was_closed() -> bool {
    STDOUT_WAS_CLOSED.load(Ordering::Relaxed)
}

static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

extern "C" fn look_at_stdout() {
    // SAFETY: F_GETFD takes any number, touches no memory, and changes nothing.
    let flags = unsafe { nix::libc::fcntl(1, nix::libc::F_GETFD) };
    STDOUT_WAS_CLOSED.store(flags == -1, Ordering::Relaxed);
}

// SAFETY: the section is a list of pointers to functions of C, each of which the loader
// calls once, in the only thread, before `main`. This one makes a system call and stores a
// byte: it needs nothing of what Rust's start sets up.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_THE_START: extern "C" fn() = look_at_stdout;

/// Whether this process ignores a signal: it may have been started so.
pub(super) fn is_ignored(which: Signal) -> bool {
    // SAFETY: zeros are a valid `sigaction`, which the kernel fills in; with no new
    // disposition given nothing changes.
    unsafe {
        let mut now = std::mem::zeroed::<nix::libc::sigaction>();
        nix::libc::sigaction(which as i32, std::ptr::null(), &raw mut now) == 0
            && now.sa_sigaction == nix::libc::SIG_IGN
    }
}

/// Which side of a fork this is.
pub(super) enum Forked {
    /// The new process.
    Child,
    /// The old one, with the new one's id.
    Master(Pid),
}

/// Forks this process.
///
/// # Errors
/// What the kernel says; or that this process has more than one thread. In the
/// child only the forking thread goes on: a lock that another one held (the
/// allocator's, say) would stay locked for ever.
pub(super) fn fork() -> io::Result<Forked> {
    let threads = match std::fs::read_dir("/proc/self/task") {
        Ok(tasks) => tasks.count().to_string(),
        // An empty root has no /proc; the kernel can be asked another way.
        Err(_) if !is_threaded() => "1".to_owned(),
        Err(_) => "several".to_owned(),
    };
    if threads != "1" {
        return Err(io::Error::other(format!(
            "cannot fork: the master runs {threads} threads; what main calls before App::run has started them; call it in the handler, which runs in the workers"
        )));
    }
    // SAFETY: the process has one thread, so the child's memory is a consistent
    // copy and any code may run in it, not only async-signal-safe functions.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => Ok(Forked::Child),
        ForkResult::Parent { child } => Ok(Forked::Master(child)),
    }
}

/// Whether this process has more than one thread, asked without /proc: the kernel
/// refuses to part the threads of a process that has several, and does nothing for one
/// that has one (unshare(2), EINVAL). Where a filter of system calls forbids the question
/// we rely on what starts no thread: nothing of ours does in the master.
fn is_threaded() -> bool {
    match unshare(CloneFlags::CLONE_THREAD) {
        Ok(()) => false,
        Err(Errno::EINVAL) => true,
        Err(error) => {
            tracing::debug!(
                "cannot count the master's threads before a fork: there is no /proc, and unshare(2) says {error}"
            );
            false
        }
    }
}

/// Ends a child, without running what the master registered for its own end.
pub(super) fn exit_child(code: i32) -> ! {
    // SAFETY: `_exit` takes any status, touches no memory and does not return.
    unsafe { nix::libc::_exit(code) }
}

/// Closes what this process has open, save standard input, output and error, and these:
/// for a child that keeps what it was given and nothing else.
///
/// Whatever owned one of the others in the parent's memory must not be used or dropped
/// any more: its number will be another file's. So the caller goes on with what is kept,
/// and ends with [`exit_child`].
pub(super) fn close_others(keep: &[RawFd]) {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|number| *number > 2).collect();
    keep.sort_unstable();
    keep.dedup();
    let mut first = 3;
    for number in keep {
        if first < number {
            close_from(first, number - 1);
        }
        first = number + 1;
    }
    close_from(first, RawFd::MAX);
}

/// Closes all of these numbers.
fn close_from(first: RawFd, last: RawFd) {
    // SAFETY: see `close_others`; the call reads and writes no memory.
    let closed = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_close_range,
            first as nix::libc::c_uint,
            last as nix::libc::c_uint,
            0,
        )
    };
    if closed == 0 {
        return;
    }
    // A kernel before 5.9, or a filter of system calls.
    for number in open_files()
        .into_iter()
        .filter(|n| (first..=last).contains(n))
    {
        // SAFETY: as above. A number without a file is an error of the kernel's.
        unsafe { nix::libc::close(number) };
    }
}

/// Numbers among which are those of all open files.
fn open_files() -> Vec<RawFd> {
    match std::fs::read_dir("/proc/self/fd") {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect(),
        // An empty root has no /proc.
        Err(_) => {
            let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(WITHOUT_PROC, |(now, _)| now);
            (0..limit.min(WITHOUT_PROC) as RawFd).collect()
        }
    }
}

/// What this program has opened itself up to now, as opposed to what it inherited: a file
/// that is open across an exec cannot be one that is closed by it, and what Rust opens is.
pub(super) fn own_files() -> Vec<RawFd> {
    let mut own = open_files();
    own.retain(|number| {
        // SAFETY: only looked at; a number without a file is an error of the kernel's.
        let flags = unsafe { nix::libc::fcntl(*number, nix::libc::F_GETFD) };
        *number > 2 && flags >= 0 && flags & nix::libc::FD_CLOEXEC != 0
    });
    own
}

/// Prepares a command that is to become a handler (`handlers/command/plan.rs`). It is killed
/// when the thread that starts it ends; it has these files (the first number is ours, the
/// second its own), the system's own dispositions of signals and none blocked, whatever pages
/// there are, and this limit of open files.
#[cfg(feature = "any-language")]
pub(crate) fn guard_handler(
    command: &mut std::process::Command,
    mut files: Vec<(RawFd, RawFd)>,
    open_files: u64,
) {
    use nix::sys::resource::setrlimit;
    use std::os::unix::process::CommandExt;

    let parent = nix::unistd::getpid();
    let become_handler = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        if nix::unistd::getppid() != parent {
            return Err(Errno::ESRCH.into());
        }
        for which in Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP))
        {
            restore(which)?;
        }
        SigSet::empty().thread_set_mask()?;
        super::pages::any();
        // First out of each other's way.
        for (ours, _) in &mut files {
            // SAFETY: numbers only; one without a file is an error of the kernel's.
            *ours = Errno::result(unsafe {
                nix::libc::fcntl(*ours, nix::libc::F_DUPFD_CLOEXEC, FIRST_HIGH)
            })?;
        }
        for (ours, theirs) in &files {
            // SAFETY: as above. What was open under that number in this new process is
            // nobody's: it is about to run another program.
            Errno::result(unsafe { nix::libc::dup2(*ours, *theirs) })?;
        }
        // Last: until the exec there may be more open files than that.
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, open_files.min(most), most)?;
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec, perhaps of a process with threads. It
    // makes system calls, all of them async-signal-safe, and allocates nothing: the list was
    // made before and is changed in place.
    unsafe { command.pre_exec(become_handler) };
}

/// Above the numbers that a handler is given.
#[cfg(feature = "any-language")]
const FIRST_HIGH: RawFd = 10;

/// Zeroed words that this process and all it forks share, for the rest of its life.
///
/// # Errors
/// No memory.
pub(crate) fn shared_words(count: usize) -> io::Result<&'static [AtomicU64]> {
    let bytes = NonZeroUsize::new(count * size_of::<AtomicU64>())
        .ok_or_else(|| io::Error::other("an empty map"))?;
    // SAFETY: a new anonymous mapping overlaps nothing.
    let map = unsafe {
        mmap_anonymous(
            None,
            bytes,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_SHARED,
        )
    }?;
    // SAFETY: the map is page-aligned, zeroed, `count` words long and never
    // unmapped; zero is a valid AtomicU64; other processes touch it through
    // atomics only.
    Ok(unsafe { std::slice::from_raw_parts(map.as_ptr().cast::<AtomicU64>(), count) })
}

/// Ignores a signal in this process.
pub(crate) fn ignore(which: Signal) -> io::Result<()> {
    // SAFETY: no handler is installed, so none can run in a bad moment.
    unsafe { signal(which, SigHandler::SigIgn) }?;
    Ok(())
}

/// Until signals are looked at in the master's loop, one of these ends the process at
/// once, with exit code 0: there is nothing to finish and nothing to clean up yet.
pub(super) fn leave_on(signals: impl Iterator<Item = Signal>) -> io::Result<()> {
    extern "C" fn leave(_: nix::libc::c_int) {
        // SAFETY: `_exit` is async-signal-safe and touches no memory of ours.
        unsafe { nix::libc::_exit(0) }
    }
    let action = SigAction::new(
        SigHandler::Handler(leave),
        SaFlags::empty(),
        SigSet::empty(),
    );
    for which in signals {
        // SAFETY: the handler may run at any moment: it only calls `_exit`.
        unsafe { sigaction(which, &action) }?;
    }
    Ok(())
}

/// Lets all others go first on the processor. Best effort.
pub(crate) fn be_nice() {
    // SAFETY: it changes this process's priority and touches no memory of ours.
    unsafe { nix::libc::nice(NICE) };
}

/// Back to what the system does with a signal.
pub(super) fn restore(which: Signal) -> io::Result<()> {
    // SAFETY: no handler is installed, so none can run in a bad moment.
    unsafe { signal(which, SigHandler::SigDfl) }?;
    Ok(())
}

/// Takes over a file that the program which started this one left open for it. It
/// will not be left open for others.
///
/// # Errors
/// There is no such file.
pub(super) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only looked at; a number without a file is an error of the kernel's.
    if unsafe { nix::libc::fcntl(number, nix::libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the file exists, and the message that named it was meant for this
    // process alone and is read once: nobody else here owns it.
    let file = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(file)
}

/// Sets what `ps` shows of this process, as far as it fits where the command
/// line was. Best effort: a title is not worth an error.
pub(super) fn set_title(role: &str) {
    let short: String = format!("turnkey:{role}").replace(' ', "");
    // At most 15 bytes: the kernel cuts the rest off.
    if let Ok(name) = CString::new(short)
        && let Err(error) = nix::sys::prctl::set_name(&name)
    {
        tracing::debug!("cannot set the process's name: {error}");
    }
    let title = format!("turnkey: {role}");
    change_command_line(|line| {
        line.fill(0);
        // The last byte stays zero.
        let room = line.len().saturating_sub(1);
        for (byte, letter) in line.iter_mut().take(room).zip(title.bytes()) {
            *byte = letter;
        }
    });
}

/// Lets `change` write what `ps` shows of this process. To be called while there is one
/// thread.
pub(super) fn change_command_line(change: impl FnOnce(&mut [u8])) {
    let Some((start, end)) = command_line() else {
        return;
    };
    // SAFETY: the kernel says that the arguments' bytes lie from `start` to
    // `end` in this process's stack, writable and mapped for ever. Rust copies
    // arguments when asked for them and keeps no reference; nobody asks meanwhile.
    change(unsafe { std::slice::from_raw_parts_mut(start as *mut u8, end - start) });
}

/// Where the command line lies in memory: fields 48 and 49 of proc(5)'s stat.
fn command_line() -> Option<(usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in parentheses and may hold spaces.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace().skip(45);
    let start: usize = fields.next()?.parse().ok()?;
    let end: usize = fields.next()?.parse().ok()?;
    (start != 0 && start < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::{WaitStatus, waitpid};

    use super::*;

    /// The test runner has a thread for each test and one that waits for them; a process
    /// that was forked has one.
    #[test]
    fn threads_are_noticed_without_proc() {
        assert!(is_threaded(), "here are several");
        // SAFETY: the child makes one system call, then another that ends it: nothing of
        // what other threads may have held is touched.
        match unsafe { nix::unistd::fork() }.unwrap() {
            ForkResult::Child => exit_child(i32::from(is_threaded())),
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
            }
        }
    }

    #[test]
    fn a_process_with_threads_is_not_forked() {
        let Err(error) = fork() else {
            panic!("forked beside other threads")
        };
        assert!(error.to_string().contains("threads"), "{error}");
    }
}
