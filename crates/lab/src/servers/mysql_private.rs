//! A private MariaDB or MySQL server: on a Unix socket only, everything durable, tuned
//! as a small production server would be.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::mysql_admin::connect;
use super::private::{Home, Private, Start, program};
use crate::error::Error;

/// Bytes of a Unix socket's path, less our file's name and the final NUL.
const MAX_SOCKET_DIRECTORY: usize = 100;

/// For a server that is there to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// What differs from the defaults. The doublewrite buffer stays on, and
/// innodb_flush_log_at_trx_commit follows `--sync`, run by run.
const SETTINGS: &[(&str, &str)] = &[
    ("max-connections", "400"),          // 16 processes with 8 each, and some.
    ("innodb-buffer-pool-size", "256M"), // All users fit.
    ("innodb-log-buffer-size", "16M"),
    ("innodb-log-file-size", "1G"), // Nothing must be flushed in a run to free the log.
    ("innodb-flush-method", "O_DIRECT"), // Pages are kept in the buffer pool already.
];

/// Run at the start, before anybody can connect.
const INIT: &str = "CREATE USER IF NOT EXISTS turnkey@localhost;
GRANT ALL ON *.* TO turnkey@localhost;
";

pub(super) struct Mysql;

impl Private for Mysql {
    fn create(&self, home: &Home) -> crate::error::Result<Start> {
        let directory = home.socket_directory(MAX_SOCKET_DIRECTORY)?;
        let server = find("mariadbd").or_else(|_| find("mysqld"))?;
        let mut install = if server.ends_with("mariadbd") {
            let mut install = home.command(&find("mariadb-install-db")?);
            install.args(["--no-defaults", "--skip-test-db"]);
            install.arg("--auth-root-authentication-method=normal");
            install
        } else {
            let mut install = home.command(&server);
            install.args(["--no-defaults", "--initialize-insecure"]);
            install
        };
        // Its syncs are no part of any run.
        install.arg("--innodb-flush-method=nosync");
        option(&mut install, "datadir", &directory.join("data"));
        let log = fs::File::create(directory.join("install.log"))?;
        let user = home.user.as_ref().map_or("this user", |user| &user.name);
        let program = install.get_program().display().to_string();
        let refuse = |why: String| {
            Error::Start(format!(
                "{program} failed in {} as {user}: {why}; name a --directory that {user} may enter",
                directory.display()
            ))
        };
        let made = install
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()
            .map_err(|e| refuse(e.to_string()))?;
        if !made.success() {
            return Err(refuse(home.last_words("install.log")));
        }
        let init = directory.join("init.sql");
        fs::write(&init, INIT)?;
        let mut command = home.command(&server);
        command.arg("--no-defaults");
        option(&mut command, "datadir", &directory.join("data"));
        option(&mut command, "tmpdir", &directory);
        option(&mut command, "pid-file", &directory.join("pid"));
        option(&mut command, "socket", &directory.join("socket"));
        option(&mut command, "init-file", &init);
        // One sync for a commit: a binary log is for replicas, and there are none.
        command.args(["--skip-networking", "--skip-log-bin", "--loose-mysqlx=OFF"]);
        for (name, value) in SETTINGS {
            command.arg(format!("--{name}={value}"));
        }
        command.stdin(Stdio::null());
        let mut settings: Vec<String> = SETTINGS.iter().map(|(n, v)| format!("{n}={v}")).collect();
        settings.push("skip-log-bin".to_owned());
        Ok(Start {
            command,
            url: url(&directory),
            settings,
        })
    }

    /// It is asked as everybody asks it: who answers has run [`INIT`] before.
    fn answers(&self, home: &Home) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let (Ok(runtime), Ok(directory)) = (runtime, home.socket_directory(MAX_SOCKET_DIRECTORY))
        else {
            return false;
        };
        runtime.block_on(async {
            let connected = tokio::time::timeout(ANSWER, connect(&url(&directory))).await;
            matches!(connected, Ok(Ok(_)))
        })
    }

    /// A shutdown that writes all pages.
    fn stop_signal(&self) -> Signal {
        Signal::SIGTERM
    }
}

fn option(command: &mut Command, name: &str, path: &std::path::Path) {
    let mut argument = std::ffi::OsString::from(format!("--{name}="));
    argument.push(path);
    command.arg(argument);
}

/// The database is there in every server.
fn url(directory: &std::path::Path) -> String {
    let socket = directory.join("socket").display().to_string();
    let socket = socket.replace('%', "%25").replace('&', "%26");
    format!("mysql://turnkey@localhost/mysql?socket={socket}")
}

/// Servers' programs are where only root looks for them.
fn find(name: &str) -> crate::error::Result<PathBuf> {
    let directories = ["/usr/sbin", "/usr/libexec", "/usr/local/sbin"].map(PathBuf::from);
    program(&directories, name).ok_or_else(|| {
        Error::Start(format!(
            "--start-servers: the MySQL program {name} is not installed; install the package mariadb-server, or name a server with --mysql"
        ))
    })
}
