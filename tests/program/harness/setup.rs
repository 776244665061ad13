//! How a real bot is started: the program of this crate, or one of the examples, on a free port, with
//! a directory and a process group of its own; and its commands. `bot.rs` starts it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::programs::{Ended, SOON, copy_program, example, finish};

/// Whether the bots of these tests are those in Python. The tests that matter most run a
/// second time so: see scripts/test.
pub(crate) fn is_python() -> bool {
    std::env::var("TEST_HANDLERS").is_ok_and(|language| language == "python")
}

fn turnkey() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_turnkey"))
}

/// How to start a bot. Cloned for a second start on the same file.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(super) program: PathBuf,
    /// A bot in another language: its file, or `--` and a command.
    handler: Vec<String>,
    pub(crate) dir: Arc<TempDir>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    pub(super) storage: Option<PathBuf>,
    uid: Option<u32>,
    open_files: Option<u32>,
}

impl Setup {
    pub(crate) fn of(program: PathBuf) -> Self {
        let dir = TempDir::with_prefix("turnkey-test-").expect("a temporary directory");
        let storage = dir.path().join("bot.db");
        Setup {
            program,
            handler: Vec::new(),
            dir: Arc::new(dir),
            args: vec!["--port".into(), "0".into()],
            env: Vec::new(),
            storage: Some(storage),
            uid: None,
            open_files: None,
        }
    }

    /// The program itself: counts.
    pub(crate) fn counter() -> Self {
        match is_python() {
            true => Self::handled_by("counter.py"),
            false => Self::of(turnkey()),
        }
    }

    /// A bot in another language, which stands beside the tests of those.
    pub(crate) fn handled_by(file: &str) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/program/handlers/");
        Self::handled(&[&format!("{folder}{file}")])
    }

    /// An example in another language.
    pub(crate) fn example_in(file: &str) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/handlers/");
        Self::handled(&[&format!("{folder}{file}")])
    }

    /// The same with the words that `run` is given; after `--` they are a command.
    pub(crate) fn handled(words: &[&str]) -> Self {
        let mut setup = Self::of(turnkey());
        setup.handler = words.iter().map(|word| (*word).to_owned()).collect();
        setup
    }

    /// A bot in Python, `bot.py` in the bot's directory.
    pub(crate) fn in_python(code: &str) -> Self {
        let setup = Self::handled(&["bot.py"]);
        setup.write("bot.py", code);
        setup
    }

    /// Writes a file of the author's, in the bot's directory.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    /// More words for [`Setup::handled`].
    pub(crate) fn handler_args(mut self, words: &[&str]) -> Self {
        self.handler
            .extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// The example that does what the messages say.
    pub(crate) fn commands() -> Self {
        match is_python() {
            true => Self::handled_by("commands.py"),
            false => Self::commands_in_rust(),
        }
    }

    /// The same, whichever language the tests are about.
    pub(crate) fn commands_in_rust() -> Self {
        static EXAMPLE: LazyLock<PathBuf> = LazyLock::new(|| example("commands"));
        Self::of(EXAMPLE.clone())
    }

    /// The example that says what it hears and does what it is told as JSON.
    pub(crate) fn anything() -> Self {
        static EXAMPLE: LazyLock<PathBuf> = LazyLock::new(|| example("anything"));
        Self::of(EXAMPLE.clone())
    }

    /// The example that tells its users what is given up.
    pub(crate) fn failing() -> Self {
        static EXAMPLE: LazyLock<PathBuf> = LazyLock::new(|| example("failing"));
        Self::of(EXAMPLE.clone())
    }

    /// The example that says what it is told.
    pub(crate) fn echo() -> Self {
        static EXAMPLE: LazyLock<PathBuf> = LazyLock::new(|| example("echo"));
        Self::of(EXAMPLE.clone())
    }

    /// The example that asks a service with a client of its own.
    pub(crate) fn oven() -> Self {
        static EXAMPLE: LazyLock<PathBuf> = LazyLock::new(|| example("oven"));
        Self::of(EXAMPLE.clone())
    }

    /// The example that books hours.
    pub(crate) fn booking() -> Self {
        if is_python() {
            return Self::example_in("booking.py");
        }
        static EXAMPLE: LazyLock<PathBuf> = LazyLock::new(|| example("booking"));
        Self::of(EXAMPLE.clone())
    }

    /// The example that is a support desk.
    pub(crate) fn desk() -> Self {
        static EXAMPLE: LazyLock<PathBuf> = LazyLock::new(|| example("desk"));
        Self::of(EXAMPLE.clone())
    }

    /// The example with a channel of its own.
    pub(crate) fn custom_channel() -> Self {
        static EXAMPLE: LazyLock<PathBuf> = LazyLock::new(|| example("custom_channel"));
        Self::of(EXAMPLE.clone())
    }

    /// The example with a user lock of its own.
    pub(crate) fn custom_lock() -> Self {
        static EXAMPLE: LazyLock<PathBuf> = LazyLock::new(|| example("custom_lock"));
        Self::of(EXAMPLE.clone())
    }

    /// A copy of the program, which can be replaced while it runs.
    pub(crate) fn copied(mut self) -> Self {
        let copy = self.path("bot");
        copy_program(&self.program, &copy);
        self.program = copy;
        self
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Puts another program where [`Setup::copied`] has its copy, as an installer does.
    pub(crate) fn install(&self, other: &Path) {
        let new = self.path("bot.new");
        copy_program(other, &new);
        fs::rename(new, &self.program).expect("its place");
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|a| (*a).to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Without a variable that was set before.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.env.retain(|(set, _)| set != name);
        self
    }

    /// Without the `--port 0` that every other bot here is started with.
    pub(crate) fn without_port(mut self) -> Self {
        self.args.retain(|a| a != "--port" && a != "0");
        self
    }

    /// Another database; none for the program's own choice.
    pub(crate) fn storage(mut self, storage: Option<PathBuf>) -> Self {
        self.storage = storage;
        self
    }

    /// The database with this address, from the environment: it may hold a password.
    pub(crate) fn on(self, address: impl Into<String>) -> Self {
        self.storage(None).env("TURNKEY_STORAGE", address)
    }

    /// As another user. Only root may.
    pub(crate) fn uid(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// With a soft limit of open files.
    pub(crate) fn open_files(mut self, soft: u32) -> Self {
        self.open_files = Some(soft);
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.storage.clone().expect("a bot with --storage")
    }

    /// Opens the file of its database, as another program does.
    pub(crate) fn open_database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.database()).expect("a SQLite file")
    }

    /// The program, in this directory, without settings of the tester's own.
    pub(crate) fn command(&self) -> Command {
        match self.open_files {
            Some(soft) => {
                let mut shell = self.command_of("sh");
                shell.args(["-c", &format!("ulimit -Sn {soft}; exec \"$0\" \"$@\"")]);
                shell.arg(&self.program);
                shell
            }
            None => self.command_of(&self.program),
        }
    }

    /// Another program in the same circumstances and a process group of its own.
    pub(crate) fn command_of(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command.process_group(0);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().to_uppercase();
            if text.starts_with("TURNKEY_") || text.ends_with("_PROXY") {
                command.env_remove(name);
            }
        }
        command.envs(self.env.iter().cloned());
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        command
    }

    /// `run`, as a command that has not been started.
    pub(crate) fn run(&self) -> Command {
        let mut command = self.command();
        command.arg("run").args(&self.args);
        if let Some(storage) = &self.storage {
            command.arg("--storage").arg(url(storage));
        }
        command.args(&self.handler);
        command
    }

    /// Runs it to its end, which must come by itself: for starts that fail.
    pub(crate) fn run_to_end(&self) -> Ended {
        finish(self.run(), SOON)
    }

    /// Another subcommand, with the storage of this bot.
    pub(crate) fn tool(&self, args: &[&str]) -> Ended {
        let mut command = self.command();
        command.args(args);
        if let Some(storage) = &self.storage {
            command.arg("--storage").arg(url(storage));
        }
        finish(command, Duration::from_secs(60))
    }

    /// A subcommand without any storage.
    pub(crate) fn bare(&self, args: &[&str]) -> Ended {
        self.bare_within(args, SOON)
    }

    /// One that takes longer.
    pub(crate) fn bare_within(&self, args: &[&str], limit: Duration) -> Ended {
        let mut command = self.command();
        command.args(args);
        finish(command, limit)
    }

    /// All dialogs.
    pub(crate) fn dump(&self, args: &[&str]) -> Vec<Value> {
        self.listed(&[&["dump"], args].concat())
    }

    /// What a command prints that succeeds: an object a line.
    pub(crate) fn listed(&self, args: &[&str]) -> Vec<Value> {
        let ended = self.tool(args);
        assert_eq!(ended.code, Some(0), "{args:?} failed: {}", ended.stderr);
        ended
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// The counter of a user, 0 for an unknown one.
    pub(crate) fn count(&self, user: &str) -> u64 {
        self.dump(&[])
            .iter()
            .filter(|line| line["user_id"] == user)
            .map(count_of)
            .sum()
    }

    /// The sum of all counters.
    pub(crate) fn sum(&self) -> u64 {
        self.dump(&[]).iter().map(count_of).sum()
    }

    /// `check` finds nothing.
    pub(crate) fn assert_sound(&self) {
        let check = self.tool(&["check"]);
        assert_eq!(check.code, Some(0), "{}{}", check.stdout, check.stderr);
    }
}

pub(crate) fn count_of(line: &Value) -> u64 {
    line["state"]["count"].as_u64().expect("a counter")
}

pub(crate) fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}
