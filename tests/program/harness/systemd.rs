//! systemd as process 1 of namespaces of its own: real units, whatever runs this machine.
//!
//! Files, processes and control groups are its own, the network is the machine's. Its units
//! are only those that it is given. When it is dropped, the kernel kills all that it has
//! started. It takes root and a mounted cgroup2; where it cannot run, that is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::programs::{Ended, SOON, finish, has, skipped};
use super::setup::Setup;

/// Becomes process 1: `$1` is systemd, `$2` the directory of its units and of its output, and
/// each further argument is a program, which it finds in /usr/local/bin.
const BOOT: &str = r#"
set -e
systemd=$1 home=$2
shift 2
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
cp "$home"/units/* /run/systemd/system/
mkdir /run/programs
for program; do
    touch "/run/programs/${program##*/}"
    mount --bind "$program" "/run/programs/${program##*/}"
done
mount --rbind /run/programs /usr/local/bin
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t proc proc /proc
# What it would set there is the machine's.
mount --bind /proc/sys /proc/sys
mount -o remount,ro,bind /proc/sys
exec env -i container=tests SYSTEMD_UNIT_PATH=/run/systemd/system \
    "$systemd" --system --unit=multi-user.target --log-target=console --show-status=no
"#;

/// What units are ordered after, and nothing else.
const TARGETS: [&str; 6] = [
    "sysinit",
    "basic",
    "sockets",
    "network-online",
    "shutdown",
    "multi-user",
];

/// Where all services write.
const SAID: &str = "/run/said";

/// It runs.
pub(crate) struct Systemd {
    setup: Setup,
    unshare: Child,
    /// Process 1, by its number outside.
    init: u32,
    cgroup: PathBuf,
}

/// Where control groups of version 2 are, and which of them is ours.
fn cgroup() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let root = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&"cgroup2"))?[1]
        .to_owned();
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(&root).join(own))
}

/// Whether it can run here, and where its program and a control group for it are.
fn place() -> Option<(&'static str, PathBuf)> {
    let missing = |what: &str| {
        skipped(&format!("systemd as process 1 of a namespace: {what}"));
        None
    };
    if !nix::unistd::geteuid().is_root() {
        return missing("takes root");
    }
    let places = ["/lib/systemd/systemd", "/usr/lib/systemd/systemd"];
    let Some(program) = places.into_iter().find(|path| Path::new(path).exists()) else {
        return missing("systemd is not installed");
    };
    if !["unshare", "nsenter", "systemctl"].into_iter().all(has) {
        return None;
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--mount", "--cgroup", "--ipc", "true"]);
    if finish(unshare, SOON).code != Some(0) {
        return missing("this machine lets nobody make namespaces");
    }
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("turnkey-test-{}-{number}", std::process::id());
    match cgroup().map(|parent| parent.join(name)) {
        Some(own) if fs::create_dir(&own).is_ok() => Some((program, own)),
        _ => missing("there are no control groups of version 2, or none can be made"),
    }
}

impl Systemd {
    /// Starts it with these programs and units, a name and a text each; none where it cannot run.
    pub(crate) fn boot(setup: &Setup, programs: &[&Path], units: &[(&str, &str)]) -> Option<Self> {
        let (program, cgroup) = place()?;
        let home = setup.path("systemd");
        fs::create_dir_all(home.join("units")).unwrap();
        let unit = |name: &str, text: &str| {
            fs::write(home.join("units").join(name), text).unwrap();
        };
        for target in TARGETS {
            let text = format!("[Unit]\nDescription={target}\nDefaultDependencies=no\n");
            unit(&format!("{target}.target"), &text);
        }
        for (name, text) in units {
            let said = match name.ends_with(".service") {
                true => format!(
                    "\n[Service]\nStandardOutput=append:{SAID}\nStandardError=append:{SAID}\n"
                ),
                false => String::new(),
            };
            unit(name, &format!("{text}{said}"));
        }
        let log = fs::File::create(home.join("log")).unwrap();
        let joined = "echo $$ >\"$0\"/cgroup.procs && exec unshare --pid --fork --kill-child --mount --cgroup --ipc sh -c \"$@\"";
        let mut shell = setup.command_of("sh");
        shell.args(["-c", joined]).arg(&cgroup);
        shell.args([BOOT, "sh", program]).arg(&home).args(programs);
        shell.stdout(log.try_clone().unwrap()).stderr(log);
        let mut systemd = Systemd {
            setup: setup.clone(),
            unshare: shell.stdin(Stdio::null()).spawn().unwrap(),
            init: 0,
            cgroup,
        };
        systemd.wait_for("process 1", |systemd| {
            let file = format!("/proc/{0}/task/{0}/children", systemd.unshare.id());
            let children = fs::read_to_string(file).unwrap_or_default();
            systemd.init = children.trim().parse().unwrap_or_default();
            let listens = format!("/proc/{}/root/run/systemd/private", systemd.init);
            systemd.init != 0 && Path::new(&listens).exists()
        });
        Some(systemd)
    }

    fn wait_for(&mut self, what: &str, mut happened: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + SOON;
        while !happened(self) {
            let log = fs::read_to_string(self.setup.path("systemd/log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "waited for {what}: {log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs a program inside, to its end.
    pub(crate) fn run(&self, program: &str, args: &[&str], limit: Duration) -> Ended {
        let mut nsenter = self.setup.command_of("nsenter");
        nsenter.args(["--mount", "--pid", "--target", &self.init.to_string()]);
        nsenter.args(["--", program]).args(args);
        finish(nsenter, limit)
    }

    /// What all services have written.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(format!("/proc/{}/root{SAID}", self.init)).unwrap_or_default()
    }

    /// `systemctl`, which has to succeed: what it prints.
    pub(crate) fn ctl(&self, args: &[&str]) -> String {
        let ended = self.run("systemctl", args, SOON);
        let log = fs::read_to_string(self.setup.path("systemd/log")).unwrap_or_default();
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}\n{log}");
        ended.stdout
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // With `unshare` goes process 1, and with that everything in its namespaces.
        drop(self.unshare.kill());
        drop(self.unshare.wait());
        let deadline = Instant::now() + SOON;
        while !is_removed(&self.cgroup) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Removes a control group with those below it, once nobody is in it.
fn is_removed(cgroup: &Path) -> bool {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.path().is_dir() && !is_removed(&entry.path()) {
            return false;
        }
    }
    fs::remove_dir(cgroup).is_ok() || !cgroup.exists()
}
