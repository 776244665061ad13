//! What the machine is: processor, memory, kernel, file system.
//!
//! Read once at the start; printed, and kept beside the numbers.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The machine of a measurement.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Its name, as the kernel has it.
    pub processor: String,
    /// That this program may use.
    pub processors: usize,
    /// All of it, used or not.
    pub memory_bytes: u64,
    /// Its name and version.
    pub kernel: String,
}

impl Machine {
    /// The one that this runs on.
    pub fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Machine {
            processor: value(&cpuinfo, "model name")
                .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: value(&meminfo, "MemTotal")
                .and_then(|text| text.strip_suffix(" kB")?.parse::<u64>().ok())
                .map_or(0, |kib| kib * 1024),
            kernel: format!("Linux {}", kernel.trim()),
        }
    }
}

/// The value of `key : value`.
fn value(text: &str, key: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().to_owned())
}

/// The file system that holds a directory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FileSystem {
    /// Such as `ext4`.
    pub kind: String,
    /// What is mounted there.
    pub device: String,
    /// How it is mounted: those of the mount, then those of the file system.
    #[serde(default)]
    pub options: String,
}

impl FileSystem {
    /// The one that holds a directory.
    pub fn of(directory: &Path) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let real = directory
            .canonicalize()
            .unwrap_or_else(|_| directory.to_owned());
        mount_of(&mounts, &real).unwrap_or_default()
    }

    /// In memory: a sync there costs nothing.
    pub fn is_memory(&self) -> bool {
        matches!(self.kind.as_str(), "tmpfs" | "ramfs")
    }
}

/// The last mount on the longest prefix of a path.
fn mount_of(mounts: &str, path: &Path) -> Option<FileSystem> {
    mounts
        .lines()
        .filter_map(|line| {
            let (front, back) = line.split_once(" - ")?;
            // Spaces and backslashes are written in octal (proc(5)).
            let mut front = front.split(' ').skip(4);
            let point = front.next()?.replace("\\040", " ");
            let of_mount = front.next()?;
            let mut back = back.split(' ');
            let kind = back.next()?.to_owned();
            let device = back.next()?.to_owned();
            let options = format!("{of_mount}; {}", back.next().unwrap_or_default());
            let found = FileSystem {
                kind,
                device,
                options,
            };
            path.starts_with(&point).then_some((point.len(), found))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, found)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_wins() {
        let mounts = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:30 / /tmp rw - tmpfs tmpfs rw
24 22 0:31 / /tmp/my\\040disk rw master:2 - xfs /dev/vdb rw
";
        let kind = |path: &str| mount_of(mounts, Path::new(path)).unwrap().kind;
        assert_eq!(kind("/home/ann"), "ext4");
        assert_eq!(kind("/tmp/x"), "tmpfs");
        assert_eq!(kind("/tmp/my disk/x"), "xfs");
        assert_eq!(kind("/tmpfoo"), "ext4");
        let root = mount_of(mounts, Path::new("/home")).unwrap();
        assert_eq!(root.options, "rw,relatime; rw");
    }

    #[test]
    fn this_machine_is_known() {
        let machine = Machine::this();
        assert!(machine.processors > 0 && machine.memory_bytes > 1 << 20);
        assert!(machine.kernel.len() > "Linux ".len());
        assert!(!FileSystem::of(Path::new("/")).kind.is_empty());
    }
}
