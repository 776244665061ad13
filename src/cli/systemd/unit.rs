//! The text of a service unit, and of its socket unit.
//!
//! Its reader has to trust it, so a comment explains each line that is not obvious. It uses
//! only what systemd 247 (Debian 11) knows. Values from outside are quoted.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::config::{Listen, Outline};

/// What a stop may take beyond `--grace`: the writer copies its log and leaves.
const BEYOND_GRACE: Duration = Duration::from_secs(10);

/// Below it a port needs a right of its own.
const FIRST_FREE_PORT: u16 = 1024;

/// Who runs JavaScript cannot live with a restriction that is good for all others.
const COMPILES: &str = "\
# No other personality, namespace or priority. Not MemoryDenyWriteExecute=yes: the handler
# may make code at run time, as Node.js does.
";
const COMPILES_NOT: &str = "\
# No code that is made at run time; no other personality, namespace or priority.
MemoryDenyWriteExecute=yes
";

/// What the texts are made of.
pub(in crate::cli) struct Unit<'a> {
    pub(in crate::cli) name: &'a str,
    pub(in crate::cli) user: Option<&'a str>,
    pub(in crate::cli) program: &'a Path,
    pub(in crate::cli) arguments: &'a [String],
    pub(in crate::cli) outline: &'a Outline,
}

impl Unit<'_> {
    /// The `.service`.
    pub(in crate::cli) fn service(&self) -> anyhow::Result<String> {
        let Unit { name, outline, .. } = self;
        let program = self
            .program
            .to_str()
            .context("the program's path is not UTF-8")?;
        let mut command = quoted(program, false);
        let stopping = command.clone();
        for argument in std::iter::once("run").chain(self.arguments.iter().map(String::as_str)) {
            command.push(' ');
            command.push_str(&quoted(argument, true));
        }
        let stop = (outline.grace + BEYOND_GRACE).as_secs_f64().ceil();
        let storage = match outline.has_storage {
            true => "",
            false => {
                "# Another database: TURNKEY_STORAGE=... in the file below, which wins. With\n# TURNKEY_STORAGE_FILE or LoadCredential=storage:... take this line out.\nEnvironment=TURNKEY_STORAGE=sqlite:bot.db\n"
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
# However often: it may wait for a database server.
StartLimitIntervalSec=0

[Service]
# It says when it serves, and what it is doing: `systemctl status {name}`.
Type=notify
NotifyAccess=main
ExecStart={command}
# New settings and workers without a gap. With systemd 253 or newer Type=notify-reload,
# without this line, makes `systemctl reload` wait until they are in force.
ExecReload=kill -HUP $MAINPID
# It waits for the end: after an upgrade the main process is no child of systemd's, which
# would not wait for it, and kill the others at once.
ExecStop=-{stopping} stop --pid $MAINPID

# Restarted when the master gives no sign of life for this long.
WatchdogSec=30
Restart=on-failure
RestartSec=1
# Bad settings do not get better by themselves. What is only not there yet ends with 75.
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
{made_code}LockPersonality=yes
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
            made_code = match outline.compiles {
                true => COMPILES,
                false => COMPILES_NOT,
            },
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
    pub(in crate::cli) fn socket(&self) -> anyhow::Result<String> {
        let name = self.name;
        let Some(listen) = &self.outline.listen else {
            bail!(
                "with --updater polling nothing listens unless other systems call it; leave out --socket, or give --port and set TURNKEY_RPC_TOKEN"
            );
        };
        let mut text = format!(
            "\
# {name}.socket, as printed by `systemd --socket`. systemd listens and hands the sockets to
# {name}.service, whose own --host, --port and --listen are not used then: connections wait
# while it is restarted, and nobody is refused.
#   sudo systemctl daemon-reload && sudo systemctl stop {name}
#   sudo systemctl enable --now {name}.socket && sudo systemctl start {name}

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
            "a socket unit needs the whole path, such as unix:/run/bot.sock, not unix:{}",
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
}
