//! `top`: a running bot, live in a terminal.
//!
//! Asks for `/status.json` at the bot's admin address once a second. Without a terminal,
//! with `--once` or `--json`, it prints one answer and ends. Bounds: [`LOOK`], and those
//! of `top/client.rs`.
//!
//! | file | what |
//! | --- | --- |
//! | `client.rs` | asks |
//! | `screen.rs` | draws |
//! | `text.rs` | prints |

mod client;
mod screen;
mod text;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};

use self::client::Client;
use super::operator;
use crate::operator::admin::Status;
use crate::process::exit;

/// Between two questions.
const LOOK: Duration = Duration::from_secs(1);

/// Between two looks at the keyboard.
const KEYS: Duration = Duration::from_millis(100);

/// Watch a running bot in the terminal, through its --admin address.
///
/// q and Ctrl-C leave. The bot must have been started with --admin. A token is read from
/// TURNKEY_ADMIN_TOKEN.
#[derive(Args)]
pub(super) struct Top {
    /// The bot's admin address: HOST:PORT or unix:PATH.
    #[arg(
        long,
        env = "TURNKEY_ADMIN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8081"
    )]
    admin: String,
    /// Print one look as text and end; so it does when the output is no terminal.
    #[arg(long)]
    once: bool,
    /// Print one look as JSON and end.
    #[arg(long)]
    json: bool,
}

/// What the asking thread says.
enum News {
    Status(Box<Status>),
    /// The bot did not answer, for this reason.
    Away(String),
    /// SIGTERM or SIGHUP came.
    Leave,
}

impl Top {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let client = Client::new(&self.admin, std::env::var("TURNKEY_ADMIN_TOKEN").ok())?;
        let is_live = !self.once && !self.json && std::io::stdout().is_terminal();
        if is_live {
            watch(client)?;
        } else {
            let status = runtime()?.block_on(client.ask())?;
            operator::print(self.json, &status, || text::snapshot(&status))?;
        }
        Ok(ExitCode::from(exit::CLEAN))
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// Shows the bot until somebody leaves. The terminal is as before then, also after an
/// error or a panic.
fn watch(client: Client) -> anyhow::Result<()> {
    // Before the screen is taken: a wrong address is told as any other error.
    let runtime = runtime()?;
    let first = runtime.block_on(client.ask())?;
    let (say, hear) = mpsc::channel();
    let address = client.address.clone();
    // It ends with this process.
    std::thread::spawn(move || runtime.block_on(ask_again_and_again(client, say)));
    let mut terminal = ratatui::try_init().context("this terminal cannot be drawn on")?;
    let shown = show(&mut terminal, &hear, &address, first);
    ratatui::try_restore().context("the terminal cannot be restored; `reset` does it")?;
    shown
}

async fn ask_again_and_again(client: Client, say: Sender<News>) {
    let leave = async {
        let (Ok(mut terminate), Ok(mut hang_up)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::hangup()),
        ) else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    };
    let ask = async {
        loop {
            tokio::time::sleep(LOOK).await;
            let news = match client.ask().await {
                Ok(status) => News::Status(Box::new(status)),
                Err(error) => News::Away(format!("{error:#}")),
            };
            if say.send(news).is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = leave => drop(say.send(News::Leave)),
        () = ask => {}
    }
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    news: &Receiver<News>,
    address: &str,
    mut status: Status,
) -> anyhow::Result<()> {
    let mut away = None;
    loop {
        terminal.draw(|frame| screen::draw(frame, address, &status, away.as_deref()))?;
        loop {
            if event::poll(KEYS)? {
                match event::read()? {
                    Event::Key(key) if key.kind == KeyEventKind::Press => {
                        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
                        match key.code {
                            KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                            KeyCode::Char('c') if is_control => return Ok(()),
                            _ => {}
                        }
                    }
                    Event::Resize(..) => break,
                    _ => {}
                }
            }
            match news.recv_timeout(Duration::ZERO) {
                Ok(News::Status(new)) => {
                    status = *new;
                    away = None;
                    break;
                }
                Ok(News::Away(reason)) => {
                    away = Some(reason);
                    break;
                }
                Ok(News::Leave) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}
