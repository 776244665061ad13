//! Behind a real balancer: one of two backends is restarted while HAProxy asks both whether
//! they are ready. Without HAProxy this is skipped, and said.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use turnkey_drill::{Cause, Drill, Mode, Report, Scenario, Verdict};

use super::causes::found;
use super::rollouts::{Running, free_port};
use super::{faulty, run, short};

/// HAProxy before two backends.
struct Balancer {
    child: Child,
    port: u16,
    backends: [Running; 2],
    _directory: TempDir,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Balancer {
    fn start(kind: &str) -> Option<Self> {
        let found = Command::new("haproxy")
            .arg("-v")
            .stdout(Stdio::null())
            .status();
        if found.is_err() {
            eprintln!("SKIPPED: haproxy is missing");
            return None;
        }
        let backends = [Running::start(kind), Running::start("perfect")];
        let port = free_port();
        // Not a second try: what a backend loses is to be seen.
        let config = format!(
            "defaults\n mode http\n retries 0\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             frontend drill\n bind 127.0.0.1:{port}\n default_backend two\n\
             backend two\n option httpchk GET /ready\n\
             default-server check inter 50ms fall 1 rise 1\n\
             server one 127.0.0.1:{}\n server two 127.0.0.1:{}\n",
            backends[0].port, backends[1].port
        );
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Balancer {
            child,
            port,
            backends,
            _directory: directory,
        })
    }

    /// The first backend leaves, and comes back.
    fn rollout(&self) -> Report {
        let [one, _] = &self.backends;
        let command = format!(
            "kill -TERM {pid}; while kill -0 {pid} && [ \"$(cut -d' ' -f3 /proc/{pid}/stat)\" != Z ]; do sleep 0.05; done; \
             {server} perfect {port} >/dev/null 2>&1 & sleep 1",
            pid = one.pid(),
            server = faulty().display(),
            port = one.port,
        );
        run(short(Drill::running())
            .url(format!("http://127.0.0.1:{}", self.port))
            .mode(Mode::New)
            .load_balancer("X-Backend")
            .scenario(Scenario::Do(command)))
    }
}

#[test]
fn a_backend_that_is_not_ready_first_loses_nothing() {
    let Some(balancer) = Balancer::start("perfect") else {
        return;
    };
    let report = balancer.rollout();
    report.assert_clean();
    assert_eq!(
        report.rounds[0].backends.len(),
        3,
        "{:?}",
        report.rounds[0].backends
    );
}

#[test]
fn a_backend_that_is_ready_to_the_end_is_missed_by_its_balancer() {
    let Some(balancer) = Balancer::start("lies-that-ready") else {
        return;
    };
    let report = balancer.rollout();
    assert!(report.total(Verdict::Error) > 0, "{report}");
    assert!(found(&report, Cause::Balancer) > 0, "{report}");
    assert!(
        report.to_string().contains("readiness first, then wait"),
        "{report}"
    );
}
