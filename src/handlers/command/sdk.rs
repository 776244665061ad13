//! The SDKs that the program carries, so that a lone binary and a lone `bot.py` are enough.
//!
//! Called by `plan.rs` for each process that is started, and by `cli/handler_exec.rs` for one
//! command. Nothing is written to a disk: Python imports from a zip in memory that somebody
//! has open, Node.js takes all it needs from `NODE_OPTIONS`. Invariant: an installed package
//! of the same name wins; the copies see to that (`sdk/python/carried`,
//! `sdk/javascript/carried`). Bound: Linux takes 128 KiB for one variable, which a test
//! compares.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Where Python finds it, in the handler.
pub(super) const SDK: RawFd = 5;

/// Files by their names in the copy.
macro_rules! files {
    ($directory:literal: $($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../../sdk/", $directory, "/", $name)))),+]
    };
}

const PYTHON: &[(&str, &str)] = &files!("python/src/turnkey":
    "__init__.py", "_answer.py", "_asking.py", "_callbacks.py", "_content.py", "_dataclasses.py", "_errors.py", "_heard.py",
    "_log.py", "_loop.py", "_reply.py", "_run.py", "_said.py", "_state.py", "_steps.py", "_threads.py", "_trace.py", "_turn.py",
    "_wire.py", "testing/__init__.py", "testing/_conversation.py", "testing/_program.py",
    "testing/pytest_plugin.py",
);

/// What `import turnkey` finds first in the zip.
const SHIM: &str = include_str!("../../../sdk/python/carried/turnkey.py");

const JAVASCRIPT: &[(&str, &str)] = &files!("javascript/src":
    "values.js", "content.js", "callbacks.js", "reply.js", "said.js", "heard.js", "steps.js", "turn.js", "fail.js", "given_up.js", "pipes.js",
    "index.js",
    "index.mjs", "testing.js", "testing.mjs",
);

/// What Node.js runs before the bot; this text in it becomes the files.
const REGISTER: &str = include_str!("../../../sdk/javascript/carried/register.mjs");
const SOURCES: &str = "'TURNKEY_SOURCES'";

/// Bytes by which what is ours is known in a variable, of whichever version.
const KNOWN: usize = 200;

/// What handlers find, and commands that authors run.
pub(crate) struct Carried {
    zip: File,
    node_options: String,
}

impl Carried {
    /// Made once in each process that starts handlers.
    ///
    /// # Errors
    /// No more memory or files.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Carried {
            zip: python()?,
            node_options: javascript(),
        })
    }

    /// The file that a handler has open.
    pub(super) fn zip(&self) -> RawFd {
        self.zip.as_raw_fd()
    }

    /// Tells the interpreters of a handler where it is.
    pub(super) fn add_to(&self, command: &mut Command) {
        // A wrapper may drop descriptors: then it is found with us, and can say what happened.
        let ours = self.with_us();
        self.tell(command, format!("/proc/self/fd/{SDK}:{ours}"));
    }

    /// For a command that takes the place of this process, and for whatever that starts
    /// while it lives.
    ///
    /// # Errors
    /// The system's, about our own file.
    pub(crate) fn leave_to(self, command: &mut Command) -> io::Result<()> {
        fcntl(&self.zip, FcntlArg::F_SETFD(FdFlag::empty()))?;
        // It keeps our number as a process; what it starts does not have its files.
        self.tell(command, self.with_us());
        // Open until then.
        let _: RawFd = self.zip.into_raw_fd();
        Ok(())
    }

    fn with_us(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.zip())
    }

    fn tell(&self, command: &mut Command, zip: String) {
        command.env("PYTHONPATH", joined(zip.into(), ":", "PYTHONPATH", ""));
        // Two of them do not fit: a program that one of ours has started has it already.
        let ours = &self.node_options[..KNOWN.min(self.node_options.len())];
        let options = joined(self.node_options.clone().into(), " ", "NODE_OPTIONS", ours);
        command.env("NODE_OPTIONS", options);
        // Bun reads a variable of its own, and must not look for the name in the registry.
        let program = Path::new(command.get_program()).file_name();
        if program.is_some_and(|name| name == "bun") {
            let module = self.node_options.trim_start_matches("--import=");
            let options = format!("--no-install --preload={module}");
            let ours = options[..KNOWN.min(options.len())].to_owned();
            command.env(
                "BUN_OPTIONS",
                joined(options.into(), " ", "BUN_OPTIONS", &ours),
            );
        }
    }
}

/// What we add to a variable, and what is in it, but for what begins as ours does.
fn joined(ours: OsString, between: &str, variable: &str, known: &str) -> OsString {
    beside(ours, between, std::env::var_os(variable), known)
}

fn beside(mut ours: OsString, between: &str, old: Option<OsString>, known: &str) -> OsString {
    let old = match (old, known) {
        (Some(old), "") => Some(old),
        (Some(old), known) => match old.into_string() {
            Ok(old) => Some(without(&old, known).into()),
            Err(old) => Some(old),
        },
        (None, _) => None,
    };
    if let Some(old) = old.filter(|old| !old.is_empty()) {
        ours.push(between);
        ours.push(old);
    }
    ours
}

/// A variable without the words that begin so, up to the end of each.
fn without(variable: &str, start: &str) -> String {
    let mut rest = variable.to_owned();
    while let Some(at) = rest.find(start) {
        let last = at + start.len();
        let end = rest[last..].find(' ').map_or(rest.len(), |end| last + end);
        rest.replace_range(at..end, "");
    }
    rest.trim().to_owned()
}

/// A zip in memory: the shim under the package's name, and the package beside it.
fn python() -> io::Result<File> {
    let memory = memfd_create(c"turnkey-sdk", MFdFlags::MFD_CLOEXEC)?;
    let mut zip = ZipWriter::new(File::from(memory));
    let options = SimpleFileOptions::default();
    zip.start_file("turnkey.py", options)?;
    zip.write_all(SHIM.as_bytes())?;
    for (name, text) in PYTHON {
        zip.start_file(format!("carried/turnkey/{name}"), options)?;
        zip.write_all(text.as_bytes())?;
    }
    Ok(zip.finish()?)
}

/// An option that makes Node.js run a module of which the whole text is in it.
fn javascript() -> String {
    let sources: serde_json::Map<String, serde_json::Value> = JAVASCRIPT
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).into()))
        .collect();
    let sources = serde_json::Value::from(sources).to_string();
    let register = REGISTER.replacen(SOURCES, &sources, 1);
    format!(
        "--import=data:text/javascript;base64,{}",
        STANDARD.encode(register)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_node_is_told_fits_into_a_variable() {
        let options = javascript();
        // MAX_ARG_STRLEN of Linux, with room for what an author has set.
        assert!(options.len() < (128 << 10) - 8192, "{}", options.len());
        assert_eq!(REGISTER.matches(SOURCES).count(), 1);
    }

    #[test]
    fn what_a_program_of_ours_has_from_another_is_there_once() {
        let ours = javascript();
        let beside = |old: &str| {
            let joined = beside(ours.clone().into(), " ", Some(old.into()), &ours[..KNOWN]);
            joined.into_string().unwrap()
        };
        assert_eq!(beside(&ours), ours);
        assert_eq!(beside(""), ours);
        let older = format!("--inspect {}=old --trace", &ours[..300]);
        assert_eq!(beside(&older), format!("{ours} --inspect  --trace"));
        assert_eq!(beside("--trace"), format!("{ours} --trace"));
    }

    #[test]
    fn every_file_of_an_sdk_is_carried() {
        for (directory, carried) in [
            ("python/src/turnkey", PYTHON),
            ("javascript/src", JAVASCRIPT),
        ] {
            let path = format!("{}/sdk/{directory}", env!("CARGO_MANIFEST_DIR"));
            let mut names = Vec::new();
            let mut open = vec![std::path::PathBuf::from(&path)];
            while let Some(directory) = open.pop() {
                for entry in std::fs::read_dir(directory).unwrap() {
                    let file = entry.unwrap().path();
                    let kind = file.extension().unwrap_or_default().to_owned();
                    if file.is_dir() {
                        open.push(file);
                    } else if ["py", "js", "mjs"].iter().any(|code| kind == *code) {
                        let name = file.strip_prefix(&path).unwrap();
                        names.push(name.to_str().unwrap().to_owned());
                    }
                }
            }
            let mut listed: Vec<_> = carried.iter().map(|(name, _)| (*name).to_owned()).collect();
            names.sort();
            listed.sort();
            assert_eq!(names, listed, "{directory}");
        }
    }
}
