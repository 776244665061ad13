//! A private PostgreSQL server: on a Unix socket only, everything durable, tuned as a
//! small production server would be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::Signal;

use super::private::{Home, Private, Start, program};
use crate::error::Error;

/// Bytes of a Unix socket's path, less PostgreSQL's own file name and the final NUL.
const MAX_SOCKET_DIRECTORY: usize = 85;

/// What differs from PostgreSQL's defaults. fsync, full_page_writes and
/// synchronous_commit stay on; `--sync normal` turns off the last, session by session.
const SETTINGS: &[(&str, &str)] = &[
    ("max_connections", "400"),  // 16 processes with 8 each, and some.
    ("shared_buffers", "256MB"), // All users fit.
    ("wal_buffers", "16MB"),
    ("max_wal_size", "4GB"), // Checkpoints by time, not in the middle of a run.
    ("min_wal_size", "1GB"), // Log files are used again instead of created.
    ("effective_cache_size", "4GB"),
    ("random_page_cost", "1.1"), // A solid state disk.
    ("jit", "off"),              // Nothing here is long enough for it.
];

pub(super) struct Postgres<'a> {
    /// Beyond [`SETTINGS`], or instead of some of them.
    pub(super) settings: &'a BTreeMap<String, String>,
}

impl Private for Postgres<'_> {
    fn create(&self, home: &Home) -> crate::error::Result<Start> {
        let initdb = find("initdb")?;
        let log = fs::File::create(home.directory.join("initdb.log"))?;
        let user = home.user.as_ref().map_or("this user", |user| &user.name);
        let refuse = |why: String| {
            Error::Start(format!(
                "initdb failed in {} as {user}: {why}; name a --directory that {user} may enter",
                home.directory.display()
            ))
        };
        let made = home
            .command(&initdb)
            .arg("-D")
            .arg(data(home))
            .args(["-U", "turnkey", "-A", "trust", "-E", "UTF8"])
            .args(["--locale=C", "--no-sync"])
            .stdout(Stdio::null())
            .stderr(log)
            .status()
            .map_err(|e| refuse(e.to_string()))?;
        if !made.success() {
            return Err(refuse(home.last_words("initdb.log")));
        }
        let socket = home.socket_directory(MAX_SOCKET_DIRECTORY)?;
        let mut command = home.command(&find("postgres")?);
        command.arg("-D").arg(data(home)).arg("-k").arg(&socket);
        command.args(["-c", "listen_addresses=", "-c", "log_min_messages=warning"]);
        let ours = SETTINGS
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let mut settings: BTreeMap<String, String> = ours.collect();
        settings.extend(self.settings.clone());
        for (name, value) in &settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let host = socket.display().to_string().replace('/', "%2F");
        Ok(Start {
            command,
            url: format!("postgres://turnkey@{host}/postgres"),
            settings: settings.iter().map(|(n, v)| format!("{n}={v}")).collect(),
        })
    }

    /// Its socket is there before it answers, so it is asked.
    fn answers(&self, home: &Home) -> bool {
        let (Ok(ready), Ok(socket)) = (
            find("pg_isready"),
            home.socket_directory(MAX_SOCKET_DIRECTORY),
        ) else {
            return false;
        };
        home.command(&ready)
            .arg("-q")
            .arg("-h")
            .arg(socket)
            .status()
            .is_ok_and(|status| status.success())
    }

    /// "Fast shutdown": sessions are ended, the data is whole.
    fn stop_signal(&self) -> Signal {
        Signal::SIGINT
    }
}

fn data(home: &Home) -> PathBuf {
    home.directory.join("data")
}

/// The newest version's program.
fn find(name: &str) -> crate::error::Result<PathBuf> {
    let mut directories = Vec::new();
    for (root, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")] {
        let entries = fs::read_dir(Path::new(root)).into_iter().flatten();
        directories.extend(entries.filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry
                .file_name()
                .to_str()?
                .strip_prefix(prefix)?
                .parse::<f64>();
            Some((version.ok()?, entry.path().join("bin")))
        }));
    }
    directories.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let directories: Vec<PathBuf> = directories.into_iter().map(|(_, path)| path).collect();
    program(&directories, name).ok_or_else(|| {
        Error::Start(format!(
            "--start-servers: the PostgreSQL program {name} is not installed; install the package postgresql, or name a server with --postgres"
        ))
    })
}
