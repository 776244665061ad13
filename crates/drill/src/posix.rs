//! The stand-in for a shell where no program of ours is at hand, as in the tests of
//! somebody's own server: `/bin/sh` with job control, in a session made by `setsid`.
//!
//! Used by `session.rs`. It says the same words as `shell.rs`. Two differences: the shell
//! waits for the server's first process at once, and an exit code above 128 cannot be told
//! from that signal. Invariant: when the drill ends, however it ends, the watchman's input
//! does, and it kills whoever is in the session or carries the mark.

use std::ffi::OsString;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use super::family::MARK;
use turnkey_report::Error;

/// Leads the session. Its standard input is the terminal, its output takes the words.
/// `trap`: a server that dies of Ctrl-C must not take the shell along. The last line keeps
/// the session until the terminal is gone.
const LEADER: &str = r#"
set -m
trap : INT
exec 3>&1 1>&0 2>&0
/bin/sh -c '
    echo "{\"started\":$$}" >&3
    exec 3>&-
    command -v "$1" >/dev/null || { echo "cannot start $1: no such program"; exit 127; }
    exec "$@"
' sh "$@"
code=$?
if [ "$code" -gt 128 ]; then
    echo "{\"left\":{\"signal\":$((code - 128))}}" >&3
else
    echo "{\"left\":{\"code\":$code}}" >&3
fi
while read -r _; do :; done
"#;

/// Waits for the drill's end; then kills again and again, until a look finds nobody.
const WATCHMAN: &str = r#"
read -r session || exit
read -r _
for _ in 1 2 3 4 5 6 7 8 9 10; do
    found=
    for directory in /proc/[0-9]*; do
        read -r stat 2>/dev/null < "$directory/stat" || continue
        set -- ${stat##*) }
        [ "$1" = Z ] && continue
        if [ "$4" = "$session" ] ||
            tr '\0' '\n' 2>/dev/null < "$directory/environ" | grep -qx "DRILL_MARK=$MARK_OF_DRILL"
        then
            kill -9 "${directory#/proc/}" 2>/dev/null
            found=1
        fi
    done
    [ "$found" ] || exit
done
"#;

/// The command that leads a session on its standard input, a terminal.
pub(super) fn leader(command: &[OsString]) -> Command {
    let mut setsid = Command::new("setsid");
    setsid
        .args(["-c", "/bin/sh", "-c", LEADER, "sh"])
        .args(command);
    setsid
}

/// Ends all when the drill is gone.
///
/// # Errors
/// [`Error::Start`] when there is no shell.
pub(super) fn watchman(session: u32, mark: &str) -> turnkey_report::Result<Child> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", WATCHMAN])
        .env_remove(MARK)
        .env("MARK_OF_DRILL", mark)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| Error::Start(format!("cannot start /bin/sh: {e}")))?;
    if let Some(stdin) = &mut child.stdin {
        writeln!(stdin, "{session}")?;
    }
    Ok(child)
}
