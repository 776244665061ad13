//! Processor time, from proc(5).
//!
//! Called by `run.rs` at both ends of the window. Times are ticks of 10 ms, so short
//! windows give rough figures. What cannot be read (another user's process, no such
//! file) is none, never 0.

use std::fs;

/// Ticks a second of proc(5)'s times: USER_HZ, which is 100 on every Linux.
const TICKS: f64 = 100.0;

/// What processes have used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Processor seconds, user and kernel.
    pub(crate) cpu: f64,
}

struct Stat {
    parent: u32,
    own: u64,
    /// Of children that ended and were waited for.
    children: u64,
}

/// The fields behind the name, which is in parentheses and may hold anything.
fn stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: number(1)? as u32,
        own: number(11)? + number(12)?,
        children: number(13)? + number(14)?,
    })
}

fn stat_of(pid: u32) -> Option<Stat> {
    stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether a process lives and its name starts so.
pub(crate) fn is_named(pid: u32, name: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with(name))
}

/// The parent of a process that lives, if its name starts so.
pub(crate) fn parent_of(pid: u32, name: &str) -> Option<u32> {
    is_named(pid, name)
        .then(|| stat_of(pid))?
        .map(|stat| stat.parent)
}

/// A process and all below it.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return vec![root];
    };
    let parents: Vec<(u32, u32)> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat_of(pid)?.parent)))
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(_, p)| *p == pid)
                .map(|(child, _)| *child),
        );
        next += 1;
    }
    found
}

/// The sum over processes. With `ended`, also what the first one's children had used
/// that have ended: a server's.
pub(crate) fn usage(pids: &[u32], ended: bool) -> Usage {
    let mut ticks = 0;
    for (index, pid) in pids.iter().enumerate() {
        let Some(stat) = stat_of(*pid) else {
            continue; // It ended: its parent has its time.
        };
        ticks += stat.own;
        if ended && index == 0 {
            ticks += stat.children;
        }
    }
    Usage {
        cpu: ticks as f64 / TICKS,
    }
}

/// Processor seconds of the whole machine: all, and those not idle.
pub(crate) fn machine_time() -> Option<(f64, f64)> {
    machine_line(&fs::read_to_string("/proc/stat").ok()?)
}

fn machine_line(text: &str) -> Option<(f64, f64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    // user nice system idle iowait irq softirq steal; guests are in the first two.
    let fields: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    let all: u64 = fields.iter().sum();
    let idle = fields.get(3)? + fields.get(4)?;
    Some((all as f64 / TICKS, (all - idle) as f64 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_skipped() {
        let text = "17 (a b) c) S 3 1 1 0 -1 4 0 0 0 0 70 30 5 2 20 0 1 0 9 9 9";
        let stat = stat(text).unwrap();
        assert_eq!((stat.parent, stat.own, stat.children), (3, 100, 7));
        assert!(super::stat("nonsense").is_none());
    }

    #[test]
    fn the_machines_time() {
        let (all, busy) = machine_line("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1").unwrap();
        assert_eq!((all, busy), (10.0, 2.0));
    }

    #[test]
    fn this_process_is_in_its_own_tree_and_uses_time() {
        let pid = std::process::id();
        assert!(tree(pid).contains(&pid));
        let begun = std::time::Instant::now();
        while begun.elapsed().as_millis() < 60 {
            std::hint::black_box(0);
        }
        assert!(usage(&[pid], false).cpu > 0.0);
        assert!(machine_time().is_some());
    }
}
