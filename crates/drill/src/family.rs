//! The processes of a run: whoever is in the session that was made for it, or carries its
//! mark in the environment; or a process that ran before and was named (`--attach`), with
//! its descendants. Nobody else is ever signalled, and only what was started here is killed.
//!
//! Read from proc(5). Used by the drill and by the stand-in shell.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// The environment variable that marks every process of a run.
pub(super) const MARK: &str = "DRILL_MARK";

/// For killed processes to vanish.
const VANISH: Duration = Duration::from_secs(5);

/// A process that lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// What it calls itself, or its command line.
    pub name: String,
    #[serde(skip)]
    pub(super) parent: i32,
    /// Ticks after the machine's start: tells it from a later one of the same number.
    #[serde(skip)]
    pub(super) began: u64,
}

struct Stat {
    state: char,
    parent: i32,
    session: i32,
    began: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat_of(&text)
}

/// Whether each thread of a process is stopped or gone.
fn stands_still(pid: i32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    let is_still = |entry: std::io::Result<fs::DirEntry>| {
        let text = entry.and_then(|entry| fs::read_to_string(entry.path().join("stat")));
        let state = text.ok().and_then(|text| stat_of(&text)).map(|s| s.state);
        state.is_none_or(|state| matches!(state, 'T' | 't' | 'Z' | 'X'))
    };
    threads.into_iter().all(is_still)
}

/// The name is in parentheses and may hold anything.
fn stat_of(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        began: fields.get(19)?.parse().ok()?,
    })
}

/// The processes of one run.
pub(super) struct Family {
    bond: Bond,
}

/// What makes a process a member.
enum Bond {
    /// Nobody is one.
    None,
    Started {
        /// The stand-in shell, which leads the session and is no member.
        session: i32,
        mark: String,
        /// Whether processes of other sessions carry the mark; it never changes.
        marked: HashMap<(i32, u64), bool>,
    },
    /// Members that have been seen: one whose parent is gone stays a member.
    Attached(HashSet<(i32, u64)>),
}

impl Family {
    pub(super) fn new(session: i32, mark: String) -> Self {
        Family {
            bond: Bond::Started {
                session,
                mark,
                marked: HashMap::new(),
            },
        }
    }

    /// Without members.
    pub(super) fn none() -> Self {
        Family { bond: Bond::None }
    }

    /// A process that runs, and its descendants; none if there is no such process.
    pub(super) fn attached(pid: i32) -> Option<Self> {
        let stat = stat(pid)?;
        Some(Family {
            bond: Bond::Attached(HashSet::from([(pid, stat.began)])),
        })
    }

    /// Those that live; zombies do not.
    pub(super) fn members(&mut self) -> Vec<Process> {
        if matches!(self.bond, Bond::None) {
            return Vec::new();
        }
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut alive: Vec<(i32, Stat)> = pids
            .filter_map(|pid| Some((pid, stat(pid)?)))
            .filter(|(_, stat)| !matches!(stat.state, 'Z' | 'X'))
            .collect();
        alive.sort_by_key(|(pid, _)| *pid);
        self.adopt(&alive);
        alive
            .iter()
            .filter(|(pid, stat)| self.is_member(*pid, stat))
            .map(|(pid, stat)| Process::of(*pid, stat))
            .collect()
    }

    /// Takes in the children of those that are attached.
    fn adopt(&mut self, alive: &[(i32, Stat)]) {
        let Bond::Attached(seen) = &mut self.bond else {
            return;
        };
        loop {
            let living: HashSet<i32> = alive
                .iter()
                .filter(|(pid, stat)| seen.contains(&(*pid, stat.began)))
                .map(|(pid, _)| *pid)
                .collect();
            let before = seen.len();
            let children = alive
                .iter()
                .filter(|(_, stat)| living.contains(&stat.parent));
            seen.extend(children.map(|(pid, stat)| (*pid, stat.began)));
            if seen.len() == before {
                return;
            }
        }
    }

    fn is_member(&mut self, pid: i32, stat: &Stat) -> bool {
        let own = std::process::id() as i32;
        match &mut self.bond {
            Bond::None => false,
            Bond::Attached(seen) => seen.contains(&(pid, stat.began)),
            Bond::Started { session, .. } if pid == *session || pid == own => false,
            Bond::Started {
                session,
                mark,
                marked,
            } => {
                stat.session == *session
                    || (!mark.is_empty() && is_marked(marked, mark, pid, stat.began))
            }
        }
    }

    fn member(&mut self, pid: i32) -> Option<Process> {
        let stat = stat(pid)?;
        let is_alive = !matches!(stat.state, 'Z' | 'X');
        (is_alive && self.is_member(pid, &stat)).then(|| Process::of(pid, &stat))
    }

    /// Whether this process is a member and lives.
    pub(super) fn has(&mut self, pid: i32) -> bool {
        self.member(pid).is_some()
    }

    /// Sends a signal to a member, after another look whether it is one; whether it was.
    pub(super) fn signal(&mut self, process: &Process, signal: Signal) -> bool {
        let still = self
            .member(process.pid)
            .is_some_and(|found| found.began == process.began);
        still && kill(Pid::from_raw(process.pid), signal).is_ok()
    }

    /// Stops a process and waits until it stands still: a signal is under way for a moment,
    /// in which it goes on. False if it is none of ours.
    pub(super) fn freeze(&mut self, process: &Process) -> bool {
        if !self.signal(process, Signal::SIGSTOP) {
            return false;
        }
        let deadline = Instant::now() + VANISH;
        while !stands_still(process.pid) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(200));
        }
        true
    }

    /// Kills all that were started here, and those that they start meanwhile; whether all
    /// are gone.
    pub(super) fn kill(&mut self) -> bool {
        matches!(self.bond, Bond::Attached(_) | Bond::None) || self.kill_all()
    }

    /// The same for those of others, too: what a container does to those that stay too long.
    pub(super) fn kill_all(&mut self) -> bool {
        let deadline = Instant::now() + VANISH;
        loop {
            let members = self.members();
            if members.is_empty() {
                return true;
            }
            for process in &members {
                self.signal(process, Signal::SIGKILL);
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Process {
    fn of(pid: i32, stat: &Stat) -> Self {
        Process {
            pid,
            name: name(pid),
            parent: stat.parent,
            began: stat.began,
        }
    }
}

/// A process forks with its parent's environment, so this is settled at once.
fn is_marked(marked: &mut HashMap<(i32, u64), bool>, mark: &str, pid: i32, began: u64) -> bool {
    *marked.entry((pid, began)).or_insert_with(|| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let wanted = format!("{MARK}={mark}");
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == wanted.as_bytes())
    })
}

/// What a process calls itself; empty if there is none.
pub(super) fn name(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let line: String = line.trim().chars().take(120).collect();
    match line.is_empty() {
        false => line,
        true => fs::read_to_string(format!("/proc/{pid}/comm"))
            .unwrap_or_default()
            .trim()
            .to_owned(),
    }
}

/// The inodes of a process's sockets; none of a process that may not be looked into.
pub(super) fn sockets(pid: i32) -> HashSet<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return HashSet::new();
    };
    let inode = |entry: std::io::Result<fs::DirEntry>| {
        let target = fs::read_link(entry.ok()?.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?;
        inode.strip_suffix(']')?.parse().ok()
    };
    entries.filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_stat() {
        let text = "17 (a b) c) S 3 17 9 0 -1 4 0 0 0 0 70 30 5 2 20 0 1 0 4242 9 9";
        let stat = stat_of(text).unwrap();
        assert_eq!(
            (stat.state, stat.parent, stat.session, stat.began),
            ('S', 3, 9, 4242)
        );
    }

    #[test]
    fn strangers_are_no_members_and_are_not_signalled() {
        let mut family = Family::new(i32::MAX, "nobody has this mark".to_owned());
        assert_eq!(family.members(), []);
        let mut stranger = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let process = Process {
            pid: stranger.id() as i32,
            name: String::new(),
            parent: 0,
            began: stat(stranger.id() as i32).unwrap().began,
        };
        assert!(!family.signal(&process, Signal::SIGKILL));
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn who_is_attached_has_its_children_and_is_not_killed_at_the_end() {
        let mut parent = std::process::Command::new("/bin/sh")
            .args(["-c", "sleep 60 & wait"])
            .spawn()
            .unwrap();
        let mut family = Family::attached(parent.id() as i32).unwrap();
        let deadline = Instant::now() + VANISH;
        while family.members().len() < 2 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(family.members().len(), 2);
        assert!(family.kill());
        assert_eq!(family.members().len(), 2, "it is not ours to kill");
        // Its child stays a member when it has gone.
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert_eq!(family.members().len(), 1);
        assert!(family.kill_all());
        assert!(Family::attached(i32::MAX).is_none());
    }
}
