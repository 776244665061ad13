//! What proc(5) tells of a bot's processes and sockets.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// What proc(5)'s stat says of a process.
pub(crate) struct Stat {
    pub(crate) state: char,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// Processor time, user and kernel, in ticks of 10 ms.
    pub(crate) ticks: u64,
}

pub(crate) fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold spaces.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        ticks: fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?,
    })
}

pub(crate) fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

pub(super) fn title(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The lines of the kernel's table of sockets on this local port, in fields.
pub(super) fn sockets_of_port(port: u16) -> Vec<Vec<String>> {
    let end = format!(":{port:04X}");
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        // Other tests leave thousands of lines here: a quick look first.
        for line in text.lines().filter(|line| line.contains(&end)) {
            let fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            if fields.get(1).is_some_and(|local| local.ends_with(&end)) {
                found.push(fields);
            }
        }
    }
    found
}

/// Bytes (and, on listeners, connections) that nobody has read yet.
pub(super) fn unread_bytes(port: u16) -> u64 {
    let unread = |fields: &Vec<String>| {
        let (_, receive) = fields.get(4)?.split_once(':')?;
        u64::from_str_radix(receive, 16).ok()
    };
    sockets_of_port(port).iter().filter_map(unread).sum()
}

/// The inodes of established connections to a port, on the server's side. A set:
/// the kernel's table may show a line twice while it changes.
pub(crate) fn established(port: u16) -> HashSet<String> {
    sockets_of_port(port)
        .into_iter()
        .filter(|fields| fields.get(3).is_some_and(|state| state == "01"))
        .filter_map(|fields| fields.get(9).cloned())
        .collect()
}

/// The inodes of a process's sockets.
pub(super) fn sockets(pid: i32) -> HashSet<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Default::default();
    };
    entries
        .filter_map(|entry| {
            let target = fs::read_link(entry.ok()?.path()).ok()?;
            let inode = target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect()
}

/// Memory of a process that is its own, or its share of what it shares, in KiB; without the
/// program file's pages, whose shares grow when other tests end that run the same program.
pub(crate) fn memory(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let of = |kind: &str| {
        let line = text.lines().find(|line| line.starts_with(kind));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
    };
    of("Pss_Anon:").unwrap_or(0) + of("Pss_Shmem:").unwrap_or(0)
}

/// Lets this process, and the bots it starts, open as many files as it may.
pub(crate) fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most.min(65536), most).expect("below the hard limit");
}

/// The command lines of those whose working directory is this one, or below it.
pub(crate) fn inhabitants(directory: &Path) -> Vec<String> {
    let directory = directory.canonicalize().expect("a directory");
    let found = fs::read_dir("/proc").expect("/proc").filter_map(|entry| {
        let path = entry.ok()?.path();
        let cwd = fs::read_link(path.join("cwd")).ok()?;
        let line = || fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        cwd.starts_with(&directory)
            .then(|| line().replace('\0', " "))
    });
    found.collect()
}
