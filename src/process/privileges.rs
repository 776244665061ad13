//! `--user`: starts as root, for a port below 1024 say, but does not stay root.
//!
//! Called by the master and by `process/single.rs` once the sockets are bound and before the
//! database is opened. Files of the user that are opened before that are opened with the user's
//! rights for that moment: the log file (`cli/log.rs`), and the lock on the database's file,
//! which is taken before the sockets. Everything later has the user's rights: every child (they
//! are forked later), files reopened on SIGUSR1 and SIGHUP, the program that SIGUSR2 starts.
//! Invariants: all of root's rights are gone (supplementary groups, real, effective and saved
//! ids), a test call checks that they cannot be regained, and nothing runs with half of them.
//!
//! The kernel marks a process that changed its ids as not dumpable (PR_SET_DUMPABLE, prctl(2)):
//! no core dumps, no debugger of the same user, and its files below /proc belong to root,
//! though it can still read them. We keep this: its memory holds secrets. The kernel also
//! clears the parent-death signal (PR_SET_PDEATHSIG) at that moment; our children set it after
//! their fork, which is later (`process/master/life.rs`).

use std::ffi::CString;
use std::fs;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{
    AccessFlags, Gid, Group, Uid, User, faccessat, getegid, geteuid, getgroups, getuid, initgroups,
    setegid, seteuid, setgid, setgroups, setresgid, setresuid, setuid,
};

use crate::author::start_error::StartError;
use crate::config::{Address, Config};

/// Where accounts are when the system's library finds none: a program that is linked
/// statically may have no way to ask.
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Who to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// As it was given, for sentences.
    text: String,
    uid: Uid,
    gid: Gid,
    /// By which its other groups are known; none for a number without an entry.
    name: Option<CString>,
}

/// Becomes the user that is configured, if there is one, for good.
///
/// # Errors
/// [`StartError::Refused`]: there is no such user, no right to become it, or the database
/// cannot be used by it.
pub(crate) fn give_up(config: &Config) -> crate::StartResult<()> {
    let Some(text) = &config.user else {
        return Ok(());
    };
    let account = Account::find(text)?;
    if account.is_to_become()? {
        account.enter()?;
    }
    must_reach(config)
}

/// A line for whoever started it, when root's rights are kept. In a container that may be
/// usual; so it is calm.
pub(crate) fn remark(config: &Config) -> Option<&'static str> {
    let binds = config.listens() || config.admin.is_some();
    geteuid().is_root().then_some(if binds {
        "Running as root, which nothing needs once the port is bound: --user NAME becomes another user."
    } else {
        "Running as root, which nothing needs: --user NAME becomes another user."
    })
}

/// Does something with the rights of the configured user, and takes root's back: what is
/// to be opened again later, by that user, is opened so from the first.
///
/// # Errors
/// As [`give_up`].
pub(crate) fn lent<T>(config: &Config, work: impl FnOnce() -> T) -> crate::StartResult<T> {
    let Some(text) = &config.user else {
        return Ok(work());
    };
    let account = Account::find(text)?;
    if !account.is_to_become()? {
        return Ok(work());
    }
    let (group, groups) = (getegid(), getgroups().map_err(|e| account.refused(e))?);
    account.take_groups()?;
    let lent = setegid(account.gid).and_then(|()| seteuid(account.uid));
    lent.map_err(|e| account.refused(e))?;
    let result = work();
    let back = seteuid(Uid::from_raw(0))
        .and_then(|()| setegid(group))
        .and_then(|()| setgroups(&groups));
    back.map_err(|e| account.refused(e))?;
    Ok(result)
}

/// Whether the configured user, whose rights this process has now, can use the database.
///
/// # Errors
/// [`StartError::Refused`] with a sentence that says what to do.
pub(crate) fn must_reach(config: &Config) -> crate::StartResult<()> {
    match (&config.user, &config.database) {
        (Some(user), Some(Address::Sqlite(path))) => Account::find(user)?.must_reach(path),
        _ => Ok(()),
    }
}

impl Account {
    /// Reads `NAME`, `UID`, `NAME:GROUP` or `UID:GID`.
    fn find(text: &str) -> crate::StartResult<Self> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let entry = find_user(user);
        let uid = match (&entry, number(user)) {
            (Some(entry), _) => entry.uid,
            (None, Some(uid)) => Uid::from_raw(uid),
            (None, None) => {
                return refuse(format!(
                    "there is no user {user:?} (--user); make one, such as with useradd --system {user}, or give a number"
                ));
            }
        };
        let gid = match (group, &entry) {
            (Some(group), _) => find_group(group).ok_or_else(|| {
                StartError::Refused(format!("there is no group {group:?} (--user {text})"))
            })?,
            (None, Some(entry)) => entry.gid,
            (None, None) => {
                return refuse(format!(
                    "the user {user} (--user) is not in {PASSWD}, so its group is not known; give both, such as --user {user}:{user}"
                ));
            }
        };
        Ok(Account {
            text: text.to_owned(),
            uid,
            gid,
            name: entry.and_then(|entry| CString::new(entry.name).ok()),
        })
    }

    /// Whether there is anything to do: not when this process is that user already, such
    /// as the program that an upgrade has started.
    fn is_to_become(&self) -> crate::StartResult<bool> {
        if geteuid().is_root() {
            if self.uid.is_root() {
                return refuse(format!(
                    "--user {} is root; name a user with fewer rights, or leave it out",
                    self.text
                ));
            }
            return Ok(true);
        }
        if self.uid == geteuid() && self.uid == getuid() {
            return Ok(false);
        }
        refuse(format!(
            "only root can become another user (--user {}), and this is the user with the number {}; start it as root, or leave out --user",
            self.text,
            geteuid()
        ))
    }

    fn enter(&self) -> crate::StartResult<()> {
        self.take_groups()?;
        // Groups first: without root's id there is no right to change them.
        setresgid(self.gid, self.gid, self.gid)
            .and_then(|()| setresuid(self.uid, self.uid, self.uid))
            .map_err(|e| self.refused(e))?;
        let root = (setuid(Uid::from_raw(0)), setgid(Gid::from_raw(0)));
        let is_out = geteuid() == self.uid
            && getegid() == self.gid
            && root.0.is_err()
            && (root.1.is_err() || self.gid.as_raw() == 0);
        if !is_out {
            return refuse(format!(
                "--user {}: root's rights could be got back after they were given up; something of this system keeps them (securebits?)",
                self.text
            ));
        }
        Ok(())
    }

    /// Its groups, and none of root's.
    fn take_groups(&self) -> crate::StartResult<()> {
        let known = self.name.as_ref().map(|name| initgroups(name, self.gid));
        match known {
            Some(Ok(())) => Ok(()),
            // Its other groups cannot be found out: it does without.
            None | Some(Err(_)) => setgroups(&[self.gid]).map_err(|e| self.refused(e)),
        }
    }

    fn refused(&self, error: nix::Error) -> StartError {
        StartError::Refused(format!(
            "cannot become the user {}: {error}; the program must be started with all of root's rights (CAP_SETUID, CAP_SETGID), or without --user",
            self.text
        ))
    }

    /// The database's files and their directory, in a sentence that says what to do.
    fn must_reach(&self, database: &Path) -> crate::StartResult<()> {
        let user = self.text.split(':').next().unwrap_or_default();
        let directory = match database.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        // One that is not there is somebody else's sentence.
        if may(directory, AccessFlags::W_OK | AccessFlags::X_OK) == Err(nix::Error::EACCES) {
            return refuse(format!(
                "the user {user} may not write to the directory of {}, where SQLite keeps files beside it; chown {user} that directory, or name another file with --storage",
                database.display()
            ));
        }
        for suffix in ["", "-wal", "-shm", "-lock"] {
            let mut file = database.as_os_str().to_owned();
            file.push(suffix);
            let opened = may(Path::new(&file), AccessFlags::R_OK | AccessFlags::W_OK);
            if opened == Err(nix::Error::EACCES) {
                return refuse(format!(
                    "the user {user} may not write to {}; chown {user} {}* while no bot runs",
                    Path::new(&file).display(),
                    database.display()
                ));
            }
        }
        Ok(())
    }
}

/// As far as the effective ids go: they may be lent.
fn may(path: &Path, what: AccessFlags) -> nix::Result<()> {
    faccessat(AT_FDCWD, path, what, AtFlags::AT_EACCESS)
}

/// One line of the user database.
struct Entry {
    name: String,
    uid: Uid,
    gid: Gid,
}

fn find_user(user: &str) -> Option<Entry> {
    let known = match number(user) {
        Some(uid) => User::from_uid(Uid::from_raw(uid)),
        None => User::from_name(user),
    };
    match known {
        Ok(Some(User { name, uid, gid, .. })) => Some(Entry { name, uid, gid }),
        Ok(None) | Err(_) => user_in(&fs::read_to_string(PASSWD).ok()?, user),
    }
}

/// passwd(5): `name:password:UID:GID:…`
fn user_in(passwd: &str, user: &str) -> Option<Entry> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, ..] = fields[..] else {
            return None;
        };
        (name == user || uid == user).then_some(Entry {
            name: name.to_owned(),
            uid: Uid::from_raw(number(uid)?),
            gid: Gid::from_raw(number(gid)?),
        })
    })
}

fn find_group(group: &str) -> Option<Gid> {
    if let Some(gid) = number(group) {
        return Some(Gid::from_raw(gid));
    }
    match Group::from_name(group) {
        Ok(Some(group)) => Some(group.gid),
        Ok(None) | Err(_) => group_in(&fs::read_to_string(GROUP).ok()?, group),
    }
}

/// group(5): `name:password:GID:…`
fn group_in(groups: &str, group: &str) -> Option<Gid> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(group);
        let gid = number(fields.nth(1)?)?;
        is_it.then_some(Gid::from_raw(gid))
    })
}

/// An id. The highest number means "as it is" to the kernel, and so is none.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

fn refuse<T>(sentence: String) -> crate::StartResult<T> {
    Err(StartError::Refused(sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n# no entry\n\nbot:x:990:991:Bot:/:/bin/false\nodd:x:-1:1\n";

    #[test]
    fn entries_of_the_files() {
        let bot = user_in(PASSWD, "bot").unwrap();
        assert_eq!((bot.uid.as_raw(), bot.gid.as_raw()), (990, 991));
        assert_eq!(user_in(PASSWD, "990").unwrap().name, "bot");
        for none in ["bo", "991", "", "x", "odd", "-1"] {
            assert!(user_in(PASSWD, none).is_none(), "{none:?}");
        }
        let groups = "root:x:0:\nwww-data:x:33:bot,ann\nbroken\n";
        assert_eq!(group_in(groups, "www-data"), Some(Gid::from_raw(33)));
        assert_eq!(group_in(groups, "www"), None);
    }

    #[test]
    fn users_as_they_are_given() {
        let find = |text: &str| Account::find(text).map(|a| (a.uid.as_raw(), a.gid.as_raw()));
        assert_eq!(find("root").unwrap(), (0, 0));
        assert_eq!(find("0").unwrap(), (0, 0));
        assert_eq!(find("root:7").unwrap(), (0, 7));
        assert_eq!(find("3999999999:8").unwrap(), (3_999_999_999, 8));
        for (text, why) in [
            ("no-such-user-here", "there is no user"),
            ("root:no-such-group-here", "there is no group"),
            ("3999999999", "3999999999:3999999999"),
            ("4294967295:1", "there is no user"),
            ("+1:1", "there is no user"),
            ("", "there is no user"),
            ("root:", "there is no group"),
        ] {
            let sentence = find(text).unwrap_err().to_string();
            assert!(sentence.contains(why), "{text:?}: {sentence}");
        }
    }
}
