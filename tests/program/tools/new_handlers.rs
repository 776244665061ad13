//! `turnkey new --lang python` and `--lang js`, with a lone program: the project that it
//! writes passes its own tests, as they are written, and lives.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use turnkey::testing::Program;

use crate::harness::bot::{Ended, Setup, finish};
use crate::harness::programs::has;

/// The tests of a project.
const TESTED: Duration = Duration::from_secs(120);

/// A language in which a bot is a file.
pub(crate) struct Language {
    pub(crate) name: &'static str,
    pub(crate) handler: &'static str,
    pub(crate) interpreter: &'static str,
    /// Its tests, where the module `turnkey` is found.
    pub(crate) test: &'static [&'static str],
    /// What they print when all is well.
    passed: &'static str,
    files: &'static [&'static str],
}

pub(crate) const PYTHON: Language = Language {
    name: "python",
    handler: "bot.py",
    interpreter: "python3",
    test: &["python3", "-m", "unittest"],
    passed: "Ran 5 tests",
    files: &["bot.py", "requirements.txt", "test_bot.py"],
};

pub(crate) const JS: Language = Language {
    name: "js",
    handler: "bot.mjs",
    interpreter: "node",
    test: &["node", "--test"],
    passed: "fail 0",
    files: &["bot.mjs", "bot.test.mjs", "package.json"],
};

impl Language {
    /// A new project of this program's.
    pub(crate) fn project(&self, setup: &Setup, program: impl AsRef<OsStr>) -> PathBuf {
        let mut new = setup.command_of(program);
        new.args(["new", "my-bot", "--lang", self.name]);
        let made = finish(new, TESTED);
        assert_eq!(made.code, Some(0), "{made:?}");
        assert!(made.stdout.contains(self.handler), "{made:?}");
        setup.path("my-bot")
    }

    pub(crate) fn assert_passed(&self, tested: &Ended) {
        let said = [tested.stdout.as_str(), &tested.stderr].concat();
        assert_eq!(tested.code, Some(0), "{tested:?}");
        assert!(said.contains(self.passed), "{tested:?}");
        // Node.js says how many; the one with the whole program is not left out.
        assert!(!said.contains("pass 0"), "{tested:?}");
    }

    /// The bot keeps notes, shows them and forgets them, in this program.
    pub(crate) fn assert_lives(&self, project: &Path, program: &str) {
        let handler = project.join(self.handler);
        let bot = Program::start(program, &[handler.to_str().unwrap(), "--workers", "2"]).unwrap();
        let greeting = &bot.say("ann", "/start").unwrap()[0];
        assert!(greeting.text.starts_with("Hello"), "{greeting:?}");
        assert_eq!(bot.say("ann", "milk").unwrap()[0].text, "That is note 1.");
        let bot = bot.restart().unwrap();
        let second = bot.say("ann", "eggs").unwrap();
        assert_eq!(second[0].text, "That is note 2.");
        let list = bot.press("ann", data(&second)).unwrap();
        assert_eq!(list[0].text, "1. milk\n2. eggs");
        let forgotten = bot.press("ann", data(&list)).unwrap();
        assert_eq!(forgotten[0].text, "All forgotten.");
        let log = bot.stderr();
        assert!(log.contains(self.handler), "{log}");
        bot.stop().unwrap();
    }
}

/// What the first button carries.
fn data(replies: &[turnkey::Reply]) -> &str {
    let button = &replies[0].buttons[0][0];
    button.data().expect("data")
}

fn a_project_is_complete_and_lives(language: &Language) {
    if !has(language.interpreter) {
        return;
    }
    let setup = Setup::counter();
    let program = env!("CARGO_BIN_EXE_turnkey");
    let project = language.project(&setup, program);
    let common = [
        ".dockerignore",
        ".gitignore",
        "Dockerfile",
        "README.md",
        "migrations/0001_notes.sql",
        "my-bot.service",
        "turnkey.toml",
    ];
    for file in common.iter().chain(language.files) {
        let text = fs::read_to_string(project.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(text.ends_with('\n') && !text.contains("{{"), "{file}");
    }
    let unit = fs::read_to_string(project.join("my-bot.service")).unwrap();
    let start = format!(
        "ExecStart=/usr/local/bin/turnkey run /opt/my-bot/{} --workers 2\n",
        language.handler
    );
    assert!(unit.contains(&start), "{unit}");

    let mut test = setup.command();
    test.args(["handler", "exec", "--"]).args(language.test);
    test.current_dir(&project);
    language.assert_passed(&finish(test, TESTED));
    language.assert_lives(&project, program);
}

#[test]
fn a_project_in_python_passes_its_tests_and_lives() {
    a_project_is_complete_and_lives(&PYTHON);
}

#[test]
fn a_project_in_javascript_passes_its_tests_and_lives() {
    a_project_is_complete_and_lives(&JS);
}

#[test]
fn what_makes_no_project_is_refused_with_a_remedy() {
    let setup = Setup::counter();
    for (args, says) in [
        (&["new", "bot", "--lang", "ruby"][..], "rust, python, js"),
        (&["new", "turnkey", "--lang", "js"], "turnkey-bot"),
        (
            &["new", "bot", "--lang", "python", "--turnkey", "."],
            "leave it out",
        ),
        (&["handler", "exec"], "<COMMAND>"),
        (
            &["handler", "exec", "--", "no-such-program"],
            "no program no-such-program; install it",
        ),
    ] {
        let ended = setup.bare(args);
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{args:?}: {ended:?}");
    }
    // Its exit code is the command's.
    let ended = setup.bare(&["handler", "exec", "--", "sh", "-c", "exit 7"]);
    assert_eq!(ended.code, Some(7), "{ended:?}");
}
