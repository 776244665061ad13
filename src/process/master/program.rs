//! The program file that this process was started from, and its arguments, for an upgrade.
//!
//! Remembered at the very start; executed by `upgrade.rs` in a child.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::unistd::{execve, getpid};

use super::predecessor::VARIABLE;
use crate::author::start_error::StartError;
use crate::process::arguments;

/// How this program was started.
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// To be called before anything changes the directory. A link is kept as it was
    /// named: it may point to another version by then.
    pub(super) fn this() -> Self {
        let arguments = arguments::original();
        let named = arguments.first().map(Path::new);
        let path = named
            .filter(|path| path.as_os_str().as_bytes().contains(&b'/'))
            .and_then(|path| std::path::absolute(path).ok())
            .filter(|path| path.exists())
            .or_else(|| std::env::current_exe().ok())
            .unwrap_or_default();
        Program { path, arguments }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Becomes the new program, with what this one leaves it.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn exec(&self, legacy: &str) -> crate::StartResult<Infallible> {
        let text =
            |bytes: &[u8]| CString::new(bytes).map_err(|e| StartError::Refused(e.to_string()));
        let path = text(self.path.as_os_str().as_bytes())?;
        let arguments = self.arguments.iter().map(|a| text(a.as_bytes()));
        let arguments: Vec<CString> = arguments.collect::<Result<_, _>>()?;
        Ok(execve(&path, &arguments, &environment(legacy))?)
    }
}

/// This process's environment, for the program that it becomes.
fn environment(legacy: &str) -> Vec<CString> {
    let mut variables: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(name, _)| {
            let name = name.as_bytes();
            name != VARIABLE.as_bytes() && !name.starts_with(b"LISTEN_")
        })
        .collect();
    variables.push((VARIABLE.into(), legacy.into()));
    for (name, value) in &mut variables {
        if name == "WATCHDOG_PID" {
            *value = getpid().to_string().into();
        }
    }
    let joined = variables.into_iter().map(|(name, value)| {
        let mut variable = name.into_vec();
        variable.push(b'=');
        variable.extend(value.into_vec());
        variable
    });
    // A NUL cannot be in a variable.
    joined.filter_map(|v| CString::new(v).ok()).collect()
}
