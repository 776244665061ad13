//! What README.md and docs/DRILL.md show of the drill, run as it stands there: the screen of a
//! rollout, the workflow, the test with pytest. And its report in a real browser.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::harness::bot::{Ended, SOON, Setup, example, finish, skipped};
use crate::harness::certificate::Authority;
use crate::harness::front;
use crate::operators::browser::{can_validate, validate};

/// For drills of some rounds on a busy machine.
const LONG: Duration = Duration::from_secs(300);

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap()
}

/// The blocks of a page in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let begin = format!("\n```{language}\n");
    let block = |rest: &str| rest.split("\n```").next().unwrap_or_default().to_owned();
    page.split(&begin).skip(1).map(block).collect()
}

/// The one that shows a rollout.
fn screen(name: &str) -> String {
    let of_rollout = |block: &String| block.contains("rollout.sh") && block.contains("Likely");
    let mut found = blocks(&page(name), "console")
        .into_iter()
        .filter(of_rollout);
    found
        .next()
        .unwrap_or_else(|| panic!("no screen on {name}"))
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Waits for what takes a moment.
fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !happened() {
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An old version behind TLS that drops streams when it stops, and what brings the new one.
struct Rollout {
    setup: Setup,
    old: Child,
    /// Of TLS.
    port: u16,
}

impl Rollout {
    fn prepare() -> Self {
        let setup = Setup::counter();
        let faulty = example("faulty");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut old = setup.command_of(&faulty);
        old.args(["drops-stream", &port.to_string()]);
        let old = old.stdout(Stdio::null()).spawn().unwrap();
        let authority = Authority::new();
        let (cert, key) = authority.issue(setup.dir.path());
        setup.write("ca.pem", authority.root_pem());
        let script = format!(
            "{} perfect {port} >/dev/null 2>&1 &\necho $! >>new.pid\nsleep 0.3\nkill -TERM {}",
            faulty.display(),
            old.id()
        );
        write_script(&setup.path("rollout.sh"), &script);
        let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        wait_for("the old version", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Rollout {
            port: front::start(chain, key, port).port(),
            setup,
            old,
        }
    }

    /// With a command line as it is shown, but for the port and more words.
    fn drill(&self, shown: &str, more: &[&str]) -> Ended {
        let line = shown.replace(":8443", &format!(":{}", self.port));
        let line = line.strip_prefix("$ turnkey ").expect("a command");
        let mut shell = self.setup.command_of("sh");
        shell.args(["-c", &format!("exec \"$0\" {line} \"$@\"")]);
        shell.arg(env!("CARGO_BIN_EXE_turnkey")).args(more);
        finish(shell, LONG)
    }
}

impl Drop for Rollout {
    fn drop(&mut self) {
        drop(self.old.kill());
        drop(self.old.wait());
        let new = fs::read_to_string(self.setup.path("new.pid")).unwrap_or_default();
        for pid in new.lines().filter_map(|line| line.parse().ok()) {
            // It may be gone.
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap_or(());
        }
    }
}

/// A line without its figures, and without what follows from them: two of the same form say
/// the same of other rollouts.
fn form(line: &str) -> String {
    let mut form = String::new();
    for c in line.chars() {
        let c = if c.is_ascii_digit() { '0' } else { c };
        if !(c == '0' && form.ends_with('0')) {
            form.push(c);
        }
    }
    for (one, other) in [
        ("0,0", "0"),
        ("0.0", "0"),
        ("<0", "0"),
        ("0 (0 %)", "0"),
        (" were ", " was "),
        (" are ", " is "),
        ("rounds is", "round is"),
        ("kept-alive connection", "new connection"),
        ("keep-alive, round", "new, round"),
        ("  FAILED", "  ok"),
    ] {
        form = form.replace(one, other);
    }
    form.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Figures are chance; words, their order and the columns are not.
#[test]
fn the_screen_of_the_pages_is_what_the_drill_shows() {
    let shown = screen("docs/DRILL.md");
    assert_eq!(screen("README.md"), shown, "the pages show the same");
    assert!(shown.lines().count() <= 30, "one screen");
    assert!(shown.lines().all(|line| line.len() <= 115), "{shown}");
    let (command, result) = shown.split_once('\n').unwrap();
    let (mut forms, mut missing, mut last) = (Vec::new(), Vec::new(), String::new());
    // A column, a cause or a way that this rollout did not meet is left out of its screen:
    // what several show together counts.
    for _ in 0..4 {
        let rollout = Rollout::prepare();
        let ended = rollout.drill(command, &[]);
        last = ended.stdout.replace(&rollout.port.to_string(), "8443");
        assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
        forms.extend(last.lines().map(form));
        let is_missing = |line: &&str| !forms.contains(&form(line));
        missing = result.lines().filter(is_missing).collect();
        if missing.is_empty() {
            return;
        }
    }
    panic!("no rollout says today: {missing:#?}; the last one said\n{last}");
}

/// The `run:` steps of a workflow, as GitHub reads them.
fn steps(workflow: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut lines = workflow.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(step) = line.trim_start().strip_prefix("- run: ") else {
            continue;
        };
        let depth = line.len() - line.trim_start().len();
        let mut text = step.to_owned();
        if step == ">" {
            let is_deeper = |line: &&str| line.len() - line.trim_start().len() > depth;
            let folded: Vec<&str> =
                std::iter::from_fn(|| lines.next_if(is_deeper).map(str::trim)).collect();
            text = folded.join(" ");
        }
        steps.push(text);
    }
    steps
}

/// A place where the words of the pages mean programs of ours: `turnkey`, and a `uvicorn`
/// that cuts nothing, or what the file `kind` says. The real one always cuts something.
struct Place {
    setup: Setup,
}

impl Place {
    fn new() -> Self {
        let setup = Setup::counter();
        fs::create_dir_all(setup.path("bin")).unwrap();
        fs::create_dir_all(setup.path("src")).unwrap();
        let uvicorn = format!(
            "exec {} \"$(cat {} 2>/dev/null || echo perfect)\"",
            example("faulty").display(),
            setup.path("kind").display()
        );
        write_script(&setup.path("uvicorn"), &uvicorn);
        Place { setup }
    }

    fn install(&self) {
        symlink(
            env!("CARGO_BIN_EXE_turnkey"),
            self.setup.path("bin/turnkey"),
        )
        .unwrap();
        symlink("../uvicorn", self.setup.path("bin/uvicorn")).unwrap();
    }

    fn run(&self, program: &str, args: &[&str]) -> Ended {
        let mut command = self.setup.command_of(program);
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = self.setup.path("bin").display().to_string();
        command.env("PATH", format!("{bin}:{path}")).args(args);
        finish(command, LONG)
    }
}

/// As GitHub does it: each step by a shell of its own.
#[test]
fn the_workflow_of_the_docs_passes_and_fails() {
    let workflow = blocks(&page("docs/DRILL.md"), "yaml").remove(0);
    let steps = steps(&workflow);
    let [install, drill] = steps.as_slice() else {
        panic!("two steps that run something: {steps:?}");
    };
    let place = Place::new();
    let step = |text: &str| place.run("bash", &["-e", "-c", text]);
    // What the first step calls.
    write_script(
        &place.setup.path("bin/pip"),
        "test \"$*\" = 'install uvicorn'",
    );
    write_script(&place.setup.path("install-turnkey.sh"), "echo installed");
    assert_eq!(step(install).stdout, "installed\n");
    place.install();
    // The results that are kept in the repository.
    let kept = step(
        "turnkey drill --json --scenario ctrl-c,term -- uvicorn --workers 2 app:app >drill.json",
    );
    assert_eq!(kept.code, Some(0), "{kept:?}");

    let passed = step(drill);
    assert_eq!(passed.code, Some(0), "{passed:?}");
    assert!(!passed.stderr.contains("::error"), "{passed:?}");
    assert!(place.setup.path("drill.xml").exists());
    let uploaded = workflow.split("path: ").nth(1).unwrap();
    let uploaded = uploaded.split([' ', '}']).next().unwrap();
    assert!(place.setup.path(uploaded).join("report.html").exists());

    place.setup.write("kind", "drops");
    let failed = step(drill);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("::error title=drill"), "{failed:?}");
}

/// pytest of a place of its own, if this machine has none.
fn pytest(setup: &Setup) -> Option<Vec<String>> {
    let here = |python: &Path| {
        let mut command = Command::new(python);
        command.args(["-m", "pytest", "--version"]);
        Some(finish(command, LONG)).filter(|ended| ended.code == Some(0))
    };
    let words = |python: &Path| vec![python.display().to_string(), "-m".into(), "pytest".into()];
    let own = setup.path("venv/bin/python");
    if !crate::harness::programs::has("python3") {
        return None;
    }
    if here(Path::new("python3")).is_some() {
        return Some(words(Path::new("python3")));
    }
    let mut make = setup.command_of("sh");
    make.args([
        "-c",
        "python3 -m venv venv && venv/bin/pip install --quiet pytest",
    ]);
    finish(make, LONG);
    if own.exists() && here(&own).is_some() {
        return Some(words(&own));
    }
    skipped("the docs' test with pytest: it cannot be installed");
    None
}

#[test]
fn the_test_with_pytest_passes_and_fails() {
    let place = Place::new();
    let Some(pytest) = pytest(&place.setup) else {
        return;
    };
    place.install();
    let test = blocks(&page("docs/DRILL.md"), "python").remove(0);
    place.setup.write("test_stop.py", &test);
    let words: Vec<&str> = pytest.iter().map(String::as_str).collect();
    let run = || {
        let more = ["-q", "-p", "no:cacheprovider", "test_stop.py"];
        place.run(words[0], &[&words[1..], &more].concat())
    };
    let passed = run();
    assert_eq!(passed.code, Some(0), "{passed:?}");
    place.setup.write("kind", "drops");
    let failed = run();
    assert_eq!(failed.code, Some(1), "{failed:?}");
    // What was cut stands there.
    assert!(
        failed.stdout.contains("under way at the signal"),
        "{failed:?}"
    );
}

/// The report of a rollout that cuts, and of stops of several kinds: well-formed, light and
/// dark, without words or figures that are too wide for a phone.
#[test]
fn reports_can_be_read_in_a_browser() {
    let rollout = Rollout::prepare();
    if !can_validate(&rollout.setup) {
        return;
    }
    let command =
        "$ turnkey drill --url https://localhost:8443 --ca ca.pem --http2 --do ./rollout.sh";
    let ended = rollout.drill(command, &["--out", "rollout"]);
    assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
    let drops = format!(
        "$ turnkey drill --scenario ctrl-c,term --signal int --to group --out stops -- {} drops",
        example("faulty").display()
    );
    let ended = rollout.drill(&drops, &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    validate(
        &rollout.setup,
        &["rollout/report.html", "stops/report.html"],
    );
}
