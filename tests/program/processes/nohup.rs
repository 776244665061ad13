//! A program that is to survive its terminal does.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::say;
use crate::processes::signals::Terminal;

fn under_nohup(setup: &Setup) -> Command {
    let run = setup.run();
    let mut nohup = setup.command_of("nohup");
    nohup.arg(run.get_program()).args(run.get_args());
    nohup
}

#[tokio::test]
async fn a_closed_terminal_does_not_stop_it() {
    let setup = Setup::counter();
    let (terminal, command) = Terminal::run(&under_nohup(&setup));
    let bot = setup.start_as(command).await;
    // The kernel sends the leader of a session SIGHUP: a reload.
    terminal.close();
    bot.wait_for_stderr("Reloaded: 1 worker").await;
    bot.signal(Signal::SIGHUP);
    until("a second reload", SOON, || {
        bot.stderr().matches("Reloaded: 1 worker").count() == 2
    })
    .await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    // What takes over in an upgrade survives as well.
    bot.signal(Signal::SIGUSR2);
    let new = bot.successor_program().await;
    bot.wait_for_stderr("serves from now on").await;
    let status = std::fs::read_to_string(format!("/proc/{new}/status")).unwrap();
    let ignored = status
        .lines()
        .find(|line| line.starts_with("SigIgn"))
        .unwrap();
    assert!(
        ignored.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']),
        "{ignored}"
    );
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(new), Signal::SIGTERM).unwrap();
    bot.gone(SOON).await;
}

#[tokio::test]
async fn without_a_master_it_survives_too() {
    let setup = Setup::counter().args(&["--single-process"]);
    let (terminal, command) = Terminal::run(&under_nohup(&setup));
    let bot = setup.start_as(command).await;
    terminal.close();
    bot.signal(Signal::SIGHUP);
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
    bot.stop().await.assert_sound();
}
