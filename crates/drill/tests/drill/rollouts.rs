//! Servers that run already: a command that replaces one by another (`--do`), a process
//! that is attached to, several addresses.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use turnkey_drill::{Drill, Mode, Scenario, Verdict};

use super::{faulty, run, short};

/// A server that was not started by a drill.
pub(super) struct Running {
    child: Child,
    pub(super) port: u16,
}

/// Free when it was asked for.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Running {
    pub(super) fn start(kind: &str) -> Self {
        Running::start_with(|port| {
            let mut server = Command::new(faulty());
            server.args([kind, &port.to_string()]);
            server
        })
    }

    /// With a command for a port that was free when it was asked for.
    pub(super) fn start_with(command: impl FnOnce(u16) -> Command) -> Self {
        let port = free_port();
        let child = command(port).stdout(Stdio::null()).spawn().unwrap();
        Running { child, port }
    }

    /// Waits for it.
    pub(super) fn only_child(&self) -> u32 {
        let file = format!("/proc/{0}/task/{0}/children", self.pid());
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            let children = std::fs::read_to_string(&file).unwrap_or_default();
            if let Some(child) = children.split_whitespace().next() {
                return child.parse().unwrap();
            }
            std::thread::yield_now();
        }
        panic!("no child");
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The command that starts another beside it, with what is done before and after.
    fn replaced(&self, before: &str, after: &str) -> String {
        format!(
            "{before}; {} perfect {} >/dev/null 2>&1 & echo started; {after}",
            faulty().display(),
            self.port,
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        // And whoever took its place.
        let port = self.port.to_string();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            let is_it = words
                .first()
                .is_some_and(|word| word.ends_with(b"server_with_faults"))
                && words.get(2) == Some(&port.as_bytes());
            if let Some(pid) = entry.file_name().to_str().filter(|_| is_it) {
                drop(Command::new("kill").args(["-9", pid]).status());
            }
        }
    }
}

fn rollout(server: &Running, command: String) -> Drill {
    short(Drill::running())
        .url(server.url())
        .load_balancer("X-Backend")
        .mode(Mode::New)
        .scenario(Scenario::Do(command))
}

/// The successor listens before the predecessor is told to leave.
#[test]
fn a_server_that_is_replaced_without_a_gap_is_clean() {
    let server = Running::start("perfect");
    let end = format!("sleep 0.3; kill -TERM {}", server.child.id());
    let report = run(rollout(&server, server.replaced(":", &end)));
    report.assert_clean();
    let round = &report.rounds[0];
    let done = round.done_by.as_ref().expect("a command");
    assert!(done.output.contains("started"), "{done:?}");
    assert!(round.longest_refusal_s < 0.001, "{report}");
    assert_eq!(round.backends.len(), 2, "{:?}", round.backends);
    let old = &round.backends[&server.child.id().to_string()];
    assert!(old.0 > 0, "{:?}", round.backends);
    assert_eq!(round.port_is_free, None);
}

/// For a moment nobody listens: that is a failure, unless it was allowed.
#[test]
fn a_gap_is_found_and_can_be_allowed() {
    let gap = |allowed| {
        let server = Running::start("perfect");
        let begin = format!("kill -TERM {}; sleep 1.5", server.child.id());
        run(rollout(&server, server.replaced(&begin, ":")).allow_refused(allowed))
    };
    let report = gap(Duration::ZERO);
    let round = &report.rounds[0];
    assert!(round.number(Verdict::Unreachable) > 0, "{report}");
    assert!(round.longest_refusal_s > 0.5, "{report}");
    assert!(
        report.to_string().contains("s nobody took a connection"),
        "{report}"
    );
    assert_eq!(round.number(Verdict::Cut), 0, "{report}");
    gap(Duration::from_secs(20)).assert_clean();
}

#[test]
fn a_command_that_fails_is_not_clean() {
    let server = Running::start("perfect");
    let report = run(rollout(&server, "echo no image; exit 3".to_owned()));
    let text = report.to_string();
    assert!(
        text.contains("`echo no image; exit 3` ended with 3"),
        "{text}"
    );
    let endless = rollout(&server, "sleep 60".to_owned()).do_limit(Duration::from_millis(300));
    let text = run(endless).to_string();
    assert!(text.contains("`sleep 60` did not end within"), "{text}");
}

#[test]
fn a_process_that_runs_already_is_stopped_and_watched() {
    let server = Running::start("perfect");
    let attached = |server: &Running| short(Drill::attach(server.child.id()));
    let report = run(attached(&server).scenario(Scenario::Term));
    report.assert_clean();
    assert_eq!(report.rounds.len(), 1);
    assert_eq!(report.rounds[0].port, server.port);
    assert_eq!(report.rounds[0].exit, None, "only its parent knows");

    let server = Running::start("drops");
    let report = run(attached(&server).mode(Mode::New).scenario(Scenario::Term));
    assert!(report.total(Verdict::Cut) > 0, "{report}");

    let server = Running::start("stays");
    let stays = attached(&server).limit(Duration::from_secs(1));
    let report = run(stays.scenario(Scenario::Term));
    assert_eq!(report.rounds[0].problems, ["it did not leave within 1 s"]);
    let twice = attached(&server).scenario(Scenario::Term).repeat(2);
    let said = twice.run().unwrap_err().to_string();
    assert!(said.contains("does not come back"), "{said}");
}

#[test]
fn several_addresses_share_the_load() {
    let (one, other) = (Running::start("perfect"), Running::start("perfect"));
    let end = format!(
        "kill -STOP {}; kill -CONT {}",
        other.child.id(),
        other.child.id()
    );
    let report = run(rollout(&one, end).url(other.url()));
    report.assert_clean();
    assert_eq!(report.rounds[0].backends.len(), 2);
    let nobody = Running::start("deaf");
    let wait = Duration::from_millis(300);
    let said = rollout(&one, ":".to_owned())
        .url(nobody.url())
        .start_timeout(wait);
    let said = said.run().unwrap_err().to_string();
    assert!(said.contains("nobody listened on 127.0.0.1:"), "{said}");
}

#[test]
fn an_address_alone_needs_something_to_do() {
    let said = Drill::running()
        .url("http://127.0.0.1:1")
        .scenario(Scenario::Term);
    let said = said.run().unwrap_err().to_string();
    assert!(said.contains("--do 'COMMAND'"), "{said}");
}
