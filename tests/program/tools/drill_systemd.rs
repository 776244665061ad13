//! The drill on services of a real systemd: restarts, reloads and upgrades in the middle of
//! the load, with the units that our own program prints.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::bot::{Setup, example};
use crate::harness::systemd::Systemd;

/// For a drill of two rounds on a busy machine.
const LONG: Duration = Duration::from_secs(120);

const TURNKEY: &str = env!("CARGO_BIN_EXE_turnkey");

/// Free when it was asked for.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// What the drill says of a deed: its exit code and the results.
fn drill(systemd: &Systemd, port: &str, deed: &str, more: &[&str]) -> (Option<i32>, Value) {
    let url = format!("http://127.0.0.1:{port}");
    let args = [
        "drill",
        "--url",
        &url,
        "--do",
        deed,
        "--json",
        "--before",
        "300ms",
        "--after",
        "500ms",
        "--timeout",
        "30s",
    ];
    let ended = systemd.run("/usr/local/bin/turnkey", &[&args, more].concat(), LONG);
    let results = serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
    (ended.code, results)
}

fn rounds(results: &Value) -> &Vec<Value> {
    results["rounds"].as_array().unwrap()
}

fn causes(results: &Value) -> Vec<&str> {
    rounds(results)
        .iter()
        .flat_map(|round| round["findings"].as_array().unwrap())
        .map(|finding| finding["cause"].as_str().unwrap())
        .collect()
}

/// Our bot with the units that it prints, as far as they go.
struct Service {
    systemd: Systemd,
    port: String,
}

/// A message for our bot, each with an id of its own.
const MESSAGE: [&str; 6] = [
    "--method",
    "POST",
    "--path",
    "/http",
    "--body",
    r#"{"user_id":"u-{run}-{round}-{client}","text":"hi","id":"{run}-{round}-{n}"}"#,
];

impl Service {
    /// Enabled and started, if systemd can run here.
    fn start(setup: &Setup, has_socket: bool) -> Option<Self> {
        let port = free_port();
        let named = ["--name", "app", "--program", "/usr/local/bin/turnkey"];
        let run = ["--", "--workers", "2", "--port", &port];
        let print = |more: &[&str]| {
            let printed = setup.bare(&[&["systemd"], more, &named, &run].concat());
            assert_eq!(printed.code, Some(0), "{printed:?}");
            printed.stdout
        };
        let units = [
            ("app.service", print(&[])),
            ("app.socket", print(&["--socket"])),
        ];
        let units = units.each_ref().map(|(name, text)| (*name, text.as_str()));
        let systemd = Systemd::boot(setup, &[Path::new(TURNKEY)], &units)?;
        if has_socket {
            systemd.ctl(&["start", "app.socket"]);
        }
        systemd.ctl(&["start", "app"]);
        Some(Service { systemd, port })
    }

    fn main_process(&self) -> String {
        self.systemd
            .ctl(&["show", "--property", "MainPID", "--value", "app"])
    }

    /// Nothing is cut or refused by a deed that replaces the first process, or does not.
    fn survives(&self, deed: &str, is_replaced: bool) -> u64 {
        let before = self.main_process();
        let (code, results) = drill(&self.systemd, &self.port, deed, &MESSAGE);
        let log = self.systemd.said();
        assert_eq!(code, Some(0), "{deed}: {results:#}\n{log}");
        let after = self.main_process();
        assert_eq!(before != after, is_replaced, "{deed}: {before} {after}");
        let answered = |round: &Value| round["counts"]["answered"].as_u64().unwrap();
        let answered: Vec<u64> = rounds(&results).iter().map(answered).collect();
        assert!(
            answered.len() == 2 && !answered.contains(&0),
            "{answered:?}"
        );
        answered.iter().sum()
    }
}

/// The socket stays while the service changes. After an upgrade its first process is no child
/// of systemd's, which stops it all the same without loss.
#[test]
fn a_service_behind_its_socket_loses_nothing() {
    let setup = Setup::counter();
    let Some(service) = Service::start(&setup, true) else {
        return;
    };
    let deeds = [
        ("systemctl restart app", true),
        ("systemctl reload app", false),
        ("systemctl kill -s USR2 --kill-who=main app", true),
        ("systemctl restart app", true),
    ];
    let answered: u64 = deeds
        .into_iter()
        .map(|(deed, is_replaced)| service.survives(deed, is_replaced))
        .sum();
    let systemd = &service.systemd;
    systemd.ctl(&["stop", "app.socket", "app"]);
    // `ExecStop=` waited for each end.
    let said = systemd.said();
    assert!(!said.contains("error:"), "{said}");
    assert_eq!(said.matches("Stopped: process").count(), 5, "{said}");
    let storage = "sqlite:/var/lib/private/app/bot.db";
    let args = ["dump", "--storage", storage];
    let dumped = systemd.run("/usr/local/bin/turnkey", &args, LONG);
    let counts = dumped.stdout.lines().map(|line| {
        let dialog: Value = serde_json::from_str(line).unwrap();
        dialog["state"]["count"].as_u64().unwrap()
    });
    assert!(counts.sum::<u64>() >= answered, "{answered}: {dumped:?}");
}

/// Nobody listens between two lives of a service that opens its own port.
#[test]
fn a_service_without_a_socket_has_a_gap() {
    let setup = Setup::counter();
    let Some(service) = Service::start(&setup, false) else {
        return;
    };
    let deed = "systemctl restart app";
    let (code, results) = drill(&service.systemd, &service.port, deed, &MESSAGE);
    assert_eq!(code, Some(1), "{results:#}");
    assert!(causes(&results).contains(&"gap"), "{results:#}");
    let longest = |round: &Value| round["longest_refusal_s"].as_f64().unwrap();
    assert!(rounds(&results).iter().all(|round| longest(round) > 0.0));
}

/// Whatever is not finished when the service is told to stop.
#[test]
fn a_service_that_drops_its_work_is_caught() {
    let setup = Setup::counter();
    let ports = [free_port(), free_port()];
    let unit = |kind: &str, port: &str| {
        format!("[Service]\nType=exec\nExecStart=/usr/local/bin/faulty {kind} {port}\n")
    };
    let (drops, perfect) = (unit("drops", &ports[0]), unit("perfect", &ports[1]));
    let units = [
        ("drops.service", drops.as_str()),
        ("perfect.service", perfect.as_str()),
    ];
    let programs = [Path::new(TURNKEY), &example("faulty")];
    let Some(systemd) = Systemd::boot(&setup, &programs, &units) else {
        return;
    };
    systemd.ctl(&["start", "drops", "perfect"]);
    let cut = |results: &Value| -> u64 {
        let of = |round: &Value| round["counts"]["cut"].as_u64().unwrap_or_default();
        rounds(results).iter().map(of).sum()
    };
    let restarted = |name: &str, port: &str| {
        let deed = format!("systemctl restart {name}");
        // It opens its own port, so there is a gap.
        drill(&systemd, port, &deed, &["--allow-refused", "20s"])
    };
    let (code, results) = restarted("perfect", &ports[1]);
    assert_eq!((code, cut(&results)), (Some(0), 0), "{results:#}");
    let (code, results) = restarted("drops", &ports[0]);
    assert_eq!(code, Some(1), "{results:#}");
    assert!(cut(&results) > 0, "{results:#}");
    let known = causes(&results);
    assert!(
        known.contains(&"dropped") || known.contains(&"left-early"),
        "{known:?}"
    );
}
