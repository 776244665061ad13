//! `systemd`: prints the unit that runs this bot, with the restrictions it can live with.
//!
//! A unit is a text that its reader has to trust, so each line that is not obvious says
//! what it is for. It keeps to what systemd 247 (Debian 11) knows.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::run;
use crate::config::{Listen, Outline};
use crate::exit;
use crate::notices::say;

/// What a stop may take beyond `--grace`: the writer copies its log and leaves.
const BEYOND_GRACE: Duration = Duration::from_secs(10);

/// Below it a port needs a right of its own.
const FIRST_FREE_PORT: u16 = 1024;

/// Places that `ProtectHome=` and `PrivateTmp=` hide from the service.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

#[derive(Args)]
#[command(after_help = "\
Arguments after -- are those of `run`; relative paths in them are below /var/lib/NAME,
which belongs to the bot. Without --storage it is sqlite:bot.db there. Secrets stand in
/etc/NAME.env, a line each (TURNKEY_TELEGRAM_TOKEN=…), which only root has to be able to
read.

Install it:
  sudo install -m 755 bot /usr/local/bin/bot
  bot systemd --program /usr/local/bin/bot -- --workers 2 | sudo tee /etc/systemd/system/bot.service
  sudo systemctl daemon-reload && sudo systemctl enable --now bot

With a socket unit too, connections wait while the bot is restarted:
  bot systemd --socket -- --listen 0.0.0.0:80 | sudo tee /etc/systemd/system/bot.socket

Look at what it may still do: systemd-analyze security bot")]
pub(super) struct Systemd {
    /// The unit's name, without .service [default: the program's].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Run as this user, who must exist [default: one that exists only while the bot runs].
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    /// Where the program will be installed [default: where it is].
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Print the unit of the listening sockets instead: NAME.socket.
    #[arg(long)]
    socket: bool,

    /// Arguments of `run`.
    #[arg(last = true, value_name = "RUN ARGUMENTS")]
    run: Vec<String>,
}

impl Systemd {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let program = match self.program {
            Some(path) => path,
            None => std::env::current_exe().context("cannot tell where this program is")?,
        };
        if !program.is_absolute() {
            bail!(
                "--program takes a whole path such as /usr/local/bin/bot, not {}",
                program.display()
            );
        }
        let name = match self.name {
            Some(name) => name,
            None => file_name(&program).to_owned(),
        };
        check_name("--name", &name)?;
        if let Some(user) = &self.user {
            check_name("--user", user)?;
        }
        let outline = run::outline(&self.run)?;
        let unit = Unit {
            name: &name,
            user: self.user.as_deref(),
            program: &program,
            arguments: &self.run,
            outline: &outline,
        };
        if self.socket {
            print!("{}", unit.socket()?);
        } else {
            print!("{}", unit.service()?);
            if let Some(place) = HIDDEN.iter().find(|place| program.starts_with(place)) {
                say!(
                    "warning: the unit cannot see {}: {place} is hidden from it. Copy the program to /usr/local/bin and say so: --program /usr/local/bin/{}",
                    program.display(),
                    file_name(&program)
                );
            }
        }
        Ok(ExitCode::from(exit::CLEAN))
    }
}

fn file_name(path: &Path) -> &str {
    let name = path.file_name().and_then(|name| name.to_str());
    name.unwrap_or_default()
}

/// Names that need no quoting anywhere: in units, in paths and as users.
fn check_name(flag: &str, name: &str) -> anyhow::Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let fits = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.len() <= 31;
    if !(fits && name.chars().all(is_plain)) {
        bail!(
            "{flag} takes up to 31 letters, digits, - and _, a letter first, not {name:?}; give another with {flag}"
        );
    }
    Ok(())
}

/// What the texts are made of.
pub(super) struct Unit<'a> {
    pub(super) name: &'a str,
    pub(super) user: Option<&'a str>,
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [String],
    pub(super) outline: &'a Outline,
}

impl Unit<'_> {
    /// The `.service`.
    pub(super) fn service(&self) -> anyhow::Result<String> {
        let Unit { name, outline, .. } = self;
        let program = self
            .program
            .to_str()
            .context("the program's path is not UTF-8")?;
        let mut command = quoted(program, false);
        for argument in std::iter::once("run").chain(self.arguments.iter().map(String::as_str)) {
            command.push(' ');
            command.push_str(&quoted(argument, true));
        }
        let stop = (outline.grace + BEYOND_GRACE).as_secs_f64().ceil();
        let storage = match outline.has_storage {
            true => "",
            false => {
                "# Another database: a line in the file below, which wins.\nEnvironment=TURNKEY_STORAGE=sqlite:bot.db\n"
            }
        };
        let user = match self.user {
            Some(user) => format!("User={user}\n"),
            None => "# A user that exists only while the bot runs.\nDynamicUser=yes\n".to_owned(),
        };
        Ok(format!(
            "\
# {name}.service, as printed by `{program} systemd`.
# Secrets: /etc/{name}.env, mode 600; lines such as TURNKEY_TELEGRAM_TOKEN=12345:ABC.

[Unit]
Description={name}, a bot
Wants=network-online.target
After=network-online.target

[Service]
# It says when it serves, and what it is doing: `systemctl status {name}`.
Type=notify
NotifyAccess=main
ExecStart={command}
# New settings and workers without a gap. With systemd 253 or newer Type=notify-reload,
# without this line, makes `systemctl reload` wait until they are in force.
ExecReload=kill -HUP $MAINPID

# Restarted when the master gives no sign of life for this long.
WatchdogSec=30
Restart=on-failure
RestartSec=1
# Bad settings do not get better by themselves.
RestartPreventExitStatus=2
# Only the master is told to stop. It tells the others; turns in flight may take --grace.
KillMode=mixed
TimeoutStopSec={stop}
# Connections: two files each at most.
LimitNOFILE=65536

{user}# /var/lib/{name}, for the bot alone. Relative paths begin there.
StateDirectory={name}
StateDirectoryMode=0700
WorkingDirectory=%S/{name}
UMask=0077
{storage}EnvironmentFile=-/etc/{name}.env
# A file that only root can read, as a copy for the bot (a reload keeps the copy); then
# --config ${{CREDENTIALS_DIRECTORY}}/{name}.toml in ExecStart. A certificate's key likewise.
#LoadCredential={name}.toml:/etc/{name}.toml
{directories}
# What it cannot do, should somebody take it over.
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
NoNewPrivileges=yes
{capabilities}RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
# A call that is not among these fails, and does not kill the bot.
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
SystemCallArchitectures=native
# No code that is made at run time; no other personality, namespace or priority.
MemoryDenyWriteExecute=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
# Other users' processes are hidden. Not ProcSubset=pid: the log tells from /proc/vmstat
# that the kernel killed a worker for lack of memory.
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes

[Install]
WantedBy=multi-user.target
",
            directories = self.directories(),
            capabilities = self.capabilities(),
        ))
    }

    /// Directories of its own beyond the one that it begins in.
    fn directories(&self) -> String {
        let mut text = String::new();
        let (state, runtime) = (
            Path::new("/var/lib").join(self.name),
            Path::new("/run").join(self.name),
        );
        for path in &self.outline.writes {
            let line = if *path == runtime {
                format!(
                    "# For sockets, made at each start.\nRuntimeDirectory={}\n",
                    self.name
                )
            } else if path.starts_with(&state) {
                continue;
            } else if path.starts_with("/tmp") || path.starts_with("/var/tmp") {
                format!(
                    "# {} is in a directory that only this bot sees (PrivateTmp=).\n",
                    path.display()
                )
            } else {
                format!(
                    "# It must be there, and the bot's user must be allowed to write to it.\nReadWritePaths={}\n",
                    quoted(&path.to_string_lossy(), false)
                )
            };
            text.push_str(&line);
        }
        text
    }

    /// Rights of root's. A namespace of users is for who needs none: a right that is held
    /// in there counts for nothing outside.
    fn capabilities(&self) -> String {
        let listens = [&self.outline.listen, &self.outline.admin];
        let low = listens
            .into_iter()
            .flatten()
            .find_map(|listen| match listen {
                Listen::Tcp { port, .. } if (1..FIRST_FREE_PORT).contains(port) => Some(port),
                _ => None,
            });
        match low {
            Some(port) => format!(
                "# Port {port} is below {FIRST_FREE_PORT}. With a .socket unit it needs no right: make both empty.\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n"
            ),
            None => "CapabilityBoundingSet=\nPrivateUsers=yes\n".to_owned(),
        }
    }

    /// The `.socket`.
    pub(super) fn socket(&self) -> anyhow::Result<String> {
        let name = self.name;
        let Some(listen) = &self.outline.listen else {
            bail!("with --updater polling nothing listens; leave out --socket");
        };
        let mut text = format!(
            "\
# {name}.socket, as printed by `systemd --socket`. systemd listens and hands the sockets to
# {name}.service, whose own --host, --port and --listen are not used then: connections wait
# while it is restarted, and nobody is refused.
#   sudo systemctl daemon-reload && sudo systemctl enable --now {name}.socket

[Unit]
Description=Sockets of {name}, a bot

[Socket]
"
        );
        for address in addresses(listen)? {
            writeln!(text, "ListenStream={address}")?;
        }
        // 0.0.0.0 and :: are two sockets, as the program itself has it.
        text.push_str("BindIPv6Only=ipv6-only\n");
        text.push_str(
            "# Connections that wait for a worker; net.core.somaxconn is the kernel's own limit.\nBacklog=4096\n",
        );
        text.push_str("\n[Install]\nWantedBy=sockets.target\n");
        Ok(text)
    }
}

/// Where systemd shall listen: it takes addresses, no names.
fn addresses(listen: &Listen) -> anyhow::Result<Vec<String>> {
    let (host, port) = match listen {
        Listen::Unix(path) if path.is_absolute() => {
            return Ok(vec![path.to_string_lossy().replace('%', "%%")]);
        }
        Listen::Unix(path) => bail!(
            "a socket unit needs the whole path, such as unix:/run/{}, not unix:{}",
            file_name(path),
            path.display()
        ),
        Listen::Tcp { port: 0, .. } => {
            bail!("a socket unit needs a port: --port 0 picks another at each start")
        }
        Listen::Tcp { host, port } => (host.as_str(), port),
    };
    if host == "localhost" {
        return Ok(vec![format!("127.0.0.1:{port}"), format!("[::1]:{port}")]);
    }
    match host.parse() {
        Ok(std::net::IpAddr::V4(address)) => Ok(vec![format!("{address}:{port}")]),
        Ok(std::net::IpAddr::V6(address)) => Ok(vec![format!("[{address}]:{port}")]),
        Err(_) => bail!(
            "a socket unit takes addresses, not names such as {host}; give --host 0.0.0.0 or an address of the machine"
        ),
    }
}

/// A word of a unit's line: systemd expands `%`, and in commands `$` too (systemd.service(5),
/// "Command lines").
fn quoted(word: &str, is_argument: bool) -> String {
    let mut text = String::with_capacity(word.len());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=,@+[]*%$".contains(c) || c > '~';
    let is_bare = !word.is_empty() && word.chars().all(is_plain);
    for c in word.chars() {
        match c {
            '%' => text.push_str("%%"),
            '$' if is_argument => text.push_str("$$"),
            '"' | '\\' => {
                text.push('\\');
                text.push(c);
            }
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            c => text.push(c),
        }
    }
    if is_bare { text } else { format!("\"{text}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_systemd_would_read_otherwise_are_quoted() {
        assert_eq!(quoted("sqlite:bot.db", true), "sqlite:bot.db");
        assert_eq!(quoted("a b", true), r#""a b""#);
        assert_eq!(quoted("", true), r#""""#);
        assert_eq!(quoted("50%$HOME", true), "50%%$$HOME");
        assert_eq!(quoted(r#"\"x;"#, true), r#""\\\"x;""#);
        assert_eq!(quoted("ä", true), "ä");
    }

    #[test]
    fn names_that_need_quotes_are_refused() {
        check_name("--name", "my-bot_2").unwrap();
        for wrong in ["", "2bot", "a b", "a/b", "a.service", "é", &"a".repeat(32)] {
            let error = check_name("--name", wrong).unwrap_err().to_string();
            assert!(error.contains("--name"), "{wrong}: {error}");
        }
    }
}
