//! The operator's side of a running bot: `--admin ADDRESS`.
//!
//! Run by each worker (`worker/mod.rs`); they share the admin listeners, and any of them
//! answers for the whole program, since the figures are in shared memory. Invariants: GET
//! changes nothing, and POST only what an operator has confirmed (`acts.rs`); no secret leaves; text from users is escaped. Bounds: those
//! of `server.rs`, `queues.rs` and `history.rs`.
//!
//! | file | what |
//! | --- | --- |
//! | `server.rs` | connections, their limits |
//! | `gate.rs` | the token, names of hosts |
//! | `content.rs` | an answer before it has headers |
//! | `routes.rs` | paths, headers of answers |
//! | `acts.rs` | what operators can do: retry and drop what was given up |
//! | `status.rs` | all figures as one value, `/status.json` |
//! | `history.rs` | the last minute: rates, percentiles |
//! | `series.rs` | what the charts show |
//! | `queues.rs` | what waits in the database |
//! | `whose.rs` | channels, who talks to the bot, turns by kind |
//! | `problems.rs`, `problem.rs` | what is wrong, in words, with the remedy |
//! | `metrics.rs` | `/metrics` |
//! | `page/` | `/status` and the pages below it |

mod acts;
mod content;
mod gate;
mod history;
mod later;
mod metrics;
mod page;
mod problem;
mod problems;
mod queues;
mod routes;
mod series;
mod server;
mod status;
mod whose;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use turnkey_text::program_name;

use self::history::{History, LOOK, Look};
#[cfg(feature = "top")]
pub(crate) use self::page::figures;
#[cfg(feature = "top")]
pub(crate) use self::problem::Problem;
use self::queues::Cached;
#[cfg(feature = "top")]
pub(crate) use self::status::{Process, ProcessState, Status};
#[cfg(feature = "top")]
pub(crate) use self::whose::known_as;
use crate::config::Config;
use crate::net::listener::Listener;
use crate::net::tls::Certificates;
use crate::shared::scoreboard::Scoreboard;
use crate::turn::context::Bot;

/// What a worker tells operators.
pub(crate) struct Admin {
    bot: Rc<Bot>,
    board: Scoreboard,
    token: Option<String>,
    /// The database's file; such a database has a writer of ours.
    file: Option<PathBuf>,
    log_file: Option<String>,
    /// The bot's name.
    name: String,
    public_url: Option<String>,
    /// The database's address, without a password.
    database: String,
    updater: &'static str,
    backup_dir: Option<String>,
    certificates: Option<Arc<Certificates>>,
    settings: Vec<(String, String)>,
    history: History,
    queues: Cached,
}

impl Admin {
    /// `database` is its address without a password; `file`: where it is, if it is one.
    pub(crate) fn new(
        bot: Rc<Bot>,
        board: Scoreboard,
        config: &Config,
        database: String,
        file: Option<PathBuf>,
        certificates: Option<Arc<Certificates>>,
    ) -> Rc<Self> {
        Rc::new(Admin {
            bot,
            board,
            token: config
                .admin
                .as_ref()
                .and_then(|admin| admin.token.as_deref().map(str::to_owned)),
            file,
            log_file: config
                .log_file
                .as_ref()
                .map(|file| file.display().to_string()),
            queues: Cached::new(&database, config.sync),
            name: config.name.clone().unwrap_or_else(program_name),
            public_url: config.public_url.clone(),
            database,
            updater: config.updater.name(),
            backup_dir: config
                .backup
                .as_ref()
                .map(|backup| backup.dir.display().to_string()),
            certificates,
            settings: config.shown(),
            history: History::default(),
        })
    }

    /// Serves until others are to do it, then finishes what is asked for.
    pub(crate) async fn serve(
        self: Rc<Self>,
        listeners: Vec<Listener>,
        leaving: watch::Receiver<bool>,
    ) {
        let mut tasks = JoinSet::new();
        for listener in listeners {
            let (admin, leaving) = (self.clone(), leaving.clone());
            tasks.spawn_local(async move {
                if let Err(error) = server::accept(admin, listener, leaving).await {
                    tracing::error!("--admin is not served: {error}");
                }
            });
        }
        let looks = async {
            loop {
                let look = Look::now(self.board);
                self.board.trends().look(&look.sample);
                self.history.push(look);
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = looks => {}
            _ = async { while tasks.join_next().await.is_some() {} } => {}
        }
    }
}
