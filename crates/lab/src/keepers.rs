//! The servers of a laboratory: private ones are started, each with a process that keeps it;
//! then those that the plan needs are connected to, private or named.
//!
//! Called by `laboratory.rs`. Invariant: a private server ends with its [`Keeper`]. Bound:
//! [`SERVER_PATIENCE`] for one to be made and started.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::child::{NoAnswer, Process};
use super::options::StorageOptions;
use super::order;
use super::plan::Plan;
use super::results::{Results, with_settings};
use super::run::Server;
use super::servers;
use crate::error::Error;
use turnkey_report::say;
use turnkey_report::stop::Stop;

/// For a private server to be made and started.
const SERVER_PATIENCE: Duration = Duration::from_secs(180);

/// A keeper of a private server, with what it serves.
pub(super) struct Keeper {
    kind: servers::Kind,
    /// The server ends with it.
    _process: Process,
    serving: order::Serving,
    /// Of `-c`.
    settings: BTreeMap<String, String>,
}

/// The kinds of servers that a plan needs, each once.
fn kinds(plan: &Plan) -> Vec<servers::Kind> {
    let mut kinds = Vec::new();
    for kind in plan.engines.iter().filter_map(|engine| engine.server()) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

/// A private server is started for each.
fn settings_of(plan: &Plan, kind: servers::Kind) -> Vec<BTreeMap<String, String>> {
    match kind {
        servers::Kind::Postgres => plan.server_combinations(),
        servers::Kind::Mysql => vec![BTreeMap::new()],
    }
}

/// Starts the private servers that the plan needs, if it is to have such.
pub(super) fn start(
    plan: &Plan,
    options: &StorageOptions,
    directory: &Path,
    stop: &Stop,
) -> Result<Vec<Keeper>, NoAnswer> {
    let mut keepers = Vec::new();
    if !options.start_servers {
        return Ok(keepers);
    }
    // The server's user must be able to enter.
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    for kind in kinds(plan) {
        for settings in settings_of(plan, kind) {
            match settings.is_empty() {
                true => say!("Starting a private {} server ...", kind.name()),
                false => say!(
                    "Starting a private {} server with {settings:?} ...",
                    kind.name()
                ),
            }
            let home = directory.join(format!("server-{}", keepers.len()));
            fs::create_dir(&home)?;
            let order = order::Order::Serve {
                kind,
                directory: home,
                settings: settings.clone(),
            };
            let process = Process::start(&order)?;
            match process.answer(SERVER_PATIENCE, stop)? {
                order::Line::Serving(serving) => keepers.push(Keeper {
                    kind,
                    _process: process,
                    serving,
                    settings,
                }),
                other => {
                    return Err(NoAnswer::Failed(Error::Start(format!(
                        "the private server's keeper said {other:?}"
                    ))));
                }
            }
        }
    }
    Ok(keepers)
}

/// Connects to the servers that the plan needs, private or named.
pub(super) fn connect_all(
    plan: &Plan,
    options: &StorageOptions,
    keepers: &[Keeper],
    results: &mut Results,
) -> crate::error::Result<Vec<Server>> {
    let mut servers: Vec<Server> = Vec::new();
    for kind in kinds(plan) {
        let private: Vec<&Keeper> = keepers
            .iter()
            .filter(|keeper| keeper.kind == kind)
            .collect();
        if private.is_empty() {
            let Some(url) = options.server(kind) else {
                return Err(Error::Start(format!("no {} server is named", kind.name())));
            };
            servers.push(connect(plan, kind, url, None, results)?);
        }
        for keeper in private {
            let url = &keeper.serving.url;
            servers.push(connect(plan, kind, url, Some(keeper), results)?);
        }
    }
    Ok(servers)
}

fn connect(
    plan: &Plan,
    kind: servers::Kind,
    url: &str,
    keeper: Option<&Keeper>,
    results: &mut Results,
) -> crate::error::Result<Server> {
    let admin = servers::admin(kind, url, keeper.is_some())?;
    for sync in &plan.sync {
        admin.set_durability(*sync)?;
    }
    let (version, mut settings) = admin.about()?;
    results.versions.insert(kind.name().to_owned(), version);
    settings.push(match keeper {
        Some(keeper) => format!(
            "a private server on a Unix socket; beyond the defaults: {}",
            keeper.serving.settings.join(", ")
        ),
        None => "a server that was named".to_owned(),
    });
    let chosen = keeper
        .map(|keeper| keeper.settings.clone())
        .unwrap_or_default();
    let name = with_settings(kind.name(), &chosen);
    results.setup.insert(name, settings);
    let pid = keeper
        .map(|keeper| keeper.serving.pid)
        .or_else(|| admin.local_pid());
    if pid.is_none() {
        results.warnings.push(format!(
            "the {} server's processes are not on this machine: its processor time is not known",
            kind.name()
        ));
    }
    Ok(Server {
        kind,
        admin,
        pid,
        is_private: keeper.is_some(),
        settings: chosen,
    })
}
