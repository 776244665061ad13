//! The signals that stop the program, in all the ways in which they come: a terminal,
//! a closed window, `nohup`, an init system, an administrator who signals a worker.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::bot::{SOON, Setup, two_workers, until};
use crate::harness::client::{begin, join, say};
use crate::harness::proc::stat;
use crate::processes::stop::in_flight;

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("it lives");
}

/// A terminal, with a program in its foreground.
pub(crate) struct Terminal {
    keyboard: File,
    shown: Arc<Mutex<String>>,
    closed: Arc<AtomicBool>,
    screen: JoinHandle<()>,
}

impl Terminal {
    /// Makes `command` the leader of a session with a terminal of its own. Its stderr
    /// is left as it is.
    pub(crate) fn run(command: &Command) -> (Self, Command) {
        // Not `openpty`: other tests' programs would inherit what it opens.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let pty = posix_openpt(flags).expect("a terminal");
        grantpt(&pty).expect("ours");
        unlockpt(&pty).expect("ours");
        let name = ptsname_r(&pty).expect("a name");
        let mut other_end = File::options();
        other_end
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NOCTTY.bits());
        let slave = other_end.open(name).expect("its other end");
        let keyboard = File::from(pty.as_fd().try_clone_to_owned().expect("a handle"));
        let mut screen = keyboard.try_clone().expect("a second handle");
        let shown = Arc::new(Mutex::new(String::new()));
        let seen = shown.clone();
        let closed = Arc::new(AtomicBool::new(false));
        let is_closed = closed.clone();
        let screen = std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while !is_closed.load(Ordering::Relaxed) {
                let mut fds = [PollFd::new(screen.as_fd(), PollFlags::POLLIN)];
                match poll(&mut fds, 20_u8) {
                    Ok(0) => continue,
                    Ok(_) => {}
                    Err(_) => return,
                }
                let Ok(count @ 1..) = screen.read(&mut bytes) else {
                    return;
                };
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                seen.lock()
                    .expect("no panic under this lock")
                    .push_str(&text);
            }
        });
        // `setsid --ctty` makes its stdin the terminal and becomes the command.
        // Whoever runs the tests may ignore signals (nohup, a job in the background): who sits at a
        // terminal does not.
        let mut leader = Command::new("env");
        leader.args(["--default-signal=HUP,INT,QUIT", "setsid", "--ctty"]);
        leader.arg(command.get_program());
        leader.args(command.get_args()).stdin(slave);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => leader.env(name, value),
                None => leader.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            leader.current_dir(directory);
        }
        let terminal = Terminal {
            keyboard,
            shown,
            closed,
            screen,
        };
        (terminal, leader)
    }

    /// Closes the window.
    pub(crate) fn close(self) {
        self.closed.store(true, Ordering::Relaxed);
        self.screen.join().expect("it only reads");
        drop(self.keyboard);
    }

    pub(crate) fn press(&mut self, key: u8) {
        self.keyboard.write_all(&[key]).expect("a keyboard");
    }

    /// What the terminal itself showed.
    fn shown(&self) -> String {
        self.shown.lock().expect("no panic under this lock").clone()
    }
}

const CTRL_C: u8 = 3;
const CTRL_BACKSLASH: u8 = 28;

#[tokio::test]
async fn ctrl_c_in_a_terminal() {
    let setup = Setup::commands().args(&["--workers", "2"]);
    let (mut terminal, command) = Terminal::run(&setup.run());
    let mut bot = setup.start_as(command).await;
    let tasks = in_flight(&bot, 1500).await;
    terminal.press(CTRL_C);
    for task in tasks {
        assert_eq!(join(task).await.expect("an answer").number(), 1);
    }
    assert_eq!(bot.ended(SOON).await, 0);
    bot.gone(SOON).await;
    assert!(terminal.shown().contains("^C"), "{}", terminal.shown());
    assert!(
        bot.stderr().contains("Stopping: 10 turns in flight")
            && bot.stderr().contains("Stopped: 10 turns, nothing lost, "),
        "{}",
        bot.stderr()
    );
    assert_eq!(bot.setup.sum(), 10);
}

#[tokio::test]
async fn ctrl_c_twice_and_ctrl_backslash_in_a_terminal() {
    for (keys, code) in [(&[CTRL_C, CTRL_C][..], 130), (&[CTRL_BACKSLASH], 131)] {
        let setup = Setup::commands().args(&["--workers", "2"]);
        let (mut terminal, command) = Terminal::run(&setup.run());
        let mut bot = setup.start_as(command).await;
        let tasks = in_flight(&bot, 20_000).await;
        for (n, key) in keys.iter().enumerate() {
            if n > 0 {
                bot.wait_for_stderr("Stopping").await;
                // Sooner, it would be taken for the first one, delivered twice.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            terminal.press(*key);
        }
        assert_eq!(bot.ended(SOON).await, code);
        bot.gone(SOON).await;
        for task in tasks {
            assert!(join(task).await.is_err());
        }
        let stderr = bot.stderr();
        assert!(stderr.contains("Forced: cutting off 10 turns"), "{stderr}");
        assert!(stderr.contains("10 cut off (POST /http for "), "{stderr}");
        assert_eq!(bot.setup.sum(), 0);
    }
}

/// A window that is closed is a stop; a SIGHUP while it is open is a reload.
#[tokio::test]
async fn a_closed_terminal_stops_it_gracefully() {
    let setup = Setup::commands().args(&["--workers", "2"]);
    let (terminal, command) = Terminal::run(&setup.run());
    let mut bot = setup.start_as(command).await;
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reloaded: 2 workers").await;
    let tasks = in_flight(&bot, 1500).await;
    terminal.close();
    for task in tasks {
        assert_eq!(join(task).await.expect("an answer").number(), 1);
    }
    assert_eq!(bot.ended(SOON).await, 0);
    bot.gone(SOON).await;
    assert_eq!(bot.setup.sum(), 10);
    bot.setup.assert_sound();
}

#[tokio::test]
async fn under_nohup_a_hang_up_is_a_reload() {
    let setup = Setup::counter();
    let run = setup.run();
    let mut nohup = setup.command_of("nohup");
    nohup.arg(run.get_program()).args(run.get_args());
    let bot = setup.start_as(nohup).await;
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reloaded: 1 worker,").await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn sigterm_twice_still_finishes() {
    let mut bot = two_workers(&[]).await;
    let tasks = in_flight(&bot, 2000).await;
    bot.signal(Signal::SIGTERM);
    bot.wait_for_stderr("Stopping: 10 turns in flight").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    bot.signal_group(Signal::SIGTERM);
    bot.signal(Signal::SIGHUP);
    for task in tasks {
        assert_eq!(join(task).await.expect("an answer").number(), 1);
    }
    assert_eq!(bot.ended(SOON).await, 0);
    assert_eq!(bot.stderr().matches("Stopping").count(), 1);
}

#[tokio::test]
async fn a_long_stop_says_what_it_waits_for_and_what_was_lost() {
    let mut bot = two_workers(&["--grace", "5s"]).await;
    let tasks = in_flight(&bot, 20_000).await;
    bot.signal(Signal::SIGINT);
    assert_eq!(bot.ended(SOON).await, 1);
    for task in tasks {
        assert!(join(task).await.is_err());
    }
    let stderr = bot.stderr();
    assert!(
        stderr.contains("Still stopping: 10 turns in flight"),
        "{stderr}"
    );
    assert!(
        stderr.contains("Stopped: 0 turns, 10 cut off (POST /http for "),
        "{stderr}"
    );
}

#[tokio::test]
async fn other_signals_change_nothing() {
    let bot = two_workers(&[]).await;
    let before = bot.processes();
    for other in [
        Signal::SIGWINCH,
        Signal::SIGUSR1,
        Signal::SIGPIPE,
        Signal::SIGCHLD,
    ] {
        bot.signal(other);
        for (pid, _) in bot.children() {
            // What a terminal sends goes to everybody.
            if other == Signal::SIGWINCH || other == Signal::SIGPIPE {
                signal(pid, other);
            }
        }
    }
    for (pid, title) in bot.children() {
        if title.starts_with("turnkey: worker") {
            for other in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
                signal(pid, other);
            }
        }
    }
    for n in 1..=20 {
        assert_eq!(say(bot.port, "ann", "hi").await.number(), n);
    }
    assert_eq!(bot.processes(), before);
    bot.stop().await;
}

/// An administrator stops one worker: it finishes what it has, and another comes.
#[tokio::test]
async fn sigterm_to_a_worker_replaces_it() {
    let bot = two_workers(&[]).await;
    let tasks = in_flight(&bot, 1500).await;
    let worker = bot.worker(0).await;
    signal(worker, Signal::SIGTERM);
    for task in tasks {
        assert_eq!(join(task).await.expect("an answer").number(), 1);
    }
    bot.successor("turnkey: worker 0", worker).await;
    assert!(!bot.stderr().contains("ERROR"), "{}", bot.stderr());
    assert_eq!(bot.stop().await.sum(), 10);
}

/// An init system signals the workers, and the master a moment later.
#[tokio::test]
async fn workers_that_left_are_not_replaced_when_the_program_stops() {
    let mut bot = two_workers(&["-v"]).await;
    for index in 0..2 {
        signal(bot.worker(index).await, Signal::SIGTERM);
    }
    bot.signal(Signal::SIGTERM);
    assert_eq!(bot.ended(SOON).await, 0);
    let stderr = bot.stderr();
    assert_eq!(stderr.matches("started worker").count(), 2, "{stderr}");
}

/// As process 1 of a container it ends on signals and buries strangers.
#[tokio::test]
async fn as_process_1_it_buries_strangers_and_stops() {
    let setup = Setup::counter().args(&["--workers", "2"]);
    let can = setup
        .command_of("unshare")
        .args(["--pid", "--fork", "true"])
        .status();
    if !can.is_ok_and(|status| status.success()) {
        crate::harness::bot::skipped(
            "process 1 of a container: takes the right to `unshare --pid`",
        );
        return;
    }
    let run = setup.run();
    let mut unshare = setup.command_of("unshare");
    unshare.args(["--pid", "--fork", "--kill-child", "sh", "-c"]);
    // The sleeper's parent ends at once: it becomes a child of process 1.
    unshare.arg("(sleep 0.5 & sleep 0.6 &) ; exec \"$0\" \"$@\"");
    unshare.arg(run.get_program()).args(run.get_args());
    let bot = setup.start_as(unshare).await;
    let name = setup.program().to_str().unwrap().to_owned();
    let masters = bot.all_named(&name);
    let [master] = masters[..] else {
        panic!("{:?}", bot.processes());
    };
    say(bot.port, "ann", "hi").await.number();
    let strangers = || {
        let all = std::fs::read_dir("/proc").unwrap();
        all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| stat(*pid).is_some_and(|s| s.parent == master))
            .count()
    };
    // Two workers and the writer.
    until("strangers are buried", SOON, || strangers() == 3).await;
    signal(master, Signal::SIGTERM);
    let mut bot = bot;
    assert_eq!(bot.ended(SOON).await, 0);
    assert!(bot.stderr().contains("nothing lost"), "{}", bot.stderr());
    assert_eq!(bot.setup.sum(), 1);
}

/// In the background of a terminal, with stdin and stdout closed.
#[tokio::test]
async fn without_stdin_and_stdout() {
    let setup = Setup::counter();
    let run = setup.run();
    let mut shell = setup.command_of("sh");
    shell.args(["-c", "exec <&- >&-; exec \"$0\" \"$@\""]);
    shell.arg(run.get_program()).args(run.get_args());
    shell.stdin(Stdio::null());
    let bot = setup.start_as(shell).await;
    let slow = begin(bot.port, "ann", "hi").await;
    assert_eq!(join(slow).await.unwrap().number(), 1);
    bot.stop().await.assert_sound();
}

/// The log is moved away, as logrotate does, and goes on in a new file.
#[tokio::test]
async fn sigusr1_opens_the_log_file_anew() {
    for processes in [&["--workers", "2"][..], &["--single-process"]] {
        let setup = Setup::commands().args(processes);
        let setup = setup.args(&["--log-file", "bot.log"]);
        let (log, moved) = (setup.path("bot.log"), setup.path("bot.log.1"));
        let bot = setup.start().await;
        let failures = |path: &std::path::Path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.matches("told to fail").count()
        };
        for _ in 0..3 {
            assert_eq!(say(bot.port, "ann", "fail").await.status, 503);
        }
        // Another process writes them.
        until("all are told", SOON, || failures(&log) == 3).await;
        std::fs::rename(&log, &moved).unwrap();
        bot.signal(Signal::SIGUSR1);
        until("a new file", SOON, || {
            // A line makes a process look.
            failures(&log) > 0 || {
                let port = bot.port;
                std::thread::spawn(move || {
                    use std::io::Write;
                    let request = crate::harness::client::raw_message("bob", "fail");
                    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
                    stream.write_all(&request).unwrap();
                    drop(stream.read(&mut [0; 1]));
                })
                .join()
                .is_err()
            }
        })
        .await;
        let before = failures(&moved);
        assert_eq!(say(bot.port, "eve", "fail").await.status, 503);
        assert_eq!(failures(&moved), before, "nobody writes to the old one");
        assert!(!bot.stderr().contains("told to fail"));
        bot.stop().await;
    }
}

#[test]
fn a_log_file_that_cannot_be_written() {
    let ended = Setup::counter()
        .args(&["--log-file", "/nowhere/bot.log"])
        .run_to_end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("--log-file /nowhere/bot.log"),
        "{ended:?}"
    );
}
