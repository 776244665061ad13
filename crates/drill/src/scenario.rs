//! What is done to a server in the middle of its load, and what is expected of it then.
//!
//! Plain data, with the names that the command line uses.

use std::fmt;
use std::str::FromStr;

use nix::sys::signal::Signal;

use super::known::{Known, short};
use turnkey_report::Error;

/// What is done to the server while it is under load.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scenario {
    /// Ctrl-C at the terminal: SIGINT to the whole foreground group, by the kernel.
    CtrlC,
    /// Ctrl-C, and again after [`gap`](crate::Drill::gap).
    DoubleCtrlC,
    /// SIGTERM to the first process, as `kill` and most init systems do.
    Term,
    /// The signal that a known server calls graceful (nginx: SIGQUIT), to the first process;
    /// SIGTERM for the others.
    Graceful,
    /// SIGTERM to the whole group, as systemd's `KillMode=control-group` does.
    TermGroup,
    /// SIGKILL to one worker.
    KillWorker,
    /// SIGKILL to the first process.
    KillMaster,
    /// SIGSTOP to one worker: it hangs.
    StopWorker,
    /// SIGHUP to the first process: a reload, for those that know one.
    Hup,
    /// SIGUSR2 to the first process: an upgrade or a restart, for those that know one.
    Usr2,
    /// Runs a command of the user's, such as a rolling restart; the service should go on.
    Do(String),
    /// Any other signal.
    Signal {
        /// Its name, with or without `SIG`.
        name: String,
        /// Who gets it.
        to: To,
        /// Whether the server should stop because of it.
        stops: bool,
    },
}

/// Who gets a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum To {
    /// The process that was started.
    Master,
    /// Every process of its group.
    Group,
    /// One that holds connections and is not the master.
    Worker,
}

/// What is done, in the system's terms.
pub(super) enum Act {
    /// A key at the terminal.
    CtrlC,
    Send(Signal, To),
    /// A command line.
    Do(String),
}

/// Letters of a command in the name of its scenario.
const SHOWN: usize = 32;

const NAMED: [(&str, Scenario); 10] = [
    ("ctrl-c", Scenario::CtrlC),
    ("double-ctrl-c", Scenario::DoubleCtrlC),
    ("term", Scenario::Term),
    ("graceful", Scenario::Graceful),
    ("term-group", Scenario::TermGroup),
    ("kill-worker", Scenario::KillWorker),
    ("kill-master", Scenario::KillMaster),
    ("stop-worker", Scenario::StopWorker),
    ("hup", Scenario::Hup),
    ("usr2", Scenario::Usr2),
];

impl Scenario {
    /// The names of those that have one.
    pub fn names() -> String {
        NAMED.map(|(name, _)| name).join(", ")
    }

    /// # Errors
    /// [`Error::Start`] when there is no such signal.
    pub(super) fn act(&self) -> turnkey_report::Result<Act> {
        Ok(match self {
            Scenario::CtrlC | Scenario::DoubleCtrlC => Act::CtrlC,
            Scenario::Term | Scenario::Graceful => Act::Send(Signal::SIGTERM, To::Master),
            Scenario::TermGroup => Act::Send(Signal::SIGTERM, To::Group),
            Scenario::KillWorker => Act::Send(Signal::SIGKILL, To::Worker),
            Scenario::KillMaster => Act::Send(Signal::SIGKILL, To::Master),
            Scenario::StopWorker => Act::Send(Signal::SIGSTOP, To::Worker),
            Scenario::Hup => Act::Send(Signal::SIGHUP, To::Master),
            Scenario::Usr2 => Act::Send(Signal::SIGUSR2, To::Master),
            Scenario::Do(command) => Act::Do(command.clone()),
            Scenario::Signal { name, to, .. } => Act::Send(signal(name)?, *to),
        })
    }

    /// Whether the server should be gone afterwards; else it should go on.
    #[must_use]
    pub fn stops(&self) -> bool {
        match self {
            Scenario::CtrlC
            | Scenario::DoubleCtrlC
            | Scenario::Term
            | Scenario::Graceful
            | Scenario::TermGroup
            | Scenario::KillMaster => true,
            Scenario::KillWorker
            | Scenario::StopWorker
            | Scenario::Hup
            | Scenario::Usr2
            | Scenario::Do(_) => false,
            Scenario::Signal { stops, .. } => *stops,
        }
    }

    /// The signal that asks the server to stop, if this does.
    pub(super) fn asks_with(&self) -> Option<Signal> {
        match self {
            Scenario::CtrlC | Scenario::DoubleCtrlC => Some(Signal::SIGINT),
            Scenario::Term | Scenario::TermGroup | Scenario::Graceful => Some(Signal::SIGTERM),
            Scenario::Signal {
                name, stops: true, ..
            } => signal(name).ok(),
            _ => None,
        }
    }

    /// With the signal of this server, where the scenario leaves it open.
    pub(super) fn for_server(self, known: Option<&Known>) -> Self {
        match (self, known.map(Known::graceful)) {
            (Scenario::Graceful, None | Some(Signal::SIGTERM)) => Scenario::Term,
            (Scenario::Graceful, Some(signal)) => Scenario::Signal {
                name: short(signal).to_owned(),
                to: To::Master,
                stops: true,
            },
            (other, _) => other,
        }
    }

    /// Whether one worker is hit, and what it held cannot be saved.
    pub(super) fn hits_a_worker(&self) -> bool {
        matches!(
            self,
            Scenario::KillWorker | Scenario::StopWorker | Scenario::Signal { to: To::Worker, .. }
        )
    }

    /// Whether it is a command of the user's, after which other processes may serve.
    pub(super) fn is_done_by_command(&self) -> bool {
        matches!(self, Scenario::Do(_))
    }

    /// Whether another process must take the place of the one that was hit.
    pub(super) fn needs_a_successor(&self) -> bool {
        matches!(self, Scenario::KillWorker | Scenario::StopWorker)
    }
}

/// A signal by name. `stops` is what is usual for it.
pub fn named_signal(name: &str, to: To) -> turnkey_report::Result<Scenario> {
    let signal = signal(name)?;
    let stops = to != To::Worker
        && matches!(
            signal,
            Signal::SIGINT | Signal::SIGTERM | Signal::SIGQUIT | Signal::SIGKILL | Signal::SIGABRT
        );
    Ok(Scenario::Signal {
        name: short(signal).to_owned(),
        to,
        stops,
    })
}

fn signal(name: &str) -> turnkey_report::Result<Signal> {
    let upper = name.to_ascii_uppercase();
    let full = match upper.starts_with("SIG") {
        true => upper,
        false => format!("SIG{upper}"),
    };
    Signal::from_str(&full).map_err(|_| {
        Error::Start(format!(
            "there is no signal {name:?}; signals are named as kill -l shows them, such as TERM"
        ))
    })
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        NAMED
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, scenario)| scenario)
            .ok_or_else(|| format!("known are {}", Self::names()))
    }
}

impl FromStr for To {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "master" => Ok(To::Master),
            "group" => Ok(To::Group),
            "worker" => Ok(To::Worker),
            _ => Err("known are master, group, worker".to_owned()),
        }
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            To::Master => "master",
            To::Group => "group",
            To::Worker => "worker",
        })
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scenario::Signal { name, to, .. } => write!(f, "{} to {to}", name.to_lowercase()),
            Scenario::Do(command) => match command.char_indices().nth(SHOWN) {
                None => write!(f, "do {command}"),
                Some((end, _)) => write!(f, "do {} …", &command[..end]),
            },
            other => match NAMED.iter().find(|(_, scenario)| scenario == other) {
                Some((name, _)) => f.write_str(name),
                None => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for (name, scenario) in NAMED {
            assert_eq!(name.parse::<Scenario>().as_ref(), Ok(&scenario));
            assert_eq!(scenario.to_string(), name);
        }
        assert!("ctrl-d".parse::<Scenario>().unwrap_err().contains("usr2"));
    }

    #[test]
    fn graceful_is_what_the_server_calls_so() {
        let of = |program| Scenario::Graceful.for_server(Known::of([program]));
        assert_eq!(of("nginx").to_string(), "quit to master");
        assert!(of("nginx").stops());
        assert_eq!(of("gunicorn"), Scenario::Term);
        assert_eq!(of("unheard-of"), Scenario::Term);
        assert_eq!(
            Scenario::Hup.for_server(Known::of(["nginx"])),
            Scenario::Hup
        );
    }

    #[test]
    fn signals_by_name() {
        let quit = named_signal("sigquit", To::Group).unwrap();
        assert_eq!(quit.to_string(), "quit to group");
        assert!(quit.stops());
        assert!(!named_signal("winch", To::Master).unwrap().stops());
        assert!(!named_signal("TERM", To::Worker).unwrap().stops());
        assert!(named_signal("FOO", To::Master).is_err());
    }
}
