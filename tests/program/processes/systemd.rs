//! What an init system is told (sd_notify), and sockets that it opened (LISTEN_FDS).

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::bot::{Bot, SOON, Setup};
use crate::harness::client::{begin, join, say};
use crate::harness::load::Load;

/// Listens where an init system would.
struct Init(UnixDatagram);

impl Init {
    fn of(setup: &Setup) -> (Self, Setup) {
        let path = setup.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let setup = setup.clone().env("NOTIFY_SOCKET", path.to_str().unwrap());
        (Init(socket), setup)
    }

    /// The next message that holds this line, in whatever order others come.
    async fn told(&self, line: &str) -> String {
        let deadline = Instant::now() + SOON;
        let mut heard = Vec::new();
        while Instant::now() < deadline {
            let mut bytes = [0; 1024];
            if let Ok(count) = self.0.recv(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                if text
                    .lines()
                    .any(|l| l == line || l.starts_with(line) && line.ends_with('='))
                {
                    return text;
                }
                heard.push(text);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no {line:?} among {heard:?}");
    }
}

#[tokio::test]
async fn an_init_system_is_told_every_step() {
    let (init, setup) = Init::of(&Setup::commands().args(&["--workers", "2", "--grace", "10s"]));
    let setup = setup.env("WATCHDOG_USEC", "1000000");
    let bot = setup.start().await;
    let ready = init.told("READY=1").await;
    assert!(ready.contains("STATUS=serving with 2 workers"), "{ready}");
    init.told("WATCHDOG=1").await;

    bot.signal(Signal::SIGHUP);
    let reloading = init.told("RELOADING=1").await;
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    init.told("READY=1").await;

    let worker = bot.worker(0).await;
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    init.told("STATUS=degraded 1/2").await;
    init.told("STATUS=serving with 2 workers").await;

    let slow = begin(bot.port, "ann", "sleep 4000").await;
    bot.settled().await;
    bot.signal(Signal::SIGTERM);
    let stopping = init.told("STOPPING=1").await;
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC="), "{stopping}");
    init.told("EXTEND_TIMEOUT_USEC=").await;
    assert_eq!(join(slow).await.unwrap().number(), 1);
    let mut bot = bot;
    assert_eq!(bot.ended(SOON).await, 0);
}

#[tokio::test]
async fn an_upgrade_names_the_new_main_process() {
    let (init, setup) = Init::of(&Setup::counter());
    let mut bot = setup.start().await;
    init.told("READY=1").await;
    bot.signal(Signal::SIGUSR2);
    let new = bot.successor_program().await;
    init.told(&format!("MAINPID={new}")).await;
    assert_eq!(bot.ended(SOON).await, 0);
    kill(Pid::from_raw(new), Signal::SIGTERM).unwrap();
    init.told("STOPPING=1").await;
    bot.gone(SOON).await;
}

/// Starts a bot with a listening socket as its file 3, as init systems do.
async fn activated(setup: &Setup, listener: &TcpListener) -> Bot {
    let run = setup.run();
    let mut shell = setup.command_of("sh");
    shell.args([
        "-c",
        "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"",
    ]);
    shell.arg(run.get_program()).args(run.get_args());
    let listener = listener.try_clone().unwrap();
    shell.stdin(OwnedFd::from(listener));
    setup.start_as(shell).await
}

/// The socket is the init system's: it outlives the bot, so a connection that comes
/// between two lives waits for the next.
#[tokio::test]
async fn a_socket_that_the_init_system_opened() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let setup = Setup::counter().args(&["--workers", "2"]);
    let bot = activated(&setup, &listener).await;
    assert_eq!(bot.port, port, "the socket's port, not --port's");
    let load = Load::start(port);
    let mut bot = bot;
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        // The last time it is killed, with all its children left to themselves.
        let (how, code) = match round {
            2 => (Signal::SIGKILL, -(Signal::SIGKILL as i32)),
            _ => (Signal::SIGTERM, 0),
        };
        bot.signal(how);
        assert_eq!(bot.ended(SOON).await, code);
        bot = activated(&setup, &listener).await;
    }
    // An upgrade takes the socket along.
    bot.signal(Signal::SIGUSR2);
    let new = bot.successor_program().await;
    bot.wait_for_stderr("serves from now on").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let answered = load.end_unharmed().await;
    assert_eq!(bot.setup.sum(), answered);
    assert_eq!(say(port, "ann", "hi").await.number(), 1);
    kill(Pid::from_raw(new), Signal::SIGTERM).unwrap();
    bot.gone(SOON).await;
}

#[test]
fn a_socket_of_no_use_is_refused() {
    let setup = Setup::counter();
    let run = setup.run();
    let mut shell = setup.command_of("sh");
    shell.args([
        "-c",
        "exec 3</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"",
    ]);
    shell.arg(run.get_program()).args(run.get_args());
    let ended = crate::harness::bot::finish(shell, SOON);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("LISTEN_FDS"), "{ended:?}");
}
