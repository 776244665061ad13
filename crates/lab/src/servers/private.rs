//! Private database servers: started from the programs that are installed, in a
//! directory of the laboratory, gone with it.
//!
//! Each runs under a process of ours (`process.rs`, order `Serve`), which stops it
//! when its input ends: also when the laboratory is killed. Bound: [`PATIENCE`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::order::Serving;
use super::Kind;
use crate::error::Error;

/// For a server to answer after its start, and to leave when asked.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a kind of server knows about itself.
pub(super) trait Private {
    /// Makes its data directory in an empty directory that its user owns, and says
    /// how to start it there.
    fn create(&self, home: &Home) -> crate::error::Result<Start>;
    /// Whether it answers.
    fn answers(&self, home: &Home) -> bool;
    /// The signal that ends it in seconds, without losing anything.
    fn stop_signal(&self) -> Signal;
}

/// How a server is started.
pub(super) struct Start {
    pub(super) command: Command,
    pub(super) url: String,
    pub(super) settings: Vec<String>,
}

/// Where a server lives, and as whom.
pub(super) struct Home {
    pub(super) directory: PathBuf,
    pub(super) user: Option<User>,
}

/// Who a server runs as when we are root: they refuse root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    uid: u32,
    gid: u32,
}

impl Home {
    /// Its directory as it is on the disk (servers change their own), for a Unix socket in
    /// it: at most so many bytes.
    pub(super) fn socket_directory(&self, most: usize) -> crate::error::Result<PathBuf> {
        let directory = fs::canonicalize(&self.directory)?;
        if directory.as_os_str().len() > most {
            return Err(Error::Start(format!(
                "the path {} is too long for a Unix socket; name a shorter --directory",
                directory.display()
            )));
        }
        Ok(directory)
    }

    /// A command in this directory, as the server's user, apart from our terminal.
    pub(super) fn command(&self, program: &Path) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        command
            .current_dir(&self.directory)
            .stdin(std::process::Stdio::null())
            .process_group(0);
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid).env("HOME", "/");
        }
        command
    }

    /// The last lines that a program wrote to a file here.
    pub(super) fn last_words(&self, file: &str) -> String {
        let text = fs::read_to_string(self.directory.join(file)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(2)..].join("; ")
    }
}

/// A server that runs, or is about to. Dropping it stops it.
pub(crate) struct Running {
    child: Child,
    stop_signal: Signal,
    pub(crate) serving: Serving,
}

/// Starts a server in a directory that exists and is empty.
pub(super) fn start(
    private: &dyn Private,
    kind: Kind,
    directory: &Path,
) -> crate::error::Result<Running> {
    let home = Home {
        directory: directory.to_owned(),
        user: server_user(kind)?,
    };
    if let Some(user) = &home.user {
        std::os::unix::fs::chown(directory, Some(user.uid), Some(user.gid))?;
    }
    let mut start = private.create(&home)?;
    let log = fs::File::create(directory.join("log"))?;
    start.command.stdout(log.try_clone()?).stderr(log);
    let mut running = Running::new(start.command.spawn()?, private.stop_signal());
    running.serving = Serving {
        url: start.url,
        pid: running.pid(),
        settings: start.settings,
    };
    let deadline = Instant::now() + PATIENCE;
    while !private.answers(&home) {
        if running.child.try_wait()?.is_some() {
            return Err(Error::Start(format!(
                "the private server ended at its start: {}",
                home.last_words("log")
            )));
        }
        if Instant::now() >= deadline {
            return Err(Error::Start(format!(
                "the private server did not answer within {} s",
                PATIENCE.as_secs()
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(running)
}

impl Running {
    pub(crate) fn new(child: Child, stop_signal: Signal) -> Self {
        Running {
            child,
            stop_signal,
            serving: Serving::default(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stop(&mut self) -> crate::error::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        kill(Pid::from_raw(self.child.id() as i32), self.stop_signal)?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                self.child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Running {
    /// Also when something failed on the way.
    fn drop(&mut self) {
        drop(self.stop());
    }
}

/// None when we are not root.
fn server_user(kind: Kind) -> crate::error::Result<Option<User>> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    kind.users()
        .iter()
        .find_map(|name| user_in(&users, name))
        .map(Some)
        .ok_or_else(|| {
            Error::Start(
                "database servers refuse to run as root, and there is no user nobody; start the laboratory as another user"
                    .to_owned(),
            )
        })
}

fn user_in(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        Some(User {
            name: name.to_owned(),
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    })
}

/// A program in one of these directories, or in PATH.
pub(super) fn program(directories: &[PathBuf], name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    directories
        .iter()
        .cloned()
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\npostgresql:x:9:9::/:\npostgres:x:101:104:a:/b:/c\n";
        let user = user_in(passwd, "postgres").unwrap();
        assert_eq!((user.uid, user.gid), (101, 104));
        assert_eq!(user_in(passwd, "nobody"), None);
    }
}
